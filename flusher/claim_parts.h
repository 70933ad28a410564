/*
 * claim_parts - what claim.c, arrival.c, command.c and rebuild.c share. Nobody
 * else includes it.
 */
#ifndef FLUSHER_CLAIM_PARTS_H
#define FLUSHER_CLAIM_PARTS_H

#include <event2/event.h>
#include <libpq-fe.h>
#include <sys/queue.h>

#include "common/buf.h"
#include "flusher/claim.h"
#include "flusher/errand.h"
#include "flusher/params.h"
#include "flusher/queue_cursor.h"
#include "flusher/rebuild.h"

#define READ_MAX 16U /* journals in one round trip */
#define SHUNNED_MAX 256U

struct session;

/* A claimed instance on its way to a lease. */
struct arrival {
	TAILQ_ENTRY(arrival) entry;
	struct uuid id;
	int64_t version_id;
	int64_t started_at_us;
	struct buf input; /* JSON text */
	char *name;
	uint32_t lost; /* sessions, while its journal was read */
	bool has_journal;
	bool commanded; /* somebody asked for something before it is here */
	bool cancelled; /* and that was its end */
};

enum claim_source { FROM_QUEUE, FROM_DUE, FROM_COMMANDS, FROM_OWNED };

struct claim {
	struct flusher *flusher;
	struct session *session;
	struct params params;
	struct event *event; /* the next look */
	bool busy;           /* a call is in flight */
	bool stopped;
	char trouble[420];
	enum claim_source source; /* of the claim in flight */
	uint32_t asked;
	uint64_t asked_us;
	uint64_t queue_us; /* when the queue was last asked */
	struct queue_cursor cursor;
	uint32_t rung;     /* of the ladder, after an empty claim */
	bool idle;
	uint64_t next_us;       /* when the queue is looked at again */
	uint64_t house_us;      /* when due and commands are */
	uint64_t reconcile_us;  /* when owner = me is compared */
	/* Instances whose claim the server refuses, or that did not start when
	 * they were claimed: left alone for a while. The first are the
	 * oldest. */
	struct uuid shunned[SHUNNED_MAX];
	uint32_t shunned_count;
	uint64_t shunned_us;
	uint32_t narrow; /* so many are claimed at once, at most */
	bool woken; /* since the last claim from the queue was sent */
	bool commands_wanted;
	bool commands_more; /* of what nobody owns */
	int64_t commands_after; /* of ours, read up to that id; 0: none */
	bool due_wanted;
	bool reconcile_wanted;
	bool recovering; /* an earlier life's instances are being read */
	bool listed;     /* all of them are here or are arrivals */
	TAILQ_HEAD(arrivals, arrival) arrivals;
	uint32_t arriving;
	uint32_t reading;  /* of them, whose journals are on their way */
	uint32_t read_max; /* in one round trip */
	struct rebuilds rebuilds;
	struct errands errands;
	int errand_pid; /* the backend that the errand went to */
	int lost_pid; /* a backend that may still give something back */
	struct errand *errand; /* in flight */
	struct buf value;      /* scratch */
};

/* That one is not claimed for a while. */
void claim_shun(struct claim *c, const struct uuid *id);
/* Does the next thing; whoever ends a call calls it. */
void claim_step(struct claim *c);
/* Applies rows of sql_commands_read or sql_commands_of: what people want of
 * instances, or what they say of tasks. */
enum commands { COMMANDS_ALL, COMMANDS_CANCEL, COMMANDS_TASKS };
void commands_take(struct claim *c, const PGresult *r, enum commands which);
/* The id in the last of at least one row. */
int64_t commands_last(const PGresult *r);

/* Takes a row of a claim. */
void arrival_take(struct claim *c, const PGresult *r, int row);
void arrival_free(struct claim *c, struct arrival *a);
/* Takes the first arrival one step on. True while a call is in flight. */
bool arrivals_step(struct claim *c);

#endif
