/* Tests of engine/journal.h: what is written, read back, and refused. */
#include "engine/journal.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "tests/unit/engine_values.h"

#define ROW_AT INT64_C(1768392000000000)

static const struct {
	const char *name;
	struct event event;
	struct journal_place place;
	const char *value; /* NULL: none */
	const char *json;
	const char *extra; /* NULL: none */
} entries[] = {
	{ "a result",
	  { .kind = EVENT_SUCCEEDED, .at_us = ROW_AT + 5, .activation = 7,
	    .attempt = 2, .worker = 3, .run_us = 1500 },
	  { 4, 9 }, "{'a':[1,2.5,'x']}",
	  "[1,5,7,2,4,9,3,1500,{\"a\":[1,2.5,\"x\"]}]", NULL },
	{ "no index", { .kind = EVENT_SUCCEEDED, .at_us = ROW_AT,
	    .activation = 1, .attempt = 1 }, { 0, -1 }, "true",
	  "[1,0,1,1,0,null,0,0,true]", NULL },
	{ "null as result", { .kind = EVENT_SUCCEEDED, .at_us = ROW_AT - 12,
	    .activation = 4294967295, .attempt = 1,
	    .run_us = UINT64_MAX }, { 100000, 0 }, "null",
	  "[1,-12,4294967295,1,100000,0,0,18446744073709551615]", NULL },
	{ "a failure", { .kind = EVENT_FAILED, .at_us = ROW_AT + 1,
	    .activation = 3, .attempt = 1, .worker = 1, .run_us = 2,
	    .error = SLICE_LITERAL("Bad"),
	    .cause = SLICE_LITERAL("a \"b\"\n\xc3\xa4") }, { 2, -1 }, NULL,
	  "[2,1,3,1,2,null,1,2,\"Bad\",\"a \\\"b\\\"\\n\xc3\xa4\"]", NULL },
	{ "a lost worker", { .kind = EVENT_LOST, .at_us = ROW_AT,
	    .activation = 3, .attempt = 1, .error = SLICE_LITERAL("Bad") },
	  { 2, 1 }, NULL, "[5,0,3,1,2,1,0,0,\"Bad\"]", NULL },
	{ "a failure without cause", { .kind = EVENT_FAILED, .at_us = ROW_AT,
	    .activation = 3, .attempt = 1, .error = SLICE_LITERAL("Bad") },
	  { 2, 1 }, NULL, "[2,0,3,1,2,1,0,0,\"Bad\"]", NULL },
	{ "a failure without name", { .kind = EVENT_FAILED, .at_us = ROW_AT,
	    .activation = 3, .attempt = 1, .cause = SLICE_LITERAL("c") },
	  { 2, 1 }, NULL, "[2,0,3,1,2,1,0,0,null,\"c\"]", NULL },
	{ "a timer", { .kind = EVENT_FIRED, .at_us = ROW_AT,
	    .activation = 12 }, { 5, -1 }, NULL, "[3,0,12,0,5]", NULL },
	{ "the workflow's timer", { .kind = EVENT_FIRED, .at_us = ROW_AT },
	  { -1, -1 }, NULL, "[3,0,0,0]", NULL },
	{ "a cancel", { .kind = EVENT_CANCEL, .at_us = ROW_AT,
	    .cause = SLICE_LITERAL("why") }, { -1, -1 }, NULL,
	  "[4,0,0,0,null,null,null,null,null,\"why\"]", NULL },
	{ "a cancel without cause", { .kind = EVENT_CANCEL,
	    .at_us = ROW_AT }, { -1, -1 }, NULL, "[4,0,0,0]", NULL },
	{ "a result with more", { .kind = EVENT_SUCCEEDED, .at_us = ROW_AT,
	    .activation = 1, .attempt = 1 }, { 0, -1 }, "true",
	  "[1,0,1,1,0,null,0,0,true,null,{\"log\":\"x\"}]",
	  "{'log':'x'}" },
	{ "null with more", { .kind = EVENT_SUCCEEDED, .at_us = ROW_AT,
	    .activation = 1, .attempt = 1 }, { 0, -1 }, "null",
	  "[1,0,1,1,0,null,0,0,null,null,{}]", "{}" },
	{ "a failure with kinds", { .kind = EVENT_FAILED, .at_us = ROW_AT,
	    .activation = 3, .attempt = 1, .error = SLICE_LITERAL("Bad") },
	  { 2, 1 }, NULL,
	  "[2,0,3,1,2,1,0,0,\"Bad\",null,{\"kinds\":[\"Evil\"]}]",
	  "{'kinds':['Evil']}" },
	{ "a result of nobody's worker", { .kind = EVENT_SUCCEEDED,
	    .at_us = ROW_AT, .activation = 1, .attempt = 1,
	    .worker = WORKER_NONE }, { 0, -1 }, "7",
	  "[1,0,1,1,0,null,null,null,7]", NULL },
	{ "a failure of nobody's worker", { .kind = EVENT_FAILED,
	    .at_us = ROW_AT, .activation = 1, .attempt = 1,
	    .worker = WORKER_NONE }, { 0, -1 }, NULL, "[2,0,1,1,0]", NULL },
	{ "pending", { .kind = EVENT_PENDING, .at_us = ROW_AT,
	    .activation = 9, .attempt = 2, .worker = 4, .run_us = 70 },
	  { 1, -1 }, NULL, "[6,0,9,2,1,null,4,70]", NULL },
	{ "pending with more", { .kind = EVENT_PENDING, .at_us = ROW_AT,
	    .activation = 9, .attempt = 2, .worker = 4, .run_us = 70 },
	  { 1, -1 }, NULL,
	  "[6,0,9,2,1,null,4,70,null,null,{\"usage\":{\"n\":1}}]",
	  "{'usage':{'n':1}}" },
	{ "pending that timed out", { .kind = EVENT_FIRED, .at_us = ROW_AT,
	    .activation = 9, .attempt = 2 }, { 1, -1 }, NULL,
	  "[3,0,9,2,1]", NULL },
	{ "a heartbeat", { .kind = EVENT_HEARTBEAT, .at_us = ROW_AT,
	    .activation = 9, .attempt = 2 }, { 1, -1 }, "null",
	  "[7,0,9,2,1]", NULL },
	{ "a heartbeat with progress", { .kind = EVENT_HEARTBEAT,
	    .at_us = ROW_AT, .activation = 9, .attempt = 2 }, { 1, -1 },
	  "{'done':3}", "[7,0,9,2,1,null,null,null,{\"done\":3}]", NULL },
};

#define COUNT (sizeof(entries) / sizeof(entries[0]))

static void
expect_event(const char *name, const struct event *got,
             const struct event *want, const char *value)
{
	ck_assert_msg(got->kind == want->kind &&
	              got->at_us == want->at_us &&
	              got->activation == want->activation &&
	              got->attempt == want->attempt &&
	              got->worker == want->worker &&
	              got->run_us == want->run_us, "%s: not the same", name);
	ck_assert_msg(got->error.len == want->error.len &&
	              got->cause.len == want->cause.len, "%s: texts", name);
	if (want->error.len > 0)
		ck_assert(memcmp(got->error.data, want->error.data,
		                 want->error.len) == 0);
	if (want->cause.len > 0)
		ck_assert(memcmp(got->cause.data, want->cause.data,
		                 want->cause.len) == 0);
	if (value != NULL)
		expect_value(name, got->value, value);
}

START_TEST(test_entries)
{
	struct buf row = BUF_EMPTY;
	struct journal_reader *r;
	struct event e;

	buf_add_byte(&row, '[');
	for (size_t n = 0; n < COUNT; n++) {
		struct event event = entries[n].event;
		struct value *v = entries[n].value == NULL ? NULL :
		    value_from(entries[n].value);
		struct value *extra = entries[n].extra == NULL ? NULL :
		    value_from(entries[n].extra);
		size_t begin = row.len + (n > 0);

		if (v != NULL)
			event.value = v->s;
		if (extra != NULL)
			event.extra = extra->s;
		journal_entry_add(&row, ROW_AT, &event, &entries[n].place);
		ck_assert_msg(strcmp(buf_text(&row) + begin,
		                     entries[n].json) == 0, "%s: %s",
		              entries[n].name, (char *)row.data + begin);
		value_unref(&v);
		value_unref(&extra);
	}
	buf_add_byte(&row, ']');

	r = journal_reader_create(buf_slice(&row), ROW_AT, NULL);
	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(journal_reader_count(r), COUNT);
	for (size_t n = 0; n < COUNT; n++) {
		ck_assert_int_eq(journal_reader_next(r, &e, NULL), 1);
		expect_event(entries[n].name, &e, &entries[n].event,
		             entries[n].value);
		if (entries[n].extra == NULL)
			ck_assert_msg(e.extra.len == 0, "%s: more",
			              entries[n].name);
		else
			expect_value(entries[n].name, e.extra,
			             entries[n].extra);
	}
	ck_assert_int_eq(journal_reader_next(r, &e, NULL), 0);
	ck_assert_int_eq(journal_reader_next(r, &e, NULL), 0);
	journal_reader_destroy(&r);
	ck_assert_ptr_null(r);
	buf_fini(&row);
}
END_TEST

static const struct {
	const char *name;
	const char *row;
	bool readable; /* as a row; its first entry is then none */
} bad[] = {
	{ "nothing", "", false },
	{ "no JSON", "[[1,2", false },
	{ "an object", "{}", false },
	{ "a number", "7", false },
	{ "an entry that is no list", "[1]", true },
	{ "an empty entry", "[[]]", true },
	{ "a kind alone", "[[1]]", true },
	{ "kind 0", "[[0,0]]", true },
	{ "an unknown kind", "[[8,0]]", true },
	{ "a kind of text", "[[\"1\",0]]", true },
	{ "a time of text", "[[1,\"0\"]]", true },
	{ "no time", "[[1,null]]", true },
	{ "a negative id", "[[1,0,-1]]", true },
	{ "an id that is too large", "[[1,0,4294967296]]", true },
	{ "an attempt of text", "[[1,0,1,\"1\"]]", true },
	{ "a state of text", "[[1,0,1,1,\"x\"]]", true },
	{ "an error of numbers", "[[2,0,1,1,0,null,0,0,1]]", true },
	{ "a cause of numbers", "[[2,0,1,1,0,null,0,0,\"E\",1]]", true },
	{ "a cause of a result", "[[1,0,1,1,0,null,0,0,1,\"c\"]]", true },
	{ "a cause of a heartbeat", "[[7,0,1,1,0,null,0,0,1,\"c\"]]", true },
	{ "more of numbers", "[[2,0,1,1,0,null,0,0,\"E\",\"c\",1]]", true },
	{ "a worker that is nobody", "[[1,0,1,1,0,null,4294967295]]", true },
	{ "too many columns", "[[2,0,1,1,0,null,0,0,\"E\",\"c\",{},1]]",
	  true },
};

START_TEST(test_bad)
{
	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		struct error err = { 0 };
		struct journal_reader *r = journal_reader_create(
		    slice_of(bad[n].row), ROW_AT, &err);
		struct event e;

		ck_assert_msg((r != NULL) == bad[n].readable, "%s",
		              bad[n].name);
		if (r != NULL)
			ck_assert_msg(journal_reader_next(r, &e, &err) ==
			              -EPROTO, "%s: read", bad[n].name);
		ck_assert_msg(err.message[0] != '\0', "%s: no message",
		              bad[n].name);
		journal_reader_destroy(&r);
	}
}
END_TEST

/* The deepest value that there may be, and one level more. */
START_TEST(test_depth)
{
	for (uint32_t extra = 0; extra < 2; extra++) {
		struct value *v = value_nested(VALUE_DEPTH_MAX + extra);
		struct event e = { .kind = EVENT_SUCCEEDED, .activation = 1,
			.attempt = 1, .value = v->s };
		struct journal_place place = { 0, -1 };
		struct buf row = BUF_EMPTY;
		struct journal_reader *r;

		buf_add_byte(&row, '[');
		journal_entry_add(&row, 0, &e, &place);
		buf_add_byte(&row, ']');
		r = journal_reader_create(buf_slice(&row), 0, NULL);
		ck_assert((r != NULL) == (extra == 0));
		journal_reader_destroy(&r);
		value_unref(&v);
		buf_fini(&row);
	}
}
END_TEST

START_TEST(test_extreme_times)
{
	static const int64_t times[] = { INT64_MIN, -1, 0, 1, INT64_MAX };

	for (size_t a = 0; a < 5; a++) {
		for (size_t b = 0; b < 5; b++) {
			struct event e = { .kind = EVENT_FIRED,
				.activation = 1, .at_us = times[b] };
			struct journal_place place = { -1, -1 };
			struct buf row = BUF_EMPTY;
			struct journal_reader *r;
			struct event got;

			buf_add_byte(&row, '[');
			journal_entry_add(&row, times[a], &e, &place);
			buf_add_byte(&row, ']');
			r = journal_reader_create(buf_slice(&row), times[a],
			                          NULL);
			ck_assert_ptr_nonnull(r);
			ck_assert_int_eq(journal_reader_next(r, &got, NULL),
			                 1);
			ck_assert_int_eq(got.at_us, times[b]);
			journal_reader_destroy(&r);
			buf_fini(&row);
		}
	}
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { test_entries, test_bad, test_depth,
		test_extreme_times };

	return run_case("journal", tests, sizeof(tests) / sizeof(tests[0]));
}
