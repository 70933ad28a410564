/*
 * fuzz_completion - any bytes as the payload of a COMPLETION frame.
 *
 * What is read lies within it and keeps its limits, and whatever event it
 * means can be written into a journal and read again.
 */
#include <stdlib.h>

#include "engine/journal.h"
#include "flusher/completion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
within(struct slice part, struct slice whole, size_t bytes_max)
{
	if (part.len == 0)
		return;
	if (part.data < whole.data || part.len > bytes_max ||
	    part.data + part.len > whole.data + whole.len)
		abort();
}

static void
journaled(const struct event *e)
{
	static const struct journal_place place = { 1, 2 };
	struct buf row = BUF_EMPTY;
	struct error err = { .message = "" };
	struct journal_reader *r;
	struct event again;

	buf_add_byte(&row, '[');
	journal_entry_add(&row, 7, e, &place);
	buf_add_byte(&row, ']');
	r = journal_reader_create(buf_slice(&row), 7, &err);
	if (r == NULL || journal_reader_next(r, &again, &err) != 1 ||
	    again.kind != e->kind || again.activation != e->activation ||
	    again.attempt != e->attempt || again.run_us != e->run_us ||
	    (again.extra.len > 0) != (e->extra.len > 0))
		abort();
	journal_reader_destroy(&r);
	buf_fini(&row);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice payload = { data, size };
	struct error err = { .message = "" };
	struct cursor c = cursor_of(payload);
	struct completion done;
	struct event event;
	uint32_t count;

	if (value_check_frame(payload, 38, &err) < 0 ||
	    cursor_array(&c, &count) < 0)
		return 0;
	while (count-- > 0 && completion_read(&c, &done) == 0) {
		within(done.value, payload, size);
		within(done.error, payload, 128);
		within(done.cause, payload, 32 << 10);
		within(done.extra, payload, 16 << 10);
		if (done.status == COMPLETION_NOT_BEGUN)
			continue;
		completion_event(&done, count % 2 == 1, 1 << 10, &err, &event);
		journaled(&event);
	}
	return 0;
}
