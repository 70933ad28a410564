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
};

/* So many workers may die of one action: then no Retry makes it another. */
#define POISON_DEATHS 3U

/* The workflow's own TimeoutSeconds is the timer with this id. */
#define ACTIVATION_WORKFLOW 0U

struct event {
	enum event_kind kind;
	int64_t at_us;       /* when, on PostgreSQL's clock, since 1970 */
	uint32_t activation; /* which Task or Wait; derived by the engine */
	uint32_t attempt;    /* 1-based; 0 where there are none */
	/* For people who read the journal; the engine does not look at them. */
	uint32_t worker;     /* slot */
	uint64_t run_us;     /* how long the attempt ran */
	/* Checked msgpack, borrowed. SUCCEEDED: the result. */
	struct slice value;
	/* UTF-8 text, borrowed. FAILED, LOST: name and cause. CANCEL: cause. */
	struct slice error;
	struct slice cause;
};

#endif
