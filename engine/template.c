/* template - payload templates; see template.h. */
#include "engine/template.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distinct.h"
#include "engine/intrinsic.h"
#include "engine/path_parts.h"
#include "engine/place.h"

enum node_kind {
	NODE_RAW, /* nothing in it is to be filled in */
	NODE_ARRAY,
	NODE_MAP,
	NODE_PATH,
	NODE_CALL,
};

struct node {
	enum node_kind kind;
	struct slice raw;   /* msgpack, in the template's bytes */
	struct slice key;   /* of a child of a MAP: msgpack */
	uint32_t count;     /* ARRAY, MAP: children */
	struct node *inner; /* ARRAY, MAP: the first child */
	struct node *next;
	struct path *path;
	struct intrinsic *call;
	struct node *held; /* all with a path or call, to release them */
};

struct template
{
	struct arena *arena;
	struct slice bytes; /* the whole; raw values and keys stand in it */
	struct node *root;
	struct node *held;
	const uint8_t *wrong; /* in bytes, while it is compiled */
	bool context;
};

/* ---- compiling ---- */

/* Recursion is as deep as the definition, which was checked. */
static struct node *compile_node(struct template *t, struct slice v,
				 struct error *err);

static int
compile_fill(struct template *t, struct node *n, struct slice v,
	     struct error *err)
{
	struct item item = value_item(v);

	if (item.type != VALUE_STR) {
		error_set(err, "the value of a key that ends in \".$\" must "
			       "be a string");
		return -EINVAL;
	}
	n->held = t->held;
	t->held = n;
	if (item.bytes.len > 0 && item.bytes.data[0] == '$') {
		n->kind = NODE_PATH;
		n->path = path_compile(item.bytes, PATH_ANY, err);
		if (n->path == NULL)
			return -EINVAL;
		t->context = t->context || path_wants_context(n->path);
	} else {
		n->kind = NODE_CALL;
		n->call = intrinsic_compile(item.bytes, err);
		if (n->call == NULL)
			return -EINVAL;
		t->context = t->context || intrinsic_wants_context(n->call);
	}
	return 0;
}

static bool
is_filled(struct slice key)
{
	return key.len >= 2 && key.data[key.len - 2] == '.' &&
	       key.data[key.len - 1] == '$';
}

/* The child of a map that has this key. */
static struct node *
compile_field(struct template *t, struct slice packed, struct slice v,
	      struct error *err)
{
	struct slice key = value_item(packed).bytes;
	struct buf b = BUF_EMPTY;
	struct node *n;
	uint8_t *copy;

	if (!is_filled(key)) {
		n = compile_node(t, v, err);
		if (n != NULL)
			n->key = packed;
		return n;
	}
	n = arena_zalloc(t->arena, sizeof(*n));
	n->raw = v;
	if (compile_fill(t, n, v, err) < 0) {
		t->wrong = v.data;
		place_field(err, key);
		return NULL;
	}
	value_pack_str(&b, key.data, key.len - 2);
	copy = arena_alloc(t->arena, b.len);
	memcpy(copy, b.data, b.len);
	n->key = (struct slice){ copy, b.len };
	buf_fini(&b);
	return n;
}

/* Two keys may become the same when one loses its ".$". */
static int
check_keys(struct template *t, const struct node *map, struct error *err)
{
	struct distinct keys;
	int rc = 0;

	distinct_init(&keys, map->count);
	for (const struct node *n = map->inner; n != NULL; n = n->next) {
		uint32_t before = keys.count;

		if (distinct_add(&keys, n->key) == before)
			continue;
		error_set(err, "the key stands there twice, with and without "
			       "\".$\" or as it is");
		t->wrong = n->raw.data;
		place_field(err, value_item(n->key).bytes);
		rc = -EINVAL;
		break;
	}
	distinct_fini(&keys);
	return rc;
}

static struct node *
compile_node(struct template *t, struct slice v, struct error *err)
{
	struct cursor c = cursor_of(v);
	struct item item = cursor_next(&c);
	struct node *n = arena_zalloc(t->arena, sizeof(*n)), **end = &n->inner;
	bool raw = true;

	n->raw = v;
	if (item.type != VALUE_ARRAY && item.type != VALUE_MAP)
		return n;
	for (uint32_t i = 0; i < item.count; i++) {
		struct slice key = SLICE_NONE;

		if (item.type == VALUE_MAP)
			key = cursor_value(&c);
		*end = item.type == VALUE_MAP
			   ? compile_field(t, key, cursor_value(&c), err)
			   : compile_node(t, cursor_value(&c), err);
		if (*end == NULL)
			return NULL;
		raw = raw && (*end)->kind == NODE_RAW;
		end = &(*end)->next;
	}
	n->count = item.count;
	if (item.type == VALUE_MAP && check_keys(t, n, err) < 0)
		return NULL;
	if (!raw) /* otherwise its children are not needed any more */
		n->kind = item.type == VALUE_MAP ? NODE_MAP : NODE_ARRAY;
	return n;
}

struct template *
template_compile(struct slice value, size_t *wrong_out, struct error *err)
{
	struct template *t = mem_zalloc(sizeof(*t));
	uint8_t *copy;

	t->arena = arena_create(1024);
	copy = arena_alloc(t->arena, value.len);
	memcpy(copy, value.data, value.len);
	t->bytes = (struct slice){ copy, value.len };
	t->root = compile_node(t, t->bytes, err);
	if (t->root == NULL) {
		if (wrong_out != NULL)
			*wrong_out = (size_t)(t->wrong - copy);
		template_destroy(&t);
	}
	return t;
}

void
template_destroy(struct template **t)
{
	if (*t == NULL)
		return;
	for (struct node *n = (*t)->held; n != NULL; n = n->held) {
		path_destroy(&n->path);
		intrinsic_destroy(&n->call);
	}
	arena_destroy(&(*t)->arena);
	free(*t);
	*t = NULL;
}

bool
template_wants_context(const struct template *t)
{
	return t->context;
}

/* ---- filling ---- */

struct filling {
	struct scope scope;
	struct buf out;
	const char *name; /* the language's name of what went wrong */
	struct error *err;
};

static int
fill_path(struct filling *f, const struct node *n)
{
	struct value *v;

	if (path_select(n->path, f->scope.input, f->scope.context, &v, f->err) <
	    0) {
		place_field(f->err, value_item(n->key).bytes);
		return -EINVAL;
	}
	value_pack_raw(&f->out, v->s);
	value_unref(&v);
	return 0;
}

static int
fill_call(struct filling *f, const struct node *n)
{
	if (intrinsic_eval(n->call, &f->scope, &f->out, f->err) == 0)
		return 0;
	f->name = "States.IntrinsicFailure";
	place_field(f->err, value_item(n->key).bytes);
	return -EINVAL;
}

static int
fill(struct filling *f, const struct node *n)
{
	int rc = 0;

	if (f->out.len > RESULT_BYTES_MAX) {
		error_set(f->err, "the result has more than %u bytes",
			  RESULT_BYTES_MAX);
		return -EINVAL;
	}
	switch (n->kind) {
	case NODE_RAW:
		value_pack_raw(&f->out, n->raw);
		return 0;
	case NODE_PATH:
		return fill_path(f, n);
	case NODE_CALL:
		return fill_call(f, n);
	case NODE_ARRAY:
		value_pack_array(&f->out, n->count);
		break;
	case NODE_MAP:
		value_pack_map(&f->out, n->count);
		break;
	}
	for (const struct node *i = n->inner; i != NULL && rc == 0;
	     i = i->next) {
		if (n->kind == NODE_MAP)
			value_pack_raw(&f->out, i->key);
		rc = fill(f, i);
	}
	return rc;
}

struct value *
template_eval(const struct template *t, struct value *input,
	      struct value *context, struct template_seed *seed,
	      const char **error_name_out, struct error *err)
{
	struct filling f = {
		.scope = { input, context, seed },
		.out = BUF_EMPTY,
		.name = "States.ParameterPathFailure",
		.err = err,
	};
	struct value *v = NULL;

	if (fill(&f, t->root) == 0) {
		if (value_check(buf_slice(&f.out), VALUE_DEPTH_MAX, NULL) == 0)
			v = value_create(buf_slice(&f.out));
		else
			error_set(err,
				  "the result is nested deeper than %u "
				  "levels",
				  VALUE_DEPTH_MAX);
	}
	if (v == NULL)
		*error_name_out = f.name;
	buf_fini(&f.out);
	return v;
}
