/*
 * dispatch_answer - what workers answer: COMPLETION items become events of
 * the flights that they are about.
 */
#include "flusher/dispatch_parts.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/uuid.h"
#include "common/value.h"
#include "flusher/adopt.h"
#include "flusher/batch.h"
#include "flusher/completion.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/trace.h"

/* Giving back what it likes would be a way to keep actions from running. What
 * was asked for may have been by an earlier flusher, and one that is to end
 * need not be asked. What nobody wants may be answered in any way. */
static bool
flight_asked_back(const struct flight *flight)
{
	const struct slot *slot = flight->slot;

	return flight->lease == NULL || flight->recalled ||
	    (slot->recalls && (flight->adopted || slot->retired ||
	                       slot->phase != SLOT_READY));
}

/* All that it gave back in a frame. */
static void
slot_take_back(struct dispatch *d, struct slot *slot)
{
	struct flight *flight, *before;

	/* From the last on, so that they keep their order at the front. */
	for (flight = TAILQ_LAST(&slot->flights, slot_flights);
	     flight != NULL; flight = before) {
		before = TAILQ_PREV(flight, slot_flights, slot_entry);
		if (flight->back)
			flight_give_back(d, flight);
	}
}

/* -EPROTO: no such item. -EBADMSG: its token belongs to another action.
 * -EPERM: it gives something back, and did not say that it does. */
static int
complete_one(struct flusher *f, struct slot *slot, struct cursor *c,
             uint64_t now_us, bool *back)
{
	struct dispatch *d = f->dispatch;
	struct completion done;
	struct error err = { .message = "" };
	struct flight *flight;
	struct event event;

	if (completion_read(c, &done) < 0)
		return -EPROTO;
	flight = flights_find(&d->flights, done.token);
	if (flight == NULL)
		flight = adopt_flight_of(f->adopt, &done);
	if (flight == NULL) {
		/* Of a worker without a scoreboard it may be an earlier
		 * flusher's, and wanted. */
		if (!adopt_settled(f->adopt))
			adopt_completion(f, slot->no, &done);
		else
			f->counters.completions_late++;
		return 0;
	}
	/* Tokens are not guessed by accident. */
	if (flight->slot != slot || flight->activation != done.activation ||
	    flight->attempt != done.attempt ||
	    !uuid_equal(&flight->instance, &done.instance))
		return -EBADMSG;
	if (done.status == COMPLETION_NOT_BEGUN) {
		if (!flight_asked_back(flight)) {
			if (!slot->recalls)
				return -EPERM;
			/* Somebody told it to end (SIGTERM), or it does not
			 * want to work: what it has done counts, and it
			 * goes. */
			slot_kill(f, slot, CLOCK_SECOND_US,
			          "it gave back what nobody had asked for");
		}
		if (flight->began_us > 0 && !slot_claims(slot))
			watch_blocked(d, slot, now_us);
		flight->back = true;
		*back = true;
		return 0;
	}
	slot->blocked_until_us = 0;
	f->counters.completions++;
	if (flight->lease == NULL) {
		bool unasked = flight->adopted && !adopt_settled(f->adopt);

		flight_free(d, flight);
		if (unasked)
			adopt_completion(f, slot->no, &done);
		else
			f->counters.completions_late++;
		return 0;
	}
	route_ran(flight->route, done.run_us);
	completion_event(&done, flight->waits, f->config.value_bytes_max, &err,
	                 &event);
	event.at_us = (int64_t)now_us + f->clock.offset_us;
	event.worker = slot->no;
	batch_apply(f, flight->lease, &event);
	histogram_add(&f->counters.action_us_of, now_us - flight->sent_us);
	flight_free(d, flight);
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
	bool back = false;
	uint32_t count;
	int r;

	if (frame->slot >= SLOTS_MAX || cursor_array(&c, &count) < 0)
		return -EPROTO;
	if (kept)
		return complete_kept(f, frame->slot, &c, count);
	slot = &d->slots[frame->slot];
	if (slot->phase == SLOT_EMPTY || slot->spawn != frame->spawn ||
	    slot->lied)
		return 0;
	FAULT_POINT("flush.received");
	slot->heard_us = now;
	for (uint32_t i = 0; i < count; i++) {
		r = complete_one(f, slot, &c, now, &back);
		if (r == -EBADMSG) {
			slot_refuse(f, slot,
			            "it answered for an action that it was not "
			            "given under that token");
			return 0;
		}
		if (r == -EPERM) {
			slot_refuse(f, slot,
			            "it gave an action back, and its HELLO "
			            "did not say that it does");
			return 0;
		}
		if (r < 0) {
			slot->lied = true;
			return r;
		}
	}
	if (back)
		slot_take_back(d, slot);
	/* A frame at a time: reading the clock is a part of what it tells. */
	f->counters.apply_us += clock_mono_us() - now;
	trace_span("apply", now, count);
	flusher_turn_wanted(f);
	return 0;
}

