/*
 * completion - see completion.h.
 */
#include "flusher/completion.h"

#include <errno.h>
#include <string.h>

#define ERROR_BYTES_MAX 128U
#define CAUSE_BYTES_MAX (32U << 10)

/* A string, cut at a character's end when it is longer than bytes_max. */
static int
take_text(struct cursor *c, size_t bytes_max, struct slice *out)
{
	struct item item = cursor_next(c);

	if (item.type != VALUE_STR)
		return -EPROTO;
	if (item.bytes.len > bytes_max) {
		item.bytes.len = bytes_max;
		while (item.bytes.len > 0 &&
		       (item.bytes.data[item.bytes.len] & 0xc0) == 0x80)
			item.bytes.len--;
	}
	*out = item.bytes;
	return 0;
}

int
completion_read(struct cursor *c, struct completion *out)
{
	uint64_t activation, attempt, failed;
	struct slice instance;
	uint32_t parts;

	if (cursor_array(c, &parts) < 0 || cursor_uint(c, &out->token) < 0 ||
	    cursor_bytes(c, &instance) < 0 || instance.len != 16 ||
	    cursor_uint(c, &activation) < 0 || activation > UINT32_MAX ||
	    cursor_uint(c, &attempt) < 0 || attempt > UINT32_MAX ||
	    cursor_uint(c, &failed) < 0 || failed > 1 ||
	    cursor_uint(c, &out->run_us) < 0 || parts != (failed ? 8U : 7U))
		return -EPROTO;
	memcpy(out->instance.bytes, instance.data, 16);
	out->activation = (uint32_t)activation;
	out->attempt = (uint32_t)attempt;
	out->failed = failed;
	out->error = out->cause = out->value = SLICE_NONE;
	if (!failed) {
		if (c->at >= c->end)
			return -EPROTO;
		out->value = cursor_value(c);
		return 0;
	}
	if (take_text(c, ERROR_BYTES_MAX, &out->error) < 0)
		return -EPROTO;
	return take_text(c, CAUSE_BYTES_MAX, &out->cause);
}

static void
event_fail(struct event *out, struct slice error, struct slice cause)
{
	out->kind = EVENT_FAILED;
	out->value = SLICE_NONE;
	out->error = error;
	out->cause = cause;
}

void
completion_event(const struct completion *c, uint64_t value_bytes_max,
                 struct error *err, struct event *out)
{
	memset(out, 0, sizeof(*out));
	out->activation = c->activation;
	out->attempt = c->attempt;
	out->run_us = c->run_us;
	if (c->failed) {
		event_fail(out, c->error, c->cause);
		return;
	}
	out->kind = EVENT_SUCCEEDED;
	out->value = c->value;
	if (c->value.len > value_bytes_max)
		event_fail(out, SLICE_LITERAL("States.DataLimitExceeded"),
		           SLICE_LITERAL("the result is larger than "
		                         "value_bytes_max"));
	else if (c->value.len > 1 &&
	         value_check(c->value, VALUE_DEPTH_MAX, err) < 0)
		event_fail(out, SLICE_LITERAL("Rappel.ResultInvalid"),
		           slice_of(err->message));
}
