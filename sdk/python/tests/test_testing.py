"""rappel.testing: actions where the test is."""

import sys
import unittest

import fakes

sys.path.insert(0, fakes.SDK)
sys.path.insert(0, fakes.HERE)

import rappel  # noqa: E402
import sample  # noqa: E402
from rappel.testing import ActionFailed, attempt, run  # noqa: E402


class Testing(unittest.TestCase):
    def test_results_are_what_the_next_state_gets(self):
        self.assertEqual(run(sample.echo, {"a": (1, 2)}), {"a": [1, 2]})
        self.assertEqual(run("async.echo", 5), 5)
        got = run(sample.order_total, {"id": 1, "lines": []})
        self.assertEqual(got["notes"], {"total": "0"})
        self.assertEqual(run(sample.order_total,
                             sample.Order(1, [sample.Line("a")])),
                         {"id": 1, "notes": {"total": "0"}, "parent": None,
                          "lines": [{"sku": "a", "count": 1,
                                     "price": None}]})
        self.assertIs(run(sample.later), rappel.LATER)
        self.assertEqual(run(sample.members, {"name": "a"}, attempt=3),
                         ["aa", 3])
        self.assertEqual(run(lambda input: input + 1, 1), 2)

    def test_parameters(self):
        value = {"a": 1, "b": 2, "c": 3}
        for function, wanted in (
                (lambda: "none", "none"), (lambda input: input, value),
                (lambda whole, /: whole, value), (lambda a: a, 1),
                (lambda b, a: [b, a], [2, 1]), (lambda *, c: c, 3),
                (lambda a, z=9: [a, z], [1, 9]),
                (lambda a, **rest: rest, {"b": 2, "c": 3}),
                (lambda ctx: ctx.attempt, 1),
                (lambda ctx, input: [ctx.attempt, input], [1, value]),
                (lambda input, ctx: [ctx.attempt, input], [1, value]),
                (lambda ctx, *, input: [ctx.attempt, input], [1, value]),
                (lambda *, input, ctx: [ctx.attempt, input], [1, value]),
                (lambda *, input: input, value),
                (lambda input, *, ctx: [ctx.attempt, input], [1, value]),
                (lambda *, ctx: ctx.attempt, 1),
                (lambda a, ctx, b: [a, ctx.attempt, b], [1, 1, 2])):
            self.assertEqual(run(function, value), wanted)
        for value, said in ((5, "$ is an integer, not an object with a, b "
                             "(a parameter called input takes the whole)"),
                            ({"a": 1}, "$.b is missing")):
            error = attempt(lambda a, b: None, value).error
            self.assertEqual(error.name, "Rappel.InputInvalid")
            self.assertTrue(error.cause.startswith(said), error.cause)

    def test_context(self):
        got = run(sample.about, timeout=60, heartbeat=5, activation=9)
        self.assertTrue(59 < got["left"] <= 60)
        self.assertEqual(got["heartbeat"], 5)
        self.assertTrue(got["same"])
        self.assertTrue(got["token"].endswith(".9.1"))
        with self.assertRaisesRegex(RuntimeError, "outside of an action"):
            rappel.current()

    def test_failures(self):
        with self.assertRaises(ActionFailed) as caught:
            run(sample.fails, "card")
        failed = caught.exception
        self.assertEqual(failed.name, "CardDeclined")
        self.assertEqual(failed.kinds, ["PaymentError", "Exception"])
        self.assertTrue(failed.matches("PaymentError"))
        self.assertTrue(failed.matches("States.TaskFailed"))
        self.assertFalse(failed.matches("KeyError"))
        self.assertIsInstance(failed.__cause__, sample.CardDeclined)
        error = attempt(sample.gives, "{'a': b''}").error
        self.assertEqual(error.name, "Rappel.ResultInvalid")
        self.assertIn("$.a is a bytes", error.cause)
        error = attempt(sample.gives, "'x' * (1 << 20)").error
        self.assertEqual(error.name, "States.DataLimitExceeded")
        self.assertTrue(error.matches("Rappel.ResultInvalid"))
        self.assertEqual(attempt(sample.members, 5).error.name,
                         "Rappel.InputInvalid")
        with self.assertRaisesRegex(ValueError, r"the input: \$ is a set"):
            run(sample.echo, {1})
        with self.assertRaisesRegex(LookupError, 'no action "nothing"'):
            run("nothing")

    def test_heartbeats_and_cancellation(self):
        outcome = attempt(sample.loops, cancel_after=3)
        self.assertEqual(outcome.heartbeats, ["loops"] * 3)
        self.assertEqual(outcome.error.name, "Rappel.Cancelled")
        outcome = attempt("async.sleepy", 60, cancel_after=1)
        self.assertEqual(outcome.heartbeats, ["sleeps"])
        self.assertEqual(outcome.error.name, "Rappel.Cancelled")
        outcome = attempt(sample.loops, cancel_after=0)
        self.assertEqual(outcome.heartbeats, [])
        self.assertEqual(attempt(sample.huge_progress).error.name,
                         "Rappel.ResultInvalid")


if __name__ == "__main__":
    unittest.main()
