"""Groups of workers: what each is started with, their troubles, and that none
disturbs another. The flusher is the test; test_groups_routed.py has a real
one."""

import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import unittest

import harness
from patience import patience
from supervised import (COMPLETION, GONE, HELLO, HERE, KEPT, STATUS, WORKING,
                        Case, alive, others_reach, wait_for)

PYTHON = os.path.realpath(sys.executable)
WORKER = os.path.join(HERE, "groupworker.py")
as_root = unittest.skipIf(
    os.geteuid() != 0 or not others_reach(HERE),
    "needs root, and tests that other users reach")


def environment_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as text:
        return [tuple(entry.decode().split("=", 1))
                for entry in text.read().split(b"\0") if entry]


def command_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as text:
        return [word.decode() for word in text.read().split(b"\0")[:-1]]


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as text:
        return dict(line.split(":\t", 1) for line in
                    text.read().splitlines() if ":\t" in line)


class GroupCase(Case):

    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o755)
        self.conf = os.path.join(self.folder, "rappel.conf")

    def write(self, text, workers=0):
        with open(self.conf + ".new", "w", encoding="utf-8") as conf:
            conf.write(f"[pool]\nworkers = {workers}\n{text}")
        os.chmod(self.conf + ".new", 0o600)
        os.rename(self.conf + ".new", self.conf)

    def program(self, name, text, mode=0o755):
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w", encoding="utf-8") as script:
            script.write(text)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)
        return path

    def start(self, *flags):
        """The groups come from the file."""
        self.env["RAPPEL_CONFIG"] = self.conf
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [harness.program("rappeld"), "--dir", self.dir, *flags],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", start_new_session=True)
        self.seen.append(self.process.pid)
        return self

    def begin(self, text, workers=0, hellos=None):
        """A pool of these groups; its flusher, and HELLOs by slot."""
        self.write(text, workers)
        self.start()
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        found = {}
        while len(found) < (hellos or 0):
            frame = peer.expect(HELLO)
            found[frame[1]] = frame
        return peer, found

    def ctl(self, *words):
        return harness.ctl("--dir", self.dir, *words)

    def group(self, name):
        return [g for g in self.status()["groups"] if g["name"] == name][0]

    def pids(self, name):
        return {p["pid"] for p in self.status()["processes"]
                if p["group"] == name and p["phase"] == "ready"}

    def pid(self, name):
        pid, = self.pids(name)
        return pid


class Started(GroupCase):

    def test_what_a_worker_gets(self):
        # A name of its own, to be found by the group's PATH alone.
        tools = os.path.join(self.folder, "tools")
        os.mkdir(tools)
        os.symlink(PYTHON, os.path.join(tools, "that-python"))
        peer, hello = self.begin(f"""
[group img]
program = that-python -B {WORKER} img.small "two words"  # a comment
concurrency = 7
environment = "TITLE=a b" PATH={tools}:/usr/bin:/bin RAPPEL_LOG_LEVEL=debug
directory = {tools}
limits = nofile=123 as=2GB cpu=90s fsize=1MB core=0 nproc=4000 stack=1MB
[group own]
program = rappel-worker
processes = 2
""", workers=1, hellos=4)
        self.assertEqual(sorted(len(g) for g in (
            self.pids("native"), self.pids("img"), self.pids("own"))),
            [1, 1, 2])
        pid = self.pid("img")
        self.assertEqual(command_of(pid), [
            "that-python", "-B", WORKER, "img.small", "two words"])
        env = environment_of(pid)
        self.assertEqual(len(dict(env)), len(env), "a name twice")
        env = dict(env)
        self.assertEqual(
            {k: env[k] for k in ("RAPPEL_GROUP", "RAPPEL_CONCURRENCY",
                                 "TITLE", "RAPPEL_LOG_LEVEL", "PATH")},
            {"RAPPEL_GROUP": "img", "RAPPEL_CONCURRENCY": "7",
             "TITLE": "a b", "RAPPEL_LOG_LEVEL": "debug",
             "PATH": f"{tools}:/usr/bin:/bin"})
        self.assertFalse([k for k in env if k.startswith("PG") or
                          k == "RAPPEL_DATABASE_URL"])
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), tools)
        with open(f"/proc/{pid}/limits", encoding="utf-8") as text:
            limits = {line[:26].strip(): line[26:].split()[:2]
                      for line in text.read().splitlines()}
        for name, value in (("Max open files", 123),
                            ("Max address space", 2 << 30),
                            ("Max cpu time", 90), ("Max file size", 1 << 20),
                            ("Max core file size", 0),
                            ("Max processes", 4000),
                            ("Max stack size", 1 << 20)):
            self.assertEqual(limits[name], [str(value)] * 2, name)
        # Others have nothing of it, and ps tells them apart.
        for name in ("own", "native"):
            pid = min(self.pids(name))
            env = dict(environment_of(pid))
            self.assertEqual(env["RAPPEL_GROUP"], name)
            self.assertNotIn("RAPPEL_CONCURRENCY", env)
            self.assertNotIn("TITLE", env)
            self.assertRegex(command_of(pid)[0],
                             rf"^rappel-worker: {name} slot \d+ spawn 1$")
            self.assertNotEqual(
                resource.prlimit(pid, resource.RLIMIT_NOFILE)[0], 123)
        served = {tuple(frame[4]["actions"]) for frame in hello.values()}
        self.assertIn(("img.small", "two words"), served)

    @as_root
    def test_user(self):
        self.begin(f"""
[group some]
program = {PYTHON} -B {WORKER} one
user = nobody
limits = nofile=300
[group root]
program = {PYTHON} -B {WORKER} two
user = root
""", hellos=2)
        nobody = pwd.getpwnam("nobody")
        status = status_of(self.pid("some"))
        self.assertEqual(status["Uid"].split(), [str(nobody.pw_uid)] * 4)
        self.assertEqual(status["Gid"].split(), [str(nobody.pw_gid)] * 4)
        self.assertEqual(int(status["CapPrm"], 16), 0)
        self.assertEqual(dict(environment_of(self.pid("some")))["HOME"],
                         nobody.pw_dir)
        self.assertEqual(status_of(self.pid("root"))["Uid"].split(),
                         ["0"] * 4)
        self.assertIn("workers of group root run as root", self.log())

    def test_user_that_cannot_be(self):
        """The same at a start, at a test, and at a reload."""
        self.write(f"[group a]\nprogram = {PYTHON}\nuser = no-such-user-x\n")
        self.env["RAPPEL_CONFIG"] = self.conf
        done = self.run_rappeld("--dir", self.dir)
        self.assertEqual(done.returncode, 78)
        said = f'{self.conf}:5: user: there is no user '
        self.assertIn(said + '\\"no-such-user-x\\"', done.stderr)
        done = self.run_rappeld("-t")
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        self.assertIn(said, done.stderr)
        wrong = dict(self.env, RAPPEL_WORKER_USER="no-such-user-y")
        self.write(f"[group a]\nprogram = {PYTHON} -B {WORKER} x\n")
        self.env, usual = wrong, self.env
        done = self.run_rappeld("-t")
        self.assertEqual(done.returncode, 78)
        self.assertIn("RAPPEL_WORKER_USER: worker_user: there is no user",
                      done.stderr)
        self.env = usual
        self.start()
        self.flusher()
        self.write(f"[group a]\nprogram = {PYTHON}\nuser = no-such-user-x\n")
        found = self.ask("reload")
        self.assertEqual((found["ok"], found["code"]), (False, 1))
        self.assertEqual(found["error"], said + '"no-such-user-x"')

    @as_root
    def test_user_that_only_root_becomes(self):
        self.write(f"[group a]\nprogram = {PYTHON}\nuser = daemon\n")
        os.chmod(self.conf, 0o644)
        done = subprocess.run(
            ["setpriv", "--reuid=nobody", "--clear-groups",
             harness.program("rappeld"), "-t", "-c", self.conf],
            env=dict(harness.clean_env(), RAPPEL_WORKER_USER="nobody"),
            capture_output=True, text=True, timeout=10, check=False)
        self.assertEqual(done.returncode, 77, done)
        self.assertIn(f"{self.conf}:5: user: to run workers as daemon "
                      "rappeld must be started by root", done.stderr)

    def test_bad_configuration(self):
        """By the programs; test_config has every case."""
        self.write("[group a]\nprogram = x\nprocesses = many\n")
        self.env["RAPPEL_CONFIG"] = self.conf
        done = self.run_rappeld("-t")
        self.assertEqual(done.returncode, 78)
        self.assertIn(f"{self.conf}:5: processes must be a whole number from "
                      '1 to 1024, not \\"many\\"', done.stderr)
        done = harness.ctl("-c", self.conf, "config", "check")
        self.assertEqual(done.code, 78)
        self.assertIn(f"{self.conf}:5: ", done.err)
        self.write("[group a]\nprogram = x 'y z'\n"
                   "environment = API_TOKEN=hidden A=1\n")
        done = self.run_rappeld("-t")
        self.assertEqual(done.returncode, 0)
        self.assertIn("\n[group a]\n", done.stdout)
        self.assertIn(f"\nprogram = x 'y z' # {self.conf}:4\n", done.stdout)
        shown = harness.ctl("-c", self.conf, "config", "show")
        self.assertIn("\nenvironment = API_TOKEN=*** A=1 #", shown.out)
        self.assertNotIn("hidden", shown.out + done.stdout)

    def test_the_flusher_hears_of_them(self):
        self.env["RAPPEL_TEST_RAW"] = "1"
        self.write(f"[group a]\nprogram = {PYTHON} -B {WORKER} x\n"
                   "processes_max = 3\nactions = img.*, 'a b'\n"
                   f"[group b]\nprogram = {PYTHON} -B {WORKER} y\n", 1)
        self.start()
        peer, _ = self.flusher()
        self.assertEqual(peer.expect(KEPT)[4]["groups"], [
            {"name": "native", "first": 0, "slots": 65, "actions": None},
            {"name": "a", "first": 65, "slots": 4,
             "actions": ["img.*", "a b"]},
            {"name": "b", "first": 69, "slots": 9, "actions": None}])
        slots = {tuple(f[4]["actions"])[0]: f[1] for f in (
            peer.expect(HELLO) for _ in range(3))}
        self.assertEqual((slots["x"], slots["y"]), (65, 69))


class Troubles(GroupCase):

    def setUp(self):
        super().setUp()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.folder, "notify"))
        self.addCleanup(self.notify.close)
        self.env["NOTIFY_SOCKET"] = os.path.join(self.folder, "notify")

    def was_told_ready(self):
        texts = []
        self.notify.settimeout(0)
        while True:
            try:
                texts.append(self.notify.recv(4096).decode())
            except BlockingIOError:
                return any("READY=1" in text for text in texts)

    def told(self, name, what="degraded"):
        return len(re.findall(
            rf'msg="group is {what}[^"]*" group={name}\b', self.log()))

    def test_each_is_its_own(self):
        """Every way of not starting: said once, and the others go on."""
        missing = os.path.join(self.folder, "missing")
        plain = self.program("plain", "#!/bin/sh\n", 0o644)
        script = self.program("script", "#!/nowhere/interpreter\n")
        refuses = self.program(
            "refuses", "#!/bin/sh\necho to the log\n"
            "echo 'module \"x\" has two actions named \"y\"' >&2\nexit 78\n")
        folder = os.path.join(self.folder, "folder")
        groups = {
            "missing": (missing, f"no such program: {missing}; mend that or "
                        f"{self.conf}:"),
            "unknown": ("no-program-of-that-name",
                        "no such program in PATH: no-program-of-that-name"),
            "plain": (plain, f"cannot be executed: {plain}: Permission "
                      "denied"),
            "script": (script, f"cannot be executed: {script}: its "
                       "interpreter (first line) is missing"),
            "refuses": (refuses, "module 'x' has two actions named 'y'; it "
                        "is tried again within 30 s, or at once by: "
                        "rappelctl restart --group refuses"),
            "imports": (f"{PYTHON} -c 'import nothing_of_that_name'",
                        "exit status 1: ModuleNotFoundError: No module named "
                        "'nothing_of_that_name'"),
            "folder": (f"{PYTHON}\ndirectory = {folder}",
                       f"directory: {folder}: No such file or directory"),
        }
        text = "".join(f"[group {name}]\nprocesses = 2\nprogram = {program}\n"
                       for name, (program, _) in groups.items())
        peer, hello = self.begin(
            f"[group good]\nprogram = {PYTHON} -B {WORKER} x\n" + text,
            hellos=1)
        wait_for("all have failed", lambda: all(
            g["trouble"] for g in self.status()["groups"]
            if g["name"] in groups), 20)
        self.assertTrue(self.was_told_ready())
        for name, (_, trouble) in groups.items():
            found = self.group(name)
            reason = found["trouble"]["reason"]
            self.assertTrue(reason.startswith(trouble), reason)
            self.assertIn(f"rappelctl restart --group {name}", reason)
            self.assertEqual((found["ready"], found["workers"]), (0, 2))
            self.assertLess(
                abs(found["trouble"]["since_us"] / 1e6 - time.time()), 30)
            self.assertEqual(self.told(name), 1, self.log())
        self.wait_phase("running")
        self.assertIsNone(self.status()["degraded"])
        self.assertIsNone(self.group("good")["trouble"])
        self.assertNotIn("pool is degraded", self.log())
        # The good one works.
        slot, = hello
        self.dispatch(peer, hello[slot], (1, "x", None))
        self.assertEqual(peer.expect(COMPLETION)[4][0][6]["group"], "good")
        # Why a program was not found is in one line, the group's.
        self.assertEqual(self.log().count(f"no such program: {missing}"), 1)
        shown = self.ctl("status").out
        self.assertRegex(shown, r"(?m)^Group missing: +no such program: ")
        self.assertRegex(shown, rf"(?m)^good +1/1 +- +{PYTHON} -B ")

        # Mended, and tried at once.
        self.program("missing", f"#!/bin/sh\nexec {PYTHON} -B {WORKER} m\n")
        os.mkdir(folder)
        # Whoever asks for it is told what came of it.
        done = self.ctl("restart", "--group", "missing")
        self.assertEqual((done.code, done.err),
                         (0, "missing: 2 of 2 ready\n"))
        peer.expect(HELLO)
        self.assertEqual(self.group("missing")["ready"], 2)
        self.assertIsNone(self.group("missing")["trouble"])
        done = self.ctl("restart", "--group", "refuses")
        self.assertEqual(done.code, 1)
        self.assertIn("refuses: 0 of 2 ready: module 'x' has two actions",
                      done.err)
        self.assertEqual(self.told("missing", "healthy again"), 1)
        self.assertEqual(self.told("refuses"), 1)
        self.assertEqual(self.told("plain", "healthy again"), 0)

    def test_one_that_refuses_is_tried_seldom(self):
        """Status 78 before HELLO: not again for half a minute."""
        record = os.path.join(self.folder, "tries")
        refuses = self.program(
            "refuses", f"#!/bin/sh\necho try >> {record}\n"
            "echo no >&2\nexit 78\n")
        self.begin(f"[group a]\nprocesses = 3\nprogram = {refuses}\n"
                   f"[group good]\nprogram = {PYTHON} -B {WORKER} x\n",
                   hellos=1)

        def tries():
            if not os.path.exists(record):
                return 0
            with open(record, encoding="ascii") as text:
                return text.read().count("try")
        wait_for("all have tried", lambda: tries() == 3)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            self.assertEqual(self.ask("ping"), {"ok": True})
        self.assertEqual(tries(), 3)
        # Asked to, it tries one and not all.
        self.ask("restart", group="a")
        wait_for("one tries", lambda: tries() == 4)
        wait_for("it is not said again", lambda: self.told("a") == 1)

    def test_none_can_start(self):
        peer, _ = self.begin("[group a]\nprogram = /nowhere/a\n"
                             "[group b]\nprogram = /nowhere/b\n")
        self.wait_phase("degraded")
        found = self.status()
        self.assertEqual(found["degraded"]["reason"],
                         "no such program: /nowhere/a")
        self.assertEqual(self.log().count(
            'msg="pool is degraded: no group can start its workers"'), 1)
        self.assertEqual((self.told("a"), self.told("b")), (1, 1))
        self.assertFalse(self.was_told_ready())
        # One of them is enough.
        self.write("[group a]\nprogram = /nowhere/a\n"
                   f"[group b]\nprogram = {PYTHON} -B {WORKER} x\n")
        self.assertEqual(self.ask("reload")["changed"], ["group.b.program"])
        self.ask("restart", group="b")
        peer.expect(HELLO)
        self.wait_phase("running")
        self.assertTrue(self.was_told_ready())
        self.assertEqual(self.log().count("pool is healthy again"), 1)

    def test_reasons_that_tell_what_to_do(self):
        """The remedy is at the end, and it is there."""
        words = "word " * 80 + "remedy: take key=value away"
        scripts = {
            "none": "exit 0\n",
            "silent": "exit 3\n",
            "wordy": f"echo '{words}' >&2\nexit 3\n",
        }
        self.begin("".join(
            f"[group {name}]\nprogram = "
            f"{self.program(name, '#!/bin/sh' + chr(10) + text)}\n"
            for name, text in scripts.items()) +
            f"[group good]\nprogram = {PYTHON} -B {WORKER} x\n", hellos=1)
        wait_for("all have failed", lambda: all(
            self.group(name)["trouble"] for name in scripts), 20)
        advice = "it ended before it said HELLO: is it a worker"
        for name, begins in (
                ("none", "exit status 0: " + advice),
                ("silent", "exit status 3: " + advice),
                ("wordy", f"exit status 3: {words}; it is tried again")):
            reason = self.group(name)["trouble"]["reason"]
            self.assertTrue(reason.startswith(begins), reason)
        line, = [line for line in self.log().splitlines()
                 if 'msg="group is degraded" group=wordy' in line]
        self.assertIn(f'reason="exit status 3: {words}; it is tried', line)
        self.assertIn(words, self.ctl("status").out)
        self.assertIn(words, self.ctl("status", "--json").out)

    def test_deadline_of_its_own(self):
        """An interpreter that is slow to start has its own patience."""
        slow = self.program(
            "slow", f"#!/bin/sh\nsleep 1.2\nexec {PYTHON} -B {WORKER} x\n")
        peer, _ = self.begin(f"[worker]\nworker_hello = 500ms\n"
                             f"[group a]\nhello = 30s\nprogram = {slow}\n"
                             f"[group b]\nprogram = {slow}\n")
        self.assertEqual(peer.expect(HELLO)[4]["actions"], ["x"])
        wait_for("the other is given up", lambda: self.group("b")["trouble"])
        self.assertTrue(self.group("b")["trouble"]["reason"].startswith(
            "no HELLO within 0.5 s: is it a worker (docs/protocol.md)? Or "
            "give it a longer hello"))
        self.assertIsNone(self.group("a")["trouble"])


class Changing(GroupCase):
    TWO = (f"[group a]\nprogram = {PYTHON} -B {WORKER} x\nprocesses = 2\n"
           f"[group b]\nprogram = {PYTHON} -B {WORKER} y\nprocesses = 2\n")

    def test_scale_one(self):
        peer, _ = self.begin(self.TWO, hellos=4)
        others = self.pids("a")
        self.assertEqual(self.ask("scale", workers=4, group="b"),
                         {"ok": True, "group": "b", "workers": 4,
                          "before": 2})
        wait_for("four", lambda: len(self.pids("b")) == 4)
        done = self.ctl("scale", "1", "--group", "b", "--json")
        self.assertEqual(done.json, {"group": "b", "workers": 1, "before": 4})
        wait_for("one", lambda: len(self.pids("b")) == 1 and
                 self.group("b")["ready"] == 1)
        # With another group there may be none of one.
        self.assertTrue(self.ask("scale", workers=0, group="b")["ok"])
        wait_for("none", lambda: not self.pids("b"))
        self.assertEqual(self.pids("a"), others)
        self.assertEqual(self.status()["workers"], 2)
        self.assertEqual(self.status()["phase"], "running")
        for arguments, error in (
                ({"workers": 9, "group": "b"}, "from 0 to 8 (processes_max)"),
                ({"workers": 65, "group": "native"},
                 "from 0 to 64 (workers_max)"),
                ({"workers": 3}, "several groups"),
                ({"workers": 3, "group": "c"},
                 "no such group; there are: native, a, b"),
                ({"workers": 3, "group": 7}, "no such group")):
            found = self.ask("scale", **arguments)
            self.assertEqual((found["ok"], found["code"]), (False, 2))
            self.assertIn(error, found["error"])
        # What the daemon refuses is told as such.
        for words in (["scale", "2", "--group", "c"],
                      ["restart", "--group", "c"]):
            done = self.ctl(*words)
            self.assertEqual(done.code, 2, done)
            self.assertIn("there is no such group; there are: native, a, b",
                          done.err)
        done = self.ctl("scale", "3")
        self.assertEqual(done.code, 2)
        self.assertIn("--group NAME", done.err)
        done = self.ctl("scale", "1", "--group", "a")
        self.assertEqual((done.code, done.err), (0, "1 worker, 2 before\n"))
        done = self.ctl("restart", "--group", "a")
        self.assertEqual((done.code, done.err),
                         (0, "1 worker was replaced\n"))
        self.assertTrue(self.ask("drain")["ok"])
        for words in (["restart"], ["restart", "--group", "a"],
                      ["scale", "1", "--group", "a"]):
            done = self.ctl(*words)
            self.assertEqual(done.code, 7, done)
            self.assertIn("the daemon refuses: the pool is stopping",
                          done.err)
        self.write("[group a]\nprocesses = 1\n")
        self.assertEqual(self.ctl("reload").code, 1)

    def test_restart_one(self):
        peer, hello = self.begin(self.TWO, hellos=4)
        before = {name: self.pids(name) for name in ("a", "b")}
        done = self.ctl("restart", "--group", "a", "--json")
        self.assertEqual(done.json, {"group": "a", "restarted": 2})
        self.assertFalse(self.pids("a") & before["a"])
        self.assertEqual(self.pids("b"), before["b"])
        found = self.ask("restart", group="nobody")
        self.assertEqual((found["ok"], found["code"]), (False, 2))
        self.assertEqual(self.ask("restart")["outdated"], 4)
        wait_for("all are new", lambda: self.status()["outdated"] == 0)
        wait_for("two of each", lambda: all(
            len(self.pids(name)) == 2 and not self.pids(name) & before[name]
            for name in ("a", "b")))

    def test_recycling_of_one(self):
        peer, hello = self.begin(
            f"[group a]\nprogram = {PYTHON} -B {WORKER} x\n"
            "recycle_actions = 4\n"
            f"[group b]\nprogram = {PYTHON} -B {WORKER} y\n", hellos=2)
        actions = {frame[4]["actions"][0]: frame for frame in hello.values()}
        kept = self.pid("b")
        for name in ("y", "x"):
            self.dispatch(peer, actions[name],
                          *[(token, name, None) for token in range(1, 5)])
        found = []
        while not found or found[-1][0] != GONE:
            found.append(peer.receive())
        self.assertEqual(found[-1][1], actions["x"][1])
        fresh, = [frame for frame in found if frame[0] == HELLO]
        self.assertEqual(fresh[4]["actions"], ["x"])
        wait_for("it is alone", lambda: len(self.pids("a")) == 1)
        self.assertEqual(self.pid("b"), kept)

    def test_reload(self):
        peer, _ = self.begin(self.TWO, hellos=4)
        before = self.pids("b")
        self.write(
            f"[group a]\nprogram = {PYTHON} -B {WORKER} x z\nprocesses = 3\n"
            "environment = NEW=1\nactions = x\n"
            f"[group b]\nprogram = {PYTHON} -B {WORKER} y\nprocesses = 2\n"
            "recycle_age = 1h\n"
            "[group c]\nprogram = /bin/false\n")
        self.assertEqual(self.ask("reload"), {
            "ok": True,
            "changed": ["group.a.program", "group.a.processes",
                        "group.a.environment", "group.b.recycle_age"],
            "at_next_start": ["group.a.actions", "group.c"]})
        # Whoever starts from now on is of the new kind.
        self.assertEqual(peer.expect(HELLO)[4]["actions"], ["x", "z"])
        self.assertEqual(self.ctl("restart", "--group", "a").code, 0)
        self.assertEqual({dict(environment_of(pid)).get("NEW")
                          for pid in self.pids("a")}, {"1"})
        self.assertEqual(self.pids("b"), before)
        # Again there is nothing new; an error changes nothing.
        found = self.ask("reload")
        self.assertEqual(found["changed"], [])
        for text, error in (
                ("[group a]\nprogram = /x\nprocesses = 9\n",
                 f"{self.conf}:5: processes = 9 is more than the 8 that this "
                 "daemon has room for; raise processes_max"),
                ("[group a]\nprocesses = 1\n",
                 f"{self.conf}:3: [group a] has no program")):
            self.write(text)
            found = self.ask("reload")
            self.assertEqual(found["ok"], False)
            self.assertIn(error, found["error"])
        self.assertEqual(self.group("a")["workers"], 3)

    def test_stop(self):
        """Within the grace, whatever each group runs."""
        peer, hello = self.begin(self.TWO, workers=1, hellos=5)
        actions = {}
        for frame in hello.values():
            actions.setdefault(frame[4]["actions"][0], frame)
        pids = [f[4]["pid"] for f in hello.values()]
        for token, name in enumerate(("x", "y")):
            self.dispatch(peer, actions[name], (
                token + 1, name, {"seconds": 0.5 if name == "x" else 100}))
        wait_for("they run", lambda: sum(
            p["actions"] for p in self.status()["processes"]) == 2)
        begun = time.monotonic()
        self.ask("stop", grace_us=1500000)
        self.assertEqual(peer.expect(COMPLETION)[4][0][0], 1)
        self.exited(5)
        # The flusher does not end by itself here: a second more.
        self.assertLess(time.monotonic() - begun, patience(1.5 + 1 + 0.5))
        self.assertFalse([pid for pid in pids if alive(pid)])

    def test_many(self):
        """As many groups as there may be: the reply fits, all are there."""
        text = "".join(
            f"[group g{n:02d}{'x' * 29}]\n"
            f"program = /nowhere/{n:02d}/{'long/' * 200}\n"
            "processes_max = 28\n" for n in range(32))
        text += "[worker]\nworker_hello = 1s\n"
        self.begin(text, workers=4, hellos=4)
        wait_for("all have failed", lambda: sum(
            g["trouble"] is not None for g in self.status()["groups"]) == 32,
            20)
        self.wait_phase("running")
        status = self.status()
        self.assertEqual(len(status["groups"]), 33)
        self.assertEqual(status["phase"], "running")
        self.assertEqual(self.ctl("status").code, 0)
        shown = len([p for p in status["processes"]
                     if p["kind"] == "worker"]) + status["left_out"]
        self.assertEqual(shown, 4 + 32)


if __name__ == "__main__":
    unittest.main()
