/*
 * loop - see loop.h.
 */
#include "tests/simulation/loop.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/assert.h"
#include "tests/simulation/process.h"

#define EVENTS_MAX 64U

struct event {
	struct event_base *base;
	event_callback_fn cb;
	void *arg;
	uint64_t due_us; /* UINT64_MAX: no time is set */
	uint64_t period_us; /* of a persistent one */
	bool persistent;
	bool active;
	TAILQ_ENTRY(event) entry; /* of the base's active ones */
};

struct event_base {
	struct process *process;
	struct event *events[EVENTS_MAX];
	uint32_t count;
	TAILQ_HEAD(, event) active;
	struct event *chosen;
	bool broken;
};

uint64_t
loop_due_us(const struct event_base *base)
{
	uint64_t due_us = UINT64_MAX;

	if (!TAILQ_EMPTY(&base->active))
		return world.now_us;
	for (uint32_t i = 0; i < base->count; i++)
		if (base->events[i]->due_us < due_us)
			due_us = base->events[i]->due_us;
	return due_us;
}

static void
activate(struct event *event)
{
	if (event->active)
		return;
	event->active = true;
	TAILQ_INSERT_TAIL(&event->base->active, event, entry);
}

/* Times first become active, in their order; then the oldest active runs. */
bool
loop_choose(struct event_base *base)
{
	for (;;) {
		struct event *first = NULL;

		for (uint32_t i = 0; i < base->count; i++)
			if (base->events[i]->due_us <= world.now_us &&
			    (first == NULL ||
			     base->events[i]->due_us < first->due_us))
				first = base->events[i];
		if (first == NULL)
			break;
		first->due_us = first->persistent ?
		    world.now_us + first->period_us :
		    UINT64_MAX;
		activate(first);
	}
	base->chosen = TAILQ_FIRST(&base->active);
	if (base->chosen == NULL)
		return false;
	base->chosen->active = false;
	TAILQ_REMOVE(&base->active, base->chosen, entry);
	return true;
}

/* ---- event2/event.h ---- */

struct event_base *
event_base_new(void)
{
	struct event_base *base = mem_zalloc(sizeof(*base));

	TAILQ_INIT(&base->active);
	base->process = process_loop(base);
	return base;
}

void
event_base_free(struct event_base *base)
{
	if (base->count != 0)
		violated("%u events were not freed", base->count);
	free(base);
}

int
event_base_dispatch(struct event_base *base)
{
	while (!base->broken && process_wait(base->process))
		base->chosen->cb(-1, EV_TIMEOUT, base->chosen->arg);
	return 0;
}

int
event_base_loopbreak(struct event_base *base)
{
	base->broken = true;
	return 0;
}

struct event *
event_new(struct event_base *base, evutil_socket_t fd, short what,
          event_callback_fn cb, void *arg)
{
	struct event *event = mem_zalloc(sizeof(*event));

	if (fd != -1)
		violated("an event of descriptor %d: the world has none",
		         (int)fd);
	event->base = base;
	event->cb = cb;
	event->arg = arg;
	event->persistent = (what & EV_PERSIST) != 0;
	event->due_us = UINT64_MAX;
	ASSERT(base->count < EVENTS_MAX);
	base->events[base->count++] = event;
	return event;
}

int
event_add(struct event *event, const struct timeval *after)
{
	if (after == NULL)
		return 0;
	event->period_us = (uint64_t)after->tv_sec * CLOCK_SECOND_US +
	    (uint64_t)after->tv_usec;
	event->due_us = world.now_us + event->period_us;
	return 0;
}

int
event_del(struct event *event)
{
	event->due_us = UINT64_MAX;
	if (event->active)
		TAILQ_REMOVE(&event->base->active, event, entry);
	event->active = false;
	return 0;
}

void
event_free(struct event *event)
{
	struct event_base *base = event->base;

	event_del(event);
	for (uint32_t i = 0; i < base->count; i++)
		if (base->events[i] == event) {
			base->events[i] = base->events[--base->count];
			break;
		}
	free(event);
}

void
event_active(struct event *event, int what, short calls)
{
	(void)what;
	(void)calls;
	activate(event);
}

int
event_pending(const struct event *event, short what, struct timeval *at_out)
{
	(void)what;
	(void)at_out;
	return event->due_us != UINT64_MAX || event->active ? EV_TIMEOUT : 0;
}
