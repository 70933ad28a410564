/*
 * supervisor_parts - what supervisor.c (daemon and workers) and wire.c (the
 * socket between it and the flusher) share.
 */
#ifndef TESTS_SIMULATION_SUPERVISOR_PARTS_H
#define TESTS_SIMULATION_SUPERVISOR_PARTS_H

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/link.h"
#include "common/scoreboard.h"
#include "common/value.h"
#include "flusher/board.h"
#include "flusher/flusher.h"
#include "tests/simulation/check.h"
#include "tests/simulation/process.h"
#include "tests/simulation/supervisor.h"
#include "tests/simulation/work.h"

#define HOP_US 60U
#define LONG_US 5000U /* an answer does not wait that long for the next */
#define NOT_BEGUN 2U   /* the status of an answer that gives back */
#define GRACE_US (3 * CLOCK_SECOND_US)

/* A frame on its way, in either direction. */
struct letter {
	TAILQ_ENTRY(letter) entry;
	struct link *link; /* to the flusher */
	struct pool *pool; /* from it */
	struct frame frame;
};

/* The flusher's end; freed by it. */
struct link {
	const struct link_ops *ops;
	void *arg;
	struct process *process;
	struct event *send_event;
	struct event *read_event;
	struct buf out;
	TAILQ_HEAD(, letter) inbox;
};

struct held {
	TAILQ_ENTRY(held) entry;
	uint64_t token;
	uint32_t place;
	struct uuid id;
	uint32_t activation;
	uint32_t attempt;
	struct slice action;
	struct slice input;
	uint64_t heartbeat_us; /* 0: it need not say that it lives */
};

/* A completion until it is acknowledged. */
struct kept {
	TAILQ_ENTRY(kept) entry;
	bool known; /* in a scoreboard */
	struct frame frame;
};

struct worker {
	struct supervisor *supervisor;
	uint16_t slot;
	uint32_t spawn;
	bool alive;
	bool ready;
	bool busy;
	uint32_t window;
	bool claims;      /* places of its scoreboard */
	bool recalls;     /* answers RECALL */
	int board_fd;
	struct scoreboard *board;
	bool announced;   /* to the flusher that lives */
	uint32_t relayed; /* items passed on to this spawn since then */
	uint32_t dispatched; /* and in all */
	bool beats;       /* what runs says that it lives */
	TAILQ_HEAD(, held) items;
	/* Answers that wait to go together. */
	struct buf answers;
	uint32_t answer_count;
};

struct supervisor {
	struct pool *pool;
	struct link *link; /* of the flusher that lives */
	uint64_t life;    /* of the flusher */
	uint64_t daemons; /* that are gone */
	uint64_t to_flusher_us;
	uint64_t from_flusher_us;
	uint64_t hangs_until_us;
	bool draining;
	bool greeted; /* it has said HELLO */
	TAILQ_HEAD(, kept) kept;
	uint32_t kept_count;
	struct kept *acked; /* the last that the flusher is done with */
	struct worker workers[SLOTS_A_POOL];
	uint32_t worker_count;
};

/* To the flusher; w is who it is about, or NULL. The payload is copied. */
void tell(struct supervisor *s, enum frame_type type, const struct worker *w,
          uint32_t count, struct slice payload);
/* A frame of the flusher arrives. */
void frame_from_flusher(struct supervisor *s, const struct frame *f);
/* An ACK leaves the flusher: every completion of it is done with. */
void ack_check(const struct process *p, struct supervisor *s, uint32_t frames);

#endif
