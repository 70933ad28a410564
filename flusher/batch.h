/*
 * batch - completions on their way into one transaction.
 *
 * Runs in the flusher. Events are applied to their instances when they join
 * the batch that fills; their effects wait with the row until the batch is
 * committed: apply before the commit, act after it. The entries that one
 * batch holds for one instance are one row of action_log.
 */
#ifndef FLUSHER_BATCH_H
#define FLUSHER_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "engine/event.h"
#include "engine/instance.h"

struct batch;
struct flusher;
struct lease;

struct batch_row {
	struct lease *lease;
	uint32_t seq;   /* of the first entry */
	uint32_t count; /* of entries */
	int64_t at_us;
	struct buf json; /* "[[…],[…]" without the last bracket */
	struct effects effects;
};

struct batch *batch_create(void);
/* The leases must be gone or never be used again. */
void batch_destroy(struct batch **b);

uint32_t batch_rows(const struct batch *b);
struct batch_row *batch_row(struct batch *b, uint32_t index);
uint32_t batch_entries(const struct batch *b);
uint64_t batch_bytes(const struct batch *b);
bool batch_empty(const struct batch *b);

/* Instances whose end travels with the batch. */
uint32_t batch_ends(const struct batch *b);
struct lease *batch_end(struct batch *b, uint32_t index);
/* Commands that are consumed with it. */
uint32_t batch_commands(const struct batch *b);
int64_t batch_command(const struct batch *b, uint32_t index);

/* Forgets everything, for reuse; lease->batches are the caller's concern. */
void batch_clear(struct batch *b);
/* The rows join no more: what fills from now on is another batch. */
void batch_seal(struct batch *b);
/* Instances that the batch writes something of. */
uint32_t batch_instances(const struct batch *b);
/* Moves half of the instances, rows and ends, into to, which is empty: for
 * finding what the server refuses. A command stays with its instance's row:
 * both are one commit. There must be two instances. */
void batch_split(struct batch *b, struct batch *to);
/* Moves everything behind what to has. */
void batch_merge(struct batch *b, struct batch *to);
/* Moves the commands alone. */
void batch_move_commands(struct batch *b, struct batch *to);
bool batch_has_command(const struct batch *b, int64_t command);
/* Forgets the instance's commands; true when there were any. */
bool batch_drop_commands(struct batch *b, const struct uuid *instance);
/* What it takes to send it, about. */
uint64_t batch_wire_bytes(const struct batch *b);

/* Applies the event to the lease's instance and adds entry and effects to the
 * batch that fills. False when it comes too late for the instance. While the
 * instance is being rebuilt the event waits for that. */
bool batch_apply(struct flusher *f, struct lease *lease,
                 const struct event *event);
/* The instance has ended without an event: its end joins the batch. */
void batch_add_end(struct flusher *f, struct lease *lease);
/* A command of that instance is consumed with the batch that fills. */
void batch_add_command(struct flusher *f, const struct uuid *instance,
                       int64_t command);

/* Takes the lease's row and end out of the batch that fills. */
void batch_discard(struct flusher *f, struct lease *lease);

/* Acts on effects that are durable. */
void batch_perform(struct flusher *f, struct lease *lease,
                   const struct effects *effects);

#endif
