/*
 * flusher - what the parts of the flusher process share.
 *
 * The flusher owns the engine state and every database session of a pool.
 * The way of a completion through its files: flusher_main.c gets the frame,
 * dispatch.c finds what was dispatched, batch.c applies it to the instance
 * and writes the journal entry, commit.c makes it durable, and only then
 * dispatch.c sends what became ready. claim.c brings instances in, keeper.c
 * holds the lease.
 *
 * One thread, one loop; nothing blocks. Every part is reached through the
 * one struct flusher and is created and destroyed by flusher_main.c.
 */
#ifndef FLUSHER_FLUSHER_H
#define FLUSHER_FLUSHER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/link.h"
#include "common/uuid.h"
#include "flusher/ack.h"
#include "flusher/histogram.h"
#include "flusher/server_clock.h"

struct adopt;
struct batch;
struct boards;
struct claim;
struct commit;
struct dispatch;
struct groups;
struct keeper;
struct leases;
struct mark;
struct progress_table;
struct sessions;
struct timers;
struct versions;

/* Exit codes that the supervisor acts on. */
#define EXIT_FENCED 75
#define EXIT_CONFIG 78

enum flusher_phase {
	FLUSHER_STARTING, /* no pool row yet */
	FLUSHER_WORKING,
	FLUSHER_DRAINING, /* no claim, no dispatch; what runs may end */
	FLUSHER_LEAVING,  /* handing the leases back */
};

/* What is counted since the start; times are sums in microseconds. The
 * names that the project's starting notes use stand in status.c. */
struct counters {
	uint64_t completions;
	uint64_t completions_late;
	uint64_t adopted; /* of an earlier flusher: completions and flights */
	uint64_t dispatched;
	uint64_t recalled; /* given to another worker */
	uint64_t workers_lost;
	uint64_t timeouts; /* of HeartbeatSeconds, too */
	uint64_t cancelled; /* CANCELs */
	uint64_t heartbeats;
	uint64_t heartbeats_stray; /* of nothing that its sender holds */
	uint64_t claims;
	uint64_t claim_us;
	uint64_t claimed;
	uint64_t recovered;
	uint64_t commits;
	uint64_t commit_us;
	uint64_t commits_refused;
	uint64_t commits_unknown;
	uint64_t rows;
	uint64_t entries;
	uint64_t ended;
	uint64_t apply_us;
	uint64_t dispatch_calls;
	uint64_t dispatch_us;
	uint64_t takeovers;
	uint64_t parked;
	struct histogram commit_us_of;
	struct histogram commit_entries_of;
	struct histogram claim_us_of;
	struct histogram action_us_of; /* from dispatch to completion */
};

struct flusher {
	struct event_base *base;
	struct config config;
	struct uuid incarnation;
	enum flusher_phase phase;
	struct link *link;
	struct leases *leases;
	struct sessions *sessions;
	struct versions *versions;
	struct timers *timers;
	struct boards *boards;
	struct groups *groups;
	struct dispatch *dispatch;
	struct ack ack;
	struct adopt *adopt;
	struct mark *mark;
	struct uuid blamed; /* an earlier flusher died of it, when is_blamed */
	bool is_blamed;
	struct commit *commit;
	struct claim *claim;
	struct keeper *keeper;
	struct progress_table *progress;
	struct counters counters;
	struct server_clock clock; /* PostgreSQL's */
	uint64_t ticked_us; /* when the supervisor last showed that it turns */
	bool wants_turn_end;
	bool worked_once; /* all sessions stood at some time */
};

/* PostgreSQL's time as far as we know it, since 1970. */
int64_t flusher_now_us(const struct flusher *f);

/* The pool row stands: sessions may open, work may begin. */
void flusher_registered(struct flusher *f);
/* Another pool took over, or something else makes going on wrong: ends the
 * process with that code, writing nothing more. */
_Noreturn void flusher_exit(struct flusher *f, int code, const char *why);
/* Called by parts when something may let a drain go on. */
void flusher_drain_step(struct flusher *f);
/* Asks for the end of the turn: frames sent, a batch committed. */
void flusher_turn_wanted(struct flusher *f);

#endif
