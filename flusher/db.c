/*
 * db - see db.h. Results are asked for in binary; the order of results in a
 * pipeline is that of the statements, so a call knows its own by counting.
 */
#include "flusher/db.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/hosts.h"

#define DB_MAGIC 0x64623031U
#define CONNECT_DEADLINE_US (3 * CLOCK_SECOND_US)

enum db_phase {
	DB_WAITING,    /* for the next attempt */
	DB_CONNECTING, /* PQconnectPoll */
	DB_SETTING_UP, /* setup and prepares are in flight */
	DB_READY,
};

struct db_call {
	TAILQ_ENTRY(db_call) entry;
	struct db *db;
	db_reply_cb *reply_cb;
	void *arg;
	uint64_t deadline_us;
	struct db_reply reply;
	uint32_t statements; /* sent */
	uint32_t results_cap;
	bool failed_send;
};

struct db {
	uint32_t magic;
	enum db_phase phase;
	struct event_base *base;
	struct db_options options;
	const struct db_ops *ops;
	void *arg;
	PGconn *conn;
	struct event *read_event;
	struct event *write_event;
	struct event *timer; /* deadline, or the next attempt */
	TAILQ_HEAD(db_calls, db_call) calls;
	int backend_pid; /* libpq forgets it when the connection breaks */
	uint64_t connect_by_us;
	struct hosts hosts;
	bool next_at_once;   /* another server is to be tried */
	bool unsent;         /* a call could not be sent whole */
	bool not_replicated; /* a COMMIT did not wait for the standby */
	bool in_cb;
};

const struct db_statement db_begin_statement = {
	"begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL
};
const struct db_statement db_commit_statement = { "commit", "COMMIT", 0, NULL };
static const struct db_statement rollback_statement = { "rollback", "ROLLBACK",
	                                                0, NULL };

static void db_connect(struct db *db);
static void db_work(struct db *db);
static void db_lose(struct db *db, const char *sqlstate, const char *why);

static void
timer_set(struct db *db, uint64_t at_us)
{
	uint64_t now = clock_mono_us();
	uint64_t wait = at_us > now ? at_us - now : 0;
	struct timeval tv = { .tv_sec = (time_t)(wait / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(wait %
		                                       CLOCK_SECOND_US) };
	event_add(db->timer, &tv);
}

static void
call_free(struct db_call *call)
{
	for (uint32_t i = 0; i < call->reply.count; i++)
		PQclear(call->reply.results[i]);
	free(call->reply.results);
	free(call);
}

static void
events_drop(struct db *db)
{
	if (db->read_event != NULL)
		event_free(db->read_event);
	if (db->write_event != NULL)
		event_free(db->write_event);
	db->read_event = NULL;
	db->write_event = NULL;
}

static void
session_close(struct db *db)
{
	events_drop(db);
	if (db->conn != NULL)
		PQfinish(db->conn);
	db->conn = NULL;
}

/* libpq's messages end in a newline and may hold several lines. */
static void
copy_line(char *to, size_t size, const char *from)
{
	size_t len = strcspn(from, "\n");

	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = '\0';
}

/*
 * libpq keeps the SQLSTATE of a refused connection to itself but for its
 * verbose message: "…: FATAL:  3D000: database "x" does not exist".
 */
static void
connect_sqlstate(const char *message, char sqlstate[6])
{
	const char *at;

	sqlstate[0] = '\0';
	for (at = strstr(message, ":  "); at != NULL;
	     at = strstr(at + 3, ":  ")) {
		const char *code = at + 3;

		if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
		    code[5] == ':') {
			memcpy(sqlstate, code, 5);
			sqlstate[5] = '\0';
			return;
		}
	}
}

static void
connect_failed(struct db *db)
{
	char sqlstate[6];
	char why[400];

	copy_line(why, sizeof(why), PQerrorMessage(db->conn));
	connect_sqlstate(why, sqlstate);
	db_lose(db, sqlstate, why);
}

static void
db_lose(struct db *db, const char *sqlstate, const char *why)
{
	char reason[400];
	struct db_calls calls;
	struct db_call *call;
	uint64_t retry_us;

	copy_line(reason, sizeof(reason), why);
	session_close(db);
	event_del(db->timer);
	db->phase = DB_WAITING;
	db->unsent = false;
	db->not_replicated = false;

	TAILQ_INIT(&calls);
	TAILQ_CONCAT(&calls, &db->calls, entry);
	while ((call = TAILQ_FIRST(&calls)) != NULL) {
		TAILQ_REMOVE(&calls, call, entry);
		if (call->reply_cb != NULL) {
			struct db_reply reply = { .outcome = DB_LOST };

			copy_line(reply.message, sizeof(reply.message),
			          reason);
			call->reply_cb(call->arg, &reply);
		}
		call_free(call);
	}
	db->ops->lost_cb(db->arg, db, sqlstate, reason);
	retry_us = db->ops->retry_at_cb(db->arg);
	if (db->next_at_once)
		retry_us = clock_mono_us();
	db->next_at_once = false;
	if (retry_us != UINT64_MAX)
		timer_set(db, retry_us);
}

void
db_break(struct db *db, const char *sqlstate, const char *why)
{
	CHECK_OBJ(db, DB_MAGIC);
	if (db->phase != DB_WAITING)
		db_lose(db, sqlstate, why);
}

bool
db_refuse_server(struct db *db, const char *why)
{
	CHECK_OBJ(db, DB_MAGIC);
	ASSERT(db->phase == DB_READY);
	if (!hosts_refuse(&db->hosts, db->conn))
		return false;
	db->next_at_once = true;
	db_lose(db, "", why);
	return true;
}

void
db_accept_server(struct db *db)
{
	db->hosts.refused = 0;
}

void
db_retry(struct db *db, uint64_t at_us)
{
	CHECK_OBJ(db, DB_MAGIC);
	if (db->phase == DB_WAITING)
		timer_set(db, at_us);
}

void
db_server(const struct db *db, char *text, size_t size)
{
	const char *host = PQhost(db->conn);

	snprintf(text, size, "%s:%s", host != NULL ? host : "",
	         PQport(db->conn));
}

static void
read_cb(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;

	(void)fd;
	(void)what;
	CHECK_OBJ(db, DB_MAGIC);
	db_work(db);
}

static void
timer_cb(evutil_socket_t fd, short what, void *arg)
{
	struct db *db = arg;
	struct db_call *first;

	(void)fd;
	(void)what;
	CHECK_OBJ(db, DB_MAGIC);
	if (db->phase == DB_WAITING) {
		db_connect(db);
		return;
	}
	if (db->phase == DB_CONNECTING) {
		if (clock_mono_us() >= db->connect_by_us) {
			/* The next attempt begins with the next host. */
			(void)hosts_refuse(&db->hosts, db->conn);
			db_lose(db, "", "no connection within 3 s");
		} else {
			timer_set(db, db->connect_by_us);
		}
		return;
	}
	first = TAILQ_FIRST(&db->calls);
	if (first == NULL)
		return;
	if (db->unsent)
		db_lose(db, "", "a statement could not be sent");
	else if (clock_mono_us() >= first->deadline_us)
		db_lose(db, "", "no answer within the deadline");
	else
		timer_set(db, first->deadline_us);
}

/* libpq may change its descriptor while it connects. */
static void
events_make(struct db *db, short wanted)
{
	int fd = PQsocket(db->conn);

	events_drop(db);
	db->read_event = event_new(db->base, fd, EV_READ | EV_PERSIST, read_cb,
	                           db);
	db->write_event = event_new(db->base, fd, EV_WRITE, read_cb, db);
	ASSERT(db->read_event != NULL && db->write_event != NULL);
	if (wanted & EV_READ)
		event_add(db->read_event, NULL);
	if (wanted & EV_WRITE)
		event_add(db->write_event, NULL);
}

/*
 * Success with the warning that the wait for a synchronous standby was
 * cancelled is not yet one. Its SQLSTATE is that of any warning, its text is
 * translated; the function's name is not.
 */
static void
notice_cb(void *arg, const PGresult *result)
{
	struct db *db = arg;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *from = PQresultErrorField(result,
	                                      PG_DIAG_SOURCE_FUNCTION);

	CHECK_OBJ(db, DB_MAGIC);
	if (from != NULL && strcmp(from, "SyncRepWaitForLSN") == 0)
		db->not_replicated = true;
	log_debug("database notice sqlstate=%s", state != NULL ? state : "-");
}

static void
db_connect(struct db *db)
{
	/* Later ones win: what a user's conninfo says about names stays. */
	const char *keys[] = { "dbname", "application_name", "connect_timeout",
		               "keepalives_idle", "keepalives_interval",
		               "keepalives_count", "tcp_user_timeout",
		               "client_encoding", NULL, NULL, NULL, NULL };
	const char *values[] = { db->options.conninfo,
		                 db->options.application_name,
		                 "3",
		                 "2",
		                 "1",
		                 "3",
		                 "4000",
		                 "UTF8",
		                 NULL,
		                 NULL,
		                 NULL,
		                 NULL };
	uint32_t n = 8;

	if (db->hosts.host != NULL)
		keys[n] = "host", values[n++] = db->hosts.host;
	if (db->hosts.hostaddr != NULL)
		keys[n] = "hostaddr", values[n++] = db->hosts.hostaddr;
	if (db->hosts.port != NULL)
		keys[n] = "port", values[n] = db->hosts.port;
	db->conn = PQconnectStartParams(keys, values, 1);
	if (db->conn == NULL || PQstatus(db->conn) == CONNECTION_BAD) {
		db_lose(db, "", db->conn == NULL ? "no memory" :
		                                   PQerrorMessage(db->conn));
		return;
	}
	PQsetErrorVerbosity(db->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(db->conn, notice_cb, db);
	db->phase = DB_CONNECTING;
	db->connect_by_us = clock_mono_us() + CONNECT_DEADLINE_US;
	timer_set(db, db->connect_by_us);
	events_make(db, EV_WRITE);
}

static void
setup_done(void *arg, const struct db_reply *reply)
{
	struct db *db = arg;

	if (reply->outcome == DB_LOST)
		return;
	if (reply->outcome == DB_ERROR) {
		char why[sizeof(reply->message) + 32];

		snprintf(why, sizeof(why), "setting up the session: %s",
		         reply->message);
		db_lose(db, reply->sqlstate, why);
		return;
	}
	db->phase = DB_READY;
	db->backend_pid = PQbackendPID(db->conn);
	db->ops->ready_cb(db->arg, db);
}

static void
flush_out(struct db *db)
{
	int left = PQflush(db->conn);

	if (left < 0)
		/* The read side gives the reason; never lose in a send. */
		event_active(db->read_event, EV_READ, 1);
	else if (left > 0)
		event_add(db->write_event, NULL);
}

static struct db_call *
call_new(struct db *db, db_reply_cb *reply_cb, void *arg)
{
	struct db_call *call = mem_zalloc(sizeof(*call));

	call->db = db;
	call->reply_cb = reply_cb;
	call->arg = arg;
	call->deadline_us = clock_mono_us() + db->options.deadline_us;
	return call;
}

void
db_call_prepare(struct db_call *call, const struct db_statement *s)
{
	if (call->failed_send)
		return;
	if (!PQsendPrepare(call->db->conn, s->name, s->text, s->params,
	                   s->oids))
		call->failed_send = true;
	call->statements++;
}

static void
setup_begin(struct db *db)
{
	struct db_call *call;

	PQsetnonblocking(db->conn, 1);
	if (!PQenterPipelineMode(db->conn)) {
		db_lose(db, "", PQerrorMessage(db->conn));
		return;
	}
	db->phase = DB_SETTING_UP;
	events_make(db, EV_READ);
	call = call_new(db, setup_done, db);
	db_call_prepare(call, &db_begin_statement);
	db_call_prepare(call, &db_commit_statement);
	db_call_prepare(call, &rollback_statement);
	for (uint32_t i = 0; db->options.statements[i] != NULL; i++)
		db_call_prepare(call, db->options.statements[i]);
	db_call_send(call);
}

static void
connect_step(struct db *db)
{
	switch (PQconnectPoll(db->conn)) {
	case PGRES_POLLING_READING:
		events_make(db, EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		events_make(db, EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		setup_begin(db);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		connect_failed(db);
		break;
	}
}

static void
reply_add(struct db_call *call, PGresult *result)
{
	struct db_reply *reply = &call->reply;

	if (reply->count == call->results_cap) {
		call->results_cap = call->results_cap ? call->results_cap * 2 :
		                                        8;
		reply->results = mem_realloc(reply->results,
		                             call->results_cap *
		                                 sizeof(PGresult *));
	}
	reply->results[reply->count++] = result;
}

static void
reply_error(struct db_call *call, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result,
	                                      PG_DIAG_MESSAGE_PRIMARY);

	if (call->reply.outcome == DB_ERROR)
		return; /* the first one is the cause */
	call->reply.outcome = DB_ERROR;
	snprintf(call->reply.sqlstate, sizeof(call->reply.sqlstate), "%s",
	         state != NULL ? state : "");
	copy_line(call->reply.message, sizeof(call->reply.message),
	          text != NULL ? text : PQresultErrorMessage(result));
}

static void
call_finish(struct db *db, struct db_call *call)
{
	struct db_call *next;

	TAILQ_REMOVE(&db->calls, call, entry);
	next = TAILQ_FIRST(&db->calls);
	if (next != NULL)
		timer_set(db, next->deadline_us);
	else
		event_del(db->timer);
	/* An error in a BEGIN … COMMIT leaves the session in a failed
	 * transaction, and what is in flight behind it would fail too: so
	 * users send one transaction at a time where that matters. */
	if (PQtransactionStatus(db->conn) == PQTRANS_INERROR) {
		struct db_call *rollback = call_new(db, NULL, NULL);

		db_call_plain(rollback, &rollback_statement);
		db_call_send(rollback);
	}
	db->in_cb = true;
	if (call->reply_cb != NULL)
		call->reply_cb(call->arg, &call->reply);
	db->in_cb = false;
	call_free(call);
}

/* Takes what results have arrived. False when the session was lost. */
static bool
results_take(struct db *db)
{
	struct db_call *call;
	PGresult *result;
	bool from_server;

	while ((call = TAILQ_FIRST(&db->calls)) != NULL &&
	       !PQisBusy(db->conn)) {
		result = PQgetResult(db->conn);
		if (result == NULL) {
			/* Between statements; twice means nothing is left. */
			if (PQstatus(db->conn) == CONNECTION_BAD) {
				db_lose(db, "", PQerrorMessage(db->conn));
				return false;
			}
			if (PQisBusy(db->conn))
				break;
			result = PQgetResult(db->conn);
			if (result == NULL)
				break;
		}
		switch (PQresultStatus(result)) {
		case PGRES_PIPELINE_SYNC:
			PQclear(result);
			if (db->not_replicated || db->unsent) {
				db_lose(db, "", db->unsent ?
				                    "a statement could not be "
				                    "sent" :
				                    "a commit did not wait for "
				                    "the standby");
				return false;
			}
			call_finish(db, call);
			if (db->phase == DB_WAITING || db->conn == NULL)
				return false;
			break;
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
			reply_add(call, result);
			break;
		case PGRES_PIPELINE_ABORTED:
			PQclear(result);
			break;
		case PGRES_EMPTY_QUERY:
		case PGRES_COPY_OUT:
		case PGRES_COPY_IN:
		case PGRES_COPY_BOTH:
		case PGRES_BAD_RESPONSE:
		case PGRES_NONFATAL_ERROR:
		case PGRES_FATAL_ERROR:
		case PGRES_SINGLE_TUPLE:
			reply_error(call, result);
			from_server = PQresultErrorField(
			                  result, PG_DIAG_SQLSTATE) != NULL;
			PQclear(result);
			if (!from_server ||
			    PQstatus(db->conn) == CONNECTION_BAD) {
				/* The session's end, or libpq could not take
				 * the answer (no memory): not this call's
				 * fault, and whether it took effect is
				 * unknown. Only the server can refuse. */
				char why[400];

				copy_line(why, sizeof(why),
				          call->reply.message);
				db_lose(db, "", why);
				return false;
			}
			break;
		}
	}
	return true;
}

static void
db_work(struct db *db)
{
	PGnotify *notify;

	if (db->phase == DB_CONNECTING) {
		connect_step(db);
		return;
	}
	if (db->phase == DB_WAITING)
		return;
	if (!PQconsumeInput(db->conn)) {
		/* What arrived before the end still counts: a COMMIT that was
		 * confirmed is confirmed. */
		if (!results_take(db))
			return;
		db_lose(db, "", PQerrorMessage(db->conn));
		return;
	}
	if (!results_take(db))
		return;
	while ((notify = PQnotifies(db->conn)) != NULL) {
		if (db->ops->notify_cb != NULL)
			db->ops->notify_cb(db->arg, notify->relname);
		PQfreemem(notify);
		if (db->conn == NULL)
			return;
	}
	if (PQstatus(db->conn) == CONNECTION_BAD) {
		db_lose(db, "", PQerrorMessage(db->conn));
		return;
	}
	flush_out(db);
}

struct db *
db_create(struct event_base *base, const struct db_options *options,
          const struct db_ops *ops, void *arg)
{
	struct db *db = mem_zalloc(sizeof(*db));

	db->magic = DB_MAGIC;
	db->phase = DB_WAITING;
	db->base = base;
	db->options = *options;
	db->ops = ops;
	db->arg = arg;
	TAILQ_INIT(&db->calls);
	db->timer = event_new(base, -1, 0, timer_cb, db);
	ASSERT(db->timer != NULL);
	timer_set(db, 0);
	return db;
}

void
db_destroy(struct db **dbp)
{
	struct db *db = *dbp;
	struct db_call *call;

	if (db == NULL)
		return;
	CHECK_OBJ(db, DB_MAGIC);
	ASSERT(!db->in_cb);
	*dbp = NULL;
	session_close(db);
	hosts_fini(&db->hosts);
	event_free(db->timer);
	while ((call = TAILQ_FIRST(&db->calls)) != NULL) {
		TAILQ_REMOVE(&db->calls, call, entry);
		call_free(call);
	}
	db->magic = 0;
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
	return db->phase == DB_READY ? db->backend_pid : 0;
}

struct db_call *
db_call_begin(struct db *db, db_reply_cb *reply_cb, void *arg)
{
	CHECK_OBJ(db, DB_MAGIC);
	ASSERT(db->phase == DB_READY);
	return call_new(db, reply_cb, arg);
}

void
db_call_add(struct db_call *call, const struct db_statement *statement,
            const char *const *values, const int *lengths)
{
	static const int binary[16] = { 1, 1, 1, 1, 1, 1, 1, 1,
		                        1, 1, 1, 1, 1, 1, 1, 1 };

	ASSERT(statement->params <= 16);
	if (call->failed_send)
		return; /* above all no COMMIT behind what is missing */
	if (!PQsendQueryPrepared(call->db->conn, statement->name,
	                         statement->params, values, lengths, binary, 1))
		call->failed_send = true;
	call->statements++;
}

void
db_call_plain(struct db_call *call, const struct db_statement *statement)
{
	db_call_add(call, statement, NULL, NULL);
}

void
db_call_send(struct db_call *call)
{
	struct db *db = call->db;

	TAILQ_INSERT_TAIL(&db->calls, call, entry);
	if (TAILQ_FIRST(&db->calls) == call)
		timer_set(db, call->deadline_us);
	if (call->failed_send || !PQpipelineSync(db->conn)) {
		/* The connection broke under us, or what is to be sent is
		 * more than libpq can hold: told from the loop. */
		db->unsent = true;
		timer_set(db, 0);
		return;
	}
	flush_out(db);
}

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
	return (int32_t)ntohl(raw);
}

bool
db_bool(const PGresult *r, int row, int column)
{
	return PQgetlength(r, row, column) == 1 &&
	    *PQgetvalue(r, row, column) != 0;
}
