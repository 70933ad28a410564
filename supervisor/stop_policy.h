/*
 * stop_policy - how the pool ends within its grace plus one second. Pure.
 *
 * Runs in the supervisor, from reconcile(). The order is: the flusher is told
 * to drain and the workers are left alone, so that what runs can finish and
 * be committed. When the flusher is gone the workers are asked to go. When
 * the grace is over first, the workers are killed and the flusher gets
 * STOP_FLUSHER_US for its last commit. Nothing waits longer than
 * STOP_TOTAL_US after the grace, not even for a process that SIGKILL does not
 * end.
 */
#ifndef SUPERVISOR_STOP_POLICY_H
#define SUPERVISOR_STOP_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define STOP_FLUSHER_US UINT64_C(800000)
#define STOP_TOTAL_US UINT64_C(950000)
#define STOP_IDLE_US UINT64_C(200000) /* for an idle worker to go by itself */

struct stop_view {
	bool immediate;       /* QUIT: no last commit either */
	uint64_t deadline_us; /* mono: when the grace is over */
	uint64_t flusher_gone_us; /* since when nobody commits; 0: it lives */
	uint32_t workers_alive;
};

struct stop_acts {
	bool workers_drain; /* DRAIN to those that were not told yet */
	bool workers_kill;
	bool flusher_hurry; /* DRAIN with no grace */
	bool flusher_kill;
	bool abandon; /* go on without those that do not die */
	uint64_t wake_us; /* when to ask again; UINT64_MAX for never */
};

void stop_policy(const struct stop_view *v, uint64_t now_us,
                 struct stop_acts *out);

#endif
