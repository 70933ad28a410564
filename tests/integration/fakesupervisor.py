"""The flusher alone, with a supervisor and workers that a test plays.

    flusher = fakesupervisor.Flusher(self, conninfo)
    flusher.start(); flusher.hello(0, ["echo"])

What is dispatched is answered at once with its own input, but for actions
named "hold": those are kept in flusher.held until release(). Everything that
was dispatched is in flusher.seen. Proxy stands between it and the database
and cuts connections where a test wants it.
"""

import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

import msgpack

import harness
import scoreboard
from patience import patience
from pool import wait_for

HELLO, DISPATCH, COMPLETION = 1, 10, 11
UNDELIVERABLE, GONE, KILL, DRAIN, STATUS = 12, 13, 14, 15, 16
ACK, KEPT, TICK = 17, 18, 19
CANCEL, RECALL, HEARTBEAT = 20, 21, 22
NOT_BEGUN = 2
WORKING = 1


def answer(item):
    """The COMPLETION item of one that gives its input back."""
    return [*item[:4], 0, 3, item[-1]]


class Flusher:
    """One process, from start() to its end."""

    def __init__(self, test, database, **settings):
        self.folder = harness.scratch(test)
        self.env = harness.clean_env(RAPPEL_DATABASE_URL=database)
        for name, value in settings.items():
            self.env["RAPPEL_" + name.upper()] = str(value)
        self.log_path = os.path.join(self.folder, "log")
        self.process = None
        self.sock = None
        self.boards_sock = None
        self.boards = {}   # of the workers, by slot
        self.held = []     # (slot, spawn, item)
        self.seen = []     # (instance, activation, attempt, action)
        self.frames = []   # all others: KILL and what surprises
        self.status = {}
        self.health = 0
        self.counts = {}   # of items, by slot
        self.claiming = set()  # slots that write their scoreboards
        self.kept = []     # frames of an earlier flusher: slot, spawn,
                           # count, payload
        self.left = 0      # workers of an earlier one: say hello() for each
        self.acked = 0     # frames
        self.ticks = 0     # that it answered
        self.ticking = True
        self.holding = True
        self.writing = threading.Lock()
        self.keeping = threading.Lock()  # of what is held
        self.reader = None
        test.addCleanup(self.end)

    # ---- its life ----

    def start(self):
        self.sock, theirs = socket.socketpair()
        self.boards_sock, boards = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [harness.program("rappel-flusher"), "--fd",
                 str(theirs.fileno()), "--boards", str(boards.fileno()),
                 "--dir", self.folder],
                env=self.env, pass_fds=[theirs.fileno(), boards.fileno()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        theirs.close()
        boards.close()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def _tick(self):
        process = self.process
        while process.poll() is None and process is self.process:
            if self.ticking:
                self.send(TICK, 0, 0, 0, None)
            time.sleep(0.5)

    def wait_working(self):
        wait_for("the flusher works", lambda: self.health == WORKING or
                 self.process.poll() is not None)
        if self.process.poll() is not None:
            raise AssertionError(self.log())
        return self

    def hello(self, slot, actions, spawn=1, window=64, board=True,
              notes=False, before=0, **more):
        """board: it claims places; notes: it leaves its board alone. more:
        concurrency, recall, cancel."""
        self.counts[slot] = 0
        self.boards.pop(slot, None)
        self.claiming.discard(slot)
        if board or notes:
            fd = scoreboard.make()
            self.boards[slot] = scoreboard.Board(fd)
            scoreboard.send(self.boards_sock, slot, spawn, fd)
            os.close(fd)
        if board:
            self.claiming.add(slot)
        self.send(HELLO, slot, spawn, before, {
            "protocol": 1, "pid": 1, "actions": actions, "window": window,
            "scoreboard": board, **more})
        return self

    def give_back(self, slot, spawn, items):
        """They were not begun."""
        self.send(COMPLETION, slot, spawn, len(items),
                  [[*item[:4], NOT_BEGUN, 0] for item in items])

    def beat(self, slot, spawn, *beats):
        """Each (token, progress)."""
        self.send(HEARTBEAT, slot, spawn, len(beats),
                  [list(beat) for beat in beats])

    def told(self, kind):
        """The frames of that kind so far: (slot, spawn, payload)."""
        return [frame[1:] for frame in self.frames if frame[0] == kind]

    def gone(self, slot, spawn=1):
        self.held = [held for held in self.held if held[0] != slot]
        self.send(GONE, slot, spawn, self.counts[slot], {"reason": "a test"})

    def drain(self, grace=30):
        self.send(DRAIN, 0, 0, 0, {"grace_us": int(grace * 1000000)})

    def close(self):
        """The supervisor is gone."""
        self.sock.shutdown(socket.SHUT_RDWR)

    def wait_exit(self, seconds):
        try:
            return self.process.wait(patience(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended within {seconds} s\n"
                                 + self.log()) from None

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.sock is not None:
            self.sock.close()
            self.boards_sock.close()
            self.reader.join()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()

    # ---- frames ----

    def send(self, kind, slot, spawn, count, payload):
        self.send_raw(kind, slot, spawn, count, msgpack.packb(payload))

    def send_raw(self, kind, slot, spawn, count, payload):
        body = b"\x95" + b"".join(
            msgpack.packb(part) for part in (kind, slot, spawn, count))
        body += payload
        with self.writing:
            try:
                self.sock.sendall(struct.pack(">I", len(body)) + body)
            except OSError:
                pass  # it has ended; whoever waits for something will see

    def _read(self):
        got = b""
        while True:
            try:
                part = self.sock.recv(1 << 20)
            except OSError:
                return
            if not part:
                return
            got += part
            while len(got) >= 4:
                size = 4 + struct.unpack(">I", got[:4])[0]
                if len(got) < size:
                    break
                self._frame(*msgpack.unpackb(got[4:size],
                                             strict_map_key=False))
                got = got[size:]

    def _frame(self, kind, slot, spawn, count, payload):
        if kind == STATUS:
            self.status, self.health = payload, count
        elif kind == DISPATCH:
            self.counts[slot] = self.counts.get(slot, 0) + count
            self._dispatched(slot, spawn, payload)
        elif kind == HELLO:
            self.send(KEPT, 0, 0, 0, {"frames": len(self.kept),
                                      "workers": self.left})
            for frame in self.kept:
                self.send(COMPLETION, *frame)
        elif kind == ACK:
            self.acked += count
        elif kind == TICK:
            self.ticks += 1
        else:
            self.frames.append((kind, slot, spawn, payload))

    def _dispatched(self, slot, spawn, items):
        answers = []
        for item in items:
            if not self.claim(slot, item):
                continue
            self.seen.append((item[1], item[2], item[3], item[4]))
            with self.keeping:
                held = item[4] == "hold" and self.holding
                if held:
                    self.held.append((slot, spawn, item))
            if not held:
                answers.append(self.answer(slot, item))
        if answers:
            self.send(COMPLETION, slot, spawn, len(answers), answers)

    def claim(self, slot, item):
        """A worker begins it; False when it was recalled."""
        return (slot not in self.claiming or
                self.boards[slot].claim(item[6], item[0]))

    def answer(self, slot, item):
        """It has ended, with its input as its result."""
        if slot in self.claiming:
            self.boards[slot].done(item[6], item[0])
        return [*item[:4], 0, 3, item[7]]

    def complete(self, slot, spawn, item):
        self.send(COMPLETION, slot, spawn, 1, [self.answer(slot, item)])

    def release(self):
        """What is held is answered, and from now on at once."""
        with self.keeping:
            self.holding = False
            held, self.held = self.held, []
        for slot, spawn, item in held:
            self.complete(slot, spawn, item)

    def wait_held(self, count):
        wait_for(f"{count} are held", lambda: len(self.held) >= count or
                 self.process.poll() is not None)
        if len(self.held) < count:
            raise AssertionError(self.log())


class Proxy:
    """Between the flusher and a cluster's socket.

    judge(name, to_server, data) is asked for every piece that passes, with
    the session's application name: True lets it pass, False cuts both sides
    with the piece undelivered, bytes pass in its place.
    """

    def __init__(self, test, cluster):
        self.folder = harness.scratch(test, "rappel-proxy-")
        self.target = os.path.join(cluster.dir, ".s.PGSQL.5432")
        self.judge = lambda name, to_server, data: True
        self.cuts = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(self.folder, ".s.PGSQL.5432"))
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()
        test.addCleanup(self._close)

    def conninfo(self, cluster, database):
        return cluster.conninfo(database).replace(
            f"host={cluster.dir}", f"host={self.folder}")

    def _close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,),
                             daemon=True).start()

    def _carry(self, client):
        server = socket.socket(socket.AF_UNIX)
        name = ""
        try:
            server.connect(self.target)
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(1 << 20)
                    if not data:
                        return
                    if name == "" and b"application_name\0" in data:
                        name = data.split(b"application_name\0")[1].split(
                            b"\0")[0].decode()
                    verdict = self.judge(name, end is client, data)
                    if not verdict:
                        self.cuts += 1
                        return
                    if verdict is not True:
                        data = verdict
                    (server if end is client else client).sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()


def spoil_commits(count):
    """A judge: so many of the writer's commits succeed, but what arrives is
    an error without SQLSTATE, as libpq makes them itself without memory."""
    left = [count]
    fields = b"SERROR\0VERROR\0Mout of memory for query result\0\0"
    error = b"E" + struct.pack(">I", 4 + len(fields)) + fields

    def judge(name, to_server, data):
        good = b"C\0\0\0\x0bCOMMIT\0"
        if name != "rappel writer" or to_server or left[0] == 0 or \
                good not in data:
            return True
        left[0] -= 1
        return data.replace(good, error)
    return judge, left


def cut_at_random(share, seed):
    """A judge: cuts the writer around its COMMITs, before or after."""
    chance = random.Random(seed)

    def judge(name, to_server, data):
        if name != "rappel writer" or chance.random() >= share:
            return True
        return b"\0commit\0" not in data if to_server \
            else b"COMMIT\0" not in data
    return judge
