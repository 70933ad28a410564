/*
 * server - see server.h.
 */
#include "tests/simulation/server.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "flusher/db.h"
#include "tests/simulation/check.h"

#define LOCK_TIMEOUT_US (2000 * CLOCK_MS_US)
#define IDLE_IN_TX_US (5000 * CLOCK_MS_US)
#define GONE_NOTICED_US (2000 * CLOCK_MS_US)
#define STATEMENT_US 150U

struct tables tables;
struct backends backends;

static uint64_t down_until_us;
static int last_pid;

/* Messages that have results, so that all are freed. */
static struct message **answered;
static uint32_t answered_count;
static uint32_t answered_cap;

static void backend_plan(struct backend *b, uint64_t after_us);

void
kept_push(void *array, uint32_t *count, const void *pointer)
{
	const void ***list = array;

	/* Twice as large at each power of two. */
	if ((*count & (*count - 1)) == 0) {
		const void **more = keep_alloc((*count == 0 ? 1 :
		                                *count * 2UL) *
		                               sizeof(void *));

		if (*count > 0)
			memcpy(more, *list, *count * sizeof(void *));
		*list = more;
	}
	(*list)[(*count)++] = pointer;
}

int64_t
server_clock_us(void)
{
	return world.wall_us + (int64_t)world.now_us;
}

/* ---- locks ---- */

struct touch *
touch(struct backend *b, enum touched kind)
{
	struct touch *t = keep_alloc(sizeof(*t));

	t->kind = kind;
	*b->touched_end = t;
	b->touched_end = &t->next;
	return t;
}

bool
lock_others(const struct backend *b, const struct lock *l)
{
	if (l->owner != NULL && l->owner != b)
		return true;
	for (uint32_t i = 0; i < l->share_count; i++)
		if (l->shares[i] != b)
			return true;
	return false;
}

bool
lock_try(struct backend *b, struct lock *l)
{
	if (lock_others(b, l))
		return false;
	l->owner = b;
	return true;
}

bool
lock_share_try(struct backend *b, struct lock *l)
{
	if (l->owner != NULL && l->owner != b)
		return false;
	for (uint32_t i = 0; i < l->share_count; i++)
		if (l->shares[i] == b)
			return true;
	ASSERT(l->share_count < 16);
	l->shares[l->share_count++] = b;
	return true;
}

static void
lock_release(struct backend *b, struct lock *l)
{
	if (l->owner == b)
		l->owner = NULL;
	for (uint32_t i = 0; i < l->share_count; i++)
		if (l->shares[i] == b)
			l->shares[i--] = l->shares[--l->share_count];
}

/* ---- the end of a transaction ---- */

static void
log_drop(struct instance_row *row, const struct log_row *log)
{
	for (uint32_t i = 0; i < row->log_count; i++)
		if (row->log[i] == log) {
			memmove(&row->log[i], &row->log[i + 1],
			        (row->log_count - i - 1) *
			            sizeof(row->log[0]));
			row->log_count--;
			return;
		}
}

static void
end_log(struct backend *b, struct touch *t, bool commit)
{
	if (!commit && !(world.plant == PLANT_TORN && permille(300))) {
		log_drop(t->instance, t->log);
		return;
	}
	if (world.plant == PLANT_LOST_ROW && permille(50)) {
		log_drop(t->instance, t->log);
		return;
	}
	t->log->by = NULL;
	check_log(t->instance, t->log, conn_incarnation(b->conn));
}

/* gone: that attempt's is deleted, else that action's is written. */
static void
end_progress(struct progress_row *to)
{
	struct progress_row *row;

	for (uint32_t i = 0; i < tables.progress_count; i++) {
		row = tables.progress[i];
		if (row->gone || row->activation != to->activation ||
		    !uuid_equal(&row->instance, &to->instance))
			continue;
		if (to->gone && (row->attempt != to->attempt ||
		                 !uuid_equal(&row->incarnation,
		                             &to->incarnation)))
			return;
		*row = *to;
		return;
	}
	if (!to->gone)
		kept_push(&tables.progress, &tables.progress_count, to);
}

/* The end of ON DELETE CASCADE. */
static void
end_progress_of(const struct pool_row *pool)
{
	for (uint32_t i = 0; i < tables.progress_count; i++)
		if (uuid_equal(&tables.progress[i]->incarnation,
		               &pool->incarnation))
			tables.progress[i]->gone = true;
}

static void
end_pool(struct backend *b, struct pool_row *pool, bool commit)
{
	if (pool->inserting == b)
		pool->exists = commit;
	if (pool->deleting == b && commit) {
		pool->exists = false;
		note_id("pool row deleted", &pool->incarnation, 0);
		end_progress_of(pool);
	}
	if (pool->inserting == b)
		pool->inserting = NULL;
	if (pool->deleting == b)
		pool->deleting = NULL;
	lock_release(b, &pool->lock);
}

static void
end_backends(struct backend *b, struct pool_row *pool, bool commit)
{
	for (uint32_t i = 0; i < pool->backend_count; i++) {
		if (pool->backends[i].by != b)
			continue;
		pool->backends[i].by = NULL;
		if (!commit)
			pool->backends[i].pid = 0;
	}
}

static void
end_touch(struct backend *b, struct touch *t, bool commit)
{
	switch (t->kind) {
	case TOUCHED_LOG:
		break; /* before the others */
	case TOUCHED_INSTANCE:
		if (t->instance->changed && t->instance->lock.owner == b) {
			t->instance->changed = false;
			if (commit)
				check_instance(t->instance,
				               conn_incarnation(b->conn));
			if (commit)
				t->instance->cur = t->instance->next;
		}
		lock_release(b, &t->instance->lock);
		break;
	case TOUCHED_POOL:
		end_pool(b, t->pool, commit);
		break;
	case TOUCHED_BEAT:
		if (t->pool->beat_changed && t->pool->beat_lock.owner == b) {
			t->pool->beat_changed = false;
			if (commit) {
				t->pool->beat = t->pool->next_beat;
				t->pool->beat_us = world.now_us;
				t->pool->idle = t->pool->next_idle;
			}
		}
		lock_release(b, &t->pool->beat_lock);
		break;
	case TOUCHED_BACKENDS:
		end_backends(b, t->pool, commit);
		break;
	case TOUCHED_COMMAND:
		if (t->command->deleting && t->command->lock.owner == b) {
			t->command->deleting = false;
			if (commit)
				t->command->gone = true;
		}
		lock_release(b, &t->command->lock);
		break;
	case TOUCHED_PROGRESS:
		if (commit)
			end_progress(t->progress);
		break;
	}
}

void
server_notify(bool work)
{
	struct backend *b;

	LIST_FOREACH (b, &backends, entry)
		if (work ? b->listens_work : b->listens_command)
			conn_notify(b->conn, work ? "rappel_work" :
			                            "rappel_command");
}

static void
tx_end(struct backend *b, bool commit)
{
	struct touch *t;
	struct backend *other;
	bool any = b->touched != NULL;

	b->tx = TX_NONE;
	b->tx_count++;
	b->lock_timeout_us = LOCK_TIMEOUT_US;
	for (t = b->touched; t != NULL; t = t->next)
		if (t->kind == TOUCHED_LOG)
			end_log(b, t, commit);
	for (t = b->touched; t != NULL; t = t->next)
		end_touch(b, t, commit);
	b->touched = NULL;
	b->touched_end = &b->touched;
	if (commit && b->tells_work)
		server_notify(true);
	b->tells_work = false;
	if (!any)
		return;
	LIST_FOREACH (other, &backends, entry)
		if (other->blocked && other != b)
			backend_plan(other, 1 + dice(50));
}

/* ---- backends ---- */

static void
backend_die(struct backend *b, const char *why)
{
	if (b->dead)
		return;
	note("backend ends", (uint64_t)b->pid, 0);
	b->dead = true;
	LIST_REMOVE(b, entry);
	tx_end(b, false);
	conn_close_server(b->conn, why);
}

static void
idle_in_tx(void *arg, uint64_t tx_count)
{
	struct backend *b = arg;

	if (!b->dead && b->tx_count == tx_count && b->tx != TX_NONE &&
	    TAILQ_EMPTY(&b->messages))
		backend_die(b, "idle in transaction");
}

static void
message_failed(struct backend *b, struct message *m)
{
	m->failed = true;
	m->reply.outcome = DB_ERROR;
	if (b->tx == TX_OPEN)
		b->tx = TX_FAILED;
	else if (b->tx == TX_IMPLICIT)
		tx_end(b, false);
	/* Locks of a failed transaction go at once: it is rolled back, only
	 * its block is still open. */
	if (b->tx == TX_FAILED) {
		tx_end(b, false);
		b->tx = TX_FAILED;
	}
}

static void
message_done(struct backend *b, struct message *m)
{
	TAILQ_REMOVE(&b->messages, m, entry);
	if (m->cut)
		return; /* the end of it never comes */
	if (b->tx == TX_IMPLICIT)
		tx_end(b, true);
	m->in_error = b->tx == TX_FAILED;
	if (answered_count == answered_cap) {
		answered_cap = answered_cap == 0 ? 1024 : answered_cap * 2;
		answered = mem_realloc(answered,
		                       answered_cap * sizeof(*answered));
	}
	answered[answered_count++] = m;
	if (!m->failed)
		m->reply.outcome = DB_DONE;
	conn_reply(b->conn, m);
}

static PGresult *
empty_result(void)
{
	return PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK);
}

static void
result_add(struct message *m, PGresult *r)
{
	if (m->reply.results == NULL)
		m->reply.results = keep_alloc(m->count * sizeof(PGresult *));
	m->reply.results[m->reply.count++] = r;
}

static void
commit_late(void *arg, uint64_t tx_count)
{
	struct backend *b = arg;

	if (b->dead || b->tx_count != tx_count)
		return;
	tx_end(b, true);
	b->late = false;
	backend_plan(b, 1);
}

/* BEGIN, COMMIT, ROLLBACK, or something inside them. */
static enum ran
statement_begin(struct backend *b, struct message *m)
{
	const char *name = m->list[m->at].statement->name;

	if (strcmp(name, "commit") == 0) {
		if (world.plant == PLANT_EARLY_REPLY && b->tx == TX_OPEN) {
			result_add(m, empty_result());
			b->late = true;
			world_after(4000, commit_late, b, b->tx_count);
			return RAN_DONE;
		}
		if (b->tx != TX_NONE)
			tx_end(b, b->tx == TX_OPEN);
		result_add(m, empty_result());
		return RAN_DONE;
	}
	if (strcmp(name, "rollback") == 0) {
		tx_end(b, false);
		result_add(m, empty_result());
		return RAN_DONE;
	}
	if (b->tx == TX_FAILED) {
		strcpy(m->reply.sqlstate, "25P02");
		return RAN_ERROR;
	}
	if (b->tx == TX_NONE) {
		b->tx = TX_IMPLICIT;
		b->now_us = server_clock_us();
	}
	if (strcmp(name, "prepare") == 0) {
		result_add(m, empty_result());
		return RAN_DONE;
	}
	if (strcmp(name, "begin") == 0) {
		b->tx = TX_OPEN;
		result_add(m, empty_result());
		return RAN_DONE;
	}
	return statement_run(b, m);
}

/* The moods of a loaded server. */
static bool
mood(struct message *m)
{
	static const char *const states[] = { "53200", "57014", "40001",
		"40P01", "XX000" };

	if (!world.faulty || !permille(world.fault_rate / 8))
		return false;
	strcpy(m->reply.sqlstate, states[dice(5)]);
	note("mood", dice(5), 0);
	return true;
}

static enum ran
message_step(struct backend *b, struct message *m)
{
	enum ran ran = mood(m) ? RAN_ERROR : statement_begin(b, m);

	if (ran == RAN_BLOCKED) {
		uint64_t until_us;

		if (!b->blocked)
			b->blocked_us = world.now_us;
		b->blocked = true;
		until_us = b->blocked_us + b->lock_timeout_us;
		if (world.now_us < until_us) {
			backend_plan(b, until_us - world.now_us);
			return ran;
		}
		strcpy(m->reply.sqlstate, "55P03");
		ran = RAN_ERROR;
	}
	b->blocked = false;
	if (ran == RAN_ERROR)
		message_failed(b, m);
	else
		m->at++;
	return ran;
}

static void
backend_go(void *arg, uint64_t epoch)
{
	struct backend *b = arg;
	struct message *m;

	if (b->dead || b->epoch != epoch || b->late)
		return;
	b->stuck = false;
	while ((m = TAILQ_FIRST(&b->messages)) != NULL) {
		if (b->end_wanted) {
			backend_die(b, "terminated by an administrator");
			return;
		}
		if (m->end) {
			backend_die(b, "");
			return;
		}
		if (!m->failed && m->at < m->sync_at) {
			if (message_step(b, m) == RAN_BLOCKED)
				return;
		} else {
			message_done(b, m);
			if (b->dead || b->late)
				return;
		}
		if (world.faulty && b->tx == TX_OPEN &&
		    permille(world.fault_rate / 16)) {
			/* A disk that hangs; nobody can interrupt it. */
			note("disk hangs", (uint64_t)b->pid, 0);
			b->stuck = true;
			backend_plan(b, dice(15000000));
			return;
		}
		if (dice(10) < 4) {
			backend_plan(b, delay_us(STATEMENT_US));
			return;
		}
	}
	if (b->end_wanted)
		backend_die(b, "terminated by an administrator");
	else if (b->tx != TX_NONE)
		world_after(IDLE_IN_TX_US, idle_in_tx, b, b->tx_count);
}

static void
backend_plan(struct backend *b, uint64_t after_us)
{
	world_after(after_us, backend_go, b, ++b->epoch);
}

static void
gone_noticed(void *arg, uint64_t number)
{
	struct backend *b = arg;

	(void)number;
	if (!b->dead && b->blocked)
		backend_die(b, "");
}

/* ---- the server ---- */

struct backend *
server_accept(struct conn *c)
{
	struct backend *b;

	if (world.now_us < down_until_us)
		return NULL;
	b = keep_alloc(sizeof(*b));
	b->conn = c;
	b->pid = ++last_pid;
	b->lock_timeout_us = LOCK_TIMEOUT_US;
	b->touched_end = &b->touched;
	TAILQ_INIT(&b->messages);
	LIST_INSERT_HEAD(&backends, b, entry);
	return b;
}

int
server_pid(const struct backend *b)
{
	return b->pid;
}

void
server_message(struct backend *b, struct message *m)
{
	if (b->dead)
		return;
	TAILQ_INSERT_TAIL(&b->messages, m, entry);
	if (m->end && b->blocked)
		world_after(GONE_NOTICED_US, gone_noticed, b, 0);
	if (!b->blocked && !b->stuck)
		backend_plan(b, delay_us(STATEMENT_US));
}

void
server_closed(struct backend *b)
{
	struct message *end;

	if (b == NULL || b->dead)
		return;
	end = keep_alloc(sizeof(*end));
	end->end = true;
	end->conn = b->conn;
	server_message(b, end);
}

void
server_end_backend(struct backend *b)
{
	if (b->dead)
		return;
	b->end_wanted = true;
	if (b->stuck)
		return;
	backend_plan(b, delay_us(STATEMENT_US));
}

void
server_crash(uint64_t until_us)
{
	struct backend *b;

	note("server crash", until_us, 0);
	down_until_us = until_us;
	while ((b = LIST_FIRST(&backends)) != NULL)
		backend_die(b, "the server crashed");
}

void
server_begin(void)
{
	memset(&tables, 0, sizeof(tables));
	LIST_INIT(&backends);
	down_until_us = 0;
	last_pid = 100;
}

void
server_end(void)
{
	for (uint32_t i = 0; i < answered_count; i++)
		for (uint32_t n = 0; n < answered[i]->reply.count; n++)
			PQclear(answered[i]->reply.results[n]);
	answered_count = 0;
}
