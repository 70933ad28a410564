/*
 * timers - what is due when: Waits, the ends of tasks' and workflows' time,
 * retry delays.
 *
 * Times are PostgreSQL's (flusher_now_us). One event of the loop for the
 * earliest of all; adding and removing cost the logarithm of their number.
 */
#ifndef FLUSHER_TIMERS_H
#define FLUSHER_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct flusher;
struct lease;
struct timers;

enum timer_kind {
	TIMER_FIRE,  /* the engine's timer: becomes an EVENT_FIRED */
	TIMER_RETRY, /* the action's next attempt may be dispatched */
	TIMER_PARK,  /* nobody has finished a task for a while (park.h) */
};

typedef void timers_due_cb(struct flusher *f, struct lease *lease,
                           enum timer_kind kind, uint32_t activation);

struct timers *timers_create(struct flusher *f, timers_due_cb *cb);
void timers_destroy(struct timers **t);
void timers_add(struct timers *t, struct lease *lease, enum timer_kind kind,
                uint32_t activation, int64_t due_us);
/* Of that activation, of either kind; fine when there is none. */
void timers_cancel(struct timers *t, struct lease *lease, uint32_t activation);
/* All of the lease's. */
void timers_forget(struct timers *t, struct lease *lease);
/* flusher_now_us() jumped: what is due is looked for anew. */
void timers_clock_moved(struct timers *t);
/* When the lease's first is due that the instance waits for; false when it
 * has none. */
bool timers_first(const struct lease *lease, int64_t *due_us_out);
/* The lease has one of that kind. */
bool timers_any(const struct lease *lease, enum timer_kind kind);
uint32_t timers_count(const struct timers *t);

#endif
