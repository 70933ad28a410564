/*
 * db - one database session as a phase machine over asynchronous libpq.
 *
 * Runs in the flusher; knows libpq and no tables. Always in pipeline mode: a
 * *call* is a group of prepared statements, mostly one transaction, that
 * travels in one round trip. Nothing blocks but the resolving of a host name
 * (libpq has no other way; give an address where that matters). Every call
 * has a deadline of our own: when it passes, the socket is closed, because
 * a silent server is noticed by nothing else.
 *
 * A lost session reconnects by itself, when its owner says. Calls in flight
 * end as DB_LOST: whether they took effect is unknown.
 */
#ifndef FLUSHER_DB_H
#define FLUSHER_DB_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct db;
struct db_call;

/* A statement, prepared under its name once per session. */
struct db_statement {
	const char *name;
	const char *text;
	int params;      /* how many $n */
	const Oid *oids; /* their types; 0 lets the server decide */
};

enum db_outcome {
	DB_DONE,  /* every statement succeeded; a COMMIT in it is durable */
	DB_ERROR, /* the server refused one; nothing of the call took effect */
	DB_LOST,  /* the session ended first; what took effect is unknown */
};

struct db_reply {
	enum db_outcome outcome;
	char sqlstate[6]; /* of a DB_ERROR */
	char message[400];
	PGresult **results; /* DB_DONE: one per statement; freed by db */
	uint32_t count;
};

typedef void db_reply_cb(void *arg, const struct db_reply *reply);

struct db_ops {
	/* The session stands and its first statements are prepared. */
	void (*ready_cb)(void *arg, struct db *db);
	/* The session ended, or could not be made; it will be tried again.
	 * Said once a failure, after the calls in flight were told. sqlstate
	 * is "" when the server did not give one. */
	void (*lost_cb)(void *arg, struct db *db, const char *sqlstate,
	                const char *why);
	/* When to try again, asked after lost_cb; UINT64_MAX: when
	 * db_retry() says. */
	uint64_t (*retry_at_cb)(void *arg);
	void (*notify_cb)(void *arg, const char *channel);
};

struct db_options {
	const char *conninfo;
	const char *application_name;
	/* Prepared before ready_cb; NULL-terminated. */
	const struct db_statement *const *statements;
	uint64_t deadline_us; /* of each call; a connect has 3 s */
};

/* Borrows options' strings and statements. Connects at once. */
struct db *db_create(struct event_base *base, const struct db_options *options,
                     const struct db_ops *ops, void *arg);
/* Closes without telling anybody. Sets *db to NULL; NULL is fine. */
void db_destroy(struct db **db);

bool db_ready(const struct db *db);
/* Of the session that stands, or 0; for ending it from another session. */
int db_backend_pid(const struct db *db);

/*
 * Begins a call; statements follow, then db_call_send(). The session must be
 * ready. reply_cb is called once, from the loop, never before db_call_send()
 * returned.
 */
struct db_call *db_call_begin(struct db *db, db_reply_cb *reply_cb, void *arg);
/* Parameters in binary; a NULL value is SQL's NULL. Values are copied. */
void db_call_add(struct db_call *call, const struct db_statement *statement,
                 const char *const *values, const int *lengths);
/* The same without parameters. */
void db_call_plain(struct db_call *call, const struct db_statement *statement);
/* Prepares one more statement for the rest of the session. */
void db_call_prepare(struct db_call *call,
                     const struct db_statement *statement);
void db_call_send(struct db_call *call);

/* One that waits for its next attempt makes it then. */
void db_retry(struct db *db, uint64_t at_us);
/* Gives the session up as lost, as if its deadline had passed; sqlstate and
 * why are what lost_cb is told. */
void db_break(struct db *db, const char *sqlstate, const char *why);
/*
 * The same because this server is not to be used: when the connection string
 * names another that was not refused yet, that one is next, at once. False
 * when there is none, and then the session stands as before.
 */
bool db_refuse_server(struct db *db, const char *why);
/* The server is the right one: the next refusal begins a new round. */
void db_accept_server(struct db *db);
/* "host:port" of the session that stands; for people. */
void db_server(const struct db *db, char *text, size_t size);

/* A first look at a result: binary columns. */
int64_t db_int64(const PGresult *r, int row, int column);
int32_t db_int32(const PGresult *r, int row, int column);
bool db_bool(const PGresult *r, int row, int column);

extern const struct db_statement db_begin_statement;
extern const struct db_statement db_commit_statement;

#endif
