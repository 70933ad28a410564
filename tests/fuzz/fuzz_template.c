/*
 * fuzz_template - any JSON as a payload template, on any JSON:
 * "TEMPLATE\nINPUT"; and as the call of a function.
 *
 * What comes out must be a value, and the same when it is done again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct value *
eval_once(const struct template *t, struct value *input)
{
	struct template_seed seed = { .activation = 1 };
	struct error err = { 0 };
	const char *name = NULL;
	struct value *v = template_eval(t, input, input, &seed, &name, &err);

	if ((v == NULL) != (name != NULL))
		abort();
	return v;
}

static void
try_template(struct slice bytes, struct value *input)
{
	struct error err = { 0 };
	struct template *t = template_compile(bytes, NULL, &err);
	struct value *v, *again;

	if (t == NULL)
		return;
	v = eval_once(t, input);
	again = eval_once(t, input);
	if ((v == NULL) != (again == NULL))
		abort();
	if (v != NULL && (v->s.len != again->s.len ||
			  memcmp(v->s.data, again->s.data, v->s.len) != 0 ||
			  value_check(v->s, VALUE_DEPTH_MAX, NULL) < 0))
		abort();
	value_unref(&v);
	value_unref(&again);
	template_destroy(&t);
}

static bool
parse(const char *text, size_t len, uint32_t depth_max, struct buf *out)
{
	return json_parse(text, len, depth_max, out, NULL, NULL) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t len = line != NULL ? (size_t)(line - data) : size;
	struct buf b = BUF_EMPTY, packed = BUF_EMPTY;
	struct value *input;

	if (line == NULL ||
	    !parse((const char *)line + 1, size - len - 1, VALUE_DEPTH_MAX, &b))
		value_pack_null(&b);
	input = value_create(buf_slice(&b));
	if (parse((const char *)data, len, DEFINITION_DEPTH_MAX, &packed))
		try_template(buf_slice(&packed), input);

	/* Most texts are no JSON; what is left is a call to try. */
	packed.len = 0;
	value_pack_map(&packed, 1);
	value_pack_text(&packed, "a.$");
	value_pack_str(&packed, data, len);
	if (value_check(buf_slice(&packed), 2, NULL) == 0)
		try_template(buf_slice(&packed), input);
	value_unref(&input);
	buf_fini(&b);
	buf_fini(&packed);
	return 0;
}
