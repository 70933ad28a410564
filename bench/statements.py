"""The time of every statement that the pools run: pg_stat_statements.

The notes timed their queries one by one in the program. PostgreSQL does it
better, for all who are connected; it costs a few percent, so only on request.
"""

SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_planning": "on",
}

READ = """
SELECT regexp_replace(query, '\\s+', ' ', 'g'), calls,
       1000 * total_exec_time, 1000 * mean_exec_time, 1000 * max_exec_time,
       1000 * mean_plan_time, rows, wal_bytes
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND toplevel
ORDER BY total_exec_time DESC LIMIT 20
"""


def begin(conn):
    """From now on. Raises when the server was not started with it."""
    with conn.cursor() as cur:
        cur.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        cur.execute("SELECT pg_stat_statements_reset()")
    conn.commit()


def read(conn):
    """The statements that took most, the dearest first."""
    with conn.cursor() as cur:
        cur.execute(READ)
        found = [{"statement": query[:200], "calls": calls,
                  "total_us": total, "mean_us": mean, "max_us": most,
                  "plan_us": plan, "rows": rows, "wal_bytes": int(wal)}
                 for query, calls, total, mean, most, plan, rows, wal in cur]
    conn.rollback()
    return found
