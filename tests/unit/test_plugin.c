/* Tests of worker/plugin.h, plugin_value.h, registry.h and outcome.c: what a
 * plugin may be, how it sees values, which actions there are. */
#include <errno.h>
#include <string.h>

#include "common/json.h"
#include "common/value.h"
#include "tests/unit/unit.h"
#include "worker/plugin.h"
#include "worker/plugin_api.h"
#include "worker/plugin_value.h"
#include "worker/registry.h"

/* ---- what it says of itself ---- */

static void
run_cb(struct rappel_task *t)
{
	(void)t;
}

static const char name_of_128[] =
    "0123456789012345678901234567890123456789012345678901234567890123"
    "0123456789012345678901234567890123456789012345678901234567890123";

static const struct rappel_action good[] = {
	{ "a", run_cb, 0 }, { "\xc3\xa4", run_cb, RAPPEL_SLOW }
};
static const struct rappel_action longest[] = { { name_of_128, run_cb, 0 } };
static const struct rappel_action no_name[] = { { NULL, run_cb, 0 } };
static const struct rappel_action empty_name[] = { { "", run_cb, 0 } };
static const struct rappel_action newline[] = { { "a\nb", run_cb, 0 } };
static const struct rappel_action latin[] = { { "\xe4", run_cb, 0 } };
static const struct rappel_action no_run[] = { { "a", NULL, 0 } };
static const struct rappel_action flags[] = { { "a", run_cb, 2 } };
static const struct rappel_action second[] = { { "a", run_cb, 0 },
					       { "b", NULL, 0 } };

/* What differs from a plugin that is built against our header. */
static const struct {
	const char *name;
	const struct rappel_action *list;
	uint32_t count;
	int abi, size, api_size, action_size;
	const char *error; /* NULL: it fits */
} plugins[] = {
	{ "as it should be", good, 2, 0, 0, 0, 0, NULL },
	{ "the longest name", longest, 1, 0, 0, 0, 0, NULL },
	{ "built against an older header", good, 2, 0, 0, -8, 0, NULL },
	{ "with more to say", good, 2, 0, 8, 0, 0, NULL },
	{ "another ABI", good, 2, 1, 0, 0, 0, "plugin ABI 2" },
	{ "no ABI", good, 2, -1, 0, 0, 0, "plugin ABI 0" },
	{ "needs more functions", good, 2, 0, 0, 8, 0, "built with a newer" },
	{ "less than version 1", good, 2, 0, -8, 0, 0, "sizes" },
	{ "shorter actions", good, 2, 0, 0, 0, -8, "sizes" },
	{ "crooked actions", good, 2, 0, 0, 0, 3, "sizes" },
	{ "no table", NULL, 2, 0, 0, 0, 0, "no actions" },
	{ "an empty table", good, 0, 0, 0, 0, 0, "no actions" },
	{ "a million", good, 1000000, 0, 0, 0, 0, "split it" },
	{ "no name", no_name, 1, 0, 0, 0, 0, "actions[0]" },
	{ "an empty name", empty_name, 1, 0, 0, 0, 0, "actions[0]" },
	{ "a name of two lines", newline, 1, 0, 0, 0, 0, "actions[0]" },
	{ "a name in Latin-1", latin, 1, 0, 0, 0, 0, "actions[0]" },
	{ "no function", no_run, 1, 0, 0, 0, 0, "no function" },
	{ "no second function", second, 2, 0, 0, 0, 0,
	  "\"b\" has no function" },
	{ "unknown flags", flags, 1, 0, 0, 0, 0, "0x2" },
};

START_TEST (checks_plugins) {
	struct rappel_plugin plugin = {
		.abi = (uint32_t)(RAPPEL_ABI + plugins[_i].abi),
		.size = (uint32_t)((int)sizeof(plugin) + plugins[_i].size),
		.api_size = (uint32_t)((int)sizeof(struct rappel_api) +
				       plugins[_i].api_size),
		.action_size = (uint32_t)((int)sizeof(struct rappel_action) +
					  plugins[_i].action_size),
		.actions = plugins[_i].list,
		.action_count = plugins[_i].count,
	};
	struct error err = { 0 };
	int rc = plugin_check(&plugin, &err);

	CASE(&plugins[_i], (rc == 0) == (plugins[_i].error == NULL));
	if (rc < 0) {
		CASE(&plugins[_i], rc == -EINVAL);
		ck_assert_msg(strstr(err.message, plugins[_i].error) != NULL,
			      "%s: %s", plugins[_i].name, err.message);
	}
}
END_TEST

/* A module of a later rappel has longer entries; ours are read from them. */
START_TEST (reads_longer_entries) {
	static const struct {
		struct rappel_action now;
		uint64_t later;
	} table[] = { { { "a", run_cb, 0 }, 1 }, { { "b", NULL, 0 }, 2 } };
	struct rappel_plugin plugin = {
		.abi = RAPPEL_ABI,
		.size = sizeof(plugin),
		.api_size = sizeof(struct rappel_api),
		.action_size = sizeof(table[0]),
		.actions = &table[0].now,
		.action_count = COUNT(table),
	};
	struct error err = { 0 };

	ck_assert_int_eq(plugin_check(&plugin, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "\"b\" has no function"));
}
END_TEST

START_TEST (says_what_the_worker_has) {
	const void *const *functions =
	    (const void *const *)(const void *)&plugin_api.type;
	size_t count =
	    (sizeof(plugin_api) - offsetof(struct rappel_api, type)) /
	    sizeof(void *);

	ck_assert_uint_eq(plugin_api.abi, RAPPEL_ABI);
	ck_assert_uint_eq(plugin_api.size, sizeof(plugin_api));
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(functions[i] != NULL, "function %zu", i);
}
END_TEST

/* ---- values ---- */

static const struct {
	const char *name;
	const char *json;
	enum rappel_type type;
	bool is_int, is_uint, is_double;
	int64_t i;
	uint64_t u;
	double d;
} values[] = {
	{ "null", "null", RAPPEL_NULL, 0, 0, 0, 0, 0, 0 },
	{ "true", "true", RAPPEL_BOOL, 0, 0, 0, 0, 0, 0 },
	{ "zero", "0", RAPPEL_INT, 1, 1, 1, 0, 0, 0 },
	{ "negative", "-3", RAPPEL_INT, 1, 0, 1, -3, 0, -3 },
	{ "the smallest", "-9223372036854775808", RAPPEL_INT, 1, 0, 1,
	  INT64_MIN, 0, -9223372036854775808.0 },
	{ "the greatest int", "9223372036854775807", RAPPEL_INT, 1, 1, 0,
	  INT64_MAX, INT64_MAX, 0 },
	{ "the next one", "9223372036854775808", RAPPEL_UINT, 0, 1, 1, 0,
	  (uint64_t)INT64_MAX + 1, 9223372036854775808.0 },
	{ "the greatest", "18446744073709551615", RAPPEL_UINT, 0, 1, 0, 0,
	  UINT64_MAX, 0 },
	{ "2^53", "9007199254740992", RAPPEL_INT, 1, 1, 1,
	  INT64_C(9007199254740992), UINT64_C(9007199254740992),
	  9007199254740992.0 },
	{ "2^53+1, which no double is", "9007199254740993", RAPPEL_INT, 1, 1, 0,
	  INT64_C(9007199254740993), UINT64_C(9007199254740993), 0 },
	{ "2^54+2, nor this", "18014398509481986", RAPPEL_INT, 1, 1, 0,
	  INT64_C(18014398509481986), UINT64_C(18014398509481986), 0 },
	{ "2^54+4", "18014398509481988", RAPPEL_INT, 1, 1, 1,
	  INT64_C(18014398509481988), UINT64_C(18014398509481988),
	  18014398509481988.0 },
	{ "a whole double", "1.0", RAPPEL_DOUBLE, 0, 0, 1, 0, 0, 1 },
	{ "a part", "0.5", RAPPEL_DOUBLE, 0, 0, 1, 0, 0, 0.5 },
	{ "a text", "\"1\"", RAPPEL_STRING, 0, 0, 0, 0, 0, 0 },
	{ "an array", "[1]", RAPPEL_ARRAY, 0, 0, 0, 0, 0, 0 },
	{ "a map", "{}", RAPPEL_MAP, 0, 0, 0, 0, 0, 0 },
};

static struct rappel_value
parse(const char *json, struct buf *out)
{
	ck_assert_int_eq(
	    json_parse(json, strlen(json), VALUE_DEPTH_MAX, out, NULL, NULL),
	    0);
	return (struct rappel_value){ out->data, out->len };
}

START_TEST (numbers_are_exact) {
	struct buf packed = BUF_EMPTY;
	struct rappel_value v = parse(values[_i].json, &packed);
	int64_t i = 77;
	uint64_t u = 77;
	double d = 77;

	CASE(&values[_i], plugin_value_type(v) == values[_i].type);
	CASE(&values[_i], plugin_value_int(v, &i) == values[_i].is_int);
	CASE(&values[_i], i == (values[_i].is_int ? values[_i].i : 77));
	CASE(&values[_i], plugin_value_uint(v, &u) == values[_i].is_uint);
	CASE(&values[_i], u == (values[_i].is_uint ? values[_i].u : 77));
	CASE(&values[_i], plugin_value_double(v, &d) == values[_i].is_double);
	/* Bits, since -Wfloat-equal is right about the rest. */
	if (values[_i].is_double)
		CASE(&values[_i], memcmp(&d, &values[_i].d, sizeof(d)) == 0);
	buf_fini(&packed);
}
END_TEST

static bool
text_is(struct rappel_text text, const char *expected)
{
	return text.len == strlen(expected) &&
	       memcmp(text.data, expected, text.len) == 0;
}

START_TEST (walks) {
	struct buf packed = BUF_EMPTY;
	struct rappel_value v = parse("{\"a\":1,\"b\":[2,\"x\",{}],\"a\":3}",
				      &packed),
			    part;
	struct rappel_text key, text;
	struct rappel_cursor c;
	int64_t i;

	ck_assert_uint_eq(plugin_value_count(v), 3);
	ck_assert(plugin_value_get(v, "a", 1, &part));
	ck_assert(plugin_value_int(part, &i) && i == 3);
	ck_assert(!plugin_value_get(v, "c", 1, &part));
	ck_assert(plugin_value_get(v, "b", 1, &part));
	ck_assert(!plugin_value_get(part, "a", 1, &part));
	ck_assert(plugin_value_open(v, &c));
	ck_assert(plugin_value_next(&c, &key, &part) && text_is(key, "a"));
	ck_assert(plugin_value_next(&c, &key, &part) && text_is(key, "b"));
	ck_assert_uint_eq(plugin_value_count(part), 3);
	ck_assert(plugin_value_next(&c, NULL, &v));
	ck_assert(!plugin_value_next(&c, &key, &v));

	ck_assert(plugin_value_open(part, &c));
	ck_assert(plugin_value_next(&c, &key, &v) && key.len == 0);
	ck_assert(plugin_value_at(part, 1, &v));
	ck_assert(plugin_value_string(v, &text) && text_is(text, "x"));
	ck_assert(!plugin_value_at(part, 3, &v));
	ck_assert(!plugin_value_at(v, 0, &v));
	ck_assert(!plugin_value_open(v, &c));
	buf_fini(&packed);
}
END_TEST

START_TEST (what_is_not_there) {
	struct rappel_value none = { NULL, 0 }, out;
	struct rappel_text text;
	struct rappel_cursor c;
	uint64_t u;
	int64_t i;
	double d;
	bool b;

	ck_assert_int_eq(plugin_value_type(none), RAPPEL_NONE);
	ck_assert_uint_eq(plugin_value_count(none), 0);
	ck_assert(!plugin_value_get(none, "a", 1, &out));
	ck_assert(!plugin_value_at(none, 0, &out));
	ck_assert(!plugin_value_open(none, &c));
	ck_assert(!plugin_value_bool(none, &b));
	ck_assert(!plugin_value_int(none, &i));
	ck_assert(!plugin_value_uint(none, &u));
	ck_assert(!plugin_value_double(none, &d));
	ck_assert(!plugin_value_string(none, &text));
}
END_TEST

/* ---- which actions there are ---- */

START_TEST (finds_actions) {
	struct registry r = REGISTRY_EMPTY;
	static char names[500][16];
	static struct action many[500];

	ck_assert_ptr_null(registry_find(&r, slice_of("noop")));
	registry_add_builtin(&r);
	for (int i = 0; i < COUNT(many); i++) {
		snprintf(names[i], sizeof(names[i]), "action-%d", i);
		many[i].name = names[i];
		ck_assert_ptr_null(registry_add(&r, &many[i]));
		ck_assert_ptr_eq(registry_add(&r, &many[i]), &many[i]);
	}
	ck_assert_uint_eq(r.count, ACTIONS_COUNT + COUNT(many));
	for (int i = 0; i < COUNT(many); i++)
		ck_assert_ptr_eq(registry_find(&r, slice_of(names[i])),
				 &many[i]);
	for (uint32_t i = 0; i < ACTIONS_COUNT; i++)
		ck_assert_ptr_eq(registry_find(&r, slice_of(actions[i].name)),
				 &actions[i]);
	ck_assert_ptr_null(registry_find(&r, slice_of("action-500")));
	ck_assert_ptr_null(registry_find(&r, slice_of("")));
	registry_fini(&r);
}
END_TEST

/* ---- what an answer says more ---- */

START_TEST (more_is_bounded) {
	struct outcome o = { .failed = false };
	struct buf text = BUF_EMPTY;

	outcome_kind(&o, slice_of(""));
	outcome_kind(&o, slice_of("\xff"));
	outcome_kind(&o, SLICE_LITERAL("a\0b"));
	outcome_kind(&o, (struct slice){ (const uint8_t *)plugins, 129 });
	ck_assert_uint_eq(o.extra.kind_count, 0);
	for (uint32_t i = 0; i < 2 * OUTCOME_KINDS_MAX; i++) {
		outcome_kind(&o, slice_of(name_of_128));
		outcome_usage(&o, "abcdefghijklmnopqrstuvwxyzabcdef",
			      UINT64_MAX);
	}
	ck_assert_uint_eq(o.extra.kind_count, OUTCOME_KINDS_MAX);
	ck_assert_uint_eq(o.extra.usage_count, OUTCOME_USAGE_MAX);
	for (uint32_t i = 0; i < OUTCOME_LOG_MAX; i++)
		buf_add_text(&text, "\xc3\xa4");
	buf_add_text(&text, "z");
	outcome_log(&o, buf_slice(&text));
	ck_assert_uint_eq(o.extra.log.len, OUTCOME_LOG_MAX - 1);
	ck_assert(memcmp(o.extra.log.data, "\xc3\xa4", 2) == 0);
	/* Keys and headers of the map take less than 64 bytes. */
	ck_assert_uint_lt(o.extra.kinds.len + o.extra.usage.len +
			      o.extra.log.len + 64,
			  16 << 10);
	outcome_reset(&o);
	ck_assert_uint_eq(o.extra.kind_count + o.extra.usage_count, 0);
	ck_assert_uint_eq(o.extra.log.len, 0);
	buf_fini(&text);
	outcome_fini(&o);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ checks_plugins, COUNT(plugins) },
		{ reads_longer_entries, 0 },
		{ says_what_the_worker_has, 0 },
		{ numbers_are_exact, COUNT(values) },
		{ walks, 0 },
		{ what_is_not_there, 0 },
		{ finds_actions, 0 },
		{ more_is_bounded, 0 },
	};

	return unit_run("plugin", tests, COUNT(tests));
}
