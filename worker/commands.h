/*
 * commands - actions that a person wrote into a file: each a name and a
 * command with places for its input.
 *
 * Everything is checked before HELLO. What is wrong is said in a sentence
 * with its line.
 */
#ifndef WORKER_COMMANDS_H
#define WORKER_COMMANDS_H

#include "common/assert.h"
#include "common/error.h"
#include "worker/registry.h"

struct commands;

struct commands *commands_create(void);
/* After the registry is not used any more. NULL is fine. */
void commands_destroy(struct commands **c);

/* Reads one file and adds its actions to the registry. -EINVAL, or -errno of
 * reading, with err: the message, and the line if one is to blame. */
int commands_load(struct commands *c, const char *path, struct registry *r,
		  struct error *err) MUST_CHECK;

#endif
