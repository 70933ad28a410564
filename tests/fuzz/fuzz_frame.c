/*
 * fuzz_frame - any bytes as a stream of frames from any peer.
 *
 * The first byte chooses the sender. A frame that is accepted lies within the
 * bytes and is the same when it is written again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/value.h"

#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
write_again(const struct frame *f, enum peer sender)
{
	struct buf b = BUF_EMPTY;
	struct frame again;

	frame_add(&b, f->type, f->slot, f->spawn, f->count, f->payload);
	must(frame_decode(buf_slice(&b), FRAME_BYTES_MAX, sender, &again,
			  NULL) == (ssize_t)b.len);
	must(again.type == f->type && again.slot == f->slot);
	must(again.spawn == f->spawn && again.count == f->count);
	must(again.payload.len == f->payload.len);
	must(memcmp(again.payload.data, f->payload.data, f->payload.len) == 0);
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = { data, size };
	enum peer sender;

	if (size == 0)
		return 0;
	sender = (enum peer)(data[0] & 3);
	rest.data++;
	rest.len--;
	for (;;) {
		struct error err = { .line = 0 };
		struct frame f;
		ssize_t n = frame_decode(rest, BYTES_MAX, sender, &f, &err);

		must(n >= 0 || err.message[0] != '\0');
		if (n <= 0)
			return 0;
		must((size_t)n <= rest.len);
		must(f.payload.len > 0);
		must(f.payload.data + f.payload.len == rest.data + n);
		/* A worker skips what it does not know; nobody writes that. */
		if (frame_allowed(f.type, sender))
			write_again(&f, sender);
		else
			must(sender == PEER_SUPERVISOR &&
			     strcmp(frame_type_name(f.type), "?") == 0);
		(void)value_check_frame(f.payload, VALUE_DEPTH_MAX, NULL);
		rest.data += n;
		rest.len -= (size_t)n;
	}
}
