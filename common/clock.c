/*
 * clock - the two clocks, in microseconds.
 */
#include "common/clock.h"

#include <time.h>

#include "common/assert.h"

static struct timespec
now(clockid_t id)
{
	struct timespec ts;

	ASSERT(clock_gettime(id, &ts) == 0);
	return ts;
}

uint64_t
clock_mono_us(void)
{
	struct timespec ts = now(CLOCK_BOOTTIME);

	return (uint64_t)ts.tv_sec * CLOCK_SECOND_US +
	       (uint64_t)ts.tv_nsec / 1000;
}

int64_t
clock_wall_us(void)
{
	struct timespec ts = now(CLOCK_REALTIME);

	return (int64_t)ts.tv_sec * (int64_t)CLOCK_SECOND_US +
	       ts.tv_nsec / 1000;
}
