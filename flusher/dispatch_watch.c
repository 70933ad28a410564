/*
 * dispatch_watch - how long things take: recall of what waits behind a slow
 * action, timeouts, workers that do not begin or do not end.
 *
 * What a worker does is read from its scoreboard when a timer says that it
 * is time to look, never on the way of an action; of one that leaves it alone
 * it is known from the order (edge.h). Two timers: one while something is held
 * behind something, for recalls; one for the next moment at which a deadline
 * could have passed.
 */
#include "flusher/dispatch_parts.h"

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/value.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/progress.h"

/* What was answered by somebody else may run on for that long. */
#define LET_GO_US (60 * CLOCK_SECOND_US)
/* Between SIGTERM and SIGKILL of a worker that does not end what it was told
 * to cancel. */
#define TERM_US CLOCK_SECOND_US
/* An action that runs that long holds up what waits behind it. */
#define RECALL_US (10 * CLOCK_MS_US)
/* One that begins nothing is tried again after that. */
#define BLOCKED_US CLOCK_SECOND_US
/* How often a slot may be looked at while there is work for it. */
#define LOOK_US (2 * CLOCK_MS_US)
/* A worker that runs nothing begins what it was sent in that time. */
#define BEGIN_US (10 * CLOCK_SECOND_US)
/* An answer may be held up by back-pressure; that long it is not. */
#define ANSWER_US (60 * CLOCK_SECOND_US)

static void
timer_arm(struct event *event, uint64_t *armed_us, uint64_t at_us,
          uint64_t now_us)
{
	uint64_t wait = at_us > now_us ? at_us - now_us : 0;
	struct timeval tv = { .tv_sec = (time_t)(wait / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(wait %
		                                       CLOCK_SECOND_US) };

	if (*armed_us != 0 && *armed_us <= at_us)
		return;
	*armed_us = at_us;
	event_add(event, &tv);
}

/* The sooner of two moments, where 0 is never. */
static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static void
slot_astray(struct dispatch *d, struct slot *slot)
{
	slot_refuse(d->flusher, slot,
	            "its scoreboard says what nobody wrote there");
}

/* A frame about so many tokens. */
static void
slot_tell(struct dispatch *d, const struct slot *slot, enum frame_type type,
          uint32_t count, struct slice tokens)
{
	struct link *link = d->flusher->link;
	size_t begun;

	if (count == 0 || link == NULL)
		return;
	begun = frame_begin(link_out(link), type, slot->no, slot->spawn);
	value_pack_array(link_out(link), count);
	value_pack_raw(link_out(link), tokens);
	frame_end(link_out(link), begun, count);
	link_send(link);
}

/* ---- recall ---- */

/* True when it will not be run there. */
static bool
flight_recall(struct flight *flight)
{
	struct slot *slot = flight->slot;

	return slot_claims(slot) &&
	       scoreboard_recall(slot->places.board, flight->place,
	                         flight->place_token);
}

/* The same where only the worker can tell: those from first on that it was
 * not asked for yet, up to last. */
static void
slot_ask_back(struct dispatch *d, struct slot *slot, struct flight *first,
              const struct flight *last)
{
	struct buf tokens = BUF_EMPTY;
	struct flight *flight;
	uint32_t count = 0;

	if (!slot->recalls)
		return;
	for (flight = first; flight != NULL;
	     flight = flight == last ? NULL : TAILQ_NEXT(flight, slot_entry)) {
		if (flight->recalled)
			continue;
		flight->recalled = true;
		value_pack_uint(&tokens, flight->place_token);
		count++;
	}
	slot_tell(d, slot, FRAME_RECALL, count, buf_slice(&tokens));
	buf_fini(&tokens);
}

void
watch_recall(struct dispatch *d, struct slot *slot)
{
	struct flight *flight, *before;

	if (!slot_claims(slot)) {
		slot_ask_back(d, slot, slot->edge.first, NULL);
		return;
	}
	/* From the last on, so that they keep their order at the front. */
	for (flight = TAILQ_LAST(&slot->flights, slot_flights);
	     flight != NULL; flight = before) {
		before = TAILQ_PREV(flight, slot_flights, slot_entry);
		if (flight_recall(flight))
			flight_give_back(d, flight);
	}
}

/*
 * Looks from the front for what runs. Stalls the slot when that began too
 * long ago. Returns when to look again, or 0 when there is no reason to.
 */
static uint64_t
slot_look(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	struct flight *flight;
	uint64_t began;

	slot->looked_us = now_us;
	TAILQ_FOREACH (flight, &slot->flights, slot_entry) {
		switch (flight_look(flight, now_us, &began)) {
		case FLIGHT_DONE:
			continue;
		case FLIGHT_WAITING:
			return now_us + RECALL_US; /* it comes to that */
		case FLIGHT_ASTRAY:
			slot_astray(d, slot);
			return 0;
		case FLIGHT_RUNNING:
			if (now_us - began < RECALL_US)
				return began + RECALL_US;
			slot->stalled_token = flight->token;
			watch_recall(d, slot);
			return 0;
		}
	}
	return 0;
}

/*
 * The same by the order. No place became free for too long: then everything
 * that runs counts as slow from here on. Whatever ends is one less.
 */
static uint64_t
slot_look_edge(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	const struct edge *edge = &slot->edge;
	struct flight *flight, *first = edge->first;

	if (edge_has_place(edge) || slot->slow >= slot->concurrency)
		return 0;
	if (now_us < edge->full_us + RECALL_US)
		return edge->first != NULL ? edge->full_us + RECALL_US : 0;
	for (flight = TAILQ_FIRST(&slot->flights); flight != edge->first;
	     flight = TAILQ_NEXT(flight, slot_entry)) {
		if (!flight->quick)
			continue;
		if (first == edge->first && slot->concurrency > 1)
			first = flight; /* see slot_look_silent() */
		slot->slow++;
		flight->quick = false;
	}
	slot_ask_back(d, slot, first, NULL);
	return 0;
}

/*
 * Places are no use in a process that does not come to them: an action in it
 * does not yield (a loop of events that stands still). It shows by short
 * actions that have a place and are not answered while nothing else is,
 * either. They are asked back; a worker that had begun them says nothing, and
 * they count as slow from then on. Returns as slot_look().
 */
static uint64_t
slot_look_silent(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	struct flight *flight, *last = NULL;
	uint64_t next = 0, due;

	if (!slot->recalls || slot->concurrency < 2)
		return 0;
	for (flight = TAILQ_FIRST(&slot->flights); flight != slot->edge.first;
	     flight = TAILQ_NEXT(flight, slot_entry)) {
		if (!flight->quick || flight->recalled)
			continue;
		due = (flight->began_us > slot->heard_us ? flight->began_us :
		                                           slot->heard_us) +
		      RECALL_US;
		if (due > now_us) {
			next = sooner(next, due);
			continue;
		}
		flight->quick = false;
		slot->slow++;
		last = flight;
	}
	if (last != NULL)
		slot_ask_back(d, slot, TAILQ_FIRST(&slot->flights), last);
	return next;
}

void
watch_blocked(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	slot->blocked_until_us = now_us + BLOCKED_US;
	timer_arm(d->recall_event, &d->recall_armed_us, slot->blocked_until_us,
	          now_us);
}

/* When it is to be tried again; 0: it is not blocked. */
static uint64_t
slot_unblock(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	if (slot->blocked_until_us > now_us)
		return slot->blocked_until_us;
	if (slot->blocked_until_us != 0) {
		slot->blocked_until_us = 0;
		flusher_turn_wanted(d->flusher);
	}
	return 0;
}

bool
watch_moves(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	const struct flight *front = TAILQ_FIRST(&slot->flights);

	if (!slot_claims(slot)) {
		(void)slot_look_edge(d, slot, now_us);
		return slot->slow < slot->concurrency;
	}
	if (slot->stalled_token != 0)
		return false;
	if (front != NULL && front->sent_us + RECALL_US <= now_us &&
	    slot->looked_us + LOOK_US <= now_us)
		(void)slot_look(d, slot, now_us);
	return slot->phase == SLOT_READY && slot->stalled_token == 0;
}

static void
recall_cb(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;
	uint64_t now = clock_mono_us();
	uint64_t next = 0;

	(void)fd;
	(void)what;
	d->recall_armed_us = 0;
	for (uint32_t i = 0; i < d->slots_used; i++) {
		struct slot *slot = &d->slots[i];
		uint64_t at;

		next = sooner(next, slot_unblock(d, slot, now));
		if (slot->held < 2 || slot->phase != SLOT_READY ||
		    slot->stalled_token != 0)
			continue;
		if (!slot_claims(slot)) {
			if (slot->edge.first != NULL)
				next = sooner(next,
				              slot_look_edge(d, slot, now));
			next = sooner(next, slot_look_silent(d, slot, now));
			continue;
		}
		at = TAILQ_FIRST(&slot->flights)->sent_us + RECALL_US;
		next = sooner(next, at > now ? at : slot_look(d, slot, now));
	}
	if (next != 0)
		timer_arm(d->recall_event, &d->recall_armed_us, next, now);
	flusher_drain_step(d->flusher);
}

/* ---- deadlines ---- */

/* Its lease has nothing to do with it any more. */
static void
flight_leave(struct dispatch *d, struct flight *flight)
{
	LIST_REMOVE(flight, lease_entry);
	flight->lease = NULL;
	progress_end(d->flusher->progress, &flight->progress);
}

/* From when on a flight's time runs: what waits has all of it. */
static uint64_t
flight_from(enum flight_phase phase, uint64_t began_us, uint64_t now_us)
{
	return phase == FLIGHT_WAITING ? now_us : began_us;
}

/* When it was silent for too long, from is as above; 0: never. */
static uint64_t
flight_silent(const struct flight *flight, uint64_t from)
{
	if (flight->heartbeat_us == 0)
		return 0;
	return (flight->beat_us > from ? flight->beat_us : from) +
	    flight->heartbeat_us;
}

/* When a flight's time is over, or could be at the soonest; 0: never. */
static uint64_t
flight_due(const struct flight *flight, enum flight_phase phase,
           uint64_t began_us, uint64_t now_us)
{
	uint64_t from = flight_from(phase, began_us, now_us);
	uint64_t due = flight->timeout_us != 0 ? from + flight->timeout_us : 0;

	due = flight->lease == NULL
	          ? flight->kill_us
	          : sooner(due, flight_silent(flight, from));
	/* One that has ended is not late, but for one that only says so. */
	return due != 0 && phase == FLIGHT_DONE ? due + ANSWER_US : due;
}

/* The attempt is over; that it still runs is another matter. */
static void
flight_time_out(struct dispatch *d, struct flight *flight, uint64_t began_us,
                uint64_t now_us)
{
	struct flusher *f = d->flusher;
	bool late = flight->timeout_us != 0 &&
	    began_us + flight->timeout_us <= now_us;

	f->counters.timeouts++;
	log_info("action timed out action=%s slot=%u %s_us=%llu",
	         flight->route->name, flight->slot->no,
	         late ? "after" : "silent",
	         (unsigned long long)(late ? flight->timeout_us
	                                   : flight->heartbeat_us));
	flight_fail(f, flight, EVENT_FAILED,
	            late ? "States.Timeout" : "States.HeartbeatTimeout",
	            late ? "the action ran longer than its TimeoutSeconds"
	                 : "the action was silent for longer than its "
	                   "HeartbeatSeconds",
	            now_us - began_us);
}

/* Returns when to look again; 0: that slot ends. */
static uint64_t
flight_overdue(struct dispatch *d, struct flight *flight, uint64_t began_us,
               uint64_t now_us)
{
	struct slot *slot = flight->slot;
	bool told = flight->lease == NULL && slot->cancels;

	if (flight->lease == NULL && !flight->unwanted) {
		watch_unwanted(d, flight); /* it was let go long enough */
		return now_us;
	}
	if (flight->lease != NULL) {
		flight_time_out(d, flight, began_us, now_us);
		/* What runs beside it need not end with it. */
		if (slot->concurrency > 1 && slot->cancels) {
			flight_leave(d, flight);
			watch_unwanted(d, flight);
			return now_us;
		}
	}
	watch_recall(d, slot);
	slot_kill(d->flusher, slot, told ? TERM_US : 0,
	          told ? "it did not end what was cancelled"
	               : "its action had to end");
	flight_free(d, flight);
	return 0;
}

/* When the worker should have begun the flight that is its next. */
static uint64_t
slot_begin_by(const struct slot *slot, const struct flight *flight)
{
	uint64_t from = flight->sent_us > slot->heard_us ? flight->sent_us :
	                                                   slot->heard_us;

	return from + BEGIN_US;
}

/* Acts on what is due. Returns when to look again; 0: never. */
static uint64_t
slot_deadlines(struct dispatch *d, struct slot *slot, uint64_t now_us)
{
	bool idle = true; /* nothing before it runs or is being answered */
	bool first = true; /* of those that wait */
	uint64_t began, due, next = 0;
	struct flight *flight;

	TAILQ_FOREACH (flight, &slot->flights, slot_entry) {
		enum flight_phase phase = flight_look(flight, now_us, &began);

		if (phase == FLIGHT_ASTRAY) {
			slot_astray(d, slot);
			return 0;
		}
		due = flight_due(flight, phase, began, now_us);
		if (due != 0 && due <= now_us)
			return flight_overdue(d, flight, began, now_us);
		next = sooner(next, due);
		if (first && phase == FLIGHT_WAITING) {
			first = false;
			due = idle ? slot_begin_by(slot, flight)
			           : now_us + BEGIN_US;
			if (due <= now_us) {
				watch_recall(d, slot);
				slot_kill(d->flusher, slot, 0,
				          "it did not begin what it was sent");
				return 0;
			}
			next = sooner(next, due);
		}
		idle = false;
	}
	return next;
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
		if (d->slots[i].phase == SLOT_READY)
			next = sooner(next,
			              slot_deadlines(d, &d->slots[i], now));
	}
	if (next != 0)
		timer_arm(d->deadline_event, &d->deadline_armed_us, next, now);
	flusher_drain_step(d->flusher);
}

void
watch_sent(struct dispatch *d, const struct slot *slot,
           const struct flight *flight)
{
	uint64_t now = flight->sent_us;
	uint64_t due = now + BEGIN_US;

	/* It cannot begin before it is sent: the timer's look finds out. */
	if (flight->timeout_us != 0 && flight->timeout_us < BEGIN_US)
		due = now + flight->timeout_us;
	if (flight->heartbeat_us != 0 && now + flight->heartbeat_us < due)
		due = now + flight->heartbeat_us;
	timer_arm(d->deadline_event, &d->deadline_armed_us, due, now);
	if (slot->held > 1 && (slot_claims(slot) || slot->recalls))
		timer_arm(d->recall_event, &d->recall_armed_us,
		          now + RECALL_US, now);
}

void
watch_unwanted(struct dispatch *d, struct flight *flight)
{
	struct slot *slot = flight->slot;
	struct buf token = BUF_EMPTY;
	uint64_t now = clock_mono_us();

	flight->unwanted = true;
	if (!slot_claims(slot) && flight->began_us == 0) {
		slot_ask_back(d, slot, flight, flight);
		return; /* begun all the same, it comes here again */
	}
	flight->kill_us = now + d->flusher->config.cancel_grace_us;
	timer_arm(d->deadline_event, &d->deadline_armed_us, flight->kill_us,
	          now);
	if (!slot->cancels)
		return;
	d->flusher->counters.cancelled++;
	value_pack_uint(&token, flight->place_token);
	slot_tell(d, slot, FRAME_CANCEL, 1, buf_slice(&token));
	buf_fini(&token);
}

/* What of that activation was dispatched is its lease's no more: what did not
 * begin never will, and the rest is unwanted, at once or in a while. */
static void
flights_leave(struct flusher *f, struct lease *lease, uint32_t activation,
              uint64_t patience_us)
{
	struct dispatch *d = f->dispatch;
	struct flight *flight, *next;

	for (flight = LIST_FIRST(&lease->flights); flight != NULL;
	     flight = next) {
		next = LIST_NEXT(flight, lease_entry);
		if (flight->activation != activation)
			continue;
		if (flight_recall(flight)) {
			flight_free(d, flight);
			flusher_turn_wanted(f);
			continue;
		}
		flight_leave(d, flight);
		if (patience_us == 0 || (!slot_claims(flight->slot) &&
		                         flight->began_us == 0)) {
			watch_unwanted(d, flight);
			continue;
		}
		flight->kill_us = clock_mono_us() + patience_us;
		timer_arm(d->deadline_event, &d->deadline_armed_us,
		          flight->kill_us, clock_mono_us());
	}
}

void
dispatch_abandon(struct flusher *f, struct lease *lease, uint32_t activation)
{
	flights_leave(f, lease, activation, 0);
}

void
dispatch_let_go(struct flusher *f, struct lease *lease, uint32_t activation)
{
	flights_leave(f, lease, activation, LET_GO_US);
}

void
watch_deadlines(struct dispatch *d)
{
	uint64_t now = clock_mono_us();

	timer_arm(d->deadline_event, &d->deadline_armed_us, now, now);
}

void
dispatch_unwanted(struct flusher *f)
{
	struct dispatch *d = f->dispatch;
	uint64_t now = clock_mono_us(), began;
	struct flight *flight, *next;

	for (uint32_t i = 0; i < d->slots_used; i++) {
		for (flight = TAILQ_FIRST(&d->slots[i].flights);
		     flight != NULL; flight = next) {
			next = TAILQ_NEXT(flight, slot_entry);
			if (!flight->adopted || flight->lease != NULL)
				continue;
			if (flight_look(flight, now, &began) == FLIGHT_DONE)
				flight_free(d, flight);
			else
				watch_unwanted(d, flight);
		}
	}
	watch_deadlines(d);
}

/* ---- life ---- */

void
watch_create(struct dispatch *d)
{
	struct event_base *base = d->flusher->base;

	d->deadline_event = event_new(base, -1, 0, deadline_cb, d);
	d->recall_event = event_new(base, -1, 0, recall_cb, d);
	ASSERT(d->deadline_event != NULL && d->recall_event != NULL);
}

void
watch_destroy(struct dispatch *d)
{
	event_free(d->deadline_event);
	event_free(d->recall_event);
}
