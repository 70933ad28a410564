/*
 * timers - see timers.h. A binary heap; each timer knows its place in it.
 */
#include "flusher/timers.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/mem.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"

/* Beyond this a look at the clock comes first: clocks drift and jump. */
#define SLEEP_MAX_US (60 * CLOCK_SECOND_US)

struct timer {
	LIST_ENTRY(timer) entry; /* of the lease's */
	struct lease *lease;
	int64_t due_us;
	uint32_t place;
	uint32_t activation;
	enum timer_kind kind;
};

struct timers {
	struct flusher *flusher;
	timers_due_cb *due_cb;
	struct event *event;
	int64_t armed_us; /* what the event waits for, if it does */
	bool armed;
	struct timer **heap;
	uint32_t count;
	uint32_t cap;
};

static void
put(struct timers *t, uint32_t place, struct timer *timer)
{
	t->heap[place] = timer;
	timer->place = place;
}

static void
sift_up(struct timers *t, uint32_t place)
{
	struct timer *timer = t->heap[place];

	while (place > 0) {
		uint32_t parent = (place - 1) / 2;

		if (t->heap[parent]->due_us <= timer->due_us)
			break;
		put(t, place, t->heap[parent]);
		place = parent;
	}
	put(t, place, timer);
}

static void
sift_down(struct timers *t, uint32_t place)
{
	struct timer *timer = t->heap[place];

	for (;;) {
		uint32_t child = place * 2 + 1;

		if (child >= t->count)
			break;
		if (child + 1 < t->count &&
		    t->heap[child + 1]->due_us < t->heap[child]->due_us)
			child++;
		if (t->heap[child]->due_us >= timer->due_us)
			break;
		put(t, place, t->heap[child]);
		place = child;
	}
	put(t, place, timer);
}

static void
timer_remove(struct timers *t, struct timer *timer)
{
	uint32_t place = timer->place;

	ASSERT(t->heap[place] == timer);
	t->count--;
	if (place < t->count) {
		put(t, place, t->heap[t->count]);
		sift_down(t, place);
		sift_up(t, place);
	}
	LIST_REMOVE(timer, entry);
	free(timer);
}

static void
arm(struct timers *t)
{
	int64_t wait;
	struct timeval tv;

	if (t->count == 0 || (t->armed && t->heap[0]->due_us == t->armed_us))
		return;
	t->armed = true;
	t->armed_us = t->heap[0]->due_us;
	wait = t->armed_us - flusher_now_us(t->flusher);
	if (wait < 0)
		wait = 0;
	if (wait > (int64_t)SLEEP_MAX_US)
		wait = SLEEP_MAX_US;
	tv.tv_sec = (time_t)(wait / (int64_t)CLOCK_SECOND_US);
	tv.tv_usec = (suseconds_t)(wait % (int64_t)CLOCK_SECOND_US);
	event_add(t->event, &tv);
}

static void
timers_cb(evutil_socket_t fd, short what, void *arg)
{
	struct timers *t = arg;
	int64_t now = flusher_now_us(t->flusher);

	(void)fd;
	(void)what;
	t->armed = false;
	while (t->count > 0 && t->heap[0]->due_us <= now) {
		struct timer *timer = t->heap[0];
		struct lease *lease = timer->lease;
		enum timer_kind kind = timer->kind;
		uint32_t activation = timer->activation;

		timer_remove(t, timer);
		t->due_cb(t->flusher, lease, kind, activation);
	}
	arm(t);
}

struct timers *
timers_create(struct flusher *f, timers_due_cb *cb)
{
	struct timers *t = mem_zalloc(sizeof(*t));

	t->flusher = f;
	t->due_cb = cb;
	t->event = event_new(f->base, -1, 0, timers_cb, t);
	ASSERT(t->event != NULL);
	return t;
}

void
timers_destroy(struct timers **tp)
{
	struct timers *t = *tp;

	if (t == NULL)
		return;
	while (t->count > 0)
		timer_remove(t, t->heap[t->count - 1]);
	event_free(t->event);
	free(t->heap);
	free(t);
	*tp = NULL;
}

void
timers_add(struct timers *t, struct lease *lease, enum timer_kind kind,
           uint32_t activation, int64_t due_us)
{
	struct timer *timer = mem_zalloc(sizeof(*timer));

	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 256;
		t->heap = mem_realloc(t->heap,
		                      t->cap * sizeof(struct timer *));
	}
	timer->lease = lease;
	timer->due_us = due_us;
	timer->kind = kind;
	timer->activation = activation;
	LIST_INSERT_HEAD(&lease->timers, timer, entry);
	put(t, t->count, timer);
	t->count++;
	sift_up(t, t->count - 1);
	arm(t);
}

void
timers_cancel(struct timers *t, struct lease *lease, uint32_t activation)
{
	struct timer *timer, *next;

	for (timer = LIST_FIRST(&lease->timers); timer != NULL; timer = next) {
		next = LIST_NEXT(timer, entry);
		if (timer->activation == activation)
			timer_remove(t, timer);
	}
}

void
timers_forget(struct timers *t, struct lease *lease)
{
	while (!LIST_EMPTY(&lease->timers))
		timer_remove(t, LIST_FIRST(&lease->timers));
}

void
timers_clock_moved(struct timers *t)
{
	t->armed = false;
	arm(t);
}

bool
timers_first(const struct lease *lease, int64_t *due_us_out)
{
	const struct timer *timer;
	bool any = false;

	LIST_FOREACH (timer, &lease->timers, entry) {
		if (timer->kind == TIMER_PARK)
			continue;
		if (!any || timer->due_us < *due_us_out)
			*due_us_out = timer->due_us;
		any = true;
	}
	return any;
}

bool
timers_any(const struct lease *lease, enum timer_kind kind)
{
	const struct timer *timer;

	LIST_FOREACH (timer, &lease->timers, entry)
		if (timer->kind == kind)
			return true;
	return false;
}

uint32_t
timers_count(const struct timers *t)
{
	return t->count;
}
