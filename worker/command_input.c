/*
 * command_input - keys of an object, one after the other.
 */
#include "worker/command_input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/near.h"
#include "common/value.h"
#include "worker/command_input_parts.h"

#define ARGV_MAX 4096U
#define ENV_MAX 1024U
#define INPUT_PREFIX "RAPPEL_INPUT_"

enum {
	IN_INPUT = 1, /* a key of the input of "command" */
	IN_FILE = 2,  /* of an action of a file */
};

static const struct own_key {
	const char *name;
	unsigned where;
} own_keys[] = {
	{ "command", IN_INPUT | IN_FILE },
	{ "with", IN_INPUT },
	{ "stdin", IN_INPUT | IN_FILE },
	{ "stdin_text", IN_INPUT | IN_FILE },
	{ "env", IN_INPUT | IN_FILE },
	{ "cwd", IN_INPUT | IN_FILE },
	{ "files", IN_INPUT | IN_FILE },
	{ "output", IN_INPUT | IN_FILE },
	{ "output_from", IN_INPUT | IN_FILE },
	{ "result_file", IN_INPUT | IN_FILE },
	{ "limits", IN_INPUT | IN_FILE },
	{ "kill_after", IN_INPUT | IN_FILE },
	{ "heartbeat", IN_INPUT | IN_FILE },
	{ "shell", IN_FILE },
	{ "env_input", IN_FILE },
	{ "result", IN_FILE },
	{ "comment", IN_FILE },
};

bool
reader_has(const struct command_reader *r, const char *key, struct slice *value)
{
	return value_get(r->spec, slice_of(key), value);
}

int
reader_wrong(const struct command_reader *r, const char *key,
	     const char *format, ...)
{
	char text[sizeof(r->err->message)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(r->err->field, sizeof(r->err->field), "%s", key);
	error_set(r->err, "\"%s\"%s", key, text);
	return -EINVAL;
}

int
reader_wrong_within(const struct command_reader *r, const char *key,
		    const char *part)
{
	char text[sizeof(r->err->message)];

	snprintf(text, sizeof(text), "%s", r->err->message);
	return reader_wrong(r, key, "%s: %s", part, text);
}

bool
slice_has_nul(struct slice text)
{
	return text.len > 0 && memchr(text.data, '\0', text.len) != NULL;
}

/* A scalar of the object, filled when it is a text. -EINVAL; with an empty
 * message when it is no scalar or holds NUL. */
static int
scalar_fill(const struct command_reader *r, struct slice value, struct buf *out)
{
	struct item item = value_item(value);
	int rc = 0;

	error_set(r->err, "%s", "");
	if (item.type == VALUE_STR)
		rc = command_template_text(item.bytes, &r->values, out, r->err);
	else if (!command_template_scalar(value, out))
		rc = -EINVAL;
	if (rc == 0 && slice_has_nul(buf_slice(out))) {
		error_set(r->err, "it holds a NUL, which no program can get");
		rc = -EINVAL;
	}
	return rc;
}

/* ---- command ---- */

static void
argv_add(struct command_input *out, char *text)
{
	out->argv =
	    mem_realloc(out->argv, (out->argc + 2) * sizeof(*out->argv));
	out->argv[out->argc++] = text;
	out->argv[out->argc] = NULL;
}

static int
argv_wrong(const struct command_reader *r, uint32_t element)
{
	char part[32];

	if (r->err->message[0] == '\0')
		return reader_wrong(
		    r, "command",
		    ": element %u must be a string, a number or a "
		    "boolean",
		    element);
	snprintf(part, sizeof(part), ": element %u", element);
	return reader_wrong_within(r, "command", part);
}

/* An array under the only key of an argument becomes several. */
static int
argv_spread(const struct command_reader *r, struct slice array,
	    uint32_t element)
{
	uint32_t count = value_count(array);
	struct cursor c = cursor_of(array);

	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct buf text = BUF_EMPTY;
		struct slice value = cursor_value(&c);

		if (!command_template_scalar(value, &text) ||
		    slice_has_nul(buf_slice(&text)) ||
		    r->out->argc >= ARGV_MAX) {
			buf_fini(&text);
			error_set(r->err,
				  "element %u of that array cannot be an "
				  "argument",
				  i);
			return argv_wrong(r, element);
		}
		argv_add(r->out, buf_text(&text));
	}
	return 0;
}

static int
argv_element(const struct command_reader *r, struct slice value,
	     uint32_t element)
{
	struct item item = value_item(value);
	struct buf text = BUF_EMPTY;
	struct slice key, array;

	if (r->values.fill == FILL_VALUES && item.type == VALUE_STR &&
	    command_template_key(item.bytes, &key) &&
	    command_template_get(&r->values, key, &array, NULL) == 0 &&
	    value_type(array) == VALUE_ARRAY)
		return argv_spread(r, array, element);
	if (scalar_fill(r, value, &text) < 0) {
		buf_fini(&text);
		return argv_wrong(r, element);
	}
	argv_add(r->out, buf_text(&text));
	return 0;
}

/* The text is the shell's: whatever stands in braces there is its own. */
static int
argv_script(const struct command_reader *r, struct slice script)
{
	struct item item = value_item(script);

	if (item.type != VALUE_STR || item.bytes.len == 0 ||
	    slice_has_nul(item.bytes))
		return reader_wrong(
		    r, "command",
		    ": with \"shell\" it must be the script, or an "
		    "array of the script and its arguments");
	argv_add(r->out, mem_strdup("sh"));
	argv_add(r->out, mem_strdup("-c"));
	argv_add(r->out, mem_strndup(item.bytes.data, item.bytes.len));
	argv_add(r->out, mem_strdup("sh"));
	return 0;
}

static int
read_argv(const struct command_reader *r)
{
	struct slice value;
	uint32_t count;
	struct cursor c;

	if (!reader_has(r, "command", &value))
		return reader_wrong(
		    r, "command",
		    " is missing: an array of the program and its "
		    "arguments");
	if (r->shell && value_type(value) == VALUE_STR)
		return argv_script(r, value);
	count = value_count(value);
	if (value_type(value) != VALUE_ARRAY || count == 0 || count > ARGV_MAX)
		return reader_wrong(r, "command",
				    " must be an array of the program and its "
				    "arguments");
	c = cursor_of(value);
	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice element = cursor_value(&c);
		int rc = r->shell && i == 0 ? argv_script(r, element)
					    : argv_element(r, element, i);

		if (rc < 0)
			return rc;
	}
	if (r->out->argc == 0 || r->out->argv[0][0] == '\0')
		return reader_wrong(r, "command",
				    ": the program's name is empty");
	return 0;
}

/* ---- environment ---- */

static void
env_add(struct command_input *out, struct buf *entry)
{
	out->env =
	    mem_realloc(out->env, (out->env_count + 2) * sizeof(*out->env));
	out->env[out->env_count++] = buf_text(entry);
	out->env[out->env_count] = NULL;
}

static int
env_entry(const struct command_reader *r, struct slice name, struct slice value)
{
	struct buf entry = BUF_EMPTY, text = BUF_EMPTY;
	bool unset = value_type(value) == VALUE_NULL;
	char part[96];

	if (name.len == 0 || memchr(name.data, '=', name.len) != NULL ||
	    slice_has_nul(name))
		return reader_wrong(r, "env",
				    ": a name is empty, or holds \"=\" or "
				    "NUL");
	snprintf(part, sizeof(part), ": \"%.*s\"",
		 (int)(name.len < 64 ? name.len : 64), (const char *)name.data);
	if (!unset && scalar_fill(r, value, &text) < 0) {
		buf_fini(&text);
		if (r->err->message[0] == '\0')
			error_set(r->err, "must be a string, a number, a "
					  "boolean, or null to unset");
		return reader_wrong_within(r, "env", part);
	}
	buf_add(&entry, name.data, name.len);
	if (!unset) {
		buf_add_byte(&entry, '=');
		buf_add(&entry, text.data, text.len);
	}
	buf_fini(&text);
	env_add(r->out, &entry);
	return 0;
}

/* RAPPEL_INPUT_KEY=value for what has a text. */
static int
env_of_input(const struct command_reader *r)
{
	uint32_t count = value_count(r->input);
	struct cursor c = cursor_of(r->input);

	if (value_type(r->input) != VALUE_MAP)
		return 0;
	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice key = cursor_next(&c).bytes;
		struct slice value = cursor_value(&c);
		struct buf entry = BUF_EMPTY;
		size_t name_len;

		buf_add_text(&entry, INPUT_PREFIX);
		for (size_t k = 0; k < key.len; k++) {
			uint8_t b = key.data[k];

			if (b >= 'a' && b <= 'z')
				b = (uint8_t)(b - 'a' + 'A');
			else if (!(b >= 'A' && b <= 'Z') &&
				 !(b >= '0' && b <= '9'))
				b = '_';
			buf_add_byte(&entry, b);
		}
		buf_add_byte(&entry, '=');
		name_len = entry.len;
		if (!command_template_scalar(value, &entry)) {
			buf_fini(&entry);
			continue;
		}
		if (slice_has_nul((struct slice){ entry.data + name_len,
						  entry.len - name_len })) {
			buf_fini(&entry);
			error_set(r->err,
				  "the input's \"%.*s\" holds a NUL, which no "
				  "variable can",
				  (int)(key.len < 64 ? key.len : 64),
				  (const char *)key.data);
			return -EINVAL;
		}
		env_add(r->out, &entry);
	}
	return 0;
}

static int
read_flag(const struct command_reader *r, const char *key, bool *out)
{
	struct slice value;

	*out = false;
	if (!reader_has(r, key, &value))
		return 0;
	if (value_type(value) != VALUE_BOOL)
		return reader_wrong(r, key, " must be true or false");
	*out = value_item(value).b;
	return 0;
}

static int
read_env(const struct command_reader *r)
{
	struct slice value;
	struct cursor c;
	uint32_t count;
	bool of_input;
	int rc;

	rc = read_flag(r, "env_input", &of_input);
	/* A script gets the values so, since nothing is pasted into it. */
	if (rc == 0 && (of_input || r->shell))
		rc = env_of_input(r);
	if (rc < 0 || !reader_has(r, "env", &value))
		return rc;
	count = value_count(value);
	if (value_type(value) != VALUE_MAP || count > ENV_MAX)
		return reader_wrong(r, "env",
				    " must be an object of names and values");
	c = cursor_of(value);
	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = cursor_next(&c).bytes;

		rc = env_entry(r, name, cursor_value(&c));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
read_cwd(const struct command_reader *r)
{
	struct buf text = BUF_EMPTY;
	struct slice value;

	if (!reader_has(r, "cwd", &value))
		return 0;
	if (value_type(value) != VALUE_STR)
		return reader_wrong(r, "cwd", " must be a string");
	if (scalar_fill(r, value, &text) < 0) {
		buf_fini(&text);
		return reader_wrong_within(r, "cwd", "");
	}
	r->out->cwd = buf_text(&text);
	return 0;
}

static const struct own_key *
own_key(struct slice key, unsigned where)
{
	for (size_t i = 0; i < sizeof(own_keys) / sizeof(own_keys[0]); i++) {
		if ((own_keys[i].where & where) != 0 &&
		    slice_is(key, own_keys[i].name))
			return &own_keys[i];
	}
	return NULL;
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

		if (own_key(value_item(key).bytes, IN_INPUT) != NULL)
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
stdin_of_file(const struct command_reader *r)
{
	struct slice value;

	if (reader_has(r, "stdin", &value)) {
		if (value_is_str(value, "none"))
			return 0;
		if (!value_is_str(value, "input"))
			return reader_wrong(
			    r, "stdin",
			    " must be \"input\" or \"none\"; for a "
			    "text there is \"stdin_text\"");
	}
	if (r->values.fill == FILL_VALUES)
		json_write(r->input, &r->out->feed);
	return 0;
}

static int
read_stdin(const struct command_reader *r)
{
	struct buf *feed = &r->out->feed;
	struct slice value;

	if (reader_has(r, "stdin_text", &value)) {
		if (value_type(value) != VALUE_STR)
			return reader_wrong(r, "stdin_text",
					    " must be a string");
		if (command_template_text(value_item(value).bytes, &r->values,
					  feed, r->err) < 0)
			return reader_wrong_within(r, "stdin_text", "");
		return 0;
	}
	if (r->of_file)
		return stdin_of_file(r);
	if (reader_has(r, "stdin", &value))
		json_write(value, feed);
	else
		stdin_rest(r->spec, feed);
	return 0;
}

/* In the input what is not ours is the program's; in a file it is wrong. */
static int
check_keys(const struct command_reader *r)
{
	uint32_t count = value_count(r->spec);
	struct cursor c = cursor_of(r->spec);

	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice key = cursor_next(&c).bytes;
		struct buf known = BUF_EMPTY;

		(void)cursor_value(&c);
		if (own_key(key, IN_FILE) != NULL)
			continue;
		for (size_t k = 0; k < sizeof(own_keys) / sizeof(own_keys[0]);
		     k++) {
			if (own_keys[k].where & IN_FILE)
				buf_printf(&known, "%s%s",
					   known.len > 0 ? ", " : "",
					   own_keys[k].name);
		}
		error_set(r->err, "unknown key \"%.*s\"; there are %s",
			  (int)(key.len < 63 ? key.len : 63),
			  (const char *)key.data, buf_text(&known));
		snprintf(r->err->field, sizeof(r->err->field), "%.*s",
			 (int)(key.len < 63 ? key.len : 63),
			 (const char *)key.data);
		buf_fini(&known);
		return -EINVAL;
	}
	return 0;
}

static int
read_all(struct command_reader *r)
{
	int rc = 0;

	memset(r->out, 0, sizeof(*r->out));
	if (r->of_file)
		rc = check_keys(r);
	if (rc == 0)
		rc = r->of_file ? read_flag(r, "shell", &r->shell) : 0;
	if (rc == 0)
		rc = read_argv(r);
	if (rc == 0)
		rc = read_env(r);
	if (rc == 0)
		rc = read_cwd(r);
	if (rc == 0)
		rc = reader_files(r);
	if (rc == 0)
		rc = reader_output(r);
	if (rc == 0)
		rc = read_stdin(r);
	return rc;
}

/* A key of the program's may be one of ours that was mistyped. */
static void
note_near(const struct command_reader *r)
{
	uint32_t count = value_count(r->spec);
	struct cursor c = cursor_of(r->spec);

	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice key = cursor_next(&c).bytes;
		char name[32];

		(void)cursor_value(&c);
		if (key.len >= sizeof(name) || slice_has_nul(key) ||
		    own_key(key, IN_INPUT) != NULL)
			continue;
		memcpy(name, key.data, key.len);
		name[key.len] = '\0';
		for (size_t k = 0; k < sizeof(own_keys) / sizeof(own_keys[0]);
		     k++) {
			if ((own_keys[k].where & IN_INPUT) != 0 &&
			    (strcasecmp(name, own_keys[k].name) == 0 ||
			     near_distance(name, own_keys[k].name) <= 1))
				snprintf(r->out->near, sizeof(r->out->near),
					 "its key \"%s\" is data for the "
					 "program: did you mean \"%s\"?",
					 name, own_keys[k].name);
		}
	}
}

int
command_input_parse(struct slice input, struct command_input *out,
		    struct error *err)
{
	struct command_reader r = { .spec = input, .out = out, .err = err };
	struct slice with;
	int rc;

	memset(out, 0, sizeof(*out));
	if (value_type(input) != VALUE_MAP) {
		error_set(err, "the input must be an object with \"command\"");
		return -EINVAL;
	}
	if (value_get(input, SLICE_LITERAL("with"), &with)) {
		if (value_type(with) != VALUE_MAP)
			return reader_wrong(&r, "with", " must be an object");
		r.values.fill = FILL_VALUES;
		r.values.map = with;
	}
	rc = read_all(&r);
	note_near(&r);
	return rc;
}

int
command_input_fill(struct slice spec, struct slice input,
		   struct command_input *out, struct error *err)
{
	struct command_reader r = {
		.spec = spec,
		.input = input,
		.values = { .fill = FILL_VALUES, .map = input },
		.out = out,
		.err = err,
		.of_file = true,
	};

	return read_all(&r);
}

int
command_input_check(struct slice spec, struct command_input *out,
		    struct error *err)
{
	static const uint8_t null_value[] = { 0xc0 };
	struct command_reader r = {
		.spec = spec,
		.input = { null_value, sizeof(null_value) },
		.values = { .fill = FILL_CHECK },
		.out = out,
		.err = err,
		.of_file = true,
	};

	memset(out, 0, sizeof(*out));
	if (value_type(spec) != VALUE_MAP) {
		error_set(err, "it must be an object with \"command\"");
		return -EINVAL;
	}
	return read_all(&r);
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
	for (uint32_t i = 0; i < c->file_count; i++) {
		free(c->files[i].name);
		buf_fini(&c->files[i].content);
	}
	free(c->files);
	free(c->cwd);
	free(c->result_file);
	buf_fini(&c->feed);
}
