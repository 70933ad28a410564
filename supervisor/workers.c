/*
 * workers - the table of slots, and what concerns all groups.
 */
#include "supervisor/workers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/output.h"
#include "supervisor/proc.h"
#include "supervisor/supervisor.h"

/* Of how many workers the memory is looked up in a second. */
#define PROBES_A_TICK 64U

/* ---- the table ---- */

static uint32_t
group_slots(const struct config_group *g)
{
	return g->processes_max + 1;
}

uint32_t
workers_slots(const struct config *c)
{
	uint32_t slots = 0;

	for (uint32_t i = 0; i < c->group_count; i++)
		slots += group_slots(&c->groups[i]);
	return slots;
}

void
workers_open(struct supervisor *s)
{
	uint32_t first = 0;

	s->slots = workers_slots(&s->config);
	s->workers = mem_calloc(s->slots, sizeof(*s->workers));
	for (uint32_t i = 0; i < s->group_count; i++) {
		const struct config_group *c = &s->config.groups[i];

		group_open(&s->groups[i], s, c, &s->workers[first], first,
		           group_slots(c));
		first += group_slots(c);
	}
}

void
workers_close(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->group_count; i++)
		group_close(&s->groups[i]);
	free(s->groups);
	free(s->workers);
	s->groups = NULL;
	s->group_count = 0;
	s->workers = NULL;
}

struct group *
workers_group(struct supervisor *s, struct slice name)
{
	for (uint32_t i = 0; i < s->group_count; i++) {
		if (slice_is(name, s->groups[i].config->name))
			return &s->groups[i];
	}
	return NULL;
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

	for (uint32_t i = 0; i < s->group_count; i++)
		count += group_ready(&s->groups[i]);
	return count;
}

uint32_t
workers_wanted(const struct supervisor *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->group_count; i++)
		count += s->groups[i].wanted;
	return count;
}

uint32_t
workers_outdated(const struct supervisor *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->group_count; i++)
		count += group_outdated(&s->groups[i]);
	return count;
}

void
workers_fork_failed(struct supervisor *s, const struct child *c, int err)
{
	uint32_t count;

	if (err == 0) {
		fork_brake_worked(&s->forks);
		return;
	}
	if (fork_brake_failed(&s->forks, clock_mono_us(), &count))
		log_warning("no process can be started: %s kind=%s slot=%u "
		            "failures=%u retry_ms=%" PRIu64,
		            strerror(err), child_kind_name(c->kind), c->slot,
		            count, s->forks.delay_us / CLOCK_MS_US);
	snprintf(s->fork_error, sizeof(s->fork_error),
	         "no process can be started: %s", strerror(err));
}

/* ---- once a second ---- */

static bool
workers_have_rss_limit(const struct supervisor *s)
{
	for (uint32_t i = 0; i < s->group_count; i++) {
		if (s->groups[i].config->recycle_rss != 0)
			return true;
	}
	return false;
}

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
	if (workers_have_rss_limit(s))
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

/* The first group when none can start its workers, or NULL. */
static const struct group *
groups_degraded(const struct supervisor *s)
{
	const struct group *first = NULL;

	for (uint32_t i = 0; i < s->group_count; i++) {
		const struct group *g = &s->groups[i];

		if (g->wanted == 0)
			continue;
		if (!g->degraded.is)
			return NULL;
		first = first != NULL ? first : g;
	}
	return first;
}

/* Whether, and why. */
static bool
pool_degraded(const struct supervisor *s, struct degraded *d)
{
	const struct group *g = groups_degraded(s);

	if (s->forks.failing_us != 0) {
		d->slot = -1;
		snprintf(d->why, sizeof(d->why), "%s", s->fork_error);
		return true;
	}
	if (g != NULL) {
		d->slot = g->degraded.slot;
		memcpy(d->why, g->degraded.why, sizeof(d->why));
		return true;
	}
	if (!flusher_degraded(&s->flusher))
		return false;
	d->slot = -1;
	snprintf(d->why, sizeof(d->why), "the flusher does not start: %s",
	         s->flusher.last_exit);
	return true;
}

void
workers_tell(struct supervisor *s)
{
	bool now;

	if (s->stop.wanted)
		return;
	for (uint32_t i = 0; i < s->group_count; i++)
		group_tell(&s->groups[i]);
	now = pool_degraded(s, &s->degraded);
	if (now == s->degraded.is)
		return;
	s->degraded.is = now;
	s->degraded.since_wall_us = clock_wall_us();
	if (!now)
		log_info("pool is healthy again");
	else if (s->degraded.slot < 0)
		log_error("pool is degraded: %s", s->degraded.why);
	else if (s->group_count > 1)
		log_error("pool is degraded: no group can start its workers");
	else
		log_error("pool is degraded: workers do not start: %s slot=%d",
		          s->degraded.why, s->degraded.slot);
}
