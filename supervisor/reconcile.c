/*
 * reconcile - what should run against what runs, after every event.
 *
 * This is the only place that starts and ends processes. It asks the policies
 * (group_policy, stop_policy) and does what they say.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/board_socket.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/scoreboard.h"
#include "supervisor/dev.h"
#include "supervisor/orphans.h"
#include "supervisor/output.h"
#include "supervisor/reap.h"
#include "supervisor/route.h"
#include "supervisor/stop_policy.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

#define FLUSHER_HELLO_US (60 * CLOCK_SECOND_US)
/* A descendant of a dead worker may hold its socket open. */
#define DEAD_SOCKET_US (500 * CLOCK_MS_US)

const char *
pool_phase_name(enum pool_phase phase)
{
	switch (phase) {
	case POOL_STARTING:
		return "starting";
	case POOL_RUNNING:
		return "running";
	case POOL_DATABASE_AWAY:
		return "database-away";
	case POOL_DEGRADED:
		return "degraded";
	case POOL_DRAINING:
		return "draining";
	case POOL_DRAINED:
		return "drained";
	}
	return "?";
}

static void
wake_at(uint64_t *wake_us, uint64_t at_us)
{
	if (at_us < *wake_us)
		*wake_us = at_us;
}

/* ---- the end of a child ---- */

/* That such processes do not start the log has said. */
static bool
is_told(const struct child *c)
{
	return c->group != NULL ? group_is_quiet(c->group)
	                        : c->supervisor->degraded.is;
}

void
child_kill(struct child *c, bool wanted, const char *format, ...)
{
	va_list args;

	if (c->phase == CHILD_FREE || c->phase == CHILD_KILLED)
		return;
	va_start(args, format);
	vsnprintf(c->kill_reason, sizeof(c->kill_reason), format, args);
	va_end(args);
	c->wanted_dead = wanted;
	if (c->pid != 0) {
		if (wanted || (c->phase == CHILD_STARTING && is_told(c)))
			log_debug("killing %s slot=%u pid=%d why=\"%s\"",
			          child_kind_name(c->kind), c->slot,
			          (int)c->pid, c->kill_reason);
		else
			log_warning("killing %s slot=%u pid=%d why=\"%s\"",
			            child_kind_name(c->kind), c->slot,
			            (int)c->pid, c->kill_reason);
		kill(-c->pid, SIGKILL);
		kill(c->pid, SIGKILL);
	}
	child_set_phase(c, CHILD_KILLED, clock_mono_us());
	supervisor_changed(c->supervisor);
}

void
child_terminate(struct child *c, uint64_t grace_us, const char *reason)
{
	uint64_t now = clock_mono_us();

	if (c->phase == CHILD_STARTING || c->pid == 0) {
		child_kill(c, true, "%s", reason);
		return;
	}
	if (c->phase != CHILD_READY && c->phase != CHILD_DRAINING)
		return;
	snprintf(c->kill_reason, sizeof(c->kill_reason), "%s", reason);
	c->wanted_dead = true;
	c->blameless = true;
	log_info("worker has to end slot=%u spawn=%u why=\"%s\"", c->slot,
	         c->spawn, reason);
	kill(c->pid, SIGTERM);
	if (c->phase == CHILD_READY)
		child_set_phase(c, CHILD_DRAINING, now);
	c->drain_until_us = now + grace_us;
	supervisor_changed(c->supervisor);
}

/* The workers go on: their completions are kept for the next flusher. */
static void
flusher_orphans(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->slots; i++)
		s->workers[i].announced = false;
}

static void
workers_fenced(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->slots; i++)
		if (s->workers[i].announced)
			child_kill(&s->workers[i], true,
			           "its pool was taken over");
}

static void
flusher_ended(struct supervisor *s, const char *how, uint64_t now_us)
{
	struct child *f = &s->flusher;
	enum verdict verdict = reap_verdict(f->status);

	s->health = HEALTH_STARTING;
	s->silent_ticks = 0;
	s->status.len = 0;
	if (s->stop.wanted) {
		s->stop.flusher_gone_us = now_us;
		if (verdict == VERDICT_CLEAN) {
			log_info("flusher done");
			return;
		}
		log_warning("flusher did not end cleanly how=\"%s\"; what it "
		            "held is taken over by the next start",
		            how);
		s->exit_code = s->exit_code != 0 ? s->exit_code : 1;
		flusher_orphans(s);
		return;
	}
	if ((verdict == VERDICT_REFUSED && !f->worked) ||
	    (verdict == VERDICT_FENCED && !s->ever_worked)) {
		/* It has said why. Trying again would change nothing. */
		log_error("flusher cannot start, stopping code=%d",
		          reap_code(f->status));
		supervisor_abort(s, reap_code(f->status));
		return;
	}
	/* A new incarnation starts at once; only one that is fenced again
	 * and again without having worked waits. */
	if (verdict == VERDICT_FENCED && f->worked)
		f->wanted_dead = true;
	log_warning("flusher ended how=\"%s\", starting another", how);
	/* What its workers have in their hands is another pool's now. */
	if (verdict == VERDICT_FENCED)
		workers_fenced(s);
	flusher_orphans(s);
}

void
child_maybe_ended(struct child *c)
{
	struct supervisor *s = c->supervisor;
	uint64_t now = clock_mono_us();
	char how[160];

	if (!child_alive(c) || c->pid != 0 || c->link != NULL)
		return;
	if (c->kill_reason[0] != '\0' && WIFSIGNALED(c->status))
		snprintf(how, sizeof(how), "%s", c->kill_reason);
	else
		reap_text(c->status, how, sizeof(how));
	switch (c->kind) {
	case CHILD_WORKER:
		/* What it said last may be why. */
		output_end(c->output);
		group_ended(c, how, now);
		if (c->wanted_dead || s->stop.wanted || is_told(c))
			log_debug("worker ended slot=%u spawn=%u how=\"%s\"",
			          c->slot, c->spawn, how);
		else
			log_warning("worker ended slot=%u spawn=%u how=\"%s\"",
			            c->slot, c->spawn, how);
		route_gone(c, how);
		break;
	case CHILD_FLUSHER:
		flusher_ended(s, how, now);
		break;
	case CHILD_POSTGRES:
		dev_postgres_ended(s->dev, c->status, now);
		break;
	case CHILD_HELPER:
		dev_helper_ended(s->dev, c->status, now);
		break;
	}
	child_end(c, how, now);
	supervisor_changed(s);
}

struct child *
child_by_pid(struct supervisor *s, pid_t pid)
{
	for (uint32_t i = 0; i < s->slots; i++) {
		if (s->workers[i].pid == pid)
			return &s->workers[i];
	}
	if (s->flusher.pid == pid)
		return &s->flusher;
	if (s->postgres.pid == pid)
		return &s->postgres;
	if (s->helper.pid == pid)
		return &s->helper;
	return NULL;
}

/* Who is stopped by a signal, or goes on. */
static void
reap_stopped(struct supervisor *s)
{
	for (;;) {
		siginfo_t info = { .si_pid = 0 };
		struct child *c;

		if (waitid(P_ALL, 0, &info, WSTOPPED | WCONTINUED | WNOHANG) !=
		        0 ||
		    info.si_pid == 0)
			return;
		c = child_by_pid(s, info.si_pid);
		if (c == NULL)
			continue;
		c->stopped_us =
		    info.si_code == CLD_CONTINUED ? 0 : clock_mono_us();
		supervisor_changed(s);
	}
}

void
reconcile_reap(struct supervisor *s)
{
	bool orphaned = false;

	reap_stopped(s);
	for (;;) {
		siginfo_t info = { .si_pid = 0 };
		struct child *c;
		int status = 0;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		    info.si_pid == 0)
			break;
		c = child_by_pid(s, info.si_pid);
		/* While it is a zombie its number is nobody else's, so this
		 * reaches what it left behind in its process group and no
		 * stranger. */
		if (c != NULL && c->kind != CHILD_POSTGRES)
			kill(-info.si_pid, SIGKILL);
		if (waitpid(info.si_pid, &status, WNOHANG) != info.si_pid)
			continue;
		orphaned |= c == NULL || c->kind == CHILD_WORKER;
		if (c == NULL)
			continue;
		log_debug("reaped %s slot=%u pid=%d status=%#x",
		          child_kind_name(c->kind), c->slot, (int)c->pid,
		          (unsigned)status);
		FAULT_POINT("reap.child");
		c->status = status;
		c->pid = 0;
		c->link_until_us = clock_mono_us() + DEAD_SOCKET_US;
		child_maybe_ended(c);
	}
	/* What a dead worker had started is ours now, and so is what a dead
	 * one of those had. */
	if (orphaned)
		orphans_kill(s);
}

/* ---- the start of a child ---- */

/* fork(), or what it needs, failed: everybody waits a little. */
static void
child_no_process(struct child *c, int err, const int pair[2])
{
	if (pair != NULL) {
		close(pair[0]);
		close(pair[1]);
	}
	if (c->output != NULL)
		output_end(c->output);
	child_set_board(c, -1, NULL);
	workers_fork_failed(c->supervisor, c, err);
}

static int
child_sockets(struct child *c, int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
		return 0;
	child_no_process(c, errno, NULL);
	return -1;
}

/* board_fd, which stays the caller's, becomes the child's descriptor 4. */
static void
child_spawn(struct child *c, const struct strings *argv,
            const struct strings *env, const char *path, int board_fd,
            int death_signal)
{
	uint64_t now = clock_mono_us();
	int pair[2];
	struct spawn spawn = {
		.path = path,
		.argv = argv->items,
		.envp = env->items,
		.stdin_fd = -1,
		.board_fd = board_fd,
		.log_fd = -1,
		.death_signal = death_signal,
	};
	pid_t pid;

	if (c->group != NULL) {
		spawn.filter = &c->supervisor->worker_filter;
		spawn.account = group_account(c->group);
		spawn.cwd = c->group->config->directory;
		spawn.limits = c->group->config->limits;
	}
	if (child_sockets(c, pair) < 0)
		return;
	spawn.socket_fd = pair[1];
	spawn.subreaper = c->kind == CHILD_WORKER;
	if (c->output != NULL) {
		spawn.log_fd = output_begin(c->output);
		if (spawn.log_fd < 0) {
			child_no_process(c, -spawn.log_fd, pair);
			return;
		}
	}
	pid = spawn_exec(&spawn);
	if (spawn.log_fd >= 0)
		close(spawn.log_fd);
	if (pid < 0) {
		child_no_process(c, (int)-pid, pair);
		return;
	}
	workers_fork_failed(c->supervisor, c, 0);
	close(pair[1]);
	child_begin(c, pid, route_link(c, pair[0]), now);
	/* Its deadlines are not among those this round has looked at. */
	supervisor_changed(c->supervisor);
}

/* Without one (no memory, no descriptors) a worker runs all the same, with
 * one action at a time. */
static void
worker_board(struct child *c)
{
	int fd = scoreboard_make();
	struct scoreboard *board = fd < 0 ? NULL : scoreboard_map(fd);

	if (board == NULL) {
		/* Once: what is missing here lets no process start either. */
		if (c->supervisor->forks.failing_us == 0)
			log_warning("a worker has no scoreboard: %s slot=%u",
			            strerror(fd < 0 ? -fd : errno), c->slot);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	child_set_board(c, fd, board);
}

static void
worker_spawn(struct child *c)
{
	struct strings argv = { NULL, 0 };
	struct strings env = { NULL, 0 };

	c->spawn++;
	worker_board(c);
	group_command(c, &argv, &env);
	child_spawn(c, &argv, &env, group_program(c->group), c->board_fd,
	            SIGKILL);
	group_limits(c);
	strings_fini(&argv);
	strings_fini(&env);
}

static void
flusher_spawn(struct supervisor *s)
{
	struct strings argv = { NULL, 0 };
	int boards[2] = { -1, -1 };
	int rc;

	s->flusher.spawn++;
	s->health = HEALTH_STARTING;
	strings_add(&argv, "rappel-flusher");
	strings_add(&argv, "--fd");
	strings_add(&argv, "3");
	strings_add(&argv, "--dir");
	strings_add(&argv, "%s", s->dir);
	if (s->config_file != NULL) {
		strings_add(&argv, "-c");
		strings_add(&argv, "%s", s->config_file);
	}
	if (s->dev_wanted)
		strings_add(&argv, "--dev");
	rc = board_socket_pair(boards);
	if (rc < 0)
		log_warning("flusher: no socket for scoreboards: %s",
		            strerror(-rc));
	child_set_board(&s->flusher, boards[0], NULL);
	if (boards[1] >= 0) {
		strings_add(&argv, "--boards");
		strings_add(&argv, "%d", BOARD_SOCKET_FD);
	}
	/* No death signal: it sees the end of its socket and flushes once
	 * more before it goes. */
	child_spawn(&s->flusher, &argv, &s->flusher_env, s->programs.flusher,
	            boards[1], 0);
	if (boards[1] >= 0)
		close(boards[1]);
	strings_fini(&argv);
}

/* ---- what is due ---- */

static const char *
hello_advice(const struct child *c)
{
	if (c->group == NULL)
		return "";
	if (config_group_is_native(c->group->config))
		return "; worker_hello may be longer";
	return ": is it a worker (docs/protocol.md)? Or give it a longer "
	       "hello";
}

static void
child_deadlines(struct child *c, uint64_t hello_us, uint64_t now_us,
                uint64_t *wake_us)
{
	uint64_t hello_by_us = c->started_us + hello_us;

	if (!child_alive(c))
		return;
	if (c->phase == CHILD_STARTING && hello_us != 0) {
		if (now_us >= hello_by_us)
			child_kill(c, false, "no HELLO within %g s%s",
			           (double)hello_us / CLOCK_SECOND_US,
			           hello_advice(c));
		else
			wake_at(wake_us, hello_by_us);
	}
	if (c->pid != 0 && c->kill_after_us != 0) {
		if (now_us >= c->kill_after_us) {
			c->kill_after_us = 0;
			child_kill(c, false, "closed its socket and stayed");
		} else {
			wake_at(wake_us, c->kill_after_us);
		}
	}
	if (c->pid == 0 && c->link != NULL) {
		if (c->paused)
			/* It is we who do not read. */
			c->link_until_us = now_us + DEAD_SOCKET_US;
		if (now_us >= c->link_until_us) {
			log_warning("%s is dead, but a descendant holds its "
			            "socket slot=%u",
			            child_kind_name(c->kind), c->slot);
			link_destroy(&c->link);
			child_maybe_ended(c);
		} else {
			wake_at(wake_us, c->link_until_us);
		}
	}
}

/* False when no process can be started, in whatever group. */
static bool
reconcile_group(struct group *g, uint64_t now_us, uint64_t *wake_us)
{
	const struct fork_brake *forks = &g->supervisor->forks;
	uint32_t *fill = mem_calloc(g->slots, sizeof(*fill));
	uint32_t count = group_missing(g, now_us, fill, wake_us);

	for (uint32_t i = 0; i < count && forks->not_before_us <= now_us; i++)
		worker_spawn(&g->workers[fill[i]]);
	free(fill);
	return forks->not_before_us <= now_us;
}

static void
reconcile_workers(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	for (uint32_t i = 0; i < s->group_count; i++)
		group_step(&s->groups[i], now_us, wake_us);
	for (uint32_t i = 0; i < s->group_count; i++) {
		if (!reconcile_group(&s->groups[i], now_us, wake_us)) {
			wake_at(wake_us, s->forks.not_before_us);
			break;
		}
	}
}

static void
reconcile_flusher(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	struct child *f = &s->flusher;

	if (child_alive(f) || s->stop.wanted ||
	    (s->dev != NULL && !dev_ready(s->dev)))
		return;
	if (f->backoff.not_before_us <= now_us &&
	    s->forks.not_before_us <= now_us)
		flusher_spawn(s);
	if (!child_alive(f))
		wake_at(wake_us,
		        f->backoff.not_before_us > s->forks.not_before_us
		            ? f->backoff.not_before_us
		            : s->forks.not_before_us);
}

/* ---- stopping ---- */

static void
flusher_drain(struct supervisor *s, uint64_t grace_us, uint64_t now_us)
{
	struct child *f = &s->flusher;

	if (f->phase == CHILD_STARTING || f->phase == CHILD_READY)
		child_set_phase(f, CHILD_DRAINING, now_us);
	route_drain(f, grace_us);
}

void
supervisor_stop(struct supervisor *s, uint64_t grace_us, bool leave)
{
	uint64_t now = clock_mono_us();

	if (s->stop.wanted) {
		if (leave && !s->stop.exit) {
			s->stop.exit = true;
			notify_send(&s->notify, "STOPPING=1");
		}
		if (now + grace_us < s->stop.deadline_us) {
			s->stop.deadline_us = now + grace_us;
			flusher_drain(s, grace_us, now);
		}
		supervisor_changed(s);
		return;
	}
	s->stop.wanted = true;
	spool_prepare(&s->spool);
	s->stop.exit = leave;
	s->stop.deadline_us = now + grace_us;
	if (leave)
		notify_send(&s->notify, "STOPPING=1");
	if (child_alive(&s->flusher))
		flusher_drain(s, grace_us, now);
	else
		s->stop.flusher_gone_us = now;
	log_info("draining grace_ms=%llu",
	         (unsigned long long)(grace_us / CLOCK_MS_US));
	supervisor_changed(s);
}

void
supervisor_force(struct supervisor *s)
{
	if (s->stop.forced)
		return;
	supervisor_stop(s, 0, true);
	s->stop.forced = true;
	log_info("no grace any more");
}

void
supervisor_abort(struct supervisor *s, int exit_code)
{
	uint64_t now = clock_mono_us();

	if (!s->stop.wanted || !s->stop.exit)
		notify_send(&s->notify, "STOPPING=1");
	s->stop.wanted = true;
	s->stop.exit = true;
	s->stop.forced = true;
	if (!s->stop.immediate)
		s->stop.deadline_us = now;
	s->stop.immediate = true;
	if (s->exit_code == 0)
		s->exit_code = exit_code;
	if (!child_alive(&s->flusher) && s->stop.flusher_gone_us == 0)
		s->stop.flusher_gone_us = now;
	supervisor_changed(s);
}

/* What does not die of SIGKILL (a process in uninterruptible input) is left
 * to the init system. */
static void
child_abandon(struct child *c, uint64_t now_us)
{
	if (!child_alive(c))
		return;
	log_error("%s does not end, leaving without it slot=%u pid=%d",
	          child_kind_name(c->kind), c->slot, (int)c->pid);
	link_destroy(&c->link);
	c->pid = 0;
	child_end(c, "abandoned", now_us);
}

static void
stop_do(struct supervisor *s, const struct stop_acts *acts, uint64_t now_us)
{
	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];

		/* One that has not said HELLO may not know DRAIN yet. */
		if (acts->workers_kill)
			child_kill(w, true, "the pool stops");
		else if (acts->workers_drain && w->phase == CHILD_STARTING)
			child_kill(w, true, "the pool stops");
		else if (acts->workers_drain && w->phase == CHILD_READY) {
			child_set_phase(w, CHILD_DRAINING, now_us);
			route_drain(w, 0);
		}
		if (acts->abandon)
			child_abandon(w, now_us);
	}
	if (acts->flusher_hurry && !s->stop.hurried) {
		s->stop.hurried = true;
		flusher_drain(s, 0, now_us);
	}
	if (acts->flusher_kill)
		child_kill(&s->flusher, true, "did not end in time");
	if (acts->abandon && child_alive(&s->flusher)) {
		child_abandon(&s->flusher, now_us);
		s->stop.flusher_gone_us = now_us;
		s->exit_code = s->exit_code != 0 ? s->exit_code : 1;
	}
}

static void
reconcile_stop(struct supervisor *s, uint64_t now_us, uint64_t *wake_us)
{
	struct stop_view view = {
		.immediate = s->stop.immediate,
		.deadline_us = s->stop.deadline_us,
		.flusher_gone_us = s->stop.flusher_gone_us,
		.workers_alive = workers_alive(s),
	};
	struct stop_acts acts;

	stop_policy(&view, now_us, &acts);
	stop_do(s, &acts, now_us);
	wake_at(wake_us, acts.wake_us);
	if (child_alive(&s->flusher) || workers_alive(s) > 0 || !s->stop.exit)
		return;
	if (s->dev != NULL &&
	    !dev_stop_step(s->dev, s->stop.immediate, now_us, wake_us))
		return;
	s->done = true;
}

/* ---- telling ---- */

static enum pool_phase
phase_now(const struct supervisor *s)
{
	if (s->stop.wanted)
		return child_alive(&s->flusher) || workers_alive(s) > 0 ||
		               s->stop.exit
		           ? POOL_DRAINING
		           : POOL_DRAINED;
	switch (s->health) {
	case HEALTH_STARTING:
		return s->degraded.is ? POOL_DEGRADED : POOL_STARTING;
	case HEALTH_DATABASE_AWAY:
		return POOL_DATABASE_AWAY;
	case HEALTH_WORKING:
	case HEALTH_DRAINING:
		break;
	}
	if (s->degraded.is)
		return POOL_DEGRADED;
	/* Once it ran, a moment without workers is not a new start. */
	return workers_ready(s) > 0 || s->phase == POOL_RUNNING ||
	               s->phase == POOL_DEGRADED
	           ? POOL_RUNNING
	           : POOL_STARTING;
}

static void
reconcile_tell(struct supervisor *s)
{
	char status[sizeof(s->told_status)];
	enum pool_phase phase;

	workers_tell(s);
	phase = phase_now(s);
	if (phase != s->phase) {
		log_info("pool %s -> %s", pool_phase_name(s->phase),
		         pool_phase_name(phase));
		s->phase = phase;
		s->phase_wall_us = clock_wall_us();
	}
	if (!s->told_ready && s->health == HEALTH_WORKING &&
	    workers_ready(s) > 0 && !s->stop.wanted) {
		s->told_ready = true;
		notify_send(&s->notify, "READY=1");
	}
	snprintf(status, sizeof(status), "%s, %u of %u workers ready",
	         pool_phase_name(phase), workers_ready(s), workers_wanted(s));
	if (strcmp(status, s->told_status) != 0) {
		memcpy(s->told_status, status, sizeof(status));
		notify_send(&s->notify, "STATUS=%s", status);
	}
}

static void
reconcile_wake(struct supervisor *s, uint64_t now_us, uint64_t wake_us)
{
	struct timeval tv;

	if (wake_us == UINT64_MAX) {
		event_del(s->wake);
		return;
	}
	wake_us = wake_us > now_us ? wake_us - now_us : 0;
	tv.tv_sec = (time_t)(wake_us / CLOCK_SECOND_US);
	tv.tv_usec = (suseconds_t)(wake_us % CLOCK_SECOND_US);
	event_add(s->wake, &tv);
}

void
reconcile(struct supervisor *s)
{
	uint64_t wake_us;
	uint64_t now;

	CHECK_OBJ(s, SUPERVISOR_MAGIC);
	/* What one step does may give another something to do. Each round
	 * needs a change, and every change is a step on somebody's way. */
	do {
		s->changed = false;
		wake_us = UINT64_MAX;
		now = clock_mono_us();
		if (s->dev != NULL && !s->stop.exit)
			dev_step(s->dev, now, &wake_us);
		reconcile_workers(s, now, &wake_us);
		reconcile_flusher(s, now, &wake_us);
		/* Behind the starts, which have deadlines too. */
		for (uint32_t i = 0; i < s->slots; i++)
			child_deadlines(&s->workers[i],
			                s->workers[i].group->config->hello_us,
			                now, &wake_us);
		child_deadlines(&s->flusher, FLUSHER_HELLO_US, now, &wake_us);
		if (s->stop.wanted)
			reconcile_stop(s, now, &wake_us);
	} while (s->changed && !s->done);
	reconcile_tell(s);
	reconcile_wake(s, now, wake_us);
}
