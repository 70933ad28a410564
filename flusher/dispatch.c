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
#include "flusher/timers.h"
#include "flusher/trace.h"

#define WINDOW_TIME_US 20000U   /* of work that a worker may hold */
#define FRAME_SOFT_BYTES (256U << 10) /* then a new frame begins */
/* What one worker may hold; what is larger goes alone. */
#define SLOT_BYTES_MAX ((uint64_t)4 << 20)
/* So many workers lost over one action that was not seen to run: it did. */
#define LOSSES_MAX 3U

/* ---- flights ---- */

void
flight_free(struct dispatch *d, struct flight *flight)
{
	struct slot *slot = flight->slot;

	TAILQ_REMOVE(&slot->flights, flight, slot_entry);
	slot->held--;
	slot->bytes -= flight->bytes;
	slot->slow -= !flight->quick;
	if (slot->stalled_token == flight->token)
		slot->stalled_token = 0;
	if (slot->places.board != NULL)
		places_give(&slot->places, flight->place);
	if (flight->adopted)
		adopt_flight_gone(d->flusher->adopt, flight);
	if (flight->lease != NULL)
		LIST_REMOVE(flight, lease_entry);
	flights_give(&d->flights, flight);
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

void
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

void
slot_refuse(struct flusher *f, struct slot *slot, const char *reason)
{
	log_error("worker refused slot=%u spawn=%u reason=\"%s\"", slot->no,
	          slot->spawn, reason);
	slot->lied = true;
	slot_kill(f, slot, reason);
}

static bool
slot_has_room(struct flusher *f, struct slot *slot, const struct route *route,
              uint64_t now_us)
{
	uint32_t window = slot->window;

	if (slot->phase != SLOT_READY || slot->retired ||
	    slot->bytes >= SLOT_BYTES_MAX)
		return false;
	if (!route_quick(route))
		return slot->held == 0;
	if (slot->slow > 0 || !watch_moves(f->dispatch, slot, now_us))
		return false;
	if (window > f->config.window_max)
		window = f->config.window_max;
	if (route->run_us * window > WINDOW_TIME_US)
		window = (uint32_t)(WINDOW_TIME_US / route->run_us);
	return slot->held < window;
}

/* Everything it held is ready again. */
static void
slot_empty(struct dispatch *d, struct slot *slot)
{
	struct flight *flight;

	/* From the last on, so that they keep their order at the front. */
	while ((flight = TAILQ_LAST(&slot->flights, slot_flights)) != NULL)
		flight_give_back(d, flight);
	places_close(&slot->places);
	slot_serve_none(slot);
	slot->items.len = 0;
	slot->item_count = 0;
	slot->phase = SLOT_EMPTY;
}

/* An earlier flusher's attempt goes on in that place; false when that is
 * nobody's any more: its completion is here already. */
static bool
slot_adopt(struct flusher *f, struct slot *slot, uint32_t place)
{
	struct dispatch *d = f->dispatch;
	struct scoreboard_place seen =
	    scoreboard_look(slot->places.board, place);
	uint64_t now = clock_mono_us();
	struct flight *flight;

	if (seen.activation > UINT32_MAX)
		return false; /* no engine gives such */
	flight = flights_take(&d->flights);
	if (!adopt_flight(f->adopt, &seen.instance, (uint32_t)seen.activation,
	                  seen.attempt, seen.token, flight)) {
		flights_give(&d->flights, flight);
		return false;
	}
	flight->lease = NULL;
	flight->slot = slot;
	flight->route = NULL;
	flight->place_token = seen.token;
	flight->ordinal = 0;
	flight->timeout_us = 0;
	flight->bytes = 0;
	flight->sent_us = seen.began_us < now ? seen.began_us : now;
	flight->kill_us = 0;
	flight->instance = seen.instance;
	flight->activation = (uint32_t)seen.activation;
	flight->attempt = seen.attempt;
	flight->place = place;
	flight->losses = 0;
	flight->quick = false;
	flight->waits = false;
	flight->adopted = true;
	places_reserve(&slot->places, place);
	TAILQ_INSERT_TAIL(&slot->flights, flight, slot_entry);
	slot->held++;
	slot->slow++;
	return true;
}

/* What an earlier flusher left in a board: what waits is taken back, and the
 * engine asks for it again. */
static void
slot_inherit(struct flusher *f, struct slot *slot)
{
	struct scoreboard *board = slot->places.board;

	for (uint32_t i = 0; i < slot->window; i++) {
		struct scoreboard_place seen = scoreboard_glance(board, i);

		if (seen.phase == PLACE_WAITING &&
		    !scoreboard_recall(board, i, seen.token))
			seen = scoreboard_glance(board, i);
		/* What is not adopted must not look to yet another flusher
		 * as if an answer were still to come. */
		if ((seen.phase != PLACE_RUNNING && seen.phase != PLACE_DONE) ||
		    !slot_adopt(f, slot, i))
			scoreboard_free(board, i);
	}
}

/* Only what can be called back is sent ahead. What runs may be of a flusher
 * before the last one: the board says it, not the HELLO's count. */
static void
slot_board(struct flusher *f, struct slot *slot, struct slice hello)
{
	struct scoreboard *board =
	    boards_take(f->boards, slot->no, slot->spawn);
	struct slice claims;

	if (board != NULL &&
	    value_get(hello, SLICE_LITERAL("scoreboard"), &claims) &&
	    value_type(claims) == VALUE_BOOL && value_item(claims).b) {
		places_open(&slot->places, board, slot->window);
		slot_inherit(f, slot);
	} else {
		scoreboard_unmap(&board);
		slot->window = 1;
	}
}

int
dispatch_hello(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct slice actions, window, recall, name;
	struct slot *slot;

	if (frame->slot >= SLOTS_MAX || value_type(frame->payload) != VALUE_MAP)
		return -EPROTO;
	slot = &d->slots[frame->slot];
	slot_empty(d, slot);
	slot->phase = SLOT_READY;
	slot->retired = false;
	slot->spawn = frame->spawn;
	slot->relayed = 0;
	slot->lied = false;
	slot->window = 1;
	if (value_get(frame->payload, SLICE_LITERAL("window"), &window) &&
	    value_type(window) == VALUE_INT && value_item(window).i > 0 &&
	    value_item(window).i <= 1024)
		slot->window = (uint32_t)value_item(window).i;
	slot->recalls =
	    value_get(frame->payload, SLICE_LITERAL("recall"), &recall) &&
	    value_type(recall) == VALUE_BOOL && value_item(recall).b;
	slot_board(f, slot, frame->payload);
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

/* The supervisor counts what this flusher sent. */
static bool
flight_relayed(const struct flight *flight, uint32_t relayed)
{
	return flight->adopted || flight->ordinal < relayed;
}

/*
 * Who pays for a worker that died: what it was running. When that is nobody,
 * it may have died of something that it ran without saying so, and the first
 * in its hands is remembered for that.
 */
static void
slot_blame(struct flusher *f, struct slot *slot, uint32_t relayed,
           const char *cause, uint64_t now_us)
{
	struct dispatch *d = f->dispatch;
	struct flight *flight, *next;
	bool somebody = slot->phase != SLOT_READY; /* it was not its fault */
	uint64_t began;

	for (flight = TAILQ_FIRST(&slot->flights); flight != NULL;
	     flight = next) {
		next = TAILQ_NEXT(flight, slot_entry);
		if (!flight_relayed(flight, relayed))
			break; /* these never left the supervisor */
		if (slot->phase != SLOT_READY ||
		    flight_look(flight, now_us, &began) != FLIGHT_RUNNING)
			continue;
		somebody = true;
		log_info("action lost with its worker action=%s slot=%u "
		         "attempt=%u",
		         flight->route != NULL ? flight->route->name : "?",
		         slot->no, flight->attempt);
		if (flight->lease != NULL)
			flight_fail(f, flight, EVENT_LOST, "States.TaskFailed",
			            cause, now_us - began);
		flight_free(d, flight);
	}
	flight = TAILQ_FIRST(&slot->flights);
	if (flight == NULL || !flight_relayed(flight, relayed) ||
	    (somebody && !slot->lied) || ++flight->losses < LOSSES_MAX)
		return;
	if (flight->lease != NULL)
		flight_fail(f, flight, EVENT_LOST, "States.TaskFailed", cause,
		            0);
	flight_free(d, flight);
}

int
dispatch_gone(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct slice reason, blameless;
	struct slot *slot;
	char cause[256];

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
	/* It was only in the way of a replacement. */
	if (value_get(frame->payload, SLICE_LITERAL("blameless"), &blameless))
		slot->phase = SLOT_DYING;
	f->counters.workers_lost++;
	/* At a stop of the pool nobody pays; one that we had killed paid for
	 * it already. */
	if (f->phase == FLUSHER_WORKING)
		slot_blame(f, slot, frame->count, cause, clock_mono_us());
	slot_empty(d, slot);
	flusher_drain_step(f);
	return 0;
}

int
dispatch_undeliverable(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct cursor c = cursor_of(frame->payload);
	struct slot *slot;
	struct flight *flight, *before;
	uint64_t first = UINT64_MAX;
	uint32_t count, parts;

	if (frame->slot >= SLOTS_MAX || cursor_array(&c, &count) < 0)
		return -EPROTO;
	slot = &d->slots[frame->slot];
	if (slot->phase == SLOT_EMPTY || slot->spawn != frame->spawn)
		return 0;
	/* It finishes what it holds, or is dead: others serve now. */
	slot->retired = true;
	slot_serve_none(slot);
	if (count > 0) {
		uint64_t token;

		if (cursor_array(&c, &parts) < 0 || cursor_uint(&c, &token) < 0)
			return -EPROTO;
		flight = flights_find(&d->flights, token);
		if (flight != NULL && flight->slot == slot)
			first = flight->ordinal;
	}
	/* Frames come back in the order in which they went, and once one did
	 * all later ones do. So what was sent with this one or after it was
	 * not begun. From the last on, so that they keep their order. */
	for (flight = TAILQ_LAST(&slot->flights, slot_flights);
	     flight != NULL && !flight->adopted && flight->ordinal >= first;
	     flight = before) {
		before = TAILQ_PREV(flight, slot_flights, slot_entry);
		flight_give_back(d, flight);
	}
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
            const struct ready *ready, const struct action_view *view,
            uint64_t now_us)
{
	struct dispatch *d = f->dispatch;
	struct flight *flight = flights_take(&d->flights);

	flight->lease = ready->lease;
	flight->slot = slot;
	flight->route = route;
	flight->place_token = flight->token;
	flight->adopted = false;
	flight->instance = ready->lease->id;
	flight->activation = ready->activation;
	flight->attempt = ready->attempt;
	flight->losses = ready->losses;
	flight->timeout_us = view->timeout_us;
	flight->sent_us = now_us;
	flight->kill_us = 0;
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
	watch_sent(d, slot, flight);
	if (slot->places.board != NULL) {
		flight->place = places_take(&slot->places);
		scoreboard_wait(slot->places.board, flight->place,
		                flight->token, &flight->instance,
		                flight->activation, flight->attempt);
	}

	value_pack_array(&slot->items, 8);
	value_pack_uint(&slot->items, flight->token);
	value_pack_bin(&slot->items, ready->lease->id.bytes, 16);
	value_pack_uint(&slot->items, ready->activation);
	value_pack_uint(&slot->items, ready->attempt);
	value_pack_str(&slot->items, route->name, route->name_len);
	value_pack_uint(&slot->items, view->timeout_us);
	value_pack_uint(&slot->items, flight->place);
	value_pack_raw(&slot->items, view->input->s);
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
dispatch_ready(struct flusher *f, struct lease *lease, uint32_t activation)
{
	struct action_view view;
	struct ready ready;
	int64_t now;

	if (!instance_action(lease->engine, activation, &view))
		return;
	/* First: what an earlier flusher dispatched was due, whatever the clock
	 * says since then. */
	if (adopt_ready(f, lease, activation, view.attempt))
		return;
	if (view.not_before_us > 0) {
		now = flusher_now_us(f);
		if (view.not_before_us > now) {
			timers_add(f->timers, lease, TIMER_RETRY, activation,
			           view.not_before_us);
			return;
		}
	}
	ready = (struct ready){ lease, activation, view.attempt, 0 };
	route_push(&f->dispatch->routes,
	           route_find(&f->dispatch->routes, view.action), &ready);
	flusher_turn_wanted(f);
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
	flight->waits = view.waits;
	flight->kill_us = 0;
	watch_deadlines(f->dispatch);
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
