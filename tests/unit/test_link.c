/* Tests of common/link.h over socket pairs, with one loop for both ends. */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/link.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

#define BYTES_MAX (8U << 20)

enum act { NOTHING, REFUSE, DESTROY, PAUSE, DESTROY_IN_TURN, ANSWER };

/* One end, and what it has seen. */
struct end {
	struct link *link;
	enum act act;
	uint32_t act_at; /* the frame with this count, from 1 */
	uint32_t frames;
	uint32_t turns;
	uint64_t bytes;
	bool gone;
	bool keep; /* not destroyed in gone_cb */
	int reason;
	char message[400];
};

static int
frame_cb(void *arg, const struct frame *f)
{
	struct end *e = arg;

	ck_assert(!e->gone);
	e->frames++;
	ck_assert_uint_eq(f->count, e->frames); /* in order */
	e->bytes += f->payload.len;
	if (e->frames != e->act_at)
		return e->act == NOTHING ? 1 : 0; /* positive is fine too */
	if (e->act == REFUSE)
		return -EBADMSG;
	if (e->act == PAUSE)
		link_pause(e->link);
	if (e->act == DESTROY) {
		link_destroy(&e->link);
		/* Still there, for whoever called us. */
		ck_assert_uint_eq(f->payload.data[0], 0xc0);
	}
	if (e->act == ANSWER) {
		frame_add(link_out(e->link), FRAME_DISPATCH, 0, 0, 1,
			  SLICE_LITERAL("\xc0"));
		link_send(e->link);
	}
	return 0;
}

static void
gone_cb(void *arg, int reason, const struct error *err)
{
	struct end *e = arg;

	ck_assert(!e->gone);
	e->gone = true;
	e->reason = reason;
	strcpy(e->message, err->message);
	if (!e->keep)
		link_destroy(&e->link);
}

static void
turn_cb(void *arg)
{
	struct end *e = arg;

	e->turns++;
	if (e->act == DESTROY_IN_TURN)
		link_destroy(&e->link);
}

static const struct link_ops ops = { frame_cb, gone_cb, turn_cb };

struct world {
	struct event_base *base;
	int fd; /* the raw other end; -1 when it is a link */
	struct end a, b;
};

/* b is a worker's end, a the supervisor's. */
static void
world_open(struct world *w, int type, bool b_is_link)
{
	int fds[2];

	*w = (struct world){ .base = event_base_new(), .fd = -1 };
	ck_assert_int_eq(socketpair(AF_UNIX, type, 0, fds), 0);
	w->a.link =
	    link_create(w->base, fds[0], PEER_WORKER, BYTES_MAX, &ops, &w->a);
	if (b_is_link)
		w->b.link = link_create(w->base, fds[1], PEER_SUPERVISOR,
					BYTES_MAX, &ops, &w->b);
	else
		w->fd = fds[1];
}

static void
world_close(struct world *w)
{
	link_destroy(&w->a.link);
	link_destroy(&w->b.link);
	if (w->fd >= 0)
		close(w->fd);
	event_base_free(w->base);
}

/* Until nothing is left to do. */
static void
run(struct world *w)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static void
add_frames(struct buf *b, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i <= to; i++)
		frame_add(b, FRAME_COMPLETION, 0, 0, i, SLICE_LITERAL("\xc0"));
}

static void
put(struct world *w, const void *bytes, size_t len)
{
	ck_assert_int_eq(send(w->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void
put_frames(struct world *w, uint32_t from, uint32_t to)
{
	struct buf b = BUF_EMPTY;

	add_frames(&b, from, to);
	put(w, b.data, b.len);
	buf_fini(&b);
}

START_TEST(delivers_then_ends)
{
	struct world w;

	world_open(&w, SOCK_STREAM, false);
	put_frames(&w, 1, 100);
	close(w.fd);
	w.fd = -1;
	run(&w);
	ck_assert_uint_eq(w.a.frames, 100);
	ck_assert_uint_eq(w.a.turns, 1);
	ck_assert(w.a.gone);
	ck_assert_int_eq(w.a.reason, 0);
	ck_assert_str_eq(w.a.message, "");
	ck_assert_ptr_null(w.a.link);
	world_close(&w);
}
END_TEST

START_TEST(byte_by_byte)
{
	struct world w;
	struct buf b = BUF_EMPTY;
	uint64_t since_us = 0;

	world_open(&w, SOCK_STREAM, false);
	add_frames(&b, 1, 3);
	for (size_t i = 0; i < b.len; i++) {
		put(&w, b.data + i, 1);
		event_base_loop(w.base, EVLOOP_NONBLOCK);
		ck_assert_uint_eq(w.a.frames, (i + 1) / (b.len / 3));
		/* The clock of a frame is that of its first byte. */
		if ((i + 1) % (b.len / 3) == 0)
			since_us = 0;
		else if (since_us == 0)
			since_us = link_partial_since_us(w.a.link);
		ck_assert_uint_eq(link_partial_since_us(w.a.link), since_us);
		ck_assert(since_us != 0 || (i + 1) % (b.len / 3) == 0);
	}
	ck_assert_uint_eq(w.a.turns, 3);
	b.len = 0;
	add_frames(&b, 4, 4);
	put(&w, b.data, 1);
	event_base_loop(w.base, EVLOOP_NONBLOCK);
	ck_assert_uint_ne(link_partial_since_us(w.a.link), 0);
	/* While it is we who do not read, no clock runs. */
	link_pause(w.a.link);
	ck_assert_uint_eq(link_partial_since_us(w.a.link), 0);
	link_resume(w.a.link);
	put(&w, b.data + 1, b.len - 1);
	event_base_loop(w.base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(link_partial_since_us(w.a.link), 0);
	/* An end in the middle of a frame is an end. */
	put(&w, b.data, 7);
	close(w.fd);
	w.fd = -1;
	run(&w);
	ck_assert(w.a.gone);
	ck_assert_int_eq(w.a.reason, 0);
	buf_fini(&b);
	world_close(&w);
}
END_TEST

static const struct {
	const char *name;
	struct slice bytes;
	const char *message;
} wrongs[] = {
	{ "too long", SLICE_LITERAL("\x7f\xff\xff\xff"), "longer than" },
	{ "not allowed", SLICE_LITERAL("\0\0\0\x06\x95\x0e\x01\x02\x03\xc0"),
	  "not for a worker to send" },
	{ "no frame", SLICE_LITERAL("\0\0\0\x06hello!"), "malformed" },
	{ "text", SLICE_LITERAL("GET / HTTP/1.0\r\n\r\n"), "longer than" },
};

START_TEST(breaks_protocol)
{
	struct world w;
	struct buf b = BUF_EMPTY;

	world_open(&w, SOCK_STREAM, false);
	add_frames(&b, 1, 2);
	buf_add(&b, wrongs[_i].bytes.data, wrongs[_i].bytes.len);
	add_frames(&b, 3, 3);
	put(&w, b.data, b.len);
	run(&w);
	CASE(&wrongs[_i], w.a.frames == 2);
	CASE(&wrongs[_i], w.a.turns == 1);
	CASE(&wrongs[_i], w.a.gone && w.a.reason == -EPROTO);
	ck_assert_msg(strstr(w.a.message, wrongs[_i].message) != NULL, "%s: %s",
		      wrongs[_i].name, w.a.message);
	buf_fini(&b);
	world_close(&w);
}
END_TEST

START_TEST(is_refused)
{
	struct world w;

	world_open(&w, SOCK_STREAM, false);
	w.a.act = REFUSE;
	w.a.act_at = 2;
	w.a.keep = true;
	put_frames(&w, 1, 5);
	run(&w);
	ck_assert_uint_eq(w.a.frames, 2);
	ck_assert(w.a.gone);
	ck_assert_int_eq(w.a.reason, -EBADMSG);
	ck_assert_ptr_nonnull(strstr(w.a.message, "COMPLETION was refused"));
	/* Kept by its owner, it stays silent. */
	put_frames(&w, 6, 7);
	frame_add(link_out(w.a.link), FRAME_DISPATCH, 0, 0, 1,
		  SLICE_LITERAL("\xc0"));
	link_send(w.a.link);
	link_flush(w.a.link);
	link_pause(w.a.link);
	link_resume(w.a.link);
	run(&w);
	ck_assert_uint_eq(w.a.frames, 2);
	ck_assert_uint_eq(link_unsent(w.a.link), 0);
	world_close(&w);
}
END_TEST

START_TEST(destroyed_within)
{
	struct world w;

	world_open(&w, SOCK_STREAM, false);
	w.a.act = _i == 0 ? DESTROY : DESTROY_IN_TURN;
	w.a.act_at = 2;
	put_frames(&w, 1, 5);
	run(&w);
	ck_assert_ptr_null(w.a.link);
	ck_assert_uint_eq(w.a.frames, _i == 0 ? 2 : 5);
	ck_assert_uint_eq(w.a.turns, _i == 0 ? 0 : 1);
	ck_assert(!w.a.gone);
	ck_assert_int_eq(send(w.fd, "x", 1, MSG_NOSIGNAL), -1); /* closed */
	world_close(&w);
}
END_TEST

START_TEST(pauses)
{
	struct world w;

	world_open(&w, SOCK_STREAM, false);
	w.a.act = PAUSE;
	w.a.act_at = 3;
	put_frames(&w, 1, 10);
	run(&w);
	ck_assert_uint_eq(w.a.frames, 3);
	put_frames(&w, 11, 20);
	close(w.fd);
	w.fd = -1;
	run(&w);
	ck_assert_uint_eq(w.a.frames, 3);
	ck_assert(!w.a.gone);
	w.a.act_at = 10; /* again, at the last one that was read */
	link_resume(w.a.link);
	ck_assert_uint_eq(w.a.frames, 3); /* not from within */
	run(&w);
	ck_assert_uint_eq(w.a.frames, 10);
	ck_assert(!w.a.gone);
	w.a.act_at = 20; /* at the very last: the end waits too */
	link_resume(w.a.link);
	run(&w);
	ck_assert_uint_eq(w.a.frames, 20);
	ck_assert(!w.a.gone);
	link_resume(w.a.link);
	link_resume(w.a.link);
	run(&w);
	ck_assert(w.a.gone);
	ck_assert_int_eq(w.a.reason, 0);
	world_close(&w);
}
END_TEST

/* Each send is one record here, so that they can be counted. */
START_TEST(sends_once_a_turn)
{
	struct world w;
	uint8_t bytes[4096];
	struct buf *out;

	world_open(&w, SOCK_SEQPACKET, false);
	out = link_out(w.a.link);
	for (int i = 0; i < 5; i++) {
		add_frames(out, 1, 3);
		link_send(w.a.link);
	}
	ck_assert_uint_eq(link_unsent(w.a.link), 15 * 20);
	ck_assert_int_eq(recv(w.fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	run(&w);
	ck_assert_uint_eq(link_unsent(w.a.link), 0);
	ck_assert_int_eq(recv(w.fd, bytes, sizeof(bytes), MSG_DONTWAIT),
			 15 * 20);
	ck_assert_int_eq(recv(w.fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	add_frames(out, 1, 1);
	link_send(w.a.link);
	link_flush(w.a.link); /* without the loop */
	ck_assert_int_eq(recv(w.fd, bytes, sizeof(bytes), MSG_DONTWAIT), 20);
	run(&w);
	ck_assert_int_eq(recv(w.fd, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	world_close(&w);
}
END_TEST

/* More than the socket takes: kept, and nobody waits. */
START_TEST(full_socket)
{
	struct world w;
	struct buf *out;
	size_t unsent;

	world_open(&w, SOCK_STREAM, true);
	link_pause(w.a.link);
	out = link_out(w.b.link);
	add_frames(out, 1, 200000);
	link_send(w.b.link);
	run(&w);
	unsent = link_unsent(w.b.link);
	ck_assert_uint_gt(unsent, 1000000);
	add_frames(out, 200001, 200002);
	link_send(w.b.link);
	run(&w);
	ck_assert_uint_eq(link_unsent(w.b.link), unsent + 40);
	link_resume(w.a.link);
	for (int i = 0; i < 1000 && w.a.frames < 200002; i++)
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(w.a.frames, 200002);
	ck_assert_uint_eq(link_unsent(w.b.link), 0);
	world_close(&w);
}
END_TEST

START_TEST(large_frames)
{
	struct world w;
	uint8_t *payload = mem_alloc(BYTES_MAX);

	world_open(&w, SOCK_STREAM, true);
	memset(payload, 0xc0, BYTES_MAX);
	for (uint32_t i = 1; i <= 3; i++)
		frame_add(link_out(w.b.link), FRAME_COMPLETION, 0, 0, i,
			  (struct slice){ payload, BYTES_MAX - 15 - (i == 2) });
	link_send(w.b.link);
	for (int i = 0; i < 10000 && w.a.frames < 3; i++)
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(w.a.frames, 3);
	ck_assert_uint_eq(w.a.bytes, 3 * (BYTES_MAX - 15) - 1);
	free(payload);
	world_close(&w);
}
END_TEST

START_TEST(answers)
{
	struct world w;

	world_open(&w, SOCK_STREAM, true);
	w.a.act = ANSWER;
	w.a.act_at = 5;
	add_frames(link_out(w.b.link), 1, 5);
	link_send(w.b.link);
	run(&w);
	ck_assert_uint_eq(w.a.frames, 5);
	ck_assert_uint_eq(w.b.frames, 1);
	world_close(&w);
}
END_TEST

/* Writing to one that is gone must not lose what it had said. */
START_TEST(gone_while_writing)
{
	struct world w;

	world_open(&w, SOCK_STREAM, false);
	put_frames(&w, 1, 50);
	add_frames(link_out(w.a.link), 1, 1);
	link_flush(w.a.link); /* which it will not read: a reset */
	close(w.fd);
	w.fd = -1;
	add_frames(link_out(w.a.link), 2, 2);
	link_flush(w.a.link);
	ck_assert_uint_eq(link_unsent(w.a.link), 0);
	ck_assert(!w.a.gone); /* never from within a call */
	run(&w);
	ck_assert_uint_eq(w.a.frames, 50);
	ck_assert(w.a.gone);
	ck_assert(w.a.reason == 0 || w.a.reason == -EPIPE ||
		  w.a.reason == -ECONNRESET);
	world_close(&w);
}
END_TEST

/* It does not read any more but has not closed. */
START_TEST(write_fails_alone)
{
	struct world w;

	world_open(&w, SOCK_STREAM, false);
	ck_assert_int_eq(shutdown(w.fd, SHUT_RD), 0);
	put_frames(&w, 1, 2);
	if (_i == 1)
		link_pause(w.a.link);
	add_frames(link_out(w.a.link), 1, 1);
	link_send(w.a.link);
	run(&w);
	if (_i == 1) {
		ck_assert_uint_eq(w.a.frames, 0);
		link_resume(w.a.link);
		run(&w);
	}
	ck_assert_uint_eq(w.a.frames, 2);
	ck_assert(w.a.gone);
	ck_assert_int_eq(w.a.reason, -EPIPE);
	ck_assert_uint_gt(strlen(w.a.message), 0);
	world_close(&w);
}
END_TEST

/* A loop that pauses at every frame reads no more than it delivers. */
START_TEST(pause_bounds_memory)
{
	struct world w;
	uint32_t total = 0;
	struct buf b = BUF_EMPTY;

	world_open(&w, SOCK_STREAM, false);
	w.a.act = PAUSE;
	for (int i = 0; i < 2000; i++) {
		b.len = 0;
		add_frames(&b, total + 1, total + 10);
		if (send(w.fd, b.data, b.len, MSG_DONTWAIT) < 0)
			break;
		total += 10;
	}
	for (uint32_t i = 1; i <= total; i++) {
		int queued = 0;

		w.a.act_at = i;
		link_resume(w.a.link);
		event_base_loop(w.base, EVLOOP_NONBLOCK);
		ck_assert_uint_eq(w.a.frames, i);
		/* One read takes 16 KiB at first and 256 KiB at most; the rest
		 * stays in the socket until that is delivered. */
		ck_assert_int_eq(ioctl(w.fd, SIOCOUTQ, &queued), 0);
		if (i <= 819 && total > 4000)
			ck_assert_int_gt(queued, 0);
		if (i % 10 == 0) {
			struct buf more = BUF_EMPTY;

			add_frames(&more, total + 1, total + 1);
			if (send(w.fd, more.data, more.len, MSG_DONTWAIT) > 0)
				total++;
			buf_fini(&more);
		}
	}
	buf_fini(&b);
	world_close(&w);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ delivers_then_ends, 0 },
		{ byte_by_byte, 0 },
		{ breaks_protocol, COUNT(wrongs) },
		{ is_refused, 0 },
		{ destroyed_within, 2 },
		{ pauses, 0 },
		{ sends_once_a_turn, 0 },
		{ full_socket, 0 },
		{ large_frames, 0 },
		{ answers, 0 },
		{ gone_while_writing, 0 },
		{ write_fails_alone, 2 },
		{ pause_bounds_memory, 0 },
	};

	return unit_run("link", tests, COUNT(tests));
}
