#!/usr/bin/python3
"""What a scoreboard is for: recall, timeouts, blame, and workers that lie.

Played has a real flusher and workers that the test plays, so that it decides
what a worker claims and when. Pools has real pools, whose workers
(claimworker.py) keep a record of what they began.
"""

import time
import unittest

import databasecase
import fakesupervisor
import played
import scoreboard
from patience import patience
from pool import wait_for


setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Played(played.Played):
    def test_what_waits_is_recalled(self):
        """Behind one that runs for more than 10 ms; to a free worker."""
        flusher = self.flusher()
        self.begin("work", *range(40))
        self.wait_items(flusher, 40)
        first = flusher.of(0)[0]
        board = flusher.boards[0]
        self.assertTrue(board.claim(first[6], first[0]))
        begun = time.monotonic()
        flusher.hello(1, ["work"], window=128)
        self.wait_items(flusher, 39, 1)
        took = max(at for at, slot, _, _ in flusher.items if slot == 1) - begun
        print(f"39 behind a slow one are elsewhere after {took * 1000:.1f} ms")
        self.assertLess(took, patience(0.05))
        # In their order, and none may be run where it was.
        self.assertEqual([i[1] for i in flusher.of(1)],
                         [i[1] for i in flusher.of(0)[1:]])
        for item in flusher.of(0)[1:]:
            self.assertFalse(board.claim(item[6], item[0]))
        # The slow one's worker gets nothing more before it has ended.
        for item in flusher.of(1):
            flusher.claim(1, item)
            flusher.complete(1, 1, item)
        self.wait_statuses(flusher.log, succeeded=39, running=1)
        flusher.gone(1)
        flusher.items.clear()
        [more] = self.begin("work", 77)
        time.sleep(0.1)
        self.assertEqual(flusher.items, [])
        flusher.complete(0, 1, first)
        self.wait_items(flusher, 1, 0)
        self.assertEqual(flusher.of(0)[0][1].hex(), more.replace("-", ""))
        flusher.claim(0, flusher.of(0)[0])
        flusher.complete(0, 1, flusher.of(0)[0])
        self.wait_statuses(flusher.log, succeeded=41)
        self.assertEqual(flusher.killed(), [])
        self.clean()

    def test_nothing_is_sent_behind_a_slow_one(self):
        """It was alone; what comes while it runs does not even wait there."""
        flusher = self.flusher()
        self.begin("work", 1)
        self.wait_items(flusher, 1)
        flusher.claim(0, flusher.of(0)[0])
        time.sleep(0.02)
        self.begin("work", 2)
        time.sleep(0.1)
        self.assertEqual(len(flusher.items), 1)
        flusher.complete(0, 1, flusher.of(0)[0])
        self.wait_items(flusher, 2)

    def test_who_pays_for_a_dead_worker(self):
        """One runs, one is done and not answered, 100 wait."""
        flusher = self.flusher()
        self.begin("work", *range(102))
        self.wait_items(flusher, 102)
        done, runs = flusher.of(0)[:2]
        flusher.claim(0, done)
        flusher.boards[0].done(done[6], done[0])
        flusher.claim(0, runs)
        flusher.gone(0)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=2)
        self.wait_statuses(flusher.log, succeeded=101, failed=1)
        [(failed, error, cause)] = self.query(
            "SELECT id::text, error, cause FROM rappel.instances"
            " WHERE status = 'failed'")
        self.assertEqual(failed.replace("-", ""), runs[1].hex())
        self.assertEqual((error, cause),
                         ("States.TaskFailed", "the worker was lost: a test"))
        self.assertEqual(self.query(
            "SELECT attempt, count(*) FROM rappel.history GROUP BY 1"),
            [(1, 102)])
        self.clean()

    def test_deaths_that_nobody_owns_up_to(self):
        """It claims nothing and dies each time: it stops some time."""
        flusher = self.flusher()
        self.begin("work", 1)
        for spawn in range(1, 4):
            self.wait_items(flusher, spawn)
            flusher.gone(0, spawn)
            flusher.hello(0, ["work"], spawn=spawn + 1)
        self.wait_statuses(flusher.log, failed=1)
        self.assertEqual(len(flusher.items), 3)
        self.clean()

    def test_timeouts_count_from_the_claim(self):
        flusher = self.flusher()
        [early, late] = self.begin("timed", 1, 2)
        self.wait_items(flusher, 2)
        # Longer than its timeout it waits, and then runs for most of it.
        time.sleep(1.6)
        self.assertEqual(flusher.killed(), [])
        one, two = flusher.of(0)
        flusher.claim(0, one)
        time.sleep(0.9)
        flusher.complete(0, 1, one)
        self.wait_statuses(flusher.log, succeeded=1, running=1)
        self.wait_items(flusher, 3)  # it was recalled
        two = flusher.of(0)[-1]
        flusher.claim(0, two)
        begun = time.monotonic()
        wait_for("it is to be killed", flusher.killed)
        took = time.monotonic() - begun
        print(f"a timeout of 1 s, {took:.3f} s after the claim")
        self.assertLess(abs(took - 1), patience(0.2))
        flusher.gone(0)
        self.wait_statuses(flusher.log, succeeded=1, failed=1)
        self.assertEqual(self.query(
            "SELECT id::text, error FROM rappel.instances"
            " WHERE status = 'failed'"), [(late, "States.Timeout")])
        self.assertEqual(self.query(
            "SELECT status FROM rappel.instances WHERE id = %s", early),
            [("succeeded",)])
        self.clean()

    def test_what_was_done_in_time_is_not_killed(self):
        """Its answer is on the way when its time is over."""
        flusher = self.flusher()
        self.begin("timed", 1)
        self.wait_items(flusher, 1)
        [item] = flusher.of(0)
        flusher.claim(0, item)
        flusher.boards[0].done(item[6], item[0])
        time.sleep(1.5)
        self.assertEqual(flusher.killed(), [])
        flusher.complete(0, 1, item)
        self.wait_statuses(flusher.log, succeeded=1)

    def test_cancelled_while_it_waits(self):
        """Recalled at once, nobody is killed; what runs has a second."""
        flusher = self.flusher()
        ids = self.begin("work", 1, 2)
        self.wait_items(flusher, 2)
        self.query("SELECT rappel.cancel_workflow(%s)", ids[1])
        waiting = [i for i in flusher.of(0)
                   if i[1].hex() == ids[1].replace("-", "")][0]
        board = flusher.boards[0]
        wait_for("it is recalled", lambda: board.look(waiting[6])
                 != (waiting[0], scoreboard.WAITING))
        self.assertFalse(board.claim(waiting[6], waiting[0]))
        running = [i for i in flusher.of(0) if i is not waiting][0]
        flusher.claim(0, running)
        time.sleep(1.3)
        self.assertEqual(flusher.killed(), [])
        begun = time.monotonic()
        self.query("SELECT rappel.cancel_workflow(%s)", ids[0])
        wait_for("it is to be killed", flusher.killed)
        self.assertGreater(time.monotonic() - begun, 0.9)
        self.clean()

    def test_without_a_scoreboard(self):
        """One at a time; it runs from when it was sent."""
        flusher = self.flusher(board=False)
        self.begin("timed", *range(5))
        self.wait_items(flusher, 1)
        time.sleep(0.2)
        self.assertEqual(len(flusher.items), 1)
        self.assertEqual(flusher.of(0)[0][6], scoreboard.PLACES)
        wait_for("it is to be killed", flusher.killed)
        flusher.gone(0)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=2, board=False)
        self.wait_statuses(flusher.log, succeeded=4, failed=1)
        self.clean()

    def test_board_that_never_arrived(self):
        """The worker would claim, and nobody handed its board over."""
        flusher = self.flusher(slots=0, quick=False)
        flusher.send(fakesupervisor.HELLO, 0, 1, 0, {
            "protocol": 1, "pid": 1, "actions": ["work"], "window": 128,
            "scoreboard": True})
        self.begin("work", 1, 2)
        self.wait_items(flusher, 1)
        time.sleep(0.1)
        self.assertEqual([i[6] for i in flusher.of(0)], [scoreboard.PLACES])

    def test_answer_for_another(self):
        """Under a token of its own: killed, what it says does not count."""
        flusher = self.flusher()
        self.begin("work", 1, 2, 3)
        self.wait_items(flusher, 3)
        one, two, three = flusher.of(0)
        flusher.claim(0, one)
        flusher.send(fakesupervisor.COMPLETION, 0, 1, 2, [
            [one[0], *two[1:4], 0, 3, "stolen"], [*three[:4], 0, 3, "late"]])
        [(slot, spawn, payload)] = wait_for("it is to be killed",
                                            flusher.killed)[0]
        self.assertEqual((slot, spawn), (0, 1))
        self.assertIn("was not given", payload["reason"])
        flusher.send(fakesupervisor.COMPLETION, 0, 1, 1,
                     [[*two[:4], 0, 3, "also late"]])
        flusher.gone(0)
        flusher.playing = False
        flusher.hello(0, ["work"], spawn=2)
        self.wait_statuses(flusher.log, succeeded=3)
        self.assertEqual(sorted(row[0] for row in self.query(
            "SELECT output FROM rappel.instances")), [1, 2, 3])
        self.clean()

    def test_garbage_in_a_board(self):
        """Every kind of it, at every time: nobody else is concerned."""
        words = (0, 0xffffffffffffffff, 2, 3 << 3 | scoreboard.RUNNING,
                 "own|FREE", "own|RECALLED", "own|7")
        for spawn, word in enumerate(words, 1):
            with self.subTest(word=word):
                if spawn == 1:
                    flusher = self.flusher()
                before = len(flusher.of(0))
                self.begin("work", *range(3))
                self.wait_items(flusher, before + 3)
                first = flusher.of(0)[before]
                if isinstance(word, str):
                    phase = {"own|FREE": scoreboard.FREE, "own|7": 7}.get(
                        word, scoreboard.RECALLED)
                    word = first[0] << 3 | phase
                for place in range(scoreboard.PLACES):
                    flusher.boards[0].set_word(place, word)
                wait_for("it is to be killed", lambda n=spawn:
                         [k for k in flusher.killed() if k[1] == n])
                flusher.gone(0, spawn)
                flusher.playing = False
                flusher.hello(0, ["work"], spawn=spawn + 1)
                self.wait_statuses(flusher.log, succeeded=3)
                self.forget()
                flusher.playing = True

    def test_a_worker_that_does_not_begin(self):
        """Stopped between two actions: after 10 s others do its work."""
        flusher = self.flusher()
        self.begin("work", *range(5))
        self.wait_items(flusher, 5)
        begun = time.monotonic()
        flusher.hello(1, ["work"], window=128)
        wait_for("it is to be killed", flusher.killed)
        self.assertLess(abs(time.monotonic() - begun - 10), patience(1))
        self.wait_items(flusher, 5, 1)

    def test_a_successor_adopts(self):
        """What runs goes on; what waits is recalled and sent anew."""
        before = self.flusher()
        self.begin("work", *range(3))
        self.wait_items(before, 3)
        board, runs = before.boards[0], before.of(0)[0]
        before.claim(0, runs)
        before.process.kill()
        before.process.wait()
        after = played.Flusher(self, self.conninfo)
        after.folder, after.log_path = before.folder, before.log_path
        after.left, after.playing = 1, True
        after.start().wait_working()  # told that one worker follows
        scoreboard.send(after.boards_sock, 0, 1, board.fd)
        after.boards[0] = board
        after.claiming.add(0)
        after.send(fakesupervisor.HELLO, 0, 1, 3, {
            "protocol": 1, "pid": 1, "actions": ["work"], "window": 128,
            "scoreboard": True})
        after.counts[0] = 0
        wait_for("the others are recalled", lambda: not any(
            board.look(i[6]) == (i[0], scoreboard.WAITING)
            for i in before.of(0)[1:]))
        time.sleep(0.3)
        self.assertEqual(after.items, [])  # its worker is busy
        after.complete(0, 1, runs)
        self.wait_items(after, 1)
        after.playing = False
        while self.statuses() != {"succeeded": 3}:
            for _, slot, spawn, item in after.items:
                if after.claim(slot, item):
                    after.complete(slot, spawn, item)
            time.sleep(0.01)
        self.assertNotIn(runs[1], [i[1] for i in after.of(0)])
        self.clean()

    def test_a_done_place_outlives_nobody(self):
        """Its answer was kept, judged and acknowledged: a third flusher
        waits for nothing."""
        flusher = self.flusher()
        self.begin("work", 1)
        self.wait_items(flusher, 1)
        board, item = flusher.boards[0], flusher.of(0)[0]
        flusher.claim(0, item)
        kept = [(0, 1, 1, [flusher.answer(0, item)])]
        for _ in range(2):
            flusher.process.kill()
            flusher.process.wait()
            after = played.Flusher(self, self.conninfo)
            after.folder, after.log_path = flusher.folder, flusher.log_path
            after.left, after.kept, after.playing = 1, kept, True
            after.start().wait_working()
            scoreboard.send(after.boards_sock, 0, 1, board.fd)
            after.counts[0] = 0
            after.send(fakesupervisor.HELLO, 0, 1, 1, {
                "protocol": 1, "pid": 1, "actions": ["work"], "window": 128,
                "scoreboard": True})
            self.wait_statuses(after.log, succeeded=1)
            wait_for("it is acknowledged",
                     lambda a=after, k=kept: a.acked == len(k))
            flusher, kept = after, []
        flusher.drain()
        self.assertEqual(flusher.wait_exit(2), 0, flusher.log())


class Pools(played.Pools):
    worker = "claimworker.py"

    def test_behind_a_slow_one(self):
        """2 s, and 100 that are quick, in two workers."""
        pool = self.pool(2)
        waits = []
        for _ in range(3):  # a machine may be busy with something else
            self.quicken(pool)
            slow = self.begin("work", {"seconds": 2}, *range(100))[0]
            took = self.wait_statuses(pool.log_tail, succeeded=100, running=1)
            self.assertLess(took, patience(1.5))
            self.wait_statuses(pool.log_tail, succeeded=101)
            waits.append(self.longest_wait(pool, slow.replace("-", "")))
            skipped = len(self.record(pool, "SKIP"))
            print(f"behind an action of 2 s: {skipped} recalled; the longest "
                  f"time until a free worker had the next: {waits[-1]:.1f} ms")
            started = [r[2] for r in self.record(pool, "START")]
            self.assertEqual(len(started), len(set(started)))
            if waits[-1] < 50:
                break
            self.forget()
        self.assertLess(min(waits), 50)
        self.assertGreater(skipped, 0)
        self.clean()

    def test_killed_while_100_wait(self):
        """kill -9 of a worker: the running one's attempt alone counts."""
        pool = self.pool(1)
        self.quicken(pool)
        self.begin("work", {"kill": True}, *range(100))
        self.wait_statuses(pool.log_tail, succeeded=100, failed=1)
        self.assertEqual(self.query(
            "SELECT event, attempt, error, count(*) FROM rappel.history"
            " GROUP BY 1, 2, 3 ORDER BY 1"),
            [("failed", 1, "States.TaskFailed", 1),
             ("succeeded", 1, None, 100)])
        started = [r[2] for r in self.record(pool, "START")]
        self.assertEqual(len(started), len(set(started)))
        self.clean()

    def test_waited_long_and_then_timed(self):
        """One worker: behind an action of 2 s, with a timeout of 1 s."""
        pool = self.pool(1)
        self.quicken(pool)
        self.begin("work", {"seconds": 2})
        self.begin("timed", 1, {"seconds": 0.5}, {"seconds": 3})
        self.wait_statuses(pool.log_tail, succeeded=3, failed=1)
        self.assertEqual(self.query(
            "SELECT input, error FROM rappel.instances"
            " WHERE status = 'failed'"),
            [({"seconds": 3}, "States.Timeout")])
        self.clean()

    def test_liars_cost_only_themselves(self):
        pool = self.pool(3)
        self.quicken(pool)
        self.begin("work", {"garbage": True, "seconds": 0.2},
                   {"steal": True}, *range(300))
        # Whoever runs one of these lies: three workers each, then it fails.
        self.wait_statuses(pool.log_tail, succeeded=300, failed=2)
        log = pool.log_text()
        self.assertIn("its scoreboard says what nobody wrote there", log)
        self.assertIn("was not given under that token", log)
        self.assertEqual({r[3] for r in self.record(pool, "START")}, {1})
        self.clean()

    def test_flusher_killed_while_one_runs(self):
        """It is adopted, and nothing runs twice."""
        pool = self.pool(2)
        self.quicken(pool)
        self.begin("work", {"seconds": 2}, *range(50))
        wait_for("it runs", lambda: self.record(pool, "START"))
        time.sleep(0.3)
        pool.kill("flusher")
        self.wait_statuses(pool.log_tail, succeeded=51)
        started = [r[2] for r in self.record(pool, "START")]
        self.assertEqual(len(started), len(set(started)))
        self.assertEqual({r[5] for r in self.record(pool)}, {1})
        self.clean()


if __name__ == "__main__":
    unittest.main(verbosity=2)
