"""Actions that somebody else finishes, through rappel.client, in a real pool;
and what its history says."""

import re
import unittest
import uuid

import realpool
from realpool import databasecase, wait_for

from rappel import client

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Later(realpool.PoolCase):
    def handed_out(self):
        """A run whose action has returned LATER, and its task token."""
        run = client.start(self.connection, "later")
        log = wait_for("the token", lambda: re.search(
            f"waits under ({run}[.]1[.]1)", self.the_pool.log_text()))[0]
        return run, log.group(1)

    def setUp(self):
        super().setUp()
        self.the_pool = self.pool()
        self.register("later", realpool.task("later", TimeoutSeconds=60))

    def test_somebody_else_finishes_it(self):
        value = {"n": 2**64 - 1, "x": 0.1, "text": "ä\u2028😀"}
        run, token = self.handed_out()
        self.assertIs(client.task_heartbeat(self.connection, token,
                                            {"half": True}), True)
        self.assertEqual(client.status(self.connection, run).status,
                         "running")
        with self.assertRaisesRegex(client.NotEnded, "it is running"):
            client.result(self.connection, run)
        self.assertIs(client.task_succeed(self.connection, token, value),
                      True)
        self.assertEqual(client.wait(self.connection, run, timeout=20).status,
                         "succeeded")
        self.assertEqual(client.result(self.connection, run), value)
        self.assertIs(client.task_succeed(self.connection, token, 1), False)
        self.assertIs(client.task_heartbeat(self.connection, token), False)

    def test_or_fails_it(self):
        run, token = self.handed_out()
        self.assertIs(client.task_fail(self.connection, token, "Shop.Lost",
                                       "at sea"), True)
        client.wait(self.connection, run, timeout=20)
        with self.assertRaises(client.RunFailed) as caught:
            client.result(self.connection, run)
        self.assertEqual((caught.exception.error, caught.exception.cause),
                         ("Shop.Lost", "at sea"))

    def test_tokens_that_are_none(self):
        with self.assertRaisesRegex(client.InvalidRequest,
                                    '"x" is no task token'):
            client.task_succeed(self.connection, "x")
        with self.assertRaisesRegex(client.NotFound, "there is no instance"):
            client.task_fail(self.connection, f"{uuid.UUID(int=1)}.1.1")

    def test_history(self):
        self.register("pay", realpool.task("fails", Retry=[
            {"ErrorEquals": ["PaymentError"], "IntervalSeconds": 1,
             "MaxAttempts": 1, "BackoffRate": 1}]))
        run = client.start(self.connection, "pay", "card")
        client.wait(self.connection, run, timeout=20)
        first, second = [event for event in client.history(
            self.connection, run) if event.event == "failed"]
        self.assertEqual((first.attempt, second.attempt), (1, 2))
        for event in first, second:
            self.assertEqual((event.state, event.error, event.activation),
                             ("T", "CardDeclined", 1))
            self.assertEqual(event.details["kinds"],
                             ["PaymentError", "Exception"])
            self.assertTrue(event.cause.startswith("no money\n"))
            self.assertGreaterEqual(event.seconds, 0)
        self.assertLess(first.at, second.at)


if __name__ == "__main__":
    unittest.main()
