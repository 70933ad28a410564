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

/* status as waitpid() gave it; log is the end of what it wrote on stderr. */
void command_result(int status, enum command_output output,
                    struct slice written, struct slice log,
                    size_t value_bytes_max, struct outcome *o);

#endif
