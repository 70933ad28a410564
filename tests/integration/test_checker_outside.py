#!/usr/bin/python3
"""The checker's other half: the interpreter, processes, files, logs, samples.

Each test plants a violation and names its invariant; clean things, and pools
that were killed and mended, give no finding.
"""

import glob
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import checker
import harness
import load
import pool as pools
from checker import interpreter, noise, processes, samples
from pool import wait_for
from test_conformance import FOLDER, definition_of, exact

# Cases of bounds that the interpreter does not have, and one whose mock
# counts for each item by itself.
BEYOND = ("ResultPath of 33 levels", "data nested too deep",
          "an item retries on its own")
POOL = "0190a0b0-0000-4000-8000-00000000000a"
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class Fold(unittest.TestCase):
    """The reference interpreter against the conformance set, as far as it
    knows the language; rappelctl exec is held against the same cases."""

    def answer(self, mock, value):
        """(kind, value, cause) of one attempt; None for other mocks."""
        if "return" in mock:
            return interpreter.SUCCEEDED, mock["return"], None
        if "echo" in mock:
            return interpreter.SUCCEEDED, value, None
        if "timeout" in mock:
            return interpreter.FAILED, "States.Timeout", None
        if "throw" in mock:
            return (interpreter.FAILED, mock["throw"]["Error"],
                    mock["throw"].get("Cause"))
        return None

    def drive(self, case):
        """To its end with mocks; the run, and what the actions got."""
        run = interpreter.Run(json.loads(definition_of(case)),
                              case.get("input", {}), 0)
        inputs, asked = [], {}
        while run.status is None:
            activation, wanted = min(
                run.wanted.items(), key=lambda w: (w[1].due_us, w[0]))
            at_us = max(run.now_us, wanted.due_us)
            if run.timer_us is not None and at_us >= run.timer_us:
                run.apply(interpreter.FIRED, run.timer_us, 0, 0, None, None,
                          None, None)
                continue
            if wanted.kind != "action":
                run.apply(interpreter.FIRED, at_us, activation, 0,
                          wanted.state, wanted.index, None, None)
                continue
            n = asked[wanted.action] = asked.get(wanted.action, -1) + 1
            mock = case.get("mocks", {}).get(wanted.action, {})
            if "sequence" in mock:
                mock = mock["sequence"][min(n, len(mock["sequence"]) - 1)]
            found = self.answer(mock, wanted.input)
            if found is None:
                return None, None
            inputs.append(wanted.input)
            run.apply(found[0], at_us, activation, wanted.attempt,
                      wanted.state, wanted.index, found[1], found[2])
        return run, inputs

    def test_conformance(self):
        compared = unknown = 0
        for path in sorted(glob.glob(os.path.join(FOLDER, "*.json"))):
            with open(path, encoding="utf-8") as text:
                cases = json.load(text)
            for case in cases:
                # Texts that are refused, and details of words.
                if {"errors", "output_like", "text", "input_text",
                        "call"} & set(case) or case["name"] in BEYOND:
                    continue
                try:
                    run, inputs = self.drive(case)
                except interpreter.Unsupported:
                    run = None
                if run is None:
                    unknown += 1
                    continue
                compared += 1
                with self.subTest(case=case["name"]):
                    if "output" in case:
                        self.assertEqual((run.status, run.error),
                                         ("succeeded", None))
                        self.assertEqual(exact(run.output),
                                         exact(case["output"]))
                    elif "error" in case:
                        self.assertEqual(run.error, case["error"])
                    if "inputs" in case:
                        self.assertEqual(exact(inputs),
                                         exact(case["inputs"]))
        print(f"{self.id()}: {compared} cases, {unknown} beyond it",
              flush=True)
        self.assertGreater(compared, 200)


class Outside(unittest.TestCase):
    """Processes, files, descriptors, logs, samples: no database."""

    def setUp(self):
        self.folder = harness.scratch(self, "checker-tag-")

    def sleeper(self, *more, **options):
        found = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)",
             *more], stdin=subprocess.DEVNULL, **options)
        self.addCleanup(found.wait)
        self.addCleanup(found.kill)
        return found

    def test_orphan(self):
        """I11: in the session, or known by its arguments, its folder or an
        open file"""
        self.assertEqual(processes.orphans((), self.folder, 0), [])
        log = os.path.join(self.folder, "log")
        for options in ({"args": (self.folder,)}, {"cwd": self.folder},
                        {"stdout": log}, {"session": True}):
            args = options.pop("args", ())
            session = options.pop("session", False)
            if "stdout" in options:
                options["stdout"] = open(log, "wb")
                self.addCleanup(options["stdout"].close)
            left = self.sleeper(*args, start_new_session=True, **options)
            sessions = (left.pid,) if session else ()
            wait_for("it is found", lambda: processes.orphans(
                sessions, self.folder, 0), 5)
            left.kill()
            left.wait()
            self.assertEqual(processes.orphans(sessions, self.folder, 1), [])
            if "stdout" in options:
                options["stdout"].close()

    def test_orphan_of_an_orphan(self):
        """I11"""
        left = subprocess.Popen(
            [sys.executable, "-c", "import subprocess, sys, time;"
             "subprocess.Popen(['sleep', '60'], start_new_session=True,"
             " env={}, cwd='/'); time.sleep(60)", self.folder], cwd="/",
            stdin=subprocess.DEVNULL, start_new_session=True)
        found, _ = wait_for("both are found", lambda: [
            p for p in processes.of_pool((), self.folder)
            if p.name == "sleep"], 5)
        left.kill()
        left.wait()
        os.kill(found[0].pid, signal.SIGKILL)

    def test_zombie(self):
        """I11"""
        self.assertEqual(processes.zombies(os.getpid(), 0.1), [])
        dead = self.sleeper()
        dead.kill()
        wait_for("it is found",
                 lambda: len(processes.zombies(os.getpid(), 0.1)) == 1, 5)
        dead.wait()
        self.assertEqual(processes.zombies(os.getpid(), 0.1), [])

    def test_descriptors(self):
        """I12"""
        before = processes.descriptors(os.getpid())
        left, right = socket.socketpair()
        with left, right:
            after = processes.descriptors(os.getpid())
            found = processes.leaked_fds(before, after)
            self.assertEqual(len(found), 1, found)
            self.assertIn("socket", found[0])
        after = processes.descriptors(os.getpid())
        self.assertEqual(processes.leaked_fds(before, after), [])

    def test_inherited(self):
        """I12"""
        clean = self.sleeper(stdout=subprocess.DEVNULL)
        with open(os.path.join(self.folder, "secret"), "wb") as secret:
            worse = self.sleeper(stdout=subprocess.DEVNULL,
                                 pass_fds=(secret.fileno(),))
        # While the interpreter starts it has files of its own open.
        wait_for("it has nothing more",
                 lambda: processes.inherited_fds(clean.pid) == [], 5)
        secret_fd = [fd for fd, link in processes.descriptors(
            worse.pid).items() if link.endswith("secret")]
        self.assertEqual(len(secret_fd), 1)
        wait_for("it is found, and nothing else", lambda: [
            line.endswith("secret") for line in processes.inherited_fds(
                worse.pid, {0, 1, 2} - set(secret_fd))] == [True], 5)

    def test_left_behind(self):
        """I13"""
        pool = os.path.join(self.folder, "pool")
        os.mkdir(pool)
        self.assertEqual(processes.files(pool), [])
        for name in ("lock", "control.sock", "spool.1"):
            with open(os.path.join(pool, name), "wb"):
                pass
        self.assertEqual(len(processes.files(pool)), 2)
        before = processes.traces(self.folder)
        self.assertEqual(processes.left_traces(before, before), [])
        name = f"/dev/shm/rappel-checker-{os.getpid()}"
        with open(name, "wb"):
            self.addCleanup(os.unlink, name)
        abstract = socket.socket(socket.AF_UNIX)
        self.addCleanup(abstract.close)
        abstract.bind(f"\0rappel-checker-{os.getpid()}")
        found = [line for line in processes.left_traces(
            before, processes.traces(self.folder))
            if str(os.getpid()) in line]
        self.assertEqual(len(found), 2, found)

    def test_end(self):
        """I15"""
        self.assertEqual(processes.ended(0, 0.5, 1), [])
        self.assertEqual(len(processes.ended(0, 1.5, 1)), 1)
        self.assertIn("not documented", processes.ended(-6, 0.1, 1)[0])
        self.assertEqual(processes.ended(75, 0.1, 1, (75,)), [])

    def test_noise(self):
        """I17"""
        line = ('ts=2026-01-01T00:00:00.000Z level=info comp=supervisor '
                'msg="worker ended" slot=1 reason=x\n')
        self.assertEqual(noise.noise(line * 100, canaries=("hunter2",)), [])
        self.assertEqual(len(noise.noise(line * 101)), 1)
        self.assertEqual(len(noise.noise(line + "printf says hello\n")), 1)
        self.assertEqual(noise.noise(line + "printf says hello\n",
                                     foreign=("^printf",)), [])
        for canary in ("hunter2", 'pass"word'):
            text = line.replace("reason=x", "reason=" + canary.replace(
                '"', '\\"'))
            self.assertEqual(len(noise.noise(text, canaries=(canary,))), 1)
        self.assertEqual(noise.told(line, ["worker ended"]), [])
        self.assertEqual(len(noise.told(line, ["flusher ended"])), 1)
        self.assertEqual(len(noise.told(line.replace("slot=1 reason=x", ""),
                                        ["worker ended"])), 1)

    def test_cost(self):
        """I18: one that computes, one that wakes up, one that sleeps"""
        for code, word in (("while True: pass", "of a core"),
                           ("import time\nwhile True: time.sleep(0.01)",
                            "wake-ups"),
                           ("import time\nprint(flush=True)\n"
                            "time.sleep(60)", None)):
            busy = subprocess.Popen([sys.executable, "-c", code],
                                    stdout=subprocess.PIPE)
            self.addCleanup(busy.stdout.close)
            self.addCleanup(busy.wait)
            self.addCleanup(busy.kill)
            if word is None:
                busy.stdout.readline()
            cost = processes.Cost([busy.pid])
            if word is None:
                time.sleep(0.5)
                self.assertEqual(cost.findings(), [])
            else:
                wait_for(word, lambda c=cost, w=word: any(
                    w in line for line in c.findings()), 5)

    def test_isolation(self):
        """I20"""
        self.assertEqual(samples.isolation(100, 90), [])
        self.assertEqual(len(samples.isolation(100, 89)), 1)

    def test_reports(self):
        """I21"""
        for text in ("==7==ERROR: AddressSanitizer: heap-use-after-free",
                     "a.c:7:1: runtime error: signed integer overflow",
                     "common/mem.c:14: assertion failed: out of memory",
                     'msg="worker ended" reason="killed by signal 11"'):
            self.assertEqual(len(noise.reports(text)), 1, text)
        self.assertEqual(noise.reports(
            'msg="worker ended" reason="killed by signal 9"'), [])
        self.assertEqual(noise.reports(
            'msg="worker ended" reason="killed by signal 11"', True), [])
        self.assertEqual(noise.cores(self.folder), [])
        with open(os.path.join(self.folder, "core.77"), "wb"):
            pass
        self.assertEqual(len(noise.cores(self.folder)), 1)

    def test_status(self):
        """I22"""
        def told(**more):
            return dict({"phase": "running", "flusher": {
                "incarnation": POOL, "instances_active": 500}}, **more)
        ticks = [n / 10 for n in range(100)]
        good = [(t, told()) for t in ticks]
        held = [(t, {POOL: 500}) for t in ticks]
        self.assertEqual(samples.truth(good, held), [])
        wrong = [(t, told(flusher={"incarnation": POOL,
                                   "instances_active": 400}))
                 for t in ticks]
        self.assertTrue(samples.truth(wrong, held))
        # Wrong for less than that long: it lags.
        self.assertEqual(samples.truth(
            good, [(t, {POOL: 500 if t < 5 else 0}) for t in ticks
                   if t < 6.9]), [])
        gone = [(t, {POOL: 500} if t < 3 else None) for t in ticks]
        self.assertIn("database had gone", samples.truth(good, gone)[0])
        self.assertIn("database-away", samples.truth(
            [(t, told(phase="database-away")) for t in ticks], held)[0])
        shown = [(t, told(processes=[{"kind": "worker", "pid": 7,
                                      "phase": "ready"}])) for t in ticks]
        self.assertEqual(samples.processes(shown, lambda pid: True), [])
        self.assertEqual(len(samples.processes(shown, lambda pid: False)), 1)


class Real(unittest.TestCase):
    """Pools under kills: nothing is found that is not there."""

    def test_clean_runs(self):
        runs = int(os.environ.get("RAPPEL_CHECKER_RUNS", "2"))
        for n in range(runs):
            with self.subTest(n=n):
                self.clean_run(cluster.create(f"clean_{n}"))

    def clean_run(self, database):
        conninfo = cluster.conninfo(database)
        harness.migrate(conninfo)
        connection = cluster.connect(database)
        self.addCleanup(connection.close)
        checker.install_audit(connection)
        harness.register(conninfo, "fan-out", load.fan_out(True))
        given = load.Load(connection)
        given.top_up(100)
        pool = pools.Pool(conninfo, pool_name="one").use_oracle()
        self.addCleanup(pool.remove)
        pool.start().wait_running()
        sampler = checker.Sampler(
            pool.status, lambda: cluster.connect(database)).start()
        recoveries = 0
        for kind in ("worker", "flusher", "worker"):
            given.top_up(100)
            recoveries += pool.kill(kind)
            pool.wait_running()
        wait_for("all end", lambda: given.open_count() == 0, 60)
        sampler.stop()
        case = checker.Case(
            connection, pool, given=given.given,
            workflows={"fan-out": given.given}, recoveries=recoveries,
            sampler=sampler, expected_of=load.fan_out_output,
            told=["worker ended|flusher"])
        self.assertEqual(checker.check(case), [])
        code, took = pool.stop()
        self.assertEqual(checker.check_stopped(case, code, took), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
