#!/usr/bin/python3
"""Kills at random moments, while 500 instances with fan-outs run.

RAPPEL_KILLS says how many of each kind (default 20), RAPPEL_SEED repeats a
run as far as chance is ours.
"""

import os
import time
import unittest

import checker
import harness
import load
import pool as pools
from pool import chance, wait_for

KILLS = int(os.environ.get("RAPPEL_KILLS", "20"))
OPEN = 500
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class KillTest(unittest.TestCase):
    """One database and one pool a test."""

    oracle = False

    def setUp(self):
        name = self._testMethodName
        self.database = cluster.create(name)
        harness.migrate(cluster.conninfo(self.database))
        self.connect()
        harness.register(cluster.conninfo(self.database), "fan-out",
                         load.fan_out(self.oracle))
        checker.install_audit(self.connection)
        self.pool = pools.Pool(cluster.conninfo(self.database))
        self.addCleanup(self.pool.remove)
        if self.oracle:
            self.pool.use_oracle()
        self.load = load.Load(self.connection)
        self.load.top_up(OPEN)
        self.pool.start().wait_running()

    def connect(self):
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)

    def written(self):
        """Entries in the journal."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(sum(count), 0)"
                           " FROM rappel.action_log")
            return cursor.fetchone()[0]

    # ---- ways to break it ----

    def kill_worker(self):
        self.pool.kill("worker")

    def kill_flusher(self):
        self.pool.kill("flusher")

    def kill_supervisor(self):
        """The next one starts beside what is left of the last, at once."""
        old = [pid for pid, kind in self.pool.processes().items()
               if kind != "supervisor"]
        self.pool.process.kill()
        self.pool.process.wait()
        self.pool.start()
        wait_for("what the dead supervisor left is gone",
                 lambda: not set(old) & set(self.pool.processes()), 5)

    def kill_all(self):
        self.pool.kill_all()
        self.pool.process.wait()
        wait_for("all are dead", lambda: not self.pool.processes(), 5)
        self.pool.start()

    def kill_sessions(self):
        """Each of rappel's sessions, in the middle of what it does."""
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid)"
                           " FROM pg_stat_activity"
                           " WHERE application_name LIKE 'rappel%'"
                           "  AND datname = current_database()"
                           " ORDER BY random()")

    def kill_database(self):
        cluster.stop("immediate")
        # From "at once" to an outage that is noticed.
        time.sleep(chance.choice((0, 0.05, 0.5)))
        cluster.start()
        self.connection.close()
        self.connect()
        self.load.connection = self.connection

    # ---- the course of every test ----

    def run_kills(self, kill, count):
        written = self.written()
        for n in range(count):
            # Half of them hit a pool that has found its feet again, the
            # others one that may still be recovering from the last.
            if n % 2:
                self.pool.wait_running()
            # A random moment is what this is about.
            time.sleep(chance.uniform(0, 0.3))
            self.load.top_up(OPEN)
            with self.subTest(kill=n, seed=pools.SEED):
                kill()
                self.assertIsNone(self.pool.process.poll(),
                                  self.pool.log_tail())
        self.pool.wait_running()
        self.assertGreater(self.written(), written,
                           "no progress under fire")

    def finish(self):
        """Everything ends, everything is as it must be, nothing is left."""
        wait_for("all instances end",
                 lambda: self.load.open_count() == 0, 60, 0.05)
        connection = self.connection
        case = checker.Case(connection, self.pool, given=self.load.given,
                            expected_of=load.fan_out_output)
        findings = (checker.check(case) +
                    checker.successes(connection, load.STATES))
        if self.oracle:
            findings += checker.record(
                connection, checker.read_record(self.pool.record),
                load.STAGES)
        code, took = self.pool.stop()
        findings += checker.check_stopped(case, code, took)
        print(f"{self.id()}: {self.load.given} instances, seed "
              f"{pools.SEED}", flush=True)
        self.assertEqual(findings[:20], [], self.pool.log_tail(40))


class NativeWorkers(KillTest):
    def test_kill_worker(self):
        self.run_kills(self.kill_worker, KILLS)
        self.finish()

    def test_kill_flusher(self):
        self.run_kills(self.kill_flusher, KILLS)
        self.finish()

    def test_kill_supervisor(self):
        self.run_kills(self.kill_supervisor, KILLS)
        self.finish()

    def test_kill_all(self):
        self.run_kills(self.kill_all, KILLS)
        self.finish()

    def test_kill_database(self):
        self.run_kills(self.kill_database, KILLS)
        self.finish()

    def test_kill_sessions(self):
        self.run_kills(self.kill_sessions, KILLS)
        self.finish()


class OracleWorkers(KillTest):
    """The workers write down what they do; that is held against commits."""

    oracle = True

    def test_kill_everything(self):
        kinds = (self.kill_worker, self.kill_flusher, self.kill_supervisor,
                 self.kill_all, self.kill_sessions, self.kill_database)
        self.run_kills(lambda: chance.choice(kinds)(), KILLS)
        self.finish()


class TwoPools(KillTest):
    """The other one keeps working, and may take over what one lost."""

    def test_kill_either(self):
        first = self.pool
        second = pools.Pool(cluster.conninfo(self.database),
                            pool_name="second")
        self.addCleanup(second.remove)
        second.start().wait_running()
        kinds = (self.kill_worker, self.kill_flusher, self.kill_supervisor,
                 self.kill_all, self.kill_sessions)

        def kill():
            self.pool = chance.choice((first, second))
            chance.choice(kinds)()
        self.run_kills(kill, KILLS)
        for self.pool in (first, second):
            self.pool.wait_running()
        wait_for("all instances end",
                 lambda: self.load.open_count() == 0, 60, 0.05)
        code, _ = first.stop()
        self.assertEqual(code, 0, first.log_tail(40))
        self.assertEqual(first.leftovers(), [])
        self.finish()


if __name__ == "__main__":
    unittest.main(verbosity=2)
