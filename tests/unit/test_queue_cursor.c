/* Tests of flusher/queue_cursor.h. */
#include "flusher/queue_cursor.h"

#include <string.h>

#include "common/clock.h"
#include "tests/unit/unit.h"

#define MS CLOCK_MS_US
#define BEGIN (100 * CLOCK_SECOND_US)

static struct uuid
id_of(uint8_t n)
{
	struct uuid id;

	memset(&id, 0, sizeof(id));
	id.bytes[0] = n;
	return id;
}

/* One claim of that duration that takes ids from..to of one priority. */
static bool
claim(struct queue_cursor *q, uint64_t at_us, uint64_t took_us,
      int32_t priority, uint8_t from, uint8_t to, bool full)
{
	queue_cursor_begin(q, at_us);
	for (unsigned i = from; i <= to && from != 0; i++) {
		struct uuid id = id_of((uint8_t)i);

		queue_cursor_took(q, priority, &id);
	}
	return queue_cursor_end(q, at_us + took_us, full);
}

START_TEST(goes_on_behind_the_last)
{
	struct queue_cursor q;

	queue_cursor_init(&q);
	ck_assert(!claim(&q, BEGIN, MS, 0, 1, 64, true));
	ck_assert(q.at_front);
	queue_cursor_begin(&q, BEGIN + 2 * MS);
	ck_assert(!q.at_front);
	ck_assert_uint_eq(q.at.id.bytes[0], 64);
}
END_TEST

START_TEST(looks_from_the_front_when_nothing_is_left_behind)
{
	struct queue_cursor q;

	queue_cursor_init(&q);
	ck_assert(!claim(&q, BEGIN, MS, 0, 1, 64, true));
	ck_assert_msg(claim(&q, BEGIN + 2 * MS, MS, 0, 65, 70, false),
	              "something of higher priority may be there");
	queue_cursor_begin(&q, BEGIN + 4 * MS);
	ck_assert(q.at_front);
	/* Nothing there either: the next begins where new ones come. */
	ck_assert(!queue_cursor_end(&q, BEGIN + 5 * MS, false));
	queue_cursor_begin(&q, BEGIN + 6 * MS);
	ck_assert(!q.at_front);
	ck_assert_uint_eq(q.at.id.bytes[0], 70);
}
END_TEST

START_TEST(a_second_later_it_is_the_front)
{
	struct queue_cursor q;

	queue_cursor_init(&q);
	ck_assert(!claim(&q, BEGIN, MS, 0, 1, 64, true));
	queue_cursor_begin(&q, BEGIN + CLOCK_SECOND_US + MS);
	ck_assert(q.at_front);
}
END_TEST

START_TEST(a_dear_front_is_looked_at_seldom)
{
	struct queue_cursor q;

	queue_cursor_init(&q);
	/* 200 ms: at most once in 4 s, also when nothing is left behind. */
	ck_assert(!claim(&q, BEGIN, 200 * MS, 0, 1, 64, true));
	ck_assert(!claim(&q, BEGIN + 300 * MS, MS, 0, 0, 0, false));
	queue_cursor_begin(&q, BEGIN + 2 * CLOCK_SECOND_US);
	ck_assert(!q.at_front);
	queue_cursor_begin(&q, BEGIN + 5 * CLOCK_SECOND_US);
	ck_assert(q.at_front);
}
END_TEST

START_TEST(but_at_once_when_asked)
{
	struct queue_cursor q;

	queue_cursor_init(&q);
	ck_assert(!claim(&q, BEGIN, 200 * MS, 0, 1, 64, true));
	queue_cursor_want_front(&q);
	queue_cursor_begin(&q, BEGIN + 300 * MS);
	ck_assert(q.at_front);
	queue_cursor_begin(&q, BEGIN + 301 * MS);
	ck_assert_msg(!q.at_front, "once");
}
END_TEST

START_TEST(priority_comes_before_age)
{
	struct queue_cursor q;
	struct uuid low = id_of(1);

	queue_cursor_init(&q);
	ck_assert(!claim(&q, BEGIN, MS, -5, 200, 210, true));
	queue_cursor_took(&q, 0, &low); /* less urgent: further back */
	ck_assert_int_eq(q.at.priority, 0);
	ck_assert_uint_eq(q.at.id.bytes[0], 1);
	low = id_of(220);
	queue_cursor_took(&q, -5, &low);
	ck_assert_msg(q.at.priority == 0, "the cursor never goes back");
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ goes_on_behind_the_last, 0 },
		{ looks_from_the_front_when_nothing_is_left_behind, 0 },
		{ a_second_later_it_is_the_front, 0 },
		{ a_dear_front_is_looked_at_seldom, 0 },
		{ but_at_once_when_asked, 0 },
		{ priority_comes_before_age, 0 },
	};

	return unit_run("queue_cursor", tests, COUNT(tests));
}
