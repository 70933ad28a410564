/*
 * command - a program with the input on its stdin and the result on its
 * stdout, in a descriptor or in a file.
 *
 * It leads a session and a process group of its own, which end with it: what
 * it left running in the background is killed at once. When the worker dies
 * it gets SIGKILL, and what has left its group is killed by the supervisor.
 *
 * What it prints goes to the daemon's log no faster than that is read, and
 * while it waits for that a cancellation still comes through.
 */
#include "worker/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/value.h"
#include "worker/command_dir.h"
#include "worker/command_env.h"
#include "worker/command_result.h"
#include "worker/command_spawn.h"
#include "worker/runtime.h"
#include "worker/text.h"

#define LOG_TAIL_BYTES 2048U
#define READ_BYTES ((size_t)64 << 10)
/* What a program can have put into a pipe that it made larger; /proc/sys/fs/
 * pipe-max-size allows no more unless somebody raised it. */
#define PIPE_BYTES_MAX ((size_t)1 << 20)
/* As much as a pipe that is writable takes without blocking. */
#define LOG_WRITE_BYTES ((size_t)4096)
/* JSON text is longer than the value that it stands for: six times when all
 * is \u0001. */
#define JSON_FACTOR 6U
#define OUTPUT_SLACK 64U
#define BEAT_LINE_MAX ((size_t)RUNTIME_PROGRESS_MAX * 2)

struct command {
	const struct command_input *input;
	const struct task *task;
	struct command_dir dir;
	int in, out, log, beat; /* our ends; -1 when closed */
	int pidfd;
	pid_t pid;
	size_t written; /* of the input */
	struct buf output;
	struct buf tail; /* of what it printed */
	struct buf unlogged;
	struct buf beats; /* of its heartbeats, the lines that are not sent */
	size_t output_max;
	uint64_t kill_us; /* when its group gets SIGKILL, or RUNTIME_NEVER */
	bool too_much;
	bool cancelled;
	bool wrote; /* something, and no heartbeat said so */
};

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- starting ---- */

/* A pipe whose other end is the program's. */
static int
pipe_make(int *ours, int *its, bool its_reads)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	*ours = fds[its_reads];
	*its = fds[!its_reads];
	(void)fcntl(*ours, F_SETFL, O_NONBLOCK);
	return 0;
}

static int
command_start(struct command *c, struct command_failure *failure)
{
	const struct command_input *input = c->input;
	bool from_stdout = input->from == FROM_STDOUT;
	int in = -1, out = -1, log = -1, beat = -1;
	struct command_env env;
	struct command_spawn s = {
		.argv = input->argv,
		.cwd = input->cwd != NULL ? input->cwd : c->dir.path,
		.limits = &input->limits,
	};
	int rc;

	command_env_init(&env, c->task, input, c->dir.path);
	rc = pipe_make(&c->in, &in, true);
	if (rc == 0)
		rc = pipe_make(&c->log, &log, false);
	if (rc == 0 && (from_stdout || input->from == FROM_FD3))
		rc = pipe_make(&c->out, &out, false);
	if (rc == 0 && input->heartbeat_fd)
		rc = pipe_make(&c->beat, &beat, false);
	if (rc == 0) {
		s.envp = env.items;
		s.paths = command_env_paths(&env, input->argv[0]);
		s.fds[0] = in;
		s.fds[1] = from_stdout ? out : log;
		s.fds[2] = log;
		s.fds[3] = from_stdout ? -1 : out;
		s.fds[4] = beat;
		rc = command_spawn(&s, &c->pid, &c->pidfd, failure);
	} else {
		*failure = (struct command_failure){ -rc, STEP_PREPARE };
	}
	close_fd(&in);
	close_fd(&out);
	close_fd(&log);
	close_fd(&beat);
	command_env_fini(&env);
	return rc;
}

static void
command_not_started(const struct command *c, const struct command_failure *f,
		    struct outcome *o)
{
	const char *program = c->input->argv[0], *hint = "";
	bool missing = f->err == ENOENT || f->err == ENOTDIR;

	if (f->err == ENOEXEC)
		hint = "; a script needs a first line like \"#!/bin/sh\"";
	if (f->err == E2BIG)
		hint = "; what is large can go on stdin or into \"files\"";
	switch (f->step) {
	case STEP_PREPARE:
		outcome_fail(o, "Rappel.CommandNotStarted", "%s",
			     strerror(f->err));
		break;
	case STEP_LIMITS:
		outcome_fail(o, "Rappel.CommandNotStarted", "limits: %s",
			     strerror(f->err));
		break;
	case STEP_CWD:
		outcome_fail(o, "Rappel.CommandNotStarted", "cwd \"%s\": %s",
			     c->input->cwd, strerror(f->err));
		break;
	case STEP_EXEC:
		outcome_fail(o,
			     missing ? "Rappel.CommandNotFound"
				     : "Rappel.CommandNotStarted",
			     "program \"%s\": %s%s", program, strerror(f->err),
			     hint);
		break;
	}
}

/* ---- talking to it ---- */

/* The group is there as long as its leader was not waited for. */
static void
command_signal(const struct command *c, int sig)
{
	(void)kill(-c->pid, sig);
}

static void
command_feed(struct command *c)
{
	while (c->written < c->input->feed.len) {
		ssize_t n = write(c->in, c->input->feed.data + c->written,
				  c->input->feed.len - c->written);

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

/* Once. False at the end. */
static bool
command_read(struct command *c, int fd, struct buf *to)
{
	ssize_t n;

	buf_reserve(to, READ_BYTES);
	do
		n = read(fd, to->data + to->len, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	to->len += (size_t)n;
	c->wrote = true;
	return true;
}

static void
read_output(struct command *c)
{
	if (!command_read(c, c->out, &c->output))
		close_fd(&c->out);
	if (c->output.len > c->output_max && !c->too_much) {
		c->too_much = true;
		command_signal(c, SIGKILL);
		close_fd(&c->out);
	}
}

static void
read_log(struct command *c)
{
	size_t before = c->unlogged.len;
	struct buf *tail = &c->tail;

	if (!command_read(c, c->log, &c->unlogged))
		close_fd(&c->log);
	buf_add(tail, c->unlogged.data + before, c->unlogged.len - before);
	if (tail->len > 2 * READ_BYTES)
		buf_drop(tail, tail->len - LOG_TAIL_BYTES);
}

/* Some of it: so much that it does not block while stderr is writable. */
static void
log_some(struct command *c)
{
	struct buf *b = &c->unlogged;
	size_t n = b->len < LOG_WRITE_BYTES ? b->len : LOG_WRITE_BYTES;

	runtime_log_raw(b->data, n);
	buf_drop(b, n);
}

/* ---- heartbeats ---- */

/* A line is JSON, or else a text. False: it is too long to be any. */
static bool
beat_value(struct slice line, struct buf *out)
{
	struct buf text = BUF_EMPTY;

	if (json_parse((const char *)line.data, line.len, VALUE_DEPTH_MAX, out,
		       NULL, NULL) < 0) {
		text_clean(line, RUNTIME_PROGRESS_MAX / 2, &text);
		value_pack_str(out, text.data, text.len);
		buf_fini(&text);
	}
	return out->len <= RUNTIME_PROGRESS_MAX;
}

/* Where the last whole line begins and ends; false when there is none. */
static bool
last_line(const struct buf *b, struct slice *line)
{
	const uint8_t *end = b->len > 0 ? memrchr(b->data, '\n', b->len) : NULL;
	const uint8_t *before;

	if (end == NULL)
		return false;
	before = end > b->data ? memrchr(b->data, '\n', (size_t)(end - b->data))
			       : NULL;
	before = before != NULL ? before + 1 : b->data;
	*line = (struct slice){ before, (size_t)(end - before) };
	return true;
}

/* Of several lines only the last one says how far it is now. */
static void
beat_send(struct command *c)
{
	struct buf value = BUF_EMPTY;
	struct slice line;

	if (!last_line(&c->beats, &line)) {
		/* No line is that long. */
		if (c->beats.len > BEAT_LINE_MAX)
			c->beats.len = 0;
		return;
	}
	/* It may write faster than beats go out. */
	buf_drop(&c->beats, (size_t)(line.data - c->beats.data));
	if (!runtime_heartbeat_due())
		return;
	line.data = c->beats.data;
	if (!beat_value(line, &value))
		value.len = 0;
	if (runtime_heartbeat(buf_slice(&value)))
		buf_drop(&c->beats,
			 (size_t)(line.data + line.len + 1 - c->beats.data));
	buf_fini(&value);
}

/* What it said of itself goes out; when to try again, or RUNTIME_NEVER. */
static uint64_t
command_beat(struct command *c)
{
	struct slice line;

	if (c->input->heartbeat_fd) {
		beat_send(c);
		if (!last_line(&c->beats, &line))
			return RUNTIME_NEVER;
	} else {
		if (!c->wrote || c->task->heartbeat_us == 0)
			return RUNTIME_NEVER;
		if (runtime_heartbeat(SLICE_NONE)) {
			c->wrote = false;
			return RUNTIME_NEVER;
		}
	}
	return clock_mono_us() + RUNTIME_BEAT_US;
}

/* ---- until it has ended ---- */

static void
command_cancel(struct command *c)
{
	c->cancelled = true;
	c->kill_us = clock_mono_us() + c->input->kill_after_us;
	command_signal(c, SIGTERM);
	/* One that is stopped would not hear it. */
	command_signal(c, SIGCONT);
}

static void
command_talk(struct command *c)
{
	for (;;) {
		/* What was printed is passed on before more is read. */
		bool logging = c->unlogged.len > 0;
		struct pollfd p[] = {
			{ .fd = c->pidfd, .events = POLLIN },
			{ .fd = c->in, .events = POLLOUT },
			{ .fd = c->out, .events = POLLIN },
			{ .fd = logging ? -1 : c->log, .events = POLLIN },
			{ .fd = logging ? STDERR_FILENO : -1,
			  .events = POLLOUT },
			{ .fd = c->beat, .events = POLLIN },
		};
		uint64_t until = command_beat(c);
		int ready;

		if (until > c->kill_us)
			until = c->kill_us;
		ready = runtime_wait(p, sizeof(p) / sizeof(p[0]), until);
		if (ready == -ECANCELED) {
			command_cancel(c);
			continue;
		}
		/* Also while it goes on printing. */
		if (clock_mono_us() >= c->kill_us) {
			command_signal(c, SIGKILL);
			c->kill_us = RUNTIME_NEVER;
		}
		if (ready == 0)
			continue;
		if (p[1].revents != 0)
			command_feed(c);
		if (p[2].revents != 0)
			read_output(c);
		if (p[3].revents != 0)
			read_log(c);
		if (p[4].revents != 0)
			log_some(c);
		if (p[5].revents != 0 && !command_read(c, c->beat, &c->beats))
			close_fd(&c->beat);
		if (p[0].revents != 0)
			return;
	}
}

/*
 * It has ended: the rest of its group goes, and what it wrote before is there
 * by now. Others that hold the pipes are not waited for.
 */
static void
command_finish(struct command *c, int *status, struct rusage *usage)
{
	size_t most = PIPE_BYTES_MAX;

	command_signal(c, SIGKILL);
	/* Bounded by output_max. */
	while (c->out >= 0) {
		size_t before = c->output.len;

		read_output(c);
		if (c->output.len == before)
			break;
	}
	while (c->log >= 0 && most > 0) {
		size_t before = c->unlogged.len, n;

		read_log(c);
		n = c->unlogged.len - before;
		if (n == 0)
			break;
		most -= n < most ? n : most;
	}
	if (c->tail.len > 0 && c->tail.data[c->tail.len - 1] != '\n')
		buf_add_byte(&c->unlogged, '\n');
	while (c->unlogged.len > 0)
		log_some(c);
	while (wait4(c->pid, status, 0, usage) < 0 && errno == EINTR)
		;
}

/* ---- what came of it ---- */

static uint64_t
timeval_us(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * CLOCK_SECOND_US + (uint64_t)t->tv_usec;
}

static void
command_usage(int status, const struct rusage *u, uint64_t wall_us,
	      struct outcome *o)
{
	outcome_usage(o, "user_us", timeval_us(&u->ru_utime));
	outcome_usage(o, "system_us", timeval_us(&u->ru_stime));
	outcome_usage(o, "rss_kib", (uint64_t)u->ru_maxrss);
	outcome_usage(o, "wall_us", wall_us);
	if (WIFSIGNALED(status))
		outcome_usage(o, "signal", (uint64_t)WTERMSIG(status));
	else
		outcome_usage(o, "exit", (uint64_t)WEXITSTATUS(status));
}

static struct slice
log_tail(const struct command *c)
{
	struct slice log = buf_slice(&c->tail);

	if (log.len > LOG_TAIL_BYTES)
		log = (struct slice){ log.data + log.len - LOG_TAIL_BYTES,
				      LOG_TAIL_BYTES };
	return log;
}

/* What the file holds, for a program that ended well. */
static bool
command_file_result(struct command *c, struct outcome *o)
{
	int rc = command_dir_read(&c->dir, c->input->result_file, c->output_max,
				  &c->output);

	if (rc == 0)
		return true;
	if (rc == -EFBIG)
		c->too_much = true;
	else
		outcome_fail(o, "Rappel.OutputInvalid",
			     "result_file \"%s\": %s", c->input->result_file,
			     rc == -EINVAL ? "it is no plain file"
					   : strerror(-rc));
	return c->too_much;
}

static void
command_outcome(struct command *c, int status, struct outcome *o)
{
	static const char *const names[] = {
		[FROM_STDOUT] = "stdout",
		[FROM_FD3] = "descriptor 3",
		[FROM_FILE] = "result_file",
		[FROM_NOWHERE] = "",
	};
	struct command_end end = {
		.status = status,
		.output = c->input->output,
		.from = names[c->input->from],
		.limits = &c->input->limits,
		.log = log_tail(c),
		.value_bytes_max = runtime_value_bytes_max(),
	};

	if (c->cancelled) {
		outcome_fail(o, "Rappel.Cancelled", "cancelled while it ran");
		return;
	}
	if (c->input->from == FROM_FILE && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0 && !command_file_result(c, o))
		return;
	if (c->too_much) {
		command_result_too_large(o, "%s has more than %zu bytes",
					 end.from, c->output_max);
		return;
	}
	end.written = buf_slice(&c->output);
	command_result(&end, o);
}

/* A text is as long as its value, or nearly; JSON is longer. */
static size_t
output_max(const struct command_input *input)
{
	size_t max = runtime_value_bytes_max();

	if (input->output == OUTPUT_JSON)
		max *= JSON_FACTOR;
	return max + OUTPUT_SLACK;
}

void
command_execute(const struct task *t, const struct command_input *input,
		struct outcome *o)
{
	struct command c = {
		.input = input,
		.task = t,
		.dir = { .path = NULL, .fd = -1 },
		.in = -1,
		.out = -1,
		.log = -1,
		.beat = -1,
		.pidfd = -1,
		.kill_us = RUNTIME_NEVER,
		.output_max = output_max(input),
	};
	struct command_failure failure;
	uint64_t began = clock_mono_us();
	struct rusage usage = { 0 };
	int rc, status = 0;

	if (command_input_has_dir(input)) {
		rc = command_dir_create(&c.dir, input);
		if (rc < 0) {
			outcome_fail(o, "Rappel.CommandNotStarted",
				     "its folder: %s", strerror(-rc));
			return;
		}
	}
	if (command_start(&c, &failure) < 0) {
		command_not_started(&c, &failure, o);
	} else {
		command_talk(&c);
		command_finish(&c, &status, &usage);
		command_usage(status, &usage, clock_mono_us() - began, o);
		outcome_log(o, log_tail(&c));
		command_outcome(&c, status, o);
	}
	close_fd(&c.in);
	close_fd(&c.out);
	close_fd(&c.log);
	close_fd(&c.beat);
	close_fd(&c.pidfd);
	buf_fini(&c.output);
	buf_fini(&c.tail);
	buf_fini(&c.unlogged);
	buf_fini(&c.beats);
	command_dir_remove(&c.dir);
}

void
command_run(const struct task *t, struct outcome *o)
{
	struct command_input input;
	struct buf cause = BUF_EMPTY;
	struct error err = { 0 };

	if (command_input_parse(t->input, &input, &err) < 0)
		outcome_fail(o, "Rappel.InputInvalid", "%s", err.message);
	else
		command_execute(t, &input, o);
	if (o->failed && input.near[0] != '\0') {
		buf_add(&cause, o->cause.data, o->cause.len);
		buf_printf(&cause, "; %s", input.near);
		outcome_cause(o, buf_slice(&cause));
		buf_fini(&cause);
	}
	command_input_fini(&input);
}
