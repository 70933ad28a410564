/*
 * dispatch_beat - HEARTBEAT: which attempts live, and how far they are.
 */
#include "flusher/dispatch_parts.h"

#include <errno.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/value.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/progress.h"

/* The slot's flight that its worker knows under that token. */
static struct flight *
slot_flight(const struct dispatch *d, const struct slot *slot, uint64_t token)
{
	struct flight *flight = flights_find(&d->flights, token);

	if (flight != NULL)
		return flight->slot == slot && flight->place_token == token
		           ? flight
		           : NULL;
	/* What was adopted came first, and has the token of an earlier life. */
	TAILQ_FOREACH (flight, &slot->flights, slot_entry) {
		if (!flight->adopted)
			return NULL;
		if (flight->place_token == token)
			return flight;
	}
	return NULL;
}

static struct slice
flight_state(const struct flight *flight)
{
	const struct instance *engine = flight->lease->engine;
	struct place_view place;

	if (engine == NULL ||
	    !instance_place(engine, flight->activation, &place))
		return SLICE_LITERAL("");
	return definition_state_name(instance_definition(engine),
	                             place.state_no);
}

static void
flight_progress(struct flusher *f, struct flight *flight, struct slice value)
{
	struct slot *slot = flight->slot;
	struct error err = { .message = "" };
	struct progress_of of = { .instance = flight->instance,
		                  .activation = flight->activation,
		                  .attempt = flight->attempt,
		                  .at_us = flusher_now_us(f) };

	if (value.len > PROGRESS_BYTES_MAX)
		snprintf(err.message, sizeof(err.message),
		         "%zu bytes are more than %u", value.len,
		         PROGRESS_BYTES_MAX);
	else if (value_check(value, VALUE_DEPTH_MAX, &err) == 0) {
		of.state = flight_state(flight);
		progress_say(f->progress, &flight->progress, &of, value);
		return;
	}
	/* Once for each life of a worker: it says so once a second. */
	if (!slot->told)
		log_warning("progress dropped action=%s slot=%u spawn=%u "
		            "reason=\"%s\"",
		            flight->route->name, slot->no, slot->spawn,
		            err.message);
	slot->told = true;
}

void
dispatch_beat(struct flusher *f, struct lease *lease,
              const struct event *event)
{
	struct flight *flight;

	LIST_FOREACH (flight, &lease->flights, lease_entry) {
		if (flight->activation != event->activation ||
		    flight->attempt != event->attempt)
			continue;
		flight->beat_us = clock_mono_us();
		if (value_type(event->value) != VALUE_NULL)
			flight_progress(f, flight, event->value);
	}
}

int
dispatch_heartbeat(struct flusher *f, const struct frame *frame)
{
	struct dispatch *d = f->dispatch;
	struct cursor c = cursor_of(frame->payload);
	uint64_t token, now = clock_mono_us();
	uint32_t count, parts;
	struct slot *slot;

	if (frame->slot >= SLOTS_MAX || cursor_array(&c, &count) < 0)
		return -EPROTO;
	slot = &d->slots[frame->slot];
	if (slot->phase == SLOT_EMPTY || slot->spawn != frame->spawn ||
	    slot->lied)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		struct flight *flight;
		struct slice value;

		if (cursor_array(&c, &parts) < 0 || parts < 2 ||
		    cursor_uint(&c, &token) < 0 || c.at >= c.end) {
			slot->lied = true;
			return -EPROTO;
		}
		value = cursor_value(&c);
		while (parts-- > 2)
			(void)cursor_value(&c);
		flight = slot_flight(d, slot, token);
		if (flight == NULL) {
			f->counters.heartbeats_stray++;
			continue;
		}
		f->counters.heartbeats++;
		flight->beat_us = now;
		if (flight->lease != NULL && value_type(value) != VALUE_NULL)
			flight_progress(f, flight, value);
	}
	return 0;
}
