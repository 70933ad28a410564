"""The record that the test workers keep, against the journal.

I01  what was answered is in the journal, as it was answered
I02  nothing runs again once its completion is committed
I03  one entry an attempt; runs of one attempt ≤ 1 + recoveries
I09  a pool works only on what is leased to it
"""

import json

from checker.replay import sha


class Line:
    """One event that a worker saw."""

    def __init__(self, text, pool=None):
        parts = text.rstrip("\n").split("\t")
        self.what = parts[0]
        self.wall_us, self.boot_us = int(parts[1]), int(parts[2])
        self.instance, self.activation = parts[3], int(parts[4])
        self.attempt, self.action = int(parts[5]), parts[6]
        self.pid, self.spawn = int(parts[7]), int(parts[8])
        # Of SENT: the hash of the result, "-" for a failure.
        self.sha = parts[9] if len(parts) > 9 else None
        self.pool = pool

    def __repr__(self):
        return (f"{self.what} instance={self.instance} "
                f"activation={self.activation} attempt={self.attempt} "
                f"action={self.action} at={self.wall_us}")


def read_record(path, pool=None):
    """All whole lines; pool: whose workers they are, by its name."""
    try:
        with open(path, encoding="utf-8") as record:
            return [Line(text, pool) for text in record
                    if text.endswith("\n") and text.count("\t") >= 8]
    except FileNotFoundError:
        return []  # no worker has begun anything


def commits(connection):
    """When each success was committed: (instance, activation) to µs."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT replace(l.instance_id::text, '-', ''),"
            " (e.e ->> 2)::int, (e.e ->> 3)::int, (extract(epoch FROM"
            "  pg_xact_commit_timestamp(l.xmin)) * 1000000)::bigint"
            " FROM rappel.action_log l"
            " CROSS JOIN json_array_elements(rappel.readable(l.entries)) e (e)"
            " WHERE e.e ->> 0 = '1'")
        return {(row[0], row[1]): (row[2], row[3]) for row in cursor}


def endings(connection):
    """How each attempt ended: (instance, activation, attempt) to
    ("-" or the hash of its result, µs of the commit)."""
    found = {}
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT replace(instance_id::text, '-', ''), entries::text,"
            " (extract(epoch FROM pg_xact_commit_timestamp(xmin))"
            "  * 1000000)::bigint FROM rappel.action_log")
        for instance, entries, at_us in cursor:
            for e in json.loads(entries):
                # Without a worker: finished under its task token.
                if e[0] in (1, 2, 5) and len(e) > 6 and e[6] is not None:
                    value = e[8] if len(e) > 8 else None
                    found[(instance, e[2], e[3])] = (
                        sha(value) if e[0] == 1 else "-", at_us)
    return found


def rerun(connection, lines):
    """I02: no START after the completion was committed or acknowledged."""
    done = {key: at_us for key, (_, at_us) in commits(connection).items()}
    for line in lines:
        if line.what == "ACKED":
            key = (line.instance, line.activation)
            done[key] = min(done.get(key, line.wall_us), line.wall_us)
    findings = []
    for line in lines:
        at_us = done.get((line.instance, line.activation))
        if line.what == "START" and at_us is not None and \
                line.wall_us > at_us:
            findings.append(f"started {line.wall_us - at_us} µs after its "
                            f"completion was committed: {line!r}")
    return findings


def answers(connection, lines, kept=False):
    """I01: what the journal has is what a worker sent, and what was
    acknowledged is there.

    kept: nobody that holds completions died (workers may have): then every
    SENT is in the journal, or somebody judged that attempt otherwise.
    """
    findings = []
    ended = endings(connection)
    sent = {}
    for line in lines:
        key = (line.instance, line.activation, line.attempt)
        if line.what == "SENT":
            sent.setdefault(key, set()).add(line.sha)
            if kept and key not in ended:
                findings.append(f"sent and not in the journal: {line!r}")
        elif line.what == "ACKED":
            found = ended.get(key)
            if found is None:
                findings.append(f"acknowledged and not in the journal: "
                                f"{line!r}")
            elif line.sha not in (None, found[0]):
                findings.append("acknowledged and another result is in the "
                                f"journal: {line!r}")
            elif found[1] > line.wall_us:
                findings.append("acknowledged before it was committed: "
                                f"{line!r}")
    started = {(line.instance, line.activation, line.attempt)
               for line in lines if line.what == "START"}
    for key, (hashed, _) in ended.items():
        if hashed == "-":
            continue  # a failure may be the daemon's verdict
        if key not in started:
            findings.append(f"{key} succeeded and nobody started that "
                            "attempt")
        # A worker may be killed between its answer and its line.
        elif None not in sent.get(key, {None}) and hashed not in sent[key]:
            findings.append(f"{key} has a result that no worker sent")
    return findings


def runs(lines, recoveries):
    """I03: an attempt runs once, and once more for each recovery."""
    count = {}
    for line in lines:
        if line.what == "START":
            key = (line.instance, line.activation, line.attempt)
            count[key] = count.get(key, 0) + 1
    return [f"{key} ran {n} times with {recoveries} recoveries"
            for key, n in count.items() if n > 1 + recoveries]


def leased(connection, lines, grace_seconds=10.0):
    """I09: each START lies within a lease of the pool that it was in.

    grace_seconds: what a pool that lost its lease may still begin of what
    its workers had in their hands. Needs install_audit() and lines with
    pools, told apart by pool_name.
    """
    leases = {}
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT replace(l.id::text, '-', ''), p.name,"
            " (extract(epoch FROM l.at) * 1000000)::bigint"
            " FROM public.lease_audit l LEFT JOIN public.pool_audit p"
            "  ON p.incarnation = l.after AND p.born ORDER BY l.n")
        for instance, name, at_us in cursor:
            leases.setdefault(instance, []).append((at_us, name))
    findings = []
    for line in lines:
        if line.what != "START" or line.pool is None:
            continue
        held = leases.get(line.instance, [])
        for n, (at_us, name) in enumerate(held):
            end_us = held[n + 1][0] if n + 1 < len(held) else line.wall_us
            if name == line.pool and at_us <= line.wall_us <= \
                    end_us + grace_seconds * 1000000:
                break
        else:
            findings.append(f"started in {line.pool}, which had no lease: "
                            f"{line!r}")
    return findings


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
