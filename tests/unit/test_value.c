/* Tests of common/value.h. */
#include <errno.h>
#include <math.h>
#include <msgpack.h>
#include <string.h>

#include "common/json.h"
#include "common/value.h"
#include "tests/unit/unit.h"

/* The msgpack of a JSON text; the caller frees. */
static struct buf
of_json(const char *text)
{
	struct buf b = BUF_EMPTY;
	struct error err = { .line = 0 };

	ck_assert_msg(json_parse(text, strlen(text), DEFINITION_DEPTH_MAX, &b,
				 NULL, &err) == 0,
		      "%s: %s", text, err.message);
	return b;
}

/* ---- checking ---- */

enum { VALUE = 1, FRAME = 2 }; /* who accepts it */

static const struct {
	const char *name;
	struct slice bytes;
	unsigned accepted;
} checks[] = {
#define BYTES(s) SLICE_LITERAL(s)
	{ "nothing", BYTES(""), 0 },
	{ "nil", BYTES("\xc0"), VALUE | FRAME },
	{ "never used", BYTES("\xc1"), 0 },
	{ "false", BYTES("\xc2"), VALUE | FRAME },
	{ "true", BYTES("\xc3"), VALUE | FRAME },
	{ "two values", BYTES("\xc0\xc0"), 0 },
	{ "fixint", BYTES("\x7f"), VALUE | FRAME },
	{ "negative fixint", BYTES("\xe0"), VALUE | FRAME },
	{ "uint8", BYTES("\xcc\x01"), VALUE | FRAME },
	{ "uint8 cut", BYTES("\xcc"), 0 },
	{ "uint16", BYTES("\xcd\x01\x02"), VALUE | FRAME },
	{ "uint16 cut", BYTES("\xcd\x01"), 0 },
	{ "uint32", BYTES("\xce\x01\x02\x03\x04"), VALUE | FRAME },
	{ "uint32 cut", BYTES("\xce\x01\x02\x03"), 0 },
	{ "uint64", BYTES("\xcf\x01\x02\x03\x04\x05\x06\x07\x08"),
	  VALUE | FRAME },
	{ "uint64 cut", BYTES("\xcf\x01\x02\x03\x04\x05\x06\x07"), 0 },
	{ "int8", BYTES("\xd0\x80"), VALUE | FRAME },
	{ "int16", BYTES("\xd1\x80\x01"), VALUE | FRAME },
	{ "int32", BYTES("\xd2\x80\x01\x01\x01"), VALUE | FRAME },
	{ "int64", BYTES("\xd3\x80\x01\x01\x01\x01\x01\x01\x01"),
	  VALUE | FRAME },
	{ "float", BYTES("\xca\x3f\x80\x00\x00"), VALUE | FRAME },
	{ "float cut", BYTES("\xca\x3f\x80\x00"), 0 },
	{ "float NaN", BYTES("\xca\x7f\xc0\x00\x00"), 0 },
	{ "float infinity", BYTES("\xca\x7f\x80\x00\x00"), 0 },
	{ "double", BYTES("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
	  VALUE | FRAME },
	{ "double NaN", BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), 0 },
	{ "double infinity", BYTES("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), 0 },
	{ "double -infinity", BYTES("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"),
	  0 },
	{ "empty string", BYTES("\xa0"), VALUE | FRAME },
	{ "string",
	  BYTES("\xa3"
		"abc"),
	  VALUE | FRAME },
	{ "string with NUL",
	  BYTES("\xa3"
		"a\0c"),
	  VALUE | FRAME },
	{ "string cut",
	  BYTES("\xa3"
		"ab"),
	  0 },
	{ "str8",
	  BYTES("\xd9\x03"
		"abc"),
	  VALUE | FRAME },
	{ "str8 cut",
	  BYTES("\xd9\x03"
		"ab"),
	  0 },
	{ "str16",
	  BYTES("\xda\x00\x03"
		"abc"),
	  VALUE | FRAME },
	{ "str32",
	  BYTES("\xdb\x00\x00\x00\x03"
		"abc"),
	  VALUE | FRAME },
	{ "str32 of 4 GiB",
	  BYTES("\xdb\xff\xff\xff\xff"
		"abc"),
	  0 },
	{ "Latin-1", BYTES("\xa1\xe9"), 0 },
	{ "overlong", BYTES("\xa2\xc0\x80"), 0 },
	{ "surrogate", BYTES("\xa3\xed\xa0\x80"), 0 },
	{ "beyond Unicode", BYTES("\xa4\xf4\x90\x80\x80"), 0 },
	{ "character cut by the length", BYTES("\x92\xa1\xc3\xa1\xa9"), 0 },
	{ "bin8", BYTES("\xc4\x02\xff\xfe"), FRAME },
	{ "bin8 cut", BYTES("\xc4\x02\xff"), 0 },
	{ "bin16", BYTES("\xc5\x00\x01\xff"), FRAME },
	{ "bin32", BYTES("\xc6\x00\x00\x00\x01\xff"), FRAME },
	{ "bin32 of 4 GiB", BYTES("\xc6\xff\xff\xff\xff\xff"), 0 },
	{ "ext8", BYTES("\xc7\x01\x01\x00"), 0 },
	{ "ext16", BYTES("\xc8\x00\x01\x01\x00"), 0 },
	{ "ext32", BYTES("\xc9\x00\x00\x00\x01\x01\x00"), 0 },
	{ "fixext1", BYTES("\xd4\x01\x00"), 0 },
	{ "fixext2", BYTES("\xd5\x01\x00\x00"), 0 },
	{ "fixext4, a date", BYTES("\xd6\xff\x00\x00\x00\x00"), 0 },
	{ "fixext8", BYTES("\xd7\x01\0\0\0\0\0\0\0\0"), 0 },
	{ "fixext16", BYTES("\xd8\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0 },
	{ "empty array", BYTES("\x90"), VALUE | FRAME },
	{ "array", BYTES("\x93\x01\x02\x03"), VALUE | FRAME },
	{ "array cut", BYTES("\x93\x01\x02"), 0 },
	{ "array and more", BYTES("\x91\x01\x02"), 0 },
	{ "array16", BYTES("\xdc\x00\x01\x01"), VALUE | FRAME },
	{ "array16 cut", BYTES("\xdc\x00"), 0 },
	{ "array32", BYTES("\xdd\x00\x00\x00\x01\x01"), VALUE | FRAME },
	{ "array of four milliards", BYTES("\xdd\xff\xff\xff\xff\x01"), 0 },
	{ "array in array", BYTES("\x92\x91\x01\x90"), VALUE | FRAME },
	{ "empty map", BYTES("\x80"), VALUE | FRAME },
	{ "map", BYTES("\x81\xa1k\x01"), VALUE | FRAME },
	{ "map without its value", BYTES("\x81\xa1k"), 0 },
	{ "map with half a pair", BYTES("\x82\xa1k\x01\xa1l"), 0 },
	{ "map16", BYTES("\xde\x00\x01\xa1k\x01"), VALUE | FRAME },
	{ "map32", BYTES("\xdf\x00\x00\x00\x01\xa1k\x01"), VALUE | FRAME },
	{ "map of four milliards", BYTES("\xdf\xff\xff\xff\xff\xa1k\x01"), 0 },
	{ "map of two milliards", BYTES("\xdf\x80\x00\x00\x00\xa1k\x01"), 0 },
	{ "integer as key", BYTES("\x81\x01\x01"), FRAME },
	{ "nil as key", BYTES("\x81\xc0\x01"), FRAME },
	{ "bin as key", BYTES("\x81\xc4\x01\xff\x01"), FRAME },
	{ "array as key", BYTES("\x81\x90\x01"), 0 },
	{ "map as key", BYTES("\x81\x80\x01"), 0 },
	{ "second key no string", BYTES("\x82\xa1k\x01\x02\x03"), FRAME },
	{ "map as value, then a key", BYTES("\x82\xa1k\x81\xa1l\x01\xa1m\x02"),
	  VALUE | FRAME },
	{ "bin deep within", BYTES("\x91\x81\xa1k\x91\xc4\x00"), FRAME },
	{ "duplicate keys", BYTES("\x82\xa1k\x01\xa1k\x02"), VALUE | FRAME },
};

START_TEST(check)
{
	struct slice bytes = checks[_i].bytes;
	struct error err = { .line = 0 };
	/* At the end of its memory, so that a sanitizer sees a step beyond. */
	uint8_t *copy = malloc(bytes.len > 0 ? bytes.len : 1);
	int rc;

	memcpy(copy, bytes.data, bytes.len);
	bytes.data = copy;
	rc = value_check(bytes, VALUE_DEPTH_MAX, &err);
	CASE(&checks[_i], rc == (checks[_i].accepted & VALUE ? 0 : -EPROTO));
	CASE(&checks[_i], (rc == 0) == (err.message[0] == '\0'));
	rc = value_check_frame(bytes, VALUE_DEPTH_MAX, NULL);
	CASE(&checks[_i], rc == (checks[_i].accepted & FRAME ? 0 : -EPROTO));
	free(copy);
}
END_TEST

/* Every byte of a good value changed or cut off: refused or read, no more. */
START_TEST(check_damaged)
{
	struct buf b = of_json("{\"a\":[1,-2,3.5,\"x\xc3\xa9y\",null,true],"
			       "\"b\":{\"c\":[[],{}],\"d\":70000}}");

	for (size_t i = 0; i < b.len; i++) {
		uint8_t kept = b.data[i];

		ck_assert_int_eq(value_check((struct slice){ b.data, i },
					     VALUE_DEPTH_MAX, NULL),
				 -EPROTO);
		for (unsigned byte = 0; byte < 256; byte++) {
			struct buf text = BUF_EMPTY;

			b.data[i] = (uint8_t)byte;
			if (value_check(buf_slice(&b), VALUE_DEPTH_MAX, NULL) ==
			    0)
				json_write(buf_slice(&b), &text);
			buf_fini(&text);
		}
		b.data[i] = kept;
	}
	buf_fini(&b);
}
END_TEST

START_TEST(check_depth)
{
	uint8_t bytes[200];

	for (uint32_t max = 0; max <= DEFINITION_DEPTH_MAX; max++) {
		for (uint32_t depth = 1; depth < 150; depth++) {
			struct slice s = { bytes, depth };

			/* [[[…]]]: the innermost is empty. */
			memset(bytes, 0x91, depth);
			bytes[depth - 1] = 0x90;
			ck_assert_int_eq(value_check(s, max, NULL),
					 depth <= max ? 0 : -EPROTO);
		}
		ck_assert_int_eq(value_check(SLICE_LITERAL("\x01"), max, NULL),
				 0);
	}
}
END_TEST

/* ---- reading ---- */

START_TEST(read_items)
{
	struct buf b = of_json("[null,true,-5,18446744073709551615,0.5,"
			       "\"s\",[1],{\"k\":2},9223372036854775807]");
	struct cursor c = cursor_of(buf_slice(&b));
	struct item item = cursor_next(&c);

	ck_assert_int_eq(item.type, VALUE_ARRAY);
	ck_assert_uint_eq(item.count, 9);
	ck_assert_int_eq(cursor_next(&c).type, VALUE_NULL);
	item = cursor_next(&c);
	ck_assert(item.type == VALUE_BOOL && item.b);
	item = cursor_next(&c);
	ck_assert(item.type == VALUE_INT && item.i == -5);
	item = cursor_next(&c);
	ck_assert(item.type == VALUE_UINT && item.u == UINT64_MAX);
	item = cursor_next(&c);
	ck_assert(item.type == VALUE_DOUBLE && item.d == 0.5);
	item = cursor_next(&c);
	ck_assert(item.type == VALUE_STR && slice_is(item.bytes, "s"));
	ck_assert_uint_eq(cursor_value(&c).len, 2);
	ck_assert_uint_eq(cursor_value(&c).len, 4);
	item = cursor_next(&c);
	ck_assert(item.type == VALUE_INT && item.i == INT64_MAX);
	ck_assert_ptr_eq(c.at, c.end);
	buf_fini(&b);
}
END_TEST

START_TEST(read_frames)
{
	struct slice bytes =
	    SLICE_LITERAL("\x95\x07\xa1s\xc4\x01\xff\x91\x01\x81\x01\x02");
	struct cursor c = cursor_of(bytes);
	struct slice s;
	uint64_t u;
	uint32_t n;

	ck_assert_int_eq(value_check_frame(bytes, 4, NULL), 0);
	ck_assert_int_eq(cursor_map(&c, &n), -EPROTO);
	ck_assert_int_eq(cursor_uint(&c, &u), -EPROTO);
	ck_assert_int_eq(cursor_bytes(&c, &s), -EPROTO);
	ck_assert_int_eq(cursor_array(&c, &n), 0);
	ck_assert_uint_eq(n, 5);
	ck_assert_int_eq(cursor_bytes(&c, &s), -EPROTO);
	ck_assert_int_eq(cursor_uint(&c, &u), 0);
	ck_assert_uint_eq(u, 7);
	ck_assert_int_eq(cursor_bytes(&c, &s), 0);
	ck_assert(slice_is(s, "s"));
	ck_assert_int_eq(cursor_bytes(&c, &s), 0);
	ck_assert(slice_is(s, "\xff"));
	ck_assert_int_eq(cursor_array(&c, &n), 0);
	ck_assert_int_eq(cursor_array(&c, &n), -EPROTO);
	ck_assert_int_eq(cursor_uint(&c, &u), 0);
	ck_assert_int_eq(cursor_map(&c, &n), 0);
	ck_assert_int_eq(cursor_uint(&c, &u), 0);
	ck_assert_int_eq(cursor_uint(&c, &u), 0);
	ck_assert_int_eq(cursor_uint(&c, &u), -EPROTO); /* the end */
	ck_assert_int_eq(cursor_bytes(&c, &s), -EPROTO);
	ck_assert_int_eq(cursor_array(&c, &n), -EPROTO);
	ck_assert_int_eq(cursor_map(&c, &n), -EPROTO);
	c = cursor_of(SLICE_LITERAL("\xff"));
	ck_assert_int_eq(cursor_uint(&c, &u), -EPROTO); /* -1 */
}
END_TEST

START_TEST(get_and_at)
{
	struct buf b = of_json("{\"a\":1,\"b\":{\"a\":9},\"a\":2,\"\":3}");
	struct buf l = of_json("[10,[11],12]");
	struct slice map = buf_slice(&b), list = buf_slice(&l), v;

	ck_assert(value_get(map, slice_of("a"), &v));
	ck_assert_int_eq(value_item(v).i, 2); /* the last one */
	ck_assert(value_get(map, slice_of(""), &v));
	ck_assert_int_eq(value_item(v).i, 3);
	ck_assert(value_get(map, SLICE_NONE, &v));
	ck_assert(!value_get(map, slice_of("c"), &v));
	ck_assert(!value_get(list, slice_of("a"), &v));
	ck_assert_uint_eq(value_count(map), 4);
	ck_assert_uint_eq(value_count(list), 3);
	ck_assert_uint_eq(value_count(v), 0);
	ck_assert(value_at(list, 2, &v));
	ck_assert_int_eq(value_item(v).i, 12);
	ck_assert(!value_at(list, 3, &v));
	ck_assert(!value_at(map, 0, &v));
	ck_assert(value_at(list, 1, &v));
	ck_assert_int_eq(value_type(v), VALUE_ARRAY);
	ck_assert(value_is_str(SLICE_LITERAL("\xa1s"), "s"));
	ck_assert(!value_is_str(SLICE_LITERAL("\xa1s"), "t"));
	ck_assert(!value_is_str(SLICE_LITERAL("\x01"), "s"));
	buf_fini(&b);
	buf_fini(&l);
}
END_TEST

/* ---- comparing ---- */

static const struct {
	const char *name;
	const char *a, *b;
	bool equal;
} equals[] = {
	{ "nulls", "null", "null", true },
	{ "null and false", "null", "false", false },
	{ "true and false", "true", "false", false },
	{ "true and 1", "true", "1", false },
	{ "1 and 1.0", "1", "1.0", true },
	{ "0 and -0.0", "0", "-0", true },
	{ "0.0 and -0.0", "0.0", "-0.0", true },
	{ "-1 and -1.0", "-1", "-1.0", true },
	{ "1 and 1.5", "1", "1.5", false },
	{ "1 and \"1\"", "1", "\"1\"", false },
	{ "1 and 2", "1", "2", false },
	{ "2^53 and 2^53", "9007199254740992", "9007199254740992.0", true },
	{ "2^53+1 and 2^53", "9007199254740993", "9007199254740992.0", false },
	{ "2^63-1 and 2^63", "9223372036854775807", "9223372036854775808.0",
	  false },
	{ "2^63 and 2^63", "9223372036854775808", "9223372036854775808.0",
	  true },
	{ "-2^63 and -2^63", "-9223372036854775808", "-9223372036854775808.0",
	  true },
	{ "2^64-1 and 2^64", "18446744073709551615", "18446744073709551616.0",
	  false },
	{ "2^64-1 and 1e300", "18446744073709551615", "1e300", false },
	{ "-1 and 2^64-1", "-1", "18446744073709551615", false },
	{ "strings", "\"ab\"", "\"ab\"", true },
	{ "strings of other length", "\"ab\"", "\"abc\"", false },
	{ "case", "\"ab\"", "\"AB\"", false },
	{ "arrays", "[1,2.0]", "[1.0,2]", true },
	{ "order of arrays", "[1,2]", "[2,1]", false },
	{ "longer array", "[1]", "[1,1]", false },
	{ "order of maps", "{\"a\":1,\"b\":2}", "{\"b\":2.0,\"a\":1}", true },
	{ "other key", "{\"a\":1}", "{\"b\":1}", false },
	{ "one more key", "{\"a\":1}", "{\"a\":1,\"b\":1}", false },
	{ "null is not absent", "{\"a\":null}", "{}", false },
	{ "duplicates: the last", "{\"a\":1,\"a\":2}", "{\"a\":2}", true },
	{ "duplicates: not the first", "{\"a\":1,\"a\":2}", "{\"a\":1}",
	  false },
	{ "duplicates, same count", "{\"a\":1,\"a\":2}", "{\"a\":2,\"b\":1}",
	  false },
	{ "nested", "[{\"a\":[{\"c\":1,\"b\":2}]}]",
	  "[{\"a\":[{\"b\":2,\"c\":1.0}]}]", true },
	{ "empty map and array", "{}", "[]", false },
};

START_TEST(equal)
{
	struct buf a = of_json(equals[_i].a), b = of_json(equals[_i].b);

	CASE(&equals[_i],
	     value_equal(buf_slice(&a), buf_slice(&b)) == equals[_i].equal);
	CASE(&equals[_i],
	     value_equal(buf_slice(&b), buf_slice(&a)) == equals[_i].equal);
	CASE(&equals[_i], value_equal(buf_slice(&a), buf_slice(&a)));
	buf_fini(&a);
	buf_fini(&b);
}
END_TEST

START_TEST(equal_encodings)
{
	ck_assert(value_equal(SLICE_LITERAL("\x01"),
			      SLICE_LITERAL("\xd3\0\0\0\0\0\0\0\x01")));
	ck_assert(value_equal(SLICE_LITERAL("\xcf\0\0\0\0\0\0\0\x01"),
			      SLICE_LITERAL("\xca\x3f\x80\x00\x00")));
	ck_assert(value_equal(SLICE_LITERAL("\xa1k"),
			      SLICE_LITERAL("\xdb\0\0\0\x01k")));
	ck_assert(value_equal(SLICE_LITERAL("\xdf\0\0\0\x01\xa1k\x01"),
			      SLICE_LITERAL("\x81\xd9\x01k\xcc\x01")));
}
END_TEST

/* Maps that a comparison by squares, or by duplicates, never ends with. */
START_TEST(equal_large)
{
	struct buf a = BUF_EMPTY, b = BUF_EMPTY;
	char key[16];

	value_pack_map(&a, 200000);
	value_pack_map(&b, 200000);
	for (int i = 0; i < 200000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		value_pack_text(&a, key);
		value_pack_int(&a, i);
		snprintf(key, sizeof(key), "%d", 199999 - i);
		value_pack_text(&b, key);
		value_pack_int(&b, 199999 - i);
	}
	ck_assert(value_equal(buf_slice(&a), buf_slice(&b)));
	b.data[b.len - 1] = 1;
	ck_assert(!value_equal(buf_slice(&a), buf_slice(&b)));
	a.len = 0;
	b.len = 0;
	for (int i = 0; i < VALUE_DEPTH_MAX; i++) {
		struct buf *both[] = { &a, &b };

		for (int n = 0; n < 2; n++) {
			value_pack_map(both[n], 3);
			value_pack_text(both[n], "k");
			value_pack_int(both[n], n);
			value_pack_text(both[n], "k");
			value_pack_int(both[n], n);
			value_pack_text(both[n], "k");
		}
	}
	value_pack_int(&a, 1);
	value_pack_double(&b, 1.0);
	ck_assert(value_equal(buf_slice(&a), buf_slice(&b)));
	buf_fini(&a);
	buf_fini(&b);
}
END_TEST

/* ---- writing: what we pack, msgpack-c unpacks to the same ---- */

static void
pack_random(struct buf *b, uint64_t *seed, int depth)
{
	uint64_t r = unit_random(seed);
	unsigned what = (unsigned)(r >> 32) % (depth > 0 ? 9 : 7);
	uint32_t count = (uint32_t)(r % 40);
	double d;

	switch (what) {
	case 0:
		value_pack_null(b);
		return;
	case 1:
		value_pack_bool(b, r & 1);
		return;
	case 2:
		value_pack_int(b, (int64_t)unit_random(seed) >>
				      (unit_random(seed) % 64));
		return;
	case 3:
		value_pack_uint(b,
				unit_random(seed) >> (unit_random(seed) % 64));
		return;
	case 4:
		r = unit_random(seed);
		memcpy(&d, &r, sizeof(d));
		value_pack_double(b, isfinite(d) ? d : 0.25);
		return;
	case 5:
	case 6: {
		char *text = malloc(70000);
		size_t len = unit_random(seed) % 300;

		if (r % 50 == 0)
			len = 65530 + r % 10;
		memset(text, 'a', 70000);
		value_pack_str(b, text, len);
		free(text);
		return;
	}
	case 7:
		value_pack_array(b, count);
		for (uint32_t i = 0; i < count; i++)
			pack_random(b, seed, depth - 1);
		return;
	default:
		value_pack_map(b, count);
		for (uint32_t i = 0; i < count; i++) {
			char key[16];

			snprintf(key, sizeof(key), "k%u", i);
			value_pack_text(b, key);
			pack_random(b, seed, depth - 1);
		}
		return;
	}
}

static void
compare(struct cursor *c, const msgpack_object *o)
{
	struct item item = cursor_next(c);

	switch (item.type) {
	case VALUE_NULL:
		ck_assert(o->type == MSGPACK_OBJECT_NIL);
		return;
	case VALUE_BOOL:
		ck_assert(o->type == MSGPACK_OBJECT_BOOLEAN);
		ck_assert(o->via.boolean == item.b);
		return;
	case VALUE_INT:
		ck_assert(o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
			  o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER);
		ck_assert(o->via.i64 == item.i);
		return;
	case VALUE_UINT:
		ck_assert(o->type == MSGPACK_OBJECT_POSITIVE_INTEGER);
		ck_assert(o->via.u64 == item.u);
		return;
	case VALUE_DOUBLE:
		ck_assert(o->type == MSGPACK_OBJECT_FLOAT64);
		ck_assert(o->via.f64 == item.d);
		return;
	case VALUE_STR:
		ck_assert(o->type == MSGPACK_OBJECT_STR);
		ck_assert_uint_eq(o->via.str.size, item.bytes.len);
		ck_assert(memcmp(o->via.str.ptr, item.bytes.data,
				 item.bytes.len) == 0);
		return;
	case VALUE_BIN:
		ck_assert(o->type == MSGPACK_OBJECT_BIN);
		ck_assert_uint_eq(o->via.bin.size, item.bytes.len);
		return;
	case VALUE_ARRAY:
		ck_assert(o->type == MSGPACK_OBJECT_ARRAY);
		ck_assert_uint_eq(o->via.array.size, item.count);
		for (uint32_t i = 0; i < item.count; i++)
			compare(c, &o->via.array.ptr[i]);
		return;
	case VALUE_MAP:
		ck_assert(o->type == MSGPACK_OBJECT_MAP);
		ck_assert_uint_eq(o->via.map.size, item.count);
		for (uint32_t i = 0; i < item.count; i++) {
			compare(c, &o->via.map.ptr[i].key);
			compare(c, &o->via.map.ptr[i].val);
		}
		return;
	}
}

START_TEST(packs_like_msgpack_c)
{
	uint64_t seed = 4711;

	for (int i = 0; i < 200; i++) {
		struct buf b = BUF_EMPTY;
		msgpack_unpacked result;
		struct cursor c;
		size_t offset = 0;

		pack_random(&b, &seed, 3);
		ck_assert_int_eq(
		    value_check(buf_slice(&b), VALUE_DEPTH_MAX, NULL), 0);
		msgpack_unpacked_init(&result);
		ck_assert_int_eq(msgpack_unpack_next(&result,
						     (const char *)b.data,
						     b.len, &offset),
				 MSGPACK_UNPACK_SUCCESS);
		ck_assert_uint_eq(offset, b.len);
		c = cursor_of(buf_slice(&b));
		compare(&c, &result.data);
		ck_assert_ptr_eq(c.at, c.end);
		msgpack_unpacked_destroy(&result);
		buf_fini(&b);
	}
}
END_TEST

START_TEST(packs_smallest)
{
	static const struct {
		const char *name;
		int64_t i;
		size_t len;
	} cases[] = {
		{ "0", 0, 1 },
		{ "127", 127, 1 },
		{ "128", 128, 2 },
		{ "255", 255, 2 },
		{ "256", 256, 3 },
		{ "65535", 65535, 3 },
		{ "65536", 65536, 5 },
		{ "2^32-1", 4294967295, 5 },
		{ "2^32", 4294967296, 9 },
		{ "-1", -1, 1 },
		{ "-32", -32, 1 },
		{ "-33", -33, 2 },
		{ "-128", -128, 2 },
		{ "-129", -129, 3 },
		{ "-32768", -32768, 3 },
		{ "-32769", -32769, 5 },
		{ "-2^31", -2147483648LL, 5 },
		{ "-2^31-1", -2147483649LL, 9 },
		{ "the least", INT64_MIN, 9 },
		{ "the greatest", INT64_MAX, 9 },
	};
	struct buf b = BUF_EMPTY;

	for (int i = 0; i < COUNT(cases); i++) {
		b.len = 0;
		value_pack_int(&b, cases[i].i);
		CASE(&cases[i], b.len == cases[i].len);
		CASE(&cases[i], value_item(buf_slice(&b)).i == cases[i].i);
	}
	buf_fini(&b);
}
END_TEST

/* ---- sharing ---- */

START_TEST(shares)
{
	struct buf b = of_json("{\"a\":[1,[2,3]]}");
	struct value *whole = value_create(buf_slice(&b));
	struct value *list, *inner, *again, *null = value_null();
	struct slice s;

	buf_fini(&b);
	ck_assert(value_get(whole->s, slice_of("a"), &s));
	list = value_part(whole, s);
	ck_assert(value_at(list->s, 1, &s));
	inner = value_part(list, s);
	again = value_part(whole, whole->s);
	ck_assert_ptr_eq(again, whole);
	value_unref(&again);
	value_unref(&list);
	ck_assert_ptr_null(list);
	value_unref(&whole);
	ck_assert_uint_eq(value_count(inner->s), 2); /* still there */
	again = value_ref(inner);
	value_unref(&inner);
	ck_assert_uint_eq(value_count(again->s), 2);
	value_unref(&again);
	value_unref(&again);
	ck_assert_int_eq(value_type(null->s), VALUE_NULL);
	value_unref(&null);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ check, COUNT(checks) }, { check_damaged, 0 },
		{ check_depth, 0 },       { read_items, 0 },
		{ read_frames, 0 },       { get_and_at, 0 },
		{ equal, COUNT(equals) }, { equal_encodings, 0 },
		{ equal_large, 0 },       { packs_like_msgpack_c, 0 },
		{ packs_smallest, 0 },    { shares, 0 },
	};

	return unit_run("value", tests, COUNT(tests));
}
