/*
 * network - see network.h. The client's half behaves as flusher/db.c does;
 * tests/integration holds that one against a real server.
 */
#include "tests/simulation/network.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "tests/simulation/process.h"
#include "tests/simulation/server.h"

#define CONNECT_US (3 * CLOCK_SECOND_US)
#define NET_US 200U

enum news_kind { NEWS_READY, NEWS_REPLY, NEWS_NOTIFY, NEWS_CLOSED };

/* What arrives at the client. */
struct news {
	TAILQ_ENTRY(news) entry;
	struct conn *conn;
	enum news_kind kind;
	struct message *message;
	const char *text;
};

/* Of a connection, both ends; it lives as long as the history. */
struct conn {
	LIST_ENTRY(conn) entry;
	struct process *process; /* NULL: it is gone */
	struct pool *pool;
	struct uuid incarnation;
	struct db *db; /* NULL: the client has closed */
	struct backend *backend;
	int pid;
	uint64_t to_server_us; /* the last arrival */
	uint64_t to_client_us;
	bool mute; /* nothing arrives at the client any more */
	TAILQ_HEAD(, news) inbox;
};

struct db_call {
	TAILQ_ENTRY(db_call) entry;
	struct db *db;
	db_reply_cb *reply_cb;
	void *arg;
	uint64_t deadline_us;
	struct message *message;
};

enum phase { DB_WAITING, DB_CONNECTING, DB_READY };

struct db {
	struct process *process;
	enum phase phase;
	struct db_options options;
	const struct db_ops *ops;
	void *arg;
	struct conn *conn;
	struct event *timer;
	struct event *net;
	TAILQ_HEAD(db_calls, db_call) calls;
};

static LIST_HEAD(, conn) conns = LIST_HEAD_INITIALIZER(conns);

const struct db_statement db_begin_statement = { "begin", "", 0, NULL };
const struct db_statement db_commit_statement = { "commit", "", 0, NULL };
static const struct db_statement rollback = { "rollback", "", 0, NULL };
static const struct db_statement prepare = { "prepare", "", 0, NULL };

/* ---- the network ---- */

static uint64_t
arrival(struct conn *c, uint64_t *last_us)
{
	uint64_t at_us = world.now_us + delay_us(NET_US);

	if (at_us < c->pool->clogged_until_us)
		at_us = c->pool->clogged_until_us + dice(1000);
	if (at_us <= *last_us)
		at_us = *last_us + 1;
	*last_us = at_us;
	return at_us;
}

static void
news_arrive(void *arg, uint64_t number)
{
	struct news *n = arg;
	struct conn *c = n->conn;

	(void)number;
	if (c->db == NULL)
		return;
	TAILQ_INSERT_TAIL(&c->inbox, n, entry);
	event_active(c->db->net, EV_READ, 1);
}

static void
news_send(struct conn *c, enum news_kind kind, struct message *m,
          const char *text)
{
	struct news *n = keep_alloc(sizeof(*n));

	if (c->mute)
		return;
	n->conn = c;
	n->kind = kind;
	n->message = m;
	n->text = text;
	world_at(arrival(c, &c->to_client_us), news_arrive, n, 0);
}

void
conn_reply(struct conn *c, struct message *m)
{
	if (m->mishap == MISHAP_MUTE)
		c->mute = true;
	if (m->mishap == MISHAP_REPLY_LOST) {
		note("reply lost", c->pool->no, 0);
		news_send(c, NEWS_CLOSED, NULL, "the reply was lost");
		c->mute = true;
		server_closed(c->backend);
		return;
	}
	news_send(c, NEWS_REPLY, m, NULL);
}

void
conn_notify(struct conn *c, const char *channel)
{
	news_send(c, NEWS_NOTIFY, NULL, channel);
}

void
conn_close_server(struct conn *c, const char *why)
{
	news_send(c, NEWS_CLOSED, NULL, why);
	c->backend = NULL;
	c->mute = true;
}

struct pool *
conn_pool(const struct conn *c)
{
	return c->pool;
}

const struct uuid *
conn_incarnation(const struct conn *c)
{
	return &c->incarnation;
}

static void
conn_arrives(void *arg, uint64_t number)
{
	struct conn *c = arg;

	(void)number;
	c->backend = server_accept(c);
	if (c->backend == NULL) {
		news_send(c, NEWS_CLOSED, NULL, "connection refused");
	} else {
		c->pid = server_pid(c->backend);
		news_send(c, NEWS_READY, NULL, NULL);
	}
}

static void
message_arrives(void *arg, uint64_t number)
{
	struct message *m = arg;

	(void)number;
	if (m->conn->backend != NULL)
		server_message(m->conn->backend, m);
}

static void
message_send(struct conn *c, struct message *m, uint64_t late_us)
{
	c->to_server_us += c->to_server_us < world.now_us ?
	    world.now_us - c->to_server_us + late_us :
	    late_us;
	m->conn = c;
	world_at(arrival(c, &c->to_server_us), message_arrives, m, 0);
}

static void
conn_close_client(struct conn *c, uint64_t late_us)
{
	struct message *end = keep_alloc(sizeof(*end));

	if (c->db == NULL)
		return;
	c->db = NULL;
	end->end = true;
	message_send(c, end, late_us);
}

/* ---- the client ---- */

static void
timer_at(struct db *db, uint64_t at_us)
{
	uint64_t us = at_us > world.now_us ? at_us - world.now_us : 0;
	struct timeval tv = { .tv_sec = (time_t)(us / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(us %
		                                       CLOCK_SECOND_US) };

	event_add(db->timer, &tv);
}

static void
db_connect(struct db *db)
{
	struct conn *c = keep_alloc(sizeof(*c));

	c->process = db->process;
	c->pool = process_pool(db->process);
	c->incarnation = *process_incarnation(db->process);
	c->db = db;
	TAILQ_INIT(&c->inbox);
	LIST_INSERT_HEAD(&conns, c, entry);
	db->conn = c;
	db->phase = DB_CONNECTING;
	timer_at(db, world.now_us + CONNECT_US);
	world_at(arrival(c, &c->to_server_us) + NET_US * 4, conn_arrives, c,
	         0);
	c->to_server_us += NET_US * 4;
}

static void
db_lose(struct db *db, const char *sqlstate, const char *why)
{
	struct db_calls calls;
	struct db_call *call;
	uint64_t retry_us;

	note("session lost", process_pool(db->process)->no, db->phase);
	conn_close_client(db->conn,
	                  world.faulty && permille(200) ?
	                      dice(8000000) : 0);
	db->conn = NULL;
	db->phase = DB_WAITING;
	event_del(db->timer);
	TAILQ_INIT(&calls);
	TAILQ_CONCAT(&calls, &db->calls, entry);
	while ((call = TAILQ_FIRST(&calls)) != NULL) {
		struct db_reply reply = { .outcome = DB_LOST };

		TAILQ_REMOVE(&calls, call, entry);
		snprintf(reply.message, sizeof(reply.message), "%s", why);
		if (call->reply_cb != NULL)
			call->reply_cb(call->arg, &reply);
		free(call);
	}
	db->ops->lost_cb(db->arg, db, sqlstate, why);
	retry_us = db->ops->retry_at_cb(db->arg);
	if (retry_us != UINT64_MAX)
		timer_at(db, retry_us);
}

void
db_retry(struct db *db, uint64_t at_us)
{
	if (db->phase == DB_WAITING)
		timer_at(db, at_us);
}

/* There is but one server. */
bool
db_refuse_server(struct db *db, const char *why)
{
	(void)db;
	(void)why;
	return false;
}

void
db_accept_server(struct db *db)
{
	(void)db;
}

void
db_server(const struct db *db, char *text, size_t size)
{
	(void)db;
	snprintf(text, size, "world");
}

void
db_break(struct db *db, const char *sqlstate, const char *why)
{
	if (db->phase != DB_WAITING)
		db_lose(db, sqlstate, why);
}

static void
results_clear(struct db_reply *reply)
{
	for (uint32_t i = 0; i < reply->count; i++)
		PQclear(reply->results[i]);
	reply->count = 0;
}

static void
replied(struct db *db, struct message *m)
{
	struct db_call *call = TAILQ_FIRST(&db->calls);

	ASSERT(call != NULL && call->message == m);
	TAILQ_REMOVE(&db->calls, call, entry);
	if (TAILQ_EMPTY(&db->calls))
		event_del(db->timer);
	else
		timer_at(db, TAILQ_FIRST(&db->calls)->deadline_us);
	if (m->in_error) {
		struct db_call *back = db_call_begin(db, NULL, NULL);

		db_call_plain(back, &rollback);
		db_call_send(back);
	}
	if (call->reply_cb != NULL)
		call->reply_cb(call->arg, &m->reply);
	results_clear(&m->reply);
	free(call);
}

static void
net_cb(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;
	struct conn *c = db->conn;
	struct news *n = c == NULL ? NULL : TAILQ_FIRST(&c->inbox);

	(void)fd;
	(void)what;
	if (n == NULL)
		return;
	TAILQ_REMOVE(&c->inbox, n, entry);
	if (!TAILQ_EMPTY(&c->inbox))
		event_active(db->net, EV_READ, 1);
	switch (n->kind) {
	case NEWS_READY:
		db->phase = DB_READY;
		event_del(db->timer);
		db->ops->ready_cb(db->arg, db);
		break;
	case NEWS_REPLY:
		replied(db, n->message);
		break;
	case NEWS_NOTIFY:
		if (db->ops->notify_cb != NULL)
			db->ops->notify_cb(db->arg, n->text);
		break;
	case NEWS_CLOSED:
		db_lose(db, "", n->text);
		break;
	}
}

static void
timer_cb(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;
	struct db_call *first = TAILQ_FIRST(&db->calls);

	(void)fd;
	(void)what;
	if (db->phase == DB_WAITING)
		db_connect(db);
	else if (db->phase == DB_CONNECTING)
		db_lose(db, "", "no connection within 3 s");
	else if (first != NULL && world.now_us >= first->deadline_us)
		db_lose(db, "", "no answer within the deadline");
	else if (first != NULL)
		timer_at(db, first->deadline_us);
}

struct db *
db_create(struct event_base *base, const struct db_options *options,
          const struct db_ops *ops, void *arg)
{
	struct db *db = mem_zalloc(sizeof(*db));

	db->process = process_current();
	db->options = *options;
	db->ops = ops;
	db->arg = arg;
	TAILQ_INIT(&db->calls);
	db->timer = event_new(base, -1, 0, timer_cb, db);
	db->net = event_new(base, -1, 0, net_cb, db);
	timer_at(db, 0);
	return db;
}

void
db_destroy(struct db **dbp)
{
	struct db *db = *dbp;
	struct db_call *call;

	if (db == NULL)
		return;
	*dbp = NULL;
	if (db->conn != NULL)
		conn_close_client(db->conn, 0);
	while ((call = TAILQ_FIRST(&db->calls)) != NULL) {
		TAILQ_REMOVE(&db->calls, call, entry);
		free(call);
	}
	event_free(db->timer);
	event_free(db->net);
	free(db);
}

bool
db_ready(const struct db *db)
{
	return db != NULL && db->phase == DB_READY;
}

int
db_backend_pid(const struct db *db)
{
	return db->phase == DB_READY ? db->conn->pid : 0;
}

struct db_call *
db_call_begin(struct db *db, db_reply_cb *reply_cb, void *arg)
{
	struct db_call *call = mem_zalloc(sizeof(*call));

	ASSERT(db->phase == DB_READY);
	call->db = db;
	call->reply_cb = reply_cb;
	call->arg = arg;
	call->deadline_us = world.now_us + db->options.deadline_us;
	call->message = keep_alloc(sizeof(*call->message));
	return call;
}

void
db_call_add(struct db_call *call, const struct db_statement *statement,
            const char *const *values, const int *lengths)
{
	struct message *m = call->message;
	struct sent *s;

	if (m->count == m->cap) {
		struct sent *list;

		m->cap = m->cap == 0 ? 8 : m->cap * 2;
		list = keep_alloc(m->cap * sizeof(*list));
		if (m->count > 0)
			memcpy(list, m->list, m->count * sizeof(*list));
		m->list = list;
	}
	s = &m->list[m->count++];
	s->statement = statement;
	for (int i = 0; i < statement->params; i++) {
		s->nulls[i] = values[i] == NULL;
		s->lengths[i] = lengths[i];
		if (values[i] != NULL)
			s->values[i] = keep_copy(values[i],
			                         (size_t)lengths[i]);
	}
}

void
db_call_prepare(struct db_call *call, const struct db_statement *statement)
{
	(void)statement;
	db_call_add(call, &prepare, NULL, NULL);
}

void
db_call_plain(struct db_call *call, const struct db_statement *statement)
{
	db_call_add(call, statement, NULL, NULL);
}

/* The whole choice of what may become of a call on its way. */
static uint64_t
mishap(struct conn *c, struct message *m)
{
	uint32_t kind = dice(5);

	note("mishap", c->pool->no, kind);
	switch (kind) {
	case 0: /* only its beginning arrives */
		m->sync_at = dice(m->count + 1);
		m->cut = true;
		news_send(c, NEWS_CLOSED, NULL, "connection reset");
		break;
	case 1:
		m->mishap = MISHAP_REPLY_LOST;
		break;
	case 2:
		m->mishap = MISHAP_MUTE;
		break;
	case 3: /* perhaps when nobody waits for it any more */
		return dice(9000000);
	default: /* nothing of it arrives */
		m->cut = true;
		m->sync_at = 0;
		c->mute = true;
		break;
	}
	return 0;
}

void
db_call_send(struct db_call *call)
{
	struct db *db = call->db;
	struct conn *c = db->conn;
	struct message *m = call->message;
	bool dies_first = dice(2) == 0;
	uint64_t late_us = 0;

	TAILQ_INSERT_TAIL(&db->calls, call, entry);
	if (TAILQ_FIRST(&db->calls) == call)
		timer_at(db, call->deadline_us);
	m->sync_at = m->count;
	if (dies_first)
		process_acts(db->process);
	if (process_dead(db->process))
		return;
	if (world.faulty && permille(world.fault_rate))
		late_us = mishap(c, m);
	message_send(c, m, late_us);
	if (!dies_first)
		process_acts(db->process);
}

void
network_process_died(struct process *p)
{
	struct conn *c;

	LIST_FOREACH (c, &conns, entry)
		if (c->process == p) {
			conn_close_client(c, 0);
			c->process = NULL;
		}
}

void
network_break_one(void)
{
	struct conn *c, *chosen = NULL;
	uint32_t count = 0;

	LIST_FOREACH (c, &conns, entry)
		if (c->db != NULL && dice(++count) == 0)
			chosen = c;
	if (chosen == NULL)
		return;
	note("break session", chosen->pool->no, 0);
	news_send(chosen, NEWS_CLOSED, NULL, "connection reset");
	if (chosen->backend != NULL && percent(&world.chance, 70))
		server_closed(chosen->backend);
}

void
network_reset(void)
{
	LIST_INIT(&conns);
}

/* ---- looking into results, as db.c does ---- */

int64_t
db_int64(const PGresult *r, int row, int column)
{
	uint64_t raw;

	ASSERT(PQgetlength(r, row, column) == 8);
	memcpy(&raw, PQgetvalue(r, row, column), 8);
	return (int64_t)__builtin_bswap64(raw);
}

int32_t
db_int32(const PGresult *r, int row, int column)
{
	uint32_t raw;

	ASSERT(PQgetlength(r, row, column) == 4);
	memcpy(&raw, PQgetvalue(r, row, column), 4);
	return (int32_t)__builtin_bswap32(raw);
}

bool
db_bool(const PGresult *r, int row, int column)
{
	return PQgetlength(r, row, column) == 1 &&
	    *PQgetvalue(r, row, column) != 0;
}
