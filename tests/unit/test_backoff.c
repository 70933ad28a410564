/* Tests of flusher/backoff.h. */
#include "flusher/backoff.h"

#include "common/clock.h"
#include "tests/unit/unit.h"

#define BEGIN (100 * CLOCK_SECOND_US)

/* Attempts that fail at once, with the same chance each time: how many come
 * within that time, and when the last one began. */
static uint32_t
attempts(uint64_t from_us, uint64_t to_us, uint32_t chance, uint64_t *longest)
{
	struct backoff b = { .since_us = 0 };
	uint64_t now = BEGIN, next;
	uint32_t count = 0;

	*longest = 0;
	while (now < BEGIN + to_us) {
		next = backoff_next(&b, now, chance);
		ck_assert_uint_ge(next, now);
		if (now >= BEGIN + from_us) {
			count++;
			if (next - now > *longest)
				*longest = next - now;
		}
		/* An attempt takes a while, too. */
		now = next + CLOCK_MS_US;
	}
	return count;
}

static const struct {
	const char *name;
	uint64_t from_s, to_s;
	uint32_t chance;
	uint32_t least, most;
	uint64_t longest_ms;
} cases[] = {
	{ "early and unlucky: a second apart", 0, 10, UINT32_MAX, 10, 100, 1000 },
	{ "sparse after ten seconds", 10, 60, 0, 48, 51, 1000 },
	{ "sparse, and not in step", 10, 60, 49999, 45, 50, 1050 },
	{ "later up to five seconds", 60, 600, 3999999, 100, 130, 5000 },
	{ "never less than one apart", 60, 600, 0, 500, 541, 1000 },
};

START_TEST(spaced)
{
	uint64_t longest;
	uint32_t count = attempts(cases[_i].from_s * CLOCK_SECOND_US,
	                          cases[_i].to_s * CLOCK_SECOND_US,
	                          cases[_i].chance, &longest);

	ck_assert_msg(count >= cases[_i].least && count <= cases[_i].most,
	              "%s: %u attempts", cases[_i].name, count);
	ck_assert_msg(longest <= cases[_i].longest_ms * CLOCK_MS_US,
	              "%s: %llu us apart", cases[_i].name,
	              (unsigned long long)longest);
}
END_TEST

START_TEST(begins_anew)
{
	struct backoff b = { .since_us = 0 };

	for (uint32_t i = 0; i < 20; i++)
		(void)backoff_next(&b, BEGIN, UINT32_MAX);
	ck_assert_uint_eq(b.attempts, 20);
	backoff_reset(&b);
	ck_assert_uint_eq(b.attempts, 0);
	ck_assert_uint_le(backoff_next(&b, BEGIN, UINT32_MAX),
	                  BEGIN + 50 * CLOCK_MS_US);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ spaced, COUNT(cases) },
		{ begins_anew, 0 },
	};

	return unit_run("backoff", tests, COUNT(tests));
}
