#!/usr/bin/python3
"""Faults E01, E04, E09, E10: the supervisor killed, starved, stopped."""

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

POINTS = ("route.dispatch", "route.completion", "route.completion_kept",
          "reap.child")


class Killed(faultkit.FaultTest):
    """E01: all of it goes, a new one starts beside what still dies."""

    def gone_and_back(self, pool, died):
        """Seconds until nothing is left, and until a new one works."""
        old = set(pool.processes()) - {pool.process.pid}
        pool.process.wait()
        pool.start()
        pool.wait_running()
        back = time.monotonic() - died
        wait_for("what the dead one left is gone",
                 lambda: not old & set(pool.processes()), 10)
        gone = time.monotonic() - died
        return gone, back

    def test_e01_every_stage(self):
        gone, back = [], []
        for point in POINTS:
            pool = self.make_pool().fault(f"{point}:kill")
            pool.start().wait_running()
            self.top_up()
            for _ in range(repeats(1, 50)):
                self.progress()
                pool.arm()
                if point == "reap.child":
                    pool.kill("worker")
                wait_for("the point is reached", lambda p=pool: (
                    self.top_up(self.open_wanted + 10) or p.has_fired()))
                died = time.monotonic()
                one, two = self.gone_and_back(pool, died)
                gone.append(one)
                back.append(two)
            self.finish(pool)
        self.figure("E01", "all_gone", gone, "s", 5)
        self.figure("E01", "new_one_works", back, "s", 2)
        self.count("E01", "lost_or_doubled", len(gone))

    def test_e01_every_system_call(self):
        problem = faultkit.Strace.problem()
        if problem:
            self.skip_fault("E01", problem)
        pool = self.make_pool()
        pool.start().wait_running()
        back = []
        for nth in range(1, repeats(5, 150) + 1):
            self.top_up()
            self.progress(10)
            pid = pool.process.pid
            with self.subTest(nth=nth, seed=pools.SEED), \
                    faultkit.Strace(pid, f"inject=all:signal=KILL:when={nth}"
                                    "+"):
                wait_for("it is killed",
                         lambda: pool.process.poll() is not None, 10, 0.002)
                back.append(self.gone_and_back(pool, time.monotonic())[1])
        self.figure("E01", "new_one_works_in_the_sweep", back, "s", 2)
        self.finish(pool)
        self.count("E01", "lost_or_doubled_in_the_sweep", len(back))

    def test_e01_power_off(self):
        """Supervisor, flusher and workers at once."""
        pool = self.make_pool()
        pool.start().wait_running()
        back = []
        for _ in range(repeats(1, 20)):
            self.top_up()
            self.progress()
            pool.kill_all()
            died = time.monotonic()
            back.append(self.gone_and_back(pool, died)[1])
        self.figure("E01", "same_host_again", back, "s", 2)
        self.finish(pool)
        self.count("E01", "lost_or_doubled_by_power_off", len(back))


class Starved(faultkit.FaultTest):
    def test_e04_fork_fails(self):
        if not faultkit.has_setting("worker_stopped"):
            self.skipTest("this rappeld backs off from a fork that fails "
                          "as from a program that does")
        problem = faultkit.Strace.problem()
        if problem:
            self.skip_fault("E04", problem)
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        with faultkit.Strace(pool.process.pid, "inject=clone,clone3,fork,"
                             "vfork:error=EAGAIN"):
            begun = time.monotonic()
            lines = len(pool.log_lines("supervisor"))
            for pid in pool.pids("worker")[:2]:
                send_signal(pid, signal.SIGKILL)
            for _ in range(repeats(1, 10)):
                self.progress(100)
                wait_for("it tried for a while", lambda: time.monotonic()
                         - begun > repeats(4, 40), 60)
            lines = len(pool.log_lines("supervisor")) - lines
            seconds = time.monotonic() - begun
            self.assertIsNone(pool.process.poll())
        # Deaths are told, too, and the first failure at once.
        self.figure("E04", "log_lines_in_10_s",
                    max(0, lines - 5) / max(1, seconds / 10), "", 1)
        begun = time.monotonic()
        pool.wait_running(40)
        self.figure("E04", "full_width_again", time.monotonic() - begun,
                    "s", 2)
        self.finish(pool)
        self.count("E04", "lost_or_doubled", 1)


class Backlog(faultkit.FaultTest):
    """E09: what waits makes no difference to a stop."""

    GRACE = 1.5

    def stop_busy(self, waiting, busy):
        """Seconds from TERM to the exit, with some that ignore TERM."""
        self.register("deaf", load.task("command", Parameters={
            "command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; "
                        "done"]}))
        self.register("sleep", load.task("sleep"))
        self.register("noop", load.task("noop"))
        pool = self.make_pool(evil=False, workers=busy,
                              shutdown_grace=f"{self.GRACE}s")
        running = self.begin("deaf", count=busy // 4)
        running += self.begin("sleep", {"seconds": 1000},
                              count=busy - busy // 4)
        pool.start().wait_running(60)
        wait_for("they run", lambda: pool.flusher_status().get(
            "actions_running") == busy, 60)
        if waiting:
            self.query("SELECT count(*) FROM rappel.start_workflows('noop',"
                       " array_fill('{}'::json, ARRAY[%s]))", waiting)
        code, took = pool.stop()
        self.assertEqual((code, pool.leftovers()), (0, []), pool.log_tail())
        self.assertEqual(self.statuses(running), {"queued"})
        self.assertEqual(checker.stopped(self.connection), [])
        self.assertEqual(checker.journal(self.connection), [])
        self.query("DELETE FROM rappel.workflow_instances")
        return took

    def test_e09_term_with_a_backlog(self):
        busy = repeats(16, 64)
        waiting = 500000 if FULL else 20000
        none, many = [], []
        for _ in range(repeats(1, 3)):
            none.append(self.stop_busy(0, busy))
            many.append(self.stop_busy(waiting, busy))
        self.figure("E09", f"exit_with_{waiting}_waiting_{busy}_running",
                    many, "s", self.GRACE + 1)
        self.figure("E09", "against_an_empty_queue",
                    [a / b * 100 for a, b in zip(many, none)], "%", 110)

    def test_e09_another_goes_on(self):
        """A hand-back is no takeover: the other pool has it at once."""
        self.register("hang", load.task("hang"))
        pool = self.make_pool(shutdown_grace="0.3s")
        other = self.make_pool(name="two")
        taken = []
        for _ in range(repeats(1, 10)):
            pool.start().wait_running()
            ids = self.begin("hang", count=4)
            wait_for("they run", lambda: self.statuses(ids) == {"running"})
            other.start().wait_running()
            self.assertEqual(pool.stop()[0], 0)
            begun = time.monotonic()
            wait_for("the other holds them", lambda: self.query(
                "SELECT count(*) FROM rappel.workflow_instances i"
                " JOIN rappel.worker_pools p ON p.incarnation = i.owner"
                " WHERE p.name = 'two' AND i.id = ANY (%s::uuid[])", ids)
                == [(4,)], 15)
            taken.append(time.monotonic() - begun)
            other.release_hanging()
            self.wait_ended(ids)
            os.unlink(other.record + ".release")
            self.assertEqual(self.stop(other), [])
        self.figure("E09", "the_other_goes_on", taken, "s", 1)
        self.assertEqual(checker.stopped(self.connection), [])


class Signals(faultkit.FaultTest):
    """E10: any signal at any time."""

    def hanging(self, pool, count=4):
        self.register("hang", load.task("hang"))
        ids = self.begin("hang", count=count)
        wait_for("they hang", lambda: self.statuses(ids) == {"running"})
        return ids

    def test_e10_storm(self):
        """1,000 signals a second that mean nothing; workers die amid it."""
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        numbers = (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE,
                   signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2,
                   signal.SIGWINCH)
        until = time.monotonic() + repeats(2, 20)
        sent = 0
        while time.monotonic() < until:
            for number in numbers:
                os.kill(pool.process.pid, number)
            sent += len(numbers)
            if sent % 700 == 0:
                pool.kill("worker")
            time.sleep(0.005)
        self.assertIsNone(pool.process.poll(), pool.log_tail())
        self.figure("E10", "all_workers_again", pool.wait_running(), "s", 2)
        self.progress()
        self.finish(pool)
        self.count("E10", "deaths_missed_in_a_storm", sent)

    def states(self):
        """Name, and what brings a started pool into it."""
        return {
            "starting": lambda pool: time.sleep(
                pools.chance.uniform(0, 0.15)),
            "running": lambda pool: (pool.wait_running(),
                                     self.hanging(pool)),
            "idle": lambda pool: pool.wait_running(),
            "reloading": lambda pool: (pool.wait_running(), os.kill(
                pool.process.pid, signal.SIGHUP)),
            "draining": lambda pool: (
                pool.wait_running(), self.hanging(pool),
                pools.control(pool.dir, "drain")),
            "drained": lambda pool: (
                pool.wait_running(), pools.control(pool.dir, "drain"),
                wait_for("it is drained", lambda: pool.status().get("phase")
                         == "drained")),
            "without flusher": lambda pool: (
                pool.wait_running(), pool.kill("flusher")),
            "flusher stopped": lambda pool: (
                pool.wait_running(), pool.kill("flusher", signal.SIGSTOP)),
            "without workers": lambda pool: (
                pool.wait_running(), [send_signal(pid, signal.SIGKILL)
                                      for pid in pool.pids("worker")]),
            "workers stopped": lambda pool: (
                pool.wait_running(), [send_signal(pid, signal.SIGSTOP)
                                      for pid in pool.pids("worker")]),
            "fenced": lambda pool: (
                pool.wait_running(), self.query(
                    "DELETE FROM rappel.worker_pools")),
            "database away": lambda pool: (
                pool.wait_running(), faultkit.cluster().stop("immediate"),
                wait_for("it says so", lambda: pool.status().get("phase")
                         == "database-away")),
        }

    def in_every_state(self, numbers, grace, states):
        """The times from the last signal to the exit."""
        took = {}
        for name, enter in states.items():
            if not faultkit.cluster().is_running():
                faultkit.cluster().start()
                self.connection.close()
                self.connect()
            pool = self.make_pool(shutdown_grace=f"{grace}s")
            pool.start()
            with self.subTest(state=name, seed=pools.SEED):
                enter(pool)
                for number in numbers[:-1]:
                    send_signal(pool.process.pid, number)
                    wait_for("it drains, or is gone", lambda p=pool: (
                        p.process.poll() is not None or p.status().get(
                            "phase") in ("draining", "drained")), 5)
                if pool.process.poll() is None:
                    took[name] = pool.stop(numbers[-1])[1]
                wait_for("nothing is left",
                         lambda p=pool: not p.processes(), 5)
                left = [what for what in pool.leftovers()
                        if what != "file spool"]
                self.assertEqual(left, [], pool.log_tail())
            for pid in pool.processes():
                send_signal(pid, signal.SIGKILL)
            pool.process.wait()
            # The next one would have to wait for them again.
            if faultkit.cluster().is_running():
                self.query("DELETE FROM rappel.workflow_instances")
        print(f"{self.id()}: " + ", ".join(
            f"{name} {seconds:.2f} s" for name, seconds in took.items()),
            flush=True)
        if not faultkit.cluster().is_running():
            faultkit.cluster().start()
        return list(took.values())

    def some_states(self):
        """All of them in the full tier."""
        return {name: enter for name, enter in self.states().items()
                if FULL or name in ("running", "draining",
                                    "flusher stopped")}

    def test_e10_term_in_every_state(self):
        took = self.in_every_state([signal.SIGTERM], 1, self.states())
        self.assertEqual(len(took), 12)
        self.figure("E10", "term_longest_in_12_states", max(took), "s",
                    1 + 1)

    def test_e10_second_term(self):
        states = self.some_states()
        took = self.in_every_state([signal.SIGTERM, signal.SIGTERM], 60,
                                   states)
        self.figure("E10", f"second_term_longest_in_{len(states)}_states",
                    max(took), "s", 3)

    def test_e10_quit(self):
        states = self.some_states()
        took = self.in_every_state([signal.SIGQUIT], 60, states)
        self.figure("E10", f"quit_longest_in_{len(states)}_states",
                    max(took), "s", 1)


if __name__ == "__main__":
    faultkit.main()
