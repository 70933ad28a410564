/*
 * path_parse - the text of a path to struct path; filters are in
 * path_filter.c.
 *
 * Recursion is bounded by PATH_FILTERS_MAX and PATH_PARENS_MAX.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/path_parser.h"
#include "engine/place.h"

int
path_fail(struct parser *p, const char *what)
{
	struct slice text = { p->begin, (size_t)(p->end - p->begin) };

	error_set(p->err, "path \"%.*s\" is wrong at byte %u: %s",
		  place_len(text, 200), (const char *)p->begin,
		  (unsigned)(p->at - p->begin) + 1U, what);
	return -EINVAL;
}

struct slice
path_keep(struct parser *p, const struct buf *b)
{
	char *copy = arena_strndup(
	    p->path->arena, b->len > 0 ? (const char *)b->data : "", b->len);

	return (struct slice){ (const uint8_t *)copy, b->len };
}

/* ---- escapes ---- */

static int
hex4(const uint8_t *at, const uint8_t *end, uint32_t *out)
{
	uint32_t v = 0;

	if (end - at < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		uint8_t c = at[i];

		if (is_digit(c))
			v = v * 16 + (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v = v * 16 + (uint32_t)(c - 'A' + 10);
		else
			return -EINVAL;
	}
	*out = v;
	return 0;
}

static void
add_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_add_byte(b, (uint8_t)c);
		return;
	}
	if (c < 0x800) {
		buf_add_byte(b, (uint8_t)(0xC0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_add_byte(b, (uint8_t)(0xE0 | c >> 12));
		} else {
			buf_add_byte(b, (uint8_t)(0xF0 | c >> 18));
			buf_add_byte(b, (uint8_t)(0x80 | (c >> 12 & 0x3F)));
		}
		buf_add_byte(b, (uint8_t)(0x80 | (c >> 6 & 0x3F)));
	}
	buf_add_byte(b, (uint8_t)(0x80 | (c & 0x3F)));
}

/* Behind "\u": four hex digits, or eight with "\u" for a surrogate pair. */
static int
parse_unicode(struct parser *p, struct buf *b)
{
	uint32_t c, low;

	if (hex4(p->at, p->end, &c) < 0)
		return -EINVAL;
	p->at += 4;
	if (c >= 0xD800 && c <= 0xDFFF) {
		if (c > 0xDBFF || !skip_text(p, "\\u") ||
		    hex4(p->at, p->end, &low) < 0 || low < 0xDC00 ||
		    low > 0xDFFF)
			return path_fail(p, "half of a surrogate pair");
		p->at += 4;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	}
	add_utf8(b, c);
	return 0;
}

/*
 * Behind a backslash. In a name after a dot it only takes the meaning from
 * the next character ("$.\stor\e.boo\k" is $.store.book); in quotes it is
 * what JSON has too.
 */
static int
parse_escape(struct parser *p, bool quoted, struct buf *b)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *known;
	uint32_t ignored;
	uint8_t c;

	if (p->at == p->end)
		return path_fail(p, "nothing follows the backslash");
	c = *p->at++;
	if (c == 'u' && hex4(p->at, p->end, &ignored) == 0)
		return parse_unicode(p, b);
	known = quoted && c != '\0' ? strchr(from, c) : NULL;
	/* The bytes behind the first one of a character are none of ours. */
	buf_add_byte(b, known == NULL ? c : (uint8_t)to[known - from]);
	return 0;
}

/* At a quotation mark. */
int
path_parse_quoted(struct parser *p, struct slice *out)
{
	uint8_t quote = *p->at++;
	struct buf text = BUF_EMPTY;
	int rc = 0;

	while (rc == 0) {
		if (p->at == p->end) {
			rc = path_fail(p, "the quotation mark is not closed");
			break;
		}
		uint8_t c = *p->at++;

		if (c == quote)
			break;
		if (c == '\\')
			rc = parse_escape(p, true, &text);
		else
			buf_add_byte(&text, c);
	}
	if (rc == 0)
		*out = path_keep(p, &text);
	buf_fini(&text);
	return rc;
}

/* ---- steps ---- */

static int
parse_integer(struct parser *p, int64_t *out)
{
	bool negative = skip(p, '-');
	int64_t v = 0;
	int digits = 0;

	for (; p->at < p->end && is_digit(*p->at); p->at++) {
		if (++digits > 18)
			return path_fail(p, "the number is too large");
		v = v * 10 + (*p->at - '0');
	}
	if (digits == 0)
		return path_fail(p, "expected a number");
	*out = negative ? -v : v;
	return 0;
}

static bool
ends_name(enum site site, uint8_t c)
{
	if (c == '.' || c == '[' || c == '(' || c == '\0')
		return true;
	if (site == SITE_ALONE)
		return false;
	if (is_blank(c) || c == ',' || c == ')')
		return true;
	return site == SITE_FILTER && strchr("=!<>&|]~", c) != NULL;
}

/* What a name after a dot must not contain unless it is escaped. */
static bool
is_reserved(const struct parser *p, uint8_t c)
{
	if (c <= ' ' || c == 0x7F)
		return true;
	if (strchr("[]()'\",?*", c) != NULL)
		return true;
	return p->kind == PATH_REFERENCE && (c == '@' || c == ':');
}

static int
parse_name(struct parser *p, enum site site, struct slice *out)
{
	struct buf text = BUF_EMPTY;
	int rc = 0;

	while (rc == 0 && p->at < p->end && !ends_name(site, *p->at)) {
		uint8_t c = *p->at;

		if (c == '\\') {
			p->at++;
			rc = parse_escape(p, false, &text);
		} else if (is_reserved(p, c)) {
			rc =
			    path_fail(p, "use ['…'] for a name with this character");
		} else {
			buf_add_byte(&text, c);
			p->at++;
		}
	}
	if (rc == 0 && text.len == 0)
		rc = path_fail(p, "expected a name");
	if (rc == 0)
		*out = path_keep(p, &text);
	buf_fini(&text);
	return rc;
}

static int
parse_tail(struct parser *p, struct slice name, enum tail *out)
{
	static const char *const names[] = {
		[TAIL_NONE] = "",     [TAIL_LENGTH] = "length",
		[TAIL_SIZE] = "size", [TAIL_MIN] = "min",
		[TAIL_MAX] = "max",   [TAIL_AVG] = "avg",
		[TAIL_SUM] = "sum",   [TAIL_STDDEV] = "stddev",
		[TAIL_KEYS] = "keys", [TAIL_FIRST] = "first",
		[TAIL_LAST] = "last",
	};

	if (p->kind == PATH_REFERENCE)
		return path_fail(p, "a reference path has no functions");
	p->at++;
	skip_blanks(p);
	if (!skip(p, ')'))
		return path_fail(p, "functions of a path take no arguments");
	for (uint32_t i = 1; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_is(name, names[i])) {
			*out = (enum tail)i;
			return 0;
		}
	}
	return path_fail(p, "no function of this name");
}

static int
parse_names(struct parser *p, struct step *s)
{
	struct slice list[64];
	int rc;

	s->kind = STEP_NAME;
	for (;;) {
		if (s->count == sizeof(list) / sizeof(list[0]))
			return path_fail(p, "too many names");
		if (!peek(p, '\'') && !peek(p, '"'))
			return path_fail(p, "expected a name in quotes");
		rc = path_parse_quoted(p, &list[s->count++]);
		if (rc < 0)
			return rc;
		skip_blanks(p);
		if (!skip(p, ','))
			break;
		skip_blanks(p);
	}
	s->names = arena_alloc(p->path->arena, s->count * sizeof(list[0]));
	memcpy(s->names, list, s->count * sizeof(list[0]));
	return 0;
}

/* Behind the first number of a slice, at its colon. */
static int
parse_bounds(struct parser *p, struct step *s, bool has_from, int64_t from)
{
	int rc;

	s->kind = STEP_SLICE;
	s->count = 0;
	s->bounds =
	    (struct bounds){ .from = from, .by = 1, .has_from = has_from };
	p->at++;
	skip_blanks(p);
	if (!peek(p, ':') && !peek(p, ']')) {
		rc = parse_integer(p, &s->bounds.to);
		if (rc < 0)
			return rc;
		s->bounds.has_to = true;
		skip_blanks(p);
	}
	if (!skip(p, ':'))
		return 0;
	skip_blanks(p);
	if (peek(p, ']'))
		return 0;
	rc = parse_integer(p, &s->bounds.by);
	if (rc == 0 && s->bounds.by == 0)
		rc = path_fail(p, "the step of a slice cannot be 0");
	return rc;
}

static int
parse_indexes(struct parser *p, struct step *s)
{
	int64_t list[64];
	int rc;

	if (peek(p, ':'))
		return parse_bounds(p, s, false, 0);
	s->kind = STEP_INDEX;
	for (;;) {
		if (s->count == sizeof(list) / sizeof(list[0]))
			return path_fail(p, "too many indexes");
		rc = parse_integer(p, &list[s->count++]);
		if (rc < 0)
			return rc;
		skip_blanks(p);
		if (s->count == 1 && peek(p, ':'))
			return parse_bounds(p, s, true, list[0]);
		if (!skip(p, ','))
			break;
		skip_blanks(p);
	}
	s->indexes = arena_alloc(p->path->arena, s->count * sizeof(list[0]));
	memcpy(s->indexes, list, s->count * sizeof(list[0]));
	return 0;
}

/* Behind the opening bracket. */
static int
parse_bracket(struct parser *p, struct step *s)
{
	int rc = 0;

	skip_blanks(p);
	if (skip(p, '*')) {
		s->kind = STEP_ALL;
	} else if (skip(p, '?')) {
		s->kind = STEP_FILTER;
		if (p->filters == PATH_FILTERS_MAX)
			return path_fail(p, "too many filters inside filters");
		p->filters++;
		rc = path_parse_test(p, &s->test);
		p->filters--;
	} else if (peek(p, '\'') || peek(p, '"')) {
		rc = parse_names(p, s);
	} else if (peek(p, ':') || peek(p, '-') ||
		   (p->at < p->end && is_digit(*p->at))) {
		rc = parse_indexes(p, s);
	} else {
		return path_fail(p, "expected an index, a name in quotes, *, or ?");
	}
	if (rc < 0)
		return rc;
	skip_blanks(p);
	if (!skip(p, ']'))
		return path_fail(p, "expected ]");
	return 0;
}

/* One step, or the tail (then *s is unused). At a dot or a bracket. */
static int
parse_step(struct parser *p, enum site site, struct step *s,
	   enum tail *tail_out)
{
	struct slice name;
	int rc;

	if (skip(p, '[')) {
		return parse_bracket(p, s);
	}
	p->at++; /* the dot */
	s->deep = skip(p, '.');
	if (skip(p, '['))
		return parse_bracket(p, s);
	if (skip(p, '*')) {
		s->kind = STEP_ALL;
		return 0;
	}
	rc = parse_name(p, site, &name);
	if (rc < 0)
		return rc;
	if (peek(p, '(') && !s->deep)
		return parse_tail(p, name, tail_out);
	s->kind = STEP_NAME;
	s->count = 1;
	s->names = arena_alloc(p->path->arena, sizeof(name));
	s->names[0] = name;
	return 0;
}

/* Behind the "$" or "@". */
int
path_parse_steps(struct parser *p, enum site site, struct steps *out)
{
	struct step *list;
	uint32_t cap = 4;
	int rc = 0;

	*out = (struct steps){ .single = true };
	list = mem_calloc(cap, sizeof(*list));
	while (rc == 0 && out->tail == TAIL_NONE &&
	       (peek(p, '.') || peek(p, '['))) {
		struct step s = { .kind = STEP_NAME };

		if (out->count == PATH_STEPS_MAX) {
			rc = path_fail(p, "too many steps");
			break;
		}
		rc = parse_step(p, site, &s, &out->tail);
		if (rc < 0 || out->tail != TAIL_NONE)
			break;
		if (s.deep || s.count != 1)
			out->single = false;
		if (!out->single && p->kind == PATH_REFERENCE) {
			rc = path_fail(p, "a reference path names one place: no "
				     "\"..\", \"*\", \":\", \",\" or \"?\"");
			break;
		}
		if (out->count == cap) {
			cap *= 2;
			list = mem_realloc(list, cap * sizeof(*list));
		}
		list[out->count++] = s;
	}
	if (rc == 0 && out->count > 0) {
		out->list =
		    arena_alloc(p->path->arena, out->count * sizeof(*list));
		memcpy(out->list, list, out->count * sizeof(*list));
	}
	free(list);
	return rc;
}

/* ---- entries ---- */

/* Its names and strings end up in values, so it must be UTF-8. */
static bool
is_utf8(struct slice text)
{
	struct buf b = BUF_EMPTY;
	int rc;

	value_pack_str(&b, text.data, text.len);
	rc = value_check(buf_slice(&b), 1, NULL);
	buf_fini(&b);
	return rc == 0;
}

static struct path *
compile(struct slice text, enum path_kind kind, enum site site,
	size_t *used_out, struct error *err)
{
	struct parser p = {
		.begin = text.data,
		.at = text.data,
		.end = text.data + text.len,
		.kind = kind,
		.err = err,
	};
	int rc;

	if (text.len == 0 || text.data[0] != '$') {
		error_set(err, "a path begins with \"$\"");
		return NULL;
	}
	p.path = mem_zalloc(sizeof(*p.path));
	p.path->arena = arena_create(512);
	p.at++;
	if (skip(&p, '$'))
		p.path->context = true;
	if (site == SITE_ALONE && text.len > PATH_BYTES_MAX)
		rc = path_fail(&p, "the path is too long");
	else if (site == SITE_ALONE && !is_utf8(text))
		rc = path_fail(&p, "the path is not UTF-8");
	else if (p.at < p.end && is_word(*p.at))
		rc = path_fail(&p, "variables are not supported; expected . or [");
	else
		rc = path_parse_steps(&p, site, &p.path->steps);
	if (rc == 0 && site == SITE_ALONE && p.at < p.end)
		rc = path_fail(&p, p.path->steps.tail == TAIL_NONE
				  ? "expected . or ["
				  : "nothing may follow the function");
	if (rc < 0) {
		path_destroy(&p.path);
		return NULL;
	}
	*used_out = (size_t)(p.at - p.begin);
	return p.path;
}

struct path *
path_compile(struct slice text, enum path_kind kind, struct error *err)
{
	size_t used;

	return compile(text, kind, SITE_ALONE, &used, err);
}

struct path *
path_compile_prefix(struct slice text, size_t *used_out, struct error *err)
{
	return compile(text, PATH_ANY, SITE_ARGUMENT, used_out, err);
}
