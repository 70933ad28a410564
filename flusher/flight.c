/*
 * flight - see flight.h.
 */
#include "flusher/flight.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "flusher/dispatch_parts.h"

#define FLIGHTS_A_BLOCK 1024U
/* SLOTS_MAX workers with 1024 each are as many. */
#define INDEX_BITS 20U
#define INDEX_MASK ((UINT64_C(1) << INDEX_BITS) - 1)
#define GIVEN_MASK (SCOREBOARD_TOKEN_MAX >> INDEX_BITS)

void
flights_init(struct flights *f)
{
	struct uuid random;

	memset(f, 0, sizeof(*f));
	/* What a predecessor left in a scoreboard or in a socket must not
	 * look like ours. */
	uuid_random(&random);
	memcpy(&f->given, random.bytes + 8, sizeof(f->given));
	f->given &= GIVEN_MASK;
}

void
flights_fini(struct flights *f)
{
	for (uint32_t i = 0; i < f->block_count; i++)
		free(f->blocks[i]);
	free(f->blocks);
}

static struct flight *
flight_at(const struct flights *f, uint32_t index)
{
	return &f->blocks[index / FLIGHTS_A_BLOCK][index % FLIGHTS_A_BLOCK];
}

static void
block_add(struct flights *f)
{
	uint32_t base = f->block_count * FLIGHTS_A_BLOCK;

	ASSERT(base + FLIGHTS_A_BLOCK - 1 <= INDEX_MASK);
	f->blocks = mem_realloc(f->blocks,
	                        (f->block_count + 1) * sizeof(*f->blocks));
	f->blocks[f->block_count++] =
	    mem_calloc(FLIGHTS_A_BLOCK, sizeof(struct flight));
	for (uint32_t i = FLIGHTS_A_BLOCK; i-- > 0;) {
		flight_at(f, base + i)->next_free = f->first_free;
		f->first_free = base + i + 1;
	}
}

/* A token's low bits are the flight's index, the others a count. */
struct flight *
flights_take(struct flights *f)
{
	struct flight *flight;
	uint32_t index;

	if (f->first_free == 0)
		block_add(f);
	index = f->first_free - 1;
	flight = flight_at(f, index);
	f->first_free = flight->next_free;
	f->given = (f->given + 1) & GIVEN_MASK;
	if (f->given == 0)
		f->given = 1; /* no token is 0 */
	*flight = (struct flight){ .token = f->given << INDEX_BITS | index };
	f->count++;
	return flight;
}

struct flight *
flights_find(const struct flights *f, uint64_t token)
{
	uint32_t index = (uint32_t)(token & INDEX_MASK);
	struct flight *flight;

	if (index >= f->block_count * FLIGHTS_A_BLOCK)
		return NULL;
	flight = flight_at(f, index);
	return flight->slot != NULL && flight->token == token ? flight : NULL;
}

void
flights_give(struct flights *f, struct flight *flight)
{
	flight->lease = NULL;
	flight->slot = NULL;
	flight->next_free = f->first_free;
	f->first_free = (uint32_t)(flight->token & INDEX_MASK) + 1;
	f->count--;
}

enum flight_phase
flight_look(const struct flight *flight, uint64_t now_us,
            uint64_t *began_us_out)
{
	const struct scoreboard *board = flight->slot->places.board;
	struct scoreboard_place place;

	*began_us_out = flight->sent_us;
	if (!slot_claims(flight->slot)) {
		if (flight->began_us == 0)
			return FLIGHT_WAITING;
		*began_us_out = flight->began_us;
		return FLIGHT_RUNNING;
	}
	place = scoreboard_glance(board, flight->place);
	if (place.token != flight->place_token)
		return FLIGHT_ASTRAY;
	if (place.began_us > flight->sent_us)
		*began_us_out =
		    place.began_us < now_us ? place.began_us : now_us;
	switch (place.phase) {
	case PLACE_WAITING:
		return FLIGHT_WAITING;
	case PLACE_RUNNING:
		return FLIGHT_RUNNING;
	case PLACE_DONE:
		return FLIGHT_DONE;
	case PLACE_FREE:
	case PLACE_RECALLED:
		break;
	}
	return FLIGHT_ASTRAY;
}
