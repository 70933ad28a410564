/*
 * loop - libevent's functions over virtual time, one base for each process.
 */
#ifndef TESTS_SIMULATION_LOOP_H
#define TESTS_SIMULATION_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;

/* When something of it is due; UINT64_MAX: never. */
uint64_t loop_due_us(const struct event_base *base);
/* Chooses the one callback that runs next. False when nothing is due. */
bool loop_choose(struct event_base *base);

#endif
