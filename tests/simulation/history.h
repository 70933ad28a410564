/*
 * history - one seed's: what it is made of, its faults, its end.
 */
#ifndef TESTS_SIMULATION_HISTORY_H
#define TESTS_SIMULATION_HISTORY_H

#include "tests/simulation/world.h"

struct history_result {
	uint64_t hash;
	uint64_t virtual_us;
	uint64_t steps;
	uint64_t instances;
	uint64_t parked;
	uint64_t thrown_away;
	uint64_t sights[SIGHT_COUNT];
};

/* Does not come back when a rule is broken. */
struct history_result history_run(uint64_t seed);

#endif
