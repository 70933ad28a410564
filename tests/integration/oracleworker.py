#!/usr/bin/python3
"""A worker that keeps a record of its own, written from docs/protocol.md.

For tests: rappeld runs it in the place of rappel-worker (RAPPEL_WORKER).
Every START and SENT of an action is one line, appended to the file that the
first argument names, so that it survives a SIGKILL and can be compared with
the journal. A line has, separated by tabs: what, wall clock and boot clock
in microseconds, instance, activation, attempt, action, pid, spawn; that of
SENT also the hash of the result, or "-" for a failure.

It has no compare-and-swap and so no use for its scoreboard: it gets one
action at a time.

It ignores SIGTERM. The action "hang" ends when the file RECORD.release is
there; it gets nothing done and hears nothing until then.
"""

import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time

import msgpack

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15
ACTIONS = ("first", "nap", "second", "last", "hang", "fails")
WINDOW = 4


def sha(value):
    """Of the JSON, so that it does not matter how it is written."""
    return hashlib.sha256(json.dumps(
        value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def action_fails(value):
    raise ValueError(f"asked to fail with {value!r}")


class Worker:
    def __init__(self, record):
        self.release = record + ".release"
        self.record = os.open(record,
                              os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.slot = int(os.environ["RAPPEL_SLOT"])
        self.spawn = int(os.environ["RAPPEL_SPAWN"])
        self.socket = socket.socket(fileno=int(os.environ["RAPPEL_FD"]))
        self.pending = b""

    def note(self, what, item, *more):
        line = "\t".join(str(part) for part in (
            what, time.time_ns() // 1000,
            time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
            item[1].hex(), item[2], item[3], item[4], os.getpid(),
            self.spawn, *more))
        # A SIGKILL may tear a line: the next one begins a new one.
        os.write(self.record, b"\n" + line.encode() + b"\n")

    def send(self, kind, count, payload):
        body = msgpack.packb([kind, self.slot, self.spawn, count, payload])
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def frame(self):
        """The next frame, or None at the end of file."""
        while True:
            if len(self.pending) >= 4:
                size = struct.unpack(">I", self.pending[:4])[0]
                if len(self.pending) >= 4 + size:
                    body = self.pending[4:4 + size]
                    self.pending = self.pending[4 + size:]
                    return msgpack.unpackb(body)
            got = self.socket.recv(1 << 16)
            if not got:
                return None
            self.pending += got

    def hang(self):
        while not os.path.exists(self.release):
            time.sleep(0.02)

    def run(self, item):
        action, value = item[4], item[-1]
        begun = time.monotonic_ns()
        self.note("START", item)
        try:
            if action == "nap":
                time.sleep(value["seconds"])
            elif action == "hang":
                self.hang()
            elif action == "fails":
                action_fails(value)
            answer = [*item[:4], 0, 0, value]
        except Exception as why:  # an action may fail as it likes
            answer = [*item[:4], 1, 0, type(why).__name__, str(why)]
        answer[5] = (time.monotonic_ns() - begun) // 1000
        self.send(COMPLETION, 1, [answer])
        self.note("SENT", item, "-" if answer[4] else sha(value))

    def loop(self):
        self.send(HELLO, 0, {"protocol": 1, "pid": os.getpid(),
                             "actions": list(ACTIONS), "window": WINDOW,
                             "language": "oracle"})
        while True:
            frame = self.frame()
            if frame is None or frame[0] == DRAIN:
                return
            if frame[0] == DISPATCH:
                for item in frame[4]:
                    self.run(item)


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        Worker(sys.argv[1]).loop()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone


if __name__ == "__main__":
    main()
