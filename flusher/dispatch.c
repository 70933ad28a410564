/*
 * dispatch - see dispatch.h.
 */
#include "flusher/dispatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "common/value.h"
#include "flusher/adopt.h"
#include "flusher/batch.h"
#include "flusher/completion.h"
#include "flusher/dispatch_parts.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/timers.h"
#include "flusher/trace.h"

#define WINDOW_TIME_US 20000U   /* of work that a worker may hold */
#define ABANDON_US CLOCK_SECOND_US
#define FRAME_SOFT_BYTES (256U << 10) /* then a new frame begins */
/* What one worker may hold; what is larger goes alone. */
#define SLOT_BYTES_MAX ((uint64_t)4 << 20)

#define FLIGHTS_A_BLOCK 1024U
/* A token: which flight, and below it a count that begins anywhere, since
 * workers may still hold tokens of an earlier flusher. */
#define INDEX_BITS 20U
#define INDEX_MASK ((UINT64_C(1) << INDEX_BITS) - 1)
#define COUNT_MASK ((UINT64_C(1) << 41) - 1)

/* ---- flights ---- */

static struct flight *
flight_at(const struct dispatch *d, uint32_t index)
{
	return &d->blocks[index / FLIGHTS_A_BLOCK][index % FLIGHTS_A_BLOCK];
}

static struct flight *
flight_take(struct dispatch *d)
{
	uint32_t index;
	struct flight *flight;

	if (d->first_free == 0) {
		uint32_t base = d->block_count * FLIGHTS_A_BLOCK;

		d->blocks = mem_realloc(d->blocks, (d->block_count + 1) *
		                                       sizeof(*d->blocks));
		d->blocks[d->block_count++] =
		    mem_calloc(FLIGHTS_A_BLOCK, sizeof(struct flight));
		for (uint32_t i = FLIGHTS_A_BLOCK; i-- > 0;) {
			flight_at(d, base + i)->next_free = d->first_free;
			d->first_free = base + i + 1;
		}
	}
	index = d->first_free - 1;
	flight = flight_at(d, index);
	d->first_free = flight->next_free;
	ASSERT(index <= INDEX_MASK);
	d->tokens = (d->tokens + 1) & COUNT_MASK;
	flight->token = d->tokens << INDEX_BITS | index;
	flight->adopted = false;
	d->flights++;
	return flight;
}

static struct flight *
flight_find(const struct dispatch *d, uint64_t token)
{
	uint32_t index = (uint32_t)(token & INDEX_MASK);
	struct flight *flight;

	if (index >= d->block_count * FLIGHTS_A_BLOCK)
		return NULL;
	flight = flight_at(d, index);
	return flight->slot != NULL && flight->token == token ? flight : NULL;
}

static void
flight_free(struct dispatch *d, struct flight *flight, uint64_t now_us)
{
	struct slot *slot = flight->slot;

	if (TAILQ_FIRST(&slot->flights) == flight)
		slot->front_us = now_us;
	TAILQ_REMOVE(&slot->flights, flight, slot_entry);
	slot->held--;
	slot->bytes -= flight->bytes;
	slot->slow -= !flight->quick;
	if (flight->adopted)
		adopt_flight_gone(d->flusher->adopt, flight);
	if (flight->lease != NULL)
		LIST_REMOVE(flight, lease_entry);
	flight->lease = NULL;
	flight->slot = NULL;
	flight->next_free = d->first_free;
	d->first_free = (uint32_t)(flight->token & INDEX_MASK) + 1;
	d->flights--;
}

/* ---- deadlines: timeouts, and what nobody wants any more ---- */

static void
deadline_arm(struct dispatch *d, uint64_t at_us)
{
	uint64_t now = clock_mono_us();
	uint64_t wait = at_us > now ? at_us - now : 0;
	struct timeval tv = { .tv_sec = (time_t)(wait / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(wait %
		                                       CLOCK_SECOND_US) };

	if (d->deadline_armed_us != 0 && d->deadline_armed_us <= at_us)
		return;
	d->deadline_armed_us = at_us;
	event_add(d->deadline_event, &tv);
}

/* When the slot's first flight has had its time; 0: never. */
static uint64_t
slot_deadline(const struct slot *slot)
{
	const struct flight *front = TAILQ_FIRST(&slot->flights);

	if (front == NULL || slot->phase != SLOT_READY)
		return 0;
	if (front->lease == NULL)
		return front->kill_us;
	return front->timeout_us == 0 ? 0 :
	                                slot->front_us + front->timeout_us;
}

static void
slot_kill(struct flusher *f, struct slot *slot, const char *reason)
{
	struct buf *out;
	size_t begun;

	slot->phase = SLOT_DYING;
	if (f->link == NULL)
		return; /* its supervisor is gone, and so is the worker */
	out = link_out(f->link);
	begun = frame_begin(out, FRAME_KILL, slot->no, slot->spawn);
	value_pack_map(out, 1);
	value_pack_text(out, "reason");
	value_pack_text(out, reason);
	frame_end(out, begun, 0);
	link_send(f->link);
}

static void
apply_failure(struct flusher *f, struct flight *flight, enum event_kind kind,
              const char *error, const char *cause, uint64_t run_us)
{
	struct event event = { .kind = kind,
		               .at_us = flusher_now_us(f),
		               .activation = flight->activation,
		               .attempt = flight->attempt,
		               .worker = flight->slot->no,
		               .run_us = run_us,
		               .error = slice_of(error),
		               .cause = slice_of(cause) };

	batch_apply(f, flight->lease, &event);
}

static void
slot_overdue(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	struct flusher *f = d->flusher;
	struct flight *front = TAILQ_FIRST(&slot->flights);

	if (front->lease != NULL) {
		f->counters.timeouts++;
		log_info("action timed out action=%s slot=%u after_us=%llu",
		         front->route->name, slot->no,
		         (unsigned long long)front->timeout_us);
		apply_failure(f, front, EVENT_FAILED, "States.Timeout",
		              "the action ran longer than its TimeoutSeconds",
		              now_us - slot->front_us);
	}
	flight_free(d, front, now_us);
	slot_kill(f, slot, "its action had to end");
}

static void
deadline_cb(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;
	uint64_t now = clock_mono_us();
	uint64_t next = 0;

	(void)fd;
	(void)what;
	d->deadline_armed_us = 0;
	for (uint32_t i = 0; i < d->slots_used; i++) {
		struct slot *slot = &d->slots[i];
		uint64_t at = slot_deadline(slot);

		if (at != 0 && at <= now)
			slot_overdue(d, slot, now);
		else if (at != 0 && (next == 0 || at < next))
			next = at;
	}
	if (next != 0)
		deadline_arm(d, next);
}

/* ---- slots ---- */

static void
slot_serve_none(struct slot *slot)
{
	for (uint32_t i = 0; i < slot->route_count; i++)
		slot->routes[i]->servers--;
	free(slot->routes);
	slot->routes = NULL;
	slot->route_count = 0;
}

static bool
slot_serves(const struct slot *slot, const struct route *route)
{
	for (uint32_t i = 0; i < slot->route_count; i++)
		if (slot->routes[i] == route)
			return true;
	return false;
}

static bool
slot_has_room(const struct flusher *f, const struct slot *slot,
              const struct route *route)
{
	uint32_t window = slot->window;

	if (slot->phase != SLOT_READY || slot->bytes >= SLOT_BYTES_MAX)
		return false;
	if (!route_quick(route))
		return slot->held == 0;
	if (slot->slow > 0)
		return false;
	if (window > f->config.window_max)
		window = f->config.window_max;
	if (route->run_us * window > WINDOW_TIME_US)
		window = (uint32_t)(WINDOW_TIME_US / route->run_us);
	return slot->held < window;
}

int
dispatch_hello(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct slice actions, window, name;
	struct slot *slot;

	if (frame->slot >= SLOTS_MAX || value_type(frame->payload) != VALUE_MAP)
		return -EPROTO;
	slot = &d->slots[frame->slot];
	slot_serve_none(slot);
	slot->phase = SLOT_READY;
	slot->spawn = frame->spawn;
	slot->relayed = 0;
	slot->window = 1;
	if (value_get(frame->payload, SLICE_LITERAL("window"), &window) &&
	    value_type(window) == VALUE_INT && value_item(window).i > 0 &&
	    value_item(window).i <= 1024)
		slot->window = (uint32_t)value_item(window).i;
	if (frame->slot >= d->slots_used)
		d->slots_used = frame->slot + 1U;
	if (value_get(frame->payload, SLICE_LITERAL("actions"), &actions) &&
	    value_type(actions) == VALUE_ARRAY) {
		slot->routes = mem_calloc(value_count(actions) + 1,
		                          sizeof(struct route *));
		for (uint32_t i = 0; value_at(actions, i, &name); i++) {
			struct route *route;

			if (value_type(name) != VALUE_STR)
				return -EPROTO;
			route = route_find(&d->routes, value_item(name).bytes);
			if (slot_serves(slot, route))
				continue;
			slot->routes[slot->route_count++] = route;
			route->servers++;
			route->unserved_us = 0;
		}
	}
	log_debug("worker ready slot=%u spawn=%u actions=%u", slot->no,
	          slot->spawn, slot->route_count);
	flusher_turn_wanted(f);
	return 0;
}

static void
flight_give_back(struct dispatch *d, struct flight *flight, uint64_t now_us)
{
	struct ready ready = { flight->lease, flight->activation,
		               flight->attempt };
	struct route *route = flight->route;

	flight_free(d, flight, now_us);
	if (ready.lease != NULL) {
		d->flusher->counters.recalled++;
		route_push_front(&d->routes, route, &ready);
		flusher_turn_wanted(d->flusher);
	}
}

int
dispatch_gone(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct slice reason;
	struct slot *slot;
	struct flight *flight;
	uint64_t now = clock_mono_us();
	char cause[256];
	bool blame;

	if (frame->slot >= SLOTS_MAX || value_type(frame->payload) != VALUE_MAP)
		return -EPROTO;
	slot = &d->slots[frame->slot];
	if (slot->phase == SLOT_EMPTY || slot->spawn != frame->spawn)
		return 0; /* it never said HELLO to us */
	snprintf(cause, sizeof(cause), "the worker was lost");
	if (value_get(frame->payload, SLICE_LITERAL("reason"), &reason) &&
	    value_type(reason) == VALUE_STR)
		snprintf(cause, sizeof(cause), "the worker was lost: %.*s",
		         (int)value_item(reason).bytes.len,
		         (const char *)value_item(reason).bytes.data);
	/* One that we had killed paid for it already; at a stop of the pool
	 * nobody does. */
	blame = slot->phase == SLOT_READY && f->phase == FLUSHER_WORKING;
	slot->phase = SLOT_EMPTY;
	slot_serve_none(slot);
	slot->items.len = 0;
	slot->item_count = 0;
	f->counters.workers_lost++;

	flight = TAILQ_FIRST(&slot->flights);
	if (flight != NULL && blame && flight->ordinal < frame->count) {
		log_info("action lost with its worker action=%s slot=%u "
		         "attempt=%u",
		         flight->route->name, slot->no, flight->attempt);
		if (flight->lease != NULL)
			apply_failure(f, flight, EVENT_LOST,
			              "States.TaskFailed", cause,
			              now - slot->front_us);
		flight_free(d, flight, now);
	}
	/* From the last on, so that they keep their order at the front. */
	while ((flight = TAILQ_LAST(&slot->flights, slot_flights)) != NULL)
		flight_give_back(d, flight, now);
	flusher_drain_step(f);
	return 0;
}

/* ---- sending ---- */

static void
slot_send(struct flusher *f, struct slot *slot)
{
	struct buf *out = link_out(f->link);
	size_t begun;

	if (slot->item_count == 0)
		return;
	begun = frame_begin(out, FRAME_DISPATCH, slot->no, slot->spawn);
	value_pack_array(out, slot->item_count);
	value_pack_raw(out, buf_slice(&slot->items));
	frame_end(out, begun, slot->item_count);
	link_send(f->link);
	slot->items.len = 0;
	slot->item_count = 0;
}

static void
slot_launch(struct flusher *f, struct slot *slot, struct route *route,
            const struct ready *ready, const struct action_view *view)
{
	struct dispatch *d = f->dispatch;
	struct flight *flight = flight_take(d);
	uint64_t now = clock_mono_us();

	flight->lease = ready->lease;
	flight->slot = slot;
	flight->route = route;
	flight->activation = ready->activation;
	flight->attempt = ready->attempt;
	flight->timeout_us = view->timeout_us;
	flight->sent_us = now;
	flight->kill_us = 0;
	flight->quick = route_quick(route);
	flight->ordinal = slot->relayed++;
	if (slot->held == 0)
		slot->front_us = now;
	TAILQ_INSERT_TAIL(&slot->flights, flight, slot_entry);
	LIST_INSERT_HEAD(&ready->lease->flights, flight, lease_entry);
	slot->held++;
	flight->bytes = view->input->s.len;
	slot->bytes += flight->bytes;
	slot->slow += !flight->quick;
	if (slot_deadline(slot) != 0)
		deadline_arm(d, slot_deadline(slot));

	value_pack_array(&slot->items, 7);
	value_pack_uint(&slot->items, flight->token);
	value_pack_bin(&slot->items, ready->lease->id.bytes, 16);
	value_pack_uint(&slot->items, ready->activation);
	value_pack_uint(&slot->items, ready->attempt);
	value_pack_str(&slot->items, route->name, route->name_len);
	value_pack_uint(&slot->items, view->timeout_us);
	value_pack_raw(&slot->items, view->input->s);
	slot->item_count++;
	f->counters.dispatched++;
	if (slot->items.len >= FRAME_SOFT_BYTES)
		slot_send(f, slot);
}

/* Gives the route's work to slots with room, in turns of a fair share.
 * False when nobody has room. */
static void
route_run(struct flusher *f, struct route *route)
{
	struct dispatch *d = f->dispatch;
	uint32_t full = 0;
	uint32_t share = route->servers == 0 ? 1 :
	                                       route->count / route->servers;

	if (share == 0)
		share = 1;
	while (route->count > 0 && full < d->slots_used) {
		struct slot *slot = &d->slots[d->cursor++ % d->slots_used];
		uint32_t given = 0;

		if (!slot_has_room(f, slot, route) ||
		    !slot_serves(slot, route)) {
			full++;
			continue;
		}
		full = 0;
		while (given < share && route->count > 0 &&
		       slot_has_room(f, slot, route)) {
			struct ready ready = route_pop(&d->routes, route);
			struct action_view view;

			/* It may have been abandoned while it waited. */
			if (ready.lease == NULL ||
			    !instance_action(ready.lease->engine,
			                     ready.activation, &view) ||
			    view.attempt != ready.attempt)
				continue;
			slot_launch(f, slot, route, &ready, &view);
			given++;
		}
	}
}

void
dispatch_run(struct flusher *f)
{
	struct dispatch *d = f->dispatch;
	struct route *route, *next;
	uint64_t begun;
	uint64_t before = f->counters.dispatched;

	if (TAILQ_EMPTY(&d->routes.waiting) || f->phase != FLUSHER_WORKING)
		return;
	begun = clock_mono_us();
	for (route = TAILQ_FIRST(&d->routes.waiting); route != NULL; route = next) {
		next = TAILQ_NEXT(route, waiting_entry);
		if (route->servers > 0)
			route_run(f, route);
		else if (route->unserved_us == 0)
			route->unserved_us = begun;
	}
	/* In turns, or a backlog of one action would starve the others. */
	route = TAILQ_FIRST(&d->routes.waiting);
	if (route != NULL) {
		TAILQ_REMOVE(&d->routes.waiting, route, waiting_entry);
		TAILQ_INSERT_TAIL(&d->routes.waiting, route, waiting_entry);
	}
	for (uint32_t i = 0; i < d->slots_used; i++)
		slot_send(f, &d->slots[i]);
	f->counters.dispatch_calls++;
	f->counters.dispatch_us += clock_mono_us() - begun;
	trace_span("dispatch", begun, f->counters.dispatched - before);
}

void
dispatch_ready(struct flusher *f, struct lease *lease, uint32_t activation)
{
	struct action_view view;
	struct ready ready;
	int64_t now;

	if (!instance_action(lease->engine, activation, &view))
		return;
	if (view.not_before_us > 0) {
		now = flusher_now_us(f);
		if (view.not_before_us > now) {
			timers_add(f->timers, lease, TIMER_RETRY, activation,
			           view.not_before_us);
			return;
		}
	}
	if (adopt_ready(f, lease, activation, view.attempt))
		return;
	ready = (struct ready){ lease, activation, view.attempt };
	route_push(&f->dispatch->routes,
	           route_find(&f->dispatch->routes, view.action), &ready);
	flusher_turn_wanted(f);
}

void
dispatch_abandon(struct flusher *f, struct lease *lease, uint32_t activation)
{
	struct flight *flight, *next;
	uint64_t kill_us = clock_mono_us() + ABANDON_US;

	for (flight = LIST_FIRST(&lease->flights); flight != NULL;
	     flight = next) {
		next = LIST_NEXT(flight, lease_entry);
		if (flight->activation != activation)
			continue;
		LIST_REMOVE(flight, lease_entry);
		flight->lease = NULL;
		flight->kill_us = kill_us;
		deadline_arm(f->dispatch, kill_us);
	}
}

void
dispatch_forget(struct flusher *f, struct lease *lease)
{
	struct dispatch *d = f->dispatch;
	struct flight *flight;
	struct route *route;

	while ((flight = LIST_FIRST(&lease->flights)) != NULL)
		dispatch_abandon(f, lease, flight->activation);
	/* Rare at an end: only a failing sibling leaves any. */
	if (lease->queued == 0)
		return;
	TAILQ_FOREACH (route, &d->routes.waiting, waiting_entry)
		for (uint32_t i = 0; i < route->count; i++)
			if (route_at(route, i)->lease == lease)
				route_at(route, i)->lease = NULL;
}

/* ---- completions ---- */

static int
complete_one(struct flusher *f, struct slot *slot, struct cursor *c,
             uint64_t now_us)
{
	struct dispatch *d = f->dispatch;
	struct completion done;
	struct error err = { .message = "" };
	struct flight *flight;
	struct event event;

	if (completion_read(c, &done) < 0)
		return -EPROTO;
	flight = flight_find(d, done.token);
	if (flight == NULL)
		flight = adopt_flight_of(f->adopt, &done);
	if (flight == NULL) {
		f->counters.completions_late++;
		return 0;
	}
	/* Tokens are not guessed by accident. */
	if (flight->slot != slot || flight->activation != done.activation ||
	    flight->attempt != done.attempt ||
	    (flight->lease != NULL &&
	     !uuid_equal(&flight->lease->id, &done.instance)))
		return -EPROTO;
	f->counters.completions++;
	if (flight->lease == NULL) {
		bool unasked = flight->adopted && !adopt_settled(f->adopt);

		flight_free(d, flight, now_us);
		if (unasked)
			adopt_completion(f, slot->no, &done);
		else
			f->counters.completions_late++;
		return 0;
	}
	route_ran(flight->route, done.run_us);
	completion_event(&done, f->config.value_bytes_max, &err, &event);
	event.at_us = flusher_now_us(f);
	event.worker = slot->no;
	batch_apply(f, flight->lease, &event);
	histogram_add(&f->counters.action_us_of, now_us - flight->sent_us);
	flight_free(d, flight, now_us);
	return 0;
}

/* Those of an earlier flusher: whoever ran them may be gone. */
static int
complete_kept(struct flusher *f, uint16_t worker, struct cursor *c,
              uint32_t count)
{
	struct completion done;

	for (uint32_t i = 0; i < count; i++) {
		if (completion_read(c, &done) < 0)
			return -EPROTO;
		adopt_completion(f, worker, &done);
	}
	return 0;
}

int
dispatch_completion(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct cursor c = cursor_of(frame->payload);
	struct slot *slot;
	uint64_t now = clock_mono_us();
	bool kept = adopt_expects(f->adopt);
	uint32_t count;
	int r;

	if (frame->slot >= SLOTS_MAX || cursor_array(&c, &count) < 0)
		return -EPROTO;
	if (kept)
		return complete_kept(f, frame->slot, &c, count);
	slot = &d->slots[frame->slot];
	if (slot->phase == SLOT_EMPTY || slot->spawn != frame->spawn)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		r = complete_one(f, slot, &c, now);
		if (r < 0)
			return r;
	}
	if (slot_deadline(slot) != 0)
		deadline_arm(d, slot_deadline(slot));
	trace_span("apply", now, count);
	flusher_turn_wanted(f);
	return 0;
}

/* ---- an earlier flusher's flights ---- */

void
dispatch_take_on(struct flusher *f, struct flight *flight,
                 struct lease *lease, uint32_t activation, uint32_t attempt)
{
	struct action_view view;

	ASSERT(flight->adopted && flight->lease == NULL);
	if (!instance_action(lease->engine, activation, &view))
		return;
	flight->lease = lease;
	LIST_INSERT_HEAD(&lease->flights, flight, lease_entry);
	flight->activation = activation;
	flight->attempt = attempt;
	flight->route = route_find(&f->dispatch->routes, view.action);
	flight->timeout_us = view.timeout_us;
	if (slot_deadline(flight->slot) != 0)
		deadline_arm(f->dispatch, slot_deadline(flight->slot));
}

void
dispatch_unwanted(struct flusher *f)
{
	struct dispatch *d = f->dispatch;
	uint64_t kill_us = clock_mono_us() + ABANDON_US;

	for (uint32_t i = 0; i < d->slots_used; i++) {
		struct flight *flight;

		TAILQ_FOREACH (flight, &d->slots[i].flights, slot_entry)
			if (flight->adopted && flight->lease == NULL) {
				flight->kill_us = kill_us;
				deadline_arm(d, kill_us);
			}
	}
}

/* ---- life ---- */

struct dispatch *
dispatch_create(struct flusher *f)
{
	struct dispatch *d = mem_zalloc(sizeof(*d));
	struct uuid random;

	d->flusher = f;
	uuid_random(&random);
	memcpy(&d->tokens, random.bytes, sizeof(d->tokens));
	d->tokens &= COUNT_MASK;
	d->slots = mem_calloc(SLOTS_MAX, sizeof(struct slot));
	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		d->slots[i].no = (uint16_t)i;
		TAILQ_INIT(&d->slots[i].flights);
	}
	routes_init(&d->routes);
	d->deadline_event = event_new(f->base, -1, 0, deadline_cb, d);
	ASSERT(d->deadline_event != NULL);
	return d;
}

void
dispatch_destroy(struct dispatch **dp)
{
	struct dispatch *d = *dp;

	if (d == NULL)
		return;
	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		free(d->slots[i].routes);
		buf_fini(&d->slots[i].items);
	}
	free(d->slots);
	routes_fini(&d->routes);
	for (uint32_t i = 0; i < d->block_count; i++)
		free(d->blocks[i]);
	free(d->blocks);
	event_free(d->deadline_event);
	free(d);
	*dp = NULL;
}
