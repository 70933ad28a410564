/* choice - the rules of a Choice state; see choice.h. */
#include "engine/choice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "engine/order.h"
#include "engine/path_parts.h"
#include "engine/place.h"
#include "engine/timestamp.h"

enum rule_kind {
	RULE_AND,
	RULE_OR,
	RULE_NOT,
	RULE_STRING,
	RULE_NUMERIC,
	RULE_BOOLEAN,
	RULE_TIMESTAMP,
	RULE_MATCHES,
	RULE_IS_NULL,
	RULE_IS_PRESENT,
	RULE_IS_NUMERIC,
	RULE_IS_STRING,
	RULE_IS_BOOLEAN,
	RULE_IS_TIMESTAMP,
};

/* Which orders of the two values make a comparison true. */
#define LESS BIT(0)
#define EQUAL BIT(1)
#define MORE BIT(2)

/* A piece of a StringMatches pattern between its wildcards. */
struct piece {
	struct slice text;
	struct piece *next;
};

struct rule {
	enum rule_kind kind;
	uint32_t orders;
	const char *name;   /* of its operator, without Path */
	struct rule *inner; /* AND, OR: the first; NOT: the one */
	struct rule *next;  /* in the same AND or OR */
	struct path *variable;
	struct path *other;    /* of a …Path operator, or NULL */
	struct slice literal;  /* msgpack; otherwise */
	int64_t literal_us;    /* TIMESTAMP: the literal's */
	struct piece *pieces;  /* MATCHES: at least one */
	bool open_escape;      /* MATCHES: a wrong pattern */
	bool wanted;           /* IS_…: true or false */
	struct rule *all_next; /* every rule, to release the paths */
};

struct choice {
	struct arena *arena;
	const uint8_t *wrong; /* while it is compiled: what cannot be */
	struct rule *root;
	struct rule *all;
	bool context;
};

static const struct {
	const char *name;
	enum rule_kind kind;
	uint32_t orders; /* those with orders have a …Path form */
} operators[] = {
	{ "StringEquals", RULE_STRING, EQUAL },
	{ "StringLessThan", RULE_STRING, LESS },
	{ "StringGreaterThan", RULE_STRING, MORE },
	{ "StringLessThanEquals", RULE_STRING, LESS | EQUAL },
	{ "StringGreaterThanEquals", RULE_STRING, MORE | EQUAL },
	{ "NumericEquals", RULE_NUMERIC, EQUAL },
	{ "NumericLessThan", RULE_NUMERIC, LESS },
	{ "NumericGreaterThan", RULE_NUMERIC, MORE },
	{ "NumericLessThanEquals", RULE_NUMERIC, LESS | EQUAL },
	{ "NumericGreaterThanEquals", RULE_NUMERIC, MORE | EQUAL },
	{ "BooleanEquals", RULE_BOOLEAN, EQUAL },
	{ "TimestampEquals", RULE_TIMESTAMP, EQUAL },
	{ "TimestampLessThan", RULE_TIMESTAMP, LESS },
	{ "TimestampGreaterThan", RULE_TIMESTAMP, MORE },
	{ "TimestampLessThanEquals", RULE_TIMESTAMP, LESS | EQUAL },
	{ "TimestampGreaterThanEquals", RULE_TIMESTAMP, MORE | EQUAL },
	{ "StringMatches", RULE_MATCHES, 0 },
	{ "IsNull", RULE_IS_NULL, 0 },
	{ "IsPresent", RULE_IS_PRESENT, 0 },
	{ "IsNumeric", RULE_IS_NUMERIC, 0 },
	{ "IsString", RULE_IS_STRING, 0 },
	{ "IsBoolean", RULE_IS_BOOLEAN, 0 },
	{ "IsTimestamp", RULE_IS_TIMESTAMP, 0 },
	{ "And", RULE_AND, 0 },
	{ "Or", RULE_OR, 0 },
	{ "Not", RULE_NOT, 0 },
};

/* ---- compiling ---- */

/* The innermost value that is wrong is the first to say so. */
static void
wrong_at(struct choice *c, struct slice v)
{
	if (c->wrong == NULL)
		c->wrong = v.data;
}

static struct rule *compile_rule(struct choice *c, struct slice v,
				 uint32_t depth, struct error *err);

/* False when key is no operator; *path_out for its …Path form. */
static bool
find_operator(struct slice key, uint32_t *index_out, bool *path_out)
{
	for (uint32_t i = 0; i < sizeof(operators) / sizeof(operators[0]);
	     i++) {
		const char *name = operators[i].name;
		size_t len = strlen(name);

		if (key.len < len || memcmp(key.data, name, len) != 0)
			continue;
		*index_out = i;
		*path_out = key.len == len + 4 && operators[i].orders != 0 &&
			    memcmp(key.data + len, "Path", 4) == 0;
		if (key.len == len || *path_out)
			return true;
	}
	return false;
}

static int
compile_path(struct choice *c, struct slice v, struct path **out,
	     struct error *err)
{
	struct item item = value_item(v);

	if (item.type != VALUE_STR) {
		error_set(err, "must be a path, a string that begins with "
			       "\"$\"");
		return -EINVAL;
	}
	*out = path_compile(item.bytes, PATH_ANY, err);
	if (*out == NULL)
		return -EINVAL;
	c->context = c->context || path_wants_context(*out);
	return 0;
}

static void
add_piece(struct choice *c, struct piece ***end, const struct buf *text)
{
	struct piece *piece = arena_zalloc(c->arena, sizeof(*piece));

	piece->text.len = text->len;
	piece->text.data = (const uint8_t *)arena_strndup(
	    c->arena, text->len > 0 ? (const char *)text->data : "", text->len);
	**end = piece;
	*end = &piece->next;
}

/* "a*b" is the pieces "a" and "b"; "\*" and "\\" stand for themselves. */
static void
compile_pattern(struct choice *c, struct rule *r, struct slice pattern)
{
	struct piece **end = &r->pieces;
	struct buf text = BUF_EMPTY;

	for (size_t i = 0; i < pattern.len; i++) {
		uint8_t byte = pattern.data[i];

		if (byte == '*') {
			add_piece(c, &end, &text);
			text.len = 0;
			continue;
		}
		if (byte == '\\') {
			if (++i == pattern.len || (pattern.data[i] != '*' &&
						   pattern.data[i] != '\\')) {
				r->open_escape = true;
				break;
			}
			byte = pattern.data[i];
		}
		buf_add_byte(&text, byte);
	}
	add_piece(c, &end, &text);
	buf_fini(&text);
}

/* The literal that r's operator is given. */
static int
compile_literal(struct choice *c, struct rule *r, struct slice v,
		struct error *err)
{
	struct item item = value_item(v);
	const char *want = NULL;
	uint8_t *copy;

	if (r->kind == RULE_STRING || r->kind == RULE_MATCHES) {
		if (item.type != VALUE_STR)
			want = "a string";
		else if (r->kind == RULE_MATCHES)
			compile_pattern(c, r, item.bytes);
	} else if (r->kind == RULE_NUMERIC) {
		if (!order_is_number(item.type))
			want = "a number";
	} else if (r->kind == RULE_TIMESTAMP) {
		if (item.type != VALUE_STR ||
		    timestamp_parse(item.bytes, &r->literal_us) < 0)
			want = "a timestamp like \"2016-03-14T01:59:00Z\"";
	} else {
		if (item.type != VALUE_BOOL)
			want = "true or false";
		else
			r->wanted = item.b;
	}
	if (want != NULL) {
		error_set(err, "must be %s", want);
		return -EINVAL;
	}
	copy = arena_alloc(c->arena, v.len);
	memcpy(copy, v.data, v.len);
	r->literal = (struct slice){ copy, v.len };
	return 0;
}

static int
compile_list(struct choice *c, struct rule *r, struct slice v, uint32_t depth,
	     struct error *err)
{
	struct cursor at = cursor_of(v);
	struct item head = cursor_next(&at);
	struct rule **end = &r->inner;

	if (head.type != VALUE_ARRAY || head.count == 0) {
		error_set(err, "must be a list of at least one rule");
		return -EINVAL;
	}
	for (uint32_t i = 0; i < head.count; i++) {
		*end = compile_rule(c, cursor_value(&at), depth + 1, err);
		if (*end == NULL)
			return -EINVAL;
		end = &(*end)->next;
	}
	return 0;
}

static int
compile_operator(struct choice *c, struct rule *r, uint32_t index, bool is_path,
		 struct slice v, uint32_t depth, struct error *err)
{
	r->kind = operators[index].kind;
	r->orders = operators[index].orders;
	r->name = operators[index].name;
	if (r->kind == RULE_AND || r->kind == RULE_OR)
		return compile_list(c, r, v, depth, err);
	if (r->kind == RULE_NOT) {
		r->inner = compile_rule(c, v, depth + 1, err);
		return r->inner == NULL ? -EINVAL : 0;
	}
	if (is_path)
		return compile_path(c, v, &r->other, err);
	return compile_literal(c, r, v, err);
}

/* Keys of a rule that the definition looks after. */
static bool
is_foreign(struct slice key)
{
	return slice_is(key, "Next") || slice_is(key, "Assign") ||
	       slice_is(key, "Output");
}

static struct rule *
compile_rule(struct choice *c, struct slice v, uint32_t depth,
	     struct error *err)
{
	struct cursor at = cursor_of(v);
	struct item head = cursor_next(&at);
	struct rule *r;
	bool found = false;

	if (head.type != VALUE_MAP) {
		wrong_at(c, v);
		error_set(err, "a rule must be an object");
		return NULL;
	}
	if (depth > DEFINITION_DEPTH_MAX) {
		wrong_at(c, v);
		error_set(err, "rules are nested too deep");
		return NULL;
	}
	r = arena_zalloc(c->arena, sizeof(*r));
	r->all_next = c->all;
	c->all = r;
	for (uint32_t i = 0; i < head.count; i++) {
		struct slice key = cursor_next(&at).bytes;
		struct slice field = cursor_value(&at);
		uint32_t index = 0;
		bool is_path = false;
		int rc = 0;

		if (slice_is(key, "Variable")) {
			if (r->variable != NULL) {
				error_set(err, "is given twice");
				rc = -EINVAL;
			} else {
				rc = compile_path(c, field, &r->variable, err);
			}
		} else if (find_operator(key, &index, &is_path)) {
			if (found) {
				error_set(err, "a rule has one operator only");
				rc = -EINVAL;
			} else {
				rc = compile_operator(c, r, index, is_path,
						      field, depth, err);
			}
			found = true;
		} else if (is_foreign(key) && depth > 1) {
			error_set(err, "is not allowed in a rule inside "
				       "And, Or or Not");
			rc = -EINVAL;
		} else if (!is_foreign(key) && !slice_is(key, "Comment")) {
			error_set(err, "is no field or operator of a rule");
			rc = -EINVAL;
		}
		if (rc < 0) {
			wrong_at(c, field);
			/* Unless a rule inside has said where. */
			if (err != NULL && err->field[0] == '\0')
				place_field(err, key);
			return NULL;
		}
	}
	if (!found) {
		wrong_at(c, v);
		error_set(err, "the rule has no comparison operator");
		return NULL;
	}
	if ((r->kind <= RULE_NOT) == (r->variable != NULL)) {
		wrong_at(c, v);
		place_field(err, SLICE_LITERAL("Variable"));
		error_set(err, "%s",
			  r->variable != NULL
			      ? "must not stand beside And, Or or "
				"Not"
			      : "is missing");
		return NULL;
	}
	return r;
}

struct choice *
choice_compile(struct slice rule, size_t *wrong_out, struct error *err)
{
	struct choice *c = mem_zalloc(sizeof(*c));

	c->arena = arena_create(512);
	if (err != NULL)
		err->field[0] = '\0';
	c->root = compile_rule(c, rule, 1, err);
	if (c->root == NULL) {
		if (wrong_out != NULL)
			*wrong_out = (size_t)(c->wrong - rule.data);
		choice_destroy(&c);
	}
	return c;
}

void
choice_destroy(struct choice **c)
{
	if (*c == NULL)
		return;
	for (struct rule *r = (*c)->all; r != NULL; r = r->all_next) {
		path_destroy(&r->variable);
		path_destroy(&r->other);
	}
	arena_destroy(&(*c)->arena);
	free(*c);
	*c = NULL;
}

bool
choice_wants_context(const struct choice *c)
{
	return c->context;
}

/* ---- deciding ---- */

/* What a rule is asked about. */
struct subject {
	struct value *input;
	struct value *context;
	struct error *err;
};

/*
 * The first piece begins the text, the last one ends it, the others come in
 * between, each as early as it can: linear, without going back.
 */
static bool
matches(const struct piece *piece, struct slice text)
{
	const struct slice *first = &piece->text;

	if (piece->next == NULL)
		return text.len == first->len &&
		       memcmp(text.data, first->data, text.len) == 0;
	if (text.len < first->len ||
	    memcmp(text.data, first->data, first->len) != 0)
		return false;
	text.data += first->len;
	text.len -= first->len;
	for (piece = piece->next; piece->next != NULL; piece = piece->next) {
		const uint8_t *at = memmem(text.data, text.len,
					   piece->text.data, piece->text.len);

		if (at == NULL)
			return false;
		text.len -= (size_t)(at - text.data) + piece->text.len;
		text.data = at + piece->text.len;
	}
	return text.len >= piece->text.len &&
	       memcmp(text.data + text.len - piece->text.len, piece->text.data,
		      piece->text.len) == 0;
}

static uint32_t
order_bit(int order)
{
	return order < 0 ? LESS : order > 0 ? MORE : EQUAL;
}

/* Values of another type than the operator's do not hold. */
static bool
compare(const struct rule *r, struct slice left, struct slice right)
{
	struct item a = value_item(left), b = value_item(right);
	int64_t a_us, b_us;
	int order;

	if (r->kind == RULE_STRING) {
		if (a.type != VALUE_STR || b.type != VALUE_STR)
			return false;
		order = order_strings(a.bytes, b.bytes);
	} else if (r->kind == RULE_NUMERIC) {
		if (!order_is_number(a.type) || !order_is_number(b.type))
			return false;
		order = order_numbers(&a, &b);
	} else if (r->kind == RULE_BOOLEAN) {
		if (a.type != VALUE_BOOL || b.type != VALUE_BOOL)
			return false;
		order = a.b == b.b ? 0 : 1;
	} else {
		b_us = r->literal_us;
		if (a.type != VALUE_STR || timestamp_parse(a.bytes, &a_us) < 0)
			return false;
		if (r->other != NULL && (b.type != VALUE_STR ||
					 timestamp_parse(b.bytes, &b_us) < 0))
			return false;
		order = (a_us > b_us) - (a_us < b_us);
	}
	return (order_bit(order) & r->orders) != 0;
}

/* Rules about one value alone. */
static int
test(const struct rule *r, struct slice v, struct error *err)
{
	struct item item = value_item(v);
	int64_t us;
	bool is = false;

	switch (r->kind) {
	case RULE_MATCHES:
		if (r->open_escape) {
			error_set(err, "the StringMatches pattern has a "
				       "backslash before neither * nor \\");
			return -EINVAL;
		}
		return item.type == VALUE_STR && matches(r->pieces, item.bytes);
	case RULE_IS_NULL:
		is = item.type == VALUE_NULL;
		break;
	case RULE_IS_NUMERIC:
		is = order_is_number(item.type);
		break;
	case RULE_IS_STRING:
		is = item.type == VALUE_STR;
		break;
	case RULE_IS_BOOLEAN:
		is = item.type == VALUE_BOOL;
		break;
	case RULE_IS_TIMESTAMP:
		is = item.type == VALUE_STR &&
		     timestamp_parse(item.bytes, &us) == 0;
		break;
	case RULE_AND:
	case RULE_OR:
	case RULE_NOT:
	case RULE_STRING:
	case RULE_NUMERIC:
	case RULE_BOOLEAN:
	case RULE_TIMESTAMP:
	case RULE_IS_PRESENT:
		ASSERT(false); /* not about one value */
	}
	return is == r->wanted;
}

/* Says of which path of the rule err tells. */
static void
place_operand(const struct rule *r, const struct path *path, struct error *err)
{
	char text[sizeof(err->field)];

	if (err == NULL)
		return;
	snprintf(text, sizeof(text), "%sPath", r->name);
	place_field(err, path == r->variable ? SLICE_LITERAL("Variable") :
	            slice_of(text));
}

static int
data_holds(const struct rule *r, const struct subject *s)
{
	struct value *left = NULL, *right = NULL;
	int rc;

	/* That nothing is there is an answer, for which no words are needed. */
	rc = path_select(r->variable, s->input, s->context, &left,
			 r->kind == RULE_IS_PRESENT ? NULL : s->err);
	if (r->kind == RULE_IS_PRESENT) {
		value_unref(&left);
		if (rc == -E2BIG) {
			error_set(s->err, "the path is too much work");
			return -EINVAL;
		}
		return (rc == 0) == r->wanted;
	}
	if (rc < 0) {
		place_operand(r, r->variable, s->err);
		return -EINVAL;
	}
	if (r->orders == 0) {
		rc = test(r, left->s, s->err);
	} else if (r->other == NULL) {
		rc = compare(r, left->s, r->literal);
	} else {
		rc =
		    path_select(r->other, s->input, s->context, &right, s->err);
		if (rc < 0)
			place_operand(r, r->other, s->err);
		rc = rc < 0 ? -EINVAL : compare(r, left->s, right->s);
	}
	value_unref(&left);
	value_unref(&right);
	return rc;
}

/* As deep as the definition's JSON. */
static int
rule_holds(const struct rule *r, const struct subject *s)
{
	int rc;

	if (r->kind == RULE_NOT) {
		rc = rule_holds(r->inner, s);
		return rc < 0 ? rc : !rc;
	}
	if (r->kind != RULE_AND && r->kind != RULE_OR)
		return data_holds(r, s);
	for (const struct rule *i = r->inner; i != NULL; i = i->next) {
		rc = rule_holds(i, s);
		if (rc < 0 || rc == (r->kind == RULE_OR))
			return rc;
	}
	return r->kind == RULE_AND;
}

int
choice_holds(const struct choice *c, struct value *input, struct value *context,
	     struct error *err)
{
	struct subject s = { input, context, err };

	return rule_holds(c->root, &s);
}
