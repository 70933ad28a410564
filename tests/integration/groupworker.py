#!/usr/bin/python3 -B
"""A worker for tests of groups, written from docs/protocol.md alone.

It serves the actions that its arguments name. Each says who ran it; an input
{"seconds": n} makes it take so long.
"""

import os
import socket
import struct
import sys
import time

import msgpack

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15


class Worker:
    def __init__(self, actions):
        self.actions = actions
        self.slot = int(os.environ["RAPPEL_SLOT"])
        self.spawn = int(os.environ["RAPPEL_SPAWN"])
        self.socket = socket.socket(fileno=int(os.environ["RAPPEL_FD"]))

    def send(self, kind, count, payload):
        body = msgpack.packb([kind, self.slot, self.spawn, count, payload])
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                sys.exit(0)  # the supervisor is gone
            data += part
        return data

    def run(self, item):
        begun = time.monotonic()
        value = item[7]
        if isinstance(value, dict):
            time.sleep(value.get("seconds", 0))
        result = {"action": item[4], "group": os.environ["RAPPEL_GROUP"],
                  "slot": self.slot}
        self.send(COMPLETION, 1, [[*item[:4], 0,
                                   int((time.monotonic() - begun) * 1e6),
                                   result]])

    def loop(self):
        self.send(HELLO, 0, {"protocol": 1, "pid": os.getpid(),
                             "actions": self.actions, "window": 1,
                             "language": "python"})
        while True:
            size = struct.unpack(">I", self.read(4))[0]
            kind, _, _, _, payload = msgpack.unpackb(self.read(size))
            if kind == DRAIN:
                return
            if kind == DISPATCH:
                for item in payload:
                    self.run(item)


if __name__ == "__main__":
    Worker(sys.argv[1:]).loop()
