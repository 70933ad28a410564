/* Tests of common/frame.h. */
#include <errno.h>
#include <string.h>

#include "common/frame.h"
#include "tests/unit/unit.h"

#define MAX 1000

/* [type, slot, spawn, count, payload] behind the length. */
#define FRAME_BYTES(length, body) SLICE_LITERAL("\0\0\0" length body)

static const struct {
	const char *name;
	struct slice bytes;
	enum peer sender;
	ssize_t rc;
} cases[] = {
	{ "nothing", { NULL, 0 }, PEER_WORKER, 0 },
	{ "three bytes", SLICE_LITERAL("\0\0\0"), PEER_WORKER, 0 },
	{ "smallest integers", FRAME_BYTES("\x06", "\x95\x0b\x01\x02\x03\xc0"),
	  PEER_WORKER, 10 },
	{ "one byte missing", FRAME_BYTES("\x06", "\x95\x0b\x01\x02\x03"),
	  PEER_WORKER, 0 },
	{ "the next one behind it",
	  FRAME_BYTES("\x06", "\x95\x0b\x01\x02\x03\xc0\0\0"), PEER_WORKER,
	  10 },
	{ "other integers",
	  FRAME_BYTES("\x0e", "\x95\xcc\x0b\xcd\x00\x01\xd0\x02"
			      "\xd2\x00\x00\x00\x03\xc0"),
	  PEER_WORKER, 18 },
	{ "64-bit count",
	  FRAME_BYTES("\x0e", "\x95\x0b\x01\x02\xcf\0\0\0\0\0\0\0\x03\xc0"),
	  PEER_WORKER, 18 },
	{ "array16", FRAME_BYTES("\x08", "\xdc\0\x05\x0b\x01\x02\x03\xc0"),
	  PEER_WORKER, 12 },
	{ "array32", FRAME_BYTES("\x0a", "\xdd\0\0\0\x05\x0b\x01\x02\x03\xc0"),
	  PEER_WORKER, 14 },
	{ "longer than allowed", SLICE_LITERAL("\0\0\x03\xe9"), PEER_WORKER,
	  -EPROTO },
	{ "4 GiB", SLICE_LITERAL("\xff\xff\xff\xff"), PEER_WORKER, -EPROTO },
	{ "empty", FRAME_BYTES("\x00", ""), PEER_WORKER, -EPROTO },
	{ "too short", FRAME_BYTES("\x05", "\x95\x0b\x01\x02\x03"), PEER_WORKER,
	  -EPROTO },
	{ "four fields", FRAME_BYTES("\x06", "\x94\x0b\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "six fields", FRAME_BYTES("\x07", "\x96\x0b\x01\x02\x03\xc0\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "a map", FRAME_BYTES("\x06", "\x85\x0b\x01\x02\x03\xc0"), PEER_WORKER,
	  -EPROTO },
	{ "no array", FRAME_BYTES("\x06", "\xa5\x0b\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "unknown type", FRAME_BYTES("\x06", "\x95\x7f\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "unknown type of a supervisor",
	  FRAME_BYTES("\x06", "\x95\x7f\x01\x02\x03\xc0"), PEER_SUPERVISOR,
	  10 },
	{ "another's type of a supervisor",
	  FRAME_BYTES("\x06", "\x95\x0e\x01\x02\x03\xc0"), PEER_SUPERVISOR,
	  -EPROTO },
	{ "type 0", FRAME_BYTES("\x06", "\x95\x00\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "huge type",
	  FRAME_BYTES("\x0a", "\x95\xce\xff\xff\xff\xff\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "another's type", FRAME_BYTES("\x06", "\x95\x0e\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "own type", FRAME_BYTES("\x06", "\x95\x0e\x01\x02\x03\xc0"),
	  PEER_FLUSHER, 10 },
	{ "type as string", FRAME_BYTES("\x07", "\x95\xa1\x0b\x01\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "negative slot", FRAME_BYTES("\x06", "\x95\x0b\xff\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "negative slot in a byte",
	  FRAME_BYTES("\x07", "\x95\x0b\xd0\x80\x02\x03\xc0"), PEER_WORKER,
	  -EPROTO },
	{ "slot 65535", FRAME_BYTES("\x08", "\x95\x0b\xcd\xff\xff\x02\x03\xc0"),
	  PEER_WORKER, 12 },
	{ "slot 65536",
	  FRAME_BYTES("\x0a", "\x95\x0b\xce\x00\x01\x00\x00\x02\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "spawn 2^32",
	  FRAME_BYTES("\x0e", "\x95\x0b\x01\xcf\0\0\0\x01\0\0\0\0\x03\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "count cut by the length",
	  FRAME_BYTES("\x08", "\x95\x0b\x01\x02\xce\0\0\0\xc0\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "count a double",
	  FRAME_BYTES("\x0e", "\x95\x0b\x01\x02\xcb\0\0\0\0\0"
			      "\0\0\0\xc0"),
	  PEER_WORKER, -EPROTO },
	{ "count of 16 bits",
	  FRAME_BYTES("\x08", "\x95\x0b\x01\x02\xcd\0\x03\xc0"), PEER_WORKER,
	  12 },
	{ "no payload", FRAME_BYTES("\x07", "\x95\x0b\x01\x02\xcd\0\x03"),
	  PEER_WORKER, -EPROTO },
};

START_TEST(decodes)
{
	struct slice bytes = cases[_i].bytes;
	uint8_t *copy = malloc(bytes.len > 0 ? bytes.len : 1);
	struct error err = { .line = 0 };
	struct frame f;
	ssize_t rc;

	if (bytes.len > 0)
		memcpy(copy, bytes.data, bytes.len);
	bytes.data = copy;
	rc = frame_decode(bytes, MAX, cases[_i].sender, &f, &err);
	CASE(&cases[_i], rc == cases[_i].rc);
	CASE(&cases[_i], (rc < 0) == (err.message[0] != '\0'));
	if (rc > 0)
		CASE(&cases[_i],
		     f.payload.data + f.payload.len == bytes.data + rc);
	free(copy);
}
END_TEST

START_TEST(round_trip)
{
	static const struct {
		uint16_t slot;
		uint32_t spawn, count;
	} headers[] = {
		{ 0, 0, 0 },
		{ 1, 2, 3 },
		{ 65535, UINT32_MAX, UINT32_MAX },
	};
	struct buf b = BUF_EMPTY;
	struct slice rest;
	struct frame f;
	ssize_t n;

	for (int i = 0; i < COUNT(headers); i++) {
		size_t begun = frame_begin(&b, FRAME_DISPATCH, headers[i].slot,
					   headers[i].spawn);

		ck_assert_uint_eq(b.len - begun, FRAME_HEADER_BYTES);
		buf_add_text(&b, "\x92\x01\x02");
		frame_end(&b, begun, headers[i].count);
		frame_add(&b, FRAME_STATUS, headers[i].slot, headers[i].spawn,
			  headers[i].count, SLICE_LITERAL("\xc0"));
	}
	rest = buf_slice(&b);
	for (int i = 0; i < 2 * COUNT(headers); i++) {
		n = frame_decode(rest, MAX, PEER_FLUSHER, &f, NULL);
		ck_assert_int_gt(n, 0);
		ck_assert_int_eq(f.type,
				 i % 2 == 0 ? FRAME_DISPATCH : FRAME_STATUS);
		ck_assert_uint_eq(f.slot, headers[i / 2].slot);
		ck_assert_uint_eq(f.spawn, headers[i / 2].spawn);
		ck_assert_uint_eq(f.count, headers[i / 2].count);
		ck_assert_uint_eq(f.payload.len, i % 2 == 0 ? 3 : 1);
		/* Every part of it wants more. */
		for (size_t len = 0; len < (size_t)n; len++) {
			struct slice part = { rest.data, len };

			ck_assert_int_eq(
			    frame_decode(part, MAX, PEER_FLUSHER, &f, NULL), 0);
		}
		rest.data += n;
		rest.len -= (size_t)n;
	}
	ck_assert_uint_eq(rest.len, 0);
	buf_fini(&b);
}
END_TEST

START_TEST(names)
{
	ck_assert_str_eq(frame_type_name(FRAME_HELLO), "HELLO");
	ck_assert_str_eq(frame_type_name(FRAME_REPLY), "REPLY");
	ck_assert_str_eq(frame_type_name(0), "?");
	ck_assert_str_eq(frame_type_name(29), "?");
	ck_assert_str_eq(frame_type_name(1000), "?");
	ck_assert(frame_allowed(FRAME_HELLO, PEER_WORKER));
	ck_assert(!frame_allowed(FRAME_HELLO, PEER_CONTROL));
	ck_assert(!frame_allowed(FRAME_KILL, PEER_WORKER));
	ck_assert(!frame_allowed(0, PEER_SUPERVISOR));
	ck_assert(!frame_allowed(1000, PEER_SUPERVISOR));
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ decodes, COUNT(cases) },
		{ round_trip, 0 },
		{ names, 0 },
	};

	return unit_run("frame", tests, COUNT(tests));
}
