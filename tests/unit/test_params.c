/* Tests of flusher/params.h: the bytes are what PostgreSQL's recv functions
 * read; the integration tests send them to a real one. */
#include "flusher/params.h"
#include "tests/unit/unit.h"


static const struct {
	const char *name;
	int64_t since_1970_us;
	int64_t pg;
} times[] = {
	{ "the epoch of PostgreSQL", 946684800000000, 0 },
	{ "the epoch of Unix", 0, -946684800000000 },
	{ "a microsecond later", 946684800000001, 1 },
};

START_TEST(times_count_from_2000)
{
	struct params p;
	uint64_t raw;

	params_init(&p);
	params_time(&p, times[_i].since_1970_us);
	memcpy(&raw, p.bytes.data, 8);
	ck_assert_int_eq((int64_t)__builtin_bswap64(raw), times[_i].pg);
	ck_assert_int_eq(params_time_us(times[_i].pg),
	                 times[_i].since_1970_us);
	params_fini(&p);
}
END_TEST

START_TEST(an_array_has_header_and_elements)
{
	static const uint8_t want[] = {
		0, 0, 0, 1, /* dimensions */
		0, 0, 0, 1, /* may hold NULLs */
		0, 0, 0, 23, /* int4 */
		0, 0, 0, 3, /* elements */
		0, 0, 0, 1, /* lower bound */
		0, 0, 0, 4, 0, 0, 0, 7,
		0xff, 0xff, 0xff, 0xff,
		0, 0, 0, 4, 0xff, 0xff, 0xff, 0xfe,
	};
	struct params p;

	params_init(&p);
	params_bool(&p, true); /* what comes before does not matter */
	params_array_begin(&p, PG_INT4);
	params_add_int4(&p, 7);
	params_add_null(&p);
	params_add_int4(&p, -2);
	params_array_end(&p);
	ck_assert_int_eq(p.count, 2);
	ck_assert_uint_eq(p.ends[1] - p.starts[1], sizeof(want));
	ck_assert_mem_eq(p.bytes.data + p.starts[1], want, sizeof(want));
	params_fini(&p);
}
END_TEST

START_TEST(null_and_empty_differ)
{
	struct params p;

	params_init(&p);
	params_null(&p);
	params_text(&p, slice_of(""));
	ck_assert(p.nulls[0]);
	ck_assert(!p.nulls[1]);
	ck_assert_uint_eq(p.starts[1], p.ends[1]);
	params_clear(&p);
	ck_assert_int_eq(p.count, 0);
	params_fini(&p);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ times_count_from_2000, COUNT(times) },
		{ an_array_has_header_and_elements, 0 },
		{ null_and_empty_differ, 0 },
	};

	return unit_run("params", tests, COUNT(tests));
}
