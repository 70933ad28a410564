/*
 * value - JSON values as msgpack bytes: checking, reading, packing, sharing.
 */
#include "common/value.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <msgpack/pack.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

/* ---- one header: the only place that knows msgpack's tags ---- */

enum {
	HEAD_SHORT = 0,    /* more bytes are needed */
	HEAD_ILLEGAL = -1, /* 0xc1 or an ext */
};

static inline uint16_t
load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t
load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t
load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void
set_uint(struct item *out, uint64_t v)
{
	if (v > INT64_MAX) {
		out->type = VALUE_UINT;
		out->u = v;
	} else {
		out->type = VALUE_INT;
		out->i = (int64_t)v;
	}
}

static inline void
set_int(struct item *out, int64_t v)
{
	out->type = VALUE_INT;
	out->i = v;
}

static inline void
set_double(struct item *out, double d)
{
	out->type = VALUE_DOUBLE;
	out->d = d;
}

static inline void
set_bytes(struct item *out, enum value_type type, const uint8_t *at,
	  uint32_t len)
{
	out->type = type;
	out->bytes = (struct slice){ at, len };
}

static inline void
set_count(struct item *out, enum value_type type, uint32_t count)
{
	out->type = type;
	out->count = count;
}

/*
 * Reads the header at at. Returns its size and fills *out; the bytes of a
 * string follow it and are not compared with end here. Or HEAD_SHORT or
 * HEAD_ILLEGAL.
 */
static inline int
head_read(const uint8_t *at, const uint8_t *end, struct item *out)
{
	/* Header sizes of the tags from 0xc0 to 0xdf; 0: illegal. */
	static const uint8_t sizes[32] = {
		1, 0, 1, 1, 2, 3, 5, 0, 0, 0, 5, 9, 2, 3, 5, 9,
		2, 3, 5, 9, 0, 0, 0, 0, 0, 2, 3, 5, 3, 5, 3, 5,
	};
	uint8_t tag;
	int size;

	if (at >= end)
		return HEAD_SHORT;
	tag = *at;
	if (tag < 0x80) {
		set_int(out, tag);
		return 1;
	}
	if (tag >= 0xe0) {
		set_int(out, (int8_t)tag);
		return 1;
	}
	if (tag < 0x90) {
		set_count(out, VALUE_MAP, tag & 0x0fU);
		return 1;
	}
	if (tag < 0xa0) {
		set_count(out, VALUE_ARRAY, tag & 0x0fU);
		return 1;
	}
	if (tag < 0xc0) {
		set_bytes(out, VALUE_STR, at + 1, tag & 0x1fU);
		return 1;
	}
	size = sizes[tag - 0xc0];
	if (size == 0)
		return HEAD_ILLEGAL;
	if (end - at < size)
		return HEAD_SHORT;
	at++;
	switch (tag) {
	case 0xc0:
		out->type = VALUE_NULL;
		break;
	case 0xc2:
	case 0xc3:
		out->type = VALUE_BOOL;
		out->b = tag == 0xc3;
		break;
	case 0xc4:
		set_bytes(out, VALUE_BIN, at + 1, at[0]);
		break;
	case 0xc5:
		set_bytes(out, VALUE_BIN, at + 2, load16(at));
		break;
	case 0xc6:
		set_bytes(out, VALUE_BIN, at + 4, load32(at));
		break;
	case 0xca: {
		uint32_t bits = load32(at);
		float f;

		memcpy(&f, &bits, sizeof(f));
		set_double(out, (double)f);
		break;
	}
	case 0xcb: {
		uint64_t bits = load64(at);
		double d;

		memcpy(&d, &bits, sizeof(d));
		set_double(out, d);
		break;
	}
	case 0xcc:
		set_int(out, at[0]);
		break;
	case 0xcd:
		set_int(out, load16(at));
		break;
	case 0xce:
		set_int(out, load32(at));
		break;
	case 0xcf:
		set_uint(out, load64(at));
		break;
	case 0xd0:
		set_int(out, (int8_t)at[0]);
		break;
	case 0xd1:
		set_int(out, (int16_t)load16(at));
		break;
	case 0xd2:
		set_int(out, (int32_t)load32(at));
		break;
	case 0xd3:
		set_int(out, (int64_t)load64(at));
		break;
	case 0xd9:
		set_bytes(out, VALUE_STR, at + 1, at[0]);
		break;
	case 0xda:
		set_bytes(out, VALUE_STR, at + 2, load16(at));
		break;
	case 0xdb:
		set_bytes(out, VALUE_STR, at + 4, load32(at));
		break;
	case 0xdc:
		set_count(out, VALUE_ARRAY, load16(at));
		break;
	case 0xdd:
		set_count(out, VALUE_ARRAY, load32(at));
		break;
	case 0xde:
		set_count(out, VALUE_MAP, load16(at));
		break;
	default: /* 0xdf, the last one with a size */
		set_count(out, VALUE_MAP, load32(at));
		break;
	}
	return size;
}

/* ---- checking ---- */

struct level {
	size_t left; /* values still to come; of a map: keys and values */
	bool map;
};

static int
refuse(struct error *err, const char *what, size_t offset)
{
	error_set(err, "%s at byte %zu of a msgpack value", what, offset);
	return -EPROTO;
}

/* Inlined twice, so that what frames may do costs values nothing. */
static inline __attribute__((always_inline)) int
check(struct slice bytes, uint32_t depth_max, bool frame, struct error *err)
{
	const uint8_t *at = bytes.data;
	const uint8_t *end = bytes.data + bytes.len;
	struct level stack[DEFINITION_DEPTH_MAX];
	struct level now = { .left = 1, .map = false };
	uint32_t depth = 0;
	const char *what;

	ASSERT(depth_max <= DEFINITION_DEPTH_MAX);
	for (;;) {
		struct item item;
		bool is_key;
		size_t room;
		int size;

		while (now.left == 0) {
			if (depth == 0) {
				what = "trailing bytes";
				if (at != end)
					goto bad;
				return 0;
			}
			now = stack[--depth];
		}
		size = head_read(at, end, &item);
		if (__builtin_expect(size <= 0, 0)) {
			what = size == HEAD_SHORT ? "end of data too early"
						  : "unknown type";
			goto bad;
		}
		now.left--;
		is_key = now.map && (now.left & 1) != 0;
		if (is_key && !frame && item.type != VALUE_STR) {
			what = "key that is no string";
			goto bad;
		}
		at += size;
		room = (size_t)(end - at);
		switch (item.type) {
		case VALUE_NULL:
		case VALUE_BOOL:
		case VALUE_INT:
		case VALUE_UINT:
			break;
		case VALUE_DOUBLE:
			what = "number that is not finite";
			if (!isfinite(item.d))
				goto bad;
			break;
		case VALUE_BIN:
			what = "binary data";
			if (!frame)
				goto bad;
			what = "length beyond the end of data";
			if (item.bytes.len > room)
				goto bad;
			at += item.bytes.len;
			break;
		case VALUE_STR:
			what = "length beyond the end of data";
			if (item.bytes.len > room)
				goto bad;
			what = "string that is not UTF-8";
			if (!utf8_valid(item.bytes.data, item.bytes.len))
				goto bad;
			at += item.bytes.len;
			break;
		case VALUE_ARRAY:
		case VALUE_MAP:
			what = "key that is no scalar";
			if (is_key)
				goto bad;
			/* Each value takes a byte at least: what claims more
			 * is refused before anything is sized by it. */
			what = "count beyond the end of data";
			if (item.type == VALUE_MAP) {
				if (item.count > room / 2)
					goto bad;
			} else if (item.count > room) {
				goto bad;
			}
			what = "nesting too deep";
			if (depth == depth_max)
				goto bad;
			stack[depth++] = now;
			now.map = item.type == VALUE_MAP;
			now.left =
			    now.map ? (size_t)item.count * 2 : item.count;
			break;
		}
	}
bad:
	return refuse(err, what, (size_t)(at - bytes.data));
}

int
value_check(struct slice bytes, uint32_t depth_max, struct error *err)
{
	return check(bytes, depth_max, false, err);
}

int
value_check_frame(struct slice bytes, uint32_t depth_max, struct error *err)
{
	return check(bytes, depth_max, true, err);
}

/* ---- reading ---- */

struct item
cursor_next(struct cursor *c)
{
	struct item item;
	int size = head_read(c->at, c->end, &item);

	ASSERT(size > 0);
	c->at += size;
	if (item.type == VALUE_STR || item.type == VALUE_BIN) {
		ASSERT(item.bytes.len <= (size_t)(c->end - c->at));
		c->at += item.bytes.len;
	}
	return item;
}

/* A small number, null, a bool, an empty string, array or map. */
static inline bool
tag_is_whole(uint8_t tag)
{
	return tag <= 0x80 || tag == 0x90 || tag == 0xa0 || tag == 0xc0 ||
	       tag == 0xc2 || tag == 0xc3 || tag >= 0xe0;
}

struct slice
cursor_value(struct cursor *c)
{
	const uint8_t *begin = c->at;
	uint64_t left = 1;

	while (left > 0) {
		struct item item;

		left--;
		/* Most of what is skipped is short: its first byte tells. */
		if (c->at < c->end && tag_is_whole(*c->at)) {
			c->at++;
			continue;
		}
		item = cursor_next(c);
		if (item.type == VALUE_ARRAY)
			left += item.count;
		else if (item.type == VALUE_MAP)
			left += (uint64_t)item.count * 2;
	}
	return (struct slice){ begin, (size_t)(c->at - begin) };
}

int
cursor_uint(struct cursor *c, uint64_t *out)
{
	struct cursor next = *c;
	struct item item;

	if (c->at == c->end)
		return -EPROTO;
	if (*c->at < 0x80) {
		*out = *c->at++;
		return 0;
	}
	item = cursor_next(&next);
	if (item.type == VALUE_UINT)
		*out = item.u;
	else if (item.type == VALUE_INT && item.i >= 0)
		*out = (uint64_t)item.i;
	else
		return -EPROTO;
	*c = next;
	return 0;
}

int
cursor_bytes(struct cursor *c, struct slice *out)
{
	struct cursor next = *c;
	struct item item;

	if (c->at == c->end)
		return -EPROTO;
	item = cursor_next(&next);
	if (item.type != VALUE_STR && item.type != VALUE_BIN)
		return -EPROTO;
	*out = item.bytes;
	*c = next;
	return 0;
}

static int
cursor_count(struct cursor *c, enum value_type type, uint32_t *count_out)
{
	struct cursor next = *c;
	struct item item;

	if (c->at == c->end)
		return -EPROTO;
	item = cursor_next(&next);
	if (item.type != type)
		return -EPROTO;
	*count_out = item.count;
	*c = next;
	return 0;
}

int
cursor_array(struct cursor *c, uint32_t *count_out)
{
	if (c->at < c->end && (*c->at & 0xf0) == 0x90) {
		*count_out = *c->at++ & 0x0fU;
		return 0;
	}
	return cursor_count(c, VALUE_ARRAY, count_out);
}

int
cursor_map(struct cursor *c, uint32_t *count_out)
{
	return cursor_count(c, VALUE_MAP, count_out);
}

struct item
value_item(struct slice v)
{
	struct cursor c = cursor_of(v);

	return cursor_next(&c);
}

enum value_type
value_type(struct slice v)
{
	return value_item(v).type;
}

uint32_t
value_count(struct slice v)
{
	struct item item = value_item(v);

	return item.type == VALUE_ARRAY || item.type == VALUE_MAP ? item.count
								  : 0;
}

static bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool
value_get(struct slice map, struct slice key, struct slice *out)
{
	struct cursor c = cursor_of(map);
	struct item item = cursor_next(&c);
	bool found = false;

	if (item.type != VALUE_MAP)
		return false;
	/* To the end, since of duplicate keys the last one counts. */
	for (uint32_t i = 0; i < item.count; i++) {
		struct item k = cursor_next(&c);
		struct slice v = cursor_value(&c);

		if (k.type == VALUE_STR && slice_equal(k.bytes, key)) {
			*out = v;
			found = true;
		}
	}
	return found;
}

bool
value_at(struct slice array, uint32_t index, struct slice *out)
{
	struct cursor c = cursor_of(array);
	struct item item = cursor_next(&c);

	if (item.type != VALUE_ARRAY || index >= item.count)
		return false;
	for (uint32_t i = 0; i < index; i++)
		(void)cursor_value(&c);
	*out = cursor_value(&c);
	return true;
}

bool
value_is_str(struct slice v, const char *text)
{
	struct item item = value_item(v);

	return item.type == VALUE_STR && slice_is(item.bytes, text);
}

/* ---- writing ---- */

static inline int
write_cb(void *data, const char *bytes, size_t len)
{
	buf_add(data, bytes, len);
	return 0;
}

static inline msgpack_packer
packer(struct buf *b)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, b, write_cb);
	return pk;
}

void
value_pack_null(struct buf *b)
{
	buf_add_byte(b, 0xc0);
}

void
value_pack_bool(struct buf *b, bool v)
{
	buf_add_byte(b, v ? 0xc3 : 0xc2);
}

void
value_pack_int(struct buf *b, int64_t v)
{
	msgpack_packer pk = packer(b);

	msgpack_pack_int64(&pk, v);
}

void
value_pack_uint(struct buf *b, uint64_t v)
{
	msgpack_packer pk = packer(b);

	msgpack_pack_uint64(&pk, v);
}

void
value_pack_double(struct buf *b, double v)
{
	msgpack_packer pk = packer(b);

	ASSERT(isfinite(v));
	msgpack_pack_double(&pk, v);
}

void
value_pack_str(struct buf *b, const void *s, size_t len)
{
	msgpack_packer pk = packer(b);

	ASSERT(len <= UINT32_MAX);
	msgpack_pack_str(&pk, len);
	buf_add(b, s, len);
}

void
value_pack_text(struct buf *b, const char *s)
{
	value_pack_str(b, s, strlen(s));
}

void
value_pack_bin(struct buf *b, const void *s, size_t len)
{
	msgpack_packer pk = packer(b);

	ASSERT(len <= UINT32_MAX);
	msgpack_pack_bin(&pk, len);
	buf_add(b, s, len);
}

void
value_pack_array(struct buf *b, uint32_t count)
{
	msgpack_packer pk = packer(b);

	msgpack_pack_array(&pk, count);
}

void
value_pack_map(struct buf *b, uint32_t pairs)
{
	msgpack_packer pk = packer(b);

	msgpack_pack_map(&pk, pairs);
}

void
value_pack_raw(struct buf *b, struct slice packed)
{
	buf_add(b, packed.data, packed.len);
}

/* ---- sharing ---- */

struct value *
value_create(struct slice bytes)
{
	struct value *v = mem_alloc(sizeof(*v) + bytes.len);
	uint8_t *copy = (uint8_t *)(v + 1);

	ASSERT(bytes.len > 0);
	memcpy(copy, bytes.data, bytes.len);
	v->refs = 1;
	v->whole = NULL;
	v->s = (struct slice){ copy, bytes.len };
	return v;
}

struct value *
value_part(struct value *whole, struct slice part)
{
	struct value *v;

	ASSERT(whole->refs > 0 && part.len > 0);
	ASSERT(part.data >= whole->s.data &&
	       part.data + part.len <= whole->s.data + whole->s.len);
	if (part.len == whole->s.len)
		return value_ref(whole);
	/* Of the outermost, so that releasing needs no chain. */
	if (whole->whole != NULL)
		whole = whole->whole;
	v = mem_alloc(sizeof(*v));
	v->refs = 1;
	v->whole = value_ref(whole);
	v->s = part;
	return v;
}

struct value *
value_null(void)
{
	return value_create(SLICE_LITERAL("\xc0"));
}

struct value *
value_ref(struct value *v)
{
	ASSERT(v->refs > 0 && v->refs < UINT32_MAX);
	v->refs++;
	return v;
}

void
value_unref(struct value **v)
{
	struct value *gone = *v;
	struct value *whole;

	if (gone == NULL)
		return;
	*v = NULL;
	ASSERT(gone->refs > 0);
	if (--gone->refs > 0)
		return;
	whole = gone->whole;
	free(gone);
	value_unref(&whole); /* once only: a whole is no part */
}
