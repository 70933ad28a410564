/*
 * park - see park.h.
 */
#include "flusher/park.h"

#include <stdio.h>

#include "common/clock.h"
#include "engine/timestamp.h"
#include "flusher/claim.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/timers.h"

/* Shorter waits are cheaper in memory than a replay. */
#define PARK_US ((int64_t)(30 * CLOCK_SECOND_US))
/* Claiming and replaying happen before it is due: what waits in the table is
 * looked for once a second. */
#define EARLY_US ((int64_t)(3 * CLOCK_SECOND_US))

bool
park_maybe(struct flusher *f, struct lease *lease)
{
	char until[TIMESTAMP_TEXT_SIZE];
	char reason[TIMESTAMP_TEXT_SIZE + 32];
	int64_t due_us, now_us;

	if (!LIST_EMPTY(&lease->flights) || lease->queued > 0 ||
	    lease->batches > 0 || lease->ended || lease->rebuild != NULL || f->phase != FLUSHER_WORKING)
		return false;
	if (!timers_first(lease, &due_us))
		return false;
	now_us = flusher_now_us(f);
	if (due_us - now_us < PARK_US)
		return false;
	timestamp_text(due_us, until);
	snprintf(reason, sizeof(reason), "waits until %s", until);
	f->counters.parked++;
	claim_park(f, lease, due_us - EARLY_US, reason);
	return true;
}
