/*
 * instance - one execution of a definition, as a pure fold:
 * state = definition + input + events in order.
 *
 * No I/O, no clock, no randomness, no globals. Whoever drives an instance
 * (flusher, rappelctl exec, simulation) applies events and then performs the
 * effects: run the actions that became ready, set the timers. Applying the
 * same events gives the same effects with the same numbers, always.
 *
 * An *activation* is one entry into a Task or Wait state; its id (from 1 up)
 * is the action id, the same in every replay. A retried Task keeps its id;
 * the attempt counts up. A retry's delay is not an event: the next attempt is
 * an action with a time before which it must not run.
 */
#ifndef ENGINE_INSTANCE_H
#define ENGINE_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/uuid.h"
#include "common/value.h"
#include "engine/definition.h"
#include "engine/event.h"

struct instance;

enum instance_status {
	INSTANCE_RUNNING,
	INSTANCE_SUCCEEDED,
	INSTANCE_FAILED,
	INSTANCE_TIMED_OUT,
	INSTANCE_CANCELLED,
};

/* "running", "succeeded", "failed", "timed_out", "cancelled" */
const char *instance_status_name(enum instance_status s);

/* What became of an apply: few, kept by the caller and reused. */
enum effect_kind {
	EFFECT_ACTION,  /* an attempt is ready: instance_action() */
	EFFECT_TIMER,   /* a timer is wanted: instance_timer() */
	EFFECT_PENDING, /* somebody else is to finish it, perhaps in another
	                 * time than before: instance_pending() */
	EFFECT_ABANDON, /* that activation is no longer wanted */
	EFFECT_END,     /* the instance ended: instance_end() */
};

struct effect {
	enum effect_kind kind;
	uint32_t activation;
	/* ACTION: by the time that the effect is performed another event may
	 * have ended that attempt; the next one has an effect of its own. */
	uint32_t attempt;
};

struct effects {
	struct effect *list;
	uint32_t count;
	uint32_t cap;
};

void effects_fini(struct effects *e);
void effects_clear(struct effects *e);

/* Called at every entry into a state (rappelctl exec shows the path). */
typedef void instance_trace_cb(void *arg, uint32_t state_no,
                               uint32_t activation);

struct instance_options {
	struct uuid id;
	struct slice workflow;   /* its name, for $$.StateMachine.Name; copied */
	struct slice name;       /* $$.Execution.Name; copied; may be empty */
	int64_t started_at_us;   /* of the first claim, since 1970 */
	struct slice input;      /* checked msgpack; copied */
	uint64_t value_bytes_max; /* States.DataLimitExceeded above; 0: 256 KiB */
	/* Optional; here so that it sees what instance_create() enters. */
	instance_trace_cb *trace;
	void *trace_arg;
};

/*
 * Starts: enters the first state and whatever follows without an event.
 * Effects are appended to *out. Never fails: what goes wrong in the workflow
 * ends the instance. Takes a reference of d. Release with instance_destroy().
 */
struct instance *instance_create(struct definition *d,
                                 const struct instance_options *options,
                                 struct effects *out);
/* The same instance again, as it was created: for replaying its journal. */
struct instance *instance_restart(const struct instance *i,
                                  struct effects *out);
void instance_destroy(struct instance **i);

/*
 * Applies one event and appends its effects to *out. -ESTALE, and nothing
 * changed, when the event fits no activation as it is now: another attempt,
 * already done, the instance ended.
 */
int instance_apply(struct instance *i, const struct event *e,
                   struct effects *out) MUST_CHECK;

/* Everything now wanted, as effects, in order of activation: after replay. */
void instance_wanted(const struct instance *i, struct effects *out);

/* ---- looking; everything is borrowed until the next apply ---- */

enum instance_status instance_status(const struct instance *i);
const struct uuid *instance_id(const struct instance *i);
struct definition *instance_definition(const struct instance *i);

struct action_view {
	uint32_t state_no;        /* definition_state_name() */
	uint32_t attempt;         /* the one that is ready or runs, from 1 */
	uint32_t index;           /* of the innermost Map item or branch */
	bool has_index;
	int64_t not_before_us;    /* retry delay; 0: at once */
	uint64_t timeout_us;      /* TimeoutSeconds(Path); 0: none */
	uint64_t heartbeat_us;    /* HeartbeatSeconds(Path); 0: none */
	bool waits;               /* a good answer of it makes it PENDING */
	struct slice action;      /* what to call */
	struct value *input;      /* effective input; borrowed */
};

/* False when that activation is no action that is wanted now. */
bool instance_action(const struct instance *i, uint32_t activation,
                     struct action_view *out);
/* False when that activation is no timer that is wanted now. */
bool instance_timer(const struct instance *i, uint32_t activation,
                    int64_t *due_us_out);

/*
 * An attempt that somebody else finishes, with a SUCCEEDED or FAILED of that
 * number. When its time is over a FIRED of that number, not before due_us,
 * makes the engine fail it.
 */
struct pending_view {
	uint32_t attempt;
	int64_t due_us; /* when to fire, unless a heartbeat comes; 0: never */
};
/* False when that activation does not wait for somebody now. */
bool instance_pending(const struct instance *i, uint32_t activation,
                      struct pending_view *out);
/* How many activations wait for somebody. */
uint32_t instance_pending_count(const struct instance *i);

/*
 * Where a wanted activation of any kind stands, for the journal's readers.
 * False when it is not wanted, or is the workflow's own timer.
 */
struct place_view {
	uint32_t state_no;
	uint32_t index; /* of the innermost Map item or branch */
	bool has_index;
};
bool instance_place(const struct instance *i, uint32_t activation,
                    struct place_view *out);

struct end_view {
	enum instance_status status;
	struct value *output;  /* SUCCEEDED; borrowed */
	struct slice error;    /* otherwise; error name, may be empty */
	struct slice cause;
};
/* The instance must have ended. */
void instance_end(const struct instance *i, struct end_view *out);

/* From now on; activation is 0 for states that have none. */
void instance_set_trace(struct instance *i, instance_trace_cb *cb, void *arg);

/* Approximate heap bytes it holds. */
size_t instance_bytes(const struct instance *i);

#endif
