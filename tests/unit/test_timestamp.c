/* Tests of engine/timestamp.h. */
#include "engine/timestamp.h"

#include "tests/unit/engine_values.h"

static const struct {
	const char *name;
	const char *text;
	int64_t us; /* -1: no timestamp */
} cases[] = {
	{ "the beginning", "1970-01-01T00:00:00Z", 0 },
	{ "of the specification", "2016-03-14T01:59:00Z",
	  1457920740000000 },
	{ "with milliseconds", "2026-01-14T12:00:00.123Z", 1768392000123000 },
	{ "with microseconds", "1970-01-01T00:00:00.000001Z", 1 },
	{ "with nanoseconds, cut", "1970-01-01T00:00:00.123456789Z", 123456 },
	{ "one digit of the second", "1970-01-01T00:00:00.5Z", 500000 },
	{ "east of Greenwich", "2016-03-14T02:59:00+01:00",
	  1457920740000000 },
	{ "west of Greenwich", "2016-03-13T20:29:00-05:30",
	  1457920740000000 },
	{ "unknown offset", "1970-01-01T00:00:00-00:00", 0 },
	{ "leap day", "2024-02-29T00:00:00Z", 1709164800000000 },
	{ "leap day of a century", "2000-02-29T00:00:00Z",
	  951782400000000 },
	{ "leap second", "2016-12-31T23:59:60Z", 1483228800000000 },
	{ "leap second elsewhere", "2017-01-01T00:59:60+01:00",
	  1483228800000000 },
	{ "no leap day", "2023-02-29T00:00:00Z", -1 },
	{ "no leap day of a century", "1900-02-29T00:00:00Z", -1 },
	{ "no leap second", "2016-12-31T12:59:60Z", -1 },
	{ "month 13", "2016-13-01T00:00:00Z", -1 },
	{ "month 0", "2016-00-01T00:00:00Z", -1 },
	{ "day 0", "2016-01-00T00:00:00Z", -1 },
	{ "day 31 of April", "2016-04-31T00:00:00Z", -1 },
	{ "hour 24", "2016-01-01T24:00:00Z", -1 },
	{ "minute 60", "2016-01-01T00:60:00Z", -1 },
	{ "second 61", "2016-01-01T00:00:61Z", -1 },
	{ "lower case t", "2016-03-14t01:59:00Z", -1 },
	{ "lower case z", "2016-03-14T01:59:00z", -1 },
	{ "blank instead of T", "2016-03-14 01:59:00Z", -1 },
	{ "no offset", "2016-03-14T01:59:00", -1 },
	{ "offset without colon", "2016-03-14T01:59:00+0100", -1 },
	{ "offset of 24 hours", "2016-03-14T01:59:00+24:00", -1 },
	{ "no digits behind the dot", "2016-03-14T01:59:00.Z", -1 },
	{ "no seconds", "2016-03-14T01:59Z", -1 },
	{ "something behind", "2016-03-14T01:59:00Zx", -1 },
	{ "only a date", "2016-03-14", -1 },
	{ "a short year", "16-03-14T01:59:00Z", -1 },
	{ "empty", "", -1 },
};

START_TEST(parses)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t us = -2;
		int rc = timestamp_parse(slice_of(cases[i].text), &us);

		if (cases[i].us < 0)
			ck_assert_msg(rc < 0, "%s: %lld", cases[i].name,
			              (long long)us);
		else
			ck_assert_msg(rc == 0 && us == cases[i].us,
			              "%s: %d %lld", cases[i].name, rc,
			              (long long)us);
	}
}
END_TEST

static const struct {
	int64_t us;
	const char *text;
} texts[] = {
	{ 0, "1970-01-01T00:00:00.000Z" },
	{ 1768392000123999, "2026-01-14T12:00:00.123Z" },
	{ -1, "1969-12-31T23:59:59.999Z" },
	{ -62135596800000000, "0001-01-01T00:00:00.000Z" },
	{ 253402300799999999, "9999-12-31T23:59:59.999Z" },
	{ 1709164800000000, "2024-02-29T00:00:00.000Z" },
	{ INT64_MAX, "294247-01-10T04:00:54.775Z" },
	{ INT64_MIN, "-290308-12-21T19:59:05.224Z" },
};

START_TEST(writes)
{
	char text[TIMESTAMP_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		timestamp_text(texts[i].us, text);
		ck_assert_str_eq(text, texts[i].text);
	}
}
END_TEST

/* Every day of 400 years and a bit comes back. */
START_TEST(comes_back)
{
	char text[TIMESTAMP_TEXT_SIZE];

	for (int64_t day = -150000; day < 150000; day += 7) {
		int64_t us = (day * 86400 + day % 86400) * 1000000, back;

		timestamp_text(us, text);
		ck_assert_int_eq(timestamp_parse(slice_of(text), &back), 0);
		ck_assert_int_eq(us, back);
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { parses, writes, comes_back };

	return run_case("timestamp", tests, 3);
}
