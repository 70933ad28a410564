/*
 * error - what was wrong, where, and what to do, in words for a person.
 */
#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/utf8.h"

void
error_set(struct error *err, const char *format, ...)
{
	va_list args;
	int len;

	if (err == NULL)
		return;
	va_start(args, format);
	len = vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	ASSERT(len >= 0);
	/* What was cut may end within a character, and messages are stored in
	 * places that insist on UTF-8. */
	if ((size_t)len >= sizeof(err->message)) {
		size_t end = utf8_cut(err->message, sizeof(err->message) - 1);

		err->message[end] = '\0';
	}
}

void
error_clear(struct error *err)
{
	if (err != NULL)
		memset(err, 0, sizeof(*err));
}

static void __attribute__((format(printf, 4, 5)))
append(char *text, size_t size, size_t *len, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + *len, size - *len, format, args);
	va_end(args);
	ASSERT(n >= 0);
	*len += (size_t)n;
	if (*len >= size)
		*len = size - 1;
}

void
error_text(const struct error *err, char *text, uint32_t size)
{
	size_t len = 0;

	ASSERT(size > 0);
	text[0] = '\0';
	if (err->state[0] != '\0')
		append(text, size, &len, "state \"%s\"", err->state);
	if (err->field[0] != '\0')
		append(text, size, &len, "%sfield \"%s\"", len > 0 ? ", " : "",
		       err->field);
	if (err->line > 0)
		append(text, size, &len, "%sline %u", len > 0 ? ", " : "",
		       err->line);
	append(text, size, &len, "%s%s", len > 0 ? ": " : "", err->message);
	text[utf8_cut(text, len)] = '\0';
}
