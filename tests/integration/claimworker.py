#!/usr/bin/python3
"""A worker that claims places in its scoreboard, and that may misbehave.

For tests: rappeld runs it in the place of rappel-worker. The first argument
names a record to which it appends a line for each START, SENT and SKIP of an
item: what, boot clock in microseconds, instance, attempt, slot, spawn. Its
action "work" does what its input says, in this order: {"garbage": true}
scribbles over the whole scoreboard, {"kill": true} kills the worker,
{"seconds": n} takes so long, {"steal": true} answers under its token for
another instance.
"""

import os
import signal
import socket
import struct
import sys
import time

import msgpack

import scoreboard

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15


class Worker:
    def __init__(self, record):
        self.record = os.open(record,
                              os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.slot = int(os.environ["RAPPEL_SLOT"])
        self.spawn = int(os.environ["RAPPEL_SPAWN"])
        self.socket = socket.socket(fileno=int(os.environ["RAPPEL_FD"]))
        self.board = scoreboard.Board(int(os.environ["RAPPEL_SCOREBOARD_FD"]))
        self.pending = b""

    def note(self, what, item):
        line = "\t".join(str(part) for part in (
            what, scoreboard.now_us(), item[1].hex(), item[3], self.slot,
            self.spawn))
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

    def run(self, item):
        token, place, value = item[0], item[6], item[7]
        has_place = place < scoreboard.PLACES
        if has_place and not self.board.claim(place, token):
            self.note("SKIP", item)
            return
        self.note("START", item)
        begun = time.monotonic_ns()
        answer = [*item[:4], 0, 0, value]
        if isinstance(value, dict):
            if value.get("garbage"):
                self.board.memory[:] = os.urandom(len(self.board.memory))
            if value.get("kill"):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(value.get("seconds", 0))
            if value.get("steal"):
                answer[1] = bytes(16)
        answer[5] = (time.monotonic_ns() - begun) // 1000
        if has_place:
            self.board.done(place, token)
        self.send(COMPLETION, 1, [answer])
        self.note("SENT", item)

    def loop(self):
        self.send(HELLO, 0, {"protocol": 1, "pid": os.getpid(),
                             "actions": ["work"], "window": 128,
                             "scoreboard": True, "language": "claims"})
        while True:
            frame = self.frame()
            if frame is None or frame[0] == DRAIN:
                return
            if frame[0] == DISPATCH:
                for item in frame[4]:
                    self.run(item)


def main():
    try:
        Worker(sys.argv[1]).loop()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone


if __name__ == "__main__":
    main()
