/*
 * path_parser - what path_parse.c and path_filter.c share while they read the
 * text of a path.
 */
#ifndef ENGINE_PATH_PARSER_H
#define ENGINE_PATH_PARSER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/path_parts.h"

/* Where the path stands, and so what ends it. */
enum site {
	SITE_ALONE,    /* it is the whole text */
	SITE_ARGUMENT, /* of a function */
	SITE_FILTER,   /* an operand in a filter */
};

struct parser {
	const uint8_t *begin;
	const uint8_t *at;
	const uint8_t *end;
	enum path_kind kind;
	struct path *path;
	uint32_t filters;
	uint32_t parens;
	struct error *err;
};

/* Sets the error with the place in the text; always -EINVAL. */
int path_fail(struct parser *p, const char *what);
/* Behind the "$" or "@". */
int path_parse_steps(struct parser *p, enum site site, struct steps *out);
/* A string in single or double quotes. */
int path_parse_quoted(struct parser *p, struct slice *out);
/* The bytes, copied into the path. */
struct slice path_keep(struct parser *p, const struct buf *b);
/* The condition of a filter. */
int path_parse_test(struct parser *p, struct test **out);

static inline bool
peek(const struct parser *p, char c)
{
	return p->at < p->end && *p->at == (uint8_t)c;
}

static inline bool
skip(struct parser *p, char c)
{
	if (!peek(p, c))
		return false;
	p->at++;
	return true;
}

static inline bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline void
skip_blanks(struct parser *p)
{
	while (p->at < p->end && is_blank(*p->at))
		p->at++;
}

static inline bool
skip_text(struct parser *p, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(p->end - p->at) < len || memcmp(p->at, text, len) != 0)
		return false;
	p->at += len;
	return true;
}

static inline bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_word(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c == '_';
}

#endif
