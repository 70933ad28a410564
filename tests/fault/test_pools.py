#!/usr/bin/python3
"""Faults E02, E03, E08: pools that sleep, hold locks, or want the same."""

import os
import signal
import time
import unittest

import checker
import faultkit
import harness
import load
import pool as pools
from faultkit import FULL, QUICK, freeze, repeats, thaw
from pool import wait_for

# Timings of a pool in this file: half of the defaults in the push tier.
TIMINGS = {} if FULL else QUICK
LEASE = 10 if FULL else 5
OTHER_HOST = LEASE * 1.2


def in_old_hands(zombies):
    """ignore() for FaultTest.findings(): what begins in the moment before the
    fence is noticed is no violation. Its effect happens again, its result does
    not count. zombies: processes that were frozen, when they were woken."""
    return lambda line: any(
        line.pid in frozen and woken <= line.wall_us <= woken + 2000000
        for frozen, woken in zombies)


class PoolsTest(faultkit.FaultTest):
    def incarnation(self, pool):
        return pool.flusher_status().get("incarnation")

    def holders(self):
        return dict(self.query(
            "SELECT p.name, count(i.id) FROM rappel.worker_pools p"
            " LEFT JOIN rappel.workflow_instances i"
            "  ON i.owner = p.incarnation GROUP BY 1"))


class Zombies(PoolsTest):
    """E02: a pool that slept through its own death."""

    def test_e02_all_of_it(self):
        one = self.make_pool(name="one", **TIMINGS)
        two = self.make_pool(name="two", **TIMINGS)
        one.start().wait_running()
        two.start().wait_running()
        taken, back, zombies = [], [], []
        for _ in range(repeats(1, 20)):
            self.top_up(200)
            wait_for("both work", lambda: min(
                self.holders().get(name, 0) for name in ("one", "two")) > 10)
            before = self.incarnation(one)
            frozen = set(one.processes())
            freeze(one)
            begun = time.monotonic()
            wait_for("the other has its work", lambda: (
                self.top_up(200) or "one" not in self.holders()),
                3 * OTHER_HOST + 2)
            taken.append(time.monotonic() - begun)
            time.sleep(LEASE / 5)
            rows = self.query("SELECT count(*) FROM rappel.worker_pools")
            self.assertEqual(rows, [(1,)])
            woken = time.time_ns() // 1000
            thaw(one)
            begun = time.monotonic()
            wait_for("it is back as somebody new", lambda: (
                one.is_running() and self.incarnation(one) != before and
                "one" in self.holders()), 15)
            back.append(time.monotonic() - begun)
            # What it had in hand it may end; nothing begins in old hands.
            zombies.append((frozen, woken))
            late = [line for line in checker.read_record(one.record)
                    if line.what == "START" and line.pid in frozen and
                    line.wall_us > woken + 2000000 and
                    line.pid not in one.processes()]
            self.assertEqual(late, [])
        limit = 12 if FULL else OTHER_HOST + 0.6
        self.figure("E02", "takeover_by_another_host", taken, "s", limit)
        self.figure("E02", "back_as_somebody_new", back, "s", 5)
        self.finish(one, two, ignore=in_old_hands(zombies))
        self.count("E02", "of_the_old_life_written", len(taken))

    def test_e02_default_timings(self):
        """As they are delivered: one pool is killed outright, another has a
        supervisor that hangs, so that its flusher gives up the lease."""
        killed, hung = self.make_pool(name="killed"), self.make_pool(
            name="hung", workers=1)
        heir = self.make_pool(name="heir")
        taken = {"killed": [], "hung": []}
        for _ in range(repeats(1, 20)):
            for pool in (killed, hung, heir):
                if pool.process is None or pool.process.poll() is not None:
                    pool.start()
                pool.wait_running()
            wait_for("all work", lambda: (self.top_up(300) or min(
                self.holders().get(name, 0) for name in taken) > 5))
            killed.kill_all()
            os.kill(hung.process.pid, signal.SIGSTOP)
            killed.process.wait()
            begun = time.monotonic()
            left = dict(taken)

            def all_taken(left=left, begun=begun):
                self.top_up(100)
                for name in set(left) - set(self.holders()):
                    left.pop(name).append(time.monotonic() - begun)
                return not left
            wait_for("the heir has their work", all_taken, 40)
            os.kill(hung.process.pid, signal.SIGCONT)
            self.assertGreater(taken["killed"][-1], 7, "dead too early")
        self.figure("E02", "killed_and_taken_over", taken["killed"], "s", 12)
        self.figure("E02", "hanging_supervisor_taken_over", taken["hung"],
                    "s", 15)
        self.finish(heir, hung)
        self.count("E02", "lost_or_doubled", 2 * len(taken["hung"]))

    def test_e02_supervisor_alone(self):
        """3 s without its supervisor: nothing happens at all."""
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        before = self.incarnation(pool)
        for _ in range(repeats(1, 20)):
            os.kill(pool.process.pid, signal.SIGSTOP)
            time.sleep(3)
            os.kill(pool.process.pid, signal.SIGCONT)
            self.progress()
        self.assertEqual(self.incarnation(pool), before)
        self.finish(pool)
        self.count("E02", "replaced_after_3_s", repeats(1, 20))

    def test_e03_with_locks_held(self):
        """Stopped in the middle of a transaction: its backend holds the
        fence, and waits for a lock; nobody waits for it in turn."""
        one = self.make_pool(name="one", **TIMINGS)
        two = self.make_pool(name="two", **TIMINGS)
        taken = []
        for _ in range(repeats(1, 20)):
            one.start().wait_running()
            self.register("hang", load.task("hang"))
            ids = self.begin("hang", count=2)
            self.top_up(50)
            wait_for("it works", lambda: self.holders().get("one", 0) >= 2)
            two.start().wait_running()
            locker = faultkit.cluster().connect(self.database)
            with locker.cursor() as cursor:
                cursor.execute("LOCK TABLE rappel.action_log IN SHARE MODE")
            wait_for("a batch waits for the lock", lambda: (
                self.top_up(60) or self.query(
                    "SELECT 1 FROM pg_stat_activity WHERE application_name"
                    " = 'rappel writer' AND wait_event_type = 'Lock'"
                    "  AND datname = current_database()")), 10, 0.005)
            freeze(one)
            begun = time.monotonic()
            locker_gone = False
            try:
                wait_for("the other took over", lambda: "one" not in
                         self.holders(), 3 * OTHER_HOST + 5)
                locker.close()
                locker_gone = True
                wait_for("it runs what that one held", lambda: (
                    os.path.exists(two.record) and
                    {line.instance for line in checker.read_record(
                        two.record)} >= {one_id.replace("-", "")
                                         for one_id in ids}), 10)
            finally:
                if not locker_gone:
                    locker.close()
            taken.append(time.monotonic() - begun)
            for pid in one.processes():
                pools.send_signal(pid, signal.SIGKILL)
            one.process.wait()
            two.release_hanging()
            self.wait_ended(ids)
            wait_for("all instances end",
                     lambda: self.load.open_count() == 0, 60, 0.05)
            self.assertEqual(self.stop(two), [])
            os.unlink(two.record + ".release")
        limit = 12 if FULL else OTHER_HOST + 2
        self.figure("E03", "first_dispatch_of_the_successor", taken, "s",
                    limit)
        self.assertEqual(self.findings(with_load=False)[:5], [])
        self.count("E03", "lost_or_doubled", len(taken))


class Rivals(PoolsTest):
    """E08: one instance has one owner; one directory has one daemon."""

    def test_e08_the_same_rows(self):
        self.register("noop", load.task("noop"))
        count, width = repeats(2000, 20000), 8 if FULL else 3
        for _ in range(repeats(1, 5)):
            rivals = [self.make_pool(evil=False, workers=1, name=f"p{n}")
                      for n in range(width)]
            ids = self.begin("noop", count=count)
            for pool in rivals:  # all at once
                pool.start()
            for pool in rivals:
                pool.wait_running()
            self.wait_ended(ids)
            self.assertEqual(self.query(
                "SELECT count(*) FROM public.status_audit WHERE after ="
                " 'running'"), [(count,)])
            self.assertEqual(self.query(
                "SELECT count(*) FROM public.status_audit WHERE after ="
                " 'succeeded'"), [(count,)])
            wait_for("each has told of its claims", lambda r=rivals: sum(
                pool.flusher_status().get("instances_claimed", 0)
                for pool in r) == count, 10)
            claims = [pool.flusher_status() for pool in rivals]
            average = max(one["start_unstarted_avg_us"] for one in claims)
            self.assertEqual(self.findings(with_load=False)[:5], [])
            for pool in rivals:
                self.assertEqual(self.stop(pool), [])
            self.query("TRUNCATE public.status_audit")
        self.figure("E08", f"a_claim_of_{width}_pools", average / 1000, "ms",
                    50)
        self.count("E08", "double_owners", count * repeats(1, 5))

    def test_e08_second_daemon(self):
        pool = self.make_pool(evil=False)
        pool.start().wait_running()
        took = []
        for _ in range(repeats(2, 20)):
            second = faultkit.EvilPool(self.conninfo, folder=pool.folder)
            begun = time.monotonic()
            second.start()
            code, _ = second.wait_exit(10)
            took.append(time.monotonic() - begun)
            self.assertEqual(code, 75)
            self.assertTrue(pool.status()["ok"], "the socket is gone")
        self.figure("E08", "second_daemon_refused", took, "s", 1)
        self.finish(pool)

    def test_e08_killed_and_back_with_its_name(self):
        """A name is a label: what the fence asks is the incarnation."""
        first = self.make_pool(name="same", **TIMINGS)
        second = self.make_pool(name="same", **TIMINGS)
        first.start().wait_running()
        self.top_up(100)
        self.progress()
        frozen = set(first.processes())
        freeze(first)
        second.start().wait_running()
        wait_for("the first is taken for dead", lambda: self.query(
            "SELECT count(*) FROM rappel.worker_pools") == [(1,)],
            3 * OTHER_HOST + 2)
        woken = time.time_ns() // 1000
        thaw(first)
        first.wait_running()
        self.top_up(100)
        self.finish(first, second, ignore=in_old_hands([(frozen, woken)]))
        self.count("E08", "same_name_doubled", 1)


if __name__ == "__main__":
    faultkit.main()
