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
 */
#ifndef WORKER_RUNTIME_H
#define WORKER_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define RUNTIME_BATCH_BYTES ((size_t)64 << 10)
#define RUNTIME_HOLD_US UINT64_C(1000)
#define RUNTIME_WINDOW 1024U

/* Runs until DRAIN (returns 0) or until the socket ends (does not return).
 * Anything wrong with what arrives returns 70. board_fd: its scoreboard,
 * closed once it is mapped; < 0 for none. */
int runtime_run(int fd, int board_fd, uint16_t slot, uint32_t spawn,
                size_t value_bytes_max);

/* ---- for actions that wait ---- */

int runtime_fd(void);
size_t runtime_value_bytes_max(void);
/* The supervisor is gone, and nobody wants an answer. */
_Noreturn void runtime_orphaned(void);
/* Until clock_mono_us() is that; ends the process when orphaned. */
void runtime_sleep_until(uint64_t mono_us);
/* Bytes of others for the daemon's log. */
void runtime_log_raw(const void *data, size_t len);

#endif
