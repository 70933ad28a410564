"""What each process holds and may do, by trying; the files; the binaries."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

from patience import patience
from supervised import (BUILD, GONE, HELLO, STATUS, WORKING, Case,
                        others_reach, wait_for)

import harness
import pool as pools

CANARY = "canary-5e0f7c61b2"
POISON = {"LD_LIBRARY_PATH": "/poison", "BASH_ENV": "/poison",
          "ENV": "/poison", "IFS": "x", "PYTHONPATH": "/poison",
          "NODE_OPTIONS": "--poison", "PERL5LIB": "/poison",
          "MSGPACK_POISON": "x", "SECRET_TOKEN": CANARY}
USER = 61010
as_root = unittest.skipIf(
    os.geteuid() != 0 or not others_reach(BUILD),
    "needs root, and a build that other users reach")


def sanitized():
    with open(harness.program("rappeld"), "rb") as binary:
        return b"__asan_init" in binary.read()


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as text:
        return dict(line.split(":\t", 1) for line in
                    text.read().splitlines() if ":\t" in line)


def environment_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as text:
        return dict(entry.decode().split("=", 1)
                    for entry in text.read().split(b"\0") if entry)


def memory_holds(pid, needle):
    """Whether any readable private memory of that process has it."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as text:
        lines = text.read().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in lines:
            span, flags = line.split()[:2]
            if not flags.startswith("r") or "[v" in line:
                continue
            begin, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(begin)
                while begin < end:
                    part = memory.read(min(1 << 22, end - begin))
                    if not part:
                        break
                    if needle in part:
                        return line
                    begin += len(part)
            except (OSError, ValueError, OverflowError):
                pass
    return None


# Runs as an action: what can it find out and do? Its answer is JSON.
PROBE = r"""
import ctypes, errno, json, os, sys
others = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what):
    try:
        what()
        return "done"
    except OSError as e:
        return errno.errorcode[e.errno]

def call(name, *args):
    def run():
        if getattr(libc, name)(*args) < 0:
            raise OSError(ctypes.get_errno(), name)
    return attempt(run)

found = {
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
    "environment": dict(os.environ), "umask": os.umask(0),
    "setuid": attempt(lambda: os.setuid(0)),
    "setgid": attempt(lambda: os.setgid(0)),
    "seteuid": attempt(lambda: os.seteuid(0)),
    "setgroups": attempt(lambda: os.setgroups([0])),
    "mount": call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "core": __import__("resource").getrlimit(4)[0],
    "worker_fds": sorted(os.listdir(f"/proc/{os.getppid()}/fd")),
    "others": {},
}
for name, pid in others.items():
    one = found["others"][name] = {}
    for file in ("environ", "maps", "mem", "auxv", "stack"):
        one[file] = attempt(lambda: open(f"/proc/{pid}/{file}", "rb"))
    one["fd"] = attempt(lambda: os.listdir(f"/proc/{pid}/fd"))
    one["exe"] = attempt(lambda: os.readlink(f"/proc/{pid}/exe"))
    one["kill"] = attempt(lambda: os.kill(pid, 0))
    one["ptrace"] = call("ptrace", 0x4206, pid, 0, 0)  # SEIZE stops nobody
    buf = ctypes.create_string_buffer(8)
    class iovec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
    vec = iovec(ctypes.addressof(buf), 8)
    one["process_vm"] = call("process_vm_readv", pid, ctypes.byref(vec), 1,
                             ctypes.byref(vec), 1, 0)
for path in others and [sys.argv[2]]:
    found["conf"] = attempt(lambda: open(path))
    found["socket"] = attempt(lambda: __import__("socket").socket(1).connect(
        sys.argv[3]))
print(json.dumps(found))
"""


class Parts(unittest.TestCase):
    """A whole pool with a password in its file."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = harness.Cluster()
        cls.cluster.start()
        cls.addClassCleanup(cls.cluster.remove)
        cls.conninfo = cls.cluster.conninfo(cls.cluster.create("security"))
        harness.migrate(cls.conninfo)
        harness.register(cls.conninfo, "probe", {
            "StartAt": "A", "States": {"A": {
                "Type": "Task", "Resource": "command", "End": True}}})

    def make(self, as_user=None, how=(), **env):
        pool = pools.Pool(self.conninfo, workers=2)
        self.addCleanup(pool.remove)
        os.chmod(pool.folder, 0o755)
        conf = os.path.join(pool.folder, "rappel.conf")
        with open(conf, "w", encoding="utf-8") as text:
            text.write(f'[database]\nurl = "{self.conninfo} '
                       f'password={CANARY}"\n')
        os.chmod(conf, 0o600)
        for key in ("RAPPEL_DATABASE_URL", "RAPPEL_WORKER_USER"):
            pool.env.pop(key, None)
        pool.env.update(POISON, **env)
        if as_user is not None:
            os.chown(conf, as_user, as_user)
            os.mkdir(pool.dir, 0o700)
            os.chown(pool.dir, as_user, as_user)
            with open(pool.log_path, "ab") as log:
                pool.process = subprocess.Popen(
                    ["setpriv", f"--reuid={as_user}", f"--regid={as_user}",
                     "--clear-groups", *how, harness.program("rappeld"),
                     "--dir", pool.dir, "--workers", "2", "-c", conf],
                    env=pool.env, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, cwd="/", start_new_session=True)
            pool.sessions.append(pool.process.pid)
        else:
            pool.start("-c", conf)
        pool.wait_running()
        return pool, conf

    def probe(self, pool, conf):
        others = {"supervisor": pool.process.pid,
                  "flusher": pool.pids("flusher")[0]}
        done = harness.must(harness.ctl(
            "run", "start", "probe", "--wait", "--json", "--input",
            json.dumps({"command": ["/usr/bin/python3", "-c", PROBE,
                                    json.dumps(others), conf,
                                    pool.dir + "/control.sock"]}),
            database=self.conninfo))
        return done.json["output"]

    def check_scrubbed(self, pool):
        worker = pool.pids("worker")[0]
        self.assertEqual(
            set(environment_of(worker)) -
            {"PATH", "HOME", "LANG", "TZ", "JOURNAL_STREAM"},
            {"RAPPEL_FD", "RAPPEL_LIFE", "RAPPEL_SLOT", "RAPPEL_SPAWN",
             "RAPPEL_GROUP", "RAPPEL_LOG_LEVEL", "RAPPEL_VALUE_BYTES_MAX"} |
            ({"RAPPEL_SCOREBOARD_FD"} & set(environment_of(worker))))
        self.assertEqual(
            set(environment_of(pool.pids("flusher")[0])) & set(POISON),
            set())
        for kind in ("flusher", "worker"):
            found = status_of(pool.pids(kind)[0])
            self.assertEqual(found["NoNewPrivs"], "1", kind)
            self.assertEqual(found["CapAmb"].strip("0"), "", kind)
            if not sanitized():
                self.assertEqual(found["Seccomp"], "2", kind)
        links = {int(n): os.readlink(f"/proc/{worker}/fd/{n}")
                 for n in os.listdir(f"/proc/{worker}/fd")}
        # 4 is the scoreboard until it is mapped; the log is held open twice
        # where that can be.
        self.assertEqual({n for n, link in links.items()
                          if n not in (0, 1, 2, 3, 4) and link != links[2]},
                         set(), links)
        self.assertLessEqual(len(links), 6)

    def check_secret(self, pool):
        """T11: the password is where it is needed and nowhere else."""
        secret = CANARY.encode()
        self.check_nowhere_else(pool)
        if sanitized():
            return  # terabytes of shadow memory
        flusher = pool.pids("flusher")[0]
        self.assertIsNotNone(memory_holds(flusher, secret))
        # Variables of ours with such a value would be in the environment.
        self.assertIsNone(memory_holds(pool.process.pid,
                                       b"password=" + secret))
        for pid in pool.pids("worker"):
            self.assertIsNone(memory_holds(pid, secret))

    def check_nowhere_else(self, pool):
        """Nor in what anybody can look at from outside."""
        secret = CANARY.encode()
        for pid, kind in pool.processes().items():
            with open(f"/proc/{pid}/cmdline", "rb") as text:
                self.assertNotIn(secret, text.read(), kind)
            self.assertNotIn("password=" + CANARY,
                             str(environment_of(pid)), kind)
            with open(f"/proc/{pid}/limits", encoding="utf-8") as text:
                core = re.search(r"Max core file size\s+(\d+)", text.read())
            self.assertEqual(core.group(1), "0", kind)
        self.assertNotIn(CANARY, pool.log_text())
        self.assertNotIn(CANARY, str(pool.status()))
        shown = harness.ctl("config", "show", "-c",
                            pool.folder + "/rappel.conf")
        self.assertIn("password=***", shown.out)
        self.assertNotIn(CANARY, shown.out + shown.err)

    @as_root
    def test_started_by_root(self):
        pool, conf = self.make()
        nobody = 65534
        self.check_scrubbed(pool)
        self.check_secret(pool)
        found = self.probe(pool, conf)
        self.assertEqual(found["uid"], [nobody] * 3)
        self.assertEqual(found["gid"], [nobody] * 3)
        self.assertEqual(found["groups"], [nobody])
        self.assertEqual(found["umask"], 0o077)
        self.assertEqual(found["core"], 0)
        self.assertEqual(found["environment"]["HOME"], "/nonexistent")
        self.assertFalse(set(found["environment"]) & set(POISON))
        for what in ("setuid", "setgid", "seteuid", "setgroups", "mount"):
            self.assertEqual(found[what], "EPERM", what)
        for name, one in found["others"].items():
            for what, how in one.items():
                self.assertIn(how, ("EACCES", "EPERM"), (name, what))
        self.assertEqual(found["conf"], "EACCES")
        self.assertEqual(found["socket"], "EACCES")
        self.assertNotIn("workers run as root", pool.log_text())
        self.assertEqual(pool.stop()[0], 0)
        self.assertEqual(pool.leftovers(), [])

    @as_root
    def test_one_user_for_all(self):
        """Not so well kept apart, but not naked either."""
        pool, conf = self.make(as_user=USER)
        self.check_scrubbed(pool)
        self.check_secret(pool)
        found = self.probe(pool, conf)
        self.assertEqual(found["uid"], [USER] * 3)
        for name, one in found["others"].items():
            for what, how in one.items():
                if what != "kill":
                    self.assertIn(how, ("EACCES", "EPERM"), (name, what))
        for pid in (pool.process.pid, pool.pids("flusher")[0]):
            # Root's, since it is not dumpable: no core of it either.
            self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)
        self.assertEqual(pool.stop()[0], 0)

    @as_root
    def test_as_the_unit_starts_it(self):
        """No root at all, but the right to become the workers' user."""
        caps = ["+setuid", "+setgid", "+kill"]
        pool, conf = self.make(
            USER, ["--inh-caps=" + ",".join(caps), "--no-new-privs",
                   "--ambient-caps=" + ",".join(caps),
                   "--bounding-set=-all," + ",".join(caps)],
            RAPPEL_WORKER_USER="daemon")
        self.check_scrubbed(pool)
        self.check_secret(pool)
        found = self.probe(pool, conf)
        self.assertEqual(found["uid"], [1] * 3)
        for one in found["others"].values():
            self.assertEqual(set(one.values()) - {"EACCES", "EPERM"}, set())
        self.assertEqual((found["conf"], found["socket"]),
                         ("EACCES", "EACCES"))
        for kind in ("flusher", "worker"):
            held = status_of(pool.pids(kind)[0])
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(held[name], 16), 0, (kind, name))
        # It can end them: by a stop that waits for nobody, and by dying.
        before = pool.pids("worker")
        os.kill(pool.process.pid, signal.SIGKILL)
        pool.process.wait()
        wait_for("the workers end", lambda: not set(before) &
                 set(pool.pids("worker")), 3)

    @as_root
    def test_worker_user(self):
        pool, conf = self.make(RAPPEL_WORKER_USER="daemon",
                               RAPPEL_SANDBOX="off")
        found = self.probe(pool, conf)
        self.assertEqual(found["uid"], [1] * 3)
        self.assertEqual(found["environment"]["HOME"], "/usr/sbin")
        for kind in ("flusher", "worker"):
            self.assertEqual(status_of(pool.pids(kind)[0])["Seccomp"], "0")
        self.assertEqual(pool.stop()[0], 0)
        pool, conf = self.make(RAPPEL_WORKER_USER="0")
        self.assertEqual(self.probe(pool, conf)["uid"], [0] * 3)
        # Whoever says so need not be told.
        self.assertNotIn("workers run as root", pool.log_text())

    def test_worker_user_that_cannot_be(self):
        def refused(code, said, *prefix, **env):
            done = subprocess.run(
                [*prefix, harness.program("rappeld"), "--dir",
                 "/nonexistent/pool", "--database", "host=/nowhere"],
                env=harness.clean_env(**env), capture_output=True, text=True,
                timeout=10, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(said, done.stderr)
        refused(78, "there is no user", RAPPEL_WORKER_USER="no-such-user")
        if os.geteuid() == 0 and others_reach(BUILD):
            refused(77, "must be started by root", "setpriv",
                    f"--reuid={USER}", "--clear-groups",
                    RAPPEL_WORKER_USER="daemon")


class Forged(Case):
    """A worker that says what is not its to say (T04)."""
    workers = 2

    WORKER = r"""#!/usr/bin/python3 -B
import msgpack, os, socket, struct, sys, time
s = socket.socket(fileno=3)
slot, spawn = int(os.environ["RAPPEL_SLOT"]), int(os.environ["RAPPEL_SPAWN"])

def send(*frame):
    body = msgpack.packb(frame)
    s.sendall(struct.pack(">I", len(body)) + body)

if %(hello)s or slot != 0 or spawn > 1:
    send(1, slot, spawn, 0, {"protocol": 1, "pid": os.getpid(),
                             "actions": ["echo"], "window": 4})
if slot == 0 and spawn == 1:
    %(evil)s
    time.sleep(5)
while s.recv(65536):
    pass
"""

    ITEM = ("[[1, bytes(16), 7, 1, 0, 5, 'forged']]")

    CASES = {
        "another slot": "send(11, 1, 1, 1, %s)" % ITEM,
        "a later spawn": "send(11, 0, 2, 1, %s)" % ITEM,
        "no spawn": "send(11, 0, 0, 1, %s)" % ITEM,
        "a slot that is none": "send(11, 999, 1, 1, %s)" % ITEM,
        "DISPATCH": "send(10, 0, 1, 1, %s)" % ITEM,
        "UNDELIVERABLE": "send(12, 1, 1, 1, %s)" % ITEM,
        "GONE of another": "send(13, 1, 1, 0, {'reason': 'forged'})",
        "KILL of another": "send(14, 1, 1, 0, {'reason': 'forged'})",
        "DRAIN": "send(15, 0, 1, 0, {'grace_us': 0})",
        "STATUS": "send(16, 0, 0, 3, {'forged': True})",
        "REQUEST": "send(30, 0, 0, 0, {'verb': 'stop'})",
        "REPLY": "send(31, 0, 0, 0, {'ok': True})",
        "a type that is none": "send(99, 0, 1, 0, None)",
        "a second HELLO": "send(1, 0, 1, 0, {'protocol': 1, 'pid': 1, "
                          "'actions': ['stolen'], 'window': 4})",
    }

    def forge(self, name, evil, hello=True):
        path = os.path.join(self.folder, "worker")
        with open(path, "w", encoding="utf-8") as script:
            script.write(self.WORKER % {"evil": evil, "hello": hello})
        os.chmod(path, 0o755)
        self.env["RAPPEL_WORKER"] = path
        self.start("--shutdown-grace", "0")
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {"fine": True}])
        frames = []
        while not (any(f[:3] == [HELLO, 0, 2] for f in frames) and
                   any(f[:3] == [HELLO, 1, 1] for f in frames)):
            frames.append(peer.receive())
            self.assertIsNotNone(frames[-1], name)
        # The flusher heard of it only that it is gone.
        allowed = [[HELLO, 0, 1], [HELLO, 0, 2], [HELLO, 1, 1]]
        for frame in frames:
            self.assertTrue(frame[:3] in allowed or
                            (frame[0] == GONE and frame[1:3] == [0, 1]),
                            (name, frame))
            self.assertNotIn("stolen", str(frame))
        self.wait_phase("running")
        found = self.status()
        self.assertEqual(found["flusher"], {"fine": True}, name)
        self.assertEqual(self.process_of("worker", 1)["restarts"], 0, name)
        self.assertEqual(len(re.findall(
            r"level=warning .*killing worker", self.log())), 1, self.log())
        peer.send(["exit", 0])
        self.signal(signal.SIGQUIT)
        self.exited(5)
        self.forget_flushers()
        os.truncate(self.log_path, 0)

    def test_forged_frames(self):
        for name, evil in self.CASES.items():
            if name == "a second HELLO":
                continue  # is refused by the flusher, which is not here
            with self.subTest(name):
                self.forge(name, evil)

    def test_before_hello(self):
        for name in ("another slot", "STATUS", "a later spawn"):
            with self.subTest(name):
                self.forge(name, self.CASES[name].replace("0, 2", "0, 1"),
                           hello=False)


class Files(Case):
    """E13 and T08: what lies in the directory, and what it is."""

    def refused(self, code, *said):
        self.start()
        got, took = self.exited(5)
        self.assertEqual(got, code, self.log())
        self.assertLess(took, patience(3))
        for text in said:
            self.assertIn(text, self.log())
        os.truncate(self.log_path, 0)

    def test_what_is_no_lock(self):
        os.mkdir(self.dir, 0o700)
        lock = os.path.join(self.dir, "lock")
        precious = os.path.join(self.folder, "precious")
        with open(precious, "w", encoding="utf-8") as text:
            text.write("precious")
        for how in ("link", "hard link", "fifo", "directory", "socket",
                    "foreign"):
            with self.subTest(how):
                if how == "link":
                    os.symlink(precious, lock)
                elif how == "hard link":
                    os.link(precious, lock)
                elif how == "fifo":
                    os.mkfifo(lock)
                elif how == "directory":
                    os.mkdir(lock)
                elif how == "socket":
                    with socket.socket(socket.AF_UNIX) as sock:
                        sock.bind(lock)
                elif os.geteuid() == 0:
                    with open(lock, "wb"):
                        os.chown(lock, USER, USER)
                else:
                    continue
                self.refused(77, self.dir + "/lock")
                if how == "directory":
                    os.rmdir(lock)
                else:
                    os.unlink(lock)
                with open(precious, encoding="utf-8") as text:
                    self.assertEqual(text.read(), "precious")

    def test_stale_lock_names_somebody(self):
        """A number in the file is for people: nobody is signalled."""
        os.mkdir(self.dir, 0o700)
        sleeper = subprocess.Popen(["sleep", "60"])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        with open(os.path.join(self.dir, "lock"), "w",
                  encoding="utf-8") as text:
            text.write(f"{sleeper.pid}\n")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.path.join(self.dir, "control.sock"))
        begun = time.monotonic()
        self.start()
        wait_for("it listens", self.status)
        self.assertLess(time.monotonic() - begun, patience(3))
        self.signal(signal.SIGQUIT)
        self.exited(5)
        self.assertIsNone(sleeper.poll())

    def test_a_directory_that_is_replaced(self):
        """Who lives there now keeps its socket when the first one ends."""
        self.start()
        wait_for("it listens", self.status)
        first = self.process
        os.rename(self.dir, self.dir + ".old")
        self.start()
        wait_for("the second listens",
                 lambda: self.status().get("pid") == self.process.pid)
        first.send_signal(signal.SIGQUIT)
        first.wait(5)
        self.assertEqual(self.status().get("pid"), self.process.pid)
        self.assertEqual(os.listdir(self.dir + ".old"), ["lock"])
        # And one on the same directory changes nothing either.
        third = self.run_rappeld("--dir", self.dir)
        self.assertEqual(third.returncode, 75, third.stderr)
        self.assertIn(f"(pid {self.process.pid})", third.stderr)
        self.assertEqual(self.status().get("pid"), self.process.pid)
        # Nor when somebody removed the lock under it.
        os.unlink(os.path.join(self.dir, "lock"))
        fourth = self.run_rappeld("--dir", self.dir)
        self.assertEqual(fourth.returncode, 75, fourth.stderr)
        self.assertEqual(self.status().get("pid"), self.process.pid)

    def test_a_directory_that_is_removed(self):
        self.start()
        wait_for("it listens", self.status)
        shutil.rmtree(self.dir)
        self.signal(signal.SIGQUIT)
        self.exited(5)
        self.assertFalse(os.path.exists(self.dir))


class Shown(unittest.TestCase):
    """T18: what people wrote is shown, not obeyed."""

    NASTY = "\x1b[2J\x1b]0;title\x07 \x9b31m \u202eoverride\u2028line\x7f"

    def shown(self, *words):
        """rappelctl's output on a terminal."""
        import pty  # pylint: disable=import-outside-toplevel
        main, other = pty.openpty()
        with subprocess.Popen(
                [harness.program("rappelctl"), "--color", "never", *words],
                env=harness.clean_env(RAPPEL_DATABASE_URL=self.conninfo),
                stdin=subprocess.DEVNULL, stdout=other,
                stderr=other) as process:
            os.close(other)
            got = b""
            while True:
                try:
                    part = os.read(main, 65536)
                except OSError:
                    break
                if not part:
                    break
                got += part
            process.wait(20)
        os.close(main)
        return got.decode()

    def test_names_causes_and_values(self):
        cluster = harness.Cluster()
        cluster.start()
        self.addCleanup(cluster.remove)
        self.conninfo = cluster.conninfo(cluster.create("shown"))
        harness.migrate(self.conninfo)
        harness.register(self.conninfo, "nasty", {
            "StartAt": "A", "States": {"A": {
                "Type": "Fail", "ErrorPath": "$.e", "CausePath": "$.e"}}})
        pool = pools.Pool(self.conninfo, workers=1)
        self.addCleanup(pool.remove)
        pool.start().wait_running()
        value = self.NASTY + "\nlevel=error msg=\"forged\" %s%n"
        run = harness.ctl("run", "start", "nasty", "--name", self.NASTY,
                          "--wait", "--json", "--input",
                          json.dumps({"e": value, self.NASTY: value}),
                          database=self.conninfo)
        self.assertEqual(run.code, 8, run)
        # A program gets what it was.
        self.assertEqual(run.json["error"], value)
        run_id = run.json["id"]
        for words in (("run", "show", run_id), ("run", "list"),
                      ("run", "history", run_id), ("run", "result", run_id),
                      ("run", "show", run_id, "--json"),
                      ("run", "history", run_id, "--json"),
                      ("run", "show", self.NASTY),
                      ("workflow", "show", self.NASTY),
                      (self.NASTY,), ("status", "--dir", self.NASTY)):
            text = self.shown(*words)
            self.assertTrue(text)
            for bad in ("\x1b", "\x07", "\x9b", "\u202e", "\u2028", "\x7f"):
                self.assertNotIn(bad, text, words)
        pool.stop()
        for line in pool.log_text().splitlines():
            self.assertRegex(line, r"^ts=\S+ level=\w+ comp=\S+ msg=\"")
            self.assertNotIn("\x1b", line)


class Binaries(unittest.TestCase):
    """T16: how they were linked."""

    @staticmethod
    def readelf(*words):
        return subprocess.run(["readelf", "-W", *words], check=True,
                              stdout=subprocess.PIPE, encoding="utf-8",
                              env=dict(os.environ, LC_ALL="C")).stdout

    @unittest.skipIf(shutil.which("readelf") is None, "no readelf here")
    def test_hardening(self):
        optimised = '"-O0"' not in json.dumps(self.flags()) and not \
            sanitized()
        for name in harness.FOLDERS:
            with self.subTest(name):
                path = harness.program(name)
                header = self.readelf("-h", path)
                self.assertRegex(header, r"Type:\s+DYN", "PIE")
                segments = self.readelf("-l", path)
                self.assertIn("GNU_RELRO", segments)
                self.assertRegex(segments, r"GNU_STACK.* RW +0x")
                dynamic = self.readelf("-d", path)
                self.assertRegex(dynamic, r"FLAGS.*\bNOW\b")
                self.assertNotIn("TEXTREL", dynamic)
                self.assertNotRegex(dynamic, "RPATH|RUNPATH")
                symbols = self.readelf("--dyn-syms", path)
                self.assertIn("__stack_chk_fail", symbols)
                if optimised:
                    self.assertRegex(symbols, r"__\w+_chk\b.*GLIBC")

    @staticmethod
    def flags():
        """How the first file of ours is compiled."""
        with open(os.path.join(BUILD, "compile_commands.json"),
                  encoding="utf-8") as text:
            return json.load(text)[0]["command"].split()

    def test_flags(self):
        flags = self.flags()
        self.assertIn("-fstack-protector-strong", flags)
        self.assertIn("-fstack-clash-protection", flags)
        if os.uname().machine == "x86_64":
            self.assertIn("-fcf-protection=full", flags)
        if "-O0" not in flags and not sanitized():
            self.assertIn("-D_FORTIFY_SOURCE=2", flags)

    @unittest.skipIf(shutil.which("readelf") is None, "no readelf here")
    def test_who_is_linked_with_what(self):
        for name in ("rappeld", "rappel-worker"):
            needed = self.readelf("-d", harness.program(name))
            self.assertNotIn("libpq", needed, name)
        self.assertNotIn("libseccomp", self.readelf(
            "-d", harness.program("rappel-worker")))

    @unittest.skipIf(shutil.which("systemd-analyze") is None,
                     "no systemd-analyze here")
    def test_unit(self):
        unit = os.path.join(harness.ROOT, "packaging", "rappel.service")
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes",
             "--threshold=20", "--no-pager", unit], capture_output=True,
            text=True, check=False, timeout=30)
        if "not supported" in done.stderr or "Unknown" in done.stderr:
            self.skipTest(done.stderr.strip())
        found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        self.assertIsNotNone(found, done)
        print(f"systemd-analyze security: {found.group(1)}")
        self.assertLessEqual(float(found.group(1)), 2.0)
        self.assertEqual(done.returncode, 0, done)
        # Its program is not installed where the unit says.
        folder = harness.scratch(self)
        with open(unit, encoding="utf-8") as text:
            lines = text.read().replace(
                "/usr/bin/rappeld", harness.program("rappeld")).replace(
                "/usr/bin/rappelctl", harness.program("rappelctl"))
        path = os.path.join(folder, "rappel.service")
        with open(path, "w", encoding="utf-8") as text:
            text.write(lines)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", path],
            capture_output=True, text=True, check=False, timeout=30)
        about = [line for line in done.stderr.splitlines()
                 if "rappel.service" in line]
        self.assertEqual(about, [])


if __name__ == "__main__":
    unittest.main()
