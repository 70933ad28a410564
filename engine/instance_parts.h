/*
 * instance_parts - what an instance is made of, for the engine's own files.
 *
 * A *branch* is one place at which the instance is: the workflow itself, one
 * item of a Map or one branch of a Parallel. It is in one state at a time. A
 * *spread* is one entry into a Map or Parallel: it belongs to the branch that
 * entered and owns the branches inside. So branches and spreads form a tree;
 * whatever waits for something outside is a leaf of it and is *wanted*.
 *
 * Nothing here recurses: work moves along the tree in loops.
 */
#ifndef ENGINE_INSTANCE_PARTS_H
#define ENGINE_INSTANCE_PARTS_H

#include "common/value.h"
#include "engine/definition_parts.h"
#include "engine/instance.h"

#define INSTANCE_MAGIC 0x1257a9ceU

/*
 * Bounds against definitions that would never stop by themselves. A branch
 * may enter HOPS_MAX states without an event between them (a loop of Pass and
 * Choice), an event may cause ENTRIES_MAX entries in all. Beyond, the instance
 * fails with States.Runtime, which nothing catches then. A little above what
 * other interpreters allow (25,000 events of history).
 */
#define HOPS_MAX 25000
#define ENTRIES_MAX 2000000
#define MADE_BYTES_MAX (1U << 30)   /* of values made by one event */
#define HELD_BYTES_MAX (512U << 20) /* of values, at any time */
#define ACTIVATIONS_MAX 1000000
#define MAP_ITEMS_MAX 100000
#define VALUE_BYTES_DEFAULT (256U << 10)
/* Ended branches that an instance keeps for the next. */
#define SPARE_BRANCHES_MAX 16
#define WANTED_BUCKETS_MIN 16

enum branch_phase {
	BRANCH_ENTERING, /* about to enter its state */
	BRANCH_ACTION,   /* an attempt is wanted */
	BRANCH_PENDING,  /* somebody else finishes the attempt */
	BRANCH_TIMER,    /* a Wait */
	BRANCH_DELAY,    /* waits to enter its state again (Retry) */
	BRANCH_SPREAD,   /* its spread is at work */
	BRANCH_JOINED,   /* its spread is complete; the result is due */
};

/* What a retrier did during this stay in the state. */
struct retry_count {
	uint32_t used;
	double delay_us; /* the last, without jitter */
};

struct branch {
	enum branch_phase phase;
	uint32_t index;      /* in its spread */
	uint32_t activation; /* wanted under this id; 0: not wanted */
	uint32_t attempt;    /* of this stay in the state, from 1 */
	uint32_t deaths;     /* of workers, in this stay */
	uint32_t hops;       /* entries since the event number hops_event */
	uint64_t hops_event;
	const struct state *state;
	struct spread *parent; /* that it is a part of; NULL: the workflow */
	struct spread *spread; /* that it waits for */
	struct value *raw;     /* the state's input as it came */
	struct value *input;   /* what the action gets */
	struct value *item;    /* the Map's, if something looks at it */
	struct retry_count *retries; /* one a retrier, made at the first */
	int64_t entered_us;
	/* Of a timer; of an action: not before; 0: at once; PENDING: when
	 * its time is over; 0: never. */
	int64_t due_us;
	int64_t beat_due_us; /* PENDING: when a heartbeat is due; 0: never */
	uint64_t timeout_us;
	uint64_t heartbeat_us;
	/* All that is wanted, by rising activation. */
	struct branch *wanted_prev;
	struct branch *wanted_next;
	struct branch *bucket_next;
	/* The branches of one spread that have not ended. */
	struct branch *sibling_prev;
	struct branch *sibling_next;
};

struct spread {
	struct branch *owner;
	const struct state *state;
	struct branch *first; /* branches that have not ended */
	struct branch *last;
	struct value *input; /* of every branch; of the ItemSelector */
	struct value *items; /* Map: the list */
	struct cursor rest;  /* Map: items that have not begun */
	uint32_t count;
	uint32_t begun;
	uint32_t running;
	uint32_t running_max;
	uint32_t failed;
	uint32_t failed_max; /* more fail the Map */
	bool tolerant;       /* a tolerance was given */
	bool at_work;        /* in the instance's list of work */
	struct spread *work_prev;
	struct spread *work_next;
	/* Of the outputs: their bytes, and whether anything will look. */
	uint64_t output_bytes;
	bool keeps_outputs;
	struct value *outputs[];
};

/* Why a state failed: copies, kept until the next failure. */
struct failure {
	struct buf name;
	struct buf cause;
	struct buf kinds; /* names that it counts as, too: a msgpack array,
			   * or empty */
	bool final; /* a bound of the engine: no Retry, no Catch */
	bool poison; /* it kills workers: no Retry */
};

struct instance {
	uint32_t magic;
	enum instance_status status;
	struct definition *definition;
	struct uuid id;
	struct slice workflow; /* both lie behind the struct */
	struct slice name;
	int64_t started_us;
	int64_t now_us; /* of the event that is applied */
	uint64_t value_bytes_max;
	struct value *input;
	struct value *output;
	struct failure failure;
	struct effects *out; /* while something is applied */

	struct branch *root;
	struct spread *work;  /* may begin branches; innermost first */
	uint32_t activations; /* the last id given */
	uint32_t pending;     /* branches of that phase */
	uint32_t entries;     /* caused by this event */
	uint64_t made;        /* bytes of values made by this event */
	uint64_t events;      /* applied */
	uint64_t draws;       /* templates evaluated, for their seeds */

	struct branch *wanted_first;
	struct branch *wanted_last;
	uint32_t wanted_count;
	uint32_t bucket_count;   /* a power of two */
	struct branch **buckets; /* by activation */
	struct branch *buckets_own[WANTED_BUCKETS_MIN];

	struct branch *spare;
	uint32_t spare_count;
	size_t bytes;  /* of branches and spreads */
	uint64_t held; /* of the values that they hold; shared ones count
			* each time */

	instance_trace_cb *trace;
	void *trace_arg;
};

/* ---- instance.c: the tree, what is wanted, the end ---- */

void effects_add(struct effects *e, enum effect_kind kind, uint32_t activation);
void effects_add_attempt(struct effects *e, enum effect_kind kind,
			 uint32_t activation, uint32_t attempt);

struct branch *branch_create(struct instance *i, struct spread *parent);
/* Out of its spread, no longer wanted, gone. Its spread must be gone. */
void branch_destroy(struct instance *i, struct branch *b);
/* Takes value; drops what *place held. */
void branch_keep(struct instance *i, struct value **place, struct value *value);
/* Leaves the state: what belongs to this stay is dropped. */
void branch_leave(struct instance *i, struct branch *b);
/*
 * Gives the branch the next id and lists it as wanted. False when there are
 * too many, with the failure set.
 */
bool branch_want(struct instance *i, struct branch *b);
void branch_unwant(struct instance *i, struct branch *b);
/* The branch that is wanted under that id, or NULL. */
struct branch *branch_wanted(const struct instance *i, uint32_t activation);

/* Copies name and cause; of no other kinds. */
void failure_set(struct instance *i, struct slice name, struct slice cause);
void failure_text(struct instance *i, const char *name, const char *cause);
/* Ends the instance; everything wanted is abandoned. */
void instance_finish(struct instance *i, enum instance_status status);

/* ---- instance_state.c: entering and leaving states ---- */

/*
 * Moves on until everything waits for events or the instance ended; begins
 * with b, which may be NULL.
 */
void instance_run(struct instance *i, struct branch *b);
/*
 * The state has a result (taken): on to ResultSelector and so on. Returns the
 * branch that goes on, or NULL. So do the following.
 */
struct branch *state_result(struct instance *i, struct branch *b,
			    struct value *result) MUST_CHECK;
struct branch *state_output(struct instance *i, struct branch *b,
			    struct value *output) MUST_CHECK;
/* The state failed with i->failure: Retry, Catch or the spread's failure. */
struct branch *state_failed(struct instance *i, struct branch *b) MUST_CHECK;

/* ---- instance_data.c: what flows through a state ---- */

/* The cause begins with what failed, unless that is "": "InputPath: …". */
void failure_at(struct instance *i, const char *name, const char *what,
                const char *message);
/*
 * What a path selects, or what a template gives, with the wanted parts of the
 * context. NULL with the failure set.
 */
struct value *state_path(struct instance *i, struct branch *b,
			 const struct path *p, uint8_t parts, const char *what,
			 struct value *input) MUST_CHECK;
struct value *state_template(struct instance *i, struct branch *b,
			     const struct template *t, uint8_t parts,
			     struct value *input) MUST_CHECK;
/*
 * The number of a field, if it is given; what names its path. False with the
 * failure set when the path finds no such number.
 */
bool state_number(struct instance *i, struct branch *b,
		  const struct number_field *field, const char *what,
		  struct value *input, int64_t min, int64_t max,
		  int64_t *out) MUST_CHECK;
/* InputPath, and Parameters of what it selected. NULL with the failure set. */
struct value *state_selected(struct instance *i, struct branch *b) MUST_CHECK;
struct value *state_payload(struct instance *i, struct branch *b,
			    struct value *selected) MUST_CHECK;
/* Sets the failure to what a Fail state says, or to what is wrong there. */
void state_fail_text(struct instance *i, struct branch *b);
/* Not larger than values may be? False with the failure set. */
bool value_fits(struct instance *i, const struct value *v) MUST_CHECK;
/*
 * The same for a value that was put together, which counts as work done. How
 * deep it is nested was checked by who made it (path.h, template.h).
 */
bool value_made(struct instance *i, const struct value *v) MUST_CHECK;

/* ---- instance_spread.c: Map and Parallel ---- */

/* Enters a Map or Parallel with its effective input (borrowed). */
struct branch *spread_enter(struct instance *i, struct branch *b,
			    struct value *input) MUST_CHECK;
/* Nothing is to begin in it now: out of the list of work. */
void spread_rest(struct instance *i, struct spread *s);
/* True while it may begin another branch. */
bool spread_may_begin(const struct spread *s);
/* Begins the next branch and returns who goes on. */
struct branch *spread_begin(struct instance *i, struct spread *s) MUST_CHECK;
/* b, a part of a spread, ended with output (taken). */
struct branch *spread_branch_ended(struct instance *i, struct branch *b,
				   struct value *output) MUST_CHECK;
/* A branch failed with i->failure: true when the spread lives with that. */
bool spread_tolerates(struct instance *i, struct branch *b) MUST_CHECK;
/* All branches of b's spread ended: on with the list of their outputs. */
struct branch *spread_join(struct instance *i, struct branch *b) MUST_CHECK;
/* Drops it with all that is inside and wanted. */
void spread_abandon(struct instance *i, struct spread *s);

/* ---- instance_pending.c: attempts that somebody else finishes ---- */

/* The action has ended, the attempt goes on, and began with the action. */
void pending_begin(struct instance *i, struct branch *b,
		   const struct event *e);
/* A heartbeat: its time counts from now on again. */
void pending_beat(struct instance *i, struct branch *b);
/* When its time is over; 0: never. */
int64_t pending_due(const struct branch *b);
/* Its time is over. Returns the branch that goes on, or NULL. */
struct branch *pending_fired(struct instance *i, struct branch *b) MUST_CHECK;
/* What follows is as if the action itself had answered. */
void pending_over(struct instance *i, struct branch *b);

/* ---- retry.c ---- */

/* True when Retry gives the failed state another attempt, after *delay. */
bool retry_next(struct instance *i, struct branch *b, uint64_t *delay_us_out);
const struct catcher *retry_catcher(const struct instance *i,
				    const struct state *s);
/* Jitter is a hash of who asks, so that a replay waits equally long. */
uint64_t retry_jitter(const struct uuid *instance, uint32_t activation,
		      uint32_t attempt, uint64_t delay_us);

/* ---- context.c ---- */

/* $$ with the wanted parts, for b in its state; one reference. */
struct value *context_create(const struct instance *i, const struct branch *b,
			     uint8_t parts) MUST_CHECK;

/* ---- */

/* Times in a journal are what somebody wrote: never overflow. */
static inline int64_t
time_add(int64_t at_us, uint64_t delay_us)
{
	int64_t sum;

	if (delay_us > INT64_MAX ||
	    __builtin_add_overflow(at_us, (int64_t)delay_us, &sum))
		return INT64_MAX;
	return sum;
}

static inline int64_t
time_sub(int64_t at_us, uint64_t age_us)
{
	int64_t difference;

	if (age_us > INT64_MAX ||
	    __builtin_sub_overflow(at_us, (int64_t)age_us, &difference))
		return INT64_MIN;
	return difference;
}

#endif
