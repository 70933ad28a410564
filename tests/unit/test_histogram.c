/* Tests of flusher/histogram.h. */
#include "flusher/histogram.h"

#include "common/value.h"
#include "tests/unit/unit.h"

START_TEST(every_value_is_in_a_bucket_that_fits)
{
	uint64_t seed = 7;

	for (int i = 0; i < 100000; i++) {
		uint64_t value = unit_random(&seed) >> (24 + i % 40);
		struct histogram h = { .counts = { 0 } };
		uint32_t bucket = 0;

		histogram_add(&h, value);
		while (h.counts[bucket] == 0)
			bucket++;
		ck_assert_uint_le(value, histogram_bound(bucket));
		if (bucket > 0)
			ck_assert_uint_gt(value, histogram_bound(bucket - 1));
		/* Known to within a quarter. */
		ck_assert_uint_le(histogram_bound(bucket) - value,
		                  value / 4 + 1);
	}
}
END_TEST

START_TEST(packs_what_was_counted)
{
	struct histogram h = { .counts = { 0 } };
	struct buf out = BUF_EMPTY;
	struct slice entry, part;
	struct error err;

	histogram_add(&h, 3);
	histogram_add(&h, 3);
	histogram_add(&h, 1000);
	histogram_pack(&h, &out);
	ck_assert_int_eq(value_check(buf_slice(&out), 4, &err), 0);
	ck_assert_uint_eq(value_count(buf_slice(&out)), 2);
	ck_assert(value_at(buf_slice(&out), 0, &entry));
	ck_assert(value_at(entry, 0, &part));
	ck_assert_int_eq(value_item(part).i, 3);
	ck_assert(value_at(entry, 1, &part));
	ck_assert_int_eq(value_item(part).i, 2);
	buf_fini(&out);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ every_value_is_in_a_bucket_that_fits, 0 },
		{ packs_what_was_counted, 0 },
	};

	return unit_run("histogram", tests, COUNT(tests));
}
