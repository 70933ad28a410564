/* intrinsic_array - the functions on arrays, and JsonMerge. */
#include <errno.h>
#include <stdlib.h>

#include "engine/distinct.h"
#include "engine/intrinsic_parts.h"

int
function_array(const struct arg *args, uint32_t count,
	       struct template_seed *seed, struct buf *out, struct error *err)
{
	(void)seed;
	(void)err;
	value_pack_array(out, count);
	for (uint32_t i = 0; i < count; i++)
		value_pack_raw(out, args[i].v);
	return 0;
}

int
function_array_partition(const struct arg *args, uint32_t count,
			 struct template_seed *seed, struct buf *out,
			 struct error *err)
{
	struct cursor c;
	uint32_t items, left;
	int64_t size;

	(void)count;
	(void)seed;
	if (arg_array(args, 0, err) < 0 || arg_integer(args, 1, &size, err) < 0)
		return -EINVAL;
	if (size < 1) {
		error_set(err, "argument 2 must be at least 1");
		return -EINVAL;
	}
	c = cursor_of(args[0].v);
	left = items = cursor_next(&c).count;
	if (size > items)
		size = items > 0 ? items : 1;
	value_pack_array(out, (uint32_t)(((int64_t)items + size - 1) / size));
	while (left > 0) {
		uint32_t n = left < size ? left : (uint32_t)size;
		const uint8_t *from = c.at;

		for (uint32_t i = 0; i < n; i++)
			(void)cursor_value(&c);
		value_pack_array(out, n);
		buf_add(out, from, (size_t)(c.at - from));
		left -= n;
	}
	return 0;
}

int
function_array_contains(const struct arg *args, uint32_t count,
			struct template_seed *seed, struct buf *out,
			struct error *err)
{
	struct cursor c;
	bool found = false;

	(void)count;
	(void)seed;
	if (arg_array(args, 0, err) < 0)
		return -EINVAL;
	c = cursor_of(args[0].v);
	for (uint32_t left = cursor_next(&c).count; left > 0 && !found; left--)
		found = value_equal(cursor_value(&c), args[1].v);
	value_pack_bool(out, found);
	return 0;
}

int
function_array_range(const struct arg *args, uint32_t count,
		     struct template_seed *seed, struct buf *out,
		     struct error *err)
{
	int64_t from, to, by;
	uint64_t items = 0;

	(void)count;
	(void)seed;
	if (arg_integer(args, 0, &from, err) < 0 ||
	    arg_integer(args, 1, &to, err) < 0 ||
	    arg_integer(args, 2, &by, err) < 0)
		return -EINVAL;
	if (by == 0) {
		error_set(err, "argument 3 must not be 0");
		return -EINVAL;
	}
	/* Unsigned: the distance of two integers may need 64 bits. */
	if (by > 0 && from <= to)
		items = ((uint64_t)to - (uint64_t)from) / (uint64_t)by;
	else if (by < 0 && from >= to)
		items = ((uint64_t)from - (uint64_t)to) / (0 - (uint64_t)by);
	if (items >= RANGE_ITEMS_MAX) {
		error_set(err, "the array would have more than %d elements",
			  RANGE_ITEMS_MAX);
		return -EINVAL;
	}
	if ((by > 0) == (from <= to) || from == to)
		items++;
	value_pack_array(out, (uint32_t)items);
	for (uint64_t i = 0; i < items; i++)
		value_pack_int(out,
			       (int64_t)((uint64_t)from + i * (uint64_t)by));
	return 0;
}

int
function_array_get_item(const struct arg *args, uint32_t count,
			struct template_seed *seed, struct buf *out,
			struct error *err)
{
	struct slice v;
	int64_t index;

	(void)count;
	(void)seed;
	if (arg_array(args, 0, err) < 0 ||
	    arg_integer(args, 1, &index, err) < 0)
		return -EINVAL;
	if (index < 0 || index > UINT32_MAX ||
	    !value_at(args[0].v, (uint32_t)index, &v)) {
		error_set(err, "the array has no element %lld",
			  (long long)index);
		return -EINVAL;
	}
	value_pack_raw(out, v);
	return 0;
}

int
function_array_length(const struct arg *args, uint32_t count,
		      struct template_seed *seed, struct buf *out,
		      struct error *err)
{
	(void)count;
	(void)seed;
	if (arg_array(args, 0, err) < 0)
		return -EINVAL;
	value_pack_uint(out, value_count(args[0].v));
	return 0;
}

int
function_array_unique(const struct arg *args, uint32_t count,
		      struct template_seed *seed, struct buf *out,
		      struct error *err)
{
	struct distinct d;
	struct cursor c;
	uint32_t items;

	(void)count;
	(void)seed;
	if (arg_array(args, 0, err) < 0)
		return -EINVAL;
	c = cursor_of(args[0].v);
	items = cursor_next(&c).count;
	distinct_init(&d, items);
	for (uint32_t i = 0; i < items; i++)
		(void)distinct_add(&d, cursor_value(&c));
	value_pack_array(out, d.count);
	for (uint32_t i = 0; i < d.count; i++)
		value_pack_raw(out, d.list[i]);
	distinct_fini(&d);
	return 0;
}

/* ---- JsonMerge ---- */

/* The values that the two objects have for one key. */
struct pair {
	struct slice values[2]; /* data is NULL where there is none */
};

/* As deep as the shallower of the two values. */
static void
merge(struct slice a, struct slice b, bool deep, struct buf *out)
{
	struct slice sides[2] = { a, b };
	uint32_t count = value_count(a) + value_count(b);
	struct pair *pairs = mem_calloc((size_t)count + 1, sizeof(*pairs));
	struct distinct keys;

	distinct_init(&keys, count);
	for (int side = 0; side < 2; side++) {
		struct cursor c = cursor_of(sides[side]);

		for (uint32_t left = cursor_next(&c).count; left > 0; left--) {
			uint32_t at = distinct_add(&keys, cursor_value(&c));

			pairs[at].values[side] = cursor_value(&c);
		}
	}
	value_pack_map(out, keys.count);
	for (uint32_t i = 0; i < keys.count; i++) {
		const struct slice *v = pairs[i].values;

		value_pack_raw(out, keys.list[i]);
		if (v[1].data == NULL)
			value_pack_raw(out, v[0]);
		else if (deep && v[0].data != NULL &&
			 value_type(v[0]) == VALUE_MAP &&
			 value_type(v[1]) == VALUE_MAP)
			merge(v[0], v[1], deep, out);
		else
			value_pack_raw(out, v[1]);
	}
	distinct_fini(&keys);
	free(pairs);
}

int
function_json_merge(const struct arg *args, uint32_t count,
		    struct template_seed *seed, struct buf *out,
		    struct error *err)
{
	struct item deep = value_item(args[2].v);

	(void)count;
	(void)seed;
	for (uint32_t i = 0; i < 2; i++) {
		if (value_type(args[i].v) != VALUE_MAP) {
			error_set(err, "argument %u must be an object", i + 1);
			return -EINVAL;
		}
	}
	if (deep.type != VALUE_BOOL) {
		error_set(err, "argument 3 must be true or false");
		return -EINVAL;
	}
	merge(args[0].v, args[1].v, deep.b, out);
	return 0;
}
