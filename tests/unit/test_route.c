/* Tests of flusher/route.h. */
#include "flusher/route.h"

#include <string.h>

#include "flusher/lease.h"
#include "tests/unit/unit.h"

START_TEST(one_route_a_name)
{
	struct routes routes;
	struct route *a, *b;

	routes_init(&routes);
	a = route_find(&routes, slice_of("noop"));
	b = route_find(&routes, slice_of("noop2"));
	ck_assert_ptr_ne(a, b);
	ck_assert_ptr_eq(route_find(&routes, slice_of("noop")), a);
	routes_fini(&routes);
}
END_TEST

START_TEST(first_in_first_out_and_lost_ones_first)
{
	struct routes routes;
	struct lease lease;
	struct route *route;

	memset(&lease, 0, sizeof(lease));
	routes_init(&routes);
	route = route_find(&routes, slice_of("a"));
	/* More than the first ring holds, so that it grows while it wraps. */
	for (uint32_t i = 0; i < 40; i++)
		route_push(&routes, route, &(struct ready){ &lease, i, 1, 0 });
	for (uint32_t i = 0; i < 30; i++)
		ck_assert_uint_eq(route_pop(&routes, route).activation, i);
	for (uint32_t i = 40; i < 200; i++)
		route_push(&routes, route, &(struct ready){ &lease, i, 1, 0 });
	route_push_front(&routes, route, &(struct ready){ &lease, 999, 2, 0 });
	ck_assert_uint_eq(routes.queued, 171);
	ck_assert_uint_eq(lease.queued, 171);
	ck_assert_uint_eq(route_pop(&routes, route).activation, 999);
	for (uint32_t i = 30; i < 200; i++)
		ck_assert_uint_eq(route_pop(&routes, route).activation, i);
	ck_assert(TAILQ_EMPTY(&routes.waiting));
	ck_assert_uint_eq(routes.queued, 0);
	ck_assert_uint_eq(lease.queued, 0);
	routes_fini(&routes);
}
END_TEST

START_TEST(quick_is_what_has_run_short)
{
	struct routes routes;
	struct route *route;

	routes_init(&routes);
	route = route_find(&routes, slice_of("a"));
	ck_assert_msg(!route_quick(route), "nothing is known of it");
	route_ran(route, 50);
	ck_assert(route_quick(route));
	/* One long run is enough to stop sending ahead for a while. */
	route_ran(route, 60 * 1000 * 1000);
	ck_assert(!route_quick(route));
	for (int i = 0; i < 200; i++)
		route_ran(route, 50);
	ck_assert(route_quick(route));
	routes_fini(&routes);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ one_route_a_name, 0 },
		{ first_in_first_out_and_lost_ones_first, 0 },
		{ quick_is_what_has_run_short, 0 },
	};

	return unit_run("route", tests, COUNT(tests));
}
