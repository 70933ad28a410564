/*
 * orphans - processes that a worker left behind.
 *
 * A worker and the supervisor are both subreapers: what a worker starts stays
 * below it, whatever sessions and process groups it moves to, and becomes a
 * child of ours when the worker dies. So every child that is none of the
 * table came from a dead worker. Runs in the supervisor.
 */
#ifndef SUPERVISOR_ORPHANS_H
#define SUPERVISOR_ORPHANS_H

#include <stdint.h>

struct supervisor;

/* What workers leave behind comes to us from now on. */
void orphans_adopt(void);
/* SIGKILL to all that are there now; how many. Their own children come to us
 * when they die, and SIGCHLD with them. */
uint32_t orphans_kill(struct supervisor *s);
/*
 * With the directory's lock held: names this life. When the last one in this
 * directory did not end by itself, kills what its workers left.
 */
void orphans_begin(struct supervisor *s);
/* At the end: kills and reaps until there are none, for a moment at most. */
void orphans_finish(struct supervisor *s);

#endif
