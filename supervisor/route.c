/*
 * route - who may say what, and where it goes.
 */
#include "supervisor/route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/board_socket.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/link.h"
#include "common/log.h"
#include "common/value.h"
#include "supervisor/supervisor.h"

/* ---- to the flusher ---- */

static void
route_to_flusher(struct supervisor *s, enum frame_type type,
                 const struct child *worker, uint32_t count,
                 struct slice payload)
{
	if (s->flusher.link == NULL)
		return;
	frame_add(link_out(s->flusher.link), type, worker->slot, worker->spawn,
	          count, payload);
	link_send(s->flusher.link);
}

/* Before the HELLO: a flusher that reads that one has the board, or takes the
 * worker for one without. */
static void
route_hand_board(struct supervisor *s, const struct child *worker)
{
	int rc;

	if (worker->board_fd < 0 || s->flusher.board_fd < 0)
		return;
	rc = board_send(s->flusher.board_fd, worker->slot, worker->spawn,
	                worker->board_fd);
	if (rc < 0)
		log_warning("worker slot=%u: its scoreboard does not reach "
		            "the flusher: %s",
		            worker->slot, strerror(-rc));
}

/* It has said HELLO and was not told to die. */
static bool
route_is_useful(const struct child *worker)
{
	return worker->phase == CHILD_READY || worker->phase == CHILD_DRAINING;
}

/* The present flusher hears of a worker: its scoreboard, its HELLO. */
static void
route_announce(struct child *worker)
{
	struct supervisor *s = worker->supervisor;
	uint32_t before;

	if (s->flusher.phase != CHILD_READY || worker->announced ||
	    !route_is_useful(worker))
		return;
	worker->announced = true;
	route_hand_board(s, worker);
	/* What earlier flushers had it run: this one counts from here. */
	before = worker->actions < UINT32_MAX ? (uint32_t)worker->actions
	                                      : UINT32_MAX;
	worker->dispatched = 0;
	route_to_flusher(s, FRAME_HELLO, worker, before,
	                 buf_slice(&worker->hello));
}

void
route_gone(struct child *worker, const char *reason)
{
	struct buf payload = BUF_EMPTY;

	if (!worker->announced)
		return;
	worker->announced = false;
	value_pack_map(&payload, worker->blameless ? 2 : 1);
	value_pack_text(&payload, "reason");
	value_pack_text(&payload, reason);
	if (worker->blameless) {
		value_pack_text(&payload, "blameless");
		value_pack_bool(&payload, true);
	}
	/* Whatever is behind these never left us: nobody began it. */
	route_to_flusher(worker->supervisor, FRAME_GONE, worker,
	                 worker->dispatched < UINT32_MAX
	                     ? (uint32_t)worker->dispatched
	                     : UINT32_MAX,
	                 buf_slice(&payload));
	buf_fini(&payload);
}

void
route_retire(struct child *worker)
{
	struct buf payload = BUF_EMPTY;

	if (!worker->announced)
		return;
	value_pack_array(&payload, 0);
	route_to_flusher(worker->supervisor, FRAME_UNDELIVERABLE, worker, 0,
	                 buf_slice(&payload));
	buf_fini(&payload);
}

void
route_drain(struct child *c, uint64_t grace_us)
{
	struct buf payload = BUF_EMPTY;

	if (c->link == NULL)
		return;
	if (c->kind == CHILD_FLUSHER) {
		value_pack_map(&payload, 1);
		value_pack_text(&payload, "grace_us");
		value_pack_uint(&payload, grace_us);
	} else {
		value_pack_null(&payload);
	}
	frame_add(link_out(c->link), FRAME_DRAIN, c->slot, c->spawn, 0,
	          buf_slice(&payload));
	link_send(c->link);
	buf_fini(&payload);
}

void
route_tick(struct supervisor *s)
{
	struct child *f = &s->flusher;

	if (f->link == NULL || (f->phase != CHILD_READY &&
	                        f->phase != CHILD_DRAINING))
		return;
	frame_add(link_out(f->link), FRAME_TICK, 0, 0, 0,
	          SLICE_LITERAL("\xc0"));
	link_send(f->link);
}

/* ---- from a worker ---- */

static int
route_broken(struct child *c, const char *what)
{
	child_kill(c, false, "broke the protocol: %s", what);
	return -EPROTO;
}

static int
route_worker_hello(struct child *c, const struct frame *f)
{
	if (c->phase != CHILD_STARTING && c->phase != CHILD_KILLED)
		return route_broken(c, "HELLO twice");
	if (f->payload.len > ROUTE_HELLO_MAX)
		return route_broken(c, "HELLO is too long");
	if (c->phase == CHILD_KILLED)
		return 0;
	c->hello.len = 0;
	buf_add(&c->hello, f->payload.data, f->payload.len);
	child_set_phase(c, CHILD_READY, clock_mono_us());
	log_info("worker ready slot=%u spawn=%u pid=%d group=%s", c->slot,
	         c->spawn, (int)c->pid, c->group->config->name);
	route_announce(c);
	supervisor_changed(c->supervisor);
	return 0;
}

/* Kept until it is acknowledged; a flusher that is not there yet gets it
 * with the rest (route_kept). */
static void
route_completion(const struct child *c, const struct frame *f)
{
	struct supervisor *s = c->supervisor;
	struct slice encoded = keep_add(&s->keep, FRAME_COMPLETION, c->slot,
	                                c->spawn, f->count, f->payload);

	if (s->flusher.phase != CHILD_READY &&
	    s->flusher.phase != CHILD_DRAINING)
		return;
	if (s->flusher.link == NULL)
		return;
	buf_add(link_out(s->flusher.link), encoded.data, encoded.len);
	link_send(s->flusher.link);
}

/* A sign of life is worth nothing later: with the flusher away, or far
 * behind, it is dropped. */
static int
route_heartbeat(struct child *c, const struct frame *f)
{
	struct supervisor *s = c->supervisor;

	if (f->payload.len > ROUTE_HEARTBEAT_MAX)
		return route_broken(c, "HEARTBEAT is too long");
	if (c->announced && s->flusher.link != NULL &&
	    link_unsent(s->flusher.link) < ROUTE_HEARTBEATS_MAX)
		route_to_flusher(s, FRAME_HEARTBEAT, c, f->count, f->payload);
	return 0;
}

static int
route_worker_frame_cb(void *arg, const struct frame *f)
{
	struct child *c = arg;

	CHECK_OBJ(c, CHILD_MAGIC);
	if (f->slot != c->slot || f->spawn != c->spawn)
		return route_broken(c, "a frame in another worker's name");
	if (f->type == FRAME_HELLO)
		return route_worker_hello(c, f);
	if (f->type != FRAME_COMPLETION && f->type != FRAME_HEARTBEAT)
		return route_broken(c, frame_type_name(f->type));
	if (c->phase == CHILD_STARTING)
		return route_broken(c, f->type == FRAME_COMPLETION
		                           ? "COMPLETION before HELLO"
		                           : "HEARTBEAT before HELLO");
	if (f->type == FRAME_HEARTBEAT)
		return route_heartbeat(c, f);
	c->answered += f->count > 1 ? f->count : 1;
	if (c->answered > c->asked + ROUTE_EXCESS_MAX)
		return route_broken(c, "COMPLETIONs that nobody asked for");
	FAULT_POINT("route.completion");
	route_completion(c, f);
	FAULT_POINT("route.completion_kept");
	return 0;
}

void
route_frames_late(struct supervisor *s, uint64_t now_us)
{
	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];
		uint64_t since_us =
		    w->link != NULL ? link_partial_since_us(w->link) : 0;

		if (since_us != 0 && now_us > since_us + ROUTE_FRAME_US)
			child_kill(w, false,
			           "broke the protocol: a frame that began "
			           "does not end");
	}
}

/* ---- from the flusher ---- */

/* Which slots are whose, and what they may serve. */
static void
route_groups(const struct supervisor *s, struct buf *b)
{
	value_pack_text(b, "groups");
	value_pack_array(b, s->group_count);
	for (uint32_t i = 0; i < s->group_count; i++) {
		const struct group *g = &s->groups[i];
		const struct words *actions = &g->config->actions;

		value_pack_map(b, 4);
		value_pack_text(b, "name");
		value_pack_text(b, g->config->name);
		value_pack_text(b, "first");
		value_pack_uint(b, g->first);
		value_pack_text(b, "slots");
		value_pack_uint(b, g->slots);
		value_pack_text(b, "actions");
		if (actions->count == 0) {
			value_pack_null(b);
			continue;
		}
		value_pack_array(b, actions->count);
		for (uint32_t n = 0; n < actions->count; n++)
			value_pack_text(b, actions->items[n]);
	}
}

/* What its predecessor did not finish, to a new flusher, before it hears of
 * any worker. */
static void
route_kept(struct supervisor *s)
{
	struct slice all = keep_all(&s->keep);
	struct buf payload = BUF_EMPTY;
	uint32_t workers = 0;

	for (uint32_t i = 0; i < s->slots; i++)
		workers += route_is_useful(&s->workers[i]);
	value_pack_map(&payload, s->keep.spooled > 0 ? 4 : 3);
	value_pack_text(&payload, "frames");
	value_pack_uint(&payload, s->keep.frames);
	if (s->keep.spooled > 0) {
		value_pack_text(&payload, "spooled");
		value_pack_uint(&payload, s->keep.spooled);
	}
	value_pack_text(&payload, "workers");
	value_pack_uint(&payload, workers);
	route_groups(s, &payload);
	frame_add(link_out(s->flusher.link), FRAME_KEPT, 0, 0, 0,
	          buf_slice(&payload));
	buf_add(link_out(s->flusher.link), all.data, all.len);
	link_send(s->flusher.link);
	buf_fini(&payload);
	if (s->keep.frames > 0)
		log_info("flusher gets what was kept frames=%u bytes=%zu",
		         s->keep.frames, all.len);
}

static int
route_ack(struct child *c, const struct frame *f)
{
	struct supervisor *s = c->supervisor;
	uint32_t spooled = s->keep.spooled;

	if (keep_ack(&s->keep, f->count) < 0)
		return route_broken(c, "ACK of what it was not sent");
	if (spooled > 0 && s->keep.spooled == 0)
		spool_settled(&s->spool);
	return 0;
}

static int
route_flusher_hello(struct child *c)
{
	struct supervisor *s = c->supervisor;

	if (c->phase == CHILD_STARTING) {
		child_set_phase(c, CHILD_READY, clock_mono_us());
		log_info("flusher ready spawn=%u pid=%d", c->spawn,
		         (int)c->pid);
		route_kept(s);
		for (uint32_t i = 0; i < s->slots; i++) {
			route_announce(&s->workers[i]);
			/* It finishes what another flusher gave to it. */
			if (s->workers[i].phase == CHILD_DRAINING)
				route_retire(&s->workers[i]);
		}
		supervisor_changed(s);
	} else if (c->phase == CHILD_READY) {
		return route_broken(c, "HELLO twice");
	}
	return 0;
}

static struct child *
route_worker(struct supervisor *s, uint16_t slot, uint32_t spawn)
{
	struct child *w;

	if (slot >= s->slots)
		return NULL;
	w = &s->workers[slot];
	return w->spawn == spawn && child_alive(w) ? w : NULL;
}

static void
route_dispatch(struct supervisor *s, const struct frame *f)
{
	struct child *w = route_worker(s, f->slot, f->spawn);

	FAULT_POINT("route.dispatch");
	if (w != NULL && w->phase == CHILD_READY && w->link != NULL) {
		frame_add(link_out(w->link), FRAME_DISPATCH, f->slot, f->spawn,
		          f->count, f->payload);
		link_send(w->link);
		w->dispatched += f->count;
		/* The first proves it, the last of its number ends it. */
		if (w->actions == 0 ||
		    (w->recycle.actions != 0 &&
		     w->actions + f->count >= w->recycle.actions))
			supervisor_changed(s);
		w->actions += f->count;
		w->asked += f->count;
		return;
	}
	frame_add(link_out(s->flusher.link), FRAME_UNDELIVERABLE, f->slot,
	          f->spawn, f->count, f->payload);
	link_send(s->flusher.link);
}

/* CANCEL and RECALL: about what a worker was sent. One that is gone, or is
 * about to be, has nothing to cancel. */
static void
route_message(struct supervisor *s, const struct frame *f)
{
	struct child *w = route_worker(s, f->slot, f->spawn);

	if (w == NULL || w->link == NULL ||
	    (w->phase != CHILD_READY && w->phase != CHILD_DRAINING))
		return;
	frame_add(link_out(w->link), f->type, f->slot, f->spawn, f->count,
	          f->payload);
	link_send(w->link);
}

static void
route_kill(struct supervisor *s, const struct frame *f)
{
	struct child *w = route_worker(s, f->slot, f->spawn);
	struct slice reason = SLICE_LITERAL("at the flusher's request");
	uint64_t grace_us = 0;
	struct error err = { 0 };
	struct slice value;
	char why[120];

	if (w == NULL)
		return;
	if (value_check_frame(f->payload, 4, &err) == 0) {
		if (value_get(f->payload, SLICE_LITERAL("grace_us"), &value) &&
		    value_type(value) == VALUE_INT && value_item(value).i > 0)
			grace_us = (uint64_t)value_item(value).i;
		if (value_get(f->payload, SLICE_LITERAL("reason"), &value) &&
		    value_type(value) == VALUE_STR)
			reason = value_item(value).bytes;
	}
	snprintf(why, sizeof(why), "%.*s", (int)reason.len,
	         (const char *)reason.data);
	if (grace_us > 0)
		child_terminate(w, grace_us, why);
	else
		child_kill(w, true, "%s", why);
}

static void
route_status(struct supervisor *s, const struct frame *f)
{
	enum health health = (enum health)f->count;
	struct error err = { 0 };

	s->silent_ticks = 0;
	if (f->payload.len > ROUTE_STATUS_MAX ||
	    value_check_frame(f->payload, 40, &err) < 0) {
		/* It becomes a part of our own replies. */
		log_warning("flusher: its STATUS is not usable: %s",
		            err.message[0] != '\0' ? err.message : "too long");
	} else {
		s->status.len = 0;
		buf_add(&s->status, f->payload.data, f->payload.len);
	}
	if (f->count > HEALTH_DRAINING || health == s->health)
		return;
	s->health = health;
	if (health == HEALTH_DATABASE_AWAY)
		spool_prepare(&s->spool);
	else if (health == HEALTH_WORKING && !s->stop.wanted)
		spool_unprepare(&s->spool);
	if (health == HEALTH_WORKING) {
		s->flusher.worked = true;
		s->ever_worked = true;
	}
	supervisor_changed(s);
}

static int
route_flusher_frame_cb(void *arg, const struct frame *f)
{
	struct child *c = arg;
	struct supervisor *s;

	CHECK_OBJ(c, CHILD_MAGIC);
	s = c->supervisor;
	if (f->type == FRAME_HELLO)
		return route_flusher_hello(c);
	if (c->phase == CHILD_STARTING)
		return route_broken(c, "a frame before HELLO");
	switch (f->type) {
	case FRAME_DISPATCH:
		route_dispatch(s, f);
		return 0;
	case FRAME_CANCEL:
	case FRAME_RECALL:
		route_message(s, f);
		return 0;
	case FRAME_KILL:
		route_kill(s, f);
		return 0;
	case FRAME_STATUS:
		route_status(s, f);
		return 0;
	case FRAME_ACK:
		return route_ack(c, f);
	case FRAME_TICK:
		s->silent_ticks = 0;
		return 0;
	case FRAME_HELLO:
	case FRAME_COMPLETION:
	case FRAME_UNDELIVERABLE:
	case FRAME_GONE:
	case FRAME_DRAIN:
	case FRAME_KEPT:
	case FRAME_HEARTBEAT:
	case FRAME_REQUEST:
	case FRAME_REPLY:
		break;
	}
	return route_broken(c, frame_type_name(f->type));
}

/* ---- both ---- */

static void
route_gone_cb(void *arg, int reason, const struct error *err)
{
	struct child *c = arg;
	char text[512] = "";

	CHECK_OBJ(c, CHILD_MAGIC);
	/* Before it sees that its socket is closed, and leaves by itself. */
	if (reason == -EPROTO) {
		if (err != NULL)
			error_text(err, text, sizeof(text));
		child_kill(c, false, "broke the protocol: %s", text);
	}
	link_destroy(&c->link);
	if (reason != -EPROTO && c->pid != 0 && c->kill_after_us == 0) {
		/* Closing it is the last but one thing that an exit does. The
		 * flusher may have something to tidy up. */
		c->kill_after_us =
		    clock_mono_us() + (c->kind == CHILD_FLUSHER
		                           ? CLOCK_SECOND_US
		                           : 200 * CLOCK_MS_US);
	}
	child_maybe_ended(c);
	supervisor_changed(c->supervisor);
}

static void
route_turn_cb(void *arg)
{
	struct child *c = arg;

	CHECK_OBJ(c, CHILD_MAGIC);
	route_pressure(c->supervisor);
}

static const struct link_ops route_worker_ops = {
	.frame_cb = route_worker_frame_cb,
	.gone_cb = route_gone_cb,
	.turn_cb = route_turn_cb,
};

static const struct link_ops route_flusher_ops = {
	.frame_cb = route_flusher_frame_cb,
	.gone_cb = route_gone_cb,
	.turn_cb = route_turn_cb,
};

struct link *
route_link(struct child *c, int fd)
{
	bool flusher = c->kind == CHILD_FLUSHER;

	return link_create(c->supervisor->base, fd,
	                   flusher ? PEER_FLUSHER : PEER_WORKER,
	                   FRAME_BYTES_MAX,
	                   flusher ? &route_flusher_ops : &route_worker_ops,
	                   c);
}

/* ---- back-pressure ---- */

static void
route_set_paused(struct child *c, bool paused)
{
	if (c->link == NULL || c->paused == paused)
		return;
	c->paused = paused;
	if (paused)
		link_pause(c->link);
	else
		link_resume(c->link);
}

/* Above the limit: yes. Below half of it: no. Between: as before. */
static bool
route_over(size_t unsent, size_t limit, bool before)
{
	return unsent > limit || (before && unsent > limit / 2);
}

static void
route_stuck(struct supervisor *s, struct child *worst, size_t unsent,
            uint64_t now_us)
{
	if (s->pressed_since_us == 0 || unsent < s->pressed_unsent) {
		s->pressed_since_us = now_us;
		s->pressed_unsent = unsent;
	} else if (now_us - s->pressed_since_us >= ROUTE_STUCK_US &&
	           worst != NULL) {
		child_kill(worst, false, "did not read what waits for it");
		s->pressed_since_us = 0;
	}
}

void
route_pressure(struct supervisor *s)
{
	struct timeval soon = { 0, 2000 };
	struct child *worst = NULL;
	size_t total = 0, most = 0, unsent;
	bool pause_workers, pause_flusher, unsent_much;
	bool workers_paused = false;

	for (uint32_t i = 0; i < s->slots; i++) {
		struct child *w = &s->workers[i];

		workers_paused |= w->paused;
		if (w->link == NULL || w->phase == CHILD_KILLED)
			continue;
		unsent = link_unsent(w->link);
		total += unsent;
		if (unsent > most) {
			most = unsent;
			worst = w;
		}
	}
	unsent = s->flusher.link != NULL ? link_unsent(s->flusher.link) : 0;
	unsent_much = route_over(unsent, ROUTE_FLUSHER_MAX, workers_paused);
	pause_workers = unsent_much ||
	    route_over(keep_bytes(&s->keep), KEEP_BYTES_MAX, workers_paused);
	pause_flusher =
	    route_over(total, ROUTE_WORKERS_MAX, s->flusher.paused);
	if (pause_workers || workers_paused) {
		for (uint32_t i = 0; i < s->slots; i++)
			route_set_paused(&s->workers[i], pause_workers);
	}
	route_set_paused(&s->flusher, pause_flusher);
	if (pause_flusher)
		route_stuck(s, worst, total, clock_mono_us());
	else
		s->pressed_since_us = 0;
	/* A link does not say when it has sent; while something waits for
	 * that, look again soon. What is kept shrinks by an ACK, which is
	 * followed by a look. */
	s->pressed = unsent_much || pause_flusher;
	if (s->pressed)
		event_add(s->pressure, &soon);
}
