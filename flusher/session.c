/*
 * session - see session.h.
 */
#include "flusher/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/conninfo.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/backoff.h"
#include "flusher/flusher.h"
#include "flusher/params.h"
#include "flusher/sql.h"
#include "schema/migrations.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

/* One that stood for less is still in the outage it came from. */
#define STOOD_US CLOCK_SECOND_US
#define LOCK_TIMEOUT_MS 2000U

struct sessions {
	struct flusher *flusher;
	LIST_HEAD(, session) list;
	struct session *scout; /* the one that tries while others wait */
	struct backoff backoff;
	/* The server that this pool works on. */
	char system[32];
	int32_t timeline; /* the highest seen */
	char trouble[512];
};

struct session {
	LIST_ENTRY(session) entry;
	struct flusher *flusher;
	const char *kind;
	char name[32]; /* application_name */
	const struct db_statement *const *statements;
	const struct session_ops *ops;
	void *arg;
	struct db *db;
	struct params params;
	struct session_facts facts;
	bool joined;
	bool stands;       /* joined, or on the way to it */
	bool outage_told;
	bool refusal_told; /* in this outage */
	uint64_t joined_us;
	uint64_t away_us;
	uint32_t attempts;
};

/* ---- what every session is set to ---- */

/*
 * As pg_settings shows them. The planner must never trade an index for a sort
 * of the whole backlog because statistics are old, so the sessions go without
 * what could. NULL: computed from our own deadline.
 */
static const struct {
	const char *name;
	const char *value;
} settings[] = {
	{ "statement_timeout", NULL },
	{ "lock_timeout", NULL },
	{ "idle_in_transaction_session_timeout", "5000" },
	{ "client_connection_check_interval", "2000" },
	{ "tcp_keepalives_idle", "2" },
	{ "tcp_keepalives_interval", "1" },
	{ "tcp_keepalives_count", "3" },
	{ "tcp_user_timeout", "4000" },
	{ "search_path", "pg_catalog, pg_temp" },
	{ "client_encoding", "UTF8" },
	{ "standard_conforming_strings", "on" },
	{ "default_transaction_isolation", "read committed" },
	{ "default_transaction_read_only", "off" },
	{ "default_transaction_deferrable", "off" },
	{ "TimeZone", "UTC" },
	{ "jit", "off" },
	{ "enable_seqscan", "off" },
	{ "enable_sort", "off" },
	{ "enable_hashjoin", "off" },
	{ "enable_mergejoin", "off" },
	{ "enable_bitmapscan", "off" },
	{ "plan_cache_mode", "force_generic_plan" },
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

/* Below our own deadline: the server gives up first and says why. */
static void
setting_value(const struct session *s, uint32_t i, char text[32])
{
	uint64_t statement_ms =
	    s->flusher->config.db_deadline_us * 9 / 10 / CLOCK_MS_US;
	uint64_t lock_ms = statement_ms / 2 < LOCK_TIMEOUT_MS ?
	    statement_ms / 2 :
	    LOCK_TIMEOUT_MS;

	if (settings[i].value != NULL)
		snprintf(text, 32, "%s", settings[i].value);
	else
		snprintf(text, 32, "%llu", (unsigned long long)(
		             strcmp(settings[i].name, "lock_timeout") == 0 ?
		                 lock_ms :
		                 statement_ms));
}

static void
pack_settings(struct session *s)
{
	struct params *p = &s->params;
	char text[32];

	params_clear(p);
	params_array_begin(p, PG_TEXT);
	for (uint32_t i = 0; i < SETTINGS; i++)
		params_add_bytes(p, slice_of(settings[i].name));
	params_array_end(p);
	params_array_begin(p, PG_TEXT);
	for (uint32_t i = 0; i < SETTINGS; i++) {
		setting_value(s, i, text);
		params_add_bytes(p, slice_of(text));
	}
	params_array_end(p);
}

/* ---- is it the right server? ---- */

/* Of no use now and perhaps never: the next one that the connection string
 * names is tried, or this one again later. */
static void
refuse_server(struct session *s, const char *why)
{
	char server[200];

	db_server(s->db, server, sizeof(server));
	if (!s->refusal_told)
		log_warning("server refused session=%s server=%s "
		            "reason=\"%s\"",
		            s->kind, server, why);
	s->refusal_told = true;
	if (!db_refuse_server(s->db, why))
		session_break(s, "", why);
}

/*
 * What stands between us and the server must not be shared with others: a
 * session's settings, its statements and its locks are ours alone.
 */
static bool
check_session(struct session *s, const PGresult *r)
{
	char why[400];

	if (db_int32(r, 0, 5) != db_backend_pid(s->db)) {
		snprintf(why, sizeof(why),
		         "a connection pooler stands between: name the "
		         "server itself in the connection string");
	} else if (!PQgetisnull(r, 0, 6)) {
		snprintf(why, sizeof(why),
		         "the session's settings do not hold: %.300s",
		         PQgetvalue(r, 0, 6));
	} else {
		return true;
	}
	if (s->flusher->phase == FLUSHER_STARTING)
		flusher_exit(s->flusher, EXIT_CONFIG, why);
	session_break(s, "", why);
	return false;
}

static bool
check_server(struct session *s, const PGresult *r)
{
	struct sessions *all = s->flusher->sessions;
	struct session_facts *facts = &s->facts;
	char why[400];

	if (db_bool(r, 0, 4)) {
		snprintf(why, sizeof(why), "the server is a standby");
	} else if (all->system[0] != '\0' &&
	           strcmp(all->system, facts->system) != 0) {
		snprintf(why, sizeof(why),
		         "another server: its system identifier is %s, this "
		         "pool works on %s",
		         facts->system, all->system);
	} else if (facts->timeline < all->timeline) {
		snprintf(why, sizeof(why),
		         "a server that was left behind: its timeline is %d, "
		         "this pool has seen %d",
		         facts->timeline, all->timeline);
	} else if (facts->schema_version > 0 && !facts->at_home) {
		snprintf(why, sizeof(why),
		         "this database is a copy: its schema was made on "
		         "server %s, this is server %s. To run it here, and "
		         "never there again: rappelctl db adopt",
		         facts->home, facts->system);
		if (s->flusher->phase == FLUSHER_STARTING &&
		    !db_refuse_server(s->db, why))
			flusher_exit(s->flusher, EXIT_CONFIG, why);
		if (s->flusher->phase == FLUSHER_STARTING)
			return false;
	} else {
		db_accept_server(s->db);
		return true;
	}
	refuse_server(s, why);
	return false;
}

static void
copy_text(char *to, size_t size, const PGresult *r, int column)
{
	snprintf(to, size, "%s",
	         PQgetisnull(r, 0, column) ? "" : PQgetvalue(r, 0, column));
}

static void
joined_reply(void *arg, const struct db_reply *reply)
{
	struct session *s = arg;

	if (reply->outcome == DB_LOST)
		return;
	if (reply->outcome == DB_ERROR) {
		/* It was on its way when the keeper deleted our own row. */
		if (s->flusher->phase == FLUSHER_LEAVING)
			return;
		if (strcmp(reply->sqlstate, SQLSTATE_FENCED) == 0 ||
		    strcmp(reply->sqlstate, "23503") == 0)
			flusher_exit(s->flusher, EXIT_FENCED, reply->message);
		session_break(s, reply->sqlstate, reply->message);
		return;
	}
	session_joined(s);
}

static void
check_reply(void *arg, const struct db_reply *reply)
{
	struct session *s = arg;
	struct session_facts *facts = &s->facts;
	const PGresult *r;
	struct db_call *call;

	if (reply->outcome == DB_LOST)
		return;
	if (reply->outcome == DB_ERROR) {
		session_break(s, reply->sqlstate, reply->message);
		return;
	}
	r = reply->results[1];
	facts->schema_version = PQgetisnull(r, 0, 0) ? 0 : db_int32(r, 0, 0);
	copy_text(facts->home, sizeof(facts->home), r, 1);
	copy_text(facts->system, sizeof(facts->system), r, 2);
	facts->timeline = db_int32(r, 0, 3);
	facts->at_home = strcmp(facts->home, facts->system) == 0;
	facts->commits_async = strcmp(PQgetvalue(r, 0, 7), "off") == 0;
	copy_text(facts->database, sizeof(facts->database), r, 8);
	if (!check_session(s, r) || !check_server(s, r))
		return;
	if (s->ops->join_cb != NULL) {
		s->ops->join_cb(s->arg);
		return;
	}
	call = session_join_call(s, joined_reply, s);
	session_announce(s, call);
	db_call_send(call);
}

/* ---- connecting ---- */

static void
session_db_ready(void *arg, struct db *db)
{
	struct session *s = arg;
	struct db_call *call = db_call_begin(db, check_reply, s);

	s->stands = true;
	pack_settings(s);
	params_send(&s->params, call, &sql_session_set);
	params_send(&s->params, call, &sql_session_check);
	db_call_send(call);
}

static bool
others_stand(const struct session *s)
{
	const struct session *other;

	LIST_FOREACH (other, &s->flusher->sessions->list, entry)
		if (other != s && !other->joined)
			return false;
	return true;
}

static void
session_db_lost(void *arg, struct db *db, const char *sqlstate,
                const char *why)
{
	struct session *s = arg;
	struct sessions *all = s->flusher->sessions;
	uint64_t now = clock_mono_us();

	(void)db;
	/* A new outage, if this one stood long enough and no other is away. */
	if (s->joined && now - s->joined_us >= STOOD_US && others_stand(s))
		backoff_reset(&all->backoff);
	s->joined = false;
	s->stands = false;
	if (!s->outage_told) {
		s->away_us = now;
		s->attempts = 0;
		log_warning("database away, connecting again session=%s "
		            "sqlstate=%s reason=\"%s\"",
		            s->kind, sqlstate, why);
	}
	s->outage_told = true;
	s->attempts++;
	snprintf(all->trouble, sizeof(all->trouble), "%s%s%s", sqlstate,
	         sqlstate[0] != '\0' ? ": " : "", why);
	flusher_turn_wanted(s->flusher);
	s->ops->lost_cb(s->arg, sqlstate, why);
}

static struct session *
next_away(struct session *s)
{
	struct session *next = s;

	do {
		next = LIST_NEXT(next, entry);
		if (next == NULL)
			next = LIST_FIRST(&s->flusher->sessions->list);
	} while (next != s && next->stands);
	return next;
}

static uint64_t
session_retry_at(void *arg)
{
	struct session *s = arg;
	struct sessions *all = s->flusher->sessions;
	uint32_t chance = 0;
	uint64_t at_us;

	if (all->scout != NULL && all->scout != s)
		return UINT64_MAX;
	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = (uint32_t)clock_mono_us();
	at_us = backoff_next(&all->backoff, clock_mono_us(), chance);
	/* In turns: what fails may be this one's alone. */
	all->scout = next_away(s);
	if (all->scout == s)
		return at_us;
	db_retry(all->scout->db, at_us);
	return UINT64_MAX;
}

static void
session_db_notified(void *arg, const char *channel)
{
	struct session *s = arg;

	if (s->ops->notify_cb != NULL)
		s->ops->notify_cb(s->arg, channel);
}

static const struct db_ops session_db_ops = {
	.ready_cb = session_db_ready,
	.lost_cb = session_db_lost,
	.retry_at_cb = session_retry_at,
	.notify_cb = session_db_notified,
};

void
session_joined(struct session *s)
{
	struct sessions *all = s->flusher->sessions;
	struct session *other;

	s->joined = true;
	s->joined_us = clock_mono_us();
	if (s->facts.timeline > all->timeline)
		all->timeline = s->facts.timeline;
	snprintf(all->system, sizeof(all->system), "%s", s->facts.system);
	if (s->outage_told)
		log_info("database back session=%s after_ms=%llu attempts=%u",
		         s->kind,
		         (unsigned long long)((s->joined_us - s->away_us) /
		                              CLOCK_MS_US),
		         s->attempts);
	s->outage_told = false;
	s->refusal_told = false;
	if (all->scout == s)
		all->scout = NULL;
	if (all->scout == NULL)
		LIST_FOREACH (other, &all->list, entry)
			if (!other->stands)
				db_retry(other->db, s->joined_us);
	flusher_turn_wanted(s->flusher);
	s->ops->ready_cb(s->arg);
}

/* ---- for its owner ---- */

bool
session_ready(const struct session *s)
{
	/* Calls in flight are told first when it ends. */
	return s != NULL && s->joined && db_ready(s->db);
}

bool
session_away(const struct session *s)
{
	return s != NULL && s->outage_told;
}

const struct session_facts *
session_facts(const struct session *s)
{
	return &s->facts;
}

int
session_backend_pid(const struct session *s)
{
	return db_backend_pid(s->db);
}

struct db_call *
session_call(struct session *s, db_reply_cb *reply_cb, void *arg)
{
	ASSERT(session_ready(s));
	return db_call_begin(s->db, reply_cb, arg);
}

struct db_call *
session_join_call(struct session *s, db_reply_cb *reply_cb, void *arg)
{
	struct db_call *call = db_call_begin(s->db, reply_cb, arg);

	for (uint32_t i = 0; s->statements[i] != NULL; i++)
		db_call_prepare(call, s->statements[i]);
	return call;
}

void
session_try(struct db_call *call, const struct db_statement *const *statements)
{
	for (uint32_t i = 0; statements[i] != NULL; i++) {
		struct db_statement unnamed = *statements[i];

		unnamed.name = "";
		db_call_prepare(call, &unnamed);
	}
}

void
session_announce(struct session *s, struct db_call *call)
{
	params_clear(&s->params);
	params_uuid(&s->params, &s->flusher->incarnation);
	params_send(&s->params, call, &sql_backend_add);
}

void
session_break(struct session *s, const char *sqlstate, const char *why)
{
	db_break(s->db, sqlstate, why);
}

struct session *
session_create(struct flusher *f, const char *kind,
               const struct db_statement *const *statements,
               const struct session_ops *ops, void *arg)
{
	struct session *s = mem_zalloc(sizeof(*s));
	struct db_options options = {
		.conninfo = f->config.database,
		.application_name = s->name,
		.statements = sql_session_statements,
		.deadline_us = f->config.db_deadline_us,
	};

	s->flusher = f;
	s->kind = kind;
	s->statements = statements;
	s->ops = ops;
	s->arg = arg;
	snprintf(s->name, sizeof(s->name), "rappel %s", kind);
	params_init(&s->params);
	LIST_INSERT_HEAD(&f->sessions->list, s, entry);
	s->db = db_create(f->base, &options, &session_db_ops, s);
	return s;
}

void
session_destroy(struct session **sp)
{
	struct session *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	db_destroy(&s->db);
	if (s->flusher->sessions->scout == s)
		s->flusher->sessions->scout = NULL;
	LIST_REMOVE(s, entry);
	params_fini(&s->params);
	free(s);
}

/* ---- what no waiting mends ---- */

/* libpq reads the connection string itself; what it cannot read is no
 * outage. Its text may quote a part of a password, so then it is not shown. */
static void
check_conninfo(struct flusher *f)
{
	const char *conninfo = f->config.database;
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);
	char why[500];

	if (options == NULL) {
		bool hide = message == NULL || conninfo_has_password(conninfo);
		const char *newer = conninfo_newer_option(
		    message != NULL ? message : "");

		if (newer != NULL)
			snprintf(why, sizeof(why),
			         "the database's connection string has option "
			         "\"%s\", which this libpq (%d) does not know: "
			         "take it out",
			         newer, PQlibVersion());
		else
			snprintf(why, sizeof(why),
			         "the database's connection string cannot be "
			         "read: %s",
			         hide ? "see RAPPEL_DATABASE_URL or url in "
			                "rappel.conf" :
			                message);
		why[strcspn(why, "\n")] = '\0';
		flusher_exit(f, EXIT_CONFIG, why);
	}
	PQconninfoFree(options);
}

const char *
session_hopeless(const char *sqlstate, const char *why)
{
	if (sqlstate[0] == '\0' && conninfo_is_wrong(why))
		return "the database's connection string is wrong: correct it";
	if (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0 ||
	    strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "42703") == 0)
		return "the database has no complete rappel schema, version "
		       STRINGIFY(SCHEMA_VERSION) " is needed: "
		       "run rappelctl db migrate";
	if (strcmp(sqlstate, "3D000") == 0)
		return "there is no such database: create it, then run "
		       "rappelctl db migrate";
	if (strcmp(sqlstate, "28P01") == 0 || strcmp(sqlstate, "28000") == 0)
		return "the server refuses this user: check user, password "
		       "and pg_hba.conf";
	if (strcmp(sqlstate, "42501") == 0)
		return "the user may not use the schema rappel: grant it";
	return NULL;
}

/* ---- all of them ---- */

const char *
sessions_trouble(const struct sessions *all)
{
	const struct session *s;

	LIST_FOREACH (s, &all->list, entry)
		if (s->outage_told)
			return all->trouble;
	return NULL;
}

struct sessions *
sessions_create(struct flusher *f)
{
	struct sessions *all = mem_zalloc(sizeof(*all));

	check_conninfo(f);
	all->flusher = f;
	LIST_INIT(&all->list);
	return all;
}

void
sessions_destroy(struct sessions **allp)
{
	ASSERT(*allp == NULL || LIST_EMPTY(&(*allp)->list));
	free(*allp);
	*allp = NULL;
}
