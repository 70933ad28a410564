/*
 * rotation - members, spares and the one replacement on its way.
 */
#include "supervisor/rotation.h"

#include <stddef.h>

/* The first seat of that kind from the front, or from the end; count when
 * there is none. */
static uint32_t
seats_find(const struct seat *seats, uint32_t count, bool member, bool alive,
           bool from_end)
{
	for (uint32_t n = 0; n < count; n++) {
		uint32_t i = from_end ? count - 1 - n : n;

		if (seats[i].member == member && seats[i].alive == alive)
			return i;
	}
	return count;
}

void
seats_resize(struct seat *seats, uint32_t count, uint32_t wanted)
{
	uint32_t members = 0;
	uint32_t i;

	if (wanted > count)
		wanted = count;
	for (i = 0; i < count; i++)
		members += seats[i].member;
	for (; members < wanted; members++) {
		i = seats_find(seats, count, false, false, false);
		/* One that drains may come back once it has ended. */
		if (i == count)
			i = seats_find(seats, count, false, true, false);
		seats[i].member = true;
	}
	for (; members > wanted; members--) {
		i = seats_find(seats, count, true, false, true);
		if (i == count)
			i = seats_find(seats, count, true, true, true);
		seats[i].member = false;
	}
}

static bool
rotation_begin(struct rotation *r, const struct seat *seats, uint32_t count)
{
	uint32_t fresh = seats_find(seats, count, false, false, false);
	uint32_t old = count;

	if (fresh == count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct seat *s = &seats[i];

		if (s->member && s->ready && s->due &&
		    (old == count || s->started_us < seats[old].started_us))
			old = i;
	}
	if (old == count)
		return false;
	r->step = ROTATION_STARTING;
	r->old = old;
	r->old_spawn = seats[old].spawn;
	r->fresh = fresh;
	return true;
}

bool
rotation_step(struct rotation *r, struct seat *seats, uint32_t count)
{
	const struct seat *old = &seats[r->old];
	bool old_there = old->alive && old->spawn == r->old_spawn;

	switch (r->step) {
	case ROTATION_NONE:
		return rotation_begin(r, seats, count);
	case ROTATION_STARTING:
		if (seats[r->fresh].member || !old->member || !old_there) {
			/* It died, or the pool shrank: nothing to replace. */
			r->step = ROTATION_NONE;
			return true;
		}
		if (!seats[r->fresh].ready)
			return false;
		seats[r->fresh].member = true;
		seats[r->old].member = false;
		r->step = ROTATION_DRAINING;
		return true;
	case ROTATION_DRAINING:
		if (old_there)
			return false;
		r->step = ROTATION_NONE;
		return true;
	}
	return false;
}

/* 192 to 256 of 256, a share that looks random. */
static uint64_t
recycle_share(uint64_t limit, uint16_t slot, uint32_t spawn)
{
	uint64_t x = (uint64_t)spawn << 16 | slot;
	uint64_t share;

	/* The finaliser of splitmix64. */
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	share = 192 + ((x ^ x >> 31) % 65);
	return limit / 256 * share + limit % 256 * share / 256;
}

struct recycle_limits
recycle_limits_of(const struct recycle_limits *all, uint16_t slot,
                  uint32_t spawn)
{
	struct recycle_limits own = *all;

	if (all->actions > 1)
		own.actions =
		    (uint32_t)recycle_share(all->actions, slot, spawn);
	own.age_us = recycle_share(all->age_us, slot, spawn);
	return own;
}

const char *
recycle_due(const struct recycle_limits *own, uint64_t actions,
            uint64_t age_us, uint64_t rss)
{
	if ((own->actions != 0 && actions >= own->actions) ||
	    actions >= RECYCLE_ACTIONS_MAX)
		return "it ran its number of actions";
	if (own->age_us != 0 && age_us >= own->age_us)
		return "its age";
	if (own->rss != 0 && rss >= own->rss)
		return "its resident memory";
	return NULL;
}
