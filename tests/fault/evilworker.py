#!/usr/bin/python3
"""A worker that does what it should not, byte by byte, when it is told to.

Without orders it is oracleworker.py. The second argument names a folder of
orders: files "any.WHEN.N" or "SLOT.WHEN.N" with a JSON list of steps. WHEN
is "start" (before HELLO) or "work" (on a DISPATCH, in the place of what it
should do). Who takes an order renames it to "taken.", and writes slot, spawn
and pid beside it. A step is [NAME, ARGUMENTS...]; "answer" is the COMPLETION
frame that would be right. Steps:

  hello [keys]        a HELLO, with these keys changed
  raw HEX             these bytes
  payload TYPE HEX    a frame of that type around this payload
  frame {keys}        the answer with other type, slot, spawn, count
  alter {keys}        from here on the answer has another token, value
  result HEX          the right answer with these bytes as its result
  one                 from here on only the first item of the answer
  answer [FROM [TO]]  these bytes of the answer (default: all)
  drip SECONDS        the answer, a byte each so many seconds
  times N             the answer so many times, and reads nothing
  flood SECONDS       the answer again and again for so long, not reading
  note                writes SENT into the record
  say BYTES           so much to standard output
  fork KIND           a grandchild: plain, session (setsid), socket (keeps it)
  sleep SECONDS, close, shutdown, stop (SIGSTOP), kill SIGNAL, exit CODE
  deaf                ignores SIGTERM, reads nothing, for ever
  spin                the same with a busy processor
  work                what it should have done; and goes on

The action "poison" kills its worker each time.
"""

import json
import os
import signal
import socket
import struct
import sys
import time

import msgpack

# A worker gets no environment of ours.
sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "integration"))

from oracleworker import ACTIONS, DISPATCH, DRAIN, HELLO, WINDOW, Worker


def frame_bytes(kind, slot, spawn, count, payload):
    """With the payload as packed bytes, whatever they are."""
    body = b"\x95" + b"".join(
        msgpack.packb(part) for part in (kind, slot, spawn, count)) + payload
    return struct.pack(">I", len(body)) + body


class EvilWorker(Worker):
    def __init__(self, record, orders):
        super().__init__(record)
        self.orders = orders
        self.held = None      # while an answer is made, not sent
        self.answer = []      # [kind, count, payload] that would be right
        self.sent = []        # what a SENT of its items would say

    def run(self, item):
        if "poison" in item:
            self.note("START", item)
            os.kill(os.getpid(), signal.SIGKILL)
        super().run(item)

    # ---- answers that are only made ----

    def send(self, kind, count, payload):
        if self.held is not None:
            self.held.append([kind, count, payload])
        else:
            super().send(kind, count, payload)

    def note(self, what, item, *more):
        if self.held is None or what == "START":
            super().note(what, item, *more)
        else:
            self.sent.append((item, more))

    def make_answer(self, items):
        self.held, self.sent = [], []
        for item in items:
            self.run(item)
        self.answer, self.held = self.held, None

    def answer_bytes(self, **other):
        return b"".join(frame_bytes(
            other.get("type", kind), other.get("slot", self.slot),
            other.get("spawn", self.spawn), other.get("count", count),
            msgpack.packb(payload)) for kind, count, payload in self.answer)

    # ---- orders ----

    def take(self, when):
        """The steps of an order for us, or None."""
        for name in sorted(os.listdir(self.orders)):
            parts = name.split(".")
            if len(parts) != 3 or parts[1] != when or \
                    parts[0] not in ("any", str(self.slot)):
                continue
            taken = os.path.join(self.orders, "taken." + name)
            try:
                os.rename(os.path.join(self.orders, name), taken)
            except FileNotFoundError:
                continue  # somebody else was quicker
            with open(taken, encoding="utf-8") as text:
                steps = json.load(text)
            with open(taken + ".by", "w", encoding="ascii") as who:
                who.write(f"{self.slot} {self.spawn} {os.getpid()}\n")
            return steps
        return None

    def follow(self, steps):
        for name, *words in steps:
            getattr(self, "step_" + name)(*words)

    def step_hello(self, keys=None):
        self.send(HELLO, 0, dict({
            "protocol": 1, "pid": os.getpid(), "actions": [*ACTIONS, "poison"],
            "window": WINDOW, "language": "evil"}, **(keys or {})))

    def step_raw(self, text):
        self.socket.sendall(bytes.fromhex(text))

    def step_payload(self, kind, text):
        self.socket.sendall(frame_bytes(kind, self.slot, self.spawn, 1,
                                        bytes.fromhex(text)))

    def step_frame(self, keys):
        self.socket.sendall(self.answer_bytes(**keys))

    def step_alter(self, keys):
        """The token is first, a result last, however long an item is."""
        for _, _, items in self.answer:
            for item in items:
                if "token" in keys:
                    item[0] = keys["token"]
                if "token_add" in keys:
                    item[0] += keys["token_add"]
                if "value" in keys:
                    item[-1] = keys["value"]

    def step_result(self, text):
        kind, count, items = self.answer[0]
        packed = msgpack.packb([*items[0][:-1], None])[:-1]
        self.socket.sendall(frame_bytes(
            kind, self.slot, self.spawn, count,
            b"\x91" + packed + bytes.fromhex(text)))

    def step_one(self):
        del self.answer[1:]

    def step_answer(self, begin=0, end=None):
        self.socket.sendall(self.answer_bytes()[begin:end])

    def step_drip(self, seconds):
        for byte in self.answer_bytes():
            self.socket.sendall(bytes((byte,)))
            time.sleep(seconds)

    def step_times(self, count):
        answer = self.answer_bytes()
        while count > 0:
            part = min(count, 100)
            self.socket.sendall(answer * part)
            count -= part

    def step_flood(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.step_times(100)

    def step_note(self):
        for item, more in self.sent:
            self.note("SENT", item, *more)

    def step_say(self, count):
        line = b"y" * 126 + b"\n"
        while count > 0:
            count -= os.write(1, line * 32)

    def step_fork(self, kind):
        if os.fork() != 0:
            return
        if kind in ("session", "socket"):
            os.setsid()
            if os.fork() != 0:
                os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if kind != "socket":
            self.socket.close()
        os.execv("/bin/sleep", ["sleep", "1000"])

    def step_sleep(self, seconds):
        time.sleep(seconds)

    def step_close(self):
        self.socket.close()

    def step_shutdown(self):
        self.socket.shutdown(socket.SHUT_RDWR)

    def step_stop(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def step_kill(self, number):
        os.kill(os.getpid(), number)

    def step_exit(self, code):
        os._exit(code)

    def step_deaf(self):
        while True:
            time.sleep(1000)

    def step_spin(self):
        while True:
            pass

    def step_work(self):
        self.step_answer()
        self.step_note()

    # ---- life ----

    def loop(self):
        steps = self.take("start")
        if steps is not None:
            self.follow(steps)
        else:
            self.step_hello()
        while True:
            frame = self.frame()
            if frame is None or frame[0] == DRAIN:
                return
            if frame[0] != DISPATCH:
                continue
            steps = self.take("work")
            if steps is None:
                for item in frame[4]:
                    self.run(item)
            else:
                self.make_answer(frame[4])
                self.follow(steps)


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        EvilWorker(sys.argv[1], sys.argv[2]).loop()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone, or has had enough of us


if __name__ == "__main__":
    main()
