/* distinct - a set of values; see distinct.h. */
#include "engine/distinct.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define HASH_SMALL 16U /* pairs of a map that are hashed on the stack */

static uint64_t
mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

static uint64_t
hash_bytes(uint64_t h, struct slice s)
{
	uint64_t word;

	h = mix(h ^ s.len);
	while (s.len >= 8) {
		memcpy(&word, s.data, 8);
		h = mix(h ^ word) + 0x9e3779b97f4a7c15ULL;
		s.data += 8;
		s.len -= 8;
	}
	word = 0;
	if (s.len > 0)
		memcpy(&word, s.data, s.len);
	return mix(h ^ word);
}

/* Equal numbers hash alike, whatever their type. */
static uint64_t
hash_double(double d)
{
	uint64_t bits;

	if (trunc(d) == d && d >= -9223372036854775808.0 &&
	    d < 9223372036854775808.0)
		return mix((uint64_t)(int64_t)d + 3);
	if (trunc(d) == d && d > 0 && d < 18446744073709551616.0)
		return mix((uint64_t)d + 3);
	memcpy(&bits, &d, sizeof(bits));
	return mix(bits + 4);
}

static uint64_t hash_value(struct cursor *c);

/*
 * The sum over the pairs, without those whose key comes again: order does
 * not matter and of duplicate keys the last one counts.
 */
static uint64_t
hash_map(struct cursor *c, uint32_t pairs)
{
	struct pair {
		uint64_t key;
		uint64_t value;
		bool used;
	} few[HASH_SMALL * 2], *slots = few;
	uint64_t sum = 0;
	size_t size = HASH_SMALL * 2;

	if (pairs > HASH_SMALL) {
		while (size < (size_t)pairs * 2)
			size *= 2;
		slots = mem_calloc(size, sizeof(*slots));
	} else {
		memset(few, 0, sizeof(few));
	}
	for (uint32_t i = 0; i < pairs; i++) {
		uint64_t key = hash_value(c);
		size_t at = key & (size - 1);

		while (slots[at].used && slots[at].key != key)
			at = (at + 1) & (size - 1);
		slots[at].used = true;
		slots[at].key = key;
		slots[at].value = hash_value(c);
	}
	for (size_t i = 0; i < size; i++)
		if (slots[i].used)
			sum += mix(slots[i].key * 31 + slots[i].value);
	if (slots != few)
		free(slots);
	return mix(sum + 6);
}

static uint64_t
hash_value(struct cursor *c)
{
	struct item item = cursor_next(c);
	uint64_t h;

	switch (item.type) {
	case VALUE_NULL:
		return 1;
	case VALUE_BOOL:
		return item.b ? 3 : 2;
	case VALUE_INT:
		return mix((uint64_t)item.i + 3);
	case VALUE_UINT:
		return mix(item.u + 3);
	case VALUE_DOUBLE:
		return hash_double(item.d);
	case VALUE_STR:
	case VALUE_BIN:
		return hash_bytes(7, item.bytes);
	case VALUE_ARRAY:
		h = 5;
		for (uint32_t i = 0; i < item.count; i++)
			h = mix(h) + hash_value(c);
		return mix(h);
	case VALUE_MAP:
		return hash_map(c, item.count);
	}
	return 0;
}

void
distinct_init(struct distinct *d, uint32_t count_max)
{
	size_t size = 8;

	while (size < (size_t)count_max * 2)
		size *= 2;
	*d = (struct distinct){ 0 };
	d->list = mem_calloc((size_t)count_max + 1, sizeof(*d->list));
	d->hashes = mem_calloc((size_t)count_max + 1, sizeof(*d->hashes));
	d->slots = mem_calloc(size, sizeof(*d->slots));
	d->mask = (uint32_t)(size - 1);
}

void
distinct_fini(struct distinct *d)
{
	free(d->list);
	free(d->hashes);
	free(d->slots);
	*d = (struct distinct){ 0 };
}

uint32_t
distinct_add(struct distinct *d, struct slice value)
{
	struct cursor c = cursor_of(value);
	uint64_t hash = hash_value(&c);
	uint32_t at = (uint32_t)hash & d->mask;

	for (; d->slots[at] != 0; at = (at + 1) & d->mask) {
		uint32_t place = d->slots[at] - 1;

		if (d->hashes[place] == hash &&
		    value_equal(d->list[place], value))
			return place;
	}
	d->slots[at] = d->count + 1;
	d->list[d->count] = value;
	d->hashes[d->count] = hash;
	return d->count++;
}
