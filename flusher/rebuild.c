/*
 * rebuild - see rebuild.h. Events wait as the entries that they are in the
 * journal.
 */
#include "flusher/rebuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/log.h"
#include "common/mem.h"
#include "engine/journal.h"
#include "flusher/batch.h"
#include "flusher/claim_parts.h"
#include "flusher/db.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/park.h"
#include "flusher/replay.h"
#include "flusher/session.h"
#include "flusher/sql.h"
#include "flusher/timers.h"

#define LOST_MAX 3U /* sessions over one journal */

enum rebuild_phase {
	REBUILD_WANTED,  /* the journal is to be read */
	REBUILD_READING,
	REBUILD_FEEDING, /* the first of the list is in a batch */
};

struct waiting {
	TAILQ_ENTRY(waiting) entry;
	struct buf json; /* a row of this one entry */
	int64_t at_us;
	enum event_kind kind;
	uint32_t activation;
};

struct rebuild {
	TAILQ_ENTRY(rebuild) entry;
	struct lease *lease;
	enum rebuild_phase phase;
	TAILQ_HEAD(, waiting) events; /* in order */
	uint64_t frame;  /* the first that an event may have come with */
	uint32_t lost;
	bool refused;    /* the first event is what the server refuses */
	bool replaced;   /* what was put in its place is in a batch */
	bool feeding;    /* what comes now comes from us */
	char sqlstate[6];
};

/* ---- events that wait ---- */

static void
waiting_free(struct rebuild *r, struct waiting *w)
{
	TAILQ_REMOVE(&r->events, w, entry);
	buf_fini(&w->json);
	free(w);
}

static void
event_keep(struct rebuild *r, const struct event *event)
{
	static const struct journal_place nowhere = { -1, -1 };
	struct waiting *w = mem_zalloc(sizeof(*w));

	w->at_us = event->at_us;
	w->kind = event->kind;
	w->activation = event->activation;
	buf_add_byte(&w->json, '[');
	journal_entry_add(&w->json, w->at_us, event, &nowhere);
	buf_add_byte(&w->json, ']');
	TAILQ_INSERT_TAIL(&r->events, w, entry);
}

/* A command stays in its table until it is journaled, and is found there
 * again; an answer for a task comes too late then, as this one counts. */
static void
row_keep(struct rebuild *r, const struct batch_row *row)
{
	struct buf json = BUF_EMPTY;
	struct error err = { .message = "" };
	struct journal_reader *reader;
	struct event event;

	buf_add(&json, row->json.data, row->json.len);
	buf_add_byte(&json, ']');
	reader = journal_reader_create(buf_slice(&json), row->at_us, &err);
	ASSERT(reader != NULL); /* we wrote it */
	while (journal_reader_next(reader, &event, &err) > 0)
		if (event.kind != EVENT_CANCEL &&
		    event.kind != EVENT_HEARTBEAT)
			event_keep(r, &event);
	journal_reader_destroy(&reader);
	buf_fini(&json);
}

bool
rebuild_takes(struct flusher *f, struct lease *lease,
              const struct event *event)
{
	struct rebuild *r = lease->rebuild;

	(void)f;
	if (r == NULL || r->feeding)
		return false;
	event_keep(r, event);
	return true;
}

/* ---- its beginning and end ---- */

/* A word on an attempt: another can stand in its place. */
static bool
is_mendable(enum event_kind kind)
{
	return kind == EVENT_SUCCEEDED || kind == EVENT_FAILED ||
	    kind == EVENT_PENDING;
}

bool
rebuild_begin(struct flusher *f, struct lease *lease,
              const struct batch_row *refused, const char *sqlstate)
{
	struct rebuild *r = lease->rebuild;

	if (r == NULL) {
		r = mem_zalloc(sizeof(*r));
		r->lease = lease;
		r->frame = f->ack.settled + 1;
		TAILQ_INIT(&r->events);
		row_keep(r, refused);
		if (lease->row != NULL)
			row_keep(r, lease->row);
		if (refused->count == 1 && !TAILQ_EMPTY(&r->events))
			r->refused = true;
		lease->rebuild = r;
		TAILQ_INSERT_TAIL(&f->claim->rebuilds, r, entry);
	} else {
		/* One alone, in its own row: it is the one. */
		r->refused = true;
	}
	if (r->replaced || TAILQ_EMPTY(&r->events) ||
	    (r->refused && !is_mendable(TAILQ_FIRST(&r->events)->kind))) {
		rebuild_forget(f, lease);
		return false;
	}
	snprintf(r->sqlstate, sizeof(r->sqlstate), "%s", sqlstate);
	r->phase = REBUILD_WANTED;
	lease->ended = false;
	/* What was wanted is asked for again when the journal is read. */
	dispatch_unqueue(f, lease);
	timers_forget(f->timers, lease);
	return true;
}

static void
rebuild_free(struct rebuilds *list, struct rebuild *r)
{
	while (!TAILQ_EMPTY(&r->events))
		waiting_free(r, TAILQ_FIRST(&r->events));
	TAILQ_REMOVE(list, r, entry);
	r->lease->rebuild = NULL;
	free(r);
}

void
rebuild_forget(struct flusher *f, struct lease *lease)
{
	if (lease->rebuild != NULL)
		rebuild_free(&f->claim->rebuilds, lease->rebuild);
}

void
rebuilds_destroy(struct rebuilds *list)
{
	while (!TAILQ_EMPTY(list))
		rebuild_free(list, TAILQ_FIRST(list));
}

uint64_t
rebuild_pending(const struct flusher *f)
{
	const struct rebuild *r;
	uint64_t first = 0;

	TAILQ_FOREACH (r, &f->claim->rebuilds, entry)
		if (first == 0 || r->frame < first)
			first = r->frame;
	return first;
}

/* ---- one event after the other ---- */

static void
rebuild_feed(struct flusher *f, struct rebuild *r)
{
	struct lease *lease = r->lease;
	struct waiting *w;
	bool applied = false;

	while ((w = TAILQ_FIRST(&r->events)) != NULL && !applied) {
		struct error err = { .message = "" };
		struct journal_reader *reader = journal_reader_create(
		    buf_slice(&w->json), w->at_us, &err);
		struct event event;
		char cause[100];

		ASSERT(reader != NULL &&
		       journal_reader_next(reader, &event, &err) > 0);
		r->replaced = r->refused;
		if (r->refused) {
			event.kind = EVENT_FAILED;
			event.value = SLICE_NONE;
			event.extra = SLICE_NONE;
			event.error = SLICE_LITERAL("Rappel.RowRefused");
			snprintf(cause, sizeof(cause),
			         "SQLSTATE %s: the server refuses to store "
			         "how this attempt ended",
			         r->sqlstate);
			event.cause = slice_of(cause);
		}
		r->refused = false;
		r->feeding = true;
		applied = batch_apply(f, lease, &event);
		r->feeding = false;
		journal_reader_destroy(&reader);
		if (!applied)
			waiting_free(r, w); /* late, as it would have been */
	}
	if (!applied) {
		rebuild_forget(f, lease); /* the caller may park it */
		return;
	}
	r->phase = REBUILD_FEEDING;
}

void
rebuild_committed(struct flusher *f, struct lease *lease)
{
	struct rebuild *r = lease->rebuild;

	if (r == NULL || r->phase != REBUILD_FEEDING)
		return;
	r->replaced = false;
	waiting_free(r, TAILQ_FIRST(&r->events));
	rebuild_feed(f, r);
}

/* ---- reading ---- */

static bool
has_event(const struct rebuild *r, uint32_t activation)
{
	const struct waiting *w;

	TAILQ_FOREACH (w, &r->events, entry)
		if (w->activation == activation)
			return true;
	return false;
}

/* What the journal makes the instance want is durable: it is done now, but
 * for what runs already and what an event that waits has answered. */
static void
wanted_restore(struct flusher *f, struct rebuild *r)
{
	struct lease *lease = r->lease;
	struct effects wanted = { NULL, 0, 0 };
	struct effects missing = { NULL, 0, 0 };

	instance_wanted(lease->engine, &wanted);
	missing.list = mem_calloc(wanted.count + 1, sizeof(struct effect));
	for (uint32_t i = 0; i < wanted.count; i++)
		if (!has_event(r, wanted.list[i].activation) &&
		    !dispatch_runs(lease, wanted.list[i].activation))
			missing.list[missing.count++] = wanted.list[i];
	dispatch_unqueue(f, lease);
	batch_perform(f, lease, &missing);
	free(missing.list);
	effects_fini(&wanted);
}

static void
journal_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct flusher *f = c->flusher;
	struct rebuild *r = TAILQ_FIRST(&c->rebuilds);
	struct effects ignored = { NULL, 0, 0 };
	struct error err = { .message = "" };
	struct instance *fresh;
	struct lease *lease;
	char reason[600];

	c->busy = false;
	while (r != NULL && r->phase != REBUILD_READING)
		r = TAILQ_NEXT(r, entry);
	if (r == NULL) {
		claim_step(c);
		return;
	}
	lease = r->lease;
	r->phase = REBUILD_WANTED;
	if (reply->outcome == DB_LOST && ++r->lost < LOST_MAX)
		return;
	if (reply->outcome != DB_DONE) {
		snprintf(reason, sizeof(reason),
		         "its journal cannot be read: %s", reply->message);
		log_error("instance blocked reason=\"%s\"", reason);
		claim_block(f, lease, reason);
		return;
	}
	if (PQntuples(reply->results[1]) == 0) {
		lease_remove(f, lease); /* somebody took or deleted it */
		claim_step(c);
		return;
	}
	fresh = instance_restart(lease->engine, &ignored);
	effects_fini(&ignored);
	instance_destroy(&lease->engine);
	lease->engine = fresh;
	lease->seq = 0;
	if (!replay_journal(lease, reply->results[0], &err)) {
		snprintf(reason, sizeof(reason),
		         "its journal cannot be replayed: %s", err.message);
		log_error("instance blocked reason=\"%s\"", reason);
		claim_block(f, lease, reason);
		return;
	}
	wanted_restore(f, r);
	rebuild_feed(f, r);
	park_maybe(f, lease);
	claim_step(c);
}

bool
rebuilds_step(struct claim *c)
{
	struct rebuild *r;
	struct params *p = &c->params;
	struct db_call *call;

	TAILQ_FOREACH (r, &c->rebuilds, entry)
		if (r->phase == REBUILD_WANTED)
			break;
	if (r == NULL)
		return false;
	r->phase = REBUILD_READING;
	call = session_call(c->session, journal_reply, c);
	params_clear(p);
	params_uuid(p, &r->lease->id);
	params_send(p, call, &sql_log_read);
	params_uuid(p, &c->flusher->incarnation);
	params_send(p, call, &sql_still_owned);
	c->busy = true;
	db_call_send(call);
	return true;
}
