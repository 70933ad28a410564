"""The benchmarks: that they run, and that what they count is in the journal.

Small runs, in which every instance ends: the figures mean nothing here, the
checks behind them do. The last test damages a journal and wants it noticed.
"""

import json
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("RAPPEL_BUILD", os.path.join(ROOT, "build"))
# "pool" is also a module of these tests; the benchmarks mean their own.
sys.path.insert(0, os.path.join(ROOT, "bench"))

import cluster  # noqa: E402
import rappelbench  # noqa: E402

INSTANCES = 200


def run(name, *words):
    done = subprocess.run(
        [os.path.join(ROOT, "bench", name), "--build", BUILD, "--json",
         "--instances", str(INSTANCES), "--seconds", "30",
         "--timeout", "90", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False)
    if done.returncode != 0:
        raise AssertionError(f"{name}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


class BenchTest(unittest.TestCase):
    def check(self, report, actions):
        found = report["verification"]
        self.assertEqual(found["wrong"], [])
        self.assertTrue(report["all_ended"])
        self.assertEqual(found["succeeded"], INSTANCES)
        self.assertEqual(found["checked_deeply"], INSTANCES)
        self.assertEqual(report["actions"], INSTANCES * actions)
        self.assertEqual(found["journal_entries"], INSTANCES * actions)

    def test_queue_noop(self):
        report = run("queue-noop", "--limit-seconds", "0.3")
        self.check(report, 49)
        self.assertGreater(report["limit"]["actions_per_s"], 0)

    def test_two_pools(self):
        self.check(run("queue-noop", "--hosts", "2", "--limit-seconds", "0"),
                   49)

    def test_fan_out(self):
        self.check(run("fan-out", "--loop-size", "40", "--complexity", "10",
                       "--limit-seconds", "0"), 41)

    def test_nested(self):
        self.check(run("fan-out", "--loop-size", "4", "--nesting", "3",
                       "--limit-seconds", "0"), 65)

    def test_for_loop(self):
        self.check(run("for-loop", "--limit-seconds", "0"), 16)


class DamageTest(unittest.TestCase):
    """verify() on a journal made by hand, good and then not."""

    def test_damage_is_noticed(self):
        with cluster.Cluster() as place:
            with open(os.path.join(ROOT, "schema", "0001_rappel.sql"),
                      encoding="utf-8") as sql:
                conn = cluster.connect(place.conninfo)
                cur = conn.cursor()
                cur.execute(sql.read())
            cur.execute("""
                SELECT rappel.register_checked('w', '{}', ARRAY['A']);
                SELECT rappel.start_workflow('w') FROM generate_series(1, 3);
                UPDATE rappel.workflow_instances SET status = 'succeeded';
                INSERT INTO rappel.action_log
                SELECT id, s, 1, now(), json_build_array(
                    json_build_array(1, 0, s, 1, 0))
                FROM rappel.workflow_instances, generate_series(1, 4) s""")
            conn.commit()

            def wrong():
                return rappelbench.verify(conn, 4, 12)["wrong"]

            self.assertEqual(wrong(), [])
            for damage in (
                    "DELETE FROM rappel.action_log WHERE seq = 2",
                    "UPDATE rappel.action_log SET seq = 9 WHERE seq = 4",
                    "UPDATE rappel.action_log SET count = 2 WHERE seq = 3",
                    "UPDATE rappel.action_log SET entries = '[[1,0,1,1,0]]' "
                    "WHERE seq = 3",
                    "UPDATE rappel.action_log SET entries = '[[2,0,3,1,0]]' "
                    "WHERE seq = 3",
                    "UPDATE rappel.workflow_instances SET status = 'failed'"):
                with self.subTest(damage):
                    cur.execute("CREATE TABLE log AS TABLE rappel.action_log")
                    cur.execute(damage)
                    conn.commit()
                    self.assertNotEqual(wrong(), [])
                    cur.execute("TRUNCATE rappel.action_log; INSERT INTO "
                                "rappel.action_log TABLE log; DROP TABLE log;"
                                "UPDATE rappel.workflow_instances "
                                "SET status = 'succeeded'")
                    conn.commit()
            self.assertEqual(wrong(), [])
            self.assertNotEqual(
                rappelbench.verify(conn, 4, 13)["wrong"], [])
            conn.close()


if __name__ == "__main__":
    unittest.main()
