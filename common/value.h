/*
 * value - JSON values as msgpack bytes: checked once, then looked into
 * lazily and shared without copying.
 *
 * A struct slice of msgpack is a *checked* value when value_check() accepted
 * it; every other function here relies on that (ASSERT, not an error).
 * Values are what JSON can say: null, booleans, 64-bit integers, finite
 * doubles, UTF-8 strings, arrays, maps whose keys are strings. Map order is
 * kept; of duplicate keys the last one counts.
 *
 * msgpack-c packs (value_pack_*); reading is our own cursor because
 * msgpack-c can only unpack a whole tree.
 */
#ifndef COMMON_VALUE_H
#define COMMON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"

#define VALUE_DEPTH_MAX 32       /* nesting of a value: [] is 1 deep */
#define DEFINITION_DEPTH_MAX 128 /* nesting of a definition's JSON */

/* ---- checking: no allocation, no recursion, one pass ---- */

/*
 * Exactly one JSON-representable value, nothing left over: lengths and
 * counts against the bytes left, depth, UTF-8, string keys, finite doubles,
 * no bin, no ext. 0 or -EPROTO with err filled.
 */
int value_check(struct slice bytes, uint32_t depth_max,
                struct error *err) MUST_CHECK;

/*
 * The same for a frame's payload: bin is allowed and keys may be anything
 * scalar. Both accept exactly one value.
 */
int value_check_frame(struct slice bytes, uint32_t depth_max,
                      struct error *err) MUST_CHECK;

/* ---- reading ---- */

enum value_type {
	VALUE_NULL,
	VALUE_BOOL,
	VALUE_INT,  /* fits int64_t */
	VALUE_UINT, /* above INT64_MAX */
	VALUE_DOUBLE,
	VALUE_STR,
	VALUE_BIN,
	VALUE_ARRAY,
	VALUE_MAP,
};

struct item {
	enum value_type type;
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double d;
		struct slice bytes; /* STR, BIN */
		uint32_t count;     /* ARRAY: elements; MAP: pairs */
	};
};

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

static inline struct cursor
cursor_of(struct slice s)
{
	return (struct cursor){ s.data, s.data + s.len };
}

/* Reads a scalar, or the header of an array or map (its content follows). */
struct item cursor_next(struct cursor *c);
/* The next whole value as a slice; the cursor moves behind it. */
struct slice cursor_value(struct cursor *c);
/* Convenience for frames: the next value if of that type, or -EPROTO. */
int cursor_uint(struct cursor *c, uint64_t *out) MUST_CHECK;
int cursor_bytes(struct cursor *c, struct slice *out) MUST_CHECK; /* str|bin */
int cursor_array(struct cursor *c, uint32_t *count_out) MUST_CHECK;
int cursor_map(struct cursor *c, uint32_t *count_out) MUST_CHECK;

enum value_type value_type(struct slice v);
struct item value_item(struct slice v); /* cursor_next of it */
/* Elements of an array, pairs of a map, 0 for anything else. */
uint32_t value_count(struct slice v);
/* The value under key (the last, of duplicates), or false. */
bool value_get(struct slice map, struct slice key, struct slice *out);
/* The element at index, or false. */
bool value_at(struct slice array, uint32_t index, struct slice *out);
bool value_is_str(struct slice v, const char *text);
/* As JSON means it: 1 and 1.0 are equal, map order does not matter. */
bool value_equal(struct slice a, struct slice b);

/* ---- writing ---- */

void value_pack_null(struct buf *b);
void value_pack_bool(struct buf *b, bool v);
void value_pack_int(struct buf *b, int64_t v);
void value_pack_uint(struct buf *b, uint64_t v);
void value_pack_double(struct buf *b, double v);
void value_pack_str(struct buf *b, const void *s, size_t len);
void value_pack_text(struct buf *b, const char *s);
void value_pack_bin(struct buf *b, const void *s, size_t len);
void value_pack_array(struct buf *b, uint32_t count); /* elements follow */
void value_pack_map(struct buf *b, uint32_t pairs);   /* key, value follow */
void value_pack_raw(struct buf *b, struct slice packed);

/* ---- sharing ---- */

/* Immutable bytes with a count of references; not for several threads. */
struct value {
	uint32_t refs;
	struct value *whole; /* the value this one is a part of, or NULL */
	struct slice s;
};

struct value *value_create(struct slice bytes); /* copies; one reference */
/* Shares the bytes of *whole, which part must lie in; refs whole. */
struct value *value_part(struct value *whole, struct slice part);
struct value *value_null(void); /* a new reference to a value "null" */
struct value *value_ref(struct value *v);
void value_unref(struct value **v); /* sets *v to NULL; NULL is fine */

#endif
