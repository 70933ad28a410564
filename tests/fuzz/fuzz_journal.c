/*
 * fuzz_journal - any text as a row of the journal.
 *
 * What is read must be an event that can be written again and then reads the
 * same; it is applied to an instance, which may refuse it.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/instance.h"
#include "engine/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char definition[] =
    "{\"StartAt\":\"M\",\"TimeoutSeconds\":9,\"States\":{"
    "\"M\":{\"Type\":\"Map\",\"MaxConcurrency\":2,\"ItemProcessor\":{"
    "\"StartAt\":\"T\",\"States\":{"
    "\"T\":{\"Type\":\"Task\",\"Resource\":\"x\",\"Next\":\"W\",\"Retry\":["
    "{\"ErrorEquals\":[\"States.ALL\"],\"JitterStrategy\":\"FULL\"}]},"
    "\"W\":{\"Type\":\"Wait\",\"SecondsPath\":\"$\",\"End\":true}}},"
    "\"Catch\":[{\"ErrorEquals\":[\"States.ALL\"],\"Next\":\"A\"}],"
    "\"Next\":\"A\"},"
    "\"A\":{\"Type\":\"Task\",\"Resource\":\"x\",\"End\":true}}}";

static bool
same_bytes(struct slice a, struct slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Written and read again it is the same event. */
static void
round_trip(const struct event *e)
{
	static const struct journal_place place = { 1, -1 };
	struct buf row = BUF_EMPTY;
	struct journal_reader *r;
	struct event again;

	buf_add_byte(&row, '[');
	journal_entry_add(&row, 5, e, &place);
	buf_add_byte(&row, ']');
	r = journal_reader_create(buf_slice(&row), 5, NULL);
	if (r == NULL || journal_reader_next(r, &again, NULL) != 1 ||
	    again.kind != e->kind || again.at_us != e->at_us ||
	    again.activation != e->activation || again.attempt != e->attempt ||
	    (e->worker == WORKER_NONE) != (again.worker == WORKER_NONE) ||
	    again.extra.len > 0 != e->extra.len > 0 ||
	    !same_bytes(again.error, e->error) ||
	    !same_bytes(again.cause, e->cause) ||
	    (e->value.len > 0 && !value_equal(again.value, e->value)) ||
	    (e->extra.len > 0 && !value_equal(again.extra, e->extra)))
		abort();
	journal_reader_destroy(&r);
	buf_fini(&row);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct instance_options options = {
		.input = SLICE_LITERAL("\x93\x01\x02\x03"),
	};
	struct definition_report report;
	struct effects out = { NULL, 0, 0 };
	struct definition *d;
	struct instance *i;
	struct journal_reader *r;
	struct event e;

	r = journal_reader_create((struct slice){ data, size }, 1000000, NULL);
	if (r == NULL)
		return 0;
	d = definition_parse(definition, sizeof(definition) - 1, &report);
	i = instance_create(d, &options, &out);
	while (journal_reader_next(r, &e, NULL) == 1) {
		round_trip(&e);
		(void)!instance_apply(i, &e, &out);
	}
	instance_destroy(&i);
	definition_unref(&d);
	effects_fini(&out);
	journal_reader_destroy(&r);
	return 0;
}
