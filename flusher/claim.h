/*
 * claim - bringing instances in, and giving them back.
 *
 * Runs on a session of its own, so that starting never holds up committing.
 * One transaction at a time, each with the fence. A claim takes only as many
 * as there is room for (queue_cursor.h says from where on). When it comes
 * back empty the pool says that it is idle, looks again after 0, 5, 20 and
 * 100 ms, and then once a second; NOTIFY from whoever starts work comes in
 * between.
 *
 * What was started before is rebuilt from its journal before it goes on.
 */
#ifndef FLUSHER_CLAIM_H
#define FLUSHER_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct claim;
struct flusher;
struct lease;

struct claim *claim_create(struct flusher *f);
void claim_destroy(struct claim **c);
/* Opens the claimer's session; the pool row must stand. */
void claim_open(struct claim *c);

/* There may be work, or room for it: looks soon. */
void claim_kick(struct flusher *f);
/* Somebody told of new work: looks now. */
void claim_wake(struct flusher *f);
/* Instances are ours that are not here: reads them before anything else. */
void claim_owned(struct flusher *f);
/* Instances were put back into the queue: looks now, from its front. */
void claim_wake_front(struct flusher *f);
/* Somebody told of commands: looks now. */
void claim_commands(struct flusher *f);
/* No claim from now on; what is being read is given up. */
void claim_stop(struct flusher *f);
/* The queue was seen empty: for the idle flag of the heartbeat. */
bool claim_idle(const struct claim *c);
/* Nothing is on its way; the session may be closed. */
bool claim_quiet(const struct claim *c);
bool claim_ready(const struct claim *c);
/* Why the server refuses to claim just now, or NULL. */
const char *claim_trouble(const struct claim *c);

/* Sets the instance aside as blocked, with a reason, and forgets it. The
 * lease must be in no batch. */
void claim_block(struct flusher *f, struct lease *lease, const char *reason);
/* Gives the instance back as waiting, to be claimed after that time (on
 * PostgreSQL's clock, since 1970), and forgets it. The lease must be in no batch. */
void claim_park(struct flusher *f, struct lease *lease, int64_t due_us,
                const char *reason);
/* Shows in SQL why these wait. Best effort; reason is copied. */
void claim_set_reason(struct flusher *f, struct lease *const *leases,
                      uint32_t count, const char *reason);

#endif
