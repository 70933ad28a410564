/*
 * cmd_workflow - definitions: register, validate, list, show.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "ctl/asl_file.h"
#include "ctl/control.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "ctl/pg.h"

static bool
name_is_good(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789_.:-");

	return len > 0 && len <= 128 && name[len] == '\0';
}

/* ---- register ---- */

/*
 * Warns of actions that no worker of the running daemon announces. Silent
 * when there is no daemon: a worker may come later, or be elsewhere.
 */
static void
warn_unserved(const struct ctl *c, const struct definition *d)
{
	struct buf reply = BUF_EMPTY;
	struct slice flusher, actions;
	uint32_t count;

	if (control_ask_quietly(c, "status", 2 * CLOCK_SECOND_US, &reply) !=
	    CTL_OK)
		return;
	if (!value_get(buf_slice(&reply), SLICE_LITERAL("flusher"), &flusher) ||
	    value_type(flusher) != VALUE_MAP ||
	    !value_get(flusher, SLICE_LITERAL("actions"), &actions) ||
	    value_type(actions) != VALUE_ARRAY)
		goto out;
	count = value_count(actions);
	for (uint32_t no = 0; no < definition_state_count(d); no++) {
		struct slice wanted = definition_state_action(d, no);
		struct slice name = definition_state_name(d, no);
		bool served = wanted.len == 0;

		for (uint32_t n = 0; n < count && !served; n++) {
			struct slice v;
			struct item item;

			if (!value_at(actions, n, &v))
				continue;
			item = value_item(v);
			served = item.type == VALUE_STR &&
				 item.bytes.len == wanted.len &&
				 memcmp(item.bytes.data, wanted.data,
					wanted.len) == 0;
		}
		if (!served)
			note(c,
			     "warning: state \"%.*s\": no worker here "
			     "serves the action \"%.*s\"; it will wait for one",
			     (int)name.len, (const char *)name.data,
			     (int)wanted.len, (const char *)wanted.data);
	}
out:
	buf_fini(&reply);
}

/* The highest version before and after tells whether it is new. */
static int
register_text(struct pg *pg, const char *name, const char *text,
	      const char *states, int *version_out, bool *new_out)
{
	const char *params[3] = { name, text, states };
	PGresult *rows;
	int before;
	int rc = pg_query(pg,
			  "SELECT coalesce(max(version), 0) "
			  "FROM rappel.workflow_versions WHERE workflow = $1",
			  1, params, &rows);

	if (rc != CTL_OK)
		return rc;
	before = atoi(PQgetvalue(rows, 0, 0));
	PQclear(rows);
	rc = pg_query(pg,
		      "SELECT rappel.register_checked($1, $2::json, "
		      "$3::text[])",
		      3, params, &rows);
	if (rc != CTL_OK)
		return rc;
	*version_out = atoi(PQgetvalue(rows, 0, 0));
	*new_out = *version_out > before;
	PQclear(rows);
	return CTL_OK;
}

int
cmd_workflow_register(struct ctl *c)
{
	const char *path = c->words[0];
	struct buf text = BUF_EMPTY, states = BUF_EMPTY;
	struct definition *d = NULL;
	struct pg *pg = NULL;
	char *name;
	int version = 0;
	bool is_new = false;
	int rc;

	if (!given(c, OPTION_NAME) && strcmp(path, "-") == 0) {
		complain("a definition from stdin needs --name NAME");
		return CTL_USAGE;
	}
	name = given(c, OPTION_NAME) ? strdup(option(c, OPTION_NAME))
				     : workflow_name_of(path);
	if (!name_is_good(name)) {
		complain("\"%s\" is no workflow name: 1 to 128 of letters, "
			 "digits, _ . : -",
			 name);
		advise("Name it: rappelctl workflow register %s --name NAME",
		       path);
		free(name);
		return CTL_USAGE;
	}
	rc = asl_file_load(c, path, &d, &text);
	if (rc == CTL_OK)
		rc = pg_open(c, &pg);
	if (rc != CTL_OK)
		goto out;
	for (uint32_t no = 0; no < definition_state_count(d); no++)
		pg_array_add(&states, definition_state_name(d, no));
	pg_array_end(&states);
	rc = register_text(pg, name, buf_text(&text), buf_text(&states),
			   &version, &is_new);
	if (rc != CTL_OK)
		goto out;
	if (out_is_json(c)) {
		struct json_out j = JSON_OUT_EMPTY;

		json_out_open(&j, NULL, '{');
		json_out_text(&j, "workflow", name);
		json_out_int(&j, "version", version);
		json_out_bool(&j, "new", is_new);
		json_out_int(&j, "states", definition_state_count(d));
		json_out_close(&j, '}');
		out_json(&j);
	} else if (c->format == FORMAT_NAME) {
		out_line("%s", name);
	} else {
		out_line("%s@%d", name, version);
		note(c, "%s",
		     is_new ? "registered; it is the current version"
			    : "unchanged; it is the current version");
	}
	warn_unserved(c, d);
out:
	pg_close(&pg);
	definition_unref(&d);
	buf_fini(&text);
	buf_fini(&states);
	free(name);
	return rc;
}

/* ---- validate ---- */

int
cmd_workflow_validate(struct ctl *c)
{
	struct definition *d;
	uint32_t count;
	int rc = asl_file_load(c, c->words[0], &d, NULL);

	if (rc != CTL_OK)
		return rc;
	count = definition_state_count(d);
	if (out_is_json(c)) {
		struct json_out j = JSON_OUT_EMPTY;

		json_out_open(&j, NULL, '{');
		json_out_open(&j, "errors", '[');
		json_out_close(&j, ']');
		json_out_open(&j, "states", '[');
		for (uint32_t no = 0; no < count; no++)
			json_out_slice(&j, NULL, definition_state_name(d, no));
		json_out_close(&j, ']');
		json_out_close(&j, '}');
		out_json(&j);
	} else {
		note(c, "%s is valid: %u state%s", c->words[0], count,
		     count == 1 ? "" : "s");
	}
	definition_unref(&d);
	return CTL_OK;
}

/* ---- list and show ---- */

static const struct column list_columns[] = {
	{ "workflow", "WORKFLOW", COLUMN_TEXT },
	{ "version", "VERSION", COLUMN_NUMBER },
	{ "versions", "VERSIONS", COLUMN_NUMBER },
	{ "states", "STATES", COLUMN_NUMBER },
	{ "created_at", "CREATED", COLUMN_TIME },
};

/* clang-format off */
#define LIST_SQL \
	"SELECT w.workflow, v.version, " \
	"(SELECT count(*) FROM rappel.workflow_versions o " \
	"WHERE o.workflow = w.workflow), cardinality(v.states), " \
	SQL_TIME("v.created_at") " FROM rappel.workflows w " \
	"JOIN rappel.workflow_versions v ON v.id = w.version_id " \
	"ORDER BY w.workflow LIMIT $1::bigint"
/* clang-format on */

int
cmd_workflow_list(struct ctl *c)
{
	struct pg *pg;
	PGresult *rows;
	int64_t limit = 0;
	char limit_text[24] = "";
	const char *params[1] = { NULL };
	int rc = option_number(c, OPTION_LIMIT, 0, 1000000, &limit);

	if (rc != CTL_OK)
		return rc;
	if (limit > 0) {
		snprintf(limit_text, sizeof(limit_text), "%lld",
			 (long long)limit);
		params[0] = limit_text;
	}
	rc = pg_open(c, &pg);
	if (rc != CTL_OK)
		return rc;
	rc = pg_query(pg, LIST_SQL, 1, params, &rows);
	if (rc == CTL_OK) {
		out_rows(c, rows, 0, PQntuples(rows), list_columns,
			 sizeof(list_columns) / sizeof(list_columns[0]));
		if (PQntuples(rows) == 0)
			note(c, "no workflows; register one: rappelctl "
				"workflow register FILE");
		PQclear(rows);
	}
	pg_close(&pg);
	return rc;
}

static const struct column show_columns[] = {
	{ "workflow", "Workflow", COLUMN_TEXT },
	{ "version", "Version", COLUMN_NUMBER },
	{ "current", "Current", COLUMN_BOOL },
	{ "created_at", "Created", COLUMN_TIME },
	{ "hash", "Hash", COLUMN_TEXT },
	{ "versions", "Versions", COLUMN_TEXT },
	{ "states", NULL, COLUMN_JSON },
	{ "definition", NULL, COLUMN_JSON },
};

#define SHOW_COLUMNS (sizeof(show_columns) / sizeof(show_columns[0]))

/* clang-format off */
#define SHOW_SQL \
	"SELECT v.workflow, v.version, w.version_id = v.id, " \
	SQL_TIME("v.created_at") ", encode(v.hash, 'hex'), " \
	"(SELECT string_agg(o.version::text, ', ' ORDER BY o.version) " \
	"FROM rappel.workflow_versions o WHERE o.workflow = v.workflow), " \
	"array_to_json(v.states), v.definition " \
	"FROM rappel.workflow_versions v " \
	"JOIN rappel.workflows w USING (workflow) " \
	"WHERE v.workflow = $1 AND CASE WHEN $2::int IS NULL " \
	"THEN v.id = w.version_id ELSE v.version = $2::int END"
/* clang-format on */

/* Of a name that is not there: the nearest, or how to see all. */
static int
no_such_workflow(const char *name, const char *version)
{
	if (version != NULL)
		complain("workflow \"%s\" has no version %s", name, version);
	else
		complain("workflow \"%s\" is not registered", name);
	advise("See: rappelctl workflow %s%s",
	       version != NULL ? "show " : "list", version != NULL ? name : "");
	return CTL_NOT_FOUND;
}

int
cmd_workflow_show(struct ctl *c)
{
	char *name = strdup(c->words[0]);
	char *at = strrchr(name, '@');
	const char *params[2] = { name, NULL };
	struct pg *pg = NULL;
	PGresult *rows = NULL;
	int rc = CTL_USAGE;

	if (at != NULL) {
		*at = '\0';
		params[1] = at + 1;
		if (at[1] == '\0' || strlen(at + 1) > 9 ||
		    strspn(at + 1, "0123456789") != strlen(at + 1)) {
			complain("\"%s\" is no version number", at + 1);
			goto out;
		}
	}
	rc = pg_open(c, &pg);
	if (rc != CTL_OK)
		goto out;
	rc = pg_query(pg, SHOW_SQL, 2, params, &rows);
	if (rc != CTL_OK)
		goto out;
	if (PQntuples(rows) == 0) {
		rc = no_such_workflow(name, params[1]);
	} else if (given(c, OPTION_ASL)) {
		out_stored(PQgetvalue(rows, 0, SHOW_COLUMNS - 1));
		if (!out_is_json(c))
			putchar('\n');
	} else {
		out_record(c, rows, 0, show_columns, SHOW_COLUMNS);
		if (c->format == FORMAT_TABLE)
			out_field(c, "States", "%s",
				  PQgetvalue(rows, 0, SHOW_COLUMNS - 2));
	}
out:
	PQclear(rows);
	pg_close(&pg);
	free(name);
	return rc;
}
