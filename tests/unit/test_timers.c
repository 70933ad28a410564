/* Tests of flusher/timers.h: order, cancelling, and that no timer is left
 * behind, against a plain list. */
#include "flusher/timers.h"

#include <string.h>

#include "common/clock.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "tests/unit/unit.h"

#define LEASES 20U
#define FIRED_MAX 2000U

static struct flusher flusher;
static struct lease leases[LEASES];
static struct {
	uint32_t activation;
	enum timer_kind kind;
} fired[FIRED_MAX];
static uint32_t fired_count;

/* The parts of the flusher that timers.c asks for. */
int64_t
flusher_now_us(const struct flusher *f)
{
	return (int64_t)clock_mono_us() + f->clock.offset_us;
}

static void
due(struct flusher *f, struct lease *lease, enum timer_kind kind,
    uint32_t activation)
{
	(void)lease;
	ck_assert_ptr_eq(f, &flusher);
	ck_assert_uint_lt(fired_count, FIRED_MAX);
	fired[fired_count].activation = activation;
	fired[fired_count++].kind = kind;
}

static void
setup(void)
{
	memset(&flusher, 0, sizeof(flusher));
	memset(leases, 0, sizeof(leases));
	fired_count = 0;
	flusher.base = event_base_new();
	flusher.timers = timers_create(&flusher, due);
}

static void
teardown(void)
{
	timers_destroy(&flusher.timers);
	event_base_free(flusher.base);
}

START_TEST(what_is_due_fires_in_its_order)
{
	int64_t now;

	setup();
	now = flusher_now_us(&flusher);

	/* Activation = the order in which it is due. */
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t order = (i * 617) % 1000;

		timers_add(flusher.timers, &leases[i % LEASES],
		           order % 2 ? TIMER_FIRE : TIMER_RETRY, order,
		           now - 5000 + order);
	}
	event_base_loop(flusher.base, EVLOOP_ONCE);
	ck_assert_uint_eq(fired_count, 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(fired[i].activation, i);
		ck_assert_int_eq(fired[i].kind,
		                 i % 2 ? TIMER_FIRE : TIMER_RETRY);
	}
	ck_assert_uint_eq(timers_count(flusher.timers), 0);
	teardown();
}
END_TEST

START_TEST(cancelled_and_forgotten_ones_do_not_fire)
{
	int64_t now;

	setup();
	now = flusher_now_us(&flusher);

	for (uint32_t i = 0; i < 100; i++)
		timers_add(flusher.timers, &leases[i % LEASES], TIMER_FIRE, i,
		           now - i);
	timers_cancel(flusher.timers, &leases[3], 23);
	timers_cancel(flusher.timers, &leases[3], 24); /* not of this lease */
	timers_forget(flusher.timers, &leases[7]);
	ck_assert_uint_eq(timers_count(flusher.timers), 94);
	event_base_loop(flusher.base, EVLOOP_ONCE);
	ck_assert_uint_eq(fired_count, 94);
	for (uint32_t i = 0; i < fired_count; i++) {
		ck_assert_uint_ne(fired[i].activation, 23);
		ck_assert_uint_ne(fired[i].activation % LEASES, 7);
	}
	teardown();
}
END_TEST

START_TEST(what_is_not_due_waits)
{
	int64_t now;

	setup();
	now = flusher_now_us(&flusher);

	timers_add(flusher.timers, &leases[0], TIMER_FIRE, 1,
	           now + 3600 * (int64_t)CLOCK_SECOND_US);
	timers_add(flusher.timers, &leases[0], TIMER_FIRE, 2, now + 2000);
	event_base_loop(flusher.base, EVLOOP_ONCE);
	ck_assert_uint_eq(fired_count, 1);
	ck_assert_uint_eq(fired[0].activation, 2);
	ck_assert_int_ge(flusher_now_us(&flusher), now + 2000);
	ck_assert_uint_eq(timers_count(flusher.timers), 1);
	timers_forget(flusher.timers, &leases[0]);
	teardown();
}
END_TEST

/* What an instance waits for, and not what is done with it meanwhile. */
START_TEST(parking_is_nothing_to_wait_for)
{
	int64_t now, due_us;

	setup();
	now = flusher_now_us(&flusher);
	ck_assert(!timers_first(&leases[0], &due_us));
	timers_add(flusher.timers, &leases[0], TIMER_PARK, 0, now + 1000);
	ck_assert(!timers_first(&leases[0], &due_us));
	ck_assert(timers_any(&leases[0], TIMER_PARK));
	ck_assert(!timers_any(&leases[0], TIMER_FIRE));
	timers_add(flusher.timers, &leases[0], TIMER_FIRE, 1, now + 2000);
	ck_assert(timers_first(&leases[0], &due_us));
	ck_assert_int_eq(due_us, now + 2000);
	timers_forget(flusher.timers, &leases[0]);
	ck_assert(!timers_any(&leases[0], TIMER_PARK));
	teardown();
}
END_TEST

/* The beginning of the count of time is a time like any other. */
START_TEST(due_at_any_time)
{
	static const int64_t times[] = { 0, -1, 1, -62135596800000000 };

	for (uint32_t i = 0; i < COUNT(times); i++) {
		setup();
		timers_add(flusher.timers, &leases[0], TIMER_FIRE, i, times[i]);
		event_base_loop(flusher.base, EVLOOP_ONCE);
		ck_assert_uint_eq(fired_count, 1);
		teardown();
	}
}
END_TEST

START_TEST(a_clock_that_jumps_is_followed)
{
	int64_t now;

	setup();
	now = flusher_now_us(&flusher);
	timers_add(flusher.timers, &leases[0], TIMER_FIRE, 1,
	           now + 30 * (int64_t)CLOCK_SECOND_US);
	flusher.clock.offset_us += 3600 * (int64_t)CLOCK_SECOND_US;
	timers_clock_moved(flusher.timers);
	event_base_loop(flusher.base, EVLOOP_ONCE);
	ck_assert_uint_eq(fired_count, 1);
	teardown();
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ what_is_due_fires_in_its_order, 0 },
		{ cancelled_and_forgotten_ones_do_not_fire, 0 },
		{ parking_is_nothing_to_wait_for, 0 },
		{ what_is_not_due_waits, 0 },
		{ due_at_any_time, 0 },
		{ a_clock_that_jumps_is_followed, 0 },
	};

	return unit_run("timers", tests, COUNT(tests));
}
