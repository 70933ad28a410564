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

#include "common/utf8.h"
#include "engine/definition_parser.h"

#define STATE_NAME_MAX 80 /* characters */

/* ---- reporting ---- */

uint32_t
parser_line(const struct parser *p, struct slice at)
{
	return json_places_line(&p->places, (size_t)(at.data - p->bytes.data));
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
	error_set(err, "%.*s", (int)utf8_cut(message, strlen(message)),
		  message);
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

static void
common_fields_read(struct parser *p, const struct fields *fs, struct state *s)
{
	static const enum field paths[] = { FIELD_TIMEOUT_SECONDS_PATH,
					    FIELD_HEARTBEAT_SECONDS_PATH,
					    FIELD_SECONDS_PATH,
					    FIELD_TIMESTAMP_PATH,
					    FIELD_ERROR_PATH,
					    FIELD_CAUSE_PATH,
					    FIELD_ITEMS_PATH,
					    FIELD_MAX_CONCURRENCY_PATH,
					    FIELD_TOLERATED_COUNT_PATH,
					    FIELD_TOLERATED_PERCENT_PATH,
					    FIELD_CHOICES,
					    FIELD_INPUT_PATH };
	unsigned context = 0;

	field_path_or_null(p, fs, FIELD_INPUT_PATH, PATH_ANY, &s->input_path);
	field_path_or_null(p, fs, FIELD_OUTPUT_PATH, PATH_ANY, &s->output_path);
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
	struct cursor c = cursor_of(object);
	struct slice type;

	/* It is the first field nearly always: spare a look at the others. */
	if (cursor_next(&c).count > 0 &&
	    slice_is(cursor_next(&c).bytes, "Type")) {
		type = cursor_value(&c);
	} else if (!value_get(object, SLICE_LITERAL("Type"), &type)) {
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
		control |=
		    c < 0x20 || c == 0x7f ||
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
state_add(struct parser *p, struct slice name, uint32_t machine, uint32_t line)
{
	struct definition *d = p->d;
	struct state *s = arena_zalloc(d->arena, sizeof(*s));

	if (d->state_count == d->state_cap) {
		d->state_cap = d->state_cap == 0 ? 16 : d->state_cap * 2;
		d->states =
		    mem_realloc(d->states, d->state_cap * sizeof(*d->states));
		p->lines =
		    mem_realloc(p->lines, d->state_cap * sizeof(*p->lines));
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
	state_type_read(p, &fs, s);
	if ((s->entry_context | s->selector_context | s->result_context) &
	    CONTEXT_ITEM)
		p->d->keeps_items = true;
}

/* ---- machines ---- */

static uint32_t
machine_add(struct parser *p, const struct state *owner, const uint32_t *start,
	    uint32_t line)
{
	if (p->machine_count == p->machine_cap) {
		p->machine_cap = p->machine_cap == 0 ? 8 : p->machine_cap * 2;
		p->machines = mem_realloc(
		    p->machines, p->machine_cap * sizeof(*p->machines));
	}
	p->machines[p->machine_count] = (struct machine){
		.owner = owner,
		.start = start,
		.line = line,
	};
	return p->machine_count++;
}

void
machine_read(struct parser *p, const struct fields *fs,
	     const struct state *owner, uint32_t *start)
{
	uint32_t machine =
	    machine_add(p, owner, start, parser_line(p, fs->object));
	struct slice name;

	p->state = owner;
	*start = STATE_NONE;
	if (field_string(p, fs, FIELD_START_AT, &name)) {
		target_add(p, "StartAt", parser_line(p, fs->at[FIELD_START_AT]),
			   name, machine, start);
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
definition_parse(const char *text, size_t len, struct definition_report *report)
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
