/*
 * edge - which of the actions run that a worker without a scoreboard holds.
 *
 * Runs in the flusher, used by the files of dispatch alone. Such a worker
 * begins what it is sent in order, and has so many places in which something
 * runs: of what it holds, the first so many run, and the rest waits. The edge
 * is the first that waits. When one that runs goes, the one at the edge takes
 * its place, from that moment on: so nothing is ever searched.
 */
#ifndef FLUSHER_EDGE_H
#define FLUSHER_EDGE_H

#include <stdbool.h>
#include <stdint.h>

struct flight;

/* Embedded in struct slot. */
struct edge {
	struct flight *first; /* that waits; NULL: none does */
	uint32_t places;      /* 0: the scoreboard tells, there is no edge */
	uint32_t running;
	uint64_t full_us; /* since when no place became free */
};

void edge_init(struct edge *e, uint32_t places);
/* Something more could be begun at once. */
bool edge_has_place(const struct edge *e);
/* That flight was added as the last of its slot: it runs from now on, or
 * waits (began_us 0). */
void edge_add(struct edge *e, struct flight *flight, uint64_t now_us);
/*
 * That flight is about to leave its slot's list. moves: the worker goes on,
 * and begins what waits next. Returns what runs in its place from now on, or
 * NULL.
 */
struct flight *edge_remove(struct edge *e, struct flight *flight, bool moves);

#endif
