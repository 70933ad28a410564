#!/usr/bin/python3
"""Stopping: idle, busy, with what never ends, at a bad moment.

Limits are the documented ones: the grace plus one second, one second when
nothing runs, three after a second TERM, one after QUIT.
"""

import json
import os
import signal
import time
import unittest

import checker
import harness
import load
import pool as pools
from patience import patience
from pool import chance, control, wait_for

GRACE = 3
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class StopTest(unittest.TestCase):
    def setUp(self):
        self.database = cluster.create(self._testMethodName)
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        checker.install_audit(self.connection)
        for action in ("hang", "sleep", "noop"):
            harness.register(self.conninfo, action, load.task(action))

    def make_pool(self, **settings):
        settings.setdefault("shutdown_grace", f"{GRACE}s")
        pool = pools.Pool(self.conninfo, **settings)
        self.addCleanup(pool.remove)
        return pool

    def query(self, text, *values):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()

    def begin(self, workflow, given=None, count=1):
        """Starts so many and gives their ids."""
        return [row[0] for row in self.query(
            "SELECT rappel.start_workflows(%s, array_fill(%s::json,"
            " ARRAY[%s]))::text", workflow, json.dumps(given or {}), count)]

    def hang(self, pool, count=1):
        """One action that never ends, in a worker that ignores TERM."""
        ids = self.begin("hang", count=count)
        wait_for("the hanging action began",
                 lambda: os.path.exists(pool.record) and count == sum(
                     line.action == "hang" and line.what == "START"
                     for line in checker.read_record(pool.record)))
        return ids

    def statuses(self, ids):
        return {row[0] for row in self.query(
            "SELECT DISTINCT status FROM rappel.workflow_instances"
            " WHERE id = ANY (%s::uuid[])", ids)}

    def assert_clean(self, pool):
        self.assertEqual(pool.leftovers(), [], pool.log_tail())
        self.assertEqual(checker.journal(self.connection) +
                         checker.stopped(self.connection), [],
                         pool.log_tail())

    def assert_stopped(self, pool, outcome, limit):
        code, took = outcome
        print(f"{self.id()}: {took:.2f} s of {limit}", flush=True)
        self.assertEqual(code, 0, pool.log_tail(40))
        self.assertLessEqual(took, patience(limit), pool.log_tail(40))


class Idle(StopTest):
    def test_idle(self):
        pool = self.make_pool()
        pool.start().wait_running()
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)

    def test_idle_with_backlog(self):
        """What waits for later or for somebody else does not matter."""
        pool = self.make_pool(instances_max=50)
        self.begin("sleep", {"seconds": 0.01}, count=20000)
        pool.start().wait_running()
        wait_for("some work is done", lambda: self.query(
            "SELECT 1 FROM public.status_audit WHERE after = 'succeeded'"))
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.workflow_instances"
            " WHERE status NOT IN ('queued', 'succeeded')"), [(0,)])

    def test_while_claiming(self):
        """A claim may be on its way when the pool leaves."""
        for n in range(15):
            pool = self.make_pool(instances_max=chance.choice((1, 100)))
            self.begin("noop", count=chance.choice((1, 30, 2000)))
            pool.start().wait_running()
            time.sleep(chance.uniform(0, 0.1))
            with self.subTest(n=n, seed=pools.SEED):
                code, took = pool.stop()
                self.assertEqual((code, took <= 1), (0, True),
                                 pool.log_tail())
                self.assert_clean(pool)

    def test_by_control_socket(self):
        pool = self.make_pool()
        pool.start().wait_running()
        begun = time.monotonic()
        self.assertTrue(control(pool.dir, "stop")["ok"])
        code, _ = pool.wait_exit(10)
        self.assert_stopped(pool, (code, time.monotonic() - begun), 1)
        self.assert_clean(pool)

    def test_drain_stays_until_stop(self):
        pool = self.make_pool()
        ids = self.begin("sleep", {"seconds": 0.3}, count=4)
        pool.start().wait_running()
        wait_for("they run", lambda: self.statuses(ids) == {"running"})
        self.assertTrue(control(pool.dir, "drain")["ok"])
        wait_for("it is drained",
                 lambda: pool.status().get("phase") == "drained", GRACE + 1)
        # What ran has ended, and nothing is held.
        self.assertEqual(self.statuses(ids), {"succeeded"})
        later = self.begin("noop")
        self.assertEqual(self.query("SELECT count(*) FROM"
                                    " rappel.worker_pools"), [(0,)])
        self.assertIsNone(pool.process.poll())
        self.assertEqual(self.statuses(later), {"queued"})
        self.assertTrue(control(pool.dir, "stop")["ok"])
        self.assert_stopped(pool, pool.wait_exit(10), 1)
        self.assert_clean(pool)

    def test_during_start(self):
        """TERM at any moment of a start; a tenth of them while running."""
        taken = []
        for n in range(20):
            pool = self.make_pool()
            pool.start()
            time.sleep(chance.uniform(0, 0.4) * n / 20)
            with self.subTest(n=n, seed=pools.SEED):
                code, took = pool.stop()
                # Before it has its handlers TERM ends it as any program.
                self.assertIn(code, (0, -signal.SIGTERM), pool.log_tail())
                self.assertLessEqual(took, patience(1), pool.log_tail())
                wait_for("nothing is left",
                         lambda p=pool: not p.processes(), 2)
                self.assertEqual(pool.leftovers(), [], pool.log_tail())
                taken.append(took)
        self.assertEqual(checker.stopped(self.connection), [])
        print(f"{self.id()}: longest {max(taken):.2f} s", flush=True)


class Busy(StopTest):
    """With one action that never ends and a worker that ignores TERM."""

    def test_grace_then_takeover(self):
        harness.register(self.conninfo, "fan-out", load.fan_out(oracle=True))
        work = load.Load(self.connection)
        pool = self.make_pool().use_oracle()
        pool.start().wait_running()
        hanging = self.hang(pool)
        work.top_up(300)
        wait_for("some have ended", lambda: self.query(
            "SELECT 1 FROM public.status_audit WHERE after = 'succeeded'"))
        self.assert_stopped(pool, pool.stop(), GRACE + 1)
        self.assert_clean(pool)
        lines = checker.read_record(pool.record)
        self.assertEqual(
            checker.sent_is_written(self.connection, lines)[:5], [])
        self.assertEqual(self.statuses(hanging), {"queued"})
        # The next one takes the rest over, at once and without blame.
        pool.release_hanging()
        pool.start().wait_running()
        wait_for("all end", lambda: work.open_count() == 0, 60)
        self.assertEqual(self.statuses(hanging), {"succeeded"})
        self.assertEqual(self.query(
            "SELECT attempt FROM rappel.history WHERE instance_id = %s",
            hanging[0]), [(1,)])
        lines = [line for line in checker.read_record(pool.record)
                 if line.action != "hang"]
        done = {instance.replace("-", "") for instance in hanging}
        self.assertEqual([found for found in checker.record(
            self.connection, lines, load.STAGES)
            if not any(id in found for id in done)][:5], [])
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)

    def test_native_sleep(self):
        pool = self.make_pool()
        ids = self.begin("sleep", {"seconds": 86400}, count=3)
        pool.start().wait_running()
        wait_for("it sleeps", lambda: (pool.status().get("flusher") or {})
                 .get("actions_running") == 3)
        self.assert_stopped(pool, pool.stop(), GRACE + 1)
        self.assert_clean(pool)
        self.assertEqual(self.statuses(ids), {"queued"})

    def test_second_term(self):
        pool = self.make_pool(shutdown_grace="60s").use_oracle()
        pool.start().wait_running()
        ids = self.hang(pool, 4)
        pool.process.send_signal(signal.SIGTERM)
        wait_for("it drains",
                 lambda: pool.status().get("phase") == "draining")
        time.sleep(0.2)
        self.assertIsNone(pool.process.poll())
        self.assert_stopped(pool, pool.stop(), 3)
        self.assert_clean(pool)
        self.assertEqual(self.statuses(ids), {"queued"})

    def test_int(self):
        pool = self.make_pool(shutdown_grace="60s").use_oracle()
        pool.start().wait_running()
        ids = self.hang(pool)
        self.assert_stopped(pool, pool.stop(signal.SIGINT), 3)
        self.assert_clean(pool)
        self.assertEqual(self.statuses(ids), {"queued"})

    def test_quit(self):
        """No last commit; the database shows a pool until the next start."""
        pool = self.make_pool(shutdown_grace="60s").use_oracle()
        pool.start().wait_running()
        ids = self.hang(pool, 4)
        code, took = pool.stop(signal.SIGQUIT)
        print(f"{self.id()}: {took:.2f} s of 1, exit status {code}")
        self.assertLessEqual(took, patience(1))
        self.assertEqual(pool.leftovers(), [], pool.log_tail())
        pool.release_hanging()
        pool.start().wait_running()
        wait_for("they end", lambda: self.statuses(ids) == {"succeeded"})
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)

    def test_stop_now_by_control_socket(self):
        pool = self.make_pool(shutdown_grace="60s").use_oracle()
        pool.start().wait_running()
        self.hang(pool)
        begun = time.monotonic()
        self.assertTrue(control(pool.dir, "stop", now=True)["ok"])
        code, _ = pool.wait_exit(10)
        self.assert_stopped(pool, (code, time.monotonic() - begun), 3)
        self.assert_clean(pool)

    def test_flusher_stopped(self):
        """Nobody answers, and still the daemon ends in time."""
        pool = self.make_pool()
        pool.start().wait_running()
        pool.kill("flusher", signal.SIGSTOP)
        code, took = pool.stop()
        print(f"{self.id()}: {took:.2f} s of {GRACE + 1}", flush=True)
        self.assertLessEqual(took, patience(GRACE + 1), pool.log_tail(40))
        # Nothing was handed back, which is said.
        self.assertEqual(code, 1, pool.log_tail(40))
        self.assertEqual(pool.leftovers(), [], pool.log_tail())

    def test_workers_stopped(self):
        pool = self.make_pool()
        pool.start().wait_running()
        for pid in pool.pids("worker"):
            os.kill(pid, signal.SIGSTOP)
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)


class Away(StopTest):
    """While the database is away."""

    def tearDown(self):
        if not cluster.is_running():
            cluster.start()

    def test_idle(self):
        pool = self.make_pool()
        pool.start().wait_running()
        cluster.stop("immediate")
        wait_for("it says so", lambda: pool.status().get("phase")
                 == "database-away")
        self.assert_stopped(pool, pool.stop(), 1.7)
        self.assertEqual(pool.leftovers(), [], pool.log_tail())

    def test_busy(self):
        pool = self.make_pool().use_oracle()
        pool.start().wait_running()
        ids = self.hang(pool, 2)
        cluster.stop("immediate")
        self.assert_stopped(pool, pool.stop(), GRACE + 1)
        self.assertEqual(pool.leftovers(), [], pool.log_tail())
        # Nothing is lost by that: the next start has it all again.
        cluster.start()
        pool.release_hanging()
        self.connection.close()
        self.connection = cluster.connect(self.database)
        pool.start().wait_running()
        wait_for("they end", lambda: self.statuses(ids) == {"succeeded"})
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)

    def test_what_ended_meanwhile_is_spooled(self):
        """Actions end while the database is away, and then the daemon: the
        next one writes what they brought, and runs none of them again."""
        harness.register(self.conninfo, "nap", load.task("nap"))
        pool = self.make_pool().use_oracle()
        pool.start().wait_running()
        ids = self.begin("nap", {"seconds": 1.2}, 4)

        def lines(what):
            return [line for line in checker.read_record(pool.record)
                    if line.what == what] \
                if os.path.exists(pool.record) else []
        wait_for("they began", lambda: len(lines("START")) == 4)
        cluster.stop("immediate")
        wait_for("they ended", lambda: len(lines("SENT")) == 4)
        self.assert_stopped(pool, pool.stop(), GRACE + 1)
        self.assertEqual(pool.leftovers(), ["file spool"], pool.log_tail())
        cluster.start()
        self.connection.close()
        self.connection = cluster.connect(self.database)
        pool.start().wait_running()
        wait_for("they are written",
                 lambda: self.statuses(ids) == {"succeeded"})
        self.assertEqual(len(lines("START")), 4, "some ran again")
        wait_for("the spool is gone", lambda: not os.path.exists(
            os.path.join(pool.dir, "spool")))
        self.assert_stopped(pool, pool.stop(), 1)
        self.assert_clean(pool)


if __name__ == "__main__":
    unittest.main(verbosity=2)
