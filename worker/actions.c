/*
 * actions - noop, echo, sleep, fail; command has a file of its own.
 */
#include "worker/actions.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/value.h"
#include "worker/command.h"
#include "worker/runtime.h"

#define SLEEP_MAX_US (UINT64_C(366) * 86400 * CLOCK_SECOND_US)

static void
noop_run(const struct task *t, struct outcome *o)
{
	static const uint8_t null_value[] = { 0xc0 };

	(void)t;
	o->result = (struct slice){ null_value, sizeof(null_value) };
}

static void
echo_run(const struct task *t, struct outcome *o)
{
	o->result = t->input;
}

/* The number under key times unit, in microseconds. */
static bool
sleep_field(struct slice input, struct slice key, double unit, uint64_t *out)
{
	struct slice value;
	struct item item;
	double us;

	if (!value_get(input, key, &value))
		return false;
	item = value_item(value);
	if (item.type == VALUE_INT)
		us = (double)item.i * unit;
	else if (item.type == VALUE_DOUBLE)
		us = item.d * unit;
	else
		return false;
	if (!(us >= 0 && us <= (double)SLEEP_MAX_US))
		return false;
	*out = (uint64_t)us;
	return true;
}

static void
sleep_run(const struct task *t, struct outcome *o)
{
	uint64_t us = 0, until;

	if (value_type(t->input) != VALUE_MAP ||
	    (!sleep_field(t->input, SLICE_LITERAL("seconds"), 1e6, &us) &&
	     !sleep_field(t->input, SLICE_LITERAL("ms"), 1e3, &us))) {
		outcome_fail(o, "Rappel.InputInvalid",
		             "sleep needs {\"seconds\": number} or {\"ms\": "
		             "number}, not negative and at most a year");
		return;
	}
	until = clock_mono_us() + us;
	if (runtime_sleep_until(until))
		o->result = t->input;
	else
		outcome_fail(o, "Rappel.Cancelled", "cancelled while it slept");
}

static void
fail_run(const struct task *t, struct outcome *o)
{
	struct slice value;
	struct item item;

	outcome_fail(o, "States.TaskFailed", "%s", "");
	if (value_type(t->input) != VALUE_MAP)
		return;
	if (value_get(t->input, SLICE_LITERAL("error"), &value)) {
		item = value_item(value);
		if (item.type == VALUE_STR && item.bytes.len > 0 &&
		    item.bytes.len <= OUTCOME_ERROR_MAX) {
			memcpy(o->error, item.bytes.data, item.bytes.len);
			o->error[item.bytes.len] = '\0';
		} else {
			outcome_fail(o, "Rappel.InputInvalid",
			             "fail: \"error\" must be a string of 1 "
			             "to %u bytes",
			             OUTCOME_ERROR_MAX);
			return;
		}
	}
	if (value_get(t->input, SLICE_LITERAL("cause"), &value)) {
		item = value_item(value);
		if (item.type == VALUE_STR)
			outcome_cause(o, item.bytes);
	}
}

const struct action actions[ACTIONS_COUNT] = {
	{ .name = "noop", .run = noop_run },
	{ .name = "echo", .run = echo_run },
	{ .name = "fail", .run = fail_run },
	{ .name = "sleep", .run = sleep_run, .slow = true },
	{ .name = "command", .run = command_run, .slow = true },
};
