/*
 * random_definition - definitions that nobody would write, for tests of what
 * must hold for all of them.
 *
 * They are correct, and mostly get somewhere: states are chained, values are
 * mostly {"n": a small number, "l": a short list}. make_machine() writes one.
 */
#ifndef TESTS_UNIT_RANDOM_DEFINITION_H
#define TESTS_UNIT_RANDOM_DEFINITION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

#define STATES_MAX 40 /* in one definition, about */
#define NEST_MAX 3

/* ---- chance ---- */

struct chance {
	uint64_t state;
};

static inline uint64_t
chance_next(struct chance *c)
{
	uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint32_t
below(struct chance *c, uint32_t n)
{
	return (uint32_t)(chance_next(c) % n);
}

static inline bool
percent(struct chance *c, uint32_t n)
{
	return below(c, 100) < n;
}

/* ---- definitions ---- */

static const char *const error_names[] = { "Bad", "Worse", "States.Timeout",
	"States.HeartbeatTimeout", "States.TaskFailed", "States.Runtime" };
#define ERROR_NAMES (sizeof(error_names) / sizeof(error_names[0]))

struct maker {
	struct chance *chance;
	struct buf *text;
	uint32_t states; /* named so far */
};

static inline const char *
one_of(struct maker *m, const char *const *list, size_t count)
{
	return list[below(m->chance, (uint32_t)count)];
}

#define ONE_OF(m, list) one_of(m, list, sizeof(list) / sizeof((list)[0]))

static inline void
make_match(struct maker *m, bool last)
{
	if (last && percent(m->chance, 50))
		buf_add_text(m->text, "\"ErrorEquals\":[\"States.ALL\"]");
	else
		buf_printf(m->text, "\"ErrorEquals\":[\"%s\",\"%s\"]",
		           ONE_OF(m, error_names), ONE_OF(m, error_names));
}

static inline void
make_retry(struct maker *m)
{
	uint32_t count = 1 + below(m->chance, 2);

	buf_add_text(m->text, ",\"Retry\":[");
	for (uint32_t n = 0; n < count; n++) {
		buf_add_text(m->text, n == 0 ? "{" : ",{");
		make_match(m, n + 1 == count);
		buf_printf(m->text, ",\"MaxAttempts\":%u,"
		           "\"IntervalSeconds\":%u",
		           below(m->chance, 4), 1 + below(m->chance, 5));
		if (percent(m->chance, 30))
			buf_add_text(m->text, ",\"JitterStrategy\":\"FULL\"");
		if (percent(m->chance, 30))
			buf_add_text(m->text, ",\"BackoffRate\":1.7,"
			             "\"MaxDelaySeconds\":7");
		buf_add_byte(m->text, '}');
	}
	buf_add_byte(m->text, ']');
}

/* The states of one machine are first to first + count - 1, in a chain. */
struct place {
	uint32_t no;
	uint32_t first;
	uint32_t count;
};

static inline void
make_catch(struct maker *m, struct place at)
{
	uint32_t after = at.first + at.count - at.no - 1;
	/* Mostly forward: what goes back without an event is cut late. */
	uint32_t next = after == 0 || percent(m->chance, 2) ?
	    at.first + below(m->chance, at.count) :
	    at.no + 1 + below(m->chance, after);

	buf_add_text(m->text, ",\"Catch\":[{");
	make_match(m, true);
	buf_printf(m->text, ",\"Next\":\"S%u\"", next);
	if (percent(m->chance, 90))
		buf_add_text(m->text, ",\"ResultPath\":\"$.caught\"");
	buf_add_text(m->text, "}]");
}

static inline void
make_next(struct maker *m, struct place at)
{
	if (at.no + 1 < at.first + at.count)
		buf_printf(m->text, ",\"Next\":\"S%u\"", at.no + 1);
	else
		buf_add_text(m->text, ",\"End\":true");
}

static inline void
make_input(struct maker *m, bool parameters, bool task)
{
	static const char *const inputs[] = { "\"$\"", "\"$\"", "\"$\"",
		"\"$.n\"", "null", "\"$$.Execution.Input\"" };
	static const char *const templates[] = {
		"{\"n.$\":\"$.n\",\"l.$\":\"$.l\"}",
		"{\"l.$\":\"$.l\",\"u.$\":\"States.UUID()\",\"n\":2}",
		"{\"l\":[1,2],\"n.$\":\"States.MathRandom(0,9)\"}",
		("{\"all.$\":\"$\",\"l.$\":\"$.l\",\"n\":5,"
		 "\"r.$\":\"$$.State.RetryCount\"}"),
		"{\"l\":[],\"n\":0,\"at.$\":\"$$.State.EnteredTime\"}",
		/* Of a Task alone: the last. */
		"{\"l.$\":\"$.l\",\"n\":3,\"t.$\":\"$$.Task.Token\"}",
	};
	const size_t count = sizeof(templates) / sizeof(templates[0]) - !task;

	if (percent(m->chance, 5))
		buf_printf(m->text, ",\"InputPath\":%s", ONE_OF(m, inputs));
	if (parameters && percent(m->chance, 30))
		buf_printf(m->text, ",\"Parameters\":%s",
		           one_of(m, templates, count));
}

static inline void
make_output(struct maker *m, bool selector, bool spread)
{
	static const char *const places[] = { "\"$\"", "\"$.r\"", "\"$.r\"",
		"\"$.deep.er\"", "null" };
	static const char *const lists[] = { "\"$.r\"", "\"$.l\"", "null" };
	static const char *const outputs[] = { "\"$\"", "\"$\"", "\"$.r\"",
		"null" };

	bool selector_made = selector && percent(m->chance, 10);

	if (selector_made)
		buf_add_text(m->text, ",\"ResultSelector\":{\"n.$\":\"$.n\","
		             "\"l\":[3]}");
	/* A list in place of the input is of little use to what follows. */
	if (percent(m->chance, spread ? 95 : 60))
		buf_printf(m->text, ",\"ResultPath\":%s",
		           spread && !selector_made ? ONE_OF(m, lists) :
		           ONE_OF(m, places));
	if (percent(m->chance, 2))
		buf_printf(m->text, ",\"OutputPath\":%s", ONE_OF(m, outputs));
}

static inline void make_machine(struct maker *m, uint32_t nest);

static inline void
make_map(struct maker *m, uint32_t nest)
{
	if (percent(m->chance, 97))
		buf_add_text(m->text, ",\"ItemsPath\":\"$.l\"");
	if (percent(m->chance, 85))
		buf_add_text(m->text, ",\"ItemSelector\":{"
		             "\"n.$\":\"$$.Map.Item.Index\",\"l.$\":\"$.l\","
		             "\"v.$\":\"$$.Map.Item.Value\"}");
	if (percent(m->chance, 40))
		buf_printf(m->text, ",\"MaxConcurrency\":%u",
		           below(m->chance, 4));
	if (percent(m->chance, 20))
		buf_printf(m->text, ",\"ToleratedFailureCount\":%u",
		           below(m->chance, 3));
	if (percent(m->chance, 10))
		buf_add_text(m->text, ",\"ToleratedFailurePercentage\":50");
	buf_add_text(m->text, ",\"ItemProcessor\":");
	make_machine(m, nest + 1);
}

static inline void
make_parallel(struct maker *m, uint32_t nest)
{
	uint32_t count = 1 + below(m->chance, 3);

	buf_add_text(m->text, ",\"Branches\":[");
	for (uint32_t n = 0; n < count; n++) {
		if (n > 0)
			buf_add_byte(m->text, ',');
		make_machine(m, nest + 1);
	}
	buf_add_byte(m->text, ']');
}

static inline void
make_choice(struct maker *m, struct place at, bool waited)
{
	/* Back only over a state that waits for an event. */
	uint32_t to = waited && percent(m->chance, 50) ? at.first :
	    at.no + 1 + below(m->chance, at.first + at.count - at.no - 1);

	buf_printf(m->text, "\"Type\":\"Choice\",\"Choices\":["
	           "{\"Variable\":\"$.n\",\"NumericGreaterThan\":%u,"
	           "\"Next\":\"S%u\"},{\"Variable\":\"$.l\","
	           "\"IsPresent\":false,\"Next\":\"S%u\"}],"
	           "\"Default\":\"S%u\"", below(m->chance, 9), to,
	           at.first + at.count - 1, at.no + 1);
}

static inline void
make_wait(struct maker *m)
{
	static const char *const waits[] = { "\"Seconds\":0", "\"Seconds\":7",
		"\"SecondsPath\":\"$.n\"",
		"\"Timestamp\":\"2026-01-14T12:00:30Z\"" };

	buf_printf(m->text, "\"Type\":\"Wait\",%s", ONE_OF(m, waits));
}

enum made { MADE_TASK, MADE_WAIT, MADE_PASS, MADE_CHOICE, MADE_MAP,
	MADE_PARALLEL, MADE_SUCCEED, MADE_FAIL };

static inline enum made
pick_type(struct maker *m, struct place at, uint32_t nest)
{
	bool last = at.no + 1 == at.first + at.count;
	uint32_t dice = below(m->chance, 100);

	if (last && dice < 15)
		return dice < 12 ? MADE_SUCCEED : MADE_FAIL;
	dice = below(m->chance, 100);
	if (dice < 45)
		return MADE_TASK;
	if (dice < 52)
		return MADE_WAIT;
	if (dice < 62 || nest == NEST_MAX || m->states > STATES_MAX)
		return MADE_PASS;
	if (dice < 70)
		return last ? MADE_TASK : MADE_CHOICE;
	return dice < 88 ? MADE_MAP : MADE_PARALLEL;
}

static inline void
make_state(struct maker *m, struct place at, uint32_t nest, bool *waited)
{
	enum made type = pick_type(m, at, nest);
	bool task = type == MADE_TASK;
	bool spread = type == MADE_MAP || type == MADE_PARALLEL;

	buf_printf(m->text, "\"S%u\":{", at.no);
	switch (type) {
	case MADE_TASK:
		buf_printf(m->text, "\"Type\":\"Task\",\"Resource\":\"x%s\"",
		           percent(m->chance, 15) ? ".waitForTaskToken" : "");
		if (percent(m->chance, 10))
			buf_add_text(m->text, ",\"TimeoutSeconds\":30");
		if (percent(m->chance, 4))
			buf_add_text(m->text, ",\"HeartbeatSecondsPath\":"
			             "\"$.n\"");
		*waited = true;
		break;
	case MADE_WAIT:
		make_wait(m);
		*waited = true;
		break;
	case MADE_PASS:
		buf_add_text(m->text, "\"Type\":\"Pass\"");
		if (percent(m->chance, 30))
			buf_add_text(m->text, ",\"Result\":{\"n\":4,"
			             "\"l\":[0,1,2]}");
		break;
	case MADE_CHOICE:
		make_choice(m, at, *waited);
		break;
	case MADE_MAP:
		buf_add_text(m->text, "\"Type\":\"Map\"");
		make_map(m, nest);
		break;
	case MADE_PARALLEL:
		buf_add_text(m->text, "\"Type\":\"Parallel\"");
		make_parallel(m, nest);
		break;
	case MADE_SUCCEED:
		buf_add_text(m->text, "\"Type\":\"Succeed\"");
		break;
	case MADE_FAIL:
		buf_printf(m->text, "\"Type\":\"Fail\",\"Error\":\"%s\"",
		           ONE_OF(m, error_names));
		break;
	}
	if (type < MADE_SUCCEED && type != MADE_CHOICE)
		make_next(m, at);
	if (type < MADE_SUCCEED)
		make_input(m, task || type == MADE_PASS ||
		           type == MADE_PARALLEL, task);
	if (task || spread || type == MADE_PASS)
		make_output(m, task || spread, spread);
	if ((task || spread) && percent(m->chance, 40))
		make_retry(m);
	if ((task || spread) && percent(m->chance, 40))
		make_catch(m, at);
	buf_add_byte(m->text, '}');
}

static inline void
make_machine(struct maker *m, uint32_t nest)
{
	uint32_t count = 1 + below(m->chance, nest == 0 ? 8 : 3);
	struct place at = { m->states, m->states, count };
	bool waited = false;

	m->states += count;
	buf_printf(m->text, "{\"StartAt\":\"S%u\"", at.first);
	if (nest == 0 && percent(m->chance, 20))
		buf_add_text(m->text, ",\"TimeoutSeconds\":300");
	buf_add_text(m->text, ",\"States\":{");
	for (; at.no < at.first + count; at.no++) {
		if (at.no > at.first)
			buf_add_byte(m->text, ',');
		make_state(m, at, nest, &waited);
	}
	buf_add_text(m->text, "}}");
}

#endif
