/*
 * keeper - see keeper.h.
 */
#include "flusher/keeper.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "engine/event.h"
#include "flusher/adopt.h"
#include "flusher/claim.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/params.h"
#include "flusher/session.h"
#include "flusher/sql.h"
#include "flusher/timers.h"
#include "schema/migrations.h"

#define TICKS_US (2500 * CLOCK_MS_US) /* two of a supervisor, and some */
#define LOOK_US (500 * CLOCK_MS_US)
#define ORPHANS_US (30 * CLOCK_SECOND_US)
#define PARTITIONS_US (3600 * CLOCK_SECOND_US)
#define JUMP_US ((int64_t)(100 * CLOCK_MS_US)) /* timers are behind */
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

static void keeper_step(struct keeper *k);
static void leave_send(struct keeper *k);

static void
fenced_if(struct keeper *k, const struct db_reply *reply)
{
	if (reply->outcome == DB_ERROR &&
	    strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0)
		flusher_exit(k->flusher, EXIT_FENCED, reply->message);
}

/* A refusal that no code expects: said once, tried again by the tick. */
static void
refused(struct keeper *k, const struct db_reply *reply, const char *what)
{
	fenced_if(k, reply);
	if (reply->outcome != DB_ERROR)
		return;
	if (!k->refusal_told)
		log_warning("%s refused, trying again sqlstate=%s "
		            "reason=\"%s\"",
		            what, reply->sqlstate, reply->message);
	k->refusal_told = true;
}

/* Our own contact was broken, so that others stand still proves nothing: each
 * has a whole lease from the next look on. */
static void
observe_anew(struct keeper *k)
{
	struct other *o;

	SLIST_FOREACH (o, &k->others, entry) {
		o->beat = -1;
		o->dead = false;
		o->end_backends = false;
	}
}

/* ---- heartbeat ---- */

static void
beat_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;
	struct flusher *f = k->flusher;
	uint64_t now = clock_mono_us();
	const PGresult *r;

	k->busy = false;
	refused(k, reply, "heartbeat");
	/* Whoever cannot beat cannot tell who else can. */
	if (reply->outcome != DB_DONE)
		observe_anew(k);
	if (reply->outcome == DB_DONE) {
		r = reply->results[2];
		if (PQntuples(r) == 0)
			flusher_exit(f, EXIT_FENCED,
			             "the pool's heartbeat row is gone");
		if (server_clock_told(&f->clock,
		                      params_time_us(db_int64(r, 0, 0)),
		                      k->beat_us, now) > JUMP_US)
			timers_clock_moved(f->timers);
		k->confirmed_us = k->beat_us;
		k->refusal_told = false;
		flusher_turn_wanted(f);
	}
	keeper_step(k);
}

static void
beat_send(struct keeper *k)
{
	struct flusher *f = k->flusher;
	struct db_call *call = session_call(k->session, beat_reply, k);
	struct params *p = &k->params;

	k->beat_now = false;
	k->idle_sent = claim_idle(f->claim);
	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_send(p, call, &sql_fence);
	params_bool(p, k->idle_sent);
	params_send(p, call, &sql_heartbeat);
	db_call_plain(call, &db_commit_statement);
	k->busy = true;
	k->beat_us = clock_mono_us();
	db_call_send(call);
}

/* ---- other pools ---- */

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

static void
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
	refused(k, reply, "look at other pools");
	if (reply->outcome != DB_DONE) {
		observe_anew(k);
		keeper_step(k);
		return;
	}
	/* We were held up ourselves, and the others perhaps with us. */
	if (k->look_us - k->looked_us > held_up_us(k))
		observe_anew(k);
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
		/* One that was held up may be back by now. */
		o->before_us = db_bool(r, i, 2);
		o->dead = o->before_us ||
		    now - o->since_us >= k->flusher->config.lease_us;
	}
	others_forget(k, false);
	predecessors_gone(k);
	keeper_step(k);
}

static void
look_send(struct keeper *k)
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
	fenced_if(k, reply);
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
	refused(k, reply, "ending the sessions of a dead pool");
	keeper_step(k);
}

/*
 * Separate statements of one transaction: each sees what was committed while
 * the one before it waited. Reading journals comes in later transactions.
 */
static void
takeover_send(struct keeper *k, struct other *o)
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

/* ---- housekeeping ---- */

static void
house_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;

	k->busy = false;
	refused(k, reply, "housekeeping");
	keeper_step(k);
}

static void
house_send(struct keeper *k, const struct db_statement *statement)
{
	struct db_call *call = session_call(k->session, house_reply, k);
	struct params *p = &k->params;

	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &k->flusher->incarnation);
	params_send(p, call, &sql_fence);
	db_call_plain(call, statement);
	db_call_plain(call, &db_commit_statement);
	k->busy = true;
	db_call_send(call);
}

/* ---- joining ---- */

static void
added_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;
	struct flusher *f = k->flusher;

	k->busy = false;
	if (reply->outcome == DB_LOST)
		return;
	if (reply->outcome == DB_ERROR) {
		/* Once the row stood, that it cannot be referred to any more
		 * means that somebody deleted it: we, if we were leaving. */
		if (k->registered_once &&
		    strcmp(reply->sqlstate, "23503") == 0) {
			if (k->left_cb == NULL)
				flusher_exit(f, EXIT_FENCED, reply->message);
			k->left_cb(f);
			return;
		}
		fenced_if(k, reply);
		session_break(k->session, reply->sqlstate, reply->message);
		return;
	}
	k->phase = KEEPER_KEEPING;
	k->refusal_told = false;
	session_joined(k->session);
	if (session_facts(k->session)->commits_async && !k->registered_once)
		log_warning("synchronous_commit is off: a crash of the server "
		            "loses completions that counted");
	if (!k->registered_once) {
		char text[UUID_TEXT_SIZE];

		k->registered_once = true;
		uuid_text(&f->incarnation, text);
		log_info("pool joined name=%s incarnation=%s",
		         f->config.pool_name, text);
		flusher_registered(f);
	}
	if (k->left_cb != NULL) {
		leave_send(k);
		return;
	}
	k->beat_now = true;
	keeper_step(k);
}

/* The row is made once: after that it must still be there. */
static void
add_send(struct keeper *k)
{
	struct flusher *f = k->flusher;
	struct params *p = &k->params;
	struct db_call *call = session_join_call(k->session, added_reply, k);

	k->phase = KEEPER_ADDING;
	if (!k->registered_once) {
		session_try(call, sql_writer_statements);
		session_try(call, sql_claimer_statements);
	}
	db_call_plain(call, &db_begin_statement);
	if (!k->registered_once) {
		params_clear(p);
		params_uuid(p, &f->incarnation);
		params_text(p, slice_of(f->config.pool_name));
		params_text(p, slice_of(k->host));
		params_text(p, slice_of(k->boot_id));
		params_text(p, slice_of(f->config.dir));
		params_int4(p, getpid());
		params_text(p, slice_of(RAPPEL_VERSION));
		params_send(p, call, &sql_pool_add);
		params_clear(p);
		params_uuid(p, &f->incarnation);
		params_send(p, call, &sql_heartbeat_add);
	}
	session_announce(k->session, call);
	db_call_plain(call, &db_commit_statement);
	db_call_plain(call, &sql_listen_work);
	db_call_plain(call, &sql_listen_command);
	k->busy = true;
	db_call_send(call);
}

/* The session is checked; is the schema one that we can work with? */
static void
keeper_join(void *arg)
{
	struct keeper *k = arg;
	const struct session_facts *facts = session_facts(k->session);
	int32_t version = facts->schema_version;
	char why[300];

	if (version < SCHEMA_VERSION || version > SCHEMA_VERSION + 1) {
		snprintf(why, sizeof(why),
		         "the schema in database \"%s\" has version %d, this "
		         "rappel needs %d or %d: %s",
		         facts->database, version, SCHEMA_VERSION,
		         SCHEMA_VERSION + 1,
		         version < SCHEMA_VERSION ?
		             "run rappelctl db migrate" :
		             "install a newer rappel");
		flusher_exit(k->flusher, EXIT_CONFIG, why);
	}
	/* Contact was broken: the observation of others begins anew. */
	others_forget(k, true);
	k->taking = NULL;
	add_send(k);
}

static void
keeper_lost(void *arg, const char *sqlstate, const char *why)
{
	struct keeper *k = arg;
	const char *advice = session_hopeless(sqlstate, why);
	char text[800];

	k->busy = false;
	k->looking = false;
	k->phase = KEEPER_AWAY;
	if (advice != NULL && !k->registered_once) {
		snprintf(text, sizeof(text), "%s (%s)", advice, why);
		flusher_exit(k->flusher, EXIT_CONFIG, text);
	}
	flusher_drain_step(k->flusher);
}

/* It has joined, in added_reply(). */
static void
keeper_joined(void *arg)
{
	(void)arg;
}

static void
keeper_notified(void *arg, const char *channel)
{
	struct keeper *k = arg;

	if (strcmp(channel, "rappel_work") == 0)
		claim_wake(k->flusher);
	else if (strcmp(channel, "rappel_command") == 0)
		claim_commands(k->flusher);
}

static const struct session_ops keeper_ops = { .join_cb = keeper_join,
	                                       .ready_cb = keeper_joined,
	                                       .lost_cb = keeper_lost,
	                                       .notify_cb = keeper_notified };

/* ---- leaving ---- */

static void
left_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;

	k->busy = false;
	if (reply->outcome == DB_LOST)
		return; /* done or not: the next session will know */
	if (reply->outcome == DB_DONE)
		log_info("leases handed back instances=%s",
		         PQcmdTuples(reply->results[3]));
	else
		log_warning("leases not handed back, another pool will take "
		            "them reason=\"%s\"",
		            reply->message);
	k->left_cb(k->flusher);
}

static void
leave_send(struct keeper *k)
{
	struct flusher *f = k->flusher;
	struct params *p = &k->params;
	struct db_call *call = session_call(k->session, left_reply, k);

	k->phase = KEEPER_LEAVING;
	db_call_plain(call, &db_begin_statement);
	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_send(p, call, &sql_fence);
	/* Waits for a claim that is still running: what it brings must be
	 * handed back too. */
	params_send(p, call, &sql_pool_row_lock);
	params_send(p, call, &sql_instances_requeue);
	params_send(p, call, &sql_pool_delete);
	db_call_plain(call, &sql_wake);
	db_call_plain(call, &db_commit_statement);
	db_call_send(call);
}

void
keeper_leave(struct flusher *f, void (*done_cb)(struct flusher *f))
{
	struct keeper *k = f->keeper;

	if (k->left_cb != NULL)
		return;
	k->left_cb = done_cb;
	if (!k->registered_once)
		done_cb(f);
	else if (keeper_ready(k))
		leave_send(k);
	/* Otherwise when the session is back; the caller does not wait for
	 * ever. */
}

/* ---- what next ---- */

/* Until the next heartbeat or look at the others; the rest is in no hurry. */
static void
sleep_until_due(struct keeper *k, uint64_t now_us)
{
	uint64_t beat_us = k->beat_us + k->flusher->config.heartbeat_us;
	uint64_t look_us = k->look_us + LOOK_US;
	bool beats = k->looking || (beat_us < look_us && !k->hang_told);
	uint64_t due_us = beats ? beat_us : look_us;
	uint64_t wait = due_us > now_us ? due_us - now_us : 0;
	struct timeval tv = { .tv_sec = (time_t)(wait / CLOCK_SECOND_US),
		              .tv_usec = (suseconds_t)(wait %
		                                       CLOCK_SECOND_US) };

	event_add(k->tick, &tv);
}

/* A lease is not renewed for a supervisor that hangs: nothing would get on,
 * and no other pool could take it. Without one at all we are about to end. */
static bool
supervisor_turns(struct keeper *k, uint64_t now_us)
{
	const struct flusher *f = k->flusher;
	uint64_t limit_us = f->config.lease_us * 3 / 10;

	/* It says so once a second: a short lease asks for no more. */
	if (limit_us < TICKS_US)
		limit_us = TICKS_US;
	if (f->link == NULL || now_us - f->ticked_us < limit_us) {
		if (k->hang_told)
			log_info("supervisor turns again, renewing the lease");
		k->hang_told = false;
		return true;
	}
	if (!k->hang_told)
		log_warning("supervisor hangs, not renewing the lease "
		            "silent_ms=%llu",
		            (unsigned long long)((now_us - f->ticked_us) /
		                                 CLOCK_MS_US));
	k->hang_told = true;
	return false;
}

static void
keeper_step(struct keeper *k)
{
	uint64_t now = clock_mono_us();
	struct other *o;

	if (k->busy || k->phase != KEEPER_KEEPING ||
	    !session_ready(k->session))
		return;
	if ((k->beat_now ||
	     now - k->beat_us >= k->flusher->config.heartbeat_us) &&
	    supervisor_turns(k, now)) {
		beat_send(k);
		return;
	}
	if (k->looking) {
		if (!k->hang_told)
			sleep_until_due(k, now);
		return;
	}
	SLIST_FOREACH (o, &k->others, entry)
		if (o->dead) {
			takeover_send(k, o);
			return;
		}
	if (now - k->look_us >= LOOK_US) {
		look_send(k);
		return;
	}
	if (now - k->orphans_us >= ORPHANS_US) {
		k->orphans_us = now;
		house_send(k, &sql_orphans_requeue);
		return;
	}
	if (now - k->partitions_us >= PARTITIONS_US) {
		k->partitions_us = now;
		house_send(k, &sql_partitions);
		return;
	}
	sleep_until_due(k, now);
}

static void
tick_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	keeper_step(arg);
}

void
keeper_idle_changed(struct flusher *f)
{
	struct keeper *k = f->keeper;

	if (claim_idle(f->claim) != k->idle_sent) {
		k->beat_now = true;
		keeper_step(k);
	}
}

bool
keeper_ready(const struct keeper *k)
{
	return k->phase == KEEPER_KEEPING && session_ready(k->session);
}

bool
keeper_away(const struct keeper *k)
{
	return session_away(k->session);
}

bool
keeper_joining(const struct keeper *k)
{
	return k->phase == KEEPER_ADDING && !k->registered_once && k->busy;
}

bool
keeper_holds(const struct keeper *k)
{
	/* Well before anybody may call us dead. */
	return clock_mono_us() - k->confirmed_us <
	    k->flusher->config.lease_us * 7 / 10;
}

/* ---- life ---- */

static void
read_boot_id(struct keeper *k)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, k->boot_id, sizeof(k->boot_id) - 1);

	k->boot_id[got < 0 ? 0 : got] = '\0';
	k->boot_id[strcspn(k->boot_id, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

struct keeper *
keeper_create(struct flusher *f)
{
	struct keeper *k = mem_zalloc(sizeof(*k));
	k->flusher = f;
	SLIST_INIT(&k->others);
	params_init(&k->params);
	if (gethostname(k->host, sizeof(k->host) - 1) < 0)
		k->host[0] = '\0';
	read_boot_id(k);
	k->tick = event_new(f->base, -1, 0, tick_cb, k);
	ASSERT(k->tick != NULL);
	k->session = session_create(f, "keeper", sql_keeper_statements,
	                            &keeper_ops, k);
	return k;
}

void
keeper_destroy(struct keeper **kp)
{
	struct keeper *k = *kp;

	if (k == NULL)
		return;
	session_destroy(&k->session);
	others_forget(k, true);
	params_fini(&k->params);
	event_free(k->tick);
	free(k);
	*kp = NULL;
}
