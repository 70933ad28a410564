/*
 * child - phases of a process and the moves between them.
 */
#include "supervisor/child.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/scoreboard.h"

/*
 * A child can be reaped in any phase, so FREE is always allowed. A flusher
 * may be told to drain before its HELLO.
 */
static const uint8_t child_moves[] = {
	[CHILD_FREE] = BIT(CHILD_STARTING),
	[CHILD_STARTING] =
	    BIT(CHILD_READY) | BIT(CHILD_DRAINING) | BIT(CHILD_KILLED),
	[CHILD_READY] = BIT(CHILD_DRAINING) | BIT(CHILD_KILLED),
	[CHILD_DRAINING] = BIT(CHILD_KILLED),
	[CHILD_KILLED] = 0,
};

const char *
child_kind_name(enum child_kind kind)
{
	switch (kind) {
	case CHILD_WORKER:
		return "worker";
	case CHILD_FLUSHER:
		return "flusher";
	case CHILD_POSTGRES:
		return "postgres";
	case CHILD_HELPER:
		return "helper";
	}
	return "?";
}

const char *
child_phase_name(enum child_phase phase)
{
	switch (phase) {
	case CHILD_FREE:
		return "free";
	case CHILD_STARTING:
		return "starting";
	case CHILD_READY:
		return "ready";
	case CHILD_DRAINING:
		return "draining";
	case CHILD_KILLED:
		return "killed";
	}
	return "?";
}

void
child_init(struct child *c, struct supervisor *s, enum child_kind kind,
           uint16_t slot)
{
	memset(c, 0, sizeof(*c));
	c->magic = CHILD_MAGIC;
	c->kind = kind;
	c->slot = slot;
	c->supervisor = s;
	c->board_fd = -1;
	c->phase_since_us = clock_mono_us();
	c->phase_wall_us = clock_wall_us();
}

void
child_set_board(struct child *c, int fd, struct scoreboard *board)
{
	CHECK_OBJ(c, CHILD_MAGIC);
	scoreboard_unmap(&c->board);
	if (c->board_fd >= 0)
		close(c->board_fd);
	c->board_fd = fd;
	c->board = board;
}

void
child_fini(struct child *c)
{
	CHECK_OBJ(c, CHILD_MAGIC);
	child_set_board(c, -1, NULL);
	buf_fini(&c->hello);
	c->magic = 0;
}

void
child_set_phase(struct child *c, enum child_phase to, uint64_t now_us)
{
	CHECK_OBJ(c, CHILD_MAGIC);
	ASSERT(to == CHILD_FREE || (child_moves[c->phase] & BIT(to)));
	log_debug("child kind=%s slot=%u spawn=%u pid=%d %s -> %s",
	          child_kind_name(c->kind), c->slot, c->spawn, (int)c->pid,
	          child_phase_name(c->phase), child_phase_name(to));
	c->phase = to;
	c->phase_since_us = now_us;
	c->phase_wall_us = clock_wall_us();
}

void
child_begin(struct child *c, pid_t pid, struct link *link, uint64_t now_us)
{
	CHECK_OBJ(c, CHILD_MAGIC);
	ASSERT(c->phase == CHILD_FREE && pid > 0);
	/* The spawn number was given out before the fork: it is in the
	 * child's environment. */
	ASSERT(c->spawn > 0);
	c->pid = pid;
	c->link = link;
	c->started_us = now_us;
	c->kill_after_us = 0;
	c->link_until_us = 0;
	c->drain_until_us = 0;
	c->stopped_us = 0;
	c->outdated = false;
	c->blameless = false;
	c->rss = 0;
	c->actions = 0;
	c->worked = false;
	c->announced = false;
	c->paused = false;
	c->dispatched = 0;
	c->asked = 0;
	c->answered = 0;
	c->status = 0;
	c->wanted_dead = false;
	c->kill_reason[0] = '\0';
	child_set_phase(c, CHILD_STARTING, now_us);
}

void
child_end(struct child *c, const char *how, uint64_t now_us)
{
	CHECK_OBJ(c, CHILD_MAGIC);
	ASSERT(c->pid == 0 && c->link == NULL);
	snprintf(c->last_exit, sizeof(c->last_exit), "%s", how);
	backoff_death(&c->backoff, now_us - c->started_us, c->worked,
	              c->wanted_dead, now_us);
	buf_fini(&c->hello);
	child_set_board(c, -1, NULL);
	c->announced = false;
	c->paused = false;
	c->restarts++;
	child_set_phase(c, CHILD_FREE, now_us);
}
