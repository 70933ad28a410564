/*
 * command - runs a program as an action, without a shell.
 */
#ifndef WORKER_COMMAND_H
#define WORKER_COMMAND_H

#include "worker/command_input.h"
#include "worker/worker.h"

/* The built-in action: the input says everything. */
void command_run(const struct task *t, struct outcome *o);

/* From its start to its outcome. */
void command_execute(const struct task *t, const struct command_input *input,
		     struct outcome *o);

#endif
