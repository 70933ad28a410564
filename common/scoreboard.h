/*
 * scoreboard - what a worker is executing now, in memory that it shares with
 * the supervisor and the flusher.
 *
 * One per spawn: a sealed memfd that the supervisor makes, hands to the worker
 * (descriptor 4) and to the flusher (board_socket.h), and keeps for the reaper
 * and for tagging what the worker prints. docs/protocol.md, section 5, is the
 * contract for workers in other languages. Nothing here blocks or allocates
 * but scoreboard_make() and scoreboard_map().
 *
 * A *place* belongs to one dispatched attempt at a time. Its word is the
 * attempt's token and a phase, changed by compare-and-swap, so that an old
 * token never passes for a new one:
 *
 *   flusher   FREE -> WAITING      before it sends the DISPATCH
 *   worker    WAITING -> RUNNING   before it runs it; refused: it skips it
 *   worker    RUNNING -> DONE      when it ran, before it may be answered
 *   flusher   WAITING -> RECALLED  it will not run there any more
 *   flusher   any -> FREE          when the answer is there, or it is settled
 *
 * The worker may write anything at any time: every reader copies a field once
 * and believes nothing that it cannot check.
 */
#ifndef COMMON_SCOREBOARD_H
#define COMMON_SCOREBOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/uuid.h"

#define SCOREBOARD_FD 4       /* in a worker */
#define SCOREBOARD_PLACES 1024U
#define SCOREBOARD_NO_PLACE SCOREBOARD_PLACES /* in DISPATCH: in none */
#define SCOREBOARD_PLACE_BYTES 64U
#define SCOREBOARD_BYTES ((size_t)SCOREBOARD_PLACES * SCOREBOARD_PLACE_BYTES)
#define SCOREBOARD_TOKEN_MAX ((UINT64_C(1) << 61) - 1)

enum place_phase {
	PLACE_FREE,
	PLACE_WAITING,
	PLACE_RUNNING,
	PLACE_DONE,
	PLACE_RECALLED,
};

struct scoreboard; /* a mapping of one */

/* What a place says, copied. */
struct scoreboard_place {
	uint64_t token;
	enum place_phase phase;
	uint64_t began_us; /* clock_mono_us() when it became RUNNING */
	struct uuid instance;
	uint64_t activation;
	uint32_t attempt;
	uint64_t number; /* scoreboard_number() */
};

/* A new sealed memfd with every place FREE, or -errno. CLOEXEC. */
int scoreboard_make(void) MUST_CHECK;
/* Maps fd, which stays the caller's; NULL with errno when it is not one (its
 * size or seals are wrong). */
struct scoreboard *scoreboard_map(int fd) MUST_CHECK;
/* Unmaps. Sets *b to NULL; NULL is fine. */
void scoreboard_unmap(struct scoreboard **b);

/* The flusher: this attempt waits in that place (< SCOREBOARD_PLACES). */
void scoreboard_wait(struct scoreboard *b, uint32_t place, uint64_t token,
                     const struct uuid *instance, uint64_t activation,
                     uint32_t attempt);
/* The flusher, before it waits there: which of all items that were sent to this
 * worker it is. In a scoreboard that the worker leaves alone the flusher keeps
 * its own notes, and an item that was noted may not have left. */
void scoreboard_number(struct scoreboard *b, uint32_t place, uint64_t number);
/* The flusher: true when it will never be run there. */
bool scoreboard_recall(struct scoreboard *b, uint32_t place, uint64_t token);
void scoreboard_free(struct scoreboard *b, uint32_t place);

/* The worker: true when it may run it. now_us: clock_mono_us(). */
bool scoreboard_claim(struct scoreboard *b, uint32_t place, uint64_t token,
                      uint64_t now_us);
void scoreboard_done(struct scoreboard *b, uint32_t place, uint64_t token);

/* Whoever looks: what is in the place now. phase is PLACE_FREE for anything
 * that is no phase. */
struct scoreboard_place scoreboard_look(const struct scoreboard *b,
                                        uint32_t place);
/* The same without whose it is: token, phase and began_us alone. */
struct scoreboard_place scoreboard_glance(const struct scoreboard *b,
                                          uint32_t place);
/* The first RUNNING place at or after *place, which moves behind it; false
 * when there is none. Start with 0. */
bool scoreboard_running(const struct scoreboard *b, uint32_t *place,
                        struct scoreboard_place *out);

#endif
