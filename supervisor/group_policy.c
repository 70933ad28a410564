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

uint32_t
group_policy(const struct group_view *g, uint64_t now_us, uint32_t *slots_out,
             uint64_t *wake_us_out)
{
	uint32_t count = 0;

	*wake_us_out = UINT64_MAX;
	if (g->draining)
		return 0;
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
