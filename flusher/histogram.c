/*
 * histogram - see histogram.h.
 */
#include "flusher/histogram.h"

#include "common/value.h"

/* Below 4 every value has a bucket of its own. */
static uint32_t
bucket_of(uint64_t value)
{
	uint32_t bits, bucket;

	if (value < 4)
		return (uint32_t)value;
	bits = 63U - (uint32_t)__builtin_clzll(value);
	bucket = (bits - 1) * 4 + (uint32_t)((value >> (bits - 2)) & 3);
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t
histogram_bound(uint32_t bucket)
{
	uint32_t bits;

	if (bucket < 4)
		return bucket;
	bits = bucket / 4 + 1;
	return ((UINT64_C(4) + bucket % 4 + 1) << (bits - 2)) - 1;
}

void
histogram_add(struct histogram *h, uint64_t value)
{
	h->counts[bucket_of(value)]++;
}

void
histogram_pack(const struct histogram *h, struct buf *out)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		used += h->counts[i] != 0;
	value_pack_array(out, used);
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (h->counts[i] == 0)
			continue;
		value_pack_array(out, 2);
		value_pack_uint(out, histogram_bound(i));
		value_pack_uint(out, h->counts[i]);
	}
}
