/* Tests of supervisor/group_policy.h: who is started when, and the backoff of
 * those that die. */
#include "supervisor/group_policy.h"

#include "tests/unit/unit.h"

#define NOW 1000000U
#define SIZE 4U

static const struct {
	const char *name;
	struct slot_view slots[SIZE];
	bool draining;
	uint32_t count;
	uint32_t first;
	uint64_t wake_us;
} cases[] = {
	{ "fills up to its size",
	  { { true, 0 }, { true, 0 }, { true, 0 }, { true, 0 } },
	  false, 4, 0, UINT64_MAX },
	{ "leaves those that live",
	  { { false, 0 }, { false, 0 }, { true, 0 }, { false, 0 } },
	  false, 1, 2, UINT64_MAX },
	{ "waits out a backoff",
	  { { false, 0 }, { true, NOW + 1 }, { false, 0 }, { false, 0 } },
	  false, 0, 0, NOW + 1 },
	{ "and not longer",
	  { { false, 0 }, { true, NOW }, { false, 0 }, { false, 0 } },
	  false, 1, 1, UINT64_MAX },
	{ "wakes for the first of several",
	  { { true, NOW + 9 }, { true, NOW + 3 }, { true, 0 }, { false, 1 } },
	  false, 1, 2, NOW + 3 },
	{ "starts nobody while draining",
	  { { true, 0 }, { true, NOW + 1 }, { true, 0 }, { true, 0 } },
	  true, 0, 0, UINT64_MAX },
};

START_TEST(fills_slots)
{
	const struct brake brake = { .failures = BRAKE_DEGRADED - 1 };
	const struct fork_brake forks = { 0 };
	struct group_view view = {
		.size = SIZE,
		.draining = cases[_i].draining,
		.brake = &brake,
		.forks = &forks,
		.slots = cases[_i].slots,
	};
	uint32_t slots[SIZE];
	uint64_t wake_us;
	uint32_t count = group_policy(&view, NOW, slots, &wake_us);

	CASE(&cases[_i], count == cases[_i].count);
	CASE(&cases[_i], wake_us == cases[_i].wake_us);
	CASE(&cases[_i], count == 0 || slots[0] == cases[_i].first);
}
END_TEST

/* What a slot does that dies n times in a row after lives of life_us. */
static uint64_t
delay_after(unsigned deaths, uint64_t life_us, bool worked)
{
	struct backoff b = { 0, 0 };

	for (unsigned i = 0; i < deaths; i++)
		backoff_death(&b, life_us, worked, false, NOW);
	return b.not_before_us - NOW;
}

START_TEST(backs_off)
{
	ck_assert_uint_eq(delay_after(1, 0, false), BACKOFF_FIRST_US);
	ck_assert_uint_eq(delay_after(2, 0, false), 2 * BACKOFF_FIRST_US);
	ck_assert_uint_eq(delay_after(3, 0, false), 4 * BACKOFF_FIRST_US);
	ck_assert_uint_eq(delay_after(60, 0, false), BACKOFF_MAX_US);
	/* What worked is back soon, however often it is shot. */
	ck_assert_uint_eq(delay_after(60, 5000, true), BACKOFF_WORKED_MAX_US);
	ck_assert_uint_eq(delay_after(60, BACKOFF_LIFE_US, false), 0);
}
END_TEST

START_TEST(a_crash_loop_is_no_fork_storm)
{
	struct backoff b = { 0, 0 };
	uint64_t now_us = NOW;
	unsigned first = 0, second = 0;

	while (now_us < NOW + UINT64_C(120000000)) {
		if (now_us < NOW + UINT64_C(60000000))
			first++;
		else
			second++;
		backoff_death(&b, 1000, false, false, now_us);
		now_us = b.not_before_us;
	}
	ck_assert_uint_le(first, 12);
	ck_assert_uint_le(second, 2);
}
END_TEST

START_TEST(a_death_that_we_wanted_costs_nothing)
{
	struct backoff b = { 0, 0 };

	backoff_death(&b, 1000, true, true, NOW);
	ck_assert_uint_eq(b.not_before_us, NOW);
	backoff_failure(&b, NOW);
	ck_assert_uint_eq(b.not_before_us, NOW + BACKOFF_FIRST_US);
	backoff_death(&b, 1000, true, true, NOW);
	backoff_failure(&b, NOW);
	ck_assert_uint_eq(b.not_before_us, NOW + 2 * BACKOFF_FIRST_US);
	backoff_death(&b, BACKOFF_LIFE_US, true, false, NOW);
	ck_assert_uint_eq(b.not_before_us, NOW);
	backoff_failure(&b, NOW);
	ck_assert_uint_eq(b.not_before_us, NOW + BACKOFF_FIRST_US);
}
END_TEST

/* ---- the brake ---- */

/* A group of so many slots whose processes die at once, for two minutes. */
START_TEST(a_group_that_cannot_start)
{
	static const uint32_t groups[] = { 1, 2, 4, 8, 11 };
	uint32_t size = groups[_i];
	struct slot_view slots[16];
	struct backoff backoffs[16] = { { 0, 0 } };
	struct brake brake = { 0 };
	const struct fork_brake forks = { 0 };
	struct group_view g = {
		.size = size, .brake = &brake, .forks = &forks, .slots = slots
	};
	uint64_t now_us = NOW, wake_us = NOW;
	unsigned first = 0, last = 0;

	while (now_us < NOW + UINT64_C(120000000)) {
		uint32_t fill[16], count;

		for (uint32_t i = 0; i < size; i++)
			slots[i] = (struct slot_view){
				true, backoffs[i].not_before_us
			};
		count = group_policy(&g, now_us, fill, &wake_us);
		for (uint32_t i = 0; i < count; i++) {
			if (now_us < NOW + UINT64_C(60000000))
				first++;
			else
				last++;
			backoff_death(&backoffs[fill[i]], 1000, false, false,
			              now_us);
			brake_failed(&brake, now_us);
		}
		if (count == 0) {
			ck_assert_uint_ne(wake_us, UINT64_MAX);
			ck_assert_uint_gt(wake_us, now_us);
			now_us = wake_us;
		}
	}
	ck_assert(brake_degraded(&brake));
	ck_assert_msg(first <= 12 && last <= 2, "%u slots: %u, then %u", size,
	              first, last);
}
END_TEST

START_TEST(one_at_a_time_until_one_works)
{
	struct slot_view slots[SIZE] = { { true, NOW }, { true, 0 },
		                         { true, NOW + 99 }, { false, 0 } };
	struct brake brake = { 0 };
	struct fork_brake forks = { 0 };
	struct group_view g = {
		.size = SIZE, .brake = &brake, .forks = &forks, .slots = slots
	};
	uint32_t fill[SIZE];
	uint64_t wake_us;

	for (unsigned i = 0; i < BRAKE_DEGRADED; i++)
		brake_failed(&brake, NOW);
	ck_assert(brake_degraded(&brake));
	ck_assert_uint_eq(group_policy(&g, NOW, fill, &wake_us), 0);
	ck_assert_uint_eq(wake_us, NOW + 4 * BACKOFF_FIRST_US);
	ck_assert_uint_eq(group_policy(&g, wake_us, fill, &wake_us), 1);
	ck_assert_uint_eq(fill[0], 1); /* the one that waited longest */
	slots[1].free = false;
	g.unproved = 1;
	ck_assert_uint_eq(group_policy(&g, NOW + BACKOFF_MAX_US, fill,
	                               &wake_us),
	                  0);
	ck_assert_uint_eq(wake_us, UINT64_MAX);
	/* One that was there before the trouble proves nothing. */
	brake_proved(&brake, NOW - 1);
	ck_assert(brake_degraded(&brake));
	brake_proved(&brake, NOW + 5);
	ck_assert(!brake_degraded(&brake));
	ck_assert_uint_eq(group_policy(&g, NOW + 100, fill, &wake_us), 2);
}
END_TEST

START_TEST(fork_fails)
{
	struct slot_view slots[SIZE] = { { true, 0 }, { true, 0 }, { true, 0 },
		                         { true, 0 } };
	struct brake brake = { 0 };
	struct fork_brake forks = { 0 };
	struct group_view g = {
		.size = SIZE, .brake = &brake, .forks = &forks, .slots = slots
	};
	uint64_t now_us = NOW, wake_us, longest_us = 0;
	unsigned tries = 0, told = 0, count_told = 0, in_a_minute = 0;
	uint32_t fill[SIZE], count;

	while (now_us < NOW + UINT64_C(600000000)) {
		if (group_policy(&g, now_us, fill, &wake_us) > 0) {
			tries++;
			in_a_minute += now_us < NOW + FORK_PATIENCE_US;
			if (fork_brake_failed(&forks, now_us, &count)) {
				told++;
				count_told += count;
			}
			ck_assert_uint_ne(forks.failing_us, 0);
			continue;
		}
		if (wake_us - now_us > longest_us)
			longest_us = wake_us - now_us;
		now_us = wake_us;
	}
	/* A second apart for a minute, then up to half a minute. */
	ck_assert_uint_eq(in_a_minute, 60);
	ck_assert_uint_eq(longest_us, BACKOFF_MAX_US);
	ck_assert_uint_lt(tries, 60 + 5 + 18 + 2);
	ck_assert_uint_le(told, 60);
	ck_assert_uint_ge(count_told, tries - 10);
	/* Cured: everybody at once. */
	fork_brake_worked(&forks);
	ck_assert_uint_eq(forks.failing_us, 0);
	ck_assert_uint_eq(group_policy(&g, now_us, fill, &wake_us), SIZE);
}
END_TEST

/* What need not be tried a few times. */
START_TEST(a_program_that_is_missing)
{
	struct slot_view slots[SIZE] = { { true, 0 }, { true, 0 }, { true, 0 },
		                         { true, 0 } };
	const struct fork_brake forks = { 0 };
	struct brake brake = { 0 };
	struct group_view g = {
		.size = SIZE, .brake = &brake, .forks = &forks, .slots = slots
	};
	uint64_t now_us = NOW, wake_us, last_us = 0;
	uint32_t fill[SIZE];

	brake_missing(&brake, NOW);
	ck_assert(brake_degraded(&brake));
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_uint_eq(group_policy(&g, now_us, fill, &wake_us), 0);
		ck_assert_uint_ge(wake_us - now_us, last_us);
		last_us = wake_us - now_us;
		now_us = wake_us;
		ck_assert_uint_eq(group_policy(&g, now_us, fill, &wake_us), 1);
		brake_missing(&brake, now_us);
	}
	ck_assert_uint_eq(last_us, BACKOFF_MAX_US);
	/* Somebody says that it is there now: one try, at once. */
	brake_ease(&brake, now_us);
	ck_assert(brake_degraded(&brake));
	ck_assert_uint_eq(group_policy(&g, now_us, fill, &wake_us), 1);
	brake_missing(&brake, now_us);
	ck_assert_uint_lt(brake.not_before_us - now_us, UINT64_C(1000000));
}
END_TEST

START_TEST(one_that_says_that_it_cannot_serve)
{
	struct slot_view slots[SIZE] = { { true, 0 }, { true, 0 }, { true, 0 },
		                         { true, 0 } };
	const struct fork_brake forks = { 0 };
	struct brake brake = { 0 };
	struct group_view g = {
		.size = SIZE, .brake = &brake, .forks = &forks, .slots = slots
	};
	uint32_t fill[SIZE];
	uint64_t wake_us;

	brake_refused(&brake, NOW);
	ck_assert(brake_degraded(&brake));
	ck_assert_uint_eq(group_policy(&g, NOW + BACKOFF_MAX_US - 1, fill,
	                               &wake_us),
	                  0);
	ck_assert_uint_eq(wake_us, NOW + BACKOFF_MAX_US);
	ck_assert_uint_eq(group_policy(&g, wake_us, fill, &wake_us), 1);
	brake_ease(&brake, NOW + 1);
	ck_assert_uint_eq(group_policy(&g, NOW + 1, fill, &wake_us), 1);
	/* It works: everybody. */
	brake_proved(&brake, NOW + 2);
	ck_assert_uint_eq(group_policy(&g, NOW + 2, fill, &wake_us), SIZE);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ fills_slots, COUNT(cases) },
		{ backs_off, 0 },
		{ a_crash_loop_is_no_fork_storm, 0 },
		{ a_death_that_we_wanted_costs_nothing, 0 },
		{ a_group_that_cannot_start, 5 },
		{ one_at_a_time_until_one_works, 0 },
		{ fork_fails, 0 },
		{ a_program_that_is_missing, 0 },
		{ one_that_says_that_it_cannot_serve, 0 },
	};

	return unit_run("group_policy", tests, COUNT(tests));
}
