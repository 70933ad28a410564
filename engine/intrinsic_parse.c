/*
 * intrinsic_parse - the text of a call to struct intrinsic.
 *
 * An escape that means nothing is an error when the function runs, not here:
 * so the language has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/intrinsic_parts.h"
#include "engine/place.h"

struct parser {
	const uint8_t *begin;
	const uint8_t *at;
	const uint8_t *end;
	struct intrinsic *intrinsic;
	uint32_t depth;
	struct error *err;
};

static int parse_call(struct parser *p, struct call **out);

static int
fail(struct parser *p, const char *what)
{
	struct slice text = { p->begin, (size_t)(p->end - p->begin) };

	error_set(p->err, "function \"%.*s\" is wrong at byte %u: %s",
		  place_len(text, 200), (const char *)p->begin,
		  (unsigned)(p->at - p->begin) + 1U, what);
	return -EINVAL;
}

static bool
peek(const struct parser *p, char c)
{
	return p->at < p->end && *p->at == (uint8_t)c;
}

static bool
skip(struct parser *p, char c)
{
	if (!peek(p, c))
		return false;
	p->at++;
	return true;
}

static void
skip_blanks(struct parser *p)
{
	while (peek(p, ' ') || peek(p, '\t') || peek(p, '\n') || peek(p, '\r'))
		p->at++;
}

static bool
is_word(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

static struct slice
keep(struct parser *p, struct slice s)
{
	uint8_t *copy = arena_alloc(p->intrinsic->arena, s.len + 1);

	if (s.len > 0)
		memcpy(copy, s.data, s.len);
	return (struct slice){ copy, s.len };
}

/* 'It\'s': at the apostrophe. */
static int
parse_string(struct parser *p, struct term *t)
{
	const uint8_t *from = ++p->at;
	struct buf text = BUF_EMPTY, packed = BUF_EMPTY;

	while (p->at < p->end && *p->at != '\'') {
		if (*p->at == '\\' && p->at + 1 < p->end) {
			p->at++;
			if (memchr("'{}\\", *p->at, 4) == NULL)
				t->open_escape = true;
		}
		buf_add_byte(&text, *p->at++);
	}
	if (p->at == p->end) {
		buf_fini(&text);
		return fail(p, "the apostrophe is not closed");
	}
	t->source = keep(p, (struct slice){ from, (size_t)(p->at - from) });
	p->at++;
	value_pack_str(&packed, text.data, text.len);
	t->literal = keep(p, buf_slice(&packed));
	buf_fini(&text);
	buf_fini(&packed);
	return 0;
}

static int
parse_path(struct parser *p, struct term *t)
{
	struct slice rest = { p->at, (size_t)(p->end - p->at) };
	size_t used;

	t->kind = TERM_PATH;
	t->path = path_compile_prefix(rest, &used, p->err);
	if (t->path == NULL)
		return -EINVAL;
	t->path_next = p->intrinsic->paths;
	p->intrinsic->paths = t;
	if (path_wants_context(t->path))
		p->intrinsic->context = true;
	p->at += used;
	return 0;
}

/* A number, true, false or null. */
static int
parse_scalar(struct parser *p, struct term *t)
{
	const uint8_t *from = p->at;
	struct buf packed = BUF_EMPTY;
	int rc;

	while (p->at < p->end &&
	       (is_word(*p->at) || *p->at == '+' || *p->at == '-'))
		p->at++;
	rc = json_parse((const char *)from, (size_t)(p->at - from), 1, &packed,
			NULL, NULL);
	if (rc == 0)
		t->literal = keep(p, buf_slice(&packed));
	buf_fini(&packed);
	if (rc == 0)
		return 0;
	p->at = from;
	return fail(p, "expected a string in apostrophes, a number, null, a "
		       "path or a function");
}

static int
parse_term(struct parser *p, struct term *t)
{
	const uint8_t *at = p->at;

	t->kind = TERM_LITERAL;
	if (peek(p, '\''))
		return parse_string(p, t);
	if (peek(p, '$'))
		return parse_path(p, t);
	while (at < p->end && is_word(*at))
		at++;
	if (at == p->end || *at != '(')
		return parse_scalar(p, t);
	t->kind = TERM_CALL;
	return parse_call(p, &t->call);
}

/*
 * Behind the opening parenthesis. Terms with paths are on a list, so they
 * must stand where they stay.
 */
static int
parse_terms(struct parser *p, struct call *c)
{
	struct term **list = NULL;
	uint32_t cap = 0;
	int rc = 0;

	skip_blanks(p);
	if (skip(p, ')'))
		return 0;
	for (;;) {
		if (c->count == INTRINSIC_ARGS_MAX) {
			rc = fail(p, "too many arguments");
			break;
		}
		if (c->count == cap) {
			cap = cap == 0 ? 4 : cap * 2;
			list = mem_realloc(list, cap * sizeof(struct term *));
		}
		list[c->count] =
		    arena_zalloc(p->intrinsic->arena, sizeof(**list));
		skip_blanks(p);
		rc = parse_term(p, list[c->count++]);
		if (rc < 0)
			break;
		skip_blanks(p);
		if (skip(p, ')'))
			break;
		if (!skip(p, ',')) {
			rc = fail(p, "expected , or )");
			break;
		}
	}
	if (rc == 0) {
		c->terms = arena_alloc(p->intrinsic->arena,
				       c->count * sizeof(struct term *));
		memcpy(c->terms, list, c->count * sizeof(struct term *));
	}
	free(list);
	return rc;
}

/* At the name. */
static int
parse_call(struct parser *p, struct call **out)
{
	const uint8_t *from = p->at;
	struct call *c;
	struct slice name;
	int rc;

	while (p->at < p->end && is_word(*p->at))
		p->at++;
	name = (struct slice){ from, (size_t)(p->at - from) };
	if (name.len == 0 || !peek(p, '('))
		return fail(p, "expected a path or a function's name and (");
	if (p->depth == INTRINSIC_DEPTH_MAX)
		return fail(p, "too many functions inside functions");
	c = arena_zalloc(p->intrinsic->arena, sizeof(*c));
	c->function = function_find(name);
	if (c->function == NULL) {
		p->at = from;
		return fail(p, "there is no such function");
	}
	p->at++;
	p->depth++;
	rc = parse_terms(p, c);
	p->depth--;
	if (rc < 0)
		return rc;
	if (c->count < c->function->count_min ||
	    c->count > c->function->count_max) {
		p->at = from;
		return fail(p, c->count < c->function->count_min
				   ? "it has too few arguments"
				   : "it has too many arguments");
	}
	*out = c;
	return 0;
}

struct intrinsic *
intrinsic_compile(struct slice text, struct error *err)
{
	struct parser p = {
		.begin = text.data,
		.at = text.data,
		.end = text.data + text.len,
		.err = err,
	};
	int rc;

	p.intrinsic = mem_zalloc(sizeof(*p.intrinsic));
	p.intrinsic->arena = arena_create(512);
	rc = parse_call(&p, &p.intrinsic->root);
	if (rc == 0 && p.at < p.end)
		rc = fail(&p, "nothing may follow the function");
	if (rc < 0)
		intrinsic_destroy(&p.intrinsic);
	return p.intrinsic;
}

void
intrinsic_destroy(struct intrinsic **i)
{
	if (*i == NULL)
		return;
	for (struct term *t = (*i)->paths; t != NULL; t = t->path_next)
		path_destroy(&t->path);
	arena_destroy(&(*i)->arena);
	free(*i);
	*i = NULL;
}

bool
intrinsic_wants_context(const struct intrinsic *i)
{
	return i->context;
}
