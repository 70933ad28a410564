"""rappeld as a real process, without a database, for tests to look at.

The flusher is fake_flusher.py, through which each test speaks the protocol.
The programs are those of $RAPPEL_BUILD.
"""

import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

try:
    import msgpack
except ImportError:
    # Debian's modules are Debian's Python's.
    if os.path.realpath(sys.executable) == os.path.realpath(
            "/usr/bin/python3"):
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", "-B"] + sys.argv)

from patience import patience
from scoreboard import PLACES  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("RAPPEL_BUILD", "build"))

(HELLO, DISPATCH, COMPLETION, UNDELIVERABLE, GONE, KILL, DRAIN, STATUS,
 ACK, KEPT, CANCEL, HEARTBEAT, REQUEST, REPLY) = (
     1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 30, 31)
STARTING, WORKING, AWAY, DRAINING = 0, 1, 2, 3
INSTANCE = bytes(range(16))


def others_reach(path):
    """Whether another user may pass through every folder on the way."""
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


def wait_for(what, condition, seconds=10):
    until = time.monotonic() + patience(seconds)
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as text:
            return text.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pid_in(path):
    """The pid that a program wrote there, once it did."""
    def there():
        try:
            with open(path, encoding="utf-8") as text:
                found = text.read()
            return found.endswith("\n") and int(found)
        except FileNotFoundError:
            return False
    return wait_for(f"{path} holds a pid", there)


class Peer:
    """One end of a frame connection."""

    def __init__(self, sock):
        self.sock = sock
        self.data = bytearray()

    def send(self, message):
        body = msgpack.packb(message)
        self.sock.sendall(struct.pack(">I", len(body)) + body)

    def receive(self, seconds=10):
        """The next frame, or None at the end."""
        self.sock.settimeout(seconds)
        while True:
            if len(self.data) >= 4:
                size = struct.unpack(">I", self.data[:4])[0]
                if len(self.data) >= 4 + size:
                    body = bytes(self.data[4:4 + size])
                    del self.data[:4 + size]
                    return msgpack.unpackb(body, raw=False,
                                           strict_map_key=False)
            try:
                part = self.sock.recv(1 << 20)
            except ConnectionError:
                return None
            if not part:
                return None
            self.data += part

    def expect(self, kind, slot=None, seconds=10):
        """The next frame of that type; others before it are dropped."""
        until = time.monotonic() + patience(seconds)
        while True:
            frame = self.receive(max(0.01, until - time.monotonic()))
            if frame is None:
                raise AssertionError(f"no frame {kind} before the end")
            if frame[0] == kind and slot in (None, frame[1]):
                return frame

    def close(self):
        self.sock.close()


class Case(unittest.TestCase):
    workers = 2

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rappel-sv-")
        self.dir = os.path.join(self.folder, "pool")
        self.log_path = os.path.join(self.folder, "log")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(self.folder, "test.sock"))
        self.listener.listen(16)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("RAPPEL_", "PG", "NOTIFY_"))}
        self.env.update(
            RAPPEL_FLUSHER=os.path.join(HERE, "fake_flusher.py"),
            RAPPEL_TEST_SOCKET=os.path.join(self.folder, "test.sock"),
            RAPPEL_DATABASE_URL="host=/nowhere password=hidden",
            PGHOST="/nowhere")
        if os.geteuid() == 0:
            self.env["RAPPEL_WORKER_USER"] = "root"
        self.process = None
        self.seen = []
        self.peers = []

    def tearDown(self):
        for peer in self.peers:
            peer.close()
        self.listener.close()
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            wait_for("no process is left", lambda: not self.session())
        shutil.rmtree(self.folder)

    # ---- the daemon ----

    def start(self, *flags):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "supervisor", "rappeld"), "--dir",
                 self.dir, "--workers", str(self.workers), *flags],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", start_new_session=True)
        self.seen.append(self.process.pid)
        return self

    def run_rappeld(self, *args):
        return subprocess.run(
            [os.path.join(BUILD, "supervisor", "rappeld"), *args],
            env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=20, check=False)

    def log(self):
        with open(self.log_path, encoding="utf-8") as text:
            return text.read()

    def session(self):
        """Living processes of every daemon started here."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", encoding="utf-8",
                              errors="replace") as text:
                        rest = text.read().rsplit(")", 1)[1].split()
                except (OSError, IndexError):
                    continue
                if rest[0] != "Z" and int(rest[3]) in self.seen:
                    found.append(int(entry))
        return found

    def exited(self, seconds):
        begun = time.monotonic()
        code = self.process.wait(patience(seconds))
        return code, time.monotonic() - begun

    def signal(self, number):
        self.process.send_signal(number)

    def rss(self):
        """The daemon's resident memory in KiB."""
        with open(f"/proc/{self.process.pid}/statm", encoding="utf-8") as f:
            return int(f.read().split()[1]) * 4

    def sanitized(self):
        """A build whose memory says nothing: what is freed is held back."""
        with open(os.path.join(BUILD, "supervisor", "rappeld"), "rb") as f:
            return b"__asan_init" in f.read()

    # ---- the flusher ----

    def flusher(self, seconds=10):
        """The next flusher that was started: (peer, what it says)."""
        self.listener.settimeout(patience(seconds))
        peer = Peer(self.listener.accept()[0])
        self.peers.append(peer)
        name, about = peer.receive()
        self.assertEqual(name, "about")
        return peer, about

    def forget_flushers(self):
        """Those that connected and were never asked for: the next one that
        flusher() gives is of a daemon started from now on."""
        self.listener.settimeout(0)
        while True:
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                return

    def pool(self, *flags):
        """A pool at work: its flusher and the HELLO of each slot."""
        self.start(*flags)
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {"fake": True}])
        return peer, self.hellos(peer)

    def hellos(self, peer):
        found = {}
        while len(found) < self.workers:
            frame = peer.expect(HELLO)
            found[frame[1]] = frame
        return found

    def dispatch(self, peer, hello, *items):
        """items: (token, action, input). A place is used again after 1024
        others."""
        peer.send([DISPATCH, hello[1], hello[2], len(items),
                   [[token, INSTANCE, 7, 1, action, 0, token % PLACES, value]
                    for token, action, value in items]])

    def run_action(self, peer, hello, action, value):
        """[result], or (error, cause); self.more is what it says beside."""
        self.dispatch(peer, hello, (99, action, value))
        frame = peer.expect(COMPLETION)
        self.assertEqual(frame[:4], [COMPLETION, hello[1], hello[2], 1])
        item = frame[4][0]
        self.assertEqual(item[:4], [99, INSTANCE, 7, 1])
        parts = 7 if item[4] == 0 else 8
        self.more = item[parts] if len(item) > parts else {}
        return item[6:7] if item[4] == 0 else tuple(item[6:8])

    # ---- the control socket ----

    def control(self):
        peer = Peer(socket.socket(socket.AF_UNIX))
        self.peers.append(peer)
        peer.sock.connect(os.path.join(self.dir, "control.sock"))
        return peer

    def ask(self, verb, **arguments):
        peer = self.control()
        peer.send([REQUEST, 0, 0, 0, dict(arguments, verb=verb)])
        frame = peer.receive()
        peer.close()
        self.assertEqual(frame[:4], [REPLY, 0, 0, 0])
        return frame[4]

    def status(self):
        try:
            return self.ask("status")
        except OSError:
            return {}

    def wait_phase(self, phase, seconds=10):
        wait_for(f"phase {phase}",
                 lambda: self.status().get("phase") == phase, seconds)

    def worker_pid(self, slot):
        return self.process_of("worker", slot)["pid"]

    def process_of(self, kind, slot=0):
        return [p for p in self.status()["processes"]
                if (p["kind"], p["slot"]) == (kind, slot)][0]
