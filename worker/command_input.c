/*
 * command_input - argv, stdin, environment and folder from a JSON object.
 */
#include "worker/command_input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/value.h"

#define ARGV_MAX 4096U
#define ENV_MAX 1024U

static const char *const own_keys[] = { "command", "stdin",  "stdin_text",
	                                "env",     "cwd",    "output" };

/*
 * A scalar as a program would like to get it: strings as they are, numbers
 * and booleans as in JSON. NULL for what cannot be an argument.
 */
static char *
scalar_text(struct slice value)
{
	struct item item = value_item(value);
	struct buf b = BUF_EMPTY;

	switch (item.type) {
	case VALUE_STR:
		if (item.bytes.len > 0 &&
		    memchr(item.bytes.data, '\0', item.bytes.len) != NULL)
			return NULL;
		return mem_strndup(item.bytes.data, item.bytes.len);
	case VALUE_BOOL:
	case VALUE_INT:
	case VALUE_UINT:
	case VALUE_DOUBLE:
		json_write(value, &b);
		return buf_text(&b);
	case VALUE_NULL:
	case VALUE_BIN:
	case VALUE_ARRAY:
	case VALUE_MAP:
		break;
	}
	return NULL;
}

static int
parse_argv(struct slice value, struct command_input *out, struct error *err)
{
	uint32_t count = value_count(value);
	struct cursor c = cursor_of(value);

	if (value_type(value) != VALUE_ARRAY || count == 0 ||
	    count > ARGV_MAX) {
		error_set(err, "\"command\" must be an array of the program "
		               "and its arguments");
		return -EINVAL;
	}
	(void)cursor_next(&c);
	out->argv = mem_calloc(count + 1, sizeof(*out->argv));
	for (uint32_t i = 0; i < count; i++) {
		out->argv[i] = scalar_text(cursor_value(&c));
		if (out->argv[i] == NULL) {
			error_set(err,
			          "\"command\": element %u must be a string "
			          "without NUL, a number or a boolean",
			          i);
			return -EINVAL;
		}
		out->argc++;
	}
	if (out->argv[0][0] == '\0') {
		error_set(err, "\"command\": the program's name is empty");
		return -EINVAL;
	}
	return 0;
}

static int
parse_env(struct slice value, struct command_input *out, struct error *err)
{
	uint32_t count = value_count(value);
	struct cursor c = cursor_of(value);

	if (value_type(value) != VALUE_MAP || count > ENV_MAX) {
		error_set(err, "\"env\" must be an object of names and values");
		return -EINVAL;
	}
	(void)cursor_next(&c);
	out->env = mem_calloc(count + 1, sizeof(*out->env));
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = cursor_next(&c).bytes;
		struct slice v = cursor_value(&c);
		struct buf b = BUF_EMPTY;
		char *text = NULL;

		if (value_type(v) != VALUE_NULL)
			text = scalar_text(v);
		if (name.len == 0 || memchr(name.data, '=', name.len) ||
		    memchr(name.data, '\0', name.len) ||
		    (text == NULL && value_type(v) != VALUE_NULL)) {
			error_set(err,
			          "\"env\": names must not be empty or hold "
			          "\"=\", values must be scalars without "
			          "NUL, or null to unset");
			free(text);
			return -EINVAL;
		}
		buf_add(&b, name.data, name.len);
		if (text != NULL)
			buf_printf(&b, "=%s", text);
		free(text);
		out->env[out->env_count++] = buf_text(&b);
	}
	return 0;
}

static int
parse_output(struct slice value, struct command_input *out, struct error *err)
{
	if (value_is_str(value, "json")) {
		out->output = OUTPUT_JSON;
	} else if (value_is_str(value, "text")) {
		out->output = OUTPUT_TEXT;
	} else if (value_is_str(value, "lines")) {
		out->output = OUTPUT_LINES;
	} else {
		error_set(err, "\"output\" must be \"json\", \"text\" or "
		               "\"lines\"");
		return -EINVAL;
	}
	return 0;
}

static bool
is_own_key(struct slice key)
{
	for (size_t i = 0; i < sizeof(own_keys) / sizeof(own_keys[0]); i++) {
		if (slice_is(key, own_keys[i]))
			return true;
	}
	return false;
}

/* The input without the keys that are for us. */
static void
stdin_rest(struct slice input, struct buf *out)
{
	uint32_t count = value_count(input), kept = 0;
	struct buf pairs = BUF_EMPTY;
	struct buf map = BUF_EMPTY;
	struct cursor c = cursor_of(input);

	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice key = cursor_value(&c);
		struct slice value = cursor_value(&c);

		if (is_own_key(value_item(key).bytes))
			continue;
		value_pack_raw(&pairs, key);
		value_pack_raw(&pairs, value);
		kept++;
	}
	value_pack_map(&map, kept);
	buf_add(&map, pairs.data, pairs.len);
	json_write(buf_slice(&map), out);
	buf_fini(&pairs);
	buf_fini(&map);
}

static int
parse_stdin(struct slice input, struct command_input *out, struct error *err)
{
	struct slice value;

	if (value_get(input, SLICE_LITERAL("stdin_text"), &value)) {
		struct item item = value_item(value);

		if (item.type != VALUE_STR) {
			error_set(err, "\"stdin_text\" must be a string");
			return -EINVAL;
		}
		buf_add(&out->feed, item.bytes.data, item.bytes.len);
	} else if (value_get(input, SLICE_LITERAL("stdin"), &value)) {
		json_write(value, &out->feed);
	} else {
		stdin_rest(input, &out->feed);
	}
	return 0;
}

int
command_input_parse(struct slice input, struct command_input *out,
                    struct error *err)
{
	struct slice value;
	int rc;

	memset(out, 0, sizeof(*out));
	if (value_type(input) != VALUE_MAP ||
	    !value_get(input, SLICE_LITERAL("command"), &value)) {
		error_set(err, "the input must be an object with \"command\"");
		return -EINVAL;
	}
	rc = parse_argv(value, out, err);
	if (rc == 0 && value_get(input, SLICE_LITERAL("env"), &value))
		rc = parse_env(value, out, err);
	if (rc == 0 && value_get(input, SLICE_LITERAL("output"), &value))
		rc = parse_output(value, out, err);
	if (rc == 0 && value_get(input, SLICE_LITERAL("cwd"), &value)) {
		out->cwd = value_type(value) == VALUE_STR ? scalar_text(value)
		                                          : NULL;
		if (out->cwd == NULL) {
			error_set(err, "\"cwd\" must be a string without NUL");
			rc = -EINVAL;
		}
	}
	if (rc == 0)
		rc = parse_stdin(input, out, err);
	return rc;
}

void
command_input_fini(struct command_input *c)
{
	for (uint32_t i = 0; i < c->argc; i++)
		free(c->argv[i]);
	free(c->argv);
	for (uint32_t i = 0; i < c->env_count; i++)
		free(c->env[i]);
	free(c->env);
	free(c->cwd);
	buf_fini(&c->feed);
}
