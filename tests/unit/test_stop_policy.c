/* Tests of supervisor/stop_policy.h: what is due when, and that it all ends
 * within the grace plus one second whatever anybody does. */
#include "supervisor/stop_policy.h"

#include "tests/unit/unit.h"

#define T UINT64_C(1000000000)
#define MS UINT64_C(1000)

static const struct {
	const char *name;
	struct stop_view view;
	uint64_t now_us;
	struct stop_acts acts;
} cases[] = {
	{ "within the grace everybody is left alone",
	  { .deadline_us = T, .workers_alive = 4 },
	  T - 5000 * MS,
	  { .wake_us = T } },
	{ "the flusher is gone: idle workers are asked to go",
	  { .deadline_us = T, .flusher_gone_us = T - 9000 * MS,
	    .workers_alive = 4 },
	  T - 9000 * MS,
	  { .workers_drain = true, .wake_us = T - 9000 * MS + STOP_IDLE_US } },
	{ "and made to soon after",
	  { .deadline_us = T, .flusher_gone_us = T - 9000 * MS,
	    .workers_alive = 1 },
	  T - 9000 * MS + STOP_IDLE_US,
	  { .workers_drain = true, .workers_kill = true, .wake_us = T } },
	{ "the grace is over",
	  { .deadline_us = T, .workers_alive = 1 },
	  T,
	  { .workers_kill = true, .flusher_hurry = true,
	    .wake_us = T + STOP_FLUSHER_US } },
	{ "without workers the flusher has its time too",
	  { .deadline_us = T },
	  T + 1,
	  { .workers_kill = true, .flusher_hurry = true,
	    .wake_us = T + STOP_FLUSHER_US } },
	{ "its time is over",
	  { .deadline_us = T },
	  T + STOP_FLUSHER_US,
	  { .workers_kill = true, .flusher_hurry = true, .flusher_kill = true,
	    .wake_us = T + STOP_TOTAL_US } },
	{ "nothing waits for what does not die",
	  { .deadline_us = T, .workers_alive = 1, .flusher_gone_us = T },
	  T + STOP_TOTAL_US,
	  { .workers_kill = true, .abandon = true, .wake_us = UINT64_MAX } },
	{ "nobody is left",
	  { .deadline_us = T, .flusher_gone_us = T },
	  T - 5,
	  { .wake_us = UINT64_MAX } },
	{ "at once",
	  { .immediate = true, .deadline_us = T, .workers_alive = 2 },
	  T,
	  { .workers_kill = true, .flusher_kill = true,
	    .wake_us = T + STOP_TOTAL_US } },
};

START_TEST(acts)
{
	const struct stop_acts *want = &cases[_i].acts;
	struct stop_acts got;

	stop_policy(&cases[_i].view, cases[_i].now_us, &got);
	CASE(&cases[_i], got.workers_drain == want->workers_drain);
	CASE(&cases[_i], got.workers_kill == want->workers_kill);
	CASE(&cases[_i], got.flusher_hurry == want->flusher_hurry);
	CASE(&cases[_i], got.flusher_kill == want->flusher_kill);
	CASE(&cases[_i], got.abandon == want->abandon);
	/* Later calls for later steps are fine, earlier ones would spin. */
	CASE(&cases[_i], got.wake_us == want->wake_us);
}
END_TEST

/* Nobody ever ends: the loop sleeps until each wake-up and must give up. */
START_TEST(ends_in_time)
{
	uint64_t grace_us = (uint64_t)_i * 333 * MS;
	struct stop_view view = { .deadline_us = T + grace_us,
		                  .workers_alive = 1 };
	struct stop_acts got;
	uint64_t now_us = T;
	unsigned turns = 0;

	do {
		stop_policy(&view, now_us, &got);
		ck_assert(got.abandon || got.wake_us > now_us);
		ck_assert(got.abandon || got.wake_us != UINT64_MAX);
		if (!got.abandon)
			now_us = got.wake_us;
		ck_assert_uint_lt(++turns, 10);
	} while (!got.abandon);
	ck_assert_uint_lt(now_us, T + grace_us + 1000 * MS);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ acts, COUNT(cases) },
		{ ends_in_time, 20 },
	};

	return unit_run("stop_policy", tests, COUNT(tests));
}
