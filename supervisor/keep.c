/*
 * keep - see keep.h. One run of bytes; what is acknowledged is skipped, and
 * dropped when it is the larger part, so that each byte moves once at most.
 */
#include "supervisor/keep.h"

#include <errno.h>

#define SMALL_BYTES ((size_t)1 << 20)

void
keep_fini(struct keep *k)
{
	buf_fini(&k->bytes);
	k->head = 0;
	k->frames = 0;
}

struct slice
keep_add(struct keep *k, enum frame_type type, uint16_t slot, uint32_t spawn,
         uint32_t count, struct slice payload)
{
	size_t before = k->bytes.len;

	frame_add(&k->bytes, type, slot, spawn, count, payload);
	k->frames++;
	return (struct slice){ k->bytes.data + before, k->bytes.len - before };
}

void
keep_add_encoded(struct keep *k, struct slice frames, uint32_t count)
{
	buf_add(&k->bytes, frames.data, frames.len);
	k->frames += count;
}

static size_t
frame_size(const uint8_t *at)
{
	return 4 + ((size_t)at[0] << 24 | (size_t)at[1] << 16 |
	            (size_t)at[2] << 8 | (size_t)at[3]);
}

int
keep_ack(struct keep *k, uint32_t frames)
{
	if (frames > k->frames)
		return -EPROTO;
	k->frames -= frames;
	k->spooled -= frames < k->spooled ? frames : k->spooled;
	while (frames-- > 0)
		k->head += frame_size(k->bytes.data + k->head);
	if (k->frames == 0) {
		k->head = 0;
		k->bytes.len = 0;
		if (k->bytes.cap > SMALL_BYTES)
			buf_fini(&k->bytes);
	} else if (k->head > k->bytes.len / 2) {
		buf_drop(&k->bytes, k->head);
		k->head = 0;
	}
	return 0;
}

struct slice
keep_all(const struct keep *k)
{
	return (struct slice){ k->bytes.data + k->head, keep_bytes(k) };
}
