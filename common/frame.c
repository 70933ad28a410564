/*
 * frame - the messages between rappel's processes: headers only.
 *
 * The header is read from bytes that nobody has checked, so it has a reader
 * of its own; value.h's cursor wants checked bytes.
 */
#include "common/frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define LENGTH_BYTES 4U
#define HEADER_FIELDS 5U
/* Array header, four integers and a payload of one byte each. */
#define BODY_BYTES_MIN 6U

static const struct {
	const char *name;
	unsigned senders;
} types[] = {
#define FRAME(name, number, senders) [number] = { #name, senders },
#include "common/frame_types.def"
#undef FRAME
};

#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))

static bool
frame_known(unsigned type)
{
	return type < TYPE_COUNT && types[type].name != NULL;
}

const char *
frame_type_name(unsigned type)
{
	return frame_known(type) ? types[type].name : "?";
}

bool
frame_allowed(unsigned type, enum peer sender)
{
	return type < TYPE_COUNT && (types[type].senders & BIT(sender)) != 0;
}

static const char *
peer_name(enum peer peer)
{
	switch (peer) {
	case PEER_SUPERVISOR:
		return "supervisor";
	case PEER_FLUSHER:
		return "flusher";
	case PEER_WORKER:
		return "worker";
	case PEER_CONTROL:
		return "control client";
	}
	return "?";
}

/* Unchecked bytes of one frame. */
struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

/* A big-endian number of n bytes. */
static bool
read_number(struct reader *r, unsigned n, uint64_t *out)
{
	uint64_t v = 0;

	if ((size_t)(r->end - r->at) < n)
		return false;
	for (unsigned i = 0; i < n; i++)
		v = v << 8 | *r->at++;
	*out = v;
	return true;
}

/* Any of msgpack's ways to write an integer from 0 to max. */
static bool
read_uint(struct reader *r, uint64_t max, uint64_t *out)
{
	uint64_t tag, v;
	bool is_signed;
	unsigned n;

	if (!read_number(r, 1, &tag))
		return false;
	if (tag < 0x80) {
		*out = tag;
		return tag <= max;
	}
	if (tag < 0xcc || tag > 0xd3)
		return false;
	is_signed = tag >= 0xd0;
	n = 1U << (tag & 3);
	if (!read_number(r, n, &v))
		return false;
	if (is_signed && (v >> (n * 8 - 1)) != 0)
		return false;
	*out = v;
	return v <= max;
}

static bool
read_array(struct reader *r, uint64_t *count_out)
{
	uint64_t tag;

	if (!read_number(r, 1, &tag))
		return false;
	if (tag >= 0x90 && tag <= 0x9f) {
		*count_out = tag & 0x0f;
		return true;
	}
	if (tag == 0xdc)
		return read_number(r, 2, count_out);
	if (tag == 0xdd)
		return read_number(r, 4, count_out);
	return false;
}

static int
refuse(struct error *err, const char *what)
{
	error_set(err, "malformed frame: %s", what);
	return -EPROTO;
}

static int
body_decode(struct slice body, enum peer sender, struct frame *out,
	    struct error *err)
{
	struct reader r = { body.data, body.data + body.len };
	uint64_t fields, type, slot, spawn, count;

	if (!read_array(&r, &fields) || fields != HEADER_FIELDS)
		return refuse(err, "no array of five");
	if (!read_uint(&r, UINT32_MAX, &type))
		return refuse(err, "bad type");
	/* A worker skips types that came up after it was made. */
	if (!frame_allowed((unsigned)type, sender) &&
	    (sender != PEER_SUPERVISOR || frame_known((unsigned)type))) {
		error_set(err, "frame type %u (%s) is not for a %s to send",
			  (unsigned)type, frame_type_name((unsigned)type),
			  peer_name(sender));
		return -EPROTO;
	}
	if (!read_uint(&r, UINT16_MAX, &slot))
		return refuse(err, "bad slot");
	if (!read_uint(&r, UINT32_MAX, &spawn))
		return refuse(err, "bad spawn number");
	if (!read_uint(&r, UINT32_MAX, &count))
		return refuse(err, "bad count");
	if (r.at == r.end)
		return refuse(err, "no payload");
	out->type = (enum frame_type)type;
	out->slot = (uint16_t)slot;
	out->spawn = (uint32_t)spawn;
	out->count = (uint32_t)count;
	out->payload = (struct slice){ r.at, (size_t)(r.end - r.at) };
	return 0;
}

ssize_t
frame_decode(struct slice bytes, uint32_t bytes_max, enum peer sender,
	     struct frame *out, struct error *err)
{
	struct slice body;
	uint32_t len;
	int rc;

	if (bytes.len < LENGTH_BYTES)
		return 0;
	memcpy(&len, bytes.data, sizeof(len));
	len = be32toh(len);
	if (len > bytes_max) {
		error_set(err, "a frame of %u bytes is longer than %u", len,
			  bytes_max);
		return -EPROTO;
	}
	if (len < BODY_BYTES_MIN)
		return refuse(err, "too short");
	if (bytes.len - LENGTH_BYTES < len)
		return 0;
	body = (struct slice){ bytes.data + LENGTH_BYTES, len };
	rc = body_decode(body, sender, out, err);
	return rc < 0 ? rc : (ssize_t)(LENGTH_BYTES + len);
}

static void
store16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static void
store32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

/*
 * Not msgpack-c's packer: the integers have a fixed width, so that length
 * and count can be filled in when the payload is there.
 */
size_t
frame_begin(struct buf *b, enum frame_type type, uint16_t slot, uint32_t spawn)
{
	size_t begun = b->len;
	uint8_t *p;

	buf_reserve(b, FRAME_HEADER_BYTES);
	p = b->data + begun;
	store32(p, 0); /* the length */
	p[4] = 0x90 | HEADER_FIELDS;
	p[5] = (uint8_t)type; /* all are below 128 */
	p[6] = 0xcd;
	store16(p + 7, slot);
	p[9] = 0xce;
	store32(p + 10, spawn);
	p[14] = 0xce;
	store32(p + 15, 0); /* the count */
	b->len += FRAME_HEADER_BYTES;
	return begun;
}

void
frame_end(struct buf *b, size_t begun, uint32_t count)
{
	size_t len = b->len - begun;

	ASSERT(b->len >= begun && len > FRAME_HEADER_BYTES);
	ASSERT(len - LENGTH_BYTES <= UINT32_MAX);
	store32(b->data + begun, (uint32_t)(len - LENGTH_BYTES));
	store32(b->data + begun + 15, count);
}

void
frame_add(struct buf *b, enum frame_type type, uint16_t slot, uint32_t spawn,
	  uint32_t count, struct slice payload)
{
	size_t begun;

	buf_reserve(b, FRAME_HEADER_BYTES + payload.len);
	begun = frame_begin(b, type, slot, spawn);
	buf_add(b, payload.data, payload.len);
	frame_end(b, begun, count);
}

#define FRAME(name, number, senders)                                           \
	_Static_assert(number < 0x80, "a type is written as one byte");
#include "common/frame_types.def"
#undef FRAME
