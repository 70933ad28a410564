/*
 * retry - which Retry or Catch an error meets, and how long to wait.
 */
#include <string.h>

#include "engine/instance_parts.h"

/* Every bit of the input reaches every bit of the result. */
static uint64_t
mix(uint64_t h)
{
	h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
	return h ^ h >> 31;
}

uint64_t
retry_jitter(const struct uuid *instance, uint32_t activation, uint32_t attempt,
	     uint64_t delay_us)
{
	uint64_t high;
	uint64_t low;

	memcpy(&high, instance->bytes, 8);
	memcpy(&low, instance->bytes + 8, 8);

	uint64_t h =
	    mix(mix(mix(high) ^ low) ^ ((uint64_t)activation << 32 | attempt));

	return (uint64_t)((unsigned __int128)h * delay_us >> 64);
}

/* Languages say at most so much of what an error counts as. */
#define KINDS_MAX 32U
#define KIND_BYTES_MAX 128U

static bool
named(const struct error_match *m, struct slice name)
{
	for (uint32_t n = 0; n < m->count; n++) {
		struct slice other = m->names[n];

		if (other.len == name.len &&
		    (name.len == 0 ||
		     memcmp(other.data, name.data, name.len) == 0))
			return true;
	}
	return false;
}

/* Is one of the names one of those that the error counts as, too? */
static bool
named_as(const struct error_match *m, struct slice kinds)
{
	struct cursor c = cursor_of(kinds);
	uint32_t count;

	if (kinds.len == 0 || m->count == 0 || cursor_array(&c, &count) < 0)
		return false;
	for (uint32_t n = 0; n < count && n < KINDS_MAX; n++) {
		struct slice kind = cursor_value(&c);

		if (value_type(kind) == VALUE_STR &&
		    value_item(kind).bytes.len <= KIND_BYTES_MAX &&
		    named(m, value_item(kind).bytes))
			return true;
	}
	return false;
}

/*
 * The two wildcards leave out what would fail again in any case, and
 * States.TaskFailed leaves out timeouts, as the language says.
 */
static bool
match(const struct error_match *m, const struct failure *f)
{
	struct slice name = buf_slice(&f->name);
	bool runtime = slice_is(name, "States.Runtime") ||
		       slice_is(name, "States.DataLimitExceeded");
	bool heartbeat = slice_is(name, "States.HeartbeatTimeout");
	bool timeout = heartbeat || slice_is(name, "States.Timeout");

	return named(m, name) || named_as(m, buf_slice(&f->kinds)) ||
	       (m->all && !runtime) ||
	       (m->task_failed && !runtime && !timeout) ||
	       (m->timeout && heartbeat);
}

/* The delay before the retry of that number; grows by the rate. */
static uint64_t
delay_next(const struct retrier *r, struct retry_count *count)
{
	double max =
	    (double)(r->delay_max_us != 0 ? r->delay_max_us
					  : (uint64_t)SECONDS_MAX * 1000000);

	count->delay_us = count->used == 0 ? (double)r->interval_us
					   : count->delay_us * r->backoff_rate;
	if (!(count->delay_us <= max))
		count->delay_us = max;
	count->used++;
	return (uint64_t)count->delay_us;
}

bool
retry_next(struct instance *i, struct branch *b, uint64_t *delay_us_out)
{
	const struct state *s = b->state;
	uint32_t activation =
	    b->phase == BRANCH_ACTION ? b->activation : i->activations + 1;

	for (uint32_t n = 0; n < s->retrier_count; n++) {
		const struct retrier *r = &s->retriers[n];

		if (!match(&r->match, &i->failure))
			continue;
		if (b->retries == NULL)
			b->retries =
			    mem_calloc(s->retrier_count, sizeof(*b->retries));
		/* The first that matches decides; used up, it is Catch's. */
		if (b->retries[n].used >= r->attempts_max)
			return false;
		*delay_us_out = delay_next(r, &b->retries[n]);
		if (r->jitter)
			*delay_us_out = retry_jitter(&i->id, activation,
						     b->attempt, *delay_us_out);
		return true;
	}
	return false;
}

const struct catcher *
retry_catcher(const struct instance *i, const struct state *s)
{
	for (uint32_t n = 0; n < s->catcher_count; n++) {
		if (match(&s->catchers[n].match, &i->failure))
			return &s->catchers[n];
	}
	return NULL;
}
