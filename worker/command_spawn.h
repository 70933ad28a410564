/*
 * command_spawn - makes the process of a program, in a session of its own.
 *
 * vfork: what the child needs is ready before, and it does nothing but system
 * calls. It gets SIGKILL when the worker dies.
 */
#ifndef WORKER_COMMAND_SPAWN_H
#define WORKER_COMMAND_SPAWN_H

#include <sys/types.h>

#include "common/assert.h"
#include "worker/command_limits.h"

#define COMMAND_FDS 5U /* stdin, stdout, stderr, result, heartbeats */

enum command_step {
	STEP_PREPARE,
	STEP_LIMITS,
	STEP_CWD,
	STEP_EXEC,
};

struct command_failure {
	int err;
	enum command_step step;
};

struct command_spawn {
	char *const *argv;
	char *const *envp;
	char *const *paths; /* to try, in order */
	const char *cwd;    /* or NULL */
	const struct command_limits *limits;
	int fds[COMMAND_FDS]; /* what becomes 0 to 4; -1: nothing */
};

/*
 * 0, with the process in *pid and *pidfd; or -errno with *failure when it
 * could not become the program, and nothing is left of it.
 */
int command_spawn(const struct command_spawn *s, pid_t *pid, int *pidfd,
		  struct command_failure *failure) MUST_CHECK;

#endif
