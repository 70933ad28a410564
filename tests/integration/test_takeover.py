#!/usr/bin/python3
"""Whose work it is: restarts, dead pools, pools that come back.

A pool that restarts on the same directory has its work back within 2 s;
another one takes it within 12 s; one that was only stopped finds itself
fenced and comes back as somebody new.
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
from pool import wait_for

SAME_HOST = 2
OTHER_HOST = 12
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class TakeoverTest(unittest.TestCase):
    def setUp(self):
        self.database = cluster.create(self._testMethodName)
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        checker.install_audit(self.connection)
        harness.register(self.conninfo, "hang", load.task("hang"))
        harness.register(self.conninfo, "fan-out",
                         load.fan_out(oracle=True))
        self.load = load.Load(self.connection)

    def make_pool(self, name, **settings):
        pool = pools.Pool(self.conninfo, workers=2, pool_name=name,
                          **settings).use_oracle()
        self.addCleanup(pool.remove)
        return pool

    def query(self, text, *values):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()

    def begin_hanging(self, count):
        return [row[0] for row in self.query(
            "SELECT rappel.start_workflows('hang', array_fill(%s::json,"
            " ARRAY[%s]))::text", json.dumps({}), count)]

    def holders(self):
        """Which pools hold how many instances, by name."""
        return dict(self.query(
            "SELECT p.name, count(i.id) FROM rappel.worker_pools p"
            " LEFT JOIN rappel.workflow_instances i"
            "  ON i.owner = p.incarnation GROUP BY 1"))

    def incarnation(self, pool):
        return (pool.status().get("flusher") or {}).get("incarnation")

    def finish(self, *running):
        for pool in running:
            pool.release_hanging()
        wait_for("all end", lambda: self.load.open_count() == 0, 60)
        findings = checker.journal(self.connection)
        for pool in running:
            code, took = pool.stop()
            if code != 0 or took > 1:
                findings.append(f"exit status {code} after {took:.2f} s")
            findings += pool.leftovers()
        findings += checker.stopped(self.connection)
        self.assertEqual(findings, [], running[0].log_tail(40))

    def test_same_host(self):
        """All of it killed: the next start has everything again at once."""
        pool = self.make_pool("one")
        pool.start().wait_running()
        self.begin_hanging(2)
        self.load.top_up(300)
        wait_for("it holds them",
                 lambda: self.holders().get("one", 0) >= 200)
        before = self.incarnation(pool)
        pool.kill_all()
        pool.process.wait()
        begun = time.monotonic()
        pool.start()
        wait_for("the new one works on what the old one held", lambda: [
            line for line in checker.read_record(pool.record)
            if line.pid in pool.processes()])
        took = time.monotonic() - begun
        print(f"{self.id()}: {took:.2f} s of {SAME_HOST}", flush=True)
        self.assertLessEqual(took, patience(SAME_HOST), pool.log_tail())
        pool.wait_running()
        self.assertNotEqual(self.incarnation(pool), before)
        self.finish(pool)

    def test_same_host_with_much(self):
        """As many as it may hold, each with a journal to be replayed."""
        states = load.fan_out()
        states["States"]["Last"]["Resource"] = "nobody-at-all"
        harness.register(self.conninfo, "fan-out", states)
        count = 2000
        pool = pools.Pool(self.conninfo, instances_max=count)
        self.addCleanup(pool.remove)
        self.load.nap = 0
        pool.start().wait_running()
        self.load.top_up(count)
        entries = count * (2 * load.ITEMS + 1)
        wait_for("all have come so far", lambda: self.query(
            "SELECT sum(count) FROM rappel.action_log") == [(entries,)], 60)
        before = self.incarnation(pool)
        pool.kill_all()
        pool.process.wait()
        begun = time.monotonic()
        pool.start()
        wait_for("it holds them all again", lambda: self.query(
            "SELECT count(*) FROM rappel.workflow_instances"
            " WHERE owner <> %s", before) == [(count,)])
        took = time.monotonic() - begun
        print(f"{self.id()}: {took:.2f} s of {SAME_HOST}", flush=True)
        self.assertLessEqual(took, patience(SAME_HOST), pool.log_tail())
        wait_for("every journal was read", lambda: (pool.status().get(
            "flusher") or {}).get("instances_recovered") == count, 5)
        self.assertEqual(checker.journal(self.connection), [])
        self.assertEqual(pool.stop()[0], 0, pool.log_tail())
        self.assertEqual(checker.stopped(self.connection), [])

    def test_other_host(self):
        """Nobody restarts it: the other pool waits out the lease."""
        one, two = self.make_pool("one"), self.make_pool("two")
        one.start().wait_running()
        self.begin_hanging(20)
        wait_for("it holds them", lambda: self.holders().get("one") == 20)
        two.start().wait_running()
        # Long enough that the lease cannot have begun before the kill.
        time.sleep(0.5)
        one.kill_all()
        one.process.wait()
        begun = time.monotonic()
        wait_for("the other has them",
                 lambda: self.holders().get("two") == 20, 30)
        took = time.monotonic() - begun
        print(f"{self.id()}: {took:.2f} s of {OTHER_HOST}", flush=True)
        self.assertLessEqual(took, patience(OTHER_HOST), two.log_tail())
        self.assertGreater(took, 7, "it was taken for dead too early")
        wait_for("it works on them", lambda: os.path.exists(two.record), 2)
        self.assertEqual(self.holders(), {"two": 20})
        self.finish(two)

    def test_handed_back(self):
        """A stop as asked: the other pool has the rest at once."""
        for n in range(5):
            with self.subTest(n=n):
                one = self.make_pool("one", shutdown_grace="0.2s")
                two = self.make_pool("two")
                one.start().wait_running()
                two.start().wait_running()
                self.begin_hanging(4)
                # What comes in at once may be one pool's, and done.
                wait_for("both work", lambda: self.load.top_up(200) or all(
                    self.holders().get(name) for name in ("one", "two")))
                code, _ = one.stop()
                self.assertEqual(code, 0)
                two.release_hanging()
                _, took = wait_for("nothing is left over",
                                   lambda: self.load.open_count() == 0)
                print(f"{self.id()}: {took:.2f} s", flush=True)
                self.finish(two)

    def test_stopped_and_continued(self):
        """15 s of silence: fenced, nothing doubled, back as a new one."""
        one, two = self.make_pool("one"), self.make_pool("two")
        one.start().wait_running()
        self.load.top_up(300)
        wait_for("it is busy", lambda: self.query(
            "SELECT count(*) FROM public.status_audit"
            " WHERE after = 'succeeded'")[0][0] > 20)
        before = self.incarnation(one)
        frozen = one.processes()
        for pid in frozen:
            pools.send_signal(pid, signal.SIGSTOP)
        begun = time.monotonic()
        two.start().wait_running()
        wait_for("the other has its work", lambda: "one" not in
                 self.holders(), OTHER_HOST + 1)
        self.load.top_up(300)
        time.sleep(max(0, begun + 15 - time.monotonic()))
        woken = time.time_ns() // 1000
        for pid in frozen:
            pools.send_signal(pid, signal.SIGCONT)
        _, took = wait_for("it is back as somebody new", lambda: (
            one.is_running() and self.incarnation(one) != before and
            "one" in self.holders()), 10)
        print(f"{self.id()}: back after {took:.2f} s", flush=True)
        self.assertIsNone(one.process.poll())
        self.load.top_up(300)
        wait_for("all end", lambda: self.load.open_count() == 0, 60)
        # Not a row of the old incarnation after its pool row was deleted,
        # nothing doubled: the journal says so.
        self.assertEqual(
            checker.journal(self.connection) +
            checker.outputs(self.connection, load.fan_out_output) +
            checker.successes(self.connection, load.STATES), [],
            one.log_tail())
        # What it had in its hands it may finish; nothing new may begin in
        # its old workers. A second is for the fence to be noticed.
        late = [line for line in checker.read_record(one.record)
                if line.what == "START" and line.pid in frozen
                and line.wall_us > woken + 1000000]
        self.assertEqual(late, [])
        self.finish(one, two)

    def test_supervisor_stopped(self):
        """A short pause of the supervisor alone changes nothing."""
        pool = self.make_pool("one")
        pool.start().wait_running()
        before = self.incarnation(pool)
        os.kill(pool.process.pid, signal.SIGSTOP)
        time.sleep(2)
        os.kill(pool.process.pid, signal.SIGCONT)
        self.load.top_up(50)
        wait_for("all end", lambda: self.load.open_count() == 0)
        self.assertEqual(self.incarnation(pool), before)
        self.finish(pool)

    def test_flusher_stopped(self):
        """A flusher that says nothing is replaced by the supervisor."""
        pool = self.make_pool("one")
        pool.start().wait_running()
        self.load.top_up(200)
        before = self.incarnation(pool)
        pool.kill("flusher", signal.SIGSTOP)
        _, took = wait_for("it was replaced", lambda: (
            pool.is_running() and self.incarnation(pool) != before), 20)
        print(f"{self.id()}: {took:.2f} s", flush=True)
        self.finish(pool)


if __name__ == "__main__":
    unittest.main(verbosity=2)
