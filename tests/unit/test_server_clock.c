/* Tests of flusher/server_clock.h. */
#include "flusher/server_clock.h"

#include "common/clock.h"
#include "tests/unit/unit.h"

#define BEGIN (100 * CLOCK_SECOND_US)
#define OFFSET INT64_C(1000000000)
#define MS ((int64_t)CLOCK_MS_US)

/* One quick answer with the offset, then another. */
static const struct {
	const char *name;
	uint64_t later_s;  /* the second one is sent */
	int64_t there_ms;  /* its way to the server */
	int64_t back_ms;   /* and back */
	int64_t jump_ms;   /* of the server's clock before */
	int64_t off_ms;    /* what the offset is wrong by at most, then */
} cases[] = {
	{ "as quick as before", 2, 1, 1, 0, 1 },
	{ "slow on one way says nothing", 2, 2000, 1, 0, 1 },
	{ "slow, but nothing better came", 100, 2000, 1, 0, 1000 },
	{ "slow, and it contradicts", 2, 500, 500, 5000, 1 },
	{ "back in time", 2, 1, 1, -5000, 1 },
};

START_TEST(follows)
{
	struct server_clock c = { .told_us = 0 };
	uint64_t sent = BEGIN + cases[_i].later_s * CLOCK_SECOND_US;
	uint64_t answered = sent +
	    (uint64_t)((cases[_i].there_ms + cases[_i].back_ms) * MS);
	int64_t truth = OFFSET + cases[_i].jump_ms * MS;

	(void)server_clock_told(&c, (int64_t)BEGIN + MS + OFFSET, BEGIN,
	                        BEGIN + 2 * CLOCK_MS_US);
	ck_assert_int_eq(c.offset_us, OFFSET);
	(void)server_clock_told(
	    &c, (int64_t)sent + cases[_i].there_ms * MS + truth, sent,
	    answered);
	ck_assert_msg(llabs(c.offset_us - truth) <= cases[_i].off_ms * MS,
	              "%s: off by %lld us", cases[_i].name,
	              (long long)(c.offset_us - truth));
}
END_TEST

/* The first answer took 4 s: what we believed stays when it may be so, and
 * else moves no further than it must. */
START_TEST(a_slow_first_answer)
{
	struct server_clock c = { .offset_us = OFFSET };
	uint64_t answered = BEGIN + 4 * CLOCK_SECOND_US;

	(void)server_clock_told(&c, (int64_t)BEGIN + 3900 * MS + OFFSET, BEGIN,
	                        answered);
	ck_assert_int_eq(c.offset_us, OFFSET);
	c = (struct server_clock){ .offset_us = OFFSET };
	(void)server_clock_told(&c, (int64_t)BEGIN + 9000 * MS + OFFSET, BEGIN,
	                        answered);
	ck_assert_int_eq(c.offset_us, OFFSET + 5000 * MS);
	/* A quick one then says what it is. */
	(void)server_clock_told(&c, (int64_t)answered + 9000 * MS + OFFSET,
	                        answered, answered + 2 * CLOCK_MS_US);
	ck_assert_int_eq(c.offset_us, OFFSET + 8999 * MS);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = { { follows, COUNT(cases) },
		                           { a_slow_first_answer, 1 } };

	return unit_run("server_clock", tests, COUNT(tests));
}
