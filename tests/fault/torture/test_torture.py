#!/usr/bin/python3
"""E12: every fallible call of start, claim, dispatch, flush, drain and each
control verb fails, once and from then on.

What is expected of a process whose call failed:

* it copes, or ends with a documented exit status and says why, or, when
  there is no memory, aborts with the words "out of memory"
* never SIGSEGV or another abort, never a hang
* rappelctl exits with a documented status
* whatever was acknowledged is true: the checker finds nothing, and all work
  ends once nothing fails any more

The push tier takes a sample of n, another one with each RAPPEL_SEED;
RAPPEL_FAULT_TIER=full takes every n.
"""

import mmap
import os
import signal
import struct
import subprocess
import time
import unittest

import checker
import harness
import load
import pool as pools
from patience import patience
from pool import chance, wait_for

FULL = os.environ.get("RAPPEL_FAULT_TIER") == "full"
LIBRARY = os.environ.get("RAPPEL_TORTURE_LIBRARY")
MEMORY, SOCKET, IO, FILE, PROCESS = 1, 2, 4, 8, 16
CALLS = SOCKET | IO | FILE | PROCESS
LAYOUT = struct.Struct("=6I40s")
# Exit statuses that docs/operations.md and docs/rappelctl.md name.
DAEMON_EXITS = {0, *checker.processes.EXITS}
CTL_EXITS = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 78, 124}
FLUSHER_EXITS = {0, 1, 70, 75, 78}
START_S = 20  # by then it runs or has ended
WORK_S = 30   # by then work is done again, back-off included
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class Plan:
    """What torture.so reads: which calls are to fail."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(4096)
            self.map = mmap.mmap(file.fileno(), LAYOUT.size)

    def arm(self, nth, kinds, forever=False):
        """nth 0 only counts."""
        self.map[:] = LAYOUT.pack(0, kinds, nth, forever, 0, 0, b"")
        self.map[0:4] = struct.pack("=I", 1)

    def disarm(self):
        """How many calls there were; the name of what failed, or None."""
        self.map[0:4] = bytes(4)
        found = LAYOUT.unpack(self.map[:])
        return found[4], found[6].rstrip(b"\0").decode() \
            if found[5] else None

    def env(self, program):
        return {"LD_PRELOAD": LIBRARY, "TORTURE_FILE": self.path,
                "TORTURE_PROGRAM": program}


def sample(total, count):
    """Every n from 1 to total, or so many of them from all over."""
    if FULL or total <= count:
        return range(1, total + 1)
    return [1 + int((k + chance.random()) * total / count)
            for k in range(count)]


class TortureTest(unittest.TestCase):
    def setUp(self):
        if not LIBRARY:
            self.skipTest("RAPPEL_TORTURE_LIBRARY names no library")
        self.folder = harness.scratch(self)
        self.plan = Plan(os.path.join(self.folder, "plan"))
        self.database = cluster.create(self._testMethodName)
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)
        checker.install_audit(self.connection)
        harness.register(self.conninfo, "fan-out", load.fan_out(True))
        self.load = load.Load(self.connection, nap=0)
        self.tried = self.coped = self.ended = 0
        self.names = {}

    def tearDown(self):
        print(f"{self.id()}: tried={self.tried} coped={self.coped} "
              f"ended={self.ended} seed={pools.SEED} calls="
              + ",".join(f"{name}:{n}" for name, n in
                         sorted(self.names.items())), flush=True)

    def make_pool(self, **settings):
        # libseccomp does not live through an allocation that fails: the
        # start of the daemon would end in it, with nothing begun.
        pool = pools.Pool(self.conninfo, workers=2, pool_name="one",
                          sandbox="off", **settings).use_oracle()
        self.addCleanup(pool.remove)
        return pool

    def note(self, name, survived):
        self.tried += 1
        self.coped += survived
        self.ended += not survived
        if name is not None:
            self.names[name] = self.names.get(name, 0) + 1

    def ended_well(self, code, said, allowed, mute=False):
        """An end that is documented, and says why, unless it is mute: no
        write succeeds any more."""
        if code == -signal.SIGABRT:
            # So does the C library itself, for one of its own.
            self.assertRegex(said[-3000:],
                             r"(?m)out of memory|nss_database\.c:\d+: |"
                             r"^Unexpected error\.$")
            return
        self.assertIn(code, allowed, said[-3000:])
        if code != 0 and not mute:
            self.assertNotEqual(said.strip(), "", f"exit status {code}")

    def work(self, pool, seconds=WORK_S):
        """One more instance, from its start to its end."""
        self.load.top_up(self.load.open_count() + 1)
        wait_for("the work is done",
                 lambda: self.load.open_count() == 0 or
                 pool.process.poll() is not None, seconds)

    def finish(self, pool):
        """Nothing fails any more: all is done, and all of it is true."""
        if pool.process.poll() is not None:
            pool.start()
        pool.wait_running(WORK_S)
        wait_for("all instances end", lambda: self.load.open_count() == 0,
                 WORK_S)
        case = checker.Case(
            self.connection, pool, given=self.load.given, crashes=True,
            expected_of=load.fan_out_output, per_second=100000,
            foreign=("out of memory", "rappeld: ", "rappel-flusher: ",
                     "libpq", "event", r"^\[(err|warn)\]",
                     r"^Unexpected error\.$"))
        findings = [f for f in checker.check(case)
                    if not ("report: " in f and "out of memory" in f)]
        code, took = pool.stop()
        findings += checker.processes.ended(code, took, 2)
        left = pool.leftovers()
        if left == ["file spool"]:
            # An answer to a flusher that had died may come when the last
            # one has left; the next start judges it.
            pool.start().wait_running(WORK_S)
            self.assertEqual(pool.stop()[0], 0, pool.log_tail(40))
            left = pool.leftovers()
        findings += left + checker.stopped(self.connection)
        self.assertEqual(findings[:20], [], pool.log_tail(40))


class Supervisor(TortureTest):
    """rappeld with the library."""

    def tortured(self):
        pool = self.make_pool()
        pool.env.update(self.plan.env("rappeld"))
        return pool

    def restart(self, pool):
        """After an end, without anything that fails."""
        if pool.process.poll() is None:
            return
        pool.start()
        pool.wait_running(WORK_S)

    def test_start(self):
        pool = self.tortured()
        for kinds, count in ((MEMORY, 3), (CALLS, 5)):
            self.plan.arm(0, kinds)
            pool.start().wait_running()
            total, _ = self.plan.disarm()
            self.assertEqual(pool.stop()[0], 0)
            for nth in sample(total, count):
                for forever in (False, True):
                    self.start_once(pool, nth, kinds, forever)
        self.restart(pool)
        self.finish(pool)

    def start_once(self, pool, nth, kinds, forever):
        at = len(pool.log_text())
        self.plan.arm(nth, kinds, forever)
        with self.subTest(nth=nth, kinds=kinds, forever=forever):
            if pool.process.poll() is None:  # the last one went wrong
                pool.kill_all()
                pool.process.wait()
            pool.start()
            self.settle(pool)
            _, name = self.plan.disarm()
            if pool.process.poll() is None:
                # What is over must be forgotten.
                wait_for("it runs", lambda: pool.process.poll() is not None
                         or pool.is_running(), START_S)
            code = pool.process.poll()
            self.note(name, code is None)
            if code is None:
                pool.wait_running(START_S)
                code, _ = pool.stop()
                self.assertEqual(code, 0, pool.log_tail())
            elif not (code == -signal.SIGSEGV and kinds == MEMORY and
                      not pool.log_text()[at:]):
                # But for the C library's look at users (nss), before the
                # daemon's first word: it goes through what it did not get.
                self.ended_well(code, pool.log_text()[at:], DAEMON_EXITS,
                                forever and bool(kinds & IO))

    def settle(self, pool):
        """Until it runs, has ended, or has tried for a while."""
        try:
            wait_for("", lambda: pool.process.poll() is not None or
                     pool.is_running(), 0.7, 0.005)
        except AssertionError:
            pass

    def sweep(self, pool, what, kinds, count):
        """what() again and again, each time with another call that fails."""
        self.restart(pool)
        self.forgiving = True
        self.plan.arm(0, kinds)
        what()
        total, _ = self.plan.disarm()
        for nth in sample(total, count):
            for forever in (False, True):
                self.restart(pool)
                at = len(pool.log_text())
                self.forgiving = not forever
                self.plan.arm(nth, kinds, forever)
                with self.subTest(nth=nth, kinds=kinds, forever=forever):
                    try:
                        what()
                    except (OSError, AssertionError, ValueError):
                        if not forever and pool.process.poll() is None and \
                                self.plan.disarm()[1] is None:
                            raise
                    _, name = self.plan.disarm()
                    code = pool.process.poll()
                    self.note(name, code is None)
                    if code is not None:
                        self.ended_well(code, pool.log_text()[at:],
                                        DAEMON_EXITS,
                                        forever and bool(kinds & IO))
                    else:
                        wait_for("it runs again", lambda:
                                 pool.process.poll() is not None or
                                 pool.is_running(), WORK_S)

    def test_work(self):
        """One claim, one dispatch, one flush, as the supervisor sees them."""
        pool = self.tortured()
        pool.start().wait_running()

        def work():
            self.work(pool, 5 if self.forgiving else 0.7)
        for kinds, count in ((MEMORY, 2), (CALLS, 3)):
            self.sweep(pool, work, kinds, count)
        self.finish(pool)

    def test_verbs(self):
        """Each control verb that leaves it running."""
        pool = self.tortured()
        pool.start().wait_running()
        for verb in ("ping", "status", "nonsense"):
            for kinds, count in ((MEMORY, 1), (CALLS, 2)):
                self.sweep(pool, lambda v=verb: pools.control(pool.dir, v),
                           kinds, count)
        self.finish(pool)

    def test_stop(self):
        """A drain with work at hand: it ends, and in time."""
        pool = self.tortured()
        for kinds, count in ((MEMORY, 2), (CALLS, 3)):
            total = self.stop_once(pool, 0, kinds, False)
            for nth in sample(total, count):
                for forever in (False, True):
                    with self.subTest(nth=nth, kinds=kinds, forever=forever):
                        self.stop_once(pool, nth, kinds, forever)
        pool.start()
        self.finish(pool)

    def stop_once(self, pool, nth, kinds, forever):
        pool.start().wait_running(WORK_S)
        self.load.top_up(self.load.open_count() + 10)
        at = len(pool.log_text())
        self.plan.arm(nth, kinds, forever)
        pool.process.send_signal(signal.SIGTERM)
        code, took = pool.wait_exit(40)
        counted, name = self.plan.disarm()
        self.note(name, code == 0)
        self.ended_well(code, pool.log_text()[at:], DAEMON_EXITS,
                        forever and bool(kinds & IO))
        self.assertLessEqual(took, patience(32))
        return counted


class Flusher(TortureTest):
    """rappel-flusher with the library; the supervisor replaces it."""

    def test_work(self):
        pool = self.make_pool()
        program = os.path.join(pool.folder, "flusher")
        words = " ".join(f"{key}={value}" for key, value in
                         self.plan.env("rappel-flusher").items())
        with open(program, "w", encoding="utf-8") as script:
            script.write(f"#!/bin/sh\nexec env {words} "
                         f"{harness.program('rappel-flusher')} \"$@\"\n")
        os.chmod(program, 0o755)
        pool.env["RAPPEL_FLUSHER"] = program
        pool.start().wait_running()
        for kinds, count in ((MEMORY, 2), (CALLS, 3)):
            self.plan.arm(0, kinds)
            self.work(pool)
            total, _ = self.plan.disarm()
            for nth in sample(total, count):
                for forever in (False, True):
                    with self.subTest(nth=nth, kinds=kinds,
                                      forever=forever):
                        self.work_once(pool, nth, kinds, forever)
        self.finish(pool)

    def work_once(self, pool, nth, kinds, forever):
        before = self.flusher(pool)
        at = len(pool.log_text())
        self.plan.arm(nth, kinds, forever)
        self.load.top_up(self.load.open_count() + 1)
        try:
            wait_for("", lambda: self.load.open_count() == 0, 0.7)
        except AssertionError:
            pass
        _, name = self.plan.disarm()
        self.assertIsNone(pool.process.poll(), pool.log_tail())
        pool.wait_running(WORK_S)
        wait_for("the work is done", lambda: self.load.open_count() == 0,
                 WORK_S)
        after = self.flusher(pool)
        self.note(name, after == before)
        if after != before:
            said = pool.log_text()[at:]
            for signum in (4, 7, 8, 11):
                self.assertNotIn(f"killed by signal {signum}", said)
            if "killed by signal 6" in said:
                self.assertIn("out of memory", said)

    def flusher(self, pool):
        return [p["pid"] for p in pool.status().get("processes", ())
                if p["kind"] == "flusher"]


class Rappelctl(TortureTest):
    """rappelctl with the library."""

    def test_commands(self):
        pool = self.make_pool()
        pool.start().wait_running()
        asl = os.path.join(self.folder, "one.asl.json")
        with open(asl, "w", encoding="utf-8") as text:
            text.write('{"StartAt":"A","States":{"A":{"Type":"Pass",'
                       '"End":true}}}')
        for words in (("status",), ("status", "--json"), ("ping",),
                      ("run", "list"), ("workflow", "list", "--json"),
                      ("workflow", "validate", asl), ("exec", asl),
                      ("run", "start", "fan-out", "--input", "{}"),
                      ("config", "show")):
            for kinds, count in ((MEMORY, 1), (CALLS, 2)):
                self.command(pool, words, kinds, count)
        self.assertIsNone(pool.process.poll())
        with self.connection, self.connection.cursor() as cursor:
            # Those that were started have no items to go through.
            cursor.execute("SELECT count(*) FROM rappel.workflow_instances"
                           " WHERE status = 'blocked'")
            self.assertEqual(cursor.fetchone()[0], 0)
        self.assertEqual(pool.stop()[0], 0)

    def run_ctl(self, pool, words):
        env = harness.clean_env(RAPPEL_DATABASE_URL=self.conninfo,
                                RAPPEL_DIR=pool.dir,
                                **self.plan.env("rappelctl"))
        return subprocess.run(
            [harness.program("rappelctl"), *words], env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=50, check=False,
            encoding="utf-8", errors="replace")

    def command(self, pool, words, kinds, count):
        self.plan.arm(0, kinds)
        self.assertEqual(self.run_ctl(pool, words).returncode, 0, words)
        total, _ = self.plan.disarm()
        for nth in sample(total, count):
            for forever in (False, True):
                self.plan.arm(nth, kinds, forever)
                with self.subTest(words=words, nth=nth, kinds=kinds,
                                  forever=forever):
                    done = self.run_ctl(pool, words)
                    _, name = self.plan.disarm()
                    self.note(name, done.returncode == 0)
                    if name == "write":
                        # Where it would say why may be what failed.
                        self.assertIn(done.returncode, CTL_EXITS)
                        continue
                    self.ended_well(done.returncode, done.stderr, CTL_EXITS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
