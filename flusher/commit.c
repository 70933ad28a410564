/*
 * commit - see commit.h.
 */
#include "flusher/commit.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/batch.h"
#include "flusher/batch_pack.h"
#include "flusher/claim.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/params.h"
#include "flusher/park.h"
#include "flusher/rebuild.h"
#include "flusher/session.h"
#include "flusher/sql.h"
#include "flusher/trace.h"

#define RETRY_FIRST_US (20 * CLOCK_MS_US)
#define RETRY_MAX_US CLOCK_SECOND_US
/* How long ends that somebody's lock holds up wait for the next try. */
#define ENDS_RETRY_US (200 * CLOCK_MS_US)
/* Between two looks whether the old backend is gone. */
#define ASK_US (10 * CLOCK_MS_US)
/* So many are sent at once, at first, when several rows were refused. */
#define PIECE_FIRST 64U
/* More is sent in parts: a message of 1 GB ends the session, and a server
 * that compresses and validates takes about 20 MB/s. */
#define SEND_BYTES_MAX ((uint64_t)16 << 20)
#define ROW_BYTES_MAX ((uint64_t)512 << 20)

enum commit_phase {
	COMMIT_IDLE,
	COMMIT_SENT,
	COMMIT_RETRY,     /* refused for no fault of a row; waits */
	COMMIT_UNKNOWN,   /* the session was lost with it in flight */
	COMMIT_ASKING,    /* finding out */
};

struct commit {
	struct flusher *flusher;
	struct session *session;
	enum commit_phase phase;
	struct batch *filling;
	struct batch *flying;
	struct batch *acting; /* committed, its effects being acted on */
	struct batch *consumed; /* commands that a look may still find */
	/* Of a batch that was refused: where the row must be if what flies is
	 * committed, and what nobody has looked at yet. */
	struct batch *suspect;
	struct batch *rest;
	struct batch *scratch;
	uint32_t offenders; /* found in it */
	uint32_t piece;     /* so much of the rest is sent at once */
	/* Why what flies and suspect were refused together; empty when they
	 * were not, or for what may be the fault of their number. */
	char blame_sqlstate[6];
	char blame[400];
	uint64_t frame;     /* the last completion frame before it (ack.h) */
	struct params params;
	uint64_t sent_us;
	uint64_t retry_us; /* 0: the last one was not refused */
	char trouble[420];
	int backend_pid; /* that the flying batch went to */
	bool ends_held; /* the filling batch has ends that were locked */
	struct event *retry_event;
	struct event *held_event;
};

static void commit_send(struct commit *c);
static void row_refused(struct commit *c, const char *sqlstate,
                        const char *message);
static void ask_backend(struct commit *c);

static void
after(struct event *event, uint64_t us)
{
	struct timeval tv = { .tv_sec = (time_t)(us / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(us % CLOCK_SECOND_US) };

	event_add(event, &tv);
}

/* ---- outcomes ---- */

/* Half of what flies goes to the others that are sent later. */
static void
shrink(struct commit *c)
{
	c->blame_sqlstate[0] = '\0';
	batch_split(c->flying, c->scratch);
	batch_merge(c->scratch, c->rest);
}

/* Half of what flies is sent: the row is there, or in the other half. */
static void
bisect(struct commit *c)
{
	batch_merge(c->suspect, c->rest);
	batch_split(c->flying, c->suspect);
}

static void
swap(struct batch **a, struct batch **b)
{
	struct batch *kept = *a;

	*a = *b;
	*b = kept;
}

/* The next part: of the batch that was refused, or what filled meanwhile. */
static void
commit_next(struct commit *c)
{
	struct flusher *f = c->flusher;

	c->phase = COMMIT_IDLE;
	if (!batch_empty(c->suspect)) {
		swap(&c->flying, &c->suspect);
		if (batch_instances(c->flying) > 1) {
			bisect(c);
		} else if (c->blame_sqlstate[0] != '\0') {
			/* The others of what was refused are committed. */
			row_refused(c, c->blame_sqlstate, c->blame);
			return;
		}
		commit_send(c);
		return;
	}
	if (!batch_empty(c->rest)) {
		swap(&c->flying, &c->rest);
		while (c->offenders > 1 &&
		       batch_instances(c->flying) > c->piece)
			shrink(c);
		c->piece *= 2;
		commit_send(c);
		return;
	}
	ack_settled(&f->ack, c->frame);
	flusher_turn_wanted(f);
	flusher_drain_step(f);
}

/* Nothing is left to write but ends that somebody's lock holds up. */
static bool
only_held(const struct commit *c)
{
	return c->ends_held && batch_rows(c->filling) == 0 &&
	    batch_commands(c->filling) == 0;
}

static bool
ended_in(const PGresult *r, const struct uuid *id)
{
	int rows = PQntuples(r);

	for (int i = 0; i < rows; i++)
		if (memcmp(PQgetvalue(r, i, 0), id->bytes, 16) == 0)
			return true;
	return false;
}

/* Ends are usually all there: then nothing is compared. */
static void
release_ended(struct commit *c, struct batch *b, const PGresult *ended)
{
	struct flusher *f = c->flusher;
	uint32_t count = batch_ends(b);
	bool all = ended != NULL && (uint32_t)PQntuples(ended) == count;

	for (int i = 0; ended != NULL && i < PQntuples(ended); i++)
		if (db_bool(ended, i, 1))
			log_warning("an end was not written: somebody took or "
			            "deleted the instance");
	for (uint32_t i = 0; i < count; i++) {
		struct lease *lease = batch_end(b, i);

		lease->batches--;
		if (all || (ended != NULL && ended_in(ended, &lease->id))) {
			f->counters.ended++;
			lease_remove(f, lease);
		} else {
			/* Somebody holds its row: with a later batch. */
			c->ends_held = true;
			batch_add_end(f, lease);
		}
	}
}

/*
 * The next batch is sent before the effects of this one are acted on: the
 * database works while we do.
 */
static void
commit_done(struct commit *c, const PGresult *ended)
{
	struct flusher *f = c->flusher;
	struct batch *done = c->flying;

	FAULT_POINT("flush.after_commit");
	f->counters.commits++;
	f->counters.commit_us += clock_mono_us() - c->sent_us;
	histogram_add(&f->counters.commit_us_of, clock_mono_us() - c->sent_us);
	histogram_add(&f->counters.commit_entries_of, batch_entries(done));
	trace_span("commit", c->sent_us, batch_entries(done));
	f->counters.rows += batch_rows(done);
	f->counters.entries += batch_entries(done);
	c->retry_us = 0;
	c->flying = c->acting;
	c->acting = done;
	commit_next(c);
	if (c->phase == COMMIT_IDLE)
		commit_run(f);

	FAULT_POINT("flush.before_dependents");
	for (uint32_t i = 0; i < batch_rows(done); i++) {
		struct batch_row *row = batch_row(done, i);

		row->lease->batches--;
		batch_perform(f, row->lease, &row->effects);
		rebuild_committed(f, row->lease);
		park_maybe(f, row->lease);
	}
	FAULT_POINT("flush.after_dependents");
	if (batch_ends(done) > 0)
		release_ended(c, done, ended);
	batch_move_commands(done, c->consumed);
	batch_clear(done);
	claim_kick(f);
	flusher_turn_wanted(f);
	flusher_drain_step(f);
}

static void
commit_again(struct commit *c, const char *sqlstate, const char *message)
{
	if (c->retry_us == 0)
		log_warning("commit refused, trying again sqlstate=%s "
		            "reason=\"%s\"",
		            sqlstate, message);
	c->retry_us = c->retry_us == 0 ? RETRY_FIRST_US : c->retry_us * 2;
	if (c->retry_us > RETRY_MAX_US)
		c->retry_us = RETRY_MAX_US;
	snprintf(c->trouble, sizeof(c->trouble), "%s: %s", sqlstate, message);
	c->phase = COMMIT_RETRY;
	after(c->retry_event, c->retry_us);
}

/* What it wanted is looked for again where it is: in the table. */
static void
commands_forget(struct commit *c, const struct uuid *instance)
{
	bool any = batch_drop_commands(c->flying, instance);

	any |= batch_drop_commands(c->rest, instance);
	any |= batch_drop_commands(c->filling, instance);
	if (any)
		claim_commands(c->flusher);
}

/* The one row, or without rows the one end, that the server refuses: the
 * attempt fails instead, or its instance is set aside. */
static void
row_refused(struct commit *c, const char *sqlstate, const char *message)
{
	struct flusher *f = c->flusher;
	struct batch_row *row = batch_rows(c->flying) > 0 ?
	    batch_row(c->flying, 0) :
	    NULL;
	struct lease *lease = row != NULL ? row->lease :
	                                    batch_end(c->flying, 0);
	/* An entry of that number is no fault of what this one says. */
	bool mendable = row != NULL && strcmp(sqlstate, "23505") != 0;
	struct uuid id = lease->id;
	char text[UUID_TEXT_SIZE];
	char reason[512];

	uuid_text(&lease->id, text);
	batch_merge(c->suspect, c->rest);
	if (++c->offenders > 1)
		c->piece = c->piece > 4 ? c->piece / 4 : 1;
	lease->batches -= (row != NULL) + batch_ends(c->flying);
	if (mendable && rebuild_begin(f, lease, row, sqlstate)) {
		batch_discard(f, lease);
		log_error("journal row refused, its action fails instance=%s "
		          "sqlstate=%s reason=\"%s\"",
		          text, sqlstate, message);
		lease = NULL;
	} else {
		snprintf(reason, sizeof(reason),
		         "its %s was refused by the server, SQLSTATE %s: %s",
		         row != NULL ? "journal" : "end", sqlstate, message);
		log_error("instance blocked instance=%s reason=\"%s\"", text,
		          reason);
		batch_discard(f, lease);
	}
	commands_forget(c, &id);
	batch_move_commands(c->flying, c->rest);
	batch_clear(c->flying);
	if (lease != NULL)
		claim_block(f, lease, reason);
	else
		claim_kick(f);
	commit_next(c);
}

static void
commit_refused(struct commit *c, const struct db_reply *reply)
{
	bool data = strncmp(reply->sqlstate, "22", 2) == 0 ||
	    strncmp(reply->sqlstate, "23", 2) == 0 ||
	    strncmp(reply->sqlstate, "54", 2) == 0;
	uint32_t suspects = batch_instances(c->flying);

	c->flusher->counters.commits_refused++;
	/* It took too long: the same again would, too. */
	if (strcmp(reply->sqlstate, "57014") == 0 && suspects > 1)
		shrink(c);
	if (strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0)
		flusher_exit(c->flusher, EXIT_FENCED, reply->message);
	if (!data || suspects == 0) {
		commit_again(c, reply->sqlstate, reply->message);
		return;
	}
	if (suspects == 1) {
		row_refused(c, reply->sqlstate, reply->message);
		return;
	}
	snprintf(c->blame_sqlstate, sizeof(c->blame_sqlstate), "%s",
	         strncmp(reply->sqlstate, "54", 2) == 0 ? "" :
	                                                  reply->sqlstate);
	snprintf(c->blame, sizeof(c->blame), "%s", reply->message);
	bisect(c);
	commit_send(c);
}

static void
commit_reply(void *arg, const struct db_reply *reply)
{
	struct commit *c = arg;
	bool has_rows = batch_rows(c->flying) > 0;

	switch (reply->outcome) {
	case DB_DONE:
		commit_done(c, batch_ends(c->flying) > 0 ?
		                   reply->results[has_rows ? 3 : 2] :
		                   NULL);
		break;
	case DB_ERROR:
		commit_refused(c, reply);
		break;
	case DB_LOST:
		c->phase = COMMIT_UNKNOWN;
		c->flusher->counters.commits_unknown++;
		break;
	}
}

/* ---- sending ---- */

static void
commit_send(struct commit *c)
{
	struct batch *b = c->flying;
	struct db_call *call;

	if (!session_ready(c->session)) {
		c->phase = COMMIT_RETRY;
		return; /* writer_ready() goes on */
	}
	while (batch_wire_bytes(b) > SEND_BYTES_MAX && batch_instances(b) > 1)
		shrink(c);
	if (batch_bytes(b) > ROW_BYTES_MAX) {
		/* Not at once: effects of the batch before may be waiting. */
		c->phase = COMMIT_RETRY;
		after(c->retry_event, 0);
		return;
	}
	FAULT_POINT("flush.before_send");
	call = session_call(c->session, commit_reply, c);
	db_call_plain(call, &db_begin_statement);
	batch_pack(c->flusher, b, &c->params, call);
	db_call_plain(call, &db_commit_statement);
	c->phase = COMMIT_SENT;
	c->sent_us = clock_mono_us();
	c->backend_pid = session_backend_pid(c->session);
	db_call_send(call);
	FAULT_POINT("flush.sent");
}

void
commit_run(struct flusher *f)
{
	struct commit *c = f->commit;
	/* Behind the end of the pool's row it would look as if somebody had
	 * taken over. */
	if (c->phase != COMMIT_IDLE || batch_empty(c->filling) ||
	    !session_ready(c->session) || f->phase == FLUSHER_LEAVING)
		return;
	if (only_held(c)) {
		/* Nothing else to write: no hurry. */
		if (!event_pending(c->held_event, EV_TIMEOUT, NULL))
			after(c->held_event, ENDS_RETRY_US);
		return;
	}
	c->ends_held = false;
	event_del(c->held_event);
	swap(&c->flying, &c->filling);
	batch_seal(c->flying);
	c->frame = ack_joined(f);
	c->offenders = 0;
	c->piece = PIECE_FIRST;
	commit_send(c);
}

static void
held_cb(evutil_socket_t fd, short what, void *arg)
{
	struct commit *c = arg;

	(void)fd;
	(void)what;
	c->ends_held = false;
	commit_run(c->flusher);
}

static void
retry_cb(evutil_socket_t fd, short what, void *arg)
{
	struct commit *c = arg;

	(void)fd;
	(void)what;
	if (c->phase == COMMIT_ASKING)
		ask_backend(c);
	if (c->phase != COMMIT_RETRY)
		return;
	if (batch_empty(c->flying))
		c->phase = COMMIT_IDLE;
	else if (batch_bytes(c->flying) > ROW_BYTES_MAX &&
	         batch_instances(c->flying) == 1)
		row_refused(c, "54000", "what came at once is too large");
	else
		commit_send(c);
	commit_run(c->flusher);
}

/* ---- an unknown outcome ---- */

static void
probe_reply(void *arg, const struct db_reply *reply)
{
	struct commit *c = arg;

	if (reply->outcome == DB_LOST) {
		c->phase = COMMIT_UNKNOWN;
		return;
	}
	if (reply->outcome == DB_ERROR) {
		after(c->retry_event, ASK_US);
		return;
	}
	if (PQntuples(reply->results[1]) == 0)
		flusher_exit(c->flusher, EXIT_FENCED,
		             "the pool's row is gone");
	/* Without a row the ends say it, one by one: writing an end again
	 * does nothing. */
	if (batch_rows(c->flying) == 0 || PQntuples(reply->results[2]) > 0) {
		log_info("commit outcome found: done rows=%u",
		         batch_rows(c->flying));
		commit_done(c, reply->results[3]);
		return;
	}
	log_info("commit outcome found: not done, sending again rows=%u",
	         batch_rows(c->flying));
	/* It may have taken longer than the deadline. */
	c->blame_sqlstate[0] = '\0';
	if (batch_instances(c->flying) > 1)
		bisect(c);
	commit_send(c);
}

static void
ask_row(struct commit *c)
{
	struct params *p = &c->params;
	struct db_call *call = session_call(c->session, probe_reply, c);
	struct uuid none = { { 0 } };
	struct batch_row *row = batch_rows(c->flying) > 0 ?
	    batch_row(c->flying, 0) :
	    NULL;

	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &c->flusher->incarnation);
	params_send(p, call, &sql_pool_row_lock);
	params_clear(p);
	params_uuid(p, row != NULL ? &row->lease->id : &none);
	params_int4(p, row != NULL ? (int32_t)row->seq : 0);
	params_send(p, call, &sql_log_probe);
	params_clear(p);
	params_uuid(p, &c->flusher->incarnation);
	params_array_begin(p, PG_UUID);
	for (uint32_t i = 0; i < batch_ends(c->flying); i++)
		params_add_uuid(p, &batch_end(c->flying, i)->id);
	params_array_end(p);
	params_send(p, call, &sql_ends_probe);
	db_call_plain(call, &db_commit_statement);
	db_call_send(call);
}

static void
backend_reply(void *arg, const struct db_reply *reply)
{
	struct commit *c = arg;

	if (reply->outcome == DB_LOST) {
		c->phase = COMMIT_UNKNOWN;
		return;
	}
	/* Still there: it may yet read what we sent. Ask until it is gone. */
	if (reply->outcome == DB_DONE && db_int64(reply->results[1], 0, 0) == 0)
		ask_row(c);
	else
		after(c->retry_event, ASK_US);
}

static void
ask_backend(struct commit *c)
{
	struct params *p = &c->params;
	struct db_call *call = session_call(c->session, backend_reply, c);

	ASSERT(c->backend_pid != 0); /* it would be all of them, us too */
	params_clear(p);
	params_uuid(p, &c->flusher->incarnation);
	params_int4(p, c->backend_pid);
	params_send(p, call, &sql_backends_end);
	params_send(p, call, &sql_backends_count);
	db_call_send(call);
}

/* ---- the session ---- */

static void
writer_ready(void *arg)
{
	struct commit *c = arg;

	flusher_turn_wanted(c->flusher);
	switch (c->phase) {
	case COMMIT_UNKNOWN:
		c->phase = COMMIT_ASKING;
		ask_backend(c);
		break;
	case COMMIT_RETRY:
		retry_cb(-1, 0, c);
		break;
	case COMMIT_IDLE:
	case COMMIT_SENT:
	case COMMIT_ASKING:
		commit_run(c->flusher);
		break;
	}
}

static void
writer_lost(void *arg, const char *sqlstate, const char *why)
{
	struct commit *c = arg;

	(void)sqlstate;
	(void)why;
	if (c->phase == COMMIT_ASKING) {
		/* Between two questions: nobody else tells. */
		event_del(c->retry_event);
		c->phase = COMMIT_UNKNOWN;
	}
}

static const struct session_ops writer_ops = { .ready_cb = writer_ready,
	                                       .lost_cb = writer_lost };

void
commit_open(struct commit *c)
{
	c->session = session_create(c->flusher, "writer",
	                            sql_writer_statements, &writer_ops, c);
}

/* ---- looking, life ---- */

struct batch *
commit_filling(struct commit *c)
{
	return c->filling;
}

bool
commit_quiet(const struct commit *c)
{
	return (batch_empty(c->filling) || only_held(c)) &&
	    batch_empty(c->flying) &&
	    batch_empty(c->acting) && batch_empty(c->suspect) &&
	    batch_empty(c->rest);
}

bool
commit_consumes(const struct commit *c, int64_t command)
{
	return batch_has_command(c->filling, command) ||
	    batch_has_command(c->flying, command) ||
	    batch_has_command(c->suspect, command) ||
	    batch_has_command(c->rest, command) ||
	    batch_has_command(c->consumed, command);
}

void
commit_forget_consumed(struct commit *c)
{
	batch_clear(c->consumed);
}

bool
commit_ready(const struct commit *c)
{
	return session_ready(c->session);
}

const char *
commit_trouble(const struct commit *c)
{
	return c->retry_us > 0 ? c->trouble : NULL;
}

bool
commit_full(const struct flusher *f)
{
	const struct batch *b = f->commit->filling;

	return batch_entries(b) >= f->config.batch_actions_max ||
	    batch_bytes(b) >= f->config.batch_bytes_max;
}

struct commit *
commit_create(struct flusher *f)
{
	struct commit *c = mem_zalloc(sizeof(*c));

	c->flusher = f;
	c->filling = batch_create();
	c->flying = batch_create();
	c->acting = batch_create();
	c->suspect = batch_create();
	c->rest = batch_create();
	c->scratch = batch_create();
	c->consumed = batch_create();
	params_init(&c->params);
	c->retry_event = event_new(f->base, -1, 0, retry_cb, c);
	c->held_event = event_new(f->base, -1, 0, held_cb, c);
	ASSERT(c->retry_event != NULL && c->held_event != NULL);
	return c;
}

void
commit_destroy(struct commit **cp)
{
	struct commit *c = *cp;

	if (c == NULL)
		return;
	session_destroy(&c->session);
	batch_destroy(&c->filling);
	batch_destroy(&c->flying);
	batch_destroy(&c->acting);
	batch_destroy(&c->suspect);
	batch_destroy(&c->rest);
	batch_destroy(&c->scratch);
	batch_destroy(&c->consumed);
	params_fini(&c->params);
	event_free(c->retry_event);
	event_free(c->held_event);
	free(c);
	*cp = NULL;
}
