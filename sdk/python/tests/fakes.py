"""A worker process, with a test as its supervisor.

    worker = fakes.Worker(self, "sample", concurrency=4)
    worker.dispatch((1, "echo", {"a": 1}))
    worker.answers(1)    # {1: [token, instance, activation, ...]}

Waits for events: every receive() has a deadline and nothing sleeps.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import msgpack

HERE = os.path.dirname(os.path.abspath(__file__))
SDK = os.path.dirname(HERE)
(HELLO, DISPATCH, COMPLETION, DRAIN, CANCEL, RECALL, HEARTBEAT) = (
    1, 10, 11, 15, 20, 21, 22)
DONE, FAILED, NOT_BEGUN, LATER = 0, 1, 2, 3
INSTANCE = bytes(range(16))
INSTANCE_ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
SLOT, SPAWN = 3, 7
SECONDS = 20  # for what takes milliseconds on a machine that is not busy


def environment(**more):
    """What a test's worker has in its environment."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("RAPPEL_", "PG", "PYTHON"))}
    env.update(PYTHONPATH=SDK + os.pathsep + HERE,
               PYTHONDONTWRITEBYTECODE="1", RAPPEL_SLOT=str(SLOT),
               RAPPEL_SPAWN=str(SPAWN), RAPPEL_LOG_LEVEL="info")
    env.update(more)
    return env


def check(*words, env=None, pass_fds=()):
    """Runs a worker to its end; exit status and what it said to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "rappel.worker", *words],
        env=env or environment(), cwd="/", pass_fds=pass_fds, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        timeout=SECONDS, check=False)
    return done.returncode, done.stderr, done.stdout


class Worker:
    def __init__(self, test, *words, **env):
        self.test = test
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(SECONDS)
        self.data = bytearray()
        self.seen = []       # frames that nobody has asked for yet
        self.done = {}       # answers, by token
        self.order = []      # tokens, as they were answered
        self.frames = 0      # COMPLETION
        self.beats = []
        self.log_file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rappel.worker", *words],
            env=environment(RAPPEL_FD=str(theirs.fileno()), **env),
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            stdout=self.log_file, stderr=self.log_file, cwd="/",
            start_new_session=True)
        theirs.close()
        test.addCleanup(self.end)
        self.hello = self.receive()[4]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.sock.close()
        self.log_file.close()

    def log(self):
        self.log_file.seek(0)
        return self.log_file.read().decode("utf-8", "replace")

    def wait(self):
        """Its exit status."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("it does not end: " + self.log()) from None

    def wait_log(self, text):
        until = time.monotonic() + SECONDS
        while text not in self.log():
            if time.monotonic() > until:
                raise AssertionError(f"no {text!r} in: {self.log()}")
            time.sleep(0.01)
        return self.log()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    # ---- frames ----

    def send(self, kind, count, payload, slot=SLOT, spawn=SPAWN):
        body = msgpack.packb([kind, slot, spawn, count, payload])
        self.sock.sendall(struct.pack(">I", len(body)) + body)

    def dispatch(self, *items, attempt=1, timeout_us=0, more=()):
        """Items are (token, action, input)."""
        self.send(DISPATCH, len(items), [
            [token, INSTANCE, token, attempt, action, timeout_us, 1024,
             value, *more] for token, action, value in items])

    def cancel(self, *tokens):
        self.send(CANCEL, len(tokens), list(tokens))

    def recall(self, *tokens):
        self.send(RECALL, len(tokens), list(tokens))

    def drain(self):
        self.send(DRAIN, 0, {})

    def receive(self):
        """The next frame; None at the end."""
        while True:
            if len(self.data) >= 4:
                size, = struct.unpack_from(">I", self.data)
                if len(self.data) >= 4 + size:
                    body = bytes(self.data[4:4 + size])
                    del self.data[:4 + size]
                    frame = msgpack.unpackb(body)
                    assert frame[1:3] == [SLOT, SPAWN], frame
                    return frame
            try:
                got = self.sock.recv(1 << 20)
            except socket.timeout:
                raise AssertionError("nothing came: " + self.log()) from None
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self.data += got

    def take(self):
        """Reads a frame and sorts it."""
        frame = self.receive()
        if frame is None:
            raise AssertionError("the worker is gone: " + self.log())
        if frame[0] == COMPLETION:
            assert frame[3] == len(frame[4]), frame
            self.frames += 1
            for item in frame[4]:
                assert item[1:4] == [INSTANCE, item[0], item[3]], item
                assert item[0] not in self.done, f"twice: {item}"
                self.done[item[0]] = item
                self.order.append(item[0])
        elif frame[0] == HEARTBEAT:
            self.beats += frame[4]
        else:
            raise AssertionError(f"unexpected: {frame}")

    def answer(self, token):
        """(status, *what follows run_us) of that item."""
        while token not in self.done:
            self.take()
        item = self.done[token]
        return (item[4], *item[6:])

    def wait_beat(self, token):
        while not any(beat[0] == token for beat in self.beats):
            self.take()

    def run(self, action, value=None, token=None, **more):
        """The result of one that ends well."""
        status, *rest = self.attempt(action, value, token, **more)
        self.test.assertEqual(status, DONE, rest)
        return rest[0]

    def attempt(self, action, value=None, token=None, **more):
        token = token or 1000 + len(self.done)
        self.dispatch((token, action, value), **more)
        return self.answer(token)
