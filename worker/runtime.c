/*
 * runtime - one socket, read and written in turn.
 */
#include "worker/runtime.h"

#include <errno.h>
#include <fcntl.h>
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
#include "worker/inbox.h"
#include "worker/registry.h"
#include "worker/worker.h"

#define EXIT_BUG 70
#define PAYLOAD_DEPTH_MAX 40
#define KEEP_BYTES ((size_t)1 << 20)
#define ITEM_PARTS 8U /* at least; a ninth is heartbeat_us */

/* Of an answer: docs/protocol.md, COMPLETION. */
enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_PENDING = 3,
};

/* The process's own: there is one runtime, and actions ask it things. */
static struct {
	int fd;
	uint16_t slot;
	uint32_t spawn;
	size_t value_bytes_max;
	const struct registry *registry;
	struct scoreboard *board; /* NULL: none */
	struct inbox inbox;
	struct buf out;
	size_t begun;    /* where the COMPLETION frame in out begins */
	size_t count_at; /* where its number of items is to be written */
	uint32_t count;
	uint64_t oldest_us; /* when the first of them was ready */
	struct outcome outcome;
	/* Of the action that runs. */
	const struct task *task;
	bool cancelled;
	bool cancel_told; /* by runtime_wait() */
	uint64_t looked_us;
	uint64_t beat_us;
} rt;

size_t
runtime_value_bytes_max(void)
{
	return rt.value_bytes_max;
}

/* The supervisor is gone, and nobody wants an answer. */
static _Noreturn void
orphaned(void)
{
	log_debug("the supervisor is gone");
	_exit(0);
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
			orphaned();
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
extra_add(struct buf *b, const struct outcome *o)
{
	value_pack_map(b, (uint32_t)(o->extra.kind_count > 0) +
	                      (uint32_t)(o->extra.usage_count > 0) +
	                      (uint32_t)(o->extra.log.len > 0));
	if (o->extra.kind_count > 0) {
		value_pack_text(b, "kinds");
		value_pack_array(b, o->extra.kind_count);
		value_pack_raw(b, buf_slice(&o->extra.kinds));
	}
	if (o->extra.usage_count > 0) {
		value_pack_text(b, "usage");
		value_pack_map(b, o->extra.usage_count);
		value_pack_raw(b, buf_slice(&o->extra.usage));
	}
	if (o->extra.log.len > 0) {
		value_pack_text(b, "log");
		value_pack_str(b, o->extra.log.data, o->extra.log.len);
	}
}

static void
completion_add(const struct task *t, const struct outcome *o, uint64_t run_us,
               uint64_t now_us)
{
	static const uint8_t array32[] = { 0xdd, 0, 0, 0, 0 };
	static const uint32_t parts[] = {
		[STATUS_DONE] = 7, [STATUS_FAILED] = 8, [STATUS_PENDING] = 6
	};
	bool more = o->extra.kind_count + o->extra.usage_count > 0 ||
	            o->extra.log.len > 0;
	enum status status = o->failed    ? STATUS_FAILED
	                     : o->pending ? STATUS_PENDING
	                                  : STATUS_DONE;
	struct buf *b = &rt.out;

	if (rt.count == 0) {
		/* How many it will hold is not known yet. */
		rt.begun = frame_begin(b, FRAME_COMPLETION, rt.slot, rt.spawn);
		rt.count_at = b->len + 1;
		buf_add(b, array32, sizeof(array32));
		rt.oldest_us = now_us;
	}
	value_pack_array(b, parts[status] + more);
	value_pack_uint(b, t->token);
	value_pack_bin(b, t->instance.data, t->instance.len);
	value_pack_uint(b, t->activation);
	value_pack_uint(b, t->attempt);
	value_pack_uint(b, status);
	value_pack_uint(b, run_us);
	if (status == STATUS_FAILED) {
		value_pack_text(b, o->error);
		value_pack_str(b, o->cause.data, o->cause.len);
	} else if (status == STATUS_DONE) {
		value_pack_raw(b, o->result);
	}
	if (more)
		extra_add(b, o);
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

	value_pack_map(b, 7);
	value_pack_text(b, "protocol");
	value_pack_uint(b, PROTOCOL_VERSION);
	value_pack_text(b, "pid");
	value_pack_uint(b, (uint64_t)getpid());
	value_pack_text(b, "actions");
	value_pack_array(b, rt.registry->count);
	for (uint32_t i = 0; i < rt.registry->count; i++)
		value_pack_text(b, rt.registry->list[i]->name);
	value_pack_text(b, "window");
	/* What waits in a worker without one cannot be taken back. */
	value_pack_uint(b, rt.board != NULL ? RUNTIME_WINDOW : 1);
	value_pack_text(b, "scoreboard");
	value_pack_bool(b, rt.board != NULL);
	value_pack_text(b, "cancel");
	value_pack_bool(b, true);
	value_pack_text(b, "language");
	value_pack_text(b, "native");
	frame_end(b, begun, 0);
	send_all(b);
}

/* ---- while an action runs ---- */

static void
input_lost(void)
{
	log_error("socket: %s", strerror(errno));
	_exit(1);
}

static void
cancel_look(void)
{
	if (inbox_look(&rt.inbox) < 0)
		orphaned();
	if (!rt.cancelled && rt.inbox.token_count > 0)
		rt.cancelled = inbox_cancelled(&rt.inbox, rt.task->token);
}

bool
runtime_cancelled(void)
{
	uint64_t now;

	if (rt.cancelled)
		return true;
	now = clock_mono_us();
	if (now - rt.looked_us < RUNTIME_LOOK_US)
		return false;
	rt.looked_us = now;
	if (rt.count > 0 && now - rt.oldest_us >= RUNTIME_HOLD_US)
		completions_flush();
	cancel_look();
	return rt.cancelled;
}

/* Until which time poll() may sleep; NULL: for ever. */
static const struct timespec *
wait_left(uint64_t until_us, uint64_t now_us, struct timespec *ts)
{
	uint64_t left = until_us > now_us ? until_us - now_us : 0;

	if (until_us == RUNTIME_NEVER)
		return NULL;
	ts->tv_sec = (time_t)(left / CLOCK_SECOND_US);
	ts->tv_nsec = (long)(left % CLOCK_SECOND_US) * 1000;
	return ts;
}

int
runtime_wait(struct pollfd *extra, uint32_t n, uint64_t until_us)
{
	struct pollfd p[RUNTIME_POLL_MAX + 1];

	ASSERT(n <= RUNTIME_POLL_MAX);
	completions_flush();
	for (uint32_t i = 0; i < n; i++)
		p[i + 1] = extra[i];
	for (;;) {
		struct timespec ts;
		uint64_t now;
		int ready;

		cancel_look();
		if (rt.cancelled && !rt.cancel_told) {
			rt.cancel_told = true;
			return -ECANCELED;
		}
		/* What does not fit would be readable for ever. */
		p[0] = (struct pollfd){ .fd = rt.fd, .events = POLLRDHUP };
		if (inbox_has_room(&rt.inbox))
			p[0].events |= POLLIN;
		now = clock_mono_us();
		ready = ppoll(p, n + 1, wait_left(until_us, now, &ts), NULL);
		if (ready < 0 && errno != EINTR)
			input_lost();
		if (ready <= 0) {
			if (ready == 0 && clock_mono_us() >= until_us)
				return 0;
			continue;
		}
		if ((p[0].revents & ~POLLIN) != 0)
			orphaned();
		ready -= p[0].revents != 0;
		if (ready == 0)
			continue;
		for (uint32_t i = 0; i < n; i++)
			extra[i].revents = p[i + 1].revents;
		return ready;
	}
}

bool
runtime_sleep_until(uint64_t mono_us)
{
	/* Sleeping is living. */
	uint64_t beat_us = rt.task->heartbeat_us / 3;

	for (;;) {
		uint64_t until = mono_us, now = clock_mono_us();

		if (rt.cancelled)
			return false;
		if (beat_us > 0 && now < mono_us && mono_us - now > beat_us)
			until = now + beat_us;
		if (runtime_wait(NULL, 0, until) < 0)
			return false;
		if (until == mono_us)
			return true;
		(void)runtime_heartbeat(SLICE_NONE);
	}
}

bool
runtime_heartbeat_due(void)
{
	return clock_mono_us() - rt.beat_us >= RUNTIME_BEAT_US;
}

bool
runtime_heartbeat(struct slice progress)
{
	uint64_t now = clock_mono_us();
	struct buf *b = &rt.out;
	size_t begun;
	ssize_t n;

	ASSERT(progress.len <= RUNTIME_PROGRESS_MAX);
	if (now - rt.beat_us < RUNTIME_BEAT_US)
		return false;
	completions_flush();
	begun = frame_begin(b, FRAME_HEARTBEAT, rt.slot, rt.spawn);
	value_pack_array(b, 1);
	value_pack_array(b, 2);
	value_pack_uint(b, rt.task->token);
	if (progress.len > 0)
		value_pack_raw(b, progress);
	else
		value_pack_null(b);
	frame_end(b, begun, 1);
	/* Nobody misses it: it is not worth waiting for whoever reads. */
	n = send(rt.fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		b->len = 0;
		if (errno != EAGAIN && errno != EINTR)
			orphaned();
		return false;
	}
	buf_drop(b, (size_t)n);
	send_all(b);
	rt.beat_us = now;
	return true;
}

/* ---- running ---- */

/* One item. -EPROTO when it is not what the protocol says. */
static int
task_read(struct cursor *c, struct task *t)
{
	uint32_t parts;

	if (cursor_array(c, &parts) < 0 || parts < ITEM_PARTS ||
	    cursor_uint(c, &t->token) < 0 ||
	    cursor_bytes(c, &t->instance) < 0 || t->instance.len != 16 ||
	    cursor_uint(c, &t->activation) < 0 ||
	    cursor_uint(c, &t->attempt) < 0 ||
	    cursor_bytes(c, &t->action) < 0 ||
	    cursor_uint(c, &t->timeout_us) < 0 ||
	    cursor_uint(c, &t->place) < 0 || t->place > SCOREBOARD_NO_PLACE ||
	    t->token == 0 || t->token > SCOREBOARD_TOKEN_MAX ||
	    c->at >= c->end)
		return -EPROTO;
	t->input = cursor_value(c);
	t->heartbeat_us = 0;
	if (parts > ITEM_PARTS && cursor_uint(c, &t->heartbeat_us) < 0)
		return -EPROTO;
	/* Of a later protocol. */
	for (uint32_t i = ITEM_PARTS + 1; i < parts; i++) {
		if (c->at >= c->end)
			return -EPROTO;
		(void)cursor_value(c);
	}
	return 0;
}

static void
task_run(struct task *t, uint64_t *clock_us)
{
	const struct action *action = registry_find(rt.registry, t->action);
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
	t->by = action;
	t->began_us = began;
	rt.task = t;
	rt.cancelled = rt.cancel_told = false;
	rt.beat_us = 0; /* each has its own 100 ms */
	if (rt.inbox.token_count > 0 &&
	    inbox_cancelled(&rt.inbox, t->token)) {
		outcome_fail(o, "Rappel.Cancelled",
		             "cancelled before it began");
	} else if (action == NULL) {
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

/* Everything whole that has come. 1 after DRAIN. */
static int
frames_run(void)
{
	for (;;) {
		struct error err = { 0 };
		struct frame f;
		int rc = inbox_next(&rt.inbox, &f, &err);

		if (rc == 0)
			return 0;
		if (rc > 0 && f.type == FRAME_DRAIN)
			return 1;
		if (rc > 0 && f.type == FRAME_CANCEL)
			rc = inbox_forget(&rt.inbox, &f, &err);
		if (rc < 0) {
			log_error("frame refused: %s", err.message);
			return -EPROTO;
		}
		if (f.type == FRAME_DISPATCH && dispatch_run(&f) < 0)
			return -EPROTO;
	}
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
	int rc = -EAGAIN;

	if (rt.count > 0)
		rc = inbox_read(&rt.inbox, false);
	if (rc == -EAGAIN) {
		completions_flush();
		strays_reap();
		rc = inbox_read(&rt.inbox, true);
	}
	if (rc == -ECONNRESET)
		orphaned();
	if (rc < 0) {
		errno = -rc;
		input_lost();
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
runtime_run(const struct runtime_config *config)
{
	int rc;

	rt.fd = config->fd;
	/* Nothing that actions start may speak for us. */
	(void)fcntl(rt.fd, F_SETFD, FD_CLOEXEC);
	rt.slot = config->slot;
	rt.spawn = config->spawn;
	rt.value_bytes_max = config->value_bytes_max;
	rt.registry = config->registry;
	inbox_init(&rt.inbox, rt.fd, rt.slot, rt.spawn);
	board_open(config->board_fd);
	hello_send();
	do {
		input_read();
		rc = frames_run();
	} while (rc == 0);
	completions_flush();
	inbox_fini(&rt.inbox);
	buf_fini(&rt.out);
	outcome_fini(&rt.outcome);
	scoreboard_unmap(&rt.board);
	return rc > 0 ? 0 : EXIT_BUG;
}
