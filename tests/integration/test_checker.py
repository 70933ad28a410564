#!/usr/bin/python3
"""The checker finds what it is there for: planted violations, one by one.

Each test plants one and names its invariant; clean things give no finding.
Those of databases and records; the others are in test_checker_outside.py.
"""

import json
import os
import tempfile
import time
import unittest

import checker
import harness
from checker import replay
from pool import wait_for

ID = "0190a0b0-0000-7000-8000-%012d"
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()
    # Made once: every test has a copy.
    cluster.create("audited")
    harness.migrate(cluster.conninfo("audited"))
    connection = cluster.connect("audited")
    checker.install_audit(connection)
    connection.close()


def tearDownModule():
    cluster.remove()


def entry(kind, action, attempt=1):
    return f"[{kind},0,{action},{attempt},0,null,0,5,{action}]"


class Planted(unittest.TestCase):
    """A journal of two actions in two rows, then one change to it."""

    def setUp(self):
        self.database = cluster.create(self._testMethodName,
                                       "TEMPLATE audited")
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        self.run_sql("SELECT rappel.register_checked('w', '{}',"
                     " ARRAY['First'])")
        self.run_sql("INSERT INTO rappel.workflow_instances (id, version_id,"
                     " status, input) VALUES (%s, 1, 'queued', '7')",
                     ID % 1)
        self.add_row(1, entry(1, 1))
        self.add_row(2, entry(2, 2), entry(1, 2, 2))
        self.run_sql("UPDATE rappel.workflow_instances SET status ="
                     " 'succeeded', output = '7', ended_at = now()")

    def run_sql(self, text, *values):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    def add_row(self, seq, *entries, count=None, instance=1):
        self.run_sql("INSERT INTO rappel.action_log (instance_id, seq,"
                     " count, at, entries) VALUES (%s, %s, %s, now(), %s)",
                     ID % instance, seq, count or len(entries),
                     "[" + ",".join(entries) + "]")

    def finds(self, text):
        found = checker.journal(self.connection)
        self.assertTrue(any(text in line for line in found), found)

    def test_nothing(self):
        self.assertEqual(checker.journal(self.connection), [])
        self.assertEqual(checker.stopped(self.connection), [])
        self.assertEqual(
            checker.outputs(self.connection, lambda given: given), [])
        self.assertEqual(
            checker.successes(self.connection, {"First": 2}), [])

    def test_gap(self):
        self.run_sql("UPDATE rappel.action_log SET seq = 3 WHERE seq = 2")
        self.finds("gap")

    def test_overlap(self):
        self.run_sql("UPDATE rappel.action_log SET count = 2 WHERE seq = 1")
        self.finds("gap")
        self.finds("count")

    def test_lost_row(self):
        self.run_sql("DELETE FROM rappel.action_log WHERE seq = 1")
        self.finds("gap")
        self.assertEqual(len(checker.successes(self.connection,
                                               {"First": 2})), 1)

    def test_twice(self):
        self.add_row(4, entry(1, 1, 2))
        self.finds("succeeded twice")
        self.finds("after the instance's end")

    def test_attempt_twice(self):
        self.add_row(4, entry(2, 1))
        self.finds("attempt that ended twice")

    def test_attempt_timed_out_twice(self):
        """The end of a pending attempt's time is its end."""
        self.add_row(4, "[3,0,1,1,0]")
        self.finds("attempt that ended twice")

    def test_pending_twice(self):
        self.add_row(4, entry(6, 2, 2), entry(6, 2, 2))
        self.finds("wait for somebody twice")

    def test_attempt_left_out(self):
        """I03"""
        self.run_sql("UPDATE rappel.action_log SET entries = %s, count = 1"
                     " WHERE seq = 2", "[" + entry(1, 2, 2) + "]")
        self.finds("does not follow")

    def test_attempt_after_success(self):
        self.add_row(4, entry(2, 1, 2))
        self.finds("attempt after")

    def test_two_ends(self):
        self.run_sql("UPDATE rappel.workflow_instances SET status = 'queued'")
        self.finds("change of status after the end")
        self.run_sql("UPDATE rappel.workflow_instances SET status = 'failed'")
        self.finds("more than one end")

    def test_open_that_ended(self):
        self.run_sql("UPDATE rappel.workflow_instances"
                     " SET ended_at = NULL")
        self.finds("an end that is none")

    def test_owner_that_is_gone(self):
        self.run_sql("UPDATE rappel.workflow_instances SET owner = %s",
                     ID % 9)
        self.finds("owner that is no pool")
        self.assertIn("still leased",
                      " ".join(checker.stopped(self.connection)))

    def test_stranger(self):
        self.add_row(1, entry(1, 1), instance=2)
        self.finds("not there")

    def test_wrong_output(self):
        self.assertEqual(len(checker.outputs(
            self.connection, lambda given: given + 1)), 1)

    def lines(self, *what):
        """A record: (what, seconds from now, activation, attempt, action)."""
        now_us = int(self.run_sql(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))"
            " * 1000000 FROM rappel.action_log WHERE seq = 2")[0][0])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "record")
            with open(path, "w", encoding="utf-8") as record:
                for kind, seconds, activation, attempt, action in what:
                    record.write("\t".join(map(str, (
                        kind, now_us + int(seconds * 1e6), 0,
                        (ID % 1).replace("-", ""), activation, attempt,
                        action, 1, 1))) + "\n")
                record.write("START\ttorn")
            return checker.read_record(path)

    def record(self, *what):
        return checker.record(self.connection, self.lines(*what),
                              ("one", "two"))

    def test_record(self):
        """The commit of the first action came just before the second's."""
        before = self.run_sql(
            "SELECT extract(epoch FROM"
            " max(pg_xact_commit_timestamp(xmin))"
            " - min(pg_xact_commit_timestamp(xmin)))::float8"
            " FROM rappel.action_log")[0][0]
        good = (("START", -5, 1, 1, "one"),
                ("START", -before / 2, 2, 1, "two"),
                ("START", -before / 2, 2, 2, "two"))
        self.assertEqual(self.record(*good), [])
        found = self.record(*good, ("START", 1, 2, 2, "two"))
        self.assertIn("after its completion was committed", found[0])
        found = self.record(*good[:2], ("START", -6, 2, 2, "two"))
        self.assertIn("started before stage one", found[0])
        found = self.record(*good[:2])
        self.assertIn("nobody started that attempt", found[0])
        found = self.record(*good[1:])
        self.assertIn("nobody ran it", found[0])

    def test_sent(self):
        self.assertEqual(checker.sent_is_written(
            self.connection, self.lines(("SENT", -1, 1, 1, "one"))), [])
        self.assertEqual(len(checker.sent_is_written(
            self.connection, self.lines(("SENT", -1, 3, 1, "one")))), 1)




# A Map over two items, a Task that is retried, a Wait.
DEFINITION = {"StartAt": "All", "States": {
    "All": {"Type": "Map", "ItemsPath": "$.items", "ResultPath": "$.all",
            "ItemProcessor": {"StartAt": "One", "States": {"One": {
                "Type": "Task", "Resource": "one", "End": True}}},
            "Next": "Nap"},
    "Nap": {"Type": "Wait", "Seconds": 1, "Next": "Last"},
    "Last": {"Type": "Task", "Resource": "last",
             "Parameters": {"got.$": "$.all"},
             "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2,
                        "MaxAttempts": 1}], "End": True}}}
NAMES = ["All", "Nap", "Last", "One"]
POOL = "0190a0b0-0000-4000-8000-00000000000a"
OTHER = "0190a0b0-0000-4000-8000-00000000000b"
SECOND = 1000000
# kind, at, activation, attempt, state, index, worker, run, value, cause;
# and which row of the journal it comes in.
ENTRIES = [
    (1, [1, 0, 1, 1, 3, 0, 0, 5, "x"]),
    (1, [1, 10, 2, 1, 3, 1, 0, 5, "y"]),
    (2, [3, SECOND + 20, 3, 0, 1]),
    (3, [2, SECOND + 30, 4, 1, 2, None, 0, 5, "Bad", "it was"]),
    (4, [1, 3 * SECOND + 40, 4, 2, 2, None, 0, 5, {"got": ["x", "y"]}]),
]


class Lived(unittest.TestCase):
    """An instance that ran as it should; then one thing is made wrong.

    Its rows are written in transactions of their own by a session that is
    registered as a pool's, as a flusher would.
    """

    def setUp(self):
        self.database = cluster.create(self._testMethodName,
                                       "TEMPLATE audited")
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        self.run_sql("SELECT rappel.register_checked('w', %s, %s)",
                     json.dumps(DEFINITION), NAMES)
        self.id = ID % 1
        self.begun = time.time() - 10
        self.add_pool(POOL)
        self.run_sql("INSERT INTO rappel.workflow_instances (id, version_id,"
                     " status, input) VALUES (%s, 1, 'queued',"
                     " '{\"items\": [1, 2]}')", self.id)
        self.run_sql("UPDATE rappel.workflow_instances SET owner = %s,"
                     " status = 'running', started_at = to_timestamp(%s)",
                     POOL, self.begun)
        self.lines = []

    def run_sql(self, text, *values):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    def add_pool(self, incarnation):
        self.run_sql("INSERT INTO rappel.worker_pools VALUES (%s, 'one',"
                     " 'h', 'b', 'd', 1, 'v')", incarnation)
        self.run_sql("INSERT INTO rappel.pool_heartbeats (incarnation)"
                     " VALUES (%s)", incarnation)
        self.run_sql("INSERT INTO rappel.pool_backends SELECT %s, pid,"
                     " backend_start FROM pg_stat_activity"
                     " WHERE pid = pg_backend_pid()", incarnation)

    def started(self, activation, attempt, action, what="START", **more):
        text = "\t".join(map(str, (
            what, time.time_ns() // 1000, 0, self.id.replace("-", ""),
            activation, attempt, action, 1, 1)))
        line = checker.Line(text, "one")
        if what != "START":
            line.sha = more["sha"]
        self.lines.append(line)
        return line

    def row(self, number, entries=None):
        """That row of ENTRIES, as one commit."""
        if number == 1 and not self.lines:
            self.started(1, 1, "one")
            self.started(2, 1, "one")
        found = [e for n, e in (entries or ENTRIES) if n == number]
        seq = 1 + sum(1 for n, _ in (entries or ENTRIES) if n < number)
        self.run_sql("INSERT INTO rappel.action_log VALUES"
                     " (%s, %s, %s, to_timestamp(%s), %s)", self.id, seq,
                     len(found), self.begun, json.dumps(found))

    def live(self, entries=None, end=True):
        entries = entries or ENTRIES
        for activation in (1, 2):
            self.started(activation, 1, "one")
            self.started(activation, 1, "one", "SENT",
                         sha=replay.sha("xy"[activation - 1]))
        self.row(1, entries)
        self.row(2, entries)
        self.started(4, 1, "last")
        self.started(4, 1, "last", "SENT", sha="-")
        self.row(3, entries)
        self.started(4, 2, "last")
        self.started(4, 2, "last", "SENT",
                     sha=replay.sha({"got": ["x", "y"]}))
        self.row(4, entries)
        if end:
            self.end()

    def end(self):
        self.run_sql("UPDATE rappel.workflow_instances SET status ="
                     " 'succeeded', owner = NULL, ended_at = now(),"
                     " output = '{\"got\": [\"x\", \"y\"]}'")

    def check(self, **more):
        case = checker.Case(self.connection, **more)
        case.lines = lambda: self.lines
        return checker.check(case, 0.5)

    def finds(self, text, **more):
        found = self.check(**more)
        self.assertTrue(any(text in line for line in found), found)

    def changed(self, number, column, value):
        """ENTRIES with one thing in one of them made different."""
        copies = [(n, list(e)) for n, e in ENTRIES]
        copies[number][1][column] = value
        return copies

    def test_nothing(self):
        self.live()
        self.assertEqual(self.check(given=1, workflows={"w": 1}, kept=True,
                                    recoveries=0), [])

    def test_open(self):
        self.row(1)
        self.assertEqual(self.check(given=1), [])

    # ---- I01 to I04: the record ----

    def test_acknowledged_and_lost(self):
        """I01"""
        self.live()
        self.started(9, 1, "one", "ACKED", sha=None)
        self.finds("acknowledged and not in the journal")

    def test_acknowledged_and_another(self):
        """I01"""
        self.live()
        self.started(4, 2, "last", "ACKED", sha=replay.sha("else"))
        self.finds("another result is in the journal")

    def test_acknowledged_too_early(self):
        """I01"""
        self.started(1, 1, "one", "ACKED", sha=None)
        self.live()
        self.finds("acknowledged before it was committed")

    def test_result_that_nobody_sent(self):
        """I01"""
        self.live(self.changed(4, 8, {"got": ["x", "z"]}))
        self.finds("a result that no worker sent")

    def test_sent_and_lost(self):
        """I01, where nobody who keeps completions died"""
        self.live()
        self.started(4, 3, "last", "SENT", sha="-")
        self.assertFalse([f for f in self.check() if "sent and" in f])
        self.finds("sent and not in the journal", kept=True)

    def test_run_again(self):
        """I02"""
        self.live()
        self.started(1, 1, "one")
        self.finds("after its completion was committed")

    def test_run_too_often(self):
        """I03"""
        self.started(1, 1, "one")
        self.live()
        self.finds("ran 2 times", recoveries=0)
        self.assertEqual(self.check(recoveries=1), [])

    def test_before_dependency(self):
        """I04: before the commit of what it waits for"""
        self.started(4, 1, "last")
        self.live()
        self.finds("before what it depends on was committed")

    def test_never_asked_for(self):
        """I04"""
        self.live()
        self.started(7, 1, "last")
        self.finds("nothing committed asks for it")

    # ---- I05, I06: the fold ----

    def test_advanced_twice(self):
        """I05"""
        self.live(self.changed(1, 2, 1))
        self.finds("action 1 was not wanted")

    def test_timer_too_early(self):
        """I05"""
        self.live(self.changed(2, 1, SECOND - 1000))
        self.finds("too early")

    def test_retry_beyond_its_number(self):
        """I05"""
        self.live(self.changed(4, 0, 2)[:4] + [
            (4, [2, 3 * SECOND + 40, 4, 2, 2, None, 0, 5, "Bad", "again"])])
        self.finds("replay gives failed")

    def test_poison(self):
        """I05: the third worker that died of it was the last"""
        definition = json.loads(json.dumps(DEFINITION))
        definition["States"]["Last"]["Retry"][0]["MaxAttempts"] = 9
        self.run_sql("UPDATE rappel.workflow_versions SET definition = %s",
                     json.dumps(definition))
        lost = [(n, [5, n * 20 * SECOND, 4, n - 2, 2, None, 0, 5,
                     "States.TaskFailed", "gone"]) for n in (3, 4, 5)]
        self.row(1)
        self.row(2)
        for n in (3, 4, 5):
            self.row(n, ENTRIES[:3] + lost)
        self.finds("replay ends as failed, stored is running")
        self.run_sql("UPDATE rappel.workflow_instances SET owner = NULL,"
                     " status = 'failed', error = 'Rappel.Poison',"
                     " ended_at = now()")
        self.assertFalse([f for f in self.check() if "replay" in f])

    def test_other_state(self):
        """I05"""
        self.live(self.changed(0, 4, 2))
        self.finds("action 1 is One [0], not Last")

    def test_wrong_attempt(self):
        """I05"""
        self.live(self.changed(3, 3, 2))
        self.finds("at attempt 1, not 2")

    def test_lost_row(self):
        """I05, I10"""
        self.live()
        self.run_sql("DELETE FROM rappel.action_log WHERE seq = 4")
        self.finds("row 5 with 1 follows 3")
        self.finds("a gap or an overlap")
        self.finds("has gone since")

    def test_wrong_output(self):
        """I06"""
        self.live()
        self.run_sql("UPDATE rappel.workflow_instances SET output = '1'")
        self.finds("replay gives {'got'")

    def test_wrong_status(self):
        """I06"""
        self.live()
        self.run_sql("UPDATE rappel.workflow_instances"
                     " SET status = 'failed'")
        self.finds("replay gives succeeded, stored is failed")

    def test_end_forgotten(self):
        """I06"""
        self.live(end=False)
        self.finds("replay ends as succeeded, stored is running")

    def test_view_that_lies(self):
        """I06"""
        self.live()
        self.run_sql("CREATE FUNCTION public.other(j json) RETURNS json"
                     " LANGUAGE sql AS 'SELECT $1'")
        text = self.run_sql("SELECT pg_get_viewdef('rappel.history')")[0][0]
        self.run_sql("CREATE OR REPLACE VIEW rappel.history AS " +
                     text.replace("'fired'", "'failed'"))
        self.finds("history: instance")

    def test_rappelctl_that_lies(self):
        """I06"""
        self.live()
        snapshot = replay.Snapshot(self.connection)
        instances = list(snapshot.instances.values())
        replay.replay(snapshot)

        def ctl(*words):
            return harness.must(harness.ctl(
                *words, "--json",
                database=cluster.conninfo(self.database))).json
        self.assertEqual(replay.shows(instances, ctl), [])
        self.assertEqual(len(replay.shows(
            instances, lambda *words: dict(ctl(*words), status="failed")
            if words[1] == "show" else ctl(*words)[1:])), 2)

    def test_unknown_to_the_interpreter(self):
        self.live()
        self.run_sql("UPDATE rappel.workflow_versions SET definition = %s",
                     json.dumps({"StartAt": "A", "States": {"A": {
                         "Type": "Pass", "Assign": {}, "End": True}}}))
        self.finds("does not know field Assign")
        self.assertFalse([f for f in self.check(unsupported=True)
                          if "replay" in f])

    # ---- I07, I08 ----

    def test_counts(self):
        """I07"""
        self.live()
        self.finds("2 instances were started", given=2)
        self.finds("3 instances of w were started", workflows={"w": 3})

    def test_counters(self):
        """I07"""
        self.live()
        told = {"incarnation": POOL, "journal_rows": 4,
                "journal_entries": 5, "instances_ended": 1,
                "instances_active": 0}
        self.assertEqual(checker.counters(self.connection, told), [])
        for name in list(told)[1:]:
            wrong = dict(told, **{name: told[name] + 1})
            self.assertEqual(
                len(checker.counters(self.connection, wrong)), 1)

    def test_stuck(self):
        """I08: each way of going on no more"""
        self.row(1)
        self.assertEqual(self.check(), [])
        self.row(2)
        wait_for("it is quiet", lambda: any(
            "could go on" in line for line in self.check()), 10)
        self.assertEqual(self.check(hanging=("last",)), [])
        self.run_sql("UPDATE rappel.workflow_instances SET owner = NULL,"
                     " status = 'blocked', reason = 'planted'")
        self.finds("is set aside: planted")
        self.assertEqual(self.check(blocked=(self.id,)), [])
        self.run_sql("UPDATE rappel.workflow_instances SET status ="
                     " 'waiting', due_at = now() - interval '20 seconds'")
        self.finds("nobody claims it")

    def test_starved(self):
        """I08"""
        self.live()
        self.run_sql("INSERT INTO rappel.workflow_instances (id, version_id,"
                     " status, input) VALUES (rappel.uuid7(now() -"
                     " interval '9 seconds'), 1, 'queued', '{}')")
        self.assertEqual(self.check(), [])
        self.run_sql("UPDATE rappel.pool_heartbeats SET idle = true")
        self.finds("a pool is idle")

    # ---- I09, I10, I16: who held, who wrote ----

    def test_written_without_a_lease(self):
        """I10"""
        self.row(1)
        self.run_sql("UPDATE rappel.workflow_instances SET owner = NULL,"
                     " status = 'queued'")
        self.row(2)
        self.finds("from a pool that had no lease")

    def test_written_by_a_stranger(self):
        """I10"""
        self.run_sql("DELETE FROM rappel.pool_backends")
        self.row(1)
        self.finds("from a pool that had no lease")

    def test_lease_of_nobody(self):
        """I09"""
        self.live()
        self.run_sql("UPDATE rappel.workflow_instances SET owner = %s",
                     OTHER)
        self.finds("a lease for a pool that was not there")

    def test_owner_from_the_dead(self):
        """I09: an incarnation that was taken over holds again"""
        self.row(1)
        self.run_sql("UPDATE rappel.workflow_instances SET owner = NULL")
        self.run_sql("DELETE FROM rappel.worker_pools")
        self.run_sql("UPDATE rappel.workflow_instances SET owner = %s", POOL)
        self.finds("a lease for a pool that was not there")

    def test_incarnation_twice(self):
        """I09"""
        self.live()
        self.run_sql("DELETE FROM rappel.worker_pools")
        self.add_pool(POOL)
        self.finds("an incarnation that was used twice")

    def test_run_without_a_lease(self):
        """I09"""
        self.live()
        self.assertEqual(self.check(), [])
        self.started(9, 1, "one").pool = "two"
        self.finds("started in two, which had no lease")

    def test_dead_pool_holds(self):
        """I16"""
        self.row(1)
        self.run_sql("UPDATE rappel.pool_heartbeats"
                     " SET at = now() - interval '16 seconds'")
        self.finds("a lease of a pool that is dead")

    def session(self, name):
        import psycopg2  # pylint: disable=import-outside-toplevel
        found = psycopg2.connect(cluster.conninfo(self.database),
                                 application_name=name)
        self.addCleanup(found.close)
        return found

    def test_sessions(self):
        """I16: one too many, a lock"""
        self.live()
        for _ in range(4):
            self.session("rappel writer")
        self.assertEqual(checker.clean(self.connection), [])
        self.session("rappel writer")
        self.finds("more than four sessions")
        other = self.session("other")
        other.cursor().execute("SELECT pg_advisory_lock(7)")
        self.finds("an advisory lock")

    def test_idle_in_transaction(self):
        """I16"""
        self.live()
        idle = self.session("rappel writer")
        idle.cursor().execute("SELECT 1")
        self.assertEqual(checker.clean(self.connection), [])
        wait_for("it is found", lambda: any(
            "idle in a transaction" in line
            for line in checker.clean(self.connection)), 8, 0.2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
