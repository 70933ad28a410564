/*
 * instance_spread - Map and Parallel: beginning their branches, joining what
 * these gave, and dropping them all when one fails.
 */
#include <stdlib.h>

#include "engine/instance_parts.h"

/* ---- the list of spreads that may begin branches, innermost first ---- */

static void
work_add(struct instance *i, struct spread *s)
{
	if (s->at_work)
		return;
	s->at_work = true;
	s->work_prev = NULL;
	s->work_next = i->work;
	if (i->work != NULL)
		i->work->work_prev = s;
	i->work = s;
}

void
spread_rest(struct instance *i, struct spread *s)
{
	if (!s->at_work)
		return;
	s->at_work = false;
	if (s->work_prev != NULL)
		s->work_prev->work_next = s->work_next;
	else
		i->work = s->work_next;
	if (s->work_next != NULL)
		s->work_next->work_prev = s->work_prev;
}

bool
spread_may_begin(const struct spread *s)
{
	return s->begun < s->count && s->running < s->running_max;
}

/* ---- entering ---- */

static size_t
spread_size(uint32_t count)
{
	return sizeof(struct spread) + count * sizeof(struct value *);
}

static struct spread *
spread_create(struct instance *i, struct branch *owner, uint32_t count,
	      struct value *input)
{
	const struct state *state = owner->state;
	struct spread *s = mem_zalloc(spread_size(count));

	i->bytes += spread_size(count);
	s->owner = owner;
	s->state = state;
	s->count = count;
	s->running_max = count;
	/* A result that nothing looks at need not be kept. */
	s->keeps_outputs =
	    !state->result_path.discard || state->result_selector != NULL;
	branch_keep(i, &s->input, value_ref(input));
	owner->spread = s;
	owner->phase = BRANCH_SPREAD;
	return s;
}

static void
spread_free(struct instance *i, struct spread *s)
{
	ASSERT(s->first == NULL);
	spread_rest(i, s);
	for (uint32_t n = 0; n < s->count; n++)
		value_unref(&s->outputs[n]);
	i->held -= s->output_bytes;
	branch_keep(i, &s->input, NULL);
	branch_keep(i, &s->items, NULL);
	i->bytes -= spread_size(s->count);
	s->owner->spread = NULL;
	free(s);
}

/* How many items may fail without failing the Map. */
static bool
map_tolerance(struct instance *i, struct branch *b, struct value *input,
	      uint32_t count, struct spread *out)
{
	const struct state *state = b->state;
	int64_t failures = 0;
	int64_t percent = 0;
	double share = state->map.tolerated_share;

	if (!state_number(i, b, &state->map.tolerated_count,
			  "ToleratedFailureCountPath", input, 0, UINT32_MAX,
			  &failures) ||
	    !state_number(i, b, &state->map.tolerated_percent,
			  "ToleratedFailurePercentagePath", input, 0, 100,
			  &percent))
		return false;
	if (state->map.tolerated_percent.path != NULL)
		share = (double)percent;
	percent = (int64_t)((double)count * share / 100);
	if (!state->map.tolerated_count.given)
		failures = percent;
	else if (state->map.tolerated_percent.given && percent < failures)
		failures = percent;
	out->tolerant = state->map.tolerated_count.given ||
			state->map.tolerated_percent.given;
	out->failed_max = (uint32_t)failures;
	return true;
}

/* The list that a Map goes through; NULL with the failure set. */
static struct value *
map_items(struct instance *i, struct branch *b, struct value *input)
{
	const struct path *path = b->state->map.items_path;
	struct value *items =
	    path == NULL ? value_ref(input)
			 : state_path(i, b, path, b->state->entry_context,
				      "ItemsPath", input);

	if (items == NULL)
		return NULL;
	if (value_type(items->s) != VALUE_ARRAY) {
		failure_text(i, "States.Runtime",
			     "what a Map goes through must be a list");
		value_unref(&items);
	} else if (value_count(items->s) > MAP_ITEMS_MAX) {
		failure_text(i, "States.Runtime",
			     "a Map goes through at most 100,000 items");
		value_unref(&items);
	}
	return items;
}

static struct branch *
map_enter(struct instance *i, struct branch *b, struct value *input)
{
	struct spread settings = { .running_max = 0 };
	struct value *items = map_items(i, b, input);
	int64_t concurrency = 0;
	uint32_t count;
	struct spread *s;

	if (items == NULL)
		return state_failed(i, b);
	count = value_count(items->s);
	if (!state_number(i, b, &b->state->map.concurrency,
			  "MaxConcurrencyPath", input, 0, UINT32_MAX,
			  &concurrency) ||
	    !map_tolerance(i, b, input, count, &settings)) {
		value_unref(&items);
		return state_failed(i, b);
	}
	if (count == 0) {
		value_unref(&items);
		return state_result(i, b, value_create(SLICE_LITERAL("\x90")));
	}
	s = spread_create(i, b, count, input);
	s->tolerant = settings.tolerant;
	s->failed_max = settings.failed_max;
	if (concurrency > 0 && concurrency < count)
		s->running_max = (uint32_t)concurrency;
	s->rest = cursor_of(items->s);
	(void)cursor_next(&s->rest); /* the list's own header */
	branch_keep(i, &s->items, items);
	work_add(i, s);
	return NULL;
}

struct branch *
spread_enter(struct instance *i, struct branch *b, struct value *input)
{
	if (b->state->type == STATE_MAP)
		return map_enter(i, b, input);
	work_add(i, spread_create(i, b, b->state->parallel.count, input));
	return NULL;
}

/* ---- beginning branches ---- */

/* What the item's branch gets as input; NULL with the failure set. */
static struct value *
map_item(struct instance *i, struct spread *s, struct branch *b)
{
	struct slice part = cursor_value(&s->rest);
	struct value *item = value_part(s->items, part);
	const struct template *selector = s->state->parameters;

	if (i->definition->keeps_items)
		branch_keep(i, &b->item, value_ref(item));
	if (selector == NULL)
		return item;
	value_unref(&item);
	return state_template(i, b, selector, s->state->selector_context,
			      s->input);
}

struct branch *
spread_begin(struct instance *i, struct spread *s)
{
	struct branch *b = branch_create(i, s);
	struct value *raw;

	ASSERT(spread_may_begin(s));
	b->index = s->begun++;
	s->running++;
	if (s->state->type == STATE_PARALLEL) {
		b->state = definition_state(
		    i->definition, s->state->parallel.starts[b->index]);
		branch_keep(i, &b->raw, value_ref(s->input));
		return b;
	}

	/* While ItemSelector looks around, the branch is in the Map. */
	b->state = s->state;
	b->entered_us = s->owner->entered_us;
	b->attempt = s->owner->attempt;
	raw = map_item(i, s, b);
	if (raw == NULL) {
		struct branch *owner = s->owner;

		spread_abandon(i, s);
		return state_failed(i, owner);
	}
	b->attempt = 0;
	b->state = definition_state(i->definition, s->state->map.start);
	branch_keep(i, &b->raw, raw);
	return b;
}

/* ---- ending ---- */

struct branch *
spread_branch_ended(struct instance *i, struct branch *b, struct value *output)
{
	struct spread *s = b->parent;
	struct branch *owner = s->owner;

	if (s->keeps_outputs) {
		s->output_bytes += output->s.len;
		i->held += output->s.len;
		s->outputs[b->index] = output;
	} else {
		value_unref(&output);
	}
	branch_destroy(i, b);
	s->running--;
	/* Not one more item for a result that is too large already. */
	if (s->output_bytes > i->value_bytes_max) {
		failure_text(i, "States.DataLimitExceeded",
			     "the results of a Map or Parallel are larger "
			     "together than a value may be");
		spread_abandon(i, s);
		return state_failed(i, owner);
	}
	if (s->begun == s->count && s->running == 0) {
		owner->phase = BRANCH_JOINED;
		return owner;
	}
	if (spread_may_begin(s))
		work_add(i, s);
	return NULL;
}

struct branch *
spread_join(struct instance *i, struct branch *b)
{
	struct spread *s = b->spread;
	struct buf list = BUF_EMPTY;
	struct value *result;
	bool deep;

	if (!s->keeps_outputs) {
		spread_free(i, s);
		return state_result(i, b, value_null());
	}
	buf_reserve(&list, s->output_bytes + 5);
	value_pack_array(&list, s->count);
	for (uint32_t n = 0; n < s->count; n++)
		value_pack_raw(&list, s->outputs[n]->s);
	i->made += list.len;
	/* One level more than the outputs have. */
	deep = value_check(buf_slice(&list), VALUE_DEPTH_MAX, NULL) != 0;
	result = deep ? NULL : value_create(buf_slice(&list));
	buf_fini(&list);
	spread_free(i, s);
	if (result != NULL)
		return state_result(i, b, result);
	failure_text(i, "States.DataLimitExceeded",
		     "the results of a Map or Parallel are nested deeper than "
		     "32 levels");
	return state_failed(i, b);
}

bool
spread_tolerates(struct instance *i, struct branch *b)
{
	struct spread *s = b->parent;

	if (!s->tolerant || i->failure.final)
		return false;
	if (++s->failed <= s->failed_max)
		return true;
	failure_text(i, "States.ExceedToleratedFailureThreshold",
		     "more items of the Map failed than it tolerates");
	return false;
}

void
spread_abandon(struct instance *i, struct spread *s)
{
	const struct branch *top = s->owner;
	struct spread *at = s;

	for (;;) {
		struct branch *b = at->first;

		if (b != NULL && b->spread != NULL) {
			at = b->spread;
			continue;
		}
		if (b == NULL) { /* nothing left in it: drop its owner next */
			b = at->owner;
			spread_free(i, at);
			if (b == top)
				return;
			at = b->parent;
		}
		if (b->activation != 0)
			effects_add(i->out, EFFECT_ABANDON, b->activation);
		branch_destroy(i, b);
	}
}
