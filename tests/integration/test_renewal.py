"""Workers are replaced, added and dismissed under load: nothing is lost, fails
or runs twice, seen in a real database."""

import os
import threading
import time
import unittest

import checker
import harness
import load
import pool as pools
from pool import wait_for

OPEN = 300
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class Renewal(unittest.TestCase):

    def start(self, **settings):
        name = self._testMethodName
        self.database = cluster.create(name)
        harness.migrate(cluster.conninfo(self.database))
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        # One attempt only: an action that is lost fails its run.
        harness.register(cluster.conninfo(self.database), "fan-out",
                         load.fan_out(True, attempts=0))
        checker.install_audit(self.connection)
        self.pool = pools.Pool(cluster.conninfo(self.database), **settings)
        self.addCleanup(self.pool.remove)
        self.pool.use_oracle()
        self.load = load.Load(self.connection)
        self.load.top_up(OPEN)
        self.pool.start().wait_running()

    def ctl(self, *words):
        return harness.must(harness.ctl("--dir", self.pool.dir, *words,
                                        "--json", timeout=60)).json

    def busy_while(self, change):
        """Keeps work open while change() runs."""
        failed = []

        def run():
            try:
                change()
            except Exception as why:  # shown below
                failed.append(why)
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            self.load.top_up(OPEN)
            time.sleep(0.05)
        thread.join()
        if failed:
            raise failed[0]

    def settle(self):
        """Everything ends well, and each action ran once."""
        wait_for("all runs end", lambda: self.load.open_count() == 0, 60)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT status, count(*) FROM"
                           " rappel.workflow_instances GROUP BY 1")
            self.assertEqual(dict(cursor.fetchall()),
                             {"succeeded": self.load.given})
        started = {}
        for line in checker.read_record(self.pool.record):
            if line.what == "START":
                key = (line.instance, line.activation, line.attempt)
                started[key] = started.get(key, 0) + 1
        twice = [key for key, count in started.items() if count > 1]
        self.assertEqual(twice, [])
        self.assertEqual(len(started), self.load.given * 10)
        self.check_journal()
        warnings = [line for line in self.pool.log_text().splitlines()
                    if "level=warning" in line or "level=error" in line]
        self.assertEqual(warnings, [])
        return len(started)

    def check_journal(self):
        findings = (checker.journal(self.connection) +
                    checker.outputs(self.connection, load.fan_out_output) +
                    checker.successes(self.connection, load.STATES))
        self.assertEqual(findings[:20], [], self.pool.log_tail(40))

    def test_rolling_restart(self):
        self.start()
        took = []

        def change():
            for _ in range(4):
                begun = time.monotonic()
                self.assertEqual(self.ctl("restart"),
                                 {"group": None, "restarted": 4})
                took.append(time.monotonic() - begun)
        before = set(self.pool.pids("worker"))
        self.busy_while(change)
        self.assertFalse(before & set(self.pool.pids("worker")))
        count = self.settle()
        print(f"\nrolling restart of 4 workers: {max(took):.2f} s at most, "
              f"{count} actions, none lost or twice", flush=True)

    def test_scale(self):
        self.start()

        def change():
            for workers in (8, 1, 6, 2, 4):
                self.ctl("scale", str(workers))
                wait_for(f"{workers} workers", lambda: sum(
                    p["kind"] == "worker" for p in
                    self.pool.status()["processes"]) == workers)
        self.busy_while(change)
        self.settle()

    def test_recycling(self):
        self.start(worker_recycle_actions=60)
        self.busy_while(lambda: wait_for(
            "twelve were replaced", lambda: self.pool.log_text().count(
                "its number of actions") >= 12, 60))
        self.settle()

    def test_a_new_flusher_in_the_middle(self):
        """The next flusher hears of those that finish, too."""
        self.start()

        def change():
            for _ in range(3):
                pools.control(self.pool.dir, "restart")
                time.sleep(0.1)
                self.pool.kill("flusher")
                wait_for("all are new", lambda: self.pool.is_running() and
                         self.pool.status()["outdated"] == 0, 30)
        self.busy_while(change)
        wait_for("all runs end", lambda: self.load.open_count() == 0, 60)
        self.check_journal()


class Tagged(unittest.TestCase):

    def test_what_an_action_prints(self):
        """A line in the log names the attempt that ran."""
        database = cluster.create("tagged")
        conninfo = cluster.conninfo(database)
        harness.migrate(conninfo)
        harness.register(conninfo, "speaker", load.task(
            "command", Parameters={"command": [
                "sh", "-c", "echo from the action >&2; sleep 0.3; echo 1"]}))
        pool = pools.Pool(conninfo)
        self.addCleanup(pool.remove)
        pool.start().wait_running()
        harness.must(harness.ctl("run", "start", "speaker", "--wait",
                                 database=conninfo))
        run = harness.ctl("run", "list", "-o", "name",
                          database=conninfo).out.strip()
        line, = [line for line in pool.log_text().splitlines()
                 if 'msg="from the action"' in line]
        self.assertRegex(line, rf" slot=\d spawn=1 instance={run} "
                         r"activation=\d+ attempt=1$")


class Killed(unittest.TestCase):

    def test_what_workers_left(self):
        """A07: kill -9 of the daemon alone; its flusher ends what is left."""
        database = cluster.create("killed")
        conninfo = cluster.conninfo(database)
        harness.migrate(conninfo)
        path = os.path.join(harness.scratch(self), "pid")
        harness.register(conninfo, "leaver", load.task("command", Parameters={
            "command": ["sh", "-c", "(setsid sh -c 'echo $$ > "
                        f"{path}.new; mv {path}.new {path}; "
                        "exec sleep 1000' &) ; "
                        # What is still of its group ends with it.
                        f"until [ -e {path} ]; do sleep 0.01; done; "
                        "echo 1"]}))
        pool = pools.Pool(conninfo)
        self.addCleanup(pool.remove)
        pool.start().wait_running()
        harness.must(harness.ctl("run", "start", "leaver", "--wait",
                                 database=conninfo))
        wait_for("it runs", lambda: os.path.exists(path))
        with open(path, encoding="ascii") as text:
            pid = int(text.read())
        self.assertEqual(pools.send_signal(pid, 0), True)
        pool.process.kill()
        pool.process.wait()
        _, seconds = wait_for("it is gone", lambda: not os.path.exists(
            f"/proc/{pid}"), 5)
        print(f"\nA07: gone {seconds:.2f} s after kill -9 of the daemon",
              flush=True)
        wait_for("the pool is gone", lambda: not pool.processes(), 5)


if __name__ == "__main__":
    unittest.main()
