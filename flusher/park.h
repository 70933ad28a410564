/*
 * park - instances in which everything waits are kept in the table, not in
 * memory.
 *
 * When all that an instance wants is timers that are not due for a while, it
 * is given back as "waiting" with the time at which it is to be claimed again
 * (a little before the first is due), by whichever pool has room then, which
 * rebuilds it from its journal. So is one that waits for somebody to finish
 * a task: it has perhaps no time at all, and is claimed when somebody says
 * something of it. Since that may be soon, it stays here for a second.
 */
#ifndef FLUSHER_PARK_H
#define FLUSHER_PARK_H

#include <stdbool.h>

struct flusher;
struct lease;

/*
 * Parks the lease when it can be: then it is gone. To be called when effects
 * were performed; the lease must be in no batch.
 */
bool park_maybe(struct flusher *f, struct lease *lease);
/* Its TIMER_PARK is due. */
void park_due(struct flusher *f, struct lease *lease);

#endif
