/*
 * edge - see edge.h.
 */
#include "flusher/edge.h"

#include <string.h>

#include "common/assert.h"
#include "common/clock.h"
#include "flusher/flight.h"

void
edge_init(struct edge *e, uint32_t places)
{
	memset(e, 0, sizeof(*e));
	e->places = places;
}

bool
edge_has_place(const struct edge *e)
{
	return e->running < e->places;
}

static void
edge_begin(struct edge *e, struct flight *flight, uint64_t now_us)
{
	flight->began_us = now_us;
	if (++e->running == e->places)
		e->full_us = now_us;
}

void
edge_add(struct edge *e, struct flight *flight, uint64_t now_us)
{
	ASSERT(e->places > 0 && now_us > 0);
	if (edge_has_place(e)) {
		edge_begin(e, flight, now_us);
		return;
	}
	flight->began_us = 0;
	if (e->first == NULL)
		e->first = flight;
}

struct flight *
edge_remove(struct edge *e, struct flight *flight, bool moves)
{
	struct flight *next;

	if (flight->began_us == 0) {
		if (e->first == flight)
			e->first = TAILQ_NEXT(flight, slot_entry);
		return NULL;
	}
	ASSERT(e->running > 0);
	e->running--;
	next = e->first;
	if (!moves || next == NULL)
		return NULL;
	e->first = TAILQ_NEXT(next, slot_entry);
	edge_begin(e, next, clock_mono_us());
	return next;
}
