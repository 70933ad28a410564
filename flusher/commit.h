/*
 * commit - what one transaction of the writer means.
 *
 * One batch is in flight, the next fills. A transaction is one round trip:
 * BEGIN, the fence, the journal rows, the ends of instances, consumed
 * commands, COMMIT. It has three outcomes:
 *
 *   done     act on the effects;
 *   refused  a data error (SQLSTATE classes 22, 23, 54): the batch is
 *            bisected until the one row or end is found, whose attempt fails
 *            (rebuild.h) or whose instance is set aside as blocked; every
 *            other error: the same batch again, with back-off;
 *   unknown  the session was lost with the batch in flight: on a new one, the
 *            old backend is ended, the pool's row is locked, and one row of
 *            the batch is looked for: there means all done, absent means
 *            nothing was written.
 */
#ifndef FLUSHER_COMMIT_H
#define FLUSHER_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

struct batch;
struct commit;
struct flusher;

struct commit *commit_create(struct flusher *f);
void commit_destroy(struct commit **c);
/* Opens the writer's session; the pool row must stand. */
void commit_open(struct commit *c);

/* The batch that events join now. */
struct batch *commit_filling(struct commit *c);
/* Sends the filling batch when none is in flight. At the end of a turn. */
void commit_run(struct flusher *f);
/* Nothing fills and nothing is in flight, but for ends that somebody's lock
 * holds up: a successor finds them in the journal. */
bool commit_quiet(const struct commit *c);
/* That command is applied, and deleted with a batch that is on its way or was
 * committed behind the last commit_forget_consumed(). */
bool commit_consumes(const struct commit *c, int64_t command);
/* Commands are about to be read, and no earlier look is under way: what is
 * committed by now is not found any more. What is committed while the answer
 * is on its way may be in it. */
void commit_forget_consumed(struct commit *c);
/* The writer's session stands. */
bool commit_ready(const struct commit *c);
/* Why the server refuses to commit just now, or NULL. */
const char *commit_trouble(const struct commit *c);
/* The filling batch is as large as it should grow: nothing is dispatched. */
bool commit_full(const struct flusher *f);

#endif
