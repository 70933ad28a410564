/*
 * backoff - see backoff.h.
 */
#include "flusher/backoff.h"

#include "common/clock.h"

#define STEP_FIRST_US (50 * CLOCK_MS_US)
#define STEP_EARLY_MAX_US CLOCK_SECOND_US
#define STEP_LATE_MAX_US (5 * CLOCK_SECOND_US)
#define EARLY_US (60 * CLOCK_SECOND_US)
/* From here on the attempts are a second apart, and a little more: many
 * pools that began in step must not stay in it. */
#define SPARSE_AFTER_US (10 * CLOCK_SECOND_US)
#define SPARSE_US CLOCK_SECOND_US
#define SPARSE_SPREAD_US (50 * CLOCK_MS_US)

void
backoff_reset(struct backoff *b)
{
	*b = (struct backoff){ .since_us = 0 };
}

uint64_t
backoff_next(struct backoff *b, uint64_t now_us, uint32_t chance)
{
	uint64_t max, least = 0;

	if (b->since_us == 0)
		*b = (struct backoff){ .since_us = now_us };
	max = now_us - b->since_us < EARLY_US ? STEP_EARLY_MAX_US :
	                                        STEP_LATE_MAX_US;
	b->step_us = b->step_us == 0 ? STEP_FIRST_US : b->step_us * 2;
	if (b->step_us > max)
		b->step_us = max;
	b->attempts++;
	if (now_us - b->since_us >= SPARSE_AFTER_US) {
		least = SPARSE_US;
		max = b->step_us > SPARSE_US ? b->step_us - SPARSE_US : 0;
		if (max < SPARSE_SPREAD_US)
			max = SPARSE_SPREAD_US;
	} else {
		max = b->step_us;
	}
	return now_us + least + chance % (max + 1);
}
