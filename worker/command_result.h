/*
 * command_result - how a program ended and what it wrote, as an outcome.
 * Pure.
 */
#ifndef WORKER_COMMAND_RESULT_H
#define WORKER_COMMAND_RESULT_H

#include "worker/command_input.h"
#include "worker/worker.h"

/* The name for an exit status other than 0: sysexits by name, others by
 * number. text needs 32 bytes. */
void command_exit_name(int code, char *text);

struct command_end {
	int status; /* as waitpid() gave it */
	enum command_output output;
	const char *from; /* where it was written, for people */
	struct slice written;
	struct slice log; /* the end of what it wrote on stderr */
	const struct command_limits *limits;
	size_t value_bytes_max;
};

void command_result(const struct command_end *end, struct outcome *o);

/* Its result has more bytes than may be: what is told of it. */
void command_result_too_large(struct outcome *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The result becomes what the template makes of it: {key} of the input, and
 * {output} for the result so far.
 */
void command_result_fill(struct slice template, struct slice input,
			 size_t value_bytes_max, struct outcome *o);

#endif
