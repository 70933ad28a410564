/*
 * keeper - see keeper.h.
 */
#include "flusher/keeper.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/claim.h"
#include "flusher/flusher.h"
#include "flusher/groups.h"
#include "flusher/keeper_parts.h"
#include "flusher/lease.h"
#include "flusher/progress.h"
#include "flusher/sql.h"
#include "flusher/timers.h"
#include "schema/migrations.h"

#define TICKS_US (2500 * CLOCK_MS_US) /* two of a supervisor, and some */
#define ORPHANS_US (30 * CLOCK_SECOND_US)
#define LOST_DEADLINES 3U /* then a lost session does nothing any more */
#define PARTITIONS_US (3600 * CLOCK_SECOND_US)
#define JUMP_US ((int64_t)(100 * CLOCK_MS_US)) /* timers are behind */

static void leave_send(struct keeper *k);

void
keeper_fenced_if(struct keeper *k, const struct db_reply *reply)
{
	if (reply->outcome == DB_ERROR &&
	    strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0)
		flusher_exit(k->flusher, EXIT_FENCED, reply->message);
}

void
keeper_refused(struct keeper *k, const struct db_reply *reply, const char *what)
{
	keeper_fenced_if(k, reply);
	if (reply->outcome != DB_ERROR)
		return;
	if (!k->refusal_told)
		log_warning("%s refused, trying again sqlstate=%s "
		            "reason=\"%s\"",
		            what, reply->sqlstate, reply->message);
	k->refusal_told = true;
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
	keeper_refused(k, reply, "heartbeat");
	/* Whoever cannot beat cannot tell who else can. */
	if (reply->outcome != DB_DONE)
		others_observe_anew(k);
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

/* ---- housekeeping ---- */

/* What is done between two heartbeats must not wait long for somebody's lock:
 * the next heartbeat is behind it. */
static struct db_call *
chore_begin(struct keeper *k, db_reply_cb *reply)
{
	struct db_call *call = session_call(k->session, reply, k);

	db_call_plain(call, &db_begin_statement);
	db_call_plain(call, &sql_lock_timeout_short);
	return call;
}

static void
house_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;

	k->busy = false;
	keeper_refused(k, reply, "housekeeping");
	keeper_step(k);
}

static void
house_send(struct keeper *k, const struct db_statement *statement)
{
	struct db_call *call = chore_begin(k, house_reply);
	struct params *p = &k->params;

	params_clear(p);
	params_uuid(p, &k->flusher->incarnation);
	params_send(p, call, &sql_fence);
	db_call_plain(call, statement);
	db_call_plain(call, &db_commit_statement);
	k->busy = true;
	db_call_send(call);
}

/* ---- progress of actions ---- */

static void
progress_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;
	struct progress_table *t = k->flusher->progress;

	k->busy = false;
	keeper_refused(k, reply, "progress of actions");
	switch (reply->outcome) {
	case DB_DONE:
		progress_written(t);
		break;
	case DB_ERROR: /* what it does not take, it will not take later */
		progress_refused(t, strncmp(reply->sqlstate, "22", 2) == 0 ||
		                        strncmp(reply->sqlstate, "23", 2) == 0 ||
		                        strncmp(reply->sqlstate, "54", 2) == 0);
		break;
	case DB_LOST: /* its session ends within the server's own limits */
		progress_lost(t, clock_mono_us() +
		                     LOST_DEADLINES *
		                         k->flusher->config.db_deadline_us);
		break;
	}
	keeper_step(k);
}

static void
progress_write(struct keeper *k, uint64_t now_us)
{
	struct db_call *call = chore_begin(k, progress_reply);
	const struct uuid *incarnation = &k->flusher->incarnation;

	params_clear(&k->params);
	params_uuid(&k->params, incarnation);
	params_send(&k->params, call, &sql_fence);
	progress_send(k->flusher->progress, call, &k->params, incarnation,
	              now_us);
	db_call_plain(call, &db_commit_statement);
	k->busy = true;
	db_call_send(call);
}

static bool
progress_is_due(const struct keeper *k, uint64_t now_us)
{
	uint64_t due_us = progress_due(k->flusher->progress);

	return due_us != 0 && due_us <= now_us;
}

/* ---- groups that nobody wants ---- */

static void
groups_reply(void *arg, const struct db_reply *reply)
{
	struct keeper *k = arg;

	k->busy = false;
	keeper_refused(k, reply, "look at registered workflows");
	groups_told(k->flusher->groups,
	            reply->outcome == DB_DONE ? reply->results[2] : NULL);
	keeper_step(k);
}

static void
groups_send(struct keeper *k, uint64_t now_us)
{
	struct db_call *call = chore_begin(k, groups_reply);

	groups_ask(k->flusher->groups, &k->params, call, now_us);
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
		keeper_fenced_if(k, reply);
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
	uint64_t said_us = progress_due(k->flusher->progress);
	uint64_t wait;
	struct timeval tv;

	if (said_us != 0 && said_us < due_us && !k->looking)
		due_us = said_us;
	wait = due_us > now_us ? due_us - now_us : 0;
	tv.tv_sec = (time_t)(wait / CLOCK_SECOND_US);
	tv.tv_usec = (suseconds_t)(wait % CLOCK_SECOND_US);
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

void
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
			others_take_over(k, o);
			return;
		}
	if (now - k->look_us >= LOOK_US) {
		others_look(k);
		return;
	}
	if (progress_is_due(k, now)) {
		progress_write(k, now);
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
	if (groups_due(k->flusher->groups, now)) {
		groups_send(k, now);
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
