/*
 * supervisor - see supervisor.h.
 */
#include "tests/simulation/supervisor.h"

#include <unistd.h>

#include "tests/simulation/supervisor_parts.h"

struct scoreboard *__wrap_boards_take(struct boards *b, uint16_t slot,
                                      uint32_t spawn);
static void worker_next(struct worker *w);
static void worker_start(void *arg, uint64_t number);

/* ---- workers ---- */

static void
worker_announce(struct worker *w)
{
	struct buf payload = BUF_EMPTY;
	uint32_t before = w->dispatched;

	if (!w->ready || !w->supervisor->greeted)
		return;
	w->announced = true;
	w->relayed = 0;
	value_pack_map(&payload, 4);
	value_pack_text(&payload, "scoreboard");
	value_pack_bool(&payload, w->claims);
	value_pack_text(&payload, "recall");
	value_pack_bool(&payload, w->recalls);
	value_pack_text(&payload, "window");
	value_pack_uint(&payload, w->window);
	value_pack_text(&payload, "actions");
	value_pack_array(&payload, 4);
	value_pack_text(&payload, "add");
	value_pack_text(&payload, "flaky");
	value_pack_text(&payload, "slow");
	value_pack_text(&payload, "x");
	tell(w->supervisor, FRAME_HELLO, w, before, buf_slice(&payload));
	buf_fini(&payload);
}

static void
worker_hello(void *arg, uint64_t spawn)
{
	struct worker *w = arg;

	if (!w->alive || w->spawn != spawn)
		return;
	w->ready = true;
	worker_announce(w);
}

static void
worker_start(void *arg, uint64_t number)
{
	struct worker *w = arg;

	(void)number;
	if (w->alive || w->supervisor->pool->retired)
		return;
	w->spawn++;
	w->announced = false;
	w->claims = dice(4) > 0;
	w->recalls = !w->claims && dice(2) > 0;
	w->window = 1 + dice(8);
	w->board_fd = scoreboard_make();
	ASSERT(w->board_fd >= 0);
	w->board = scoreboard_map(w->board_fd);
	ASSERT(w->board != NULL);
	w->alive = true;
	w->ready = false;
	w->busy = false;
	w->relayed = 0;
	w->dispatched = 0;
	TAILQ_INIT(&w->items);
	w->answers = (struct buf)BUF_EMPTY;
	w->answer_count = 0;
	world_after(delay_us(30000), worker_hello, w, w->spawn);
}

static void
kept_tell(struct supervisor *s, const struct kept *k)
{
	struct worker from = { .slot = k->frame.slot,
		               .spawn = k->frame.spawn };

	tell(s, FRAME_COMPLETION, &from, k->frame.count, k->frame.payload);
}

static void
completion_keep(struct worker *w, struct slice payload)
{
	struct supervisor *s = w->supervisor;
	struct kept *k = keep_alloc(sizeof(*k));

	k->known = true;
	k->frame = (struct frame){ .type = FRAME_COMPLETION,
		                   .slot = w->slot,
		                   .spawn = w->spawn,
		                   .count = w->answer_count };
	k->frame.payload = (struct slice){ keep_copy(payload.data,
		                                     payload.len),
		                           payload.len };
	TAILQ_INSERT_TAIL(&s->kept, k, entry);
	s->kept_count++;
	if (s->greeted)
		kept_tell(s, k);
}

static void
worker_answer(struct worker *w)
{
	struct buf payload = BUF_EMPTY;

	if (w->answer_count == 0)
		return;
	value_pack_array(&payload, w->answer_count);
	value_pack_raw(&payload, buf_slice(&w->answers));
	completion_keep(w, buf_slice(&payload));
	buf_fini(&payload);
	buf_fini(&w->answers);
	w->answer_count = 0;
}

/* Others may still look at its scoreboard. */
static void
worker_gone(struct worker *w)
{
	if (w->alive) {
		scoreboard_unmap(&w->board);
		close(w->board_fd);
	}
	w->alive = false;
	w->ready = false;
	buf_fini(&w->answers);
	w->answer_count = 0;
}

static void
worker_dies(struct worker *w, const char *reason)
{
	struct buf payload = BUF_EMPTY;

	if (!w->alive)
		return;
	note("worker dies", w->slot, w->spawn);
	/* What it wrote before it died is read; what it had not yet, is
	 * lost. */
	if (dice(2) == 0)
		worker_answer(w);
	worker_gone(w);
	value_pack_map(&payload, 1);
	value_pack_text(&payload, "reason");
	value_pack_text(&payload, reason);
	if (w->announced)
		tell(w->supervisor, FRAME_GONE, w, w->relayed,
		     buf_slice(&payload));
	buf_fini(&payload);
	world_after(delay_us(100000), worker_start, w, 0);
}

static void
answer_pack(struct worker *w, const struct held *i, uint64_t token,
            const struct work_result *r)
{
	struct buf *b = &w->answers;

	value_pack_array(b, r->pending ? 6 : r->error == NULL ? 7 : 8);
	value_pack_uint(b, token);
	value_pack_bin(b, i->id.bytes, 16);
	value_pack_uint(b, i->activation);
	value_pack_uint(b, i->attempt);
	value_pack_uint(b, r->pending ? 3 : r->error != NULL);
	value_pack_uint(b, r->run_us);
	if (r->pending) {
		; /* nothing more */
	} else if (r->error == NULL) {
		value_pack_raw(b, buf_slice(&r->value));
	} else {
		value_pack_text(b, r->error);
		value_pack_text(b, "because");
	}
	w->answer_count++;
}

static void
worker_done(void *arg, uint64_t spawn)
{
	struct worker *w = arg;
	struct held *i = TAILQ_FIRST(&w->items);
	struct work_result result;

	if (!w->alive || w->spawn != spawn)
		return;
	w->busy = false;
	work_run(i->action, i->attempt, i->input, &result);
	TAILQ_REMOVE(&w->items, i, entry);
	if (i->place != SCOREBOARD_NO_PLACE && w->claims)
		scoreboard_done(w->board, i->place, i->token);
	answer_pack(w, i, i->token, &result);
	if (world.faulty && permille(10)) /* once more */
		answer_pack(w, i, i->token, &result);
	if (world.faulty && permille(10)) /* of something long ago */
		answer_pack(w, i, i->token - dice(50), &result);
	buf_fini(&result.value);
	if (TAILQ_EMPTY(&w->items) || dice(3) > 0)
		worker_answer(w);
	if (world.faulty && permille(5))
		worker_dies(w, "killed by signal 11");
	else
		worker_next(w);
}

/* While it runs, and of something that it does not run, too. */
static void
worker_beat(void *arg, uint64_t spawn)
{
	struct worker *w = arg;
	const struct held *i = TAILQ_FIRST(&w->items);
	struct buf payload = BUF_EMPTY;

	if (!w->alive || w->spawn != spawn || !w->busy || !w->beats ||
	    i->heartbeat_us == 0)
		return;
	value_pack_array(&payload, 1);
	value_pack_array(&payload, 2);
	value_pack_uint(&payload, permille(950) ? i->token : i->token - 1);
	if (dice(3) > 0)
		value_pack_uint(&payload, dice(100));
	else
		value_pack_null(&payload);
	if (w->announced)
		tell(w->supervisor, FRAME_HEARTBEAT, w, 1, buf_slice(&payload));
	buf_fini(&payload);
	world_after(i->heartbeat_us / 2, worker_beat, w, spawn);
}

static void
worker_next(struct worker *w)
{
	struct held *i;
	struct work_result probe;

	if (w->busy)
		return;
	/* What was recalled is skipped without a word. */
	while ((i = TAILQ_FIRST(&w->items)) != NULL && w->claims &&
	       i->place != SCOREBOARD_NO_PLACE &&
	       !scoreboard_claim(w->board, i->place, i->token, world.now_us))
		TAILQ_REMOVE(&w->items, i, entry);
	if (i == NULL) {
		worker_answer(w);
		return;
	}
	w->busy = true;
	/* Only for how long it takes. */
	work_run(i->action, i->attempt, i->input, &probe);
	if (probe.run_us > LONG_US)
		worker_answer(w);
	world_after(probe.run_us, worker_done, w, w->spawn);
	/* One that says nothing fails, some time. */
	w->beats = i->heartbeat_us > 0 && dice(4) > 0;
	if (w->beats)
		worker_beat(w, w->spawn);
	buf_fini(&probe.value);
}

/* ---- from the flusher ---- */

static void
dispatched(struct worker *w, const struct frame *f)
{
	struct cursor c = cursor_of(f->payload);
	uint32_t count, parts;

	ASSERT(cursor_array(&c, &count) == 0);
	while (count-- > 0) {
		struct held *i = keep_alloc(sizeof(*i));
		uint64_t activation, attempt, timeout, place;
		struct slice id;

		ASSERT(cursor_array(&c, &parts) == 0 &&
		       cursor_uint(&c, &i->token) == 0 &&
		       cursor_bytes(&c, &id) == 0 && id.len == 16 &&
		       cursor_uint(&c, &activation) == 0 &&
		       cursor_uint(&c, &attempt) == 0 &&
		       cursor_bytes(&c, &i->action) == 0 &&
		       cursor_uint(&c, &timeout) == 0 &&
		       cursor_uint(&c, &place) == 0);
		ASSERT(parts == 8 || parts == 9);
		i->place = (uint32_t)place;
		i->input = cursor_value(&c);
		ASSERT(parts == 8 || cursor_uint(&c, &i->heartbeat_us) == 0);
		memcpy(i->id.bytes, id.data, 16);
		i->activation = (uint32_t)activation;
		i->attempt = (uint32_t)attempt;
		TAILQ_INSERT_TAIL(&w->items, i, entry);
		w->relayed++;
		w->dispatched++;
	}
	worker_next(w);
}

/* What it has not begun goes back. */
static void
recalled(struct worker *w, const struct frame *f)
{
	struct cursor c = cursor_of(f->payload);
	uint32_t count;

	ASSERT(w->recalls && cursor_array(&c, &count) == 0);
	while (count-- > 0) {
		struct held *i;
		uint64_t token;

		ASSERT(cursor_uint(&c, &token) == 0);
		TAILQ_FOREACH (i, &w->items, entry)
			if (i->token == token)
				break;
		if (i == NULL || (w->busy && i == TAILQ_FIRST(&w->items)))
			continue;
		TAILQ_REMOVE(&w->items, i, entry);
		value_pack_array(&w->answers, 6);
		value_pack_uint(&w->answers, token);
		value_pack_bin(&w->answers, i->id.bytes, 16);
		value_pack_uint(&w->answers, i->activation);
		value_pack_uint(&w->answers, i->attempt);
		value_pack_uint(&w->answers, NOT_BEGUN);
		value_pack_uint(&w->answers, 0);
		w->answer_count++;
	}
	worker_answer(w);
}

static void
tick(void *arg, uint64_t life)
{
	struct supervisor *s = arg;

	if (s->life != life)
		return;
	if (world.now_us >= s->hangs_until_us)
		tell(s, FRAME_TICK, NULL, 0, SLICE_LITERAL("\xc0"));
	world_after(CLOCK_SECOND_US, tick, s, life);
}

/* What its predecessor did not finish comes before any worker. */
static void
flusher_hello(struct supervisor *s)
{
	struct buf payload = BUF_EMPTY;
	const struct kept *k;
	uint32_t ready = 0;

	for (uint32_t i = 0; i < s->worker_count; i++)
		ready += s->workers[i].alive && s->workers[i].ready;
	value_pack_map(&payload, 2);
	value_pack_text(&payload, "frames");
	value_pack_uint(&payload, s->kept_count);
	value_pack_text(&payload, "workers");
	value_pack_uint(&payload, ready);
	tell(s, FRAME_KEPT, NULL, 0, buf_slice(&payload));
	buf_fini(&payload);
	TAILQ_FOREACH (k, &s->kept, entry)
		kept_tell(s, k);
	s->greeted = true;
	tick(s, s->life);
	for (uint32_t i = 0; i < s->worker_count; i++)
		worker_announce(&s->workers[i]);
}

static void
acked(struct supervisor *s, uint32_t frames)
{
	struct kept *k;

	for (; frames > 0; frames--) {
		k = TAILQ_FIRST(&s->kept);
		if (k == NULL)
			violated("an ACK of what was not sent");
		if (k == s->acked)
			s->acked = NULL;
		TAILQ_REMOVE(&s->kept, k, entry);
		s->kept_count--;
	}
}

void
ack_check(const struct process *p, struct supervisor *s, uint32_t frames)
{
	for (; frames > 0; frames--) {
		struct cursor c;
		uint32_t count, parts;

		s->acked = s->acked == NULL ? TAILQ_FIRST(&s->kept) :
		                              TAILQ_NEXT(s->acked, entry);
		if (s->acked == NULL)
			violated("an ACK of what was not sent");
		c = cursor_of(s->acked->frame.payload);
		ASSERT(cursor_array(&c, &count) == 0);
		while (count-- > 0) {
			uint64_t token, activation, attempt, status;
			struct slice id;
			struct uuid instance;

			ASSERT(cursor_array(&c, &parts) == 0 &&
			       cursor_uint(&c, &token) == 0 &&
			       cursor_bytes(&c, &id) == 0 &&
			       cursor_uint(&c, &activation) == 0 &&
			       cursor_uint(&c, &attempt) == 0 &&
			       cursor_uint(&c, &status) == 0);
			for (uint32_t i = 5; i < parts; i++)
				(void)cursor_value(&c);
			if (status == NOT_BEGUN)
				continue;
			memcpy(instance.bytes, id.data, 16);
			check_settled(p, &instance, (uint32_t)activation,
			              (uint32_t)attempt, s->acked->known);
		}
	}
}

void
frame_from_flusher(struct supervisor *s, const struct frame *f)
{
	struct worker *w = f->slot < s->worker_count ? &s->workers[f->slot] :
	                                               NULL;
	bool there = w != NULL && w->alive && w->spawn == f->spawn;

	switch (f->type) {
	case FRAME_DISPATCH:
		if (there)
			dispatched(w, f);
		else
			tell(s, FRAME_UNDELIVERABLE, NULL, f->count,
			     f->payload);
		break;
	case FRAME_KILL:
		if (there)
			worker_dies(w, "killed by signal 9");
		break;
	case FRAME_HELLO:
		flusher_hello(s);
		break;
	case FRAME_ACK:
		acked(s, f->count);
		break;
	case FRAME_STATUS:
	case FRAME_TICK:
	case FRAME_CANCEL: /* its workers ignore it, and are killed then */
		break;
	case FRAME_RECALL:
		if (there)
			recalled(w, f);
		break;
	case FRAME_HEARTBEAT:
	case FRAME_COMPLETION:
	case FRAME_UNDELIVERABLE:
	case FRAME_GONE:
	case FRAME_DRAIN:
	case FRAME_KEPT:
	case FRAME_REQUEST:
	case FRAME_REPLY:
		violated("a flusher sends a %s frame",
		         frame_type_name(f->type));
	}
}

/* ---- life ---- */

static void
flusher_start(void *arg, uint64_t number)
{
	struct supervisor *s = arg;

	(void)number;
	if (s->pool->retired || s->pool->flusher != NULL)
		return;
	s->draining = false;
	s->life++;
	process_start(s->pool);
}

/* A supervisor that hangs starts nothing. */
static void
flusher_later(struct supervisor *s)
{
	uint64_t at_us = world.now_us < s->hangs_until_us ?
	    s->hangs_until_us :
	    world.now_us;

	world_at(at_us + delay_us(300000), flusher_start, s, 0);
}

void
supervisor_start(struct pool *pool)
{
	struct supervisor *s = keep_alloc(sizeof(*s));

	s->pool = pool;
	pool->supervisor = s;
	s->worker_count = 1 + dice(SLOTS_A_POOL);
	for (uint32_t i = 0; i < s->worker_count; i++) {
		s->workers[i].supervisor = s;
		s->workers[i].slot = (uint16_t)i;
		world_after(delay_us(400000), worker_start, &s->workers[i],
		            0);
	}
	TAILQ_INIT(&s->kept);
	world_after(dice(500000), flusher_start, s, 0);
}

static void
workers_end(struct supervisor *s)
{
	for (uint32_t n = 0; n < s->worker_count; n++)
		worker_gone(&s->workers[n]);
}

void
supervisors_end(void)
{
	for (uint32_t i = 0; i < world.pool_count; i++)
		workers_end(world.pools[i].supervisor);
}

/* In place of the board socket, by the linker's --wrap. */
struct scoreboard *
__wrap_boards_take(struct boards *b, uint16_t slot, uint32_t spawn)
{
	const struct pool *pool = process_pool(process_current());
	const struct worker *w = &pool->supervisor->workers[slot];

	(void)b;
	if (!w->alive || w->spawn != spawn)
		return NULL;
	return scoreboard_map(w->board_fd);
}

void
supervisors_reap(void)
{
	for (uint32_t i = 0; i < world.pool_count; i++) {
		struct pool *pool = &world.pools[i];
		struct supervisor *s = pool->supervisor;
		int code;

		if (pool->flusher == NULL ||
		    !process_ended(pool->flusher, &code))
			continue;
		if (code != 0 && code != 137 && code != EXIT_FENCED)
			violated("a flusher ends with code %d", code);
		note("flusher ended", i, (uint64_t)code);
		process_free(&pool->flusher);
		s->link = NULL;
		s->life++;
		s->greeted = false;
		s->acked = NULL;
		for (uint32_t n = 0; n < s->worker_count; n++)
			s->workers[n].announced = false;
		if (pool->retired)
			workers_end(s);
		if (!pool->retired)
			flusher_later(s);
	}
}

/* ---- faults ---- */

void
supervisor_kill_worker(struct pool *pool)
{
	struct supervisor *s = pool->supervisor;

	worker_dies(&s->workers[dice(s->worker_count)], "killed by signal 6");
}

void
supervisor_hang(struct pool *pool, uint64_t us)
{
	note("supervisor hangs", pool->no, us);
	/* What a flusher said meanwhile comes when it turns again: it does not
	 * turn sooner, or the next flusher would come before that. */
	if (pool->supervisor->hangs_until_us < world.now_us + us)
		pool->supervisor->hangs_until_us = world.now_us + us;
}

void
supervisor_restart(struct pool *pool)
{
	struct supervisor *s = pool->supervisor;

	note("daemon restarts", pool->no, s->kept_count);
	for (uint32_t i = 0; i < s->worker_count; i++) {
		s->workers[i].announced = false;
		worker_dies(&s->workers[i], "the daemon is gone");
	}
	/* Stopped, it leaves a spool; killed, it does not. */
	if (dice(2) == 0) {
		TAILQ_INIT(&s->kept);
		s->kept_count = 0;
	}
	s->acked = NULL;
	s->daemons++;
	s->hangs_until_us = 0;
	s->from_flusher_us = 0;
	s->to_flusher_us = 0;
	if (pool->flusher != NULL)
		process_kill(pool->flusher);
}

void
supervisor_drain(struct pool *pool)
{
	struct supervisor *s = pool->supervisor;
	struct buf payload = BUF_EMPTY;

	if (pool->flusher == NULL || s->draining)
		return;
	note("drain", pool->no, 0);
	s->draining = true;
	value_pack_map(&payload, 1);
	value_pack_text(&payload, "grace_us");
	value_pack_uint(&payload, dice((uint32_t)GRACE_US));
	tell(s, FRAME_DRAIN, NULL, 0, buf_slice(&payload));
	buf_fini(&payload);
}
