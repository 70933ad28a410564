/*
 * arrival - a claimed instance on its way to a lease: its version is read, its
 * journal is read and replayed, and then it starts or goes on.
 */
#include "flusher/claim_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "flusher/batch.h"
#include "flusher/commit.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/mark.h"
#include "flusher/park.h"
#include "flusher/replay.h"
#include "flusher/session.h"
#include "flusher/sql.h"
#include "flusher/versions.h"

#define RELEASE_FIRST_US (5 * CLOCK_SECOND_US)
#define RELEASE_MAX_US (300 * CLOCK_SECOND_US)
#define LOST_MAX 3U /* sessions over one journal */

void
arrival_free(struct claim *c, struct arrival *a)
{
	TAILQ_REMOVE(&c->arrivals, a, entry);
	c->arriving--;
	buf_fini(&a->input);
	free(a->name);
	free(a);
}

static void
arrival_block(struct claim *c, struct arrival *a, const char *reason)
{
	char text[UUID_TEXT_SIZE];

	uuid_text(&a->id, text);
	log_error("instance blocked instance=%s reason=\"%s\"", text, reason);
	errand_add(&c->errands, &a->id, 1, "blocked", 0, reason);
	arrival_free(c, a);
}

/* A start that fails goes back with a reason, and is tried again later: after
 * half of the time that it has been tried for. */
static void
arrival_release(struct claim *c, struct arrival *a, const char *reason)
{
	int64_t age_us = flusher_now_us(c->flusher) - a->started_at_us;
	uint64_t wait_us = age_us > 0 ? (uint64_t)age_us / 2 : 0;
	char text[UUID_TEXT_SIZE];

	if (a->cancelled) {
		/* A cancel cannot wait for the definition: what is blocked
		 * is ended as it stands. */
		arrival_block(c, a, reason);
		return;
	}
	/* What is said of a task can; but not be tried again at once. */
	if (a->commanded)
		claim_shun(c, &a->id);
	if (wait_us < RELEASE_FIRST_US)
		wait_us = RELEASE_FIRST_US;
	if (wait_us > RELEASE_MAX_US)
		wait_us = RELEASE_MAX_US;
	uuid_text(&a->id, text);
	log_warning("start failed, released for %llu s instance=%s "
	            "reason=\"%s\"",
	            (unsigned long long)(wait_us / CLOCK_SECOND_US), text,
	            reason);
	errand_add(&c->errands, &a->id, 1, "waiting",
	           flusher_now_us(c->flusher) + (int64_t)wait_us, reason);
	arrival_free(c, a);
}

/*
 * Makes the instance and brings it up to date; journal and commands are NULL
 * for one that never ran and of which nobody wants anything. What it wants
 * then is done at once: the claim is committed, and so is the journal. But a
 * cancel comes first: what was cancelled before it was here starts nothing.
 */
static void
arrival_make(struct claim *c, struct arrival *a,
             const struct version *version, const PGresult *journal,
             const PGresult *commands)
{
	struct flusher *f = c->flusher;
	struct effects effects = { NULL, 0, 0 };
	struct error err = { .message = "" };
	struct lease *lease;
	char reason[600];

	c->value.len = 0;
	if (json_parse((const char *)a->input.data, a->input.len,
	               VALUE_DEPTH_MAX, &c->value, NULL, &err) < 0) {
		snprintf(reason, sizeof(reason),
		         "its input cannot be read: %s", err.message);
		arrival_block(c, a, reason);
		return;
	}
	lease = lease_add(f->leases, &a->id);
	lease->engine = instance_create(
	    version->definition,
	    &(struct instance_options){
	        .id = a->id,
	        .workflow = slice_of(version->workflow),
	        .name = a->name != NULL ? slice_of(a->name) : SLICE_NONE,
	        .started_at_us = a->started_at_us,
	        .input = buf_slice(&c->value),
	        .value_bytes_max = f->config.value_bytes_max },
	    &effects);
	if (journal != NULL) {
		if (!replay_journal(lease, journal, &err)) {
			effects_fini(&effects);
			lease_remove(f, lease);
			snprintf(reason, sizeof(reason),
			         "its journal cannot be replayed: %s",
			         err.message);
			arrival_block(c, a, reason);
			return;
		}
		f->counters.recovered += a->has_journal;
		effects_clear(&effects);
		instance_wanted(lease->engine, &effects);
	}
	if (commands != NULL)
		commands_take(c, commands, COMMANDS_CANCEL);
	if (lease->ended)
		; /* by a command; its end is in the batch */
	else if (instance_status(lease->engine) != INSTANCE_RUNNING)
		batch_add_end(f, lease);
	else
		batch_perform(f, lease, &effects);
	/* These are about what is wanted: what follows from them is not. */
	if (commands != NULL)
		commands_take(c, commands, COMMANDS_TASKS);
	park_maybe(f, lease);
	effects_fini(&effects);
	arrival_free(c, a);
	flusher_turn_wanted(f);
}

static void
arrival_start(struct claim *c, struct arrival *a,
              const struct version *version, const PGresult *journal,
              const PGresult *commands)
{
	mark_set(c->flusher->mark, &a->id);
	arrival_make(c, a, version, journal, commands);
	mark_clear(c->flusher->mark);
}

static void
version_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct arrival *a = TAILQ_FIRST(&c->arrivals);
	const PGresult *r;
	char reason[600];

	c->busy = false;
	if (reply->outcome == DB_ERROR && a != NULL) {
		snprintf(reason, sizeof(reason),
		         "its definition cannot be read: %s", reply->message);
		arrival_release(c, a, reason);
	}
	if (reply->outcome == DB_DONE && a != NULL) {
		r = reply->results[0];
		if (PQntuples(r) == 0)
			versions_add(c->flusher->versions, a->version_id,
			             SLICE_NONE, SLICE_NONE);
		else
			versions_add(
			    c->flusher->versions, a->version_id,
			    (struct slice){
			        (const uint8_t *)PQgetvalue(r, 0, 0),
			        (size_t)PQgetlength(r, 0, 0) },
			    (struct slice){
			        (const uint8_t *)PQgetvalue(r, 0, 1),
			        (size_t)PQgetlength(r, 0, 1) });
	}
	claim_step(c);
}

/* Journals come in the order of the arrivals, three results for each. */
static void
journals_reply(void *arg, const struct db_reply *reply)
{
	struct claim *c = arg;
	struct arrival *a = TAILQ_FIRST(&c->arrivals);
	char reason[600];

	c->busy = false;
	/* One that takes longer than the deadline costs the session. */
	if (reply->outcome != DB_DONE && c->reading > 1) {
		c->read_max = 1; /* to find out whose it is */
	} else if (a != NULL &&
	           (reply->outcome == DB_ERROR ||
	            (reply->outcome == DB_LOST && ++a->lost == LOST_MAX))) {
		snprintf(reason, sizeof(reason),
		         "its journal cannot be read: %s", reply->message);
		arrival_release(c, a, reason);
	}
	for (uint32_t i = 0; reply->outcome == DB_DONE && i < c->reading &&
	     (a = TAILQ_FIRST(&c->arrivals)) != NULL; i++) {
		PGresult **r = &reply->results[i * 3];

		c->read_max = READ_MAX;
		/* Its end may have been on its way when it was listed. */
		if (PQntuples(r[2]) == 0)
			arrival_free(c, a);
		else
			arrival_start(c, a,
			              versions_find(c->flusher->versions,
			                            a->version_id),
			              r[0], r[1]);
	}
	claim_step(c);
}

static bool
arrival_is_read(struct claim *c, const struct arrival *a)
{
	const struct version *version =
	    versions_find(c->flusher->versions, a->version_id);

	return version != NULL && version->definition != NULL &&
	    (a->has_journal || a->commanded) &&
	    lease_find(c->flusher->leases, &a->id) == NULL;
}

/* Several in one round trip: after a crash there are thousands. */
static void
journals_read(struct claim *c)
{
	struct db_call *call = session_call(c->session, journals_reply, c);
	struct params *p = &c->params;
	struct arrival *a;

	commit_forget_consumed(c->flusher->commit);
	c->reading = 0;
	TAILQ_FOREACH (a, &c->arrivals, entry) {
		if (c->reading == c->read_max || !arrival_is_read(c, a))
			break;
		params_clear(p);
		params_uuid(p, &a->id);
		params_send(p, call, &sql_log_read);
		params_send(p, call, &sql_commands_of);
		params_uuid(p, &c->flusher->incarnation);
		params_send(p, call, &sql_still_owned);
		c->reading++;
	}
	c->busy = true;
	db_call_send(call);
}

bool
arrivals_step(struct claim *c)
{
	struct flusher *f = c->flusher;
	struct arrival *a;

	while ((a = TAILQ_FIRST(&c->arrivals)) != NULL && !c->stopped) {
		const struct version *version =
		    versions_find(f->versions, a->version_id);
		struct db_call *call;

		params_clear(&c->params);
		if (version == NULL) {
			call = session_call(c->session, version_reply, c);
			params_int8(&c->params, a->version_id);
			params_send(&c->params, call, &sql_version_read);
		} else if (version->definition == NULL) {
			char reason[600];

			snprintf(reason, sizeof(reason),
			         "version %lld of its workflow cannot be "
			         "used: %s",
			         (long long)a->version_id, version->problem);
			arrival_release(c, a, reason);
			continue;
		} else if (lease_find(f->leases, &a->id) != NULL) {
			arrival_free(c, a); /* we have it already */
			continue;
		} else if (!a->has_journal && !a->commanded) {
			arrival_start(c, a, version, NULL, NULL);
			continue;
		} else {
			journals_read(c);
			return true;
		}
		c->busy = true;
		db_call_send(call);
		return true;
	}
	return false;
}

void
arrival_take(struct claim *c, const PGresult *r, int row)
{
	struct arrival *a = mem_zalloc(sizeof(*a));

	memcpy(a->id.bytes, PQgetvalue(r, row, 0), 16);
	a->version_id = db_int64(r, row, 1);
	a->started_at_us = params_time_us(db_int64(r, row, 3));
	a->has_journal = db_bool(r, row, 4);
	a->commanded = db_bool(r, row, 7);
	a->cancelled = db_bool(r, row, 8);
	buf_add(&a->input, PQgetvalue(r, row, 5),
	        (size_t)PQgetlength(r, row, 5));
	if (!PQgetisnull(r, row, 6))
		a->name = mem_strndup(PQgetvalue(r, row, 6),
		                      (size_t)PQgetlength(r, row, 6));
	TAILQ_INSERT_TAIL(&c->arrivals, a, entry);
	c->arriving++;
}
