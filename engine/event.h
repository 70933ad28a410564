/*
 * event - what happens to an instance from outside: the only thing that
 * moves it on. Entries of the journal are events.
 */
#ifndef ENGINE_EVENT_H
#define ENGINE_EVENT_H

#include <stdint.h>

#include "common/buf.h"

/* Numbers stand in the journal: explicit, never reused. */
enum event_kind {
	EVENT_SUCCEEDED = 1, /* an attempt ended with a result */
	EVENT_FAILED = 2,    /* an attempt ended with an error */
	EVENT_FIRED = 3,     /* a timer was due: a Wait, a workflow timeout */
	EVENT_CANCEL = 4,    /* somebody wants the instance to end */
	EVENT_LOST = 5,      /* an attempt's worker died running it: FAILED,
	                      * and counted against a poison action */
	EVENT_PENDING = 6,   /* the attempt's action has ended, and somebody
	                      * else finishes the attempt, under its task
	                      * token: that is a SUCCEEDED or FAILED */
	EVENT_HEARTBEAT = 7, /* somebody who works under the task token lives */
};

/* So many workers may die of one action: then no Retry makes it another. */
#define POISON_DEATHS 3U

/* The workflow's own TimeoutSeconds is the timer with this id. */
#define ACTIVATION_WORKFLOW 0U

/* An attempt that was finished under its task token: by nobody's worker. */
#define WORKER_NONE UINT32_MAX

struct event {
	enum event_kind kind;
	int64_t at_us;       /* when, on PostgreSQL's clock, since 1970 */
	uint32_t activation; /* which Task or Wait; derived by the engine */
	uint32_t attempt;    /* 1-based; 0 where there are none */
	/* For people who read the journal; the engine does not look at it. */
	uint32_t worker;     /* slot, or WORKER_NONE */
	/* How long the attempt ran. A PENDING one began that long ago. */
	uint64_t run_us;
	/* Checked msgpack, borrowed. SUCCEEDED: the result. HEARTBEAT: the
	 * progress. */
	struct slice value;
	/* UTF-8 text, borrowed. FAILED, LOST: name and cause. CANCEL: cause. */
	struct slice error;
	struct slice cause;
	/* What else a worker said of an attempt: a checked msgpack map,
	 * borrowed, or nothing. Of a FAILED one the engine reads "kinds". */
	struct slice extra;
};

#endif
