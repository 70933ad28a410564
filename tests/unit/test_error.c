/* Tests of common/error.h. */
#include <string.h>

#include "common/error.h"
#include "tests/unit/unit.h"

static const struct {
	const char *name;
	struct error err;
	const char *text;
} cases[] = {
	{ "message alone", { .message = "bad" }, "bad" },
	{ "with a line", { .line = 3, .message = "bad" }, "line 3: bad" },
	{ "with all",
	  { .state = "A", .field = "Next", .line = 3, .message = "bad" },
	  "state \"A\", field \"Next\", line 3: bad" },
	{ "with a field",
	  { .field = "Next", .message = "bad" },
	  "field \"Next\": bad" },
	{ "with a state and a line",
	  { .state = "A", .line = 12, .message = "bad" },
	  "state \"A\", line 12: bad" },
};

START_TEST(texts)
{
	char text[600];

	error_text(&cases[_i].err, text, sizeof(text));
	ck_assert_str_eq(text, cases[_i].text);
	for (uint32_t size = 1; size < strlen(cases[_i].text); size++) {
		error_text(&cases[_i].err, text, size);
		ck_assert_uint_eq(strlen(text), size - 1);
	}
}
END_TEST

START_TEST(sets)
{
	struct error err = { .line = 7 };
	char text[1001];

	error_set(NULL, "nobody %d", 1);
	error_clear(NULL);
	error_set(&err, "%s is %d", "this", 5);
	ck_assert_str_eq(err.message, "this is 5");
	ck_assert_uint_eq(err.line, 7);
	memset(text, 'x', 1000);
	text[1000] = '\0';
	memcpy(text + 398, "\xc3\xa9", 2); /* the cut would split it */
	error_set(&err, "%s", text);
	ck_assert_uint_eq(strlen(err.message), 398);
	error_clear(&err);
	ck_assert_str_eq(err.message, "");
	ck_assert_uint_eq(err.line, 0);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ texts, COUNT(cases) },
		{ sets, 0 },
	};

	return unit_run("error", tests, COUNT(tests));
}
