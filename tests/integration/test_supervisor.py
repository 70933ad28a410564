#!/usr/bin/python3 -B
"""rappeld and rappel-worker as real processes, without a database.

The flusher is fake_flusher.py, through which each test speaks the protocol.
usage: test_supervisor.py BUILD-FOLDER [unittest argument...]
"""

import fcntl
import json
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

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("RAPPEL_BUILD", ".")

(HELLO, DISPATCH, COMPLETION, UNDELIVERABLE, GONE, KILL, DRAIN, STATUS,
 REQUEST, REPLY) = (1, 10, 11, 12, 13, 14, 15, 16, 30, 31)
STARTING, WORKING, AWAY, DRAINING = 0, 1, 2, 3
INSTANCE = bytes(range(16))


def wait_for(what, condition, seconds=10):
    until = time.monotonic() + seconds
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
        until = time.monotonic() + seconds
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
        code = self.process.wait(seconds)
        return code, time.monotonic() - begun

    def signal(self, number):
        self.process.send_signal(number)

    # ---- the flusher ----

    def flusher(self, seconds=10):
        """The next flusher that was started: (peer, what it says)."""
        self.listener.settimeout(seconds)
        peer = Peer(self.listener.accept()[0])
        self.peers.append(peer)
        name, about = peer.receive()
        self.assertEqual(name, "about")
        return peer, about

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
        """items: (token, action, input) or with timeout_us."""
        peer.send([DISPATCH, hello[1], hello[2], len(items),
                   [[token, INSTANCE, 7, 1, action, 0, value]
                    for token, action, value in items]])

    def run_action(self, peer, hello, action, value):
        self.dispatch(peer, hello, (99, action, value))
        frame = peer.expect(COMPLETION)
        self.assertEqual(frame[:4], [COMPLETION, hello[1], hello[2], 1])
        item = frame[4][0]
        self.assertEqual(item[0], 99)
        return item[3:] if item[1] == 0 else tuple(item[3:])

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


class Life(Case):

    def test_start_work_and_stop(self):
        peer, hello = self.pool()
        self.wait_phase("running")
        found = self.status()
        self.assertEqual(found["pid"], self.process.pid)
        self.assertEqual(found["dir"], self.dir)
        self.assertEqual(found["dev"], False)
        self.assertEqual(found["flusher"], {"fake": True})
        self.assertEqual(found["left_out"], 0)
        self.assertEqual([p["phase"] for p in found["processes"]],
                         ["ready"] * 3)
        self.assertEqual(hello[1][4]["protocol"], 1)
        self.assertEqual(hello[1][4]["pid"], self.worker_pid(1))
        self.assertIn("command", hello[1][4]["actions"])
        self.dispatch(peer, hello[1], (5, "echo", {"a": [1, 2]}),
                      (6, "noop", {"b": 1}), (7, "nothing", None))
        items = []
        while len(items) < 3:
            frame = peer.expect(COMPLETION, 1)
            self.assertEqual(frame[3], len(frame[4]))
            items += frame[4]
        self.assertEqual([items[0][:2], items[0][3]], [[5, 0], {"a": [1, 2]}])
        self.assertEqual([items[1][:2], items[1][3]], [[6, 0], None])
        self.assertEqual([items[2][:2], items[2][3]],
                         [[7, 1], "Rappel.UnknownAction"])
        self.signal(signal.SIGTERM)
        drain = peer.expect(DRAIN)
        self.assertEqual(drain[4], {"grace_us": 30000000})
        peer.send(["exit", 0])
        code, seconds = self.exited(5)
        self.assertEqual(code, 0)
        self.assertLess(seconds, 1)
        self.assertEqual(os.listdir(self.dir), ["lock"])

    def test_what_children_inherit(self):
        self.env.update(SECRET="x", PGPASSWORD="y", LANG="C")
        self.start("--database", "host=/flag")
        peer, about = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        hello = self.hellos(peer)
        self.assertEqual(about["argv"][1:],
                         ["--fd", "3", "--dir", self.dir])
        self.assertEqual(about["env"]["RAPPEL_DATABASE_URL"], "host=/flag")
        self.assertEqual(about["env"]["PGPASSWORD"], "y")
        self.assertNotIn("SECRET", about["env"])
        pid = hello[0][4]["pid"]
        with open(f"/proc/{pid}/environ", "rb") as text:
            names = sorted(e.split(b"=")[0].decode()
                           for e in text.read().split(b"\0") if e)
        for name in names:
            self.assertIn(name, [
                "PATH", "HOME", "LANG", "TZ", "JOURNAL_STREAM", "RAPPEL_FD",
                "RAPPEL_SLOT", "RAPPEL_SPAWN", "RAPPEL_LOG_LEVEL",
                "RAPPEL_VALUE_BYTES_MAX"])
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/fd")),
                         ["0", "1", "2", "3"])
        with open(f"/proc/{pid}/cmdline", "rb") as text:
            self.assertEqual(text.read(), b"rappel-worker: slot 0 spawn 1\0")
        with open(f"/proc/{pid}/status", encoding="utf-8") as text:
            status = dict(line.split(":\t") for line in
                          text.read().splitlines() if ":\t" in line)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(int(status["SigBlk"], 16), 0)
        self.assertEqual(os.getpgid(pid), pid)

    def test_a_dead_worker_is_reported_and_replaced(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "echo", 1))
        peer.expect(COMPLETION, 0)
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        begun = time.monotonic()
        gone = peer.expect(GONE)
        self.assertEqual(gone[1:3], [0, 1])
        self.assertEqual(gone[4], {"reason": "killed by signal 9"})
        again = peer.expect(HELLO, 0)
        self.assertLess(time.monotonic() - begun, 0.5)
        self.assertEqual(again[1:3], [0, 2])
        found = self.process_of("worker", 0)
        self.assertEqual((found["restarts"], found["last_exit"]),
                         (1, "killed by signal 9"))
        # What was meant for the dead one comes back untouched.
        self.dispatch(peer, hello[0], (2, "echo", {"x": 1}))
        back = peer.expect(UNDELIVERABLE)
        self.assertEqual(back[1:4], [0, 1, 1])
        self.assertEqual(back[4][0][6], {"x": 1})
        self.assertEqual(self.run_action(peer, again, "echo", 5), [5])
        peer.send([DISPATCH, 700, 1, 0, []])
        self.assertEqual(peer.expect(UNDELIVERABLE)[1:3], [700, 1])

    def test_kill_takes_the_process_group(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[1],
                      (1, "command", {"command": ["sleep", "1000"]}))
        pid = hello[1][4]["pid"]

        def child():
            with open(f"/proc/{pid}/task/{pid}/children",
                      encoding="utf-8") as text:
                return text.read().split()
        program = int(wait_for("the program runs", child)[0])
        peer.send([KILL, 1, 1, 0, {"reason": "timeout"}])
        gone = peer.expect(GONE)
        self.assertEqual(gone[4]["reason"], "killed at the flusher's request")
        self.assertFalse(alive(pid))
        wait_for("the program is gone", lambda: not alive(program), 2)
        # Being killed on request is no failure: no backoff.
        self.assertEqual(peer.expect(HELLO, 1, 0.5)[2], 2)

    def test_a_flusher_that_dies_takes_the_workers_along(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        time.sleep(0.05)
        os.kill(self.process_of("flusher")["pid"], signal.SIGKILL)
        begun = time.monotonic()
        peer, about = self.flusher()
        again = self.hellos(peer)
        self.assertLess(time.monotonic() - begun, 1)
        self.assertEqual([again[0][2], again[1][2]], [2, 2])
        self.assertFalse(alive(hello[0][4]["pid"]))
        self.wait_phase("starting")
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.wait_phase("running")
        self.assertEqual(self.run_action(peer, again[0], "echo", 1), [1])

    def test_a_fenced_flusher_is_replaced_at_once(self):
        peer, _ = self.pool()
        self.wait_phase("running")
        begun = time.monotonic()
        peer.send(["exit", 75])
        peer, _ = self.flusher()
        self.assertLess(time.monotonic() - begun, 0.5)
        self.hellos(peer)
        self.assertIsNone(self.process.poll())

    def test_a_killed_supervisor_leaves_nobody(self):
        self.env["RAPPEL_TEST_NO_HELLO"] = ""
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.dispatch(peer, hello[1],
                      (1, "command", {"command": ["sleep", "1000"]}))
        time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        wait_for("everybody is gone", lambda: not self.session(), 2)
        # The next one takes over lock and socket.
        self.start()
        self.hellos(self.flusher()[0])
        self.assertEqual(self.ask("ping"), {"ok": True})

    def test_signal_storm(self):
        self.pool()
        for _ in range(200):
            for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1,
                           signal.SIGPIPE, signal.SIGALRM):
                self.signal(number)
        self.wait_phase("running")
        self.assertEqual(self.ask("ping"), {"ok": True})


class Stopping(Case):

    def test_a_worker_that_never_ends(self):
        peer, hello = self.pool("--shutdown-grace", "700ms")
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        time.sleep(0.05)
        self.signal(signal.SIGTERM)
        begun = time.monotonic()
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 700000})
        self.wait_phase("draining")
        gone = [peer.expect(GONE)[1], peer.expect(GONE)[1]]
        self.assertGreater(time.monotonic() - begun, 0.6)
        self.assertEqual(sorted(gone), [0, 1])
        peer.send(["exit", 0])
        self.assertEqual(self.exited(2)[0], 0)
        self.assertLess(time.monotonic() - begun, 1.7)

    def test_a_flusher_that_never_ends(self):
        peer, _ = self.pool("--shutdown-grace", "300ms")
        peer.send(["hang"])
        self.signal(signal.SIGTERM)
        code, seconds = self.exited(5)
        self.assertEqual(code, 1)
        self.assertLess(seconds, 1.3)
        self.assertGreater(seconds, 1.0)

    def test_the_second_term_forces(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.signal(signal.SIGTERM)
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 30000000})
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 0})
        peer.expect(GONE)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)
        self.assertLess(time.monotonic() - begun, 1)

    def test_int_forces(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.signal(signal.SIGINT)
        peer.expect(GONE)
        peer.send(["exit", 0])
        code, seconds = self.exited(3)
        self.assertEqual(code, 0)
        self.assertLess(seconds, 1)

    def test_quit_kills_everything(self):
        peer, _ = self.pool()
        peer.send(["hang"])
        self.signal(signal.SIGQUIT)
        code, seconds = self.exited(3)
        self.assertEqual(code, 1)
        self.assertLess(seconds, 0.9)

    def test_term_before_the_flusher_says_hello(self):
        self.env["RAPPEL_TEST_NO_HELLO"] = "1"
        self.start("--shutdown-grace", "200ms")
        self.flusher()
        self.signal(signal.SIGTERM)
        code, seconds = self.exited(3)
        self.assertEqual(code, 1)
        self.assertLess(seconds, 1.2)

    def test_term_at_once(self):
        for pause in (0, 0.001, 0.01, 0.03):
            self.start("--shutdown-grace", "200ms")
            wait_for("signals are handled", lambda: "starting" in self.log())
            time.sleep(pause)
            self.signal(signal.SIGTERM)
            _, seconds = self.exited(3)
            self.assertLess(seconds, 1.2)
            os.truncate(self.log_path, 0)

    def test_drain_keeps_the_daemon(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"ms": 300}))
        self.assertEqual(self.ask("drain"),
                         {"ok": True, "phase": "draining"})
        peer.expect(DRAIN)
        self.assertEqual(self.status()["phase"], "draining")
        peer.expect(COMPLETION)
        peer.send(["exit", 0])
        self.wait_phase("drained")
        self.assertEqual([p["phase"] for p in self.status()["processes"]],
                         ["free"] * 3)
        time.sleep(0.3)
        self.assertEqual(self.status()["phase"], "drained")
        self.assertEqual(self.ask("stop")["ok"], True)
        self.assertEqual(self.exited(3)[0], 0)

    def test_stop_verb(self):
        peer, hello = self.pool()
        self.assertEqual(self.ask("stop", grace_us=-1)["code"], 2)
        self.assertEqual(self.ask("stop", now="yes")["code"], 2)
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.assertEqual(self.ask("stop", grace_us=60000000)["ok"], True)
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 60000000})
        self.assertEqual(self.ask("stop", now=True)["ok"], True)
        peer.expect(GONE)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)


class Refusing(Case):

    def test_exit_codes_of_the_flusher(self):
        for code in (75, 77, 78):
            self.start()
            peer, _ = self.flusher()
            peer.send(["exit", code])
            self.assertEqual(self.exited(3)[0], code)
            self.assertEqual(os.listdir(self.dir), ["lock"])

    def test_second_daemon(self):
        self.pool()
        found = self.run_rappeld("--dir", self.dir)
        self.assertEqual(found.returncode, 75)
        self.assertIn(f"pid {self.process.pid}", found.stderr)
        self.assertEqual(self.ask("ping"), {"ok": True})

    def test_directory(self):
        os.mkdir(self.dir)
        os.symlink(self.dir, self.folder + "/link")
        found = self.run_rappeld("--dir", self.folder + "/link")
        self.assertEqual((found.returncode, "symbolic link" in found.stderr),
                         (77, True))
        os.chmod(self.dir, 0o777)
        self.assertEqual(self.run_rappeld("--dir", self.dir).returncode, 77)
        if os.geteuid() == 0:
            os.chmod(self.dir, 0o700)
            os.chown(self.dir, 12345, 12345)
            found = self.run_rappeld("--dir", self.dir)
            self.assertEqual(found.returncode, 77)
            self.assertIn("12345", found.stderr)
            os.chown(self.dir, 0, 0)
        long = os.path.join(self.folder, "d" * 100)
        found = self.run_rappeld("--dir", long)
        self.assertEqual(found.returncode, 78)
        self.assertIn("choose a shorter", found.stderr)
        open(self.folder + "/file", "wb").close()
        found = self.run_rappeld("--dir", self.folder + "/file/x")
        self.assertEqual(found.returncode, 78)

    def test_usage_and_configuration(self):
        for args, code in ((["--help"], 0), (["-V"], 0), (["-t"], 0),
                           (["--nonsense"], 64), (["more"], 64),
                           (["-c", "/nowhere/x"], 78),
                           (["--workers", "0"], 78),
                           (["--shutdown-grace", "soon"], 78),
                           (["--database", "password=x"], 78)):
            found = self.run_rappeld(*args)
            self.assertEqual(found.returncode, code, (args, found))
        self.env["RAPPEL_WORKER"] = "/nowhere/worker"
        found = self.run_rappeld("--dir", self.dir)
        self.assertEqual(found.returncode, 78)
        self.assertIn("/nowhere/worker", found.stderr)

    def test_flusher_in_a_crash_loop_backs_off(self):
        self.env["RAPPEL_FLUSHER"] = "/bin/false"
        self.start()
        time.sleep(1.6)
        restarts = self.process_of("flusher")["restarts"]
        self.assertLessEqual(restarts, 5)
        self.assertGreaterEqual(restarts, 3)
        self.assertEqual(self.status()["phase"], "starting")
        self.signal(signal.SIGTERM)
        self.assertEqual(self.exited(2)[0], 0)

    def test_worker_that_cannot_start_backs_off(self):
        self.env["RAPPEL_WORKER"] = "/bin/true"
        self.start()
        time.sleep(1.6)
        found = self.process_of("worker")
        self.assertLessEqual(found["restarts"], 5)
        self.assertEqual(found["last_exit"], "exit status 0")


EVIL = """#!/usr/bin/python3 -B
import msgpack, os, socket, struct, sys, time
s = socket.socket(fileno=3)
slot, spawn = int(os.environ["RAPPEL_SLOT"]), int(os.environ["RAPPEL_SPAWN"])
def send(*parts):
    body = msgpack.packb(parts)
    s.sendall(struct.pack(">I", len(body)) + body)
def hello():
    send(1, slot, spawn, 0, {"protocol": 1, "pid": os.getpid(),
                             "actions": ["x"], "window": 4})
if spawn > 1 or slot != 0:
    hello()
    s.recv(1)
    sys.exit(0)
"""


class Evil(Case):
    """Slot 0's first life misbehaves; the rest of the pool is fine."""

    def evil(self, code):
        program = os.path.join(self.folder, "evil")
        with open(program, "w", encoding="utf-8") as text:
            text.write(EVIL + code)
        os.chmod(program, 0o755)
        self.env["RAPPEL_WORKER"] = program
        self.start()
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        return peer

    def check_replaced(self, peer, reason, seconds=3):
        while True:
            frame = peer.expect(HELLO, 0, seconds)
            if frame[2] == 2:
                break
        self.assertIn(reason, self.process_of("worker", 0)["last_exit"])
        self.assertEqual(self.process_of("worker", 1)["restarts"], 0)

    def test_in_the_name_of_another(self):
        peer = self.evil("hello(); send(11, 1, 1, 0, [])\ns.recv(9)")
        self.check_replaced(peer, "another worker's name")

    def test_types_of_others(self):
        peer = self.evil("hello(); send(14, slot, spawn, 0, {})\ns.recv(9)")
        self.check_replaced(peer, "broke the protocol")

    def test_hello_twice(self):
        peer = self.evil("hello(); hello()\ns.recv(9)")
        self.check_replaced(peer, "HELLO twice")

    def test_completion_before_hello(self):
        peer = self.evil("send(11, slot, spawn, 0, [])\ns.recv(9)")
        self.check_replaced(peer, "COMPLETION before HELLO")

    def test_garbage(self):
        peer = self.evil("s.sendall(b'\\xff' * 100)\ns.recv(9)")
        self.check_replaced(peer, "broke the protocol")

    def test_half_a_frame(self):
        peer = self.evil("hello(); s.sendall(b'\\0\\0\\1\\0abc'); s.close()")
        self.check_replaced(peer, "")

    def test_closed_socket_but_alive(self):
        peer = self.evil("hello(); s.close(); os.close(3) if 0 else None\n"
                         "time.sleep(1000)")
        self.check_replaced(peer, "closed its socket and stayed")

    def test_no_hello(self):
        peer = self.evil("time.sleep(1000)")
        self.check_replaced(peer, "no HELLO within 5 s", 8)

    def test_descendant_that_holds_the_socket(self):
        peer = self.evil("hello()\nif os.fork() == 0:\n  os.setsid()\n"
                         "  time.sleep(2)\n  os._exit(0)\n"
                         "time.sleep(0.1)\nos._exit(3)")
        frame = peer.expect(GONE, 0, 3)
        self.assertEqual(frame[4]["reason"], "exit status 3")
        self.check_replaced(peer, "exit status 3")
        time.sleep(1.5)

    def test_everything_sent_arrives_before_gone(self):
        peer = self.evil(
            "hello(); s.recv(99)\nfor i in range(2000):\n"
            "  send(11, slot, spawn, 1, [[i, 0, 1, 'x' * 1000]])\n"
            "os.kill(os.getpid(), 9)")
        self.dispatch(peer, peer.expect(HELLO, 0), (1, "x", None))
        got = []
        while True:
            frame = peer.receive()
            if frame[0] == COMPLETION:
                got += [item[0] for item in frame[4]]
            if frame[0] == GONE:
                break
        self.assertEqual(got, list(range(2000)))

    def test_never_reads(self):
        peer = self.evil("hello()\ntime.sleep(1000)")
        while peer.expect(HELLO)[1] != 0:
            pass
        big = "x" * (1 << 20)
        for token in range(40):
            peer.send([DISPATCH, 0, 1, 1,
                       [[token, INSTANCE, 1, 1, "x", 0, big]]])
        # The others and the flusher's orders are not held up by that.
        peer.send([KILL, 0, 1, 0, {}])
        peer.expect(GONE, 0, 3)

    def test_flusher_that_does_not_read(self):
        peer = self.evil(
            "hello(); s.recv(99)\nfor i in range(64):\n"
            "  send(11, slot, spawn, 1, [[i, 0, 1, 'x' * 1000000]])\n"
            "s.recv(1)")
        self.dispatch(peer, peer.expect(HELLO, 0), (1, "x", None))
        time.sleep(1)  # the fake stops reading when nobody reads it
        with open(f"/proc/{self.process.pid}/status",
                  encoding="utf-8") as text:
            rss = [int(line.split()[1]) for line in text
                   if line.startswith("VmRSS")][0]
        self.assertLess(rss, 40 << 10)
        self.assertEqual(self.ask("ping"), {"ok": True})
        for token in range(64):
            self.assertEqual(peer.expect(COMPLETION)[4][0][0], token)


class Control(Case):

    def test_bad_requests(self):
        self.start()
        for request in ({}, [], {"verb": "shutdown"}, {"verb": 1}, None):
            peer = self.control()
            peer.send([REQUEST, 0, 0, 0, request])
            frame = peer.receive()
            self.assertEqual((frame[4]["ok"], frame[4]["code"]), (False, 2))
        for raw in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"GET / HTTP/1.0\r\n",
                    struct.pack(">I", 65537)):
            peer = self.control()
            peer.sock.sendall(raw)
            self.assertIsNone(peer.receive())
        self.assertEqual(self.ask("ping"), {"ok": True})
        mode = os.stat(os.path.join(self.dir, "control.sock")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir).st_mode), 0o700)

    def test_many_and_slow_clients(self):
        self.start()
        wait_for("it listens", self.status)
        held = [self.control() for _ in range(63)]
        self.assertEqual(self.ask("ping"), {"ok": True})
        begun = time.monotonic()
        self.assertIsNone(held[0].receive(8))
        self.assertGreater(time.monotonic() - begun, 4)
        self.assertLess(time.monotonic() - begun, 6)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_other_users(self):
        self.start()
        wait_for("it listens", self.status)
        os.chmod(self.folder, 0o711)
        os.chmod(self.dir, 0o711)
        os.chmod(os.path.join(self.dir, "control.sock"), 0o666)
        code = ("import os, socket, sys; os.setgid(65534); "
                "os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
                "s.connect(sys.argv[1]); "
                "sys.exit(b'only root' not in s.recv(999))")
        subprocess.run([sys.executable, "-c", code,
                        os.path.join(self.dir, "control.sock")], check=True)

    def test_status_before_and_without_a_flusher(self):
        self.env["RAPPEL_TEST_NO_HELLO"] = "1"
        self.start()
        wait_for("it listens", self.status)
        self.assertEqual(self.status()["phase"], "starting")
        self.assertIsNone(self.status()["flusher"])

    def test_phases_by_health(self):
        peer, _ = self.pool()
        self.wait_phase("running")
        peer.send([STATUS, 0, 0, AWAY, {"a": 1}])
        self.wait_phase("database-away")
        peer.send([STATUS, 0, 0, WORKING, {"a": 2}])
        self.wait_phase("running")


def postgres_bin():
    """Where --dev finds it; None when PostgreSQL is not installed."""
    found = [int(v) for v in os.listdir("/usr/lib/postgresql")
             if v.isdigit()] if os.path.isdir("/usr/lib/postgresql") else []
    return found and f"/usr/lib/postgresql/{max(found)}/bin"


CTL = """#!/bin/sh
echo "$@" >> "$RAPPEL_TEST_RECORD"
exec {bin}/psql -X -q -d "$RAPPEL_DATABASE_URL" \\
    -c 'create table if not exists migrated (n int)' > /dev/null || exit 6
"""


@unittest.skipIf(not postgres_bin(), "PostgreSQL is not installed")
class Dev(Case):

    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o711)
        self.ctl = os.path.join(self.folder, "ctl")
        self.record = os.path.join(self.folder, "record")
        self.write_ctl(CTL.format(bin=postgres_bin()))
        del self.env["RAPPEL_DATABASE_URL"]
        self.env.update(RAPPEL_CTL=self.ctl, RAPPEL_TEST_RECORD=self.record)

    def write_ctl(self, text):
        with open(self.ctl, "w", encoding="utf-8") as script:
            script.write(text)
        os.chmod(self.ctl, 0o755)

    def psql(self, database, sql):
        return subprocess.run(
            [postgres_bin() + "/psql", "-XAtq", "-d", database, "-c", sql],
            env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
            timeout=20, check=False).stdout.strip()

    def dev(self):
        self.start("--dev")
        peer, about = self.flusher(60)
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.hellos(peer)
        return peer, about

    def test_cluster_lives_with_the_daemon(self):
        peer, about = self.dev()
        database = about["env"]["RAPPEL_DATABASE_URL"]
        self.assertNotIn("PGHOST", about["env"])
        self.assertEqual(about["argv"][-1], "--dev")
        self.assertEqual(self.psql(database, "select count(*) from migrated"),
                         "0")
        self.assertEqual(self.psql(
            database, "select current_setting('fsync') || "
            "current_setting('synchronous_commit') || "
            "current_setting('listen_addresses')"), "onon")
        with open(self.dir + "/rappel.conf", encoding="utf-8") as text:
            self.assertIn(f'url = "{database}"', text.read())
        with open(self.record, encoding="utf-8") as text:
            self.assertEqual(text.read(),
                             f"--dir {self.dir} db migrate --quiet\n")
        self.wait_phase("running")
        self.assertEqual(self.process_of("postgres")["phase"], "ready")
        self.assertEqual(self.status()["dev"], True)

        # It dies: it is started again, and nobody else has to be.
        os.kill(self.process_of("postgres")["pid"], signal.SIGKILL)
        wait_for("postgres is back",
                 lambda: self.psql(database, "select 1") == "1", 20)
        wait_for("and known to be", lambda:
                 self.process_of("postgres")["phase"] == "ready")
        self.assertEqual(self.process_of("flusher")["restarts"], 0)

        self.psql(database, "insert into migrated values (7)")
        self.signal(signal.SIGTERM)
        peer.expect(DRAIN)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)
        self.assertEqual(sorted(os.listdir(self.dir)),
                         ["lock", "pg", "pg-socket", "pg.log",
                          "rappel.conf"])
        self.assertEqual(os.listdir(self.dir + "/pg-socket"), [])

        # Again, and killed with all its children at their own pace.
        begun = time.monotonic()
        peer, _ = self.dev()
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(self.psql(database, "select n from migrated"), "7")
        self.process.kill()
        self.process.wait()
        self.start("--dev")
        peer, _ = self.flusher(30)
        self.assertEqual(self.psql(database, "select n from migrated"), "7")
        os.remove(self.dir + "/rappel.conf")
        self.signal(signal.SIGINT)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)

        # A postmaster that outlived its daemon is stopped, not trusted.
        user = {"user": "postgres"} if os.geteuid() == 0 else {}
        stray = subprocess.Popen(
            [postgres_bin() + "/postgres", "-D", self.dir + "/pg", "-k",
             self.dir + "/pg-socket", "-c", "listen_addresses="],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            **user)
        wait_for("the stray one answers",
                 lambda: self.psql(database, "select 1") == "1")
        self.start("--dev")
        peer, _ = self.flusher(30)
        self.assertIsNotNone(stray.wait(5))
        self.signal(signal.SIGINT)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)

    def test_term_while_the_cluster_is_made(self):
        for pause in (0.1, 0.5, 1.2):
            self.start("--dev", "--shutdown-grace", "100ms")
            time.sleep(pause)
            self.signal(signal.SIGTERM)
            # 1 if the flusher was there already: it is not told to go.
            code, seconds = self.exited(12)
            self.assertIn(code, (0, 1, -signal.SIGTERM))
            self.assertLess(seconds, 6)
        # What was half made is no obstacle.
        peer, _ = self.dev()
        self.signal(signal.SIGINT)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)

    def test_migration_that_fails(self):
        self.write_ctl("#!/bin/sh\necho 'no, not this' >&2\nexit 1\n")
        self.env["RAPPEL_DATABASE_URL"] = "host=/nowhere dbname=x"
        self.start("--dev")
        self.assertEqual(self.exited(10)[0], 78)
        self.assertIn("no, not this", self.log())
        self.assertFalse(os.path.exists(self.dir + "/pg"))


class Notify(Case):

    def test_init_system(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.folder, "notify")
        sock.bind(path)
        sock.settimeout(5)
        self.env.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="200000")

        def until(what):
            while True:
                text = sock.recv(4096).decode()
                if what in text:
                    return
                self.assertNotEqual(text, "READY=1")
        self.start()
        peer, about = self.flusher()
        self.assertNotIn("NOTIFY_SOCKET", about["env"])
        self.hellos(peer)
        until("WATCHDOG=1")
        peer.send([STATUS, 0, 0, WORKING, {}])
        until("READY=1")
        until("STATUS=running, 2 of 2")
        until("WATCHDOG=1")
        self.signal(signal.SIGTERM)
        until("STOPPING=1")
        until("EXTEND_TIMEOUT_USEC=")
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)
        sock.close()


class Actions(Case):
    workers = 1

    def setUp(self):
        super().setUp()
        self.env["SECRET"] = "x"
        self.peer, hello = self.pool()
        self.hello = hello[0]

    def act(self, action, value):
        return self.run_action(self.peer, self.hello, action, value)

    def shell(self, script, **more):
        return self.act("command",
                        dict(more, command=["sh", "-c", script]))

    def test_small_ones(self):
        self.assertEqual(self.act("noop", {"a": 1}), [None])
        self.assertEqual(self.act("echo", [1.5, None, "ä"]),
                         [[1.5, None, "ä"]])
        self.assertEqual(self.act("fail", {"error": "My.Error",
                                           "cause": "so"}),
                         ("My.Error", "so"))
        self.assertEqual(self.act("fail", None), ("States.TaskFailed", ""))
        self.assertEqual(self.act("fail", {"error": ""})[0],
                         "Rappel.InputInvalid")
        begun = time.monotonic()
        self.assertEqual(self.act("sleep", {"seconds": 0.1, "k": 1}),
                         [{"seconds": 0.1, "k": 1}])
        self.assertGreater(time.monotonic() - begun, 0.09)
        self.assertEqual(self.act("sleep", {"ms": 1}), [{"ms": 1}])
        for bad in (None, {}, {"seconds": -1}, {"ms": "1"},
                    {"seconds": 1e300}):
            self.assertEqual(self.act("sleep", bad)[0],
                             "Rappel.InputInvalid")

    def test_quick_answers_do_not_wait_behind_slow_ones(self):
        self.dispatch(self.peer, self.hello, (1, "echo", 1),
                      (2, "sleep", {"seconds": 1}), (3, "echo", 3))
        begun = time.monotonic()
        self.assertEqual(self.peer.expect(COMPLETION)[4][0][0], 1)
        self.assertLess(time.monotonic() - begun, 0.5)
        got = []
        while len(got) < 2:
            got += [i[0] for i in self.peer.expect(COMPLETION)[4]]
        self.assertEqual(got, [2, 3])

    def test_command_input(self):
        self.assertEqual(
            self.act("command", {"command": ["cat"], "a": 1, "b": [2]}),
            [{"a": 1, "b": [2]}])
        self.assertEqual(
            self.act("command", {"command": ["cat"], "stdin": [1], "a": 1}),
            [[1]])
        self.assertEqual(self.act("command", {"command": ["cat"]}), [{}])
        self.assertEqual(
            self.act("command", {"command": ["cat"], "output": "text",
                                 "stdin_text": "raw\n"}), ["raw"])
        self.assertEqual(
            self.act("command", {"command": ["printf", "a\nb\n\nc\n"],
                                 "output": "lines"}), [["a", "b", "", "c"]])
        self.assertEqual(
            self.act("command", {"command": ["pwd"], "cwd": "/",
                                 "output": "text"}), ["/"])
        self.assertEqual(
            self.act("command", {"command": ["echo", 1, 2.5, True]})[0],
            "Rappel.OutputInvalid")
        self.assertEqual(self.act("command", {"command": ["echo", 12]}),
                         [12])
        for bad in (None, {}, {"command": "ls"}, {"command": []},
                    {"command": ["a\0b"]}, {"command": [None]},
                    {"command": ["ls"], "output": "xml"},
                    {"command": ["ls"], "cwd": 1},
                    {"command": ["ls"], "env": {"a=b": "c"}},
                    {"command": ["ls"], "stdin_text": 1}):
            self.assertEqual(self.act("command", bad)[0],
                             "Rappel.InputInvalid", bad)

    def test_command_environment(self):
        found = self.shell("env", output="lines",
                           env={"MINE": "1", "N": 5, "LANG": None})[0]
        env = dict(line.split("=", 1) for line in found)
        self.assertEqual(env["MINE"], "1")
        self.assertEqual(env["N"], "5")
        self.assertEqual(env["RAPPEL_RUN_ID"],
                         "00010203-0405-0607-0809-0a0b0c0d0e0f")
        self.assertEqual(
            [env["RAPPEL_" + n] for n in ("ACTION", "ATTEMPT", "TOKEN",
                                          "ACTIVATION")],
            ["command", "1", "99", "7"])
        for name in ("SECRET", "LANG", "RAPPEL_FD", "RAPPEL_SLOT",
                     "RAPPEL_DATABASE_URL", "RAPPEL_DEADLINE"):
            self.assertNotIn(name, env)
        self.assertEqual(
            self.shell("ls /proc/self/fd | wc -l")[0], 4)
        self.peer.send([DISPATCH, 0, 1, 1, [
            [99, INSTANCE, 7, 1, "command", 5000000,
             {"command": ["sh", "-c", "echo $RAPPEL_DEADLINE"]}]]])
        deadline = self.peer.expect(COMPLETION)[4][0][3]
        self.assertLess(abs(deadline - time.time() - 5), 2)

    def test_command_failures(self):
        for code, name in ((1, "Rappel.Exit.1"), (64, "Rappel.Usage"),
                           (65, "Rappel.DataErr"), (70, "Rappel.Software"),
                           (75, "Rappel.TempFail"), (78, "Rappel.Config"),
                           (79, "Rappel.Exit.79")):
            self.assertEqual(self.shell(f"exit {code}"),
                             (name, f"exit status {code}"))
        self.assertEqual(self.shell("echo hm >&2; exit 75"),
                         ("Rappel.TempFail", "hm"))
        self.assertEqual(self.shell("kill -9 $$"),
                         ("Rappel.Killed", "killed by signal 9"))
        error, cause = self.act("command", {"command": ["no-such-program"]})
        self.assertEqual(error, "Rappel.CommandNotFound")
        self.assertIn("no-such-program", cause)
        self.assertEqual(self.act("command", {"command": ["/etc"]})[0],
                         "Rappel.CommandNotStarted")
        self.assertEqual(self.act("command", {"command": ["ls"],
                                              "cwd": "/nowhere"})[0],
                         "Rappel.CommandNotStarted")
        self.assertEqual(self.shell("echo '{'")[0], "Rappel.OutputInvalid")
        self.assertEqual(self.shell("printf '\\377'", output="text")[0],
                         "Rappel.OutputInvalid")
        self.assertEqual(
            self.shell("head -c 2000000 /dev/zero | tr '\\0' x",
                       output="text")[0], "Rappel.OutputTooLarge")
        self.assertEqual(self.shell("yes")[0], "Rappel.OutputTooLarge")
        error, cause = self.shell(
            "head -c 9000 /dev/zero | tr '\\0' y >&2; "
            "printf 'end\\377' >&2; exit 1")
        self.assertEqual(cause, "y" * 2044 + "end?")

    def test_command_output(self):
        self.assertEqual(self.shell("exit 0"), [None])
        self.assertEqual(self.shell("echo '{\"a\": [1, 2.5, \"x\"]}'"),
                         [{"a": [1, 2.5, "x"]}])
        # Large both ways, and a program that does not read its input.
        value = ["x" * 1000] * 900
        self.assertEqual(self.act("command", {"command": ["cat"],
                                              "stdin": value}), [value])
        self.assertEqual(self.act("command", {"command": ["true"],
                                              "stdin": value}), [None])
        # What it left in the background does not hold the action up.
        begun = time.monotonic()
        self.assertEqual(self.shell("sleep 3 & echo 1"), [1])
        self.assertLess(time.monotonic() - begun, 2)

    def test_stderr_goes_to_the_log(self):
        self.shell("echo from the program >&2")
        wait_for("it is in the log",
                 lambda: "from the program\n" in self.log())

    def test_many(self):
        hello, done = self.hello, set()
        items = [(token, "echo", {"n": token}) for token in range(20000)]
        begun = time.monotonic()
        for at in range(0, len(items), 500):
            self.dispatch(self.peer, hello, *items[at:at + 500])
            while len(done) < at:
                for item in self.peer.expect(COMPLETION)[4]:
                    self.assertEqual(item[3], {"n": item[0]})
                    done.add(item[0])
        while len(done) < len(items):
            done.update(i[0] for i in self.peer.expect(COMPLETION)[4])
        self.assertLess(time.monotonic() - begun, 20)


if __name__ == "__main__":
    if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
        BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
