/*
 * others - the other pools: watched, and taken over when they are dead.
 */
#include "flusher/keeper_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "engine/event.h"
#include "flusher/adopt.h"
#include "flusher/claim.h"
#include "flusher/flusher.h"
#include "flusher/sql.h"

void
others_observe_anew(struct keeper *k)
{
	struct other *o;

	SLIST_FOREACH (o, &k->others, entry) {
		o->beat = -1;
		o->dead = false;
		o->end_backends = false;
	}
}

static struct other *
other_find(struct keeper *k, const struct uuid *incarnation)
{
	struct other *o;

	SLIST_FOREACH (o, &k->others, entry)
		if (uuid_equal(&o->incarnation, incarnation))
			return o;
	o = mem_zalloc(sizeof(*o));
	o->incarnation = *incarnation;
	o->beat = -1;
	SLIST_INSERT_HEAD(&k->others, o, entry);
	return o;
}

void
others_forget(struct keeper *k, bool all)
{
	struct other *o, *next;

	for (o = SLIST_FIRST(&k->others); o != NULL; o = next) {
		next = SLIST_NEXT(o, entry);
		if (!all && o->seen)
			continue;
		SLIST_REMOVE(&k->others, o, other, entry);
		free(o);
	}
}

/* Nobody who was here before us is left: what it held is ours by now. */
static void
predecessors_gone(struct keeper *k)
{
	struct other *o;

	SLIST_FOREACH (o, &k->others, entry)
		if (o->before_us && o->seen)
			return;
	adopt_leased(k->flusher);
}

/* So late is no look of ours, however short the lease. */
static uint64_t
held_up_us(const struct keeper *k)
{
	uint64_t us = k->flusher->config.lease_us / 4;

	return us < 3 * LOOK_US ? 3 * LOOK_US : us;
}

static void
look_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;
	uint64_t now = clock_mono_us();
	struct other *o;

	k->looking = false;
	keeper_refused(k, reply, "look at other pools");
	if (reply->outcome != DB_DONE) {
		others_observe_anew(k);
		keeper_step(k);
		return;
	}
	/* We were held up ourselves, and the others perhaps with us. */
	if (k->look_us - k->looked_us > held_up_us(k))
		others_observe_anew(k);
	k->looked_us = k->look_us;
	SLIST_FOREACH (o, &k->others, entry)
		o->seen = false;
	for (int i = 0; i < PQntuples(reply->results[0]); i++) {
		const PGresult *r = reply->results[0];
		struct uuid incarnation;

		memcpy(incarnation.bytes, PQgetvalue(r, i, 0), 16);
		o = other_find(k, &incarnation);
		o->seen = true;
		if (db_int64(r, i, 1) != o->beat) {
			o->beat = db_int64(r, i, 1);
			o->since_us = now;
		}
		/* One that was held up may be back by now. What is seen is as
		 * old as the look, however long the answer took. */
		o->before_us = db_bool(r, i, 2);
		o->dead = o->before_us ||
		    (k->look_us > o->since_us &&
		     k->look_us - o->since_us >= k->flusher->config.lease_us);
	}
	others_forget(k, false);
	predecessors_gone(k);
	keeper_step(k);
}

void
others_look(struct keeper *k)
{
	struct flusher *f = k->flusher;
	struct db_call *call = session_call(k->session, look_reply, k);
	struct params *p = &k->params;

	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_text(p, slice_of(k->host));
	params_text(p, slice_of(k->boot_id));
	params_text(p, slice_of(f->config.dir));
	params_send(p, call, &sql_pools_read);
	k->looking = true;
	k->look_us = clock_mono_us();
	db_call_send(call);
}

/* The predecessor died while the engine worked on it. */
static void
blamed(struct keeper *k, const PGresult *r)
{
	struct flusher *f = k->flusher;
	char text[UUID_TEXT_SIZE];
	int32_t deaths = PQntuples(r) == 1 && !PQgetisnull(r, 0, 0)
	                     ? db_int32(r, 0, 0)
	                     : 0;

	if (!f->is_blamed || deaths == 0)
		return;
	f->is_blamed = false;
	uuid_text(&f->blamed, text);
	if (deaths < (int32_t)POISON_DEATHS)
		log_warning("a flusher died working on an instance "
		            "instance=%s deaths=%d",
		            text, deaths);
	else
		log_error("instance blocked, flushers died working on it "
		          "instance=%s deaths=%d",
		          text, deaths);
}

static void
takeover_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;
	struct other *o = k->taking;
	char text[UUID_TEXT_SIZE];

	k->busy = false;
	k->taking = NULL;
	keeper_fenced_if(k, reply);
	uuid_text(&o->incarnation, text);
	if (reply->outcome == DB_DONE) {
		k->flusher->counters.takeovers++;
		log_info("took over from pool incarnation=%s instances=%s",
		         text, PQcmdTuples(reply->results[5]));
		if (o->before_us)
			blamed(k, reply->results[6]);
		o->dead = false;
		o->seen = false;
		others_forget(k, false);
		predecessors_gone(k);
		claim_wake_front(k->flusher);
	} else if (reply->outcome == DB_ERROR) {
		log_info("takeover waits incarnation=%s sqlstate=%s", text,
		         reply->sqlstate);
		/* Its sessions still hold its row: they are ended. Anything
		 * else waits for the next look. */
		o->end_backends = strcmp(reply->sqlstate, "55P03") == 0;
		o->dead = o->end_backends;
	}
	keeper_step(k);
}

static void
backends_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;

	k->busy = false;
	/* It may have come back meanwhile: only another look tells. */
	k->taking->end_backends = false;
	k->taking->dead = false;
	k->taking = NULL;
	k->look_us = 0;
	keeper_refused(k, reply, "ending the sessions of a dead pool");
	keeper_step(k);
}

/*
 * Separate statements of one transaction: each sees what was committed while
 * the one before it waited. Reading journals comes in later transactions.
 */
void
others_take_over(struct keeper *k, struct other *o)
{
	struct params *p = &k->params;
	struct db_call *call = session_call(
	    k->session, o->end_backends ? backends_reply : takeover_reply, k);

	k->taking = o;
	k->busy = true;
	params_clear(p);
	if (o->end_backends) {
		params_uuid(p, &o->incarnation);
		params_int4(p, 0);
		params_send(p, call, &sql_backends_end);
		db_call_send(call);
		return;
	}
	db_call_plain(call, &db_begin_statement);
	params_uuid(p, &k->flusher->incarnation);
	params_send(p, call, &sql_fence);
	db_call_plain(call, &sql_lock_timeout_short);
	params_clear(p);
	params_uuid(p, &o->incarnation);
	params_send(p, call, &sql_pool_row_lock);
	params_send(p, call, &sql_pool_delete);
	if (o->before_us) {
		params_uuid(p, &k->flusher->incarnation);
		params_send(p, call, &sql_instances_inherit);
		params_clear(p);
		params_uuid(p, k->flusher->is_blamed ? &k->flusher->blamed
		                                     : &k->flusher->incarnation);
		params_send(p, call, &sql_blame);
	} else {
		params_send(p, call, &sql_instances_requeue);
	}
	db_call_plain(call, &sql_wake);
	db_call_plain(call, &db_commit_statement);
	db_call_send(call);
}
