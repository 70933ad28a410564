/* Tests of flusher/completion.h: what an item of a COMPLETION frame says. */
#include "flusher/completion.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/engine_values.h"

/* An item: "token, instance" are packed in front, the rest is this. */
static const struct {
	const char *name;
	const char *rest;
	int rc;
	enum completion_status status;
	const char *extra; /* NULL: none */
} items[] = {
	{ "a result", "[3,1,0,50,{'a':1}]", 0, COMPLETION_SUCCEEDED, NULL },
	{ "null as result", "[3,1,0,50,null]", 0, COMPLETION_SUCCEEDED, NULL },
	{ "a result with more", "[3,1,0,50,7,{'log':'x'}]", 0,
	  COMPLETION_SUCCEEDED, "{'log':'x'}" },
	{ "a failure", "[3,1,1,50,'Bad','why']", 0, COMPLETION_FAILED, NULL },
	{ "a failure with kinds", "[3,1,1,50,'Bad','why',{'kinds':['Worse']}]",
	  0, COMPLETION_FAILED, "{'kinds':['Worse']}" },
	{ "taken back", "[3,1,2,0]", 0, COMPLETION_NOT_BEGUN, NULL },
	{ "taken back with more", "[3,1,2,0,{}]", 0, COMPLETION_NOT_BEGUN,
	  "{}" },
	{ "pending", "[3,1,3,50]", 0, COMPLETION_PENDING, NULL },
	{ "pending with more", "[3,1,3,50,{'usage':{'user_us':5}}]", 0,
	  COMPLETION_PENDING, "{'usage':{'user_us':5}}" },
	{ "no result", "[3,1,0,50]", -EPROTO, 0, NULL },
	{ "no cause", "[3,1,1,50,'Bad']", -EPROTO, 0, NULL },
	{ "a name that is a number", "[3,1,1,50,5,'why']", -EPROTO, 0, NULL },
	{ "another status", "[3,1,4,50]", -EPROTO, 0, NULL },
	{ "too much of a result", "[3,1,0,50,7,{},1]", -EPROTO, 0, NULL },
	{ "too much of a failure", "[3,1,1,50,'Bad','why',{},1]", -EPROTO, 0,
	  NULL },
	{ "too much of one taken back", "[3,1,2,0,{},1]", -EPROTO, 0, NULL },
	{ "more that is no map", "[3,1,3,50,['kinds']]", -EPROTO, 0, NULL },
	{ "more that is null", "[3,1,0,50,7,null]", -EPROTO, 0, NULL },
	{ "an activation of text", "['3',1,0,50,7]", -EPROTO, 0, NULL },
	{ "a run of text", "[3,1,0,'x',7]", -EPROTO, 0, NULL },
	{ "nothing", "[]", -EPROTO, 0, NULL },
};

static const uint8_t instance[16] = { 1, 2, 3, [15] = 16 };

/* Packs an item of the parts of rest (checked msgpack of an array). */
static void
item_pack(struct buf *to, struct slice rest)
{
	struct cursor c = cursor_of(rest);
	uint32_t count;

	to->len = 0;
	ck_assert_int_eq(cursor_array(&c, &count), 0);
	value_pack_array(to, 2 + count);
	value_pack_uint(to, 99);
	value_pack_bin(to, instance, sizeof(instance));
	value_pack_raw(to, (struct slice){ c.at, (size_t)(c.end - c.at) });
}

static int
item_read(const struct buf *item, struct completion *out)
{
	struct cursor c = cursor_of(buf_slice(item));
	int rc = completion_read(&c, out);

	if (rc == 0)
		ck_assert_ptr_eq(c.at, c.end);
	return rc;
}

START_TEST(test_items)
{
	struct buf item = BUF_EMPTY;

	for (size_t n = 0; n < sizeof(items) / sizeof(items[0]); n++) {
		struct value *rest = value_from(items[n].rest);
		struct completion c;

		item_pack(&item, rest->s);
		ck_assert_msg(item_read(&item, &c) == items[n].rc, "%s",
		              items[n].name);
		value_unref(&rest);
		if (items[n].rc != 0)
			continue;
		ck_assert_msg(c.token == 99 && c.activation == 3 &&
		              c.attempt == 1 && c.status == items[n].status &&
		              memcmp(c.instance.bytes, instance, 16) == 0,
		              "%s: not the same", items[n].name);
		if (items[n].extra == NULL)
			ck_assert_msg(c.extra.len == 0, "%s: more",
			              items[n].name);
		else
			expect_value(items[n].name, c.extra, items[n].extra);
	}
	buf_fini(&item);
}
END_TEST

/* Whatever is wrong with what it says beside it, the answer counts. */
START_TEST(test_extra_dropped)
{
	struct buf rest = BUF_EMPTY;
	struct buf item = BUF_EMPTY;
	char *text = mem_zalloc(16 << 10);

	memset(text, 'x', 16 << 10);
	for (int n = 0; n < 4; n++) {
		/* {"log": text}: 5 bytes of map and key, 3 of a header. */
		size_t len = (size_t)(16 << 10) - 8 + (n == 1);
		struct completion c;

		rest.len = 0;
		value_pack_array(&rest, 6);
		value_pack_uint(&rest, 3);
		value_pack_uint(&rest, 1);
		value_pack_uint(&rest, COMPLETION_SUCCEEDED);
		value_pack_uint(&rest, 50);
		value_pack_text(&rest, "result");
		value_pack_map(&rest, 1);
		if (n == 2)
			value_pack_uint(&rest, 5); /* no key of JSON */
		else
			value_pack_text(&rest, "log");
		if (n == 3)
			value_pack_bin(&rest, "x", 1);
		else
			value_pack_str(&rest, text, n == 2 ? 1 : len);
		item_pack(&item, buf_slice(&rest));
		ck_assert_int_eq(item_read(&item, &c), 0);
		ck_assert(value_is_str(c.value, "result"));
		ck_assert_uint_eq(c.extra.len, n == 0 ? 16 << 10 : 0);
	}
	free(text);
	buf_fini(&rest);
	buf_fini(&item);
}
END_TEST

/* SQL makes a bigint and an interval of it. */
START_TEST(test_endless_run)
{
	struct buf rest = BUF_EMPTY;
	struct buf item = BUF_EMPTY;
	struct completion c;

	value_pack_array(&rest, 5);
	value_pack_uint(&rest, 3);
	value_pack_uint(&rest, 1);
	value_pack_uint(&rest, COMPLETION_SUCCEEDED);
	value_pack_uint(&rest, UINT64_MAX);
	value_pack_null(&rest);
	item_pack(&item, buf_slice(&rest));
	ck_assert_int_eq(item_read(&item, &c), 0);
	ck_assert_uint_eq(c.run_us, UINT64_C(36525) * 86400 * 1000000);
	buf_fini(&rest);
	buf_fini(&item);
}
END_TEST

START_TEST(test_events)
{
	static const struct {
		const char *rest;
		bool waits;
		enum event_kind kind;
		const char *error;
	} cases[] = {
		{ "[3,1,0,50,7]", false, EVENT_SUCCEEDED, "" },
		{ "[3,1,0,50,7]", true, EVENT_PENDING, "" },
		{ "[3,1,0,50,'more than the 8 bytes that fit']", false,
		  EVENT_FAILED, "States.DataLimitExceeded" },
		{ "[3,1,0,50,'more than the 8 bytes that fit']", true,
		  EVENT_PENDING, "" },
		{ "[3,1,1,50,'Bad','why',{'kinds':['Worse']}]", true,
		  EVENT_FAILED, "Bad" },
		{ "[3,1,3,50]", false, EVENT_PENDING, "" },
		{ "[3,1,3,50]", true, EVENT_PENDING, "" },
	};
	struct buf item = BUF_EMPTY;

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct value *rest = value_from(cases[n].rest);
		struct error err = { 0 };
		struct completion c;
		struct event e;

		item_pack(&item, rest->s);
		ck_assert_int_eq(item_read(&item, &c), 0);
		completion_event(&c, cases[n].waits, 8, &err, &e);
		ck_assert_msg(e.kind == cases[n].kind &&
		              slice_is(e.error, cases[n].error),
		              "case %zu: %d", n, (int)e.kind);
		ck_assert_uint_eq(e.run_us, 50);
		ck_assert_ptr_eq(e.extra.data, c.extra.data);
		if (e.kind == EVENT_PENDING)
			ck_assert_uint_eq(e.value.len, 0);
		value_unref(&rest);
	}
	buf_fini(&item);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { test_items, test_extra_dropped, test_endless_run,
		                 test_events };

	return run_case("completion", tests, sizeof(tests) / sizeof(tests[0]));
}
