"""The control socket: who may ask what, hostile clients, every state."""

import json
import os
import random
import re
import resource
import socket
import stat
import struct
import subprocess
import sys
import time
import unittest

from patience import patience
from supervised import (AWAY, BUILD, DRAIN, DRAINING, HERE, REQUEST, STATUS,
                        WORKING, Case, others_reach, wait_for)

import msgpack  # behind what finds a Python that has it

ROOT = os.path.dirname(os.path.dirname(HERE))
# Groups that exist on no machine: numbers will do.
RO, OP, ADM, USER = 61001, 61002, 61003, 61010
ROLES = ["refused", "read-only", "operator", "admin"]
as_root = unittest.skipIf(
    os.geteuid() != 0 or not others_reach(BUILD),
    "needs root, and a build that other users reach")


def verbs():
    """name: role, from the one list there is."""
    with open(os.path.join(ROOT, "common/verbs.def"),
              encoding="utf-8") as text:
        rows = re.findall(r"^VERB\((\w+), ROLE_(\w+),", text.read(), re.M)
    return {name: role.lower().replace("_", "-") for name, role in rows}


def frame(payload):
    body = msgpack.packb([REQUEST, 0, 0, 0, payload])
    return struct.pack(">I", len(body)) + body


# Runs as somebody else: asks each request, prints the answers as JSON.
ASKER = r"""
import json, os, socket, struct, sys, msgpack
path, uid, gid, groups, bound, requests = json.loads(sys.argv[1])
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
answers = []
for request in requests:
    s = socket.socket(socket.AF_UNIX)
    if bound is not None:
        s.bind(bound)
    s.settimeout(10)
    try:
        s.connect(path)
    except OSError as e:
        answers.append({"ok": False, "errno": e.errno})
        continue
    body = msgpack.packb([30, 0, 0, 0, request])
    try:
        s.sendall(struct.pack(">I", len(body)) + body)
    except OSError:
        pass
    got = b""
    while len(got) < 4 or len(got) < 4 + struct.unpack(">I", got[:4])[0]:
        part = s.recv(65536)
        if not part:
            break
        got += part
    answers.append(msgpack.unpackb(got[4:])[4])
print(json.dumps(answers))
"""


# Runs as somebody else: connects that often, says how often it was busy and
# then that it is there, and holds what it has until its stdin ends.
HOLDER = r"""
import os, select, socket, sys, time
path, uid, gid, count = sys.argv[1], *map(int, sys.argv[2:])
os.setgroups([]); os.setgid(gid); os.setuid(uid)
held = []
for _ in range(count):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    held.append(s)
busy = 0
until = time.monotonic() + 0.3
while time.monotonic() < until:
    for s in select.select(held, [], [], 0.05)[0]:
        busy += b"busy" in s.recv(999)
        held.remove(s)
print(busy, flush=True)
sys.stdin.read()
"""


class ControlCase(Case):

    def start_with_groups(self, *groups, **more):
        os.chmod(self.folder, 0o711)
        for key, group in zip(("RO", "OP", "ADM"), groups):
            if group is not None:
                self.env["RAPPEL_CONTROL_GROUP_" + key] = str(group)
        self.env.update(more)
        self.start()
        wait_for("it listens", self.status)
        return self

    @property
    def path(self):
        return os.path.join(self.dir, "control.sock")

    def ask_as(self, uid, gid, groups, *requests, bound=None):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", ASKER,
             json.dumps([self.path, uid, gid, groups, bound, requests])],
            stdout=subprocess.PIPE, check=True, timeout=30, cwd="/")
        return json.loads(done.stdout)

    def hold_as(self, uid, gid, count):
        """How many of so many connections were refused as too many."""
        child = subprocess.Popen(
            [sys.executable, "-c", HOLDER, self.path, str(uid), str(gid),
             str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd="/")
        for undo in (child.wait, child.stdout.close, child.stdin.close):
            self.addCleanup(undo)
        return int(child.stdout.readline())

    def best_of_three(self, verb):
        """(seconds, answer): a busy machine may delay one of them."""
        found = []
        for _ in range(3):
            begun = time.monotonic()
            answer = self.ask(verb)
            found.append((time.monotonic() - begun, answer))
            self.assertEqual(answer["ok"], True)
        return min(found, key=lambda one: one[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss(self):
        with open(f"/proc/{self.process.pid}/status",
                  encoding="utf-8") as text:
            return int(re.search(r"VmRSS:\s+(\d+)", text.read()).group(1))

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat",
                  encoding="utf-8") as text:
            rest = text.read().rsplit(")", 1)[1].split()
        return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


class Roles(ControlCase):

    # uid, gid, other groups: the role that this has to give
    PEOPLE = {
        "root": (0, 0, [], "admin"),
        "admin group": (USER, ADM, [], "admin"),
        "operator group": (USER, OP, [], "operator"),
        "read-only group": (USER, RO, [], "read-only"),
        "supplementary only": (USER, USER, [5, OP, 61099], "operator"),
        "two groups": (USER, RO, [ADM], "admin"),
        "forty groups": (USER, USER, [*range(62000, 62040), RO],
                         "read-only"),
        "nobody": (65534, 65534, [], "refused"),
        "a member of other groups": (USER, USER, [4, 5, 61000], "refused"),
    }

    def check(self, person, uid, gid, groups, has):
        # Arguments that are wrong keep what is allowed from happening.
        requests = [{"verb": name, "grace_us": "x"} for name in verbs()]
        answers = self.ask_as(uid, gid, groups, *requests)
        for (name, needs), answer in zip(verbs().items(), answers):
            with self.subTest(person=person, verb=name):
                if ROLES.index(has) >= ROLES.index(needs):
                    self.assertNotEqual(answer.get("code"), 5, answer)
                    continue
                self.assertEqual((answer["ok"], answer["code"]), (False, 5))
                what = "connect" if has == "refused" else name
                self.assertIn(f" verb={what} uid={uid} gid={gid} pid=",
                              self.log())
        refused = sum(ROLES.index(has) < ROLES.index(needs)
                      for needs in verbs().values())
        audited = re.findall(
            rf"refused, not allowed\" verb=\w+ uid={uid} gid={gid} "
            rf"pid=\d+ role={has}", self.log())
        self.assertEqual(len(audited), refused)

    @as_root
    def test_every_verb_for_everybody(self):
        self.assertEqual(verbs()["status"], "read-only")
        self.assertEqual(verbs()["stop"], "admin")
        self.start_with_groups(RO, OP, ADM)
        for person, (uid, gid, groups, has) in self.PEOPLE.items():
            # The log is matched by who: one person, one pair of ids.
            with open(self.log_path, "w", encoding="utf-8"):
                pass
            self.check(person, uid, gid, groups, has)
        mode = os.stat(self.path).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o666)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir).st_mode), 0o711)

    @as_root
    def test_one_group_has_the_socket(self):
        self.start_with_groups(None, OP)
        found = os.stat(self.path)
        self.assertEqual((found.st_gid, stat.S_IMODE(found.st_mode)),
                         (OP, 0o660))
        self.check("operator", USER, OP, [], "operator")
        # Others do not even connect; nor when somebody changes its mode.
        self.assertEqual(self.ask_as(USER, USER, [], {"verb": "ping"})[0]
                         .get("errno"), 13)
        os.chmod(self.path, 0o666)
        self.assertEqual(self.ask_as(USER, USER, [], {"verb": "ping"})[0]
                         ["code"], 5)

    @as_root
    def test_the_owner(self):
        os.chmod(self.folder, 0o711)
        os.mkdir(self.dir, 0o700)
        os.chown(self.dir, USER, USER)
        del self.env["RAPPEL_WORKER_USER"]
        rappeld = os.path.join(os.environ.get("RAPPEL_BUILD", "build"),
                               "supervisor", "rappeld")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", f"--reuid={USER}", f"--regid={USER}",
                 "--clear-groups", os.path.abspath(rappeld), "--dir",
                 self.dir, "--workers", "1"],
                env=dict(self.env, RAPPEL_FLUSHER="/bin/false"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                start_new_session=True)
        self.seen.append(self.process.pid)
        wait_for("it listens", self.status)
        self.assertEqual(self.status()["pid"], self.process.pid)
        for uid in (0, USER):
            answers = self.ask_as(uid, 0, [], *(
                {"verb": name, "grace_us": "x"} for name in verbs()))
            for answer in answers:
                self.assertNotEqual(answer.get("code"), 5)

    @as_root
    def test_what_is_said_of_oneself(self):
        self.start_with_groups(None, OP, ADM)
        os.chmod(self.folder, 0o777)
        for bound in (f"{self.folder}/;uid=0;", "\0;uid=0;gid=0;"):
            answer = self.ask_as(USER, USER, [], {"verb": "ping", "uid": 0},
                                 bound=bound)[0]
            self.assertEqual(answer["code"], 5)
        # Credentials sent along are another's; descriptors are not taken.
        before = self.descriptors()
        null = os.open("/dev/null", os.O_RDONLY)
        peer = self.control()
        for _ in range(50):
            peer.sock.sendmsg(
                [frame({"verb": "ping"})],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                  struct.pack("8i", *[null] * 8))])
            self.assertEqual(peer.receive()[4], {"ok": True})
        os.close(null)
        self.assertEqual(self.descriptors(), before + 1)
        peer.close()
        wait_for("closed", lambda: self.descriptors() == before)
        # Who connected counts, not who has the descriptor now.
        peer = self.control()
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            peer.send([REQUEST, 0, 0, 0, {"verb": "drain"}])
            os._exit(0)
        os.waitpid(pid, 0)
        self.assertEqual(peer.receive()[4]["ok"], True)
        self.assertIn("verb=drain uid=0 gid=0", self.log())

    @as_root
    def test_what_changes_something_is_told(self):
        self.start_with_groups(RO, OP, ADM)
        self.ask_as(USER, RO, [], {"verb": "status"})
        self.assertNotIn(f"uid={USER}", self.log())
        self.ask_as(USER, OP, [], {"verb": "drain"})
        self.assertEqual(len(re.findall(
            rf'msg="control: asked" verb=drain uid={USER} gid={OP} '
            r"pid=\d+ role=operator\n", self.log())), 1)

    def test_a_group_that_is_none(self):
        for value, said in (("no-such-group", "there is no group"),
                            ("-1", "there is no group"),
                            ("4294967295", "there is no group")):
            self.env["RAPPEL_CONTROL_GROUP_OP"] = value
            done = self.run_rappeld("--dir", self.dir)
            self.assertEqual(done.returncode, 78, done.stderr)
            self.assertIn("control_group_op: " + said, done.stderr)


class Hostile(ControlCase):

    def test_mutated_verbs(self):
        self.start()
        wait_for("it listens", self.status)
        chance = random.Random(4)
        names = list(verbs())
        sent = 0
        peer = self.control()
        while sent < 10000:
            requests = []
            for _ in range(200):
                name = bytearray(chance.choice(names).encode())
                for _ in range(chance.randint(1, 3)):
                    kind = chance.randrange(4)
                    at = chance.randrange(len(name) + 1)
                    if kind == 0:
                        name[at:at] = bytes([chance.randrange(128)])
                    elif kind == 1:
                        name[at:at + 1] = b""
                    elif kind == 2 and name:
                        name[at % len(name)] = chance.randrange(128)
                    else:
                        name = name.upper() + bytes([0]) * (at % 2)
                text = name.decode()
                if text in names:
                    text += " "
                requests.append(chance.choice(
                    [text, text, text, text.encode(), [text], {text: 1},
                     len(name), None, True, 1.5, {"verb": "stop"}]))
            peer.sock.sendall(b"".join(frame({"verb": r})
                                       for r in requests))
            for request in requests:
                answer = peer.receive()[4]
                self.assertEqual((answer["ok"], answer["code"]), (False, 2),
                                 request)
            sent += len(requests)
        self.assertEqual(self.status()["phase"], "starting")

    def test_random_bytes(self):
        self.start()
        wait_for("it listens", self.status)
        chance = random.Random(5)
        before = self.rss()
        good = frame({"verb": "ping"})
        for number in range(3000):
            data = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(self.path)
                try:
                    sock.send(data if number % 3 else
                              chance.randbytes(chance.randrange(1, 300)))
                except BrokenPipeError:
                    pass  # sixty-four of them are there: turned away
        wait_for("it answers", self.status)
        # Bombs: what a header promises is not made room for.
        for body in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
                     b"\x91" * 2000, b"\xc6\xff\xff\xff\xff",
                     msgpack.packb([REQUEST, 0, 0, 0, 1])[:-1] +
                     b"\x91" * 1000):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(self.path)
                sock.settimeout(5)
                try:
                    sock.send(struct.pack(">I", len(body)) + body)
                    sock.recv(4096)
                except (BrokenPipeError, ConnectionResetError):
                    pass
        wait_for("it answers",
                 lambda: self.ask("ping") == {"ok": True})
        grown = self.rss() - before
        print(f"3,005 garbage clients: RSS +{grown} KiB")
        self.assertLess(grown, 1024)
        self.assertLess(self.log().count("\n"), 260)

    @as_root  # who may have so many
    def test_what_a_client_costs(self):
        self.start()
        wait_for("it listens", self.status)
        before = self.rss()
        for _ in range(50):
            peer = self.control()
            peer.sock.sendall(struct.pack(">I", 32 << 10) + b"\x95" * 32000)
        wait_for("all are read", lambda: self.ask("ping"))
        grown = self.rss() - before
        print(f"50 clients with an unfinished request: RSS +{grown} KiB")
        self.assertLess(grown, 50 * 64)
        peer = self.control()
        peer.sock.sendall(struct.pack(">I", (32 << 10) + 1))
        self.assertIsNone(peer.receive(3))

    def test_who_does_not_read(self):
        self.workers = 300  # so that a status is long
        self.env["RAPPEL_FLUSHER"] = "/bin/false"
        self.env["RAPPEL_WORKER"] = "/bin/false"
        self.start()
        wait_for("it listens", self.status)
        before = self.rss()
        peer = self.control()
        sent = 0
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 10:
                peer.sock.settimeout(2)
                sent += peer.sock.send(frame({"verb": "status"}) * 10)
        except (OSError, TimeoutError):
            pass
        took = time.monotonic() - begun
        grown = self.rss() - before
        print(f"a client that never reads: dropped after {took:.2f} s, "
              f"RSS +{grown} KiB")
        self.assertLess(took, patience(7))
        self.assertLess(grown, 4096)
        self.assertEqual(self.ask("ping"), {"ok": True})

    def test_one_byte_a_second(self):
        self.start()
        wait_for("it listens", self.status)
        peer = self.control()
        begun = time.monotonic()
        data = frame({"verb": "ping", "more": "x" * 100})
        try:
            for byte in data:
                peer.sock.send(bytes([byte]))
                peer.sock.settimeout(0.5)
                try:
                    if not peer.sock.recv(1):
                        break
                except TimeoutError:
                    pass
        except OSError:
            pass
        took = time.monotonic() - begun
        self.assertTrue(4.5 < took < 7, took)

    @as_root
    def test_shares(self):
        self.start_with_groups(None, OP)
        busy = [self.hold_as(uid, OP, 9) for uid in range(USER, USER + 9)]
        # 60 are anybody's: 7 x 8 + 4.
        self.assertEqual(busy, [1] * 7 + [5, 9])
        held = [self.control() for _ in range(3)]
        self.assertEqual(self.ask("ping"), {"ok": True})
        del held

    def test_a_thousand_at_once(self):
        if os.geteuid() == 0:
            self.start_with_groups(None, OP)
        else:
            self.start()
            wait_for("it listens", self.status)
        code = r"""
import os, socket, sys, time
uid = int(sys.argv[2])
if uid:
    os.setgroups([]); os.setgid(61002); os.setuid(uid)
until = time.monotonic() + 2.5
n = 0
while time.monotonic() < until:
    held = []
    for _ in range(250):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM
                          | socket.SOCK_NONBLOCK)
        try:
            s.connect(sys.argv[1])
            s.send(b"garbage!")
            n += 1
        except OSError:
            pass
        held.append(s)
    for s in held:
        s.close()
print(n)
"""
        floods = [subprocess.Popen(
            [sys.executable, "-c", code, self.path,
             str(USER + n if os.geteuid() == 0 else 0)],
            stdout=subprocess.PIPE, text=True, cwd="/") for n in range(4)]
        took = []
        while any(flood.poll() is None for flood in floods):
            begun = time.monotonic()
            try:
                self.assertEqual(self.ask("ping"), {"ok": True})
            except BlockingIOError:
                pass  # the backlog is full: as rappelctl, once more
            except (ConnectionError, AssertionError):
                # Of the same user when we are not root: its share is taken.
                self.assertNotEqual(os.geteuid(), 0)
                continue
            else:
                took.append(time.monotonic() - begun)
            time.sleep(0.01)
        made = sum(int(flood.communicate()[0]) for flood in floods)
        took.sort()
        if not took:
            self.skipTest("needs root: a share of its own")
        late = took[int(len(took) * 0.95)]
        print(f"{made} connections in 2.5 s by 4 x 250 at once: an admin's "
              f"ping took {1000 * took[len(took) // 2]:.1f} ms, 95 % "
              f"{1000 * late:.1f} ms, longest {1000 * took[-1]:.1f} ms")
        # Half of them, as the machine may have more to do than this.
        self.assertLess(took[len(took) // 2], patience(0.1))
        self.assertLess(self.log().count("\n"), 300)

    @as_root
    def test_no_descriptors_left(self):
        self.start_with_groups(None, OP)
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.hellos(peer)
        self.assertEqual(self.ask("ping"), {"ok": True})
        pid = self.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # Descriptors are numbered from below: no new one can be had.
        top = max(int(n) for n in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (top + 1, usual[1]))
        before = self.descriptors()
        busy = self.hold_as(USER, OP, 20)
        self.assertGreater(busy, 10)
        answered = self.best_of_three("ping")[0]
        held = [self.control() for _ in range(6)]
        spent = self.cpu()
        time.sleep(1)
        spent = self.cpu() - spent
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        for one in held:
            one.close()
        begun = time.monotonic()
        wait_for("it is as before", lambda: self.ask("ping"), 2)
        took = time.monotonic() - begun
        print(f"no descriptors: root answered in {1000 * answered:.1f} ms, "
              f"{100 * spent:.0f} % CPU, well again in {took:.2f} s")
        self.assertLess(answered, patience(0.1))
        self.assertLess(spent, 0.05)
        self.assertLess(took, patience(1))
        wait_for("nothing leaks", lambda: self.descriptors() <= before)


class States(ControlCase):
    """Every verb in every state: an answer, and no waiting for others."""
    workers = 2

    def ask_all(self, state):
        longest = 0.0
        order = sorted(verbs(), key=lambda v: (ROLES.index(verbs()[v]),
                                               v == "stop"))
        self.assertEqual(order[-1], "stop")
        for name in order:
            if name == "status":
                longest, answer = self.best_of_three(name)
                self.assertLess(longest, patience(0.1), state)
                self.assertTrue(answer["phase"])
                self.assertGreater(answer["since_us"], 10**15)
                continue
            begun = time.monotonic()
            answer = self.ask(name)
            took = time.monotonic() - begun
            self.assertIn(answer["ok"], (True, False), (state, name))
            self.assertLess(took, patience(6), (state, name))
        # And once more behind stop, while it ends; if it has not by now.
        try:
            self.ask("status")
        except (OSError, TypeError):
            pass
        print(f"{state}: status in {1000 * longest:.1f} ms")

    def run_state(self, state, prepare, phases, **env):
        self.env.update(env)
        self.start("--shutdown-grace", "0")
        wait_for("it listens", self.status)
        prepare()
        self.assertIn(self.status()["phase"], phases)
        self.ask_all(state)
        self.exited(15)

    def test_starting(self):
        self.run_state("no HELLO yet", self.flusher, ["starting"],
                       RAPPEL_TEST_NO_HELLO="1")

    def test_running(self):
        def work():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            self.hellos(peer)
            self.wait_phase("running")
        self.run_state("running", work, ["running"])

    def test_database_away(self):
        def away():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, AWAY, {"since": 1}])
            self.hellos(peer)
            self.wait_phase("database-away")
        self.run_state("database away", away, ["database-away"])

    def test_draining(self):
        def drain():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            hello = self.hellos(peer)
            self.dispatch(peer, hello[0],
                          (1, "command", {"command": ["sleep", "100"]}))
            self.ask("drain", grace_us=60000000)
            peer.expect(DRAIN)
            peer.send([STATUS, 0, 0, DRAINING, {}])
            self.wait_phase("draining")
        self.run_state("draining, an action runs", drain, ["draining"])

    def test_drained(self):
        def drained():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            self.hellos(peer)
            self.ask("drain")
            peer.expect(DRAIN)
            peer.send(["exit", 0])
            self.wait_phase("drained")
        self.run_state("drained", drained, ["drained"])

    def test_fenced(self):
        def fence():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            self.hellos(peer)
            peer.send(["exit", 75])
            self.flusher()
        self.run_state("fenced, the next one starts", fence, ["starting"])

    def test_flusher_that_hangs(self):
        def hang():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            self.hellos(peer)
            self.wait_phase("running")
            peer.send(["hang"])
        self.run_state("the flusher hangs", hang, ["running"])

    def test_flusher_crash_loop(self):
        self.run_state("the flusher cannot start", lambda: wait_for(
            "it tried", lambda: self.process_of("flusher")["restarts"] > 1),
            ["starting"], RAPPEL_FLUSHER="/bin/false")

    def test_worker_crash_loop(self):
        def work():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            wait_for("they tried",
                     lambda: self.process_of("worker")["restarts"] > 1)
        self.run_state("the workers cannot start", work,
                       ["starting", "running", "degraded"],
                       RAPPEL_WORKER="/bin/false")

    def test_stopping(self):
        def stop():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            hello = self.hellos(peer)
            self.dispatch(peer, hello[0],
                          (1, "command", {"command": ["sleep", "100"]}))
            self.ask("stop", grace_us=20000000)
        self.run_state("stopping, an action runs", stop, ["draining"])

    def test_a_worker_that_does_not_read(self):
        def flood():
            peer, _ = self.flusher()
            peer.send([STATUS, 0, 0, WORKING, {}])
            hello = self.hellos(peer)
            os.kill(hello[0][4]["pid"], 19)  # STOP
            for token in range(40):
                self.dispatch(peer, hello[0], (token, "echo", "x" * 100000))
        self.run_state("a worker is stopped", flood, ["running"])


if __name__ == "__main__":
    unittest.main()
