/*
 * progress - what running attempts last said of themselves, on its way into
 * rappel.action_progress.
 *
 * Runs in the flusher. Never blocks. A HEARTBEAT with progress leaves a note
 * with its flight; the keeper writes what changed, all in one transaction,
 * once a second at most. When the attempt ends its row is deleted in the same
 * way, and one that was never written is forgotten. With no progress said
 * nothing is done at all.
 */
#ifndef FLUSHER_PROGRESS_H
#define FLUSHER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/uuid.h"

struct db_call;
struct params;
struct progress; /* of one attempt */
struct progress_table;

/* Packed; what is longer is dropped. */
#define PROGRESS_BYTES_MAX (4U << 10)

struct progress_of {
	struct uuid instance;
	uint32_t activation;
	uint32_t attempt;
	struct slice state; /* its name; copied */
	int64_t at_us;      /* on PostgreSQL's clock */
};

struct progress_table *progress_create(void);
/* Writes nothing more: the pool's row takes the others along. */
void progress_destroy(struct progress_table **t);

/* That attempt said value, which was checked. *p is its flight's, and NULL at
 * first. */
void progress_say(struct progress_table *t, struct progress **p,
                  const struct progress_of *of, struct slice value);
/* It has ended. *p may be NULL, and is afterwards. */
void progress_end(struct progress_table *t, struct progress **p);

/* When something is to be written; 0: there is nothing. */
uint64_t progress_due(const struct progress_table *t);
/* Adds to the call what changed, or some of it, as that incarnation's. One of
 * the three below follows. */
void progress_send(struct progress_table *t, struct db_call *call,
                   struct params *p, const struct uuid *incarnation,
                   uint64_t now_us);
void progress_written(struct progress_table *t);
/* It was not. drop: trying again would do no better. */
void progress_refused(struct progress_table *t, bool drop);
/* Nobody knows, and it may still be, until then. */
void progress_lost(struct progress_table *t, uint64_t done_by_us);

#endif
