/*
 * path_eval - what a compiled path selects.
 *
 * As the language's reference implementation does it: a step that finds
 * nothing is an error as long as everything before it named one place, and
 * selects nothing behind a wildcard, slice, union, filter or "..".
 *
 * Recursion is bounded: every level either goes on to the next step (at most
 * PATH_STEPS_MAX) or down into the value (as deep as values are), and
 * filters are at most PATH_FILTERS_MAX inside each other. Work is bounded by
 * a budget of bytes looked at, since repeated ".." multiplies its input.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/order.h"
#include "engine/path_parts.h"
#include "engine/place.h"

#define BUDGET_BYTES (64U << 20)
#define BUDGET_FACTOR 64U

/* An operand that begins at the root is the same for every element. */
struct kept {
	bool done;
	bool found;
	struct slice value;
	struct buf made;
};

struct eval {
	struct slice root;
	uint64_t budget;
	struct kept *kept;
	struct error *err; /* NULL inside filters */
};

/* What was selected: the only one, or the elements of an array. */
struct found {
	bool single;
	uint32_t count;
	struct slice only;
	struct buf *made;
};

/* Room for the largest header of an array before its elements. */
#define HEADER_MAX 5U

static int walk(struct eval *e, const struct steps *steps, uint32_t at,
		struct slice node, bool definite, struct found *found);
static int test_holds(struct eval *e, const struct test *t, struct slice node);

static int
spend(struct eval *e, size_t bytes)
{
	/* An empty container costs something too. */
	if (e->budget <= bytes) {
		error_set(e->err, "the path is too much work for this input");
		return -E2BIG;
	}
	e->budget -= bytes + 1;
	return 0;
}

static int
take(struct eval *e, struct slice node, struct found *found)
{
	if (found->single) {
		found->only = node;
		found->count = 1;
		return 0;
	}
	if (node.len > RESULT_BYTES_MAX - found->made->len) {
		error_set(e->err, "the path selects more than %u bytes",
			  RESULT_BYTES_MAX);
		return -E2BIG;
	}
	buf_add(found->made, node.data, node.len);
	found->count++;
	return 0;
}

/* ---- one step ---- */

static const char *
type_name(struct slice node)
{
	switch (value_type(node)) {
	case VALUE_NULL:
		return "null";
	case VALUE_BOOL:
		return "a boolean";
	case VALUE_INT:
	case VALUE_UINT:
	case VALUE_DOUBLE:
		return "a number";
	case VALUE_STR:
	case VALUE_BIN:
		return "a string";
	case VALUE_ARRAY:
		return "an array";
	case VALUE_MAP:
		return "an object";
	}
	return "";
}

static int
step_name(struct eval *e, const struct steps *steps, uint32_t at,
	  struct slice node, bool definite, struct found *found)
{
	const struct step *s = &steps->list[at];
	struct slice next;
	int rc;

	if (value_type(node) != VALUE_MAP) {
		if (!definite)
			return 0;
		error_set(e->err, "there is no \"%.*s\" in %s",
			  place_len(s->names[0], 100),
			  (const char *)s->names[0].data, type_name(node));
		return -ENOENT;
	}
	for (uint32_t i = 0; i < s->count; i++) {
		rc = spend(e, node.len);
		if (rc < 0)
			return rc;
		if (value_get(node, s->names[i], &next)) {
			rc = walk(e, steps, at + 1, next,
				  definite && s->count == 1, found);
			if (rc < 0)
				return rc;
		} else if (definite && s->count == 1) {
			error_set(e->err, "there is no \"%.*s\"",
				  place_len(s->names[i], 100),
				  (const char *)s->names[i].data);
			return -ENOENT;
		}
	}
	return 0;
}

static int
not_array(struct eval *e, struct slice node, bool definite)
{
	if (!definite)
		return 0;
	error_set(e->err, "there are no elements in %s", type_name(node));
	return -ENOENT;
}

static int
step_index(struct eval *e, const struct steps *steps, uint32_t at,
	   struct slice node, bool definite, struct found *found)
{
	const struct step *s = &steps->list[at];
	int64_t count;
	struct slice next;
	int rc;

	if (value_type(node) != VALUE_ARRAY)
		return not_array(e, node, definite);
	count = value_count(node);
	for (uint32_t i = 0; i < s->count; i++) {
		int64_t index = s->indexes[i];

		if (index < 0)
			index += count;
		if (index < 0 || index >= count)
			continue; /* found nothing; select() says so */
		rc = spend(e, node.len);
		if (rc < 0)
			return rc;
		if (!value_at(node, (uint32_t)index, &next))
			continue;
		rc = walk(e, steps, at + 1, next, definite && s->count == 1,
			  found);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int64_t
clamp(int64_t v, int64_t low, int64_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* Where each element stands, for slices that go backwards. */
static struct slice *
elements(struct slice array, uint32_t count)
{
	struct slice *list = mem_calloc((size_t)count + 1, sizeof(*list));
	struct cursor c = cursor_of(array);

	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++)
		list[i] = cursor_value(&c);
	return list;
}

static int
slice_backwards(struct eval *e, const struct steps *steps, uint32_t at,
		struct slice node, struct found *found)
{
	const struct bounds *b = &steps->list[at].bounds;
	uint32_t n = value_count(node);
	int64_t count = n, from = count - 1, to = -1;
	struct slice *list;
	int rc = 0;

	if (b->has_from)
		from = clamp(b->from < 0 ? b->from + count : b->from, -1,
			     count - 1);
	if (b->has_to)
		to = clamp(b->to < 0 ? b->to + count : b->to, -1, count - 1);
	list = elements(node, n);
	for (int64_t i = from; i > to && rc == 0; i += b->by)
		rc = walk(e, steps, at + 1, list[i], false, found);
	free(list);
	return rc;
}

static int
step_slice(struct eval *e, const struct steps *steps, uint32_t at,
	   struct slice node, bool definite, struct found *found)
{
	const struct bounds *b = &steps->list[at].bounds;
	int64_t count, from = 0, to;
	struct cursor c;
	int rc;

	if (value_type(node) != VALUE_ARRAY)
		return not_array(e, node, definite);
	rc = spend(e, node.len);
	if (rc < 0)
		return rc;
	if (b->by < 0)
		return slice_backwards(e, steps, at, node, found);
	count = to = value_count(node);
	if (b->has_from)
		from = clamp(b->from < 0 ? b->from + count : b->from, 0, count);
	if (b->has_to)
		to = clamp(b->to < 0 ? b->to + count : b->to, 0, count);
	c = cursor_of(node);
	(void)cursor_next(&c);
	for (int64_t i = 0; i < to; i++) {
		struct slice next = cursor_value(&c);

		if (i < from || (i - from) % b->by != 0)
			continue;
		rc = walk(e, steps, at + 1, next, false, found);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
step_all(struct eval *e, const struct steps *steps, uint32_t at,
	 struct slice node, struct found *found)
{
	struct cursor c = cursor_of(node);
	struct item item = cursor_next(&c);
	int rc;

	if (item.type != VALUE_ARRAY && item.type != VALUE_MAP)
		return 0;
	rc = spend(e, node.len);
	for (uint32_t i = 0; i < item.count && rc == 0; i++) {
		if (item.type == VALUE_MAP)
			(void)cursor_value(&c);
		rc = walk(e, steps, at + 1, cursor_value(&c), false, found);
	}
	return rc;
}

/* An object is tested itself, an array element by element. */
static int
step_filter(struct eval *e, const struct steps *steps, uint32_t at,
	    struct slice node, bool definite, struct found *found)
{
	const struct step *s = &steps->list[at];
	struct cursor c = cursor_of(node);
	struct item item = cursor_next(&c);
	int rc;

	rc = spend(e, node.len);
	if (rc < 0)
		return rc;
	if (item.type == VALUE_MAP) {
		rc = test_holds(e, s->test, node);
		return rc > 0 ? walk(e, steps, at + 1, node, false, found) : rc;
	}
	if (item.type != VALUE_ARRAY) {
		if (definite)
			error_set(e->err, "a filter finds nothing in %s",
				  type_name(node));
		return definite ? -ENOENT : 0;
	}
	for (uint32_t i = 0; i < item.count; i++) {
		struct slice next = cursor_value(&c);

		/* Below "..", an object comes by again by itself. */
		if (s->deep && value_type(next) == VALUE_MAP)
			continue;
		rc = test_holds(e, s->test, next);
		if (rc > 0)
			rc = walk(e, steps, at + 1, next, false, found);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
step_apply(struct eval *e, const struct steps *steps, uint32_t at,
	   struct slice node, bool definite, struct found *found)
{
	switch (steps->list[at].kind) {
	case STEP_NAME:
		return step_name(e, steps, at, node, definite, found);
	case STEP_INDEX:
		return step_index(e, steps, at, node, definite, found);
	case STEP_SLICE:
		return step_slice(e, steps, at, node, definite, found);
	case STEP_ALL:
		return step_all(e, steps, at, node, found);
	case STEP_FILTER:
		return step_filter(e, steps, at, node, definite, found);
	}
	return 0;
}

/* The step for node and everything below that holds something. */
static int
step_deep(struct eval *e, const struct steps *steps, uint32_t at,
	  struct slice node, struct found *found)
{
	struct cursor c = cursor_of(node);
	struct item item = cursor_next(&c);
	int rc;

	if (item.type != VALUE_ARRAY && item.type != VALUE_MAP)
		return 0;
	rc = spend(e, node.len);
	if (rc == 0)
		rc = step_apply(e, steps, at, node, false, found);
	for (uint32_t i = 0; i < item.count && rc == 0; i++) {
		if (item.type == VALUE_MAP)
			(void)cursor_value(&c);
		rc = step_deep(e, steps, at, cursor_value(&c), found);
	}
	return rc;
}

static int
walk(struct eval *e, const struct steps *steps, uint32_t at, struct slice node,
     bool definite, struct found *found)
{
	if (at == steps->count)
		return take(e, node, found);
	if (steps->list[at].deep)
		return step_deep(e, steps, at, node, found);
	return step_apply(e, steps, at, node, definite, found);
}

/* ---- functions at the end ---- */

struct numbers {
	uint32_t count;
	bool whole; /* all so far are integers and sum did not overflow */
	int64_t sum;
	double total;
	double squares;
	struct slice least;
	struct slice most;
};

static double
as_double(const struct item *item)
{
	if (item->type == VALUE_INT)
		return (double)item->i;
	return item->type == VALUE_UINT ? (double)item->u : item->d;
}

static void
numbers_of(struct slice array, struct numbers *n)
{
	struct cursor c = cursor_of(array);
	struct item head = cursor_next(&c), least = { 0 }, most = { 0 };

	*n = (struct numbers){ .whole = true };
	if (head.type != VALUE_ARRAY)
		return;
	for (uint32_t i = 0; i < head.count; i++) {
		struct slice v = cursor_value(&c);
		struct item item = value_item(v);
		double d;

		if (!order_is_number(item.type))
			continue;
		if (item.type != VALUE_INT ||
		    __builtin_add_overflow(n->sum, item.i, &n->sum))
			n->whole = false;
		d = as_double(&item);
		n->total += d;
		n->squares += d * d;
		if (n->count == 0 || order_numbers(&item, &least) < 0) {
			least = item;
			n->least = v;
		}
		if (n->count == 0 || order_numbers(&item, &most) > 0) {
			most = item;
			n->most = v;
		}
		n->count++;
	}
}

static int
tail_double(struct eval *e, double d, struct buf *out)
{
	if (!isfinite(d)) {
		error_set(e->err, "the result is too large for a number");
		return -ENOENT;
	}
	value_pack_double(out, d);
	return 0;
}

static int
tail_numbers(struct eval *e, enum tail tail, struct slice v, struct buf *out)
{
	struct numbers n;
	double mean;

	numbers_of(v, &n);
	if (n.count == 0) {
		error_set(e->err, "there are no numbers to take together");
		return -ENOENT;
	}
	mean = n.total / n.count;
	if (tail == TAIL_MIN) {
		value_pack_raw(out, n.least);
	} else if (tail == TAIL_MAX) {
		value_pack_raw(out, n.most);
	} else if (tail == TAIL_SUM && n.whole) {
		value_pack_int(out, n.sum);
	} else if (tail == TAIL_SUM) {
		return tail_double(e, n.total, out);
	} else if (tail == TAIL_AVG) {
		return tail_double(e, mean, out);
	} else {
		return tail_double(
		    e, sqrt(fmax(n.squares / n.count - mean * mean, 0)), out);
	}
	return 0;
}

static int
tail_length(struct eval *e, struct slice v, struct buf *out)
{
	struct item item = value_item(v);

	if (item.type == VALUE_STR) {
		value_pack_uint(out, path_characters(item.bytes));
		return 0;
	}
	if (item.type != VALUE_ARRAY && item.type != VALUE_MAP) {
		error_set(e->err, "there is no length of %s", type_name(v));
		return -ENOENT;
	}
	value_pack_uint(out, item.count);
	return 0;
}

static int
tail_keys(struct eval *e, struct slice v, struct buf *out)
{
	struct cursor c = cursor_of(v);
	struct item item = cursor_next(&c);

	if (item.type != VALUE_MAP) {
		error_set(e->err, "there are no keys in %s", type_name(v));
		return -ENOENT;
	}
	value_pack_array(out, item.count);
	for (uint32_t i = 0; i < item.count; i++) {
		value_pack_raw(out, cursor_value(&c));
		(void)cursor_value(&c);
	}
	return 0;
}

/* Replaces *v, which may stand in *made; a new value is made there. */
static int
tail_apply(struct eval *e, enum tail tail, struct buf *made, struct slice *v)
{
	struct buf out = BUF_EMPTY;
	uint32_t count = value_count(*v);
	int rc = 0;

	switch (tail) {
	case TAIL_NONE:
		return 0;
	case TAIL_FIRST:
	case TAIL_LAST:
		if (value_type(*v) == VALUE_ARRAY && count > 0 &&
		    value_at(*v, tail == TAIL_FIRST ? 0 : count - 1, v))
			return 0;
		error_set(e->err, "there is no element to take");
		return -ENOENT;
	case TAIL_LENGTH:
	case TAIL_SIZE:
		rc = tail_length(e, *v, &out);
		break;
	case TAIL_KEYS:
		rc = tail_keys(e, *v, &out);
		break;
	case TAIL_MIN:
	case TAIL_MAX:
	case TAIL_AVG:
	case TAIL_SUM:
	case TAIL_STDDEV:
		rc = tail_numbers(e, tail, *v, &out);
		break;
	}
	if (rc < 0) {
		buf_fini(&out);
		return rc;
	}
	buf_fini(made);
	*made = out;
	*v = buf_slice(made);
	return 0;
}

/* ---- a whole path ---- */

/*
 * The result is a part of node, or stands in *made, which must be empty and
 * whose owner keeps it as long as the result.
 */
static int
select_steps(struct eval *e, const struct steps *steps, struct slice node,
	     struct buf *made, struct slice *out)
{
	static const uint8_t room[HEADER_MAX];
	struct found found = { .single = steps->single, .made = made };
	struct buf header = BUF_EMPTY;
	int rc;

	if (!found.single)
		buf_add(made, room, HEADER_MAX);
	rc = walk(e, steps, 0, node, true, &found);
	if (rc < 0)
		return rc;
	if (found.single) {
		if (found.count == 0) {
			error_set(e->err, "there is no element at the index");
			return -ENOENT;
		}
		*out = found.only;
	} else {
		/* The header's length is known only now; it goes right
		 * before the elements. */
		value_pack_array(&header, found.count);
		ASSERT(header.len <= HEADER_MAX);
		memcpy(made->data + HEADER_MAX - header.len, header.data,
		       header.len);
		out->data = made->data + HEADER_MAX - header.len;
		out->len = made->len - HEADER_MAX + header.len;
		buf_fini(&header);
	}
	return tail_apply(e, steps->tail, made, out);
}

/* ---- filters ---- */

/* 1 and *out; 0 when the operand selects nothing; -E2BIG. */
static int
operand_value(struct eval *e, const struct operand *o, struct slice node,
	      struct buf *made, struct slice *out)
{
	struct kept *kept;
	int rc;

	if (o->kind == OPERAND_LITERAL) {
		*out = o->literal;
		return 1;
	}
	if (o->kind == OPERAND_CURRENT) {
		rc = select_steps(e, &o->steps, node, made, out);
		return rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
	}
	kept = &e->kept[o->place];
	if (!kept->done) {
		rc = select_steps(e, &o->steps, e->root, &kept->made,
				  &kept->value);
		if (rc < 0 && rc != -ENOENT)
			return rc;
		kept->found = rc == 0;
		kept->done = true;
	}
	*out = kept->value;
	return kept->found;
}

static int
test_compare(struct eval *e, const struct test *t, struct slice node)
{
	struct buf made_left = BUF_EMPTY, made_right = BUF_EMPTY;
	struct slice left, right;
	int rc, has_right;

	rc = operand_value(e, &t->left, node, &made_left, &left);
	if (rc < 0)
		goto out;
	if (t->kind == TEST_EXISTS) {
		/* A path that may select many must select something. */
		if (rc == 1 && t->left.kind != OPERAND_LITERAL &&
		    !t->left.steps.single && t->left.steps.tail == TAIL_NONE)
			rc = value_count(left) > 0;
		goto out;
	}
	has_right = operand_value(e, &t->right, node, &made_right, &right);
	if (has_right < 0) {
		rc = has_right;
	} else if (rc == 0 || has_right == 0) {
		rc = t->kind == TEST_NE || t->kind == TEST_NIN;
	} else {
		rc = spend(e, path_compare_cost(t->kind, left, right));
		if (rc == 0)
			rc = path_compare(t->kind, left, right);
	}
out:
	buf_fini(&made_left);
	buf_fini(&made_right);
	return rc;
}

/* 1, 0, or -E2BIG. */
static int
test_node(struct eval *e, const struct test *t, struct slice node)
{
	int rc;

	if (t->kind == TEST_NOT) {
		rc = test_node(e, t->inner, node);
		return rc < 0 ? rc : !rc;
	}
	if (t->kind != TEST_ANY && t->kind != TEST_EVERY)
		return test_compare(e, t, node);
	for (const struct test *i = t->inner; i != NULL; i = i->next) {
		rc = test_node(e, i, node);
		if (rc < 0 || rc == (t->kind == TEST_ANY))
			return rc;
	}
	return t->kind == TEST_EVERY;
}

static int
test_holds(struct eval *e, const struct test *t, struct slice node)
{
	struct error *err = e->err;
	int rc;

	/* That an operand finds nothing is no error and needs no words. */
	e->err = NULL;
	rc = test_node(e, t, node);
	e->err = err;
	if (rc == -E2BIG)
		error_set(err, "the path is too much work for this input");
	return rc;
}

/* ---- entry ---- */

int
path_select(const struct path *p, struct value *input, struct value *context,
	    struct value **out, struct error *err)
{
	struct value *whole = p->context ? context : input;
	struct buf made = BUF_EMPTY;
	struct eval e = { .err = err };
	struct slice v;
	int rc;

	ASSERT(whole != NULL);
	e.root = whole->s;
	e.budget = BUDGET_BYTES + (uint64_t)e.root.len * BUDGET_FACTOR;
	if (p->roots > 0)
		e.kept = mem_calloc(p->roots, sizeof(*e.kept));
	rc = select_steps(&e, &p->steps, e.root, &made, &v);
	for (uint32_t i = 0; i < p->roots; i++)
		buf_fini(&e.kept[i].made);
	free(e.kept);
	/*
	 * An array around an object that a filter took may be one too deep,
	 * and so may what is taken from the context, which holds a value.
	 */
	if (rc == 0 && (p->context || made.data != NULL) &&
	    value_check(v, VALUE_DEPTH_MAX, NULL) < 0) {
		error_set(err,
			  "what the path selects is nested deeper than "
			  "%u levels",
			  VALUE_DEPTH_MAX);
		rc = -E2BIG;
	}
	/* A first() of an array that was made here stands in made too. */
	if (rc == 0)
		*out = made.data != NULL       ? value_create(v)
		       : v.len == whole->s.len ? value_ref(whole)
					       : value_part(whole, v);
	buf_fini(&made);
	return rc;
}
