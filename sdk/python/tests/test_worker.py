"""A worker process under a supervisor that the test plays: what it runs, what
it answers, how it ends (docs/protocol.md, sections 2 and 3)."""

import math
import os
import signal
import struct
import tempfile
import time
import unittest

import msgpack

import fakes
from fakes import DONE, FAILED, INSTANCE_ID, LATER, NOT_BEGUN


class Case(unittest.TestCase):
    concurrency = "1"

    def worker(self, *words, **env):
        env.setdefault("RAPPEL_CONCURRENCY", self.concurrency)
        return fakes.Worker(self, "sample", *words, **env)

    def setUp(self):
        self.flag = os.path.join(
            tempfile.mkdtemp(prefix="rappel-sdk-"), "flag")
        self.addCleanup(self.let_go, remove=True)

    def let_go(self, remove=False):
        """hold() ends."""
        with open(self.flag, "wb"):
            pass
        if remove:
            os.unlink(self.flag)
            os.rmdir(os.path.dirname(self.flag))


class Basics(Case):
    """All of this is the same for several places: test_concurrent.py."""

    def test_hello(self):
        worker = self.worker()
        self.assertEqual(worker.hello["protocol"], 1)
        self.assertEqual(worker.hello["pid"], worker.process.pid)
        self.assertIn("async.echo", worker.hello["actions"])
        self.assertEqual(worker.hello["window"], 256)
        self.assertEqual(worker.hello["concurrency"], int(self.concurrency))
        self.assertIs(worker.hello["recall"], True)
        self.assertIs(worker.hello["cancel"], True)
        self.assertNotIn("scoreboard", worker.hello)

    def test_values_pass_exactly(self):
        worker = self.worker()
        everything = "".join(map(chr, (*range(0xd800),
                                       *range(0xe000, 0x110000))))
        for value in (
                None, True, False, 0, -1, 2**63 - 1, -2**63, 2**64 - 1,
                2**53 + 1, 0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e16,
                "", "a\0b", "ä€😀", {}, [], [[], {}, [{}]], {"": {"": []}},
                {"a": [1, 2.0, "x", None, True]},
                [list(range(20000))], ["x" * 200 * 1024]):
            for name in ("echo", "async.echo"):
                got = worker.run(name, value)
                self.assertEqual(msgpack.packb(got), msgpack.packb(value))
        self.assertEqual(worker.run("echo", everything[:200000]),
                         everything[:200000])
        self.assertEqual(worker.run("echo", everything[-200000:]),
                         everything[-200000:])
        deep = []
        for _ in range(31):
            deep = [deep]
        self.assertEqual(worker.run("echo", deep), deep)

    def test_dataclasses_and_members(self):
        worker = self.worker()
        order = {"id": 5, "lines": [{"sku": "a", "count": 2, "price": 1.5},
                                    {"sku": "b"}],
                 "parent": {"id": 4, "lines": []}, "unknown": 1}
        self.assertEqual(worker.run("order_total", order), {
            "id": 5, "notes": {"total": "3.0"},
            "lines": [{"sku": "a", "count": 2, "price": 1.5},
                      {"sku": "b", "count": 1, "price": None}],
            "parent": {"id": 4, "lines": [], "notes": {}, "parent": None}})
        order["lines"][1]["sku"] = 7
        status, name, cause, *_ = worker.attempt("order_total", order)
        self.assertEqual((status, name), (FAILED, "Rappel.InputInvalid"))
        self.assertTrue(cause.startswith(
            "$.lines[1].sku is an integer, not a string"), cause)
        self.assertEqual(worker.run("members", {"name": "ab", "more": 1}),
                         ["abab", 1])
        self.assertEqual(worker.run("members", {"name": "ab", "times": 3},
                                    attempt=2), ["ababab", 2])
        for bad, word in (({"times": 1}, "$.name is missing"),
                          ([1], "$ is an array, not an object"),
                          ({"name": "a", "times": True},
                           "$.times is a boolean, not an integer")):
            self.assertIn(word, worker.attempt("members", bad)[2])

    def test_context(self):
        worker = self.worker()
        got = worker.run("about", token=5, attempt=3,
                         timeout_us=60_000_000, more=(2_500_000,))
        self.assertTrue(59 < got.pop("left") <= 60)
        self.assertRegex(got.pop("deadline"), r"^20.*\+00:00$")
        self.assertEqual(got, {
            "instance": INSTANCE_ID, "activation": 5, "attempt": 3,
            "key": INSTANCE_ID + ".5", "token": INSTANCE_ID + ".5.3",
            "heartbeat": 2.5, "action": "about", "same": True,
            "cancelled": False})
        got = worker.run("about")
        self.assertEqual((got["left"], got["deadline"], got["heartbeat"]),
                         (None, None, None))

    def test_exceptions_have_names_and_classes(self):
        worker = self.worker()
        for prefix in ("", "async."):
            status, name, cause, more = worker.attempt(prefix + "fails",
                                                       "card")
            self.assertEqual((status, name), (FAILED, "CardDeclined"))
            self.assertEqual(more, {"kinds": ["PaymentError", "Exception"]})
            self.assertRegex(
                cause, r'^no money\n(  File ".*/sample.py", line \d+, in '
                r'async_fails\n)?  File ".*/sample.py", line \d+, in fails$')
            self.assertEqual(worker.attempt(prefix + "fails", "renamed")[1],
                             "Shop.Renamed")
            name, cause, more = worker.attempt(prefix + "fails", "named")[1:]
            self.assertEqual(name, "My.Error")
            self.assertTrue(cause.startswith("because\n"))
            self.assertEqual(more["kinds"],
                             ["My.Base", "ActionError", "Exception"])
            for what, name in (("exit", "SystemExit"),
                               ("interrupt", "KeyboardInterrupt")):
                self.assertEqual(
                    worker.attempt(prefix + "fails", what)[:2],
                    (FAILED, name))
            self.assertEqual(
                worker.attempt(prefix + "fails", "key")[3],
                {"kinds": ["LookupError", "Exception"]})
            self.assertIn("\\udc80", worker.attempt(prefix + "fails",
                                                    "surrogate")[2])
            name, cause, *_ = worker.attempt("indescribable")[1:]
            self.assertEqual(name, "Indescribable")
            self.assertIn("cannot be described: TypeError", cause)
            cause = worker.attempt(prefix + "fails", "long")[2]
            self.assertLess(len(cause), 8000)
            self.assertIn("(cut)", cause)

    def test_results_that_are_none(self):
        worker = self.worker()
        for text, words in (
                ("2**64", "$ is an integer of 65 bits"),
                ("-2**63-1", "$ is an integer of 64 bits"),
                ("float('nan')", "$ is nan"),
                ("{'mean': [1.0, float('inf')]}", "$.mean[1] is inf"),
                ("{'a b': b'x'}", '$["a b"] is a bytes'),
                ("{'items': [0, {'when': __import__('datetime').datetime(2026"
                 ", 1, 1)}]}", "$.items[1].when is a datetime.datetime, which"
                 " is no JSON value: use .isoformat()"),
                ("[{1}]", "$[0] is a set, which is no JSON value: use sorted"),
                ("{1: 2}", "$ has the key 1, an int"),
                ("__import__('decimal').Decimal('1.1')", "a decimal.Decimal"),
                ("'x\\ud800'", "$ has the lone surrogate U+D800 at 1"),
                ("{'\\ud800': 1}", "lone surrogate"),
                ("object()", "$ is an object"),
                ("(lambda a: a.append(a) or a)([])", "nested deeper than 32"),
                ("[__import__('rappel').LATER]", "$[0] is a rappel")):
            status, name, cause, *_ = worker.attempt("gives", text)
            self.assertEqual((status, name),
                             (FAILED, "Rappel.ResultInvalid"), text)
            self.assertIn(words, cause)
        name, cause = worker.attempt("gives", "'x' * (1 << 20)")[1:3]
        self.assertEqual(name, "States.DataLimitExceeded")
        self.assertIn("has 1048581 bytes, packed; at most 1048576 fit", cause)
        size = (1 << 20) - 5  # and five for its length
        self.assertEqual(len(worker.run("gives", f"'x' * {size}")), size)
        self.assertEqual(worker.run("gives", "(1, (2,))"), [1, [2]])
        self.assertEqual(worker.run(
            "gives", "__import__('enum').IntEnum('E', 'A').A"), 1)

    def test_value_bytes_max(self):
        worker = self.worker(RAPPEL_VALUE_BYTES_MAX="1024")
        self.assertEqual(worker.run("gives", "'x' * 1021"), "x" * 1021)
        self.assertIn("1025 bytes, packed; at most 1024",
                      worker.attempt("gives", "'x' * 1022")[2])

    def test_later(self):
        worker = self.worker()
        self.assertEqual(worker.attempt("later", token=9), (LATER,))
        self.assertIn(f"waits under {INSTANCE_ID}.9.1",
                      worker.wait_log("waits under"))

    def test_unknown_action(self):
        status, name, cause = self.worker().attempt("nothing")
        self.assertEqual((status, name), (FAILED, "Rappel.UnknownAction"))
        self.assertIn('"nothing"', cause)

    def test_heartbeats(self):
        worker = self.worker()
        worker.dispatch((1, "hold", self.flag))
        worker.wait_beat(1)
        self.assertEqual(worker.beats, [[1, {"holds": self.flag}]])
        self.let_go()
        self.assertEqual(worker.answer(1), (DONE, "held"))
        name, cause = worker.attempt("huge_progress")[1:3]
        self.assertEqual(name, "Rappel.ResultInvalid")
        self.assertIn("progress has 5003 bytes", cause)
        self.assertEqual(worker.run("forks"), -signal.SIGTERM)

    def test_many_heartbeats(self):
        """A few of them, the last among these, none behind the answer."""
        worker = self.worker()
        worker.dispatch((1, "beats", [500, self.flag]))
        while [1, 500] not in worker.beats:
            worker.take()
        self.assertLess(len(worker.beats), 50)
        self.assertEqual(worker.beats, sorted(worker.beats))
        self.let_go()
        self.assertEqual(worker.answer(1), (DONE, None))
        seen = len(worker.beats)
        self.assertEqual(worker.run("beats", [3, self.flag]), None)
        worker.run("echo", 1)
        self.assertEqual(len(worker.beats), seen + 1)

    def test_recall_while_something_runs(self):
        worker = self.worker()
        holds = int(self.concurrency)
        worker.dispatch(*[(i + 1, "hold", self.flag) for i in range(holds)])
        for i in range(holds):
            worker.wait_beat(i + 1)
        worker.dispatch(*[(100 + i, "echo", i) for i in range(50)])
        worker.recall(1, *range(100, 140), 7777)
        for i in range(40):
            self.assertEqual(worker.answer(100 + i), (NOT_BEGUN,))
        self.let_go()
        for i in range(40, 50):
            self.assertEqual(worker.answer(100 + i), (DONE, i))
        self.assertEqual(worker.answer(1), (DONE, "held"))

    def test_cancel(self):
        worker = self.worker()
        for action, value in (("sleepy", 60), ("loops", None),
                              ("async.sleepy", 60)):
            if action == "sleepy" and self.concurrency != "1":
                continue  # a thread cannot be woken
            begun = time.monotonic()
            token = 10 + len(worker.done)
            worker.dispatch((token, action, value))
            worker.wait_beat(token)
            worker.cancel(token, 99)
            self.assertEqual(worker.answer(token)[:2],
                             (FAILED, "Rappel.Cancelled"))
            self.assertLess(time.monotonic() - begun, 10)
        self.assertIn("cleans up", worker.log())
        self.assertEqual(worker.run("echo", "goes on"), "goes on")

    def test_cancel_in_the_middle_of_a_heartbeat(self):
        worker = self.worker()
        for token in range(1, 20):
            worker.dispatch((token, "spins", None))
            worker.wait_beat(token)
            worker.cancel(token)
            self.assertEqual(worker.answer(token)[:2],
                             (FAILED, "Rappel.Cancelled"))

    def test_cancel_of_what_waits(self):
        worker = self.worker()
        holds = int(self.concurrency)
        worker.dispatch(*[(i + 1, "hold", self.flag) for i in range(holds)])
        for i in range(holds):
            worker.wait_beat(i + 1)
        worker.dispatch((50, "echo", 1), (51, "echo", 2))
        worker.cancel(50)
        self.assertEqual(worker.answer(50), (NOT_BEGUN,))
        self.let_go()
        self.assertEqual(worker.answer(51), (DONE, 2))

    def test_drain(self):
        worker = self.worker()
        worker.dispatch((1, "hold", self.flag), (2, "async.echo", 2),
                        (3, "echo", 3))
        worker.drain()
        self.let_go()
        for token, value in ((1, "held"), (2, 2), (3, 3)):
            self.assertEqual(worker.answer(token), (DONE, value))
        self.assertIsNone(worker.receive())
        self.assertEqual(worker.wait(), 0, worker.log())

    def test_drain_of_nothing(self):
        worker = self.worker()
        worker.drain()
        self.assertEqual(worker.wait(), 0, worker.log())

    def test_end_of_file_ends_it_whatever_runs(self):
        for action, value in (("sleepy", 60), ("async.sleepy", 60),
                              ("stubborn", None)):
            worker = self.worker()
            worker.dispatch((1, action, value))
            worker.wait_beat(1)
            worker.sock.shutdown(1)
            self.assertEqual(worker.wait(), 0, worker.log())
        worker = self.worker()
        worker.sock.close()
        self.assertEqual(worker.wait(), 0)

    def test_terminated(self):
        for action in ("sleepy", "async.sleepy"):
            if action == "sleepy" and self.concurrency != "1":
                continue
            worker = self.worker()
            worker.dispatch((1, action, 60))
            worker.wait_beat(1)
            worker.signal(signal.SIGTERM)
            self.assertEqual(worker.answer(1)[:2],
                             (FAILED, "Rappel.Cancelled"))
            self.assertEqual(worker.wait(), -signal.SIGTERM)
        worker = self.worker()
        worker.dispatch((1, "deaf", None))
        worker.wait_beat(1)
        worker.signal(signal.SIGTERM)
        self.assertEqual(worker.wait(), -signal.SIGTERM)
        worker = self.worker()
        worker.run("echo")
        worker.signal(signal.SIGTERM)
        self.assertEqual(worker.wait(), -signal.SIGTERM)

    def test_log_lines_are_events(self):
        worker = self.worker()
        worker.run("says", "x", token=12, attempt=2)
        log = worker.wait_log("plainly x")
        where = f"instance={INSTANCE_ID} activation=12 attempt=2\n"
        self.assertIn("printed x\n", log)
        self.assertRegex(
            log, r"(?m)^ts=20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
            r'level=warning comp=worker/3 msg="said \\"x\\"\\nand more" '
            r"logger=rappel\.action\.says " + where)
        self.assertRegex(log, r'level=info comp=worker/3 msg="plainly x" '
                         r"logger=shop\.orders " + where)
        self.assertNotIn("never seen", log)

    def test_protocol_violations(self):
        item = [1, fakes.INSTANCE, 1, 1, "echo", 0, 1024, None]
        deep = []
        for _ in range(33):
            deep = [deep]

        def bad_item(at, value):
            return (fakes.DISPATCH, 1, [item[:at] + [value] + item[at + 1:]])
        for what, frame in (
                ("slot", (fakes.DRAIN, 0, {}, 4, fakes.SPAWN)),
                ("spawn", (fakes.DRAIN, 0, {}, fakes.SLOT, 8)),
                ("count", (fakes.DISPATCH, 2, [item])),
                ("no array", (fakes.DISPATCH, 1, {"a": 1})),
                ("short item", (fakes.DISPATCH, 1, [item[:7]])),
                ("token", bad_item(0, 0)), ("token", bad_item(0, 1 << 61)),
                ("instance", bad_item(1, b"short")),
                ("action", bad_item(4, 7)), ("place", bad_item(6, 1025)),
                ("bytes in a value", bad_item(7, [b"x"])),
                ("not finite", bad_item(7, math.nan)),
                ("key", bad_item(7, {1: 2})), ("depth", bad_item(7, deep)),
                ("recall", (fakes.RECALL, 1, ["x"])),
                ("cancel", (fakes.CANCEL, 1, 1))):
            with self.subTest(what):
                worker = self.worker()
                worker.send(*frame)
                self.assertEqual(worker.wait(), 70)
                self.assertEqual(worker.log().count("\n"), 1)
                self.assertIn("protocol violation", worker.log())
        for what, raw in (
                ("too long", struct.pack(">I", (16 << 20) + 1)),
                ("empty", struct.pack(">I", 0)),
                ("no msgpack", struct.pack(">I", 1) + b"\xc1"),
                ("more than an array", struct.pack(">I", 2) + b"\x90\x00"),
                ("no UTF-8", struct.pack(">I", 3) + b"\x91\xa1\xff")):
            with self.subTest(what):
                worker = self.worker()
                worker.sock.sendall(raw)
                self.assertEqual(worker.wait(), 70)
                self.assertIn("protocol violation", worker.log())

    def test_unknown_parts_are_ignored(self):
        worker = self.worker()
        worker.dispatch((1, "echo", 1), more=(0, {"new": True}, None))
        self.assertEqual(worker.answer(1), (DONE, 1))

    def test_unknown_frames_are_skipped(self):
        worker = self.worker()
        for kind in (99, fakes.COMPLETION):
            worker.send(kind, 1, {"new": 1})
        self.assertEqual(worker.run("echo", 1), 1)

    def test_pieces(self):
        """A frame may come byte by byte, and several at once."""
        worker = self.worker()
        frames = b""
        for token in (1, 2):
            body = msgpack.packb([
                fakes.DISPATCH, fakes.SLOT, fakes.SPAWN, 1,
                [[token, fakes.INSTANCE, token, 1, "echo", 0, 1024,
                  token]]])
            frames += struct.pack(">I", len(body)) + body
        for byte in frames[:40]:
            worker.sock.sendall(bytes([byte]))
        worker.sock.sendall(frames[40:])
        self.assertEqual(worker.answer(1), (DONE, 1))
        self.assertEqual(worker.answer(2), (DONE, 2))


class One(Case):
    """One place: the main thread."""

    def test_main_thread_runs_it(self):
        self.assertEqual(self.worker().run("thread_name")[0], True)

    def test_in_order_and_in_batches(self):
        worker = self.worker()
        for _ in range(20):  # until it is known to be quick
            worker.run("echo", 1)
        frames, first = worker.frames, len(worker.order)
        worker.dispatch(*[(5000 + i, "echo", i) for i in range(200)])
        worker.answer(5199)
        self.assertEqual(worker.order[first:], list(range(5000, 5200)))
        self.assertLess(worker.frames - frames, 100)

    def test_quick_answers_do_not_wait_behind_slow_ones(self):
        worker = self.worker()
        for _ in range(20):
            worker.run("echo", 1)
        worker.dispatch((1, "echo", 1), (2, "hold", self.flag))
        self.assertEqual(worker.answer(1), (DONE, 1))
        self.let_go()
        worker.answer(2)

    def test_stubborn_action(self):
        worker = self.worker()
        worker.dispatch((1, "stubborn", None))
        worker.wait_beat(1)
        worker.cancel(1)  # swallowed; its answer counts for nothing
        self.assertEqual(worker.answer(1), (DONE, "stayed"))
        self.assertEqual(worker.run("echo", 1), 1)

    def test_wakes_after_a_rest(self):
        """The watch sleeps when nothing happens, and is there again."""
        worker = self.worker()
        worker.run("echo", 1)
        time.sleep(0.5)  # well over QUIET_TICKS
        worker.dispatch((1, "sleepy", 60), (2, "echo", 2))
        worker.wait_beat(1)
        worker.recall(2)
        self.assertEqual(worker.answer(2), (NOT_BEGUN,))
        worker.cancel(1)
        self.assertEqual(worker.answer(1)[1], "Rappel.Cancelled")


if __name__ == "__main__":
    unittest.main()
