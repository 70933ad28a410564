/*
 * command_result - exit statuses to error names, output to values.
 */
#include "worker/command_result.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/error.h"
#include "common/json.h"
#include "common/value.h"
#include "worker/text.h"

#define SYSEXITS_FIRST 64

/* As in sysexits.h, from 64 up without a gap. */
static const char *const sysexits[] = {
	"Rappel.Usage",    "Rappel.DataErr",     "Rappel.NoInput",
	"Rappel.NoUser",   "Rappel.NoHost",      "Rappel.Unavailable",
	"Rappel.Software", "Rappel.OsErr",       "Rappel.OsFile",
	"Rappel.CantCreat", "Rappel.IoErr",      "Rappel.TempFail",
	"Rappel.Protocol", "Rappel.NoPerm",      "Rappel.Config",
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

static void
result_value(enum command_output output, struct slice written,
             struct outcome *o)
{
	struct error err = { 0 };
	struct slice text = written;

	switch (output) {
	case OUTPUT_JSON:
		if (is_blank(written)) {
			value_pack_null(&o->own);
			return;
		}
		if (json_parse((const char *)written.data, written.len,
		               VALUE_DEPTH_MAX, &o->own, NULL, &err) < 0)
			outcome_fail(o, "Rappel.OutputInvalid",
			             "stdout is no JSON: line %u: %s", err.line,
			             err.message);
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
		outcome_fail(o, "Rappel.OutputInvalid",
		             "stdout is no UTF-8 text");
}

void
command_result(int status, enum command_output output, struct slice written,
               struct slice log, size_t value_bytes_max, struct outcome *o)
{
	char name[32];

	if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
		if (WIFSIGNALED(status))
			snprintf(name, sizeof(name), "Rappel.Killed");
		else
			command_exit_name(WEXITSTATUS(status), name);
		outcome_fail(o, name, "%s", "");
		outcome_cause(o, text_trim(log));
		if (o->cause.len > 0)
			return;
		if (WIFSIGNALED(status))
			outcome_fail(o, name, "killed by signal %d",
			             WTERMSIG(status));
		else
			outcome_fail(o, name, "exit status %d",
			             WEXITSTATUS(status));
		return;
	}
	result_value(output, written, o);
	if (!o->failed && o->own.len > value_bytes_max)
		outcome_fail(o, "Rappel.OutputTooLarge",
		             "the result has %zu bytes, at most %zu are "
		             "allowed",
		             o->own.len, value_bytes_max);
	if (!o->failed)
		o->result = buf_slice(&o->own);
}
