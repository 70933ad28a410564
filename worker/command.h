/*
 * command - runs a program as an action, without a shell.
 */
#ifndef WORKER_COMMAND_H
#define WORKER_COMMAND_H

#include "worker/worker.h"

void command_run(const struct task *t, struct outcome *o);

#endif
