/* Tests of worker/builder.h: a value piece by piece, and every way to do it
 * wrong. */
#include "worker/builder.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

#define BYTES_MAX 100U

/*
 * A script of pieces, a character each: n null, t true, f false, i -5, u the
 * greatest integer, d 1.5, D a NaN, s "s", S text that is no UTF-8, [ an open
 * array, { an open map, ] an end, 0 1 2 arrays of so many, a b c maps of so
 * many, r msgpack [1], R msgpack that is cut, j JSON {"j":[]}, J JSON that is
 * none, L 99 bytes of text.
 */
static void
piece(struct builder *b, char c)
{
	static const char long_text[99];
	struct slice good = SLICE_LITERAL("\x91\x01");
	struct slice cut = SLICE_LITERAL("\x91");

	switch (c) {
	case 'n': builder_null(b); break;
	case 't': builder_bool(b, true); break;
	case 'f': builder_bool(b, false); break;
	case 'i': builder_int(b, -5); break;
	case 'u': builder_uint(b, UINT64_MAX); break;
	case 'd': builder_double(b, 1.5); break;
	case 'D': builder_double(b, (double)NAN); break;
	case 's': builder_text(b, "s", 1); break;
	case 'S': builder_text(b, "\xff", 1); break;
	case '[': builder_array(b, BUILDER_OPEN); break;
	case '{': builder_map(b, BUILDER_OPEN); break;
	case ']': builder_end(b); break;
	case '0': case '1': case '2':
		builder_array(b, (uint32_t)(c - '0'));
		break;
	case 'a': case 'b': case 'c':
		builder_map(b, (uint32_t)(c - 'a'));
		break;
	case 'r': builder_raw(b, good); break;
	case 'R': builder_raw(b, cut); break;
	case 'j': builder_json(b, "{\"j\":[]}", 8); break;
	case 'J': builder_json(b, "{\"j\"", 4); break;
	case 'L': builder_text(b, long_text, sizeof(long_text)); break;
	default: ck_abort_msg("no piece %c", c);
	}
}

static const struct {
	const char *name;
	const char *script;
	const char *json;  /* or NULL: refused */
	const char *error; /* what its message holds */
} cases[] = {
	{ "nothing", "", "null", NULL },
	{ "null", "n", "null", NULL },
	{ "booleans", "2tf", "[true,false]", NULL },
	{ "numbers", "[iud]", "[-5,18446744073709551615,1.5]", NULL },
	{ "empty ones", "[0a[]{]]", "[[],{},[],{}]", NULL },
	{ "an empty one alone", "0", "[]", NULL },
	{ "maps", "csns2tf", "{\"s\":null,\"s\":[true,false]}", NULL },
	{ "a map in a map", "cs1nsbsi", "{\"s\":[null],\"s\":{\"s\":-5}}",
	  NULL },
	{ "one that closes all", "111n", "[[[null]]]", NULL },
	{ "open and counted", "[1{s1n]2nn]", "[[{\"s\":[null]}],[null,null]]",
	  NULL },
	{ "msgpack", "[rr]", "[[1],[1]]", NULL },
	{ "JSON", "bsj", "{\"s\":{\"j\":[]}}", NULL },
	{ "not finite", "[nD]", NULL, "$[1]: a number that is not finite" },
	{ "no UTF-8", "S", NULL, "$: text that is not UTF-8" },
	{ "a key that is none", "bS", NULL, "$: text that is not UTF-8" },
	{ "a second value", "nn", NULL, "$: there is a second value" },
	{ "a second one after an array", "1nn", NULL, "second value" },
	{ "no text as a key", "bi", NULL, "$: a key must be text" },
	{ "an array as a key", "b0", NULL, "$: a key must be text" },
	{ "JSON as a key", "bj", NULL, "$: a key must be text" },
	{ "too few", "2n", NULL, "$[1]: an array of 2 has only 1" },
	{ "no end", "[[n]", NULL, "$[1]: an array has no end" },
	{ "an end too many", "[]]", NULL, "an end where nothing is open" },
	{ "an end of a counted one", "2n]", NULL,
	  "an end in an array that was begun with its count, of which 1 of 2" },
	{ "an end behind a key", "{s]", NULL,
	  "$.s: an end where the key's value belongs" },
	{ "cut msgpack", "[R]", NULL, "$[0]: count beyond the end of data" },
	{ "no JSON", "[nJ]", NULL, "$[1]: JSON, line 1: " },
	{ "too large", "[L]", NULL,
	  "$[0]: it has more than 100 bytes (value_bytes_max)" },
	{ "too large by its header", "L", NULL, "more than 100 bytes" },
	{ "too large in its turn", "[rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr]",
	  NULL, "$[47]: it has more than 100 bytes" },
	{ "the first mistake counts", "[nDS", NULL, "not finite" },
};

START_TEST(builds)
{
	struct buf out = BUF_EMPTY, json = BUF_EMPTY;
	struct builder b;
	struct slice value;
	int rc;

	builder_init(&b, &out, BYTES_MAX);
	for (const char *c = cases[_i].script; *c != '\0'; c++)
		piece(&b, *c);
	rc = builder_finish(&b, &value);
	CASE(&cases[_i], (rc == 0) == (cases[_i].json != NULL));
	if (rc < 0) {
		CASE(&cases[_i], rc == -EINVAL);
		ck_assert_msg(strstr(b.err.message, cases[_i].error) != NULL,
		              "%s: %s", cases[_i].name, b.err.message);
	} else {
		CASE(&cases[_i],
		     value_check(value, VALUE_DEPTH_MAX, NULL) == 0);
		json_write(value, &json);
		CASE(&cases[_i], slice_is(buf_slice(&json), cases[_i].json));
	}
	buf_fini(&out);
	buf_fini(&json);
}
END_TEST

/* Up to the depth that a value may have, in whichever way. */
START_TEST(is_as_deep_as_a_value)
{
	static const char *const ways = "1[r";
	struct buf out = BUF_EMPTY;
	struct builder b;
	struct slice value;

	for (uint32_t depth = 31; depth <= 33; depth++) {
		out.len = 0;
		builder_init(&b, &out, 1000);
		for (uint32_t i = 0; i + 1 < depth; i++)
			piece(&b, '1');
		piece(&b, ways[_i]);
		if (ways[_i] == '1')
			piece(&b, 'n');
		else if (ways[_i] == '[')
			piece(&b, ']');
		ck_assert_msg((builder_finish(&b, &value) == 0) ==
		                  (depth <= VALUE_DEPTH_MAX),
		              "depth %u", depth);
	}
	buf_fini(&out);
}
END_TEST

/* Whatever is put in whatever order, what comes out is a value. */
START_TEST(never_makes_what_is_none)
{
	static const char pieces[] = "ntfiudss[[{{]]]]012abcrj";
	uint64_t seed = 4711;
	struct buf out = BUF_EMPTY;
	uint32_t good = 0;

	for (int round = 0; round < 100000; round++) {
		int count = (int)(unit_random(&seed) % 12);
		struct builder b;
		struct slice value;

		out.len = 0;
		builder_init(&b, &out, BYTES_MAX);
		for (int i = 0; i < count; i++)
			piece(&b, pieces[unit_random(&seed) %
			                 (sizeof(pieces) - 1)]);
		if (builder_finish(&b, &value) < 0)
			continue;
		good++;
		ck_assert(value.len <= BYTES_MAX);
		ck_assert(value_check(value, VALUE_DEPTH_MAX, NULL) == 0);
	}
	ck_assert_uint_gt(good, 5000);
	buf_fini(&out);
}
END_TEST

START_TEST(borrows_what_is_checked)
{
	static const uint8_t input[] = { 0x92, 1, 2 };
	struct slice whole = { input, sizeof(input) }, value;
	struct buf out = BUF_EMPTY;
	struct builder b;

	builder_init(&b, &out, BYTES_MAX);
	builder_value(&b, whole);
	ck_assert_int_eq(builder_finish(&b, &value), 0);
	ck_assert_ptr_eq(value.data, input);
	builder_init(&b, &out, 2);
	builder_value(&b, whole);
	ck_assert_int_eq(builder_finish(&b, &value), -EINVAL);
	builder_init(&b, &out, BYTES_MAX);
	builder_value(&b, whole);
	builder_null(&b);
	ck_assert_int_eq(builder_finish(&b, &value), -EINVAL);
	buf_fini(&out);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ builds, COUNT(cases) },
		{ is_as_deep_as_a_value, 3 },
		{ never_makes_what_is_none, 0 },
		{ borrows_what_is_checked, 0 },
	};

	return unit_run("builder", tests, COUNT(tests));
}
