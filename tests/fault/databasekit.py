"""What the fault tests of the database share: a server, a database a test, the
flusher alone or a whole pool on it, figures, and the checker at the end.
"""

import json
import os
import re
import unittest

import checker
import harness
import load
import pool as pools
from fakesupervisor import Flusher
from faultproxy import FaultProxy
from patience import within
from pool import wait_for
from tier import TIER

KINDS = ("writer", "claimer", "keeper")
# Figures are measured here: on the durability that users have.
cluster = harness.Cluster({"track_commit_timestamp": "on", "fsync": "on",
                           "max_connections": "40"})


def _keep(fault, name, value, unit, repeated):
    """Into the file of figures, as faultkit does; "s of 2": the limit."""
    path = os.environ.get("RAPPEL_FAULT_FIGURES")
    found = re.fullmatch(r"(.*?) ?of ([0-9.]+)", unit)
    if not path or not found:
        return
    limit = float(found.group(2))
    at_least = found.group(1) == "actions/s"
    with open(path, "a", encoding="utf-8") as out:
        out.write(json.dumps({
            "id": fault, "name": name, "value": value, "worst": value,
            "unit": found.group(1), "limit": limit, "at_least": at_least,
            "repeats": repeated, "tier": TIER,
            "good": within(value, limit, found.group(1), at_least)}) + "\n")


def figure(fault, repeated=1, **values):
    """name=(value, unit), the worst of so many."""
    for name, (value, unit) in values.items():
        _keep(fault, name, value, unit, repeated)
    print(f"FIGURE {fault} " + " ".join(
        f"{name}={value:.3g} {unit}" if isinstance(value, float)
        else f"{name}={value} {unit}"
        for name, (value, unit) in values.items()), flush=True)


class DatabaseCase(unittest.TestCase):
    def setUp(self):
        self.database = cluster.create(self._testMethodName.lower()[:40])
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = None
        self.connect()
        checker.install_audit(self.connection)
        self.connection.autocommit = True
        for name in ("echo", "hold"):
            harness.register(self.conninfo, name, load.task(name))
        harness.register(self.conninfo, "fan-out", load.fan_out())
        self.load = load.Load(self.connection)

    def connect(self):
        """A new connection, after an outage."""
        given = self.load.given if self.connection is not None else 0
        self.connection = cluster.connect(self.database)
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.load = load.Load(self.connection)
        self.load.given = given

    # ---- the database ----

    def query(self, text, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def begin(self, workflow, *inputs):
        self.query("SELECT count(*) FROM rappel.start_workflows(%s,"
                   " %s::json[])", workflow,
                   [json.dumps(given) for given in inputs])

    def statuses(self):
        return dict(self.query("SELECT status, count(*)"
                               " FROM rappel.workflow_instances GROUP BY 1"))

    def wait_statuses(self, seconds=10, flusher=None, **expected):
        try:
            return wait_for(f"{expected}",
                            lambda: self.statuses() == expected, seconds)[1]
        except AssertionError as why:
            raise AssertionError(
                f"{why}: {self.statuses()}\n"
                + (flusher.log() if flusher else "")) from None

    def sessions(self, kind):
        return [row[0] for row in self.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database()", f"rappel {kind}")]

    def journal_rows(self):
        return self.query("SELECT count(*) FROM rappel.action_log")[0][0]

    def triggers(self, name, condition, function):
        for (table,) in self.query(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c"
                " ON c.oid = i.inhrelid WHERE i.inhparent ="
                " 'rappel.action_log'::regclass"):
            self.query(f"CREATE TRIGGER {name} BEFORE INSERT ON"
                       f" rappel.{table} FOR EACH ROW WHEN ({condition})"
                       f" EXECUTE FUNCTION {function}")

    # ---- the flusher ----

    def flusher(self, conninfo=None, slots=4, **settings):
        flusher = Flusher(self, conninfo or self.conninfo, **settings)
        flusher.start()
        for slot in range(slots):
            flusher.hello(slot, ["echo", "sleep", "hold"])
        return flusher.wait_working()

    def proxy(self, **options):
        proxy = FaultProxy(cluster.dir, **options).start()
        self.addCleanup(proxy.stop)
        return proxy

    def check(self, flusher, seconds=20, again=False):
        """All ends as it should, and nothing is left behind."""
        try:
            wait_for("all end", lambda: self.load.open_count() == 0, seconds)
        except AssertionError as why:
            raise AssertionError(f"{why}: {self.statuses()}\n{flusher.log()}"
                                 ) from None
        self.connection.autocommit = False
        findings = (checker.journal(self.connection) +
                    checker.outputs(self.connection, load.fan_out_output) +
                    checker.successes(self.connection, load.STATES))
        self.connection.rollback()
        self.connection.autocommit = True
        self.assertEqual(findings, [], flusher.log())
        if not again:
            self.assertEqual(len(set(flusher.seen)), len(flusher.seen))
        self.stop(flusher)

    def stop(self, flusher):
        flusher.drain()
        self.assertEqual(flusher.wait_exit(3), 0, flusher.log())
        self.assertNotIn("Sanitizer", flusher.log())
        wait_for("its sessions are gone", lambda:
                 not checker.stopped(self.connection), 3)

    # ---- a whole pool ----

    def pool(self, conninfo=None, **settings):
        pool = pools.Pool(conninfo or self.conninfo, workers=2, **settings)
        self.addCleanup(pool.remove)
        return pool

    def finish_pool(self, pool):
        wait_for("all end", lambda: self.load.open_count() == 0, 30)
        self.connection.autocommit = False
        findings = (checker.journal(self.connection) +
                    checker.outputs(self.connection, load.fan_out_output) +
                    checker.successes(self.connection, load.STATES))
        self.connection.rollback()
        self.connection.autocommit = True
        code, took = pool.stop()
        if code != 0 or took > 2:
            findings.append(f"exit status {code} after {took:.2f} s")
        findings += pool.leftovers()
        self.assertEqual(findings, [], pool.log_tail(40))
