/*
 * work - the actions of the simulated workers, and the workflows that use
 * them. What "add" and "flaky" give depends on their input alone, and what
 * people answer for "ask" is always the same, so that how a workflow ends is
 * known beforehand.
 */
#ifndef TESTS_SIMULATION_WORK_H
#define TESTS_SIMULATION_WORK_H

#include "common/buf.h"
#include "tests/simulation/world.h"

#define FIXED_WORKFLOWS 10U

/* A definition's JSON; its end is known beforehand when it is fixed. */
const char *work_definition(uint32_t number);
/* The JSON of an input for any of them. */
void work_input(struct buf *out);

struct work_result {
	const char *error; /* NULL: it succeeded */
	struct buf value;  /* packed; the caller frees */
	bool pending; /* somebody else finishes it */
	uint64_t run_us;
};

void work_run(struct slice action, uint32_t attempt, struct slice input,
              struct work_result *out);

#endif
