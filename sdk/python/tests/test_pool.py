"""Python's workers in a real pool: from start_workflow to the row that says
how the run ended."""

import json
import unittest

import realpool
from realpool import databasecase, wait_for

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Values(realpool.PoolCase):
    def test_values_pass_exactly(self):
        self.pool()
        everything = "".join(map(chr, (*range(1, 0xd800),
                                       *range(0xe000, 0x12000))))
        for value in (
                {"ints": [0, -1, 2**53 + 1, 2**63 - 1, -2**63, 2**64 - 1],
                 "doubles": [0.1, -0.0, 5e-324, 1.7976931348623157e308,
                             1e22, 2.0],
                 "empty": [{}, [], "", None, True, False],
                 "nested": {"a": [{"b": [[], {}, [{"": [1]}]]}]},
                 "ä€😀\u2028": "\u0001\u007f"},
                everything[:60000], "x" * 200 * 1024,
                [{"n": n, "x": n / 7} for n in range(6000)]):
            for action in ("echo", "async.echo"):
                status, output, error, cause = self.run_one(action, value)
                self.assertEqual(status, "succeeded", (error, cause))
                self.assertEqual(json.dumps(output), json.dumps(value))

    def test_what_python_cannot_send_is_refused(self):
        self.pool()
        for text, words in (("{'n': 2**64}", "$.n is an integer of 65 bits"),
                            ("float('nan')", "$ is nan"),
                            ("'\\ud800'", "lone surrogate U+D800"),
                            ("{1: 2}", "has the key 1")):
            status, _, error, cause = self.run_one("gives", text)
            self.assertEqual((status, error),
                             ("failed", "Rappel.ResultInvalid"))
            self.assertIn(words, cause)


class Failing(realpool.PoolCase):
    def test_catch_takes_a_superclass(self):
        self.pool()
        for taken, attempts in (("PaymentError", 1), ("CardDeclined", 1),
                                ("Exception", 1),
                                ("States.TaskFailed", 1)):
            self.register("pay", {"StartAt": "Pay", "States": {
                "Pay": {"Type": "Task", "Resource": "fails", "Catch": [
                    {"ErrorEquals": ["KeyError"], "Next": "Wrong"},
                    {"ErrorEquals": [taken], "Next": "Taken"}],
                    "End": True},
                "Wrong": {"Type": "Pass", "Result": "wrong", "End": True},
                "Taken": {"Type": "Pass", "End": True}}})
            status, output, _, _ = self.wait(self.start("pay", "card"))
            self.assertEqual(status, "succeeded")
            self.assertEqual(output["Error"], "CardDeclined")
            self.assertTrue(output["Cause"].startswith("no money\n"))

    def test_retry_takes_a_superclass(self):
        self.pool()
        self.register("pay", realpool.task("fails", Retry=[
            {"ErrorEquals": ["PaymentError"], "IntervalSeconds": 1,
             "MaxAttempts": 1, "BackoffRate": 1}]))
        run = self.start("pay", "renamed")
        self.assertEqual(self.wait(run)[2], "Shop.Renamed")
        self.assertEqual(self.history(run)[:2],
                         [("failed", 1, "Shop.Renamed"),
                          ("failed", 2, "Shop.Renamed")])

    def test_a_death_costs_one_attempt(self):
        pool = self.pool()
        self.register("dies", realpool.task("dies", Retry=[
            {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1,
             "MaxAttempts": 2, "BackoffRate": 1}]))
        before = pool.pids("worker")
        run = self.start("dies")
        self.assertEqual(self.wait(run)[:2], ("succeeded", 2))
        self.assertEqual([h[:2] for h in self.history(run)[:2]],
                         [("failed", 1), ("succeeded", 2)])
        self.assertNotEqual(pool.pids("worker"), before)

    def test_many_through_one_worker(self):
        self.pool()
        self.register("many", realpool.task("echo"))
        self.query("SELECT count(*) FROM rappel.start_workflows('many', "
                   "(SELECT array_agg(to_json(n)) FROM "
                   "generate_series(1, 500) n))")
        wait_for("all of them", lambda: self.statuses() ==
                 {"succeeded": 500}, seconds=40)
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.instances"
            " WHERE input::text <> output::text"), [(0,)])


if __name__ == "__main__":
    unittest.main()
