/*
 * group_policy - which slots to fill now, and the backoff of those that die.
 */
#include "supervisor/group_policy.h"

void
backoff_death(struct backoff *b, uint64_t life_us, bool worked, bool wanted,
              uint64_t now_us)
{
	uint64_t max_us = worked ? BACKOFF_WORKED_MAX_US : BACKOFF_MAX_US;

	if (wanted) {
		b->not_before_us = now_us;
		return;
	}
	if (life_us >= BACKOFF_LIFE_US) {
		b->delay_us = 0;
		b->not_before_us = now_us;
		return;
	}
	b->delay_us = b->delay_us == 0 ? BACKOFF_FIRST_US : b->delay_us * 2;
	if (b->delay_us > max_us)
		b->delay_us = max_us;
	b->not_before_us = now_us + b->delay_us;
}

void
backoff_failure(struct backoff *b, uint64_t now_us)
{
	backoff_death(b, 0, false, false, now_us);
}

void
brake_failed(struct brake *b, uint64_t now_us)
{
	uint64_t delay_us = BACKOFF_FIRST_US;

	b->failures += b->failures < UINT32_MAX;
	for (uint32_t i = 1; i < b->failures && delay_us < BACKOFF_MAX_US; i++)
		delay_us *= 2;
	b->failed_us = now_us;
	b->not_before_us =
	    now_us + (delay_us < BACKOFF_MAX_US ? delay_us : BACKOFF_MAX_US);
}

void
brake_proved(struct brake *b, uint64_t started_us)
{
	/* One that was there before shows nothing: the program may be
	 * another by now. */
	if (started_us >= b->failed_us)
		b->failures = 0;
}

bool
brake_degraded(const struct brake *b)
{
	return b->failures >= BRAKE_DEGRADED;
}

void
brake_missing(struct brake *b, uint64_t now_us)
{
	if (b->failures < BRAKE_DEGRADED - 1)
		b->failures = BRAKE_DEGRADED - 1;
	brake_failed(b, now_us);
}

void
brake_refused(struct brake *b, uint64_t now_us)
{
	brake_missing(b, now_us);
	b->not_before_us = now_us + BACKOFF_MAX_US;
}

void
brake_ease(struct brake *b, uint64_t now_us)
{
	if (b->failures > BRAKE_DEGRADED)
		b->failures = BRAKE_DEGRADED;
	if (b->not_before_us > now_us)
		b->not_before_us = now_us;
}

bool
fork_brake_failed(struct fork_brake *b, uint64_t now_us, uint32_t *count_out)
{
	if (b->failing_us == 0) {
		b->failing_us = now_us;
		b->delay_us = FORK_DELAY_US;
	} else if (now_us - b->failing_us >= FORK_PATIENCE_US) {
		b->delay_us *= 2;
		if (b->delay_us > BACKOFF_MAX_US)
			b->delay_us = BACKOFF_MAX_US;
	}
	b->not_before_us = now_us + b->delay_us;
	b->untold++;
	if (b->told_us != 0 && now_us - b->told_us < FORK_TELL_US)
		return false;
	b->told_us = now_us;
	*count_out = b->untold;
	b->untold = 0;
	return true;
}

void
fork_brake_worked(struct fork_brake *b)
{
	b->failing_us = 0;
	b->not_before_us = 0;
}

/* While degraded: the free slot that has waited longest, if it is time. */
static uint32_t
group_probe(const struct group_view *g, uint64_t now_us, uint32_t *slots_out,
            uint64_t *wake_us_out)
{
	uint32_t first = g->size;

	if (g->unproved > 0)
		return 0; /* its proof or its death comes first */
	for (uint32_t i = 0; i < g->size; i++) {
		const struct slot_view *v = &g->slots[i];

		if (v->free &&
		    (first == g->size ||
		     v->not_before_us < g->slots[first].not_before_us))
			first = i;
	}
	if (first == g->size)
		return 0;
	if (g->brake->not_before_us > now_us) {
		*wake_us_out = g->brake->not_before_us;
		return 0;
	}
	slots_out[0] = first;
	return 1;
}

uint32_t
group_policy(const struct group_view *g, uint64_t now_us, uint32_t *slots_out,
             uint64_t *wake_us_out)
{
	uint32_t count = 0;

	*wake_us_out = UINT64_MAX;
	if (g->draining)
		return 0;
	if (g->forks->not_before_us > now_us) {
		*wake_us_out = g->forks->not_before_us;
		return 0;
	}
	if (brake_degraded(g->brake))
		return group_probe(g, now_us, slots_out, wake_us_out);
	for (uint32_t i = 0; i < g->size; i++) {
		const struct slot_view *v = &g->slots[i];

		if (!v->free)
			continue;
		if (v->not_before_us <= now_us)
			slots_out[count++] = i;
		else if (v->not_before_us < *wake_us_out)
			*wake_us_out = v->not_before_us;
	}
	return count;
}
