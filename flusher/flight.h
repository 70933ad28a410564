/*
 * flight - one dispatched attempt: which worker has it, and what its
 * scoreboard says became of it there.
 *
 * Runs in the flusher, used by the files of dispatch alone. Flights are kept
 * in blocks that never move, and found by token; a token is never used twice
 * by a flusher in 2^41 dispatches, nor, but for chance, by its predecessor.
 */
#ifndef FLUSHER_FLIGHT_H
#define FLUSHER_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/uuid.h"

struct dispatch;
struct lease;
struct progress;
struct route;
struct slot;

struct flight {
	TAILQ_ENTRY(flight) slot_entry;
	LIST_ENTRY(flight) lease_entry;
	struct lease *lease; /* NULL: abandoned */
	struct slot *slot;   /* NULL: this place is free */
	struct route *route; /* NULL: adopted, and nobody asked for it yet */
	uint64_t token;
	uint64_t place_token; /* in the scoreboard: adopted, another than token */
	uint64_t ordinal;    /* among the slot's items */
	uint64_t timeout_us; /* from when it began; 0: none */
	uint64_t heartbeat_us; /* silence that it may keep; 0: any */
	uint64_t beat_us;    /* when it last said that it lives; 0: never */
	uint64_t bytes;      /* of its input */
	uint64_t sent_us;
	uint64_t began_us;   /* behind an edge (edge.h); 0: it waits */
	uint64_t kill_us;    /* abandoned and begun: not to run after */
	struct progress *progress; /* NULL: it said nothing of it */
	struct uuid instance;
	uint32_t activation;
	uint32_t attempt;
	uint32_t place; /* in the slot's scoreboard, if it has one */
	uint32_t next_free;
	uint8_t losses; /* as in struct ready */
	bool quick;
	bool waits;   /* as in struct action_view */
	bool adopted; /* an earlier flusher's; has no lease at first */
	bool recalled; /* RECALL was sent for it */
	bool back;     /* given back by the frame that is being read */
	bool unwanted; /* abandoned: cancelled as soon as it runs */
};

enum flight_phase {
	FLIGHT_WAITING, /* the worker has not begun it */
	FLIGHT_RUNNING,
	FLIGHT_DONE,   /* its answer is on the way */
	FLIGHT_ASTRAY, /* the place says what nobody may have written there */
};

/* The table of them; embedded in struct dispatch. */
struct flights {
	struct flight **blocks; /* of FLIGHTS_A_BLOCK each */
	uint32_t block_count;
	uint32_t first_free; /* index + 1; 0: none */
	uint64_t given;      /* counts tokens, from somewhere on */
	uint32_t count;      /* in the air */
};

void flights_init(struct flights *f);
void flights_fini(struct flights *f);
/* With a new token, in nobody's list; everything else is 0. */
struct flight *flights_take(struct flights *f);
/* NULL when no flight has that token now. */
struct flight *flights_find(const struct flights *f, uint64_t token);
/* The caller has taken it out of every list. */
void flights_give(struct flights *f, struct flight *flight);

/*
 * Where it is. RUNNING: *began_us_out is when it began, between its sending
 * and now; DONE: likewise. In a worker without a scoreboard the order tells.
 */
enum flight_phase flight_look(const struct flight *flight, uint64_t now_us,
                              uint64_t *began_us_out);

#endif
