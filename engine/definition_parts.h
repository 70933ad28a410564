/*
 * definition_parts - what a definition is made of, for the engine's own
 * files.
 *
 * Everything here is made by the parser and never changed afterwards. Structs
 * lie in the definition's arena; paths, templates, choices and values are
 * released one by one with it.
 */
#ifndef ENGINE_DEFINITION_PARTS_H
#define ENGINE_DEFINITION_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mem.h"
#include "common/value.h"
#include "engine/choice.h"
#include "engine/definition.h"
#include "engine/path.h"
#include "engine/template.h"

/* In the order of state_type_names. */
enum state_type {
	STATE_TASK,
	STATE_PASS,
	STATE_CHOICE,
	STATE_WAIT,
	STATE_SUCCEED,
	STATE_FAIL,
	STATE_PARALLEL,
	STATE_MAP,
	STATE_TYPES,
};

/* Next of a state that ends its machine. */
#define STATE_NONE UINT32_MAX

/* No duration or interval in a definition is longer: about three years. */
#define SECONDS_MAX 99999999

/* InputPath, ResultPath, OutputPath: absent (no path), null, or a path. */
struct path_field {
	struct path *path;
	bool discard; /* null */
};

/*
 * What of the context object an expression may look at. Found in its text;
 * more than it really needs is fine, less is not. A context object holds only
 * what is wanted, so that a large input is not copied for every Map item.
 */
enum context_part {
	CONTEXT_EXECUTION = BIT(0), /* Id, Name, StartTime */
	CONTEXT_INPUT = BIT(1),     /* Execution.Input */
	CONTEXT_STATE = BIT(2),
	CONTEXT_MACHINE = BIT(3),
	CONTEXT_INDEX = BIT(4), /* Map.Item.Index */
	CONTEXT_ITEM = BIT(5),  /* Map.Item.Value */
	CONTEXT_TASK = BIT(6),  /* Task.Token */
	CONTEXT_ALL = BIT(7) - 1,
};

/* ErrorEquals. */
struct error_match {
	struct slice *names;
	uint32_t count;
	bool all;         /* States.ALL */
	bool task_failed; /* States.TaskFailed is among the names */
	bool timeout;     /* States.Timeout is among the names */
};

struct retrier {
	struct error_match match;
	uint64_t interval_us;
	uint64_t delay_max_us; /* 0: none */
	uint32_t attempts_max; /* retries, as the language counts them */
	double backoff_rate;
	bool jitter; /* FULL */
};

struct catcher {
	struct error_match match;
	struct path_field result_path;
	uint32_t next;
};

struct choice_rule {
	struct choice *when;
	uint32_t next;
};

/* A number that is given in the text or found in the input. */
struct number_field {
	bool given;
	int64_t number; /* when path is NULL */
	struct path *path;
};

/* Text given in the definition or computed: ErrorPath, CausePath. */
struct text_field {
	struct slice text; /* empty when computed or absent */
	struct path *path;
	struct template *template; /* of an object with the one key "v" */
};

struct state {
	enum state_type type;
	uint32_t no;
	uint32_t machine; /* which States object it is in */
	uint32_t next;    /* of a Choice: its Default */
	struct slice name;

	struct path_field input_path;
	struct template *parameters; /* Map: ItemSelector */
	struct template *result_selector;
	struct path_field result_path;
	struct path_field output_path;

	struct retrier *retriers;
	uint32_t retrier_count;
	struct catcher *catchers;
	uint32_t catcher_count;

	/* Sets of context_part. */
	uint8_t entry_context;    /* what is evaluated on the way in */
	uint8_t selector_context; /* Map: for every item */
	uint8_t result_context;   /* ResultSelector and OutputPath */

	union {
		struct {
			struct slice resource;       /* as it is in the text */
			struct slice action;         /* a part of it */
			bool waits; /* for somebody with its token */
			struct number_field timeout; /* s */
			struct number_field heartbeat; /* s */
		} task;
		struct {
			struct value *result; /* NULL: none */
		} pass;
		struct {
			struct choice_rule *rules;
			uint32_t count;
		} choice;
		struct {
			struct number_field seconds;
			bool absolute; /* at_us or at_path instead */
			int64_t at_us;
			struct path *at_path;
		} wait;
		struct {
			struct text_field error;
			struct text_field cause;
		} fail;
		struct {
			uint32_t *starts; /* one a branch */
			uint32_t count;
		} parallel;
		struct {
			uint32_t start;
			struct path *items_path;
			struct number_field concurrency;
			struct number_field tolerated_count;
			struct number_field tolerated_percent; /* a path's */
			double tolerated_share; /* percent; a number's */
		} map;
	};
};

struct definition {
	uint32_t magic;
	uint32_t refs;
	struct arena *arena;
	struct state **states; /* by number */
	uint32_t state_count;
	uint32_t state_cap;
	uint32_t start;
	uint64_t timeout_us; /* of the workflow; 0: none */
	bool keeps_items;    /* something looks at $$.Map.Item.Value */
};

static inline const struct state *
definition_state(const struct definition *d, uint32_t no)
{
	ASSERT(no < d->state_count);
	return d->states[no];
}

#endif
