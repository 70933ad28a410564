/* Tests of supervisor/child.h: the moves between phases, and what a life
 * leaves behind. */
#include "supervisor/child.h"

#include <signal.h>

#include "tests/unit/unit.h"

/* Each phase can be reached from STARTING by these moves. */
static void
bring_to(struct child *c, enum child_phase phase)
{
	child_init(c, NULL, CHILD_WORKER, 3);
	if (phase == CHILD_FREE)
		return;
	c->spawn++;
	child_begin(c, 42, NULL, 100);
	if (phase == CHILD_DRAINING)
		child_set_phase(c, CHILD_READY, 200);
	if (phase != CHILD_STARTING)
		child_set_phase(c, phase, 300);
}

#define PHASES 5
static const uint8_t allowed[PHASES][PHASES] = {
	/* to:             free starting ready draining killed */
	[CHILD_FREE] = { 1, 1, 0, 0, 0 },
	[CHILD_STARTING] = { 1, 0, 1, 1, 1 },
	[CHILD_READY] = { 1, 0, 0, 1, 1 },
	[CHILD_DRAINING] = { 1, 0, 0, 0, 1 },
	[CHILD_KILLED] = { 1, 0, 0, 0, 0 },
};

START_TEST(allowed_moves)
{
	enum child_phase from = (enum child_phase)(_i / PHASES);
	enum child_phase to = (enum child_phase)(_i % PHASES);
	struct child c;

	if (!allowed[from][to])
		return;
	bring_to(&c, from);
	child_set_phase(&c, to, 777);
	ck_assert_int_eq(c.phase, to);
	ck_assert_uint_eq(c.phase_since_us, 777);
	child_fini(&c);
}
END_TEST

/* Each runs in a process of its own that must abort. */
START_TEST(forbidden_moves)
{
	enum child_phase from = (enum child_phase)(_i / PHASES);
	enum child_phase to = (enum child_phase)(_i % PHASES);
	struct child c;

	if (allowed[from][to])
		raise(SIGABRT);
	bring_to(&c, from);
	child_set_phase(&c, to, 777);
}
END_TEST

START_TEST(a_life)
{
	struct child c;

	child_init(&c, NULL, CHILD_WORKER, 3);
	ck_assert(!child_alive(&c));
	c.spawn++;
	child_begin(&c, 42, NULL, 1000);
	ck_assert(child_alive(&c));
	child_set_phase(&c, CHILD_READY, 2000);
	c.worked = true;
	c.announced = true;
	buf_add_text(&c.hello, "hello");
	c.pid = 0;
	child_end(&c, "killed by signal 9", 3000);
	ck_assert(!child_alive(&c) && !c.announced);
	ck_assert_uint_eq(c.hello.len, 0);
	ck_assert_uint_eq(c.restarts, 1);
	ck_assert_str_eq(c.last_exit, "killed by signal 9");
	ck_assert_uint_eq(c.backoff.not_before_us, 3000 + BACKOFF_FIRST_US);

	/* Nothing of the first life is left in the second. */
	c.spawn++;
	child_begin(&c, 43, NULL, 200000);
	ck_assert(!c.worked && !c.wanted_dead && c.kill_reason[0] == '\0');
	ck_assert_uint_eq(c.spawn, 2);
	c.pid = 0;
	child_end(&c, "x", 200001);
	child_fini(&c);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("child");
	TCase *tcase = tcase_create("child");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, allowed_moves, 0, PHASES * PHASES);
	tcase_add_loop_test_raise_signal(tcase, forbidden_moves, SIGABRT, 0,
	                                 PHASES * PHASES);
	tcase_add_test(tcase, a_life);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
