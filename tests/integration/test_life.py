"""The life of workers: replacement, scaling, the brake, orphans, SIGSTOP."""

import os
import re
import resource
import signal
import time
import unittest

from patience import patience
from supervised import (COMPLETION, GONE, HELLO, STATUS, UNDELIVERABLE,
                        WORKING, Case, alive, wait_for)


PYTHON = """#!/usr/bin/python3 -B
import msgpack, os, socket, struct, sys, time
how = HOW
s = socket.socket(fileno=3)
slot, spawn = int(os.environ["RAPPEL_SLOT"]), int(os.environ["RAPPEL_SPAWN"])

def send(kind, count, payload):
    body = msgpack.packb([kind, slot, spawn, count, payload])
    s.sendall(struct.pack(">I", len(body)) + body)

def frame():
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        part = s.recv(65536 if len(data) >= 4 else 4)
        if not part:
            sys.exit(0)
        data += part
    return msgpack.unpackb(data[4:])

if how.get("fork_with_socket") and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
time.sleep(how.get("hello_after", 0))
send(1, 0, {"protocol": 1, "pid": os.getpid(), "actions": ["echo", "grow"],
            "window": 8, "language": "python"})
if "die_after" in how:
    time.sleep(how["die_after"])
    os._exit(9)
kept = []
while True:
    got = frame()
    if got[0] == 15:
        sys.exit(0)
    for item in got[4]:
        if item[4] == "grow":
            kept.append(b"x" * item[-1])
        send(11, 1, [item[:4] + [0, 1, item[-1]]])
"""


def children_of(pid):
    """Every living process below pid."""
    found, todo = [], [pid]
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8",
                          errors="replace") as text:
                    rest = text.read().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if rest[0] != "Z":
                parents.setdefault(int(rest[1]), []).append(int(entry))
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


class LifeCase(Case):

    def script(self, text):
        """A worker that is this shell script."""
        path = os.path.join(self.folder, "worker.sh")
        with open(path + ".new", "w", encoding="utf-8") as script:
            script.write("#!/bin/sh\n" + text)
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
        self.env["RAPPEL_WORKER"] = path
        return path

    def python(self, **how):
        """A worker in Python that does as told, see PYTHON."""
        path = os.path.join(self.folder, "worker.py")
        with open(path, "w", encoding="utf-8") as script:
            script.write(PYTHON.replace("HOW", repr(how)))
        os.chmod(path, 0o755)
        self.env["RAPPEL_WORKER"] = path

    def workers_of(self, phase="ready"):
        return {p["slot"]: p for p in self.status()["processes"]
                if p["kind"] == "worker" and p["phase"] == phase}

    def begin(self, peer, hello, *items):
        """Dispatches, and waits until the worker has it."""
        before = self.process_of("worker", hello[1])["actions"]
        self.dispatch(peer, hello, *items)
        wait_for("it is passed on", lambda: self.process_of(
            "worker", hello[1])["actions"] == before + len(items))

    def work(self, peer, hello, tokens):
        """Has the worker echo tokens; what came back, in order."""
        self.dispatch(peer, hello, *[(t, "echo", t) for t in tokens])
        found = []
        while len(found) < len(tokens):
            for item in peer.expect(COMPLETION, hello[1])[4]:
                self.assertEqual(item[4], 0)
                found.append(item[6])
        return found


class Recycling(LifeCase):

    def replaced(self, peer, slot, spare, passed_on=None):
        """Follows one replacement: the replacement's HELLO."""
        fresh = peer.expect(HELLO, spare)
        retired = peer.expect(UNDELIVERABLE, slot)
        self.assertEqual(retired[3:], [0, []])
        gone = peer.expect(GONE, slot)
        self.assertEqual(gone[4], {"reason": "exit status 0"})
        self.assertIn(passed_on, (None, gone[3]))
        return fresh

    def test_after_so_many_actions(self):
        self.env["RAPPEL_WORKER_RECYCLE_ACTIONS"] = "40"
        peer, hello = self.pool()
        self.assertEqual(self.work(peer, hello[0], list(range(1, 30))),
                         list(range(1, 30)))
        self.dispatch(peer, hello[0], *[(n, "echo", n) for n in range(1, 12)])
        fresh = self.replaced(peer, 0, 2, 40)
        self.assertEqual(fresh[1:3], [2, 1])
        # What was its slot is the next one's.
        self.dispatch(peer, fresh, *[(n, "echo", n) for n in range(1, 41)])
        again = self.replaced(peer, 2, 0, 40)
        self.assertEqual(again[1:3], [0, 2])
        self.assertEqual(sorted(self.workers_of()), [0, 1])
        self.assertEqual(self.status()["phase"], "running")
        self.assertNotIn("level=warning", self.log())

    def test_by_age(self):
        self.env["RAPPEL_WORKER_RECYCLE_AGE"] = "1s"
        begun = time.monotonic()
        peer, _ = self.pool()
        first = peer.expect(GONE)
        self.assertGreater(time.monotonic() - begun, 0.75)
        self.assertLess(time.monotonic() - begun, patience(1.6))
        second = peer.expect(GONE)
        self.assertNotEqual(first[1], second[1])
        self.assertEqual(first[4], {"reason": "exit status 0"})

    def test_by_memory(self):
        self.env["RAPPEL_WORKER_RECYCLE_RSS"] = "64MB"
        self.python()
        peer, hello = self.pool()
        self.work(peer, hello[0], [1])
        self.dispatch(peer, hello[1], (5, "grow", 100 << 20))
        peer.expect(COMPLETION, 1)
        begun = time.monotonic()
        self.replaced(peer, 1, 2)
        self.assertLess(time.monotonic() - begun, patience(2.5))
        self.assertIn("its resident memory", self.log())

    def test_one_at_a_time_and_ready_first(self):
        """Under a steady load, seen as the flusher sees it."""
        self.env["RAPPEL_WORKER_RECYCLE_ACTIONS"] = "10"
        peer, hello = self.pool("--workers", "4")
        for slot in (2, 3):
            hello[slot] = hello.get(slot) or peer.expect(HELLO, slot)
        ready = {slot: frame[2] for slot, frame in hello.items()}
        retired, sent, done, replaced = set(), {}, {}, 0
        token = 0
        until = time.monotonic() + 30
        while replaced < 12:
            self.assertLess(time.monotonic(), until)
            for slot, spawn in ready.items():
                if len([s for s in sent.values() if s == slot]) < 3:
                    token += 1
                    sent[token] = slot
                    self.dispatch(peer, [HELLO, slot, spawn],
                                  (token, "echo", token))
            kind, slot, spawn, count, payload = peer.receive()
            if kind == HELLO:
                self.assertNotIn(slot, ready)
                ready[slot] = spawn
                # Before anybody is told to finish.
                self.assertLessEqual(len(ready), 5)
            elif kind == UNDELIVERABLE:
                if count == 0:
                    self.assertEqual(ready.pop(slot), spawn)
                    self.assertFalse(retired, "two at a time")
                    retired.add(slot)
                    self.assertGreaterEqual(len(ready), 4)
                for item in payload:
                    sent.pop(item[0], None)  # it goes to another one
            elif kind == COMPLETION:
                for item in payload:
                    self.assertEqual(item[4], 0)
                    del sent[item[0]]
                    done[slot, spawn] = done.get((slot, spawn), 0) + 1
            elif kind == GONE:
                self.assertEqual(payload, {"reason": "exit status 0"})
                # What was passed on is answered; the rest was not begun.
                self.assertEqual(done[slot, spawn], count)
                sent = {t: s for t, s in sent.items() if s != slot}
                retired.discard(slot)
                replaced += 1
        self.assertGreater(sum(done.values()), 12 * 7)


class Restarting(LifeCase):

    def test_restart_lets_finish(self):
        peer, hello = self.pool()
        self.begin(peer, hello[0], (1, "sleep", {"ms": 600}))
        self.assertEqual(self.ask("restart"),
                         {"ok": True, "outdated": 2, "group": None})
        fresh = [peer.expect(HELLO)[1:3]]
        peer.expect(UNDELIVERABLE)
        # Whoever is told to finish gets no more, and what runs goes on.
        done = peer.expect(COMPLETION)
        self.assertEqual([done[1], done[4][0][4]], [0, 0])
        while len(fresh) < 2:
            fresh.append(peer.expect(HELLO)[1:3])
        wait_for("all are new", lambda: self.status()["outdated"] == 0)
        pids = {p["pid"] for p in self.workers_of().values()}
        self.assertFalse(pids & {h[4]["pid"] for h in hello.values()})
        self.assertEqual(len(pids), 2)
        self.assertEqual(self.status()["phase"], "running")

    def test_what_comes_too_late_comes_back(self):
        peer, hello = self.pool()
        self.begin(peer, hello[0], (1, "sleep", {"ms": 500}))
        self.begin(peer, hello[1], (2, "sleep", {"ms": 500}))
        self.ask("restart")
        slot = peer.expect(UNDELIVERABLE)[1]
        self.dispatch(peer, hello[slot], (3, "echo", 3), (4, "echo", 4))
        back = peer.expect(UNDELIVERABLE, slot)
        self.assertEqual([item[0] for item in back[4]], [3, 4])
        gone = peer.expect(GONE, slot)
        self.assertEqual(gone[3], 1)

    def test_the_drain_ends(self):
        self.env["RAPPEL_WORKER_DRAIN"] = "300ms"
        peer, hello = self.pool()
        for slot in (0, 1):
            self.begin(peer, hello[slot],
                       (slot + 1, "sleep", {"seconds": 1000}))
        begun = time.monotonic()
        self.ask("restart")
        for _ in range(2):
            gone = peer.expect(GONE)
            self.assertEqual(gone[4], {
                "reason": "did not finish in time to be replaced",
                "blameless": True})
        self.assertGreater(time.monotonic() - begun, 0.55)
        self.assertLess(time.monotonic() - begun, patience(3))

    def test_scale(self):
        peer, hello = self.pool()
        self.assertEqual(self.ask("scale", workers=5),
                         {"ok": True, "workers": 5, "before": 2,
                          "group": "native"})
        slots = sorted(peer.expect(HELLO)[1] for _ in range(3))
        self.assertEqual(slots, [2, 3, 4])
        self.begin(peer, hello[1], (1, "sleep", {"ms": 300}))
        self.assertEqual(self.ask("scale", workers=1)["workers"], 1)
        done = peer.expect(COMPLETION)
        self.assertEqual(done[4][0][4], 0)
        wait_for("one is left", lambda: len(self.workers_of()) == 1 and
                 not self.workers_of("draining"))
        self.assertEqual(sorted(self.workers_of()), [0])
        self.assertEqual(len(self.status()["processes"]), 2)
        for bad in (0, -1, 65, "x", None, 1 << 40):
            found = self.ask("scale", workers=bad)
            self.assertEqual((found["ok"], found["code"]), (False, 2))
        self.assertIn("1 to 64", found["error"])

    def test_not_while_stopping(self):
        peer, hello = self.pool()
        self.begin(peer, hello[0], (1, "sleep", {"ms": 500}))
        self.ask("drain")
        self.assertEqual(self.ask("restart")["code"], 7)
        self.assertEqual(self.ask("scale", workers=3)["code"], 7)

    def test_a_stop_in_the_middle(self):
        self.python(hello_after=0.5)
        peer, hello = self.pool("--shutdown-grace", "2s")
        self.dispatch(peer, hello[0], (1, "echo", 1))
        peer.expect(COMPLETION)
        self.ask("restart")
        wait_for("the replacement starts", lambda: self.workers_of("starting"))
        self.signal(signal.SIGTERM)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)


class Brake(LifeCase):

    def forks(self):
        return len(re.findall(r"kind=worker .* free -> starting", self.log()))

    def test_degraded_and_healthy_again(self):
        path = self.script("echo starting; echo no such module >&2; exit 3\n")
        self.start("--log-level", "debug")
        begun = time.monotonic()
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.wait_phase("degraded")
        found = self.status()["degraded"]
        self.assertEqual(found["reason"], "exit status 3")
        self.assertEqual(found["last_output"],
                         ["starting", "no such module"])
        self.assertLess(abs(found["since_us"] / 1e6 - time.time()), 5)
        # The next start is due after 5.7 s.
        wait_for("the fourth second", lambda: time.monotonic() - begun > 4)
        forks = self.forks()
        print(f"\nA09: {forks} forks in 4 s", flush=True)
        self.assertLessEqual(forks, 6)
        self.assertGreaterEqual(forks, 4)
        good = os.path.join(os.environ["RAPPEL_BUILD"], "worker",
                            "rappel-worker")
        os.rename(path, path + ".bad")
        os.symlink(good, path)
        self.hellos(peer)
        self.wait_phase("running")
        self.assertIsNone(self.status()["degraded"])
        for line in ("pool is degraded", "pool is healthy again"):
            self.assertEqual(self.log().count(line), 1, line)

    def test_what_cannot_start(self):
        """Every way of not starting ends in degraded, with its reason."""
        for script, reason, seconds in (
                ("exec /nowhere/interpreter",
                 "program could not be executed", 8),
                ("kill -SEGV $$", "killed by signal 11", 8),
                ("exit 0", "exit status 0: it ended before it said HELLO: "
                 "is it a worker (docs/protocol.md)?", 8),
                ("sleep 60", "no HELLO within 0.2 s; worker_hello may be "
                 "longer", 10)):
            with self.subTest(script):
                self.script(script + "\n")
                self.env["RAPPEL_WORKER_HELLO"] = "200ms"
                self.start()
                peer, _ = self.flusher()
                peer.send([STATUS, 0, 0, WORKING, {}])
                self.wait_phase("degraded", seconds)
                self.assertTrue(self.status()["degraded"]["reason"]
                                .startswith(reason), self.status())
                self.signal(signal.SIGQUIT)
                self.exited(3)
                os.truncate(self.log_path, 0)
                self.forget_flushers()

    def test_not_executable(self):
        path = self.script("exit 1\n")
        self.start()
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        os.chmod(path, 0o644)
        self.wait_phase("degraded")
        wait_for("it says why", lambda: any(
            "Permission denied" in line for line in
            self.status()["degraded"]["last_output"]))

    def test_dies_after_its_hello(self):
        """READY for a moment only is no proof."""
        self.python(die_after=0.01)
        self.start()
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.wait_phase("degraded")
        self.assertEqual(self.status()["degraded"]["reason"], "exit status 9")

    def test_one_bad_slot_does_not_stop_the_others(self):
        """A pool that works and cannot start any more goes on working."""
        good = os.path.join(os.environ["RAPPEL_BUILD"], "worker",
                            "rappel-worker")
        self.script(f"exec {good}\n")
        peer, hello = self.pool()
        self.script("exit 1\n")
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        peer.expect(GONE, 0)
        self.wait_phase("degraded")
        self.assertEqual(self.work(peer, hello[1], [1, 2]), [1, 2])

    @unittest.skipIf(os.geteuid() != 0, "needs root: it cannot be looked into")
    def test_fork_fails(self):
        """Nobody can be started: throttled, told seldom, cured soon."""
        peer, hello = self.pool()
        pid = self.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used - 2, hard))
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        peer.expect(GONE, 0)
        time.sleep(3.2)
        self.assertEqual(self.work(peer, hello[1], [1]), [1])
        self.assertEqual(self.log().count("no process can be started"), 2,
                         self.log())  # once as an event, once as the phase
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        begun = time.monotonic()
        peer.expect(HELLO, 0, 3)
        seconds = time.monotonic() - begun
        print(f"\nE04: full width {seconds:.2f} s after the cure", flush=True)
        self.assertLess(seconds, patience(2))
        self.wait_phase("running")


class Stopped(LifeCase):

    def test_stopped_and_busy(self):
        self.env["RAPPEL_WORKER_STOPPED"] = "1s"
        peer, hello = self.pool("--workers", "3")
        hello[2] = hello.get(2) or peer.expect(HELLO, 2)
        # A healthy one that is busy for longer is never touched.
        self.dispatch(peer, hello[2], (1, "sleep", {"ms": 2500}))
        for slot in (0, 1):
            os.kill(hello[slot][4]["pid"], signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(hello[1][4]["pid"], signal.SIGCONT)
        begun = time.monotonic()
        gone = peer.expect(GONE)
        seconds = time.monotonic() - begun + 0.5
        print(f"\nA03: killed {seconds:.2f} s after SIGSTOP (limit 1 s)",
              flush=True)
        self.assertEqual(gone[1], 0)
        self.assertEqual(gone[4]["reason"], "was stopped by a signal")
        self.assertLess(seconds, patience(1.5))
        peer.expect(HELLO, 0)
        done = peer.expect(COMPLETION, 2)
        self.assertEqual(done[4][0][4], 0)
        self.assertEqual(self.work(peer, hello[1], [5]), [5])


class Orphans(LifeCase):

    # Its own group is not left behind: it is killed when the program ends.
    FORKER = ("(setsid sh -c 'sleep 1000 & (setsid sleep 1001 &) ; "
              "exec sleep 1002' <&- >&- 2>&- &) ; (setsid sleep 1003 &) ; "
              "while [ ! -e {go} ]; do sleep 0.01; done; echo 1")

    def forked(self, peer, hello):
        """Has a worker start processes that leave its group and session."""
        def sleepers():
            found = []
            for pid in children_of(hello[4]["pid"]):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as text:
                        if text.read().startswith(b"sleep\x00100"):
                            found.append(pid)
                except OSError:
                    pass
            return len(found) == 4 and found

        go = os.path.join(self.folder, f"go.{hello[1]}")
        self.dispatch(peer, hello, (1, "command", {
            "command": ["sh", "-c", self.FORKER.format(go=go)]}))
        left = wait_for("they run", sleepers)
        with open(go, "w", encoding="utf-8"):
            pass
        peer.expect(COMPLETION)
        return left

    def test_of_a_killed_worker(self):
        peer, hello = self.pool()
        left = self.forked(peer, hello[0])
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        begun = time.monotonic()
        wait_for("they are gone", lambda: not any(map(alive, left)), 5)
        seconds = time.monotonic() - begun
        print(f"\nA07: {len(left)} processes gone {seconds:.3f} s after "
              "their worker", flush=True)
        self.assertLess(seconds, patience(1))
        peer.expect(GONE, 0)
        peer.expect(HELLO, 0)
        # And none is left as a zombie of ours.
        wait_for("all are reaped", lambda: not any(
            os.path.exists(f"/proc/{pid}") for pid in left))

    def test_of_a_worker_that_is_replaced(self):
        peer, hello = self.pool()
        left = self.forked(peer, hello[0]) + self.forked(peer, hello[1])
        self.ask("restart")
        wait_for("they are gone", lambda: not any(map(alive, left)), 5)
        self.assertEqual(self.status()["phase"], "running")

    def test_of_a_stop(self):
        peer, hello = self.pool()
        left = self.forked(peer, hello[1])
        self.signal(signal.SIGTERM)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)
        self.assertFalse([pid for pid in left if alive(pid)])

    def test_of_a_killed_daemon(self):
        """A07, E01: with kill -9 of all at once, the next start ends them."""
        peer, hello = self.pool()
        left = self.forked(peer, hello[0])
        self.process.kill()
        self.process.wait()
        self.start()
        begun = time.monotonic()
        wait_for("they are gone", lambda: not any(map(alive, left)), 5)
        print(f"\nA07: gone {time.monotonic() - begun:.3f} s after the next "
              "start", flush=True)
        wait_for("it is told", lambda: "left processes behind" in self.log())
        wait_for("it listens", self.status)

    def test_an_inherited_socket_keeps_nobody_alive(self):
        self.python(fork_with_socket=True)
        peer, hello = self.pool()
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        begun = time.monotonic()
        peer.expect(GONE, 0)
        self.assertLess(time.monotonic() - begun, patience(1))
        peer.expect(HELLO, 0)

    def test_zombies_do_not_pile_up(self):
        peer, hello = self.pool()
        for _ in range(20):
            self.dispatch(peer, hello[0], (1, "command", {
                "command": ["sh", "-c", "(sleep 0.05 &) ; echo 1"]}))
            peer.expect(COMPLETION)
        pid = hello[0][4]["pid"]

        def few():
            self.work(peer, hello[0], [1])  # it reaps when it has time
            with open(f"/proc/{pid}/task/{pid}/children",
                      encoding="utf-8") as text:
                return len(text.read().split()) < 5
        wait_for("they are reaped", few, 5)


if __name__ == "__main__":
    unittest.main()
