/*
 * workers - who belongs to the pool: scaling, replacement, the brake, and what
 * is known of those that do not start.
 *
 * Runs in the supervisor. Asks the policies (rotation, group_policy) and does
 * what they say with the children; forks nothing itself: what is wanted and
 * not there reconcile() starts.
 */
#ifndef SUPERVISOR_WORKERS_H
#define SUPERVISOR_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"

struct child;
struct supervisor;

/* The table: as many slots as there may ever be workers, and a spare. */
void workers_open(struct supervisor *s);
void workers_close(struct supervisor *s);
/* To how many they can be scaled. */
uint32_t workers_max(const struct supervisor *s);

/* From reconcile(): proofs, replacements, who has to go. */
void workers_step(struct supervisor *s, uint64_t now_us, uint64_t *wake_us);
/* The slots that shall be filled now, into slots_out (room for s->slots). */
uint32_t workers_missing(struct supervisor *s, uint64_t now_us,
                         uint32_t *slots_out, uint64_t *wake_us);
/* A life begins; and after the settings changed: its limits. */
void workers_limits(struct child *w);
/* A worker is dead; called before child_end(). */
void workers_ended(struct child *w, const char *how, uint64_t now_us);
/* Once a second: memory, output. */
void workers_tick(struct supervisor *s);
/* fork() failed with that errno, or worked: 0. */
void workers_fork_failed(struct supervisor *s, const struct child *c,
                         int err);

/* -ERANGE above workers_max(). */
int workers_scale(struct supervisor *s, uint32_t count) MUST_CHECK;
/* Every worker is replaced, one after the other; how many. */
uint32_t workers_restart(struct supervisor *s);
/* How many of those are still there. */
uint32_t workers_outdated(const struct supervisor *s);

uint32_t workers_alive(const struct supervisor *s);
uint32_t workers_ready(const struct supervisor *s);

/* Says in the log when the pool becomes degraded, and when it is not. */
void workers_tell(struct supervisor *s);

#endif
