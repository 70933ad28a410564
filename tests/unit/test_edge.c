/* Tests of flusher/edge.h. */
#include "flusher/edge.h"

#include <string.h>

#include "common/clock.h"
#include "flusher/flight.h"
#include "tests/unit/unit.h"

#define FLIGHTS 8U

TAILQ_HEAD(list, flight);

struct held {
	struct edge edge;
	struct list list;
	struct flight flights[FLIGHTS];
};

static void
hold(struct held *h, uint32_t places, uint32_t count)
{
	memset(h, 0, sizeof(*h));
	edge_init(&h->edge, places);
	TAILQ_INIT(&h->list);
	for (uint32_t i = 0; i < count; i++) {
		TAILQ_INSERT_TAIL(&h->list, &h->flights[i], slot_entry);
		edge_add(&h->edge, &h->flights[i], 100 + i);
	}
}

static struct flight *
let_go(struct held *h, uint32_t i, bool moves)
{
	struct flight *next = edge_remove(&h->edge, &h->flights[i], moves);

	TAILQ_REMOVE(&h->list, &h->flights[i], slot_entry);
	return next;
}

/* So many run, in the order in which they were sent; all others wait. */
static void
check(const struct held *h, uint32_t runs)
{
	const struct flight *flight;
	uint32_t i = 0;

	TAILQ_FOREACH (flight, &h->list, slot_entry) {
		ck_assert_int_eq(flight->began_us != 0, i < runs);
		if (i == runs)
			ck_assert_ptr_eq(h->edge.first, flight);
		i++;
	}
	if (i <= runs)
		ck_assert_ptr_null(h->edge.first);
	ck_assert_uint_eq(h->edge.running, runs);
}

START_TEST(the_first_run_from_when_they_were_sent)
{
	struct held h;

	hold(&h, 3, 2);
	check(&h, 2);
	ck_assert(edge_has_place(&h.edge));
	ck_assert_uint_eq(h.edge.full_us, 0);
	hold(&h, 3, 7);
	check(&h, 3);
	ck_assert(!edge_has_place(&h.edge));
	ck_assert_uint_eq(h.flights[1].began_us, 101);
	ck_assert_uint_eq(h.edge.full_us, 102);
}
END_TEST

START_TEST(an_answer_makes_room_from_that_moment_on)
{
	struct held h;
	uint64_t before;

	hold(&h, 2, 5);
	before = clock_mono_us();
	/* In whatever order they end: the first that waits is next. */
	ck_assert_ptr_eq(let_go(&h, 1, true), &h.flights[2]);
	ck_assert_uint_ge(h.flights[2].began_us, before);
	ck_assert_uint_ge(h.edge.full_us, before);
	ck_assert_uint_eq(h.flights[0].began_us, 100);
	check(&h, 2);
	ck_assert_ptr_eq(let_go(&h, 0, true), &h.flights[3]);
	ck_assert_ptr_eq(let_go(&h, 3, true), &h.flights[4]);
	check(&h, 2);
	ck_assert_ptr_null(let_go(&h, 2, true));
	check(&h, 1);
	ck_assert_ptr_null(let_go(&h, 4, true));
	check(&h, 0);
}
END_TEST

START_TEST(what_is_given_back_makes_no_room)
{
	struct held h;

	hold(&h, 1, 5);
	ck_assert_ptr_null(let_go(&h, 1, true)); /* the edge itself */
	check(&h, 1);
	ck_assert_ptr_null(let_go(&h, 4, true)); /* the last */
	check(&h, 1);
	ck_assert_ptr_eq(let_go(&h, 0, true), &h.flights[2]);
	ck_assert_ptr_null(let_go(&h, 3, true));
	check(&h, 1);
	ck_assert_ptr_null(h.edge.first);
}
END_TEST

START_TEST(nothing_begins_in_one_that_dies)
{
	struct held h;

	hold(&h, 2, 4);
	ck_assert_ptr_null(let_go(&h, 0, false));
	check(&h, 1);
	ck_assert_ptr_null(let_go(&h, 1, false));
	check(&h, 0);
	ck_assert_ptr_eq(h.edge.first, &h.flights[2]);
}
END_TEST

START_TEST(a_thousand_places_and_none)
{
	struct edge edge;
	struct held h;

	edge_init(&edge, 0); /* the scoreboard tells */
	ck_assert(!edge_has_place(&edge));
	hold(&h, 1024, FLIGHTS);
	check(&h, FLIGHTS);
	ck_assert(edge_has_place(&h.edge));
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ the_first_run_from_when_they_were_sent, 0 },
		{ an_answer_makes_room_from_that_moment_on, 0 },
		{ what_is_given_back_makes_no_room, 0 },
		{ nothing_begins_in_one_that_dies, 0 },
		{ a_thousand_places_and_none, 0 },
	};

	return unit_run("edge", tests, COUNT(tests));
}
