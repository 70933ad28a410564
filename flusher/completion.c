/*
 * completion - see completion.h.
 */
#include "flusher/completion.h"

#include <errno.h>
#include <string.h>

#include "common/assert.h"

#define ERROR_BYTES_MAX 128U
#define CAUSE_BYTES_MAX (32U << 10)
#define EXTRA_BYTES_MAX (16U << 10)
#define RUN_US_MAX UINT64_C(3155760000000000) /* 100 years */

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

/* What it says behind the answer: nothing that is worth losing it for. */
static int
take_extra(struct cursor *c, struct slice *out)
{
	struct slice extra;

	if (c->at >= c->end)
		return -EPROTO;
	extra = cursor_value(c);
	if (value_type(extra) != VALUE_MAP)
		return -EPROTO;
	if (extra.len <= EXTRA_BYTES_MAX &&
	    value_check(extra, VALUE_DEPTH_MAX, NULL) == 0)
		*out = extra;
	return 0;
}

static int
take_answer(struct cursor *c, struct completion *out)
{
	switch (out->status) {
	case COMPLETION_SUCCEEDED:
		if (c->at >= c->end)
			return -EPROTO;
		out->value = cursor_value(c);
		return 0;
	case COMPLETION_FAILED:
		if (take_text(c, ERROR_BYTES_MAX, &out->error) < 0)
			return -EPROTO;
		return take_text(c, CAUSE_BYTES_MAX, &out->cause);
	case COMPLETION_NOT_BEGUN:
	case COMPLETION_PENDING:
		return 0;
	}
	return -EPROTO;
}

int
completion_read(struct cursor *c, struct completion *out)
{
	/* Of an item without more behind it, by status. */
	static const uint8_t parts_of[] = { 7, 8, 6, 6 };
	uint64_t activation, attempt, status;
	struct slice instance;
	uint32_t parts;

	if (cursor_array(c, &parts) < 0 || cursor_uint(c, &out->token) < 0 ||
	    cursor_bytes(c, &instance) < 0 || instance.len != 16 ||
	    cursor_uint(c, &activation) < 0 || activation > UINT32_MAX ||
	    cursor_uint(c, &attempt) < 0 || attempt > UINT32_MAX ||
	    cursor_uint(c, &status) < 0 || status > COMPLETION_PENDING ||
	    cursor_uint(c, &out->run_us) < 0 || parts < parts_of[status] ||
	    parts > parts_of[status] + 1U)
		return -EPROTO;
	/* Its word, that SQL has to hold: a bigint, an interval. */
	if (out->run_us > RUN_US_MAX)
		out->run_us = RUN_US_MAX;
	memcpy(out->instance.bytes, instance.data, 16);
	out->activation = (uint32_t)activation;
	out->attempt = (uint32_t)attempt;
	out->status = (enum completion_status)status;
	out->error = out->cause = out->value = out->extra = SLICE_NONE;
	if (take_answer(c, out) < 0)
		return -EPROTO;
	return parts > parts_of[status] ? take_extra(c, &out->extra) : 0;
}

static void
event_fail(struct event *out, struct slice error, struct slice cause)
{
	out->kind = EVENT_FAILED;
	out->value = SLICE_NONE;
	out->error = error;
	out->cause = cause;
}

static void
event_succeed(const struct completion *c, uint64_t value_bytes_max,
              struct error *err, struct event *out)
{
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

void
completion_event(const struct completion *c, bool waits,
                 uint64_t value_bytes_max, struct error *err,
                 struct event *out)
{
	memset(out, 0, sizeof(*out));
	out->activation = c->activation;
	out->attempt = c->attempt;
	out->run_us = c->run_us;
	out->extra = c->extra;
	switch (c->status) {
	case COMPLETION_SUCCEEDED:
		if (waits)
			out->kind = EVENT_PENDING;
		else
			event_succeed(c, value_bytes_max, err, out);
		return;
	case COMPLETION_FAILED:
		event_fail(out, c->error, c->cause);
		return;
	case COMPLETION_PENDING:
		out->kind = EVENT_PENDING;
		return;
	case COMPLETION_NOT_BEGUN:
		break;
	}
	ASSERT(false);
}
