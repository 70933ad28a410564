/*
 * workers - members, replacements and the brake, applied to the children.
 */
#include "supervisor/workers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/output.h"
#include "supervisor/proc.h"
#include "supervisor/reap.h"
#include "supervisor/route.h"
#include "supervisor/supervisor.h"

/* Of how many workers the memory is looked up in a second. */
#define PROBES_A_TICK 64U

static void
wake_at(uint64_t *wake_us, uint64_t at_us)
{
	if (at_us < *wake_us)
		*wake_us = at_us;
}

/* ---- the table ---- */

uint32_t
workers_max(const struct supervisor *s)
{
	return s->slots - 1;
}

void
workers_open(struct supervisor *s)
{
	const struct config *c = &s->config;

	s->slots = (c->workers > c->workers_max ? c->workers : c->workers_max) +
	           1;
	s->workers_wanted = c->workers;
	s->workers = mem_calloc(s->slots, sizeof(*s->workers));
	s->seats = mem_calloc(s->slots, sizeof(*s->seats));
	for (uint32_t i = 0; i < s->slots; i++) {
		child_init(&s->workers[i], s, CHILD_WORKER, (uint16_t)i);
		s->workers[i].output = output_create(&s->workers[i]);
	}
}

void
workers_close(struct supervisor *s)
{
	for (uint32_t i = 0; s->workers != NULL && i < s->slots; i++) {
		output_destroy(&s->workers[i].output);
		child_fini(&s->workers[i]);
	}
	free(s->workers);
	free(s->seats);
	s->workers = NULL;
	s->seats = NULL;
}

uint32_t
workers_alive(const struct supervisor *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->slots; i++)
		count += child_alive(&s->workers[i]);
	return count;
}

uint32_t
workers_ready(const struct supervisor *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->slots; i++)
		count += s->workers[i].phase == CHILD_READY;
	return count;
}

void
workers_limits(struct child *w)
{
	const struct config *c = &w->supervisor->config;
	const struct recycle_limits all = {
		.actions = c->worker_recycle_actions,
		.age_us = c->worker_recycle_age_us,
		.rss = c->worker_recycle_rss,
	};

	w->recycle = recycle_limits_of(&all, w->slot, w->spawn);
}

/* ---- who has proved himself ---- */

static bool
worker_proved(struct child *w, uint64_t now_us, uint64_t *wake_us)
{
	uint64_t proof_us = w->phase_since_us + PROOF_US;

	if (w->phase == CHILD_READY && w->actions == 0 && now_us < proof_us) {
		wake_at(wake_us, proof_us);
		return false;
	}
	return w->phase == CHILD_READY;
}

static void
workers_proofs(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];

		if (w->worked || !worker_proved(w, now_us, wake_us))
			continue;
		w->worked = true;
		brake_proved(&s->brake, w->started_us);
	}
}

void
workers_ended(struct child *w, const char *how, uint64_t now_us)
{
	struct supervisor *s = w->supervisor;
	uint64_t unused = UINT64_MAX;

	/* It may have died in the turn in which it had enough. */
	if (w->actions > 0 || worker_proved(w, now_us, &unused))
		w->worked = true;
	/* Told to finish, it did. */
	if (w->phase == CHILD_DRAINING &&
	    reap_verdict(w->status) == VERDICT_CLEAN)
		w->wanted_dead = true;
	if (w->worked || w->wanted_dead || s->stop.wanted)
		return;
	brake_failed(&s->brake, now_us);
	s->degraded.slot = w->slot;
	snprintf(s->degraded.why, sizeof(s->degraded.why), "%s", how);
}

void
workers_fork_failed(struct supervisor *s, const struct child *c, int err)
{
	uint32_t count;

	if (err == 0) {
		brake_fork_worked(&s->brake);
		return;
	}
	if (brake_fork_failed(&s->brake, clock_mono_us(), &count))
		log_warning("%s slot=%u: no process can be started: %s "
		            "failures=%u retry_ms=%" PRIu64,
		            child_kind_name(c->kind), c->slot, strerror(err),
		            count, s->brake.fork_delay_us / CLOCK_MS_US);
	s->degraded.slot = -1;
	snprintf(s->degraded.why, sizeof(s->degraded.why),
	         "no process can be started: %s", strerror(err));
}

/* ---- replacing and scaling ---- */

static void
worker_drain(struct child *w, const char *why, uint64_t now_us)
{
	struct supervisor *s = w->supervisor;

	log_info("worker finishes slot=%u spawn=%u why=\"%s\"", w->slot,
	         w->spawn, why);
	child_set_phase(w, CHILD_DRAINING, now_us);
	w->drain_until_us = now_us + s->config.worker_drain_us;
	/* The flusher first: it may have the next DISPATCH ready. */
	route_retire(w);
	route_drain(w, 0);
}

/* Why it shall be replaced, or NULL. */
static const char *
worker_due(const struct child *w, uint64_t now_us, uint64_t *wake_us)
{
	uint64_t age_us = now_us - w->started_us;
	const char *why;

	if (w->phase != CHILD_READY)
		return NULL;
	if (w->outdated)
		return "restart";
	why = recycle_due(&w->recycle, w->actions, age_us, w->rss);
	if (why == NULL && w->recycle.age_us != 0)
		wake_at(wake_us, w->started_us + w->recycle.age_us);
	return why;
}

static void
workers_look(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < s->slots; i++) {
		const struct child *w = &s->workers[i];

		s->seats[i] = (struct seat){
			.member = w->member,
			.alive = child_alive(w),
			.ready = w->phase == CHILD_READY,
			.due = worker_due(w, now_us, wake_us) != NULL,
			.spawn = w->spawn,
			.started_us = w->started_us,
		};
	}
}

/* Who is there and shall not be. */
static void
workers_dismiss(struct supervisor *s, uint64_t now_us)
{
	uint64_t unused = UINT64_MAX;

	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];
		const char *why;

		if (seat_wanted(&s->rotation, w->member, i))
			continue;
		if (w->phase == CHILD_STARTING) {
			child_kill(w, true, "not needed any more");
		} else if (w->phase == CHILD_READY) {
			why = worker_due(w, now_us, &unused);
			worker_drain(w, why != NULL ? why : "fewer workers",
			             now_us);
		}
	}
}

static void
workers_deadlines(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];
		uint64_t stopped_us;

		if (w->phase == CHILD_DRAINING && w->drain_until_us != 0) {
			if (now_us >= w->drain_until_us) {
				/* We want it to go; what it runs is not to
				 * blame for that. */
				w->blameless = true;
				child_kill(w, true, "did not finish in time "
				           "to be replaced");
			} else {
				wake_at(wake_us, w->drain_until_us);
			}
		}
		if (w->stopped_us == 0 || w->pid == 0 ||
		    w->phase == CHILD_KILLED)
			continue;
		stopped_us = w->stopped_us + s->config.worker_stopped_us;
		if (now_us < stopped_us)
			wake_at(wake_us, stopped_us);
		else if (proc_stopped(w->pid))
			child_kill(w, false, "was stopped by a signal");
		else
			/* We were stopped too, and have not read yet that it
			 * goes on. */
			w->stopped_us = 0;
	}
}

void
workers_step(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	workers_proofs(s, now_us, wake_us);
	workers_deadlines(s, now_us, wake_us);
	if (s->stop.wanted)
		return;
	workers_look(s, now_us, wake_us);
	seats_resize(s->seats, s->slots, s->workers_wanted);
	while (rotation_step(&s->rotation, s->seats, s->slots))
		;
	for (uint32_t i = 0; i < s->slots; i++)
		s->workers[i].member = s->seats[i].member;
	workers_dismiss(s, now_us);
}

uint32_t
workers_missing(struct supervisor *s, uint64_t now_us, uint32_t *slots_out,
                uint64_t *wake_us)
{
	struct slot_view *slots = mem_calloc(s->slots, sizeof(*slots));
	struct group_view view = {
		.size = s->slots,
		.draining = s->stop.wanted,
		.brake = &s->brake,
		.slots = slots,
	};
	uint64_t again_us;
	uint32_t count;

	for (uint32_t i = 0; i < s->slots; i++) {
		const struct child *w = &s->workers[i];

		view.unproved += child_alive(w) && !w->worked;
		slots[i].free = !child_alive(w) &&
		                seat_wanted(&s->rotation, w->member, i);
		slots[i].not_before_us = w->backoff.not_before_us;
	}
	count = group_policy(&view, now_us, slots_out, &again_us);
	wake_at(wake_us, again_us);
	free(slots);
	return count;
}

int
workers_scale(struct supervisor *s, uint32_t count)
{
	if (count < 1 || count > workers_max(s))
		return -ERANGE;
	if (count == s->workers_wanted)
		return 0;
	log_info("pool has other workers from=%u to=%u", s->workers_wanted,
	         count);
	s->workers_wanted = count;
	supervisor_changed(s);
	return 0;
}

uint32_t
workers_restart(struct supervisor *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];

		if (!child_alive(w) || !w->member)
			continue;
		w->outdated = true;
		count++;
	}
	log_info("workers are replaced one by one count=%u", count);
	supervisor_changed(s);
	return count;
}

uint32_t
workers_outdated(const struct supervisor *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->slots; i++)
		count += child_alive(&s->workers[i]) && s->workers[i].outdated;
	return count;
}

/* ---- once a second ---- */

static void
workers_probe(struct supervisor *s)
{
	uint32_t probes = s->slots < PROBES_A_TICK ? s->slots : PROBES_A_TICK;

	for (uint32_t i = 0; i < probes; i++) {
		struct child *w = &s->workers[s->probe_next++ % s->slots];

		if (w->phase != CHILD_READY || w->pid == 0)
			continue;
		w->rss = proc_rss(w->pid);
		if (w->recycle.rss != 0 && w->rss >= w->recycle.rss)
			supervisor_changed(s);
	}
}

void
workers_tick(struct supervisor *s)
{
	if (s->config.worker_recycle_rss != 0)
		workers_probe(s);
	for (uint32_t i = 0; i < s->slots; i++)
		output_tick(s->workers[i].output);
}

/* ---- degraded ---- */

/* A flusher that ends again and again before it has reached its database. */
static bool
flusher_degraded(const struct child *f)
{
	return f->backoff.delay_us >= BACKOFF_FIRST_US << (BRAKE_DEGRADED - 1) &&
	       !(f->worked && child_alive(f));
}

void
workers_tell(struct supervisor *s)
{
	bool flusher = flusher_degraded(&s->flusher);
	bool now =
	    !s->stop.wanted && (brake_degraded(&s->brake) || flusher);

	if (now && !brake_degraded(&s->brake)) {
		s->degraded.slot = -1;
		snprintf(s->degraded.why, sizeof(s->degraded.why),
		         "the flusher does not start: %s",
		         s->flusher.last_exit);
	}
	if (now == s->degraded.is)
		return;
	s->degraded.is = now;
	s->degraded.since_wall_us = clock_wall_us();
	if (!now)
		log_info("pool is healthy again");
	else if (s->degraded.slot >= 0)
		log_error("pool is degraded: workers do not start: %s slot=%d",
		          s->degraded.why, s->degraded.slot);
	else
		log_error("pool is degraded: %s", s->degraded.why);
}
