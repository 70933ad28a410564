/*
 * supervisor - common/link.h, and what is at its other end: a supervisor that
 * starts flushers again, and workers that are slow, die, and lie.
 */
#ifndef TESTS_SIMULATION_SUPERVISOR_H
#define TESTS_SIMULATION_SUPERVISOR_H

#include "tests/simulation/world.h"

/* Begins the life of a pool: its flusher, then its workers. */
void supervisor_start(struct pool *pool);
/* Flushers that ended are replaced. After every step of the world. */
void supervisors_reap(void);
/* At the end of a history. */
void supervisors_end(void);

/* Faults. */
void supervisor_kill_worker(struct pool *pool);
/* SIGSTOP of the supervisor alone: nothing passes it for so long. */
void supervisor_hang(struct pool *pool, uint64_t us);
/* The whole daemon ends and comes back, workers and all. */
void supervisor_restart(struct pool *pool);
void supervisor_drain(struct pool *pool);

#endif
