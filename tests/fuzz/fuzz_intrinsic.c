/*
 * fuzz_intrinsic - any text as the call of an intrinsic function, on any
 * JSON: "CALL\nINPUT".
 *
 * It gives a value or an error with a name, the same when done again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* {"v.$": call}, which is how calls stand in definitions. */
static struct template *
compile(const uint8_t *call, size_t len)
{
	struct error err = { 0 };
	struct buf b = BUF_EMPTY;
	struct template *t = NULL;

	value_pack_map(&b, 1);
	value_pack_text(&b, "v.$");
	value_pack_str(&b, call, len);
	if (value_check(buf_slice(&b), VALUE_DEPTH_MAX, NULL) == 0) {
		t = template_compile(buf_slice(&b), NULL, &err);
		if (t == NULL && err.message[0] == '\0')
			abort();
	}
	buf_fini(&b);
	return t;
}

static struct value *
eval(const struct template *t, struct value *input)
{
	struct template_seed seed = { .activation = 7 };
	struct error err = { 0 };
	const char *name = NULL;
	struct value *v = template_eval(t, input, input, &seed, &name, &err);

	if ((v == NULL) != (name != NULL) ||
	    (v != NULL && value_check(v->s, VALUE_DEPTH_MAX, NULL) < 0))
		abort();
	return v;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t len = line != NULL ? (size_t)(line - data) : size;
	struct template *t = compile(data, len);
	struct value *input, *v, *again;
	struct buf b = BUF_EMPTY;

	if (t == NULL)
		return 0;
	if (line == NULL ||
	    json_parse((const char *)line + 1, size - len - 1,
	               VALUE_DEPTH_MAX, &b, NULL, NULL) < 0)
		value_pack_null(&b);
	input = value_create(buf_slice(&b));
	v = eval(t, input);
	again = eval(t, input);
	if ((v == NULL) != (again == NULL) ||
	    (v != NULL && (v->s.len != again->s.len ||
	                   memcmp(v->s.data, again->s.data, v->s.len) != 0)))
		abort();
	value_unref(&v);
	value_unref(&again);
	value_unref(&input);
	template_destroy(&t);
	buf_fini(&b);
	return 0;
}
