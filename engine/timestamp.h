/*
 * timestamp - RFC 3339 dates as the language uses them, in microseconds.
 *
 * Pure. Uppercase T and Z as the language demands, any offset.
 */
#ifndef ENGINE_TIMESTAMP_H
#define ENGINE_TIMESTAMP_H

#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"

/* Since 1970, UTC. -EINVAL when text is no timestamp. */
int timestamp_parse(struct slice text, int64_t *us_out) MUST_CHECK;

#define TIMESTAMP_TEXT_SIZE 40
/* "2026-01-14T12:00:00.123Z", three digits of the second. */
void timestamp_text(int64_t us, char text[TIMESTAMP_TEXT_SIZE]);

#endif
