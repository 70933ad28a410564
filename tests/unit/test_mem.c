/* Tests of common/mem.h and common/utf8.h. */
#include <signal.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "tests/unit/unit.h"

/* One assertion a byte would take its time. */
static bool
all_are(const uint8_t *p, uint8_t byte, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

START_TEST(arena_gives)
{
	struct arena *a = arena_create(1024);
	uint64_t seed = 1;

	for (int round = 0; round < 3; round++) {
		uint8_t *last = NULL;
		size_t last_size = 0;

		for (int i = 0; i < 1000; i++) {
			size_t size = unit_random(&seed) % 2000;
			uint8_t *p = arena_alloc(a, size);

			ck_assert_uint_eq((uintptr_t)p % 16, 0);
			/* Writing one must not change the other. */
			if (last_size > 0)
				memset(last, 0x55, last_size);
			memset(p, 0xaa, size);
			ck_assert(last_size == 0 ||
				  all_are(last, 0x55, last_size));
			last = p;
			last_size = size;
		}
		arena_reset(a);
	}
	ck_assert_str_eq(arena_strndup(a, "abcdef", 3), "abc");
	ck_assert_str_eq(arena_strndup(a, NULL, 0), "");
	for (int i = 0; i < 100; i++) {
		uint8_t *p = arena_zalloc(a, 100);

		ck_assert(all_are(p, 0, 100));
		memset(p, 0xff, 100);
	}
	arena_destroy(&a);
	ck_assert_ptr_null(a);
	arena_destroy(&a);
}
END_TEST

START_TEST(copies)
{
	char *s = mem_strdup("abc");
	char *n = mem_strndup("abc", 2);
	uint8_t *z = mem_calloc(4, 4);

	ck_assert_str_eq(s, "abc");
	ck_assert_str_eq(n, "ab");
	for (int i = 0; i < 16; i++)
		ck_assert_uint_eq(z[i], 0);
	free(s);
	free(n);
	free(z);
	free(mem_alloc(0));
	free(mem_calloc(0, 8));
	free(mem_realloc(NULL, 0));
}
END_TEST

START_TEST(utf8)
{
	static const struct {
		const char *name;
		const char *text;
		size_t len;
		bool valid;
	} cases[] = {
		{ "empty", "", 0, true },
		{ "NUL", "\0", 1, true },
		{ "ASCII", "hello, world, this is long", 26, true },
		{ "two bytes", "\xc3\xa9", 2, true },
		{ "three bytes", "\xe2\x82\xac", 3, true },
		{ "four bytes", "\xf0\x9f\x98\x80", 4, true },
		{ "the last", "\xf4\x8f\xbf\xbf", 4, true },
		{ "before the surrogates", "\xed\x9f\xbf", 3, true },
		{ "behind the surrogates", "\xee\x80\x80", 3, true },
		{ "mixed", "abcdefgh\xc3\xa9ijklmnop\xe2\x82\xac", 21, true },
		{ "beyond the last", "\xf4\x90\x80\x80", 4, false },
		{ "five bytes", "\xf8\x88\x80\x80\x80", 5, false },
		{ "surrogate", "\xed\xa0\x80", 3, false },
		{ "low surrogate", "\xed\xbf\xbf", 3, false },
		{ "overlong slash", "\xc0\xaf", 2, false },
		{ "overlong C1", "\xc1\xbf", 2, false },
		{ "overlong in three", "\xe0\x9f\xbf", 3, false },
		{ "overlong in four", "\xf0\x8f\xbf\xbf", 4, false },
		{ "continuation alone", "\x80", 1, false },
		{ "cut in two", "\xc3", 1, false },
		{ "cut in three", "\xe2\x82", 2, false },
		{ "cut in four", "\xf0\x9f\x98", 3, false },
		{ "broken after long ASCII", "abcdefghijklmnop\xff", 17,
		  false },
		{ "ASCII instead of the third",
		  "\xe2\x82"
		  "a",
		  3, false },
		{ "FF", "\xff", 1, false },
	};

	CASE(&cases[_i],
	     utf8_valid(cases[_i].text, cases[_i].len) == cases[_i].valid);
	if (_i + 1 == COUNT(cases))
		ck_assert_int_eq(_i, 24); /* see main() */
}
END_TEST

START_TEST(utf8_cuts)
{
	static const char text[] = "ab\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!";
	static const size_t ends[] = {
		0, 1, 2, 2, 4, 4, 4, 7, 7, 7, 7, 11, 12
	};

	for (size_t len = 0; len < sizeof(text); len++) {
		ck_assert_uint_eq(utf8_cut(text, len), ends[len]);
		ck_assert(utf8_valid(text, utf8_cut(text, len)));
	}
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ arena_gives, 0 },
		{ copies, 0 },
		{ utf8, 25 },
		{ utf8_cuts, 0 },
	};

	return unit_run("mem", tests, COUNT(tests));
}
