/*
 * sql - see sql.h.
 */
#include "flusher/sql.h"

#include <stddef.h>

#include "flusher/params.h"

#define STATEMENT(variable, sql, count, ...) \
	static const Oid variable##_oids[] = { __VA_ARGS__ }; \
	const struct db_statement sql_##variable = { #variable, sql, count, \
		                                     variable##_oids }
#define STATEMENT_PLAIN(variable, sql) \
	const struct db_statement sql_##variable = { #variable, sql, 0, NULL }

/* ---- every session, before anything else ---- */

/* Only Linux can tell that a client is gone while a statement runs. */
STATEMENT(session_set,
          "SELECT set_config(e.n, e.v, false) FROM unnest($1, $2) e (n, v) "
          "WHERE e.n <> 'client_connection_check_interval' "
          "OR version() ~ 'linux'",
          2, PG_TEXT_ARRAY, PG_TEXT_ARRAY);

/* What the server is, and which settings do not hold: those of TCP say
 * nothing on a Unix socket. */
STATEMENT(session_check,
          "SELECT (SELECT max(m.version) FROM rappel.migrations m), "
          "(SELECT h.system_identifier FROM rappel.home h), "
          "s.system_identifier::text, "
          "CASE WHEN pg_is_in_recovery() THEN c.timeline_id "
          "ELSE greatest(c.timeline_id, ('x' || left(pg_walfile_name("
          "pg_current_wal_insert_lsn()), 8))::bit(32)::int4) END, "
          "pg_is_in_recovery(), pg_backend_pid(), "
          "(SELECT string_agg(e.n || ' is ' || g.setting || ', not ' || e.v, "
          "', ') FROM unnest($1, $2) e (n, v) JOIN pg_settings g "
          "ON g.name = e.n WHERE g.setting <> e.v "
          "AND (e.n NOT LIKE 'tcp%' OR inet_client_addr() IS NOT NULL) "
          "AND (e.n <> 'client_connection_check_interval' "
          "OR version() ~ 'linux')), "
          "current_setting('synchronous_commit'), current_database()::text "
          "FROM pg_control_system() s, pg_control_checkpoint() c",
          2, PG_TEXT_ARRAY, PG_TEXT_ARRAY);

const struct db_statement *const sql_session_statements[] = {
	&sql_session_set, &sql_session_check, NULL
};

STATEMENT(fence, "SELECT rappel.fence($1)", 1, PG_UUID);

STATEMENT(backend_add,
          "INSERT INTO rappel.pool_backends (incarnation, pid, backend_start) "
          "SELECT $1, a.pid, a.backend_start FROM pg_stat_activity a "
          "WHERE a.pid = pg_backend_pid() ON CONFLICT DO NOTHING",
          1, PG_UUID);

/* ---- writer ---- */

STATEMENT(log_insert,
          "INSERT INTO rappel.action_log "
          "(instance_id, seq, count, at, entries) "
          "SELECT * FROM unnest($1, $2, $3, $4, $5)",
          5, PG_UUID_ARRAY, PG_INT4_ARRAY, PG_INT4_ARRAY,
          PG_TIMESTAMPTZ_ARRAY, PG_JSON_ARRAY);

/*
 * Somebody's SELECT … FOR UPDATE must not hold up the batch: what is locked
 * is skipped, not returned, and tried again with the next batch. What is not
 * ours any more (deleted, which nobody should) is returned as lost. The
 * arrays are read by number: joining them as rows is quadratic without a hash
 * join (2,000 ends: 235 ms, so 52 ms).
 */
STATEMENT(instances_end,
          "WITH l AS MATERIALIZED (SELECT i.id, k.n FROM unnest($2) "
          "WITH ORDINALITY k (id, n) JOIN rappel.workflow_instances i "
          "ON i.id = k.id WHERE i.owner IS NOT DISTINCT FROM $1 "
          "FOR NO KEY UPDATE OF i SKIP LOCKED), "
          "u AS (UPDATE rappel.workflow_instances i SET status = ($3)[l.n], "
          "output = ($4)[l.n], error = ($5)[l.n], cause = ($6)[l.n], "
          "ended_at = ($7)[l.n], owner = NULL, reason = NULL "
          "FROM l WHERE i.id = l.id RETURNING i.id) "
          "SELECT u.id, false FROM u UNION ALL "
          "SELECT k.id, true FROM unnest($2) k (id) WHERE NOT EXISTS "
          "(SELECT FROM rappel.workflow_instances i WHERE i.id = k.id "
          "AND i.owner IS NOT DISTINCT FROM $1)",
          7, PG_UUID, PG_UUID_ARRAY, PG_TEXT_ARRAY, PG_JSON_ARRAY,
          PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_TIMESTAMPTZ_ARRAY);

STATEMENT(commands_delete, "DELETE FROM rappel.commands WHERE id = ANY ($1)",
          1, PG_INT8_ARRAY);

STATEMENT(pool_row_lock,
          "SELECT 1 FROM rappel.worker_pools WHERE incarnation = $1 "
          "FOR UPDATE",
          1, PG_UUID);

STATEMENT(log_probe,
          "SELECT 1 FROM rappel.action_log WHERE instance_id = $1 "
          "AND seq = $2",
          2, PG_UUID, PG_INT4);

/* Those of $2 whose end is written. */
STATEMENT(ends_probe,
          "SELECT id, false FROM rappel.workflow_instances "
          "WHERE id = ANY ($2) "
          "AND owner IS DISTINCT FROM $1",
          2, PG_UUID, PG_UUID_ARRAY);

/* ---- claimer ---- */

/* Whether somebody wants something of it, and its end; one look for all. */
#define COMMANDED \
	"i.id IN (SELECT w.instance_id FROM rappel.commands w), " \
	"i.id IN (SELECT w.instance_id FROM rappel.commands w " \
	"WHERE w.kind = 'cancel')"

#define CLAIM_RETURNING \
	"UPDATE rappel.workflow_instances i SET status = 'running', " \
	"owner = $1, started_at = coalesce(i.started_at, now()), " \
	"due_at = NULL, reason = NULL FROM c WHERE i.id = c.id " \
	"RETURNING i.id, i.version_id, (-i.priority)::int4, i.started_at, " \
	"c.started_before, i.input::text, i.name, " COMMANDED

/* Behind the last one taken, so that dead index entries under a long-held
 * snapshot are not walked over again and again. */
STATEMENT(claim_queued,
          "WITH c AS MATERIALIZED (SELECT i.id, "
          "i.started_at IS NOT NULL AS started_before "
          "FROM rappel.workflow_instances i WHERE i.status = 'queued' "
          "AND (-i.priority, i.id) > ($4, $5) AND i.id <> ALL ($3) "
          "ORDER BY -i.priority, i.id LIMIT $2 FOR UPDATE SKIP LOCKED) "
              CLAIM_RETURNING,
          5, PG_UUID, PG_INT8, PG_UUID_ARRAY, PG_INT4, PG_UUID);

/* The one that such a claim would have taken. */
STATEMENT(first_queued,
          "SELECT i.id FROM rappel.workflow_instances i "
          "WHERE i.status = 'queued' AND (-i.priority, i.id) > ($2, $3) "
          "AND i.id <> ALL ($1) ORDER BY -i.priority, i.id LIMIT 1 "
          "FOR UPDATE SKIP LOCKED",
          3, PG_UUID_ARRAY, PG_INT4, PG_UUID);

STATEMENT(first_due,
          "SELECT i.id FROM rappel.workflow_instances i "
          "WHERE i.status = 'waiting' AND i.due_at <= now() "
          "AND i.id <> ALL ($1) ORDER BY i.due_at LIMIT 1 "
          "FOR UPDATE SKIP LOCKED",
          1, PG_UUID_ARRAY);

STATEMENT(peek,
          "SELECT EXISTS (SELECT FROM rappel.workflow_instances i "
          "WHERE i.status = 'queued' AND (-i.priority, i.id) > ($1, $2)), "
          "EXISTS (SELECT FROM rappel.workflow_instances i "
          "WHERE i.status = 'waiting' AND i.due_at <= now()), "
          "EXISTS (SELECT FROM rappel.commands)",
          2, PG_INT4, PG_UUID);

STATEMENT(claim_due,
          "WITH c AS MATERIALIZED (SELECT i.id, "
          "i.started_at IS NOT NULL AS started_before "
          "FROM rappel.workflow_instances i WHERE i.status = 'waiting' "
          "AND i.due_at <= now() AND i.id <> ALL ($3) "
          "ORDER BY i.due_at LIMIT $2 "
          "FOR UPDATE SKIP LOCKED) " CLAIM_RETURNING,
          3, PG_UUID, PG_INT8, PG_UUID_ARRAY);

STATEMENT(claim_commanded,
          "WITH c AS MATERIALIZED (SELECT i.id, "
          "i.started_at IS NOT NULL AS started_before "
          "FROM (SELECT DISTINCT instance_id FROM rappel.commands) w "
          "JOIN rappel.workflow_instances i ON i.id = w.instance_id "
          "WHERE i.status IN ('queued', 'waiting') AND i.id <> ALL ($3) "
          "LIMIT $2 FOR UPDATE OF i SKIP LOCKED) " CLAIM_RETURNING,
          3, PG_UUID, PG_INT8, PG_UUID_ARRAY);

/* What is set aside cannot be replayed: it is ended as it stands. */
STATEMENT_PLAIN(blocked_cancel,
                "WITH l AS MATERIALIZED (SELECT i.id, c.cause "
                "FROM rappel.commands c JOIN rappel.workflow_instances i "
                "ON i.id = c.instance_id WHERE i.status = 'blocked' "
                "AND c.kind = 'cancel' FOR UPDATE OF i SKIP LOCKED) "
                "UPDATE rappel.workflow_instances i SET "
                "status = 'cancelled', ended_at = now(), due_at = NULL, "
                "reason = NULL, cause = l.cause FROM l WHERE i.id = l.id");

STATEMENT(owned,
          "SELECT i.id, i.version_id, (-i.priority)::int4, i.started_at, true, "
          "i.input::text, i.name, " COMMANDED
          " FROM rappel.workflow_instances i WHERE i.owner = $1 "
          "AND i.id NOT IN (SELECT unnest($3)) LIMIT $2",
          3, PG_UUID, PG_INT8, PG_UUID_ARRAY);

STATEMENT(log_read,
          "SELECT instance_id, seq, count, at, entries::text "
          "FROM rappel.action_log WHERE instance_id = $1 ORDER BY seq",
          1, PG_UUID);

#define COMMAND_COLUMNS \
	"c.id, c.instance_id, c.kind, c.activation, c.attempt, " \
	"c.result::text, c.error, c.cause"

STATEMENT(commands_of,
          "SELECT " COMMAND_COLUMNS " FROM rappel.commands c "
          "WHERE c.instance_id = $1 ORDER BY c.id",
          1, PG_UUID);

STATEMENT(still_owned,
          "SELECT 1 FROM rappel.workflow_instances WHERE id = $1 "
          "AND owner = $2",
          2, PG_UUID, PG_UUID);

STATEMENT(version_read,
          "SELECT workflow, definition::text FROM rappel.workflow_versions "
          "WHERE id = $1",
          1, PG_INT8);

/* $3: the new status, 'waiting' with a time or 'blocked' without one. Does
 * not wait for somebody's lock: claims wait behind it. */
STATEMENT(release,
          "WITH l AS MATERIALIZED (SELECT i.id FROM "
          "rappel.workflow_instances i WHERE i.id = $2 AND i.owner = $1 "
          "FOR NO KEY UPDATE NOWAIT) "
          "UPDATE rappel.workflow_instances i SET status = $3, owner = NULL, "
          "due_at = $4, reason = $5 FROM l WHERE i.id = l.id",
          5, PG_UUID, PG_UUID, PG_TEXT, PG_TIMESTAMPTZ, PG_TEXT);

STATEMENT(reason_set,
          "WITH l AS MATERIALIZED (SELECT i.id FROM "
          "rappel.workflow_instances i WHERE i.id = ANY ($2) "
          "AND i.owner = $1 FOR NO KEY UPDATE SKIP LOCKED) "
          "UPDATE rappel.workflow_instances i SET reason = $3 FROM l "
          "WHERE i.id = l.id AND i.reason IS DISTINCT FROM $3",
          3, PG_UUID, PG_UUID_ARRAY, PG_TEXT);

/* Those behind $3: at most $2 of them, and not many more than 4 MiB as they
 * are stored. */
STATEMENT(commands_read,
          "SELECT " COMMAND_COLUMNS " FROM (SELECT m.*, "
          "sum(coalesce(pg_column_size(m.result), 0)) "
          "OVER (ORDER BY m.id ROWS BETWEEN UNBOUNDED PRECEDING "
          "AND 1 PRECEDING) AS bytes_before "
          "FROM (SELECT w.* FROM rappel.commands w "
          "JOIN rappel.workflow_instances i ON i.id = w.instance_id "
          "WHERE i.owner = $1 AND w.id > $3 ORDER BY w.id LIMIT $2) m) c "
          "WHERE c.bytes_before IS NULL OR c.bytes_before < 4194304 "
          "ORDER BY c.id",
          3, PG_UUID, PG_INT8, PG_INT8);

/* Commands that came too late. */
STATEMENT_PLAIN(commands_sweep,
                "DELETE FROM rappel.commands c USING "
                "rappel.workflow_instances i WHERE i.id = c.instance_id "
                "AND i.status IN ('succeeded', 'failed', 'timed_out', "
                "'cancelled')");

/* ---- keeper ---- */

STATEMENT(pool_add,
          "INSERT INTO rappel.worker_pools "
          "(incarnation, name, host, boot_id, dir, pid, version) "
          "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
          7, PG_UUID, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_INT4, PG_TEXT);

STATEMENT(heartbeat_add,
          "INSERT INTO rappel.pool_heartbeats (incarnation) VALUES ($1) "
          "ON CONFLICT DO NOTHING",
          1, PG_UUID);

STATEMENT(heartbeat,
          "UPDATE rappel.pool_heartbeats SET beat = beat + 1, "
          "at = clock_timestamp(), idle = $2 WHERE incarnation = $1 "
          "RETURNING at",
          2, PG_UUID, PG_BOOL);

/* $1: ours; the last column: one that certainly died on this host, since we
 * hold its directory's lock. */
STATEMENT(pools_read,
          "SELECT p.incarnation, coalesce(h.beat, 0), "
          "p.host = $2 AND p.boot_id = $3 AND p.dir = $4, p.name "
          "FROM rappel.worker_pools p "
          "LEFT JOIN rappel.pool_heartbeats h USING (incarnation) "
          "WHERE p.incarnation <> $1",
          4, PG_UUID, PG_TEXT, PG_TEXT, PG_TEXT);

STATEMENT_PLAIN(lock_timeout_short, "SET LOCAL lock_timeout = 300");

STATEMENT(pool_delete,
          "DELETE FROM rappel.worker_pools WHERE incarnation = $1", 1,
          PG_UUID);

STATEMENT(instances_requeue,
          "WITH l AS MATERIALIZED (SELECT i.id FROM "
          "rappel.workflow_instances i WHERE i.owner = $1 "
          "FOR UPDATE SKIP LOCKED) "
          "UPDATE rappel.workflow_instances i SET status = 'queued', "
          "owner = NULL FROM l WHERE i.id = l.id",
          1, PG_UUID);

/* From an earlier life of this very pool: nobody else comes in between. */
STATEMENT(instances_inherit,
          "WITH l AS MATERIALIZED (SELECT i.id FROM "
          "rappel.workflow_instances i WHERE i.owner = $1 "
          "FOR UPDATE SKIP LOCKED) "
          "UPDATE rappel.workflow_instances i SET owner = $2 "
          "FROM l WHERE i.id = l.id",
          2, PG_UUID, PG_UUID);

STATEMENT(blame, "SELECT rappel.blame($1)", 1, PG_UUID);

/* DISTINCT: a row may be written once in a statement, whatever comes here. */
STATEMENT(progress_write,
          "INSERT INTO rappel.action_progress "
          "(instance_id, activation, attempt, state, progress, at, "
          "incarnation) "
          "SELECT DISTINCT ON (k.i, k.n) k.i, k.n, k.a, k.s, k.p, k.t, $1 "
          "FROM unnest($2, $3, $4, $5, $6, $7) k (i, n, a, s, p, t) "
          "ORDER BY k.i, k.n, k.a DESC "
          "ON CONFLICT (instance_id, activation) DO UPDATE "
          "SET attempt = excluded.attempt, state = excluded.state, "
          "progress = excluded.progress, at = excluded.at, "
          "incarnation = excluded.incarnation",
          7, PG_UUID, PG_UUID_ARRAY, PG_INT4_ARRAY, PG_INT4_ARRAY,
          PG_TEXT_ARRAY, PG_JSON_ARRAY, PG_TIMESTAMPTZ_ARRAY);

STATEMENT(progress_delete,
          "DELETE FROM rappel.action_progress p "
          "USING unnest($2, $3, $4) k (i, n, a) WHERE p.instance_id = k.i "
          "AND p.activation = k.n AND p.attempt = k.a "
          "AND p.incarnation = $1",
          4, PG_UUID, PG_UUID_ARRAY, PG_INT4_ARRAY, PG_INT4_ARRAY);

STATEMENT(progress_clear,
          "DELETE FROM rappel.action_progress WHERE incarnation = $1", 1,
          PG_UUID);

/* What a takeover had to skip because somebody held its row. */
STATEMENT_PLAIN(orphans_requeue,
                "WITH l AS MATERIALIZED (SELECT i.id FROM "
                "rappel.workflow_instances i WHERE i.owner IS NOT NULL AND "
                "NOT EXISTS (SELECT FROM rappel.worker_pools p "
                "WHERE p.incarnation = i.owner) "
                "FOR UPDATE SKIP LOCKED) "
                "UPDATE rappel.workflow_instances i SET status = 'queued', "
                "owner = NULL FROM l WHERE i.id = l.id");

/* $2: only that one; 0: all of them. */
STATEMENT(backends_end,
          "SELECT pg_terminate_backend(b.pid) FROM rappel.pool_backends b "
          "JOIN pg_stat_activity a ON a.pid = b.pid "
          "AND a.backend_start = b.backend_start "
          "WHERE b.incarnation = $1 AND ($2 = 0 OR b.pid = $2)",
          2, PG_UUID, PG_INT4);

STATEMENT(backends_count,
          "SELECT count(*) FROM rappel.pool_backends b "
          "JOIN pg_stat_activity a ON a.pid = b.pid "
          "AND a.backend_start = b.backend_start "
          "WHERE b.incarnation = $1 AND ($2 = 0 OR b.pid = $2)",
          2, PG_UUID, PG_INT4);

STATEMENT_PLAIN(partitions, "SELECT rappel.make_partitions()");
/* Tells one set of current versions from another without reading any. */
STATEMENT_PLAIN(workflows_mark,
                "SELECT count(*)::text || ':' || coalesce(sum("
                "hashtextextended(w.workflow, w.version_id)), 0)::text "
                "FROM rappel.workflows w");

/*
 * Which of the actions $1 are named by the current versions of some workflows
 * behind $2, and the last of those. The text is searched: what must be read is
 * bounded by what it takes in the table, so that a heartbeat waits for
 * milliseconds. A name that was written with JSON's escapes is not found.
 */
STATEMENT(workflows_name,
          "WITH w AS MATERIALIZED (SELECT w.workflow, w.version_id "
          "FROM rappel.workflows w WHERE w.workflow > $2 "
          "ORDER BY w.workflow LIMIT 200), "
          "v AS MATERIALIZED (SELECT w.workflow, w.version_id, "
          "sum(pg_column_size(v.definition)) OVER (ORDER BY w.workflow) "
          "- pg_column_size(v.definition) AS before "
          "FROM w JOIN rappel.workflow_versions v ON v.id = w.version_id), "
          "p AS MATERIALIZED (SELECT v.workflow, v.version_id FROM v "
          "WHERE v.before < 262144), "
          "n AS MATERIALIZED (SELECT DISTINCT regexp_replace(m.parts[1], "
          "'^arn:.*[:/]|\\.waitForTaskToken$', '', 'g') AS name "
          "FROM p JOIN rappel.workflow_versions d ON d.id = p.version_id, "
          "regexp_matches(d.definition::text, "
          "'\"Resource\"\\s*:\\s*\"((?:[^\"\\\\]|\\\\.)*)\"', 'g') "
          "AS m (parts)) "
          "SELECT true, max(p.workflow) FROM p UNION ALL "
          "SELECT DISTINCT false, a.name FROM unnest($1) a (name) "
          "JOIN n ON n.name = a.name",
          2, PG_TEXT_ARRAY, PG_TEXT);

STATEMENT_PLAIN(listen_work, "LISTEN rappel_work");
STATEMENT_PLAIN(listen_command, "LISTEN rappel_command");
STATEMENT_PLAIN(wake, "SELECT rappel.wake_idle()");

const struct db_statement *const sql_writer_statements[] = {
	&sql_fence, &sql_backend_add, &sql_log_insert, &sql_instances_end,
	&sql_commands_delete, &sql_pool_row_lock, &sql_log_probe,
	&sql_ends_probe, &sql_backends_end, &sql_backends_count, NULL
};
const struct db_statement *const sql_claimer_statements[] = {
	&sql_fence, &sql_backend_add, &sql_peek, &sql_claim_queued,
	&sql_claim_due, &sql_first_queued, &sql_first_due,
	&sql_claim_commanded, &sql_blocked_cancel, &sql_owned, &sql_log_read,
	&sql_commands_of, &sql_still_owned, &sql_version_read,
	&sql_release, &sql_reason_set, &sql_commands_read,
	&sql_commands_sweep, &sql_backends_end, &sql_backends_count, NULL
};
const struct db_statement *const sql_keeper_statements[] = {
	&sql_fence, &sql_backend_add, &sql_pool_add,
	&sql_heartbeat_add, &sql_heartbeat, &sql_pools_read,
	&sql_lock_timeout_short, &sql_pool_row_lock, &sql_pool_delete,
	&sql_instances_requeue, &sql_instances_inherit, &sql_blame,
	&sql_progress_write, &sql_progress_delete, &sql_progress_clear,
	&sql_orphans_requeue, &sql_backends_end,
	&sql_backends_count, &sql_partitions, &sql_workflows_mark,
	&sql_workflows_name, &sql_listen_work,
	&sql_listen_command, &sql_wake, NULL
};
