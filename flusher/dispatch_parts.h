/*
 * dispatch_parts - what dispatch.c and dispatch_look.c share: slots and
 * flights. Nobody else includes it.
 */
#ifndef FLUSHER_DISPATCH_PARTS_H
#define FLUSHER_DISPATCH_PARTS_H

#include <event2/event.h>
#include <sys/queue.h>

#include "flusher/dispatch.h"
#include "flusher/route.h"

#define SLOTS_MAX 1024U

enum slot_phase { SLOT_EMPTY, SLOT_READY, SLOT_DYING };

struct slot {
	enum slot_phase phase;
	uint16_t no;
	uint32_t spawn;
	uint32_t window;
	uint64_t relayed; /* items sent to this spawn */
	uint64_t front_us; /* when the first flight came to the front */
	TAILQ_HEAD(slot_flights, flight) flights;
	uint32_t held;
	uint32_t slow; /* of those, not quick */
	uint64_t bytes; /* of their inputs */
	struct route **routes;
	uint32_t route_count;
	/* The DISPATCH frame being filled. */
	struct buf items;
	uint32_t item_count;
};

struct flight {
	TAILQ_ENTRY(flight) slot_entry;
	LIST_ENTRY(flight) lease_entry;
	struct lease *lease; /* NULL: abandoned */
	struct slot *slot;   /* NULL: this place is free */
	struct route *route;
	uint64_t token;
	uint64_t ordinal;    /* among the slot's items */
	uint64_t timeout_us; /* from the front; 0: none */
	uint64_t bytes; /* of its input */
	uint64_t sent_us;
	uint64_t kill_us;    /* abandoned: not to run after; 0: not */
	uint32_t activation;
	uint32_t attempt;
	uint32_t next_free;
	bool quick;
	bool adopted;        /* an earlier flusher's; has no lease at first */
};

struct dispatch {
	struct flusher *flusher;
	struct slot *slots; /* SLOTS_MAX */
	uint32_t slots_used; /* highest + 1 */
	uint32_t cursor;
	struct routes routes;
	struct flight **blocks; /* of FLIGHTS_A_BLOCK each, never moved */
	uint32_t block_count;
	uint32_t first_free; /* index + 1; 0: none */
	uint64_t tokens;     /* the last one; the first is random */
	uint32_t flights;
	struct event *deadline_event;
	uint64_t deadline_armed_us; /* 0: not armed */
};

#endif
