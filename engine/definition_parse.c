/*
 * definition_parse - from JSON text to a checked definition.
 *
 * The text becomes msgpack, with the line of every value; then machines and
 * states are walked in the order of the text. Recursion goes as deep as Map
 * and Parallel nest, which DEFINITION_DEPTH_MAX bounds to about 40.
 */
#include "engine/definition.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/definition_parser.h"
#include "engine/timestamp.h"

#define STATE_NAME_MAX 80 /* characters */

/* ---- reporting ---- */

uint32_t
parser_line(const struct parser *p, struct slice at)
{
	return json_places_line(&p->places,
	                        (size_t)(at.data - p->bytes.data));
}

/* A name as it may stand in a message: no control characters. */
static void
copy_name(char *to, size_t size, struct slice name)
{
	size_t len = name.len < size - 1 ? name.len : size - 1;

	/* Never cut inside a character. */
	if (len < name.len)
		while (len > 0 && (name.data[len] & 0xc0) == 0x80)
			len--;
	for (size_t n = 0; n < len; n++) {
		uint8_t c = name.data[n];

		to[n] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	to[len] = '\0';
}

static void
report_add(struct parser *p, const char *field, uint32_t line,
           const char *message)
{
	struct definition_report *r = p->report;

	if (r->count == DEFINITION_ERRORS_MAX)
		return;

	struct error *err = &r->errors[r->count++];

	error_clear(err);
	if (p->state != NULL)
		copy_name(err->state, sizeof(err->state), p->state->name);
	copy_name(err->field, sizeof(err->field), slice_of(field));
	err->line = line;
	error_set(err, "%s", message);
}

void
parser_error(struct parser *p, const char *field, uint32_t line,
             const char *format, ...)
{
	char text[sizeof(((struct error *)0)->message)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report_add(p, field, line, text);
}

void
field_error(struct parser *p, const struct fields *fs, enum field f,
            const char *format, ...)
{
	char text[sizeof(((struct error *)0)->message)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report_add(p, field_name(f),
	           parser_line(p, fields_have(fs, f) ? fs->at[f] : fs->object),
	           text);
}

struct slice
parser_text(struct parser *p, struct slice s)
{
	return (struct slice){
		(const uint8_t *)arena_strndup(p->d->arena, s.data, s.len),
		s.len,
	};
}

/* ---- states ---- */

static void machine_read(struct parser *p, const struct fields *fs,
                         const struct state *owner, uint32_t *start);

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
		if (s->task.action.len == 0)
			field_error(p, fs, FIELD_RESOURCE,
			            "names no action");
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
	struct error err;

	if (!fields_have(fs, FIELD_RESULT))
		return;
	error_clear(&err);
	if (value_check(fs->at[FIELD_RESULT], VALUE_DEPTH_MAX, &err) != 0)
		field_error(p, fs, FIELD_RESULT, "%s", err.message);
	else
		s->pass.result = value_create(fs->at[FIELD_RESULT]);
}

static void
rule_read(struct parser *p, const struct fields *fs, struct slice object,
          const struct state *s, struct choice_rule *out)
{
	struct slice part;
	struct error err;
	uint32_t line = parser_line(p, object);

	out->next = STATE_NONE;
	if (value_type(object) != VALUE_MAP) {
		field_error(p, fs, FIELD_CHOICES, "must be a list of objects");
		p->broken = true;
		return;
	}
	if (!value_get(object, SLICE_LITERAL("Next"), &part)) {
		parser_error(p, "Choices", line, "the rule has no Next");
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
	out->when = choice_compile(object, &err);
	if (out->when != NULL)
		return;
	if (err.field[0] != '\0' &&
	    value_get(object, slice_of(err.field), &part))
		line = parser_line(p, part);
	parser_error(p, err.field[0] != '\0' ? err.field : "Choices", line,
	             "%s", err.message);
}

static void
choice_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct slice name;

	if (field_string(p, fs, FIELD_DEFAULT, &name))
		target_add(p, "Default",
		           parser_line(p, fs->at[FIELD_DEFAULT]), name,
		           s->machine, &s->next);
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

	s->choice.rules = arena_zalloc(p->d->arena,
	                               count * sizeof(*s->choice.rules));
	s->choice.count = count;
	for (uint32_t n = 0; n < count; n++)
		rule_read(p, fs, cursor_value(&c), s, &s->choice.rules[n]);
}

static void
wait_read(struct parser *p, const struct fields *fs, struct state *s)
{
	static const enum field forms[] = { FIELD_SECONDS, FIELD_SECONDS_PATH,
		FIELD_TIMESTAMP, FIELD_TIMESTAMP_PATH };
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
		field_error(p, fs, FIELD_PROCESSOR_CONFIG,
		            "must be an object");
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
		field_error(p, fs, old, "is the old name of %s, which is "
		            "there too", field_name(now));
	return fields_have(fs, now) || !fields_have(fs, old) ? now : old;
}

static void
map_read(struct parser *p, const struct fields *fs, struct state *s)
{
	enum field body = either(p, fs, FIELD_ITEM_PROCESSOR, FIELD_ITERATOR);
	enum field selector = either(p, fs, FIELD_ITEM_SELECTOR,
	                             FIELD_PARAMETERS);
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
	field_number(p, fs, FIELD_TOLERATED_PERCENT,
	             FIELD_TOLERATED_PERCENT_PATH, 0, 100,
	             &s->map.tolerated_percent);
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

static const struct {
	enum state_type type;
	void (*read)(struct parser *p, const struct fields *fs,
	             struct state *s);
	bool transition; /* has Next or End */
} readers[STATE_TYPES] = {
	[STATE_TASK] = { STATE_TASK, task_read, true },
	[STATE_PASS] = { STATE_PASS, pass_read, true },
	[STATE_CHOICE] = { STATE_CHOICE, choice_read, false },
	[STATE_WAIT] = { STATE_WAIT, wait_read, true },
	[STATE_SUCCEED] = { STATE_SUCCEED, NULL, false },
	[STATE_FAIL] = { STATE_FAIL, NULL, false },
	[STATE_PARALLEL] = { STATE_PARALLEL, parallel_read, true },
	[STATE_MAP] = { STATE_MAP, map_read, true },
};

static void
common_fields_read(struct parser *p, const struct fields *fs, struct state *s)
{
	static const enum field paths[] = { FIELD_TIMEOUT_SECONDS_PATH,
		FIELD_HEARTBEAT_SECONDS_PATH, FIELD_SECONDS_PATH,
		FIELD_TIMESTAMP_PATH, FIELD_ERROR_PATH, FIELD_CAUSE_PATH,
		FIELD_ITEMS_PATH, FIELD_MAX_CONCURRENCY_PATH,
		FIELD_TOLERATED_COUNT_PATH, FIELD_TOLERATED_PERCENT_PATH,
		FIELD_CHOICES, FIELD_INPUT_PATH };
	unsigned context = 0;

	field_path_or_null(p, fs, FIELD_INPUT_PATH, PATH_ANY, &s->input_path);
	field_path_or_null(p, fs, FIELD_OUTPUT_PATH, PATH_ANY,
	                   &s->output_path);
	field_path_or_null(p, fs, FIELD_RESULT_PATH, PATH_REFERENCE,
	                   &s->result_path);
	field_template(p, fs, FIELD_RESULT_SELECTOR, &s->result_selector);
	for (size_t n = 0; n < sizeof(paths) / sizeof(paths[0]); n++)
		context |= field_context(fs, paths[n]);
	if (s->type != STATE_MAP) { /* there it is the old ItemSelector */
		field_template(p, fs, FIELD_PARAMETERS, &s->parameters);
		context |= field_context(fs, FIELD_PARAMETERS);
	}
	s->entry_context = (uint8_t)context;
	s->result_context = field_context(fs, FIELD_RESULT_SELECTOR) |
	    field_context(fs, FIELD_OUTPUT_PATH);
}

/* Finds Type before the fields are judged by it. */
static bool
type_read(struct parser *p, struct slice object, enum state_type *out)
{
	struct slice type;

	if (!value_get(object, SLICE_LITERAL("Type"), &type)) {
		parser_error(p, "Type", parser_line(p, object), "is missing");
		return false;
	}
	for (unsigned t = 0; t < STATE_TYPES; t++) {
		if (value_is_str(type, state_type_name((enum state_type)t))) {
			*out = (enum state_type)t;
			return true;
		}
	}
	parser_error(p, "Type", parser_line(p, type),
	             "must be Task, Pass, Choice, Wait, Succeed, Fail, "
	             "Parallel or Map");
	return false;
}

static void
name_check(struct parser *p, struct slice name, uint32_t line)
{
	uint32_t characters = 0;
	bool control = false;

	for (size_t n = 0; n < name.len; n++) {
		uint8_t c = name.data[n];

		characters += (c & 0xc0) != 0x80;
		/* U+0080 to U+009F are C2 80 to C2 9F. */
		control |= c < 0x20 || c == 0x7f ||
		    (c == 0xc2 && n + 1 < name.len && name.data[n + 1] < 0xa0);
	}
	if (characters == 0)
		parser_error(p, "", line, "the name of a state is empty");
	if (characters > STATE_NAME_MAX)
		parser_error(p, "", line,
		             "the name has %u characters, %u is the most",
		             characters, (unsigned)STATE_NAME_MAX);
	if (control)
		parser_error(p, "", line,
		             "the name has a control character in it");
}

static struct state *
state_add(struct parser *p, struct slice name, uint32_t machine,
          uint32_t line)
{
	struct definition *d = p->d;
	struct state *s = arena_zalloc(d->arena, sizeof(*s));

	if (d->state_count == d->state_cap) {
		d->state_cap = d->state_cap == 0 ? 16 : d->state_cap * 2;
		d->states = mem_realloc(d->states,
		                        d->state_cap * sizeof(*d->states));
		p->lines = mem_realloc(p->lines,
		                       d->state_cap * sizeof(*p->lines));
	}
	s->type = STATE_SUCCEED; /* until it is known: nothing to release */
	s->no = d->state_count++;
	s->machine = machine;
	s->next = STATE_NONE;
	s->name = parser_text(p, name);
	d->states[s->no] = s;
	p->lines[s->no] = line;
	p->state = s;
	name_check(p, s->name, line);
	names_add(p, s);
	return s;
}

static void
state_read(struct parser *p, struct slice name, struct slice object,
           uint32_t machine)
{
	struct state *s = state_add(p, name, machine, parser_line(p, object));
	enum state_type type;
	struct fields fs;

	if (value_type(object) != VALUE_MAP) {
		parser_error(p, "", parser_line(p, object),
		             "a state must be an object");
		p->broken = true;
		return;
	}
	if (!type_read(p, object, &type)) {
		p->broken = true;
		return;
	}
	fields_read(p, object, type, &fs);
	s->type = type;
	common_fields_read(p, &fs, s);
	retriers_read(p, &fs, s);
	catchers_read(p, &fs, s);
	if (readers[type].transition)
		transition_read(p, &fs, s);
	if (type == STATE_FAIL) {
		field_text(p, &fs, FIELD_ERROR, FIELD_ERROR_PATH,
		           &s->fail.error);
		field_text(p, &fs, FIELD_CAUSE, FIELD_CAUSE_PATH,
		           &s->fail.cause);
	}
	if (readers[type].read != NULL)
		readers[type].read(p, &fs, s);
	if ((s->entry_context | s->selector_context | s->result_context) &
	    CONTEXT_ITEM)
		p->d->keeps_items = true;
}

/* ---- machines ---- */

static uint32_t
machine_add(struct parser *p, const struct state *owner,
            const uint32_t *start, uint32_t line)
{
	if (p->machine_count == p->machine_cap) {
		p->machine_cap = p->machine_cap == 0 ? 8 : p->machine_cap * 2;
		p->machines = mem_realloc(p->machines,
		    p->machine_cap * sizeof(*p->machines));
	}
	p->machines[p->machine_count] = (struct machine){
		.owner = owner,
		.start = start,
		.line = line,
	};
	return p->machine_count++;
}

/* StartAt and States of a definition, an ItemProcessor or a branch. */
static void
machine_read(struct parser *p, const struct fields *fs,
             const struct state *owner, uint32_t *start)
{
	uint32_t machine = machine_add(p, owner, start,
	                               parser_line(p, fs->object));
	struct slice name;

	p->state = owner;
	*start = STATE_NONE;
	if (field_string(p, fs, FIELD_START_AT, &name)) {
		target_add(p, "StartAt",
		           parser_line(p, fs->at[FIELD_START_AT]), name,
		           machine, start);
	} else {
		if (!fields_have(fs, FIELD_START_AT))
			field_error(p, fs, FIELD_START_AT, "is missing");
		p->broken = true;
	}
	if (!fields_have(fs, FIELD_STATES) ||
	    value_type(fs->at[FIELD_STATES]) != VALUE_MAP ||
	    value_count(fs->at[FIELD_STATES]) == 0) {
		field_error(p, fs, FIELD_STATES,
		            "must be an object with at least one state");
		p->broken = true;
		return;
	}

	struct cursor c = cursor_of(fs->at[FIELD_STATES]);
	uint32_t count = cursor_next(&c).count;

	p->machines[machine].line = parser_line(p, fs->at[FIELD_STATES]);
	for (uint32_t n = 0; n < count && !p->full; n++) {
		struct slice key = cursor_next(&c).bytes;

		if (p->d->state_count == DEFINITION_STATES_MAX) {
			p->full = true;
			p->state = NULL;
			field_error(p, fs, FIELD_STATES,
			            "there are more than %u states",
			            (unsigned)DEFINITION_STATES_MAX);
			break;
		}
		state_read(p, key, cursor_value(&c), machine);
	}
	p->state = owner;
}

static void
definition_read(struct parser *p)
{
	struct fields fs;
	struct slice version;
	int64_t timeout;

	if (value_type(p->bytes) != VALUE_MAP) {
		parser_error(p, "", 1, "a definition must be a JSON object");
		return;
	}
	fields_read(p, p->bytes, OWNER_DEFINITION, &fs);
	if (field_string(p, &fs, FIELD_VERSION, &version) &&
	    !slice_is(version, "1.0"))
		field_error(p, &fs, FIELD_VERSION, "must be \"1.0\"");
	if (field_integer(p, &fs, FIELD_TIMEOUT_SECONDS, 1, SECONDS_MAX,
	                  &timeout))
		p->d->timeout_us = (uint64_t)timeout * 1000000;
	machine_read(p, &fs, NULL, &p->d->start);
	if (p->full)
		return;
	targets_resolve(p);
	if (!p->broken)
		machines_check(p);
}

struct definition *
definition_parse(const char *text, size_t len,
                 struct definition_report *report)
{
	struct parser p = { .report = report };
	struct buf bytes = BUF_EMPTY;

	report->count = 0;
	error_clear(&report->errors[0]);
	if (len > DEFINITION_BYTES_MAX) {
		parser_error(&p, "", 0,
		             "the definition has %zu bytes, %u is the most",
		             len, (unsigned)DEFINITION_BYTES_MAX);
		return NULL;
	}
	if (json_parse(text, len, DEFINITION_DEPTH_MAX, &bytes, &p.places,
	               &report->errors[0]) != 0) {
		report->count = 1;
		goto out;
	}
	p.d = definition_create();
	p.bytes = buf_slice(&bytes);
	fields_init(&p);
	definition_read(&p);
	if (report->count > 0)
		definition_unref(&p.d);
out:
	free(p.names);
	free(p.lines);
	free(p.machines);
	free(p.targets);
	json_places_fini(&p.places);
	buf_fini(&bytes);
	return p.d;
}
