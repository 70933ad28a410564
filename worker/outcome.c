/*
 * outcome - a result, or an error with a cause that can be written anywhere.
 */
#include "worker/worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/utf8.h"
#include "common/value.h"
#include "worker/text.h"

void
outcome_reset(struct outcome *o)
{
	o->failed = false;
	o->pending = false;
	o->result = SLICE_NONE;
	o->own.len = 0;
	o->error[0] = '\0';
	o->cause.len = 0;
	o->extra.kind_count = 0;
	o->extra.usage_count = 0;
	o->extra.kinds.len = 0;
	o->extra.usage.len = 0;
	o->extra.log.len = 0;
}

void
outcome_fini(struct outcome *o)
{
	buf_fini(&o->own);
	buf_fini(&o->cause);
	buf_fini(&o->extra.kinds);
	buf_fini(&o->extra.usage);
	buf_fini(&o->extra.log);
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
	o->pending = false;
	snprintf(o->error, sizeof(o->error), "%s", error);
	outcome_cause(o, slice_of(text));
}

void
outcome_name(struct outcome *o, struct slice name)
{
	struct buf clean = BUF_EMPTY;

	if (name.len > OUTCOME_ERROR_MAX)
		name.len = utf8_cut((const char *)name.data,
		                    OUTCOME_ERROR_MAX);
	text_clean(name, OUTCOME_ERROR_MAX, &clean);
	if (clean.len > 0)
		snprintf(o->error, sizeof(o->error), "%.*s", (int)clean.len,
		         (const char *)clean.data);
	buf_fini(&clean);
}

void
outcome_kind(struct outcome *o, struct slice name)
{
	if (o->extra.kind_count == OUTCOME_KINDS_MAX || name.len == 0 ||
	    name.len > OUTCOME_ERROR_MAX ||
	    memchr(name.data, '\0', name.len) != NULL ||
	    !utf8_valid(name.data, name.len))
		return;
	value_pack_str(&o->extra.kinds, name.data, name.len);
	o->extra.kind_count++;
}

void
outcome_usage(struct outcome *o, const char *key, uint64_t value)
{
	ASSERT(strlen(key) <= OUTCOME_USAGE_KEY_MAX);
	if (o->extra.usage_count == OUTCOME_USAGE_MAX)
		return;
	value_pack_text(&o->extra.usage, key);
	value_pack_uint(&o->extra.usage, value);
	o->extra.usage_count++;
}

void
outcome_log(struct outcome *o, struct slice text)
{
	o->extra.log.len = 0;
	text_clean(text, OUTCOME_LOG_MAX, &o->extra.log);
}
