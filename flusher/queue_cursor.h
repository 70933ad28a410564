/*
 * queue_cursor - where in the queue the next claim begins.
 *
 * Claims go on behind the last place they took, so that what was taken before
 * is not walked over again: under a long-held snapshot its index entries stay
 * for as long as that lasts. New starts come behind, since ids are ordered by
 * time. What comes before (a higher priority, a late commit, an instance put
 * back) is found by looking from the front: when nothing is left behind the
 * cursor, when somebody says so, and once a second; less often while such a
 * look is dear. Pure: the caller gives the time.
 */
#ifndef FLUSHER_QUEUE_CURSOR_H
#define FLUSHER_QUEUE_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"

/* A position in the queue's order: -priority, then id. */
struct queue_place {
	int32_t priority; /* negated */
	struct uuid id;
};

struct queue_cursor {
	struct queue_place at;   /* where the next claim begins */
	struct queue_place mark; /* the furthest that any took */
	bool at_front;           /* the last claim began at the front */
	bool front_wanted;
	uint64_t begun_us;      /* the last claim */
	uint64_t front_us;      /* when one last began at the front */
	uint64_t front_cost_us; /* how long that one took */
};

void queue_cursor_init(struct queue_cursor *q);
/* The next claim is to begin at the front. */
void queue_cursor_want_front(struct queue_cursor *q);
/* A claim begins now; its place is q->at. */
void queue_cursor_begin(struct queue_cursor *q, uint64_t now_us);
/* It took that one. */
void queue_cursor_took(struct queue_cursor *q, int32_t priority,
                       const struct uuid *id);
/*
 * It is over; full: it took as many as it asked for. True when another look
 * should follow at once, from the front: nothing is left behind the cursor.
 */
bool queue_cursor_end(struct queue_cursor *q, uint64_t now_us, bool full);

#endif
