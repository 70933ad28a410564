/*
 * runtime - one socket, read and written in turn.
 */
#include "worker/runtime.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/scoreboard.h"
#include "common/value.h"
#include "worker/actions.h"
#include "worker/worker.h"

#define EXIT_BUG 70
#define PAYLOAD_DEPTH_MAX 40
#define READ_BYTES ((size_t)128 << 10)
#define KEEP_BYTES ((size_t)1 << 20)
#define ITEM_PARTS 8U

/* The process's own: there is one runtime, and actions ask it things. */
static struct {
	int fd;
	uint16_t slot;
	uint32_t spawn;
	size_t value_bytes_max;
	struct scoreboard *board; /* NULL: none */
	struct buf in;
	struct buf out;
	size_t begun;    /* where the COMPLETION frame in out begins */
	size_t count_at; /* where its number of items is to be written */
	uint32_t count;
	uint64_t oldest_us; /* when the first of them was ready */
	struct outcome outcome;
} rt;

int
runtime_fd(void)
{
	return rt.fd;
}

size_t
runtime_value_bytes_max(void)
{
	return rt.value_bytes_max;
}

_Noreturn void
runtime_orphaned(void)
{
	log_debug("the supervisor is gone");
	_exit(0);
}

void
runtime_sleep_until(uint64_t mono_us)
{
	struct pollfd p = { .fd = rt.fd, .events = POLLRDHUP };

	for (;;) {
		uint64_t now = clock_mono_us(), left;
		struct timespec ts;

		if (now >= mono_us)
			return;
		left = mono_us - now;
		ts.tv_sec = (time_t)(left / CLOCK_SECOND_US);
		ts.tv_nsec = (long)(left % CLOCK_SECOND_US) * 1000;
		if (ppoll(&p, 1, &ts, NULL) > 0)
			runtime_orphaned();
	}
}

void
runtime_log_raw(const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* nobody reads it, and it is only a log */
		at += n;
		len -= (size_t)n;
	}
}

/* ---- sending ---- */

static void
send_all(struct buf *b)
{
	size_t at = 0;

	while (at < b->len) {
		ssize_t n =
		    send(rt.fd, b->data + at, b->len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			runtime_orphaned();
		at += (size_t)n;
	}
	b->len = 0;
	if (b->cap > KEEP_BYTES)
		buf_fini(b);
}

static void
completions_flush(void)
{
	uint8_t *count;

	if (rt.count == 0)
		return;
	count = rt.out.data + rt.count_at;
	count[0] = (uint8_t)(rt.count >> 24);
	count[1] = (uint8_t)(rt.count >> 16);
	count[2] = (uint8_t)(rt.count >> 8);
	count[3] = (uint8_t)rt.count;
	frame_end(&rt.out, rt.begun, rt.count);
	rt.count = 0;
	send_all(&rt.out);
}

static bool
task_has_place(const struct task *t)
{
	return rt.board != NULL && t->place < SCOREBOARD_PLACES;
}

static void
completion_add(const struct task *t, const struct outcome *o, uint64_t run_us,
               uint64_t now_us)
{
	static const uint8_t array32[] = { 0xdd, 0, 0, 0, 0 };
	struct buf *b = &rt.out;

	if (rt.count == 0) {
		/* How many it will hold is not known yet. */
		rt.begun = frame_begin(b, FRAME_COMPLETION, rt.slot, rt.spawn);
		rt.count_at = b->len + 1;
		buf_add(b, array32, sizeof(array32));
		rt.oldest_us = now_us;
	}
	value_pack_array(b, o->failed ? 8 : 7);
	value_pack_uint(b, t->token);
	value_pack_bin(b, t->instance.data, t->instance.len);
	value_pack_uint(b, t->activation);
	value_pack_uint(b, t->attempt);
	value_pack_uint(b, o->failed);
	value_pack_uint(b, run_us);
	if (o->failed) {
		value_pack_text(b, o->error);
		value_pack_str(b, o->cause.data, o->cause.len);
	} else {
		value_pack_raw(b, o->result);
	}
	rt.count++;
	/* The answer is whole, and nobody has it yet. */
	if (task_has_place(t))
		scoreboard_done(rt.board, (uint32_t)t->place, t->token);
	if (b->len >= RUNTIME_BATCH_BYTES ||
	    now_us - rt.oldest_us >= RUNTIME_HOLD_US)
		completions_flush();
}

static void
hello_send(void)
{
	struct buf *b = &rt.out;
	size_t begun = frame_begin(b, FRAME_HELLO, rt.slot, rt.spawn);

	value_pack_map(b, 6);
	value_pack_text(b, "protocol");
	value_pack_uint(b, PROTOCOL_VERSION);
	value_pack_text(b, "pid");
	value_pack_uint(b, (uint64_t)getpid());
	value_pack_text(b, "actions");
	value_pack_array(b, ACTIONS_COUNT);
	for (uint32_t i = 0; i < ACTIONS_COUNT; i++)
		value_pack_text(b, actions[i].name);
	value_pack_text(b, "window");
	value_pack_uint(b, RUNTIME_WINDOW);
	value_pack_text(b, "scoreboard");
	value_pack_bool(b, rt.board != NULL);
	value_pack_text(b, "language");
	value_pack_text(b, "native");
	frame_end(b, begun, 0);
	send_all(b);
}

/* ---- running ---- */

/* One item. -EPROTO when it is not what the protocol says. */
static int
task_read(struct cursor *c, struct task *t)
{
	uint32_t parts;

	if (cursor_array(c, &parts) < 0 || parts != ITEM_PARTS ||
	    cursor_uint(c, &t->token) < 0 ||
	    cursor_bytes(c, &t->instance) < 0 || t->instance.len != 16 ||
	    cursor_uint(c, &t->activation) < 0 ||
	    cursor_uint(c, &t->attempt) < 0 ||
	    cursor_bytes(c, &t->action) < 0 ||
	    cursor_uint(c, &t->timeout_us) < 0 ||
	    cursor_uint(c, &t->place) < 0 || t->place > SCOREBOARD_NO_PLACE ||
	    t->token > SCOREBOARD_TOKEN_MAX || c->at >= c->end)
		return -EPROTO;
	t->input = cursor_value(c);
	return 0;
}

static void
task_run(const struct task *t, uint64_t *clock_us)
{
	const struct action *action = actions_find(t->action);
	struct outcome *o = &rt.outcome;
	uint64_t began = *clock_us;

	if (action != NULL && action->slow) {
		completions_flush();
		began = *clock_us = clock_mono_us();
	}
	if (task_has_place(t) &&
	    !scoreboard_claim(rt.board, (uint32_t)t->place, t->token, began))
		return; /* it runs elsewhere */
	outcome_reset(o);
	if (action == NULL) {
		outcome_fail(o, "Rappel.UnknownAction",
		             "this worker has no action \"%.*s\"",
		             (int)(t->action.len < 128 ? t->action.len : 128),
		             (const char *)t->action.data);
	} else {
		action->run(t, o);
	}
	/* The end of one is the beginning of the next: a clock read less. */
	*clock_us = clock_mono_us();
	completion_add(t, o, *clock_us - began, *clock_us);
	if (o->own.cap > KEEP_BYTES)
		buf_fini(&o->own);
}

static int
dispatch_run(const struct frame *f)
{
	struct error err = { 0 };
	uint64_t clock_us = clock_mono_us();
	struct cursor c;
	struct task t;
	uint32_t count;

	if (value_check_frame(f->payload, PAYLOAD_DEPTH_MAX, &err) < 0) {
		log_error("DISPATCH refused: %s", err.message);
		return -EPROTO;
	}
	c = cursor_of(f->payload);
	if (cursor_array(&c, &count) < 0 || count != f->count) {
		log_error("DISPATCH refused: not an array of %u", f->count);
		return -EPROTO;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (task_read(&c, &t) < 0) {
			log_error("DISPATCH refused: item %u", i);
			return -EPROTO;
		}
		task_run(&t, &clock_us);
	}
	return 0;
}

/* Everything whole that is in the buffer. 1 after DRAIN. */
static int
frames_run(void)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0) {
		struct slice rest = { rt.in.data + at, rt.in.len - at };
		struct error err = { 0 };
		struct frame f;
		ssize_t n = frame_decode(rest, FRAME_BYTES_MAX,
		                         PEER_SUPERVISOR, &f, &err);

		if (n == 0)
			break;
		if (n < 0) {
			log_error("frame refused: %s", err.message);
			return -EPROTO;
		}
		at += (size_t)n;
		if (f.slot != rt.slot || f.spawn != rt.spawn) {
			log_error("frame refused: not for us");
			return -EPROTO;
		}
		if (f.type == FRAME_DISPATCH)
			rc = dispatch_run(&f);
		else if (f.type == FRAME_DRAIN)
			rc = 1;
	}
	buf_drop(&rt.in, at);
	return rc;
}

/* We are a subreaper: what programs of actions left behind and has ended. No
 * action runs, so no child is anybody's. */
static void
strays_reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* Blocks only when nothing that is finished waits to be sent. */
static void
input_read(void)
{
	int flags = rt.count > 0 ? MSG_DONTWAIT : 0;

	for (;;) {
		ssize_t n;

		if (flags == 0)
			strays_reap();

		buf_reserve(&rt.in, READ_BYTES);
		n = recv(rt.fd, rt.in.data + rt.in.len, READ_BYTES, flags);
		if (n > 0) {
			rt.in.len += (size_t)n;
			return;
		}
		if (n == 0)
			runtime_orphaned();
		if (errno == EAGAIN) {
			completions_flush();
			flags = 0;
		} else if (errno != EINTR) {
			log_error("socket: %s", strerror(errno));
			_exit(1);
		}
	}
}

/* Not ours, or no memory: it works without. The mapping stays, and no
 * program that an action starts inherits it. */
static void
board_open(int fd)
{
	if (fd < 0)
		return;
	rt.board = scoreboard_map(fd);
	if (rt.board == NULL)
		log_warning("no scoreboard: %s", strerror(errno));
	close(fd);
}

int
runtime_run(int fd, int board_fd, uint16_t slot, uint32_t spawn,
            size_t value_bytes_max)
{
	int rc;

	rt.fd = fd;
	rt.slot = slot;
	rt.spawn = spawn;
	rt.value_bytes_max = value_bytes_max;
	board_open(board_fd);
	hello_send();
	do {
		input_read();
		rc = frames_run();
	} while (rc == 0);
	completions_flush();
	buf_fini(&rt.in);
	buf_fini(&rt.out);
	buf_fini(&rt.outcome.own);
	buf_fini(&rt.outcome.cause);
	scoreboard_unmap(&rt.board);
	return rc > 0 ? 0 : EXIT_BUG;
}
