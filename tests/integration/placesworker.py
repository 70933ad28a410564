#!/usr/bin/python3
"""A worker without a scoreboard that runs several actions at once.

For tests: rappeld runs it in the place of rappel-worker, with a thread for each
action and one that reads meanwhile. The first argument names a record to which
it appends a line for each START, END and BACK of an item, for each CANCEL of
one, and for SIGTERM (TERM): what, boot clock in microseconds, instance,
attempt, slot, spawn. The second says how many it runs at once, the third its
window. Its action "work" does what its input says: {"seconds": n} takes so
long, unless it is cancelled; {"deaf": true} goes on; {"stubborn": true} lets
the worker outlive SIGTERM; {"kill": true} kills it; {"beats": [...]} is the
progress that it says, one every 0.1 s.
"""

import os
import queue
import signal
import socket
import struct
import sys
import threading
import time

import msgpack

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15
CANCEL, RECALL, HEARTBEAT = 20, 21, 22
NOT_BEGUN = 2
WANTED, BEGUN, BACK = range(3)


class Item:
    def __init__(self, parts):
        self.parts = parts
        self.state = WANTED
        self.cancelled = threading.Event()


class Worker:
    def __init__(self, record, places, window):
        self.record = os.open(record,
                              os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.places, self.window = int(places), int(window)
        self.slot = int(os.environ["RAPPEL_SLOT"])
        self.spawn = int(os.environ["RAPPEL_SPAWN"])
        self.socket = socket.socket(fileno=int(os.environ["RAPPEL_FD"]))
        self.pending = b""
        self.lock = threading.Lock()  # of what is held, and of writing
        self.held = {}  # by token
        self.queue = queue.SimpleQueue()
        self.stubborn = False

    def note(self, what, parts=None):
        line = "\t".join(str(part) for part in (
            what, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
            parts[1].hex() if parts else "-", parts[3] if parts else 0,
            self.slot, self.spawn))
        # A SIGKILL may tear a line: the next one begins a new one.
        os.write(self.record, b"\n" + line.encode() + b"\n")

    def send(self, kind, items, payload=None):
        """With the lock held."""
        body = msgpack.packb([kind, self.slot, self.spawn, len(items),
                              items if payload is None else payload])
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

    # ---- in the threads ----

    def work(self):
        while True:
            item = self.queue.get()
            with self.lock:
                if item.state == BACK:
                    continue
                item.state = BEGUN
            self.run(item)

    def run(self, item):
        token, value = item.parts[0], item.parts[7]
        self.note("START", item.parts)
        begun = time.monotonic_ns()
        if isinstance(value, dict):
            self.play(item, value)
        took = (time.monotonic_ns() - begun) // 1000
        self.note("END", item.parts)
        with self.lock:
            del self.held[token]
            self.send(COMPLETION, [[*item.parts[:4], 0, took, value]])

    def play(self, item, value):
        if value.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.stubborn |= value.get("stubborn", False)
        for progress in value.get("beats", ()):
            with self.lock:
                self.send(HEARTBEAT, [[item.parts[0], progress]])
            time.sleep(0.1)
        if value.get("deaf"):
            time.sleep(value.get("seconds", 0))
        else:
            item.cancelled.wait(value.get("seconds", 0))

    # ---- in the one that reads ----

    def recalled(self, tokens):
        with self.lock:
            back = [item for item in map(self.held.get, tokens)
                    if item is not None and item.state == WANTED]
            for item in back:
                item.state = BACK
                del self.held[item.parts[0]]
                self.note("BACK", item.parts)
            if back:
                self.send(COMPLETION, [[*item.parts[:4], NOT_BEGUN, 0]
                                       for item in back])

    def cancelled(self, tokens):
        with self.lock:
            found = [self.held[token] for token in tokens
                     if token in self.held]
        for item in found:
            self.note("CANCEL", item.parts)
            item.cancelled.set()

    def terminated(self, number, frame):
        del number, frame
        self.note("TERM")
        if not self.stubborn:
            os._exit(0)

    def loop(self):
        signal.signal(signal.SIGTERM, self.terminated)
        for _ in range(self.places):
            threading.Thread(target=self.work, daemon=True).start()
        with self.lock:
            self.send(HELLO, [], {
                "protocol": 1, "pid": os.getpid(), "actions": ["work"],
                "concurrency": self.places, "window": self.window,
                "recall": True, "cancel": True, "language": "places"})
        while True:
            frame = self.frame()
            if frame is None:
                return
            if frame[0] == DISPATCH:
                for parts in frame[4]:
                    item = Item(parts)
                    with self.lock:
                        self.held[parts[0]] = item
                    self.queue.put(item)
            elif frame[0] == RECALL:
                self.recalled(frame[4])
            elif frame[0] == CANCEL:
                self.cancelled(frame[4])
            elif frame[0] == DRAIN:
                while self.held:
                    time.sleep(0.01)
                return


def main():
    try:
        Worker(*sys.argv[1:]).loop()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone


if __name__ == "__main__":
    main()
