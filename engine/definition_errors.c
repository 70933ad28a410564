/*
 * definition_errors - the Retry and Catch of a state.
 */
#include "engine/definition_parser.h"

#include "engine/path.h"

/* Reads ErrorEquals; last: nothing follows the object in its list. */
static void
match_read(struct parser *p, const struct fields *fs, bool last,
	   struct error_match *out)
{
	if (!fields_have(fs, FIELD_ERROR_EQUALS)) {
		field_error(p, fs, FIELD_ERROR_EQUALS, "is missing");
		return;
	}

	struct slice list = fs->at[FIELD_ERROR_EQUALS];

	if (value_type(list) != VALUE_ARRAY || value_count(list) == 0) {
		field_error(p, fs, FIELD_ERROR_EQUALS,
			    "must be a list of error names, not empty");
		return;
	}

	struct cursor c = cursor_of(list);
	uint32_t count = cursor_next(&c).count;

	out->names = arena_alloc(p->d->arena, count * sizeof(*out->names));
	for (uint32_t n = 0; n < count; n++) {
		struct slice name = cursor_value(&c);

		if (value_type(name) != VALUE_STR) {
			field_error(p, fs, FIELD_ERROR_EQUALS,
				    "must hold strings only");
			return;
		}
		if (value_is_str(name, "States.ALL"))
			out->all = true;
		if (value_is_str(name, "States.TaskFailed"))
			out->task_failed = true;
		if (value_is_str(name, "States.Timeout"))
			out->timeout = true;
		out->names[out->count++] =
		    parser_text(p, value_item(name).bytes);
	}
	if (out->all && count > 1)
		field_error(p, fs, FIELD_ERROR_EQUALS,
			    "\"States.ALL\" must be alone in its list");
	if (out->all && !last)
		field_error(p, fs, FIELD_ERROR_EQUALS,
			    "\"States.ALL\" must be in the last entry, since "
			    "those after it are never looked at");
}

static void
retrier_read(struct parser *p, const struct fields *fs, bool last,
	     struct retrier *out)
{
	int64_t number;
	struct slice text;

	out->interval_us = 1000000;
	out->attempts_max = 3;
	out->backoff_rate = 2.0;
	match_read(p, fs, last, &out->match);
	if (field_integer(p, fs, FIELD_INTERVAL_SECONDS, 1, SECONDS_MAX,
			  &number))
		out->interval_us = (uint64_t)number * 1000000;
	if (field_integer(p, fs, FIELD_MAX_ATTEMPTS, 0, 99999999, &number))
		out->attempts_max = (uint32_t)number;
	if (field_integer(p, fs, FIELD_MAX_DELAY_SECONDS, 1, SECONDS_MAX,
			  &number))
		out->delay_max_us = (uint64_t)number * 1000000;
	if (fields_have(fs, FIELD_BACKOFF_RATE)) {
		struct item rate = value_item(fs->at[FIELD_BACKOFF_RATE]);

		if (rate.type == VALUE_INT)
			out->backoff_rate = (double)rate.i;
		else if (rate.type == VALUE_DOUBLE)
			out->backoff_rate = rate.d;
		else
			out->backoff_rate = 0;
		if (!(out->backoff_rate >= 1.0))
			field_error(p, fs, FIELD_BACKOFF_RATE,
				    "must be a number of 1.0 or more");
	}
	if (field_string(p, fs, FIELD_JITTER_STRATEGY, &text)) {
		out->jitter = slice_is(text, "FULL");
		if (!out->jitter && !slice_is(text, "NONE"))
			field_error(p, fs, FIELD_JITTER_STRATEGY,
				    "must be \"FULL\" or \"NONE\"");
	}
}

static void
catcher_read(struct parser *p, const struct fields *fs, bool last,
	     const struct state *s, struct catcher *out)
{
	struct slice next;

	out->next = STATE_NONE;
	match_read(p, fs, last, &out->match);
	field_path_or_null(p, fs, FIELD_RESULT_PATH, PATH_REFERENCE,
			   &out->result_path);
	if (field_string(p, fs, FIELD_NEXT, &next)) {
		target_add(p, "Catch.Next", parser_line(p, fs->at[FIELD_NEXT]),
			   next, s->machine, &out->next);
		return;
	}
	if (!fields_have(fs, FIELD_NEXT))
		field_error(p, fs, FIELD_NEXT, "is missing in the catcher");
	p->broken = true;
}

/* The array of objects under f; its length, 0 when there is none. */
static uint32_t
list_of_objects(struct parser *p, const struct fields *fs, enum field f,
		struct cursor *out)
{
	if (!fields_have(fs, f))
		return 0;
	if (value_type(fs->at[f]) != VALUE_ARRAY) {
		field_error(p, fs, f, "must be a list of objects");
		return 0;
	}
	*out = cursor_of(fs->at[f]);
	return cursor_next(out).count;
}

void
retriers_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct cursor c;
	uint32_t count = list_of_objects(p, fs, FIELD_RETRY, &c);
	struct fields inner;

	if (count == 0)
		return;
	s->retriers = arena_zalloc(p->d->arena, count * sizeof(*s->retriers));
	s->retrier_count = count;
	for (uint32_t n = 0; n < count; n++) {
		struct slice object = cursor_value(&c);

		if (value_type(object) != VALUE_MAP) {
			field_error(p, fs, FIELD_RETRY,
				    "must be a list of objects");
			return;
		}
		fields_read(p, object, OWNER_RETRIER, &inner);
		retrier_read(p, &inner, n + 1 == count, &s->retriers[n]);
	}
}

void
catchers_read(struct parser *p, const struct fields *fs, struct state *s)
{
	struct cursor c;
	uint32_t count = list_of_objects(p, fs, FIELD_CATCH, &c);
	struct fields inner;

	if (count == 0)
		return;
	s->catchers = arena_zalloc(p->d->arena, count * sizeof(*s->catchers));
	s->catcher_count = count;
	for (uint32_t n = 0; n < count; n++) {
		struct slice object = cursor_value(&c);

		if (value_type(object) != VALUE_MAP) {
			field_error(p, fs, FIELD_CATCH,
				    "must be a list of objects");
			return;
		}
		fields_read(p, object, OWNER_CATCHER, &inner);
		catcher_read(p, &inner, n + 1 == count, s, &s->catchers[n]);
	}
}
