#!/usr/bin/python3
"""A flusher's successor: what was kept is applied, not run again.

The supervisor is fakesupervisor.py: it kills one flusher, and gives the next
one in the same directory what it kept.
"""

import os
import time
import unittest
import uuid

import checker
import databasecase
import fakesupervisor
import harness
import load
from fakesupervisor import Flusher
from patience import patience
from pool import wait_for


setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Adopting(databasecase.DatabaseCase):
    def setUp(self):
        super().setUp()
        checker.install_audit(self.connection)
        harness.register(self.conninfo, "hold", load.task("hold"))
        harness.register(self.conninfo, "two", {
            "StartAt": "A", "States": {
                "A": {"Type": "Task", "Resource": "hold", "Next": "B"},
                "B": {"Type": "Task", "Resource": "hold", "End": True}}})

    def begin(self, workflow, count):
        return [row[0] for row in self.query(
            "SELECT rappel.start_workflows(%s, (SELECT array_agg('1'::json)"
            " FROM generate_series(1, %s)))::text", workflow, count)]

    def first(self, workflow, count):
        """A flusher that has dispatched, and is killed; what it held."""
        flusher = Flusher(self, self.conninfo)
        flusher.start().hello(0, ["hold"], window=1024).wait_working()
        self.begin(workflow, count)
        return flusher

    def die(self, flusher):
        flusher.process.kill()
        flusher.process.wait()
        flusher.end()

    def successor(self, before, kept, hello=True):
        flusher = Flusher(self, self.conninfo)
        flusher.folder = before.folder
        flusher.log_path = before.log_path
        flusher.kept = kept
        flusher.start()
        if hello:
            flusher.hello(0, ["hold"], spawn=2)
        return flusher.wait_working()

    def wait_acked(self, flusher, count):
        wait_for(f"{count} frames are acknowledged",
                 lambda: flusher.acked >= count)
        self.assertEqual(flusher.acked, count)

    def clean(self):
        self.assertEqual(checker.journal(self.connection), [])

    def answers(self, held):
        return [(slot, spawn, 1, [fakesupervisor.answer(item)])
                for slot, spawn, item in held]

    def test_kept_completions_are_not_run_again(self):
        before = self.first("two", 1)
        before.wait_held(1)
        self.die(before)
        after = self.successor(before, self.answers(before.held))
        # A is applied, B is dispatched; A is never seen again.
        after.wait_held(1)
        self.assertEqual([item[4:6] for _, _, item in after.held],
                         [["hold", 0]])
        self.assertNotEqual(after.held[0][2][2], before.held[0][2][2])
        self.wait_acked(after, 1)
        after.release()
        wait_for("it ends", lambda: self.statuses() == {"succeeded": 1})
        self.assertEqual(len(after.seen), 1)
        wait_for("it is counted",
                 lambda: after.status.get("actions_adopted") == 1)
        self.clean()

    def test_nothing_is_judged_before_all_is_here(self):
        before = self.first("hold", 3)
        wait_for("held", lambda: len(before.held) == 1)
        self.die(before)
        after = Flusher(self, self.conninfo)
        after.folder, after.log_path = before.folder, before.log_path
        after.kept = self.answers(before.held)
        after.left = 1
        after.start()
        # The worker that was announced is not here: nothing is claimed.
        after.wait_working()
        self.assertEqual(after.seen, [])
        after.hello(0, ["hold"], spawn=2)
        after.release()
        wait_for("they end", lambda: self.statuses() == {"succeeded": 3})
        self.assertEqual(len(after.seen), 2)
        self.wait_acked(after, 3)
        self.clean()

    def test_what_was_committed_is_dropped(self):
        """The answer was written, and its ACK did not arrive."""
        before = self.first("two", 1)
        before.wait_held(1)
        kept = self.answers(before.held)
        before.send(fakesupervisor.COMPLETION, *kept[0])
        before.wait_held(2)  # B, so A is committed
        self.die(before)
        after = self.successor(before, kept * 2)
        after.wait_held(1)
        self.wait_acked(after, 2)
        self.assertEqual(after.status["actions_adopted"], 0)
        after.release()
        wait_for("it ends", lambda: self.statuses() == {"succeeded": 1})
        self.clean()

    def test_twice_and_of_nobody(self):
        before = self.first("hold", 1)
        before.wait_held(1)
        self.die(before)
        kept = self.answers(before.held)
        token, instance, activation, attempt = kept[0][3][0][:4]
        strange = [
            [token, bytes(16), activation, attempt, 0, 1, "no instance"],
            [token, instance, 77, attempt, 0, 1, "no activation"],
            [token, instance, activation, 7, 0, 1, "no attempt"]]
        after = self.successor(before, [
            (0, 1, 3, strange), kept[0], (1, 4, 1, [
                [1, instance, activation, attempt, 1, 1, "E", "second"]])])
        wait_for("it ends", lambda: self.statuses() == {"succeeded": 1})
        self.wait_acked(after, 3)
        self.assertEqual(after.seen, [])
        self.clean()

    def test_failures_and_large_values(self):
        before = self.first("hold", 2)
        before.wait_held(1)
        before.send(fakesupervisor.HELLO, 1, 1, 0, {
            "protocol": 1, "pid": 1, "actions": ["hold"], "window": 1})
        before.wait_held(2)
        self.die(before)
        one, two = [item for _, _, item in before.held]
        big = "x" * 900000
        after = self.successor(before, [
            (0, 1, 2, [[*one[:4], 1, 5, "My.Error", "it broke"],
                       [*two[:4], 0, 5, big]])])
        wait_for("they end", lambda: self.statuses() == {
            "failed": 1, "succeeded": 1})
        self.assertEqual(self.query(
            "SELECT error FROM rappel.instances WHERE status = 'failed'"),
            [("My.Error",)])
        self.assertEqual(self.query(
            "SELECT length(output #>> '{}') FROM rappel.instances"
            " WHERE status = 'succeeded'"), [(len(big),)])
        self.wait_acked(after, 1)
        self.clean()

    def test_thousands(self):
        before = self.first("two", 1000)
        before.release()
        wait_for("some are committed", lambda: self.query(
            "SELECT count(*) > 300 FROM rappel.action_log")[0][0])
        before.holding = True
        self.die(before)
        # Everything it was ever answered: most of it was written.
        after = self.successor(before, [
            (0, 1, 1, [[99, *seen[:3], 0, 3, 1]]) for seen in before.seen])
        after.release()
        try:
            wait_for("they end",
                     lambda: self.statuses() == {"succeeded": 1000}, 30)
        except AssertionError as why:
            raise AssertionError(
                f"{why}: {self.statuses()} {after.frames} {after.status}\n"
                + after.log()) from None
        ran = [seen[:3] for seen in before.seen + after.seen]
        self.assertEqual(len(ran), len(set(ran)), "an attempt ran twice")
        self.clean()

    def mark(self, flusher, instance):
        """As if it had died while the engine was at that instance."""
        with open(os.path.join(flusher.folder, "mark"), "r+b") as file:
            file.write(uuid.UUID(instance).bytes + b"\1\0\0\0")

    def test_an_instance_that_kills_flushers_is_set_aside(self):
        harness.register(self.conninfo, "four", {
            "StartAt": "1", "States": {
                str(n): {"Type": "Task", "Resource": "hold",
                         **({"Next": str(n + 1)} if n < 4
                            else {"End": True})} for n in range(1, 5)}})
        before = Flusher(self, self.conninfo)
        before.start().hello(0, ["hold"], window=1024).wait_working()
        poison, moves, other = self.begin("four", 3)
        for deaths in range(1, 4):
            wait_for("all of them run",
                     lambda: self.statuses() == {"running": 3})
            self.die(before)
            self.mark(before, poison)
            before = self.successor(before, [])
            wait_for("it is counted", lambda: (deaths,) in self.query(
                "SELECT deaths FROM rappel.instance_deaths"))
        self.assertEqual(self.query(
            "SELECT id::text, reason FROM rappel.instances"
            " WHERE status = 'blocked'"),
            [(poison, "3 flushers died working on it")])
        # One that gets on in between is not the one that kills.
        for entries in range(1, 4):
            self.die(before)
            self.mark(before, moves)
            before = self.successor(before, [])
            held, _ = wait_for("it runs", lambda f=before: [
                one for one in f.held
                if one[2][1] == uuid.UUID(moves).bytes])
            before.complete(*held[0])
            wait_for("an entry", lambda count=entries: self.query(
                "SELECT count(*) FROM rappel.history"
                " WHERE instance_id = %s", moves) == [(count,)])
        before.release()
        wait_for("the others end", lambda: self.statuses() == {
            "blocked": 1, "succeeded": 2})
        self.assertIsNotNone(other)
        before.drain()
        self.assertEqual(before.wait_exit(5), 0)

    def test_a_supervisor_that_hangs_loses_the_lease(self):
        before = Flusher(self, self.conninfo, lease="4s", heartbeat="500ms",
                        db_deadline="2s")
        before.start().hello(0, ["hold"], window=1024).wait_working()
        self.begin("hold", 2)
        before.wait_held(1)

        def beat():
            return self.query("SELECT beat FROM rappel.pool_heartbeats")
        seen = beat()
        wait_for("a heartbeat", lambda: beat() != seen)
        before.ticking = False
        wait_for("it notices", lambda: "supervisor hangs" in before.log())
        time.sleep(0.2)  # for a heartbeat that was on its way
        seen = beat()
        time.sleep(0.7)
        self.assertEqual(beat(), seen)
        # It is back before anybody noticed: nothing happens.
        before.ticking = True
        wait_for("a heartbeat", lambda: beat() != seen)
        # For good: somebody else takes over, and it is fenced.
        before.ticking = False
        other = Flusher(self, self.conninfo, lease="4s", heartbeat="500ms",
                        db_deadline="2s")
        other.start().hello(0, ["hold"], window=1024).wait_working()
        begun = time.monotonic()
        other.holding = False
        wait_for("the other one has it all",
                 lambda: self.statuses() == {"succeeded": 2})
        self.assertLess(time.monotonic() - begun, patience(8))
        self.assertEqual(before.wait_exit(5), 75)
        self.clean()

    def test_garbage_among_what_was_kept(self):
        before = self.first("hold", 1)
        before.wait_held(1)
        self.die(before)
        after = self.successor(before, [
            (0, 1, 1, [["not", "a", "completion"]]),
            *self.answers(before.held)])
        wait_for("it ends", lambda: self.statuses() == {"succeeded": 1})
        self.wait_acked(after, 2)
        self.clean()


if __name__ == "__main__":
    unittest.main()
