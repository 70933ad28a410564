/*
 * config_group - what the configuration says of one group of workers.
 *
 * A group is a section [group NAME]; the built-in one, "native", is there
 * always and is made of the keys workers and worker_…, which are also what
 * other groups have when they do not say otherwise. Included by config.h.
 */
#ifndef COMMON_CONFIG_GROUP_H
#define COMMON_CONFIG_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/units.h"
#include "common/words.h"

#define CONFIG_GROUPS_MAX 33U   /* with the built-in one */
#define CONFIG_WORKERS_MAX 1024U /* of all groups together */
/* Each group has one slot more, in which a worker's successor starts. */
#define CONFIG_SLOTS_MAX (CONFIG_WORKERS_MAX + CONFIG_GROUPS_MAX)

#define GROUP_NAME_MAX 32U
#define GROUP_NATIVE "native"
/* As the program: the worker that comes with rappel. */
#define GROUP_OWN_PROGRAM "rappel-worker"
#define GROUP_PATTERNS_MAX 64U
#define GROUP_PATTERN_MAX 128U /* bytes, as of an action's name */

/* What setrlimit() may be told; each has a row in config_limits. */
enum config_limit {
	LIMIT_AS,
	LIMIT_CORE,
	LIMIT_CPU,
	LIMIT_DATA,
	LIMIT_FSIZE,
	LIMIT_MEMLOCK,
	LIMIT_NOFILE,
	LIMIT_NPROC,
	LIMIT_STACK,
	LIMITS,
};

struct config_limit_row {
	const char *name;
	int resource; /* RLIMIT_… */
	const struct unit *units;
	uint64_t factor; /* the kernel counts in so many of the unit's own */
	uint64_t min;    /* below it no program starts */
};

extern const struct config_limit_row config_limits[LIMITS];

#define LIMIT_NONE UINT64_MAX /* as rappeld itself has it */

enum group_key {
	GROUP_PROGRAM,
	GROUP_PROCESSES,
	GROUP_PROCESSES_MAX,
	GROUP_CONCURRENCY,
	GROUP_ACTIONS,
	GROUP_ENVIRONMENT,
	GROUP_USER,
	GROUP_DIRECTORY,
	GROUP_LIMITS,
	GROUP_RECYCLE_ACTIONS,
	GROUP_RECYCLE_AGE,
	GROUP_RECYCLE_RSS,
	GROUP_HELLO,
	GROUP_OUTPUT_RATE,
	GROUP_KEYS,
};

struct config_group {
	char name[GROUP_NAME_MAX + 1];
	struct words program;
	uint32_t processes;
	uint32_t processes_max; /* of a scale, never below processes */
	uint32_t concurrency;   /* of one process; 0: nothing is said */
	struct words actions;   /* patterns; none: all that it announces */
	struct words environment; /* NAME=value */
	char *user;               /* NULL: worker_user's */
	char *directory;          /* NULL: rappeld's */
	uint64_t limits[LIMITS];  /* LIMIT_NONE: not set */
	uint32_t recycle_actions; /* 0: never */
	uint64_t recycle_age_us;
	uint64_t recycle_rss;
	uint64_t hello_us;
	uint64_t output_rate;
	char *origin; /* "FILE:LINE" of its section */
	char *origins[GROUP_KEYS]; /* of each key; NULL: it was not given */
};

/* Whether that is the one made of workers and worker_…. */
bool config_group_is_native(const struct config_group *g);
/* Where a value comes from that somebody may have to change. Borrowed. */
const char *config_group_origin(const struct config_group *g,
				enum group_key key);

#endif
