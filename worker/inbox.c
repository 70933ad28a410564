/*
 * inbox - two buffers and a list of tokens.
 */
#include "worker/inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/value.h"

#define READ_BYTES ((size_t)128 << 10)
#define KEEP_BYTES ((size_t)1 << 20)
#define CANCEL_DEPTH_MAX 1

void
inbox_init(struct inbox *in, int fd, uint16_t slot, uint32_t spawn)
{
	*in = (struct inbox){ .fd = fd, .slot = slot, .spawn = spawn };
}

void
inbox_fini(struct inbox *in)
{
	buf_fini(&in->now);
	buf_fini(&in->later);
}

/* ---- reading ---- */

/* How much came; 0 at the end, or -errno. */
static ssize_t
receive(struct inbox *in, struct buf *to, int flags)
{
	ssize_t n;

	buf_reserve(to, READ_BYTES);
	do
		n = recv(in->fd, to->data + to->len, READ_BYTES, flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	to->len += (size_t)n;
	return n;
}

int
inbox_read(struct inbox *in, bool wait)
{
	ssize_t n;

	ASSERT(!in->split && in->at == 0);
	n = receive(in, &in->now, wait ? 0 : MSG_DONTWAIT);
	if (n == 0)
		return -ECONNRESET;
	return n < 0 ? (int)n : 0;
}

/* What was handed out is done with. */
static void
turn(struct inbox *in)
{
	struct buf done = in->now;

	if (in->split) {
		ASSERT(in->at == in->now.len);
		done.len = 0;
		in->now = in->later;
		in->later = done;
		in->looked = in->later_looked;
		in->later_looked = 0;
		in->split = false;
		if (in->later.cap > KEEP_BYTES)
			buf_fini(&in->later);
	} else {
		buf_drop(&in->now, in->at);
		in->looked = 0; /* what is left is the beginning of a frame */
		if (in->now.len == 0 && in->now.cap > KEEP_BYTES)
			buf_fini(&in->now);
	}
	in->at = 0;
}

static ssize_t
decode(const struct buf *b, size_t at, struct frame *out, struct error *err)
{
	struct slice rest = { b->data + at, b->len - at };

	/* An empty buffer has no bytes to point at. */
	if (rest.len == 0)
		return 0;
	return frame_decode(rest, FRAME_BYTES_MAX, PEER_SUPERVISOR, out, err);
}

int
inbox_next(struct inbox *in, struct frame *out, struct error *err)
{
	for (;;) {
		ssize_t n = decode(&in->now, in->at, out, err);
		bool more = in->split;

		if (n < 0)
			return -EPROTO;
		if (n > 0) {
			in->at += (size_t)n;
			if (out->slot == in->slot && out->spawn == in->spawn)
				return 1;
			error_set(err, "a frame for slot %u spawn %u",
				  out->slot, out->spawn);
			return -EPROTO;
		}
		turn(in);
		if (!more)
			return 0;
	}
}

/* ---- looking ahead ---- */

/* The tokens, up to max of them: their number, or -EPROTO. */
static int
cancel_read(const struct frame *f, uint64_t *tokens, uint32_t max,
	    struct error *err)
{
	struct cursor c;
	uint32_t count;

	if (value_check_frame(f->payload, CANCEL_DEPTH_MAX, err) < 0)
		return -EPROTO;
	c = cursor_of(f->payload);
	if (cursor_array(&c, &count) < 0 || count != f->count) {
		error_set(err, "not an array of %u", f->count);
		return -EPROTO;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint64_t token;

		if (cursor_uint(&c, &token) < 0) {
			error_set(err, "item %u is no token", i);
			return -EPROTO;
		}
		if (i < max)
			tokens[i] = token;
	}
	return (int)(count < max ? count : max);
}

/* Through the whole frames from *at on. */
static void
look(struct inbox *in, const struct buf *b, size_t *at)
{
	while (!in->blind) {
		struct error err = { 0 };
		struct frame f;
		ssize_t n = decode(b, *at, &f, &err);
		int got;

		if (n == 0)
			return;
		if (n < 0) {
			in->blind = true;
			return;
		}
		*at += (size_t)n;
		if (f.type != FRAME_CANCEL)
			continue;
		got = cancel_read(&f, in->tokens + in->token_count,
				  INBOX_TOKENS_MAX - in->token_count, &err);
		if (got < 0)
			in->blind = true;
		else
			in->token_count += (uint32_t)got;
	}
}

bool
inbox_has_room(const struct inbox *in)
{
	return !in->blind && in->later.len < INBOX_LATER_MAX;
}

int
inbox_look(struct inbox *in)
{
	ssize_t n;

	if (in->looked < in->at)
		in->looked = in->at;
	look(in, &in->now, &in->looked);
	while (inbox_has_room(in)) {
		if (!in->split) {
			/* The frame that is being worked on must not move, so
			 * what comes goes elsewhere, and the beginning of a
			 * frame with it. */
			buf_add(&in->later, in->now.data + in->looked,
				in->now.len - in->looked);
			in->now.len = in->looked;
			in->split = true;
		}
		n = receive(in, &in->later, MSG_DONTWAIT);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return -ECONNRESET;
		look(in, &in->later, &in->later_looked);
	}
	return 0;
}

bool
inbox_cancelled(const struct inbox *in, uint64_t token)
{
	for (uint32_t i = 0; i < in->token_count; i++) {
		if (in->tokens[i] == token)
			return true;
	}
	return false;
}

int
inbox_forget(struct inbox *in, const struct frame *cancel, struct error *err)
{
	uint64_t tokens[INBOX_TOKENS_MAX];
	int count = cancel_read(cancel, tokens, INBOX_TOKENS_MAX, err);
	uint32_t kept = 0;

	if (count < 0)
		return -EPROTO;
	if (in->token_count == 0)
		return 0;
	for (uint32_t i = 0; i < in->token_count; i++) {
		bool gone = false;

		for (int k = 0; k < count && !gone; k++)
			gone = tokens[k] == in->tokens[i];
		if (!gone)
			in->tokens[kept++] = in->tokens[i];
	}
	in->token_count = kept;
	return 0;
}
