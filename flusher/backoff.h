/*
 * backoff - when a database that is away is tried again.
 *
 * Full jitter, so that many pools do not come back in step: any time up to a
 * step that doubles from 50 ms to 1 s in the first minute of an outage, then
 * to 5 s. After 10 s there is at least a second between two attempts. Pure:
 * the caller gives time and chance.
 */
#ifndef FLUSHER_BACKOFF_H
#define FLUSHER_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t since_us; /* when the outage began; 0: there is none */
	uint64_t step_us;
	uint32_t attempts; /* given out since then */
};

/* The outage is over. */
void backoff_reset(struct backoff *b);
/* When the next attempt is due; the first call of an outage begins it. */
uint64_t backoff_next(struct backoff *b, uint64_t now_us, uint32_t chance);

#endif
