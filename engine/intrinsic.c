/*
 * intrinsic - running compiled calls, and the functions on text and JSON;
 * see intrinsic.h. Those on arrays are in intrinsic_array.c, what hashes and
 * encodes in intrinsic_hash.c.
 *
 * Recursion is bounded by INTRINSIC_DEPTH_MAX, results of every function by
 * RESULT_BYTES_MAX.
 */
#include "engine/intrinsic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "engine/intrinsic_parts.h"
#include "engine/order.h"
#include "engine/place.h"

/* ---- arguments ---- */

int
arg_array(const struct arg *args, uint32_t no, struct error *err)
{
	if (value_type(args[no].v) == VALUE_ARRAY)
		return 0;
	error_set(err, "argument %u must be an array", no + 1);
	return -EINVAL;
}

int
arg_string(const struct arg *args, uint32_t no, struct slice *out,
	   struct error *err)
{
	struct item item = value_item(args[no].v);

	if (item.type != VALUE_STR) {
		error_set(err, "argument %u must be a string", no + 1);
		return -EINVAL;
	}
	*out = item.bytes;
	return 0;
}

int
arg_integer(const struct arg *args, uint32_t no, int64_t *out,
	    struct error *err)
{
	if (order_round(args[no].v, out))
		return 0;
	error_set(err, "argument %u must be an integer of 64 bits", no + 1);
	return -EINVAL;
}

/* ---- text and JSON ---- */

static void
add_scalar(struct slice v, struct buf *text)
{
	struct item item = value_item(v);

	if (item.type == VALUE_STR)
		buf_add(text, item.bytes.data, item.bytes.len);
	else
		json_write(v, text);
}

/*
 * A template that stands in the definition has escapes; one that comes from
 * the data may have them, and a backslash before anything else is its own.
 */
static int
format(const struct arg *args, uint32_t count, struct slice template,
       struct buf *text, struct error *err)
{
	uint32_t used = 1;

	for (size_t i = 0; i < template.len; i++) {
		uint8_t c = template.data[i];
		bool more = i + 1 < template.len;

		if (text->len > RESULT_BYTES_MAX)
			break;
		if (c == '\\' && more &&
		    memchr("'{}\\", template.data[i + 1], 4) != NULL) {
			buf_add_byte(text, template.data[++i]);
		} else if (c == '{' && more && template.data[i + 1] == '}') {
			enum value_type type;

			i++;
			if (used == count) {
				error_set(err, "there are more {} than "
					       "arguments for them");
				return -EINVAL;
			}
			type = value_type(args[used].v);
			if (type == VALUE_ARRAY || type == VALUE_MAP) {
				error_set(err,
					  "argument %u must not be an "
					  "array or object",
					  used + 1);
				return -EINVAL;
			}
			add_scalar(args[used++].v, text);
		} else if (c == '{' || c == '}') {
			error_set(err, "a brace that is not part of {} needs "
				       "a backslash before it");
			return -EINVAL;
		} else {
			buf_add_byte(text, c);
		}
	}
	if (used < count && text->len <= RESULT_BYTES_MAX) {
		error_set(err, "there are more arguments than {} for them");
		return -EINVAL;
	}
	return 0;
}

static int
function_format(const struct arg *args, uint32_t count,
		struct template_seed *seed, struct buf *out, struct error *err)
{
	struct buf text = BUF_EMPTY;
	struct slice template;
	int rc = arg_string(args, 0, &template, err);

	(void)seed;
	if (rc < 0)
		return rc;
	/* Its braces may be escaped, which its value no longer tells. */
	if (args[0].term->kind == TERM_LITERAL)
		template = args[0].term->source;
	rc = format(args, count, template, &text, err);
	if (rc == 0)
		value_pack_str(out, text.data, text.len);
	buf_fini(&text);
	return rc;
}

static int
function_string_to_json(const struct arg *args, uint32_t count,
			struct template_seed *seed, struct buf *out,
			struct error *err)
{
	struct slice text;
	struct error why = { 0 };
	int rc = arg_string(args, 0, &text, err);

	(void)count;
	(void)seed;
	if (rc < 0)
		return rc;
	if (json_parse((const char *)text.data, text.len, VALUE_DEPTH_MAX, out,
		       NULL, &why) < 0) {
		error_set(err, "the string is no JSON: %s", why.message);
		return -EINVAL;
	}
	return 0;
}

static int
function_json_to_string(const struct arg *args, uint32_t count,
			struct template_seed *seed, struct buf *out,
			struct error *err)
{
	struct buf text = BUF_EMPTY;

	(void)count;
	(void)seed;
	(void)err;
	json_write(args[0].v, &text);
	value_pack_str(out, text.data, text.len);
	buf_fini(&text);
	return 0;
}

static int
function_math_add(const struct arg *args, uint32_t count,
		  struct template_seed *seed, struct buf *out,
		  struct error *err)
{
	int64_t a, b, sum;

	(void)count;
	(void)seed;
	if (arg_integer(args, 0, &a, err) < 0 ||
	    arg_integer(args, 1, &b, err) < 0)
		return -EINVAL;
	if (__builtin_add_overflow(a, b, &sum)) {
		error_set(err, "the sum does not fit 64 bits");
		return -EINVAL;
	}
	value_pack_int(out, sum);
	return 0;
}

/* The bytes of the character at the front. */
static size_t
character_len(struct slice text)
{
	size_t len = 1;

	while (len < text.len && (text.data[len] & 0xC0) == 0x80)
		len++;
	return len;
}

/*
 * Each character of the second string divides; empty pieces are dropped, as
 * the reference implementation does.
 */
static int
function_string_split(const struct arg *args, uint32_t count,
		      struct template_seed *seed, struct buf *out,
		      struct error *err)
{
	struct buf pieces = BUF_EMPTY;
	struct slice text, dividers;
	uint32_t found = 0;
	size_t from = 0, at = 0;

	(void)count;
	(void)seed;
	if (arg_string(args, 0, &text, err) < 0 ||
	    arg_string(args, 1, &dividers, err) < 0)
		return -EINVAL;
	if (dividers.len > 1024) {
		error_set(err, "argument 2 has more than 1024 bytes");
		return -EINVAL;
	}
	while (at <= text.len) {
		struct slice rest = { text.data + at, text.len - at };
		size_t len = rest.len > 0 ? character_len(rest) : 1;

		if (rest.len == 0 || memmem(dividers.data, dividers.len,
					    rest.data, len) != NULL) {
			if (at > from) {
				value_pack_str(&pieces, text.data + from,
					       at - from);
				found++;
			}
			from = at + len;
		}
		at += len;
	}
	value_pack_array(out, found);
	value_pack_raw(out, buf_slice(&pieces));
	buf_fini(&pieces);
	return 0;
}

/* ---- running ---- */

static const struct function functions[] = {
	{ "States.Format", 1, INTRINSIC_ARGS_MAX, function_format },
	{ "States.StringToJson", 1, 1, function_string_to_json },
	{ "States.JsonToString", 1, 1, function_json_to_string },
	{ "States.Array", 0, INTRINSIC_ARGS_MAX, function_array },
	{ "States.ArrayPartition", 2, 2, function_array_partition },
	{ "States.ArrayContains", 2, 2, function_array_contains },
	{ "States.ArrayRange", 3, 3, function_array_range },
	{ "States.ArrayGetItem", 2, 2, function_array_get_item },
	{ "States.ArrayLength", 1, 1, function_array_length },
	{ "States.ArrayUnique", 1, 1, function_array_unique },
	{ "States.Base64Encode", 1, 1, function_base64_encode },
	{ "States.Base64Decode", 1, 1, function_base64_decode },
	{ "States.Hash", 2, 2, function_hash },
	{ "States.JsonMerge", 3, 3, function_json_merge },
	{ "States.MathRandom", 2, 3, function_math_random },
	{ "States.MathAdd", 2, 2, function_math_add },
	{ "States.StringSplit", 2, 2, function_string_split },
	{ "States.UUID", 0, 0, function_uuid },
};

const struct function *
function_find(struct slice name)
{
	for (uint32_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (slice_is(name, functions[i].name))
			return &functions[i];
	return NULL;
}

static int run_call(const struct call *c, const struct scope *scope,
		    struct buf *out, struct error *err);

static int
arg_init(struct arg *a, const struct term *t, const struct scope *scope,
	 struct error *err)
{
	int rc;

	*a = (struct arg){ .term = t, .v = t->literal };
	if (t->kind == TERM_PATH) {
		if (path_select(t->path, scope->input, scope->context, &a->held,
				err) < 0)
			return -EINVAL;
		a->v = a->held->s;
	} else if (t->kind == TERM_CALL) {
		rc = run_call(t->call, scope, &a->made, err);
		if (rc < 0)
			return rc;
		a->v = buf_slice(&a->made);
	} else if (t->open_escape) {
		error_set(err,
			  "the string '%.*s' has a backslash before none "
			  "of ' { } \\",
			  place_len(t->source, 100),
			  (const char *)t->source.data);
		return -EINVAL;
	}
	return 0;
}

static int
run_call(const struct call *c, const struct scope *scope, struct buf *out,
	 struct error *err)
{
	struct arg *args = mem_calloc((size_t)c->count + 1, sizeof(*args));
	size_t before = out->len;
	uint64_t bytes = 0;
	int rc = 0;

	for (uint32_t i = 0; i < c->count && rc == 0; i++) {
		rc = arg_init(&args[i], c->terms[i], scope, err);
		if (rc == 0)
			bytes += args[i].v.len;
		if (bytes > RESULT_BYTES_MAX)
			break;
	}
	if (rc == 0 && bytes <= RESULT_BYTES_MAX)
		rc = c->function->run(args, c->count, scope->seed, out, err);
	if (rc == 0 && (bytes > RESULT_BYTES_MAX ||
			out->len - before > RESULT_BYTES_MAX)) {
		error_set(err, "%s is given or makes more than %u bytes",
			  c->function->name, RESULT_BYTES_MAX);
		rc = -EINVAL;
	}
	for (uint32_t i = 0; i < c->count; i++) {
		value_unref(&args[i].held);
		buf_fini(&args[i].made);
	}
	free(args);
	if (rc < 0)
		out->len = before;
	return rc;
}

int
intrinsic_eval(const struct intrinsic *i, const struct scope *scope,
	       struct buf *out, struct error *err)
{
	return run_call(i->root, scope, out, err);
}
