/*
 * spawn - the only place that forks.
 */
#include "supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_group.h"
#include "common/mem.h"
#include "common/sandbox.h"
#include "supervisor/account.h"
#include "supervisor/reap.h"

extern char **environ;

/* In the child: says why, and ends. dprintf is fine, there is one thread. */
static _Noreturn void
spawn_die(const struct spawn *s, const char *what)
{
	dprintf(2, SPAWN_PREFIX "%s: %s: %s\n", s->path, what,
	        strerror(errno));
	_exit(EXIT_CANNOT_EXEC);
}

/* ---- exec, as whom we have become ---- */

/* The program was found and does not start. */
static _Noreturn void
spawn_not_executed(const char *path)
{
	int err = errno;

	if (err == ENOENT && access(path, F_OK) == 0)
		dprintf(2, SPAWN_PREFIX "cannot be executed: %s: its "
		        "interpreter (first line) is missing\n", path);
	else if (err == ENOENT)
		dprintf(2, SPAWN_PREFIX "no such program: %s\n", path);
	else
		dprintf(2, SPAWN_PREFIX "cannot be executed: %s: %s\n", path,
		        strerror(err));
	_exit(EXIT_CANNOT_EXEC);
}

/* As execvpe(), which takes our own PATH: theirs may be another. */
static _Noreturn void
spawn_search(const struct spawn *s)
{
	char refused[PATH_MAX] = "";
	int err;
	const char *dirs = "/usr/local/bin:/usr/bin:/bin";

	for (char *const *e = s->envp; *e != NULL; e++) {
		if (strncmp(*e, "PATH=", 5) == 0)
			dirs = *e + 5;
	}
	while (*dirs != '\0') {
		size_t len = strcspn(dirs, ":");
		char path[PATH_MAX];
		int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, dirs,
		                 s->path);

		dirs += len + (dirs[len] == ':');
		if (len == 0 || n < 0 || (size_t)n >= sizeof(path))
			continue;
		execve(path, s->argv, s->envp);
		err = errno;
		/* What is there and may not be run is why, unless another
		 * one may. */
		if (access(path, F_OK) != 0)
			continue;
		if (err != EACCES) {
			errno = err;
			spawn_not_executed(path);
		}
		memcpy(refused, path, sizeof(refused));
	}
	errno = EACCES;
	if (refused[0] != '\0')
		spawn_not_executed(refused);
	dprintf(2, SPAWN_PREFIX "no such program in PATH: %s\n", s->path);
	_exit(EXIT_CANNOT_EXEC);
}

static _Noreturn void
spawn_program(const struct spawn *s)
{
	if (strchr(s->path, '/') == NULL)
		spawn_search(s);
	execve(s->path, s->argv, s->envp);
	spawn_not_executed(s->path);
}

static void
spawn_limits(const struct spawn *s)
{
	for (uint32_t i = 0; s->limits != NULL && i < LIMITS; i++) {
		const struct config_limit_row *row = &config_limits[i];
		rlim_t n = s->limits[i] / row->factor;
		const struct rlimit limit = { .rlim_cur = n, .rlim_max = n };

		if (s->limits[i] == LIMIT_NONE ||
		    setrlimit((__rlimit_resource_t)row->resource, &limit) == 0)
			continue;
		dprintf(2, SPAWN_PREFIX "limits: %s: %s\n", row->name,
		        strerror(errno));
		_exit(EXIT_CANNOT_EXEC);
	}
}

static void
spawn_directory(const struct spawn *s)
{
	if (s->cwd == NULL || chdir(s->cwd) == 0)
		return;
	dprintf(2, SPAWN_PREFIX "directory: %s: %s\n", s->cwd,
	        strerror(errno));
	_exit(EXIT_CANNOT_EXEC);
}

/* ---- the child ---- */

/* Puts from on to, which must survive exec. */
static void
spawn_move_fd(const struct spawn *s, int from, int to)
{
	if (from == to) {
		if (fcntl(to, F_SETFD, 0) != 0)
			spawn_die(s, "fcntl");
	} else if (dup2(from, to) < 0) {
		spawn_die(s, "dup2");
	}
}

static void
spawn_descriptors(const struct spawn *s)
{
	int log_fd = s->log_fd, socket_fd = s->socket_fd;
	int board_fd = s->board_fd, stdin_fd = s->stdin_fd;
	int null_fd, first_closed = 3;

	/* Out of the way of 0 to 4 first, whatever they were. */
	if (log_fd >= 0 && (log_fd = fcntl(log_fd, F_DUPFD, 10)) < 0)
		spawn_die(s, "dup");
	if (socket_fd >= 0 && (socket_fd = fcntl(socket_fd, F_DUPFD, 10)) < 0)
		spawn_die(s, "dup");
	if (board_fd >= 0 && (board_fd = fcntl(board_fd, F_DUPFD, 10)) < 0)
		spawn_die(s, "dup");
	if (stdin_fd >= 0 && (stdin_fd = fcntl(stdin_fd, F_DUPFD, 10)) < 0)
		spawn_die(s, "dup");
	null_fd = open("/dev/null", O_RDWR);
	if (null_fd < 0)
		spawn_die(s, "/dev/null");
	spawn_move_fd(s, stdin_fd >= 0 ? stdin_fd : null_fd, 0);
	if (log_fd >= 0)
		spawn_move_fd(s, log_fd, 2);
	else if (fcntl(2, F_GETFD) < 0)
		spawn_move_fd(s, null_fd, 2);
	spawn_move_fd(s, 2, 1);
	if (socket_fd >= 0)
		spawn_move_fd(s, socket_fd, first_closed++);
	if (socket_fd >= 0 && board_fd >= 0)
		spawn_move_fd(s, board_fd, first_closed++);
	if (close_range((unsigned)first_closed, ~0U, 0) != 0)
		spawn_die(s, "close_range");
}

static void
spawn_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void
spawn_child(const struct spawn *s, pid_t parent)
{
	/* The loop's handlers write into a pipe that the supervisor reads:
	 * no signal may come through before they are gone. */
	spawn_signals();
	(void)setpgid(0, 0);
	spawn_descriptors(s);
	umask(0077);
	/* Whoever may raise them is gone after the next step. */
	spawn_limits(s);
	if (s->account != NULL) {
		if (account_become(s->account) != 0)
			spawn_die(s, "changing the user");
	} else if (geteuid() != 0 && account_drop_capabilities() != 0) {
		spawn_die(s, "capabilities");
	}
	/* After setuid, which clears it. */
	if (s->death_signal != 0) {
		if (prctl(PR_SET_PDEATHSIG, s->death_signal) != 0)
			spawn_die(s, "prctl");
		if (getppid() != parent)
			_exit(EXIT_CANNOT_EXEC);
	}
	if (s->subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		spawn_die(s, "subreaper");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		spawn_die(s, "no_new_privs");
	spawn_directory(s);
	if (s->filter != NULL && sandbox_apply(s->filter) != 0)
		spawn_die(s, "seccomp");
	spawn_program(s);
}

pid_t
spawn_exec(const struct spawn *s)
{
	pid_t parent = getpid();
	sigset_t all, old;
	pid_t pid;
	int err;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid = fork();
	if (pid == 0)
		spawn_child(s, parent);
	err = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return -err;
	/* Both sides set it, so that kill(-pid) works from here on. It fails
	 * when the child was quicker and has exec'd, which is as good. */
	(void)setpgid(pid, pid);
	return pid;
}

static void
strings_take(struct strings *l, char *s)
{
	l->items = mem_realloc(l->items, (l->count + 2) * sizeof(*l->items));
	l->items[l->count++] = s;
	l->items[l->count] = NULL;
}

void
strings_add(struct strings *l, const char *format, ...)
{
	char *s = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&s, format, args);
	va_end(args);
	if (n < 0)
		mem_exhausted();
	strings_take(l, s);
}

void
strings_put(struct strings *l, const char *format, ...)
{
	char *s = NULL;
	va_list args;
	size_t len;
	int n;

	va_start(args, format);
	n = vasprintf(&s, format, args);
	va_end(args);
	if (n < 0)
		mem_exhausted();
	len = strcspn(s, "=") + 1;
	for (uint32_t i = 0; i < l->count; i++) {
		if (strncmp(l->items[i], s, len) == 0) {
			free(l->items[i]);
			l->items[i] = s;
			return;
		}
	}
	strings_take(l, s);
}

void
strings_fini(struct strings *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		free(l->items[i]);
	free(l->items);
	l->items = NULL;
	l->count = 0;
}

void
strings_add_env(struct strings *l, const char *name)
{
	const char *value = getenv(name);

	if (value != NULL)
		strings_add(l, "%s=%s", name, value);
}

void
strings_add_env_prefix(struct strings *l, const char *prefix)
{
	for (char **e = environ; *e != NULL; e++) {
		if (strncmp(*e, prefix, strlen(prefix)) == 0)
			strings_take(l, mem_strdup(*e));
	}
}

const char *
strings_env(const struct strings *l, const char *name)
{
	size_t len = strlen(name);

	for (uint32_t i = 0; i < l->count; i++) {
		if (strncmp(l->items[i], name, len) == 0 &&
		    l->items[i][len] == '=')
			return l->items[i] + len + 1;
	}
	return NULL;
}
