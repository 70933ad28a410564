#!/usr/bin/python3
"""What nobody wants any more, and what was silent for too long.

CANCEL, then SIGTERM, then SIGKILL; TimeoutSeconds and HeartbeatSeconds where
several actions share a worker; progress. Played has workers that the test
plays; Pools has real ones (placesworker.py), which keep a record of what they
are told.
"""

import time
import unittest

import databasecase
import harness
import load
import played
from fakesupervisor import CANCEL, RECALL
from patience import patience
from pool import wait_for


setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Played(played.Played):
    def setUp(self):
        super().setUp()
        harness.register(self.conninfo, "beating",
                         load.task("work", HeartbeatSeconds=1))

    def cancel(self, run):
        self.query("SELECT rappel.cancel_workflow(%s)", run)

    def items_of(self, flusher, runs):
        """The item of each, in the order of the runs."""
        of = {item[1].hex(): item for _, _, _, item in flusher.items}
        return [of[run.replace("-", "")] for run in runs]

    def wait_told(self, flusher, kind, count=1):
        return wait_for(f"{count} frames of type {kind}", lambda: len(
            flusher.told(kind)) >= count and flusher.told(kind))[0]

    def progress(self):
        return self.query(
            "SELECT instance_id::text, activation, attempt, state, progress"
            " FROM rappel.action_progress ORDER BY at, instance_id")

    # ---- cancelling ----

    def test_told_at_once_and_ended_after_the_grace(self):
        """With SIGTERM first; what runs beside it is not charged."""
        flusher = self.flusher(quick=False, board=False, concurrency=2,
                               cancel=True, settings={"cancel_grace": "0.4s"})
        runs = self.begin("work", 1, 2)
        self.wait_items(flusher, 2)
        one = self.items_of(flusher, runs)[0]
        begun = time.monotonic()
        self.cancel(runs[0])
        [(slot, spawn, tokens)] = self.wait_told(flusher, CANCEL)
        self.assertEqual((slot, spawn, tokens), (0, 1, [one[0]]))
        told = time.monotonic() - begun
        [(_, _, payload)] = wait_for("it is to be ended", flusher.killed)[0]
        took = time.monotonic() - begun
        print(f"CANCEL after {told * 1000:.0f} ms, KILL after "
              f"{took * 1000:.0f} ms")
        self.assertLess(told, patience(0.3))
        self.assertGreater(took - told, 0.3)
        self.assertEqual(payload["grace_us"], 1000000)
        # It gets nothing more, and the other one runs elsewhere.
        self.begin("work", 3)
        flusher.hello(1, ["work"], board=False, concurrency=4)
        self.wait_items(flusher, 1, 1)
        flusher.gone(0)
        self.wait_items(flusher, 2, 1)
        self.assertEqual({item[3] for item in flusher.of(1)}, {1})
        for item in flusher.of(1):
            flusher.complete(1, 1, item)
        self.wait_statuses(flusher.log, succeeded=2, cancelled=1)
        self.clean()

    def test_one_that_ends_what_it_is_told(self):
        """Its answer counts for nothing, and it lives."""
        flusher = self.flusher(quick=False, board=False, concurrency=1,
                               cancel=True, settings={"cancel_grace": "0.4s"})
        [run] = self.begin("work", 1)
        self.wait_items(flusher, 1)
        self.cancel(run)
        self.wait_told(flusher, CANCEL)
        flusher.complete(0, 1, flusher.of(0)[0])
        self.begin("work", 2)  # its place is free again
        self.wait_items(flusher, 2)
        time.sleep(0.6)
        self.assertEqual(flusher.killed(), [])
        flusher.complete(0, 1, flusher.of(0)[1])
        self.wait_statuses(flusher.log, succeeded=1, cancelled=1)
        self.clean()

    def test_one_that_cannot_be_told(self):
        flusher = self.flusher(quick=False, board=False,
                               settings={"cancel_grace": "0.3s"})
        [run] = self.begin("work", 1)
        self.wait_items(flusher, 1)
        self.cancel(run)
        [(_, _, payload)] = wait_for("it is to be killed", flusher.killed)[0]
        self.assertNotIn("grace_us", payload)
        self.assertEqual(flusher.told(CANCEL), [])

    def test_with_a_scoreboard(self):
        """What it runs is cancelled; what waits is recalled by a swap."""
        flusher = self.flusher(cancel=True)
        runs = self.begin("work", 1, 2)
        self.wait_items(flusher, 2)
        one, two = flusher.of(0)
        flusher.claim(0, one)
        for run in runs:
            self.cancel(run)
        [(_, _, tokens)] = self.wait_told(flusher, CANCEL)
        self.assertEqual(tokens, [one[0]])
        self.assertFalse(flusher.claim(0, two))
        flusher.complete(0, 1, one)
        self.wait_statuses(flusher.log, cancelled=2)
        self.clean()

    def test_one_that_waits_is_asked_back(self):
        """And cancelled when it was begun all the same."""
        flusher = self.flusher(board=False, concurrency=1, cancel=True,
                               recall=True, settings={"cancel_grace": "10s"})
        runs = self.begin("work", 1, 2, 3)
        self.wait_items(flusher, 3)
        first, second, third = flusher.of(0)
        self.wait_told(flusher, RECALL)  # both are behind a slow one
        at = {run.replace("-", ""): run for run in runs}
        for item in (second, third):
            self.cancel(at[item[1].hex()])
        self.wait_statuses(flusher.log, running=1, cancelled=2)
        self.assertEqual(flusher.told(CANCEL), [])
        flusher.give_back(0, 1, [third])
        flusher.complete(0, 1, first)  # the second runs now
        [(_, _, tokens)] = self.wait_told(flusher, CANCEL)
        self.assertEqual(tokens, [second[0]])
        flusher.give_back(0, 1, [second])
        self.wait_statuses(flusher.log, succeeded=1, cancelled=2)
        self.begin("work", 4)
        self.wait_items(flusher, 4)
        self.assertEqual(flusher.killed(), [])
        self.clean()

    # ---- time ----

    def test_a_timeout_beside_others(self):
        """It fails at once, and its worker lives if it answers."""
        flusher = self.flusher(quick=False, board=False, concurrency=3,
                               cancel=True)
        self.begin("timed", 1)
        self.begin("work", 2)
        self.wait_items(flusher, 2)
        [(_, _, tokens)] = self.wait_told(flusher, CANCEL)
        timed, other = sorted(flusher.of(0), key=lambda item: item[7])
        self.assertEqual(tokens, [timed[0]])
        self.wait_statuses(flusher.log, failed=1, running=1)
        self.assertEqual(flusher.killed(), [])
        flusher.complete(0, 1, timed)
        time.sleep(1.3)
        self.assertEqual(flusher.killed(), [])
        # The same, and no answer: it ends, and only the late one pays.
        self.begin("timed", 3)
        [(_, _, payload)] = wait_for("it is to be ended", flusher.killed)[0]
        self.assertEqual(payload["grace_us"], 1000000)
        self.wait_statuses(flusher.log, failed=2, running=1)
        flusher.gone(0)
        flusher.hello(1, ["work"], board=False)
        self.wait_items(flusher, 1, 1)
        [again] = flusher.of(1)
        self.assertEqual(again[1:4], other[1:4])
        flusher.complete(1, 1, again)
        self.wait_statuses(flusher.log, failed=2, succeeded=1)
        self.assertEqual(self.query(
            "SELECT DISTINCT error FROM rappel.instances"
            " WHERE status = 'failed'"), [("States.Timeout",)])
        self.clean()

    def test_a_timeout_alone(self):
        """There is nothing to save: killed at once."""
        flusher = self.flusher(quick=False, board=False, concurrency=1,
                               cancel=True)
        self.begin("timed", 1)
        [(_, _, payload)] = wait_for("it is to be killed", flusher.killed)[0]
        self.assertNotIn("grace_us", payload)
        self.assertEqual(flusher.told(CANCEL), [])
        self.wait_statuses(flusher.log, failed=1)

    def test_heartbeats(self):
        """One that beats lives; one that stops fails a second later."""
        for board in (True, False):
            with self.subTest(board=board):
                flusher = self.flusher(quick=False, board=board)
                self.begin("beating", 1)
                self.wait_items(flusher, 1)
                [item] = flusher.of(0)
                self.assertEqual(item[8:], [1000000])
                flusher.claim(0, item)
                for _ in range(6):
                    time.sleep(0.3)
                    flusher.beat(0, 1, (item[0], None))
                last = time.monotonic()
                self.assertEqual(flusher.killed(), [])
                wait_for("it is to be killed", flusher.killed)
                took = time.monotonic() - last
                print(f"silent for 1 s, {took:.3f} s after its last heartbeat")
                self.assertLess(abs(took - 1), patience(0.2))
                self.wait_statuses(flusher.log, failed=1)
                self.assertEqual(self.query(
                    "SELECT error FROM rappel.instances"),
                    [("States.HeartbeatTimeout",)])
                self.assertEqual(self.progress(), [])
                self.clean()
                self.forget()
                flusher.drain(0)
                flusher.wait_exit(5)

    def test_an_action_without_heartbeats(self):
        """Nobody asked for any: they do no harm."""
        flusher = self.flusher(quick=False)
        self.begin("work", 1)
        self.wait_items(flusher, 1)
        [item] = flusher.of(0)
        self.assertEqual(len(item), 8)
        flusher.claim(0, item)
        flusher.beat(0, 1, (item[0], None), (item[0], {"half": True}))
        wait_for("they are counted",
                 lambda: flusher.status.get("heartbeats") == 2)
        flusher.complete(0, 1, item)
        self.wait_statuses(flusher.log, succeeded=1)

    # ---- progress ----

    def test_progress(self):
        flusher = self.flusher(quick=False, board=False, concurrency=4)
        runs = self.begin("work", 1, 2)
        self.wait_items(flusher, 2)
        one, two = self.items_of(flusher, runs)
        for n in range(5):
            flusher.beat(0, 1, (one[0], {"done": n, "of": "5 \u2603"}),
                         (two[0], n))
        wait_for("it is written", lambda: self.progress() == [
            (runs[0], one[2], 1, "Only", {"done": 4, "of": "5 \u2603"}),
            (runs[1], two[2], 1, "Only", 4)])
        flusher.beat(0, 1, (two[0], [1.5, None]), (one[0], None))
        wait_for("it is written anew, and the other stays", lambda: [
            row[4] for row in self.progress()] == [
                {"done": 4, "of": "5 \u2603"}, [1.5, None]])
        flusher.complete(0, 1, one)
        wait_for("it is gone with its attempt", lambda: [
            row[0] for row in self.progress()] == [runs[1]])
        # With the pool's row goes all.
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.action_progress JOIN"
            " rappel.worker_pools USING (incarnation)"), [(1,)])
        self.query("DELETE FROM rappel.worker_pools")
        self.assertEqual(self.progress(), [])

    def test_progress_of_nothing_it_has(self):
        flusher = self.flusher(slots=2, quick=False, board=False)
        self.begin("beating", 1, 2)
        self.wait_items(flusher, 2)
        [mine], [theirs] = flusher.of(0), flusher.of(1)
        flusher.beat(0, 1, (theirs[0], "stolen"), (1, "none"), (0, "none"),
                     (2 ** 64 - 1, "none"))
        wait_for("they are counted", lambda: flusher.status.get(
            "heartbeats_stray") == 4)
        self.assertEqual(flusher.status["heartbeats"], 0)
        self.assertEqual(flusher.killed(), [])
        # Another's lie does not keep it alive either.
        for _ in range(5):
            flusher.beat(0, 1, (mine[0], None), (theirs[0], None))
            time.sleep(0.3)
        [(slot, _, _)] = wait_for("it is to be killed", flusher.killed)[0]
        self.assertEqual(slot, 1)
        self.assertEqual(self.progress(), [])

    def test_progress_that_cannot_be(self):
        """Too long, or no JSON: the heartbeat counts, and it is said once."""
        flusher = self.flusher(quick=False, board=False)
        self.begin("beating", 1)
        self.wait_items(flusher, 1)
        [item] = flusher.of(0)
        for value in ("x" * 5000, b"bytes", {1: 2}, {"a": b"b"}, "x" * 5000):
            time.sleep(0.3)
            flusher.beat(0, 1, (item[0], value))
        wait_for("they are counted",
                 lambda: flusher.status.get("heartbeats") == 5)
        self.assertEqual(flusher.log().count("progress dropped"), 1)
        self.assertIn("more than 4096", flusher.log())
        flusher.beat(0, 1, (item[0], "x" * 4000))
        wait_for("one that can is written",
                 lambda: [row[4] for row in self.progress()] == ["x" * 4000])
        self.assertEqual(flusher.killed(), [])

    def test_a_heartbeat_that_is_none(self):
        """Costs that worker its life, and nobody else anything."""
        flusher = self.flusher(slots=0, quick=False)
        for spawn, payload in enumerate(
                (b"\xc0", b"\x91\x05", b"\x91\x91\x05", b"\x91\x92\xa1x\xc0",
                 b"\x91\x92\x05\xc1", b"\x92\x92\x05\xc0"), 1):
            with self.subTest(payload=payload):
                flusher.hello(0, ["work"], spawn=spawn)
                flusher.send_raw(22, 0, spawn, 1, payload)
                wait_for("it is to be killed", lambda n=spawn: [
                    k for k in flusher.killed() if k[1] == n])
                flusher.gone(0, spawn)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=99)
        self.begin("work", 1)
        self.wait_statuses(flusher.log, succeeded=1)


class Pools(played.Pools):
    worker = "placesworker.py"

    def setUp(self):
        super().setUp()
        harness.register(self.conninfo, "beating",
                         load.task("work", HeartbeatSeconds=1))

    def moments(self, pool, *names):
        """When each of these was first recorded, in ms from the first on."""
        found = {}
        for what, at, *_ in self.record(pool):
            found.setdefault(what, at)
        return [(found[name] - found[names[0]]) / 1000 for name in names]

    def wait_recorded(self, pool, what, count=1):
        wait_for(f"{count} times {what}",
                 lambda: len(self.record(pool, what)) >= count)

    def test_cancelled(self):
        """The running code hears of it, ends, and its worker lives on."""
        pool = self.pool(1, 2, 2)
        [run] = self.begin("work", {"seconds": 60})
        self.wait_recorded(pool, "START")
        begun = time.monotonic()
        self.query("SELECT rappel.cancel_workflow(%s)", run)
        self.wait_recorded(pool, "END")
        print(f"ended {(time.monotonic() - begun) * 1000:.0f} ms after"
              " the cancel")
        self.assertLess(time.monotonic() - begun, patience(0.5))
        self.begin("work", 1)
        self.wait_statuses(pool.log_tail, cancelled=1, succeeded=1)
        self.assertEqual({r[5] for r in self.record(pool)}, {1})
        self.assertEqual(self.record(pool, "TERM"), [])

    def test_told_then_asked_then_killed(self):
        """CANCEL, SIGTERM after the grace, SIGKILL a second later; what ran
        beside it runs anew, not charged."""
        pool = self.pool(1, 2, 2, cancel_grace="0.5s")
        run, other = self.begin(
            "work", {"seconds": 60, "deaf": True, "stubborn": True},
            {"seconds": 3})
        self.wait_recorded(pool, "START", 2)
        [pid] = pool.pids("worker")
        self.query("SELECT rappel.cancel_workflow(%s)", run)
        self.wait_recorded(pool, "TERM")
        asked = time.monotonic()
        wait_for("it is dead", lambda: pid not in pool.pids("worker"))
        dead = time.monotonic() - asked
        _, term = self.moments(pool, "CANCEL", "TERM")
        print(f"SIGTERM {term:.0f} ms after CANCEL,"
              f" dead {dead * 1000:.0f} ms after that")
        self.assertLess(abs(term - 500), patience(200))
        self.assertLess(abs(dead - 1), patience(0.3))
        self.wait_statuses(pool.log_tail, cancelled=1, succeeded=1)
        self.assertEqual([(r[3], r[5]) for r in self.record(pool, "START")
                          if r[2] == other.replace("-", "")],
                         [(1, 1), (1, 2)])
        self.clean()

    def test_progress_and_silence(self):
        """Three steps, then nothing for longer than HeartbeatSeconds."""
        pool = self.pool(1, 2, 2, cancel_grace="10s")
        steps = [{"step": n} for n in range(1, 4)]
        self.begin("beating", {"beats": steps, "seconds": 60})
        self.begin("work", {"beats": ["a"] * 30})
        wait_for("the last step can be seen", lambda: self.query(
            "SELECT 1 FROM rappel.action_progress"
            " WHERE progress::text = %s", '{"step":3}'))
        self.wait_recorded(pool, "CANCEL")
        self.wait_statuses(pool.log_tail, failed=1, succeeded=1)
        self.assertEqual(self.query("SELECT error FROM rappel.instances"
                                    " WHERE status = 'failed'"),
                         [("States.HeartbeatTimeout",)])
        wait_for("it is gone with its attempt", lambda: self.query(
            "SELECT count(*) FROM rappel.action_progress") == [(0,)])
        self.assertEqual({r[5] for r in self.record(pool)}, {1})
        self.clean()


if __name__ == "__main__":
    unittest.main(verbosity=2)
