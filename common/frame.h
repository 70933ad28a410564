/*
 * frame - the messages between rappel's processes.
 *
 * On the wire: a 4-byte big-endian length, then that many bytes, which are
 * one msgpack array [type, slot, spawn, count, payload]. The supervisor reads
 * and writes headers and passes payloads on as bytes; whoever unpacks a
 * payload checks it first (value_check_frame). docs/protocol.md is the
 * contract for workers in other languages.
 */
#ifndef COMMON_FRAME_H
#define COMMON_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"

#define PROTOCOL_VERSION 1
#define FRAME_BYTES_MAX (16U << 20) /* of a worker's or flusher's frame */
#define FRAME_CONTROL_BYTES_MAX (64U << 10)
/* Length of the length and of the header as frame_begin() writes it. */
#define FRAME_HEADER_BYTES 19U

enum peer { PEER_SUPERVISOR, PEER_FLUSHER, PEER_WORKER, PEER_CONTROL };

enum frame_type {
#define FRAME(name, number, senders) FRAME_##name = number,
#include "common/frame_types.def"
#undef FRAME
};

/* The name of a type, or "?" for a number that is none. */
const char *frame_type_name(unsigned type);
/* True when such a peer may send such a frame. */
bool frame_allowed(unsigned type, enum peer sender);

struct frame {
	enum frame_type type;
	uint16_t slot;        /* place in the child table */
	uint32_t spawn;       /* which life of that slot; 0 for none */
	uint32_t count;       /* items in the payload; 0 where it has none */
	struct slice payload; /* unchecked msgpack, borrowed */
};

/*
 * Looks at bytes that begin with a frame. Returns the frame's whole size and
 * fills *out; 0 when more bytes are needed; -EPROTO with err for what is no
 * frame, not allowed from that sender or longer than bytes_max (known from
 * the first four bytes). Does not look into the payload. No allocation.
 */
ssize_t frame_decode(struct slice bytes, uint32_t bytes_max, enum peer sender,
                     struct frame *out, struct error *err) MUST_CHECK;

/*
 * Appends a header; the caller appends the payload (exactly one value) and
 * calls frame_end() with what frame_begin() returned.
 */
size_t frame_begin(struct buf *b, enum frame_type type, uint16_t slot,
                   uint32_t spawn);
void frame_end(struct buf *b, size_t begun, uint32_t count);

/* A whole frame around a payload that is already packed. */
void frame_add(struct buf *b, enum frame_type type, uint16_t slot,
               uint32_t spawn, uint32_t count, struct slice payload);

#endif
