/*
 * world - what the parts of one simulated history share: its virtual time,
 * its chance, its queue of what happens next, and its pools.
 *
 * A history is a pure function of its seed. Everything is one thread; all
 * memory of a history but the flushers' own lives in world.arena.
 */
#ifndef TESTS_SIMULATION_WORLD_H
#define TESTS_SIMULATION_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "tests/unit/random_definition.h"

#define POOLS_MAX 3U
#define SLOTS_A_POOL 4U

/* What the world does wrong on purpose, so that the checks prove themselves. */
enum plant {
	PLANT_NONE,
	PLANT_FENCE_OFF,        /* the fence lets everybody pass */
	PLANT_EARLY_REPLY,      /* a COMMIT is confirmed before it is durable */
	PLANT_UNKNOWN_FAILED,   /* the probe never finds what was written */
	PLANT_UNKNOWN_DONE,     /* the probe always finds it */
	PLANT_CLAIM_TWICE,      /* a claim waits for locked rows and takes them */
	PLANT_TORN,             /* a rollback leaves journal rows behind */
	PLANT_LOST_ROW,         /* a commit loses a journal row */
	PLANT_NO_WAIT,          /* a takeover does not wait for transactions */
	PLANTS,
};

/*
 * What the flusher says when it goes a way that has to be gone at times; a
 * run of many histories that misses one is no proof. As logged, up to the
 * first value, and in how many histories it happens at least once.
 */
#define OFTEN 1000U
#define RARE 5000U
#define SIGHTS(x) \
	x("took over from pool", OFTEN) \
	x("takeover waits", OFTEN) \
	x("fenced, this life", OFTEN) \
	x("commit outcome found: done", OFTEN) \
	x("commit outcome found: not done", OFTEN) \
	x("commit refused", OFTEN) \
	x("claim refused", OFTEN) \
	x("start failed", OFTEN) \
	x("action lost with its worker", OFTEN) \
	x("action timed out", OFTEN) \
	x("leases handed back", OFTEN) \
	x("leases not handed back", RARE) \
	x("stopping with completions", OFTEN) \
	x("task command late", OFTEN)
#define SIGHT_ONE(text, histories) +1
enum { SIGHT_COUNT = SIGHTS(SIGHT_ONE) };

struct process;

/* One rappeld: a flusher at a time, and workers (supervisor.c). */
struct pool {
	uint32_t no;
	struct process *flusher; /* NULL: none runs */
	struct supervisor *supervisor;
	char dir[32];
	uint64_t clogged_until_us; /* its way to the database */
	bool retired; /* its machine is gone for good */
};

struct world {
	uint64_t seed;
	enum plant plant;
	bool trace;
	struct chance chance;
	struct arena *arena;
	uint64_t now_us;    /* clock_mono_us() */
	int64_t wall_us;    /* of the database's clock at now_us == 0 */
	uint64_t hash;
	uint64_t steps;
	uint64_t instances_open;
	bool faulty;        /* faults happen */
	uint32_t fault_rate; /* of 1000 messages */
	bool clock_jumped;
	/* Completions that a flusher was done with although they were wanted:
	 * their action ran once more. */
	uint64_t thrown_away;
	uint64_t begun_us;   /* now_us at the first */
	struct pool pools[POOLS_MAX];
	uint32_t pool_count;
	uint64_t sights[SIGHT_COUNT];
	uint64_t parked; /* of flushers that ended */
};

extern struct world world;

/* ---- what happens (world.c) ---- */

typedef void world_fn(void *arg, uint64_t number);

void world_begin(uint64_t seed);
void world_end(void);
/* Calls fn at that time; what is due at the same time keeps its order. */
void world_at(uint64_t at_us, world_fn *fn, void *arg, uint64_t number);
/* Runs one thing. False when nothing will ever happen again. */
bool world_step(void);

static inline void
world_after(uint64_t us, world_fn *fn, void *arg, uint64_t number)
{
	world_at(world.now_us + us, fn, arg, number);
}

/* Of the history's chance. */
static inline uint32_t
dice(uint32_t n)
{
	return below(&world.chance, n);
}

static inline bool
permille(uint32_t n)
{
	return dice(1000) < n;
}

/* About that long, sometimes much longer. */
uint64_t delay_us(uint64_t usual_us);

/* Becomes part of the hash, and a line of --trace. */
void note(const char *what, uint64_t a, uint64_t b);
/* The same with the first bytes of an id. */
void note_id(const char *what, const struct uuid *id, uint64_t a);
/* The history breaks a rule: says which and how to repeat it, and ends the
 * program. */
_Noreturn void violated(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

extern const char *const sight_texts[SIGHT_COUNT];
extern const uint32_t sight_histories[SIGHT_COUNT];
/* The names that --plant= takes. */
const char *plant_name(enum plant plant);

void *keep_alloc(size_t size); /* zeroed, until the history ends */
void *keep_copy(const void *data, size_t len); /* and a NUL */

#endif
