/*
 * plugin_api - one task at a time, and the table of functions for it.
 */
#include "worker/plugin_api.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "common/uuid.h"
#include "common/value.h"
#include "worker/actions.h"
#include "worker/builder.h"
#include "worker/plugin_value.h"
#include "worker/runtime.h"

#define PLUGIN_TASK_MAGIC 0x504c5447U
#define ARENA_BLOCK_BYTES 4096U
#define LINE_MAX_BYTES 1024U
#define KEY_TEXT_SIZE (UUID_TEXT_SIZE + 21) /* a dot and 64 bits */
#define TOKEN_TEXT_SIZE (KEY_TEXT_SIZE + 21)

/* What stands behind the head that the plugin sees. */
struct plugin_task {
	struct rappel_task head;
	uint32_t magic;
	const struct task *task;
	struct outcome *outcome;
	struct builder builder;
	bool pending;
	bool warned; /* of a heartbeat's progress that is none */
	struct buf log;
	struct arena *arena; /* NULL until something is taken from it */
	char run_id[UUID_TEXT_SIZE];
	char key[KEY_TEXT_SIZE];
	char token[TOKEN_TEXT_SIZE];
};

/* There is one task at a time, and making it must cost nothing. */
static struct plugin_task the_task;

static struct plugin_task *
of_task(struct rappel_task *t)
{
	struct plugin_task *p = (struct plugin_task *)t;

	CHECK_OBJ(p, PLUGIN_TASK_MAGIC);
	return p;
}

static const struct plugin_task *
of_const_task(const struct rappel_task *t)
{
	const struct plugin_task *p = (const struct plugin_task *)t;

	CHECK_OBJ(p, PLUGIN_TASK_MAGIC);
	return p;
}

static char *
task_copy(struct plugin_task *p, const void *data, size_t len)
{
	if (p->arena == NULL)
		p->arena = arena_create(ARENA_BLOCK_BYTES);
	return arena_strndup(p->arena, data, len);
}

/* ---- the task ---- */

static struct rappel_value
api_input(const struct rappel_task *t)
{
	struct slice input = of_const_task(t)->task->input;

	return (struct rappel_value){ input.data, input.len };
}

static const char *
api_json(struct rappel_task *t, struct rappel_value v, size_t *len)
{
	struct plugin_task *p = of_task(t);
	struct buf text = BUF_EMPTY;
	const char *copy;

	if (v.len > 0)
		json_write((struct slice){ v.data, v.len }, &text);
	copy = task_copy(p, text.data != NULL ? text.data : (const uint8_t *)"",
			 text.len);
	if (len != NULL)
		*len = text.len;
	buf_fini(&text);
	return copy;
}

static const char *
api_action(struct rappel_task *t)
{
	return of_task(t)->task->by->name;
}

static const char *
api_run_id(struct rappel_task *t)
{
	struct plugin_task *p = of_task(t);
	struct uuid instance;

	memcpy(instance.bytes, p->task->instance.data, sizeof(instance.bytes));
	uuid_text(&instance, p->run_id);
	return p->run_id;
}

static const char *
api_key(struct rappel_task *t)
{
	struct plugin_task *p = of_task(t);

	snprintf(p->key, sizeof(p->key), "%s.%" PRIu64, api_run_id(t),
		 p->task->activation);
	return p->key;
}

static const char *
api_token(struct rappel_task *t)
{
	struct plugin_task *p = of_task(t);

	snprintf(p->token, sizeof(p->token), "%s.%" PRIu64, api_key(t),
		 p->task->attempt);
	return p->token;
}

static uint64_t
api_attempt(const struct rappel_task *t)
{
	return of_const_task(t)->task->attempt;
}

static int64_t
api_left_us(const struct rappel_task *t)
{
	const struct task *task = of_const_task(t)->task;
	uint64_t ran_us;

	if (task->timeout_us == 0 || task->timeout_us > INT64_MAX)
		return RAPPEL_NO_DEADLINE;
	ran_us = clock_mono_us() - task->began_us;
	return ran_us < task->timeout_us ? (int64_t)(task->timeout_us - ran_us)
					 : 0;
}

/* ---- the result ---- */

static void
api_put_null(struct rappel_task *t)
{
	builder_null(&of_task(t)->builder);
}

static void
api_put_bool(struct rappel_task *t, bool v)
{
	builder_bool(&of_task(t)->builder, v);
}

static void
api_put_int(struct rappel_task *t, int64_t v)
{
	builder_int(&of_task(t)->builder, v);
}

static void
api_put_uint(struct rappel_task *t, uint64_t v)
{
	builder_uint(&of_task(t)->builder, v);
}

static void
api_put_double(struct rappel_task *t, double v)
{
	builder_double(&of_task(t)->builder, v);
}

static void
api_put_text(struct rappel_task *t, const char *text, size_t len)
{
	builder_text(&of_task(t)->builder, text, len);
}

static void
api_put_array(struct rappel_task *t, uint32_t count)
{
	builder_array(&of_task(t)->builder, count);
}

static void
api_put_map(struct rappel_task *t, uint32_t count)
{
	builder_map(&of_task(t)->builder, count);
}

static void
api_put_end(struct rappel_task *t)
{
	builder_end(&of_task(t)->builder);
}

static void
api_put_value(struct rappel_task *t, struct rappel_value v)
{
	struct plugin_task *p = of_task(t);
	struct slice input = p->task->input, value = { v.data, v.len };
	uintptr_t from = (uintptr_t)input.data, at = (uintptr_t)v.data;

	/* What lies in the input stays there. That it is a value is known of
	 * the whole; of a part only what the plugin says. */
	if (at >= from && at - from <= input.len &&
	    v.len <= input.len - (at - from) &&
	    (v.len == input.len ||
	     value_check(value, VALUE_DEPTH_MAX, NULL) == 0))
		builder_value(&p->builder, value);
	else
		builder_raw(&p->builder, value);
}

static void
api_put_json(struct rappel_task *t, const char *json, size_t len)
{
	builder_json(&of_task(t)->builder, json, len);
}

static void RAPPEL_PRINTF(3, 4)
    api_fail(struct rappel_task *t, const char *error, const char *format, ...)
{
	struct outcome *o = of_task(t)->outcome;
	char cause[OUTCOME_CAUSE_MAX + 1];
	struct slice text = { (const uint8_t *)cause, 0 };
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(cause, sizeof(cause), format, args);
	va_end(args);
	text.len = strnlen(cause, sizeof(cause));
	if (len >= (int)sizeof(cause))
		text.len = utf8_cut(cause, text.len);
	outcome_fail(o, "States.TaskFailed", "%s", "");
	outcome_name(o, error != NULL ? slice_of(error) : SLICE_NONE);
	outcome_cause(o, text);
}

static void
api_kind(struct rappel_task *t, const char *error)
{
	if (error != NULL)
		outcome_kind(of_task(t)->outcome, slice_of(error));
}

static void
api_pending(struct rappel_task *t)
{
	of_task(t)->pending = true;
}

/* ---- while it runs ---- */

static bool
api_cancelled(struct rappel_task *t)
{
	(void)of_task(t);
	return runtime_cancelled();
}

static void RAPPEL_PRINTF(3, 4)
    api_log(struct rappel_task *t, enum rappel_level level, const char *format,
	    ...);

/* The progress as a value, or nothing, said once. */
static void
progress_read(struct plugin_task *p, const char *json, size_t len,
	      struct buf *out)
{
	struct error err = { 0 };

	if (json_parse(json, len, VALUE_DEPTH_MAX, out, NULL, &err) == 0 &&
	    out->len > RUNTIME_PROGRESS_MAX) {
		error_set(&err, "more than %u bytes", RUNTIME_PROGRESS_MAX);
		out->len = 0;
	}
	if (out->len == 0 && !p->warned) {
		p->warned = true;
		api_log(&p->head, RAPPEL_LOG_WARNING,
			"heartbeat without its progress: %s", err.message);
	}
}

static bool
api_heartbeat(struct rappel_task *t, const char *json, size_t len)
{
	struct plugin_task *p = of_task(t);
	struct buf progress = BUF_EMPTY;
	bool sent;

	if (!runtime_heartbeat_due())
		return false;
	if (json != NULL)
		progress_read(p, json, len, &progress);
	sent = runtime_heartbeat(buf_slice(&progress));
	buf_fini(&progress);
	return sent;
}

static int
api_wait(struct rappel_task *t, struct pollfd *fds, uint32_t count,
	 int64_t timeout_us)
{
	uint64_t until = RUNTIME_NEVER;
	int rc;

	if (count > RUNTIME_POLL_MAX) {
		api_log(t, RAPPEL_LOG_ERROR,
			"rappel_wait() for %u descriptors: at most %u", count,
			RUNTIME_POLL_MAX);
		return RAPPEL_REFUSED;
	}
	if (timeout_us >= 0)
		until = clock_mono_us() + (uint64_t)timeout_us;
	rc = runtime_wait(fds, count, until);
	return rc < 0 ? RAPPEL_CANCELLED : rc;
}

static void
api_usage(struct rappel_task *t, const char *name, uint64_t value)
{
	struct plugin_task *p = of_task(t);
	size_t len = strlen(name);

	if (len == 0 || len > OUTCOME_USAGE_KEY_MAX || !utf8_valid(name, len))
		api_log(t, RAPPEL_LOG_WARNING,
			"a figure of usage without a name of 1 to %u bytes",
			OUTCOME_USAGE_KEY_MAX);
	else
		outcome_usage(p->outcome, name, value);
}

/* A line of its own is kept with the attempt; the end of all counts. */
static void
log_keep_line(struct plugin_task *p, const char *text)
{
	buf_add_text(&p->log, text);
	buf_add_byte(&p->log, '\n');
	if (p->log.len > 2 * OUTCOME_LOG_MAX)
		buf_drop(&p->log, p->log.len - OUTCOME_LOG_MAX);
}

static void
api_log(struct rappel_task *t, enum rappel_level level, const char *format, ...)
{
	char text[LINE_MAX_BYTES], keys[256] = "";
	struct plugin_task *p = t != NULL ? of_task(t) : NULL;
	va_list args, copy;

	if ((unsigned)level > RAPPEL_LOG_DEBUG)
		level = RAPPEL_LOG_ERROR;
	if (!log_wants((enum log_level)level))
		return;
	/* The supervisor tags lines with what runs when it reads them, which
	 * is soon enough for slow actions alone. NULL: while it is set up. */
	if (p != NULL)
		snprintf(keys, sizeof(keys), " action=%s task=%s",
			 p->task->by->name, api_token(t));
	va_start(args, format);
	va_copy(copy, args);
	vsnprintf(text, sizeof(text), format, copy);
	va_end(copy);
	log_write((enum log_level)level, keys, format, args);
	va_end(args);
	if (p != NULL)
		log_keep_line(p, text);
}

_Static_assert((int)RAPPEL_LOG_ERROR == (int)LOG_LEVEL_ERROR &&
		   (int)RAPPEL_LOG_DEBUG == (int)LOG_LEVEL_DEBUG,
	       "levels are the same");
_Static_assert(RAPPEL_WAIT_FDS_MAX == RUNTIME_POLL_MAX, "as promised");
_Static_assert(RAPPEL_OPEN == BUILDER_OPEN, "as promised");

const struct rappel_api plugin_api = {
	.abi = RAPPEL_ABI,
	.size = sizeof(struct rappel_api),
	.type = plugin_value_type,
	.count = plugin_value_count,
	.get = plugin_value_get,
	.at = plugin_value_at,
	.open = plugin_value_open,
	.next = plugin_value_next,
	.as_bool = plugin_value_bool,
	.as_int = plugin_value_int,
	.as_uint = plugin_value_uint,
	.as_double = plugin_value_double,
	.as_string = plugin_value_string,
	.input = api_input,
	.json = api_json,
	.action = api_action,
	.run_id = api_run_id,
	.key = api_key,
	.token = api_token,
	.attempt = api_attempt,
	.left_us = api_left_us,
	.put_null = api_put_null,
	.put_bool = api_put_bool,
	.put_int = api_put_int,
	.put_uint = api_put_uint,
	.put_double = api_put_double,
	.put_text = api_put_text,
	.put_array = api_put_array,
	.put_map = api_put_map,
	.put_end = api_put_end,
	.put_value = api_put_value,
	.put_json = api_put_json,
	.fail = api_fail,
	.kind = api_kind,
	.pending = api_pending,
	.cancelled = api_cancelled,
	.heartbeat = api_heartbeat,
	.wait = api_wait,
	.usage = api_usage,
	.log = api_log,
};

/* ---- running one ---- */

static void
result_refuse(const struct builder *b, struct outcome *o)
{
	outcome_fail(o,
		     b->too_large ? "States.DataLimitExceeded"
				  : "Rappel.ResultInvalid",
		     "%s", b->err.message);
	if (b->too_large)
		outcome_kind(o, SLICE_LITERAL("Rappel.ResultInvalid"));
}

void
plugin_api_run(const struct task *t, struct outcome *o)
{
	struct plugin_task *p = &the_task;

	p->head.api = &plugin_api;
	p->magic = PLUGIN_TASK_MAGIC;
	p->task = t;
	p->outcome = o;
	p->pending = p->warned = false;
	p->log.len = 0;
	builder_init(&p->builder, &o->own, runtime_value_bytes_max());
	t->by->plugin_run(&p->head);
	p->magic = 0; /* whoever kept it finds out */
	if (!o->failed && p->pending)
		o->pending = true;
	else if (!o->failed && builder_finish(&p->builder, &o->result) < 0)
		result_refuse(&p->builder, o);
	if (p->log.len > 0)
		outcome_log(o, buf_slice(&p->log));
	if (p->arena != NULL)
		arena_destroy(&p->arena);
}

void
plugin_api_fini(void)
{
	buf_fini(&the_task.log);
}
