/*
 * queue_cursor - see queue_cursor.h.
 */
#include "flusher/queue_cursor.h"

#include <string.h>

#include "common/clock.h"

#define FRONT_US CLOCK_SECOND_US
#define FRONT_SHARE 20U /* dear looks take at most 1/20 of the time */
#define FRONT_CHEAP_US (2 * CLOCK_MS_US)
/* Nobody before the cursor waits longer: a look may seem dear because the
 * database, or we, stood still. */
#define FRONT_MAX_US (30 * CLOCK_SECOND_US)

static const struct queue_place front = { .priority = INT32_MIN };

static bool
before(const struct queue_place *a, const struct queue_place *b)
{
	return a->priority < b->priority ||
	    (a->priority == b->priority &&
	     memcmp(a->id.bytes, b->id.bytes, 16) < 0);
}

/* Often enough that nobody before the cursor waits long. */
static bool
front_due(const struct queue_cursor *q, uint64_t now_us)
{
	uint64_t pause = q->front_cost_us * FRONT_SHARE;

	if (pause > FRONT_MAX_US)
		pause = FRONT_MAX_US;
	return now_us - q->front_us > (pause > FRONT_US ? pause : FRONT_US);
}

void
queue_cursor_init(struct queue_cursor *q)
{
	memset(q, 0, sizeof(*q));
	q->at = front;
	q->mark = front;
}

void
queue_cursor_want_front(struct queue_cursor *q)
{
	q->front_wanted = true;
}

void
queue_cursor_begin(struct queue_cursor *q, uint64_t now_us)
{
	q->begun_us = now_us;
	q->at_front = q->front_wanted || front_due(q, now_us);
	if (!q->at_front)
		return;
	q->front_wanted = false;
	q->front_us = now_us;
	q->at = front;
}

void
queue_cursor_took(struct queue_cursor *q, int32_t priority,
                  const struct uuid *id)
{
	struct queue_place place = { .priority = priority, .id = *id };

	if (before(&q->at, &place))
		q->at = place;
	if (before(&q->mark, &place))
		q->mark = place;
}

bool
queue_cursor_end(struct queue_cursor *q, uint64_t now_us, bool full)
{
	if (q->at_front)
		q->front_cost_us = now_us - q->begun_us;
	if (full)
		return false;
	if (!q->at_front && (q->front_cost_us < FRONT_CHEAP_US ||
	                     front_due(q, now_us))) {
		q->front_wanted = true;
		return true;
	}
	/* All that there was between is taken or somebody else's. */
	q->at = q->mark;
	return false;
}
