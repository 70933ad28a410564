/*
 * server_clock - how far PostgreSQL's clock is from ours, by its answers.
 *
 * Half of the round trip is a good enough guess when that is short. An answer
 * that took long says only what the offset cannot be: it counts when it
 * contradicts what we have, or when no better one came for long; a first one
 * moves the guess that offset_us begins with no further than it must. Pure: the
 * caller gives the times.
 */
#ifndef FLUSHER_SERVER_CLOCK_H
#define FLUSHER_SERVER_CLOCK_H

#include <stdint.h>

struct server_clock {
	int64_t offset_us; /* its time minus ours */
	uint64_t told_us;  /* when the answer that counts came; 0: none yet */
	uint64_t rtt_us;   /* and how long it took */
};

/* It said at_us to what was sent and answered then. By how much the offset
 * moved. */
int64_t server_clock_told(struct server_clock *c, int64_t at_us,
                          uint64_t sent_us, uint64_t answered_us);

#endif
