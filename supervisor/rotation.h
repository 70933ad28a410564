/*
 * rotation - which slots make up the pool, and how one worker takes over from
 * another without a gap. Pure.
 *
 * Runs in the supervisor, from reconcile(). The table has one slot more than
 * the pool may have workers. A slot that belongs to the pool is a *member*;
 * the others are spare. To replace a worker, another is started in a spare
 * slot; when that one is READY it becomes the member and the old one, which no
 * longer is, finishes what it holds and ends. One at a time.
 */
#ifndef SUPERVISOR_ROTATION_H
#define SUPERVISOR_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

/* A slot, as far as it matters here. */
struct seat {
	bool member;
	bool alive;
	bool ready;
	bool due; /* its worker shall be replaced */
	uint32_t spawn;
	uint64_t started_us;
};

enum rotation_step {
	ROTATION_NONE,
	ROTATION_STARTING, /* fresh gets ready, old works */
	ROTATION_DRAINING, /* fresh works, old finishes */
};

struct rotation {
	enum rotation_step step;
	uint32_t old, fresh; /* slots */
	uint32_t old_spawn;
};

/*
 * Makes so many slots members, or as many as there are: free ones and low
 * numbers first. Those that live go last.
 */
void seats_resize(struct seat *seats, uint32_t count, uint32_t wanted);

/*
 * Goes on with the replacement that is on its way, or begins that of the
 * oldest worker that is due. Changes who is a member. The caller starts what
 * is wanted and not there, and drains what is there and not wanted. True when
 * something changed.
 */
bool rotation_step(struct rotation *r, struct seat *seats, uint32_t count);

/* Shall there be a process in that slot? */
static inline bool
seat_wanted(const struct rotation *r, bool member, uint32_t slot)
{
	return member || (r->step == ROTATION_STARTING && r->fresh == slot);
}

/* Frames count a worker's items in 32 bits: long before that it is replaced
 * in any case. */
#define RECYCLE_ACTIONS_MAX (UINT32_C(1) << 31)

/* 0: no such limit. */
struct recycle_limits {
	uint32_t actions;
	uint64_t age_us;
	uint64_t rss; /* bytes */
};

/*
 * The limits of one life: of actions and age 75 to 100 %, another share for
 * each slot and spawn, so that workers that began together do not end
 * together.
 */
struct recycle_limits recycle_limits_of(const struct recycle_limits *all,
                                        uint16_t slot, uint32_t spawn);

/* Which limit was reached, in words, or NULL. */
const char *recycle_due(const struct recycle_limits *own, uint64_t actions,
                        uint64_t age_us, uint64_t rss);

#endif
