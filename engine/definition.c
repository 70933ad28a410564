/*
 * definition - the life of a definition, and what others may know of it. The
 * parser is in definition_parse.c and its neighbours.
 */
#include "engine/definition.h"

#include <stdlib.h>

#include "engine/definition_parts.h"
#include "engine/definition_parser.h"

static const char *const state_type_names[STATE_TYPES] = {
	[STATE_TASK] = "Task",         [STATE_PASS] = "Pass",
	[STATE_CHOICE] = "Choice",     [STATE_WAIT] = "Wait",
	[STATE_SUCCEED] = "Succeed",   [STATE_FAIL] = "Fail",
	[STATE_PARALLEL] = "Parallel", [STATE_MAP] = "Map",
};

const char *
state_type_name(enum state_type type)
{
	ASSERT(type < STATE_TYPES);
	return state_type_names[type];
}

struct definition *
definition_create(void)
{
	struct definition *d = mem_zalloc(sizeof(*d));

	d->magic = DEFINITION_MAGIC;
	d->refs = 1;
	d->arena = arena_create(DEFINITION_ARENA_BYTES);
	return d;
}

struct definition *
definition_ref(struct definition *d)
{
	CHECK_OBJ(d, DEFINITION_MAGIC);
	d->refs++;
	return d;
}

static void
text_field_fini(struct text_field *f)
{
	path_destroy(&f->path);
	template_destroy(&f->template);
}

/* What does not lie in the arena. */
static void
state_fini(struct state *s)
{
	path_destroy(&s->input_path.path);
	path_destroy(&s->result_path.path);
	path_destroy(&s->output_path.path);
	template_destroy(&s->parameters);
	template_destroy(&s->result_selector);
	for (uint32_t n = 0; n < s->catcher_count; n++)
		path_destroy(&s->catchers[n].result_path.path);

	switch (s->type) {
	case STATE_TASK:
		path_destroy(&s->task.timeout.path);
		path_destroy(&s->task.heartbeat.path);
		break;
	case STATE_PASS:
		value_unref(&s->pass.result);
		break;
	case STATE_CHOICE:
		for (uint32_t n = 0; n < s->choice.count; n++)
			choice_destroy(&s->choice.rules[n].when);
		break;
	case STATE_WAIT:
		path_destroy(&s->wait.seconds.path);
		path_destroy(&s->wait.at_path);
		break;
	case STATE_FAIL:
		text_field_fini(&s->fail.error);
		text_field_fini(&s->fail.cause);
		break;
	case STATE_MAP:
		path_destroy(&s->map.items_path);
		path_destroy(&s->map.concurrency.path);
		path_destroy(&s->map.tolerated_count.path);
		path_destroy(&s->map.tolerated_percent.path);
		break;
	case STATE_SUCCEED:
	case STATE_PARALLEL:
	case STATE_TYPES:
		break;
	}
}

void
definition_unref(struct definition **dp)
{
	struct definition *d = *dp;

	if (d == NULL)
		return;
	*dp = NULL;
	CHECK_OBJ(d, DEFINITION_MAGIC);
	if (--d->refs > 0)
		return;
	for (uint32_t n = 0; n < d->state_count; n++)
		state_fini(d->states[n]);
	arena_destroy(&d->arena);
	free(d->states);
	d->magic = 0;
	free(d);
}

uint32_t
definition_state_count(const struct definition *d)
{
	CHECK_OBJ(d, DEFINITION_MAGIC);
	return d->state_count;
}

struct slice
definition_state_name(const struct definition *d, uint32_t no)
{
	CHECK_OBJ(d, DEFINITION_MAGIC);
	return definition_state(d, no)->name;
}

const char *
definition_state_type(const struct definition *d, uint32_t no)
{
	CHECK_OBJ(d, DEFINITION_MAGIC);
	return state_type_name(definition_state(d, no)->type);
}

struct slice
definition_state_action(const struct definition *d, uint32_t no)
{
	CHECK_OBJ(d, DEFINITION_MAGIC);

	const struct state *s = definition_state(d, no);

	return s->type == STATE_TASK ? s->task.action : SLICE_NONE;
}

struct slice
definition_state_resource(const struct definition *d, uint32_t no)
{
	CHECK_OBJ(d, DEFINITION_MAGIC);

	const struct state *s = definition_state(d, no);

	return s->type == STATE_TASK ? s->task.resource : SLICE_NONE;
}
