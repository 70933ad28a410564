/*
 * json - JSON text to msgpack values and back.
 *
 * Parsing is yajl's; what JSON allows and a value cannot hold is refused and
 * never rounded to something else: integers beyond 64 bits, numbers beyond a
 * double, lone surrogates, nesting past depth_max. Key order and duplicate
 * keys are kept.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/buf.h"
#include "common/error.h"
#include "common/value.h"

/* Where in the text each value came from, for messages with lines. */
struct json_places {
	struct json_place {
		uint32_t offset; /* from where json_parse() began to append */
		uint32_t line;   /* 1-based */
	} *places; /* by rising offset; where the line changes */
	uint32_t count;
	uint32_t cap;
};

void json_places_fini(struct json_places *p);
/* The line of the value that begins at offset, or of the nearest before. */
uint32_t json_places_line(const struct json_places *p, size_t offset);

/*
 * Appends the one value that text holds to out. places may be NULL. On a
 * text that is no JSON or cannot be held: -EINVAL, err has message and line,
 * and out is as it was.
 */
int json_parse(const char *text, size_t len, uint32_t depth_max,
               struct buf *out, struct json_places *places,
               struct error *err) MUST_CHECK;

/*
 * Appends the JSON text of a checked value. Compact; doubles in the
 * shortest form that reads back equal and always with '.' or 'e'.
 */
void json_write(struct slice value, struct buf *out);

/* The same over several lines, two blanks a level, for people. */
void json_write_pretty(struct slice value, struct buf *out);

/* Appends a JSON string literal of UTF-8 text, quotes included. */
void json_write_str(struct slice text, struct buf *out);

#endif
