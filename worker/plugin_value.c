/*
 * plugin_value - common/value.h for those who may ask anything of any value.
 */
#include "worker/plugin_value.h"

#include "common/value.h"

static struct slice
slice_from(struct rappel_value v)
{
	return (struct slice){ v.data, v.len };
}

static struct rappel_value
value_from(struct slice s)
{
	return (struct rappel_value){ s.data, s.len };
}

static struct rappel_text
text_from(struct slice s)
{
	return (struct rappel_text){ (const char *)s.data, s.len };
}

/* False: there is none. */
static bool
item_of(struct rappel_value v, struct item *out)
{
	if (v.len == 0)
		return false;
	*out = value_item(slice_from(v));
	return true;
}

enum rappel_type
plugin_value_type(struct rappel_value v)
{
	struct item item;

	if (!item_of(v, &item))
		return RAPPEL_NONE;
	switch (item.type) {
	case VALUE_NULL:
		return RAPPEL_NULL;
	case VALUE_BOOL:
		return RAPPEL_BOOL;
	case VALUE_INT:
		return RAPPEL_INT;
	case VALUE_UINT:
		return RAPPEL_UINT;
	case VALUE_DOUBLE:
		return RAPPEL_DOUBLE;
	case VALUE_STR:
		return RAPPEL_STRING;
	case VALUE_ARRAY:
		return RAPPEL_ARRAY;
	case VALUE_MAP:
		return RAPPEL_MAP;
	case VALUE_BIN: /* in no value */
		break;
	}
	return RAPPEL_NONE;
}

uint32_t
plugin_value_count(struct rappel_value v)
{
	return v.len > 0 ? value_count(slice_from(v)) : 0;
}

bool
plugin_value_get(struct rappel_value map, const char *key, size_t key_len,
		 struct rappel_value *out)
{
	struct slice found;

	if (map.len == 0 ||
	    !value_get(slice_from(map),
		       (struct slice){ (const uint8_t *)key, key_len }, &found))
		return false;
	*out = value_from(found);
	return true;
}

bool
plugin_value_at(struct rappel_value array, uint32_t index,
		struct rappel_value *out)
{
	struct slice found;

	if (array.len == 0 || !value_at(slice_from(array), index, &found))
		return false;
	*out = value_from(found);
	return true;
}

bool
plugin_value_open(struct rappel_value v, struct rappel_cursor *out)
{
	struct cursor c;
	struct item item;

	if (v.len == 0)
		return false;
	c = cursor_of(slice_from(v));
	item = cursor_next(&c);
	if (item.type != VALUE_ARRAY && item.type != VALUE_MAP)
		return false;
	*out = (struct rappel_cursor){ .at = c.at,
				       .end = c.end,
				       .left = item.count,
				       .keys = item.type == VALUE_MAP };
	return true;
}

bool
plugin_value_next(struct rappel_cursor *c, struct rappel_text *key,
		  struct rappel_value *out)
{
	struct cursor at = { c->at, c->end };
	struct slice name = SLICE_NONE;

	if (c->left == 0)
		return false;
	c->left--;
	if (c->keys != 0)
		name = cursor_next(&at).bytes;
	*out = value_from(cursor_value(&at));
	if (key != NULL)
		*key = text_from(name);
	c->at = at.at;
	return true;
}

bool
plugin_value_bool(struct rappel_value v, bool *out)
{
	struct item item;

	if (!item_of(v, &item) || item.type != VALUE_BOOL)
		return false;
	*out = item.b;
	return true;
}

bool
plugin_value_int(struct rappel_value v, int64_t *out)
{
	struct item item;

	if (!item_of(v, &item) || item.type != VALUE_INT)
		return false;
	*out = item.i;
	return true;
}

bool
plugin_value_uint(struct rappel_value v, uint64_t *out)
{
	struct item item;

	if (!item_of(v, &item))
		return false;
	if (item.type == VALUE_UINT)
		*out = item.u;
	else if (item.type == VALUE_INT && item.i >= 0)
		*out = (uint64_t)item.i;
	else
		return false;
	return true;
}

/* The double of that integer, if there is one. */
static bool
exact(bool negative, uint64_t magnitude, double *out)
{
	uint64_t odd = magnitude;

	while (odd != 0 && (odd & 1) == 0)
		odd >>= 1;
	if (odd > (UINT64_C(1) << 53))
		return false;
	*out = negative ? -(double)magnitude : (double)magnitude;
	return true;
}

bool
plugin_value_double(struct rappel_value v, double *out)
{
	struct item item;

	if (!item_of(v, &item))
		return false;
	if (item.type == VALUE_INT)
		return exact(
		    item.i < 0,
		    item.i < 0 ? 0 - (uint64_t)item.i : (uint64_t)item.i, out);
	if (item.type == VALUE_UINT)
		return exact(false, item.u, out);
	if (item.type != VALUE_DOUBLE)
		return false;
	*out = item.d;
	return true;
}

bool
plugin_value_string(struct rappel_value v, struct rappel_text *out)
{
	struct item item;

	if (!item_of(v, &item) || item.type != VALUE_STR)
		return false;
	*out = text_from(item.bytes);
	return true;
}
