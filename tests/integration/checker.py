"""What must be true of a database, whatever was killed: an outsider's look.

Shares no code with rappel. Each check gives a list of findings, as text;
an empty list is what a test wants. Needs a server with
track_commit_timestamp = on, since "before" is decided by commits.
"""

# Every change of status, written by a trigger: an end must come once.
AUDIT = """
CREATE TABLE public.status_audit (
	n bigint GENERATED ALWAYS AS IDENTITY,
	id uuid NOT NULL,
	before text NOT NULL,
	after text NOT NULL
);
CREATE FUNCTION public.status_audit() RETURNS trigger
LANGUAGE plpgsql AS $$
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
"""

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
     " CROSS JOIN json_array_elements(l.entries) e (e)"
     " WHERE e.e ->> 0 = '1' GROUP BY 1, 2 HAVING count(*) > 1"),
    ("an attempt that ended twice",
     "SELECT l.instance_id, e.e ->> 2, e.e ->> 3, count(*)"
     " FROM rappel.action_log l"
     " CROSS JOIN json_array_elements(l.entries) e (e)"
     " WHERE e.e ->> 0 IN ('1', '2')"
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
    return _find(connection, JOURNAL)


def stopped(connection):
    return _find(connection, STOPPED)


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


# ---- the record that oracleworker.py keeps ----

class Line:
    """One event that a worker saw."""

    def __init__(self, text):
        parts = text.rstrip("\n").split("\t")
        self.what = parts[0]
        self.wall_us, self.boot_us = int(parts[1]), int(parts[2])
        self.instance, self.activation = parts[3], int(parts[4])
        self.attempt, self.action = int(parts[5]), parts[6]
        self.pid, self.spawn = int(parts[7]), int(parts[8])

    def __repr__(self):
        return (f"{self.what} instance={self.instance} "
                f"activation={self.activation} attempt={self.attempt} "
                f"action={self.action} at={self.wall_us}")


def read_record(path):
    with open(path, encoding="utf-8") as record:
        return [Line(text) for text in record if text.endswith("\n")]


def commits(connection):
    """When each success was committed: (instance, activation) to µs."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT replace(l.instance_id::text, '-', ''),"
            " (e.e ->> 2)::int, (e.e ->> 3)::int, (extract(epoch FROM"
            "  pg_xact_commit_timestamp(l.xmin)) * 1000000)::bigint"
            " FROM rappel.action_log l"
            " CROSS JOIN json_array_elements(l.entries) e (e)"
            " WHERE e.e ->> 0 = '1'")
        return {(row[0], row[1]): (row[2], row[3]) for row in cursor}


def record(connection, lines, stages):
    """The workers' record against the journal.

    stages: actions in the order in which they depend on each other; all of
    one stage must be committed before any of the next begins.
    """
    findings = []
    done = commits(connection)
    started = set()
    stage_of = {action: n for n, action in enumerate(stages)}
    action_of = {}
    last_commit = {}
    for line in lines:
        action_of[(line.instance, line.activation)] = line.action
    for key, (_, at_us) in done.items():
        stage = stage_of.get(action_of.get(key))
        if stage is None:
            findings.append(f"{key} succeeded and nobody ran it")
            continue
        place = (key[0], stage)
        last_commit[place] = max(at_us, last_commit.get(place, 0))
    for line in lines:
        if line.what != "START":
            continue
        key = (line.instance, line.activation)
        started.add((*key, line.attempt))
        if key in done and line.wall_us > done[key][1]:
            findings.append(f"started {line.wall_us - done[key][1]} µs "
                            f"after its completion was committed: {line!r}")
        for stage in range(stage_of[line.action]):
            before = last_commit.get((line.instance, stage))
            if before is None or line.wall_us < before:
                findings.append(f"started before stage {stages[stage]} was "
                                f"committed (at {before}): {line!r}")
    for key, (attempt, _) in done.items():
        if (*key, attempt) not in started:
            findings.append(f"{key} attempt {attempt} succeeded and nobody "
                            "started that attempt")
    return findings


def sent_is_written(connection, lines):
    """What a worker had sent before a stop as asked is in the journal."""
    done = commits(connection)
    return [f"sent and not in the journal: {line!r}" for line in lines
            if line.what == "SENT"
            and (line.instance, line.activation) not in done]
