/*
 * path_filter - what stands in [?( … )]: comparisons, and, or, not.
 */
#include "engine/path_parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

static int parse_literal_array(struct parser *p, struct buf *b);

/* A number as JSON has it; the JSON parser decides what it is. */
static int
parse_number(struct parser *p, struct buf *b)
{
	const uint8_t *from = p->at;

	while (p->at < p->end &&
	       (is_digit(*p->at) || strchr("+-.eE", *p->at) != NULL))
		p->at++;
	if (json_parse((const char *)from, (size_t)(p->at - from), 1, b, NULL,
		       NULL) < 0) {
		p->at = from;
		return path_fail(p, "this is no number");
	}
	return 0;
}

/* Appends a literal. */
static int
parse_literal(struct parser *p, struct buf *b)
{
	struct slice text;
	int rc;

	if (p->at == p->end)
		return path_fail(p, "expected a value");
	if (*p->at == '\'' || *p->at == '"') {
		rc = path_parse_quoted(p, &text);
		if (rc == 0)
			value_pack_str(b, text.data, text.len);
		return rc;
	}
	if (*p->at == '-' || is_digit(*p->at))
		return parse_number(p, b);
	if (*p->at == '[')
		return parse_literal_array(p, b);
	if (skip_text(p, "true"))
		value_pack_bool(b, true);
	else if (skip_text(p, "false"))
		value_pack_bool(b, false);
	else if (skip_text(p, "null"))
		value_pack_null(b);
	else
		return path_fail(p, "expected a value, \"@\" or \"$\"");
	if (p->at < p->end && is_word(*p->at))
		return path_fail(p, "expected a value, \"@\" or \"$\"");
	return 0;
}

/* ['a', 1]: one level, of scalars. */
static int
parse_literal_array(struct parser *p, struct buf *b)
{
	struct buf items = BUF_EMPTY;
	uint32_t count = 0;
	int rc = 0;

	p->at++;
	skip_blanks(p);
	if (!skip(p, ']')) {
		for (;;) {
			skip_blanks(p);
			if (peek(p, '['))
				rc = path_fail(p, "arrays inside arrays are not "
					     "supported here");
			else
				rc = parse_literal(p, &items);
			if (rc < 0)
				break;
			count++;
			skip_blanks(p);
			if (skip(p, ']'))
				break;
			if (!skip(p, ',')) {
				rc = path_fail(p, "expected , or ]");
				break;
			}
		}
	}
	if (rc == 0) {
		value_pack_array(b, count);
		value_pack_raw(b, buf_slice(&items));
	}
	buf_fini(&items);
	return rc;
}

static int
parse_operand(struct parser *p, struct operand *o)
{
	struct buf literal = BUF_EMPTY;
	int rc;

	if (peek(p, '@') || peek(p, '$')) {
		o->kind = *p->at == '@' ? OPERAND_CURRENT : OPERAND_ROOT;
		if (o->kind == OPERAND_ROOT)
			o->place = p->path->roots++;
		p->at++;
		return path_parse_steps(p, SITE_FILTER, &o->steps);
	}
	o->kind = OPERAND_LITERAL;
	rc = parse_literal(p, &literal);
	if (rc == 0)
		o->literal = path_keep(p, &literal);
	buf_fini(&literal);
	return rc;
}

static const struct {
	const char *text;
	enum test_kind kind;
} operators[] = {
	{ "===", TEST_EQ },
	{ "!==", TEST_NE },
	{ "==", TEST_EQ },
	{ "!=", TEST_NE },
	{ "<=", TEST_LE },
	{ ">=", TEST_GE },
	{ "<", TEST_LT },
	{ ">", TEST_GT },
	{ "in", TEST_IN },
	{ "nin", TEST_NIN },
	{ "contains", TEST_CONTAINS },
	{ "subsetof", TEST_SUBSETOF },
	{ "anyof", TEST_ANYOF },
	{ "noneof", TEST_NONEOF },
	{ "size", TEST_SIZE },
	{ "empty", TEST_EMPTY },
};

/* False when no operator stands here. */
static bool
parse_operator(struct parser *p, enum test_kind *out)
{
	const uint8_t *from = p->at;

	for (uint32_t i = 0; i < sizeof(operators) / sizeof(operators[0]);
	     i++) {
		const char *text = operators[i].text;

		if (!skip_text(p, text))
			continue;
		if (!is_word((uint8_t)text[0]) || p->at == p->end ||
		    !is_word(*p->at)) {
			*out = operators[i].kind;
			return true;
		}
		p->at = from;
	}
	return false;
}

static struct test *
new_test(struct parser *p, enum test_kind kind)
{
	struct test *t = arena_zalloc(p->path->arena, sizeof(*t));

	t->kind = kind;
	return t;
}

/* "!" primary, "(" test ")", or operand [operator operand]. */
static int
parse_primary(struct parser *p, struct test **out)
{
	bool inverse = false;
	struct test *t;
	int rc;

	skip_blanks(p);
	while (skip(p, '!')) {
		inverse = !inverse;
		skip_blanks(p);
	}
	if (skip(p, '(')) {
		if (p->parens == PATH_PARENS_MAX)
			return path_fail(p, "too many parentheses");
		p->parens++;
		rc = path_parse_test(p, &t);
		p->parens--;
		if (rc < 0)
			return rc;
		skip_blanks(p);
		if (!skip(p, ')'))
			return path_fail(p, "expected )");
	} else {
		t = new_test(p, TEST_EXISTS);
		rc = parse_operand(p, &t->left);
		if (rc < 0)
			return rc;
		skip_blanks(p);
		if (p->end - p->at >= 2 && memcmp(p->at, "=~", 2) == 0)
			return path_fail(p, "regular expressions are not supported");
		if (parse_operator(p, &t->kind)) {
			skip_blanks(p);
			rc = parse_operand(p, &t->right);
			if (rc < 0)
				return rc;
		}
	}
	if (inverse) {
		*out = new_test(p, TEST_NOT);
		(*out)->inner = t;
	} else {
		*out = t;
	}
	return 0;
}

/* Primaries joined by "&&" or, one level up, by "||". */
static int
parse_chain(struct parser *p, enum test_kind kind, struct test **out)
{
	struct test **end, *first;
	int rc;

	rc = kind == TEST_ANY ? parse_chain(p, TEST_EVERY, &first)
			      : parse_primary(p, &first);
	if (rc < 0)
		return rc;
	*out = first;
	end = &first->next;
	for (;;) {
		skip_blanks(p);
		if (!skip_text(p, kind == TEST_ANY ? "||" : "&&"))
			return 0;
		if (*out == first) {
			*out = new_test(p, kind);
			(*out)->inner = first;
		}
		rc = kind == TEST_ANY ? parse_chain(p, TEST_EVERY, end)
				      : parse_primary(p, end);
		if (rc < 0)
			return rc;
		end = &(*end)->next;
	}
}

int
path_parse_test(struct parser *p, struct test **out)
{
	return parse_chain(p, TEST_ANY, out);
}
