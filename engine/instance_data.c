/*
 * instance_data - paths, templates and numbers on the way into and out of a
 * state: evaluated, measured, and turned into errors of the language.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/instance_parts.h"

void
failure_at(struct instance *i, const char *name, const char *what,
	   const char *message)
{
	char text[sizeof(((struct error *)0)->message) + 80];

	if (what[0] == '\0') {
		failure_text(i, name, message);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", what, message);
	failure_text(i, name, text);
}

bool
value_fits(struct instance *i, const struct value *v)
{
	if (v->s.len <= i->value_bytes_max)
		return true;

	char text[120];

	snprintf(text, sizeof(text),
		 "the value has %zu bytes, %llu is the most", v->s.len,
		 (unsigned long long)i->value_bytes_max);
	failure_text(i, "States.DataLimitExceeded", text);
	return false;
}

bool
value_made(struct instance *i, const struct value *v)
{
	i->made += v->s.len;
	return value_fits(i, v);
}

struct value *
state_path(struct instance *i, struct branch *b, const struct path *p,
	   uint8_t parts, const char *what, struct value *input)
{
	struct value *context =
	    path_wants_context(p) ? context_create(i, b, parts) : NULL;
	struct error err;
	struct value *v;

	error_clear(&err);
	v = path_eval(p, input, context, &err);
	value_unref(&context);
	if (v == NULL)
		failure_at(i, "States.Runtime", what, err.message);
	return v;
}

struct value *
state_template(struct instance *i, struct branch *b, const struct template *t,
	       uint8_t parts, struct value *input)
{
	struct value *context =
	    template_wants_context(t) ? context_create(i, b, parts) : NULL;
	const char *name = "States.Runtime";
	struct template_seed seed = { .activation = ++i->draws };
	struct error err;
	struct value *v;

	memcpy(seed.instance, i->id.bytes, sizeof(seed.instance));
	error_clear(&err);
	v = template_eval(t, input, context, &seed, &name, &err);
	value_unref(&context);
	if (v == NULL) {
		failure_at(i, name, err.field, err.message);
	} else if (!value_made(i, v)) {
		value_unref(&v);
	}
	return v;
}

bool
state_number(struct instance *i, struct branch *b,
	     const struct number_field *field, const char *what,
	     struct value *input, int64_t min, int64_t max, int64_t *out)
{
	struct value *v;
	struct item item;
	char text[120];

	if (!field->given)
		return true;
	if (field->path == NULL) {
		*out = field->number;
		return true;
	}
	v = state_path(i, b, field->path, b->state->entry_context, what, input);
	if (v == NULL)
		return false;
	item = value_item(v->s);
	value_unref(&v);
	/* 3.0 is as good as 3: JSON knows no integers. */
	if (item.type == VALUE_DOUBLE && item.d == floor(item.d) &&
	    fabs(item.d) < 9e15) {
		item.i = (int64_t)item.d;
		item.type = VALUE_INT;
	}
	if (item.type == VALUE_INT && item.i >= min && item.i <= max) {
		*out = item.i;
		return true;
	}
	snprintf(text, sizeof(text), "must find an integer from %lld to %lld",
		 (long long)min, (long long)max);
	failure_at(i, "States.Runtime", what, text);
	return false;
}

struct value *
state_selected(struct instance *i, struct branch *b)
{
	const struct path_field *field = &b->state->input_path;

	if (field->discard)
		return value_create(SLICE_LITERAL("\x80"));
	if (field->path == NULL)
		return value_ref(b->raw);
	return state_path(i, b, field->path, b->state->entry_context,
			  "InputPath", b->raw);
}

struct value *
state_payload(struct instance *i, struct branch *b, struct value *selected)
{
	/* In a Map it is the ItemSelector, for every item. */
	if (b->state->parameters == NULL || b->state->type == STATE_MAP)
		return value_ref(selected);
	return state_template(i, b, b->state->parameters,
			      b->state->entry_context, selected);
}

/* The text of ErrorPath or CausePath; NULL with the failure set. */
static struct value *
fail_text(struct instance *i, struct branch *b, const struct text_field *f,
	  const char *what)
{
	uint8_t parts = b->state->entry_context;
	struct slice text;
	struct value *v;

	if (f->path != NULL) {
		v = state_path(i, b, f->path, parts, what, b->raw);
	} else {
		v = state_template(i, b, f->template, parts, b->raw);
		if (v != NULL) {
			struct value *whole = v;

			ASSERT(value_get(v->s, SLICE_LITERAL("v"), &text));
			v = value_part(whole, text);
			value_unref(&whole);
		}
	}
	if (v == NULL || value_type(v->s) == VALUE_STR)
		return v;
	failure_at(i, "States.Runtime", what, "must find a string");
	value_unref(&v);
	return NULL;
}

void
state_fail_text(struct instance *i, struct branch *b)
{
	const struct text_field *fields[2] = { &b->state->fail.error,
					       &b->state->fail.cause };
	struct value *values[2] = { NULL, NULL };
	struct slice texts[2];

	for (int n = 0; n < 2; n++) {
		texts[n] = fields[n]->text;
		if (fields[n]->path == NULL && fields[n]->template == NULL)
			continue;
		values[n] = fail_text(i, b, fields[n],
				      n == 0 ? "ErrorPath" : "CausePath");
		if (values[n] == NULL)
			goto out;
		texts[n] = value_item(values[n]->s).bytes;
	}
	failure_set(i, texts[0], texts[1]);
out:
	value_unref(&values[0]);
	value_unref(&values[1]);
}
