#!/usr/bin/python3
"""Faults G01 to G05 and G07: what people and actions hand in."""

import copy
import json
import os
import random
import tempfile
import time

import msgpack

import faultkit
import harness
import load
import pool as pools
from faultkit import repeats
from patience import patience
from pool import wait_for

LIMIT = 1 << 20  # value_bytes_max
FAILED = 1       # rappelctl: what was asked cannot be done

GOOD = {"StartAt": "A", "States": {
    "A": {"Type": "Task", "Resource": "first", "Next": "B",
          "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}],
          "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "E"}]},
    "B": {"Type": "Choice", "Default": "C", "Choices": [
        {"Variable": "$.x", "NumericEquals": 1, "Next": "D"}]},
    "C": {"Type": "Wait", "Seconds": 1, "Next": "D"},
    "D": {"Type": "Map", "ItemsPath": "$.items", "End": True,
          "ItemProcessor": {"StartAt": "M", "States": {
              "M": {"Type": "Pass", "End": True}}}},
    "E": {"Type": "Fail", "Error": "E", "Cause": "because"}}}

# What makes a good one bad, each.
BAD = (
    lambda d: d.pop("StartAt"), lambda d: d.pop("States"),
    lambda d: d.update(StartAt="nowhere"), lambda d: d.update(States=[]),
    lambda d: d.update(States={}), lambda d: d.update(StartAt=1),
    lambda d: d["States"]["A"].update(Next="nowhere"),
    lambda d: d["States"]["A"].update(End=True),
    lambda d: d["States"]["A"].pop("Next"),
    lambda d: d["States"]["A"].pop("Resource"),
    lambda d: d["States"]["A"].update(Type="Nonsense"),
    lambda d: d["States"]["A"].update(Retry=7),
    lambda d: d["States"]["A"]["Retry"][0].update(MaxAttempts=-1),
    lambda d: d["States"]["A"]["Retry"][0].update(ErrorEquals=[]),
    lambda d: d["States"]["A"]["Catch"][0].update(Next="nowhere"),
    lambda d: d["States"]["A"].update(TimeoutSeconds=-5),
    lambda d: d["States"]["A"].update(ResultPath="nonsense["),
    lambda d: d["States"]["B"].update(Choices=[]),
    lambda d: d["States"]["B"]["Choices"][0].update(Next="nowhere"),
    lambda d: d["States"]["B"]["Choices"][0].update(Variable="x["),
    lambda d: d["States"]["B"].update(Default="nowhere"),
    lambda d: d["States"]["C"].update(Seconds="soon"),
    lambda d: d["States"]["C"].update(Seconds=-1),
    lambda d: d["States"]["C"].update(SecondsPath="$.x"),
    lambda d: d["States"]["D"].update(ItemsPath="items"),
    lambda d: d["States"]["D"].pop("ItemProcessor"),
    lambda d: d["States"]["D"]["ItemProcessor"].update(StartAt="A"),
    lambda d: d["States"].update({"lost": {"Type": "Succeed"}}),
    lambda d: d["States"].update({"F" * 65536: {"Type": "Succeed"}}),
    lambda d: d["States"]["E"].update(Next="A"),
)


def nested(depth):
    return "[" * depth + "]" * depth


class Definitions(faultkit.FaultTest):
    def validate(self, text, verb="validate"):
        with tempfile.NamedTemporaryFile("w", suffix=".asl.json",
                                         encoding="utf-8",
                                         errors="surrogatepass") as file:
            file.write(text)
            file.flush()
            begun = time.monotonic()
            done = harness.ctl("workflow", verb, file.name,
                               database=self.conninfo)
            return done, time.monotonic() - begun

    def test_g01_malformed(self):
        """One thing wrong with each: refused whole, with the place."""
        self.assertEqual(self.validate(json.dumps(GOOD))[0].code, 0)
        taken = []
        for n, change in enumerate(BAD):
            bad = copy.deepcopy(GOOD)
            change(bad)
            with self.subTest(n=n):
                done, took = self.validate(json.dumps(bad, indent=1),
                                           "register")
                self.assertEqual(done.code, FAILED, f"{bad}\n{done}")
                self.assertIn(".asl.json", done.err)
                taken.append(took * 1000)
        chance = random.Random(pools.SEED)
        text = json.dumps(GOOD)
        for n in range(repeats(40, 500)):
            place = chance.randrange(len(text))
            bad = text[:place] + chance.choice(
                ("", "\0", "{", "}", "[", '"', "9", "\\", "\ud800")) + \
                text[place + chance.randrange(3):]
            with self.subTest(n=n, seed=pools.SEED, text=bad):
                self.assertIn(self.validate(bad)[0].code, (0, FAILED))
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.workflow_versions v"), [(1,)])
        self.figure("G01", "refused", taken, "ms", 50)

    def test_g01_large(self):
        many = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"}
                for n in range(99999)}
        many["S99999"] = {"Type": "Succeed"}
        done, took = self.validate(json.dumps(
            {"StartAt": "S0", "States": many}))
        self.assertEqual(done.code, 0, done.err)
        self.figure("G01", "100000_states_checked", took * 1000, "ms", 1000)
        many["S100000"] = {"Type": "Succeed"}
        many["S99999"] = {"Type": "Pass", "Next": "S100000"}
        done, _ = self.validate(json.dumps({"StartAt": "S0",
                                            "States": many}))
        self.assertEqual(done.code, FAILED, "one state too many")

    def test_g02_nesting_of_definitions(self):
        for depth, good in ((30, True), (1000, False), (1000000, False)):
            text = ('{"StartAt": "A", "States": {"A": {"Type": "Pass", '
                    f'"End": true, "Result": {nested(depth)}}}}}}}')
            done, took = self.validate(text)
            with self.subTest(depth=depth):
                self.assertEqual(done.code, 0 if good else FAILED, done.err)
                self.assertLess(took, patience(2))
        self.count("G02", "wrong_verdicts", 3)


class Values(faultkit.FaultTest):
    """Through the whole pool: as an input, and as a result."""
    replayed = False  # it reads numbers as Python does

    def setUp(self):
        super().setUp()
        self.register("echo", load.task("first"))
        self.pool = self.make_pool()
        self.pool.start().wait_running()

    def start(self, text):
        return self.query("SELECT rappel.start_workflow('echo', %s)::text",
                          text)[0][0]

    def outcome(self, instance, seconds=15):
        wait_for("it ends", lambda: self.statuses([instance]) & {
            "succeeded", "failed", "blocked"}, seconds)
        return self.query("SELECT status, output::text, error, reason"
                          " FROM rappel.workflow_instances WHERE id = %s",
                          instance)[0]

    def answered(self, *steps):
        """An instance whose action is answered like that."""
        order = self.pool.order("work", *steps)
        instance = self.start("0")
        self.pool.order_taken(order)
        return self.outcome(instance)

    def raw_result(self, packed):
        """A result of these bytes: in the place of the input's "0"."""
        return self.answered(["result", packed.hex()], ["note"])

    def over(self, fault, name, cases):
        wait_for("all instances end",
                 lambda: not self.query(
                     "SELECT 1 FROM rappel.workflow_instances WHERE status"
                     " IN ('queued', 'running', 'waiting')"), 30)
        self.assertEqual(self.findings(with_load=False)[:5], [])
        self.assertEqual(self.stop(self.pool), [])
        self.count(fault, name, cases)

    def test_g02_nesting_of_values(self):
        deep = self.outcome(self.start(nested(32)))
        self.assertEqual(deep[0], "succeeded", deep)
        self.assertEqual(json.loads(deep[1]), json.loads(nested(32)))
        refused = self.outcome(self.start(nested(33)))
        self.assertIn(refused[0], ("failed", "blocked"), refused)
        for depth, status in ((32, "succeeded"), (33, "failed")):
            with self.subTest(depth=depth):
                self.assertEqual(self.raw_result(
                    b"\x91" * (depth - 1) + b"\x90")[0], status)
        # Deeper than any frame may be: that is no answer at all.
        order = self.pool.order(
            "work", ["result", (b"\x91" * 1000 + b"\xc0").hex()], ["deaf"])
        instance = self.start("0")
        slot, spawn, _ = self.pool.order_taken(order)
        wait_for("it is replaced", lambda: self.pool.is_replaced(slot, spawn))
        self.assertEqual(self.outcome(instance)[:3:2],
                         ("failed", "States.TaskFailed"))
        self.over("G02", "wrong_verdicts_on_values", 5)

    def test_g03_sizes(self):
        """limit - 1, limit, limit + 1 of a result, packed."""
        before = max(faultkit.rss_bytes(pid) for pid in
                     self.pool.pids("flusher"))
        for more, status, error in ((-1, "succeeded", None),
                                    (0, "succeeded", None),
                                    (1, "failed",
                                     "States.DataLimitExceeded")):
            packed = msgpack.packb("x" * (LIMIT + more - 5))
            self.assertEqual(len(packed), LIMIT + more)
            with self.subTest(more=more):
                found = self.raw_result(packed)
                self.assertEqual((found[0], found[2]), (status, error))
        grown = (max(faultkit.rss_bytes(pid) for pid in
                     self.pool.pids("flusher")) - before) / 2 ** 20
        self.figure("G03", "flusher_grown", max(0, grown), "MiB", 64)
        # A start over the limit is refused where it is asked for.
        with self.assertRaisesRegex(Exception, "1048576"):
            self.start(json.dumps("x" * LIMIT))
        self.over("G03", "wrong_verdicts", 4)

    VALUES = (
        "", "\u202e\ufeff\x7f", "\x1b[2J", "\ufffe\uffff",
        "\U0001f600", "x" * 200000, 2 ** 53 + 1, 2 ** 63 - 1, -2 ** 63,
        2 ** 64 - 1, 0, -1, 0.1, -0.0, 1e300, 5e-324, 1.7976931348623157e308,
        True, False, None, [], {}, [[]], {"": ""},
        {"a": {"b": [1, {"c": None}]}}, [None] * 1000,
        {str(n): n for n in range(1000)}, ["\r\n", "\t", "\\", '"', "/"],
    )
    # What a msgpack value can say and JSON cannot.
    REFUSED = (b"\xcb\x7f\xf0" + b"\0" * 6, b"\xcb\xff\xf0" + b"\0" * 6,
               b"\xcb\x7f\xf8" + b"\0" * 6, b"\x81\x01\x01",
               b"\xc4\x01a", b"\xd4\x01\x00", b"\x81\xc0\x01")

    def test_g04_odd_values(self):
        """As input and result: read back equal, bit for bit."""
        for value in self.VALUES:
            with self.subTest(value=repr(value)[:60]):
                found = self.raw_result(msgpack.packb(value))
                self.assertEqual(found[0], "succeeded", found)
                self.assertEqual(repr(json.loads(found[1])), repr(value))
        for packed in self.REFUSED:
            with self.subTest(packed=packed.hex()):
                found = self.raw_result(packed)
                self.assertEqual(found[0], "failed", found)
        for packed in (b"\xa2\xff\xfe", b"\xa3\xed\xa0\x80", b"\xa2\xc0\x80"):
            with self.subTest(packed=packed.hex()):
                # Not UTF-8: no frame; the worker is at fault.
                self.assertEqual(self.raw_result(packed)[:3:2],
                                 ("failed", "States.TaskFailed"))
        self.pool.wait_running()
        self.over("G04", "not_equal", len(self.VALUES) + len(self.REFUSED)
                  + 3)


    def test_g04_nul(self):
        """What PostgreSQL's own json operators, and so the checker, cannot
        look into: stored, read back, no obstacle to anybody."""
        values = ("\0", "a\0b", {"\0": "\0"})
        for value in values:
            found = self.raw_result(msgpack.packb(value))
            self.assertEqual((found[0], json.loads(found[1])),
                             ("succeeded", value))
        self.assertEqual(self.outcome(self.start("1"))[0], "succeeded")
        self.assertEqual(self.stop(self.pool), [])
        self.count("G04", "not_equal_with_nul", len(values))


class Explosions(faultkit.FaultTest):
    replayed = False  # it knows no limits

    def test_g05_limits(self):
        """Endless loops and huge Maps end as failures; neighbours live."""
        self.register("loop", {"StartAt": "A", "States": {
            "A": {"Type": "Pass", "Next": "B"},
            "B": {"Type": "Choice", "Default": "A", "Choices": [
                {"Variable": "$.end", "IsPresent": True, "Next": "C"}]},
            "C": {"Type": "Succeed"}}})
        self.register("wide", {"StartAt": "A", "States": {"A": {
            "Type": "Map", "ItemsPath": "$.items", "End": True,
            "ItemProcessor": {"StartAt": "M", "States": {
                "M": {"Type": "Task", "Resource": "first",
                      "End": True}}}}}})
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up(50)
        ids = self.begin("loop", count=repeats(2, 20))
        ids += self.begin("wide", {"items": [0] * 100001})
        begun = time.monotonic()
        latencies = []
        self.register("echo", load.task("first"))
        while not latencies or self.statuses(ids) != {"failed"}:
            self.assertLess(time.monotonic() - begun, 30)
            asked = time.monotonic()
            self.wait_ended(self.begin("echo"))
            latencies.append(time.monotonic() - asked)
        self.figure("G05", "until_they_failed", time.monotonic() - begun,
                    "s", 10)
        self.figure("G05", "a_neighbour_waited", max(latencies), "s",
                    2)
        self.assertEqual({row[0] for row in self.query(
            "SELECT error FROM rappel.workflow_instances"
            " WHERE id = ANY (%s::uuid[])", ids)} - {None}, {
                row[0] for row in self.query(
                    "SELECT error FROM rappel.workflow_instances"
                    " WHERE status = 'failed'")})
        wait_for("all instances end",
                 lambda: self.load.open_count() == 0, 60, 0.05)
        self.assertEqual(self.findings(with_load=False)[:5], [])
        self.assertEqual(self.stop(pool), [])

    def test_g07_what_cannot_be_run(self):
        """Recovery meets journals and definitions that are none."""
        self.register("sleep", load.task("hang"))
        pool = self.make_pool()
        pool.start().wait_running()
        ids = self.begin("sleep", count=4)
        wait_for("they run", lambda: self.statuses(ids) == {"running"})
        pool.stop(pools.signal.SIGINT)
        self.query("DELETE FROM rappel.action_log")
        for instance, entries, seq in (
                (ids[0], "[[1,0,77,1,0]]", 1), (ids[1], "[[99,0,1,1,0]]", 1),
                (ids[2], "[[1,0,1,1,0]]", 2), (ids[3], "[{}]", 1)):
            self.query("INSERT INTO rappel.action_log VALUES"
                       " (%s, %s, 1, now(), %s)", instance, seq, entries)
        pool.release_hanging()
        pool.start().wait_running()
        self.top_up(20)
        self.progress()
        wait_for("they are set aside",
                 lambda: self.statuses(ids) == {"blocked"})
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.workflow_instances WHERE status"
            " = 'blocked' AND reason LIKE '%%journal%%'"), [(4,)])
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.action_log WHERE instance_id"
            " = ANY (%s::uuid[])", ids), [(4,)], "something was deleted")
        wait_for("the others end", lambda: self.load.open_count() == 4, 60)
        self.assertEqual(self.stop(pool), [])
        self.count("G07", "others_affected", 4)


if __name__ == "__main__":
    faultkit.main()
