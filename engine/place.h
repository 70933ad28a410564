/*
 * place - saying in a struct error which key was wrong, and quoting what
 * somebody wrote.
 */
#ifndef ENGINE_PLACE_H
#define ENGINE_PLACE_H

#include <string.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/utf8.h"

/* The bytes of text to show as "%.*s", max or a few less: whole characters. */
static inline int
place_len(struct slice text, size_t max)
{
	return (int)(text.len <= max ?
	    text.len : utf8_cut((const char *)text.data, max));
}

/* Sets err->field to key, cut between characters. A NULL err is fine. */
static inline void
place_field(struct error *err, struct slice key)
{
	size_t len = key.len;

	if (err == NULL)
		return;
	if (len >= sizeof(err->field))
		len = sizeof(err->field) - 1;
	while (len > 0 && len < key.len && (key.data[len] & 0xC0) == 0x80)
		len--;
	if (len > 0)
		memcpy(err->field, key.data, len);
	err->field[len] = '\0';
}

#endif
