/*
 * Tests of engine/instance.h that need more than a scenario can say: size,
 * speed, bounds, what is borrowed and what is released. What each state does
 * is in tests/scenario.
 */
#include "engine/instance.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "engine/journal.h"
#include "tests/unit/engine_values.h"

/* Check notes every assertion in a file: too slow for millions. */
#define MUST(x) \
	do { \
		if (!(x)) \
			ck_abort_msg("%s", #x); \
	} while (0)

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Every ' is read as ". */
static struct definition *
define(const char *text)
{
	struct definition_report report;
	char *json = mem_strdup(text);
	struct definition *d;

	for (char *at = json; *at != '\0'; at++)
		if (*at == '\'')
			*at = '"';
	d = definition_parse(json, strlen(json), &report);
	ck_assert_msg(d != NULL, "%s: %s", report.errors[0].field,
	              report.errors[0].message);
	free(json);
	return d;
}

static struct instance *
start(struct definition *d, const char *input, struct effects *out)
{
	struct value *v = value_from(input);
	struct instance_options options = {
		.workflow = slice_of("test"),
		.started_at_us = 1000000,
		.input = v->s,
		.value_bytes_max = 1 << 20,
	};
	struct instance *i = instance_create(d, &options, out);

	value_unref(&v);
	return i;
}

static int
succeed(struct instance *i, uint32_t activation, struct slice value,
        struct effects *out)
{
	struct event e = {
		.kind = EVENT_SUCCEEDED,
		.at_us = 2000000,
		.activation = activation,
		.attempt = 1,
		.value = value,
	};

	return instance_apply(i, &e, out);
}

#define MAP(fields) \
	"{'StartAt':'M','States':{'M':{'Type':'Map','End':true," fields \
	"'ItemProcessor':{'StartAt':'T','States':{" \
	"'T':{'Type':'Task','Resource':'x','End':true}}}}}}"

/* A list of n small integers as JSON text; the caller frees. */
static char *
list_of(uint32_t n)
{
	struct buf text = BUF_EMPTY;

	buf_add_byte(&text, '[');
	for (uint32_t k = 0; k < n; k++)
		buf_printf(&text, "%s%u", k == 0 ? "" : ",", k);
	buf_add_byte(&text, ']');
	return buf_text(&text);
}

/* Results come in an order that is not the items'. */
static void
run_wide(const char *text, uint32_t items, const char *name)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(text);
	char *list = list_of(items);
	uint64_t began = now_us();
	struct instance *i = start(d, list, &out);
	struct end_view end;
	size_t bytes = instance_bytes(i);
	uint32_t done = 0;

	while (instance_status(i) == INSTANCE_RUNNING) {
		struct effects again = { NULL, 0, 0 };

		ck_assert_uint_gt(out.count, 0);
		for (uint32_t n = out.count; n > 0; n--) {
			struct action_view a;
			struct buf b = BUF_EMPTY;

			MUST(instance_action(i, out.list[n - 1].activation,
			                     &a));
			value_pack_uint(&b, a.index);
			MUST(succeed(i, out.list[n - 1].activation,
			             buf_slice(&b), &again) == 0);
			buf_fini(&b);
			done++;
		}
		effects_fini(&out);
		out = again;
	}
	printf("a Map of %u items%s: %.1f ms, %zu bytes\n", items, name,
	       (double)(now_us() - began) / 1e3, bytes);
	ck_assert_uint_eq(done, items);
	instance_end(i, &end);
	ck_assert_int_eq(end.status, INSTANCE_SUCCEEDED);
	expect_value("all results", end.output->s, list);
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
	free(list);
}

START_TEST(test_wide_map)
{
	run_wide(MAP(""), 100000, "");
	run_wide(MAP("'MaxConcurrency':7,"), 100000, ", 7 at a time");
	run_wide(MAP("'ItemSelector':{'v.$':'$$.Map.Item.Value'},"), 100000,
	         " with ItemSelector");
}
END_TEST

START_TEST(test_wide_abandon)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(MAP(""));
	char *list = list_of(100000);
	struct instance *i = start(d, list, &out);
	struct event cancel = { .kind = EVENT_CANCEL };
	size_t bytes = instance_bytes(i);

	ck_assert_uint_eq(out.count, 100000);
	effects_clear(&out);
	ck_assert_int_eq(instance_apply(i, &cancel, &out), 0);
	ck_assert_uint_eq(out.count, 100001);
	ck_assert_int_eq(out.list[0].kind, EFFECT_ABANDON);
	ck_assert_uint_eq(out.list[99999].activation, 100000);
	ck_assert_int_eq(out.list[100000].kind, EFFECT_END);
	/* What ended is released, not when the instance is destroyed. */
	ck_assert_uint_lt(instance_bytes(i), bytes / 5);
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
	free(list);
}
END_TEST

START_TEST(test_too_wide)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(MAP(""));
	char *list = list_of(100001);
	struct instance *i = start(d, list, &out);
	struct end_view end;

	ck_assert_uint_eq(out.count, 1);
	instance_end(i, &end);
	ck_assert(slice_is(end.error, "States.Runtime"));
	ck_assert(slice_is(end.cause,
	                   "a Map goes through at most 100,000 items"));
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
	free(list);
}
END_TEST

/* A hundred thousand times a hundred thousand: stopped, and soon. */
START_TEST(test_explosion)
{
	static const char nested[] =
	    "{'StartAt':'M','States':{'M':{'Type':'Map','End':true,"
	    "'ItemSelector':{'l.$':'$'},'ItemProcessor':{'StartAt':'N',"
	    "'States':{'N':{'Type':'Map','End':true,'ItemsPath':'$.l',"
	    "'OutputPath':null,"
	    "'ItemProcessor':{'StartAt':'%s','States':{"
	    "'T':{'Type':'Task','Resource':'x','End':true%s},"
	    "'P':{'Type':'Pass','End':true}}}}}}}}}";
	static const char *const ends[] = { "T", "P" };

	for (int n = 0; n < 2; n++) {
		struct effects out = { NULL, 0, 0 };
		char text[1000];
		char *list = list_of(2000);
		struct definition *d;
		struct instance *i;
		struct end_view end;

		snprintf(text, sizeof(text), nested, ends[n], "");
		/* Only one of the two is reached: leave the other out. */
		char *other = strstr(text, n == 0 ? ",'P':" : "'T':");
		char *rest = n == 0 ? strstr(other, "}}") + 1 :
		    strstr(other, "'P':");
		memmove(other, rest, strlen(rest) + 1);
		d = define(text);
		i = start(d, list, &out);
		ck_assert_int_eq(instance_status(i), INSTANCE_FAILED);
		instance_end(i, &end);
		ck_assert(slice_is(end.error, "States.Runtime"));
		instance_destroy(&i);
		definition_unref(&d);
		effects_fini(&out);
		free(list);
	}
}
END_TEST

/* In a loop of Tasks the memory of what ended is used again. */
START_TEST(test_loop_keeps_size)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(
	    "{'StartAt':'A','States':{"
	    "'A':{'Type':'Map','Iterator':{'StartAt':'T','States':{"
	    "'T':{'Type':'Task','Resource':'x','End':true}}},'Next':'C'},"
	    "'C':{'Type':'Choice','Choices':[{'Variable':'$[0]',"
	    "'IsNull':true,'Next':'Z'}],'Default':'A'},"
	    "'Z':{'Type':'Succeed'}}}");
	struct instance *i = start(d, "[1,2,3,4,5,6,7,8]", &out);
	size_t first = instance_bytes(i);

	for (uint32_t id = 1; id <= 80000; id++) {
		MUST(succeed(i, id, SLICE_LITERAL("\x05"), &out) == 0);
		effects_clear(&out);
	}
	ck_assert_uint_le(instance_bytes(i), first * 2);
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
}
END_TEST

/* The last id is 1,000,000; a Task beyond it fails the instance. */
START_TEST(test_activations)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(
	    "{'StartAt':'A','States':{"
	    "'A':{'Type':'Task','Resource':'x','Next':'C',"
	    "'Catch':[{'ErrorEquals':['States.Runtime'],'Next':'Z'}]},"
	    "'C':{'Type':'Choice','Choices':[{'Variable':'$',"
	    "'IsNull':true,'Next':'Z'}],'Default':'A'},"
	    "'Z':{'Type':'Succeed'}}}");
	struct instance *i = start(d, "1", &out);
	struct end_view end;

	for (uint32_t id = 1; id <= 1000000; id++) {
		effects_clear(&out);
		MUST(succeed(i, id, SLICE_LITERAL("\x05"), &out) == 0);
	}
	ck_assert_int_eq(instance_status(i), INSTANCE_FAILED);
	ck_assert_uint_eq(out.count, 1);
	instance_end(i, &end);
	ck_assert(slice_is(end.error, "States.Runtime"));
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
}
END_TEST

START_TEST(test_looking)
{
	static const char text[] = "{'StartAt':'W','TimeoutSeconds':9,"
	    "'States':{'W':{'Type':'Wait','Seconds':3,'End':true}}}";
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(text);
	struct instance *i = start(d, "{}", &out);
	struct action_view a;
	int64_t due_us;

	ck_assert_ptr_eq(instance_definition(i), d);
	ck_assert_str_eq(instance_status_name(instance_status(i)), "running");
	ck_assert(!instance_action(i, 1, &a));
	ck_assert(!instance_action(i, 0, &a));
	ck_assert(!instance_action(i, 7, &a));
	ck_assert(instance_timer(i, 1, &due_us));
	ck_assert_int_eq(due_us, 4000000);
	ck_assert(instance_timer(i, ACTIVATION_WORKFLOW, &due_us));
	ck_assert_int_eq(due_us, 10000000);
	ck_assert(!instance_timer(i, 2, &due_us));
	instance_destroy(&i);
	ck_assert_ptr_null(i);
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
}
END_TEST

/* Times in a journal may be anything; sums of them stay in range. */
START_TEST(test_far_times)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(
	    "{'StartAt':'T','States':{'T':{'Type':'Task','Resource':'x',"
	    "'Retry':[{'ErrorEquals':['States.ALL']}],'End':true}}}");
	struct instance *i = start(d, "{}", &out);
	struct event e = {
		.kind = EVENT_FAILED,
		.at_us = INT64_MAX - 1,
		.activation = 1,
		.attempt = 1,
	};
	struct action_view a;

	ck_assert_int_eq(instance_apply(i, &e, &out), 0);
	ck_assert(instance_action(i, 1, &a));
	ck_assert_int_eq(a.not_before_us, INT64_MAX);
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
}
END_TEST

/* ---- the workflow of bench/queue-noop: 49 actions ---- */

static const char queue_noop[] =
    "{'StartAt':'Gather','States':{"
    "'Gather':{'Type':'Map','ItemsPath':'$.items','ResultPath':'$.gathered',"
    "'ItemProcessor':{'StartAt':'G','States':{"
    "'G':{'Type':'Task','Resource':'noop','End':true}}},'Next':'Loop'},"
    "'Loop':{'Type':'Task','Resource':'noop','ResultPath':'$.loop',"
    "'Next':'More'},"
    "'More':{'Type':'Choice','Choices':[{'Variable':'$.loop.n',"
    "'NumericLessThan':16,'Next':'Loop'}],'Default':'Again'},"
    "'Again':{'Type':'Map','ItemsPath':'$.items','ResultPath':'$.again',"
    "'ItemProcessor':{'StartAt':'H','States':{"
    "'H':{'Type':'Task','Resource':'noop','End':true}}},'Next':'Combine'},"
    "'Combine':{'Type':'Task','Resource':'noop','End':true}}}";

#define QUEUE_NOOP_ACTIONS 49
#define QUEUE_NOOP_INPUT "{'items':[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}"

/* The result of the n-th action: {"n": n - 16}. */
static struct slice
queue_noop_result(uint32_t n, uint8_t bytes[4])
{
	bytes[0] = 0x81;
	bytes[1] = 0xa1;
	bytes[2] = 'n';
	bytes[3] = (uint8_t)(n > 16 && n <= 32 ? n - 16 : 0);
	return (struct slice){ bytes, 4 };
}

START_TEST(test_speed)
{
	struct effects out = { NULL, 0, 0 };
	struct definition *d = define(queue_noop);
	struct journal_place place = { 0, -1 };
	const uint32_t runs = 4000;
	uint64_t apply_us = 0;
	uint64_t journal_us = 0;
	uint64_t replay_us = 0;
	uint8_t bytes[4];

	for (uint32_t run = 0; run < runs; run++) {
		struct buf row = BUF_EMPTY;
		uint64_t began = now_us();
		struct instance *i = start(d, QUEUE_NOOP_INPUT, &out);
		struct journal_reader *r;
		struct event e;

		for (uint32_t n = 1; n <= QUEUE_NOOP_ACTIONS; n++) {
			effects_clear(&out);
			MUST(succeed(i, n, queue_noop_result(n, bytes),
			             &out) == 0);
		}
		MUST(instance_status(i) == INSTANCE_SUCCEEDED);
		instance_destroy(&i);
		apply_us += now_us() - began;

		began = now_us();
		buf_add_byte(&row, '[');
		for (uint32_t n = 1; n <= QUEUE_NOOP_ACTIONS; n++) {
			e = (struct event){ .kind = EVENT_SUCCEEDED,
				.at_us = 1768392000000123 + n,
				.activation = n, .attempt = 1,
				.worker = n & 3, .run_us = 17,
				.value = queue_noop_result(n, bytes) };
			journal_entry_add(&row, 1768392000000000, &e, &place);
		}
		buf_add_byte(&row, ']');
		journal_us += now_us() - began;

		began = now_us();
		i = start(d, QUEUE_NOOP_INPUT, &out);
		r = journal_reader_create(buf_slice(&row), 1768392000000000,
		                          NULL);
		MUST(r != NULL);
		while (journal_reader_next(r, &e, NULL) == 1) {
			effects_clear(&out);
			MUST(instance_apply(i, &e, &out) == 0);
		}
		MUST(instance_status(i) == INSTANCE_SUCCEEDED);
		journal_reader_destroy(&r);
		instance_destroy(&i);
		replay_us += now_us() - began;
		buf_fini(&row);
	}

	double actions = (double)runs * QUEUE_NOOP_ACTIONS;

	/* Shown, not judged: the machine may be busy. */
	printf("queue-noop: apply %.3f us, journal_entry_add %.3f us, replay "
	       "%.0f entries/s\n", (double)apply_us / actions,
	       (double)journal_us / actions,
	       actions * 1e6 / (double)replay_us);
	definition_unref(&d);
	effects_fini(&out);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { test_wide_map, test_wide_abandon,
		test_too_wide, test_explosion, test_loop_keeps_size,
		test_activations, test_looking, test_far_times, test_speed };

	return run_case("instance", tests,
	                sizeof(tests) / sizeof(tests[0]));
}
