/* Tests of supervisor/rotation.h: members and spares, one replacement at a
 * time, and the limits of a life. */
#include "supervisor/rotation.h"

#include <string.h>

#include "tests/unit/unit.h"

#define SIZE 6U

/* A seat by a letter: m and M members, s and S spare; capitals live. */
static void
seats_of(const char *text, struct seat *seats)
{
	memset(seats, 0, SIZE * sizeof(*seats));
	for (uint32_t i = 0; i < SIZE; i++) {
		seats[i].member = text[i] == 'm' || text[i] == 'M';
		seats[i].alive = text[i] == 'M' || text[i] == 'S';
		seats[i].ready = seats[i].alive;
		seats[i].spawn = 1;
		seats[i].started_us = 100 + i;
	}
}

static const char *
seats_text(const struct seat *seats)
{
	static char text[SIZE + 1];

	for (uint32_t i = 0; i < SIZE; i++)
		text[i] = seats[i].member ? seats[i].alive ? 'M' : 'm'
		          : seats[i].alive ? 'S' : 's';
	return text;
}

static const struct {
	const char *name;
	const char *before;
	uint32_t wanted;
	const char *after;
} sizes[] = {
	{ "at the start", "ssssss", 3, "mmmsss" },
	{ "as it is", "MMMsss", 3, "MMMsss" },
	{ "one more", "MMMsss", 4, "MMMmss" },
	{ "a free slot before one that drains", "MSMsss", 3, "MSMmss" },
	{ "one that drains when there is no other", "MSMMMM", 6, "MMMMMM" },
	{ "one less: the last", "MMMsss", 2, "MMSsss" },
	{ "one less: rather one that is not there", "MmMsss", 2, "MsMsss" },
	{ "more than there are", "MMMsss", 99, "MMMmmm" },
	{ "none", "MMMsss", 0, "SSSsss" },
};

START_TEST(resizes)
{
	struct seat seats[SIZE];

	seats_of(sizes[_i].before, seats);
	seats_resize(seats, SIZE, sizes[_i].wanted);
	ck_assert_msg(strcmp(seats_text(seats), sizes[_i].after) == 0,
	              "%s: %s", sizes[_i].name, seats_text(seats));
}
END_TEST

/* The whole way of one replacement. */
START_TEST(replaces_one)
{
	struct rotation r = { 0 };
	struct seat seats[SIZE];

	seats_of("MMMsss", seats);
	ck_assert(!rotation_step(&r, seats, SIZE));
	seats[1].due = seats[2].due = true;
	seats[2].started_us = 5; /* the oldest goes first */
	ck_assert(rotation_step(&r, seats, SIZE));
	ck_assert_int_eq(r.step, ROTATION_STARTING);
	ck_assert_uint_eq(r.old, 2);
	ck_assert_uint_eq(r.fresh, 3);
	ck_assert(seat_wanted(&r, seats[3].member, 3));
	ck_assert(!seat_wanted(&r, seats[4].member, 4));
	/* Nothing happens until it is READY, however often it dies. */
	seats[3].alive = true;
	ck_assert(!rotation_step(&r, seats, SIZE));
	seats[3].alive = false;
	ck_assert(!rotation_step(&r, seats, SIZE));
	seats[3].alive = seats[3].ready = true;
	ck_assert_str_eq(seats_text(seats), "MMMSss");
	ck_assert(rotation_step(&r, seats, SIZE));
	ck_assert_str_eq(seats_text(seats), "MMSMss");
	ck_assert_int_eq(r.step, ROTATION_DRAINING);
	ck_assert(!seat_wanted(&r, seats[2].member, 2));
	/* The next one waits until the first is gone. */
	seats[2].ready = false;
	ck_assert(!rotation_step(&r, seats, SIZE));
	seats[2].alive = seats[2].due = false;
	ck_assert(rotation_step(&r, seats, SIZE));
	ck_assert_int_eq(r.step, ROTATION_NONE);
	ck_assert(rotation_step(&r, seats, SIZE));
	ck_assert_uint_eq(r.old, 1);
	ck_assert_uint_eq(r.fresh, 2);
}
END_TEST

static const struct {
	const char *name;
	bool old_member, old_alive, fresh_member;
	uint32_t old_spawn;
} ends[] = {
	{ "the old one died", true, false, false, 1 },
	{ "and is there again", true, true, false, 2 },
	{ "the pool shrank", false, true, false, 1 },
	{ "the pool grew into the spare", true, true, true, 1 },
};

START_TEST(gives_up_what_is_not_needed)
{
	struct rotation r = { 0 };
	struct seat seats[SIZE];

	seats_of("MMMsss", seats);
	seats[0].due = true;
	ck_assert(rotation_step(&r, seats, SIZE));
	seats[r.fresh].alive = true;
	seats[r.fresh].member = ends[_i].fresh_member;
	seats[0].member = ends[_i].old_member;
	seats[0].alive = ends[_i].old_alive;
	seats[0].spawn = ends[_i].old_spawn;
	seats[0].due = false;
	CASE(&ends[_i], rotation_step(&r, seats, SIZE));
	CASE(&ends[_i], r.step == ROTATION_NONE);
}
END_TEST

START_TEST(needs_a_spare)
{
	struct rotation r = { 0 };
	struct seat seats[SIZE];

	seats_of("MMMMMS", seats);
	seats[0].due = true;
	ck_assert(!rotation_step(&r, seats, SIZE));
	seats[5].alive = false;
	ck_assert(rotation_step(&r, seats, SIZE));
	ck_assert_uint_eq(r.fresh, 5);
}
END_TEST

/* Whatever happens, so many members are there and never fewer ready ones than
 * before a replacement began, and everybody who is due is replaced. */
START_TEST(never_a_gap)
{
	uint64_t random = 12345 + (uint64_t)_i;
	struct rotation r = { 0 };
	struct seat seats[SIZE];
	uint32_t replaced = 0;

	seats_of("MMMMss", seats);
	for (uint32_t i = 0; i < 4; i++)
		seats[i].due = true;
	for (uint32_t turn = 0; turn < 100000 && replaced < 4; turn++) {
		uint32_t members = 0, ready = 0;

		while (rotation_step(&r, seats, SIZE))
			;
		for (uint32_t i = 0; i < SIZE; i++) {
			struct seat *s = &seats[i];
			bool wanted = seat_wanted(&r, s->member, i);
			uint64_t dice = unit_random(&random) % 4;

			members += s->member;
			ready += s->ready && wanted;
			if (wanted && !s->alive && dice == 0) {
				s->alive = true;
				s->due = false;
				s->spawn++;
			} else if (wanted && s->alive && !s->ready) {
				s->ready = dice == 1;
				s->alive = dice != 2;
			} else if (!wanted && s->alive && dice == 0) {
				replaced += s->due;
				s->alive = s->ready = s->due = false;
			}
		}
		ck_assert_uint_eq(members, 4);
		ck_assert_uint_ge(ready, 4);
	}
	ck_assert_uint_eq(replaced, 4);
}
END_TEST

static const struct {
	const char *name;
	struct recycle_limits own;
	uint64_t actions, age_us, rss;
	bool due;
} lives[] = {
	{ "no limit", { 0, 0, 0 }, 1 << 30, UINT64_MAX, UINT64_MAX, false },
	{ "below all", { 10, 10, 10 }, 9, 9, 9, false },
	{ "actions", { 10, 0, 0 }, 10, 0, 0, true },
	{ "more than frames count", { 0, 0, 0 }, UINT32_C(1) << 31, 0, 0,
	  true },
	{ "age", { 0, 10, 0 }, 0, 10, 0, true },
	{ "memory", { 0, 0, 10 }, 0, 0, 10, true },
};

START_TEST(due)
{
	CASE(&lives[_i], (recycle_due(&lives[_i].own, lives[_i].actions,
	                              lives[_i].age_us, lives[_i].rss) !=
	                  NULL) == lives[_i].due);
}
END_TEST

START_TEST(limits_differ)
{
	const struct recycle_limits all = { 1000, UINT64_C(3600000000), 77 };
	uint32_t least = 1000, most = 0, same = 0;

	for (uint32_t slot = 0; slot < 64; slot++) {
		struct recycle_limits own =
		    recycle_limits_of(&all, (uint16_t)slot, 1);
		struct recycle_limits next =
		    recycle_limits_of(&all, (uint16_t)slot, 2);

		ck_assert_uint_ge(own.actions, 750);
		ck_assert_uint_le(own.actions, 1000);
		ck_assert_uint_ge(own.age_us, all.age_us / 4 * 3);
		ck_assert_uint_le(own.age_us, all.age_us);
		ck_assert_uint_eq(own.rss, 77);
		least = own.actions < least ? own.actions : least;
		most = own.actions > most ? own.actions : most;
		same += own.actions == next.actions;
	}
	ck_assert_uint_gt(most - least, 200);
	ck_assert_uint_lt(same, 8);
	/* The same slot and spawn have the same, always. */
	ck_assert_uint_eq(recycle_limits_of(&all, 3, 9).actions,
	                  recycle_limits_of(&all, 3, 9).actions);
	/* Never is never, and one is one. */
	ck_assert_uint_eq(
	    recycle_limits_of(&(struct recycle_limits){ 1, 0, 0 }, 3, 9).actions,
	    1);
	ck_assert_uint_eq(
	    recycle_limits_of(&(struct recycle_limits){ 0, 0, 0 }, 3, 9).age_us,
	    0);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ resizes, COUNT(sizes) },
		{ replaces_one, 0 },
		{ gives_up_what_is_not_needed, COUNT(ends) },
		{ needs_a_spare, 0 },
		{ never_a_gap, 50 },
		{ due, COUNT(lives) },
		{ limits_differ, 0 },
	};

	return unit_run("rotation", tests, COUNT(tests));
}
