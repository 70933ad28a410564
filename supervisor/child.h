/*
 * child - one process of the pool: what it is, where in its life, and why it
 * ended.
 *
 * Runs in the supervisor. Makes no system calls, but for giving up a worker's
 * scoreboard when its life is over. A child is known by slot and
 * spawn number, never by pid alone. It has ended when it was reaped *and* its
 * socket was read to the end, in whichever order that happens.
 */
#ifndef SUPERVISOR_CHILD_H
#define SUPERVISOR_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "supervisor/group_policy.h"
#include "supervisor/rotation.h"

struct group;
struct link;
struct output;
struct scoreboard;
struct supervisor;

#define CHILD_MAGIC 0x4348494cU

enum child_kind {
	CHILD_WORKER,
	CHILD_FLUSHER,
	CHILD_POSTGRES, /* --dev: the private cluster */
	CHILD_HELPER,   /* --dev: initdb and the like, one at a time */
};

enum child_phase {
	CHILD_FREE,     /* no process */
	CHILD_STARTING, /* forked, has not said HELLO */
	CHILD_READY,
	CHILD_DRAINING, /* was told to finish */
	CHILD_KILLED,   /* was sent SIGKILL, or is known to be dead */
};

struct child {
	uint32_t magic;
	enum child_kind kind;
	enum child_phase phase;
	uint16_t slot;  /* place in the pool; 0 for all but workers */
	uint32_t spawn; /* which life of that slot; 0 before the first */
	uint32_t restarts;
	pid_t pid;           /* 0 once reaped */
	struct link *link;   /* NULL once read to its end */
	/* A worker's scoreboard, from before the fork until child_end(): the
	 * memfd for flushers to come, and our mapping. -1 and NULL: none. A
	 * flusher's: our end of the socket that hands those to it. */
	int board_fd;
	struct scoreboard *board;
	struct supervisor *supervisor;
	struct group *group; /* of a worker; NULL for others */

	uint64_t phase_since_us; /* mono */
	int64_t phase_wall_us;   /* the same moment, for people */
	uint64_t started_us;
	uint64_t kill_after_us; /* SIGKILL then; 0 for never */
	uint64_t link_until_us; /* a dead child's socket is given up then; or 0 */
	uint64_t drain_until_us; /* of a worker: SIGKILL then; 0 for never */
	uint64_t stopped_us;     /* since when it is stopped (SIGSTOP), or 0 */
	uint64_t actions; /* passed on to this life, by every flusher */
	bool member;    /* the slot belongs to the pool: see rotation.h */
	bool outdated;  /* shall be replaced: a rolling restart */
	bool blameless; /* what it runs did nothing wrong */
	uint64_t rss;   /* bytes, when last looked at */
	struct recycle_limits recycle; /* of this life */
	struct output *output; /* what it prints; NULL for all but workers */
	bool worked; /* proved itself; a flusher: reached its database */
	bool announced;         /* a worker the present flusher knows of */
	bool paused;            /* its socket is not read: back-pressure */
	uint64_t dispatched;    /* items that were passed on to this life */
	uint64_t asked;         /* the same, whatever flusher it was for */
	uint64_t answered;      /* items, or frames, that it sent back */
	int status;             /* as waitpid() gave it, once pid is 0 */
	bool wanted_dead;       /* we ended it, so its death is no failure */
	char kill_reason[128];  /* why we killed it, or "" */
	char last_exit[160];    /* how the previous life ended, or "" */
	struct buf hello;       /* payload of its HELLO, for the next flusher */
	struct backoff backoff;
};

const char *child_kind_name(enum child_kind kind);
const char *child_phase_name(enum child_phase phase);

void child_init(struct child *c, struct supervisor *s, enum child_kind kind,
                uint16_t slot);
void child_fini(struct child *c);

/* Every change of phase goes through here: checked, logged, timed. */
void child_set_phase(struct child *c, enum child_phase to, uint64_t now_us);

/* The next life has this scoreboard: takes both, or -1 and NULL. */
void child_set_board(struct child *c, int fd, struct scoreboard *board);

/* A new life begins: next spawn number, STARTING. */
void child_begin(struct child *c, pid_t pid, struct link *link,
                 uint64_t now_us);

/* FREE again. Keeps how it ended and says when the next life may begin. */
void child_end(struct child *c, const char *how, uint64_t now_us);

static inline bool
child_alive(const struct child *c)
{
	return c->phase != CHILD_FREE;
}

#endif
