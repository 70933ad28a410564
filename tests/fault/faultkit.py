"""What the fault tests share: a cluster a file, pools under load, figures.

    class Workers(faultkit.FaultTest):
        def test_a01_kill(self):
            pool = self.make_pool(evil=True)
            pool.start().wait_running()
            self.top_up()
            ...
            self.figure("A01", "replaced", seconds, "s", 0.3)
            self.finish(pool)

A figure is asserted where it is printed: the median of what was measured
against the limit, the worst against twice that; times with the patience of
the run (patience.py). Every line goes to the file
that RAPPEL_FAULT_FIGURES names, too, one JSON object a line, from which
report.py makes the table of docs/reliability.md.
"""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
import unittest

import checker
import harness
import load
import pool as pools
from patience import within
from pool import wait_for
from tier import FULL, TIER, repeats  # noqa: F401

HERE = os.path.dirname(os.path.abspath(__file__))
FIGURES = os.environ.get("RAPPEL_FAULT_FIGURES")
# Half of the defaults: what is about a lease need not wait for 10 s.
QUICK = {"heartbeat": "1s", "lease": "5s", "db_deadline": "1s"}
# The longest a fault may take to heal before a test gives up on it.
HEAL_S = 60
_cluster = None


def cluster():
    """The file's private server; it goes with the process."""
    global _cluster
    if _cluster is None:
        # Figures are measured here: on the durability that users have.
        _cluster = harness.Cluster({"track_commit_timestamp": "on",
                                    "fsync": "on", "max_connections": "150"})
        _cluster.start()
    return _cluster


def has_setting(name):
    """Whether this rappeld knows that configuration key."""
    done = subprocess.run(
        [harness.program("rappeld"), "-t"], capture_output=True, text=True,
        env=harness.clean_env(RAPPEL_DATABASE_URL="host=/nowhere"),
        check=False)
    return f"\n{name} = " in done.stdout


def _record(**fields):
    fields.update(tier=TIER, seed=pools.SEED)
    if FIGURES:
        with open(FIGURES, "a", encoding="utf-8") as out:
            out.write(json.dumps(fields) + "\n")


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as text:
        return int(text.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8",
              errors="replace") as text:
        fields = text.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """Living processes below that one, by parent links."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8",
                      errors="replace") as text:
                fields = text.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = set(), [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


class Strace:
    """strace on one living process, with what it is to inject.

        with Strace(pid, "inject=clone3:error=EAGAIN"):
    """

    def __init__(self, pid, *expressions, follow=False):
        self.command = ["strace", "-qq", "-o", "/dev/null", "-p", str(pid)]
        if follow:
            self.command.append("-f")
        for expression in expressions:
            self.command += ["-e", expression]
        self.pid = pid
        self.process = None

    @staticmethod
    def problem():
        """Why it cannot be used here, or None."""
        if shutil.which("strace") is None:
            return "strace is not installed"
        sleeper = subprocess.Popen(["sleep", "30"])
        try:
            with Strace(sleeper.pid, "inject=getpid:error=EAGAIN"):
                pass
        except AssertionError as why:
            return f"strace cannot attach: {why}"
        finally:
            sleeper.kill()
            sleeper.wait()
        return None

    def _attached(self):
        if self.process.poll() is not None:
            return True  # it injected a kill already, or could not attach
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii",
                      errors="replace") as text:
                return f"TracerPid:\t{self.process.pid}\n" in text.read()
        except OSError:
            return True

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for("strace is attached", self._attached, 10, 0.002)
        if self.process.poll() not in (None, 0) and \
                os.path.exists(f"/proc/{self.pid}"):
            said = self.process.stderr.read()
            if "attach" in said or "Operation" in said:
                raise AssertionError(said)
        return self

    def __exit__(self, *_):
        # TERM makes it detach; KILL would take the traced process along.
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.process.stderr.close()


class EvilPool(pools.Pool):
    """A pool whose workers keep a record and do evil when told to."""

    def use_evil(self):
        self.orders = os.path.join(self.folder, "orders")
        os.mkdir(self.orders)
        program = os.path.join(self.folder, "worker")
        with open(program, "w", encoding="utf-8") as script:
            script.write(f"#!/bin/sh\nexec /usr/bin/python3 -B "
                         f"{HERE}/evilworker.py {self.record} "
                         f"{self.orders}\n")
        os.chmod(program, 0o755)
        # Workers may run as somebody else than we do.
        os.chmod(self.folder, 0o777)
        os.chmod(self.orders, 0o777)
        self.env["RAPPEL_WORKER"] = program
        self.order_count = 0
        return self

    def order(self, when, *steps, slot="any"):
        """At its next start ("start") or DISPATCH ("work") a worker takes
        the order; the path of what is there as soon as it has."""
        self.order_count += 1
        name = f"{slot}.{when}.{self.order_count:06d}"
        path = os.path.join(self.orders, name)
        with open(path + ".new", "w", encoding="utf-8") as text:
            json.dump(steps, text)
        os.chmod(path + ".new", 0o666)
        os.rename(path + ".new", path)
        return os.path.join(self.orders, "taken." + name)

    def order_taken(self, taken, seconds=20):
        """Waits until a worker took it: (slot, spawn, pid) of that one."""
        def parts():
            with open(taken + ".by", encoding="ascii") as text:
                found = text.read().split()
            return len(found) == 3 and tuple(int(part) for part in found)
        wait_for("a worker takes the order",
                 lambda: os.path.exists(taken + ".by"), seconds, 0.003)
        return wait_for("it says who it is", parts, 5)[0]

    # ---- fault points ----

    def fault(self, *points):
        """From the next start on; nothing fires before arm()."""
        self.fired = os.path.join(self.folder, "fired")
        self.env["RAPPEL_FAULT"] = ",".join(points)
        self.env["RAPPEL_FAULT_ONCE"] = self.fired
        # Who fires makes a file, which a confined flusher may not.
        self.env["RAPPEL_SANDBOX"] = "off"
        with open(self.fired, "wb"):
            pass
        return self

    def arm(self):
        """The next one that comes to a point of fault()."""
        os.unlink(self.fired)

    def has_fired(self):
        return os.path.exists(self.fired)

    # ---- the daemon's view ----

    def process_list(self, kind="worker"):
        return [found for found in self.status().get("processes", ())
                if found["kind"] == kind]

    def worker(self, slot):
        return next((found for found in self.process_list()
                     if found["slot"] == slot), None)

    def flusher_status(self):
        return self.status().get("flusher") or {}

    def is_replaced(self, slot, spawn):
        """A later life of that slot is ready."""
        found = self.worker(slot)
        return found and found["spawn"] > spawn and \
            found["phase"] == "ready" and found

    def log_lines(self, *words):
        return [line for line in self.log_text().splitlines()
                if all(word in line for word in words)]


class FaultTest(unittest.TestCase):
    """A database a test; pools that go with it; the checks at its end."""

    open_wanted = 100
    replayed = True  # by the checker's interpreter, which is small
    # So many workers die that one action may meet three of them by chance.
    poison_by_chance = False

    def setUp(self):
        name = re.sub(r"\W", "_", self._testMethodName)[:60]
        if not cluster().is_running():
            cluster().start()
        self.database = cluster().create(name)
        self.conninfo = cluster().conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connect()
        checker.install_audit(self.connection)
        harness.register(self.conninfo, "fan-out", load.fan_out(True))
        self.load = load.Load(self.connection)
        self.pools = []  # all of this test, for their records
        self.begun = time.monotonic()
        print(f"{self.id()}: tier {TIER}, seed {pools.SEED}", flush=True)

    def tearDown(self):
        print(f"{self.id()}: {time.monotonic() - self.begun:.1f} s",
              flush=True)

    def connect(self):
        self.connection = cluster().connect(self.database)
        self.addCleanup(self.connection.close)
        if hasattr(self, "load"):
            self.load.connection = self.connection

    def query(self, text, *values):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    def make_pool(self, evil=True, name="one", workers=4, **settings):
        """Evil or native workers; further settings are RAPPEL_<KEY>s."""
        pool = EvilPool(self.conninfo, workers=workers, pool_name=name,
                        **settings)
        self.addCleanup(pool.remove)
        self.pools.append(pool)
        return pool.use_evil() if evil else pool

    def begin(self, workflow, given=None, count=1):
        """Starts so many and gives their ids."""
        return [row[0] for row in self.query(
            "SELECT rappel.start_workflows(%s, array_fill(%s::json,"
            " ARRAY[%s]))::text", workflow, json.dumps(given or {}), count)]

    def register(self, name, definition):
        harness.register(self.conninfo, name, definition)

    def top_up(self, wanted=None):
        self.load.top_up(wanted or self.open_wanted)

    def entries(self):
        """So many entries are in the journal."""
        return self.query("SELECT coalesce(sum(count), 0)"
                          " FROM rappel.action_log")[0][0]

    def progress(self, count=20, seconds=HEAL_S):
        """Waits until so many more entries were committed."""
        before = self.entries()
        def more():
            self.top_up()
            return self.entries() >= before + count
        return wait_for(f"{count} more entries", more, seconds, 0.02)[1]

    def statuses(self, ids):
        return {row[0] for row in self.query(
            "SELECT DISTINCT status FROM rappel.workflow_instances"
            " WHERE id = ANY (%s::uuid[])", ids)}

    def wait_ended(self, ids, seconds=HEAL_S):
        wait_for("they end", lambda: self.statuses(ids) <= {
            "succeeded", "failed", "timed_out", "cancelled"}, seconds, 0.05)

    def commit_gap(self, since):
        """The longest time without a commit from that moment (of the
        database's clock, as text) to the last one, in seconds."""
        return float(self.query(
            "SELECT coalesce(max(extract(epoch FROM at - before)), 0) FROM ("
            " SELECT at, lag(at, 1, %s::timestamptz) OVER (ORDER BY at)"
            "  AS before FROM (SELECT pg_xact_commit_timestamp(xmin) AS at"
            "  FROM rappel.action_log) c WHERE at >= %s::timestamptz) g",
            since, since)[0][0])

    def database_now(self):
        return self.query("SELECT clock_timestamp()::text")[0][0]

    def order_taken(self, pool, order):
        """As EvilPool's; there is work until somebody takes it."""
        def taken():
            self.top_up()
            return os.path.exists(order + ".by")
        wait_for("a worker takes the order", taken, 20)
        return pool.order_taken(order)

    # ---- figures ----

    def figure(self, fault, name, measured, unit, limit, at_least=False):
        """Prints, keeps and asserts: a value, or a list of repeats."""
        values = list(measured) if isinstance(measured, (list, tuple)) \
            else [measured]
        self.assertTrue(values, f"{fault} {name}: nothing was measured")
        middle = statistics.median(values)
        worst = min(values) if at_least else max(values)
        bound = f"{'>=' if at_least else ''}{number(limit)}{unit}"
        print(f"FIGURE {fault} {name}={number(middle)}{unit} limit={bound} "
              f"repeats={len(values)} worst={number(worst)}{unit}",
              flush=True)
        good = within(middle, limit, unit, at_least) and within(
            worst, limit / 2 if at_least else limit * 2, unit, at_least)
        _record(id=fault, name=name, value=middle, worst=worst, unit=unit,
                limit=limit, at_least=at_least, repeats=len(values),
                good=good)
        self.assertTrue(good, f"{fault} {name}: {values[:20]} against "
                              f"{bound}")

    def count(self, fault, name, repeated, found=0, limit=0):
        """So many of what must not happen more often than the limit."""
        print(f"FIGURE {fault} {name}={found} limit={limit} "
              f"repeats={repeated}", flush=True)
        _record(id=fault, name=name, value=found, worst=found, unit="",
                limit=limit, at_least=False, repeats=repeated,
                good=found <= limit)
        self.assertLessEqual(found, limit, f"{fault} {name}")

    def skip_fault(self, fault, reason):
        """This machine cannot inject it: says so, and ends the test."""
        print(f"SKIP {fault} {reason}", flush=True)
        _record(id=fault, skip=reason)
        self.skipTest(f"{fault}: {reason}")

    # ---- the end of a test ----

    def findings(self, with_load=True, ignore=lambda line: False):
        """What the checker says of the journal and of all records.

        Lines of a record that ignore() knows are left out.
        """
        connection = self.connection
        found = checker.journal(connection)
        if with_load and self.load.given:
            found += checker.outputs(connection, load.fan_out_output)
            found += checker.successes(connection, load.STATES)
        if self.poison_by_chance:
            found = self.without_poisoned(found)
        lines = []
        for pool in self.pools:
            if os.path.exists(pool.record):
                lines += checker.read_record(pool.record)
        lines = [line for line in lines if line.action in load.STAGES
                 and not ignore(line)]
        if lines:
            lines.sort(key=lambda line: line.wall_us)
            # Of what else a test ran, nothing is known about stages.
            known = {row[0] for row in self.query(
                "SELECT replace(id::text, '-', '') FROM rappel.instances"
                " WHERE workflow = 'fan-out'")}
            found += [text for text in checker.record(
                connection, lines, load.STAGES)
                if not set(re.findall("[0-9a-f]{32}", text)) - known]
        # I05, I06: what the journal says is what the table and the view say.
        if self.replayed:
            snapshot = checker.replay.Snapshot(connection)
            found += checker.replay.replay(snapshot, True)
            found += checker.replay.history(connection, snapshot)
        # I09, I10: one owner at a time, and no row of another's.
        found += checker.fence(connection)
        # I16, which may take a moment.
        found += checker.settle(lambda: checker.clean(connection), 15)
        return found

    def without_poisoned(self, found):
        """Findings on instances that failed as they must: by the third
        worker that died of one action."""
        poisoned = {row[0] for row in self.query(
            "SELECT i.id::text FROM rappel.instances i WHERE i.error ="
            " 'Rappel.Poison' AND EXISTS (SELECT FROM rappel.history h"
            " WHERE h.instance_id = i.id AND h.cause LIKE"
            " 'the worker was lost%%' GROUP BY h.action"
            " HAVING count(*) = 3)")}
        for instance in sorted(poisoned):
            print(f"poisoned by chance: {instance}", flush=True)
        return [text for text in found
                if not any(instance in text for instance in poisoned)]

    def finish(self, *running, with_load=True, limit=1.0, **more):
        """All ends, the checker is content, nothing is left over."""
        for pool in running:
            if pool.process.poll() is None:
                pool.release_hanging()
        wait_for("all instances end",
                 lambda: self.load.open_count() == 0, HEAL_S, 0.05)
        found = self.findings(with_load, **more)
        for pool in running:
            found += self.stop(pool, limit)
        found += checker.stopped(self.connection)
        # I11, I21: nobody is left, and nobody's sanitizer complained.
        for pool in running:
            found += checker.processes.orphans(pool.sessions, pool.folder)
            found += checker.noise.reports(pool.log_text(), True)
        self.assertEqual(found[:20], [], running[0].log_tail(40)
                         if running else "")

    def stop(self, pool, limit=1.0):
        """A stop as asked; what was wrong with it."""
        if pool.process.poll() is not None:
            return [f"rappeld ended by itself: {pool.process.returncode}"]
        code, took = pool.stop(seconds=40)
        found = pool.leftovers()
        # A loaded machine may take twice as long; figures are elsewhere.
        if code != 0 or took > 2 * limit:
            found.append(f"the stop took {took:.2f} s, exit status {code}")
        return found


def run_twice(lines, workers_lived=True):
    """Of the oracle's record: what ran again although it need not have.

    A worker's answer that it has sent reaches a living supervisor, so nothing
    may start behind it; and while no worker dies, nothing starts twice.
    """
    started, sent, found = {}, {}, []
    for line in lines:
        key = (line.instance, line.activation)
        if line.what == "SENT":
            sent[key] = line
        elif key in sent:
            found.append(f"started after it was answered: {line!r}")
        elif key in started and workers_lived:
            found.append(f"started twice: {line!r}, {started[key]!r}")
        else:
            started[key] = line
    return found


def signal_group(pool, number):
    """Every process of a pool at once, as far as that is possible."""
    for pid in pool.processes():
        pools.send_signal(pid, number)


def freeze(pool):
    signal_group(pool, signal.SIGSTOP)


def thaw(pool):
    signal_group(pool, signal.SIGCONT)


def main():
    unittest.main(verbosity=2)
