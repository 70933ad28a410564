/*
 * server_clock - see server_clock.h.
 */
#include "flusher/server_clock.h"

#include <stdlib.h>

#include "common/clock.h"

/* Round trips that differ by less tell the time equally well; and how long a
 * good one counts. */
#define NEAR_US (10 * CLOCK_MS_US)
#define KEEP_US (60 * CLOCK_SECOND_US)

static int64_t
within(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

int64_t
server_clock_told(struct server_clock *c, int64_t at_us, uint64_t sent_us,
                  uint64_t answered_us)
{
	uint64_t rtt_us = answered_us - sent_us;
	int64_t offset_us = at_us - (int64_t)(sent_us + rtt_us / 2);
	int64_t moved_us;

	/* A slow first answer is no better than a guess that it allows. */
	if (c->told_us == 0 && rtt_us > NEAR_US)
		offset_us = within(c->offset_us, at_us - (int64_t)answered_us,
		                   at_us - (int64_t)sent_us);
	moved_us = offset_us - c->offset_us;

	if (c->told_us != 0 && rtt_us > 2 * c->rtt_us + NEAR_US &&
	    answered_us - c->told_us < KEEP_US &&
	    (uint64_t)llabs(moved_us) <= rtt_us / 2 + NEAR_US)
		return 0;
	c->offset_us = offset_us;
	c->told_us = answered_us;
	c->rtt_us = rtt_us;
	return moved_us;
}
