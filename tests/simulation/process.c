/*
 * process - see process.h.
 *
 * The flusher's own main() is compiled into this file, so that it runs as it
 * is. What it keeps in static storage is swapped whenever another flusher
 * runs; its parts find it at the same address, as in processes of their own.
 */
#include "tests/simulation/process.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/sandbox.h"
#include "flusher/mark.h"
#include "tests/simulation/loop.h"
#include "tests/simulation/network.h"
#include "tests/simulation/supervisor.h"

static _Noreturn void simulated_exit(int code);
static int simulated_config(const struct config_flags *flags,
                            struct config *out, struct error *err);
static bool simulated_mark(struct mark **m, const char *dir,
                           struct uuid *blamed);
void __wrap_uuid_random(struct uuid *out);
ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags);

#define main simulated_main
#define _exit simulated_exit
#define config_load simulated_config
#define mark_open simulated_mark
#define sandbox_no_dumps() ((void)0)
#define sandbox_database(mode) ((void)(mode), 0)
#define prctl(...) ((void)0)
#define signal(number, action) ((void)0)
#define getenv(name) ((char *)NULL)
int simulated_main(int argc, char **argv);
#include "flusher/flusher_main.c"
#undef main
#undef _exit
#undef config_load
#undef mark_open
#undef sandbox_no_dumps
#undef sandbox_database
#undef signal
#undef prctl
#undef getenv

#define STACK_BYTES ((size_t)512 << 10)

/* Every variable in static storage of flusher_main.c that changes. */
#define STATICS(x) \
	x(flusher) x(turn_event) x(second_event) x(drain_event) \
	x(status_last) x(status_sent_us) x(health_sent) x(drain_by_us)

#define DECLARE(name) __typeof__(name) name;
struct statics {
	STATICS(DECLARE)
};

struct process {
	struct pool *pool;
	struct event_base *base;
	ucontext_t context;
	char *stack;
	struct statics statics;
	uint64_t stopped_until_us;
	uint32_t actions_left; /* until it dies; 0: does not */
	bool dead;
	bool ended;
	int code;
};

struct process_settings process_settings;

static struct process *current;
static ucontext_t world_context;
/* Stacks are made once: few live at a time. */
static char *stacks[POOLS_MAX * 2];
static uint32_t stack_count;

/* ---- switching ---- */

static void
enter(struct process *p)
{
#define PUT_IN(name) name = p->statics.name;
#define TAKE_OUT(name) p->statics.name = name;
	STATICS(PUT_IN)
	current = p;
	swapcontext(&world_context, &p->context);
	current = NULL;
	STATICS(TAKE_OUT)
}

static void
leave(void)
{
	swapcontext(&current->context, &world_context);
}

static _Noreturn void
simulated_exit(int code)
{
	struct process *p = current;

	if (!p->dead)
		p->code = code;
	p->dead = true;
	p->ended = true;
	note("exit", p->pool->no, (uint64_t)code);
	for (;;)
		leave();
}

static void
process_main(void)
{
	char name[] = "rappel-flusher", fd[] = "--fd", three[] = "3";
	char dir[] = "--dir";
	char *argv[] = { name, fd, three, dir, current->pool->dir, NULL };

	optind = 0; /* getopt_long() begins anew */
	simulated_exit(simulated_main(5, argv));
}

static int
simulated_config(const struct config_flags *flags, struct config *out,
                 struct error *err)
{
	struct config_flags none = { .file = NULL, .dir = flags->dir };

	if (config_load(&none, out, err) < 0)
		return -1;
	out->database = mem_strdup("dbname=simulated");
	out->instances_max = process_settings.instances_max;
	out->batch_actions_max = process_settings.batch_actions_max;
	out->window_max = process_settings.window_max;
	out->value_bytes_max = process_settings.value_bytes_max;
	return 0;
}

/* For the jitter of a back-off. */
ssize_t
__wrap_getrandom(void *to, size_t size, unsigned flags)
{
	uint8_t *bytes = to;

	(void)flags;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)dice(256);
	return (ssize_t)size;
}

/* No engine dies here of an instance: a crash of it ends the program. */
static bool
simulated_mark(struct mark **m, const char *dir, struct uuid *blamed)
{
	(void)dir;
	(void)blamed;
	*m = NULL;
	return false;
}

/* In place of uuid_random(), by the linker's --wrap. */
void
__wrap_uuid_random(struct uuid *out)
{
	for (int i = 0; i < 16; i++)
		out->bytes[i] = (uint8_t)dice(256);
	out->bytes[6] = (uint8_t)(0x40 | (out->bytes[6] & 0x0f));
	out->bytes[8] = (uint8_t)(0x80 | (out->bytes[8] & 0x3f));
}

/* ---- life ---- */

struct process *
process_start(struct pool *pool)
{
	struct process *p = mem_zalloc(sizeof(*p));

	p->pool = pool;
	p->code = -1;
	p->stack = stack_count > 0 ? stacks[--stack_count] :
	                             mem_alloc(STACK_BYTES);
	getcontext(&p->context);
	p->context.uc_stack.ss_sp = p->stack;
	p->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&p->context, process_main, 0);
	note("flusher starts", pool->no, 0);
	pool->flusher = p;
	enter(p);
	return p;
}

struct process *
process_current(void)
{
	return current;
}

struct pool *
process_pool(const struct process *p)
{
	return p->pool;
}

const struct uuid *
process_incarnation(const struct process *p)
{
	return &process_flusher(p)->incarnation;
}

bool
process_dead(const struct process *p)
{
	return p->dead;
}

void
process_kill(struct process *p)
{
	if (p->ended || p->dead)
		return;
	note("kill flusher", p->pool->no, 0);
	p->dead = true;
	p->code = 137;
	network_process_died(p);
	if (p == current)
		return; /* it ends when it is back in its loop */
	enter(p);
}

void
process_kill_after(struct process *p, uint32_t actions)
{
	p->actions_left = actions;
}

void
process_acts(struct process *p)
{
	if (p == NULL || p->actions_left == 0 || p->dead)
		return;
	if (--p->actions_left == 0)
		process_kill(p);
}

void
process_stop(struct process *p, uint64_t until_us)
{
	note("stop flusher", p->pool->no, until_us);
	if (until_us > p->stopped_until_us)
		p->stopped_until_us = until_us;
}

const struct flusher *
process_flusher(const struct process *p)
{
	return p == current ? &flusher : &p->statics.flusher;
}

uint64_t
process_due_us(const struct process *p)
{
	uint64_t due_us;

	if (p->ended)
		return UINT64_MAX;
	due_us = loop_due_us(p->base);
	if (due_us != UINT64_MAX && due_us < p->stopped_until_us)
		due_us = p->stopped_until_us;
	return due_us;
}

void
process_step(struct process *p)
{
	if (loop_choose(p->base))
		enter(p);
}

bool
process_ended(const struct process *p, int *code_out)
{
	*code_out = p->code;
	return p->ended;
}

/* What a flusher had allocated when it gave itself up is not found again. */
void
process_free(struct process **pp)
{
	struct process *p = *pp;

	world.parked += p->statics.flusher.counters.parked;
	network_process_died(p);
	if (stack_count < POOLS_MAX * 2)
		stacks[stack_count++] = p->stack;
	else
		free(p->stack);
	free(p);
	*pp = NULL;
}

void
processes_reset(void)
{
	for (uint32_t i = 0; i < POOLS_MAX; i++) {
		struct pool *pool = &world.pools[i];

		if (pool->flusher == NULL)
			continue;
		process_kill(pool->flusher);
		process_free(&pool->flusher);
	}
}

/* ---- for loop.c ---- */

struct process *
process_loop(struct event_base *base)
{
	current->base = base;
	return current;
}

bool
process_wait(struct process *p)
{
	if (!p->dead)
		leave();
	return !p->dead;
}
