/*
 * cmd_db - the schema: migrate, version, adopt.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "ctl/pg.h"
#include "schema/migrations.h"

/* A large table may be rewritten, and another migration may be waited for. */
#define MIGRATION_DEADLINE_US (3600 * CLOCK_SECOND_US)

/* "ok", "missing", "old" or "new", as this build sees that version. */
static const char *
schema_state(int version)
{
	if (version == 0)
		return "missing";
	if (version < SCHEMA_VERSION)
		return "old";
	return version <= SCHEMA_VERSION + 1 ? "ok" : "new";
}

/* Another language's encoding cannot hold what definitions may say. */
static int
check_encoding(struct pg *pg)
{
	PGresult *rows;
	int rc = pg_query(pg,
			  "SELECT current_setting('server_encoding'), "
			  "current_database()",
			  0, NULL, &rows);

	if (rc != CTL_OK)
		return rc;
	if (strcmp(PQgetvalue(rows, 0, 0), "UTF8") != 0) {
		complain("database \"%s\" has encoding %s; rappel needs UTF8",
			 PQgetvalue(rows, 0, 1), PQgetvalue(rows, 0, 0));
		advise("Make one: createdb -E UTF8 -T template0 NAME");
		rc = CTL_CONFIG;
	}
	PQclear(rows);
	return rc;
}

/*
 * Refuses a schema that is newer, and one called rappel that is not ours.
 */
static int
check_migratable(struct pg *pg, int version)
{
	PGresult *rows;
	int rc;

	if (version > SCHEMA_VERSION) {
		complain("the schema has version %d, newer than the %d that "
			 "this rappelctl knows; nothing was changed",
			 version, SCHEMA_VERSION);
		advise("Use the rappelctl that belongs to it.");
		return CTL_CONFIG;
	}
	if (version > 0)
		return CTL_OK;
	/* Another may have made ours since the version was read. */
	rc = pg_query(pg,
		      "SELECT 1 FROM pg_catalog.pg_namespace n "
		      "WHERE n.nspname = 'rappel' AND NOT EXISTS ("
		      "SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace "
		      "= n.oid AND c.relname = 'migrations')",
		      0, NULL, &rows);
	if (rc != CTL_OK)
		return rc;
	if (PQntuples(rows) > 0) {
		complain("there is a schema \"rappel\" that is not rappel's: "
			 "it has no table migrations; nothing was changed");
		advise("Use another database, or rename that schema.");
		rc = CTL_REFUSED;
	}
	PQclear(rows);
	return rc;
}

/*
 * Applies the next migration in a transaction of its own. *done_out: none
 * was left. The version is read behind the lock: of two who migrate, the
 * second finds nothing to do.
 */
static int
migrate_one(struct pg *pg, const struct schema_migration **applied_out,
	    bool *done_out)
{
	int version;
	int rc;

	rc = pg_script(pg, "BEGIN");
	if (rc == CTL_OK)
		rc = pg_schema_version(pg, &version);
	if (rc == CTL_OK)
		rc = check_migratable(pg, version);
	if (rc != CTL_OK)
		return rc;
	*done_out = version == SCHEMA_VERSION;
	if (*done_out)
		return pg_script(pg, "COMMIT");
	*applied_out = &schema_migrations[version];
	rc = pg_script(pg, schema_migrations[version].sql);
	if (rc != CTL_OK) {
		advise("Migration %d (%s) was rolled back.", version + 1,
		       schema_migrations[version].name);
		return rc;
	}
	return pg_script(pg, "COMMIT");
}

static void
print_migrations(const struct ctl *c, int from, int to, bool dry_run)
{
	struct json_out j = JSON_OUT_EMPTY;

	if (out_is_json(c)) {
		json_out_open(&j, NULL, '{');
		json_out_int(&j, "schema_before", from);
		json_out_int(&j, "schema", dry_run ? from : to);
		json_out_open(&j, dry_run ? "pending" : "applied", '[');
		for (int n = from; n < to; n++) {
			json_out_open(&j, NULL, '{');
			json_out_int(&j, "version",
				     schema_migrations[n].version);
			json_out_text(&j, "name", schema_migrations[n].name);
			json_out_close(&j, '}');
		}
		json_out_close(&j, ']');
		json_out_close(&j, '}');
		out_json(&j);
		return;
	}
	for (int n = from; n < to; n++)
		note(c, "%s migration %d (%s)",
		     dry_run ? "would apply" : "applied",
		     schema_migrations[n].version, schema_migrations[n].name);
	if (from == to)
		note(c, "the schema is up to date: version %d", to);
	else if (!dry_run)
		note(c, "the schema has version %d", to);
}

int
cmd_db_migrate(struct ctl *c)
{
	struct pg *pg;
	int before, version;
	bool done = false;
	int rc = pg_open_any(c, &pg);

	if (rc != CTL_OK)
		return rc;
	pg_set_deadline(pg, MIGRATION_DEADLINE_US);
	rc = check_encoding(pg);
	if (rc == CTL_OK)
		rc = pg_schema_version(pg, &before);
	if (rc == CTL_OK)
		rc = check_migratable(pg, before);
	if (rc != CTL_OK)
		goto out;

	if (given(c, OPTION_PRINT)) {
		for (int n = before; n < SCHEMA_VERSION; n++)
			printf("BEGIN;\n%s\nCOMMIT;\n",
			       schema_migrations[n].sql);
		goto out;
	}
	if (given(c, OPTION_DRY_RUN)) {
		print_migrations(c, before, SCHEMA_VERSION, true);
		goto out;
	}
	/* Until the session ends: whoever comes first does all of them. */
	rc = pg_script(pg, "SET statement_timeout = 0");
	if (rc == CTL_OK)
		rc = pg_script(pg, "SELECT pg_advisory_lock("
				   "hashtextextended('rappel migrate', 0))");
	if (rc != CTL_OK)
		goto out;
	version = before;
	while (!done) {
		const struct schema_migration *applied = NULL;

		rc = migrate_one(pg, &applied, &done);
		if (rc != CTL_OK)
			goto out;
		/* Another may have been quicker with those before it. */
		if (applied != NULL && version == before)
			before = applied->version - 1;
		if (applied != NULL)
			version = applied->version;
	}
	if (version < SCHEMA_VERSION)
		before = version = SCHEMA_VERSION;
	print_migrations(c, before, version, false);
out:
	pg_close(&pg);
	return rc;
}

int
cmd_db_version(struct ctl *c)
{
	struct pg *pg;
	int version = 0;
	const char *state;
	int rc = pg_open_any(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_schema_version(pg, &version);
	pg_close(&pg);
	if (rc != CTL_OK)
		return rc;
	state = schema_state(version);
	if (out_is_json(c)) {
		struct json_out j = JSON_OUT_EMPTY;

		json_out_open(&j, NULL, '{');
		json_out_int(&j, "schema", version);
		json_out_int(&j, "supported", SCHEMA_VERSION);
		json_out_text(&j, "state", state);
		json_out_close(&j, '}');
		out_json(&j);
	} else {
		out_field(c, "Schema", "%d", version);
		out_field(c, "Supported", "%d", SCHEMA_VERSION);
		out_field(c, "State", "%s", state);
	}
	if (strcmp(state, "ok") == 0)
		return CTL_OK;
	complain("the schema is %s: version %d, this rappelctl knows %d", state,
		 version, SCHEMA_VERSION);
	advise("%s", version < SCHEMA_VERSION ? "Run: rappelctl db migrate"
					      : "Install the newer rappel.");
	return CTL_CONFIG;
}

int
cmd_db_adopt(struct ctl *c)
{
	struct pg *pg;
	PGresult *rows = NULL;
	bool changed;
	int rc = pg_open(c, &pg);

	if (rc != CTL_OK)
		return rc;
	rc = pg_query(pg,
		      "WITH here AS (SELECT system_identifier::text AS id "
		      "FROM pg_catalog.pg_control_system()), "
		      "old AS (SELECT system_identifier AS id "
		      "FROM rappel.home), "
		      "done AS (UPDATE rappel.home h SET "
		      "system_identifier = here.id, adopted_at = now() "
		      "FROM here WHERE h.system_identifier <> here.id "
		      "RETURNING 1) "
		      "SELECT old.id, here.id, EXISTS (SELECT FROM done), "
		      "(SELECT count(*) FROM rappel.workflow_instances WHERE "
		      "status IN ('queued', 'waiting', 'running')) "
		      "FROM old, here",
		      0, NULL, &rows);
	if (rc != CTL_OK)
		goto out;
	if (PQntuples(rows) != 1) {
		complain("table rappel.home is empty: the schema is damaged");
		rc = CTL_CONFIG;
		goto out;
	}
	changed = PQgetvalue(rows, 0, 2)[0] == 't';
	if (out_is_json(c)) {
		struct json_out j = JSON_OUT_EMPTY;

		json_out_open(&j, NULL, '{');
		json_out_bool(&j, "changed", changed);
		json_out_text(&j, "system_identifier", PQgetvalue(rows, 0, 1));
		json_out_text(&j, "system_identifier_before",
			      PQgetvalue(rows, 0, 0));
		json_out_raw(&j, "runs_not_ended", PQgetvalue(rows, 0, 3));
		json_out_close(&j, '}');
		out_json(&j);
	} else if (changed) {
		note(c,
		     "this server (%s) is now the home of the database; it "
		     "was %s",
		     PQgetvalue(rows, 0, 1), PQgetvalue(rows, 0, 0));
		note(c,
		     "%s runs that have not ended go on here as soon as a "
		     "daemon runs",
		     PQgetvalue(rows, 0, 3));
	} else {
		note(c, "this server (%s) is the database's home already",
		     PQgetvalue(rows, 0, 1));
	}
out:
	PQclear(rows);
	pg_close(&pg);
	return rc;
}
