/*
 * command_input - what the input of a "command" action asks for. Pure.
 */
#ifndef WORKER_COMMAND_INPUT_H
#define WORKER_COMMAND_INPUT_H

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"

enum command_output {
	OUTPUT_JSON,  /* stdout is one JSON text, or nothing for null */
	OUTPUT_TEXT,  /* a string, without the newline at its end */
	OUTPUT_LINES, /* an array of strings */
};

struct command_input {
	char **argv; /* ended by NULL */
	uint32_t argc;
	char **env; /* NAME=value, or NAME to unset; ended by NULL */
	uint32_t env_count;
	char *cwd;        /* or NULL */
	struct buf feed;  /* on its stdin: the bytes that it reads */
	enum command_output output;
};

/* 0, or -EINVAL with err saying what is wrong. Release in both cases. */
int command_input_parse(struct slice input, struct command_input *out,
                        struct error *err) MUST_CHECK;
void command_input_fini(struct command_input *c);

#endif
