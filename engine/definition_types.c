/*
 * definition_types - what each type of state has of its own: its action, its
 * rules, its time, its branches.
 */
#include "engine/definition_parser.h"

#include <string.h>

#include "engine/choice.h"
#include "engine/timestamp.h"

/* Next or End, exactly one of them. */
static void
transition_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct slice name;
	bool end = false;
	bool has_end = fields_have(fs, FIELD_END);

	if (has_end && !field_bool(p, fs, FIELD_END, &end)) {
		p->broken = true;
		return;
	}
	if (fields_have(fs, FIELD_NEXT)) {
		if (end)
			field_error(p, fs, FIELD_END,
				    "there is Next already; a state has one "
				    "of Next and \"End\": true");
		if (field_string(p, fs, FIELD_NEXT, &name))
			target_add(p, "Next",
				   parser_line(p, fs->at[FIELD_NEXT]), name,
				   s->machine, &s->next);
		else
			p->broken = true;
	} else if (!end) {
		field_error(p, fs, has_end ? FIELD_END : FIELD_NEXT,
			    "a state needs Next or \"End\": true");
		p->broken = true;
	}
}

/*
 * The action of an ARN is its last part, so that definitions written for
 * other interpreters run unchanged.
 */
static struct slice
resource_action(struct slice resource)
{
	if (resource.len < 4 || memcmp(resource.data, "arn:", 4) != 0)
		return resource;

	size_t at = resource.len;

	while (at > 0 && resource.data[at - 1] != ':' &&
	       resource.data[at - 1] != '/')
		at--;
	return (struct slice){ resource.data + at, resource.len - at };
}

/* The suffix says that the action only begins what somebody else finishes. */
static bool
waits_for_token(struct slice *action)
{
	static const char suffix[] = ".waitForTaskToken";
	const size_t len = sizeof(suffix) - 1;

	if (action->len < len ||
	    memcmp(action->data + action->len - len, suffix, len) != 0)
		return false;
	action->len -= len;
	return true;
}

static void
task_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct slice resource;
	const struct number_field *timeout = &s->task.timeout;
	const struct number_field *heartbeat = &s->task.heartbeat;

	if (!fields_have(fs, FIELD_RESOURCE)) {
		field_error(p, fs, FIELD_RESOURCE,
			    "is missing: the name of the action to call");
	} else if (field_string(p, fs, FIELD_RESOURCE, &resource)) {
		s->task.resource = parser_text(p, resource);
		s->task.action = resource_action(s->task.resource);
		s->task.waits = waits_for_token(&s->task.action);
		if (s->task.action.len == 0)
			field_error(p, fs, FIELD_RESOURCE, "names no action");
	}
	field_number(p, fs, FIELD_TIMEOUT_SECONDS, FIELD_TIMEOUT_SECONDS_PATH,
		     1, SECONDS_MAX, &s->task.timeout);
	field_number(p, fs, FIELD_HEARTBEAT_SECONDS,
		     FIELD_HEARTBEAT_SECONDS_PATH, 1, SECONDS_MAX,
		     &s->task.heartbeat);
	if (timeout->given && timeout->path == NULL && heartbeat->given &&
	    heartbeat->path == NULL && heartbeat->number >= timeout->number)
		field_error(p, fs, FIELD_HEARTBEAT_SECONDS,
			    "must be less than TimeoutSeconds");
}

static void
pass_read(struct parser *p, const struct fields *fs, struct state *s)
{
	if (!fields_have(fs, FIELD_RESULT))
		return;
	/* It came from JSON: nothing else can be wrong with it. */
	if (value_check(fs->at[FIELD_RESULT], VALUE_DEPTH_MAX, NULL) != 0)
		field_error(p, fs, FIELD_RESULT,
			    "is nested deeper than %u levels",
			    (unsigned)VALUE_DEPTH_MAX);
	else
		s->pass.result = value_create(fs->at[FIELD_RESULT]);
}

static void
rule_read(struct parser *p, const struct fields *fs, struct slice object,
	  const struct state *s, struct choice_rule *out)
{
	struct slice part;
	struct error err;
	size_t wrong = 0;

	out->next = STATE_NONE;
	if (value_type(object) != VALUE_MAP) {
		field_error(p, fs, FIELD_CHOICES, "must be a list of objects");
		p->broken = true;
		return;
	}
	if (!value_get(object, SLICE_LITERAL("Next"), &part)) {
		parser_error(p, "Choices", parser_line(p, object),
			     "the rule has no Next");
		p->broken = true;
	} else if (value_type(part) != VALUE_STR) {
		parser_error(p, "Choices", parser_line(p, part),
			     "Next must be a string");
		p->broken = true;
	} else {
		target_add(p, "Choices", parser_line(p, part),
			   value_item(part).bytes, s->machine, &out->next);
	}
	if (value_get(object, SLICE_LITERAL("Assign"), &part))
		parser_error(p, "Assign", parser_line(p, part),
			     "assigns variables, which are not supported yet");
	if (value_get(object, SLICE_LITERAL("Output"), &part) ||
	    value_get(object, SLICE_LITERAL("Condition"), &part)) {
		parser_error(p, "Choices", parser_line(p, part),
			     "Condition and Output belong to QueryLanguage "
			     "JSONata, which is not supported yet");
		return;
	}

	error_clear(&err);
	out->when = choice_compile(object, &wrong, &err);
	if (out->when == NULL)
		parser_error(p, err.field[0] != '\0' ? err.field : "Choices",
			     parser_line(p, slice_behind(object, wrong)), "%s",
			     err.message);
}

static void
choice_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct slice name;

	if (field_string(p, fs, FIELD_DEFAULT, &name))
		target_add(p, "Default", parser_line(p, fs->at[FIELD_DEFAULT]),
			   name, s->machine, &s->next);
	else if (fields_have(fs, FIELD_DEFAULT))
		p->broken = true;

	if (!fields_have(fs, FIELD_CHOICES) ||
	    value_type(fs->at[FIELD_CHOICES]) != VALUE_ARRAY ||
	    value_count(fs->at[FIELD_CHOICES]) == 0) {
		field_error(p, fs, FIELD_CHOICES,
			    "must be a list of rules, not empty");
		p->broken = true;
		return;
	}

	struct cursor c = cursor_of(fs->at[FIELD_CHOICES]);
	uint32_t count = cursor_next(&c).count;

	s->choice.rules =
	    arena_zalloc(p->d->arena, count * sizeof(*s->choice.rules));
	s->choice.count = count;
	for (uint32_t n = 0; n < count; n++)
		rule_read(p, fs, cursor_value(&c), s, &s->choice.rules[n]);
}

static void
wait_read(struct parser *p, const struct fields *fs, struct state *s)
{
	static const enum field forms[] = { FIELD_SECONDS, FIELD_SECONDS_PATH,
					    FIELD_TIMESTAMP,
					    FIELD_TIMESTAMP_PATH };
	uint32_t given = 0;
	struct slice text;

	for (size_t n = 0; n < sizeof(forms) / sizeof(forms[0]); n++)
		given += fields_have(fs, forms[n]);
	if (given != 1) {
		parser_error(p, "", parser_line(p, fs->object),
			     "a Wait state needs exactly one of Seconds, "
			     "SecondsPath, Timestamp and TimestampPath");
		return;
	}
	field_number(p, fs, FIELD_SECONDS, FIELD_SECONDS_PATH, 0, SECONDS_MAX,
		     &s->wait.seconds);
	s->wait.absolute = fields_have(fs, FIELD_TIMESTAMP) ||
			   fields_have(fs, FIELD_TIMESTAMP_PATH);
	field_path(p, fs, FIELD_TIMESTAMP_PATH, PATH_REFERENCE,
		   &s->wait.at_path);
	if (field_string(p, fs, FIELD_TIMESTAMP, &text) &&
	    timestamp_parse(text, &s->wait.at_us) != 0)
		field_error(p, fs, FIELD_TIMESTAMP,
			    "must be a date like \"2026-01-14T12:00:00Z\"");
}

static void
parallel_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct fields inner;

	if (!fields_have(fs, FIELD_BRANCHES) ||
	    value_type(fs->at[FIELD_BRANCHES]) != VALUE_ARRAY ||
	    value_count(fs->at[FIELD_BRANCHES]) == 0) {
		field_error(p, fs, FIELD_BRANCHES,
			    "must be a list of branches, not empty");
		return;
	}

	struct cursor c = cursor_of(fs->at[FIELD_BRANCHES]);
	uint32_t count = cursor_next(&c).count;

	s->parallel.starts =
	    arena_zalloc(p->d->arena, count * sizeof(*s->parallel.starts));
	s->parallel.count = count;
	for (uint32_t n = 0; n < count; n++) {
		struct slice object = cursor_value(&c);

		p->state = s;
		if (value_type(object) != VALUE_MAP) {
			field_error(p, fs, FIELD_BRANCHES,
				    "must be a list of objects");
			return;
		}
		fields_read(p, object, OWNER_BRANCH, &inner);
		machine_read(p, &inner, s, &s->parallel.starts[n]);
	}
}

static void
processor_config_read(struct parser *p, const struct fields *fs)
{
	struct fields inner;
	struct slice text;

	if (!fields_have(fs, FIELD_PROCESSOR_CONFIG))
		return;
	if (value_type(fs->at[FIELD_PROCESSOR_CONFIG]) != VALUE_MAP) {
		field_error(p, fs, FIELD_PROCESSOR_CONFIG, "must be an object");
		return;
	}
	fields_read(p, fs->at[FIELD_PROCESSOR_CONFIG], OWNER_PROCESSOR_CONFIG,
		    &inner);
	if (!field_string(p, &inner, FIELD_MODE, &text) ||
	    slice_is(text, "INLINE"))
		return;
	if (slice_is(text, "DISTRIBUTED"))
		field_error(p, &inner, FIELD_MODE,
			    "DISTRIBUTED is not supported, only INLINE");
	else
		field_error(p, &inner, FIELD_MODE, "must be \"INLINE\"");
}

/* The fields of a Map that has two names: the new one, or the old. */
static enum field
either(struct parser *p, const struct fields *fs, enum field now,
       enum field old)
{
	if (fields_have(fs, now) && fields_have(fs, old))
		field_error(p, fs, old,
			    "is the old name of %s, which is "
			    "there too",
			    field_name(now));
	return fields_have(fs, now) || !fields_have(fs, old) ? now : old;
}

/* Of what may come from a path, only this may have a fraction. */
static void
percent_read(struct parser *p, const struct fields *fs, struct state *s)
{
	enum field f = FIELD_TOLERATED_PERCENT;
	enum field path = FIELD_TOLERATED_PERCENT_PATH;
	struct item item;
	double share;

	if (!fields_have(fs, f) || fields_have(fs, path)) {
		field_number(p, fs, f, path, 0, 100, &s->map.tolerated_percent);
		return;
	}
	item = value_item(fs->at[f]);
	share = item.type == VALUE_INT ? (double)item.i :
	    item.type == VALUE_DOUBLE ? item.d : -1;
	if (!(share >= 0 && share <= 100))
		field_error(p, fs, f, "must be a number from 0 to 100");
	s->map.tolerated_percent.given = true;
	s->map.tolerated_share = share;
}

static void
map_read(struct parser *p, const struct fields *fs, struct state *s)
{
	enum field body = either(p, fs, FIELD_ITEM_PROCESSOR, FIELD_ITERATOR);
	enum field selector =
	    either(p, fs, FIELD_ITEM_SELECTOR, FIELD_PARAMETERS);
	struct fields inner;

	field_template(p, fs, selector, &s->parameters);
	s->selector_context = field_context(fs, selector);
	if (fields_have(fs, FIELD_ITEMS_PATH) &&
	    !value_is_str(fs->at[FIELD_ITEMS_PATH], "$"))
		field_path(p, fs, FIELD_ITEMS_PATH, PATH_REFERENCE,
			   &s->map.items_path);
	field_number(p, fs, FIELD_MAX_CONCURRENCY, FIELD_MAX_CONCURRENCY_PATH,
		     0, UINT32_MAX, &s->map.concurrency);
	field_number(p, fs, FIELD_TOLERATED_COUNT, FIELD_TOLERATED_COUNT_PATH,
		     0, UINT32_MAX, &s->map.tolerated_count);
	percent_read(p, fs, s);
	if (!fields_have(fs, body)) {
		field_error(p, fs, body, "is missing");
		return;
	}
	if (value_type(fs->at[body]) != VALUE_MAP) {
		field_error(p, fs, body, "must be an object");
		return;
	}
	fields_read(p, fs->at[body], OWNER_PROCESSOR, &inner);
	processor_config_read(p, &inner);
	machine_read(p, &inner, s, &s->map.start);
}

static void
fail_read(struct parser *p, const struct fields *fs, struct state *s)
{
	field_text(p, fs, FIELD_ERROR, FIELD_ERROR_PATH, &s->fail.error);
	field_text(p, fs, FIELD_CAUSE, FIELD_CAUSE_PATH, &s->fail.cause);
}

void
state_type_read(struct parser *p, const struct fields *fs, struct state *s)
{
	switch (s->type) {
	case STATE_TASK:
		transition_read(p, fs, s);
		task_read(p, fs, s);
		break;
	case STATE_PASS:
		transition_read(p, fs, s);
		pass_read(p, fs, s);
		break;
	case STATE_CHOICE:
		choice_read(p, fs, s);
		break;
	case STATE_WAIT:
		transition_read(p, fs, s);
		wait_read(p, fs, s);
		break;
	case STATE_FAIL:
		fail_read(p, fs, s);
		break;
	case STATE_PARALLEL:
		transition_read(p, fs, s);
		parallel_read(p, fs, s);
		break;
	case STATE_MAP:
		transition_read(p, fs, s);
		map_read(p, fs, s);
		break;
	case STATE_SUCCEED:
	case STATE_TYPES:
		break;
	}
}
