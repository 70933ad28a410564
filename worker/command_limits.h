/*
 * command_limits - what a program may use at most (setrlimit).
 */
#ifndef WORKER_COMMAND_LIMITS_H
#define WORKER_COMMAND_LIMITS_H

#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"

#define COMMAND_LIMITS_COUNT 5U

struct command_limits {
	uint32_t set; /* one bit for each that is asked for */
	uint64_t values[COMMAND_LIMITS_COUNT];
};

/* From {"memory": "1GB", …}. -EINVAL with err naming what is wrong. */
int command_limits_parse(struct slice value, struct command_limits *out,
			 struct error *err) MUST_CHECK;

/*
 * In the child of a vfork: system calls only. A limit that is stricter
 * already stays. 0, or -errno.
 */
int command_limits_apply(const struct command_limits *limits) MUST_CHECK;

/* "memory", … of the limit that this signal may come from, or NULL. */
const char *command_limits_signal(const struct command_limits *limits,
				  int signal);

#endif
