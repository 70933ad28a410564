/*
 * builder - levels of arrays and maps, and what each still expects.
 */
#include "worker/builder.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/utf8.h"
#include "worker/text.h"

#define OPEN_HEAD_BYTES 5U /* a tag and 32 bits */
#define KEY_SHOWN_MAX 40U

void
builder_init(struct builder *b, struct buf *out, size_t bytes_max)
{
	b->out = out;
	b->bytes_max = bytes_max;
	b->borrowed = SLICE_NONE;
	b->whole = b->failed = b->too_large = false;
	b->depth = 0;
}

/* ---- mistakes ---- */

/* Where the next piece would be: $.a[3]. */
static void
where(const struct builder *b, struct buf *out)
{
	buf_add_byte(out, '$');
	for (uint32_t i = 0; i < b->depth; i++) {
		const struct builder_level *l = &b->levels[i];
		struct slice key = { b->out->data + l->key_at, l->key_len };

		if (!l->map) {
			buf_printf(out, "[%u]", l->done);
		} else if (l->value_next && l->key_at > 0) {
			buf_add_byte(out, '.');
			text_clean(key, KEY_SHOWN_MAX, out);
		}
	}
}

static void __attribute__((format(printf, 2, 3)))
refuse(struct builder *b, const char *format, ...)
{
	struct buf place = BUF_EMPTY;
	char what[300];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	where(b, &place);
	error_clear(&b->err);
	error_set(&b->err, "the result at %.*s: %s",
		  (int)(place.len < 200 ? place.len : 200),
		  (const char *)place.data, what);
	b->failed = true;
	buf_fini(&place);
}

static void
refuse_size(struct builder *b)
{
	refuse(b, "it has more than %zu bytes (value_bytes_max)", b->bytes_max);
	b->too_large = true;
}

/* ---- what may come next ---- */

static bool
at_key(const struct builder *b)
{
	return b->depth > 0 && b->levels[b->depth - 1].map &&
	       !b->levels[b->depth - 1].value_next;
}

/* A value of at least that size may follow. */
static bool
value_begins(struct builder *b, size_t bytes)
{
	if (b->failed)
		return false;
	if (b->whole)
		refuse(b, "there is a second value: put both into an array "
			  "or a map");
	else if (at_key(b))
		refuse(b, "a key must be text");
	else if (bytes > b->bytes_max || b->out->len > b->bytes_max - bytes)
		refuse_size(b);
	return !b->failed;
}

/* The innermost is complete, and what that completes. */
static void
value_ends(struct builder *b)
{
	while (b->depth > 0) {
		struct builder_level *l = &b->levels[b->depth - 1];

		l->done++;
		l->value_next = false;
		if (l->open || l->done < l->count)
			return;
		b->depth--;
	}
	b->whole = true;
}

/* ---- scalars ---- */

void
builder_null(struct builder *b)
{
	if (!value_begins(b, 1))
		return;
	value_pack_null(b->out);
	value_ends(b);
}

void
builder_bool(struct builder *b, bool v)
{
	if (!value_begins(b, 1))
		return;
	value_pack_bool(b->out, v);
	value_ends(b);
}

void
builder_int(struct builder *b, int64_t v)
{
	if (!value_begins(b, 1))
		return;
	value_pack_int(b->out, v);
	value_ends(b);
}

void
builder_uint(struct builder *b, uint64_t v)
{
	if (!value_begins(b, 1))
		return;
	value_pack_uint(b->out, v);
	value_ends(b);
}

void
builder_double(struct builder *b, double v)
{
	if (!value_begins(b, 9))
		return;
	if (!isfinite(v)) {
		refuse(b, "a number that is not finite (%s)",
		       isnan(v)  ? "NaN"
		       : v > 0.0 ? "Infinity"
				 : "-Infinity");
		return;
	}
	value_pack_double(b->out, v);
	value_ends(b);
}

void
builder_text(struct builder *b, const char *text, size_t len)
{
	bool key = at_key(b);

	if (key && !b->failed) {
		struct builder_level *l = &b->levels[b->depth - 1];

		/* Allowed here, so that the checks are those of a value. */
		l->value_next = true;
		l->key_at = 0; /* none yet */
	}
	if (!value_begins(b, len))
		return;
	if (!utf8_valid(text, len)) {
		refuse(b, "text that is not UTF-8");
		return;
	}
	value_pack_str(b->out, text, len);
	if (key) {
		b->levels[b->depth - 1].key_at = b->out->len - len;
		b->levels[b->depth - 1].key_len = len;
	} else {
		value_ends(b);
	}
}

/* ---- arrays and maps ---- */

static void
level_begin(struct builder *b, uint32_t count, bool map)
{
	struct builder_level *l;
	bool open = count == BUILDER_OPEN;

	/* Each value takes a byte at least. */
	if (!value_begins(b, open ? 1 : (size_t)count * (map ? 2 : 1)))
		return;
	if (b->depth == VALUE_DEPTH_MAX) {
		refuse(b, "nested deeper than %u", VALUE_DEPTH_MAX);
		return;
	}
	l = &b->levels[b->depth];
	*l = (struct builder_level){
		.map = map, .open = open, .count = count, .head = b->out->len
	};
	if (open) {
		const uint8_t head[OPEN_HEAD_BYTES] = { map ? 0xdf : 0xdd };

		buf_add(b->out, head, sizeof(head));
	} else if (map) {
		value_pack_map(b->out, count);
	} else {
		value_pack_array(b->out, count);
	}
	if (count == 0)
		value_ends(b);
	else
		b->depth++;
}

void
builder_array(struct builder *b, uint32_t count)
{
	level_begin(b, count, false);
}

void
builder_map(struct builder *b, uint32_t count)
{
	level_begin(b, count, true);
}

void
builder_end(struct builder *b)
{
	struct builder_level *l;

	if (b->failed)
		return;
	if (b->depth == 0) {
		refuse(b, "an end where nothing is open");
		return;
	}
	l = &b->levels[b->depth - 1];
	if (!l->open) {
		refuse(b,
		       "an end in %s that was begun with its count, of "
		       "which %u of %u are there",
		       l->map ? "a map" : "an array", l->done, l->count);
		return;
	}
	if (l->value_next) {
		refuse(b, "an end where the key's value belongs");
		return;
	}
	for (uint32_t i = 0; i < 4; i++)
		b->out->data[l->head + 1 + i] =
		    (uint8_t)(l->done >> (24 - 8 * i));
	b->depth--;
	value_ends(b);
}

/* ---- whole values ---- */

void
builder_raw(struct builder *b, struct slice packed)
{
	struct error err = { 0 };

	if (!value_begins(b, packed.len))
		return;
	if (value_check(packed, VALUE_DEPTH_MAX - b->depth, &err) < 0) {
		refuse(b, "%s", err.message);
		return;
	}
	value_pack_raw(b->out, packed);
	value_ends(b);
}

void
builder_value(struct builder *b, struct slice value)
{
	if (b->depth > 0) {
		builder_raw(b, value); /* it may be too deep here */
		return;
	}
	if (!value_begins(b, value.len))
		return;
	b->borrowed = value;
	value_ends(b);
}

void
builder_json(struct builder *b, const char *text, size_t len)
{
	size_t before = b->out->len;
	struct error err = { 0 };

	/* A text may be six times as long as its value, and blank. */
	if (!value_begins(b, 1))
		return;
	if (json_parse(text, len, VALUE_DEPTH_MAX - b->depth, b->out, NULL,
		       &err) < 0) {
		refuse(b, "JSON, line %u: %s", err.line, err.message);
		return;
	}
	if (b->out->len > b->bytes_max) {
		b->out->len = before;
		refuse_size(b);
		return;
	}
	value_ends(b);
}

int
builder_finish(struct builder *b, struct slice *out)
{
	static const uint8_t null_value[] = { 0xc0 };

	if (!b->failed && b->depth > 0) {
		const struct builder_level *l = &b->levels[b->depth - 1];

		if (l->open)
			refuse(b, "%s has no end",
			       l->map ? "a map" : "an array");
		else
			refuse(b, "%s of %u has only %u",
			       l->map ? "a map" : "an array", l->count,
			       l->done);
	}
	/* What is small at the end of a large value went unchecked. */
	if (!b->failed && b->out->len > b->bytes_max)
		refuse_size(b);
	if (b->failed)
		return -EINVAL;
	if (!b->whole)
		*out = (struct slice){ null_value, sizeof(null_value) };
	else if (b->borrowed.len > 0)
		*out = b->borrowed;
	else
		*out = buf_slice(b->out);
	return 0;
}
