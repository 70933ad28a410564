/*
 * Tests of engine/place.h: what messages quote is cut between characters,
 * since they become causes, and causes are stored as UTF-8.
 */
#include "engine/place.h"

#include <stdio.h>

#include "engine/definition.h"
#include "engine/intrinsic.h"
#include "engine/path.h"
#include "tests/unit/engine_values.h"
#include "tests/unit/unit.h"

START_TEST(cuts_between_characters)
{
	static const struct {
		const char *name;
		const char *text;
		size_t max;
		int want;
	} cases[] = {
		{ "shorter", "abc", 4, 3 },
		{ "as long", "abc", 3, 3 },
		{ "nothing", "", 3, 0 },
		{ "one byte each", "abcd", 3, 3 },
		{ "after a character", "a\xc3\xa4x", 3, 3 },
		{ "inside of two bytes", "a\xc3\xa4x", 2, 1 },
		{ "inside of four bytes", "\xf0\x9f\x98\x80x", 3, 0 },
	};

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++)
		ck_assert_msg(place_len(slice_of(cases[n].text),
		                        cases[n].max) == cases[n].want,
		              "%s", cases[n].name);
}
END_TEST

/* shift letters, and then two-byte characters for longer than any limit. */
static struct slice
long_text(struct buf *b, const char *before, int shift, const char *behind)
{
	b->len = 0;
	buf_add_text(b, before);
	for (int n = 0; n < shift; n++)
		buf_add_byte(b, 'x');
	for (int n = 0; n < 300; n++)
		buf_add_text(b, "\xc3\xa4");
	buf_add_text(b, behind);
	return buf_slice(b);
}

static void
expect_utf8(const char *name, const char *text)
{
	ck_assert_msg(utf8_valid(text, strlen(text)), "%s: %s", name, text);
}

START_TEST(refusals_are_text)
{
	static const struct {
		const char *name, *before, *behind;
	} cases[] = {
		{ "a field", "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":"
		  "\"Succeed\",\"", "\":1}}}" },
		{ "a target", "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":"
		  "\"Pass\",\"Next\":\"", "\"}}}" },
		{ "a state", "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":"
		  "\"Succeed\"},\"", "\":{\"Type\":\"Fail\"}}}" },
		{ "a path", "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":"
		  "\"Succeed\",\"InputPath\":\"$.", "[\"}}}" },
		{ "a key of a template", "{\"StartAt\":\"A\",\"States\":{\"A\":{"
		  "\"Type\":\"Pass\",\"End\":true,\"Parameters\":{\"",
		  ".$\":\"$.\"}}}}" },
		{ "a call", "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":"
		  "\"Pass\",\"End\":true,\"Parameters\":{\"a.$\":"
		  "\"States.Array('", "'\"}}}}" },
		{ "an operator", "{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":"
		  "\"Choice\",\"Choices\":[{\"Variable\":\"$\",\"",
		  "\":1,\"Next\":\"A\"}]}}}" },
	};
	struct buf b = BUF_EMPTY;

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		for (int shift = 0; shift < 2; shift++) {
			struct slice text = long_text(&b, cases[n].before,
			                              shift, cases[n].behind);
			struct definition_report report;

			ck_assert_msg(definition_parse((const char *)text.data,
			                               text.len, &report) ==
			              NULL, "%s: accepted", cases[n].name);
			ck_assert_uint_ge(report.count, 1);
			for (uint32_t e = 0; e < report.count; e++) {
				expect_utf8(cases[n].name,
				            report.errors[e].state);
				expect_utf8(cases[n].name,
				            report.errors[e].field);
				expect_utf8(cases[n].name,
				            report.errors[e].message);
			}
		}
	}
	buf_fini(&b);
}
END_TEST

/* Such a message is the cause of an error, which the journal stores. */
static void
path_fails(int shift, const char *input_text, bool set)
{
	struct buf b = BUF_EMPTY;
	struct error err = { 0 };
	struct path *p = path_compile(long_text(&b, "$.", shift, ""),
	                              PATH_REFERENCE, &err);
	struct value *input = value_from(input_text);
	struct value *got;

	ck_assert_msg(p != NULL, "%s", err.message);
	got = set ? path_set(p, input, input, &err) :
	    path_eval(p, input, NULL, &err);
	ck_assert_ptr_null(got);
	expect_utf8(input_text, err.message);
	value_unref(&input);
	path_destroy(&p);
	buf_fini(&b);
}

START_TEST(causes_are_text)
{
	for (int shift = 0; shift < 2; shift++) {
		struct buf b = BUF_EMPTY;
		struct error err = { 0 };
		struct value *input = value_from("{}");
		struct scope scope = { input, NULL, NULL };
		struct buf out = BUF_EMPTY;
		struct intrinsic *call;

		path_fails(shift, "{}", false);
		path_fails(shift, "1", false);
		path_fails(shift, "1", true);
		call = intrinsic_compile(long_text(&b, "States.Array('",
		                                   shift, "\\x')"), &err);
		ck_assert_msg(call != NULL, "%s", err.message);
		ck_assert_int_lt(intrinsic_eval(call, &scope, &out, &err), 0);
		expect_utf8("an open escape", err.message);
		intrinsic_destroy(&call);
		value_unref(&input);
		buf_fini(&out);
		buf_fini(&b);
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { cuts_between_characters, refusals_are_text,
		causes_are_text };

	return run_case("place", tests, sizeof(tests) / sizeof(tests[0]));
}
