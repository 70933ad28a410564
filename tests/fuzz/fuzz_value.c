/*
 * fuzz_value - any bytes as a msgpack value.
 *
 * What value_check() accepts is read to its end, becomes JSON and comes back
 * equal. What value_check_frame() accepts can be walked.
 */
#include <stdlib.h>

#include "common/json.h"
#include "common/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
walk(struct slice v)
{
	struct cursor c = cursor_of(v), whole = c;
	struct slice part;

	while (c.at < c.end)
		(void)cursor_next(&c);
	must(c.at == c.end);
	(void)cursor_value(&whole);
	must(whole.at == whole.end);
	for (uint32_t i = 0; i < 3; i++) {
		if (value_at(v, i, &part))
			must(i < value_count(v));
	}
	(void)value_get(v, SLICE_LITERAL("a"), &part);
}

static void
round_trip(struct slice v)
{
	struct buf json = BUF_EMPTY, back = BUF_EMPTY;

	json_write(v, &json);
	must(json_parse((const char *)json.data, json.len, VALUE_DEPTH_MAX,
			&back, NULL, NULL) == 0);
	/* Other writers may use longer headers and floats, never shorter. */
	must(value_check(buf_slice(&back), VALUE_DEPTH_MAX, NULL) == 0);
	must(value_equal(v, buf_slice(&back)));
	must(value_equal(buf_slice(&back), v));
	json.len = 0;
	json_write_pretty(v, &json);
	back.len = 0;
	must(json_parse((const char *)json.data, json.len, VALUE_DEPTH_MAX,
			&back, NULL, NULL) == 0);
	must(value_equal(v, buf_slice(&back)));
	buf_fini(&json);
	buf_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice v = { data, size };
	struct error err = { .line = 0 };
	bool is_value = value_check(v, VALUE_DEPTH_MAX, &err) == 0;
	bool is_frame = value_check_frame(v, VALUE_DEPTH_MAX, NULL) == 0;

	must(is_value || err.message[0] != '\0');
	must(is_frame || !is_value);
	if (is_frame)
		walk(v);
	if (is_value)
		round_trip(v);
	return 0;
}
