/*
 * workers - all workers of the pool, of whatever group: the table of slots,
 * what concerns them all, and the pool that cannot start any.
 *
 * Runs in the supervisor.
 */
#ifndef SUPERVISOR_WORKERS_H
#define SUPERVISOR_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"

struct child;
struct config;
struct group;
struct supervisor;

/* How many slots such a configuration needs. */
uint32_t workers_slots(const struct config *c);
/* The table: for each group as many slots as there may ever be workers, and a
 * spare. The groups' accounts are open already. */
void workers_open(struct supervisor *s);
void workers_close(struct supervisor *s);

/* The group of that name, or NULL. */
struct group *workers_group(struct supervisor *s, struct slice name);

/* Once a second: memory, output. */
void workers_tick(struct supervisor *s);
/* fork() failed with that errno, or worked: 0. */
void workers_fork_failed(struct supervisor *s, const struct child *c,
                         int err);

uint32_t workers_alive(const struct supervisor *s);
uint32_t workers_ready(const struct supervisor *s);
uint32_t workers_wanted(const struct supervisor *s);
/* Still to be replaced by a restart. */
uint32_t workers_outdated(const struct supervisor *s);

/* Says in the log when a group or the pool becomes degraded, and when it is
 * not. */
void workers_tell(struct supervisor *s);

#endif
