/*
 * claim - see claim.h.
 */
#include "flusher/claim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/batch.h"
#include "flusher/commit.h"
#include "flusher/db.h"
#include "flusher/errand.h"
#include "flusher/flusher.h"
#include "flusher/keeper.h"
#include "flusher/lease.h"
#include "flusher/params.h"
#include "flusher/park.h"
#include "flusher/queue_cursor.h"
#include "flusher/replay.h"
#include "flusher/sql.h"
#include "flusher/trace.h"
#include "flusher/versions.h"

#define CLAIM_MAX 64U
#define READ_MAX 16U /* journals in one round trip */
#define SMALL_US (100 * CLOCK_MS_US)  /* between claims for little room */
#define HOUSE_US CLOCK_SECOND_US      /* due, commands */
#define RECONCILE_US (30 * CLOCK_SECOND_US)
#define RELEASE_FIRST_US (5 * CLOCK_SECOND_US)
#define ERRAND_RETRY_US CLOCK_SECOND_US
#define LOST_MAX 3U /* sessions over one journal */

static const uint64_t ladder_us[] = { 0, 5 * CLOCK_MS_US, 20 * CLOCK_MS_US,
	                              100 * CLOCK_MS_US, CLOCK_SECOND_US };
#define LADDER_TOP (sizeof(ladder_us) / sizeof(ladder_us[0]) - 1)

/* A claimed instance on its way to a lease. */
struct arrival {
	TAILQ_ENTRY(arrival) entry;
	struct uuid id;
	int64_t version_id;
	int64_t started_at_us;
	struct buf input; /* JSON text */
	char *name;
	uint32_t lost; /* sessions, while its journal was read */
	bool has_journal;
	bool commanded; /* somebody asked for something before it is here */
};

enum claim_source { FROM_QUEUE, FROM_DUE, FROM_COMMANDS, FROM_OWNED };

struct claim {
	struct flusher *flusher;
	struct db *db;
	struct params params;
	struct event *event; /* the next look */
	bool registered;     /* the session has announced itself */
	bool busy;           /* a call is in flight */
	bool stopped;
	bool outage_told;
	enum claim_source source; /* of the claim in flight */
	uint32_t asked;
	uint64_t asked_us;
	uint64_t queue_us; /* when the queue was last asked */
	struct queue_cursor cursor;
	uint32_t rung;     /* of the ladder, after an empty claim */
	bool idle;
	uint64_t next_us;       /* when the queue is looked at again */
	uint64_t house_us;      /* when due and commands are */
	uint64_t reconcile_us;  /* when owner = me is compared */
	bool commands_wanted;
	bool due_wanted;
	bool reconcile_wanted;
	TAILQ_HEAD(arrivals, arrival) arrivals;
	uint32_t arriving;
	uint32_t reading;  /* of them, whose journals are on their way */
	uint32_t read_max; /* in one round trip */
	struct errands errands;
	struct errand *errand; /* in flight */
	struct buf value;      /* scratch */
};

static void claim_step(struct claim *c);
static void command_apply(struct claim *c, const PGresult *r, int row);

/* ---- arrivals: version, journal, start ---- */

static void
arrival_free(struct claim *c, struct arrival *a)
{
	TAILQ_REMOVE(&c->arrivals, a, entry);
	c->arriving--;
	buf_fini(&a->input);
	free(a->name);
	free(a);
}

/* A start that fails goes back with a reason, and is tried again later. */
static void
arrival_release(struct claim *c, struct arrival *a, const char *reason)
{
	char text[UUID_TEXT_SIZE];

	uuid_text(&a->id, text);
	log_warning("start failed, released for 5 s instance=%s reason=\"%s\"",
	            text, reason);
	errand_add(&c->errands, &a->id, 1, "waiting", RELEASE_FIRST_US, reason);
	arrival_free(c, a);
}

static void
arrival_block(struct claim *c, struct arrival *a, const char *reason)
{
	char text[UUID_TEXT_SIZE];

	uuid_text(&a->id, text);
	log_error("instance blocked instance=%s reason=\"%s\"", text, reason);
	errand_add(&c->errands, &a->id, 1, "blocked", 0, reason);
	arrival_free(c, a);
}

/*
 * Makes the instance and brings it up to date; journal and commands are NULL
 * for one that never ran and of which nobody wants anything. What it wants
 * then is done at once: the claim is committed, and so is the journal. But a
 * cancel comes first: what was cancelled before it was here starts nothing.
 */
static void
arrival_start(struct claim *c, struct arrival *a,
              const struct version *version, const PGresult *journal,
              const PGresult *commands)
{
	struct flusher *f = c->flusher;
	struct effects effects = { NULL, 0, 0 };
	struct error err = { .message = "" };
	struct lease *lease;
	char reason[600];

	c->value.len = 0;
	if (json_parse((const char *)a->input.data, a->input.len,
	               VALUE_DEPTH_MAX, &c->value, NULL, &err) < 0) {
		snprintf(reason, sizeof(reason),
		         "its input cannot be read: %s", err.message);
		arrival_block(c, a, reason);
		return;
	}
	lease = lease_add(f->leases, &a->id);
	lease->engine = instance_create(
	    version->definition,
	    &(struct instance_options){
	        .id = a->id,
	        .workflow = slice_of(version->workflow),
	        .name = a->name != NULL ? slice_of(a->name) : SLICE_NONE,
	        .started_at_us = a->started_at_us,
	        .input = buf_slice(&c->value),
	        .value_bytes_max = f->config.value_bytes_max },
	    &effects);
	if (journal != NULL) {
		if (!replay_journal(lease, journal, &err)) {
			effects_fini(&effects);
			lease_remove(f, lease);
			snprintf(reason, sizeof(reason),
			         "its journal cannot be replayed: %s",
			         err.message);
			arrival_block(c, a, reason);
			return;
		}
		f->counters.recovered += a->has_journal;
		effects_clear(&effects);
		instance_wanted(lease->engine, &effects);
	}
	for (int i = 0; commands != NULL && i < PQntuples(commands); i++)
		command_apply(c, commands, i);
	if (lease->ended)
		; /* by a command; its end is in the batch */
	else if (instance_status(lease->engine) != INSTANCE_RUNNING)
		batch_add_end(f, lease);
	else
		batch_perform(f, lease, &effects);
	park_maybe(f, lease);
	effects_fini(&effects);
	arrival_free(c, a);
	flusher_turn_wanted(f);
}

static void
version_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct arrival *a = TAILQ_FIRST(&c->arrivals);
	const PGresult *r;
	char reason[600];

	c->busy = false;
	if (reply->outcome == DB_ERROR && a != NULL) {
		snprintf(reason, sizeof(reason),
		         "its definition cannot be read: %s", reply->message);
		arrival_release(c, a, reason);
	}
	if (reply->outcome == DB_DONE && a != NULL) {
		r = reply->results[0];
		if (PQntuples(r) == 0)
			versions_add(c->flusher->versions, a->version_id,
			             SLICE_NONE, SLICE_NONE);
		else
			versions_add(
			    c->flusher->versions, a->version_id,
			    (struct slice){
			        (const uint8_t *)PQgetvalue(r, 0, 0),
			        (size_t)PQgetlength(r, 0, 0) },
			    (struct slice){
			        (const uint8_t *)PQgetvalue(r, 0, 1),
			        (size_t)PQgetlength(r, 0, 1) });
	}
	claim_step(c);
}

/* Journals come in the order of the arrivals, three results for each. */
static void
journals_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct arrival *a = TAILQ_FIRST(&c->arrivals);
	char reason[600];

	c->busy = false;
	/* One that takes longer than the deadline costs the session. */
	if (reply->outcome != DB_DONE && c->reading > 1) {
		c->read_max = 1; /* to find out whose it is */
	} else if (a != NULL &&
	           (reply->outcome == DB_ERROR ||
	            (reply->outcome == DB_LOST && ++a->lost == LOST_MAX))) {
		snprintf(reason, sizeof(reason),
		         "its journal cannot be read: %s", reply->message);
		arrival_release(c, a, reason);
	}
	for (uint32_t i = 0; reply->outcome == DB_DONE && i < c->reading &&
	     (a = TAILQ_FIRST(&c->arrivals)) != NULL; i++) {
		PGresult **r = &reply->results[i * 3];

		c->read_max = READ_MAX;
		/* Its end may have been on its way when it was listed. */
		if (PQntuples(r[2]) == 0)
			arrival_free(c, a);
		else
			arrival_start(c, a,
			              versions_find(c->flusher->versions,
			                            a->version_id),
			              r[0], r[1]);
	}
	claim_step(c);
}

static bool
arrival_is_read(struct claim *c, const struct arrival *a)
{
	const struct version *version =
	    versions_find(c->flusher->versions, a->version_id);

	return version != NULL && version->definition != NULL &&
	    (a->has_journal || a->commanded) &&
	    lease_find(c->flusher->leases, &a->id) == NULL;
}

/* Several in one round trip: after a crash there are thousands. */
static void
journals_read(struct claim *c)
{
	struct db_call *call = db_call_begin(c->db, journals_reply, c);
	struct params *p = &c->params;
	struct arrival *a;

	c->reading = 0;
	TAILQ_FOREACH (a, &c->arrivals, entry) {
		if (c->reading == c->read_max || !arrival_is_read(c, a))
			break;
		params_clear(p);
		params_uuid(p, &a->id);
		params_send(p, call, &sql_log_read);
		params_send(p, call, &sql_commands_of);
		params_uuid(p, &c->flusher->incarnation);
		params_send(p, call, &sql_still_owned);
		c->reading++;
	}
	c->busy = true;
	db_call_send(call);
}

/* Takes the first arrival one step on. True while a call is in flight. */
static bool
arrivals_step(struct claim *c)
{
	struct flusher *f = c->flusher;
	struct arrival *a;

	while ((a = TAILQ_FIRST(&c->arrivals)) != NULL && !c->stopped) {
		const struct version *version =
		    versions_find(f->versions, a->version_id);
		struct db_call *call;

		params_clear(&c->params);
		if (version == NULL) {
			call = db_call_begin(c->db, version_reply, c);
			params_int8(&c->params, a->version_id);
			params_send(&c->params, call, &sql_version_read);
		} else if (version->definition == NULL) {
			char reason[600];

			snprintf(reason, sizeof(reason),
			         "version %lld of its workflow cannot be "
			         "used: %s",
			         (long long)a->version_id, version->problem);
			arrival_release(c, a, reason);
			continue;
		} else if (lease_find(f->leases, &a->id) != NULL) {
			arrival_free(c, a); /* we have it already */
			continue;
		} else if (!a->has_journal && !a->commanded) {
			arrival_start(c, a, version, NULL, NULL);
			continue;
		} else {
			journals_read(c);
			return true;
		}
		c->busy = true;
		db_call_send(call);
		return true;
	}
	return false;
}

/* ---- claiming ---- */

static void
arrival_take(struct claim *c, const PGresult *r, int row)
{
	struct arrival *a = mem_zalloc(sizeof(*a));

	memcpy(a->id.bytes, PQgetvalue(r, row, 0), 16);
	a->version_id = db_int64(r, row, 1);
	a->started_at_us = params_time_us(db_int64(r, row, 3));
	a->has_journal = db_bool(r, row, 4);
	a->commanded = db_bool(r, row, 7);
	buf_add(&a->input, PQgetvalue(r, row, 5),
	        (size_t)PQgetlength(r, row, 5));
	if (!PQgetisnull(r, row, 6))
		a->name = mem_strndup(PQgetvalue(r, row, 6),
		                      (size_t)PQgetlength(r, row, 6));
	TAILQ_INSERT_TAIL(&c->arrivals, a, entry);
	c->arriving++;
}

static void
idle_set(struct claim *c, bool idle)
{
	if (c->idle == idle)
		return;
	c->idle = idle;
	keeper_idle_changed(c->flusher);
}

/* After a look at the queue: when is the next? */
static void
queue_looked(struct claim *c, uint32_t got)
{
	uint64_t now = clock_mono_us();
	bool full = got == c->asked;

	if (queue_cursor_end(&c->cursor, now, full)) {
		c->next_us = now;
		return;
	}
	if (full) {
		c->rung = 0;
		c->next_us = now;
		if (got == CLAIM_MAX)
			idle_set(c, false);
		return;
	}
	if (got > 0) {
		c->rung = 0;
	} else if (c->rung < LADDER_TOP) {
		c->rung++;
	}
	if (c->rung >= 2)
		idle_set(c, true);
	c->next_us = now + ladder_us[c->rung];
}

static void
claim_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct flusher *f = c->flusher;
	uint32_t got = 0;

	c->busy = false;
	if (reply->outcome == DB_DONE) {
		const PGresult *r = reply->results[2];

		got = (uint32_t)PQntuples(r);
		for (int i = 0; i < (int)got; i++) {
			struct uuid id;

			memcpy(id.bytes, PQgetvalue(r, i, 0), 16);
			if (c->source == FROM_QUEUE)
				queue_cursor_took(&c->cursor,
				                  db_int32(r, i, 2), &id);
			/* What went meanwhile is given back already. */
			if (c->source == FROM_OWNED &&
			    (lease_find(f->leases, &id) != NULL ||
			     errand_pending(&c->errands, &id)))
				continue;
			arrival_take(c, r, i);
		}
		f->counters.claims++;
		f->counters.claim_us += clock_mono_us() - c->asked_us;
		histogram_add(&f->counters.claim_us_of,
		              clock_mono_us() - c->asked_us);
		trace_span("claim", c->asked_us, got);
		f->counters.claimed += got;
		if (c->source == FROM_QUEUE)
			queue_looked(c, got);
		if (c->source == FROM_DUE && got == c->asked)
			c->due_wanted = true;
		if (c->source == FROM_COMMANDS && got > 0)
			c->commands_wanted = true;
		if (c->source == FROM_OWNED && got == c->asked)
			c->reconcile_wanted = true;
	} else if (reply->outcome == DB_ERROR) {
		if (strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0)
			flusher_exit(f, EXIT_FENCED, reply->message);
		log_warning("claim refused sqlstate=%s reason=\"%s\"",
		            reply->sqlstate, reply->message);
		c->next_us = clock_mono_us() + CLOCK_SECOND_US;
		if (c->source == FROM_OWNED)
			c->reconcile_us = c->next_us;
	} else {
		/* It may have been committed: what is ours and not here is
		 * looked for on the next session. */
		c->reconcile_wanted = true;
	}
	claim_step(c);
}

/* What is here, so that nothing of it travels again. */
static void
known_add(struct claim *c)
{
	struct lease *lease;

	params_array_begin(&c->params, PG_UUID);
	TAILQ_FOREACH (lease, leases_all(c->flusher->leases), entry)
		params_add_uuid(&c->params, &lease->id);
	params_array_end(&c->params);
}

static void
claim_send(struct claim *c, enum claim_source source, uint32_t limit)
{
	static const struct db_statement *const statements[] = {
		[FROM_QUEUE] = &sql_claim_queued,
		[FROM_DUE] = &sql_claim_due,
		[FROM_COMMANDS] = &sql_claim_commanded,
		[FROM_OWNED] = &sql_owned,
	};
	struct flusher *f = c->flusher;
	struct params *p = &c->params;
	struct db_call *call = db_call_begin(c->db, claim_reply, c);

	c->source = source;
	c->asked = limit;
	c->asked_us = clock_mono_us();
	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_send(p, call, &sql_fence);
	params_int8(p, limit);
	if (source == FROM_OWNED)
		known_add(c);
	if (source == FROM_QUEUE) {
		c->queue_us = c->asked_us;
		queue_cursor_begin(&c->cursor, c->asked_us);
		params_int4(p, c->cursor.at.priority);
		params_uuid(p, &c->cursor.at.id);
	}
	params_send(p, call, statements[source]);
	db_call_plain(call, &db_commit_statement);
	c->busy = true;
	db_call_send(call);
}

/* ---- commands ---- */

static void
command_apply(struct claim *c, const PGresult *r, int row)
{
	struct flusher *f = c->flusher;
	struct event event = { .kind = EVENT_CANCEL,
		               .at_us = flusher_now_us(f) };
	struct lease *lease;
	struct uuid id;

	memcpy(id.bytes, PQgetvalue(r, row, 1), 16);
	lease = lease_find(f->leases, &id);
	if (lease == NULL)
		return; /* being read; the next look finds it */
	if (!PQgetisnull(r, row, 2))
		event.cause = (struct slice){
			(const uint8_t *)PQgetvalue(r, row, 2),
			(size_t)PQgetlength(r, row, 2)
		};
	/* Journaled and consumed in one transaction; when it came too late
	 * the sweep takes it. */
	if (batch_apply(f, lease, &event))
		batch_add_command(f, db_int64(r, row, 0));
}

static void
commands_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;

	if (reply->outcome == DB_DONE)
		for (int i = 0; i < PQntuples(reply->results[0]); i++)
			command_apply(c, reply->results[0], i);
}

static void
sweep_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;

	if (reply->outcome == DB_ERROR)
		log_debug("commands not swept sqlstate=%s reason=\"%s\"",
		          reply->sqlstate, reply->message);
	c->busy = false;
	claim_step(c);
}

static void
commands_send(struct claim *c)
{
	struct db_call *call = db_call_begin(c->db, commands_reply, c);

	params_clear(&c->params);
	params_uuid(&c->params, &c->flusher->incarnation);
	params_send(&c->params, call, &sql_commands_read);
	db_call_send(call);
	/* Apart: what is refused here must not hold up the others' wishes. */
	call = db_call_begin(c->db, sweep_reply, c);
	db_call_plain(call, &sql_blocked_cancel);
	db_call_plain(call, &sql_commands_sweep);
	c->busy = true;
	db_call_send(call);
}

/* ---- errands ---- */

static void
errand_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct errand *e = c->errand;

	c->busy = false;
	c->errand = NULL;
	if (reply->outcome == DB_ERROR &&
	    strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0)
		flusher_exit(c->flusher, EXIT_FENCED, reply->message);
	/* A lost or refused one is tried again; only a reason may be lost. */
	if (reply->outcome == DB_DONE || e->status == NULL)
		errand_free(&c->errands, e);
	else if (reply->outcome == DB_ERROR)
		e->not_before_us = clock_mono_us() + ERRAND_RETRY_US;
	claim_step(c);
}

static void
errand_send(struct claim *c, struct errand *e)
{
	struct params *p = &c->params;
	struct db_call *call = db_call_begin(c->db, errand_reply, c);

	c->errand = e;
	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &c->flusher->incarnation);
	params_send(p, call, &sql_fence);
	if (e->status != NULL) {
		params_uuid(p, &e->ids[0]);
		params_text(p, slice_of(e->status));
		params_int8(p, (int64_t)e->due_in_us);
		params_text(p, slice_of(e->reason));
		params_send(p, call, &sql_release);
	} else {
		params_array_begin(p, PG_UUID);
		for (uint32_t i = 0; i < e->count; i++)
			params_add_uuid(p, &e->ids[i]);
		params_array_end(p);
		params_text(p, slice_of(e->reason));
		params_send(p, call, &sql_reason_set);
	}
	db_call_plain(call, &db_commit_statement);
	c->busy = true;
	db_call_send(call);
}

void
claim_block(struct flusher *f, struct lease *lease, const char *reason)
{
	errand_add(&f->claim->errands, &lease->id, 1, "blocked", 0, reason);
	lease_remove(f, lease);
	claim_step(f->claim);
}

void
claim_park(struct flusher *f, struct lease *lease, uint64_t due_in_us,
           const char *reason)
{
	errand_add(&f->claim->errands, &lease->id, 1, "waiting", due_in_us,
	           reason);
	lease_remove(f, lease);
}

void
claim_set_reason(struct flusher *f, struct lease *const *leases,
                 uint32_t count, const char *reason)
{
	struct uuid *ids = mem_calloc(count, sizeof(*ids));

	for (uint32_t i = 0; i < count; i++)
		ids[i] = leases[i]->id;
	errand_add(&f->claim->errands, ids, count, NULL, 0, reason);
	free(ids);
	claim_step(f->claim);
}

/* ---- what next ---- */

static uint32_t
room(const struct claim *c)
{
	uint32_t held = leases_count(c->flusher->leases) + c->arriving;
	uint32_t max = c->flusher->config.instances_max;

	return held >= max ? 0 : max - held;
}

static void
wait_until(struct claim *c, uint64_t at_us, uint64_t now_us)
{
	uint64_t us = at_us > now_us ? at_us - now_us : 0;
	struct timeval tv = { .tv_sec = (time_t)(us / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(us % CLOCK_SECOND_US) };

	event_add(c->event, &tv);
}

/* One call at a time; the most pressing first. */
static void
claim_step(struct claim *c)
{
	uint64_t now = clock_mono_us();
	uint32_t free_places = room(c);
	struct errand *errand;
	uint64_t next;

	if (c->stopped && !c->busy)
		flusher_drain_step(c->flusher); /* it waits for us */
	if (c->busy || !c->registered || !db_ready(c->db) || c->stopped)
		return;
	errand = errand_due(&c->errands, now);
	if (errand != NULL) {
		errand_send(c, errand);
		return;
	}
	if (arrivals_step(c) || c->busy)
		return;
	if (now >= c->house_us) {
		c->house_us = now + HOUSE_US;
		c->commands_wanted = true;
		c->due_wanted = true;
	}
	if (now >= c->reconcile_us)
		c->reconcile_wanted = true;
	if (c->reconcile_wanted) {
		c->reconcile_wanted = false;
		c->reconcile_us = now + RECONCILE_US;
		claim_send(c, FROM_OWNED, CLAIM_MAX);
		return;
	}
	if (c->commands_wanted) {
		/* First those that nobody owns, then all of ours. */
		c->commands_wanted = false;
		if (free_places > 0 && c->source != FROM_COMMANDS) {
			claim_send(c, FROM_COMMANDS, CLAIM_MAX);
			c->commands_wanted = true;
		} else {
			c->source = FROM_QUEUE;
			commands_send(c);
		}
		return;
	}
	if (c->due_wanted && free_places > 0) {
		c->due_wanted = false;
		claim_send(c, FROM_DUE,
		           free_places < CLAIM_MAX ? free_places : CLAIM_MAX);
		return;
	}
	/* Small claims cost as much as large ones: wait for some room, but
	 * not for ever, since what is here may stay for long. */
	if (now >= c->next_us && free_places > 0 &&
	    (free_places >= CLAIM_MAX / 2 ||
	     c->flusher->config.instances_max < CLAIM_MAX ||
	     now - c->queue_us >= SMALL_US)) {
		claim_send(c, FROM_QUEUE,
		           free_places < CLAIM_MAX ? free_places : CLAIM_MAX);
		return;
	}
	next = c->house_us;
	if (free_places > 0 && c->next_us > now && c->next_us < next)
		next = c->next_us;
	else if (free_places > 0 && c->next_us <= now &&
	         c->queue_us + SMALL_US < next)
		next = c->queue_us + SMALL_US;
	wait_until(c, next, now);
}

static void
step_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	claim_step(arg);
}

void
claim_kick(struct flusher *f)
{
	claim_step(f->claim);
}

void
claim_wake(struct flusher *f)
{
	struct claim *c = f->claim;

	c->rung = 0;
	c->next_us = clock_mono_us();
	claim_step(c);
}

void
claim_wake_front(struct flusher *f)
{
	queue_cursor_want_front(&f->claim->cursor);
	claim_wake(f);
}

void
claim_commands(struct flusher *f)
{
	f->claim->commands_wanted = true;
	claim_step(f->claim);
}

void
claim_stop(struct flusher *f)
{
	struct claim *c = f->claim;

	c->stopped = true;
	while (!TAILQ_EMPTY(&c->arrivals))
		arrival_free(c, TAILQ_FIRST(&c->arrivals));
}

bool
claim_idle(const struct claim *c)
{
	return c->idle;
}

bool
claim_quiet(const struct claim *c)
{
	return !c->busy;
}

bool
claim_ready(const struct claim *c)
{
	return db_ready(c->db) && c->registered;
}

/* ---- the session ---- */

static void
claimer_registered(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;

	c->busy = false;
	if (reply->outcome == DB_ERROR) {
		if (strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0 ||
		    strcmp(reply->sqlstate, "23503") == 0)
			flusher_exit(c->flusher, EXIT_FENCED,
			             reply->message);
		db_break(c->db, reply->sqlstate, reply->message);
		return;
	}
	if (reply->outcome == DB_LOST)
		return;
	c->registered = true;
	flusher_turn_wanted(c->flusher);
	claim_step(c);
}

static void
claimer_ready(void *arg, struct db *db)
{
	struct claim *c = arg;
	struct db_call *call = db_call_begin(db, claimer_registered, c);

	c->outage_told = false;
	c->busy = true;
	params_clear(&c->params);
	params_uuid(&c->params, &c->flusher->incarnation);
	params_send(&c->params, call, &sql_backend_add);
	db_call_send(call);
}

static void
claimer_lost(void *arg, struct db *db, const char *sqlstate, const char *why)
{
	struct claim *c = arg;

	(void)db;
	c->registered = false;
	c->busy = false;
	if (!c->outage_told)
		log_warning("database away, connecting again session=claimer "
		            "sqlstate=%s reason=\"%s\"",
		            sqlstate, why);
	c->outage_told = true;
	flusher_turn_wanted(c->flusher);
	if (c->stopped)
		flusher_drain_step(c->flusher);
}

static const struct db_ops claimer_ops = { .ready_cb = claimer_ready,
	                                   .lost_cb = claimer_lost };

void
claim_open(struct claim *c)
{
	struct flusher *f = c->flusher;
	struct db_options options = { .conninfo = f->config.database,
		                      .application_name = "rappel claimer",
		                      .setup = sql_setup,
		                      .statements = sql_claimer_statements,
		                      .deadline_us =
		                          f->config.db_deadline_us };

	c->db = db_create(f->base, &options, &claimer_ops, c);
}

struct claim *
claim_create(struct flusher *f)
{
	struct claim *c = mem_zalloc(sizeof(*c));

	c->flusher = f;
	TAILQ_INIT(&c->arrivals);
	c->read_max = READ_MAX;
	TAILQ_INIT(&c->errands);
	params_init(&c->params);
	queue_cursor_init(&c->cursor);
	c->reconcile_us = clock_mono_us() + RECONCILE_US;
	c->event = event_new(f->base, -1, 0, step_cb, c);
	ASSERT(c->event != NULL);
	return c;
}

void
claim_destroy(struct claim **cp)
{
	struct claim *c = *cp;

	if (c == NULL)
		return;
	db_destroy(&c->db);
	while (!TAILQ_EMPTY(&c->arrivals))
		arrival_free(c, TAILQ_FIRST(&c->arrivals));
	while (!TAILQ_EMPTY(&c->errands))
		errand_free(&c->errands, TAILQ_FIRST(&c->errands));
	params_fini(&c->params);
	buf_fini(&c->value);
	event_free(c->event);
	free(c);
	*cp = NULL;
}
