/*
 * config - rappel.conf, the environment and flags, into one checked struct.
 *
 * "key = value" lines with [section] headers and # comments. Precedence:
 * flag, RAPPEL_* environment, file, built-in. An unknown key or a bad value
 * is an error with file and line; nothing falls back silently. One table
 * (config.c) lists every key with section, type, range, default and help;
 * another (config_group.c) those of a section [group NAME], which come from
 * the file alone.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/assert.h"
#include "common/config_group.h"
#include "common/error.h"
#include "common/log.h"

enum sandbox_mode {
	SANDBOX_OFF,
	SANDBOX_LOG, /* the kernel's log has what would be refused */
	SANDBOX_ON,
};

struct config {
	/* libpq conninfo or URI; may hold a password. NULL: none is set. */
	char *database;
	/* The pool's directory: lock, control.sock, pg/. Default
	 * /var/lib/rappel for root, else $XDG_STATE_HOME/rappel or
	 * ~/.local/state/rappel. */
	char *dir;
	char *pool_name; /* label in status and views; default the host name */
	uint32_t workers;            /* of group native, default 4 */
	uint32_t workers_max;        /* of a scale, default 64 */
	uint64_t shutdown_grace_us;  /* default 30 s */
	uint64_t worker_hello_us;    /* for a worker to be ready, default 5 s */
	uint64_t worker_stopped_us;  /* in process state T, default 15 s */
	uint64_t worker_drain_us;    /* for one that is replaced: 10 min */
	uint32_t worker_recycle_actions; /* 0: never, the default */
	uint64_t worker_recycle_age_us;  /* 0: never, the default */
	uint64_t worker_recycle_rss;     /* bytes; 0: never, the default */
	uint64_t worker_output_rate; /* bytes a second, default 256 KiB */
	uint32_t instances_max;      /* active in memory, default 2000 */
	uint32_t batch_actions_max;  /* entries in one commit, default 2000 */
	uint64_t batch_bytes_max;    /* default 4 MiB */
	uint32_t window_max;         /* actions a worker may hold, default 128 */
	uint64_t heartbeat_us;       /* default 2 s */
	uint64_t lease_us;           /* default 10 s */
	uint64_t cancel_grace_us;    /* for what is unwanted to end: 1 s */
	uint64_t db_deadline_us;     /* one database operation, default 5 s */
	uint64_t value_bytes_max;    /* input or result, default 1 MiB */
	enum log_level log_level;
	/* Whom workers run as; NULL: nobody when root runs a pool that is not
	 * --dev, else who runs the daemon. */
	char *worker_user;
	enum sandbox_mode sandbox; /* default on */
	/* Groups, by name or number, beside root and the daemon's own user
	 * who may use the control socket; NULL: none. */
	char *control_group_ro;
	char *control_group_op;
	char *control_group_adm;
	/* Of the database that config_forget_secrets() took away; 0: none. */
	uint64_t database_mark;
	char **origins; /* of each key, for config_print() */
	/* Workers by what they run: the built-in group, made of the keys
	 * above, and then the sections [group NAME] in their order. */
	struct config_group *groups;
	uint32_t group_count; /* 1 and more */
};

/* What was given on the command line; NULL fields are not set. */
struct config_flags {
	const char *file;     /* -c; NULL: $RAPPEL_CONFIG, else none */
	const char *database;
	const char *dir;
	const char *workers;
	const char *shutdown_grace;
	const char *log_level;
};

/*
 * Fills *out with defaults, then file, environment (RAPPEL_DATABASE_URL for
 * database, RAPPEL_<KEY> for the rest) and flags. 0, or -EINVAL/-errno with
 * err: "FILE:LINE: …". Checks relations (heartbeat ≤ lease/4, …). A password
 * in flags->database is refused: argv is readable by everybody.
 */
int config_load(const struct config_flags *flags, struct config *out,
                struct error *err) MUST_CHECK;
void config_fini(struct config *c);
/*
 * Wipes and drops database: for a process that has passed it on, or that
 * never needed it, and must not hold the secret that may be in it.
 */
void config_forget_secrets(struct config *c);
/* "key = value" of every key, secrets masked, with the origin as comment. */
void config_print(const struct config *c, FILE *to);

/* Where a key's value comes from: "FILE:LINE", "default", … Borrowed. */
const char *config_origin(const struct config *c, const char *key);

/*
 * Takes from another configuration what can change while the daemon runs.
 * Tells differs_cb the name of every key that is different ("workers",
 * "group.NAME.processes", "group.NAME" of one that came or went), and whether
 * it was taken; what was not takes effect at the next start.
 */
void config_take_live(struct config *c, const struct config *from,
		      void (*differs_cb)(void *arg, const char *key,
					 bool taken),
		      void *arg);

/*
 * "250ms", "30s", "1.5h", "5min", "1d", or a bare number of seconds. -EINVAL,
 * or -ERANGE above 100 years.
 */
int config_duration(const char *text, uint64_t *us_out) MUST_CHECK;

/* Where --dev keeps its pool: $RAPPEL_DEV_DIR, $XDG_STATE_HOME/rappel-dev,
 * ~/.local/state/rappel-dev, or /var/lib/rappel-dev for root. Caller frees. */
char *config_dev_dir(void);

#endif
