/*
 * keeper - the pool's lease: its row, its heartbeat, and others' ends.
 *
 * Runs on a session of its own, which also listens. At the start it checks
 * schema and server, makes the pool's row, and takes over from predecessors
 * in the same directory. Then a heartbeat every 2 s, and a look at the
 * others' every second: a pool counts as dead when its heartbeat stood still
 * for a whole lease while our own contact was unbroken; nobody's wall clock
 * decides.
 */
#ifndef FLUSHER_KEEPER_H
#define FLUSHER_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

struct flusher;
struct keeper;

/* Connects at once. Ends the process with EXIT_CONFIG when at the first
 * contact the database is none that this pool can work with. */
struct keeper *keeper_create(struct flusher *f);
void keeper_destroy(struct keeper **k);

bool keeper_ready(const struct keeper *k);
/* The database was tried and is not there. */
bool keeper_away(const struct keeper *k);
/* The pool's row is on its way into the table for the first time. */
bool keeper_joining(const struct keeper *k);
/* The last confirmed heartbeat is young enough to dispatch. */
bool keeper_holds(const struct keeper *k);
/* The idle flag changed: the next heartbeat goes out at once. */
void keeper_idle_changed(struct flusher *f);
/* Gives every lease back and deletes the pool's row, in one transaction;
 * done_cb is called when it is committed, or cannot be. */
void keeper_leave(struct flusher *f, void (*done_cb)(struct flusher *f));

#endif
