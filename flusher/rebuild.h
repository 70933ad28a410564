/*
 * rebuild - an instance whose journal row the server refuses goes on without
 * what it refuses.
 *
 * Runs in the flusher. The events that were to be written are taken back, the
 * instance is replayed from its journal, and they are applied again, each in
 * a row of its own, so that the one which is refused is known. In its place
 * the attempt fails with Rappel.RowRefused and the SQLSTATE as cause: plain
 * ASCII that nothing of the refused row goes into. When that is refused as
 * well, or there is no attempt to fail, the instance is blocked.
 *
 * What happens to the instance meanwhile waits here, its flights go on.
 */
#ifndef FLUSHER_REBUILD_H
#define FLUSHER_REBUILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/buf.h"

struct batch_row;
struct claim;
struct event;
struct flusher;
struct lease;
struct rebuild;

TAILQ_HEAD(rebuilds, rebuild);

/*
 * The lease's row was refused; the lease may have another one in the batch
 * that fills, which the caller discards then. False when there is nothing to
 * be put in its place: the instance is to be blocked.
 */
bool rebuild_begin(struct flusher *f, struct lease *lease,
                   const struct batch_row *refused, const char *sqlstate);
/* The row of one event is committed and acted on: the next. */
void rebuild_committed(struct flusher *f, struct lease *lease);
/* An event of an instance that is being rebuilt is taken, to wait. */
bool rebuild_takes(struct flusher *f, struct lease *lease,
                   const struct event *event);
/* The lease goes. */
void rebuild_forget(struct flusher *f, struct lease *lease);

/* The claimer's part: reads the next journal. True while it does. */
bool rebuilds_step(struct claim *c);
void rebuilds_destroy(struct rebuilds *list);
/* The number of the first completion frame (ack.h) that may wait here;
 * 0: none. */
uint64_t rebuild_pending(const struct flusher *f);

#endif
