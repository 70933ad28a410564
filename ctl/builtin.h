/*
 * builtin - the built-in actions that can be had without a worker: noop,
 * echo, fail and sleep, as the workers do them.
 *
 * Pure.
 */
#ifndef CTL_BUILTIN_H
#define CTL_BUILTIN_H

#include "ctl/mocks.h"

/*
 * False when the action is none of them. *delay_us_out is how long it takes.
 * The answer borrows from input.
 */
bool builtin_answer(struct slice action, struct slice input,
		    struct mock_answer *out, uint64_t *delay_us_out);

#endif
