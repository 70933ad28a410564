"""What must be true of a database, whatever was killed: looked at by SQL.

Needs a server with track_commit_timestamp = on, since "before" is decided by
commits.

I03, I05  the journal's rows        I07  counts
I09, I10  leases and the fence      I16  a database left clean
"""

# What happened, in the order of commits for each instance: triggers write it
# down. lease_audit: an owner or a status changed. journal_audit: a row came,
# and whose session wrote it. pool_audit: a pool came or was deleted.
AUDIT = """
CREATE TABLE public.status_audit (
	n bigint GENERATED ALWAYS AS IDENTITY,
	id uuid NOT NULL,
	before text NOT NULL,
	after text NOT NULL
);
CREATE FUNCTION public.status_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO public.status_audit (id, before, after)
	VALUES (old.id, old.status, new.status);
	RETURN NULL;
END
$$;
CREATE TRIGGER status_audit AFTER UPDATE OF status
	ON rappel.workflow_instances FOR EACH ROW
	WHEN (old.status IS DISTINCT FROM new.status)
	EXECUTE FUNCTION public.status_audit();

CREATE TABLE public.lease_audit (
	n bigint GENERATED ALWAYS AS IDENTITY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	id uuid NOT NULL,
	before uuid,
	after uuid,
	status text NOT NULL
);
CREATE FUNCTION public.lease_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO public.lease_audit (id, before, after, status)
	VALUES (old.id, old.owner, new.owner, new.status);
	RETURN NULL;
END
$$;
CREATE TRIGGER lease_audit AFTER UPDATE OF owner
	ON rappel.workflow_instances FOR EACH ROW
	WHEN (old.owner IS DISTINCT FROM new.owner)
	EXECUTE FUNCTION public.lease_audit();

CREATE TABLE public.pool_audit (
	n bigint GENERATED ALWAYS AS IDENTITY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	incarnation uuid NOT NULL,
	name text NOT NULL,
	born boolean NOT NULL
);
CREATE FUNCTION public.pool_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	v rappel.worker_pools := coalesce(new, old);
BEGIN
	INSERT INTO public.pool_audit (incarnation, name, born)
	VALUES (v.incarnation, v.name, new IS NOT NULL);
	RETURN NULL;
END
$$;
CREATE TRIGGER pool_audit AFTER INSERT OR DELETE
	ON rappel.worker_pools FOR EACH ROW
	EXECUTE FUNCTION public.pool_audit();

CREATE TABLE public.journal_audit (
	n bigint GENERATED ALWAYS AS IDENTITY,
	instance_id uuid NOT NULL,
	seq int NOT NULL,
	count int NOT NULL,
	owner uuid,
	writer uuid
);
CREATE FUNCTION public.journal_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	v_writer uuid := (SELECT b.incarnation FROM rappel.pool_backends b
		JOIN pg_stat_get_activity(pg_backend_pid()) a
			ON a.pid = b.pid AND a.backend_start = b.backend_start
		LIMIT 1);
BEGIN
	INSERT INTO public.journal_audit
		(instance_id, seq, count, owner, writer)
	SELECT r.instance_id, r.seq, r.count, i.owner, v_writer
	FROM rows r LEFT JOIN rappel.workflow_instances i
		ON i.id = r.instance_id;
	RETURN NULL;
END
$$;
CREATE TRIGGER journal_audit AFTER INSERT
	ON rappel.action_log REFERENCING NEW TABLE AS rows
	FOR EACH STATEMENT EXECUTE FUNCTION public.journal_audit();
"""

# Once install_audit() was there: what the triggers saw.
FENCE = (
    ("a journal row from a pool that had no lease on the instance",
     "SELECT instance_id, seq, owner, writer FROM public.journal_audit"
     " WHERE writer IS NULL OR owner IS DISTINCT FROM writer"),
    ("a journal row that no trigger saw, or that has gone since",
     "SELECT coalesce(l.instance_id, j.instance_id),"
     " coalesce(l.seq, j.seq) FROM rappel.action_log l"
     " FULL JOIN public.journal_audit j USING (instance_id, seq, count)"
     " WHERE l.instance_id IS NULL OR j.instance_id IS NULL"),
    ("a lease for a pool that was not there",
     "SELECT l.id, l.after, l.at FROM public.lease_audit l"
     " WHERE l.after IS NOT NULL AND ("
     "  NOT EXISTS (SELECT FROM public.pool_audit p"
     "   WHERE p.incarnation = l.after AND p.born AND p.at <= l.at)"
     "  OR EXISTS (SELECT FROM public.pool_audit p"
     "   WHERE p.incarnation = l.after AND NOT p.born AND p.at < l.at))"),
    ("an incarnation that was used twice",
     "SELECT incarnation, count(*) FROM public.pool_audit WHERE born"
     " GROUP BY 1 HAVING count(*) > 1"),
)

# While it runs, some seconds after the last fault.
CLEAN = (
    ("a session that is idle in a transaction",
     "SELECT pid, application_name, now() - state_change"
     " FROM pg_stat_activity WHERE datname = current_database()"
     " AND application_name LIKE 'rappel%'"
     " AND state LIKE 'idle in transaction%'"
     " AND now() - state_change > interval '5 seconds'"),
    ("a prepared transaction or an advisory lock",
     "SELECT gid FROM pg_prepared_xacts"
     " WHERE database = current_database() UNION ALL"
     " SELECT pid::text FROM pg_locks WHERE locktype = 'advisory'"
     "  AND database = (SELECT oid FROM pg_database"
     "   WHERE datname = current_database())"),
    ("more than four sessions a pool",
     "SELECT count(*), (SELECT count(*) FROM rappel.worker_pools)"
     " FROM pg_stat_activity WHERE datname = current_database()"
     " AND application_name LIKE 'rappel %'"
     " HAVING count(*) > 4 * (SELECT count(*) FROM rappel.worker_pools)"),
    ("a lease of a pool that is dead",
     "SELECT i.id, i.owner FROM rappel.workflow_instances i"
     " WHERE i.owner IS NOT NULL AND NOT EXISTS (SELECT FROM"
     "  rappel.pool_heartbeats h WHERE h.incarnation = i.owner"
     "  AND h.at > now() - interval '15 seconds')"),
)

# What each looks for, and a query that finds it.
JOURNAL = (
    ("a gap or an overlap in the journal",
     "SELECT instance_id, seq, expected FROM ("
     " SELECT instance_id, seq, coalesce(lag(seq + count) OVER ("
     "  PARTITION BY instance_id ORDER BY seq), 1) AS expected"
     " FROM rappel.action_log) l WHERE seq <> expected"),
    ("a row whose count is not that of its entries",
     "SELECT instance_id, seq, count, json_array_length(entries)"
     " FROM rappel.action_log"
     " WHERE count < 1 OR count <> json_array_length(entries)"),
    ("an action that succeeded twice",
     "SELECT l.instance_id, e.e ->> 2, count(*)"
     " FROM rappel.action_log l"
     " CROSS JOIN json_array_elements(rappel.readable(l.entries)) e (e)"
     " WHERE e.e ->> 0 = '1' GROUP BY 1, 2 HAVING count(*) > 1"),
    ("an attempt that ended twice",
     "SELECT l.instance_id, e.e ->> 2, e.e ->> 3, count(*)"
     " FROM rappel.action_log l"
     " CROSS JOIN json_array_elements(rappel.readable(l.entries)) e (e)"
     " WHERE e.e ->> 0 IN ('1', '2', '5')"
     " OR (e.e ->> 0 = '3' AND e.e ->> 3 <> '0')"
     " GROUP BY 1, 2, 3 HAVING count(*) > 1"),
    ("an attempt that began to wait for somebody twice",
     "SELECT l.instance_id, e.e ->> 2, e.e ->> 3, count(*)"
     " FROM rappel.action_log l"
     " CROSS JOIN json_array_elements(rappel.readable(l.entries)) e (e)"
     " WHERE e.e ->> 0 = '6'"
     " GROUP BY 1, 2, 3 HAVING count(*) > 1"),
    ("an attempt after the one that succeeded",
     "SELECT instance_id, action, attempt, won FROM ("
     " SELECT instance_id, action, attempt, min(attempt)"
     "  FILTER (WHERE event = 'succeeded')"
     "  OVER (PARTITION BY instance_id, action) AS won"
     " FROM rappel.history) h WHERE attempt > won"),
    ("a journal of an instance that is not there",
     "SELECT DISTINCT l.instance_id FROM rappel.action_log l WHERE NOT EXISTS"
     " (SELECT FROM rappel.workflow_instances i WHERE i.id = l.instance_id)"),
    ("a journal row committed after the instance's end",
     "SELECT i.id, l.seq FROM rappel.workflow_instances i"
     " JOIN rappel.action_log l ON l.instance_id = i.id"
     " WHERE i.ended_at IS NOT NULL AND pg_xact_commit_timestamp(l.xmin)"
     "  > pg_xact_commit_timestamp(i.xmin)"),
    ("an end that is none, or an open instance that ended",
     "SELECT id, status, ended_at FROM rappel.workflow_instances"
     " WHERE (status IN ('succeeded', 'failed', 'timed_out', 'cancelled'))"
     "  <> (ended_at IS NOT NULL)"
     "  OR (status = 'running') <> (owner IS NOT NULL)"),
    ("a change of status after the end",
     "SELECT id, before, after FROM public.status_audit WHERE before IN"
     " ('succeeded', 'failed', 'timed_out', 'cancelled')"),
    ("more than one end",
     "SELECT id, count(*) FROM public.status_audit WHERE after IN"
     " ('succeeded', 'failed', 'timed_out', 'cancelled')"
     " GROUP BY id HAVING count(*) > 1"),
    ("an attempt that does not follow the one before",
     "SELECT instance_id, action, attempt FROM ("
     " SELECT instance_id, action, attempt, row_number() OVER ("
     "  PARTITION BY instance_id, action ORDER BY seq) AS n"
     " FROM rappel.history WHERE event IN ('succeeded', 'failed')"
     " OR (event = 'fired' AND attempt IS NOT NULL)) h"
     " WHERE attempt <> n"),
    ("an owner that is no pool",
     "SELECT i.id, i.owner FROM rappel.workflow_instances i"
     " WHERE i.owner IS NOT NULL AND NOT EXISTS (SELECT FROM"
     "  rappel.worker_pools p WHERE p.incarnation = i.owner)"),
)

# After the last pool of a database has stopped as asked.
STOPPED = (
    ("a pool that is registered",
     "SELECT incarnation, name FROM rappel.worker_pools"),
    ("an instance that is still leased",
     "SELECT id, status FROM rappel.workflow_instances"
     " WHERE owner IS NOT NULL OR status = 'running'"),
)

DISCONNECTED = (
    ("a session of rappel",
     "SELECT pid, application_name, state FROM pg_stat_activity"
     " WHERE application_name LIKE 'rappel%'"
     "  AND datname = current_database()"),
    ("a prepared transaction or an advisory lock",
     "SELECT transaction::text FROM pg_prepared_xacts UNION ALL"
     " SELECT pid::text FROM pg_locks WHERE locktype = 'advisory'"
     "  AND database = (SELECT oid FROM pg_database"
     "   WHERE datname = current_database())"),
)


def install_audit(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute(AUDIT)


def _find(connection, checks):
    findings = []
    with connection, connection.cursor() as cursor:
        for what, query in checks:
            cursor.execute(query)
            rows = cursor.fetchall()
            if rows:
                findings.append(f"{what}: {len(rows)} times, first "
                                f"{rows[0]!r}")
    return findings


def journal(connection):
    """I03, I05: what SQL alone can see of the journal."""
    return _find(connection, JOURNAL)


def fence(connection):
    """I09, I10: who wrote, who held. Needs install_audit()."""
    return _find(connection, FENCE)


def clean(connection):
    """I16, while pools run."""
    return _find(connection, CLEAN)


def audited(connection):
    """Whether install_audit() was called in this database."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.journal_audit')"
                       " IS NOT NULL")
        return cursor.fetchone()[0]


def counts(connection, given=None, workflows=None):
    """I07: nothing was lost or came from nowhere.

    given: how many instances were started; workflows: name to that number.
    """
    findings = []
    found = {}
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT workflow, count(*) FROM rappel.instances"
                       " GROUP BY 1")
        found = dict(cursor.fetchall())
    if given is not None and sum(found.values()) != given:
        findings.append(f"{given} instances were started, there are "
                        f"{sum(found.values())}")
    for name, wanted in (workflows or {}).items():
        if found.get(name, 0) != wanted:
            findings.append(f"{wanted} instances of {name} were started, "
                            f"there are {found.get(name, 0)}")
    return findings


def counters(connection, flusher):
    """I07: what a flusher counted is what its sessions wrote.

    flusher: that part of a status, taken at rest. Needs install_audit().
    """
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(count), 0)"
            " FROM public.journal_audit WHERE writer = %s",
            (flusher["incarnation"],))
        rows, entries = cursor.fetchone()
        cursor.execute(
            "SELECT count(*) FROM public.lease_audit WHERE before = %s"
            " AND status IN ('succeeded', 'failed', 'timed_out',"
            "  'cancelled')", (flusher["incarnation"],))
        ended = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM rappel.workflow_instances"
                       " WHERE owner = %s", (flusher["incarnation"],))
        active = cursor.fetchone()[0]
    return [f"the flusher counts {flusher[name]} {name}, the database has "
            f"{wanted}" for name, wanted in (
                ("journal_rows", rows), ("journal_entries", entries),
                ("instances_ended", ended), ("instances_active", active))
            if flusher[name] != wanted]


def handed_back(connection):
    """I16, after the last pool has stopped as asked."""
    return _find(connection, STOPPED)


def disconnected(connection):
    """I16, the same: the server may need a moment to see it."""
    return _find(connection, DISCONNECTED)


def outputs(connection, expected_of):
    """Every instance succeeded with what expected_of(input) says."""
    findings = []
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, status, input, output, reason, error,"
                       " cause FROM rappel.workflow_instances")
        for row in cursor:
            if row[1] != "succeeded":
                findings.append(f"instance {row[0]} is {row[1]}: "
                                f"{row[4:]!r}")
            elif row[3] != expected_of(row[2]):
                findings.append(f"instance {row[0]} gave {row[3]!r}")
    return findings


def successes(connection, expected):
    """Each instance's history has so many successes of each state."""
    findings = []
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.id, coalesce(jsonb_object_agg(h.state, h.n)"
            "  FILTER (WHERE h.state IS NOT NULL), '{}')"
            " FROM rappel.workflow_instances i LEFT JOIN ("
            "  SELECT instance_id, state, count(*) AS n FROM rappel.history"
            "  WHERE event = 'succeeded' GROUP BY 1, 2) h"
            " ON h.instance_id = i.id GROUP BY i.id")
        for instance, found in cursor:
            if found != expected:
                findings.append(f"instance {instance} has successes "
                                f"{found}, not {expected}")
    return findings
