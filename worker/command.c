/*
 * command - a program with the input on its stdin and the result on its
 * stdout.
 *
 * It is in the worker's process group and gets SIGKILL when the worker dies,
 * so a worker that is killed for a timeout takes its program along. The end
 * of the program is the end of the action: what it left running in the
 * background is not waited for.
 */
#include "worker/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/uuid.h"
#include "worker/command_input.h"
#include "worker/command_result.h"
#include "worker/runtime.h"

#define LOG_TAIL_BYTES 2048U
#define READ_BYTES ((size_t)64 << 10)

struct command {
	struct command_input input;
	int in, out, log; /* our ends of its 0, 1 and 2; -1 when closed */
	int failed;       /* where the child says why it could not exec */
	int pidfd;
	pid_t pid;
	size_t written; /* of the input */
	struct buf output;
	struct buf tail; /* of what it wrote on its stderr */
	size_t output_max;
	bool too_much;
};

/* ---- in the child ---- */

struct exec_failure {
	int err;
	int in_cwd; /* 0: the program, 1: the folder */
};

static _Noreturn void
command_die(int fd, int in_cwd)
{
	struct exec_failure f = { .err = errno, .in_cwd = in_cwd };

	if (write(fd, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(127);
}

static void
command_environment(const struct command *c, const struct task *t)
{
	char text[UUID_TEXT_SIZE], number[32], action[256];
	struct uuid instance;

	unsetenv("RAPPEL_FD");
	unsetenv("RAPPEL_SLOT");
	unsetenv("RAPPEL_SPAWN");
	unsetenv("RAPPEL_LOG_LEVEL");
	unsetenv("RAPPEL_VALUE_BYTES_MAX");
	unsetenv("JOURNAL_STREAM");
	memcpy(instance.bytes, t->instance.data, sizeof(instance.bytes));
	uuid_text(&instance, text);
	setenv("RAPPEL_RUN_ID", text, 1);
	snprintf(action, sizeof(action), "%.*s", (int)t->action.len,
	         (const char *)t->action.data);
	setenv("RAPPEL_ACTION", action, 1);
	snprintf(number, sizeof(number), "%" PRIu64, t->attempt);
	setenv("RAPPEL_ATTEMPT", number, 1);
	snprintf(number, sizeof(number), "%" PRIu64, t->token);
	setenv("RAPPEL_TOKEN", number, 1);
	snprintf(number, sizeof(number), "%" PRIu64, t->activation);
	setenv("RAPPEL_ACTIVATION", number, 1);
	if (t->timeout_us > 0) {
		uint64_t at = (uint64_t)clock_wall_us() + t->timeout_us;

		snprintf(number, sizeof(number), "%" PRIu64,
		         at / CLOCK_SECOND_US);
		setenv("RAPPEL_DEADLINE", number, 1);
	} else {
		unsetenv("RAPPEL_DEADLINE");
	}
	for (uint32_t i = 0; i < c->input.env_count; i++) {
		char *entry = c->input.env[i];

		if (strchr(entry, '=') != NULL)
			putenv(entry);
		else
			unsetenv(entry);
	}
}

static _Noreturn void
command_child(const struct command *c, const struct task *t, int in, int out,
              int log, int failed, pid_t parent)
{
	signal(SIGPIPE, SIG_DFL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(126);
	/* Ours all lie above 3, which is the worker's socket. */
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(log, 2) < 0 ||
	    close_range(3, (unsigned)failed - 1, 0) != 0 ||
	    close_range((unsigned)failed + 1, ~0U, 0) != 0)
		command_die(failed, 0);
	command_environment(c, t);
	if (c->input.cwd != NULL && chdir(c->input.cwd) != 0)
		command_die(failed, 1);
	execvp(c->input.argv[0], c->input.argv);
	command_die(failed, 0);
}

/* ---- starting ---- */

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int
command_start(struct command *c, const struct task *t)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, log[2] = { -1, -1 };
	int failed[2] = { -1, -1 };
	pid_t parent = getpid();
	int rc = 0;

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ||
	    pipe2(log, O_CLOEXEC) != 0 || pipe2(failed, O_CLOEXEC) != 0) {
		rc = -errno;
		goto out;
	}
	c->pid = fork();
	if (c->pid == 0)
		command_child(c, t, in[0], out[1], log[1], failed[1], parent);
	if (c->pid < 0) {
		rc = -errno;
		goto out;
	}
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd < 0) {
		rc = -errno;
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		goto out;
	}
	c->in = in[1];
	c->out = out[0];
	c->log = log[0];
	c->failed = failed[0];
	in[1] = out[0] = log[0] = failed[0] = -1;
	fcntl(c->in, F_SETFL, O_NONBLOCK);
	fcntl(c->out, F_SETFL, O_NONBLOCK);
	fcntl(c->log, F_SETFL, O_NONBLOCK);
out:
	for (int i = 0; i < 2; i++) {
		close_fd(&in[i]);
		close_fd(&out[i]);
		close_fd(&log[i]);
		close_fd(&failed[i]);
	}
	return rc;
}

/* ---- talking to it ---- */

static void
command_feed(struct command *c)
{
	while (c->written < c->input.feed.len) {
		ssize_t n = write(c->in, c->input.feed.data + c->written,
		                  c->input.feed.len - c->written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break; /* it does not want to know: its business */
		c->written += (size_t)n;
	}
	close_fd(&c->in);
}

static void
tail_add(struct command *c, size_t from)
{
	struct buf *b = &c->tail;

	/* To the daemon's log as it is; a reader that is slow makes us slow,
	 * which the action's timeout bounds. */
	runtime_log_raw(b->data + from, b->len - from);
	if (b->len > 2 * LOG_TAIL_BYTES)
		buf_drop(b, b->len - LOG_TAIL_BYTES);
}

/* Reads all there is. False at the end. */
static bool
command_drain(struct command *c, int fd, struct buf *to, bool log)
{
	for (;;) {
		size_t before = to->len;
		ssize_t n;

		buf_reserve(to, READ_BYTES);
		n = read(fd, to->data + to->len, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		to->len += (size_t)n;
		if (log) {
			tail_add(c, before);
		} else if (to->len > c->output_max) {
			c->too_much = true;
			return false;
		}
	}
}

static void
command_read_output(struct command *c)
{
	if (c->out >= 0 && !command_drain(c, c->out, &c->output, false))
		close_fd(&c->out);
}

static void
command_read_log(struct command *c)
{
	if (c->log >= 0 && !command_drain(c, c->log, &c->tail, true))
		close_fd(&c->log);
}

/* Until it has ended. */
static void
command_talk(struct command *c)
{
	for (;;) {
		struct pollfd p[5] = {
			{ .fd = c->pidfd, .events = POLLIN },
			{ .fd = c->in, .events = POLLOUT },
			{ .fd = c->out, .events = POLLIN },
			{ .fd = c->log, .events = POLLIN },
			{ .fd = runtime_fd(), .events = POLLRDHUP },
		};

		if (poll(p, 5, -1) < 0)
			continue; /* EINTR: we have no handlers, but debuggers */
		if (p[4].revents != 0)
			runtime_orphaned();
		if (p[1].revents != 0)
			command_feed(c);
		if (p[2].revents != 0)
			command_read_output(c);
		if (p[3].revents != 0)
			command_read_log(c);
		if (c->too_much) {
			kill(c->pid, SIGKILL);
			return;
		}
		if (p[0].revents != 0) {
			/* What it wrote before it ended is there by now. */
			command_read_output(c);
			command_read_log(c);
			return;
		}
	}
}

static void
command_not_started(const struct command *c, const struct exec_failure *f,
                    struct outcome *o)
{
	bool missing = f->err == ENOENT || f->err == ENOTDIR;

	if (f->in_cwd)
		outcome_fail(o, "Rappel.CommandNotStarted",
		             "cwd \"%s\": %s", c->input.cwd, strerror(f->err));
	else
		outcome_fail(o,
		             missing ? "Rappel.CommandNotFound"
		                     : "Rappel.CommandNotStarted",
		             "program \"%s\": %s", c->input.argv[0],
		             strerror(f->err));
}

void
command_run(const struct task *t, struct outcome *o)
{
	struct command c = {
		.in = -1, .out = -1, .log = -1, .failed = -1, .pidfd = -1
	};
	struct exec_failure failure;
	struct error err = { 0 };
	size_t max = runtime_value_bytes_max();
	struct slice log;
	int rc, status;

	if (command_input_parse(t->input, &c.input, &err) < 0) {
		outcome_fail(o, "Rappel.InputInvalid", "%s", err.message);
		goto out;
	}
	/* JSON text is longer than the value that it stands for, by six times
	 * when all is \u0001. */
	c.output_max = 6 * max + 64;
	rc = command_start(&c, t);
	if (rc < 0) {
		outcome_fail(o, "Rappel.CommandNotStarted", "%s",
		             strerror(-rc));
		goto out;
	}
	command_talk(&c);
	log = buf_slice(&c.tail);
	if (log.len > LOG_TAIL_BYTES)
		log = (struct slice){ log.data + log.len - LOG_TAIL_BYTES,
			              LOG_TAIL_BYTES };
	while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (read(c.failed, &failure, sizeof(failure)) ==
	    (ssize_t)sizeof(failure))
		command_not_started(&c, &failure, o);
	else if (c.too_much)
		outcome_fail(o, "Rappel.OutputTooLarge",
		             "stdout has more than %zu bytes", c.output_max);
	else
		command_result(status, c.input.output, buf_slice(&c.output),
		               log, max, o);
out:
	close_fd(&c.in);
	close_fd(&c.out);
	close_fd(&c.log);
	close_fd(&c.failed);
	close_fd(&c.pidfd);
	buf_fini(&c.output);
	buf_fini(&c.tail);
	command_input_fini(&c.input);
}
