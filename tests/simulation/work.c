/*
 * work - see work.h.
 */
#include "tests/simulation/work.h"

#include <string.h>

#include "common/value.h"

#define RETRY \
	"\"Retry\":[{\"ErrorEquals\":[\"States.ALL\"],\"MaxAttempts\":99," \
	"\"IntervalSeconds\":1,\"BackoffRate\":1.1,\"MaxDelaySeconds\":3}]"
#define TASK(action) "\"Type\":\"Task\",\"Resource\":\"" action "\"," RETRY

static const char *const fixed[FIXED_WORKFLOWS] = {
	/* a chain */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("add") ",\"Next\":\"B\"},"
	"\"B\":{" TASK("add") ",\"Next\":\"C\"},"
	"\"C\":{" TASK("add") ",\"End\":true}}}",
	/* retries */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("flaky") ",\"Next\":\"B\"},"
	"\"B\":{" TASK("flaky") ",\"End\":true}}}",
	/* a list, some at a time */
	"{\"StartAt\":\"M\",\"States\":{\"M\":{\"Type\":\"Map\","
	"\"ItemsPath\":\"$.l\",\"MaxConcurrency\":2,\"ItemSelector\":{"
	"\"n.$\":\"$$.Map.Item.Value\"},\"ItemProcessor\":{"
	"\"StartAt\":\"I\",\"States\":{"
	"\"I\":{" TASK("add") ",\"Next\":\"J\"},"
	"\"J\":{" TASK("flaky") ",\"End\":true}}},\"End\":true}}}",
	/* branches */
	"{\"StartAt\":\"P\",\"States\":{\"P\":{\"Type\":\"Parallel\","
	"\"Branches\":["
	"{\"StartAt\":\"X\",\"States\":{\"X\":{" TASK("add")
	",\"End\":true}}},"
	"{\"StartAt\":\"Y\",\"States\":{\"Y\":{" TASK("slow")
	",\"HeartbeatSeconds\":1,\"Next\":\"Z\"},\"Z\":{" TASK("add") ",\"End\":true}}},"
	"{\"StartAt\":\"W\",\"States\":{\"W\":{\"Type\":\"Wait\","
	"\"Seconds\":3,\"End\":true}}}],\"End\":true}}}",
	/* short waits */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("add") ",\"Next\":\"W\"},"
	"\"W\":{\"Type\":\"Wait\",\"Seconds\":2,\"Next\":\"B\"},"
	"\"B\":{" TASK("add") ",\"End\":true}}}",
	/* one that is parked */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("add") ",\"Next\":\"W\"},"
	"\"W\":{\"Type\":\"Wait\",\"Seconds\":45,\"Next\":\"B\"},"
	"\"B\":{" TASK("add") ",\"End\":true}}}",
	/* round and round */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("add") ",\"Next\":\"C\"},"
	"\"C\":{\"Type\":\"Choice\",\"Choices\":[{\"Variable\":\"$.n\","
	"\"NumericGreaterThan\":12,\"Next\":\"D\"}],\"Default\":\"A\"},"
	"\"D\":{\"Type\":\"Succeed\"}}}",
	/* an action that often takes too long */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("slow") ",\"TimeoutSeconds\":2,\"Next\":\"B\"},"
	"\"B\":{" TASK("add") ",\"End\":true}}}",
	/* somebody else finishes what an action begins, or it is asked again */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{" TASK("ask.waitForTaskToken") ",\"TimeoutSeconds\":50,"
	"\"HeartbeatSeconds\":20,\"Next\":\"P\"},"
	"\"P\":{\"Type\":\"Parallel\",\"Branches\":["
	"{\"StartAt\":\"X\",\"States\":{\"X\":{" TASK("ask.waitForTaskToken")
	",\"End\":true}}},"
	"{\"StartAt\":\"Y\",\"States\":{\"Y\":{" TASK("flaky")
	",\"End\":true}}}],\"End\":true}}}",
	/* an end without an event, and a list of nothing */
	"{\"StartAt\":\"A\",\"States\":{"
	"\"A\":{\"Type\":\"Pass\",\"Result\":{\"n\":1,\"l\":[]},"
	"\"Next\":\"M\"},"
	"\"M\":{\"Type\":\"Map\",\"ItemsPath\":\"$.l\",\"ItemProcessor\":{"
	"\"StartAt\":\"I\",\"States\":{\"I\":{" TASK("add")
	",\"End\":true}}},\"End\":true}}}",
};

const char *
work_definition(uint32_t number)
{
	static struct buf text; /* of the last random one */
	struct maker maker = { .chance = &world.chance, .text = &text };

	if (number < FIXED_WORKFLOWS)
		return fixed[number];
	text.len = 0;
	make_machine(&maker, 0);
	return buf_text(&text);
}

void
work_input(struct buf *out)
{
	uint32_t count = dice(5);

	buf_printf(out, "{\"n\":%u,\"l\":[", dice(10));
	for (uint32_t i = 0; i < count; i++)
		buf_printf(out, "%s%u", i > 0 ? "," : "", dice(10));
	buf_add_text(out, "]}");
}

static int64_t
number_of(struct slice input)
{
	struct slice n;

	if (value_type(input) == VALUE_MAP &&
	    value_get(input, SLICE_LITERAL("n"), &n) &&
	    value_type(n) == VALUE_INT)
		return value_item(n).i;
	return 0;
}

static void
random_result(struct work_result *out)
{
	uint32_t count = dice(4);

	if (dice(10) < 2) {
		out->error = error_names[dice(ERROR_NAMES)];
		return;
	}
	value_pack_map(&out->value, 2);
	value_pack_text(&out->value, "n");
	value_pack_uint(&out->value, dice(12));
	value_pack_text(&out->value, "l");
	value_pack_array(&out->value, count);
	for (uint32_t i = 0; i < count; i++)
		value_pack_uint(&out->value, i);
}

void
work_run(struct slice action, uint32_t attempt, struct slice input,
         struct work_result *out)
{
	uint32_t mood = dice(100);

	memset(out, 0, sizeof(*out));
	out->run_us = 100 + dice(900);
	if (slice_is(action, "slow") || mood < 3)
		out->run_us = CLOCK_SECOND_US + dice(3000000);
	else if (mood < 10)
		out->run_us = 5000 + dice(50000);
	else if (mood == 10 && world.faulty)
		out->run_us = 40 * CLOCK_SECOND_US;
	if (slice_is(action, "x")) {
		out->pending = dice(20) == 0;
		random_result(out);
		return;
	}
	if (slice_is(action, "ask")) {
		value_pack_map(&out->value, 1);
		value_pack_text(&out->value, "n");
		value_pack_int(&out->value, 7);
		return;
	}
	if (slice_is(action, "flaky") && attempt < 3) {
		out->error = "Bad";
		return;
	}
	value_pack_map(&out->value, 1);
	value_pack_text(&out->value, "n");
	value_pack_int(&out->value, number_of(input) + 1);
}
