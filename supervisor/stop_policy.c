/*
 * stop_policy - what is due at a moment of the shutdown.
 */
#include "supervisor/stop_policy.h"

#include <string.h>

/* Done when its time has come; otherwise asks to be woken then. */
static bool
due(uint64_t at_us, uint64_t now_us, struct stop_acts *out)
{
	if (now_us >= at_us)
		return true;
	if (at_us < out->wake_us)
		out->wake_us = at_us;
	return false;
}

void
stop_policy(const struct stop_view *v, uint64_t now_us, struct stop_acts *out)
{
	bool flusher = v->flusher_gone_us == 0;

	memset(out, 0, sizeof(*out));
	out->wake_us = UINT64_MAX;
	if (!flusher && v->workers_alive == 0)
		return;
	if (v->immediate) {
		out->workers_kill = true;
		out->flusher_kill = flusher;
	} else if (due(v->deadline_us, now_us, out)) {
		out->workers_kill = true;
		out->flusher_hurry = flusher;
		if (flusher &&
		    due(v->deadline_us + STOP_FLUSHER_US, now_us, out))
			out->flusher_kill = true;
	} else if (!flusher) {
		out->workers_drain = true;
		if (due(v->flusher_gone_us + STOP_IDLE_US, now_us, out))
			out->workers_kill = true;
	}
	/* An immediate stop has set the deadline to when it was asked. */
	if (due(v->deadline_us + STOP_TOTAL_US, now_us, out))
		out->abandon = true;
}
