/*
 * mock_program - a program of the user's that answers for tasks.
 */
#include "ctl/mock_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/value.h"
#include "ctl/json_out.h"

#define PROGRAM_MAGIC 0x30c4909aU
#define LINE_BYTES_MAX ((size_t)16 << 20)
/* After this silence we suspect that it waits for the end of its input. */
#define SILENCE_US (5 * CLOCK_SECOND_US)
#define END_US (1 * CLOCK_SECOND_US)

struct mock_program {
	uint32_t magic;
	char *command;
	pid_t pid;     /* 0: does not run */
	int to_fd;     /* its stdin, or -1 */
	int from_fd;   /* its stdout */
	bool one_shot; /* answers only at the end of its input */
	struct buf in; /* read and not used */
	struct buf answer;
};

struct mock_program *
mock_program_create(const char *command)
{
	struct mock_program *p = mem_zalloc(sizeof(*p));

	p->magic = PROGRAM_MAGIC;
	p->command = mem_strdup(command);
	p->to_fd = p->from_fd = -1;
	return p;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Reaps it when it ends before until_us. */
static bool
reap_until(struct mock_program *p, uint64_t until_us, int *status)
{
	for (;;) {
		pid_t pid = waitpid(p->pid, status, WNOHANG);

		if (pid == p->pid || (pid < 0 && errno != EINTR)) {
			p->pid = 0;
			return true;
		}
		if (clock_mono_us() >= until_us)
			return false;
		poll(NULL, 0, 5);
	}
}

/* Its wait status; it does not run afterwards. */
static int
end_program(struct mock_program *p)
{
	static const int signals[] = { 0, SIGTERM, SIGKILL };
	int status = 0;

	close_fd(&p->to_fd);
	close_fd(&p->from_fd);
	p->in.len = 0;
	for (size_t n = 0; p->pid != 0 && n < 3; n++) {
		if (signals[n] != 0)
			kill(p->pid, signals[n]);
		reap_until(p, clock_mono_us() + END_US, &status);
	}
	p->pid = 0;
	return status;
}

void
mock_program_destroy(struct mock_program **pp)
{
	struct mock_program *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	CHECK_OBJ(p, PROGRAM_MAGIC);
	end_program(p);
	buf_fini(&p->in);
	buf_fini(&p->answer);
	free(p->command);
	p->magic = 0;
	free(p);
}

static int
start_program(struct mock_program *p)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) != 0) {
		complain("pipe: %s", strerror(errno));
		return CTL_FAILED;
	}
	if (pipe2(from, O_CLOEXEC) != 0) {
		complain("pipe: %s", strerror(errno));
		close(to[0]);
		close(to[1]);
		return CTL_FAILED;
	}
	fflush(stdout);
	p->pid = fork();
	if (p->pid == 0) {
		/* Many a language keeps lines back when it writes to a pipe. */
		setenv("PYTHONUNBUFFERED", "1", 1);
		if (dup2(to[0], STDIN_FILENO) < 0 ||
		    dup2(from[1], STDOUT_FILENO) < 0)
			_exit(126);
		execl("/bin/sh", "sh", "-c", p->command, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	p->to_fd = to[1];
	p->from_fd = from[0];
	if (p->pid < 0) {
		complain("fork: %s", strerror(errno));
		p->pid = 0;
		close_fd(&p->to_fd);
		close_fd(&p->from_fd);
		return CTL_FAILED;
	}
	fcntl(p->to_fd, F_SETFL, O_NONBLOCK);
	fcntl(p->from_fd, F_SETFL, O_NONBLOCK);
	return CTL_OK;
}

static void
question_line(const struct mock_question *q, struct json_out *j)
{
	json_out_open(j, NULL, '{');
	json_out_slice(j, "state", q->state);
	json_out_slice(j, "resource", q->resource);
	json_out_value(j, "input", q->input);
	json_out_int(j, "attempt", q->attempt);
	json_out_int(j, "retry_count", (int64_t)q->attempt - 1);
	json_out_close(j, '}');
	buf_add_byte(&j->text, '\n');
}

/* Writes what it takes now. A program that reads no more is no error yet. */
static void
write_some(struct mock_program *p, struct slice line, size_t *written)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	ssize_t n;

	/* Only here: our own stdout still ends us as it should. */
	sigaction(SIGPIPE, &ignore, &before);
	n = write(p->to_fd, line.data + *written, line.len - *written);
	if (n > 0)
		*written += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		*written = line.len;
	sigaction(SIGPIPE, &before, NULL);
}

/* Moves the first line out of p->in; blank ones are skipped. */
static bool
take_line(struct mock_program *p, bool at_end)
{
	while (p->in.len > 0) {
		uint8_t *end = memchr(p->in.data, '\n', p->in.len);
		size_t len =
		    end != NULL ? (size_t)(end - p->in.data) : p->in.len;
		bool blank = true;

		if (end == NULL && !at_end)
			return false;
		for (size_t n = 0; n < len && blank; n++)
			blank = memchr(" \t\r", p->in.data[n], 3) != NULL;
		if (!blank) {
			p->answer.len = 0;
			buf_add(&p->answer, p->in.data, len);
		}
		buf_drop(&p->in, end != NULL ? len + 1 : len);
		if (!blank)
			return true;
	}
	return false;
}

enum talk { TALK_ANSWERED, TALK_ENDED, TALK_INTERRUPTED, TALK_TOO_LONG };

/* Sends the line and reads until an answer or the end. */
static enum talk
talk(struct mock_program *p, struct slice line)
{
	uint64_t silent_at_us = clock_mono_us() + SILENCE_US;
	size_t written = 0;

	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = p->from_fd, .events = POLLIN },
			{ .fd = written < line.len ? p->to_fd : -1,
			  .events = POLLOUT },
		};
		uint64_t now_us = clock_mono_us();
		ssize_t n;

		if (interrupted)
			return TALK_INTERRUPTED;
		if (written == line.len && p->to_fd >= 0 &&
		    (p->one_shot || now_us >= silent_at_us)) {
			p->one_shot = true;
			close_fd(&p->to_fd);
		}
		if (poll(fds, 2,
			 p->to_fd < 0 || now_us >= silent_at_us
			     ? 1000
			     : (int)((silent_at_us - now_us) / 1000 + 1)) < 0)
			continue;
		if (fds[1].revents != 0)
			write_some(p, line, &written);
		if (fds[0].revents == 0)
			continue;
		buf_reserve(&p->in, 65536);
		n = read(p->from_fd, p->in.data + p->in.len, 65536);
		if (n > 0)
			p->in.len += (size_t)n;
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (take_line(p, n <= 0))
			return TALK_ANSWERED;
		if (n <= 0)
			return TALK_ENDED;
		if (p->in.len > LINE_BYTES_MAX)
			return TALK_TOO_LONG;
	}
}

static void
say_ended(const struct mock_question *q, int status)
{
	if (WIFSIGNALED(status))
		complain("the mock program was killed by signal %d before it "
			 "answered for state \"%.*s\"",
			 WTERMSIG(status), (int)q->state.len,
			 (const char *)q->state.data);
	else
		complain("the mock program ended with exit status %d before "
			 "it answered for state \"%.*s\"",
			 WEXITSTATUS(status), (int)q->state.len,
			 (const char *)q->state.data);
}

/* The answer's text into msgpack and its meaning. */
static int
read_answer(struct mock_program *p, const struct mock_question *q,
	    struct mock_answer *out)
{
	struct buf value = BUF_EMPTY;
	struct error err = { .line = 0 };

	if (json_parse((const char *)p->answer.data, p->answer.len,
		       VALUE_DEPTH_MAX + 2, &value, NULL, &err) != 0 ||
	    mock_answer_read(buf_slice(&value), q->input, out, &err) != 0) {
		complain("the mock program's answer for state \"%.*s\" is no "
			 "good: %s",
			 (int)q->state.len, (const char *)q->state.data,
			 err.message);
		advise("It was: %.200s", buf_text(&p->answer));
		buf_fini(&value);
		return CTL_FAILED;
	}
	/* The text is not wanted any more; *out lies in the value. */
	buf_fini(&p->answer);
	p->answer = value;
	return CTL_OK;
}

int
mock_program_ask(struct mock_program *p, const struct mock_question *q,
		 struct mock_answer *out)
{
	struct json_out line = JSON_OUT_EMPTY;
	bool was_one_shot;
	int rc = CTL_OK;

	CHECK_OBJ(p, PROGRAM_MAGIC);
	was_one_shot = p->one_shot;
	question_line(q, &line);
	for (;;) {
		bool fresh = p->pid == 0;
		enum talk how;

		if (fresh)
			rc = start_program(p);
		if (rc != CTL_OK)
			break;
		how = talk(p, buf_slice(&line.text));
		if (how == TALK_ANSWERED) {
			rc = read_answer(p, q, out);
			break;
		}
		if (how == TALK_INTERRUPTED) {
			rc = CTL_INTERRUPTED;
			break;
		}
		if (how == TALK_TOO_LONG) {
			complain("the mock program's answer is longer than "
				 "%zu bytes",
				 LINE_BYTES_MAX);
			rc = CTL_FAILED;
			break;
		}
		/* One that had answered before may just be done: again. */
		rc = end_program(p);
		if (fresh) {
			say_ended(q, rc);
			rc = CTL_FAILED;
			break;
		}
		rc = CTL_OK;
	}
	if (p->one_shot && rc == CTL_OK) {
		if (!was_one_shot)
			complain("the mock program answers only at the end of "
				 "its input (does it flush its output?); it "
				 "is started anew for every task");
		end_program(p);
	}
	json_out_fini(&line);
	return rc;
}
