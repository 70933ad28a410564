/*
 * cmd_task - tasks that somebody finishes under their token: succeed, fail,
 * heartbeat, list.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/uuid.h"
#include "ctl/ctl.h"
#include "ctl/input.h"
#include "ctl/out.h"
#include "ctl/pg.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As rappel.task_succeed() and task_heartbeat() take it; the server has the
 * last word. */
#define RESULT_BYTES_MAX ((size_t)1 << 20)
#define PROGRESS_BYTES_MAX ((size_t)4 << 10)

/* ---- saying something of one ---- */

static void
print_said(const struct ctl *c, const char *token, const char *what)
{
	struct json_out j = JSON_OUT_EMPTY;

	if (out_is_json(c)) {
		json_out_open(&j, NULL, '{');
		json_out_text(&j, "token", token);
		json_out_bool(&j, "accepted", true);
		json_out_close(&j, '}');
		out_json(&j);
	} else if (c->format == FORMAT_NAME) {
		out_line("%s", token);
	} else {
		note(c, "%s of task %s is on its way", what, token);
	}
	json_out_fini(&j);
}

/* sql: one of the functions, which tell whether it comes in time. params
 * begins with the token. */
static int
say(const struct ctl *c, const char *what, const char *sql, int param_count,
    const char *const *params)
{
	struct pg *pg;
	PGresult *rows;
	int rc = pg_open(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_query(pg, sql, param_count, params, &rows);
	if (rc == CTL_OK) {
		if (PQgetvalue(rows, 0, 0)[0] == 't') {
			print_said(c, params[0], what);
		} else {
			complain("task %s is finished already, or somebody "
				 "else has answered for it",
				 params[0]);
			advise("See: rappelctl run history %.36s", params[0]);
			rc = CTL_REFUSED;
		}
		PQclear(rows);
	}
	pg_close(&pg);
	return rc;
}

int
cmd_task_succeed(struct ctl *c)
{
	struct buf result = BUF_EMPTY;
	const char *params[2] = { c->words[0], "null" };
	int rc = CTL_OK;

	if (c->word_count > 1)
		rc = input_json(c->words[1], "the result", RESULT_BYTES_MAX,
				&result);
	if (rc == CTL_OK) {
		if (c->word_count > 1)
			params[1] = buf_text(&result);
		rc = say(c, "the result",
			 "SELECT rappel.task_succeed($1, $2::json)", 2, params);
	}
	buf_fini(&result);
	return rc;
}

int
cmd_task_fail(struct ctl *c)
{
	const char *params[3] = { c->words[0], option(c, OPTION_ERROR),
				  option(c, OPTION_CAUSE) };

	return say(c, "the failure",
		   "SELECT rappel.task_fail($1, "
		   "coalesce($2, 'States.TaskFailed'), $3)",
		   3, params);
}

int
cmd_task_heartbeat(struct ctl *c)
{
	struct buf progress = BUF_EMPTY;
	const char *params[2] = { c->words[0], NULL };
	int rc = CTL_OK;

	if (given(c, OPTION_PROGRESS))
		rc = input_json(option(c, OPTION_PROGRESS), "the progress",
				PROGRESS_BYTES_MAX, &progress);
	if (rc == CTL_OK) {
		if (given(c, OPTION_PROGRESS))
			params[1] = buf_text(&progress);
		rc = say(c, "the heartbeat",
			 "SELECT rappel.task_heartbeat($1, $2::json)", 2,
			 params);
	}
	buf_fini(&progress);
	return rc;
}

/* ---- list ---- */

static const struct column list_columns[] = {
	{ "token", "TOKEN", COLUMN_TEXT },
	{ "id", NULL, COLUMN_TEXT },
	{ "workflow", "WORKFLOW", COLUMN_TEXT },
	{ "state", "STATE", COLUMN_TEXT },
	{ "index", "INDEX", COLUMN_NUMBER },
	{ "action", NULL, COLUMN_NUMBER },
	{ "attempt", NULL, COLUMN_NUMBER },
	{ "pending_since", "SINCE", COLUMN_TIME },
	{ "heartbeat_at", "HEARTBEAT", COLUMN_TIME },
	{ "progress", "PROGRESS", COLUMN_JSON },
};

/*
 * From the journals of the runs that have not ended: attempts with a pending
 * entry (6) and none that ended them. Kinds of entries are numbered in
 * engine/event.h.
 */
/* clang-format off */
#define LIST_SQL \
	"SELECT i.id || '.' || t.action || '.' || t.attempt, i.id, " \
	"v.workflow, v.states[t.state + 1], t.index, t.action, t.attempt, " \
	SQL_TIME("t.since") ", " SQL_TIME("t.beat") ", t.progress " \
	"FROM rappel.workflow_instances i " \
	"JOIN rappel.workflow_versions v ON v.id = i.version_id " \
	"CROSS JOIN LATERAL (SELECT e.action, max(e.attempt) AS attempt, " \
	"max(e.state) AS state, max(e.index) AS index, " \
	"max(e.at) FILTER (WHERE e.kind = 6) AS since, " \
	"max(e.at) FILTER (WHERE e.kind = 7) AS beat, " \
	"(array_agg(e.value ORDER BY e.at DESC) " \
	"FILTER (WHERE e.kind = 7))[1] AS progress FROM (" \
	"SELECT (e ->> 0)::int AS kind, (e ->> 2)::bigint AS action, " \
	"(e ->> 3)::int AS attempt, (e ->> 4)::int AS state, " \
	"(e ->> 5)::int AS index, e -> 8 AS value, " \
	"l.at + (e ->> 1)::bigint * interval '1 microsecond' AS at, " \
	"max((e ->> 3)::int) OVER (PARTITION BY e ->> 2) AS last " \
	"FROM rappel.action_log l, " \
	"json_array_elements(rappel.readable(l.entries)) e " \
	"WHERE l.instance_id = i.id) e WHERE e.attempt = e.last " \
	"GROUP BY e.action HAVING bool_or(e.kind = 6) " \
	"AND NOT bool_or(e.kind IN (1, 2, 3, 5))) t " \
	"WHERE i.status IN ('queued', 'waiting', 'running') " \
	"AND i.started_at IS NOT NULL " \
	"AND ($1::uuid IS NULL OR i.id = $1::uuid) " \
	"ORDER BY i.id DESC, t.action LIMIT $2::bigint"
/* clang-format on */

int
cmd_task_list(struct ctl *c)
{
	char id[UUID_TEXT_SIZE], limit_text[24];
	const char *params[2] = { NULL, NULL };
	struct pg *pg = NULL;
	PGresult *rows;
	int64_t limit = 50;
	int count;
	int rc = option_number(c, OPTION_LIMIT, 0, 100000000, &limit);

	if (rc == CTL_OK)
		rc = pg_open(c, &pg);
	if (rc == CTL_OK && given(c, OPTION_INSTANCE)) {
		rc = pg_find_instance(pg, option(c, OPTION_INSTANCE), id);
		params[0] = id;
	}
	/* One more than asked tells that there are more. */
	snprintf(limit_text, sizeof(limit_text), "%" PRId64, limit + 1);
	params[1] = limit != 0 ? limit_text : NULL;
	if (rc == CTL_OK)
		rc = pg_query(pg, LIST_SQL, 2, params, &rows);
	if (rc != CTL_OK)
		goto out;
	count = PQntuples(rows);
	if (limit != 0 && count > limit)
		count = (int)limit;
	out_rows(c, rows, 0, count, list_columns, COUNT(list_columns));
	if (count == 0)
		note(c, "no task waits for somebody");
	else if (count < PQntuples(rows))
		note(c, "there are more: --limit 0 shows all");
	PQclear(rows);
out:
	pg_close(&pg);
	return rc;
}
