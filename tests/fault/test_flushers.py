#!/usr/bin/python3
"""Faults C01 to C03: the flusher killed and stopped wherever it may be.

Nothing that a worker answered is lost or run again, nothing is written
twice, and the workers live on.
"""

import os
import signal
import time
import unittest

import checker
import faultkit
import load
import pool as pools
from faultkit import FULL, repeats
from pool import send_signal, wait_for

# How long nothing may be committed when a flusher was killed.
GAP = 1.5
STAGES = ("flush.received", "flush.before_send", "flush.sent",
          "flush.after_commit", "flush.before_ack",
          "flush.before_dependents", "flush.after_dependents",
          "claim.committed")


class FlusherTest(faultkit.FaultTest):
    def begin_load(self, pool):
        pool.start().wait_running()
        if "RAPPEL_WORKER" in pool.env:  # native ones serve other actions
            self.top_up()
            self.progress()
        self.workers = set(pool.pids("worker"))

    def flusher(self, pool):
        """The living flusher's pid, when it is one that works."""
        found = pool.process_list("flusher")
        if found and found[0]["phase"] == "ready" and \
                pool.flusher_status().get("health") == "working":
            return found[0]["pid"]
        return None

    def next_flusher(self, pool, before, seconds=15):
        def other():
            pid = self.flusher(pool)
            return pid if pid and pid != before else None
        return wait_for("another flusher works", other, seconds, 0.005)[0]

    def all_once(self, pool):
        """Nothing ran again, no worker had to go."""
        lines = [line for line in checker.read_record(pool.record)
                 if line.action in load.STAGES]
        self.assertEqual(faultkit.run_twice(lines)[:5], [],
                         pool.log_tail(40))
        self.assertEqual(set(pool.pids("worker")), self.workers,
                         pool.log_tail(40))


class Killed(FlusherTest):
    def test_c01_every_system_call(self):
        """SIGKILL at its N-th system call under load, N = 1, 2, 3 ..."""
        problem = faultkit.Strace.problem()
        if problem:
            self.skip_fault("C01", problem)
        pool = self.make_pool()
        self.begin_load(pool)
        gaps = []
        for nth in range(1, repeats(8, 200) + 1):
            with self.subTest(nth=nth, seed=pools.SEED):
                self.top_up()
                pid = wait_for("a flusher works",
                               lambda: self.flusher(pool))[0]
                since = self.database_now()
                with faultkit.Strace(pid, "inject=all:signal=KILL:when="
                                     f"{nth}+"):
                    wait_for("it is killed", lambda p=pid: not os.path.exists(
                        f"/proc/{p}"), 10, 0.002)
                self.next_flusher(pool, pid)
                self.progress(10)
                gaps.append(self.commit_gap(since))
        self.figure("C01", "no_commit_for", gaps, "s", GAP)
        self.all_once(pool)
        self.finish(pool)
        self.count("C01", "lost_doubled_or_run_again", len(gaps))

    def test_c02_every_stage(self):
        """SIGKILL at each stage of a completion's way into the journal."""
        count = repeats(1, 100)
        gaps = []
        for stage in STAGES:
            pool = self.make_pool().fault(f"{stage}:kill")
            self.begin_load(pool)
            for n in range(count):
                with self.subTest(stage=stage, n=n, seed=pools.SEED):
                    pid = wait_for("a flusher works",
                                   lambda p=pool: self.flusher(p))[0]
                    since = self.database_now()
                    pool.arm()
                    wait_for("the point is reached", lambda p=pool: (
                        self.top_up(self.open_wanted + 10) or
                        p.has_fired()), 20)
                    self.next_flusher(pool, pid)
                    self.progress(10)
                    gaps.append(self.commit_gap(since))
            with self.subTest(stage=stage):
                self.all_once(pool)
            wait_for("all instances end",
                     lambda: self.load.open_count() == 0, 60, 0.05)
            self.assertEqual(self.stop(pool), [])
            self.assertEqual(self.findings(with_load=True)[:5], [])
        self.figure("C02", "no_commit_for", gaps, "s", GAP)
        self.count("C02", "lost_doubled_or_run_again", len(gaps))

    def test_c02_with_long_actions(self):
        """What runs meanwhile is adopted: begun once, ended once."""
        pool = self.make_pool(evil=False)
        traces = os.path.join(pool.folder, "traces")
        with open(traces, "wb"):
            os.chmod(traces, 0o666)
        os.chmod(pool.folder, 0o755)
        self.register("long", load.task("command", Parameters={
            "command": ["sh", "-c", f"echo x >>{traces}; sleep 2.5"],
            "output": "text"}))
        self.begin_load(pool)
        with open(f"/proc/{self.flusher(pool)}/cmdline", "rb") as words:
            if b"--boards" not in words.read():
                self.skipTest("the flusher cannot see yet what runs")
        count = repeats(1, 20)
        for _ in range(count):
            ids = self.begin("long", count=4)
            wait_for("they run", lambda: os.path.getsize(traces) == 8)
            pid = self.flusher(pool)
            os.kill(pid, signal.SIGKILL)
            self.next_flusher(pool, pid)
            self.wait_ended(ids)
            self.assertEqual(self.statuses(ids), {"succeeded"})
            self.assertEqual(self.query(
                "SELECT DISTINCT attempt FROM rappel.history"
                " WHERE instance_id = ANY (%s::uuid[])", ids), [(1,)])
            self.assertEqual(os.path.getsize(traces), 8,
                             "what ran was sent again")
            os.truncate(traces, 0)
        self.assertEqual(set(pool.pids("worker")), self.workers)
        self.assertEqual(self.findings(with_load=False)[:5], [])
        self.assertEqual(self.stop(pool), [])
        self.count("C02", "running_actions_run_again", 4 * count)


class Stopped(FlusherTest):
    # Its supervisor takes it to hang when 5 ticks were not answered.
    HANGS = 6.5

    def test_c03_a_pause(self):
        """3 s: nothing and nobody is replaced."""
        pool = self.make_pool()
        self.begin_load(pool)
        for _ in range(repeats(1, 10)):
            pid = self.flusher(pool)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(3)
            os.kill(pid, signal.SIGCONT)
            self.progress()
            self.assertEqual(self.flusher(pool), pid, pool.log_tail())
        self.all_once(pool)
        self.finish(pool)
        self.count("C03", "replaced_after_3_s", repeats(1, 10))

    def test_c03_for_ever(self):
        pool = self.make_pool()
        self.begin_load(pool)
        taken = []
        for n in range(repeats(1, 10)):
            # One that dies before it is 10 s old is a crash loop's.
            time.sleep(5 if n > 0 else 0)
            pid = self.flusher(pool)
            os.kill(pid, signal.SIGSTOP)
            begun = time.monotonic()
            self.next_flusher(pool, pid, 30)
            taken.append(time.monotonic() - begun)
            self.progress()
        self.figure("C03", "stopped_and_replaced", taken, "s", self.HANGS)
        self.all_once(pool)
        self.finish(pool)
        self.count("C03", "lost_doubled_or_run_again", len(taken))


class AnyProcess(faultkit.FaultTest):
    """SIGKILLs at random among all processes, under load."""
    poison_by_chance = True

    open_wanted = 200

    def test_random_kills(self):
        count = repeats(30, 1000)
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        kinds = {"supervisor": 0, "flusher": 0, "worker": 0}
        for n in range(count):
            if n % 3 == 0:
                pool.wait_running(30)
            self.top_up()
            time.sleep(pools.chance.uniform(0, 0.2))
            found = pool.processes()
            if not found:
                pool.start().wait_running()
                continue
            # A worker is four times as likely as the others: leave half.
            kind = pools.chance.choice(sorted(set(found.values())))
            pid = pools.chance.choice(
                [pid for pid, of in found.items() if of == kind])
            send_signal(pid, signal.SIGKILL)
            kinds[kind] += 1
            if kind == "supervisor":
                pool.process.wait()
                pool.start()
        pool.wait_running(30)
        print(f"killed: {kinds}", flush=True)
        self.progress()
        self.finish(pool)
        self.count("ALL", "lost_or_doubled_by_kills", count)


if __name__ == "__main__":
    faultkit.main()
