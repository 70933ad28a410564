/*
 * link - one end of a frame connection on an event loop.
 *
 * Frames that arrive are decoded where they were read to. Two orders matter:
 * everything that was read is delivered before the end is reported, and a
 * failed write reports nothing by itself, because what the other end said
 * before it went is still to be read.
 */
#include "common/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"

#define LINK_MAGIC 0x4c494e4bU
#define READ_BYTES_MIN ((size_t)16 << 10)
#define READ_BYTES_MAX ((size_t)256 << 10)
/* An empty buffer larger than this is given back. */
#define KEEP_BYTES_MAX ((size_t)1 << 20)

struct link {
	uint32_t magic;
	int fd;
	enum peer sender;
	uint32_t bytes_max;
	const struct link_ops *ops;
	void *arg;

	struct event *read_event;
	struct event *write_event; /* pending only while the socket is full */
	struct event *send_event;  /* activated once a turn by link_send() */

	struct buf in;
	size_t in_at;     /* what is before has been delivered */
	size_t read_size; /* grows while reads fill it */
	size_t read_max;
	uint64_t partial_us; /* since when a frame is not whole, or 0 */
	struct buf out;
	size_t out_at; /* what is before has been written */

	bool calling; /* within a callback: whoever destroys, dooms */
	bool doomed;  /* freed when the callback is back */
	bool paused;
	bool ended;       /* nothing more can be read */
	bool gone;        /* gone_cb was called */
	int end_reason;   /* with ended: 0 or -errno */
	int write_reason; /* -errno of a write that failed, or 0 */
};

static void
link_free(struct link *l)
{
	event_free(l->read_event);
	event_free(l->write_event);
	event_free(l->send_event);
	if (l->fd >= 0)
		close(l->fd);
	buf_fini(&l->in);
	buf_fini(&l->out);
	l->magic = 0;
	free(l);
}

/* ---- writing ---- */

static void
write_failed(struct link *l, int reason)
{
	l->write_reason = reason;
	event_del(l->write_event);
	buf_fini(&l->out);
	l->out_at = 0;
	/* The rest is found out by reading, to the end. */
	if (!l->paused && !l->gone)
		event_active(l->read_event, EV_READ, 0);
}

static void
out_written(struct link *l)
{
	if (l->out_at == l->out.len) {
		l->out.len = 0;
		l->out_at = 0;
		if (l->out.cap > KEEP_BYTES_MAX)
			buf_fini(&l->out);
		event_del(l->write_event);
	} else {
		/* Keeps the copying below what was written. */
		if (l->out_at >= l->out.len / 2) {
			buf_drop(&l->out, l->out_at);
			l->out_at = 0;
		}
		event_add(l->write_event, NULL);
	}
}

static void
out_write(struct link *l)
{
	while (l->out_at < l->out.len) {
		ssize_t n =
		    send(l->fd, l->out.data + l->out_at, l->out.len - l->out_at,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0) {
			l->out_at += (size_t)n;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			break;
		} else if (errno != EINTR) {
			write_failed(l, -errno);
			return;
		}
	}
	out_written(l);
}

static void
write_cb(evutil_socket_t fd, short what, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)what;
	CHECK_OBJ(l, LINK_MAGIC);
	if (l->write_reason == 0 && !l->gone)
		out_write(l);
}

struct buf *
link_out(struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	return &l->out;
}

void
link_send(struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	if (l->doomed)
		return;
	if (l->write_reason != 0 || l->gone) {
		l->out.len = 0; /* nobody reads it any more */
		l->out_at = 0;
		return;
	}
	/* While the socket is full, write_event will send it. An event that
	 * is activated now runs behind those that are active already. */
	if (!event_pending(l->write_event, EV_WRITE, NULL))
		event_active(l->send_event, EV_WRITE, 0);
}

void
link_flush(struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	if (!l->doomed && !l->gone && l->write_reason == 0)
		out_write(l);
}

size_t
link_unsent(const struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	return l->out.len - l->out_at;
}

/* ---- reading ---- */

static void
report_gone(struct link *l, int reason, const struct error *err)
{
	l->gone = true;
	event_del(l->read_event);
	event_del(l->write_event);
	l->ops->gone_cb(l->arg, reason, err);
}

/*
 * Delivers whole frames until there are none, or somebody does not want
 * more. Returns how many. err and reason are set when one was wrong.
 */
static unsigned
deliver(struct link *l, int *reason, struct error *err)
{
	unsigned count = 0;

	while (!l->doomed && !l->paused) {
		struct slice rest = { l->in.data + l->in_at,
				      l->in.len - l->in_at };
		struct frame f;
		ssize_t n =
		    frame_decode(rest, l->bytes_max, l->sender, &f, err);

		if (n == 0)
			break;
		if (n < 0) {
			*reason = (int)n;
			break;
		}
		l->in_at += (size_t)n;
		l->partial_us = 0;
		count++;
		*reason = l->ops->frame_cb(l->arg, &f);
		if (*reason < 0) {
			error_set(err, "frame %s was refused: %s",
				  frame_type_name(f.type), strerror(-*reason));
			break;
		}
		*reason = 0;
	}
	return count;
}

/* Moves what is left of a frame to the front. */
static void
in_compact(struct link *l)
{
	buf_drop(&l->in, l->in_at);
	l->in_at = 0;
	if (l->in.len == 0 && l->in.cap > KEEP_BYTES_MAX)
		buf_fini(&l->in);
}

/* One read. Sets ended at the end of the file or of the socket. */
static void
in_read(struct link *l)
{
	ssize_t n;

	in_compact(l);
	buf_reserve(&l->in, l->read_size);
	do {
		n = recv(l->fd, l->in.data + l->in.len, l->read_size,
			 MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		l->in.len += (size_t)n;
		if ((size_t)n == l->read_size && l->read_size < l->read_max)
			l->read_size *= 2;
		/* A failed write is reported behind the last byte. */
		if (l->write_reason != 0)
			event_active(l->read_event, EV_READ, 0);
	} else if (n == 0) {
		l->ended = true;
		l->end_reason = 0;
	} else if (errno != EAGAIN && errno != EWOULDBLOCK) {
		l->ended = true;
		l->end_reason = -errno;
	} else if (l->write_reason != 0) {
		l->ended = true;
		l->end_reason = l->write_reason;
	}
	if (l->ended)
		event_del(l->read_event);
}

static void
read_cb(evutil_socket_t fd, short what, void *arg)
{
	struct link *l = arg;
	struct error err;
	unsigned count;
	int reason = 0;

	(void)fd;
	(void)what;
	CHECK_OBJ(l, LINK_MAGIC);
	if (l->paused || l->gone)
		return;
	error_clear(&err);
	l->calling = true;
	/* What a pause left behind comes first, and without reading more:
	 * pausing and resuming must not let the buffer grow. */
	count = deliver(l, &reason, &err);
	if (!l->doomed && !l->paused && reason == 0 && !l->ended) {
		in_read(l);
		count += deliver(l, &reason, &err);
	}
	if (!l->doomed && l->in_at < l->in.len && l->partial_us == 0)
		l->partial_us = clock_mono_us();
	if (count > 0 && !l->doomed && l->ops->turn_cb != NULL)
		l->ops->turn_cb(l->arg);
	if (!l->doomed && reason < 0) {
		report_gone(l, reason, &err);
	} else if (!l->doomed && !l->paused && l->ended) {
		if (l->end_reason < 0)
			error_set(&err, "%s", strerror(-l->end_reason));
		report_gone(l, l->end_reason, &err);
	}
	l->calling = false;
	if (l->doomed)
		link_free(l);
}

uint64_t
link_partial_since_us(const struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	return l->paused ? 0 : l->partial_us;
}

void
link_pause(struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	if (l->paused || l->doomed)
		return;
	l->paused = true;
	event_del(l->read_event);
}

void
link_resume(struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	if (!l->paused || l->doomed)
		return;
	l->paused = false;
	l->partial_us = 0;
	if (l->gone)
		return;
	if (!l->ended)
		event_add(l->read_event, NULL);
	/* Frames, or the end, may be waiting that no readiness tells of. */
	event_active(l->read_event, EV_READ, 0);
}

/* ---- life ---- */

struct link *
link_create(struct event_base *base, int fd, enum peer sender,
	    uint32_t bytes_max, const struct link_ops *ops, void *arg)
{
	struct link *l = mem_zalloc(sizeof(*l));
	int flags = fcntl(fd, F_GETFL);

	ASSERT(flags >= 0);
	ASSERT(fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
	l->magic = LINK_MAGIC;
	l->fd = fd;
	l->sender = sender;
	l->bytes_max = bytes_max;
	l->ops = ops;
	l->arg = arg;
	l->read_size = READ_BYTES_MIN;
	/* Whoever may only send little does not make us hold much. */
	l->read_max = bytes_max < READ_BYTES_MAX ? READ_BYTES_MIN
						 : READ_BYTES_MAX;
	l->read_event = event_new(base, fd, EV_READ | EV_PERSIST, read_cb, l);
	l->write_event =
	    event_new(base, fd, EV_WRITE | EV_PERSIST, write_cb, l);
	l->send_event = event_new(base, -1, 0, write_cb, l);
	ASSERT(l->read_event != NULL && l->write_event != NULL &&
	       l->send_event != NULL);
	ASSERT(event_add(l->read_event, NULL) == 0);
	return l;
}

void
link_destroy(struct link **link)
{
	struct link *l = *link;

	if (l == NULL)
		return;
	CHECK_OBJ(l, LINK_MAGIC);
	ASSERT(!l->doomed);
	*link = NULL;
	if (!l->calling) {
		link_free(l);
		return;
	}
	/* The frame that is being delivered lies in our buffer. */
	l->doomed = true;
	event_del(l->read_event);
	event_del(l->write_event);
	event_del(l->send_event);
	close(l->fd);
	l->fd = -1;
}

int
link_fd(const struct link *l)
{
	CHECK_OBJ(l, LINK_MAGIC);
	return l->fd;
}
