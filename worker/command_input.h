/*
 * command_input - what a program is to be started with. Pure.
 *
 * Two come here: the input of the built-in action "command", which says
 * everything itself, and an action of a file (commands.h), whose object there
 * says what to run and whose input has only the values.
 */
#ifndef WORKER_COMMAND_INPUT_H
#define WORKER_COMMAND_INPUT_H

#include <stdbool.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"
#include "worker/command_limits.h"

enum command_output {
	OUTPUT_JSON,  /* one JSON text, or nothing for null */
	OUTPUT_TEXT,  /* a string, without the newline at its end */
	OUTPUT_LINES, /* an array of strings */
	OUTPUT_NONE,  /* null, whatever it writes */
};

/* Where the result is written. But for stdout, that goes to the log. */
enum command_from {
	FROM_STDOUT,
	FROM_FD3,
	FROM_FILE,
	FROM_NOWHERE,
};

struct command_file {
	char *name; /* no folder in it */
	struct buf content;
};

struct command_input {
	char **argv; /* ended by NULL */
	uint32_t argc;
	char **env; /* NAME=value, or NAME to unset; ended by NULL */
	uint32_t env_count;
	char *cwd;       /* or NULL */
	struct buf feed; /* on its stdin: the bytes that it reads */
	enum command_output output;
	enum command_from from;
	char *result_file; /* FROM_FILE */
	struct command_file *files;
	uint32_t file_count;
	struct command_limits limits;
	uint64_t kill_after_us; /* from SIGTERM to SIGKILL */
	bool heartbeat_fd;      /* its lines there are heartbeats */
	char near[192]; /* about a key that may be a mistake, or "" */
};

/* It needs a folder of its own. */
static inline bool
command_input_has_dir(const struct command_input *c)
{
	return c->file_count > 0 || c->from == FROM_FILE;
}

/* All three: 0, or -EINVAL with err saying what is wrong, and in field the
 * key at fault. Release in both cases. */
int command_input_parse(struct slice input, struct command_input *out,
			struct error *err) MUST_CHECK;
int command_input_fill(struct slice spec, struct slice input,
		       struct command_input *out, struct error *err) MUST_CHECK;
/* What can be known of an action of a file before it gets an input. Places
 * to be filled are left as they are in out. */
int command_input_check(struct slice spec, struct command_input *out,
			struct error *err) MUST_CHECK;
void command_input_fini(struct command_input *c);

#endif
