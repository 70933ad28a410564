/*
 * engine_values - writing values as JSON text in tests of the engine.
 *
 * In single quotes, which C strings need no backslash for: {'a':['x',1]}.
 */
#ifndef TESTS_UNIT_ENGINE_VALUES_H
#define TESTS_UNIT_ENGINE_VALUES_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/value.h"

/* Every ' is read as "; write a quotation mark itself as \u0027. */
static inline struct value *
value_from(const char *text)
{
	struct buf b = BUF_EMPTY;
	struct error err = { 0 };
	char *json = mem_strdup(text);
	struct value *v;

	for (char *at = json; *at != '\0'; at++)
		if (*at == '\'')
			*at = '"';
	ck_assert_msg(json_parse(json, strlen(json), DEFINITION_DEPTH_MAX, &b,
	                         NULL, &err) == 0,
	              "%s: %s", json, err.message);
	v = value_create(buf_slice(&b));
	buf_fini(&b);
	free(json);
	return v;
}

/* Compares as JSON, with the order of keys and the type of numbers. */
static inline void
expect_value(const char *name, struct slice got, const char *want)
{
	struct buf b = BUF_EMPTY, w = BUF_EMPTY;
	struct value *v = value_from(want);

	ck_assert_msg(value_check(got, DEFINITION_DEPTH_MAX, NULL) == 0,
	              "%s: not a value", name);
	json_write(got, &b);
	json_write(v->s, &w);
	ck_assert_msg(strcmp(buf_text(&b), buf_text(&w)) == 0,
	              "%s: got %s, not %s", name, buf_text(&b), buf_text(&w));
	value_unref(&v);
	buf_fini(&b);
	buf_fini(&w);
}

/* depth arrays inside each other: [[[]]]. */
static inline struct value *
value_nested(uint32_t depth)
{
	struct buf b = BUF_EMPTY;
	struct value *v;

	for (uint32_t i = 1; i < depth; i++)
		value_pack_array(&b, 1);
	value_pack_array(&b, 0);
	v = value_create(buf_slice(&b));
	buf_fini(&b);
	return v;
}

/* One test case for a table, run as a program of its own. */
static inline int
run_case(const char *name, const TTest **tests, uint32_t count)
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	for (uint32_t i = 0; i < count; i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
