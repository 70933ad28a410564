/*
 * unit - what the unit tests share: running a suite, naming the case of a
 * table that failed, and random numbers that are the same in every run.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(list) ((int)(sizeof(list) / sizeof((list)[0])))

/* Fails with the case's name in front. */
#define CASE(c, condition)                                                     \
	ck_assert_msg((condition), "%s: %s", (c)->name, #condition)

struct unit_test {
	const TTest *test;
	int cases; /* 0: not a loop over a table */
};

static inline int
unit_run(const char *name, const struct unit_test *tests, int count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	for (int i = 0; i < count; i++)
		tcase_add_loop_test(tcase, tests[i].test, 0,
				    tests[i].cases > 0 ? tests[i].cases : 1);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* xorshift64*: never 0 as state. */
static inline uint64_t
unit_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

#endif
