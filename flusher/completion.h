/*
 * completion - one item of a COMPLETION frame: read, and made an event.
 *
 * An item says whose it is (instance, activation, attempt) beside the token of
 * its dispatch, so that a flusher which never dispatched it can judge it.
 */
#ifndef FLUSHER_COMPLETION_H
#define FLUSHER_COMPLETION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/uuid.h"
#include "common/value.h"
#include "engine/event.h"

/* Numbers stand in frames. */
enum completion_status {
	COMPLETION_SUCCEEDED = 0,
	COMPLETION_FAILED = 1,
	COMPLETION_NOT_BEGUN = 2, /* taken back: no attempt */
	COMPLETION_PENDING = 3,   /* somebody else finishes it */
};

struct completion {
	uint64_t token;
	struct uuid instance;
	uint32_t activation;
	uint32_t attempt;
	enum completion_status status;
	uint64_t run_us;
	struct slice error; /* FAILED: a name, cut to its limit */
	struct slice cause; /* FAILED: text, cut to its limit */
	struct slice value; /* SUCCEEDED: the result */
	struct slice extra; /* a map of what else it says, or empty */
};

/* Reads the item at the cursor, out of a frame that was checked. Slices are
 * borrowed from it. -EPROTO: it is none. */
int completion_read(struct cursor *c, struct completion *out);
/* The event that it means, which one that was NOT_BEGUN does not have. waits:
 * the action only begins what somebody else finishes, so that a good end of it
 * is PENDING. A result that is no JSON value, or is too large, makes it a
 * failure. Borrows from c and err. Time and worker are the caller's to fill
 * in. err holds the text of a cause. */
void completion_event(const struct completion *c, bool waits,
                      uint64_t value_bytes_max, struct error *err,
                      struct event *out);

#endif
