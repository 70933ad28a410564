/*
 * fuzz_choice - any JSON as a rule of a Choice, on any JSON: "RULE\nINPUT".
 *
 * It holds, holds not or says why not, each time the same; Not turns it
 * round.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/choice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
parse(const uint8_t *text, size_t len, struct buf *out)
{
	return json_parse((const char *)text, len, VALUE_DEPTH_MAX, out, NULL,
	                  NULL) == 0;
}

/* -1: no rule. */
static int
try_rule(struct slice rule, struct value *input)
{
	struct error err = { 0 };
	size_t wrong = 0;
	struct choice *c = choice_compile(rule, &wrong, &err);
	int holds;

	if (c == NULL) {
		if (err.message[0] == '\0' || wrong > rule.len)
			abort();
		return -1;
	}
	holds = choice_holds(c, input, input, &err);
	if (holds != choice_holds(c, input, input, NULL) ||
	    (holds != 0 && holds != 1 && holds != -EINVAL) ||
	    (holds < 0 && err.message[0] == '\0'))
		abort();
	(void)choice_wants_context(c);
	choice_destroy(&c);
	return holds < 0 ? 2 : holds;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	struct buf rule = BUF_EMPTY, turned = BUF_EMPTY, given = BUF_EMPTY;
	struct value *input;
	int is, not;

	if (line == NULL || !parse(data, (size_t)(line - data), &rule) ||
	    !parse(line + 1, size - (size_t)(line + 1 - data), &given))
		goto out;
	if (value_type(buf_slice(&rule)) != VALUE_MAP)
		goto out;
	input = value_create(buf_slice(&given));
	is = try_rule(buf_slice(&rule), input);
	value_pack_map(&turned, 1);
	value_pack_text(&turned, "Not");
	value_pack_raw(&turned, buf_slice(&rule));
	if (value_check(buf_slice(&turned), VALUE_DEPTH_MAX, NULL) == 0) {
		not = try_rule(buf_slice(&turned), input);
		/* Inside, Next and the like are not allowed. */
		if (is >= 0 && not >= 0 && (is == 2 ? not != 2 : not == is))
			abort();
	}
	value_unref(&input);
out:
	buf_fini(&rule);
	buf_fini(&turned);
	buf_fini(&given);
	return 0;
}
