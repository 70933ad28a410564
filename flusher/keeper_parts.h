/*
 * keeper_parts - what keeper.c and others.c share. Nobody else includes it.
 */
#ifndef FLUSHER_KEEPER_PARTS_H
#define FLUSHER_KEEPER_PARTS_H

#include <event2/event.h>
#include <sys/queue.h>

#include "common/uuid.h"
#include "flusher/keeper.h"
#include "flusher/params.h"
#include "flusher/session.h"

#define LOOK_US (500 * CLOCK_MS_US) /* between two looks at the others */
#define HOST_SIZE 256

/* Another pool, as seen from here. */
struct other {
	SLIST_ENTRY(other) entry;
	struct uuid incarnation;
	int64_t beat;
	uint64_t since_us; /* unbroken contact since it last changed */
	bool seen;
	bool dead; /* a takeover is wanted */
	bool before_us; /* in our own place: it is dead for sure */
	bool end_backends; /* they hold its row: end them first */
};

enum keeper_phase {
	KEEPER_AWAY,   /* no session */
	KEEPER_ADDING, /* the row, or the new session beside it */
	KEEPER_KEEPING,
	KEEPER_LEAVING,
};

struct keeper {
	struct flusher *flusher;
	struct session *session;
	struct params params;
	enum keeper_phase phase;
	bool busy;    /* a call is in flight that nothing may follow */
	bool looking; /* one that a heartbeat may follow */
	bool registered_once;
	bool refusal_told;
	bool hang_told;
	struct event *tick;
	uint64_t beat_us;      /* when the last was sent */
	uint64_t confirmed_us; /* when the last confirmed one was sent */
	uint64_t look_us;
	uint64_t looked_us;    /* when the last answered one was sent */
	uint64_t orphans_us;
	uint64_t partitions_us;
	bool beat_now;
	bool idle_sent;
	SLIST_HEAD(, other) others;
	struct other *taking; /* the takeover in flight */
	char host[HOST_SIZE];
	char boot_id[64];
	void (*left_cb)(struct flusher *f);
};

/* Does the next thing; whoever ends a call calls it. */
void keeper_step(struct keeper *k);
/* Ends the process when the reply says that we were taken over. */
void keeper_fenced_if(struct keeper *k, const struct db_reply *reply);
/* A refusal that no code expects: said once, tried again by the tick. */
void keeper_refused(struct keeper *k, const struct db_reply *reply,
                    const char *what);

/* Our own contact was broken, so that others stand still proves nothing: each
 * has a whole lease from the next look on. */
void others_observe_anew(struct keeper *k);
/* Asks for everybody's heartbeat, and says who is dead. */
void others_look(struct keeper *k);
/* Ends what still holds the row of a dead one, or takes its instances. */
void others_take_over(struct keeper *k, struct other *o);
/* All, or those that the last look did not see. */
void others_forget(struct keeper *k, bool all);

#endif
