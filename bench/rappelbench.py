"""What queue-noop, fan-out and for-loop share: one run, from an empty database
to checked figures.

A run starts a private PostgreSQL cluster with its own durability, measures
what that database can do (bench/limit), starts the pools, starts the
instances from SQL, and counts committed actions in the journal itself. It
then stops the pools, proves in SQL that what was counted is there, and
measures the limit again: figures mean something only beside it.
"""

import argparse
import bisect
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg2
import psycopg2.extensions

import cluster
import definitions
import figures
import machine
import pool
import statements
import tables
import telling

FEED_CHUNK = 5000
# The deep checks read every entry's JSON; above this, a sample of instances.
DEEP_CHECK_INSTANCES = 20000
# The throughput over time is told by so many points; shorter than that one
# point shows single batches.
SERIES_POINTS = 40
SERIES_SECONDS = 0.1
# Of the commits in a trace, as many are kept in the report.
COMMITS_MAX = 4000
# Options that say how a report leaves, not what was measured.
NOT_REPORTED = ("form", "svg", "metrics_json")


class BenchError(Exception):
    """The run cannot be counted; the text says why."""


def say(text):
    """Progress, only for somebody who watches."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def parse(kind, argv):
    p = argparse.ArgumentParser(
        prog=kind, description=f"{kind}: actions a second, from the journal")
    p.add_argument("--instances", type=int, default=10000, metavar="N",
                   help="instances started at once (%(default)s)")
    p.add_argument("--workers", type=int, default=4, metavar="N",
                   help="worker processes of each pool (%(default)s)")
    p.add_argument("--hosts", type=int, default=1, metavar="N",
                   help="pools on this database (%(default)s)")
    p.add_argument("--loop-size", type=int, default=definitions.LOOP_SIZE,
                   metavar="N", help="width of fan-outs, length of sequences "
                   "(%(default)s)")
    if kind == "fan-out":
        p.add_argument("--nesting", type=int, default=1, metavar="N",
                       help="Maps within Maps, each of --loop-size "
                       "(%(default)s)")
    p.add_argument("--complexity", type=int, default=0, metavar="BYTES",
                   help="bytes that each action gets as input (%(default)s)")
    p.add_argument("--seconds", type=float, default=10, metavar="S",
                   help="how long is counted, at most (%(default)s)")
    p.add_argument("--timeout", type=float, default=300, metavar="S",
                   help="give up when the whole takes longer (%(default)s)")
    p.add_argument("--backlog", type=int, default=0, metavar="N",
                   help="keep that many instances waiting during the run")
    p.add_argument("--limit-seconds", type=float, default=3, metavar="S",
                   help="of each of the two measurements of the database "
                   "alone; 0 leaves them out (%(default)s)")
    p.add_argument("--database", metavar="CONNINFO",
                   help="use this empty database, not a private cluster")
    p.add_argument("--build", metavar="DIR", default=os.path.join(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        "build"), help="the build to measure (build)")
    tables.add_options(p)
    p.add_argument("--metrics-json", metavar="FILE",
                   help="write the pools' last status there")
    p.add_argument("--trace", metavar="FILE",
                   help="write there, as a Chrome trace, what the flushers "
                   "spend their time on; costs some of it")
    p.add_argument("--svg", metavar="FILE",
                   help="draw there the throughput over time, and beside it "
                   "what the pools' histograms and the trace tell")
    p.add_argument("--statements", action="store_true",
                   help="time every statement (pg_stat_statements); costs "
                   "some percent")
    o = p.parse_args(argv)
    o.nesting = getattr(o, "nesting", 1)
    for name in ("instances", "workers", "hosts", "loop_size", "nesting"):
        if getattr(o, name) < 1:
            p.error(f"--{name.replace('_', '-')} must be at least 1")
    o.build = os.path.abspath(o.build)
    return o


# ---- the database alone ----

def measure_limit(options, programs, method="unnest"):
    """Rows a second, one an action, by one connection in batches of 1,000."""
    if options.limit_seconds <= 0:
        return None
    done = subprocess.run(
        [programs.limit, "--json", "--method", method, "--seconds",
         str(options.limit_seconds)], env=programs.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise BenchError("bench/limit failed: " + done.stderr.strip())
    return json.loads(done.stdout)


# ---- starting instances ----

class Feeder:
    """Starts instances in bulk and knows how many wait.

    Its ids are time-ordered and claimed in that order, so the first queued
    one says how many are left. The look begins where the last one ended: from
    the front it would walk over the index entries of all that were claimed.
    """

    def __init__(self, conninfo, workflow, start_input, backlog):
        self.conn = cluster.connect(conninfo)
        with self.conn.cursor() as cur:
            # As the daemon's sessions: the table was empty when it was
            # analyzed, if it was.
            cur.execute("SET enable_seqscan = off; SET enable_sort = off;"
                        "SET enable_bitmapscan = off")
        self.conn.commit()
        self.workflow = workflow
        self.input = json.dumps(start_input)
        self.backlog = backlog
        self.ids = []
        self.seen = 0  # so many of them are not queued any more
        self.least_waiting = None
        self.cpu = 0.0
        self.error = None
        self.stopped = threading.Event()
        self.thread = None

    def start_some(self, count):
        """In the transaction that is open; the caller commits."""
        with self.conn.cursor() as cur:
            for at in range(0, count, FEED_CHUNK):
                size = min(FEED_CHUNK, count - at)
                cur.execute(
                    "SELECT s::text FROM rappel.start_workflows(%s, "
                    "array_fill(%s::json, ARRAY[%s])) s",
                    (self.workflow, self.input, size))
                self.ids.extend(sorted(row[0] for row in cur.fetchall()))

    def waiting(self):
        with self.conn.cursor() as cur:
            # i.id: ORDER BY id would be the text, which no index has.
            cur.execute("SELECT i.id::text FROM rappel.workflow_instances i "
                        "WHERE i.status = 'queued' "
                        "AND (-i.priority, i.id) >= (0, %s) "
                        "ORDER BY -i.priority, i.id LIMIT 1",
                        (self.ids[min(self.seen, len(self.ids) - 1)],))
            row = cur.fetchone()
        self.conn.rollback()
        self.seen = len(self.ids) if row is None \
            else bisect.bisect_left(self.ids, row[0])
        return len(self.ids) - self.seen

    def _feed(self):
        begun = time.thread_time()
        try:
            # A small backlog is gone within milliseconds.
            while not self.stopped.wait(0.2 if self.backlog > 20000
                                        else 0.02):
                waiting = self.waiting()
                if self.least_waiting is None or waiting < self.least_waiting:
                    self.least_waiting = waiting
                if waiting < self.backlog:
                    self.start_some(self.backlog - waiting)
                    self.conn.commit()
        except psycopg2.Error as why:
            self.error = why
        self.cpu = time.thread_time() - begun

    def begin(self):
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def end(self):
        if self.thread is not None:
            self.stopped.set()
            self.thread.join()
        if self.error is not None:
            raise BenchError(f"the feeder failed: {self.error}")


# ---- what it costs ----

class Meter:
    """CPU, WAL and commits between two moments."""

    def __init__(self, conn, pools, postmaster):
        self.conn = conn
        self.pools = pools
        self.postmaster = postmaster
        self.first = self.read()

    def read(self):
        now = {"mono": time.monotonic(), "cpu": {}}
        for one in self.pools:
            for kind, seconds in one.cpu().items():
                now["cpu"][kind] = now["cpu"].get(kind, 0) + seconds
        with self.conn.cursor() as cur:
            cur.execute("SELECT pg_current_wal_insert_lsn() - '0/0', "
                        "pg_backend_pid()")
            now["wal"], own = cur.fetchone()
            now["wal"] = int(now["wal"])
            cur.execute("SELECT pid, application_name, backend_type "
                        "FROM pg_stat_activity")
            known = {pid: (name or "", kind) for pid, name, kind in cur}
        self.conn.rollback()
        pids = pool.children(self.postmaster) if self.postmaster else known
        for pid in pids:
            name, kind = known.get(pid, ("", ""))
            if pid == own:
                continue
            where = "postgres " + (
                name.removeprefix("rappel ") if kind == "client backend"
                else "own processes")
            now["cpu"][where] = now["cpu"].get(where, 0) + \
                (pool.cpu_seconds(pid) or 0)
        if self.postmaster:
            now["cpu"]["postgres own processes"] = \
                now["cpu"].get("postgres own processes", 0) + \
                pool.reaped_seconds(self.postmaster)
        return now

    def until_now(self):
        last = self.read()
        return {
            "seconds": last["mono"] - self.first["mono"],
            "wal_bytes": last["wal"] - self.first["wal"],
            "cpu": {kind: max(0, seconds - self.first["cpu"].get(kind, 0))
                    for kind, seconds in last["cpu"].items()},
        }


def postmaster_pid(process, conn):
    """The server's first process when it is on this machine and visible."""
    if process is not None:
        return process.pid
    with conn.cursor() as cur:
        cur.execute("SELECT pg_backend_pid()")
        own = cur.fetchone()[0]
    conn.rollback()
    try:
        with open(f"/proc/{own}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        with open(f"/proc/{own}/comm", encoding="utf-8") as comm:
            return int(fields[1]) if "postgres" in comm.read() else None
    except OSError:
        return None


def database_time(conn):
    """Seconds, as the times in the journal."""
    with conn.cursor() as cur:
        cur.execute("SELECT extract(epoch FROM clock_timestamp())")
        value = float(cur.fetchone()[0])
    conn.rollback()
    return value


def commits_now(conn):
    with conn.cursor() as cur:
        cur.execute("SELECT xact_commit FROM pg_stat_database "
                    "WHERE datname = current_database()")
        value = cur.fetchone()[0]
    conn.rollback()
    return value


# ---- counting and checking ----

UNENDED = """
SELECT EXISTS (SELECT FROM rappel.workflow_instances WHERE status = 'queued')
    OR EXISTS (SELECT FROM rappel.workflow_instances
               WHERE status = 'waiting' AND due_at IS NOT NULL)
    OR EXISTS (SELECT FROM rappel.workflow_instances WHERE owner IS NOT NULL)
"""


def window(options, conn, pools):
    """Waits until the time is over or all instances have ended."""
    with conn.cursor() as cur:
        cur.execute("SET enable_seqscan = off")
        conn.commit()
        deadline = time.monotonic() + options.seconds
        while time.monotonic() < deadline:
            if not options.backlog:  # which has no end
                cur.execute(UNENDED)
                left = cur.fetchone()[0]
                conn.rollback()
                if not left:
                    return True
            for one in pools:
                if one.process.poll() is not None:
                    raise BenchError("rappeld ended during the run:\n"
                                     + one.log_tail())
            time.sleep(min(0.02, max(0, deadline - time.monotonic())))
    return False


class Snapshot:
    """The journal as it was at one moment, counted later without haste."""

    def __init__(self, conninfo):
        self.conn = cluster.connect(conninfo)
        self.conn.set_session(isolation_level="REPEATABLE READ",
                              readonly=True)
        self.cur = self.conn.cursor()

    def take(self):
        self.cur.execute("SELECT 1")

    def count(self):
        self.cur.execute("SELECT coalesce(sum(count), 0), count(*) "
                         "FROM rappel.action_log")
        found = self.cur.fetchone()
        self.conn.close()
        return int(found[0]), int(found[1])


SERIES = """
SELECT width_bucket(extract(epoch FROM at), %(from)s, %(to)s, %(points)s),
       sum(count)
FROM rappel.action_log WHERE at >= to_timestamp(%(from)s) GROUP BY 1
"""


def series(conn, begun, seconds):
    """[[second, actions/s], …], read from the journal when all is over: so
    it costs the run nothing."""
    points = max(1, min(SERIES_POINTS, int(seconds / SERIES_SECONDS)))
    width = seconds / points
    with conn.cursor() as cur:
        cur.execute(SERIES, {"from": begun, "to": begun + seconds,
                             "points": points})
        found = {n: int(count) for n, count in cur}
    conn.rollback()
    return [[round((n - 0.5) * width, 3), round(found.get(n, 0) / width)]
            for n in range(1, points + 1)]


GAPS = """
SELECT count(*) FILTER (WHERE seq <> expected),
       count(*) FILTER (WHERE json_array_length(entries) <> count),
       sum(count), count(*), count(DISTINCT instance_id)
FROM (SELECT seq, count, entries, instance_id,
             coalesce(lag(seq + count) OVER (PARTITION BY instance_id
                                             ORDER BY seq), 1) AS expected
      FROM rappel.action_log) l
"""

ENDED = """
SELECT count(*) FILTER (WHERE status = 'succeeded'),
       count(*) FILTER (WHERE status IN ('failed', 'timed_out', 'cancelled')),
       count(*) FILTER (WHERE status = 'blocked'),
       count(*)
FROM rappel.workflow_instances
"""

SHORT = """
SELECT count(*) FROM rappel.workflow_instances i
LEFT JOIN (SELECT instance_id, sum(count) AS n FROM rappel.action_log
           GROUP BY instance_id) l ON l.instance_id = i.id
WHERE i.status = 'succeeded' AND l.n IS DISTINCT FROM %s
"""

DEEP = """
SELECT count(*), count(*) FILTER (WHERE n <> %(want)s OR kinds <> %(want)s
                                  OR actions <> %(want)s)
FROM (SELECT i.id, count(e.e) AS n,
             count(*) FILTER (WHERE e.e ->> 0 = '1') AS kinds,
             count(DISTINCT (e.e ->> 2)) AS actions
      FROM (SELECT id FROM rappel.workflow_instances
            WHERE status = 'succeeded' ORDER BY md5(id::text)
            LIMIT %(most)s) i
      JOIN rappel.action_log l ON l.instance_id = i.id
      CROSS JOIN LATERAL json_array_elements(l.entries) e (e)
      GROUP BY i.id) t
"""


def verify(conn, want, counted):
    """Proves in SQL what was counted. Returns the findings; they raise."""
    wrong = []
    with conn.cursor() as cur:
        cur.execute("SET enable_seqscan = on; SET work_mem = '256MB'")
        cur.execute(GAPS)
        gaps, lengths, entries, rows, instances = cur.fetchone()
        cur.execute(ENDED)
        succeeded, failed, blocked, every = cur.fetchone()
        cur.execute(SHORT, (want,))
        short = cur.fetchone()[0]
        cur.execute(DEEP, {"want": want, "most": DEEP_CHECK_INSTANCES})
        deep, deep_wrong = cur.fetchone()
    conn.rollback()
    entries = int(entries or 0)
    for count, what in (
            (gaps, "journal rows do not follow the one before"),
            (lengths, "journal rows hold another number of entries"),
            (failed, "instances failed"),
            (blocked, "instances are blocked"),
            (short, f"succeeded instances do not have {want} entries"),
            (deep_wrong, f"succeeded instances do not have {want} different "
             "succeeded actions")):
        if count:
            wrong.append(f"{count} {what}")
    if counted > entries:
        wrong.append(f"{counted} actions were counted, {entries} are in the "
                     "journal")
    return {
        "journal_entries": entries, "journal_rows": rows,
        "instances_with_entries": instances, "instances": every,
        "succeeded": succeeded, "failed": failed, "blocked": blocked,
        "checked_deeply": deep, "wrong": wrong,
    }


# ---- one run ----

def last_look(pools, entries):
    """Their last status: it comes once a second, so it may not have entries
    (0: any will do) committed yet."""
    deadline = time.monotonic() + 1.5
    while True:
        for one in pools:
            with contextlib.suppress(pool.PoolError):
                one.look()
        seen = sum((one.status.get("flusher") or {}).get("journal_entries", 0)
                   for one in pools)
        if seen >= entries or time.monotonic() > deadline:
            return
        time.sleep(0.1)


def traces(pools):
    """The events of all of them; they have stopped."""
    events = []
    for one in pools:
        if one.trace_path and os.path.exists(one.trace_path):
            with open(one.trace_path, encoding="utf-8") as text:
                events += figures.trace_read(text.read())
    return events


def run_pools(options, kind, programs, conn, started):
    """The run between the two measurements of the limit."""
    size = options.loop_size
    each = definitions.actions(kind, size, options.nesting)
    file = definitions.path(kind)
    if size == definitions.LOOP_SIZE and options.nesting == 1:
        with open(file, encoding="utf-8") as text:
            if json.load(text) != definitions.definition(kind):
                raise BenchError(f"{file} is not what definitions.py makes: "
                                 "run bench/definitions.py")
    else:
        file = os.path.join(started.name, kind + ".asl.json")
        with open(file, "w", encoding="utf-8") as text:
            json.dump(definitions.definition(kind, size, options.nesting),
                      text, indent=1)
    programs.ctl("workflow", "register", file, "--name", kind)

    pools = [pool.Pool(programs, os.path.join(started.name, f"pool{n + 1}"),
                       options.workers, bool(options.trace))
             for n in range(options.hosts)]
    feeder = Feeder(programs.env["RAPPEL_DATABASE_URL"], kind,
                    definitions.start_input(kind, size, options.complexity,
                                            options.nesting),
                    options.backlog)
    try:
        for one in pools:
            one.start()
        for one in pools:
            one.wait_running()
        commits = commits_now(conn)
        before = Snapshot(programs.env["RAPPEL_DATABASE_URL"])
        before.take()
        first_actions, first_rows = before.count()
        after = Snapshot(programs.env["RAPPEL_DATABASE_URL"])
        say(f"starting {options.instances + options.backlog:,} "
                     "instances")
        feeder.start_some(options.instances + options.backlog)
        if options.statements:
            statements.begin(conn)
        begun_there = database_time(conn)
        meter = Meter(conn, pools, started.postmaster)
        watch = machine.Watch()
        # Before the commit: whoever is idle sees the work before we return.
        begun = time.monotonic()
        feeder.conn.commit()
        if options.backlog:
            feeder.begin()
        say(f"counting for at most {options.seconds:g} s")
        ended = window(options, conn, pools)
        after.take()
        elapsed = time.monotonic() - begun
        cost = meter.until_now()
        use = watch.until_now(cost["seconds"], sum(cost["cpu"].values()))
        timed = statements.read(conn) if options.statements else []
        feeder.end()
        last_look(pools, len(feeder.ids) * each if ended else 0)
        memory = {}
        for one in pools:
            for name, value in one.memory().items():
                memory[name] = max(memory.get(name, 0), value)
        exits = [one.stop() for one in pools]
        last_actions, last_rows = after.count()
        left = [pid for one in pools for pid in one.leftovers()]
    finally:
        for one in pools:
            one.kill()
    actions = last_actions - first_actions
    check = verify(conn, each, last_actions)
    if left:
        check["wrong"].append(f"processes {left} are still there")
    for seconds, status in exits:
        if status != 0:
            check["wrong"].append(f"rappeld ended with {status}")
    if actions == 0:
        check["wrong"].append("no action was committed")
    events = traces(pools)
    if options.trace:
        with open(options.trace, "w", encoding="utf-8") as out:
            json.dump(events, out, separators=(",", ":"))
            out.write("\n")
        if not events:
            say("no flusher of this build wrote a trace")
    return {
        "actions": actions,
        "elapsed_s": elapsed,
        "actions_per_s": actions / elapsed,
        "all_ended": ended,
        "journal_rows_per_action": (last_rows - first_rows) / max(actions, 1),
        "commits": commits_now(conn) - commits,
        "wal_bytes_per_action": cost["wal_bytes"] / max(actions, 1),
        "cpu_us_per_action": {name: seconds * 1e6 / max(actions, 1)
                              for name, seconds in sorted(cost["cpu"].items())
                              if seconds > 0},
        "cpu_seconds": sum(cost["cpu"].values()),
        "memory_bytes": memory,
        "exit_s": max(seconds for seconds, _ in exits),
        "log_lines": sum(len(one.log_lines()) for one in pools),
        "feeder": {"instances": len(feeder.ids), "cpu_s": feeder.cpu,
                   "least_waiting": feeder.least_waiting},
        "verification": check,
        "histograms": figures.histograms_add(
            one.status.get("flusher") for one in pools),
        "status": [pool.notes_names(one.status.get("flusher") or {})
                   for one in pools],
        "written": figures.written_per_action(
            one.status.get("flusher") for one in pools),
        "machine_use": use,
        "spans": figures.spans(events),
        "batches": figures.batches(events, COMMITS_MAX),
        "statements": timed,
        "series": series(conn, begun_there, elapsed),
    }


class Started:
    """Where a run keeps its files, and its server."""

    def __init__(self, name, postmaster):
        self.name = name
        self.postmaster = postmaster


def run(kind, options):
    place = cluster.Borrowed(options.database) if options.database \
        else cluster.Cluster(statements.SETTINGS if options.statements
                             else None)
    say("making a private PostgreSQL cluster"
        if not options.database else "using the database that was given")
    with place, contextlib.ExitStack() as stack:
        scratch = stack.enter_context(cluster.scratch("rappel-pools-"))
        programs = pool.Programs(options.build, place.conninfo)
        conn = cluster.connect(place.conninfo)
        stack.callback(conn.close)
        report = {"benchmark": kind, "settings": cluster.settings(conn),
                  "machine": machine.description(),
                  "options": {k: v for k, v in vars(options).items()
                              if k not in NOT_REPORTED}}
        programs.ctl("db", "migrate")
        say("measuring what the database alone can do")
        before = measure_limit(options, programs)
        started = Started(scratch, postmaster_pid(place.process, conn))
        report.update(run_pools(options, kind, programs, conn, started))
        say("measuring what the database alone can do, again")
        after = measure_limit(options, programs)
    report["noise"] = machine.complaints(report["machine_use"])
    if before and after:
        rates = [before["actions_per_s"], after["actions_per_s"]]
        limit = sum(rates) / 2
        report["limit"] = {
            "before": before, "after": after, "actions_per_s": limit,
            "ratio": figures.ratio(report["actions_per_s"], limit),
        }
        if figures.too_different(rates):
            report["noise"].append(
                f"the database alone went from {rates[0]:,} to {rates[1]:,} "
                "rows/s")
        report["limit"]["noisy"] = bool(report["noise"])
    return report


def main(kind, argv=None):
    options = parse(kind, sys.argv[1:] if argv is None else argv)
    gave_up = threading.Event()
    watchdog = threading.Timer(options.timeout, _give_up, (gave_up,))
    watchdog.daemon = True
    watchdog.start()
    try:
        report = run(kind, options)
    except (BenchError, cluster.ClusterError, pool.PoolError,
            psycopg2.Error, KeyboardInterrupt) as why:
        if gave_up.is_set():
            print(f"{kind}: not done after {options.timeout:g} s (--timeout)",
                  file=sys.stderr)
            return 124
        # Ctrl-C in the middle of a statement comes as an error of it.
        if isinstance(why, (KeyboardInterrupt,
                            psycopg2.extensions.QueryCanceledError)):
            return 130
        print(f"{kind}: {why}", file=sys.stderr)
        return 1
    finally:
        watchdog.cancel()
    if options.metrics_json:
        with open(options.metrics_json, "w", encoding="utf-8") as out:
            json.dump({"pools": report["status"]}, out, indent=1)
            out.write("\n")
    if options.svg:
        telling.draw(report, options.svg)
    sys.stdout.write(telling.FORMS[options.form](report))
    return 1 if report["verification"]["wrong"] else 0


def _give_up(event):
    """As if somebody had pressed Ctrl-C: everything is cleaned up."""
    event.set()
    os.kill(os.getpid(), signal.SIGINT)
