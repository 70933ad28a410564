/*
 * adopt - what an earlier life of this pool's flusher left with the
 * supervisor and the workers.
 *
 * Runs in the flusher. At the start there are completions that the supervisor
 * kept (or read from its spool), and attempts that workers still run. Both are
 * known by instance, activation and attempt. They wait here until the pool's
 * instances are leased again and replayed; when the engine then asks for such
 * an attempt, it is not dispatched: its completion is applied, or the flight
 * is taken on. What nobody asked for when all are back is late: the journal
 * has it, its instance has ended or is another pool's.
 */
#ifndef FLUSHER_ADOPT_H
#define FLUSHER_ADOPT_H

#include <stdbool.h>
#include <stdint.h>

#include "flusher/completion.h"

struct adopt;
struct flight;
struct flusher;
struct lease;

struct adopt *adopt_create(void);
void adopt_destroy(struct adopt **a);

/* KEPT: so many COMPLETION frames and then HELLOs of workers follow that are
 * an earlier flusher's; the first so many of the frames an earlier daemon's. */
void adopt_expect(struct adopt *a, uint32_t frames, uint32_t spooled,
                  uint32_t workers);
/* A COMPLETION frame came: true when it is one of those. */
bool adopt_expects(struct adopt *a);
/* A worker's HELLO came. */
void adopt_met(struct adopt *a);
/* Everything that was announced is here: instances may be claimed. */
bool adopt_open(const struct adopt *a);

/* A completion that no flight of ours is behind, from the frame that came
 * last: it waits here, or is late. worker: the slot, for the journal. */
void adopt_completion(struct flusher *f, uint16_t worker,
                      const struct completion *c);
/* A worker runs that attempt for an earlier flusher; false when its completion
 * is here already. The flight has no lease yet. */
bool adopt_flight(struct adopt *a, const struct uuid *instance,
                  uint32_t activation, uint32_t attempt, uint64_t token,
                  struct flight *flight);
/* The flight of that completion, or NULL. */
struct flight *adopt_flight_of(const struct adopt *a,
                               const struct completion *c);
/* The flight ends: it is not to be taken on any more. */
void adopt_flight_gone(struct adopt *a, const struct flight *flight);

/* The engine asks for an attempt: true when there is nothing to dispatch. */
bool adopt_ready(struct flusher *f, struct lease *lease, uint32_t activation,
                 uint32_t attempt);

/* The pool that was here before is no more; its instances are ours or
 * nobody's. claim.c reads them now. */
void adopt_leased(struct flusher *f);
/* All of our instances are here: what is left is late. */
void adopt_settle(struct flusher *f);
/* Nothing is left and nothing more is taken in. */
bool adopt_settled(const struct adopt *a);
/* The number of the first frame (ack.h) that waits here; 0: none. */
uint64_t adopt_pending(const struct adopt *a);

#endif
