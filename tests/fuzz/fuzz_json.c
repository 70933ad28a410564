/*
 * fuzz_json - any text as JSON.
 *
 * What is accepted is a value, and written and parsed again it is the same
 * bytes. What is refused leaves no trace and says why.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct buf v = BUF_EMPTY, json = BUF_EMPTY, back = BUF_EMPTY;
	struct json_places places = { NULL, 0, 0 };
	struct error err = { .line = 0 };

	if (json_parse(text, size, VALUE_DEPTH_MAX, &v, &places, &err) < 0) {
		must(v.len == 0 && err.message[0] != '\0');
		must(strchr(err.message, '\n') == NULL);
		goto out;
	}
	must(value_check(buf_slice(&v), VALUE_DEPTH_MAX, NULL) == 0);
	for (uint32_t i = 0; i < places.count; i++) {
		must(places.places[i].offset < v.len);
		must(i == 0 ||
		     (places.places[i].offset > places.places[i - 1].offset &&
		      places.places[i].line > places.places[i - 1].line));
	}
	json_write(buf_slice(&v), &json);
	must(json_parse((const char *)json.data, json.len, VALUE_DEPTH_MAX,
			&back, NULL, NULL) == 0);
	must(back.len == v.len && memcmp(back.data, v.data, v.len) == 0);
	must(value_equal(buf_slice(&v), buf_slice(&back)));
out:
	json_places_fini(&places);
	buf_fini(&v);
	buf_fini(&json);
	buf_fini(&back);
	return 0;
}
