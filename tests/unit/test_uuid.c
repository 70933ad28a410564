/* Tests of common/uuid.h. */
#include <errno.h>

#include "common/uuid.h"
#include "tests/unit/unit.h"

static const struct {
	const char *name;
	const char *text;
	int rc;
	const char *written; /* when accepted */
} cases[] = {
	{ "lower", "0190f3a0-1234-7abc-8def-0123456789ab", 0,
	  "0190f3a0-1234-7abc-8def-0123456789ab" },
	{ "upper", "0190F3A0-1234-7ABC-8DEF-0123456789AB", 0,
	  "0190f3a0-1234-7abc-8def-0123456789ab" },
	{ "nil", "00000000-0000-0000-0000-000000000000", 0,
	  "00000000-0000-0000-0000-000000000000" },
	{ "empty", "", -EINVAL, NULL },
	{ "cut", "0190f3a0-1234-7abc-8def-0123456789a", -EINVAL, NULL },
	{ "cut within a byte", "0190f3a0-1", -EINVAL, NULL },
	{ "too long", "0190f3a0-1234-7abc-8def-0123456789ab0", -EINVAL, NULL },
	{ "without dashes", "0190f3a012347abc8def0123456789ab", -EINVAL, NULL },
	{ "dash at the wrong place", "0190f3a01-234-7abc-8def-0123456789ab",
	  -EINVAL, NULL },
	{ "no digit", "0190f3g0-1234-7abc-8def-0123456789ab", -EINVAL, NULL },
	{ "in braces", "{0190f3a0-1234-7abc-8def-0123456789ab}", -EINVAL,
	  NULL },
	{ "blank before", " 0190f3a0-1234-7abc-8def-0123456789ab", -EINVAL,
	  NULL },
};

START_TEST(parses)
{
	struct uuid u = { { 9 } };
	char text[UUID_TEXT_SIZE];

	CASE(&cases[_i], uuid_parse(cases[_i].text, &u) == cases[_i].rc);
	if (cases[_i].rc == 0) {
		uuid_text(&u, text);
		ck_assert_str_eq(text, cases[_i].written);
	} else {
		CASE(&cases[_i], u.bytes[0] == 9); /* left alone */
	}
}
END_TEST

START_TEST(random_ones)
{
	struct uuid a, b, c;
	char text[UUID_TEXT_SIZE];

	for (int i = 0; i < 1000; i++) {
		uuid_random(&a);
		uuid_random(&b);
		ck_assert(!uuid_equal(&a, &b));
		ck_assert_uint_eq(a.bytes[6] >> 4, 4);
		ck_assert_uint_eq(a.bytes[8] >> 6, 2);
		uuid_text(&a, text);
		ck_assert_int_eq(uuid_parse(text, &c), 0);
		ck_assert(uuid_equal(&a, &c));
		ck_assert(uuid_hash(&a) == uuid_hash(&c));
	}
}
END_TEST

/* Ids that were made in the same millisecond spread over a table. */
START_TEST(hash_spreads)
{
	static uint32_t slots[1024];
	uint32_t most = 0;

	for (int i = 0; i < 16384; i++) {
		struct uuid u;
		uint32_t slot;

		uuid_random(&u);
		memcpy(u.bytes, "\x01\x90\xf3\xa0\x12\x34\x70\x00", 8);
		slot = uuid_hash(&u) % 1024;
		slots[slot]++;
		if (slots[slot] > most)
			most = slots[slot];
	}
	ck_assert_uint_lt(most, 64); /* 16 on average */
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ parses, COUNT(cases) },
		{ random_ones, 0 },
		{ hash_spreads, 0 },
	};

	return unit_run("uuid", tests, COUNT(tests));
}
