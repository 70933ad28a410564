/*
 * adopt - see adopt.h.
 */
#include "flusher/adopt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/log.h"
#include "common/mem.h"
#include "flusher/batch.h"
#include "flusher/claim.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/groups.h"
#include "flusher/lease.h"

#define BUCKETS 4096U

/* A completion without a flight, or a flight without a lease. */
struct orphan {
	LIST_ENTRY(orphan) bucket_entry;
	TAILQ_ENTRY(orphan) kept_entry; /* completions, as they came */
	struct uuid instance;
	uint32_t activation;
	uint32_t attempt;
	struct flight *flight; /* NULL: a completion */
	uint64_t token; /* of the flight, or given back: of another life */
	uint64_t frame;
	uint64_t run_us;
	uint16_t worker;
	bool of_spool;
	enum completion_status status;
	/* SUCCEEDED: the result; FAILED: error and cause; then the extra. */
	struct buf text;
	size_t error_len;
	size_t extra_len;
};

LIST_HEAD(bucket, orphan);

struct adopt {
	struct bucket buckets[BUCKETS];
	TAILQ_HEAD(, orphan) kept;
	uint32_t count;    /* in the buckets */
	uint32_t expected; /* frames of an earlier flusher, still to come */
	uint32_t spooled;  /* so many of them, first, are of an earlier daemon */
	bool of_spool;     /* the one that is being read is */
	uint32_t workers;  /* that it left, and that are still to come */
	bool told;         /* by KEPT */
	bool leased;       /* the instances are ours, and being read */
	bool settled;
};

struct adopt *
adopt_create(void)
{
	struct adopt *a = mem_zalloc(sizeof(*a));

	TAILQ_INIT(&a->kept);
	return a;
}

static void
orphan_free(struct adopt *a, struct orphan *o)
{
	LIST_REMOVE(o, bucket_entry);
	if (o->flight == NULL)
		TAILQ_REMOVE(&a->kept, o, kept_entry);
	buf_fini(&o->text);
	free(o);
	a->count--;
}

void
adopt_destroy(struct adopt **ap)
{
	struct adopt *a = *ap;

	if (a == NULL)
		return;
	for (uint32_t i = 0; i < BUCKETS; i++) {
		struct orphan *o;

		while ((o = LIST_FIRST(&a->buckets[i])) != NULL)
			orphan_free(a, o);
	}
	free(a);
	*ap = NULL;
}

static struct bucket *
bucket_of(struct adopt *a, const struct uuid *instance, uint32_t activation)
{
	uint32_t hash;

	/* The end of a UUIDv7 is random. */
	memcpy(&hash, instance->bytes + 12, sizeof(hash));
	return &a->buckets[(hash ^ activation * 2654435761U) % BUCKETS];
}

static struct orphan *
orphan_find(const struct adopt *a, const struct uuid *instance,
            uint32_t activation, uint32_t attempt)
{
	/* The table is not changed by looking. */
	struct bucket *bucket =
	    bucket_of((struct adopt *)(uintptr_t)a, instance, activation);
	struct orphan *o;

	LIST_FOREACH (o, bucket, bucket_entry)
		if (o->activation == activation && o->attempt == attempt &&
		    uuid_equal(&o->instance, instance))
			return o;
	return NULL;
}

static struct orphan *
orphan_add(struct adopt *a, const struct uuid *instance, uint32_t activation,
           uint32_t attempt)
{
	struct orphan *o = mem_zalloc(sizeof(*o));

	o->instance = *instance;
	o->activation = activation;
	o->attempt = attempt;
	LIST_INSERT_HEAD(bucket_of(a, instance, activation), o, bucket_entry);
	a->count++;
	return o;
}

/* Not a completion: a worker has it no more, and what another flusher noted of
 * that is not true. */
static bool
orphan_given_back(const struct orphan *o)
{
	return o->flight == NULL && o->status == COMPLETION_NOT_BEGUN;
}

/* ---- coming in ---- */

void
adopt_expect(struct adopt *a, uint32_t frames, uint32_t spooled,
             uint32_t workers)
{
	a->expected = frames;
	a->spooled = spooled;
	a->workers = workers;
	a->told = true;
}

bool
adopt_expects(struct adopt *a)
{
	a->of_spool = false;
	if (a->expected == 0)
		return false;
	a->expected--;
	a->of_spool = a->spooled > 0;
	a->spooled -= a->of_spool;
	return true;
}

void
adopt_met(struct adopt *a)
{
	if (a->workers > 0)
		a->workers--;
}

bool
adopt_open(const struct adopt *a)
{
	return a->told && a->expected == 0 && a->workers == 0;
}

void
adopt_completion(struct flusher *f, uint16_t worker,
                 const struct completion *c)
{
	struct adopt *a = f->adopt;
	struct orphan *o = a->settled ?
	    NULL :
	    orphan_find(a, &c->instance, c->activation, c->attempt);

	/* Then it was sent again, and this is of that. */
	if (o != NULL && orphan_given_back(o)) {
		orphan_free(a, o);
		o = NULL;
	}
	if (a->settled || o != NULL) {
		f->counters.completions_late +=
		    c->status != COMPLETION_NOT_BEGUN;
		return;
	}
	o = orphan_add(a, &c->instance, c->activation, c->attempt);
	TAILQ_INSERT_TAIL(&a->kept, o, kept_entry);
	o->frame = f->ack.received;
	o->token = c->token;
	o->run_us = c->run_us;
	o->worker = worker;
	o->of_spool = a->of_spool;
	o->status = c->status;
	o->error_len = c->error.len;
	o->extra_len = c->extra.len;
	buf_add(&o->text, c->error.data, c->error.len);
	buf_add(&o->text, c->cause.data, c->cause.len);
	buf_add(&o->text, c->value.data, c->value.len);
	buf_add(&o->text, c->extra.data, c->extra.len);
}

bool
adopt_flight(struct adopt *a, const struct uuid *instance,
             uint32_t activation, uint32_t attempt, uint64_t token,
             struct flight *flight)
{
	struct orphan *o = a->settled ?
	    NULL :
	    orphan_find(a, instance, activation, attempt);

	if (o != NULL && orphan_given_back(o)) {
		bool same = o->token == token;

		orphan_free(a, o);
		if (same)
			return false;
		o = NULL;
	}
	if (a->settled || o != NULL)
		return false;
	o = orphan_add(a, instance, activation, attempt);
	o->flight = flight;
	o->token = token;
	return true;
}

struct flight *
adopt_flight_of(const struct adopt *a, const struct completion *c)
{
	struct orphan *o;

	if (a->count == 0)
		return NULL;
	o = orphan_find(a, &c->instance, c->activation, c->attempt);
	return o != NULL && o->flight != NULL && o->token == c->token
	           ? o->flight
	           : NULL;
}

void
adopt_flight_gone(struct adopt *a, const struct flight *flight)
{
	/* Rare: a worker that an earlier flusher used dies, or answers. */
	for (uint32_t i = 0; i < BUCKETS && a->count > 0; i++) {
		struct orphan *o;

		LIST_FOREACH (o, &a->buckets[i], bucket_entry)
			if (o->flight == flight) {
				orphan_free(a, o);
				return;
			}
	}
}

/* ---- going out ---- */

static void
orphan_apply(struct flusher *f, struct lease *lease, struct orphan *o)
{
	struct completion c = { .instance = o->instance,
		                .activation = o->activation,
		                .attempt = o->attempt,
		                .status = o->status,
		                .run_us = o->run_us };
	struct slice text = buf_slice(&o->text);
	struct error err = { .message = "" };
	struct action_view view;
	struct event event;
	bool waits = instance_action(lease->engine, o->activation, &view) &&
	             view.waits;

	text.len -= o->extra_len;
	if (o->extra_len > 0)
		c.extra = (struct slice){ text.data + text.len, o->extra_len };
	if (o->status == COMPLETION_FAILED) {
		c.error = (struct slice){ text.data, o->error_len };
		c.cause = (struct slice){ text.data + o->error_len,
			                  text.len - o->error_len };
	} else if (o->status == COMPLETION_SUCCEEDED) {
		c.value = text;
	}
	completion_event(&c, waits, f->config.value_bytes_max, &err, &event);
	event.at_us = flusher_now_us(f);
	event.worker = o->worker;
	f->counters.adopted++;
	batch_apply(f, lease, &event);
}

/* What a worker says of itself is all there is: it counts for actions only
 * that its group may run. Of an earlier daemon the slots were other ones. */
static bool
orphan_is_allowed(const struct flusher *f, const struct lease *lease,
                  const struct orphan *o)
{
	struct action_view view;

	if (!instance_action(lease->engine, o->activation, &view))
		return false;
	if (o->flight != NULL)
		return groups_allow(f->groups, dispatch_slot_of(o->flight),
		                    view.action);
	return o->of_spool || groups_allow(f->groups, o->worker, view.action);
}

bool
adopt_ready(struct flusher *f, struct lease *lease, uint32_t activation,
            uint32_t attempt)
{
	struct adopt *a = f->adopt;
	struct orphan *o;

	if (a->count == 0)
		return false;
	o = orphan_find(a, &lease->id, activation, attempt);
	if (o == NULL || !orphan_is_allowed(f, lease, o))
		return false;
	if (o->flight != NULL) {
		/* It stays, so that its completion finds the flight. */
		if (!dispatch_take_on(f, o->flight, lease, activation,
		                      attempt))
			return false;
		f->counters.adopted++;
		return true;
	}
	if (orphan_given_back(o)) {
		orphan_free(a, o);
		return false;
	}
	orphan_apply(f, lease, o);
	orphan_free(a, o);
	return true;
}

void
adopt_leased(struct flusher *f)
{
	if (f->adopt->leased)
		return;
	f->adopt->leased = true;
	claim_owned(f);
}

void
adopt_settle(struct flusher *f)
{
	struct adopt *a = f->adopt;
	uint32_t late = 0;
	struct orphan *o;

	if (a->settled)
		return;
	a->settled = true;
	while ((o = TAILQ_FIRST(&a->kept)) != NULL) {
		late += !orphan_given_back(o);
		orphan_free(a, o);
	}
	f->counters.completions_late += late;
	dispatch_unwanted(f);
	if (f->counters.adopted > 0 || late > 0)
		log_info("what was running is settled adopted=%llu late=%u",
		         (unsigned long long)f->counters.adopted, late);
	flusher_turn_wanted(f);
}

bool
adopt_settled(const struct adopt *a)
{
	return a->settled;
}

uint64_t
adopt_pending(const struct adopt *a)
{
	const struct orphan *o = TAILQ_FIRST(&a->kept);

	if (o == NULL)
		return 0;
	return o->frame;
}
