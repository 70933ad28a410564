/*
 * session - one of the pool's database sessions, from connecting to joining.
 *
 * What writer, claimer and keeper have in common: each sets what it needs and
 * looks whether that holds, compares the server with the one that this pool
 * works on (system identifier, timeline), prepares its statements, announces
 * itself in pool_backends so that a successor can end it, and tells of an
 * outage once when it begins and once when it is over. While several are
 * away only one of them tries (backoff.h); the others follow it.
 */
#ifndef FLUSHER_SESSION_H
#define FLUSHER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "flusher/db.h"

struct flusher;
struct session;
struct sessions;

/* What the server said of itself. */
struct session_facts {
	int32_t schema_version; /* 0: none */
	bool at_home;           /* not a copy of another server's database */
	bool commits_async;     /* synchronous_commit is off */
	char home[32];          /* the server that the schema belongs to */
	char system[32];        /* this one */
	char database[80];
	int32_t timeline;
};

struct session_ops {
	/* Checked; does what joining takes and calls session_joined(). NULL:
	 * announcing itself is enough. */
	void (*join_cb)(void *arg);
	/* Calls may be sent from now on. */
	void (*ready_cb)(void *arg);
	/* It ended, or could not be made: told once a failure, after the
	 * calls in flight. It will be tried again. */
	void (*lost_cb)(void *arg, const char *sqlstate, const char *why);
	void (*notify_cb)(void *arg, const char *channel);
};

/* What the sessions of a pool share; sessions go before it. A connection
 * string that libpq cannot read ends the process with EXIT_CONFIG. */
struct sessions *sessions_create(struct flusher *f);
void sessions_destroy(struct sessions **all);
/* Why one of them is away, as "SQLSTATE: words"; NULL when all stand. */
const char *sessions_trouble(const struct sessions *all);

/* What to do about a failure that no waiting mends; NULL: wait. */
const char *session_hopeless(const char *sqlstate, const char *why);

/* Connects at once. kind is "writer", …; it and the statements are borrowed. */
struct session *session_create(struct flusher *f, const char *kind,
                               const struct db_statement *const *statements,
                               const struct session_ops *ops, void *arg);
void session_destroy(struct session **s);

/* It stands, is checked and has joined. NULL: it does not. */
bool session_ready(const struct session *s);
/* It was tried and is not there. */
bool session_away(const struct session *s);
const struct session_facts *session_facts(const struct session *s);
int session_backend_pid(const struct session *s);

/* As db_call_begin(); it must be ready. */
struct db_call *session_call(struct session *s, db_reply_cb *reply_cb,
                             void *arg);
/* For join_cb: a call that begins with preparing the statements. */
struct db_call *session_join_call(struct session *s, db_reply_cb *reply_cb,
                                  void *arg);
/* Lets the server look at statements that other sessions will prepare: what
 * it lacks is known before anything is written. */
void session_try(struct db_call *call,
                 const struct db_statement *const *statements);
/* Adds the row of pool_backends. */
void session_announce(struct session *s, struct db_call *call);
void session_joined(struct session *s);
/* It is of no use as it stands: another is made, with back-off. */
void session_break(struct session *s, const char *sqlstate, const char *why);

#endif
