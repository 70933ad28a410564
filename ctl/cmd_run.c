/*
 * cmd_run - runs: start, list, show, history, result, cancel.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/near.h"
#include "common/uuid.h"
#include "ctl/ctl.h"
#include "ctl/input.h"
#include "ctl/out.h"
#include "ctl/pg.h"
#include "ctl/run_wait.h"
#include "engine/timestamp.h"

/* Of a value in what people read. */
#define SHOWN_BYTES_MAX 2000U

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * An option's time as a timestamptz literal: RFC 3339, or a duration from now
 * (sign +1) or back from it (sign -1). NULL when not given.
 */
static int
option_time(const struct ctl *c, enum option o, int sign,
	    char text[TIMESTAMP_TEXT_SIZE], const char **out)
{
	const char *typed = option(c, o);
	uint64_t us;
	int64_t at_us;

	*out = NULL;
	if (typed == NULL)
		return CTL_OK;
	if (config_duration(typed + (*typed == '+'), &us) == 0) {
		at_us = clock_wall_us() + sign * (int64_t)us;
		timestamp_text(at_us, text);
	} else if (timestamp_parse(slice_of(typed), &at_us) == 0 &&
		   strlen(typed) < TIMESTAMP_TEXT_SIZE) {
		/* As it was typed: with all its digits. */
		memcpy(text, typed, strlen(typed) + 1);
	} else {
		complain("%s %s: expected a time like 2026-01-14T12:00:00Z "
			 "or a duration like 10min",
			 option_spelling(o), typed);
		return CTL_USAGE;
	}
	*out = text;
	return CTL_OK;
}

/* ---- start ---- */

static const struct column started_columns[] = {
	{ "id", "Run", COLUMN_TEXT },
	{ "workflow", "Workflow", COLUMN_TEXT },
	{ "version", "Version", COLUMN_NUMBER },
	{ "status", "Status", COLUMN_TEXT },
	{ "created_at", "Created", COLUMN_TIME },
	{ "due_at", "Due", COLUMN_TIME },
};

/* clang-format off */
#define STARTED_SQL \
	"SELECT id, workflow, version, status, " SQL_TIME("created_at") ", " \
	SQL_TIME("due_at") " FROM rappel.instances WHERE id = $1::uuid"
/* clang-format on */

/* What was started, complete: with --json. */
static int
show_started(const struct ctl *c, struct pg *pg, const char *id)
{
	const char *params[1] = { id };
	PGresult *rows;
	int rc = pg_query(pg, STARTED_SQL, 1, params, &rows);

	if (rc != CTL_OK)
		return rc;
	if (PQntuples(rows) > 0)
		out_record(c, rows, 0, started_columns, COUNT(started_columns));
	PQclear(rows);
	return CTL_OK;
}

static int
start(const struct ctl *c, struct pg *pg, const char *const params[7],
      char id[UUID_TEXT_SIZE])
{
	PGresult *rows;
	int rc = pg_query_quietly(pg,
				  "SELECT rappel.start_workflow($1, "
				  "$2::json, $3, $4::int, $5::timestamptz, "
				  "$6, $7::int)",
				  7, params, &rows);

	if (rc != CTL_OK) {
		pg_complain(pg, rc);
		if (rc == CTL_NOT_FOUND)
			advise("See: rappelctl workflow list");
		return rc;
	}
	snprintf(id, UUID_TEXT_SIZE, "%s", PQgetvalue(rows, 0, 0));
	PQclear(rows);
	detail(c, "started %s", id);
	return CTL_OK;
}

int
cmd_run_start(struct ctl *c)
{
	char id[UUID_TEXT_SIZE], at[TIMESTAMP_TEXT_SIZE];
	char priority_text[24], version_text[24];
	int64_t priority = 0, version = 0;
	uint64_t timeout_us = 0;
	struct buf input = BUF_EMPTY;
	struct pg *pg = NULL;
	const char *params[7] = { c->words[0],   NULL, option(c, OPTION_KEY),
				  priority_text, NULL, option(c, OPTION_NAME),
				  NULL };
	int rc = option_number(c, OPTION_PRIORITY, -32767, 32767, &priority);

	if (rc == CTL_OK)
		rc = option_number(c, OPTION_VERSION, 1, INT32_MAX, &version);
	if (rc == CTL_OK)
		rc = option_duration(c, OPTION_TIMEOUT, &timeout_us);
	if (rc == CTL_OK)
		rc = option_time(c, OPTION_AT, 1, at, &params[4]);
	if (rc == CTL_OK && given(c, OPTION_TIMEOUT) &&
	    !given(c, OPTION_WAIT)) {
		complain("--timeout belongs to --wait");
		rc = CTL_USAGE;
	}
	if (rc == CTL_OK)
		rc = input_read(c, &input, NULL);
	if (rc == CTL_OK)
		rc = pg_open(c, &pg);
	if (rc != CTL_OK)
		goto out;
	snprintf(priority_text, sizeof(priority_text), "%" PRId64, priority);
	snprintf(version_text, sizeof(version_text), "%" PRId64, version);
	params[1] = buf_text(&input);
	params[6] = version != 0 ? version_text : NULL;
	rc = start(c, pg, params, id);
	if (rc != CTL_OK)
		goto out;
	if (given(c, OPTION_WAIT)) {
		note(c, "run %s", id);
		rc = run_wait(c, pg, id, timeout_us);
	} else if (out_is_json(c)) {
		rc = show_started(c, pg, id);
	} else {
		out_line("%s", id);
	}
out:
	pg_close(&pg);
	buf_fini(&input);
	return rc;
}

/* ---- list ---- */

static const char *const statuses[] = { "queued",    "waiting", "running",
					"succeeded", "failed",  "timed_out",
					"cancelled", "blocked" };

static const struct column list_columns[] = {
	{ "id", "RUN", COLUMN_TEXT },
	{ "workflow", "WORKFLOW", COLUMN_TEXT },
	{ "version", "VERSION", COLUMN_NUMBER },
	{ "status", "STATUS", COLUMN_TEXT },
	{ "priority", NULL, COLUMN_NUMBER },
	{ "name", NULL, COLUMN_TEXT },
	{ "created_at", "CREATED", COLUMN_TIME },
	{ "started_at", NULL, COLUMN_TIME },
	{ "ended_at", NULL, COLUMN_TIME },
	{ "due_at", NULL, COLUMN_TIME },
	{ "pool", NULL, COLUMN_TEXT },
	{ "seconds", "TOOK", COLUMN_SECONDS },
	{ "reason", NULL, COLUMN_TEXT },
	{ "error", NULL, COLUMN_TEXT },
	{ NULL, "NOTE", COLUMN_TEXT }, /* of the two before, for people */
};

/* clang-format off */
#define LIST_SQL \
	"SELECT id, workflow, version, status, priority, name, " \
	SQL_TIME("created_at") ", " SQL_TIME("started_at") ", " \
	SQL_TIME("ended_at") ", " SQL_TIME("due_at") ", pool, " \
	"extract(epoch FROM ended_at - started_at), reason, error, " \
	"coalesce(error, reason, name) " \
	"FROM rappel.instances " \
	"WHERE ($1::text[] IS NULL OR status = ANY ($1::text[])) " \
	"AND ($2::text IS NULL OR workflow = $2) " \
	"AND ($3::timestamptz IS NULL " \
	"OR id >= rappel.uuid7_floor($3::timestamptz)) " \
	"ORDER BY id DESC LIMIT $4::bigint"
/* clang-format on */

/* "failed,timed_out" as a text[] literal; complains about other words. */
static int
status_filter(const char *typed, struct buf *out)
{
	char *copy = mem_strdup(typed);
	char *rest = copy;
	int rc = CTL_OK;

	for (char *word; (word = strsep(&rest, ",")) != NULL;) {
		bool known = false;

		for (size_t n = 0; n < COUNT(statuses); n++)
			known = known || strcmp(word, statuses[n]) == 0;
		if (!known) {
			const char *near =
			    near_name(word, statuses, COUNT(statuses));

			complain("--status %s: no such status%s%s%s", word,
				 near != NULL ? "; did you mean " : "",
				 near != NULL ? near : "",
				 near != NULL ? "?" : "");
			advise("There are queued, waiting, running, "
			       "succeeded, failed, timed_out, cancelled and "
			       "blocked.");
			rc = CTL_USAGE;
			break;
		}
		pg_array_add(out, slice_of(word));
	}
	pg_array_end(out);
	free(copy);
	return rc;
}

/* A filter that can match nothing is a typing error. */
static int
check_workflow(struct pg *pg, const char *name)
{
	const char *params[1] = { name };
	PGresult *rows;
	int rc;

	if (name == NULL)
		return CTL_OK;
	rc = pg_query(pg,
		      "SELECT 1 FROM rappel.workflows "
		      "WHERE workflow = $1",
		      1, params, &rows);
	if (rc != CTL_OK)
		return rc;
	if (PQntuples(rows) == 0) {
		complain("workflow \"%s\" is not registered", name);
		advise("See: rappelctl workflow list");
		rc = CTL_NOT_FOUND;
	}
	PQclear(rows);
	return rc;
}

int
cmd_run_list(struct ctl *c)
{
	char since[TIMESTAMP_TEXT_SIZE], limit_text[24];
	const char *params[4] = { NULL, option(c, OPTION_WORKFLOW), NULL,
				  NULL };
	struct buf filter = BUF_EMPTY;
	struct pg *pg = NULL;
	PGresult *rows;
	int64_t limit = 50;
	int count;
	int rc = option_number(c, OPTION_LIMIT, 0, 100000000, &limit);

	if (rc == CTL_OK)
		rc = option_time(c, OPTION_SINCE, -1, since, &params[2]);
	if (rc == CTL_OK && given(c, OPTION_STATUS)) {
		rc = status_filter(option(c, OPTION_STATUS), &filter);
		params[0] = buf_text(&filter);
	}
	if (rc == CTL_OK)
		rc = pg_open(c, &pg);
	if (rc == CTL_OK)
		rc = check_workflow(pg, params[1]);
	if (rc != CTL_OK)
		goto out;
	/* One more than asked tells that there are more. */
	snprintf(limit_text, sizeof(limit_text), "%" PRId64, limit + 1);
	params[3] = limit != 0 ? limit_text : NULL;
	rc = pg_query(pg, LIST_SQL, 4, params, &rows);
	if (rc != CTL_OK)
		goto out;
	count = PQntuples(rows);
	if (limit != 0 && count > limit)
		count = (int)limit;
	out_rows(c, rows, 0, count, list_columns, COUNT(list_columns));
	if (count == 0)
		note(c, "no runs%s",
		     params[0] != NULL || params[1] != NULL || params[2] != NULL
			 ? " that match"
			 : "");
	else if (count < PQntuples(rows))
		note(c, "there are more: --limit 0 shows all");
	PQclear(rows);
out:
	pg_close(&pg);
	buf_fini(&filter);
	return rc;
}

/* ---- show ---- */

static const struct column show_columns[] = {
	{ "id", "Run", COLUMN_TEXT },
	{ "workflow", "Workflow", COLUMN_TEXT },
	{ "version", "Version", COLUMN_NUMBER },
	{ "status", "Status", COLUMN_TEXT },
	{ "reason", "Reason", COLUMN_TEXT },
	{ "name", "Name", COLUMN_TEXT },
	{ "priority", "Priority", COLUMN_NUMBER },
	{ "created_at", "Created", COLUMN_TIME },
	{ "due_at", "Due", COLUMN_TIME },
	{ "started_at", "Started", COLUMN_TIME },
	{ "ended_at", "Ended", COLUMN_TIME },
	{ "seconds", "Took", COLUMN_SECONDS },
	{ "pool", "Pool", COLUMN_TEXT },
	{ "host", "Host", COLUMN_TEXT },
	{ "pool_silent_seconds", NULL, COLUMN_SECONDS },
	{ "cancel_requested", NULL, COLUMN_BOOL },
	{ "pools", NULL, COLUMN_NUMBER },
	{ "ahead", NULL, COLUMN_NUMBER },
	{ "entries", "Entries", COLUMN_NUMBER },
	{ "succeeded", "  succeeded", COLUMN_NUMBER },
	{ "failed", "  failed", COLUMN_NUMBER },
	{ "fired", "  fired", COLUMN_NUMBER },
	{ "error", "Error", COLUMN_TEXT },
	{ "cause", "Cause", COLUMN_TEXT },
	{ "input", NULL, COLUMN_JSON },
	{ "output", NULL, COLUMN_JSON },
	{ "progress", NULL, COLUMN_JSON },
};

enum {
	SHOW_ID = 0,
	SHOW_STATUS = 3,
	SHOW_REASON = 4,
	SHOW_DUE = 8,
	SHOW_SILENT = 14,
	SHOW_CANCEL = 15,
	SHOW_POOLS = 16,
	SHOW_AHEAD = 17,
	SHOW_INPUT = 24,
	SHOW_OUTPUT = 25,
};

/* Events are counted by their first number, as engine/event.h has them. */
/* clang-format off */
#define SHOW_SQL \
	"SELECT i.id, v.workflow, v.version, i.status, i.reason, i.name, " \
	"i.priority, " SQL_TIME("rappel.uuid7_time(i.id)") ", " \
	SQL_TIME("i.due_at") ", " SQL_TIME("i.started_at") ", " \
	SQL_TIME("i.ended_at") ", " \
	"extract(epoch FROM i.ended_at - i.started_at), p.name, p.host, " \
	"extract(epoch FROM clock_timestamp() - h.at), " \
	"EXISTS (SELECT FROM rappel.commands c " \
	"WHERE c.instance_id = i.id AND c.kind = 'cancel'), " \
	"(SELECT count(*) FROM rappel.worker_pools), " \
	"CASE WHEN i.status = 'queued' THEN (SELECT count(*) FROM (" \
	"SELECT FROM rappel.workflow_instances o WHERE o.status = 'queued' " \
	"AND (-o.priority, o.id) < (-i.priority, i.id) LIMIT 100000) t) END, " \
	"coalesce(j.entries, 0), coalesce(j.succeeded, 0), " \
	"coalesce(j.failed, 0), coalesce(j.fired, 0), i.error, i.cause, " \
	"i.input, i.output, (SELECT json_agg(json_build_object(" \
	"'state', a.state, 'action', a.activation, 'attempt', a.attempt, " \
	"'at', " SQL_TIME("a.at") ", 'progress', a.progress) " \
	"ORDER BY a.activation) FROM rappel.action_progress a " \
	"WHERE a.instance_id = i.id) " \
	"FROM rappel.workflow_instances i " \
	"JOIN rappel.workflow_versions v ON v.id = i.version_id " \
	"LEFT JOIN rappel.worker_pools p ON p.incarnation = i.owner " \
	"LEFT JOIN rappel.pool_heartbeats h ON h.incarnation = i.owner " \
	"LEFT JOIN LATERAL (SELECT count(*) AS entries, " \
	"count(*) FILTER (WHERE e ->> 0 = '1') AS succeeded, " \
	"count(*) FILTER (WHERE e ->> 0 = '2') AS failed, " \
	"count(*) FILTER (WHERE e ->> 0 = '3') AS fired " \
	"FROM rappel.action_log l, " \
	"json_array_elements(rappel.readable(l.entries)) e " \
	"WHERE l.instance_id = i.id) j ON true " \
	"WHERE i.id = $1::uuid"
/* clang-format on */

/* Why a run does not go on, as far as the tables tell. */
static void
say_why(const PGresult *rows)
{
	const char *status = PQgetvalue(rows, 0, SHOW_STATUS);
	bool running = strcmp(status, "running") == 0;
	double silent_s = strtod(PQgetvalue(rows, 0, SHOW_SILENT), NULL);
	char text[DURATION_TEXT_SIZE];

	if (PQgetvalue(rows, 0, SHOW_CANCEL)[0] == 't')
		advise("A cancel was asked for and is not applied yet.");
	if (running && PQgetisnull(rows, 0, SHOW_SILENT)) {
		advise("Its pool is gone; another one takes it over.");
	} else if (running && silent_s > 10) {
		duration_text(silent_s, text);
		advise("Its pool has been silent for %s; another one takes "
		       "over.",
		       text);
	} else if (strcmp(status, "queued") == 0) {
		if (strcmp(PQgetvalue(rows, 0, SHOW_POOLS), "0") == 0)
			advise("No pool is there to run it: start rappeld.");
		else
			advise("%s runs are claimed before it.",
			       PQgetvalue(rows, 0, SHOW_AHEAD));
	} else if (strcmp(status, "waiting") == 0 &&
		   PQgetisnull(rows, 0, SHOW_DUE)) {
		advise("See for what: rappelctl task list --instance %s",
		       PQgetvalue(rows, 0, SHOW_ID));
	} else if (strcmp(status, "waiting") == 0) {
		advise("It goes on at %s.", PQgetvalue(rows, 0, SHOW_DUE));
	}
}

static const struct column progress_columns[] = {
	{ "state", "STATE", COLUMN_TEXT },
	{ "action", "ACTION", COLUMN_NUMBER },
	{ "attempt", "ATTEMPT", COLUMN_NUMBER },
	{ "at", "SAID", COLUMN_TIME },
	{ "progress", "PROGRESS", COLUMN_JSON },
};

/* So many rows are enough for people: --json has all of them. */
/* clang-format off */
#define PROGRESS_SQL \
	"SELECT state, activation, attempt, " SQL_TIME("at") ", progress " \
	"FROM rappel.action_progress WHERE instance_id = $1::uuid " \
	"ORDER BY activation LIMIT 20"
/* clang-format on */

/* What its running attempts last said of themselves, if they did. */
static int
show_progress(const struct ctl *c, struct pg *pg, const char *id)
{
	const char *params[1] = { id };
	PGresult *rows;
	int rc = pg_query(pg, PROGRESS_SQL, 1, params, &rows);

	if (rc != CTL_OK)
		return rc;
	if (PQntuples(rows) > 0) {
		out_line("%s", "");
		out_rows(c, rows, 0, PQntuples(rows), progress_columns,
			 COUNT(progress_columns));
	}
	PQclear(rows);
	return CTL_OK;
}

/* A value for people: --json has all of it. */
static void
show_value(const struct ctl *c, const char *label, const char *json)
{
	size_t len = strlen(json);

	if (len <= SHOWN_BYTES_MAX) {
		out_field(c, label, "%s", json);
		return;
	}
	len = SHOWN_BYTES_MAX;
	while (((unsigned char)json[len] & 0xc0) == 0x80)
		len--;
	out_field(c, label, "%.*s… (%zu bytes; --json shows all)", (int)len,
		  json, strlen(json));
}

int
cmd_run_show(struct ctl *c)
{
	char id[UUID_TEXT_SIZE];
	const char *params[1] = { id };
	struct pg *pg;
	PGresult *rows;
	int rc = pg_open(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_find_instance(pg, c->words[0], id);
	if (rc == CTL_OK)
		rc = pg_query(pg, SHOW_SQL, 1, params, &rows);
	if (rc != CTL_OK)
		goto out;
	if (PQntuples(rows) == 0) {
		complain("there is no run %s any more", id);
		rc = CTL_NOT_FOUND;
	} else {
		out_record(c, rows, 0, show_columns, COUNT(show_columns));
		if (c->format == FORMAT_TABLE) {
			show_value(c, "Input", PQgetvalue(rows, 0, SHOW_INPUT));
			if (!PQgetisnull(rows, 0, SHOW_OUTPUT))
				show_value(c, "Output",
					   PQgetvalue(rows, 0, SHOW_OUTPUT));
			rc = show_progress(c, pg, id);
			if (!c->quiet)
				say_why(rows);
		}
	}
	PQclear(rows);
out:
	pg_close(&pg);
	return rc;
}

/* ---- history ---- */

static const struct column history_columns[] = {
	{ "seq", "SEQ", COLUMN_NUMBER },
	{ "at", "AT", COLUMN_TEXT },
	{ "event", "EVENT", COLUMN_TEXT },
	{ "state", "STATE", COLUMN_TEXT },
	{ "index", "INDEX", COLUMN_NUMBER },
	{ "action", NULL, COLUMN_NUMBER },
	{ "attempt", "ATTEMPT", COLUMN_NUMBER },
	{ "worker", "WORKER", COLUMN_NUMBER },
	{ "run_seconds", "RAN", COLUMN_SECONDS },
	{ "result", NULL, COLUMN_JSON },
	{ "error", NULL, COLUMN_TEXT },
	{ "cause", NULL, COLUMN_TEXT },
	{ "details", NULL, COLUMN_JSON },
	{ NULL, "RESULT", COLUMN_TEXT }, /* of the four before, for people */
};

/* clang-format off */
#define HISTORY_SQL \
	"SELECT seq, " SQL_TIME("at") ", event, state, index, action, " \
	"attempt, worker, extract(epoch FROM run), result, error, cause, " \
	"details, coalesce(result::text, " \
	"CASE WHEN event = 'heartbeat' THEN details ->> 'progress' END, " \
	"concat_ws(': ', error, nullif(cause, ''))) " \
	"FROM rappel.history WHERE instance_id = $1::uuid ORDER BY seq"
/* clang-format on */

int
cmd_run_history(struct ctl *c)
{
	char id[UUID_TEXT_SIZE];
	const char *params[1] = { id };
	struct pg *pg;
	PGresult *rows;
	int rc = pg_open(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_find_instance(pg, c->words[0], id);
	if (rc == CTL_OK)
		rc = pg_query(pg, HISTORY_SQL, 1, params, &rows);
	if (rc == CTL_OK) {
		out_rows(c, rows, 0, PQntuples(rows), history_columns,
			 COUNT(history_columns));
		if (PQntuples(rows) == 0)
			note(c, "nothing is in the journal of run %s yet", id);
		PQclear(rows);
	}
	pg_close(&pg);
	return rc;
}

/* ---- result ---- */

int
cmd_run_result(struct ctl *c)
{
	char id[UUID_TEXT_SIZE];
	struct pg *pg;
	int rc = pg_open(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_find_instance(pg, c->words[0], id);
	if (rc == CTL_OK)
		rc = run_show_end(c, pg, id);
	pg_close(&pg);
	return rc;
}

/* ---- cancel ---- */

static void
print_cancelled(const struct ctl *c, struct json_out *j, const char *id)
{
	if (out_is_json(c)) {
		json_out_open(j, NULL, '{');
		json_out_text(j, "id", id);
		json_out_bool(j, "requested", true);
		json_out_close(j, '}');
		if (c->format == FORMAT_JSONL)
			out_json(j);
	} else if (c->format == FORMAT_NAME) {
		out_line("%s", id);
	} else {
		note(c, "cancel of run %s is asked for", id);
	}
}

static int
cancel_one(const struct ctl *c, struct pg *pg, const char *typed,
	   struct json_out *j)
{
	char id[UUID_TEXT_SIZE];
	const char *params[2] = { id, option(c, OPTION_CAUSE) };
	PGresult *rows;
	bool asked;
	int rc = pg_find_instance(pg, typed, id);

	if (rc == CTL_OK)
		rc = pg_query(pg, "SELECT rappel.cancel_workflow($1::uuid, $2)",
			      2, params, &rows);
	if (rc != CTL_OK)
		return rc;
	asked = PQgetvalue(rows, 0, 0)[0] == 't';
	PQclear(rows);
	if (!asked) {
		complain("run %s has ended already", id);
		advise("See: rappelctl run show %s", id);
		return CTL_REFUSED;
	}
	print_cancelled(c, j, id);
	return CTL_OK;
}

/* The ids typed, or with "-" the lines of stdin, which lie in *text. */
static int
collect_ids(const struct ctl *c, struct buf *text, const char ***ids_out,
	    uint32_t *count_out)
{
	const char **ids = NULL;
	uint32_t count = 0, cap = 0;
	char *rest;
	int rc;

	if (c->word_count != 1 || strcmp(c->words[0], "-") != 0) {
		ids = mem_calloc(c->word_count, sizeof(*ids));
		memcpy(ids, c->words, c->word_count * sizeof(*ids));
		*ids_out = ids;
		*count_out = c->word_count;
		return CTL_OK;
	}
	rc = file_read("-", (size_t)64 << 20, "ids from", text);
	if (rc != CTL_OK)
		return rc;
	rest = buf_text(text);
	for (char *word; (word = strsep(&rest, " \t\r\n")) != NULL;) {
		if (*word == '\0')
			continue;
		if (count == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			ids = mem_realloc(ids, cap * sizeof(*ids));
		}
		ids[count++] = word;
	}
	*ids_out = ids;
	*count_out = count;
	return CTL_OK;
}

int
cmd_run_cancel(struct ctl *c)
{
	struct json_out j = JSON_OUT_EMPTY;
	struct buf text = BUF_EMPTY;
	const char **ids = NULL;
	uint32_t count = 0, done = 0;
	struct pg *pg = NULL;
	int first_failure = CTL_OK;
	int rc = collect_ids(c, &text, &ids, &count);

	if (rc == CTL_OK)
		rc = pg_open(c, &pg);
	if (rc != CTL_OK)
		goto out;
	if (c->format == FORMAT_JSON && count != 1)
		json_out_open(&j, NULL, '[');
	for (uint32_t n = 0; n < count; n++) {
		rc = cancel_one(c, pg, ids[n], &j);
		if (rc == CTL_OK)
			done++;
		else if (first_failure == CTL_OK)
			first_failure = rc;
		/* Without a database the rest fails alike. */
		if (rc == CTL_DATABASE)
			break;
	}
	if (c->format == FORMAT_JSON && count != 1)
		json_out_close(&j, ']');
	if (c->format == FORMAT_JSON && j.text.len > 0)
		out_json(&j);
	rc = first_failure != CTL_OK && done > 0 ? CTL_PARTIAL : first_failure;
out:
	json_out_fini(&j);
	pg_close(&pg);
	buf_fini(&text);
	free(ids);
	return rc;
}
