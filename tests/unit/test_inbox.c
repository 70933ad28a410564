/* Tests of worker/inbox.h: frames in order, CANCEL before its turn. */
#include "worker/inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/value.h"
#include "tests/unit/unit.h"

#define SLOT 3
#define SPAWN 7

static struct inbox in;
static struct error err;
static int peer;

static void
setup(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	peer = fds[1];
	inbox_init(&in, fds[0], SLOT, SPAWN);
}

static void
teardown(void)
{
	close(in.fd);
	close(peer);
	inbox_fini(&in);
}

static void
add_frame(struct buf *b, enum frame_type type, const uint64_t *numbers,
	  uint32_t count)
{
	size_t begun = frame_begin(b, type, SLOT, SPAWN);

	value_pack_array(b, count);
	for (uint32_t i = 0; i < count; i++)
		value_pack_uint(b, numbers[i]);
	frame_end(b, begun, count);
}

static void
send_bytes(const void *data, size_t len)
{
	ck_assert_int_eq((int)send(peer, data, len, 0), (int)len);
}

static void
send_frame(enum frame_type type, uint64_t number)
{
	struct buf b = BUF_EMPTY;

	add_frame(&b, type, &number, 1);
	send_bytes(b.data, b.len);
	buf_fini(&b);
}

/* The next frame is of that type and holds that number. */
static void
expect(enum frame_type type, uint64_t number)
{
	struct frame f;
	uint64_t found;
	struct slice item;

	ck_assert_int_eq(inbox_next(&in, &f, &err), 1);
	ck_assert_int_eq(f.type, type);
	ck_assert(value_at(f.payload, 0, &item));
	found = (uint64_t)value_item(item).i;
	ck_assert_uint_eq(found, number);
}

static void
expect_none(void)
{
	struct frame f;

	ck_assert_int_eq(inbox_next(&in, &f, &err), 0);
}

START_TEST (frames_in_order) {
	setup();
	ck_assert_int_eq(inbox_read(&in, false), -EAGAIN);
	send_frame(FRAME_DISPATCH, 1);
	send_frame(FRAME_DISPATCH, 2);
	ck_assert_int_eq(inbox_read(&in, true), 0);
	expect(FRAME_DISPATCH, 1);
	expect(FRAME_DISPATCH, 2);
	expect_none();
	close(peer);
	peer = -1;
	ck_assert_int_eq(inbox_read(&in, true), -ECONNRESET);
	teardown();
}
END_TEST

/* What is behind the frame in hand, in every way it may have come: cut after
 * each of its bytes, with the first part read before the action began. */
START_TEST (sees_cancel_before_its_turn) {
	struct buf b = BUF_EMPTY;
	uint64_t numbers[] = { 11, 12 };
	size_t first;

	add_frame(&b, FRAME_DISPATCH, numbers, 1);
	first = b.len;
	add_frame(&b, FRAME_DISPATCH, numbers + 1, 1);
	add_frame(&b, FRAME_CANCEL, numbers, 2);
	add_frame(&b, FRAME_DISPATCH, numbers, 1);
	for (size_t cut = first; cut <= b.len; cut++) {
		struct frame f;

		setup();
		send_bytes(b.data, cut);
		ck_assert_int_eq(inbox_read(&in, true), 0);
		ck_assert_int_eq(inbox_next(&in, &f, &err), 1);
		ck_assert_int_eq(inbox_look(&in), 0);
		send_bytes(b.data + cut, b.len - cut);
		ck_assert_int_eq(inbox_look(&in), 0);
		ck_assert(inbox_cancelled(&in, 11));
		ck_assert(inbox_cancelled(&in, 12));
		ck_assert(!inbox_cancelled(&in, 13));
		/* The frame in hand is where it was. */
		ck_assert(memcmp(f.payload.data, "\x91\x0b", 2) == 0);

		/* And the rest comes in its turn, whatever was looked at. */
		expect(FRAME_DISPATCH, 12);
		ck_assert_int_eq(inbox_look(&in), 0);
		ck_assert_int_eq(inbox_next(&in, &f, &err), 1);
		ck_assert_int_eq(f.type, FRAME_CANCEL);
		ck_assert_int_eq(inbox_forget(&in, &f, &err), 0);
		ck_assert_uint_eq(in.token_count, 0);
		expect(FRAME_DISPATCH, 11);
		ck_assert_int_eq(inbox_look(&in), 0);
		expect_none();
		ck_assert_int_eq(inbox_read(&in, false), -EAGAIN);
		teardown();
	}
	buf_fini(&b);
}
END_TEST

START_TEST (a_cancel_names_what_came_before_it) {
	struct frame f;

	setup();
	send_frame(FRAME_DISPATCH, 1);
	ck_assert_int_eq(inbox_read(&in, true), 0);
	expect(FRAME_DISPATCH, 1);
	send_frame(FRAME_CANCEL, 1);
	send_frame(FRAME_CANCEL, 2);
	ck_assert_int_eq(inbox_look(&in), 0);
	ck_assert(inbox_cancelled(&in, 1));
	ck_assert_int_eq(inbox_next(&in, &f, &err), 1);
	ck_assert_int_eq(inbox_forget(&in, &f, &err), 0);
	ck_assert(!inbox_cancelled(&in, 1));
	ck_assert(inbox_cancelled(&in, 2));
	ck_assert_int_eq(inbox_next(&in, &f, &err), 1);
	ck_assert_int_eq(inbox_forget(&in, &f, &err), 0);
	ck_assert(!inbox_cancelled(&in, 2));
	expect_none();
	teardown();
}
END_TEST

START_TEST (tokens_are_bounded) {
	uint64_t *numbers = mem_calloc(2000, sizeof(*numbers));
	struct buf b = BUF_EMPTY;

	setup();
	for (uint32_t i = 0; i < 2000; i++)
		numbers[i] = i + 1;
	send_frame(FRAME_DISPATCH, 1);
	ck_assert_int_eq(inbox_read(&in, true), 0);
	expect(FRAME_DISPATCH, 1);
	add_frame(&b, FRAME_CANCEL, numbers, 2000);
	send_bytes(b.data, b.len);
	ck_assert_int_eq(inbox_look(&in), 0);
	ck_assert_uint_eq(in.token_count, INBOX_TOKENS_MAX);
	ck_assert(inbox_cancelled(&in, INBOX_TOKENS_MAX));
	ck_assert(!inbox_cancelled(&in, INBOX_TOKENS_MAX + 1));
	buf_fini(&b);
	free(numbers);
	teardown();
}
END_TEST

/* What comes while an action runs is read up to a bound, and not lost. */
START_TEST (what_comes_is_bounded) {
	size_t len = (size_t)9 << 20, sent = 0, got = 0, at = 0;
	uint8_t *big = mem_zalloc(len);
	struct buf b = BUF_EMPTY;
	size_t begun;

	setup();
	send_frame(FRAME_DISPATCH, 1);
	ck_assert_int_eq(inbox_read(&in, true), 0);
	expect(FRAME_DISPATCH, 1);
	begun = frame_begin(&b, FRAME_DISPATCH, SLOT, SPAWN);
	value_pack_bin(&b, big, len);
	frame_end(&b, begun, 1);
	while (inbox_has_room(&in)) {
		ssize_t n = send(peer, b.data + at, b.len - at, MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			at = (at + (size_t)n) % b.len;
		}
		ck_assert_int_eq(inbox_look(&in), 0);
	}
	ck_assert_uint_lt(in.later.len, INBOX_LATER_MAX + (1 << 20));
	send_bytes(b.data + at, 1);
	sent++;
	ck_assert_int_eq(inbox_look(&in), 0);
	for (;;) {
		struct frame f;

		if (inbox_next(&in, &f, &err) == 1) {
			got++;
			continue;
		}
		if (inbox_read(&in, false) == -EAGAIN)
			break;
	}
	ck_assert_uint_eq(got, sent / b.len);
	ck_assert_uint_eq(in.now.len, sent % b.len);
	buf_fini(&b);
	free(big);
	teardown();
}
END_TEST

static const struct {
	const char *name;
	const char *bytes; /* behind a DISPATCH; the length comes first */
	size_t len;
} bad[] = {
	{ "no array", "\0\0\0\1\xc0", 5 },
	{ "of another slot", "\0\0\0\6\x95\x14\x04\x07\x00\x90", 10 },
	{ "of another life", "\0\0\0\6\x95\x14\x03\x08\x00\x90", 10 },
	{ "not from a supervisor", "\0\0\0\6\x95\x0e\x03\x07\x00\x90", 10 },
	{ "a CANCEL of a text", "\0\0\0\6\x95\x14\x03\x07\x00\xa0", 10 },
	{ "a CANCEL that miscounts", "\0\0\0\6\x95\x14\x03\x07\x01\x90", 10 },
	{ "a CANCEL of no tokens", "\0\0\0\7\x95\x14\x03\x07\x01\x91\xff", 11 },
};

/* Looking ahead neither complains nor reads on; in its turn it is refused. */
START_TEST (bad_frames_are_refused_in_their_turn) {
	struct frame f;
	int rc;

	setup();
	send_frame(FRAME_DISPATCH, 1);
	ck_assert_int_eq(inbox_read(&in, true), 0);
	expect(FRAME_DISPATCH, 1);
	send_bytes(bad[_i].bytes, bad[_i].len);
	CASE(&bad[_i], inbox_look(&in) == 0);
	CASE(&bad[_i], inbox_look(&in) == 0);
	CASE(&bad[_i], in.token_count == 0);
	rc = inbox_next(&in, &f, &err);
	if (rc == 1) {
		CASE(&bad[_i], f.type == FRAME_CANCEL);
		rc = inbox_forget(&in, &f, &err);
	}
	CASE(&bad[_i], rc == -EPROTO);
	CASE(&bad[_i], err.message[0] != '\0');
	teardown();
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ frames_in_order, 0 },
		{ sees_cancel_before_its_turn, 0 },
		{ a_cancel_names_what_came_before_it, 0 },
		{ tokens_are_bounded, 0 },
		{ what_comes_is_bounded, 0 },
		{ bad_frames_are_refused_in_their_turn, COUNT(bad) },
	};

	return unit_run("inbox", tests, COUNT(tests));
}
