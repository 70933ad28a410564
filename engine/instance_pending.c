/*
 * instance_pending - an attempt whose action has ended and that somebody else
 * finishes: until when, and what becomes of it when nobody does.
 */
#include "engine/instance_parts.h"

int64_t
pending_due(const struct branch *b)
{
	if (b->due_us == 0 ||
	    (b->beat_due_us != 0 && b->beat_due_us < b->due_us))
		return b->beat_due_us;
	return b->due_us;
}

void
pending_beat(struct instance *i, struct branch *b)
{
	if (b->heartbeat_us != 0)
		b->beat_due_us = time_add(i->now_us, b->heartbeat_us);
	effects_add(i->out, EFFECT_PENDING, b->activation);
}

void
pending_begin(struct instance *i, struct branch *b, const struct event *e)
{
	b->phase = BRANCH_PENDING;
	i->pending++;
	b->due_us = 0;
	b->beat_due_us = 0;
	if (b->timeout_us != 0)
		b->due_us = time_add(time_sub(e->at_us, e->run_us),
				     b->timeout_us);
	pending_beat(i, b);
}

void
pending_over(struct instance *i, struct branch *b)
{
	if (b->phase != BRANCH_PENDING)
		return;
	b->phase = BRANCH_ACTION;
	i->pending--;
}

struct branch *
pending_fired(struct instance *i, struct branch *b)
{
	if (b->due_us != 0 &&
	    (b->beat_due_us == 0 || b->due_us <= b->beat_due_us))
		failure_text(i, "States.Timeout",
			     "nobody finished the task within its "
			     "TimeoutSeconds");
	else
		failure_text(i, "States.HeartbeatTimeout",
			     "no heartbeat of the task came within its "
			     "HeartbeatSeconds");
	pending_over(i, b);
	return state_failed(i, b);
}

bool
instance_pending(const struct instance *i, uint32_t activation,
		 struct pending_view *out)
{
	const struct branch *b;

	CHECK_OBJ(i, INSTANCE_MAGIC);
	b = branch_wanted(i, activation);
	if (b == NULL || b->phase != BRANCH_PENDING)
		return false;
	*out = (struct pending_view){ .attempt = b->attempt,
				      .due_us = pending_due(b) };
	return true;
}

uint32_t
instance_pending_count(const struct instance *i)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	return i->pending;
}
