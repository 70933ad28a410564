/*
 * fuzz_command - any JSON as an action of a commands file, filled from any
 * JSON: "SPEC\nINPUT"; as the input of the action "command"; and any text as a
 * template.
 *
 * What passed the check may only fail for what the input lacks, and the same
 * comes out when it is done again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/value.h"
#include "worker/command_input.h"
#include "worker/command_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything that a program would get of it. */
static void
show(const struct command_input *c, struct buf *out)
{
	for (uint32_t i = 0; i < c->argc; i++)
		buf_add(out, c->argv[i], strlen(c->argv[i]) + 1);
	if (c->argc > 0 && c->argv[c->argc] != NULL)
		abort();
	for (uint32_t i = 0; i < c->env_count; i++)
		buf_add(out, c->env[i], strlen(c->env[i]) + 1);
	for (uint32_t i = 0; i < c->file_count; i++) {
		if (strchr(c->files[i].name, '/') != NULL)
			abort();
		buf_add(out, c->files[i].content.data, c->files[i].content.len);
	}
	buf_add(out, c->feed.data, c->feed.len);
}

static int
fill_once(struct slice spec, struct slice input, struct buf *out)
{
	struct command_input c;
	struct error err = { 0 };
	int rc = command_input_fill(spec, input, &c, &err);

	if (rc == 0)
		show(&c, out);
	else if (err.message[0] == '\0')
		abort();
	command_input_fini(&c);
	return rc;
}

static void
try_spec(struct slice spec, struct slice input)
{
	struct buf once = BUF_EMPTY, again = BUF_EMPTY;
	struct command_input c;
	struct error err = { 0 };
	int rc = command_input_check(spec, &c, &err);

	if (rc < 0 && err.message[0] == '\0')
		abort();
	command_input_fini(&c);
	if (rc == 0 && fill_once(spec, input, &once) == 0 &&
	    (fill_once(spec, input, &again) < 0 || once.len != again.len ||
	     (once.len > 0 && memcmp(once.data, again.data, once.len) != 0)))
		abort();
	buf_fini(&once);
	buf_fini(&again);
	rc = command_input_parse(spec, &c, &err);
	if (rc < 0 && err.message[0] == '\0')
		abort();
	command_input_fini(&c);
}

static void
try_text(struct slice text, struct slice input)
{
	struct command_values check = { .fill = FILL_CHECK };
	struct command_values fill = { .fill = FILL_VALUES, .map = input };
	struct buf out = BUF_EMPTY;
	struct error err = { 0 };
	struct slice key;
	int checked = command_template_text(text, &check, &out, &err);

	if (command_template_text(text, &fill, &out, &err) == 0 && checked < 0)
		abort();
	if (command_template_key(text, &key) && checked < 0)
		abort();
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t len = line != NULL ? (size_t)(line - data) : size;
	struct buf spec = BUF_EMPTY, input = BUF_EMPTY;

	if (line == NULL ||
	    json_parse((const char *)line + 1, size - len - 1, VALUE_DEPTH_MAX,
		       &input, NULL, NULL) < 0)
		value_pack_map(&input, 0);
	if (json_parse((const char *)data, len, VALUE_DEPTH_MAX, &spec, NULL,
		       NULL) == 0)
		try_spec(buf_slice(&spec), buf_slice(&input));
	if (len > 0)
		try_text((struct slice){ data, len }, buf_slice(&input));
	buf_fini(&spec);
	buf_fini(&input);
	return 0;
}
