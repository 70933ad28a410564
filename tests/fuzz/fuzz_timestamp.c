/*
 * fuzz_timestamp - any text as a date.
 *
 * What is read can be written, and is then the same to the millisecond.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { data, size };
	char again[TIMESTAMP_TEXT_SIZE];
	int64_t us, written;
	struct slice s;

	if (timestamp_parse(text, &us) < 0)
		return 0;
	timestamp_text(us, again);
	s = (struct slice){ (const uint8_t *)again, strlen(again) };
	/* Years that an offset leads out of four digits cannot be read. */
	if (strlen(again) != strlen("2026-01-14T12:00:00.123Z"))
		return 0;
	if (timestamp_parse(s, &written) < 0 || written / 1000 > us / 1000 ||
	    us - written >= 1000 || us < written)
		abort();
	return 0;
}
