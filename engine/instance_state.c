/*
 * instance_state - a branch enters a state, gets its result, leaves it, or
 * fails in it.
 *
 * Each step returns the branch that goes on at once, or NULL when it waits,
 * is gone, or the instance ended; instance_run() is the loop around them. A
 * failure moves up the tree in the loop of state_failed(), which only Map and
 * Parallel that tolerate it call again, one level higher each time.
 */
#include "engine/instance_parts.h"
#include "engine/timestamp.h"

static void
trace(struct instance *i, const struct branch *b)
{
	/* A retry is no entry. */
	if (i->trace != NULL && b->attempt == 1)
		i->trace(i->trace_arg, b->state->no, b->activation);
}

/* ---- leaving ---- */

/* Parts of something much larger would keep all of it. */
static struct value *
compact(struct value *v)
{
	struct value *copy;

	if (v->whole == NULL || v->s.len > v->whole->s.len / 4)
		return v;
	copy = value_create(v->s);
	value_unref(&v);
	return copy;
}

/* On to the state of that number with output (taken) as its input. */
static struct branch *
branch_go(struct instance *i, struct branch *b, uint32_t next,
	  struct value *output)
{
	branch_leave(i, b);
	output = compact(output);
	if (next != STATE_NONE) {
		b->state = definition_state(i->definition, next);
		branch_keep(i, &b->raw, output);
		return b;
	}
	if (b->parent != NULL)
		return spread_branch_ended(i, b, output);
	i->output = output;
	instance_finish(i, INSTANCE_SUCCEEDED);
	return NULL;
}

/* OutputPath, and on to next. */
static struct branch *
output_to(struct instance *i, struct branch *b, uint32_t next,
	  struct value *output)
{
	const struct path_field *field = &b->state->output_path;
	struct value *selected;

	if (field->discard) {
		value_unref(&output);
		output = value_create(SLICE_LITERAL("\x80"));
	} else if (field->path != NULL) {
		selected =
		    state_path(i, b, field->path, b->state->result_context,
			       "OutputPath", output);
		value_unref(&output);
		if (selected == NULL)
			return state_failed(i, b);
		output = selected;
	}
	if (!value_fits(i, output)) {
		value_unref(&output);
		return state_failed(i, b);
	}
	return branch_go(i, b, next, output);
}

struct branch *
state_output(struct instance *i, struct branch *b, struct value *output)
{
	return output_to(i, b, b->state->next, output);
}

/* result placed in raw (both borrowed) as ResultPath says; NULL: failed. */
static struct value *
result_placed(struct instance *i, const struct path_field *field,
	      struct value *raw, struct value *result)
{
	struct error err;
	struct value *v;

	if (field->discard)
		return value_ref(raw);
	if (field->path == NULL)
		return value_ref(result);
	error_clear(&err);
	v = path_set(field->path, raw, result, &err);
	if (v == NULL)
		failure_text(i, "States.ResultPathMatchFailure", err.message);
	else if (!value_made(i, v))
		value_unref(&v);
	return v;
}

struct branch *
state_result(struct instance *i, struct branch *b, struct value *result)
{
	const struct state *s = b->state;
	struct value *output = NULL;

	if (!value_fits(i, result))
		goto out;
	if (s->result_selector != NULL) {
		struct value *selected = state_template(
		    i, b, s->result_selector, s->result_context, result);

		value_unref(&result);
		result = selected;
		if (result == NULL)
			goto out;
	}
	output = result_placed(i, &s->result_path, b->raw, result);
out:
	value_unref(&result);
	if (output == NULL)
		return state_failed(i, b);
	return state_output(i, b, output);
}

/* ---- failing ---- */

/* {"Error": …, "Cause": …} */
static struct value *
error_output(const struct instance *i)
{
	const struct failure *f = &i->failure;
	struct buf b = BUF_EMPTY;
	struct value *v;

	value_pack_map(&b, 2);
	value_pack_text(&b, "Error");
	value_pack_str(&b, f->name.data, f->name.len);
	value_pack_text(&b, "Cause");
	value_pack_str(&b, f->cause.data, f->cause.len);
	v = value_create(buf_slice(&b));
	buf_fini(&b);
	return v;
}

/*
 * Another attempt of the same action, under the same id. False with the
 * failure set when it cannot be: its input looks at $$.State.RetryCount or at
 * its token, and fails now.
 */
static bool
action_again(struct instance *i, struct branch *b, uint64_t delay_us)
{
	b->attempt++;
	if (b->state->entry_context & (CONTEXT_STATE | CONTEXT_TASK)) {
		struct value *selected = state_selected(i, b);
		struct value *input =
		    selected == NULL ? NULL : state_payload(i, b, selected);

		value_unref(&selected);
		if (input == NULL)
			return false;
		branch_keep(i, &b->input, input);
	}
	b->due_us = time_add(i->now_us, delay_us);
	effects_add_attempt(i->out, EFFECT_ACTION, b->activation, b->attempt);
	return true;
}

/* The whole state again, after a delay that is a timer of its own. */
static bool
enter_again(struct instance *i, struct branch *b, uint64_t delay_us)
{
	b->phase = BRANCH_DELAY;
	b->due_us = time_add(i->now_us, delay_us);
	if (!branch_want(i, b))
		return false;
	effects_add(i->out, EFFECT_TIMER, b->activation);
	return true;
}

/* True when Retry keeps the branch in its state. */
static bool
retried(struct instance *i, struct branch *b)
{
	uint64_t delay_us;

	if (i->failure.final || i->failure.poison || !retry_next(i, b, &delay_us))
		return false;
	return b->phase == BRANCH_ACTION ? action_again(i, b, delay_us)
					 : enter_again(i, b, delay_us);
}

/* Catch: true with *next and *output, or false with the failure set. */
static bool
caught(struct instance *i, struct branch *b, uint32_t *next,
       struct value **output)
{
	const struct catcher *c =
	    i->failure.final ? NULL : retry_catcher(i, b->state);
	struct value *result;

	if (c == NULL)
		return false;
	result = error_output(i);
	*output = result_placed(i, &c->result_path, b->raw, result);
	value_unref(&result);
	if (*output != NULL && !value_fits(i, *output))
		value_unref(output);
	*next = c->next;
	return *output != NULL;
}

struct branch *
state_failed(struct instance *i, struct branch *b)
{
	for (;;) {
		struct value *output;
		uint32_t next;
		struct branch *owner;

		if (retried(i, b))
			return NULL;
		if (caught(i, b, &next, &output))
			return branch_go(i, b, next, output);
		/* What just ended must not be abandoned with the others. */
		branch_leave(i, b);
		if (b->parent == NULL || i->failure.final) {
			instance_finish(i, INSTANCE_FAILED);
			return NULL;
		}
		if (spread_tolerates(i, b))
			return spread_branch_ended(i, b, error_output(i));
		owner = b->parent->owner;
		spread_abandon(i, b->parent);
		b = owner;
	}
}

/* ---- entering ---- */

/* Waits for the world: the branch is wanted under a new id. */
static struct branch *
want(struct instance *i, struct branch *b, enum branch_phase phase,
     enum effect_kind kind, struct value *input)
{
	b->phase = phase;
	branch_keep(i, &b->input, input);
	if (!branch_want(i, b)) {
		trace(i, b);
		return state_failed(i, b);
	}
	trace(i, b);
	effects_add_attempt(i->out, kind, b->activation, b->attempt);
	return NULL;
}

static struct branch *
task_enter(struct instance *i, struct branch *b, struct value *selected)
{
	const struct state *s = b->state;
	struct value *input = state_payload(i, b, selected);
	int64_t timeout = 0;
	int64_t heartbeat = 0;

	if (input == NULL)
		goto failed;
	if (!state_number(i, b, &s->task.timeout, "TimeoutSecondsPath",
			  selected, 1, SECONDS_MAX, &timeout) ||
	    !state_number(i, b, &s->task.heartbeat, "HeartbeatSecondsPath",
			  selected, 1, SECONDS_MAX, &heartbeat) ||
	    !value_fits(i, input))
		goto failed;
	b->timeout_us = (uint64_t)timeout * 1000000;
	b->heartbeat_us = (uint64_t)heartbeat * 1000000;
	b->due_us = 0;
	return want(i, b, BRANCH_ACTION, EFFECT_ACTION, input);
failed:
	value_unref(&input);
	trace(i, b);
	return state_failed(i, b);
}

/* When a Wait ends; false with the failure set. */
static bool
wait_due(struct instance *i, struct branch *b, struct value *selected,
	 int64_t *due_us)
{
	const struct state *s = b->state;
	int64_t seconds = 0;
	struct value *v;
	bool good;

	if (!s->wait.absolute) {
		if (!state_number(i, b, &s->wait.seconds, "SecondsPath",
				  selected, 0, SECONDS_MAX, &seconds))
			return false;
		*due_us = time_add(i->now_us, (uint64_t)seconds * 1000000);
		return true;
	}
	if (s->wait.at_path == NULL) {
		*due_us = s->wait.at_us;
		return true;
	}
	v = state_path(i, b, s->wait.at_path, s->entry_context, "TimestampPath",
		       selected);
	if (v == NULL)
		return false;
	good = value_type(v->s) == VALUE_STR &&
	       timestamp_parse(value_item(v->s).bytes, due_us) == 0;
	value_unref(&v);
	if (!good)
		failure_text(i, "States.Runtime",
			     "TimestampPath: must find a date like "
			     "\"2026-01-14T12:00:00Z\"");
	return good;
}

static struct branch *
wait_enter(struct instance *i, struct branch *b, struct value *selected)
{
	if (!wait_due(i, b, selected, &b->due_us)) {
		trace(i, b);
		return state_failed(i, b);
	}
	return want(i, b, BRANCH_TIMER, EFFECT_TIMER, value_ref(selected));
}

static struct branch *
pass_enter(struct instance *i, struct branch *b, struct value *selected)
{
	struct value *result = b->state->pass.result != NULL
				   ? value_ref(b->state->pass.result)
				   : state_payload(i, b, selected);

	if (result == NULL)
		return state_failed(i, b);
	return state_result(i, b, result);
}

static struct branch *
choice_enter(struct instance *i, struct branch *b, struct value *selected)
{
	const struct state *s = b->state;
	struct value *context = NULL;
	uint32_t next = s->next;
	struct error err;
	int holds = 0;

	error_clear(&err);
	for (uint32_t n = 0; n < s->choice.count && holds == 0; n++) {
		const struct choice_rule *rule = &s->choice.rules[n];

		if (context == NULL && choice_wants_context(rule->when))
			context = context_create(i, b, s->entry_context);
		holds = choice_holds(rule->when, selected, context, &err);
		if (holds > 0)
			next = rule->next;
	}
	value_unref(&context);
	if (holds < 0) {
		failure_at(i, "States.Runtime", err.field, err.message);
		return state_failed(i, b);
	}
	if (next == STATE_NONE) {
		failure_text(i, "States.NoChoiceMatched",
			     "no rule holds and there is no Default");
		return state_failed(i, b);
	}
	return output_to(i, b, next, value_ref(selected));
}

static struct branch *
parallel_enter(struct instance *i, struct branch *b, struct value *selected)
{
	struct value *input = state_payload(i, b, selected);
	struct branch *on;

	if (input == NULL)
		return state_failed(i, b);
	on = spread_enter(i, b, input);
	value_unref(&input);
	return on;
}

/* False with the failure set when the instance does not come to rest. */
static bool
entry_allowed(struct instance *i, struct branch *b)
{
	const char *why = NULL;

	if (b->hops_event != i->events) {
		b->hops_event = i->events;
		b->hops = 0;
	}
	if (++b->hops > HOPS_MAX)
		why = "more than 25,000 states were entered without a Task "
		      "or Wait between them";
	else if (++i->entries > ENTRIES_MAX)
		why = "one event led into more than 2,000,000 states";
	else if (i->made > MADE_BYTES_MAX)
		why = "one event made more than 1 GiB of values";
	else if (i->held > HELD_BYTES_MAX)
		why = "the instance holds more than 512 MiB of values";
	if (why == NULL)
		return true;
	failure_text(i, "States.Runtime", why);
	i->failure.final = true;
	return false;
}

static struct branch *
state_enter(struct instance *i, struct branch *b)
{
	const struct state *s = b->state;
	struct value *selected;
	struct branch *on = NULL;

	if (!entry_allowed(i, b))
		return state_failed(i, b);
	/* A retry of the whole state goes on counting. */
	if (b->attempt++ == 0)
		b->entered_us = i->now_us;
	if (s->type == STATE_FAIL) {
		trace(i, b);
		state_fail_text(i, b);
		return state_failed(i, b);
	}
	selected = state_selected(i, b);
	if (selected == NULL ||
	    (s->type != STATE_TASK && s->type != STATE_WAIT))
		trace(i, b);
	if (selected == NULL)
		return state_failed(i, b);
	switch (s->type) {
	case STATE_TASK:
		on = task_enter(i, b, selected);
		break;
	case STATE_PASS:
		on = pass_enter(i, b, selected);
		break;
	case STATE_CHOICE:
		on = choice_enter(i, b, selected);
		break;
	case STATE_WAIT:
		on = wait_enter(i, b, selected);
		break;
	case STATE_SUCCEED:
		on = state_output(i, b, value_ref(selected));
		break;
	case STATE_PARALLEL:
		on = parallel_enter(i, b, selected);
		break;
	case STATE_MAP:
		on = spread_enter(i, b, selected);
		break;
	case STATE_FAIL:
	case STATE_TYPES:
		ASSERT(false);
	}
	value_unref(&selected);
	return on;
}

static struct branch *
step(struct instance *i, struct branch *b)
{
	switch (b->phase) {
	case BRANCH_ENTERING:
		return state_enter(i, b);
	case BRANCH_JOINED:
		return spread_join(i, b);
	case BRANCH_ACTION:
	case BRANCH_PENDING:
	case BRANCH_TIMER:
	case BRANCH_DELAY:
	case BRANCH_SPREAD:
		break;
	}
	ASSERT(false);
}

void
instance_run(struct instance *i, struct branch *b)
{
	for (;;) {
		while (b != NULL)
			b = step(i, b);
		/* Innermost first: what has begun is finished or made to
		 * wait before more is begun, so that few branches are at
		 * work at a time. */
		if (i->work == NULL)
			return;
		if (spread_may_begin(i->work))
			b = spread_begin(i, i->work);
		else
			spread_rest(i, i->work);
	}
}
