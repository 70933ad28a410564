/*
 * clock - the two clocks, in microseconds.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* For durations and deadlines; goes on during suspend (CLOCK_BOOTTIME). */
uint64_t clock_mono_us(void);
/* For dates that people read; may jump. Since 1970, UTC. */
int64_t clock_wall_us(void);

#define CLOCK_SECOND_US UINT64_C(1000000)
#define CLOCK_MS_US UINT64_C(1000)

#endif
