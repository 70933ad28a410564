/*
 * The property on which recovery rests: state = definition + input + events
 * in order.
 *
 * Random definitions are run with random results, failures, timers and
 * cancels. Their journal goes through JSON and back, and a new instance that
 * gets any first part of it must want exactly what the first one wanted at
 * that point, with the same inputs, attempts and times, and must have given
 * the same effects. What the effects add up to must be what is wanted.
 *
 * RAPPEL_SEED=N repeats the case that a failure printed, RAPPEL_RUNS=N says
 * how many are tried (10,000).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/json.h"
#include "common/mem.h"
#include "engine/instance.h"
#include "engine/journal.h"
#include "tests/unit/random_definition.h"

#define START_US INT64_C(1768392000000000)
#define EVENTS_MAX 60
#define EVERY_PREFIX_TO 20

/* ---- one case ---- */

/* What the driver of an instance knows from effects alone. */
struct wanted {
	struct effect list[4096];
	uint32_t count;
};

struct trial {
	uint64_t seed;
	struct chance chance;
	struct buf text;
	struct definition *definition;
	struct uuid id;
	struct buf input;
	struct wanted wanted;
	int64_t now_us;
	/* Rows of the journal, and where each begins. */
	struct buf rows[EVENTS_MAX + 1];
	int64_t row_at_us[EVENTS_MAX + 1];
	uint32_t row_count;
	uint32_t event_count;
	/* After that many events: the state, and all effects up to then. */
	uint64_t state[EVENTS_MAX + 1];
	uint64_t effects[EVENTS_MAX + 1];
};

static void __attribute__((format(printf, 2, 3), noreturn))
broken(struct trial *t, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "replay: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n  repeat with RAPPEL_SEED=%llu RAPPEL_RUNS=1\n"
	        "  definition: %s\n", (unsigned long long)t->seed,
	        buf_text(&t->text));
	for (uint32_t n = 0; n < t->row_count; n++)
		fprintf(stderr, "  row: %s\n", buf_text(&t->rows[n]));
	exit(1);
}

static uint64_t
hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *at = data;

	for (; len >= 8; at += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		h = (h ^ word) * UINT64_C(0x100000001b3);
		h ^= h >> 29;
	}
	for (; len > 0; at++, len--)
		h = (h ^ *at) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t
hash_number(uint64_t h, uint64_t n)
{
	return hash(h, &n, sizeof(n));
}

static uint64_t
hash_slice(uint64_t h, struct slice s)
{
	return hash(hash_number(h, s.len), s.data, s.len);
}

/* All that can be seen of an instance. */
static uint64_t
state_hash(const struct instance *i, struct effects *scratch)
{
	uint64_t h = hash_number(1, instance_status(i));
	struct action_view a;
	struct pending_view p;
	struct end_view end;
	int64_t due_us;

	effects_clear(scratch);
	instance_wanted(i, scratch);
	for (uint32_t n = 0; n < scratch->count; n++) {
		const struct effect *e = &scratch->list[n];

		h = hash_number(h, (uint64_t)e->kind << 32 | e->activation);
		if (instance_action(i, e->activation, &a)) {
			h = hash_number(h, a.state_no);
			h = hash_number(h, a.attempt);
			h = hash_number(h, a.has_index ? a.index : UINT64_MAX);
			h = hash_number(h, (uint64_t)a.not_before_us);
			h = hash_number(h, a.timeout_us);
			h = hash_number(h, a.heartbeat_us);
			h = hash_slice(h, a.input->s);
		}
		if (instance_timer(i, e->activation, &due_us))
			h = hash_number(h, (uint64_t)due_us);
		if (instance_pending(i, e->activation, &p)) {
			h = hash_number(h, p.attempt);
			h = hash_number(h, (uint64_t)p.due_us);
		}
	}
	if (instance_status(i) == INSTANCE_RUNNING)
		return h;
	instance_end(i, &end);
	if (end.output != NULL)
		h = hash_slice(h, end.output->s);
	return hash_slice(hash_slice(h, end.error), end.cause);
}

static uint64_t
effects_hash(uint64_t h, const struct effects *e)
{
	for (uint32_t n = 0; n < e->count; n++)
		h = hash_number(h, (uint64_t)e->list[n].kind << 32 |
		                e->list[n].activation);
	return h;
}

static struct instance *
create(struct trial *t, struct effects *out)
{
	struct instance_options options = {
		.id = t->id,
		.workflow = slice_of("random"),
		.started_at_us = START_US,
		.input = buf_slice(&t->input),
		.value_bytes_max = 4096,
	};

	effects_clear(out);
	return instance_create(t->definition, &options, out);
}

/* ---- the first run ---- */

static void
wanted_drop(struct wanted *w, uint32_t activation)
{
	for (uint32_t n = 0; n < w->count; n++) {
		if (w->list[n].activation == activation) {
			memmove(&w->list[n], &w->list[n + 1],
			        (w->count - n - 1) * sizeof(w->list[0]));
			w->count--;
			return;
		}
	}
}

static void
wanted_take(struct trial *t, const struct effects *out)
{
	struct wanted *w = &t->wanted;

	for (uint32_t n = 0; n < out->count; n++) {
		const struct effect *e = &out->list[n];
		uint32_t before = w->count;

		if (e->kind == EFFECT_END) {
			if (n + 1 != out->count)
				broken(t, "something follows the end");
			if (w->count != 0)
				broken(t, "%u is still wanted at the end",
				       w->list[0].activation);
			continue;
		}
		wanted_drop(w, e->activation);
		if (e->kind == EFFECT_ABANDON) {
			if (w->count == before)
				broken(t, "%u is abandoned and was not wanted",
				       e->activation);
			continue;
		}
		if (w->count == sizeof(w->list) / sizeof(w->list[0]))
			broken(t, "too much is wanted");
		/* In order of activation, as instance_wanted() lists. */
		uint32_t at = w->count;

		while (at > 0 &&
		       w->list[at - 1].activation > e->activation)
			at--;
		memmove(&w->list[at + 1], &w->list[at],
		        (w->count - at) * sizeof(w->list[0]));
		w->list[at] = *e;
		w->count++;
	}
}

/* What effects add up to is what the instance says it wants. */
static void
wanted_check(struct trial *t, const struct instance *i,
             struct effects *scratch)
{
	if (instance_status(i) != INSTANCE_RUNNING)
		return;
	effects_clear(scratch);
	instance_wanted(i, scratch);
	if (scratch->count != t->wanted.count)
		broken(t, "%u are wanted, effects say %u", scratch->count,
		       t->wanted.count);
	for (uint32_t n = 0; n < scratch->count; n++) {
		if (scratch->list[n].kind != t->wanted.list[n].kind ||
		    scratch->list[n].activation !=
		    t->wanted.list[n].activation)
			broken(t, "wanted is %u, effects say %u",
			       scratch->list[n].activation,
			       t->wanted.list[n].activation);
	}
	if (scratch->count == 0)
		broken(t, "it runs and wants nothing");

	uint32_t pending = 0;

	for (uint32_t n = 0; n < scratch->count; n++)
		pending += scratch->list[n].kind == EFFECT_PENDING;
	if (pending != instance_pending_count(i))
		broken(t, "%u are pending, it says %u", pending,
		       instance_pending_count(i));
}

static void
random_value(struct trial *t, struct buf *to)
{
	static const char *const values[] = { "{\"n\":7,\"l\":[1,2,3]}",
		"{\"n\":1,\"l\":[]}", "{\"n\":3,\"l\":[{\"l\":[5]},4]}",
		"{\"n\":9,\"l\":[0]}", "5", "null", "\"text\"", "[1,[2]]" };
	uint32_t n = below(&t->chance, percent(&t->chance, 96) ? 4 : 8);

	to->len = 0;
	if (json_parse(values[n], strlen(values[n]), VALUE_DEPTH_MAX, to,
	               NULL, NULL) != 0)
		broken(t, "bad value");
}

/* How an attempt ends, whoever says it. */
static void
random_end(struct trial *t, struct event *e, struct buf *value)
{
	static const char *const kinds[] = { "{\"kinds\":[\"Worse\"]}",
		"{\"kinds\":[\"Odd\",\"Bad\",\"Base\"],\"log\":\"x\"}",
		"{\"kinds\":[7,\"\"]}", "{\"kinds\":{}}" };
	const char *extra;

	if (percent(&t->chance, 88)) {
		e->kind = EVENT_SUCCEEDED;
		random_value(t, value);
		e->value = buf_slice(value);
		return;
	}
	e->kind = EVENT_FAILED;
	e->error = slice_of(error_names[below(&t->chance, ERROR_NAMES)]);
	e->cause = slice_of("of \"chance\"\n");
	if (e->worker == WORKER_NONE || percent(&t->chance, 60))
		return;
	extra = kinds[below(&t->chance, sizeof(kinds) / sizeof(kinds[0]))];
	value->len = 0;
	if (json_parse(extra, strlen(extra), VALUE_DEPTH_MAX, value, NULL,
	               NULL) != 0)
		broken(t, "bad extra");
	e->extra = buf_slice(value);
}

/* Somebody finishes it, says that he lives, or is late. */
static void
pending_event(struct trial *t, const struct instance *i, struct event *e,
              struct buf *value)
{
	struct pending_view p;

	if (!instance_pending(i, e->activation, &p))
		broken(t, "%u is wanted and not pending", e->activation);
	e->attempt = p.attempt;
	e->worker = WORKER_NONE;
	if (p.due_us != 0 && percent(&t->chance, 30)) {
		e->kind = EVENT_FIRED;
		e->worker = 0;
		if (t->now_us < p.due_us)
			t->now_us = p.due_us;
		e->at_us = t->now_us;
	} else if (percent(&t->chance, 20)) {
		e->kind = EVENT_HEARTBEAT;
		random_value(t, value);
		e->value = buf_slice(value);
	} else {
		random_end(t, e, value);
	}
}

static struct event
random_event(struct trial *t, const struct instance *i, struct buf *value)
{
	struct effect want = t->wanted.list[below(&t->chance,
	                                          t->wanted.count)];
	struct event e = { .at_us = t->now_us, .activation = want.activation };
	struct action_view a;

	if (below(&t->chance, 300) == 0) {
		e.kind = EVENT_CANCEL;
		e.activation = 0;
		e.cause = slice_of("enough");
		return e;
	}
	/* The workflow's own timeout would end most of them. */
	if (want.activation == 0 && t->wanted.count > 1 &&
	    percent(&t->chance, 95)) {
		want = t->wanted.list[1];
		e.activation = want.activation;
	}
	if (want.kind == EFFECT_TIMER) {
		e.kind = EVENT_FIRED;
		return e;
	}
	if (want.kind == EFFECT_PENDING) {
		pending_event(t, i, &e, value);
		return e;
	}
	if (!instance_action(i, want.activation, &a))
		broken(t, "%u is wanted and is no action", want.activation);
	e.attempt = a.attempt;
	e.worker = WORKER_NONE;
	if (percent(&t->chance, 3)) {
		e.kind = EVENT_HEARTBEAT; /* under its token, while it runs */
		return e;
	}
	if (percent(&t->chance, 97)) {
		e.worker = below(&t->chance, 8);
		e.run_us = below(&t->chance, 100000);
	}
	if (e.worker != WORKER_NONE &&
	    percent(&t->chance, a.waits ? 80 : 5)) {
		e.kind = EVENT_PENDING;
		return e;
	}
	random_end(t, &e, value);
	if (e.kind == EVENT_FAILED && e.worker != WORKER_NONE &&
	    percent(&t->chance, 20))
		e.kind = EVENT_LOST;
	return e;
}

/* Events that fit nothing are refused and change nothing. */
static void
try_stale(struct trial *t, struct instance *i, const struct event *good,
          struct effects *scratch)
{
	struct event e = *good;
	uint64_t before = state_hash(i, scratch);

	if (e.kind == EVENT_CANCEL)
		return;
	if (percent(&t->chance, 50) || e.kind == EVENT_FIRED)
		e.activation += 5000000;
	else
		e.attempt++;
	effects_clear(scratch);
	if (instance_apply(i, &e, scratch) != -ESTALE || scratch->count != 0)
		broken(t, "a stale event was not refused");
	if (state_hash(i, scratch) != before)
		broken(t, "a stale event changed something");
}

static void
journal_add(struct trial *t, const struct event *e)
{
	struct journal_place place = { below(&t->chance, 9), -1 };

	if (t->row_count == 0 || percent(&t->chance, 30)) {
		if (t->row_count > 0)
			buf_add_byte(&t->rows[t->row_count - 1], ']');
		t->row_at_us[t->row_count] = t->now_us +
		    below(&t->chance, 1000);
		buf_add_byte(&t->rows[t->row_count++], '[');
	}
	journal_entry_add(&t->rows[t->row_count - 1],
	                  t->row_at_us[t->row_count - 1], e, &place);
}

static void
first_run(struct trial *t, struct effects *out, struct effects *scratch)
{
	struct instance *i = create(t, out);
	struct buf value = BUF_EMPTY;

	for (;;) {
		uint32_t n = t->event_count;
		struct event e;

		wanted_take(t, out);
		wanted_check(t, i, scratch);
		t->state[n] = state_hash(i, scratch);
		t->effects[n] = effects_hash(n == 0 ? 0 : t->effects[n - 1],
		                             out);
		if (n == EVENTS_MAX ||
		    instance_status(i) != INSTANCE_RUNNING)
			break;
		t->now_us += below(&t->chance, 3000000);
		e = random_event(t, i, &value);
		if (percent(&t->chance, 10))
			try_stale(t, i, &e, scratch);
		journal_add(t, &e);
		/* A heartbeat of what runs changes nothing. */
		if (e.kind != EVENT_CANCEL && e.kind != EVENT_HEARTBEAT)
			wanted_drop(&t->wanted, e.activation);
		effects_clear(out);
		if (instance_apply(i, &e, out) != 0)
			broken(t, "event %u was refused", n + 1);
		t->event_count++;
	}
	if (t->row_count > 0)
		buf_add_byte(&t->rows[t->row_count - 1], ']');
	buf_fini(&value);
	instance_destroy(&i);
}

/* ---- replays ---- */

static void
read_journal(struct trial *t, struct journal_reader *readers[],
             struct event events[])
{
	uint32_t count = 0;
	struct error err;

	for (uint32_t n = 0; n < t->row_count; n++) {
		error_clear(&err);
		readers[n] = journal_reader_create(buf_slice(&t->rows[n]),
		    t->row_at_us[n], &err);
		if (readers[n] == NULL)
			broken(t, "row %u: %s", n, err.message);
		while (count <= EVENTS_MAX && journal_reader_next(readers[n],
		           &events[count], &err) == 1)
			count++;
	}
	if (count != t->event_count)
		broken(t, "%u entries are read of %u", count, t->event_count);
}

static void
replay(struct trial *t, const struct event events[], uint32_t count,
       struct effects *out, struct effects *scratch)
{
	struct instance *i = create(t, out);
	uint64_t h = effects_hash(0, out);

	for (uint32_t n = 0; n < count; n++) {
		effects_clear(out);
		if (instance_apply(i, &events[n], out) != 0)
			broken(t, "event %u is refused in a replay", n + 1);
		h = effects_hash(h, out);
	}
	if (h != t->effects[count])
		broken(t, "other effects after %u events", count);
	if (state_hash(i, scratch) != t->state[count])
		broken(t, "another state after %u events", count);
	instance_destroy(&i);
}

static void
replays(struct trial *t, struct effects *out, struct effects *scratch)
{
	struct journal_reader *readers[EVENTS_MAX + 1] = { NULL };
	struct event events[EVENTS_MAX + 1];

	read_journal(t, readers, events);
	if (t->event_count <= EVERY_PREFIX_TO) {
		for (uint32_t n = 0; n <= t->event_count; n++)
			replay(t, events, n, out, scratch);
	} else {
		for (int n = 0; n < 6; n++)
			replay(t, events, below(&t->chance, t->event_count),
			       out, scratch);
		replay(t, events, t->event_count, out, scratch);
	}
	for (uint32_t n = 0; n < t->row_count; n++)
		journal_reader_destroy(&readers[n]);
}

/* ---- all of them ---- */

struct totals {
	uint64_t events;
	uint64_t ended;
};

static void
run(uint64_t seed, struct trial *t, struct totals *totals)
{
	struct effects out = { NULL, 0, 0 };
	struct effects scratch = { NULL, 0, 0 };
	struct definition_report report;
	struct maker m = { &t->chance, &t->text, 0 };

	t->seed = seed;
	t->chance.state = seed;
	t->text.len = 0;
	t->row_count = 0;
	t->event_count = 0;
	t->wanted.count = 0;
	t->now_us = START_US;
	for (int n = 0; n <= EVENTS_MAX; n++)
		t->rows[n].len = 0;
	for (int n = 0; n < 16; n++)
		t->id.bytes[n] = (uint8_t)chance_next(&t->chance);
	make_machine(&m, 0);
	t->definition = definition_parse((const char *)t->text.data,
	                                 t->text.len, &report);
	if (t->definition == NULL)
		broken(t, "refused: %s.%s: %s", report.errors[0].state,
		       report.errors[0].field, report.errors[0].message);
	t->input.len = 0;
	if (json_parse("{\"n\":5,\"l\":[1,2,3]}", 19, VALUE_DEPTH_MAX,
	               &t->input, NULL, NULL) != 0)
		broken(t, "bad input");
	first_run(t, &out, &scratch);
	replays(t, &out, &scratch);
	totals->events += t->event_count;
	totals->ended += t->event_count < EVENTS_MAX;
	definition_unref(&t->definition);
	effects_fini(&out);
	effects_fini(&scratch);
}

static uint64_t
from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

int
main(void)
{
	static struct trial t;
	struct totals totals = { 0, 0 };
	struct timespec began, now;
	uint64_t runs = from_environment("RAPPEL_RUNS", 10000);
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &began);
	seed = from_environment("RAPPEL_SEED", (uint64_t)began.tv_sec *
	                        1000000 + (uint64_t)began.tv_nsec / 1000);
	for (uint64_t n = 0; n < runs; n++)
		run(seed + n, &t, &totals);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("%llu definitions from seed %llu, %llu events, %llu ended, "
	       "%lld s\n", (unsigned long long)runs, (unsigned long long)seed,
	       (unsigned long long)totals.events,
	       (unsigned long long)totals.ended,
	       (long long)(now.tv_sec - began.tv_sec));
	buf_fini(&t.text);
	buf_fini(&t.input);
	for (int n = 0; n <= EVENTS_MAX; n++)
		buf_fini(&t.rows[n]);
	return 0;
}
