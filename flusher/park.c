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

/* Whoever finishes a task may do so at once. */
#define TASK_US ((int64_t)CLOCK_SECOND_US)

/* All that it wants is time or somebody else's word. */
static bool
waits_only(const struct flusher *f, const struct lease *lease)
{
	return LIST_EMPTY(&lease->flights) && lease->queued == 0 &&
	    lease->batches == 0 && !lease->ended && lease->rebuild == NULL &&
	    f->phase == FLUSHER_WORKING;
}

static bool
park(struct flusher *f, struct lease *lease)
{
	bool tasks = instance_pending_count(lease->engine) > 0;
	char until[TIMESTAMP_TEXT_SIZE];
	char reason[TIMESTAMP_TEXT_SIZE + 64];
	int64_t due_us;

	if (!timers_first(lease, &due_us)) {
		if (!tasks)
			return false;
		f->counters.parked++;
		claim_park(f, lease, 0, "waits for a task to be finished");
		return true;
	}
	if (due_us - flusher_now_us(f) < PARK_US)
		return false;
	timestamp_text(due_us, until);
	snprintf(reason, sizeof(reason), "waits %suntil %s",
	         tasks ? "for a task to be finished, at most " : "", until);
	f->counters.parked++;
	claim_park(f, lease, due_us - EARLY_US, reason);
	return true;
}

bool
park_maybe(struct flusher *f, struct lease *lease)
{
	if (!waits_only(f, lease))
		return false;
	if (instance_pending_count(lease->engine) == 0)
		return park(f, lease);
	if (!timers_any(lease, TIMER_PARK))
		timers_add(f->timers, lease, TIMER_PARK, ACTIVATION_WORKFLOW,
		           flusher_now_us(f) + TASK_US);
	return false;
}

void
park_due(struct flusher *f, struct lease *lease)
{
	if (waits_only(f, lease))
		(void)park(f, lease);
}
