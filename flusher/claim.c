/*
 * claim - see claim.h.
 */
#include "flusher/claim.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/adopt.h"
#include "flusher/batch.h"
#include "flusher/claim_parts.h"
#include "flusher/commit.h"
#include "flusher/flusher.h"
#include "flusher/keeper.h"
#include "flusher/lease.h"
#include "flusher/rebuild.h"
#include "flusher/session.h"
#include "flusher/sql.h"
#include "flusher/trace.h"

#define CLAIM_MAX 64U
#define OWNED_MAX 512U /* they are read, not locked */
#define COMMANDS_MAX 1000
#define SMALL_US (100 * CLOCK_MS_US)  /* between claims for little room */
#define HOUSE_US CLOCK_SECOND_US      /* due, commands */
#define RECONCILE_US (30 * CLOCK_SECOND_US)
#define ERRAND_RETRY_US CLOCK_SECOND_US
#define SHUN_US (60 * CLOCK_SECOND_US) /* what cannot be claimed */
#define ASK_US (10 * CLOCK_MS_US) /* whether the old backend is gone */

static const uint64_t ladder_us[] = { 0, 5 * CLOCK_MS_US, 20 * CLOCK_MS_US,
	                              100 * CLOCK_MS_US };
#define LADDER_TOP (sizeof(ladder_us) / sizeof(ladder_us[0]))

/* ---- what cannot be claimed ---- */

static void
shunned_add(struct claim *c)
{
	params_array_begin(&c->params, PG_UUID);
	for (uint32_t i = 0; i < c->shunned_count; i++)
		params_add_uuid(&c->params, &c->shunned[i]);
	params_array_end(&c->params);
}

void
claim_shun(struct claim *c, const struct uuid *id)
{
	if (c->shunned_count == SHUNNED_MAX)
		memmove(c->shunned, c->shunned + 1,
		        --c->shunned_count * sizeof(*id));
	if (c->shunned_count == 0)
		c->shunned_us = clock_mono_us();
	c->shunned[c->shunned_count++] = *id;
}

static void
first_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	char text[UUID_TEXT_SIZE];
	struct uuid id;

	c->busy = false;
	if (reply->outcome == DB_DONE && PQntuples(reply->results[0]) == 1) {
		memcpy(id.bytes, PQgetvalue(reply->results[0], 0, 0), 16);
		uuid_text(&id, text);
		log_error("an instance cannot be claimed, others are "
		          "instance=%s reason=\"%s\"",
		          text, c->trouble);
		claim_shun(c, &id);
	}
	claim_step(c);
}

/*
 * The server refuses what a claim would change: fewer are tried, and when it
 * is one, that one is left alone. False when it is no fault of a row.
 */
static bool
claim_refused(struct claim *c, const char *sqlstate)
{
	struct db_call *call;
	bool queue = c->source == FROM_QUEUE;

	if (strncmp(sqlstate, "22", 2) != 0 && strncmp(sqlstate, "23", 2) != 0 &&
	    strncmp(sqlstate, "54", 2) != 0 && strncmp(sqlstate, "P0", 2) != 0)
		return false;
	if (!queue && c->source != FROM_DUE)
		return false;
	c->next_us = clock_mono_us();
	c->due_wanted = c->due_wanted || !queue;
	if (c->asked > 1) {
		c->narrow = c->asked / 2;
		return true;
	}
	params_clear(&c->params);
	shunned_add(c);
	if (queue) {
		params_int4(&c->params, c->cursor.at.priority);
		params_uuid(&c->params, &c->cursor.at.id);
	}
	call = session_call(c->session, first_reply, c);
	params_send(&c->params, call,
	            queue ? &sql_first_queued : &sql_first_due);
	c->busy = true;
	db_call_send(call);
	return true;
}

/* ---- claiming ---- */

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
	/* At the top of the ladder only the housekeeping looks. */
	c->next_us = c->rung == LADDER_TOP ? UINT64_MAX :
	                                     now + ladder_us[c->rung];
	if (c->woken)
		c->next_us = now; /* what came in between was not seen */
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

		FAULT_POINT("claim.committed");
		c->trouble[0] = '\0';
		if (c->narrow < CLAIM_MAX)
			c->narrow *= 2;
		got = (uint32_t)PQntuples(r);
		for (int i = 0; i < (int)got; i++) {
			struct errand *errand;
			struct uuid id;

			memcpy(id.bytes, PQgetvalue(r, i, 0), 16);
			if (c->source == FROM_QUEUE)
				queue_cursor_took(&c->cursor,
				                  db_int32(r, i, 2), &id);
			errand = errand_pending(&c->errands, &id);
			/* What went meanwhile is given back already. */
			if (c->source == FROM_OWNED &&
			    (errand != NULL ||
			     lease_find(f->leases, &id) != NULL))
				continue;
			/* It was there to be claimed: a give-back whose answer
			 * was lost is done, and must not be done again. */
			if (errand != NULL)
				errand_free(&c->errands, errand);
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
		if (c->source == FROM_COMMANDS)
			c->commands_more = got == c->asked;
		if (c->source == FROM_OWNED) {
			c->listed = got < c->asked;
			c->reconcile_wanted = !c->listed;
		}
	} else if (reply->outcome == DB_ERROR) {
		if (strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0)
			flusher_exit(f, EXIT_FENCED, reply->message);
		if (c->trouble[0] == '\0')
			log_warning("claim refused, trying again sqlstate=%s "
			            "reason=\"%s\"",
			            reply->sqlstate, reply->message);
		snprintf(c->trouble, sizeof(c->trouble), "%s: %s",
		         reply->sqlstate, reply->message);
		if (!claim_refused(c, reply->sqlstate))
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
	struct db_call *call = session_call(c->session, claim_reply, c);

	if (source != FROM_OWNED && limit > c->narrow)
		limit = c->narrow;
	c->source = source;
	c->asked = limit;
	c->asked_us = clock_mono_us();
	if (c->asked_us - c->shunned_us > SHUN_US)
		c->shunned_count = 0;
	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_send(p, call, &sql_fence);
	params_int8(p, limit);
	if (source == FROM_OWNED)
		known_add(c);
	if (source != FROM_OWNED)
		shunned_add(c);
	if (source == FROM_QUEUE) {
		c->woken = false;
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

/* ---- is there anything to claim? Asked without a lock, so without a write:
 * an idle pool costs the database nothing but the question. ---- */

static void
peek_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	const PGresult *r;

	c->busy = false;
	/* From the answer on: where that takes long, the others' turn comes. */
	c->house_us = clock_mono_us() + HOUSE_US;
	if (reply->outcome == DB_DONE) {
		r = reply->results[0];
		if (db_bool(r, 0, 0)) {
			if (c->cursor.at_front)
				queue_cursor_want_front(&c->cursor);
			c->rung = 0;
			c->next_us = clock_mono_us();
		} else {
			queue_cursor_end(&c->cursor, clock_mono_us(), false);
		}
		c->due_wanted = db_bool(r, 0, 1);
		c->commands_wanted = c->commands_wanted || db_bool(r, 0, 2);
	}
	claim_step(c);
}

static void
peek_send(struct claim *c)
{
	struct params *p = &c->params;
	struct db_call *call = session_call(c->session, peek_reply, c);

	queue_cursor_begin(&c->cursor, clock_mono_us());
	params_clear(p);
	params_int4(p, c->cursor.at.priority);
	params_uuid(p, &c->cursor.at.id);
	params_send(p, call, &sql_peek);
	c->busy = true;
	db_call_send(call);
}

/* ---- commands ---- */

static void
commands_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;

	/* From look to look up to the last one, and then from the front again:
	 * what is on its way by then is found once more and left alone. */
	c->commands_after = 0;
	if (reply->outcome != DB_DONE || PQntuples(reply->results[0]) == 0)
		return;
	c->commands_after = commands_last(reply->results[0]);
	c->commands_wanted = true;
	commands_take(c, reply->results[0], COMMANDS_ALL);
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
	struct db_call *call = session_call(c->session, commands_reply, c);

	commit_forget_consumed(c->flusher->commit);
	params_clear(&c->params);
	params_uuid(&c->params, &c->flusher->incarnation);
	params_int8(&c->params, COMMANDS_MAX);
	params_int8(&c->params, c->commands_after);
	params_send(&c->params, call, &sql_commands_read);
	db_call_send(call);
	/* Apart: what is refused here must not hold up the others' wishes. */
	call = session_call(c->session, sweep_reply, c);
	db_call_plain(call, &sql_blocked_cancel);
	db_call_plain(call, &sql_commands_sweep);
	c->busy = true;
	db_call_send(call);
}

/* ---- errands ---- */

static void
wait_until(struct claim *c, uint64_t at_us, uint64_t now_us)
{
	uint64_t us = at_us > now_us ? at_us - now_us : 0;
	struct timeval tv = { .tv_sec = (time_t)(us / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(us % CLOCK_SECOND_US) };

	event_add(c->event, &tv);
}

static void
errand_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct errand *e = c->errand;

	c->busy = false;
	c->errand = NULL;
	if (reply->outcome == DB_LOST && e->status != NULL)
		c->lost_pid = c->errand_pid;
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

/*
 * What was sent on a session that is lost may still be read and done, even
 * after we have done it again and claimed the instance anew: it would be given
 * back under our feet. So its backend is ended, and waited for.
 */
static void
lost_backend_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;

	c->busy = false;
	if (reply->outcome != DB_DONE ||
	    db_int64(reply->results[1], 0, 0) > 0) {
		wait_until(c, clock_mono_us() + ASK_US, clock_mono_us());
		return;
	}
	c->lost_pid = 0;
	claim_step(c);
}

static void
lost_backend_end(struct claim *c)
{
	struct params *p = &c->params;
	struct db_call *call = session_call(c->session, lost_backend_reply, c);

	params_clear(p);
	params_uuid(p, &c->flusher->incarnation);
	params_int4(p, c->lost_pid);
	params_send(p, call, &sql_backends_end);
	params_send(p, call, &sql_backends_count);
	c->busy = true;
	db_call_send(call);
}

static void
errand_send(struct claim *c, struct errand *e)
{
	struct params *p = &c->params;
	struct db_call *call = session_call(c->session, errand_reply, c);

	c->errand = e;
	c->errand_pid = session_backend_pid(c->session);
	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &c->flusher->incarnation);
	params_send(p, call, &sql_fence);
	if (e->status != NULL) {
		params_uuid(p, &e->ids[0]);
		params_text(p, slice_of(e->status));
		if (e->due_us == 0)
			params_null(p);
		else
			params_time(p, e->due_us);
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
claim_park(struct flusher *f, struct lease *lease, int64_t due_us,
           const char *reason)
{
	errand_add(&f->claim->errands, &lease->id, 1, "waiting", due_us,
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

/* One call at a time; the most pressing first. */
void
claim_step(struct claim *c)
{
	uint64_t now = clock_mono_us();
	uint32_t free_places = room(c);
	struct errand *errand;
	uint64_t next;

	if (c->stopped && !c->busy)
		flusher_drain_step(c->flusher); /* it waits for us */
	if (c->busy || !session_ready(c->session) || c->stopped ||
	    !adopt_open(c->flusher->adopt))
		return;
	if (c->lost_pid != 0) {
		lost_backend_end(c);
		return;
	}
	errand = errand_due(&c->errands, now);
	if (errand != NULL) {
		errand_send(c, errand);
		return;
	}
	if (rebuilds_step(c) || arrivals_step(c) || c->busy)
		return;
	if (now >= c->house_us) {
		c->house_us = now + HOUSE_US;
		peek_send(c);
		return;
	}
	if (now >= c->reconcile_us)
		c->reconcile_wanted = true;
	if (c->reconcile_wanted) {
		c->reconcile_wanted = false;
		c->reconcile_us = now + RECONCILE_US;
		claim_send(c, FROM_OWNED, OWNED_MAX);
		return;
	}
	if (c->recovering && c->listed) {
		c->recovering = false;
		adopt_settle(c->flusher);
	}
	/* What they bring has to have room; a commit comes back here. */
	if (c->commands_wanted && !commit_full(c->flusher)) {
		/* First those that nobody owns, then all of ours. */
		c->commands_wanted = false;
		if (free_places > 0 && c->source != FROM_COMMANDS) {
			claim_send(c, FROM_COMMANDS, CLAIM_MAX);
			c->commands_wanted = true;
		} else {
			c->source = FROM_QUEUE;
			c->commands_wanted = c->commands_more;
			c->commands_more = false;
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
	c->woken = true;
	c->next_us = clock_mono_us();
	claim_step(c);
}

void
claim_owned(struct flusher *f)
{
	f->claim->reconcile_wanted = true;
	f->claim->recovering = true;
	f->claim->listed = false;
	claim_step(f->claim);
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

const char *
claim_trouble(const struct claim *c)
{
	return c->trouble[0] != '\0' ? c->trouble : NULL;
}

bool
claim_ready(const struct claim *c)
{
	return session_ready(c->session);
}

/* ---- the session ---- */

static void
claimer_ready(void *arg)
{
	struct claim *c = arg;

	c->busy = false;
	flusher_turn_wanted(c->flusher);
	claim_step(c);
}

static void
claimer_lost(void *arg, const char *sqlstate, const char *why)
{
	struct claim *c = arg;

	(void)sqlstate;
	(void)why;
	c->busy = false;
	if (c->stopped)
		flusher_drain_step(c->flusher);
}

static const struct session_ops claimer_ops = { .ready_cb = claimer_ready,
	                                        .lost_cb = claimer_lost };

void
claim_open(struct claim *c)
{
	c->session = session_create(c->flusher, "claimer",
	                            sql_claimer_statements, &claimer_ops, c);
}

struct claim *
claim_create(struct flusher *f)
{
	struct claim *c = mem_zalloc(sizeof(*c));

	c->flusher = f;
	TAILQ_INIT(&c->arrivals);
	TAILQ_INIT(&c->rebuilds);
	c->read_max = READ_MAX;
	c->narrow = CLAIM_MAX;
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
	session_destroy(&c->session);
	while (!TAILQ_EMPTY(&c->arrivals))
		arrival_free(c, TAILQ_FIRST(&c->arrivals));
	rebuilds_destroy(&c->rebuilds);
	while (!TAILQ_EMPTY(&c->errands))
		errand_free(&c->errands, TAILQ_FIRST(&c->errands));
	params_fini(&c->params);
	buf_fini(&c->value);
	event_free(c->event);
	free(c);
	*cp = NULL;
}
