/*
 * fuzz_request - any bytes as what a client of the control socket sends.
 *
 * What is accepted as a request is at most as long as one may be, and looking
 * for arguments in it finds values that lie within it.
 */
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const arguments[] = { "verb", "grace_us", "now", "slot",
	                                 "group", "workers", "level", "" };

static void
look_for(struct slice request, const char *name)
{
	struct slice key = { (const uint8_t *)name, strlen(name) };
	struct slice value;
	struct item item;

	if (!value_get(request, key, &value))
		return;
	if (value.data < request.data || value.len == 0 ||
	    value.data + value.len > request.data + request.len)
		abort();
	item = value_item(value);
	if ((item.type == VALUE_STR || item.type == VALUE_BIN) &&
	    (item.bytes.len > value.len ||
	     (item.bytes.len > 0 && item.bytes.data < value.data)))
		abort();
	(void)value_is_str(value, "status");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = { data, size };
	struct error err = { 0 };
	struct frame f;
	ssize_t n;

	for (;;) {
		n = frame_decode(rest, FRAME_CONTROL_BYTES_MAX, PEER_CONTROL,
		                 &f, &err);
		if (n <= 0)
			return 0;
		if (f.type != FRAME_REQUEST ||
		    (size_t)n > FRAME_CONTROL_BYTES_MAX + 4)
			abort();
		if (value_check_frame(f.payload, VALUE_DEPTH_MAX, &err) == 0 &&
		    value_type(f.payload) == VALUE_MAP) {
			for (size_t i = 0; i < sizeof(arguments) /
			         sizeof(arguments[0]); i++)
				look_for(f.payload, arguments[i]);
		}
		rest.data += n;
		rest.len -= (size_t)n;
	}
}
