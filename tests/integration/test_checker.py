#!/usr/bin/python3
"""The checker finds what it is there for: planted violations, one by one."""

import os
import tempfile
import unittest

import checker
import harness

ID = "0190a0b0-0000-7000-8000-%012d"
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


def entry(kind, action, attempt=1):
    return f"[{kind},0,{action},{attempt},0,null,0,5,{action}]"


class Planted(unittest.TestCase):
    """A journal of two actions in two rows, then one change to it."""

    def setUp(self):
        self.database = cluster.create(self._testMethodName)
        harness.migrate(cluster.conninfo(self.database))
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        checker.install_audit(self.connection)
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
