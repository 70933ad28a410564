#!/usr/bin/python3
"""Workers without a scoreboard that run several actions at once.

What they run is told from the order: so many of what they hold, and the rest
waits. Played has workers that the test plays; Pools has real ones
(placesworker.py), which keep a record of what they do.
"""

import time
import unittest

import databasecase
import fakesupervisor
import played
import scoreboard
from fakesupervisor import KILL, RECALL
from patience import patience
from pool import wait_for


setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Played(played.Played):
    def complete(self, flusher, slot, items):
        for item in items:
            flusher.complete(slot, 1, item)

    def recalled(self, flusher, slot=0):
        """Tokens that it was asked back."""
        return [token for at, _, tokens in flusher.told(RECALL)
                for token in tokens if at == slot]

    def wait_recalled(self, flusher, count, slot=0):
        return wait_for(f"{count} are asked for", lambda: len(
            self.recalled(flusher, slot)) >= count)[1]

    def settles(self, flusher, count):
        """So many were dispatched, and no more come."""
        self.wait_items(flusher, count)
        time.sleep(0.1)
        self.assertEqual(len(flusher.items), count)

    def test_as_many_as_it_says(self):
        """What is not quick: four each, and one more when one ends."""
        flusher = self.flusher(slots=2, quick=False, board=False,
                               concurrency=4)
        self.begin("work", *range(20))
        self.settles(flusher, 8)
        self.assertEqual(len(flusher.of(0)), 4)
        done = 0
        while done < 20:
            held = len(flusher.of(0)) + len(flusher.of(1)) - done
            self.assertEqual(held, min(8, 20 - done))
            _, slot, _, item = flusher.items[done]
            flusher.complete(slot, 1, item)
            done += 1
            self.wait_items(flusher, min(20, 8 + done))
        self.wait_statuses(flusher.log, succeeded=20)
        self.assertEqual({item[6] for _, _, _, item in flusher.items},
                         {scoreboard.PLACES})
        self.clean()

    def test_quick_ones_do_not_wait_where_nobody_can_take_them_back(self):
        flusher = self.flusher(board=False, concurrency=3)
        self.begin("work", *range(20))
        self.settles(flusher, 3)

    def test_quick_ones_are_sent_ahead(self):
        """And no further than the window."""
        flusher = self.flusher(board=False, concurrency=2, recall=True,
                               window=16)
        self.begin("work", *range(50))
        self.wait_items(flusher, 16)
        self.assertEqual(len(flusher.items), 16)

    def test_what_waits_is_asked_back(self):
        """All places are busy for 10 ms: the rest goes elsewhere at once."""
        flusher = self.flusher(board=False, concurrency=2, recall=True)
        self.begin("work", *range(40))
        self.wait_items(flusher, 40)
        begun = time.monotonic()
        flusher.hello(1, ["work"], window=128)
        # All are: whether the first two were begun, it alone knows.
        self.wait_recalled(flusher, 40)
        self.assertEqual(self.recalled(flusher),
                         [item[0] for item in flusher.of(0)])
        flusher.give_back(0, 1, flusher.of(0)[2:])
        self.wait_items(flusher, 38, 1)
        took = max(at for at, slot, _, _ in flusher.items if slot == 1) - begun
        print(f"38 behind slow ones are elsewhere after {took * 1000:.1f} ms")
        self.assertLess(took, patience(0.05))
        self.assertEqual([i[1] for i in flusher.of(1)],
                         [i[1] for i in flusher.of(0)[2:]])
        for item in flusher.of(1):
            flusher.claim(1, item)
            flusher.complete(1, 1, item)
        self.wait_statuses(flusher.log, succeeded=38, running=2)
        # The slow ones' worker gets nothing while both run, and what can
        # run beside the one that is left.
        flusher.gone(1)
        flusher.items, before = [], flusher.items
        self.begin("work", *range(3))
        time.sleep(0.1)
        self.assertEqual(flusher.items, [])
        flusher.complete(0, 1, before[1][3])
        self.wait_items(flusher, 1)
        self.complete(flusher, 0, [flusher.of(0)[0], before[0][3]])
        self.wait_items(flusher, 3)
        self.complete(flusher, 0, flusher.of(0)[1:])
        self.wait_statuses(flusher.log, succeeded=43)
        self.assertEqual(flusher.killed(), [])
        self.assertEqual(self.query(
            "SELECT attempt, count(*) FROM rappel.history GROUP BY 1"),
            [(1, 43)])
        self.clean()

    def test_a_loop_that_stands_still(self):
        """What has a place and is not begun comes back, too; nothing more
        is sent there until it answers, or a second later."""
        flusher = self.flusher(board=False, concurrency=4, recall=True)
        self.begin("work", 0, 1, 2)
        self.wait_items(flusher, 3)
        self.wait_recalled(flusher, 3)
        first, *others = flusher.of(0)
        flusher.give_back(0, 1, others)
        given_back = time.monotonic()
        time.sleep(0.05)
        self.assertEqual(len(flusher.items), 3)
        begun = time.monotonic()
        flusher.hello(1, ["work"], window=128)
        self.wait_items(flusher, 2, 1)
        self.assertLess(time.monotonic() - begun, patience(0.05))
        self.begin("work", 3, 4)
        self.wait_items(flusher, 4, 1)
        self.assertEqual(len(flusher.of(0)), 3)
        flusher.gone(1)
        # Nobody else is there: it is tried again.
        took = self.wait_items(flusher, 7, 0) or \
            time.monotonic() - given_back
        self.assertGreater(took, 0.9)
        self.wait_recalled(flusher, 7)
        flusher.give_back(0, 1, flusher.of(0)[3:])
        self.complete(flusher, 0, [first])
        # It answered: all of it comes back at once.
        self.wait_items(flusher, 11, 0)
        self.complete(flusher, 0, flusher.of(0)[7:])
        self.wait_statuses(flusher.log, succeeded=5)
        self.assertEqual(flusher.killed(), [])
        self.clean()

    def test_begun_before_it_was_asked_back(self):
        """It says nothing of those and answers them."""
        flusher = self.flusher(board=False, recall=True, concurrency=1)
        self.begin("work", *range(3))
        self.wait_items(flusher, 3)
        self.wait_recalled(flusher, 2)
        self.complete(flusher, 0, flusher.of(0))
        self.wait_statuses(flusher.log, succeeded=3)
        self.clean()

    def test_who_pays_for_a_dead_worker(self):
        """The first two: they ran, the others waited."""
        flusher = self.flusher(board=False, concurrency=2, recall=True)
        self.begin("work", *range(20))
        self.wait_items(flusher, 20)
        first, second, third = [i[1].hex() for i in flusher.of(0)[:3]]
        flusher.complete(0, 1, flusher.of(0)[0])  # the third runs from here
        self.wait_statuses(flusher.log, succeeded=1, running=19)
        flusher.gone(0)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=2)
        self.wait_statuses(flusher.log, succeeded=18, failed=2)
        self.assertEqual({row[0].replace("-", "") for row in self.query(
            "SELECT id::text FROM rappel.instances WHERE status = 'failed'")},
            {second, third})
        self.assertNotIn(first, (second, third))
        self.assertEqual(self.query(
            "SELECT attempt, count(*) FROM rappel.history GROUP BY 1"),
            [(1, 20)])
        self.clean()

    def test_timeouts_count_from_when_there_was_room(self):
        """The second waits for longer than its timeout, and then runs."""
        flusher = self.flusher(board=False, concurrency=1, recall=True)
        self.begin("timed", 1, 2)
        self.wait_items(flusher, 2)
        time.sleep(0.7)
        flusher.complete(0, 1, flusher.of(0)[0])
        self.wait_statuses(flusher.log, succeeded=1, running=1)
        begun = time.monotonic()
        wait_for("it is to be killed", flusher.killed)
        took = time.monotonic() - begun
        print(f"a timeout of 1 s, {took:.3f} s after there was room")
        self.assertLess(abs(took - 1), patience(0.2))
        flusher.gone(0)
        self.wait_statuses(flusher.log, succeeded=1, failed=1)
        self.clean()

    def refusal(self, flusher, spawn=1):
        [(_, _, payload)] = wait_for("it is to be killed", lambda: [
            k for k in flusher.killed() if k[1] == spawn])[0]
        self.assertNotIn("grace_us", payload)
        return payload["reason"]

    def test_giving_back_what_was_not_asked_for(self):
        flusher = self.flusher(board=False, concurrency=2, recall=True,
                               quick=False)
        self.begin("work", 1, 2)
        self.wait_items(flusher, 2)
        flusher.give_back(0, 1, flusher.of(0)[1:])
        [(slot, _, payload)] = wait_for("it is ended", flusher.killed)[0]
        self.assertEqual(slot, 0)
        self.assertIn("nobody had asked", payload["reason"])
        # It may be that somebody told it to end: what it has done counts.
        self.assertEqual(payload["grace_us"], 1000000)
        self.complete(flusher, 0, flusher.of(0)[:1])
        self.wait_statuses(flusher.log, succeeded=1, running=1)
        flusher.gone(0)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=2)
        self.wait_statuses(flusher.log, succeeded=2)
        self.assertEqual(len(flusher.seen) + len(flusher.items), 3)
        self.clean()

    def test_a_hello_that_cannot_be(self):
        flusher = self.flusher(slots=0, quick=False)
        for spawn, (more, word) in enumerate((
                ({"concurrency": 0}, "concurrency"),
                ({"concurrency": 1025}, "concurrency"),
                ({"concurrency": "4"}, "concurrency"),
                ({"concurrency": 1, "window": 0}, "window"),
                ({"concurrency": 1, "window": 4096}, "window"),
                ({"concurrency": 2, "board": True}, "scoreboard")), 1):
            with self.subTest(more=more):
                more = dict({"board": False}, **more)
                flusher.hello(0, ["work"], spawn=spawn, **more)
                self.assertIn(word, self.refusal(flusher, spawn))
                flusher.gone(0, spawn)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=99, board=False, concurrency=1024,
                      window=1024, recall=True)
        self.begin("work", 1)
        self.wait_statuses(flusher.log, succeeded=1)

    def test_a_successor_adopts(self):
        """What runs and what waits, told by the notes of the one that died:
        nothing is sent again but what had not left."""
        before = self.flusher(board=False, notes=True, concurrency=2,
                              recall=True)
        self.begin("work", *range(6))
        self.wait_items(before, 6)
        board = before.boards[0]
        # Nobody but the order says which two these are.
        self.assertEqual(sorted(filter(None, (
            board.look(place)[1] for place in range(scoreboard.PLACES)))),
            [scoreboard.WAITING] * 4 + [scoreboard.RUNNING] * 2)
        before.process.kill()
        before.process.wait()
        held = before.of(0)
        # The last one did not leave, one was asked for and came back.
        kept = [(0, 1, 1, [[*held[2][:4], fakesupervisor.NOT_BEGUN, 0]])]
        after = played.Flusher(self, self.conninfo)
        after.folder, after.log_path = before.folder, before.log_path
        after.left, after.kept, after.playing = 1, kept, True
        after.start().wait_working()
        scoreboard.send(after.boards_sock, 0, 1, board.fd)
        after.counts[0] = 0
        # 30 that were quick, and six.
        after.send(fakesupervisor.HELLO, 0, 1, 35, {
            "protocol": 1, "pid": 1, "actions": ["work"], "window": 128,
            "scoreboard": False, "concurrency": 2, "recall": True})
        wait_for("they are adopted", lambda:
                 after.status.get("actions_adopted") == 4)
        self.assertEqual(after.items, [])
        self.complete(after, 0, held[:2])
        self.wait_statuses(after.log, succeeded=2, running=4)
        self.complete(after, 0, held[3:5])
        self.wait_items(after, 2)
        self.assertEqual({i[1] for i in after.of(0)},
                         {held[2][1], held[5][1]})
        self.complete(after, 0, after.of(0))
        self.wait_statuses(after.log, succeeded=6)
        self.assertEqual(after.told(KILL), [])
        self.clean()


class Pools(played.Pools):
    worker = "placesworker.py"

    def started_once(self, pool):
        started = [r[2] for r in self.record(pool, "START")]
        self.assertEqual(len(started), len(set(started)))
        return started

    def test_never_more_and_never_fewer(self):
        """Four at once, from the first to the last but four."""
        pool = self.pool(1, 4, 4)
        gaps = []
        for _ in range(3):  # a machine may be busy with something else
            self.begin("work", *[{"seconds": 0.1}] * 24)
            self.wait_statuses(pool.log_tail, succeeded=24)
            starts = sorted(r[1] for r in self.record(pool, "START"))[-24:]
            ends = sorted(r[1] for r in self.record(pool, "END"))[-24:]
            events = sorted([(at, -1) for at in ends] +
                            [(at, 1) for at in starts])
            running = most = longest = 0
            for (at, step), (after, _) in zip(events, events[1:]):
                running += step
                most = max(most, running)
                if starts[3] < at < starts[-1] and running < 4:
                    longest = max(longest, after - at)
            self.assertEqual(most, 4)
            gaps.append(longest / 1000)
            print(f"a place was free for {gaps[-1]:.1f} ms at most")
            self.forget()
            if gaps[-1] < 50:
                break
        self.assertLess(min(gaps), 50)

    def test_behind_a_slow_one(self):
        """2 s, and 100 that are quick, in two workers."""
        pool = self.pool(2, 1, 64)
        waits = []
        for _ in range(3):
            self.quicken(pool)
            slow = self.begin("work", {"seconds": 2}, *range(100))[0]
            took = self.wait_statuses(pool.log_tail, succeeded=100, running=1)
            self.assertLess(took, patience(1.5))
            self.wait_statuses(pool.log_tail, succeeded=101)
            waits.append(self.longest_wait(pool, slow.replace("-", "")))
            back = len(self.record(pool, "BACK"))
            print(f"behind an action of 2 s: {back} given back; the longest "
                  f"time until a free worker had the next: {waits[-1]:.1f} ms")
            self.started_once(pool)
            if waits[-1] < 50:
                break
            self.forget()
        self.assertLess(min(waits), 50)
        self.assertGreater(back, 0)
        self.clean()

    def test_killed_while_100_wait(self):
        """kill -9 of a worker: what ran pays, two at most."""
        pool = self.pool(1, 2, 64)
        self.quicken(pool)
        bad = self.begin("work", {"kill": True}, *range(100))[0]
        wait_for("all have ended", lambda: sum(
            self.statuses().get(s, 0) for s in ("failed", "succeeded")) == 101)
        failed = self.query("SELECT id::text, error FROM rappel.instances"
                            " WHERE status = 'failed'")
        self.assertIn((bad, "States.TaskFailed"), failed)
        self.assertLessEqual(len(failed), 2)
        self.assertEqual(self.query(
            "SELECT DISTINCT attempt FROM rappel.history"), [(1,)])
        self.clean()

    def test_flusher_killed_while_some_run(self):
        """They are adopted, and nothing runs twice."""
        pool = self.pool(2, 2, 64)
        self.quicken(pool)
        self.begin("work", *[{"seconds": 1.5}] * 3, *range(50))
        wait_for("they run", lambda: len(self.record(pool, "START")) >= 3)
        pool.kill("flusher")
        self.wait_statuses(pool.log_tail, succeeded=53)
        self.started_once(pool)
        self.assertEqual({r[5] for r in self.record(pool)}, {1})
        self.clean()


if __name__ == "__main__":
    unittest.main(verbosity=2)
