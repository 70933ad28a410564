/* path_compare - the operators of filters, between two values. */
#include <string.h>

#include "engine/order.h"
#include "engine/path_parts.h"

uint32_t
path_characters(struct slice text)
{
	uint32_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += (text.data[i] & 0xC0) != 0x80;
	return count;
}

static bool
contains(struct slice array, struct slice v)
{
	struct cursor c = cursor_of(array);
	struct item item = cursor_next(&c);

	if (item.type != VALUE_ARRAY)
		return false;
	for (uint32_t i = 0; i < item.count; i++)
		if (value_equal(cursor_value(&c), v))
			return true;
	return false;
}

/* How many elements of a are in b. */
static uint32_t
common(struct slice a, struct slice b)
{
	struct cursor c = cursor_of(a);
	struct item item = cursor_next(&c);
	uint32_t count = 0;

	for (uint32_t i = 0; i < item.count; i++)
		count += contains(b, cursor_value(&c));
	return count;
}

static bool
ordered(enum test_kind kind, struct slice a, struct slice b)
{
	struct item x = value_item(a), y = value_item(b);
	int order;

	if (order_is_number(x.type) && order_is_number(y.type))
		order = order_numbers(&x, &y);
	else if (x.type == VALUE_STR && y.type == VALUE_STR)
		order = order_strings(x.bytes, y.bytes);
	else
		return false;
	if (kind == TEST_LT)
		return order < 0;
	if (kind == TEST_LE)
		return order <= 0;
	return kind == TEST_GT ? order > 0 : order >= 0;
}

static bool
has_size(struct slice v, struct slice size)
{
	struct item item = value_item(v), want = value_item(size);
	uint32_t count = item.type == VALUE_STR ? path_characters(item.bytes)
						: value_count(v);
	struct item have = { .type = VALUE_INT, .i = count };

	return (item.type == VALUE_STR || item.type == VALUE_ARRAY ||
		item.type == VALUE_MAP) &&
	       order_is_number(want.type) && order_numbers(&have, &want) == 0;
}

static bool
has_emptiness(struct slice v, struct slice want)
{
	struct item item = value_item(v), flag = value_item(want);
	bool empty =
	    item.type == VALUE_STR ? item.bytes.len == 0 : value_count(v) == 0;

	return (item.type == VALUE_STR || item.type == VALUE_ARRAY ||
		item.type == VALUE_MAP) &&
	       flag.type == VALUE_BOOL && flag.b == empty;
}

static bool
has_part(struct slice v, struct slice part)
{
	struct item item = value_item(v), piece = value_item(part);

	if (item.type != VALUE_STR)
		return contains(v, part);
	return piece.type == VALUE_STR &&
	       memmem(item.bytes.data, item.bytes.len, piece.bytes.data,
		      piece.bytes.len) != NULL;
}

bool
path_compare(enum test_kind kind, struct slice a, struct slice b)
{
	bool sets =
	    value_type(a) == VALUE_ARRAY && value_type(b) == VALUE_ARRAY;

	switch (kind) {
	case TEST_ANY:
	case TEST_EVERY:
	case TEST_NOT:
	case TEST_EXISTS:
		break;
	case TEST_EQ:
		return value_equal(a, b);
	case TEST_NE:
		return !value_equal(a, b);
	case TEST_LT:
	case TEST_LE:
	case TEST_GT:
	case TEST_GE:
		return ordered(kind, a, b);
	case TEST_IN:
		return contains(b, a);
	case TEST_NIN:
		return !contains(b, a);
	case TEST_CONTAINS:
		return has_part(a, b);
	case TEST_SUBSETOF:
		return sets && common(a, b) == value_count(a);
	case TEST_ANYOF:
		return sets && common(a, b) > 0;
	case TEST_NONEOF:
		return sets && common(a, b) == 0;
	case TEST_SIZE:
		return has_size(a, b);
	case TEST_EMPTY:
		return has_emptiness(a, b);
	}
	return false;
}

size_t
path_compare_cost(enum test_kind kind, struct slice a, struct slice b)
{
	if (kind == TEST_IN || kind == TEST_NIN || kind == TEST_CONTAINS)
		return (a.len + b.len) * 2;
	if (kind == TEST_SUBSETOF || kind == TEST_ANYOF || kind == TEST_NONEOF)
		return ((size_t)value_count(a) + 1) * (b.len + 1);
	return a.len + b.len;
}
