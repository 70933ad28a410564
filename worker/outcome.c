/*
 * outcome - a result, or an error with a cause that can be written anywhere.
 */
#include "worker/worker.h"

#include <stdarg.h>
#include <stdio.h>

#include "worker/text.h"

void
outcome_reset(struct outcome *o)
{
	o->failed = false;
	o->result = SLICE_NONE;
	o->own.len = 0;
	o->error[0] = '\0';
	o->cause.len = 0;
}

void
outcome_cause(struct outcome *o, struct slice text)
{
	o->cause.len = 0;
	text_clean(text, OUTCOME_CAUSE_MAX, &o->cause);
}

void
outcome_fail(struct outcome *o, const char *error, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	o->failed = true;
	snprintf(o->error, sizeof(o->error), "%s", error);
	outcome_cause(o, slice_of(text));
}
