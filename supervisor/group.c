/*
 * group - members, replacements and the brake, applied to its children.
 */
#include "supervisor/group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/scoreboard.h"
#include "common/utf8.h"
#include "supervisor/output.h"
#include "supervisor/proc.h"
#include "supervisor/reap.h"
#include "supervisor/route.h"
#include "supervisor/supervisor.h"

/* A line of the log has 2 KiB. */
#define TROUBLE_BYTES_MAX 1600U

static void
wake_at(uint64_t *wake_us, uint64_t at_us)
{
	if (at_us < *wake_us)
		*wake_us = at_us;
}

/* ---- life ---- */

void
group_open(struct group *g, struct supervisor *s,
           const struct config_group *config, struct child *workers,
           uint32_t first, uint32_t slots)
{
	g->magic = GROUP_MAGIC;
	g->supervisor = s;
	g->config = config;
	g->workers = workers;
	g->first = first;
	g->slots = slots;
	g->wanted = config->processes;
	g->seats = mem_calloc(slots, sizeof(*g->seats));
	g->degraded.slot = -1;
	for (uint32_t i = 0; i < slots; i++) {
		struct child *w = &workers[i];

		child_init(w, s, CHILD_WORKER, (uint16_t)(first + i));
		w->group = g;
		w->output = output_create(w);
	}
}

void
group_close(struct group *g)
{
	account_fini(&g->account);
	if (g->magic == 0)
		return; /* never opened */
	for (uint32_t i = 0; i < g->slots; i++) {
		output_destroy(&g->workers[i].output);
		child_fini(&g->workers[i]);
	}
	free(g->seats);
	g->seats = NULL;
	g->magic = 0;
}

/* ---- what it runs, and as whom ---- */

int
group_config_account(const struct config_group *c, struct account *out,
                     struct error *err)
{
	char where[512];

	*out = (struct account){ 0 };
	if (c->user == NULL)
		return 0;
	snprintf(where, sizeof(where), "%s: user",
	         config_group_origin(c, GROUP_USER));
	return account_configured(out, c->user, where, err);
}

int
group_open_account(struct group *g, struct error *err)
{
	int rc = group_config_account(g->config, &g->account, err);

	if (rc != 0 || g->account.name == NULL)
		return rc;
	if (g->account.uid == 0)
		log_warning("workers of group %s run as root: whoever writes "
		            "a workflow can do everything on this host",
		            g->config->name);
	return 0;
}

const struct account *
group_account(const struct group *g)
{
	const struct account *a = g->account.name != NULL
	                              ? &g->account
	                              : &g->supervisor->worker_account;

	/* To become oneself takes no right to change. */
	return a->name == NULL || a->uid == geteuid() ? NULL : a;
}

static bool
runs_own_program(const struct group *g)
{
	return strcmp(g->config->program.items[0], GROUP_OWN_PROGRAM) == 0;
}

const char *
group_program(const struct group *g)
{
	return runs_own_program(g) ? g->supervisor->programs.worker
	                           : g->config->program.items[0];
}

void
group_command(const struct child *w, struct strings *argv, struct strings *env)
{
	const struct group *g = w->group;
	const struct config_group *c = g->config;
	const struct strings *all = &g->supervisor->worker_env;

	/* So that ps tells one from the other. */
	if (runs_own_program(g))
		strings_add(argv, "rappel-worker: %s slot %u spawn %u",
		            c->name, w->slot, w->spawn);
	else
		strings_add(argv, "%s", c->program.items[0]);
	for (uint32_t i = 1; i < c->program.count; i++)
		strings_add(argv, "%s", c->program.items[i]);

	for (uint32_t i = 0; i < all->count; i++)
		strings_add(env, "%s", all->items[i]);
	if (g->account.home != NULL)
		strings_put(env, "HOME=%s", g->account.home);
	strings_add(env, "RAPPEL_FD=3");
	if (w->board_fd >= 0)
		strings_add(env, "RAPPEL_SCOREBOARD_FD=%d", SCOREBOARD_FD);
	strings_add(env, "RAPPEL_SLOT=%u", w->slot);
	strings_add(env, "RAPPEL_SPAWN=%u", w->spawn);
	strings_add(env, "RAPPEL_GROUP=%s", c->name);
	if (c->concurrency > 0)
		strings_add(env, "RAPPEL_CONCURRENCY=%u", c->concurrency);
	for (uint32_t i = 0; i < c->environment.count; i++)
		strings_put(env, "%s", c->environment.items[i]);
}

void
group_limits(struct child *w)
{
	const struct config_group *c = w->group->config;
	const struct recycle_limits all = {
		.actions = c->recycle_actions,
		.age_us = c->recycle_age_us,
		.rss = c->recycle_rss,
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
group_proofs(struct group *g, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < g->slots; i++) {
		struct child *w = &g->workers[i];

		if (w->worked || !worker_proved(w, now_us, wake_us))
			continue;
		w->worked = true;
		brake_proved(&g->brake, w->started_us);
	}
}

/* What "exit status 0" or "no HELLO within 5 s" do not tell. */
static const char *
group_advice(const struct child *w, const char *line)
{
	bool killed = w->kill_reason[0] != '\0' && WIFSIGNALED(w->status);

	if (w->hello.len > 0)
		return "";
	if (!killed && (line == NULL || reap_code(w->status) == 0))
		return ": it ended before it said HELLO: is it a worker "
		       "(docs/protocol.md)?";
	return "";
}

/* One that died before it could work: what it says is why. */
static void
group_failed(struct group *g, const struct child *w, const char *how,
             uint64_t now_us)
{
	const char *line = output_said(w->output);
	const size_t prefix = strlen(SPAWN_PREFIX);
	int code = w->hello.len == 0 ? reap_code(w->status) : 0;
	const char *advice = "";

	g->failed++;
	g->degraded.slot = w->slot;
	g->explained = false;
	g->misconfigured = false;
	if (code == EXIT_CANNOT_EXEC && line != NULL &&
	    strncmp(line, SPAWN_PREFIX, prefix) == 0) {
		brake_missing(&g->brake, now_us);
		how = line + prefix;
		g->explained = g->misconfigured = true;
	} else if (code == EXIT_CONFIG) {
		brake_refused(&g->brake, now_us);
		g->explained = line != NULL;
		how = line != NULL ? line : how;
	} else {
		brake_failed(&g->brake, now_us);
		advice = group_advice(w, line);
	}
	snprintf(g->degraded.why, sizeof(g->degraded.why), "%s%s", how, advice);
}

void
group_ended(struct child *w, const char *how, uint64_t now_us)
{
	uint64_t unused = UINT64_MAX;

	CHECK_OBJ(w->group, GROUP_MAGIC);
	/* It may have died in the turn in which it had enough. */
	if (w->actions > 0 || worker_proved(w, now_us, &unused))
		w->worked = true;
	/* Told to finish, it did. */
	if (w->phase == CHILD_DRAINING &&
	    reap_verdict(w->status) == VERDICT_CLEAN)
		w->wanted_dead = true;
	if (!w->worked && !w->wanted_dead && !w->supervisor->stop.wanted)
		group_failed(w->group, w, how, now_us);
}

bool
group_is_quiet(const struct group *g)
{
	return brake_degraded(&g->brake);
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
group_look(struct group *g, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < g->slots; i++) {
		const struct child *w = &g->workers[i];

		g->seats[i] = (struct seat){
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
group_dismiss(struct group *g, uint64_t now_us)
{
	uint64_t unused = UINT64_MAX;

	for (uint32_t i = 0; i < g->slots; i++) {
		struct child *w = &g->workers[i];
		const char *why;

		if (seat_wanted(&g->rotation, w->member, i))
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
group_deadlines(struct group *g, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < g->slots; i++) {
		struct child *w = &g->workers[i];
		char why[sizeof(w->kill_reason)];
		uint64_t stopped_us;

		if (w->phase == CHILD_DRAINING && w->drain_until_us != 0) {
			if (now_us >= w->drain_until_us) {
				/* We want it to go; what it runs is not to
				 * blame for that. */
				w->blameless = true;
				snprintf(why, sizeof(why), "%s",
				         w->kill_reason[0] != '\0'
				             ? w->kill_reason
				             : "did not finish in time to be "
				               "replaced");
				child_kill(w, true, "%s", why);
			} else {
				wake_at(wake_us, w->drain_until_us);
			}
		}
		if (w->stopped_us == 0 || w->pid == 0 ||
		    w->phase == CHILD_KILLED)
			continue;
		stopped_us =
		    w->stopped_us + g->supervisor->config.worker_stopped_us;
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
group_step(struct group *g, uint64_t now_us, uint64_t *wake_us)
{
	CHECK_OBJ(g, GROUP_MAGIC);
	group_proofs(g, now_us, wake_us);
	group_deadlines(g, now_us, wake_us);
	if (g->supervisor->stop.wanted)
		return;
	group_look(g, now_us, wake_us);
	seats_resize(g->seats, g->slots, g->wanted);
	while (rotation_step(&g->rotation, g->seats, g->slots))
		;
	for (uint32_t i = 0; i < g->slots; i++)
		g->workers[i].member = g->seats[i].member;
	group_dismiss(g, now_us);
}

uint32_t
group_missing(struct group *g, uint64_t now_us, uint32_t *slots_out,
              uint64_t *wake_us)
{
	struct slot_view *slots = mem_calloc(g->slots, sizeof(*slots));
	struct group_view view = {
		.size = g->slots,
		.draining = g->supervisor->stop.wanted,
		.brake = &g->brake,
		.forks = &g->supervisor->forks,
		.slots = slots,
	};
	uint64_t again_us;
	uint32_t count;

	for (uint32_t i = 0; i < g->slots; i++) {
		const struct child *w = &g->workers[i];

		view.unproved += child_alive(w) && !w->worked;
		slots[i].free = !child_alive(w) &&
		                seat_wanted(&g->rotation, w->member, i);
		slots[i].not_before_us = w->backoff.not_before_us;
	}
	count = group_policy(&view, now_us, slots_out, &again_us);
	wake_at(wake_us, again_us);
	free(slots);
	return count;
}

uint32_t
group_max(const struct group *g)
{
	return g->slots - 1;
}

uint32_t
group_min(const struct group *g)
{
	/* A pool without any is drained, not scaled. */
	return g->supervisor->group_count > 1 ? 0 : 1;
}

int
group_scale(struct group *g, uint32_t count)
{
	if (count < group_min(g) || count > group_max(g))
		return -ERANGE;
	if (count == g->wanted)
		return 0;
	log_info("pool has other workers group=%s from=%u to=%u",
	         g->config->name, g->wanted, count);
	g->wanted = count;
	supervisor_changed(g->supervisor);
	return 0;
}

uint32_t
group_restart(struct group *g)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < g->slots; i++) {
		struct child *w = &g->workers[i];

		if (!child_alive(w) || !w->member)
			continue;
		w->outdated = true;
		count++;
	}
	if (brake_degraded(&g->brake))
		brake_ease(&g->brake, clock_mono_us());
	log_info("workers are replaced one by one group=%s count=%u",
	         g->config->name, count);
	supervisor_changed(g->supervisor);
	return count;
}

uint32_t
group_outdated(const struct group *g)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < g->slots; i++)
		count += child_alive(&g->workers[i]) && g->workers[i].outdated;
	return count;
}

uint32_t
group_ready(const struct group *g)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < g->slots; i++)
		count += g->workers[i].phase == CHILD_READY;
	return count;
}

/* ---- degraded ---- */

/* A reason at its length, or cut so that out has len bytes. */
static void
reason_cut(struct buf *out, size_t len)
{
	if (out->len <= len)
		return;
	out->len = utf8_cut((const char *)out->data, len);
	buf_add_text(out, "…");
}

void
group_trouble(const struct group *g, size_t bytes_max, struct buf *out)
{
	const struct degraded *d = &g->degraded;
	struct buf todo = BUF_EMPTY;
	const char *line = NULL;

	if (!g->explained && d->slot >= 0)
		line = output_last(
		    g->workers[(uint32_t)d->slot - g->first].output);
	buf_add_text(out, d->why);
	if (line != NULL)
		buf_printf(out, ": %s", line);
	if (g->misconfigured)
		buf_printf(&todo, "; mend that or %.160s",
		           config_group_origin(g->config, GROUP_PROGRAM));
	buf_printf(&todo,
	           "; it is tried again within %u s, or at once by: rappelctl "
	           "restart --group %s",
	           (unsigned)(BACKOFF_MAX_US / CLOCK_SECOND_US),
	           g->config->name);
	reason_cut(out, bytes_max > todo.len ? bytes_max - todo.len : 0);
	buf_add(out, todo.data, todo.len);
	buf_fini(&todo);
	/* It stands in quotes in the log. */
	for (size_t i = 0; i < out->len; i++) {
		if (out->data[i] == '"')
			out->data[i] = '\'';
	}
}

void
group_tell(struct group *g)
{
	bool now = g->wanted > 0 && brake_degraded(&g->brake);
	struct buf trouble = BUF_EMPTY;

	if (now == g->degraded.is || g->supervisor->stop.wanted)
		return;
	g->degraded.is = now;
	g->degraded.since_wall_us = clock_wall_us();
	/* When it is all there is, the pool says it. */
	if (g->supervisor->group_count == 1)
		return;
	group_trouble(g, TROUBLE_BYTES_MAX, &trouble);
	if (now)
		log_error("group is degraded group=%s slot=%d reason=\"%s\"",
		          g->config->name, g->degraded.slot,
		          buf_text(&trouble));
	else if (g->wanted == 0)
		log_info("group is degraded and not wanted any more group=%s",
		         g->config->name);
	else
		log_info("group is healthy again group=%s", g->config->name);
	buf_fini(&trouble);
}
