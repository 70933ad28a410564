/*
 * command_env - the environment of a program, and where in it the program is.
 *
 * Built before the process is made: between vfork and exec nothing may be
 * allocated.
 */
#ifndef WORKER_COMMAND_ENV_H
#define WORKER_COMMAND_ENV_H

#include <stdint.h>

#include "common/assert.h"
#include "common/error.h"
#include "common/mem.h"
#include "worker/command_input.h"
#include "worker/worker.h"

struct command_env {
	struct arena *arena; /* everything in it */
	char **items;        /* NAME=value; ended by NULL */
	uint32_t count;
	uint32_t cap;
};

/* The worker's own without what is the worker's business; what the attempt
 * is; what the action asks for. dir: its folder, or NULL. Release with
 * command_env_fini(). */
void command_env_init(struct command_env *e, const struct task *t,
		      const struct command_input *input, const char *dir);
void command_env_fini(struct command_env *e);

/* The value of a variable, or NULL. */
const char *command_env_get(const struct command_env *e, const char *name);

/*
 * What to exec for a program of that name, in order, ended by NULL: the name
 * itself when there is a '/' in it, else it in each folder of PATH. In e's
 * arena.
 */
char **command_env_paths(struct command_env *e, const char *program);

/* Whether the program is there, as far as that can be told before there is an
 * input: 0, or -EINVAL with err. */
int command_env_check(const struct command_input *input,
		      struct error *err) MUST_CHECK;

#endif
