/*
 * command_result - exit statuses to error names, output to values.
 */
#include "worker/command_result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/error.h"
#include "common/json.h"
#include "common/utf8.h"
#include "common/value.h"
#include "worker/command_template.h"
#include "worker/text.h"

#define SYSEXITS_FIRST 64
#define SHOWN_BYTES 60U

/* As in sysexits.h, from 64 up without a gap. */
static const char *const sysexits[] = {
	"Rappel.Usage",     "Rappel.DataErr", "Rappel.NoInput",
	"Rappel.NoUser",    "Rappel.NoHost",  "Rappel.Unavailable",
	"Rappel.Software",  "Rappel.OsErr",   "Rappel.OsFile",
	"Rappel.CantCreat", "Rappel.IoErr",   "Rappel.TempFail",
	"Rappel.Protocol",  "Rappel.NoPerm",  "Rappel.Config",
};

void
command_exit_name(int code, char *text)
{
	int count = (int)(sizeof(sysexits) / sizeof(sysexits[0]));

	if (code >= SYSEXITS_FIRST && code < SYSEXITS_FIRST + count)
		snprintf(text, 32, "%s", sysexits[code - SYSEXITS_FIRST]);
	else
		snprintf(text, 32, "Rappel.Exit.%d", code);
}

static void
pack_line(struct buf *b, struct slice line)
{
	value_pack_str(b, line.data, line.len);
}

/* An array of the lines; a newline at the end begins no further one. */
static void
pack_lines(struct buf *b, struct slice text)
{
	uint32_t count = 0;
	size_t at = 0;

	for (size_t i = 0; i < text.len; i++)
		count += text.data[i] == '\n';
	if (text.len > 0 && text.data[text.len - 1] != '\n')
		count++;
	value_pack_array(b, count);
	while (at < text.len) {
		const uint8_t *from = text.data + at;
		const uint8_t *end = memchr(from, '\n', text.len - at);
		size_t len = end != NULL ? (size_t)(end - from) : text.len - at;

		pack_line(b, (struct slice){ from, len });
		at += len + 1;
	}
}

static bool
is_blank(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (memchr(" \t\r\n", text.data[i], 4) == NULL)
			return false;
	}
	return true;
}

/* With how it begins: who expected no JSON knows it again by that. */
static void
no_json(const struct command_end *end, const struct error *err,
	struct outcome *o)
{
	struct slice head = end->written;
	struct buf shown = BUF_EMPTY;

	if (head.len > SHOWN_BYTES)
		head.len = utf8_cut((const char *)head.data, SHOWN_BYTES);
	text_clean(text_trim(head), SHOWN_BYTES, &shown);
	utf8_tame(buf_text(&shown), '?');
	for (size_t i = 0; i < shown.len; i++) {
		if (shown.data[i] == '\n' || shown.data[i] == '\t')
			shown.data[i] = ' ';
	}
	outcome_fail(o, "Rappel.OutputInvalid",
		     "%s is no JSON: line %u: %s; it begins with: %s%s; for "
		     "anything else than JSON set \"output\": \"text\" or "
		     "\"lines\"",
		     end->from, err->line, err->message, buf_text(&shown),
		     head.len < end->written.len ? "…" : "");
	buf_fini(&shown);
}

static void
result_value(const struct command_end *end, struct outcome *o)
{
	struct error err = { 0 };
	struct slice text = end->written;

	switch (end->output) {
	case OUTPUT_NONE:
		value_pack_null(&o->own);
		return;
	case OUTPUT_JSON:
		if (is_blank(text)) {
			value_pack_null(&o->own);
			return;
		}
		if (json_parse((const char *)text.data, text.len,
			       VALUE_DEPTH_MAX, &o->own, NULL, &err) < 0)
			no_json(end, &err, o);
		return;
	case OUTPUT_TEXT:
		if (text.len > 0 && text.data[text.len - 1] == '\n')
			text.len--;
		pack_line(&o->own, text);
		break;
	case OUTPUT_LINES:
		pack_lines(&o->own, text);
		break;
	}
	/* Here the bytes of others became strings unseen. */
	if (value_check(buf_slice(&o->own), VALUE_DEPTH_MAX, &err) < 0)
		outcome_fail(o, "Rappel.OutputInvalid", "%s is no UTF-8 text",
			     end->from);
}

void
command_result_too_large(struct outcome *o, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	outcome_fail(o, "Rappel.OutputTooLarge", "%s", text);
	/* The name that the language has for it. */
	outcome_kind(o, SLICE_LITERAL("States.DataLimitExceeded"));
}

/* Takes what is in own, if it is not too large. */
static void
result_take(size_t value_bytes_max, struct outcome *o)
{
	if (o->own.len > value_bytes_max)
		command_result_too_large(o,
					 "the result has %zu bytes, at most "
					 "%zu are allowed",
					 o->own.len, value_bytes_max);
	else
		o->result = buf_slice(&o->own);
}

static void
result_failure(const struct command_end *end, struct outcome *o)
{
	int sig = WIFSIGNALED(end->status) ? WTERMSIG(end->status) : 0;
	const char *limit = command_limits_signal(end->limits, sig);
	char name[32] = "Rappel.Killed";

	if (sig == 0)
		command_exit_name(WEXITSTATUS(end->status), name);
	outcome_fail(o, name, "%s", "");
	outcome_cause(o, text_trim(end->log));
	if (limit != NULL)
		outcome_fail(o, name, "it passed its limit \"%s\"", limit);
	else if (o->cause.len > 0)
		return;
	else if (sig != 0)
		outcome_fail(o, name, "killed by signal %d", sig);
	else
		outcome_fail(o, name, "exit status %d",
			     WEXITSTATUS(end->status));
}

void
command_result(const struct command_end *end, struct outcome *o)
{
	if (WIFSIGNALED(end->status) || WEXITSTATUS(end->status) != 0) {
		result_failure(end, o);
		return;
	}
	result_value(end, o);
	if (!o->failed)
		result_take(end->value_bytes_max, o);
}

void
command_result_fill(struct slice template, struct slice input,
		    size_t value_bytes_max, struct outcome *o)
{
	struct command_values values = { FILL_VALUES, input, o->result };
	struct buf filled = BUF_EMPTY;
	struct error err = { 0 };

	if (command_template_value(template, &values, &filled, &err) < 0) {
		outcome_fail(o, "Rappel.InputInvalid", "\"result\": %s",
			     err.message);
	} else if (value_check(buf_slice(&filled), VALUE_DEPTH_MAX, &err) < 0) {
		outcome_fail(o, "Rappel.OutputInvalid", "\"result\": %s",
			     err.message);
	} else {
		o->own.len = 0;
		buf_add(&o->own, filled.data, filled.len);
		result_take(value_bytes_max, o);
	}
	buf_fini(&filled);
}
