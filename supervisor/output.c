/*
 * output - the pipes behind the workers' stdout and stderr.
 */
#include "supervisor/output.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/scoreboard.h"
#include "common/utf8.h"
#include "common/uuid.h"
#include "common/value.h"
#include "supervisor/supervisor.h"

#define OUTPUT_MAGIC 0x4f555450U
/* One read takes at most this, which is what a pipe holds. Who gives as much, or
 * more than its rate, is read again only after a pause: 6 MiB/s at most. */
#define READ_BYTES (64U << 10)
#define PAUSE_US 10000
#define TELL_US (900 * CLOCK_MS_US) /* a tick may come a little early */
/* A dead worker's pipe holds at most a pipe's size, which it may have made
 * larger; what is beyond that is lost. */
#define LAST_READS 4U

struct output {
	uint32_t magic;
	struct child *child;
	int fd; /* -1: no process prints */
	struct event *readable;
	struct event *resume;
	struct buf line; /* without its end yet */
	bool line_cut;   /* the rest of it is skipped */
	/* A bucket of what may be logged. */
	int64_t credit; /* bytes; the last line may overdraw it */
	uint64_t credit_us; /* mono, when it was last filled */
	uint64_t dropped_lines, dropped_bytes;
	uint64_t told_us;
	char last[OUTPUT_LINES][OUTPUT_LINE_BYTES];
	uint32_t last_count; /* ever, of this life; % OUTPUT_LINES is next */
	char comp[32];
	char keys[160]; /* the tags, for the lines of one read */
	bool fresh; /* nothing was printed in this life yet */
};

/* ---- lines ---- */

static void
output_keep(struct output *o, const char *text, size_t len)
{
	bool valid;
	char *to;

	if (o->fresh) {
		o->fresh = false;
		o->last_count = 0;
	}
	to = o->last[o->last_count++ % OUTPUT_LINES];
	if (len >= OUTPUT_LINE_BYTES)
		len = OUTPUT_LINE_BYTES - 1;
	len = utf8_cut(text, len);
	valid = utf8_valid(text, len);
	/* It becomes a part of our replies: UTF-8, and no controls. */
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (byte < 0x20 || byte == 0x7f)
			to[i] = ' ';
		else
			to[i] = byte > 0x7f && !valid ? '?' : text[i];
	}
	to[len] = '\0';
}

static void
output_refill(struct output *o, uint64_t now_us)
{
	int64_t rate = (int64_t)o->child->group->config->output_rate;
	uint64_t passed_us = now_us - o->credit_us;

	/* At most what a second brings. */
	if (passed_us >= 2 * CLOCK_SECOND_US)
		o->credit = rate;
	else
		o->credit += rate * (int64_t)passed_us / (int64_t)CLOCK_SECOND_US;
	if (o->credit > rate)
		o->credit = rate;
	o->credit_us = now_us;
}

/* Who prints, and what it runs while we read, if that is one thing: by its own
 * word or the flusher's, and it may have printed this a moment before. Once
 * for all lines of a read. */
static void
output_tag(struct output *o)
{
	const struct child *c = o->child;
	char instance[UUID_TEXT_SIZE];
	struct scoreboard_place running, other;
	uint32_t place = 0;
	int len;

	snprintf(o->comp, sizeof(o->comp), "worker/%u", c->slot);
	len = snprintf(o->keys, sizeof(o->keys), " slot=%u spawn=%u", c->slot,
	               c->spawn);
	if (c->board == NULL ||
	    !scoreboard_running(c->board, &place, &running) ||
	    scoreboard_running(c->board, &place, &other))
		return;
	uuid_text(&running.instance, instance);
	snprintf(o->keys + len, sizeof(o->keys) - (size_t)len,
	         " instance=%s activation=%" PRIu64 " attempt=%" PRIu32,
	         instance, running.activation, running.attempt);
}

/*
 * Of a group that cannot start the tries before have printed the same, and
 * status has it; why a program could not be executed the group says.
 */
static bool
output_is_told(const struct output *o, const char *text, size_t len)
{
	const struct child *c = o->child;
	const size_t prefix = strlen(SPAWN_PREFIX);

	if (c->hello.len > 0 || log_wants(LOG_LEVEL_DEBUG))
		return false;
	return group_is_quiet(c->group) ||
	       (len >= prefix && memcmp(text, SPAWN_PREFIX, prefix) == 0);
}

static void
output_line(struct output *o, const char *text, size_t len)
{
	if (len == 0)
		return;
	output_keep(o, text, len);
	if (output_is_told(o, text, len))
		return;
	if (o->credit <= 0) {
		o->dropped_lines++;
		o->dropped_bytes += len;
		return;
	}
	/* What it became with its tags is what it costs. */
	o->credit -= (int64_t)log_foreign(o->comp, text, len, o->keys);
}

/* More of the line that has no end yet. */
static void
output_part(struct output *o, const char *text, size_t len)
{
	size_t room = LOG_FOREIGN_BYTES - o->line.len;

	if (o->line_cut) {
		o->dropped_bytes += len;
		return;
	}
	if (len > room) {
		o->dropped_bytes += len - room;
		o->line_cut = true;
		len = room;
	}
	buf_add(&o->line, text, len);
}

static void
output_line_end(struct output *o)
{
	output_tag(o);
	output_line(o, (const char *)o->line.data, o->line.len);
	buf_fini(&o->line);
	o->line_cut = false;
}

static void
output_take(struct output *o, const char *text, size_t len)
{
	output_refill(o, clock_mono_us());
	output_tag(o);
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end != NULL ? (size_t)(end - text) : len;

		if (end == NULL) {
			output_part(o, text, n);
			return;
		}
		if (o->line.len > 0 || o->line_cut ||
		    n > LOG_FOREIGN_BYTES) {
			output_part(o, text, n);
			output_line_end(o);
		} else {
			output_line(o, text, n);
		}
		text += n + 1;
		len -= n + 1;
	}
}

/* ---- the pipe ---- */

/* How much came; 0 at the end or when there is nothing now. */
static size_t
output_read(struct output *o)
{
	static char bytes[READ_BYTES]; /* one loop, one thread */
	ssize_t n;

	do {
		n = read(o->fd, bytes, sizeof(bytes));
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		output_take(o, bytes, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		event_del(o->readable); /* all ends are closed */
	return n > 0 ? (size_t)n : 0;
}

static void
output_readable_cb(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval pause = { 0, PAUSE_US };
	struct output *o = arg;
	uint64_t dropped;

	(void)fd;
	(void)what;
	CHECK_OBJ(o, OUTPUT_MAGIC);
	dropped = o->dropped_lines;
	if (output_read(o) < READ_BYTES && o->dropped_lines == dropped)
		return;
	event_del(o->readable);
	event_add(o->resume, &pause);
}

static void
output_resume_cb(evutil_socket_t fd, short what, void *arg)
{
	struct output *o = arg;

	(void)fd;
	(void)what;
	CHECK_OBJ(o, OUTPUT_MAGIC);
	event_add(o->readable, NULL);
}

static void
output_close(struct output *o)
{
	if (o->readable != NULL)
		event_free(o->readable);
	o->readable = NULL;
	event_del(o->resume);
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

int
output_begin(struct output *o)
{
	int fds[2];

	CHECK_OBJ(o, OUTPUT_MAGIC);
	ASSERT(o->fd < 0);
	/* Only our end never blocks: the worker's is its own. */
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
		int err = errno;

		close(fds[0]);
		close(fds[1]);
		return -err;
	}
	o->fd = fds[0];
	o->readable = event_new(o->child->supervisor->base, o->fd,
	                        EV_READ | EV_PERSIST, output_readable_cb, o);
	event_add(o->readable, NULL);
	o->line_cut = false;
	o->fresh = true;
	o->credit_us = 0;
	return fds[1];
}

void
output_end(struct output *o)
{
	CHECK_OBJ(o, OUTPUT_MAGIC);
	if (o->fd < 0)
		return;
	for (uint32_t i = 0; i < LAST_READS; i++) {
		if (output_read(o) == 0)
			break;
	}
	output_line_end(o);
	output_close(o);
	o->told_us = 0;
	output_tick(o);
}

void
output_tick(struct output *o)
{
	uint64_t now = clock_mono_us();

	if ((o->dropped_lines == 0 && o->dropped_bytes == 0) ||
	    now - o->told_us < TELL_US)
		return;
	log_warning("worker prints too much, dropped slot=%u spawn=%u "
	            "lines=%" PRIu64 " bytes=%" PRIu64,
	            o->child->slot, o->child->spawn, o->dropped_lines,
	            o->dropped_bytes);
	o->told_us = now;
	o->dropped_lines = o->dropped_bytes = 0;
}

const char *
output_last(const struct output *o)
{
	return o->last_count > 0
	           ? o->last[(o->last_count - 1) % OUTPUT_LINES]
	           : NULL;
}

const char *
output_said(const struct output *o)
{
	return o->fresh ? NULL : output_last(o);
}

void
output_pack_last(const struct output *o, uint32_t max, struct buf *out)
{
	uint32_t count = o->last_count < OUTPUT_LINES ? o->last_count
	                                              : OUTPUT_LINES;

	if (count > max)
		count = max;
	value_pack_array(out, count);
	for (uint32_t i = o->last_count - count; i != o->last_count; i++)
		value_pack_text(out, o->last[i % OUTPUT_LINES]);
}

struct output *
output_create(struct child *c)
{
	struct output *o = mem_zalloc(sizeof(*o));

	o->magic = OUTPUT_MAGIC;
	o->child = c;
	o->fd = -1;
	o->resume = evtimer_new(c->supervisor->base, output_resume_cb, o);
	ASSERT(o->resume != NULL);
	return o;
}

void
output_destroy(struct output **out)
{
	struct output *o = *out;

	if (o == NULL)
		return;
	*out = NULL;
	output_close(o);
	event_free(o->resume);
	buf_fini(&o->line);
	o->magic = 0;
	free(o);
}
