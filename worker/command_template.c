/*
 * command_template - one pass over the text.
 */
#include "worker/command_template.h"

#include <errno.h>
#include <string.h>

#include "common/json.h"
#include "common/value.h"

#define KEY_SHOWN 100 /* bytes of it in a message */

bool
command_template_scalar(struct slice value, struct buf *out)
{
	struct item item = value_item(value);

	switch (item.type) {
	case VALUE_STR:
		buf_add(out, item.bytes.data, item.bytes.len);
		return true;
	case VALUE_BOOL:
	case VALUE_INT:
	case VALUE_UINT:
	case VALUE_DOUBLE:
		json_write(value, out);
		return true;
	case VALUE_NULL:
	case VALUE_BIN:
	case VALUE_ARRAY:
	case VALUE_MAP:
		break;
	}
	return false;
}

static int
key_shown(struct slice key)
{
	return key.len < KEY_SHOWN ? (int)key.len : KEY_SHOWN;
}

/* The key in the braces that begin at text[at], and *end behind them. */
static int
key_read(struct slice text, size_t at, struct slice *key, size_t *end,
	 struct error *err)
{
	const uint8_t *from = text.data + at + 1;
	const uint8_t *close = memchr(from, '}', text.len - at - 1);
	const uint8_t *open = memchr(from, '{', text.len - at - 1);

	if (close == NULL || (open != NULL && open < close)) {
		error_set(err,
			  "a \"{\" at byte %zu that no \"}\" follows; "
			  "\"{{\" stands for one brace",
			  at);
		return -EINVAL;
	}
	if (close == from) {
		error_set(err, "\"{}\" at byte %zu names no key", at);
		return -EINVAL;
	}
	*key = (struct slice){ from, (size_t)(close - from) };
	*end = (size_t)(close - text.data) + 1;
	return 0;
}

bool
command_template_key(struct slice text, struct slice *key_out)
{
	size_t end;

	/* "{{" begins no key. */
	return text.len > 2 && text.data[0] == '{' && text.data[1] != '{' &&
	       key_read(text, 0, key_out, &end, NULL) == 0 && end == text.len;
}

int
command_template_get(const struct command_values *v, struct slice key,
		     struct slice *out, struct error *err)
{
	if (v->output.len > 0 && slice_is(key, "output")) {
		*out = v->output;
		return 0;
	}
	if (value_type(v->map) == VALUE_MAP && value_get(v->map, key, out))
		return 0;
	error_set(err, "{%.*s}: there is no such key in the input",
		  key_shown(key), (const char *)key.data);
	return -EINVAL;
}

static int
key_fill(struct slice key, const struct command_values *v, struct buf *out,
	 struct error *err)
{
	struct slice value;

	if (command_template_get(v, key, &value, err) < 0)
		return -EINVAL;
	if (command_template_scalar(value, out))
		return 0;
	error_set(err,
		  "{%.*s} is %s: only strings, numbers and booleans can "
		  "stand here",
		  key_shown(key), (const char *)key.data,
		  value_type(value) == VALUE_ARRAY ? "an array"
		  : value_type(value) == VALUE_MAP ? "an object"
						   : "null");
	return -EINVAL;
}

int
command_template_text(struct slice text, const struct command_values *v,
		      struct buf *out, struct error *err)
{
	size_t at = 0;

	if (v->fill == FILL_NOTHING) {
		buf_add(out, text.data, text.len);
		return 0;
	}
	while (at < text.len) {
		uint8_t byte = text.data[at];
		struct slice key;
		size_t end;

		if (byte != '{' && byte != '}') {
			buf_add_byte(out, byte);
			at++;
			continue;
		}
		if (at + 1 < text.len && text.data[at + 1] == byte) {
			buf_add_byte(out, byte);
			at += 2;
			continue;
		}
		if (byte == '}') {
			error_set(err,
				  "a \"}\" at byte %zu that no \"{\" "
				  "belongs to; \"}}\" stands for one "
				  "brace",
				  at);
			return -EINVAL;
		}
		if (key_read(text, at, &key, &end, err) < 0)
			return -EINVAL;
		if (v->fill == FILL_CHECK)
			buf_add(out, text.data + at, end - at);
		else if (key_fill(key, v, out, err) < 0)
			return -EINVAL;
		at = end;
	}
	return 0;
}

static int
string_fill(struct slice text, const struct command_values *v, struct buf *out,
	    struct error *err)
{
	struct buf filled = BUF_EMPTY;
	struct slice key, value;
	int rc;

	if (v->fill == FILL_VALUES && command_template_key(text, &key)) {
		rc = command_template_get(v, key, &value, err);
		if (rc == 0)
			value_pack_raw(out, value);
		return rc;
	}
	rc = command_template_text(text, v, &filled, err);
	if (rc == 0)
		value_pack_str(out, filled.data, filled.len);
	buf_fini(&filled);
	return rc;
}

int
command_template_value(struct slice value, const struct command_values *v,
		       struct buf *out, struct error *err)
{
	struct cursor c = cursor_of(value);
	struct item item = cursor_next(&c);

	if (item.type == VALUE_STR)
		return string_fill(item.bytes, v, out, err);
	if (item.type != VALUE_ARRAY && item.type != VALUE_MAP) {
		value_pack_raw(out, value);
		return 0;
	}
	if (item.type == VALUE_ARRAY)
		value_pack_array(out, item.count);
	else
		value_pack_map(out, item.count);
	for (uint32_t i = 0; i < item.count; i++) {
		/* A checked value is at most VALUE_DEPTH_MAX deep. */
		if (item.type == VALUE_MAP)
			value_pack_raw(out, cursor_value(&c));
		if (command_template_value(cursor_value(&c), v, out, err) < 0)
			return -EINVAL;
	}
	return 0;
}
