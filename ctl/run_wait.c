/*
 * run_wait - waiting for a run to end, and showing how it ended.
 *
 * There is no notification of results, so we look: often at first, as most
 * waiting is for runs of milliseconds, then four times a second.
 */
#include "ctl/run_wait.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "ctl/out.h"

#define POLL_MIN_US (5 * CLOCK_MS_US)
#define POLL_MAX_US (250 * CLOCK_MS_US)
/* A server that restarts is waited for; one that stays away is not. */
#define DATABASE_AWAY_MAX_US (60 * CLOCK_SECOND_US)

static const struct column end_columns[] = {
	{ "id", "Run", COLUMN_TEXT },
	{ "workflow", "Workflow", COLUMN_TEXT },
	{ "version", "Version", COLUMN_NUMBER },
	{ "status", "Status", COLUMN_TEXT },
	{ "created_at", "Created", COLUMN_TIME },
	{ "started_at", "Started", COLUMN_TIME },
	{ "ended_at", "Ended", COLUMN_TIME },
	{ "output", NULL, COLUMN_JSON },
	{ "error", "Error", COLUMN_TEXT },
	{ "cause", "Cause", COLUMN_TEXT },
};

enum { END_ID, END_STATUS = 3, END_OUTPUT = 7, END_ERROR, END_CAUSE };

#define END_COLUMNS (sizeof(end_columns) / sizeof(end_columns[0]))

/* clang-format off */
#define END_SQL \
	"SELECT id, workflow, version, status, " SQL_TIME("created_at") ", " \
	SQL_TIME("started_at") ", " SQL_TIME("ended_at") ", " \
	"output, error, cause FROM rappel.instances WHERE id = $1::uuid"
/* clang-format on */

static bool
has_ended(const char *status)
{
	static const char *const ended[] = { "succeeded", "failed", "timed_out",
					     "cancelled" };

	for (size_t n = 0; n < sizeof(ended) / sizeof(ended[0]); n++)
		if (strcmp(status, ended[n]) == 0)
			return true;
	return false;
}

/* NULL for SQL's. */
static const char *
cell(const PGresult *rows, int column)
{
	return PQgetisnull(rows, 0, column) ? NULL
					    : PQgetvalue(rows, 0, column);
}

int
run_show_end(const struct ctl *c, struct pg *pg, const char *id)
{
	const char *params[1] = { id };
	const char *status, *error, *cause;
	PGresult *rows;
	bool succeeded;
	int rc = pg_query(pg, END_SQL, 1, params, &rows);

	if (rc != CTL_OK)
		return rc;
	if (PQntuples(rows) == 0) {
		complain("there is no run %s any more", id);
		PQclear(rows);
		return CTL_NOT_FOUND;
	}
	status = cell(rows, END_STATUS);
	error = cell(rows, END_ERROR);
	cause = cell(rows, END_CAUSE);
	succeeded = strcmp(status, "succeeded") == 0;
	if (!has_ended(status)) {
		complain("run %s has not ended: it is %s", id, status);
		advise("Wait for it: rappelctl run wait %s", id);
		advise("Why it does not go on: rappelctl run show %s", id);
		rc = CTL_REFUSED;
		goto out;
	}
	if (out_is_json(c))
		out_record(c, rows, 0, end_columns, END_COLUMNS);
	else if (c->format == FORMAT_NAME)
		out_line("%s", id);
	else if (succeeded)
		out_json_text(PQgetisnull(rows, 0, END_OUTPUT)
				  ? "null"
				  : PQgetvalue(rows, 0, END_OUTPUT));
	if (!succeeded) {
		complain("run %s %s%s%s%s%s", id,
			 strcmp(status, "timed_out") == 0   ? "timed out"
			 : strcmp(status, "cancelled") == 0 ? "was cancelled"
							    : status,
			 error != NULL ? ": " : "", error != NULL ? error : "",
			 cause != NULL && *cause != '\0' ? ": " : "",
			 cause != NULL ? cause : "");
		advise("What happened: rappelctl run history %s", id);
		rc = CTL_RUN_FAILED;
	}
out:
	PQclear(rows);
	return rc;
}

/* ---- waiting ---- */

struct waiting {
	const struct ctl *c;
	struct pg *pg;
	const char *id;
	uint64_t until_us;
	uint64_t away_since_us; /* database; 0: it is there */
	bool blocked_said;
	char status[32];
};

/*
 * Looks once. CTL_OK with w->status, or w->status empty while the database
 * is away and may come back.
 */
static int
look(struct waiting *w)
{
	const char *params[1] = { w->id };
	uint64_t now_us = clock_mono_us();
	PGresult *rows;
	int rc = CTL_OK;

	w->status[0] = '\0';
	if (w->away_since_us != 0)
		rc = pg_reopen_quietly(w->pg);
	if (rc == CTL_OK)
		rc = pg_query_quietly(w->pg,
				      "SELECT status, reason "
				      "FROM rappel.workflow_instances "
				      "WHERE id = $1::uuid",
				      1, params, &rows);
	if (rc == CTL_DATABASE) {
		if (w->away_since_us == 0) {
			note(w->c,
			     "the database went away; waiting for it: "
			     "%s",
			     pg_message(w->pg));
			w->away_since_us = now_us;
		}
		if (now_us - w->away_since_us < DATABASE_AWAY_MAX_US)
			return CTL_OK;
	}
	if (rc != CTL_OK) {
		if (rc != CTL_INTERRUPTED)
			pg_complain(w->pg, rc);
		return rc;
	}
	if (w->away_since_us != 0) {
		note(w->c, "the database is back");
		w->away_since_us = 0;
	}
	if (PQntuples(rows) == 0) {
		complain("there is no run %s any more", w->id);
		PQclear(rows);
		return CTL_NOT_FOUND;
	}
	snprintf(w->status, sizeof(w->status), "%s", PQgetvalue(rows, 0, 0));
	if (strcmp(w->status, "blocked") == 0 && !w->blocked_said) {
		const char *reason = cell(rows, 1);

		note(w->c, "run %s is set aside: %s", w->id,
		     reason != NULL ? reason : "no reason is given");
		w->blocked_said = true;
	}
	PQclear(rows);
	return CTL_OK;
}

static void
say_detached(const struct waiting *w, const char *why)
{
	complain("%s; run %s goes on%s%s%s", why, w->id,
		 w->status[0] != '\0' ? " (it is " : "", w->status,
		 w->status[0] != '\0' ? ")" : "");
	advise("Wait again: rappelctl run wait %s", w->id);
}

int
run_wait(const struct ctl *c, struct pg *pg, const char *id,
	 uint64_t timeout_us)
{
	struct waiting w = {
		.c = c,
		.pg = pg,
		.id = id,
		.until_us =
		    timeout_us == 0 ? UINT64_MAX : clock_mono_us() + timeout_us,
	};
	uint64_t pause_us = POLL_MIN_US;

	interrupt_watch();
	for (;;) {
		uint64_t now_us, wait_us = pause_us;
		int rc = look(&w);

		if (interrupted) {
			say_detached(&w, "interrupted");
			return CTL_INTERRUPTED;
		}
		if (rc != CTL_OK)
			return rc;
		if (has_ended(w.status))
			return run_show_end(c, pg, id);
		now_us = clock_mono_us();
		if (now_us >= w.until_us) {
			say_detached(&w, "timeout");
			return CTL_TIMEOUT;
		}
		if (wait_us > w.until_us - now_us)
			wait_us = w.until_us - now_us;
		/* Nothing to watch but the clock; Ctrl-C ends it early. */
		poll(NULL, 0, (int)(wait_us / 1000 + 1));
		pause_us += pause_us / 2;
		if (pause_us > POLL_MAX_US)
			pause_us = POLL_MAX_US;
	}
}

int
cmd_run_wait(struct ctl *c)
{
	char id[UUID_TEXT_SIZE];
	uint64_t timeout_us = 0;
	struct pg *pg;
	int rc = option_duration(c, OPTION_TIMEOUT, &timeout_us);

	if (rc == CTL_OK)
		rc = pg_open(c, &pg);
	if (rc != CTL_OK)
		return rc;
	rc = pg_find_instance(pg, c->words[0], id);
	if (rc == CTL_OK)
		rc = run_wait(c, pg, id, timeout_us);
	pg_close(&pg);
	return rc;
}
