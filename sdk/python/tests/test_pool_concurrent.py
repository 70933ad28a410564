"""Python's workers in a real pool while things run: several at once, taken
back, cancelled, beating."""

import os
import unittest

import realpool
from realpool import databasecase, harness, wait_for

from rappel import client

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Several(realpool.PoolCase):
    def setUp(self):
        super().setUp()
        self.folder = harness.scratch(self)
        self.flag = os.path.join(self.folder, "flag")

    def let_go(self):
        with open(self.flag, "wb"):
            pass

    def test_as_many_at_once_as_it_says(self):
        self.pool(concurrency=3)
        self.register("meet", realpool.task("meet"))
        runs = [self.start("meet", 0) for _ in range(6)]
        for run in runs:  # three each, or nobody ever
            self.assertEqual(self.wait(run)[:2], ("succeeded", True))

    def test_what_waits_behind_something_slow_runs_elsewhere(self):
        self.pool(workers=2)
        self.register("echo", realpool.task("echo"))
        self.register("hold", realpool.task("hold"))
        held = self.start("hold", self.flag)
        for _ in range(3):
            self.query("SELECT count(*) FROM rappel.start_workflows('echo', "
                       "(SELECT array_agg(to_json(n)) FROM "
                       "generate_series(1, 200) n))")
        wait_for("all others", lambda: self.statuses() ==
                 {"succeeded": 600, "running": 1}, seconds=40)
        self.let_go()
        self.assertEqual(self.wait(held)[:2], ("succeeded", "held"))
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.history WHERE attempt > 1"),
            [(0,)])

    def test_cancelling_a_run_reaches_the_code(self):
        pool = self.pool(concurrency=2)
        before = pool.pids("worker")
        for action in ("async.cleans", "cleans"):
            path = os.path.join(self.folder, action)
            self.register(action, realpool.task(action))
            run = self.start(action, path)
            wait_for("it runs", lambda: os.path.exists(path + ".runs"))
            client.cancel(self.connection, run)
            self.assertEqual(self.wait(run)[0], "cancelled")
            wait_for("it cleans up", lambda: os.path.exists(path + ".clean"))
        self.assertEqual(self.run_one("echo", 1)[:2], ("succeeded", 1))
        self.assertEqual(pool.pids("worker"), before)

    def test_cancelling_wakes_the_main_thread(self):
        pool = self.pool()
        before = pool.pids("worker")
        path = os.path.join(self.folder, "sleeps")
        self.register("naps", realpool.task("naps"))
        run = self.start("naps", path)
        wait_for("it runs", lambda: os.path.exists(path + ".runs"))
        client.cancel(self.connection, run)
        wait_for("it cleans up", lambda: os.path.exists(path + ".clean"))
        self.assertEqual(self.wait(run)[0], "cancelled")
        self.assertEqual(self.run_one("echo", 1)[:2], ("succeeded", 1))
        self.assertEqual(pool.pids("worker"), before)

    def test_heartbeats_keep_it_alive(self):
        self.pool(concurrency=2)
        self.register("hold", realpool.task("sleepy", HeartbeatSeconds=1,
                                            TimeoutSeconds=60))
        self.register("loops", realpool.task("beats.until",
                                             HeartbeatSeconds=1))
        silent = self.start("hold", 30)
        beating = self.start("loops", self.flag)
        status, _, error, _ = self.wait(silent)
        self.assertEqual((status, error),
                         ("failed", "States.HeartbeatTimeout"))
        self.assertEqual(self.row(beating)[0], "running")
        self.let_go()
        self.assertEqual(self.wait(beating)[0], "succeeded")


if __name__ == "__main__":
    unittest.main()
