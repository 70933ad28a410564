/*
 * strays - a look through /proc.
 */
#include "common/strays.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/buf.h"

/* What stands behind that is not looked at: it is set by us, so early. */
#define ENVIRON_BYTES_MAX ((size_t)64 << 10)
/* While we look, those that were not seen yet may fork. */
#define PASSES_MAX 8U

/* Does the environment, NAME=value with a NUL behind each, say so? */
static bool
environ_says(const char *env, size_t len, const char *life, bool any_life)
{
	static const char name[] = STRAYS_VARIABLE "=";
	size_t life_len = strlen(life);

	while (len > 0) {
		const char *end = memchr(env, '\0', len);
		size_t n = end != NULL ? (size_t)(end - env) : len;

		if (end != NULL && n >= sizeof(name) - 1 + life_len &&
		    memcmp(env, name, sizeof(name) - 1) == 0 &&
		    memcmp(env + sizeof(name) - 1, life, life_len) == 0 &&
		    (any_life || n == sizeof(name) - 1 + life_len))
			return true;
		n = end != NULL ? n + 1 : n;
		env += n;
		len -= n;
	}
	return false;
}

static bool
process_says(int pid, struct buf *env, const char *life, bool any_life)
{
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	env->len = 0;
	buf_reserve(env, ENVIRON_BYTES_MAX);
	while (env->len < ENVIRON_BYTES_MAX &&
	       (n = read(fd, env->data + env->len,
	                 ENVIRON_BYTES_MAX - env->len)) > 0)
		env->len += (size_t)n;
	close(fd);
	return environ_says((const char *)env->data, env->len, life, any_life);
}

/* The number may be another's by now: so look again while it is held. */
static bool
stray_kill(int pid, struct buf *env, const char *life, bool any_life)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	bool killed;

	if (fd < 0)
		return false;
	killed = process_says(pid, env, life, any_life) &&
	         syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
	close(fd);
	return killed;
}

static uint32_t
strays_pass(struct buf *env, const char *life, bool any_life)
{
	DIR *proc = opendir("/proc");
	uint32_t killed = 0;
	struct dirent *e;

	while (proc != NULL && (e = readdir(proc)) != NULL) {
		int pid = atoi(e->d_name);

		if (pid <= 1 || pid == (int)getpid() ||
		    !process_says(pid, env, life, any_life))
			continue;
		killed += stray_kill(pid, env, life, any_life);
	}
	if (proc != NULL)
		closedir(proc);
	return killed;
}

uint32_t
strays_kill(const char *life, bool any_life)
{
	struct buf env = BUF_EMPTY;
	uint32_t killed = 0, more;

	for (uint32_t i = 0; i < PASSES_MAX; i++) {
		more = strays_pass(&env, life, any_life);
		killed += more;
		if (more == 0)
			break;
	}
	buf_fini(&env);
	return killed;
}
