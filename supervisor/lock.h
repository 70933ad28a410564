/*
 * lock - the pool's directory: made, judged, and held by one daemon.
 *
 * Runs in the supervisor at start; may block on the file system only.
 */
#ifndef SUPERVISOR_LOCK_H
#define SUPERVISOR_LOCK_H

#include <stdbool.h>

#include "common/assert.h"
#include "common/error.h"

struct lock {
	int dir_fd;  /* the directory */
	int lock_fd; /* its file "lock", held as long as this is open */
};

/*
 * Creates path (mode 0700, or 0711 when others must pass through it) with
 * its parents if it is missing, opens and locks it. On failure fills err and
 * returns the exit status: EXIT_PERMISSION for a directory that is not ours
 * alone, EXIT_TRY_LATER when another daemon holds it, EXIT_CONFIG for
 * anything else about the path. 0 when the lock is held.
 */
int lock_take(struct lock *l, const char *path, bool pass_through,
              struct error *err) MUST_CHECK;
void lock_release(struct lock *l);

#endif
