/*
 * fuzz_definition - any text as a definition; what is accepted is run.
 *
 * Every action succeeds with what it got and every timer fires, a few times.
 * A refusal must say why, and what waits must be wanted.
 */
#include <stdlib.h>

#include "engine/instance.h"

#define EVENTS_MAX 30

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The event that the first thing wanted waits for. */
static struct event
event_for(const struct instance *i, const struct effects *wanted)
{
	struct event e = { .activation = wanted->list[0].activation };
	struct action_view a;

	/* The workflow's own timeout only when nothing else is left. */
	if (e.activation == ACTIVATION_WORKFLOW && wanted->count > 1)
		e.activation = wanted->list[1].activation;
	if (!instance_action(i, e.activation, &a)) {
		e.kind = EVENT_FIRED;
		return e;
	}
	e.kind = EVENT_SUCCEEDED;
	e.attempt = a.attempt;
	e.value = a.input->s;
	return e;
}

static void
run(struct definition *d, struct slice input)
{
	struct instance_options options = {
		.input = input,
		.value_bytes_max = 1024,
	};
	struct effects out = { NULL, 0, 0 };
	struct instance *i = instance_create(d, &options, &out);

	for (int n = 0; n < EVENTS_MAX; n++) {
		struct event e;

		if (instance_status(i) != INSTANCE_RUNNING)
			break;
		effects_clear(&out);
		instance_wanted(i, &out);
		if (out.count == 0)
			abort();
		e = event_for(i, &out);
		effects_clear(&out);
		if (instance_apply(i, &e, &out) != 0)
			abort();
	}
	instance_destroy(&i);
	effects_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct definition_report report;
	struct definition *d;

	d = definition_parse((const char *)data, size, &report);
	if (d == NULL) {
		if (report.count == 0 || report.errors[0].message[0] == '\0')
			abort();
		return 0;
	}
	/* {"n":1,"l":[1,2,{}]} */
	run(d, SLICE_LITERAL("\x82\xa1n\x01\xa1l\x93\x01\x02\x80"));
	run(d, SLICE_LITERAL("\x92\x01\x02"));
	definition_unref(&d);
	return 0;
}
