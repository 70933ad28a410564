/*
 * value_equal - comparing values as JSON means it.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/value.h"

static bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool
is_number(const struct item *item)
{
	return item->type == VALUE_INT || item->type == VALUE_UINT ||
	       item->type == VALUE_DOUBLE;
}

/* d as an integer, when it is one that a value can hold. */
static bool
whole_number(double d, struct item *out)
{
	if (d >= -0x1p63 && d < 0x1p63) {
		out->type = VALUE_INT;
		out->i = (int64_t)d;
		return (double)out->i == d;
	}
	if (d >= 0x1p63 && d < 0x1p64) {
		out->type = VALUE_UINT;
		out->u = (uint64_t)d;
		return true; /* doubles of that size are whole */
	}
	return false;
}

/* Exact: an integer is never made a double, which would round it. */
static bool
number_equal(struct item a, struct item b)
{
	if (a.type == VALUE_DOUBLE && b.type == VALUE_DOUBLE)
		return a.d == b.d; /* 0.0 and -0.0 too */
	if (a.type == VALUE_DOUBLE && !whole_number(a.d, &a))
		return false;
	if (b.type == VALUE_DOUBLE && !whole_number(b.d, &b))
		return false;
	return a.type == b.type &&
	       (a.type == VALUE_INT ? a.i == b.i : a.u == b.u);
}

struct member {
	struct slice key; /* packed */
	struct slice value;
	uint32_t place;
};

static int
key_compare(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int
member_compare_cb(const void *left, const void *right)
{
	const struct member *a = left;
	const struct member *b = right;
	int order = key_compare(a->key, b->key);

	return order != 0 ? order
			  : (a->place > b->place) - (a->place < b->place);
}

/*
 * The members by key, of duplicates only the last; the caller frees. Sorting
 * keeps a comparison of large maps from growing with the square.
 */
static struct member *
members_sorted(struct cursor c, uint32_t *count)
{
	struct member *list = mem_calloc(*count, sizeof(*list));
	uint32_t kept = 0;

	for (uint32_t i = 0; i < *count; i++) {
		struct slice key = cursor_value(&c);
		struct item item = value_item(key);

		list[i].key = item.type == VALUE_STR ? item.bytes : key;
		list[i].value = cursor_value(&c);
		list[i].place = i;
	}
	if (*count > 1)
		qsort(list, *count, sizeof(*list), member_compare_cb);
	for (uint32_t i = 0; i < *count; i++) {
		if (i + 1 < *count &&
		    key_compare(list[i].key, list[i + 1].key) == 0)
			continue;
		list[kept++] = list[i];
	}
	*count = kept;
	return list;
}

static bool
map_equal(struct cursor a, uint32_t a_count, struct cursor b, uint32_t b_count)
{
	struct member *as = members_sorted(a, &a_count);
	struct member *bs = members_sorted(b, &b_count);
	bool equal = a_count == b_count;

	for (uint32_t i = 0; equal && i < a_count; i++)
		equal = slice_equal(as[i].key, bs[i].key) &&
			value_equal(as[i].value, bs[i].value);
	free(as);
	free(bs);
	return equal;
}

bool
value_equal(struct slice a, struct slice b)
{
	struct cursor ac = cursor_of(a), bc = cursor_of(b);
	struct item ai, bi;

	/* Equal bytes are equal values, since no value is NaN. */
	if (slice_equal(a, b))
		return true;
	ai = cursor_next(&ac);
	bi = cursor_next(&bc);
	if (is_number(&ai) && is_number(&bi))
		return number_equal(ai, bi);
	if (ai.type != bi.type)
		return false;
	switch (ai.type) {
	case VALUE_NULL:
		return true;
	case VALUE_BOOL:
		return ai.b == bi.b;
	case VALUE_STR:
	case VALUE_BIN:
		return slice_equal(ai.bytes, bi.bytes);
	case VALUE_ARRAY:
		if (ai.count != bi.count)
			return false;
		for (uint32_t i = 0; i < ai.count; i++) {
			if (!value_equal(cursor_value(&ac), cursor_value(&bc)))
				return false;
		}
		return true;
	case VALUE_MAP:
		return map_equal(ac, ai.count, bc, bi.count);
	case VALUE_INT:
	case VALUE_UINT:
	case VALUE_DOUBLE:
		break; /* two numbers: above */
	}
	return false;
}
