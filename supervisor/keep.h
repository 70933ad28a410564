/*
 * keep - completions on their way, until the flusher says that they are
 * finished.
 *
 * Runs in the supervisor. A first-in first-out queue of whole COMPLETION
 * frames, as they are sent to the flusher, which acknowledges them in that
 * order. When the flusher dies the next one gets what is left once more; at
 * the end of the daemon it goes into the spool (spool.h). Nothing is looked
 * into.
 */
#ifndef SUPERVISOR_KEEP_H
#define SUPERVISOR_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/frame.h"

/* Above it workers are not read. */
#define KEEP_BYTES_MAX ((size_t)32 << 20)

struct keep {
	struct buf bytes; /* the frames, behind head */
	size_t head;
	uint32_t frames;     /* kept */
	uint32_t spooled;    /* of the first frames: so many are in the spool */
};

void keep_fini(struct keep *k);

/* Appends the frame and returns it as it is to be sent; valid until the next
 * call. */
struct slice keep_add(struct keep *k, enum frame_type type, uint16_t slot,
                      uint32_t spawn, uint32_t count, struct slice payload);
/* Appends frames that are encoded already. */
void keep_add_encoded(struct keep *k, struct slice frames, uint32_t count);

/* The flusher says: the next so many frames are finished. -EPROTO when it was
 * not sent as many. */
int keep_ack(struct keep *k, uint32_t frames) MUST_CHECK;

/* All that is kept, encoded. Borrowed. */
struct slice keep_all(const struct keep *k);

static inline size_t
keep_bytes(const struct keep *k)
{
	return k->bytes.len - k->head;
}

#endif
