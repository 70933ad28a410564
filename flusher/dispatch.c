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
#include "common/value.h"
#include "flusher/adopt.h"
#include "flusher/batch.h"
#include "flusher/dispatch_parts.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/progress.h"
#include "flusher/timers.h"
#include "flusher/trace.h"

#define WINDOW_TIME_US 20000U /* of work sent ahead, a running place */
#define FRAME_SOFT_BYTES (256U << 10) /* then a new frame begins */
/* What one worker may hold; what is larger goes alone. */
#define SLOT_BYTES_MAX ((uint64_t)4 << 20)

/* ---- flights ---- */

void
flight_free(struct dispatch *d, struct flight *flight)
{
	struct slot *slot = flight->slot;
	struct flight *next = slot_claims(slot) ? NULL :
	    edge_remove(&slot->edge, flight, slot->phase == SLOT_READY);

	TAILQ_REMOVE(&slot->flights, flight, slot_entry);
	slot->held--;
	slot->bytes -= flight->bytes;
	slot->slow -= !flight->quick;
	if (slot->stalled_token == flight->token)
		slot->stalled_token = 0;
	/* One that is to be killed may outlive us: then its board tells the
	 * next flusher what it still runs. */
	if (slot->places.board != NULL && slot->phase != SLOT_DYING)
		places_give(&slot->places, flight->place);
	if (flight->adopted)
		adopt_flight_gone(d->flusher->adopt, flight);
	if (flight->progress != NULL)
		progress_end(d->flusher->progress, &flight->progress);
	if (flight->lease != NULL)
		LIST_REMOVE(flight, lease_entry);
	flights_give(&d->flights, flight);
	if (next == NULL)
		return;
	flight_note(next);
	if (next->unwanted)
		watch_unwanted(d, next);
}

/* Where a worker leaves its scoreboard alone, it is ours to tell the next
 * flusher from. */
void
flight_note(const struct flight *flight)
{
	if (flight->slot->places.board != NULL && flight->began_us > 0)
		(void)scoreboard_claim(flight->slot->places.board,
		                       flight->place, flight->place_token,
		                       flight->began_us);
}

void
flight_give_back(struct dispatch *d, struct flight *flight)
{
	struct ready ready = { flight->lease, flight->activation,
		               flight->attempt, flight->losses };
	struct route *route = flight->route;

	flight_free(d, flight);
	if (ready.lease != NULL) {
		d->flusher->counters.recalled++;
		route_push_front(&d->routes, route, &ready);
		flusher_turn_wanted(d->flusher);
	}
}

void
flight_fail(struct flusher *f, struct flight *flight, enum event_kind kind,
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

/* ---- sending ---- */

/* How many it may hold while all that is sent to it is as quick as that. */
static uint32_t
slot_window(const struct flusher *f, const struct slot *slot,
            const struct route *route)
{
	uint32_t moving = slot->concurrency - slot->slow;
	uint32_t window = slot->window;

	if (window > f->config.window_max)
		window = f->config.window_max;
	if (route->run_us * window > moving * WINDOW_TIME_US)
		window = (uint32_t)(moving * WINDOW_TIME_US / route->run_us);
	window += slot->slow;
	return window < slot->window ? window : slot->window;
}

static bool
slot_has_room(struct flusher *f, struct slot *slot, const struct route *route,
              uint64_t now_us)
{
	if (slot->phase != SLOT_READY || slot->retired ||
	    slot->bytes >= SLOT_BYTES_MAX || slot->blocked_until_us > now_us)
		return false;
	if (edge_has_place(&slot->edge))
		return true;
	/* It would wait: behind nothing that takes long, and if it is one
	 * that takes long itself, behind nothing at all. */
	if (!route_quick(route))
		return slot->held == 0;
	return slot->slow < slot->concurrency &&
	    watch_moves(f->dispatch, slot, now_us) &&
	    slot->held < slot_window(f, slot, route);
}

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
            const struct ready *ready, const struct action_view *view,
            uint64_t now_us)
{
	struct dispatch *d = f->dispatch;
	struct flight *flight = flights_take(&d->flights);

	flight->lease = ready->lease;
	flight->slot = slot;
	flight->route = route;
	flight->place_token = flight->token;
	flight->instance = ready->lease->id;
	flight->activation = ready->activation;
	flight->attempt = ready->attempt;
	flight->losses = ready->losses;
	flight->timeout_us = view->timeout_us;
	flight->heartbeat_us = view->heartbeat_us;
	flight->sent_us = now_us;
	flight->place = SCOREBOARD_NO_PLACE;
	flight->quick = route_quick(route);
	flight->waits = view->waits;
	flight->ordinal = slot->relayed++;
	TAILQ_INSERT_TAIL(&slot->flights, flight, slot_entry);
	LIST_INSERT_HEAD(&ready->lease->flights, flight, lease_entry);
	slot->held++;
	flight->bytes = view->input->s.len;
	slot->bytes += flight->bytes;
	slot->slow += !flight->quick;
	if (slot->places.board != NULL) {
		flight->place = places_take(&slot->places);
		if (!slot_claims(slot))
			scoreboard_number(slot->places.board, flight->place,
			                  slot->before + flight->ordinal);
		scoreboard_wait(slot->places.board, flight->place,
		                flight->token, &flight->instance,
		                flight->activation, flight->attempt);
	}
	if (!slot_claims(slot)) {
		edge_add(&slot->edge, flight, now_us);
		flight_note(flight);
	}
	watch_sent(d, slot, flight);

	value_pack_array(&slot->items, view->heartbeat_us > 0 ? 9 : 8);
	value_pack_uint(&slot->items, flight->token);
	value_pack_bin(&slot->items, ready->lease->id.bytes, 16);
	value_pack_uint(&slot->items, ready->activation);
	value_pack_uint(&slot->items, ready->attempt);
	value_pack_str(&slot->items, route->name, route->name_len);
	value_pack_uint(&slot->items, view->timeout_us);
	value_pack_uint(&slot->items, slot_claims(slot) ? flight->place
	                                                : SCOREBOARD_NO_PLACE);
	value_pack_raw(&slot->items, view->input->s);
	if (view->heartbeat_us > 0)
		value_pack_uint(&slot->items, view->heartbeat_us);
	slot->item_count++;
	f->counters.dispatched++;
	if (slot->items.len >= FRAME_SOFT_BYTES)
		slot_send(f, slot);
}

/* Gives the route's work to slots with room, in turns of a fair share.
 * False when nobody has room. */
static void
route_run(struct flusher *f, struct route *route, uint64_t now_us)
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

		if (!slot_has_room(f, slot, route, now_us) ||
		    !slot_serves(slot, route)) {
			full++;
			continue;
		}
		full = 0;
		while (given < share && route->count > 0 &&
		       slot_has_room(f, slot, route, now_us)) {
			struct ready ready = route_pop(&d->routes, route);
			struct action_view view;

			/* It may have been abandoned while it waited. */
			if (ready.lease == NULL ||
			    !instance_action(ready.lease->engine,
			                     ready.activation, &view) ||
			    view.attempt != ready.attempt)
				continue;
			slot_launch(f, slot, route, &ready, &view,
			            now_us);
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
			route_run(f, route, begun);
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
dispatch_ready(struct flusher *f, struct lease *lease, uint32_t activation,
               uint32_t attempt)
{
	struct action_view view;
	struct ready ready;
	int64_t now;

	/* Somebody may have finished it under its token meanwhile: what follows
	 * from that is not durable yet. */
	if (!instance_action(lease->engine, activation, &view) ||
	    view.attempt != attempt)
		return;
	/* First: what an earlier flusher dispatched was due, whatever the clock
	 * says since then. */
	if (adopt_ready(f, lease, activation, attempt))
		return;
	if (view.not_before_us > 0) {
		now = flusher_now_us(f);
		if (view.not_before_us > now) {
			timers_add(f->timers, lease, TIMER_RETRY, activation,
			           view.not_before_us);
			return;
		}
	}
	ready = (struct ready){ lease, activation, attempt, 0 };
	route_push(&f->dispatch->routes,
	           route_find(&f->dispatch->routes, view.action), &ready);
	flusher_turn_wanted(f);
}

/* ---- an earlier flusher's flights ---- */

bool
dispatch_take_on(struct flusher *f, struct flight *flight,
                 struct lease *lease, uint32_t activation, uint32_t attempt)
{
	struct action_view view;

	ASSERT(flight->adopted && flight->lease == NULL);
	if (flight->unwanted ||
	    !instance_action(lease->engine, activation, &view))
		return false;
	flight->lease = lease;
	LIST_INSERT_HEAD(&lease->flights, flight, lease_entry);
	flight->activation = activation;
	flight->attempt = attempt;
	flight->route = route_find(&f->dispatch->routes, view.action);
	flight->timeout_us = view.timeout_us;
	flight->waits = view.waits;
	flight->heartbeat_us = view.heartbeat_us;
	flight->beat_us = clock_mono_us(); /* it may have said so to another */
	watch_deadlines(f->dispatch);
	return true;
}

uint16_t
dispatch_slot_of(const struct flight *flight)
{
	return flight->slot->no;
}

bool
dispatch_runs(const struct lease *lease, uint32_t activation)
{
	const struct flight *flight;

	LIST_FOREACH (flight, &lease->flights, lease_entry)
		if (flight->activation == activation)
			return true;
	return false;
}

void
dispatch_unqueue(struct flusher *f, struct lease *lease)
{
	struct route *route;

	if (lease->queued == 0)
		return;
	TAILQ_FOREACH (route, &f->dispatch->routes.waiting, waiting_entry)
		for (uint32_t i = 0; i < route->count; i++)
			if (route_at(route, i)->lease == lease)
				route_at(route, i)->lease = NULL;
	lease->queued = 0;
}

void
dispatch_forget(struct flusher *f, struct lease *lease)
{
	struct flight *flight;

	while ((flight = LIST_FIRST(&lease->flights)) != NULL)
		dispatch_abandon(f, lease, flight->activation);
	/* Rare at an end: only a failing sibling leaves any. */
	dispatch_unqueue(f, lease);
}

/* ---- life ---- */

struct dispatch *
dispatch_create(struct flusher *f)
{
	struct dispatch *d = mem_zalloc(sizeof(*d));

	d->flusher = f;
	d->slots = mem_calloc(SLOTS_MAX, sizeof(struct slot));
	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		d->slots[i].no = (uint16_t)i;
		TAILQ_INIT(&d->slots[i].flights);
	}
	routes_init(&d->routes);
	flights_init(&d->flights);
	watch_create(d);
	return d;
}

void
dispatch_destroy(struct dispatch **dp)
{
	struct dispatch *d = *dp;

	if (d == NULL)
		return;
	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		places_close(&d->slots[i].places);
		free(d->slots[i].routes);
		buf_fini(&d->slots[i].items);
	}
	free(d->slots);
	routes_fini(&d->routes);
	flights_fini(&d->flights);
	watch_destroy(d);
	free(d);
	*dp = NULL;
}
