/*
 * builtin - noop, echo, fail and sleep, as worker/actions.c does them.
 *
 * Twice, because programs meet only in frames; the test of rappelctl compares
 * what both give.
 */
#include "ctl/builtin.h"

#include "common/value.h"

#define ERROR_BYTES_MAX 128U
#define SLEEP_US_MAX 31622400e6 /* 366 days */

static const uint8_t nil[] = { 0xc0 };

static void
fail(struct mock_answer *out, struct slice error, struct slice cause)
{
	out->failed = true;
	out->error = error;
	out->cause = cause;
}

/* The number under key times unit, in microseconds. */
static bool
duration_field(struct slice input, struct slice key, double unit, uint64_t *out)
{
	struct slice v;
	struct item item;
	double us;

	if (!value_get(input, key, &v))
		return false;
	item = value_item(v);
	if (item.type == VALUE_INT)
		us = (double)item.i * unit;
	else if (item.type == VALUE_DOUBLE)
		us = item.d * unit;
	else
		return false;
	if (!(us >= 0 && us <= SLEEP_US_MAX))
		return false;
	*out = (uint64_t)us;
	return true;
}

static void
answer_sleep(struct slice input, struct mock_answer *out, uint64_t *us)
{
	if (value_type(input) == VALUE_MAP &&
	    (duration_field(input, SLICE_LITERAL("seconds"), 1e6, us) ||
	     duration_field(input, SLICE_LITERAL("ms"), 1e3, us)))
		out->value = input;
	else
		fail(out, SLICE_LITERAL("Rappel.InputInvalid"),
		     SLICE_LITERAL("sleep needs {\"seconds\": number} or "
				   "{\"ms\": number}, not negative and at "
				   "most a year"));
}

static void
answer_fail(struct slice input, struct mock_answer *out)
{
	struct slice v;
	struct item item;

	fail(out, SLICE_LITERAL("States.TaskFailed"), SLICE_LITERAL(""));
	if (value_type(input) != VALUE_MAP)
		return;
	if (value_get(input, SLICE_LITERAL("error"), &v)) {
		item = value_item(v);
		if (item.type != VALUE_STR || item.bytes.len == 0 ||
		    item.bytes.len > ERROR_BYTES_MAX) {
			fail(out, SLICE_LITERAL("Rappel.InputInvalid"),
			     SLICE_LITERAL("fail: \"error\" must be a string "
					   "of 1 to 128 bytes"));
			return;
		}
		out->error = item.bytes;
	}
	if (value_get(input, SLICE_LITERAL("cause"), &v)) {
		item = value_item(v);
		if (item.type == VALUE_STR)
			out->cause = item.bytes;
	}
}

bool
builtin_answer(struct slice action, struct slice input, struct mock_answer *out,
	       uint64_t *delay_us_out)
{
	struct mock_answer answer = { .failed = false };

	*delay_us_out = 0;
	if (slice_is(action, "noop"))
		answer.value = (struct slice){ nil, sizeof(nil) };
	else if (slice_is(action, "echo"))
		answer.value = input;
	else if (slice_is(action, "sleep"))
		answer_sleep(input, &answer, delay_us_out);
	else if (slice_is(action, "fail"))
		answer_fail(input, &answer);
	else
		return false;
	*out = answer;
	return true;
}
