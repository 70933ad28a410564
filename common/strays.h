/*
 * strays - processes that workers left behind, found by their environment.
 *
 * Every worker has RAPPEL_LIFE=KEY.RANDOM in its environment, and what it
 * starts inherits that, unless it takes care not to. KEY names the pool's
 * directory, RANDOM the daemon's life. While the daemon lives it finds what a
 * dead worker left by parentage; this is for those whose daemon was killed:
 * its flusher looks once when it sees that, and the next daemon in the same
 * directory at its start. Sees processes of the same user only, or all as
 * root.
 */
#ifndef COMMON_STRAYS_H
#define COMMON_STRAYS_H

#include <stdbool.h>
#include <stdint.h>

#define STRAYS_VARIABLE "RAPPEL_LIFE"
#define STRAYS_TEXT_MAX 64U

/*
 * SIGKILL to every process whose RAPPEL_LIFE is life, or, with any_life,
 * begins with it; never to ourselves. How many. Reads all of /proc: some
 * milliseconds per thousand processes.
 */
uint32_t strays_kill(const char *life, bool any_life);

#endif
