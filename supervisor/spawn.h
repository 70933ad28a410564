/*
 * spawn - fork and exec one child with nothing of ours in it.
 *
 * A path without a slash is looked for in the PATH of envp, as the user that
 * the child becomes. Why a program does not start is a line on its 2 that
 * begins with SPAWN_PREFIX, and the exit status EXIT_CANNOT_EXEC.
 *
 * The child gets: descriptors 0 (/dev/null, or
 * stdin_fd), 1 and 2 (the log, or log_fd), 3
 * (its socket, or none), 4 (board_fd, or none); a process group of its own;
 * default signals, empty mask; umask 0077; no capabilities that could be
 * inherited; no_new_privs; exactly the environment given.
 */
#ifndef SUPERVISOR_SPAWN_H
#define SUPERVISOR_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/assert.h"

#define SPAWN_PREFIX "rappeld: "

struct account;
struct sock_fprog;

struct spawn {
	const char *path;
	char *const *argv;
	char *const *envp;
	int stdin_fd;   /* becomes 0; -1 for /dev/null */
	int socket_fd;  /* becomes 3; -1 for none */
	int board_fd;   /* becomes 4, only beside a socket; -1 for none */
	int log_fd;     /* becomes 1 and 2; -1 keeps ours */
	const char *cwd; /* NULL for ours */
	int death_signal; /* sent when the supervisor dies; 0 for none */
	bool subreaper;   /* what it leaves behind stays below it */
	const struct account *account; /* whom it becomes; NULL: nobody else */
	const struct sock_fprog *filter; /* of system calls; NULL for none */
	const uint64_t *limits; /* LIMITS of config_group.h; NULL for none */
};

/* The pid, or -errno when there could be no new process. */
pid_t spawn_exec(const struct spawn *s) MUST_CHECK;

/* A list of strings for argv and envp, ended by NULL. */
struct strings {
	char **items;
	uint32_t count;
};

void strings_add(struct strings *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void strings_fini(struct strings *l);

/* NAME=value in the place of what NAME was. */
void strings_put(struct strings *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* NAME=value of our own environment, if set. */
void strings_add_env(struct strings *l, const char *name);
/* All of our own environment whose names begin with prefix. */
void strings_add_env_prefix(struct strings *l, const char *prefix);
/* The value of NAME in such a list, or NULL. */
const char *strings_env(const struct strings *l, const char *name);

#endif
