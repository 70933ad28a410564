/*
 * dispatch_slot - workers that come and go: HELLO, GONE, UNDELIVERABLE.
 *
 * A HELLO says what a worker can; what an earlier flusher left in it is
 * adopted. Its scoreboard tells what that is: written by the worker, or, where
 * that leaves it alone, by the flusher for the next one.
 */
#include "flusher/dispatch_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/value.h"
#include "flusher/adopt.h"
#include "flusher/flusher.h"
#include "flusher/groups.h"

/* So many workers lost over one action that was not seen to run: it did. */
#define LOSSES_MAX 3U

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

bool
slot_serves(const struct slot *slot, const struct route *route)
{
	for (uint32_t i = 0; i < slot->route_count; i++)
		if (slot->routes[i] == route)
			return true;
	return false;
}

void
slot_kill(struct flusher *f, struct slot *slot, uint64_t grace_us,
          const char *reason)
{
	struct buf *out;
	size_t begun;

	slot->phase = SLOT_DYING;
	if (f->link == NULL)
		return; /* its supervisor is gone, and so is the worker */
	out = link_out(f->link);
	begun = frame_begin(out, FRAME_KILL, slot->no, slot->spawn);
	value_pack_map(out, grace_us > 0 ? 2 : 1);
	value_pack_text(out, "reason");
	value_pack_text(out, reason);
	if (grace_us > 0) {
		value_pack_text(out, "grace_us");
		value_pack_uint(out, grace_us);
	}
	frame_end(out, begun, 0);
	link_send(f->link);
}

void
slot_refuse(struct flusher *f, struct slot *slot, const char *reason)
{
	log_error("worker refused slot=%u spawn=%u reason=\"%s\"", slot->no,
	          slot->spawn, reason);
	slot->lied = true;
	slot_kill(f, slot, 0, reason);
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

/* ---- what an earlier flusher left ---- */

/* Its attempt goes on in that place; false when that is nobody's any more: its
 * completion is here already. */
static bool
slot_adopt(struct flusher *f, struct slot *slot, uint32_t place,
           const struct scoreboard_place *seen)
{
	struct dispatch *d = f->dispatch;
	uint64_t now = clock_mono_us();
	struct flight *flight;

	if (seen->activation > UINT32_MAX)
		return false; /* no engine gives such */
	flight = flights_take(&d->flights);
	if (!adopt_flight(f->adopt, &seen->instance,
	                  (uint32_t)seen->activation, seen->attempt,
	                  seen->token, flight)) {
		flights_give(&d->flights, flight);
		return false;
	}
	flight->slot = slot;
	flight->place_token = seen->token;
	flight->sent_us = seen->phase != PLACE_WAITING &&
	        seen->began_us > 0 && seen->began_us < now ?
	    seen->began_us :
	    now;
	flight->instance = seen->instance;
	flight->activation = (uint32_t)seen->activation;
	flight->attempt = seen->attempt;
	flight->place = place;
	flight->adopted = true;
	places_reserve(&slot->places, place);
	TAILQ_INSERT_TAIL(&slot->flights, flight, slot_entry);
	slot->held++;
	slot->slow++;
	if (!slot_claims(slot)) {
		edge_add(&slot->edge, flight, flight->sent_us);
		flight_note(flight);
	}
	return true;
}

/* From a board that its worker writes: what waits is taken back, and the
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
		if (seen.phase == PLACE_RUNNING || seen.phase == PLACE_DONE) {
			seen = scoreboard_look(board, i);
			if (slot_adopt(f, slot, i, &seen))
				continue;
		}
		/* What is not adopted must not look to yet another flusher
		 * as if an answer were still to come. */
		scoreboard_free(board, i);
	}
}

struct note {
	struct scoreboard_place seen;
	uint32_t place;
};

static int
note_order(const void *a, const void *b)
{
	const struct note *x = a, *y = b;

	return x->seen.number < y->seen.number ? -1
	                                       : x->seen.number > y->seen.number;
}

/*
 * From a board in which an earlier flusher kept its notes: what they say was
 * sent, in that order. What was noted last may never have left: the supervisor
 * says how many items did.
 */
static void
slot_inherit_notes(struct flusher *f, struct slot *slot, uint32_t delivered)
{
	struct scoreboard *board = slot->places.board;
	struct note *notes = mem_calloc(slot->window, sizeof(*notes));
	uint32_t count = 0;

	for (uint32_t i = 0; i < slot->window; i++) {
		struct note *note = &notes[count];

		note->seen = scoreboard_look(board, i);
		note->place = i;
		if ((note->seen.phase == PLACE_WAITING ||
		     note->seen.phase == PLACE_RUNNING) &&
		    note->seen.number < delivered)
			count++;
		else
			scoreboard_free(board, i);
	}
	if (count > 1)
		qsort(notes, count, sizeof(*notes), note_order);
	for (uint32_t i = 0; i < count; i++)
		if (!slot_adopt(f, slot, notes[i].place, &notes[i].seen))
			scoreboard_free(board, notes[i].place);
	free(notes);
	/* How long what is before it runs by now nobody knows. */
	watch_recall(f->dispatch, slot);
}

/* ---- HELLO ---- */

static bool
hello_says(struct slice hello, struct slice key)
{
	struct slice value;

	return value_get(hello, key, &value) &&
	    value_type(value) == VALUE_BOOL && value_item(value).b;
}

/* 1 when it says nothing, 0 when it says nothing that can be. */
static uint32_t
hello_count(struct slice hello, struct slice key)
{
	struct slice value;
	int64_t count;

	if (!value_get(hello, key, &value))
		return 1;
	if (value_type(value) != VALUE_INT)
		return 0;
	count = value_item(value).i;
	return count >= 1 && count <= SCOREBOARD_PLACES ? (uint32_t)count : 0;
}

/* What it runs, what it may hold, and how that is known. NULL, or what is
 * wrong with it. */
static const char *
slot_learn(struct flusher *f, struct slot *slot, const struct frame *hello)
{
	struct scoreboard *board =
	    boards_take(f->boards, slot->no, slot->spawn);
	struct slice says = hello->payload;
	bool claims = hello_says(says, SLICE_LITERAL("scoreboard"));
	uint32_t window = hello_count(says, SLICE_LITERAL("window"));

	slot->cancels = hello_says(says, SLICE_LITERAL("cancel"));
	slot->recalls =
	    !claims && hello_says(says, SLICE_LITERAL("recall"));
	slot->concurrency = hello_count(says, SLICE_LITERAL("concurrency"));
	slot->window = 1;
	edge_init(&slot->edge, 1);
	if (slot->concurrency == 0 || window == 0 ||
	    (claims && slot->concurrency > 1)) {
		scoreboard_unmap(&board);
		return slot->concurrency == 0 ?
		    "its HELLO says a concurrency that is not 1 to 1024" :
		    window == 0 ?
		    "its HELLO says a window that is not 1 to 1024" :
		    "its HELLO says scoreboard and a concurrency above 1, "
		    "which do not go together";
	}
	if (claims && board != NULL) {
		slot->window = window;
		edge_init(&slot->edge, 0);
		places_open(&slot->places, board, window);
		slot_inherit(f, slot);
		return NULL;
	}
	/* Only what can be called back is sent ahead. */
	slot->window = slot->recalls && window > slot->concurrency
	                   ? window
	                   : slot->concurrency;
	edge_init(&slot->edge, slot->concurrency);
	if (board != NULL) {
		places_open(&slot->places, board, slot->window);
		slot_inherit_notes(f, slot, hello->count);
	}
	return NULL;
}

int
dispatch_hello(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct slice actions, name;
	struct slot *slot;
	uint32_t shut_out = 0;
	const char *wrong;

	if (frame->slot >= SLOTS_MAX || value_type(frame->payload) != VALUE_MAP)
		return -EPROTO;
	slot = &d->slots[frame->slot];
	slot_empty(d, slot);
	slot->phase = SLOT_READY;
	slot->retired = false;
	slot->spawn = frame->spawn;
	slot->before = frame->count;
	slot->relayed = 0;
	slot->lied = false;
	slot->blocked_until_us = 0;
	slot->told = false;
	if (frame->slot >= d->slots_used)
		d->slots_used = frame->slot + 1U;
	wrong = slot_learn(f, slot, frame);
	if (wrong != NULL) {
		slot_refuse(f, slot, wrong);
		return 0;
	}
	if (value_get(frame->payload, SLICE_LITERAL("actions"), &actions) &&
	    value_type(actions) == VALUE_ARRAY) {
		slot->routes = mem_calloc(value_count(actions) + 1,
		                          sizeof(struct route *));
		for (uint32_t i = 0; value_at(actions, i, &name); i++) {
			struct route *route;

			if (value_type(name) != VALUE_STR)
				return -EPROTO;
			if (!groups_allow(f->groups, frame->slot,
			                  value_item(name).bytes)) {
				shut_out++;
				continue;
			}
			route = route_find(&d->routes, value_item(name).bytes);
			if (slot_serves(slot, route))
				continue;
			slot->routes[slot->route_count++] = route;
			route->servers++;
			route->unserved_us = 0;
		}
	}
	groups_shut_out(f->groups, frame->slot, shut_out);
	log_debug("worker ready slot=%u spawn=%u actions=%u concurrency=%u "
	          "window=%u",
	          slot->no, slot->spawn, slot->route_count, slot->concurrency,
	          slot->window);
	flusher_turn_wanted(f);
	return 0;
}

/* ---- the end of one ---- */

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
	bool blameless = slot->phase != SLOT_READY;
	bool somebody = blameless;
	uint64_t began;

	slot->phase = SLOT_DYING; /* nothing begins in the place of what ran */
	for (flight = TAILQ_FIRST(&slot->flights); flight != NULL;
	     flight = next) {
		next = TAILQ_NEXT(flight, slot_entry);
		if (!flight_relayed(flight, relayed))
			break; /* these never left the supervisor */
		if (blameless ||
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
	/* The first that is still in the air: those before it were recalled
	 * meanwhile. */
	while (count-- > 0 && first == UINT64_MAX) {
		uint64_t token;

		if (cursor_array(&c, &parts) < 0 || parts == 0 ||
		    cursor_uint(&c, &token) < 0)
			return -EPROTO;
		while (--parts > 0)
			(void)cursor_value(&c);
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
