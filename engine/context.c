/*
 * context - the context object, "$$", as far as an expression looks at it.
 */
#include <stdio.h>

#include "common/value.h"
#include "engine/instance_parts.h"
#include "engine/timestamp.h"

static void
pack_slice(struct buf *to, const char *key, struct slice text)
{
	value_pack_text(to, key);
	value_pack_str(to, text.data, text.len);
}

static void
pack_time(struct buf *to, const char *key, int64_t at_us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	timestamp_text(at_us, text);
	value_pack_text(to, key);
	value_pack_text(to, text);
}

static void
pack_execution(struct buf *to, const struct instance *i, uint8_t parts)
{
	char id[UUID_TEXT_SIZE];

	uuid_text(&i->id, id);
	value_pack_text(to, "Execution");
	value_pack_map(to, (parts & CONTEXT_INPUT) ? 4 : 3);
	pack_slice(to, "Id", slice_of(id));
	if (parts & CONTEXT_INPUT) {
		value_pack_text(to, "Input");
		value_pack_raw(to, i->input->s);
	}
	pack_slice(to, "Name", i->name.len > 0 ? i->name : slice_of(id));
	pack_time(to, "StartTime", i->started_us);
}

static void
pack_item(struct buf *to, const struct branch *item, uint8_t parts)
{
	bool value = (parts & CONTEXT_ITEM) && item->item != NULL;

	value_pack_text(to, "Map");
	value_pack_map(to, 1);
	value_pack_text(to, "Item");
	value_pack_map(to, value ? 2 : 1);
	value_pack_text(to, "Index");
	value_pack_uint(to, item->index);
	if (value) {
		value_pack_text(to, "Value");
		value_pack_raw(to, item->item->s);
	}
}

/* The attempt that is about to be wanted, or is: what a Task looks at before
 * it waits is of the id that it gets then. */
static void
pack_task(struct buf *to, const struct instance *i, const struct branch *b)
{
	char id[UUID_TEXT_SIZE];
	char token[UUID_TEXT_SIZE + 24];

	uuid_text(&i->id, id);
	snprintf(token, sizeof(token), "%s.%u.%u", id,
		 b->activation != 0 ? b->activation : i->activations + 1,
		 b->attempt);
	value_pack_text(to, "Task");
	value_pack_map(to, 1);
	pack_slice(to, "Token", slice_of(token));
}

/* The branch for an item of the innermost Map around b, or NULL. */
static const struct branch *
item_of(const struct branch *b)
{
	while (b->parent != NULL) {
		if (b->parent->state->type == STATE_MAP)
			return b;
		b = b->parent->owner;
	}
	return NULL;
}

struct value *
context_create(const struct instance *i, const struct branch *b, uint8_t parts)
{
	const struct branch *item =
	    (parts & (CONTEXT_INDEX | CONTEXT_ITEM)) ? item_of(b) : NULL;
	bool execution = parts & (CONTEXT_EXECUTION | CONTEXT_INPUT);
	bool task = (parts & CONTEXT_TASK) && b->state->type == STATE_TASK;
	struct buf to = BUF_EMPTY;
	struct value *v;

	value_pack_map(&to, (uint32_t)execution + (item != NULL) +
				!!(parts & CONTEXT_STATE) +
				!!(parts & CONTEXT_MACHINE) + task);
	if (execution)
		pack_execution(&to, i, parts);
	if (item != NULL)
		pack_item(&to, item, parts);
	if (parts & CONTEXT_STATE) {
		value_pack_text(&to, "State");
		value_pack_map(&to, 3);
		pack_time(&to, "EnteredTime", b->entered_us);
		pack_slice(&to, "Name", b->state->name);
		value_pack_text(&to, "RetryCount");
		value_pack_uint(&to, b->attempt > 0 ? b->attempt - 1 : 0);
	}
	if (parts & CONTEXT_MACHINE) {
		value_pack_text(&to, "StateMachine");
		value_pack_map(&to, 2);
		pack_slice(&to, "Id", i->workflow);
		pack_slice(&to, "Name", i->workflow);
	}
	if (task)
		pack_task(&to, i, b);
	v = value_create(buf_slice(&to));
	buf_fini(&to);
	return v;
}
