/*
 * fuzz_path - any text as a path, on any JSON: "PATH\nJSON".
 *
 * Whatever it selects or sets must be a value, no deeper than values are.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect_value(struct value **v)
{
	if (*v != NULL && value_check((*v)->s, VALUE_DEPTH_MAX, NULL) < 0)
		abort();
	value_unref(v);
}

static void
try_path(struct slice text, struct value *input)
{
	struct error err = { 0 };
	struct path *any, *reference;
	struct value *v;

	any = path_compile(text, PATH_ANY, &err);
	reference = path_compile(text, PATH_REFERENCE, &err);
	if (reference != NULL && any == NULL)
		abort();
	if (any != NULL) {
		v = path_eval(any, input, input, &err);
		expect_value(&v);
	}
	if (reference != NULL) {
		v = path_set(reference, input, input, &err);
		expect_value(&v);
	}
	path_destroy(&any);
	path_destroy(&reference);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	struct slice text = { data, size };
	struct buf b = BUF_EMPTY;
	struct value *input;

	value_pack_null(&b);
	if (line != NULL) {
		struct buf json = BUF_EMPTY;

		text.len = (size_t)(line - data);
		if (json_parse((const char *)line + 1, size - text.len - 1,
			       VALUE_DEPTH_MAX, &json, NULL, NULL) == 0) {
			buf_fini(&b);
			b = json;
		} else {
			buf_fini(&json);
		}
	}
	input = value_create(buf_slice(&b));
	buf_fini(&b);
	try_path(text, input);
	value_unref(&input);
	return 0;
}
