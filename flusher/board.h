/*
 * board - the scoreboards that the supervisor hands over, and who has which
 * place of one.
 *
 * Runs in the flusher. Never blocks. A board waits here from its arrival
 * until the HELLO of its worker asks for it; one that nobody asks for makes
 * room for the next of its slot.
 */
#ifndef FLUSHER_BOARD_H
#define FLUSHER_BOARD_H

#include <event2/event.h>
#include <stdint.h>

#include "common/scoreboard.h"

struct boards;

/* Takes fd, the end of a board socket; < 0: no board ever comes. */
struct boards *boards_create(struct event_base *base, int fd);
/* Unmaps what nobody asked for. Sets *b to NULL; NULL is fine. */
void boards_destroy(struct boards **b);
/* That worker's, which is the caller's from here on; NULL: it has none. */
struct scoreboard *boards_take(struct boards *b, uint16_t slot,
                               uint32_t spawn);

/*
 * The places of one worker, the last freed first: few lines of memory go
 * back and forth between the processors.
 */
struct places {
	struct scoreboard *board; /* NULL: a worker without */
	uint16_t *free;
	uint32_t free_count;
};

/* Takes the board. count at most SCOREBOARD_PLACES. */
void places_open(struct places *p, struct scoreboard *board, uint32_t count);
/* Fine for one that is not open. */
void places_close(struct places *p);
/* There must be one: the worker holds less than count. */
uint32_t places_take(struct places *p);
/* That one is taken already. */
void places_reserve(struct places *p, uint32_t place);
/* Marks it FREE too. */
void places_give(struct places *p, uint32_t place);

#endif
