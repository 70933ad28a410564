/*
 * progress - see progress.h.
 */
#include "flusher/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "flusher/params.h"
#include "flusher/sql.h"

#define WRITE_US CLOCK_SECOND_US
/* Of one transaction; heartbeats of the pool wait behind it. */
#define ROWS_MAX 1000U
#define BYTES_MAX (1U << 20)

enum progress_place {
	PROGRESS_REST,    /* as it stands in the table */
	PROGRESS_CHANGED, /* to be written or deleted */
	PROGRESS_SENT,    /* in the transaction under way */
};

struct progress {
	LIST_ENTRY(progress) all_entry;
	TAILQ_ENTRY(progress) entry; /* unless it rests */
	struct progress_of of;
	struct buf json;
	char *state;
	enum progress_place place;
	bool stored; /* there may be a row */
	bool ended;  /* no flight's any more */
	bool again;  /* SENT, and changed since */
};

TAILQ_HEAD(progress_list, progress);

struct progress_table {
	LIST_HEAD(, progress) all;
	struct progress_list changed;
	struct progress_list sent;
	uint64_t sent_us;
	/* A transaction of a session that was lost may still be done, after
	 * what followed it: at this time everything is written anew. 0: no. */
	uint64_t anew_us;
	bool anew_sent;
};

struct progress_table *
progress_create(void)
{
	struct progress_table *t = mem_zalloc(sizeof(*t));

	LIST_INIT(&t->all);
	TAILQ_INIT(&t->changed);
	TAILQ_INIT(&t->sent);
	return t;
}

static void
progress_free(struct progress *p)
{
	LIST_REMOVE(p, all_entry);
	buf_fini(&p->json);
	free(p->state);
	free(p);
}

void
progress_destroy(struct progress_table **tp)
{
	struct progress_table *t = *tp;
	struct progress *p;

	if (t == NULL)
		return;
	while ((p = LIST_FIRST(&t->all)) != NULL)
		progress_free(p);
	free(t);
	*tp = NULL;
}

static void
progress_change(struct progress_table *t, struct progress *p)
{
	switch (p->place) {
	case PROGRESS_REST:
		p->place = PROGRESS_CHANGED;
		TAILQ_INSERT_TAIL(&t->changed, p, entry);
		return;
	case PROGRESS_SENT:
		p->again = true;
		return;
	case PROGRESS_CHANGED:
		return;
	}
}

void
progress_say(struct progress_table *t, struct progress **pp,
             const struct progress_of *of, struct slice value)
{
	struct progress *p = *pp;

	if (p == NULL) {
		p = *pp = mem_zalloc(sizeof(*p));
		p->state = mem_strndup(of->state.data, of->state.len);
		LIST_INSERT_HEAD(&t->all, p, all_entry);
	}
	p->of = *of;
	p->of.state = (struct slice){ (const uint8_t *)p->state,
		                      of->state.len };
	p->json.len = 0;
	json_write(value, &p->json);
	progress_change(t, p);
}

void
progress_end(struct progress_table *t, struct progress **pp)
{
	struct progress *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	p->ended = true;
	if (p->place != PROGRESS_SENT && !p->stored) {
		if (p->place == PROGRESS_CHANGED)
			TAILQ_REMOVE(&t->changed, p, entry);
		progress_free(p);
		return;
	}
	progress_change(t, p);
}

uint64_t
progress_due(const struct progress_table *t)
{
	uint64_t due_us = t->sent_us + WRITE_US;

	if (!TAILQ_EMPTY(&t->changed))
		return due_us;
	return t->anew_us > due_us || t->anew_us == 0 ? t->anew_us : due_us;
}

/* ---- one transaction ---- */

/* Nothing of ours is in the table any more, in a moment. */
static void
progress_anew(struct progress_table *t, struct db_call *call,
              struct params *params, const struct uuid *incarnation)
{
	struct progress *p;

	params_clear(params);
	params_uuid(params, incarnation);
	params_send(params, call, &sql_progress_clear);
	LIST_FOREACH (p, &t->all, all_entry)
		if (p->stored && !p->ended)
			progress_change(t, p);
	t->anew_sent = true;
}

/* Moves what goes into it to the list of what is sent. */
static uint32_t
progress_gather(struct progress_table *t)
{
	struct progress *p;
	uint32_t rows = 0;
	size_t bytes = 0;

	while ((p = TAILQ_FIRST(&t->changed)) != NULL && rows < ROWS_MAX &&
	       bytes < BYTES_MAX) {
		TAILQ_REMOVE(&t->changed, p, entry);
		TAILQ_INSERT_TAIL(&t->sent, p, entry);
		p->place = PROGRESS_SENT;
		p->again = false;
		rows++;
		bytes += p->ended ? 0 : p->json.len;
	}
	return rows;
}

enum column { INSTANCE, ACTIVATION, ATTEMPT, STATE, PROGRESS, AT, COLUMNS };

/* One column of those that are to be deleted, or of those that are not. */
static void
progress_column(const struct progress_table *t, struct params *to,
                enum column column, bool ended)
{
	static const enum pg_oid types[COLUMNS] = {
		[INSTANCE] = PG_UUID, [ACTIVATION] = PG_INT4,
		[ATTEMPT] = PG_INT4,  [STATE] = PG_TEXT,
		[PROGRESS] = PG_JSON, [AT] = PG_TIMESTAMPTZ,
	};
	const struct progress *p;

	params_array_begin(to, types[column]);
	TAILQ_FOREACH (p, &t->sent, entry) {
		if (p->ended != ended)
			continue;
		switch (column) {
		case INSTANCE:
			params_add_uuid(to, &p->of.instance);
			break;
		case ACTIVATION:
			params_add_int4(to, (int32_t)p->of.activation);
			break;
		case ATTEMPT:
			params_add_int4(to, (int32_t)p->of.attempt);
			break;
		case STATE:
			params_add_bytes(to, p->of.state);
			break;
		case PROGRESS:
			params_add_bytes(to, buf_slice(&p->json));
			break;
		case AT:
			params_add_time(to, p->of.at_us);
			break;
		case COLUMNS:
			break;
		}
	}
	params_array_end(to);
}

void
progress_send(struct progress_table *t, struct db_call *call,
              struct params *params, const struct uuid *incarnation,
              uint64_t now_us)
{
	const struct progress *p;
	uint32_t ended = 0, rows;

	t->sent_us = now_us;
	if (t->anew_us != 0 && t->anew_us <= now_us)
		progress_anew(t, call, params, incarnation);
	rows = progress_gather(t);
	TAILQ_FOREACH (p, &t->sent, entry)
		ended += p->ended;
	/* First: the next attempt of the same action may have said something
	 * already. */
	if (ended > 0) {
		params_clear(params);
		params_uuid(params, incarnation);
		for (enum column c = INSTANCE; c <= ATTEMPT; c++)
			progress_column(t, params, c, true);
		params_send(params, call, &sql_progress_delete);
	}
	if (ended < rows) {
		params_clear(params);
		params_uuid(params, incarnation);
		for (enum column c = INSTANCE; c < COLUMNS; c++)
			progress_column(t, params, c, false);
		params_send(params, call, &sql_progress_write);
	}
}

/* Each of what was sent, out of the list, at rest. */
static struct progress *
progress_back(struct progress_table *t)
{
	struct progress *p = TAILQ_FIRST(&t->sent);

	if (p == NULL)
		return NULL;
	TAILQ_REMOVE(&t->sent, p, entry);
	p->place = PROGRESS_REST;
	return p;
}

void
progress_written(struct progress_table *t)
{
	struct progress *p;

	if (t->anew_sent)
		t->anew_us = 0;
	t->anew_sent = false;
	while ((p = progress_back(t)) != NULL) {
		/* It ended while it was written: deleted by the next one. */
		bool over = p->ended && !p->again;

		p->stored = true;
		if (over)
			progress_free(p);
		else if (p->again)
			progress_change(t, p);
	}
}

void
progress_lost(struct progress_table *t, uint64_t done_by_us)
{
	struct progress *p;

	t->anew_us = done_by_us;
	t->anew_sent = false;
	while ((p = progress_back(t)) != NULL) {
		p->stored = true;
		progress_change(t, p);
	}
}

void
progress_refused(struct progress_table *t, bool drop)
{
	struct progress *p;

	t->anew_sent = false;
	while ((p = progress_back(t)) != NULL) {
		if (!drop || p->again)
			progress_change(t, p);
		else if (p->ended)
			progress_free(p);
	}
}
