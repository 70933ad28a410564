/*
 * ctl - what rappelctl's commands share: exit codes, messages, the command
 * line and where things are.
 *
 * One process, one thread, one command. stdout carries data only; everything
 * said to a person goes to stderr. A function that returns an exit code has
 * already said what was wrong, unless its comment says otherwise.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"
#include "ctl/options.h"

/* docs/rappelctl.md lists them; numbers never change. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_NO_DAEMON = 3,
	CTL_NOT_FOUND = 4,
	CTL_PERMISSION = 5,
	CTL_DATABASE = 6,
	CTL_REFUSED = 7,
	CTL_RUN_FAILED = 8,
	CTL_PARTIAL = 9,
	CTL_CONFIG = 78,
	CTL_TIMEOUT = 124,
	CTL_INTERRUPTED = 130,
};

enum ctl_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_JSONL, FORMAT_NAME };

/* Where a setting came from, for "config show" and for messages. */
struct target {
	char *dir; /* of the pool: control.sock, lock */
	const char *dir_origin;
	char *conninfo; /* NULL: no database is configured */
	const char *conninfo_origin;
	char *config_file; /* NULL: none was read */
};

struct ctl {
	struct args args;
	/* The words behind the command's own. */
	const char **words;
	uint32_t word_count;
	const char *command; /* "run start" */

	enum ctl_format format;
	bool quiet;
	bool verbose;
	bool headers;
	bool color_out; /* stdout */
};

/* ---- messages, on stderr ---- */

/* "rappelctl: …" */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/*
 * A line on what to do next, indented below a complaint. A command in it or in
 * a note ("See: rappelctl run list") gets the options by which this one found
 * its pool and database.
 */
void advise_options(const struct args *a);
void advise(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Progress and notes; silent with -q. */
void note(const struct ctl *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* With -v only. */
void detail(const struct ctl *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- options ---- */

static inline bool
given(const struct ctl *c, enum option o)
{
	return c->args.value[o] != NULL;
}

static inline const char *
option(const struct ctl *c, enum option o)
{
	return c->args.value[o];
}

/* An option's number or *out as it is; complains about anything else. */
int option_number(const struct ctl *c, enum option o, int64_t min, int64_t max,
		  int64_t *out) MUST_CHECK;
/* The same for "30s"; 0 is refused. */
int option_duration(const struct ctl *c, enum option o,
		    uint64_t *us_out) MUST_CHECK;

/* ---- interruption ---- */

/* Set by SIGINT and SIGTERM once interrupt_watch() was called. */
extern volatile sig_atomic_t interrupted;
void interrupt_watch(void);

/* ---- files ---- */

/*
 * The whole file, "-" for stdin, at most bytes_max; complains. what names it
 * in messages ("the definition").
 */
int file_read(const char *path, size_t bytes_max, const char *what,
	      struct buf *out) MUST_CHECK;

/* A file's name without folder, ".json" and ".asl". Caller frees. */
char *workflow_name_of(const char *path);

/* ---- where things are ---- */

/* Fills *out from flags, environment and files. Exit code. */
int target_resolve(const struct ctl *c, struct target *out) MUST_CHECK;
void target_fini(struct target *t);

/* ---- commands: exit codes ---- */

int cmd_status(struct ctl *c);
int cmd_ping(struct ctl *c);
int cmd_stop(struct ctl *c);
int cmd_drain(struct ctl *c);
int cmd_restart(struct ctl *c);
int cmd_scale(struct ctl *c);
int cmd_reload(struct ctl *c);
int cmd_workflow_register(struct ctl *c);
int cmd_workflow_validate(struct ctl *c);
int cmd_workflow_list(struct ctl *c);
int cmd_workflow_show(struct ctl *c);
int cmd_run_start(struct ctl *c);
int cmd_run_list(struct ctl *c);
int cmd_run_show(struct ctl *c);
int cmd_run_history(struct ctl *c);
int cmd_run_result(struct ctl *c);
int cmd_run_wait(struct ctl *c);
int cmd_run_cancel(struct ctl *c);
int cmd_task_succeed(struct ctl *c);
int cmd_task_fail(struct ctl *c);
int cmd_task_heartbeat(struct ctl *c);
int cmd_task_list(struct ctl *c);
int cmd_db_migrate(struct ctl *c);
int cmd_db_version(struct ctl *c);
int cmd_db_adopt(struct ctl *c);
int cmd_exec(struct ctl *c);
int cmd_config_show(struct ctl *c);
int cmd_config_check(struct ctl *c);
int cmd_version(struct ctl *c);
int cmd_help(struct ctl *c);

#endif
