/* path - compiled paths in use, and setting a place; see path.h. */
#include "engine/path.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/path_parts.h"
#include "engine/place.h"

void
path_destroy(struct path **p)
{
	if (*p == NULL)
		return;
	arena_destroy(&(*p)->arena);
	free(*p);
	*p = NULL;
}

bool
path_wants_context(const struct path *p)
{
	return p->context;
}

struct value *
path_eval(const struct path *p, struct value *input, struct value *context,
	  struct error *err)
{
	struct value *v;

	return path_select(p, input, context, &v, err) < 0 ? NULL : v;
}

/* ---- setting a place ---- */

struct set {
	const struct steps *steps;
	struct slice result;
	struct buf out;
	struct error *err;
};

static int set_step(struct set *s, uint32_t at, struct slice node);

/* Objects where there is nothing yet. */
static int
set_new(struct set *s, uint32_t at)
{
	for (; at < s->steps->count; at++) {
		const struct step *step = &s->steps->list[at];

		if (step->kind != STEP_NAME) {
			error_set(s->err, "there is no array to put an "
					  "element into");
			return -EINVAL;
		}
		value_pack_map(&s->out, 1);
		value_pack_str(&s->out, step->names[0].data,
			       step->names[0].len);
	}
	value_pack_raw(&s->out, s->result);
	return 0;
}

static int
set_name(struct set *s, uint32_t at, struct slice node)
{
	struct slice name = s->steps->list[at].names[0], old, rest;
	struct cursor c = cursor_of(node);
	struct item item = cursor_next(&c);
	int rc;

	if (item.type != VALUE_MAP) {
		error_set(s->err, "\"%.*s\" cannot be set in what is no object",
			  place_len(name, 100), (const char *)name.data);
		return -EINVAL;
	}
	rest = (struct slice){ c.at, (size_t)(c.end - c.at) };
	if (!value_get(node, name, &old)) {
		if (item.count == UINT32_MAX)
			return -EINVAL;
		value_pack_map(&s->out, item.count + 1);
		value_pack_raw(&s->out, rest);
		value_pack_str(&s->out, name.data, name.len);
		return set_new(s, at + 1);
	}
	value_pack_map(&s->out, item.count);
	buf_add(&s->out, rest.data, (size_t)(old.data - rest.data));
	rc = set_step(s, at + 1, old);
	if (rc == 0)
		buf_add(&s->out, old.data + old.len,
			(size_t)(c.end - (old.data + old.len)));
	return rc;
}

static int
set_index(struct set *s, uint32_t at, struct slice node)
{
	int64_t index = s->steps->list[at].indexes[0];
	struct cursor c = cursor_of(node);
	struct item item = cursor_next(&c);
	struct slice old;
	int rc;

	if (item.type == VALUE_ARRAY && index < 0)
		index += item.count;
	if (item.type != VALUE_ARRAY || index < 0 || index >= item.count ||
	    !value_at(node, (uint32_t)index, &old)) {
		error_set(s->err, "there is no element %lld to set",
			  (long long)s->steps->list[at].indexes[0]);
		return -EINVAL;
	}
	value_pack_array(&s->out, item.count);
	buf_add(&s->out, c.at, (size_t)(old.data - c.at));
	rc = set_step(s, at + 1, old);
	if (rc == 0)
		buf_add(&s->out, old.data + old.len,
			(size_t)(c.end - (old.data + old.len)));
	return rc;
}

/* Appends node with the place that the steps from at on name set. */
static int
set_step(struct set *s, uint32_t at, struct slice node)
{
	if (at == s->steps->count) {
		value_pack_raw(&s->out, s->result);
		return 0;
	}
	return s->steps->list[at].kind == STEP_NAME ? set_name(s, at, node)
						    : set_index(s, at, node);
}

struct value *
path_set(const struct path *p, struct value *input, struct value *result,
	 struct error *err)
{
	struct set s = {
		.steps = &p->steps,
		.result = result->s,
		.out = BUF_EMPTY,
		.err = err,
	};
	struct value *v = NULL;

	ASSERT(p->steps.single && p->steps.tail == TAIL_NONE);
	if (p->context) {
		error_set(err, "the context object cannot be set");
		return NULL;
	}
	if (p->steps.count == 0)
		return value_ref(result);
	/* Each step is one level: this bounds the recursion as well. */
	if (p->steps.count <= VALUE_DEPTH_MAX && set_step(&s, 0, input->s) < 0)
		goto out;
	if (p->steps.count > VALUE_DEPTH_MAX ||
	    value_check(buf_slice(&s.out), VALUE_DEPTH_MAX, NULL) < 0)
		error_set(err, "the result is nested deeper than %u levels",
			  VALUE_DEPTH_MAX);
	else
		v = value_create(buf_slice(&s.out));
out:
	buf_fini(&s.out);
	return v;
}
