/*
 * pg - rappelctl's connection: deadlines, and errors in words and exit codes.
 */
#include "ctl/pg.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/conninfo.h"
#include "common/mem.h"
#include "common/uuid.h"
#include "schema/migrations.h"

#define PG_MAGIC 0x9c0177edU
#define STATEMENT_DEADLINE_US (30 * CLOCK_SECOND_US)
/* The server ends a statement first; this is for one that is not there. */
#define SILENCE_US (5 * CLOCK_SECOND_US)
#define CANDIDATES_MAX 5

struct pg {
	uint32_t magic;
	const struct ctl *c;
	struct target target;
	PGconn *conn;
	uint64_t deadline_us; /* of one statement */
	char *message;
	char *hint;
};

const char *
pg_message(const struct pg *pg)
{
	CHECK_OBJ(pg, PG_MAGIC);
	return pg->message != NULL ? pg->message : "";
}

/* Takes the words, without their line's end, and an empty hint. */
static void
set_message(struct pg *pg, const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	free(pg->message);
	pg->message = mem_strndup(text, len);
	free(pg->hint);
	pg->hint = NULL;
}

void
pg_complain(const struct pg *pg, int code)
{
	CHECK_OBJ(pg, PG_MAGIC);
	complain("%s", pg_message(pg));
	if (pg->hint != NULL) {
		advise("%s", pg->hint);
	} else if (code == CTL_DATABASE) {
		advise("The database comes from %s.",
		       pg->target.conninfo_origin);
		advise("Start it, or see what is configured: rappelctl config "
		       "show");
	} else if (code == CTL_PERMISSION) {
		advise("The database comes from %s.",
		       pg->target.conninfo_origin);
	}
}

/* ---- connecting ---- */

static void
notice_cb(void *arg, const char *text)
{
	struct pg *pg = arg;

	CHECK_OBJ(pg, PG_MAGIC);
	detail(pg->c, "%.*s", (int)strcspn(text, "\n"), text);
}

/*
 * libpq tells why it could not connect only in words, which are English as
 * the server has no locale for us yet, or the server's. Those not understood
 * are "unreachable".
 */
static int
connect_failure(struct pg *pg)
{
	const char *text = PQerrorMessage(pg->conn);
	static const char *const denied[] = {
		"authentication failed",      "no pg_hba.conf entry",
		"no password supplied",       "permission denied for database",
		"is not permitted to log in",
	};

	set_message(pg, text);
	if (conninfo_is_wrong(text)) {
		int len = asprintf(&pg->hint,
				   "Correct the conninfo; it comes from %s.",
				   pg->target.conninfo_origin);

		if (len < 0)
			mem_exhausted();
		return CTL_CONFIG;
	}
	for (size_t n = 0; n < sizeof(denied) / sizeof(denied[0]); n++)
		if (strstr(text, denied[n]) != NULL)
			return CTL_PERMISSION;
	if (strstr(text, "database \"") != NULL &&
	    strstr(text, "does not exist") != NULL)
		pg->hint = mem_strdup("Create it first: createdb NAME, then: "
				      "rappelctl db migrate");
	else if (strstr(text, "role \"") != NULL &&
		 strstr(text, "does not exist") != NULL) {
		pg->hint = mem_strdup("Name an existing role in the conninfo: "
				      "user=NAME");
		return CTL_PERMISSION;
	}
	return CTL_DATABASE;
}

/* True when the conninfo itself says something about key. */
static bool
conninfo_sets(const PQconninfoOption *options, const char *key)
{
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, key) == 0)
			return o->val != NULL;
	return false;
}

static int
connect_quietly(struct pg *pg)
{
	char *reason = NULL;
	PQconninfoOption *options =
	    PQconninfoParse(pg->target.conninfo, &reason);
	const char *keys[10], *values[10];
	int n = 0;
	int rc = CTL_OK;

	if (options == NULL) {
		char *text;
		int len = asprintf(&text,
				   "the database's conninfo, from %s, "
				   "is malformed: %s",
				   pg->target.conninfo_origin,
				   reason != NULL ? reason : "no memory");

		if (len < 0)
			mem_exhausted();
		set_message(pg, text);
		free(text);
		PQfreemem(reason);
		return CTL_CONFIG;
	}
	/* What stands before dbname is a default; what it expands to wins. */
#define SET(key, value) (keys[n] = (key), values[n++] = (value))
	SET("connect_timeout", "3");
	SET("application_name", "rappelctl");
	SET("tcp_user_timeout", "10000");
	if (!conninfo_sets(options, "options") && getenv("PGOPTIONS") == NULL)
		SET("options", "-c statement_timeout=30s");
	SET("dbname", pg->target.conninfo);
	SET("client_encoding", "UTF8");
#undef SET
	keys[n] = values[n] = NULL;
	PQconninfoFree(options);

	PQfinish(pg->conn);
	pg->conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(pg->conn) != CONNECTION_OK) {
		rc = connect_failure(pg);
	} else if (PQserverVersion(pg->conn) < 140000) {
		set_message(pg, "this server is older than PostgreSQL 14");
		rc = CTL_CONFIG;
	} else {
		PQsetNoticeProcessor(pg->conn, notice_cb, pg);
	}
	return rc;
}

int
pg_open_any(const struct ctl *c, struct pg **out)
{
	struct pg *pg = mem_zalloc(sizeof(*pg));
	int rc;

	pg->magic = PG_MAGIC;
	pg->c = c;
	pg->deadline_us = STATEMENT_DEADLINE_US;
	rc = target_resolve(c, &pg->target);
	if (rc != CTL_OK) {
		pg_close(&pg);
		return rc;
	}
	if (pg->target.conninfo == NULL) {
		complain("no database is configured");
		advise("Set RAPPEL_DATABASE_URL, or \"url = CONNINFO\" in "
		       "section [database] of rappel.conf, or use --database.");
		advise("For a private one: rappeld --dev");
		pg_close(&pg);
		return CTL_CONFIG;
	}
	detail(c, "database from %s", pg->target.conninfo_origin);
	rc = connect_quietly(pg);
	if (rc != CTL_OK) {
		pg_complain(pg, rc);
		pg_close(&pg);
		return rc;
	}
	*out = pg;
	return CTL_OK;
}

/* Whether this build can work with that version of the schema. */
static int
check_schema(struct pg *pg, int version)
{
	char text[200];

	if (version >= SCHEMA_VERSION && version <= SCHEMA_VERSION + 1)
		return CTL_OK;
	if (version == 0)
		snprintf(text, sizeof(text),
			 "database \"%s\" has no rappel "
			 "schema; this rappelctl needs version %d",
			 PQdb(pg->conn), SCHEMA_VERSION);
	else if (version < SCHEMA_VERSION)
		snprintf(text, sizeof(text),
			 "the schema in database \"%s\" "
			 "has version %d; this rappelctl needs %d",
			 PQdb(pg->conn), version, SCHEMA_VERSION);
	else
		snprintf(text, sizeof(text),
			 "the schema in database \"%s\" "
			 "has version %d, too new for this rappelctl, which "
			 "knows %d",
			 PQdb(pg->conn), version, SCHEMA_VERSION);
	set_message(pg, text);
	pg->hint = mem_strdup(version < SCHEMA_VERSION
				  ? "Run: rappelctl db migrate"
				  : "Install the newer rappel; rappelctl db "
				    "version shows both.");
	return CTL_CONFIG;
}

int
pg_open(const struct ctl *c, struct pg **out)
{
	struct pg *pg;
	int version;
	int rc = pg_open_any(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_schema_version(pg, &version);
	if (rc == CTL_OK) {
		rc = check_schema(pg, version);
		if (rc != CTL_OK)
			pg_complain(pg, rc);
	}
	if (rc != CTL_OK) {
		pg_close(&pg);
		return rc;
	}
	*out = pg;
	return CTL_OK;
}

int
pg_reopen_quietly(struct pg *pg)
{
	CHECK_OBJ(pg, PG_MAGIC);
	return connect_quietly(pg);
}

void
pg_close(struct pg **pgp)
{
	struct pg *pg = *pgp;

	if (pg == NULL)
		return;
	*pgp = NULL;
	CHECK_OBJ(pg, PG_MAGIC);
	PQfinish(pg->conn);
	target_fini(&pg->target);
	free(pg->message);
	free(pg->hint);
	pg->magic = 0;
	free(pg);
}

void
pg_set_deadline(struct pg *pg, uint64_t us)
{
	CHECK_OBJ(pg, PG_MAGIC);
	pg->deadline_us = us != 0 ? us : STATEMENT_DEADLINE_US;
}

/* ---- statements ---- */

static int
code_of_sqlstate(const char *state)
{
	static const struct {
		const char *begins;
		int code;
	} codes[] = {
		{ "RP404", CTL_NOT_FOUND },
		{ "RP409", CTL_REFUSED },
		{ "RP400", CTL_FAILED },
		{ "42501", CTL_PERMISSION },
		{ "28", CTL_PERMISSION },
		{ "08", CTL_DATABASE },
		{ "53", CTL_DATABASE },
		{ "57", CTL_DATABASE },
		{ "58", CTL_DATABASE },
		{ "25006", CTL_REFUSED }, /* read-only: a standby */
		{ "42P01", CTL_CONFIG },  /* parts of the schema are gone */
		{ "42883", CTL_CONFIG },
		{ "3F000", CTL_CONFIG },
	};

	for (size_t n = 0; n < sizeof(codes) / sizeof(codes[0]); n++)
		if (strncmp(state, codes[n].begins, strlen(codes[n].begins)) ==
		    0)
			return codes[n].code;
	return CTL_FAILED;
}

/* What a failed result says, into message and hint. */
static int
statement_failure(struct pg *pg, const PGresult *rows)
{
	const char *state = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(rows, PG_DIAG_MESSAGE_HINT);

	if (state == NULL || text == NULL) {
		/* The connection broke: libpq says it, not the server. */
		set_message(pg, PQresultErrorMessage(rows));
		return CTL_DATABASE;
	}
	set_message(pg, text);
	if (hint != NULL)
		pg->hint = mem_strdup(hint);
	return code_of_sqlstate(state);
}

/* Waits until the statement's result is complete. Exit code. */
static int
wait_result(struct pg *pg)
{
	uint64_t until_us = clock_mono_us() + pg->deadline_us + SILENCE_US;

	for (;;) {
		uint64_t now_us = clock_mono_us();
		struct pollfd p = { .fd = PQsocket(pg->conn) };
		int unsent = PQflush(pg->conn);

		if (unsent < 0 || !PQconsumeInput(pg->conn)) {
			set_message(pg, PQerrorMessage(pg->conn));
			return CTL_DATABASE;
		}
		if (unsent == 0 && !PQisBusy(pg->conn))
			return CTL_OK;
		if (interrupted) {
			set_message(pg, "interrupted");
			return CTL_INTERRUPTED;
		}
		if (now_us >= until_us) {
			set_message(pg, "the database server does not answer");
			return CTL_DATABASE;
		}
		p.events = (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
		if (poll(&p, 1, (int)((until_us - now_us) / 1000 + 1)) < 0 &&
		    errno != EINTR) {
			set_message(pg, strerror(errno));
			return CTL_DATABASE;
		}
	}
}

/* Collects what a sent command gave: the first failure or the last rows. */
static int
collect(struct pg *pg, int sent, PGresult **rows_out)
{
	PGresult *kept = NULL;
	int rc = CTL_OK;

	if (!sent) {
		set_message(pg, PQerrorMessage(pg->conn));
		return CTL_DATABASE;
	}
	for (;;) {
		PGresult *rows;
		ExecStatusType status;
		int waited = wait_result(pg);

		if (waited != CTL_OK) {
			/* What comes later belongs to nobody. */
			PQfinish(pg->conn);
			pg->conn = NULL;
			PQclear(kept);
			return waited;
		}
		rows = PQgetResult(pg->conn);
		if (rows == NULL)
			break;
		status = PQresultStatus(rows);
		if (rc == CTL_OK && status != PGRES_COMMAND_OK &&
		    status != PGRES_TUPLES_OK)
			rc = statement_failure(pg, rows);
		PQclear(kept);
		kept = rows;
	}
	if (rc != CTL_OK || rows_out == NULL) {
		PQclear(kept);
		return rc;
	}
	*rows_out = kept;
	return CTL_OK;
}

int
pg_query_quietly(struct pg *pg, const char *sql, int param_count,
		 const char *const *params, PGresult **rows_out)
{
	CHECK_OBJ(pg, PG_MAGIC);
	if (pg->conn == NULL) {
		set_message(pg, "not connected");
		return CTL_DATABASE;
	}
	return collect(pg,
		       PQsendQueryParams(pg->conn, sql, param_count, NULL,
					 params, NULL, NULL, 0),
		       rows_out);
}

int
pg_query(struct pg *pg, const char *sql, int param_count,
	 const char *const *params, PGresult **rows_out)
{
	int rc = pg_query_quietly(pg, sql, param_count, params, rows_out);

	if (rc != CTL_OK)
		pg_complain(pg, rc);
	return rc;
}

int
pg_script(struct pg *pg, const char *sql)
{
	int rc;

	CHECK_OBJ(pg, PG_MAGIC);
	rc = collect(pg, PQsendQuery(pg->conn, sql), NULL);
	if (rc != CTL_OK)
		pg_complain(pg, rc);
	return rc;
}

int
pg_schema_version(struct pg *pg, int *out)
{
	PGresult *rows;
	bool there;
	/*
	 * Not to_regclass(): behind the lock of a migration it would still say
	 * what the session found before it waited.
	 */
	int rc = pg_query(pg,
			  "SELECT EXISTS (SELECT FROM pg_catalog.pg_class "
			  "c JOIN pg_catalog.pg_namespace n "
			  "ON n.oid = c.relnamespace "
			  "WHERE n.nspname = 'rappel' "
			  "AND c.relname = 'migrations')",
			  0, NULL, &rows);

	if (rc != CTL_OK)
		return rc;
	there = PQgetvalue(rows, 0, 0)[0] == 't';
	PQclear(rows);
	if (!there) {
		*out = 0;
		return CTL_OK;
	}
	rc = pg_query(pg,
		      "SELECT coalesce(max(version), 0) "
		      "FROM rappel.migrations",
		      0, NULL, &rows);
	if (rc != CTL_OK)
		return rc;
	*out = atoi(PQgetvalue(rows, 0, 0));
	PQclear(rows);
	return CTL_OK;
}

void
pg_array_add(struct buf *b, struct slice text)
{
	buf_add_byte(b, b->len == 0 ? '{' : ',');
	buf_add_byte(b, '"');
	for (size_t n = 0; n < text.len; n++) {
		if (text.data[n] == '"' || text.data[n] == '\\')
			buf_add_byte(b, '\\');
		buf_add_byte(b, text.data[n]);
	}
	buf_add_byte(b, '"');
}

void
pg_array_end(struct buf *b)
{
	buf_add_text(b, b->len == 0 ? "{}" : "}");
	buf_text(b);
}

/* ---- ids ---- */

/* The digits of a prefix, padded to a whole UUID. False for no such text. */
static bool
pad_uuid(const char *text, char pad, char out[UUID_TEXT_SIZE])
{
	uint32_t at = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '-')
			continue;
		if (!isxdigit((unsigned char)*p) || at >= 36)
			return false;
		if (at == 8 || at == 13 || at == 18 || at == 23)
			out[at++] = '-';
		if (at >= 36)
			return false;
		out[at++] = (char)tolower((unsigned char)*p);
	}
	while (at < 36) {
		out[at] =
		    at == 8 || at == 13 || at == 18 || at == 23 ? '-' : pad;
		at++;
	}
	out[36] = '\0';
	return text[0] != '\0';
}

int
pg_find_instance(struct pg *pg, const char *text, char out[UUID_TEXT_SIZE])
{
	char low[UUID_TEXT_SIZE], high[UUID_TEXT_SIZE];
	const char *params[2] = { low, high };
	PGresult *rows;
	int count;
	int rc;

	if (!pad_uuid(text, '0', low) || !pad_uuid(text, 'f', high)) {
		complain("\"%s\" is no run id and no beginning of one", text);
		advise("List them: rappelctl run list");
		return CTL_USAGE;
	}
	rc = pg_query(pg,
		      "SELECT i.id, v.workflow, i.status "
		      "FROM rappel.workflow_instances i "
		      "JOIN rappel.workflow_versions v ON v.id = i.version_id "
		      "WHERE i.id BETWEEN $1::uuid AND $2::uuid "
		      "ORDER BY i.id DESC LIMIT 6",
		      2, params, &rows);
	if (rc != CTL_OK)
		return rc;
	count = PQntuples(rows);
	if (count == 1) {
		memcpy(out, PQgetvalue(rows, 0, 0), UUID_TEXT_SIZE);
	} else if (count == 0) {
		complain("there is no run %s", text);
		advise("List them: rappelctl run list");
		rc = CTL_NOT_FOUND;
	} else {
		complain("\"%s\" is the beginning of %s run ids:", text,
			 count > CANDIDATES_MAX ? "many" : "several");
		for (int n = 0; n < count && n < CANDIDATES_MAX; n++)
			advise("%s  %s  %s", PQgetvalue(rows, n, 0),
			       PQgetvalue(rows, n, 1), PQgetvalue(rows, n, 2));
		if (count > CANDIDATES_MAX)
			advise("…");
		rc = CTL_USAGE;
	}
	PQclear(rows);
	return rc;
}
