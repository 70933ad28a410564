/*
 * world - see world.h. Also what the programs expect of the machine: clocks,
 * the log, failed assertions.
 */
#include "tests/simulation/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/log.h"
#include "tests/simulation/process.h"
#include "tests/simulation/supervisor.h"

struct world world;

struct happening {
	uint64_t at_us;
	uint64_t order;
	world_fn *fn;
	void *arg;
	uint64_t number;
};

static struct happening *heap;
static uint32_t heap_count;
static uint32_t heap_cap;
static uint64_t orders;

/* ---- what happens ---- */

static bool
sooner(const struct happening *a, const struct happening *b)
{
	return a->at_us < b->at_us ||
	    (a->at_us == b->at_us && a->order < b->order);
}

void
world_at(uint64_t at_us, world_fn *fn, void *arg, uint64_t number)
{
	struct happening new = { at_us, orders++, fn, arg, number };
	uint32_t at = heap_count++;

	if (heap_count > heap_cap) {
		heap_cap = heap_cap == 0 ? 1024 : heap_cap * 2;
		heap = mem_realloc(heap, heap_cap * sizeof(*heap));
	}
	while (at > 0 && sooner(&new, &heap[(at - 1) / 2])) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = new;
}

static struct happening
heap_pop(void)
{
	struct happening first = heap[0];
	struct happening last = heap[--heap_count];
	uint32_t at = 0;

	for (;;) {
		uint32_t child = at * 2 + 1;

		if (child >= heap_count)
			break;
		if (child + 1 < heap_count &&
		    sooner(&heap[child + 1], &heap[child]))
			child++;
		if (!sooner(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	if (heap_count > 0)
		heap[at] = last;
	return first;
}

bool
world_step(void)
{
	struct process *runs[POOLS_MAX];
	uint32_t count = 0;
	uint64_t next_us = heap_count > 0 ? heap[0].at_us : UINT64_MAX;
	uint32_t chosen;

	for (uint32_t i = 0; i < world.pool_count; i++) {
		struct process *p = world.pools[i].flusher;
		uint64_t due_us = p == NULL ? UINT64_MAX : process_due_us(p);

		if (due_us < next_us)
			next_us = due_us;
	}
	if (next_us == UINT64_MAX)
		return false;
	if (next_us > world.now_us)
		world.now_us = next_us;
	for (uint32_t i = 0; i < world.pool_count; i++)
		if (world.pools[i].flusher != NULL &&
		    process_due_us(world.pools[i].flusher) <= world.now_us)
			runs[count++] = world.pools[i].flusher;
	world.steps++;
	/* Any of them may be first, and so may the world. */
	chosen = count;
	if (count > 0)
		chosen = dice(count + (heap_count > 0 &&
		                       heap[0].at_us <= world.now_us));
	if (chosen < count) {
		process_step(runs[chosen]);
		world.now_us += 1 + dice(20);
		supervisors_reap();
	} else {
		struct happening h = heap_pop();

		h.fn(h.arg, h.number);
		supervisors_reap();
	}
	return true;
}

void
world_begin(uint64_t seed)
{
	enum plant plant = world.plant;
	bool trace = world.trace;

	memset(&world, 0, sizeof(world));
	world.seed = seed;
	world.plant = plant;
	world.trace = trace;
	world.chance.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	world.arena = arena_create(256 << 10);
	world.now_us = 1000 * CLOCK_SECOND_US;
	/* 2026-01-14T11:43:20Z, so that clocks pass the noon that random
	 * definitions wait for at times. */
	world.wall_us = INT64_C(1768390000) * 1000000 +
	    (int64_t)dice(1200) * 1000000;
	world.hash = UINT64_C(0xcbf29ce484222325);
	heap_count = 0;
	orders = 0;
}

void
world_end(void)
{
	processes_reset();
	arena_destroy(&world.arena);
	heap_count = 0;
}

uint64_t
delay_us(uint64_t usual_us)
{
	uint64_t us = usual_us / 2 + dice((uint32_t)usual_us + 1);

	return permille(20) ? us * 10 : us;
}

static void
mix(uint64_t v)
{
	world.hash = (world.hash ^ v) * UINT64_C(0x100000001b3);
	world.hash ^= world.hash >> 29;
}

void
note(const char *what, uint64_t a, uint64_t b)
{
	mix(world.now_us);
	for (const char *at = what; *at != '\0'; at++)
		mix((uint64_t)(unsigned char)*at);
	mix(a);
	mix(b);
	if (world.trace)
		printf("%12.6f %s %llu %llu\n",
		       (double)world.now_us / 1e6, what,
		       (unsigned long long)a, (unsigned long long)b);
}

void
note_id(const char *what, const struct uuid *id, uint64_t a)
{
	uint64_t first;

	memcpy(&first, id->bytes + 8, sizeof(first));
	mix(first);
	if (!world.trace) {
		note(what, first, a);
		return;
	}
	mix(world.now_us);
	for (const char *at = what; *at != '\0'; at++)
		mix((uint64_t)(unsigned char)*at);
	mix(first);
	mix(a);
	printf("%12.6f %s …%02x%02x %llu\n", (double)world.now_us / 1e6,
	       what, id->bytes[14], id->bytes[15], (unsigned long long)a);
}

static const char *const plant_names[PLANTS] = {
	"none", "fence-off", "early-reply", "unknown-failed", "unknown-done",
	"claim-twice", "torn", "lost-row", "no-wait",
};

const char *
plant_name(enum plant plant)
{
	return plant_names[plant];
}

static _Noreturn void
failed(const char *what)
{
	printf("FAILED seed %llu at %.6f s: %s\n",
	       (unsigned long long)world.seed, (double)world.now_us / 1e6,
	       what);
	printf("repeat: simulation --seed %llu%s%s --trace\n",
	       (unsigned long long)world.seed,
	       world.plant == PLANT_NONE ? "" : " --plant=",
	       world.plant == PLANT_NONE ? "" : plant_names[world.plant]);
	fflush(stdout);
	_exit(1);
}

void
violated(const char *format, ...)
{
	char text[1000];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	failed(text);
}

void *
keep_alloc(size_t size)
{
	return arena_zalloc(world.arena, size);
}

void *
keep_copy(const void *data, size_t len)
{
	return arena_strndup(world.arena, data, len);
}

/* ---- the machine, as common/ declares it ---- */

uint64_t
clock_mono_us(void)
{
	return world.now_us;
}

int64_t
clock_wall_us(void)
{
	return world.wall_us + (int64_t)world.now_us;
}

_Noreturn void
assert_failed(const char *what, const char *file, int line)
{
	char text[600];

	snprintf(text, sizeof(text), "%s:%d: assertion failed: %s", file, line,
	         what);
	failed(text);
}

#define SIGHT_TEXT(text, histories) text,
#define SIGHT_HISTORIES(text, histories) histories,
const char *const sight_texts[SIGHT_COUNT] = { SIGHTS(SIGHT_TEXT) };
const uint32_t sight_histories[SIGHT_COUNT] = { SIGHTS(SIGHT_HISTORIES) };

static void __attribute__((format(printf, 2, 0)))
log_line(const char *level, const char *format, va_list ap)
{
	const struct process *p = process_current();

	for (int i = 0; i < SIGHT_COUNT; i++)
		if (strncmp(format, sight_texts[i],
		            strlen(sight_texts[i])) == 0)
			world.sights[i]++;
	if (!world.trace)
		return;
	printf("%12.6f pool %d %s: ", (double)world.now_us / 1e6,
	       p == NULL ? -1 : (int)process_pool(p)->no, level);
	vprintf(format, ap);
	putchar('\n');
}

#define LOG(name) \
	void log_##name(const char *format, ...) \
	{ \
		va_list ap; \
\
		va_start(ap, format); \
		log_line(#name, format, ap); \
		va_end(ap); \
	}

LOG(error)
LOG(warning)
LOG(info)
LOG(debug)

void
log_init(const char *comp, enum log_level level)
{
	(void)comp;
	(void)level;
}

int
log_level_parse(const char *name, enum log_level *out)
{
	(void)name;
	*out = LOG_LEVEL_INFO;
	return 0;
}

bool
log_wants(enum log_level level)
{
	(void)level;
	return world.trace;
}

uint64_t
log_dropped(void)
{
	return 0;
}
