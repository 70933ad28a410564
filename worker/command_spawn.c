/*
 * command_spawn - vfork, and what the child does until exec.
 */
#include "worker/command_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The parent stands still meanwhile, and shares our memory: nothing here may
 * write to what is not the child's own. */

static _Noreturn void
child_die(int fd, enum command_step step, int err)
{
	struct command_failure f = { .err = err, .step = step };

	if (write(fd, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(127);
}

/* What the parent handles is not to be handled by a child in its memory. */
static void
child_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Ends with fd, which it may have to move, and 0 to 4 as asked. */
static int
child_descriptors(const struct command_spawn *s, int fd)
{
	int from[COMMAND_FDS];
	unsigned above = 0;

	/* Out of the way first: any of them may stand where another goes. */
	if (fd < (int)COMMAND_FDS) {
		int moved = fcntl(fd, F_DUPFD_CLOEXEC, (int)COMMAND_FDS);

		if (moved < 0)
			child_die(fd, STEP_PREPARE, errno);
		fd = moved;
	}
	for (unsigned i = 0; i < COMMAND_FDS; i++) {
		from[i] = s->fds[i];
		if (from[i] >= 0 && from[i] < (int)COMMAND_FDS)
			from[i] =
			    fcntl(from[i], F_DUPFD_CLOEXEC, (int)COMMAND_FDS);
		if (from[i] < 0 && s->fds[i] >= 0)
			child_die(fd, STEP_PREPARE, errno);
	}
	for (unsigned i = 0; i < COMMAND_FDS; i++) {
		if (from[i] >= 0 && dup2(from[i], (int)i) < 0)
			child_die(fd, STEP_PREPARE, errno);
		if (from[i] < 0)
			close((int)i);
	}
	above = COMMAND_FDS;
	if (((unsigned)fd > above &&
	     close_range(above, (unsigned)fd - 1, 0) != 0) ||
	    close_range((unsigned)fd + 1, ~0U, 0) != 0)
		child_die(fd, STEP_PREPARE, errno);
	return fd;
}

static _Noreturn void
child_run(const struct command_spawn *s, int fd, pid_t parent)
{
	int err = ENOENT;

	child_signals();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(126);
	if (setsid() < 0)
		child_die(fd, STEP_PREPARE, errno);
	fd = child_descriptors(s, fd);
	if (s->cwd != NULL && chdir(s->cwd) != 0)
		child_die(fd, STEP_CWD, errno);
	err = command_limits_apply(s->limits);
	if (err < 0)
		child_die(fd, STEP_LIMITS, -err);
	/* As execvp() does it: one that may not be run may still be there
	 * further behind. But what the kernel takes for no program is not
	 * given to a shell. */
	err = ENOENT;
	for (char *const *path = s->paths; *path != NULL; path++) {
		execve(*path, s->argv, s->envp);
		if (errno == EACCES)
			err = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			child_die(fd, STEP_EXEC, errno);
	}
	child_die(fd, STEP_EXEC, err);
}

static pid_t
spawn_process(const struct command_spawn *s, int fd)
{
	pid_t parent = getpid(), pid;
	sigset_t all, old;
	int err;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid = vfork();
	if (pid == 0)
		child_run(s, fd, parent);
	err = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	errno = err;
	return pid;
}

int
command_spawn(const struct command_spawn *s, pid_t *pid_out, int *pidfd_out,
	      struct command_failure *failure)
{
	int failed[2], pidfd, rc = 0;
	pid_t pid;

	*failure = (struct command_failure){ 0, STEP_PREPARE };
	if (pipe2(failed, O_CLOEXEC) != 0) {
		failure->err = errno;
		return -failure->err;
	}
	pid = spawn_process(s, failed[1]);
	if (pid < 0)
		failure->err = errno;
	close(failed[1]);
	/* Closed by exec, and that is what vfork waited for. */
	if (pid >= 0 && read(failed[0], failure, sizeof(*failure)) ==
			    (ssize_t)sizeof(*failure))
		rc = -failure->err;
	close(failed[0]);
	if (pid < 0)
		return -failure->err;
	pidfd = rc == 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (rc == 0 && pidfd < 0) {
		rc = -errno;
		*failure = (struct command_failure){ -rc, STEP_PREPARE };
		kill(pid, SIGKILL);
	}
	if (rc < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return rc;
	}
	*pid_out = pid;
	*pidfd_out = pidfd;
	return 0;
}
