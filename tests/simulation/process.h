/*
 * process - one life of a flusher: the real flusher_main.c on a stack of its
 * own, with libevent's loop and the operating system played by the world.
 */
#ifndef TESTS_SIMULATION_PROCESS_H
#define TESTS_SIMULATION_PROCESS_H

#include <event2/event.h>

#include "flusher/flusher.h"
#include "tests/simulation/world.h"

struct process;

/* Runs main() up to its loop. */
struct process *process_start(struct pool *pool);
/* Who runs now, or NULL. */
struct process *process_current(void);
struct pool *process_pool(const struct process *p);
const struct uuid *process_incarnation(const struct process *p);
/* It was killed, or ended: nothing of it reaches the world any more. */
bool process_dead(const struct process *p);
/* Dies now, or in the middle of what it runs. */
void process_kill(struct process *p);
/* Dies after so many more calls and frames. */
void process_kill_after(struct process *p, uint32_t actions);
/* Counts one of them. */
void process_acts(struct process *p);
/* SIGSTOP, and SIGCONT at that time. */
void process_stop(struct process *p, uint64_t until_us);
/* What another part looks at while the process does not run. */
const struct flusher *process_flusher(const struct process *p);

/* For world.c: when it next has something to do; UINT64_MAX: never. */
uint64_t process_due_us(const struct process *p);
void process_step(struct process *p);
/* For loop.c: who made this base; and waiting in its loop until a callback
 * was chosen, false when the process is to end. */
struct process *process_loop(struct event_base *base);
bool process_wait(struct process *p);
/* A process that has ended is forgotten; its exit code, or -1. */
bool process_ended(const struct process *p, int *code_out);
void process_free(struct process **p);
/* Between histories: all that is left of the last one's. */
void processes_reset(void);

/* The flushers' settings in this history. */
struct process_settings {
	uint32_t instances_max;
	uint32_t batch_actions_max;
	uint32_t window_max;
	uint64_t value_bytes_max;
};
extern struct process_settings process_settings;

#endif
