#!/usr/bin/python3 -B
"""A flusher without a database: a test speaks through it.

rappeld starts it as its flusher. It connects to the test's socket
(RAPPEL_TEST_SOCKET), says HELLO to the supervisor and passes frame bodies on
in both directions. What it dispatches is written to the scoreboards that it
was handed, as waiting. A body of the test's that is no frame but
["exit", code] ends it; ["hang"] makes it deaf. It acknowledges every
COMPLETION itself and keeps KEPT to itself, unless RAPPEL_TEST_RAW is set.
"""

import msgpack
import os
import select
import socket
import struct
import sys
import time

import scoreboard

HELLO, DISPATCH, COMPLETION, ACK, KEPT, TICK = 1, 10, 11, 17, 18, 19


def frames(data):
    """Bodies of the whole frames in data, which keeps the rest."""
    while len(data) >= 4:
        size = struct.unpack(">I", data[:4])[0]
        if len(data) < 4 + size:
            return
        yield bytes(data[4:4 + size])
        del data[:4 + size]


def framed(body):
    return struct.pack(">I", len(body)) + body


class Boards:
    """What the supervisor hands over, by slot and spawn."""

    def __init__(self):
        self.sock = socket.socket(fileno=4) if "--boards" in sys.argv \
            else None
        self.known = {}

    def wait(self, slot, spawn, items):
        while self.sock is not None:
            got = scoreboard.receive(self.sock)
            if got is None:
                break
            self.known[got[:2]] = scoreboard.Board(got[2])
            os.close(got[2])
        board = self.known.get((slot, spawn))
        for item in items if board is not None else ():
            board.wait(item[6], item[0], item[1], item[2], item[3])


def main():
    boards = Boards()
    supervisor = socket.socket(fileno=3)
    test = socket.socket(socket.AF_UNIX)
    test.connect(os.environ["RAPPEL_TEST_SOCKET"])
    about = {"argv": sys.argv, "pid": os.getpid(),
             "env": dict(os.environ),
             "fds": sorted(int(n) for n in os.listdir("/proc/self/fd"))}
    test.sendall(framed(msgpack.packb(["about", about])))
    if not os.environ.get("RAPPEL_TEST_NO_HELLO"):
        supervisor.sendall(framed(msgpack.packb(
            [HELLO, 0, 0, 0, {"protocol": 1, "pid": os.getpid()}])))
    raw = os.environ.get("RAPPEL_TEST_RAW")
    ack = framed(msgpack.packb([ACK, 0, 0, 1, None]))
    data = {supervisor: bytearray(), test: bytearray()}
    while True:
        for sock in select.select([supervisor, test], [], [])[0]:
            part = sock.recv(1 << 20)
            if not part:
                return 0
            data[sock] += part
            for body in frames(data[sock]):
                if sock is supervisor:
                    kind = body[1]
                    if kind == TICK:
                        supervisor.sendall(framed(body))
                        continue
                    if not raw and kind == COMPLETION:
                        supervisor.sendall(ack)
                    if raw or kind != KEPT:
                        test.sendall(framed(body))
                    continue
                message = msgpack.unpackb(body, raw=True)
                if message[0] == b"exit":
                    return message[1]
                if message[0] == b"hang":
                    time.sleep(3600)
                if message[0] == DISPATCH:
                    boards.wait(message[1], message[2], message[4])
                supervisor.sendall(framed(body))


if __name__ == "__main__":
    sys.exit(main())
