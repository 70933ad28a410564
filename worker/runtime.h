/*
 * runtime - the worker's loop: frames in, actions, completions out.
 *
 * Completions are gathered while more input waits and go out in one write:
 * when the input is used up, when there are RUNTIME_BATCH_BYTES of them, when
 * the oldest is RUNTIME_HOLD_US old, and before an action that may take long,
 * so that a quick answer is never held behind a slow action.
 *
 * With a scoreboard each item's place is claimed before it is run; what was
 * recalled meanwhile is skipped without a word.
 *
 * While an action runs, the process reads its socket only when the action
 * asks: an action that takes long asks now and then whether it is still
 * wanted, or waits in runtime_wait().
 */
#ifndef WORKER_RUNTIME_H
#define WORKER_RUNTIME_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"

#define RUNTIME_BATCH_BYTES ((size_t)64 << 10)
#define RUNTIME_HOLD_US UINT64_C(1000)
#define RUNTIME_WINDOW 1024U

struct registry;

struct runtime_config {
	int fd;
	int board_fd; /* its scoreboard, closed once mapped; < 0 for none */
	uint16_t slot;
	uint32_t spawn;
	size_t value_bytes_max;
	const struct registry *registry;
};

/* Runs until DRAIN (returns 0) or until the socket ends (does not return).
 * Anything wrong with what arrives returns 70. */
int runtime_run(const struct runtime_config *config);

/* ---- for the action that runs ---- */

#define RUNTIME_POLL_MAX 8U          /* descriptors of runtime_wait() */
#define RUNTIME_NEVER UINT64_MAX     /* for until_us */
#define RUNTIME_PROGRESS_MAX 4096U   /* bytes of a packed value */
#define RUNTIME_BEAT_US (UINT64_C(100) * 1000)
#define RUNTIME_LOOK_US UINT64_C(1000)

size_t runtime_value_bytes_max(void);

/* Nobody wants its result any more: it ends as soon as it can, with any
 * outcome. Looks at the socket once in RUNTIME_LOOK_US; cheap otherwise.
 * Here and in what follows, the process ends when the supervisor is gone. */
bool runtime_cancelled(void);

/*
 * poll() that also watches for a cancellation: how many of the n extra
 * descriptors are ready, with their revents set; 0 when clock_mono_us() is
 * until_us; -ECANCELED, once for each action, when it was cancelled. What is
 * finished goes out before it blocks.
 */
int runtime_wait(struct pollfd *extra, uint32_t n, uint64_t until_us);

/* Until then, with the heartbeats that its state demands: true, or false
 * when it was cancelled before. */
bool runtime_sleep_until(uint64_t mono_us) MUST_CHECK;

/*
 * It lives. progress: a packed value of at most RUNTIME_PROGRESS_MAX bytes, or
 * SLICE_NONE. At most one frame in RUNTIME_BEAT_US for each action, and none
 * while the socket is full; false: this one was dropped.
 */
bool runtime_heartbeat(struct slice progress);
/* False: it would be dropped, as one was sent just now. */
bool runtime_heartbeat_due(void);

/* Bytes of others for the daemon's log. */
void runtime_log_raw(const void *data, size_t len);

#endif
