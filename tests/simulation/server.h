/*
 * server - PostgreSQL in memory, as far as rappel uses it: tables, row locks
 * that wait or are skipped, transactions, sessions that end.
 *
 * Reads see what is committed and what their own transaction changed (READ
 * COMMITTED with a snapshot for each statement). A row has at most one writer,
 * so the next version of it waits beside the current one.
 */
#ifndef TESTS_SIMULATION_SERVER_H
#define TESTS_SIMULATION_SERVER_H

#include "tests/simulation/network.h"
#include "tests/simulation/world.h"

struct backend;

/* ---- tables ---- */

struct lock {
	struct backend *owner; /* FOR UPDATE, or a change */
	struct backend *shares[16]; /* FOR KEY SHARE */
	uint32_t share_count;
};

struct text {
	const char *data; /* NULL: SQL's NULL */
	int len;
};

enum status {
	ROW_QUEUED,
	ROW_WAITING,
	ROW_RUNNING,
	ROW_BLOCKED,
	ROW_SUCCEEDED, /* from here on it has ended */
	ROW_FAILED,
	ROW_TIMED_OUT,
	ROW_CANCELLED,
	ROW_STATUSES,
};

struct version_row {
	int64_t id;
	struct text workflow;
	struct text definition;
};

struct instance_values {
	enum status status;
	bool owned;
	struct uuid owner;
	bool started;
	int64_t started_us;
	int64_t due_us;
	struct text output, error, cause, reason;
};

struct log_row {
	int32_t seq;
	int32_t count;
	int64_t at_us;
	struct text entries;
	struct backend *by; /* not committed yet; NULL: it is */
};

struct instance_row {
	struct uuid id;
	const struct version_row *version;
	int32_t priority;
	struct text name;
	struct text input;
	struct instance_values cur;
	struct instance_values next; /* of lock.owner's transaction */
	bool changed;
	struct lock lock;
	struct log_row **log; /* by seq */
	uint32_t log_count;
	uint32_t log_cap;
	bool given_up; /* somebody wants its end */
	struct witness *witness; /* of check.c */
};

struct pool_backend {
	int pid;
	struct backend *by;
};

struct pool_row {
	struct uuid incarnation;
	struct text name, host, boot_id, dir;
	bool exists;
	struct backend *inserting;
	struct backend *deleting;
	struct lock lock;
	struct lock beat_lock;
	int64_t beat, next_beat;
	uint64_t beat_us; /* when the last was committed */
	bool idle, next_idle, beat_changed;
	struct pool_backend backends[64];
	uint32_t backend_count;
};

struct command_row {
	int64_t id;
	struct instance_row *instance;
	const char *kind;
	uint32_t activation; /* of a task */
	uint32_t attempt;
	struct text result;
	struct text error;
	struct text cause;
	bool gone;
	bool deleting; /* by lock.owner */
	struct lock lock;
};

/* Of rappel.action_progress: what it says does not matter. */
struct progress_row {
	struct uuid instance;
	int32_t activation;
	int32_t attempt;
	struct uuid incarnation;
	bool gone;
};

struct tables {
	struct version_row **versions;
	uint32_t version_count;
	struct instance_row **instances; /* by id */
	uint32_t instance_count;
	struct pool_row **pools;
	uint32_t pool_count;
	struct command_row **commands;
	uint32_t command_count;
	struct progress_row **progress;
	uint32_t progress_count;
};

extern struct tables tables;

/* Appends to an array of kept pointers. */
void kept_push(void *array, uint32_t *count, const void *pointer);

/* ---- transactions ---- */

enum touched {
	TOUCHED_INSTANCE,
	TOUCHED_LOG,
	TOUCHED_POOL,
	TOUCHED_BEAT,
	TOUCHED_BACKENDS,
	TOUCHED_COMMAND,
	TOUCHED_PROGRESS,
};

struct touch {
	struct touch *next;
	enum touched kind;
	struct instance_row *instance;
	struct pool_row *pool;
	struct command_row *command;
	struct log_row *log;
	struct progress_row *progress; /* what it is to be, or not to be */
};

enum transaction { TX_NONE, TX_IMPLICIT, TX_OPEN, TX_FAILED };

struct backend {
	LIST_ENTRY(backend) entry;
	struct conn *conn;
	int pid;
	bool dead;
	bool client_gone;
	TAILQ_HEAD(, message) messages;
	uint64_t epoch; /* of the step that is planned */
	enum transaction tx;
	uint64_t tx_count;
	int64_t now_us; /* SQL's now() */
	uint64_t lock_timeout_us;
	struct touch *touched;
	struct touch **touched_end;
	bool blocked;
	uint64_t blocked_us;
	bool listens_work, listens_command;
	bool tells_work;
	bool end_wanted;
	bool stuck;
	bool late; /* planted: its COMMIT is still to happen */
};

LIST_HEAD(backends, backend);
extern struct backends backends;

/* The touch is kept with the transaction that runs. */
struct touch *touch(struct backend *b, enum touched kind);
/* True when the row is b's alone now. Never waits. */
bool lock_try(struct backend *b, struct lock *l);
/* True when nobody else may change it. */
bool lock_share_try(struct backend *b, struct lock *l);
bool lock_others(const struct backend *b, const struct lock *l);

/* ---- what a statement does (statements.c) ---- */

enum ran { RAN_DONE, RAN_BLOCKED, RAN_ERROR };

/* Runs the statement at m->at and, when it is done, adds its result. */
enum ran statement_run(struct backend *b, struct message *m);

/* ---- the server ---- */

/* NULL: it is down. */
struct backend *server_accept(struct conn *c);
int server_pid(const struct backend *b);
void server_message(struct backend *b, struct message *m);
/* The network tells it that the client is gone. */
void server_closed(struct backend *b);
/* pg_terminate_backend() */
void server_end_backend(struct backend *b);
/* Ends every session; what is not committed is lost. */
void server_crash(uint64_t until_us);
int64_t server_clock_us(void);
/* Tells every session that listens. */
void server_notify(bool work);
void server_begin(void);
void server_end(void);

#endif
