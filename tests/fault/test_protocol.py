#!/usr/bin/python3
"""Faults B01 to B07: what a worker can say on its socket.

Whatever it says costs itself only: the others work on, supervisor and
flusher are the processes of before and no larger, and no byte of it is in
the journal.
"""

import os
import struct
import time

import msgpack

import faultkit
from faultkit import repeats
from pool import wait_for

COMPLETION = 12
# The text by which a false result would be known.
TORN = "a result that must not count"


def hexed(*parts):
    return b"".join(parts).hex()


def body(*parts, kind=COMPLETION, payload=b"\xc0"):
    """A frame whose header is made of these packed parts."""
    text = b"\x95" + msgpack.packb(kind) + b"".join(
        msgpack.packb(part) for part in parts) + payload
    return struct.pack(">I", len(text)) + text


class ProtocolTest(faultkit.FaultTest):
    poison_by_chance = True
    open_wanted = 60

    def setUp(self):
        super().setUp()
        self.pool = self.make_pool()
        self.pool.start().wait_running()
        self.top_up()
        self.parts = {kind: self.pool.pids(kind)
                      for kind in ("supervisor", "flusher")}
        self.told = 0

    def order(self, *steps, when="work"):
        """Gives the order, and adds work so that somebody takes it."""
        self.top_up()
        taken = self.pool.order(when, *steps)
        return taken, self.pool.order_taken(taken)

    def expect_end(self, *steps, when="work", seconds=5, reason=None):
        """That costs the worker its life, and the log says why. The next
        case need not wait for its successor: there are others."""
        taken, (slot, _, pid) = self.order(*steps, when=when)
        wait_for(f"the worker dies of {steps!r:.200}",
                 lambda: not os.path.exists(f"/proc/{pid}"), seconds)
        took = time.time() - os.stat(taken + ".by").st_mtime
        if reason is not None:
            lines = [line for line in self.pool.log_lines(reason)
                     if f"slot={slot}" in line]
            self.assertTrue(lines, f"{reason}:\n{self.pool.log_tail()}")
        return took

    def all_over(self, fault, cases):
        """Nobody else noticed, nothing of it is written."""
        self.assertEqual(self.parts, {
            kind: self.pool.pids(kind) for kind in self.parts},
            self.pool.log_tail())
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.action_log WHERE entries::text"
            " LIKE %s", f"%{TORN}%"), [(0,)])
        self.pool.wait_running(10)
        self.progress()
        self.finish(self.pool)
        self.count(fault, f"accepted_or_lost_{self._testMethodName[9:]}",
                   cases)


class Frames(ProtocolTest):
    def test_b01_closed_at_every_byte(self):
        """Only a whole frame counts. The answer has about 60 bytes; the
        last one of them makes it a result."""
        length = 60
        step = 1 if faultkit.FULL else 12
        cuts = [*range(0, length, step), -2, -1]
        for cut in cuts:
            with self.subTest(cut=cut):
                taken, (slot, spawn, _) = self.order(
                    ["one"], ["alter", {"value": TORN}],
                    ["answer", 0, cut],
                    ["exit", 0])
                self.assertTrue(taken)
                wait_for("it is replaced",
                         lambda s=slot, n=spawn: self.pool.is_replaced(s, n))
        self.order(["answer"], ["exit", 0])
        self.all_over("B01", len(cuts) + 1)

    def test_b02_half_a_frame(self):
        """Silence in a frame, and a byte a second: the frame's deadline."""
        took = []
        for _ in range(repeats(1, 5)):
            orders = [self.order(*steps) for steps in (
                [["answer", 0, 20], ["deaf"]], [["one"], ["drip", 1]])]
            for taken, (_, _, pid) in orders:
                wait_for("it is killed", lambda p=pid: not os.path.exists(
                    f"/proc/{p}"), 15)
                took.append(time.time() - os.stat(taken + ".by").st_mtime)
        self.figure("B02", "freed", took, "s", 11)
        self.all_over("B02", len(took))

    def test_b03_no_frame_at_all(self):
        """Garbage, lengths, headers, HELLO twice, late or never."""
        huge = struct.pack(">I", 0xffffffff)
        work = (
            ["raw", os.urandom(64).hex()], ["raw", "00000000"],
            ["raw", hexed(huge)], ["raw", hexed(huge, b"\x95\x0c")],
            ["raw", hexed(struct.pack(">I", 1), b"\xc1")],
            ["raw", hexed(struct.pack(">I", 2), b"\x90\x00")],
            ["raw", hexed(b"GET / HTTP/1.1\r\n\r\n")],
            ["raw", hexed(body(0, 1, 0, kind=99))],
            ["raw", hexed(body(0, 1, 0, kind=0))],
            ["raw", hexed(body(0, 1, 0, kind="HELLO"))],
            ["raw", hexed(body(-1, 1, 0))],
            ["raw", hexed(body(70000, 1, 0))],
            ["raw", hexed(body(0, 1, 0), b"\x00")],
            ["frame", {"type": 10}], ["frame", {"type": 14}],
            ["frame", {"type": 16}], ["frame", {"type": 200}],
            ["frame", {"slot": 3, "spawn": 9}], ["frame", {"spawn": 77}],
            ["frame", {"slot": 65535}], ["hello"],
        )
        first = ([["answer"]], [["raw", "00"], ["close"], ["deaf"]],
                 [["frame", {}]], [["exit", 0]])
        for n in range(repeats(1, 40)):
            for step in work:
                with self.subTest(n=n, step=step):
                    # What is only half there waits for more to come.
                    self.expect_end(step, ["close"], ["deaf"])
            for steps in first:
                with self.subTest(n=n, steps=steps):
                    self.pool.order("start", ["payload", COMPLETION, "90"],
                                    *steps)
                    self.expect_end(["exit", 0])
        grown = faultkit.rss_bytes(self.pool.process.pid) / 2 ** 20
        self.figure("B03", "supervisor_memory", grown, "MiB", 16)
        self.all_over("B03", (len(work) + len(first)) * repeats(1, 40))

    def test_b03_never_says_hello(self):
        self.pool.order("start", ["deaf"])
        self.top_up()
        begun = time.monotonic()
        slot, spawn, _ = self.pool.order_taken(
            self.pool.order("work", ["exit", 0]))
        wait_for("it is replaced, twice",
                 lambda: self.pool.is_replaced(slot, spawn + 1), 15)
        self.assertTrue(self.pool.log_lines("no HELLO within"))
        self.figure("B03", "without_hello", time.monotonic() - begun, "s",
                    5 + 1.5)
        self.all_over("B03", 1)


class Payloads(ProtocolTest):
    # Counts that are not there, depth, bytes that are no type.
    BOMBS = (
        "ddffffffff", "dfffffffff", "c9ffffffff00", "dbffffffff", "c6ffffffff",
        "91" * 33 + "c0", "dd00000001" * 31 + "ddffffffff", "91d9ff",
        "c1", "91c1", "9195000000a1ff", "92c0", "81a161", "c7ff00",
        "de0002a16101a16102", "91" * 5000 + "c0", "d9", "cb00", "", "9100",
        "a5" + "61" * 5, "94c0c0c0c0", "9194c0000000",
    )

    def test_b04_bombs(self):
        bombs = list(self.BOMBS)
        # 16 MiB of elements of one byte, within the frame's limit.
        bombs.append("dd00f00000" + "c0" * 0xf00000)
        flusher = self.parts["flusher"][0]
        before = faultkit.rss_bytes(flusher)
        for n in range(repeats(1, 20)):
            for bomb in bombs:
                with self.subTest(n=n, bomb=bomb[:60]):
                    self.expect_end(["payload", COMPLETION, bomb], ["deaf"],
                                    seconds=10)
        grown = (faultkit.rss_bytes(flusher) - before) / 2 ** 20
        self.figure("B04", "flusher_grown", max(0, grown), "MiB", 64)
        self.all_over("B04", len(bombs) * repeats(1, 20))

    def test_b05_said_twice(self):
        """The same again: one row. Other content: the first one counts."""
        before = self.pool.flusher_status().get("commits", 0)
        many = repeats(1000, 10000)
        self.order(["times", 2], ["note"])
        self.order(["answer"], ["times", many], ["note"])
        self.order(["answer"], ["sleep", 0.2], ["answer"], ["note"])
        self.order(["answer"], ["alter", {"value": TORN}], ["answer"],
                   ["exit", 0])
        self.progress(100)
        late = self.pool.flusher_status().get("commits", 0) - before
        self.figure("B05", "commits_for_duplicates", late / many, "", 1)
        self.all_over("B05", many + 4)

    def test_b06_of_others(self):
        """Tokens of nobody, of another worker, of yesterday."""
        for keys in ({"token": 0}, {"token": 2 ** 64 - 1}, {"token": 1},
                     {"token_add": 1}, {"token_add": 1 << 24},
                     {"token_add": -1 << 24}):
            with self.subTest(keys=keys):
                # A worker may be killed for it, or only not be heard.
                self.order(["alter", dict(keys, value=TORN)], ["answer"],
                           ["sleep", 0.1], ["exit", 0])
        self.all_over("B06", 6)

    def test_b06_before_it_began(self):
        """A worker that was replaced: its old results are not the new's."""
        self.pool.order("start", ["hello"], ["payload", COMPLETION, hexed(
            msgpack.packb([[1, 0, 5, TORN]]))], ["exit", 1])
        self.order(["exit", 0])
        self.all_over("B06", 1)


class Floods(ProtocolTest):
    def test_b07_flood(self):
        """As fast as it can write; the others keep half of their share."""
        self.progress(100)
        calm = self.rate(2)
        _, (slot, spawn, _) = self.order(["answer"], ["flood", 4],
                                         ["exit", 0])
        flooded = self.rate(2)
        memory = sum(faultkit.rss_bytes(pid) for pids in self.parts.values()
                     for pid in pids) / 2 ** 20
        self.figure("B07", "memory_of_both", memory, "MiB", 128)
        wait_for("it is replaced",
                 lambda: self.pool.is_replaced(slot, spawn), 30)
        # Three of four workers are left to them.
        self.figure("B07", "rate_of_the_others", flooded / calm / 0.75 * 100,
                    "%", 50, at_least=True)
        self.all_over("B07", 1)

    def rate(self, seconds):
        """Entries a second, with enough to do all the time."""
        self.load.nap = 0
        before, begun = self.entries(), time.monotonic()
        while time.monotonic() - begun < seconds:
            self.top_up(200)
            time.sleep(0.02)
        return (self.entries() - before) / (time.monotonic() - begun)

    def test_b07_never_reads(self):
        """What it is sent waits; what it holds goes elsewhere in the end."""
        # It gets what it never asks for until its action's time is over.
        self.register("slow", faultkit.load.task("first", TimeoutSeconds=2))
        self.load.top_up(0)
        instance = self.begin("slow")
        _, (_, _, pid) = self.order(["deaf"])
        begun = time.monotonic()
        wait_for("it ends", lambda: self.statuses(instance) <= {
            "failed", "succeeded"}, 20)
        self.figure("B07", "action_elsewhere", time.monotonic() - begun, "s", 3)
        if os.path.exists(f"/proc/{pid}"):
            os.kill(pid, 9)  # it had an action without a timeout
        self.assertEqual(self.parts, {
            kind: self.pool.pids(kind) for kind in self.parts})
        self.wait_ended(instance)
        wait_for("all instances end", lambda: self.load.open_count() == 0,
                 faultkit.HEAL_S, 0.05)
        self.assertEqual(self.findings(with_load=False)[:9], [])
        self.assertEqual(self.stop(self.pool), [])


if __name__ == "__main__":
    faultkit.main()
