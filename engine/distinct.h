/*
 * distinct - a set of values that keeps the order in which they came.
 *
 * Pure. Values are borrowed. Adding costs as much as the value is long,
 * whatever the set holds, so that a large array takes no quadratic time.
 */
#ifndef ENGINE_DISTINCT_H
#define ENGINE_DISTINCT_H

#include <stdbool.h>

#include "common/value.h"

struct distinct {
	struct slice *list; /* in the order of first appearance */
	uint32_t count;
	uint64_t *hashes;   /* of the list */
	uint32_t *slots;    /* place in the list + 1; 0 is free */
	uint32_t mask;
};

/* For at most count_max values, which stand in memory already. */
void distinct_init(struct distinct *d, uint32_t count_max);
void distinct_fini(struct distinct *d);
/* The value's place in the list; it is new when that was d->count. */
uint32_t distinct_add(struct distinct *d, struct slice value);

#endif
