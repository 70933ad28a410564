/* Tests of common/buf.h. */
#include <string.h>

#include "common/buf.h"
#include "tests/unit/unit.h"

START_TEST(slices)
{
	static const struct {
		const char *name;
		struct slice slice;
		const char *text;
		int equal;
	} cases[] = {
		{ "equal", SLICE_LITERAL("abc"), "abc", 1 },
		{ "shorter", SLICE_LITERAL("ab"), "abc", 0 },
		{ "longer", SLICE_LITERAL("abcd"), "abc", 0 },
		{ "other", SLICE_LITERAL("abd"), "abc", 0 },
		{ "none is empty", { NULL, 0 }, "", 1 },
		{ "none is not a", { NULL, 0 }, "a", 0 },
	};

	for (int i = 0; i < COUNT(cases); i++)
		CASE(&cases[i],
		     slice_is(cases[i].slice, cases[i].text) == cases[i].equal);
	ck_assert_uint_eq(slice_of("abc").len, 3);
}
END_TEST

START_TEST(grows)
{
	struct buf b = BUF_EMPTY;

	for (int i = 0; i < 100000; i++)
		buf_add_byte(&b, (uint8_t)i);
	ck_assert_uint_eq(b.len, 100000);
	for (size_t i = 0; i < b.len; i++)
		ck_assert_uint_eq(b.data[i], (uint8_t)i);
	buf_fini(&b);
	ck_assert_ptr_null(b.data);
	buf_add_text(&b, "again");
	ck_assert(slice_is(buf_slice(&b), "again"));
	buf_fini(&b);
}
END_TEST

START_TEST(adds)
{
	struct buf b = BUF_EMPTY;

	buf_add(&b, NULL, 0);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_str_eq(buf_text(&b), "");
	buf_add(&b, "a\0b", 3);
	ck_assert_uint_eq(b.len, 3);
	buf_printf(&b, "%d-%s", 42, "x");
	ck_assert_int_eq(memcmp(buf_text(&b), "a\0b42-x", 8), 0);
	buf_fini(&b);
}
END_TEST

START_TEST(prints_long)
{
	char text[1000];
	struct buf b = BUF_EMPTY;

	/* Around the room that printing reserves. */
	for (size_t len = 0; len < sizeof(text); len++) {
		memset(text, 'x', len);
		text[len] = '\0';
		b.len = 0;
		buf_printf(&b, "<%s>", text);
		ck_assert_uint_eq(b.len, len + 2);
		ck_assert_int_eq(buf_text(&b)[len + 1], '>');
		if (len % 100 == 0)
			buf_fini(&b);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(drops)
{
	struct buf b = BUF_EMPTY;

	buf_add_text(&b, "abcdef");
	buf_drop(&b, 0);
	buf_drop(&b, 2);
	ck_assert_str_eq(buf_text(&b), "cdef");
	buf_drop(&b, 4);
	ck_assert_uint_eq(b.len, 0);
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ slices, 0 },      { grows, 0 }, { adds, 0 },
		{ prints_long, 0 }, { drops, 0 },
	};

	return unit_run("buf", tests, COUNT(tests));
}
