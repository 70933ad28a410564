/*
 * dispatch_parts - what the files of dispatch share: slots and what is done
 * to them. Nobody else includes it.
 */
#ifndef FLUSHER_DISPATCH_PARTS_H
#define FLUSHER_DISPATCH_PARTS_H

#include <event2/event.h>
#include <sys/queue.h>

#include "common/config_group.h"
#include "engine/event.h"
#include "flusher/board.h"
#include "flusher/dispatch.h"
#include "flusher/edge.h"
#include "flusher/flight.h"
#include "flusher/route.h"

#define SLOTS_MAX CONFIG_SLOTS_MAX

enum slot_phase { SLOT_EMPTY, SLOT_READY, SLOT_DYING };

struct slot {
	enum slot_phase phase;
	bool retired; /* READY, but it gets no more */
	uint16_t no;
	uint32_t spawn;
	uint32_t concurrency; /* so many of what it holds run at once */
	uint32_t window;  /* how many it can hold */
	bool recalls;     /* it answers RECALL */
	bool cancels;     /* it acts on CANCEL */
	bool lied;        /* nothing it says counts any more */
	bool told;        /* that its progress is dropped */
	uint64_t before;  /* items that earlier flushers had this spawn run */
	uint64_t relayed; /* items sent to this spawn, since */
	uint64_t heard_us; /* when it last answered */
	/* It gave back what it had a place for, so it begins nothing: gets
	 * nothing more before that, or before an answer. 0: it begins. */
	uint64_t blocked_until_us;
	uint64_t looked_us; /* when its front was last looked at */
	/* It runs that one for long already, and gets nothing more before
	 * that has ended; 0: it does not. */
	uint64_t stalled_token;
	/* Of its scoreboard, if it has one: what it claims there, or, when
	 * it leaves that alone, our notes for the next flusher. */
	struct places places;
	struct edge edge; /* of one that does not claim places */
	/* In the order in which they were sent, and so are run. */
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

struct dispatch {
	struct flusher *flusher;
	struct slot *slots; /* SLOTS_MAX */
	uint32_t slots_used; /* highest + 1 */
	uint32_t cursor;
	struct routes routes;
	struct flights flights;
	struct event *deadline_event;
	uint64_t deadline_armed_us; /* 0: not armed */
	struct event *recall_event;
	uint64_t recall_armed_us; /* likewise */
};

/* What it runs stands in its scoreboard, by its word; otherwise it is known
 * from the order (edge.h). */
static inline bool
slot_claims(const struct slot *slot)
{
	return slot->edge.places == 0;
}

/* ---- dispatch.c ---- */

/* It is in the air no more: out of every list, its place is free. */
void flight_free(struct dispatch *d, struct flight *flight);
/* The same, and unless it was abandoned it is ready again, before others. */
void flight_give_back(struct dispatch *d, struct flight *flight);
/* Its attempt failed. The flight itself stays. */
void flight_fail(struct flusher *f, struct flight *flight,
                 enum event_kind kind, const char *error, const char *cause,
                 uint64_t run_us);
/* It was sent, or it runs from now on: noted for the next flusher. */
void flight_note(const struct flight *flight);

/* ---- dispatch_slot.c ---- */

bool slot_serves(const struct slot *slot, const struct route *route);
/* To be killed, with grace_us by SIGTERM first; GONE gives back what it holds.
 */
void slot_kill(struct flusher *f, struct slot *slot, uint64_t grace_us,
               const char *reason);
/* The same for one that broke the protocol, which is logged. */
void slot_refuse(struct flusher *f, struct slot *slot, const char *reason);

/* ---- dispatch_watch.c ---- */

void watch_create(struct dispatch *d);
void watch_destroy(struct dispatch *d);
/* Some deadline may be another now: looks at them soon. */
void watch_deadlines(struct dispatch *d);
/* Takes back all that the worker has not begun; what came back is ready. */
void watch_recall(struct dispatch *d, struct slot *slot);
/* The slot gave back something that it had a place for. */
void watch_blocked(struct dispatch *d, struct slot *slot, uint64_t now_us);
/* A flight was sent: deadlines, and a look at what it may wait behind. */
void watch_sent(struct dispatch *d, const struct slot *slot,
                const struct flight *flight);
/* Nobody wants that flight, which has no lease: taken back if it waits, and
 * otherwise cancelled; its worker does not live for ever with it. */
void watch_unwanted(struct dispatch *d, struct flight *flight);
/*
 * What runs in the slot was sent a while ago: does it still run? Then the slot
 * is stalled from here on, and what waits in it is recalled. True when
 * it may get more.
 */
bool watch_moves(struct dispatch *d, struct slot *slot, uint64_t now_us);

#endif
