/*
 * histogram - how often which duration or size was seen, cheaply.
 *
 * Buckets are powers of two cut in four, so a value is known to within 25 %
 * (the layout of HdrHistogram, coarser). Counting is two shifts and an
 * increment. Never decays: the reader subtracts two snapshots.
 */
#ifndef FLUSHER_HISTOGRAM_H
#define FLUSHER_HISTOGRAM_H

#include <stdint.h>

#include "common/buf.h"

#define HISTOGRAM_BUCKETS 160U /* up to 2^40 */

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The largest value that falls into the bucket. */
uint64_t histogram_bound(uint32_t bucket);
/* Packs an array of [bound, count], empty buckets left out. */
void histogram_pack(const struct histogram *h, struct buf *out);

#endif
