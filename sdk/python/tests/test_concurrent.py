"""A worker process with three places: what it does with one (test_worker.py),
and what only several can do."""

import unittest

import fakes
import test_worker
from fakes import DONE, NOT_BEGUN


class Basics(test_worker.Basics):
    concurrency = "3"
    # They meet the same code, in another thread.
    test_pieces = test_unknown_parts_are_ignored = None
    test_unknown_frames_are_skipped = None

    def test_protocol_violations(self):
        worker = self.worker()
        worker.send(fakes.DRAIN, 0, {}, 4, fakes.SPAWN)
        self.assertEqual(worker.wait(), 70)
        self.assertIn("protocol violation", worker.log())


class Several(test_worker.Case):
    concurrency = "3"

    def test_threads_run_at_once_and_not_more(self):
        worker = self.worker()
        worker.dispatch((1, "meet", 0), (2, "meet", 0), (3, "meet", 0))
        for token in (1, 2, 3):
            self.assertEqual(worker.answer(token), (DONE, True))
        worker.dispatch(*[(10 + i, "hold", self.flag) for i in range(4)])
        for token in (10, 11, 12):
            worker.wait_beat(token)
        worker.recall(13)  # so it had not begun
        self.assertEqual(worker.answer(13), (NOT_BEGUN,))
        self.let_go()
        worker.answer(12)

    def test_async_run_at_once_and_not_more(self):
        worker = self.worker()
        worker.dispatch(*[(10 + i, "async.most", 0) for i in range(60)])
        most = max(worker.answer(10 + i)[1] for i in range(60))
        self.assertEqual(most, 3)

    def test_slow_one_delays_nobody(self):
        worker = self.worker()
        worker.dispatch((1, "hold", self.flag),
                        *[(10 + i, ("echo", "async.echo")[i % 2], i)
                          for i in range(100)])
        for i in range(100):
            self.assertEqual(worker.answer(10 + i), (DONE, i))
        self.assertNotIn(1, worker.done)
        self.let_go()
        worker.answer(1)

    def test_flag_goes_before_the_environment(self):
        worker = self.worker("--concurrency", "300")
        self.assertEqual(worker.hello["concurrency"], 300)
        self.assertEqual(worker.hello["window"], 1024)


if __name__ == "__main__":
    unittest.main()
