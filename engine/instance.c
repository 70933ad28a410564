/*
 * instance - the life of an instance, the events that reach it, what is
 * wanted, and what others may see of it.
 */
#include "engine/instance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/instance_parts.h"

const char *
instance_status_name(enum instance_status s)
{
	switch (s) {
	case INSTANCE_RUNNING:
		return "running";
	case INSTANCE_SUCCEEDED:
		return "succeeded";
	case INSTANCE_FAILED:
		return "failed";
	case INSTANCE_TIMED_OUT:
		return "timed_out";
	case INSTANCE_CANCELLED:
		return "cancelled";
	}
	ASSERT(false);
}

/* ---- what is wanted ---- */

static struct branch **
bucket_of(const struct instance *i, uint32_t activation)
{
	return &i->buckets[activation & (i->bucket_count - 1)];
}

/* Ids are given in sequence, so their low bits spread them evenly. */
static void
buckets_grow(struct instance *i)
{
	i->bucket_count *= 2;
	if (i->buckets != i->buckets_own)
		free(i->buckets);
	i->buckets = mem_calloc(i->bucket_count, sizeof(struct branch *));
	for (struct branch *b = i->wanted_first; b != NULL;
	     b = b->wanted_next) {
		struct branch **bucket = bucket_of(i, b->activation);

		b->bucket_next = *bucket;
		*bucket = b;
	}
}

bool
branch_want(struct instance *i, struct branch *b)
{
	ASSERT(b->activation == 0);
	if (i->activations == ACTIVATIONS_MAX) {
		failure_text(i, "States.Runtime",
			     "the instance entered more than 1,000,000 Task "
			     "and Wait states");
		i->failure.final = true;
		return false;
	}
	b->activation = ++i->activations;
	if (i->wanted_count == i->bucket_count)
		buckets_grow(i);

	struct branch **bucket = bucket_of(i, b->activation);

	b->bucket_next = *bucket;
	*bucket = b;
	/* The newest id is the highest: the list stays in order. */
	b->wanted_prev = i->wanted_last;
	b->wanted_next = NULL;
	if (i->wanted_last != NULL)
		i->wanted_last->wanted_next = b;
	else
		i->wanted_first = b;
	i->wanted_last = b;
	i->wanted_count++;
	return true;
}

void
branch_unwant(struct instance *i, struct branch *b)
{
	if (b->activation == 0)
		return;

	struct branch **at = bucket_of(i, b->activation);

	while (*at != b)
		at = &(*at)->bucket_next;
	*at = b->bucket_next;
	if (b->wanted_prev != NULL)
		b->wanted_prev->wanted_next = b->wanted_next;
	else
		i->wanted_first = b->wanted_next;
	if (b->wanted_next != NULL)
		b->wanted_next->wanted_prev = b->wanted_prev;
	else
		i->wanted_last = b->wanted_prev;
	i->wanted_count--;
	b->activation = 0;
}

struct branch *
branch_wanted(const struct instance *i, uint32_t activation)
{
	if (activation == 0)
		return NULL;
	for (struct branch *b = *bucket_of(i, activation); b != NULL;
	     b = b->bucket_next) {
		if (b->activation == activation)
			return b;
	}
	return NULL;
}

/* ---- branches ---- */

struct branch *
branch_create(struct instance *i, struct spread *parent)
{
	struct branch *b = i->spare;

	if (b != NULL) {
		i->spare = b->sibling_next;
		i->spare_count--;
		memset(b, 0, sizeof(*b));
	} else {
		b = mem_zalloc(sizeof(*b));
		i->bytes += sizeof(*b);
	}
	b->parent = parent;
	if (parent == NULL)
		return b;
	b->sibling_prev = parent->last;
	if (parent->last != NULL)
		parent->last->sibling_next = b;
	else
		parent->first = b;
	parent->last = b;
	return b;
}

void
branch_keep(struct instance *i, struct value **place, struct value *value)
{
	if (*place != NULL)
		i->held -= (*place)->s.len;
	if (value != NULL)
		i->held += value->s.len;
	value_unref(place);
	*place = value;
}

void
branch_leave(struct instance *i, struct branch *b)
{
	branch_unwant(i, b);
	branch_keep(i, &b->input, NULL);
	i->pending -= b->phase == BRANCH_PENDING;
	free(b->retries);
	b->retries = NULL;
	b->attempt = 0;
	b->deaths = 0;
	b->phase = BRANCH_ENTERING;
}

void
branch_destroy(struct instance *i, struct branch *b)
{
	ASSERT(b->spread == NULL);
	branch_leave(i, b);
	branch_keep(i, &b->raw, NULL);
	branch_keep(i, &b->item, NULL);
	if (b->parent != NULL) {
		if (b->sibling_prev != NULL)
			b->sibling_prev->sibling_next = b->sibling_next;
		else
			b->parent->first = b->sibling_next;
		if (b->sibling_next != NULL)
			b->sibling_next->sibling_prev = b->sibling_prev;
		else
			b->parent->last = b->sibling_prev;
	}
	if (i->spare_count < SPARE_BRANCHES_MAX) {
		b->sibling_next = i->spare;
		i->spare = b;
		i->spare_count++;
		return;
	}
	i->bytes -= sizeof(*b);
	free(b);
}

static void
spare_free(struct instance *i)
{
	while (i->spare != NULL) {
		struct branch *b = i->spare;

		i->spare = b->sibling_next;
		i->bytes -= sizeof(*b);
		free(b);
	}
	i->spare_count = 0;
}

/* ---- failing and ending ---- */

static void
failure_copy(struct buf *to, struct slice from)
{
	/* From may be what another failure of ours is made of: an error that
	 * a Fail state took from its input is not, but its own text is. */
	ASSERT(from.len == 0 || from.data != to->data);
	to->len = 0;
	buf_add(to, from.data, from.len);
}

void
failure_set(struct instance *i, struct slice name, struct slice cause)
{
	failure_copy(&i->failure.name, name);
	failure_copy(&i->failure.cause, cause);
	i->failure.kinds.len = 0;
	i->failure.final = false;
	i->failure.poison = false;
}

void
failure_text(struct instance *i, const char *name, const char *cause)
{
	failure_set(i, slice_of(name), slice_of(cause));
}

static void
tree_free(struct instance *i)
{
	if (i->root == NULL)
		return;
	if (i->root->spread != NULL)
		spread_abandon(i, i->root->spread);
	branch_destroy(i, i->root);
	i->root = NULL;
	spare_free(i);
	ASSERT(i->wanted_count == 0 && i->work == NULL);
}

void
instance_finish(struct instance *i, enum instance_status status)
{
	struct effects none = { NULL, 0, 0 };
	struct effects *out = i->out;

	ASSERT(i->status == INSTANCE_RUNNING);
	i->status = status;
	/* In order of activation, which walking the tree would not give. */
	if (i->definition->timeout_us != 0 && status != INSTANCE_TIMED_OUT)
		effects_add(out, EFFECT_ABANDON, ACTIVATION_WORKFLOW);
	for (struct branch *b = i->wanted_first; b != NULL; b = b->wanted_next)
		effects_add(out, EFFECT_ABANDON, b->activation);
	i->out = &none;
	tree_free(i);
	i->out = out;
	effects_fini(&none);
	effects_add(out, EFFECT_END, ACTIVATION_WORKFLOW);
}

/* ---- creating ---- */

static struct slice
copy_behind(uint8_t **to, struct slice s)
{
	struct slice copy = { *to, s.len };

	if (s.len > 0)
		memcpy(*to, s.data, s.len);
	*to += s.len;
	return copy;
}

static void
event_begin(struct instance *i, int64_t now_us, struct effects *out)
{
	i->now_us = now_us;
	i->out = out;
	i->events++;
	i->entries = 0;
	i->made = 0;
}

struct instance *
instance_create(struct definition *d, const struct instance_options *options,
		struct effects *out)
{
	size_t names = options->workflow.len + options->name.len;
	struct instance *i = mem_zalloc(sizeof(*i) + names);
	uint8_t *behind = (uint8_t *)(i + 1);

	i->magic = INSTANCE_MAGIC;
	i->definition = definition_ref(d);
	i->id = options->id;
	i->workflow = copy_behind(&behind, options->workflow);
	i->name = copy_behind(&behind, options->name);
	i->bytes = sizeof(*i) + names;
	i->started_us = options->started_at_us;
	i->value_bytes_max = options->value_bytes_max != 0
				 ? options->value_bytes_max
				 : VALUE_BYTES_DEFAULT;
	i->trace = options->trace;
	i->trace_arg = options->trace_arg;
	i->input = value_create(options->input);
	i->buckets = i->buckets_own;
	i->bucket_count = WANTED_BUCKETS_MIN;

	event_begin(i, options->started_at_us, out);
	if (d->timeout_us != 0)
		effects_add(out, EFFECT_TIMER, ACTIVATION_WORKFLOW);
	i->root = branch_create(i, NULL);
	i->root->state = definition_state(d, d->start);
	branch_keep(i, &i->root->raw, value_ref(i->input));
	instance_run(i, i->root);
	i->out = NULL;
	return i;
}

struct instance *
instance_restart(const struct instance *i, struct effects *out)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	return instance_create(
	    i->definition,
	    &(struct instance_options){ .id = i->id,
					.workflow = i->workflow,
					.name = i->name,
					.started_at_us = i->started_us,
					.input = i->input->s,
					.value_bytes_max = i->value_bytes_max,
					.trace = i->trace,
					.trace_arg = i->trace_arg },
	    out);
}

void
instance_destroy(struct instance **ip)
{
	struct instance *i = *ip;
	struct effects none = { NULL, 0, 0 };

	if (i == NULL)
		return;
	*ip = NULL;
	CHECK_OBJ(i, INSTANCE_MAGIC);
	i->out = &none;
	tree_free(i);
	effects_fini(&none);
	if (i->buckets != i->buckets_own)
		free(i->buckets);
	value_unref(&i->input);
	value_unref(&i->output);
	buf_fini(&i->failure.name);
	buf_fini(&i->failure.cause);
	buf_fini(&i->failure.kinds);
	definition_unref(&i->definition);
	i->magic = 0;
	free(i);
}

/* ---- events ---- */

/* What the worker says that the error counts as, too. */
static void
failure_kinds(struct instance *i, struct slice extra)
{
	struct slice kinds;

	if (extra.len > 0 &&
	    value_get(extra, SLICE_LITERAL("kinds"), &kinds) &&
	    value_type(kinds) == VALUE_ARRAY)
		buf_add(&i->failure.kinds, kinds.data, kinds.len);
}

static struct branch *
action_ended(struct instance *i, struct branch *b, const struct event *e)
{
	pending_over(i, b);
	if (e->kind == EVENT_SUCCEEDED)
		return state_result(i, b, value_create(e->value));
	failure_set(i, e->error, e->cause);
	failure_kinds(i, e->extra);
	if (e->kind == EVENT_LOST && ++b->deaths >= POISON_DEATHS) {
		failure_text(i, "Rappel.Poison", "");
		buf_printf(&i->failure.cause,
			   "%u workers died running it; the last: ",
			   b->deaths);
		buf_add(&i->failure.cause, e->cause.data, e->cause.len);
		i->failure.poison = true;
	}
	return state_failed(i, b);
}

static struct branch *
timer_fired(struct instance *i, struct branch *b)
{
	if (b->phase == BRANCH_PENDING)
		return pending_fired(i, b);
	branch_unwant(i, b);
	if (b->phase == BRANCH_DELAY) {
		b->phase = BRANCH_ENTERING;
		return b;
	}

	struct value *output = b->input;

	/* What a Wait keeps as input is what it gives on. */
	i->held -= output->s.len;
	b->input = NULL;
	return state_output(i, b, output);
}

static bool
event_fits(const struct branch *b, const struct event *e)
{
	bool pending =
	    b->phase == BRANCH_PENDING && b->attempt == e->attempt;
	bool action = b->phase == BRANCH_ACTION && b->attempt == e->attempt;
	int64_t due_us;

	switch (e->kind) {
	case EVENT_SUCCEEDED:
	case EVENT_FAILED:
	case EVENT_HEARTBEAT:
		/* An answer under the token may come before the action's. */
		return action || pending;
	case EVENT_LOST:
	case EVENT_PENDING:
		return action;
	case EVENT_FIRED:
		due_us = pending_due(b);
		return b->phase == BRANCH_TIMER || b->phase == BRANCH_DELAY ||
		       (pending && due_us != 0 && e->at_us >= due_us);
	case EVENT_CANCEL:
		break;
	}
	return false;
}

int
instance_apply(struct instance *i, const struct event *e, struct effects *out)
{
	struct branch *b = NULL;
	bool timed_out =
	    e->kind == EVENT_FIRED && e->activation == ACTIVATION_WORKFLOW;

	CHECK_OBJ(i, INSTANCE_MAGIC);
	if (i->status != INSTANCE_RUNNING)
		return -ESTALE;
	if (timed_out) {
		if (i->definition->timeout_us == 0)
			return -ESTALE;
	} else if (e->kind != EVENT_CANCEL) {
		b = branch_wanted(i, e->activation);
		if (b == NULL || !event_fits(b, e))
			return -ESTALE;
	}

	event_begin(i, e->at_us, out);
	if (e->kind == EVENT_CANCEL) {
		failure_set(i, e->error, e->cause);
		instance_finish(i, INSTANCE_CANCELLED);
	} else if (timed_out) {
		failure_text(i, "States.Timeout",
			     "the workflow ran longer than its "
			     "TimeoutSeconds");
		instance_finish(i, INSTANCE_TIMED_OUT);
	} else if (e->kind == EVENT_PENDING) {
		pending_begin(i, b, e);
	} else if (e->kind == EVENT_HEARTBEAT) {
		/* While the action runs its worker is asked for them. */
		if (b->phase == BRANCH_PENDING)
			pending_beat(i, b);
	} else {
		/* Of a Task: it is wanted no more, whatever follows, unless
		 * Retry wants it again under the same id. */
		instance_run(i, e->kind == EVENT_FIRED ? timer_fired(i, b)
						       : action_ended(i, b, e));
	}
	i->out = NULL;
	return 0;
}

/* ---- looking ---- */

void
instance_wanted(const struct instance *i, struct effects *out)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	if (i->status != INSTANCE_RUNNING) {
		effects_add(out, EFFECT_END, ACTIVATION_WORKFLOW);
		return;
	}
	if (i->definition->timeout_us != 0)
		effects_add(out, EFFECT_TIMER, ACTIVATION_WORKFLOW);
	for (struct branch *b = i->wanted_first; b != NULL; b = b->wanted_next)
		effects_add_attempt(
		    out,
		    b->phase == BRANCH_ACTION    ? EFFECT_ACTION
		    : b->phase == BRANCH_PENDING ? EFFECT_PENDING
						 : EFFECT_TIMER,
		    b->activation, b->attempt);
}

enum instance_status
instance_status(const struct instance *i)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	return i->status;
}

const struct uuid *
instance_id(const struct instance *i)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	return &i->id;
}

struct definition *
instance_definition(const struct instance *i)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	return i->definition;
}

bool
instance_action(const struct instance *i, uint32_t activation,
		struct action_view *out)
{
	const struct branch *b;

	CHECK_OBJ(i, INSTANCE_MAGIC);
	b = branch_wanted(i, activation);
	if (b == NULL || b->phase != BRANCH_ACTION)
		return false;
	*out = (struct action_view){
		.state_no = b->state->no,
		.attempt = b->attempt,
		.index = b->index,
		.has_index = b->parent != NULL,
		.not_before_us = b->due_us,
		.timeout_us = b->timeout_us,
		.heartbeat_us = b->heartbeat_us,
		.waits = b->state->task.waits,
		.action = b->state->task.action,
		.input = b->input,
	};
	return true;
}

bool
instance_place(const struct instance *i, uint32_t activation,
	       struct place_view *out)
{
	const struct branch *b;

	CHECK_OBJ(i, INSTANCE_MAGIC);
	if (activation == ACTIVATION_WORKFLOW)
		return false;
	b = branch_wanted(i, activation);
	if (b == NULL)
		return false;
	*out = (struct place_view){ .state_no = b->state->no,
		                    .index = b->index,
		                    .has_index = b->parent != NULL };
	return true;
}

bool
instance_timer(const struct instance *i, uint32_t activation,
	       int64_t *due_us_out)
{
	const struct branch *b;

	CHECK_OBJ(i, INSTANCE_MAGIC);
	if (activation == ACTIVATION_WORKFLOW) {
		if (i->status != INSTANCE_RUNNING ||
		    i->definition->timeout_us == 0)
			return false;
		*due_us_out =
		    time_add(i->started_us, i->definition->timeout_us);
		return true;
	}
	b = branch_wanted(i, activation);
	if (b == NULL ||
	    (b->phase != BRANCH_TIMER && b->phase != BRANCH_DELAY))
		return false;
	*due_us_out = b->due_us;
	return true;
}

void
instance_end(const struct instance *i, struct end_view *out)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	ASSERT(i->status != INSTANCE_RUNNING);
	*out = (struct end_view){ .status = i->status };
	if (i->status == INSTANCE_SUCCEEDED) {
		out->output = i->output;
	} else {
		out->error = buf_slice(&i->failure.name);
		out->cause = buf_slice(&i->failure.cause);
	}
}

void
instance_set_trace(struct instance *i, instance_trace_cb *cb, void *arg)
{
	CHECK_OBJ(i, INSTANCE_MAGIC);
	i->trace = cb;
	i->trace_arg = arg;
}

size_t
instance_bytes(const struct instance *i)
{
	size_t bytes;

	CHECK_OBJ(i, INSTANCE_MAGIC);
	bytes = i->bytes + i->held + i->input->s.len;
	if (i->output != NULL)
		bytes += i->output->s.len;
	if (i->buckets != i->buckets_own)
		bytes += i->bucket_count * sizeof(struct branch *);
	return bytes;
}
