"""The journal, folded by the reference interpreter, against everything else.

I05  nothing advanced twice, no gap, every change legal
I06  what replay gives = what is stored = what rappelctl shows
I04  nothing begins before what it depends on is committed
I08  an open instance waits for something, and not in vain
"""

import datetime
import hashlib
import json

from checker import interpreter

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
EVENTS = {1: "succeeded", 2: "failed", 3: "fired", 4: "cancelled",
          5: "failed", 6: "pending", 7: "heartbeat"}
ENDED = ("succeeded", "failed", "timed_out", "cancelled")


def sha(value):
    """The hash of a value, however its text was written."""
    return hashlib.sha256(interpreter.canonical(value).encode()).hexdigest()


def micros(moment):
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


class Entry:
    """One entry of a row of action_log, decoded here."""

    def __init__(self, parts, row_us, names, commit_us):
        if not isinstance(parts, list) or not 3 <= len(parts) <= 11:
            raise interpreter.Illegal(f"an entry like {parts!r}")
        parts = parts + [None] * (11 - len(parts))
        self.kind, self.at_us = parts[0], row_us + parts[1]
        self.activation = parts[2]
        self.attempt = parts[3] or 0
        self.state = None if parts[4] is None else names[parts[4]]
        self.index, self.run_us = parts[5], parts[7]
        self.value, self.cause, self.extra = parts[8:]
        self.commit_us = commit_us


class Instance:
    """What the database says of one instance."""

    def __init__(self, row):
        (self.id, self.version, self.status, self.owner, self.started_at,
         self.input, self.output, self.error, self.cause, self.reason,
         self.due_at) = row
        self.entries = []
        self.broken = None  # why the journal itself cannot be read
        self.run = None
        # Since which commit each (activation, attempt) was allowed to run.
        self.allowed_us = {}

    def add_row(self, row, names):
        seq, count, at, entries, commit_us = row
        entries = json.loads(entries)
        if seq != len(self.entries) + 1 or count != len(entries):
            self.broken = (f"row {seq} with {count} follows "
                           f"{len(self.entries)} entries")
            return
        for parts in entries:
            self.entries.append(Entry(parts, micros(at), names, commit_us))


class Snapshot:
    """All instances and journals, as one moment saw them."""

    def __init__(self, connection):
        self.definitions, self.names = {}, {}
        self.instances = {}
        with connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ,"
                           " READ ONLY")
            cursor.execute("SELECT now()")
            self.now_us = micros(cursor.fetchone()[0])
            cursor.execute("SELECT id, definition::text, states"
                           " FROM rappel.workflow_versions")
            for version, text, names in cursor:
                self.definitions[version] = json.loads(text)
                self.names[version] = names
            cursor.execute(
                "SELECT i.id::text, version_id, status, owner::text,"
                " started_at, input::text, output::text, error, cause,"
                " reason, due_at FROM rappel.workflow_instances i")
            for row in cursor:
                self.instances[row[0]] = Instance(row)
            cursor.execute(
                "SELECT instance_id::text, seq, count, at, entries::text,"
                " (extract(epoch FROM pg_xact_commit_timestamp(xmin))"
                "  * 1000000)::bigint"
                " FROM rappel.action_log ORDER BY instance_id, seq")
            for instance, *row in cursor:
                found = self.instances.get(instance)
                if found is not None:
                    found.add_row(row, self.names[found.version])

    def replay(self, instance):
        """Findings of one instance; fills instance.run."""
        if instance.started_at is None:
            return ["it has a journal and was never claimed"] \
                if instance.entries else []
        if instance.broken is not None:
            return [instance.broken]
        started_us = micros(instance.started_at)
        definition = self.definitions[instance.version]
        try:
            run = interpreter.Run(definition, json.loads(instance.input),
                                  started_us, instance.id)
            instance.run = run
            note_allowed(instance, 0)
            for entry in instance.entries:
                run.apply(entry.kind, entry.at_us, entry.activation,
                          entry.attempt, entry.state, entry.index,
                          entry.value, entry.cause, entry.extra,
                          entry.run_us)
                note_allowed(instance, entry.commit_us)
        except interpreter.Illegal as why:
            instance.run = None
            return [f"after {run.applied - 1} entries: {why}"]
        return compare(instance, run)


def note_allowed(instance, commit_us):
    for activation, wanted in instance.run.wanted.items():
        instance.allowed_us.setdefault((activation, wanted.attempt),
                                       commit_us)


def compare(instance, run):
    """What is stored against what replay gives."""
    if instance.status == "blocked":
        return []
    if instance.status not in ENDED:
        # Entries and the end that they bring are one transaction.
        return [f"replay ends as {run.status}, stored is {instance.status}"] \
            if run.status is not None and run.applied else []
    if instance.status == "cancelled" and run.status is None:
        return []  # one that was blocked is ended as it stands
    if run.status != instance.status:
        return [f"replay gives {run.status or 'no end'}, stored is "
                f"{instance.status}"]
    if run.status == "succeeded":
        stored = None if instance.output is None \
            else json.loads(instance.output)
        if sha(stored) != sha(run.output):
            return [f"replay gives {run.output!r:.200}, stored is "
                    f"{stored!r:.200}"]
    elif run.status == "failed" and run.error != instance.error:
        return [f"replay gives the error {run.error!r}, stored is "
                f"{instance.error!r}"]
    return []


def replay(snapshot, unsupported=False):
    """I05, I06: every journal. unsupported: allow what is not known here."""
    findings = []
    for instance in snapshot.instances.values():
        try:
            findings += [f"replay: instance {instance.id}: {what}"
                         for what in snapshot.replay(instance)]
        except interpreter.Unsupported as why:
            instance.run = None
            if not unsupported:
                findings.append(f"replay: instance {instance.id}: the "
                                f"interpreter does not know {why}")
    return findings


def history(connection, snapshot):
    """I06: the view that people read says what the rows say."""
    findings = []
    seen = {}
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT instance_id::text, seq, event, action, state,"
                       " index, attempt, result::text, error, cause,"
                       " details::text FROM rappel.history ORDER BY instance_id, seq")
        for instance, *row in cursor:
            seen.setdefault(instance, []).append(row)
    for instance in snapshot.instances.values():
        if instance.broken is not None:
            continue
        expected = []
        for n, e in enumerate(instance.entries):
            expected.append([
                n + 1, EVENTS.get(e.kind), e.activation, e.state, e.index,
                e.attempt or None,
                # A null at an entry's end is left out.
                sha(shown(e.value)) if e.kind == 1 and e.value is not None
                else None,
                shown(e.value) if e.kind in (2, 5) else None,
                shown(e.cause) if e.kind in (2, 4, 5) else None,
                details_of(e)])
        # What was written after the snapshot is not in it.
        found = [row[:6] + [None if row[6] is None
                            else sha(json.loads(row[6]))] + row[7:9] +
                 [None if row[9] is None else json.loads(row[9])]
                 for row in seen.get(instance.id, [])[:len(expected)]]
        if found != expected:
            findings.append(f"history: instance {instance.id}: "
                            f"{len(found)} of {len(expected)} entries, or "
                            "one of them differs")
    return findings


def details_of(entry):
    if entry.kind != interpreter.HEARTBEAT:
        return shown(entry.extra)
    return None if entry.value is None else {"progress": shown(entry.value)}


def shown(value):
    """As the view has it: a NUL is none that PostgreSQL shows."""
    if isinstance(value, list):
        return [shown(part) for part in value]
    if isinstance(value, dict):
        return {shown(key): shown(part) for key, part in value.items()}
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def before_dependents(snapshot, lines):
    """I04: no START before the commit of what it depends on.

    Needs replay() first. Says nothing of what replay could not follow.
    """
    findings = []
    by_id = {key.replace("-", ""): value
             for key, value in snapshot.instances.items()}
    for line in lines:
        instance = by_id.get(line.instance)
        if line.what != "START" or instance is None or instance.run is None:
            continue
        allowed = instance.allowed_us.get((line.activation, line.attempt))
        if allowed is None:
            findings.append("started though nothing committed asks for it: "
                            f"{line!r}")
        elif line.wall_us < allowed:
            findings.append(f"started {allowed - line.wall_us} µs before "
                            f"what it depends on was committed: {line!r}")
    return findings


def stuck(snapshot, quiet_seconds=15.0, hanging=("hang",), blocked=()):
    """I08: each open instance goes on, or waits for what is to come.

    Needs replay() first. hanging: actions that may run for ever; blocked:
    ids that are meant to be set aside.
    """
    findings = []
    quiet_us = quiet_seconds * 1000000
    for i in snapshot.instances.values():
        what = None
        if i.status == "blocked" and i.id not in blocked:
            what = f"is set aside: {i.reason}"
        elif i.status == "running" and i.owner is None:
            what = "runs and belongs to nobody"
        elif i.status == "waiting" and i.due_at is not None and \
                micros(i.due_at) + quiet_us < snapshot.now_us:
            what = f"was due at {i.due_at} and nobody claims it"
        elif i.status == "running" and i.run is not None:
            last = max([micros(i.started_at)] +
                       [e.commit_us for e in i.entries])
            idle = [w for w in i.run.wanted.values()
                    if max(w.due_us, last) + quiet_us < snapshot.now_us
                    and w.action not in hanging]
            if idle:
                what = (f"wrote nothing for {snapshot.now_us - last} µs "
                        f"though {idle[0].kind} {idle[0].state} could go on")
        if what is not None:
            findings.append(f"stuck: instance {i.id} {what}")
    return findings


def starved(connection, quiet_seconds=15.0):
    """I08: what is queued is not left lying beside a pool with nothing to do."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), min(rappel.uuid7_time(id))"
            " FROM rappel.workflow_instances WHERE status = 'queued'"
            " AND rappel.uuid7_time(id) < now() - %s * interval '1 second'"
            " AND EXISTS (SELECT FROM rappel.pool_heartbeats h WHERE h.idle"
            "  AND h.at > now() - interval '10 seconds')",
            (quiet_seconds,))
        count, since = cursor.fetchone()
    return [f"stuck: {count} are queued, the oldest since {since}, and a "
            "pool is idle"] if count else []


def shows(instances, ctl):
    """I06: rappelctl says the same. ctl(*words) gives parsed JSON."""
    findings = []
    for i in instances:
        found = ctl("run", "show", i.id)
        if found.get("status") != i.status or \
                (i.output is not None and
                 sha(found.get("output")) != sha(json.loads(i.output))):
            findings.append(f"show: instance {i.id} is {i.status}, rappelctl "
                            f"shows {found!r:.200}")
        rows = ctl("run", "history", i.id)
        if len(rows) != len(i.entries):
            findings.append(f"show: instance {i.id} has {len(i.entries)} "
                            f"entries, rappelctl shows {len(rows)}")
    return findings
