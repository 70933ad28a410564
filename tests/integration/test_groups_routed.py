"""Groups of workers with a real flusher: actions are routed by name, patterns
restrict them, and a group that nothing wants is reported."""

import json
import os
import sys
import time
import unittest

import databasecase
import harness
import load
import pool as pools
from patience import patience
from pool import wait_for

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down
PYTHON = os.path.realpath(sys.executable)
WORKER = os.path.join(pools.HERE, "groupworker.py")


class Routed(databasecase.DatabaseCase):

    def start(self, text, workers=0):
        conf = os.path.join(harness.scratch(self), "rappel.conf")
        with open(conf, "w", encoding="utf-8") as to:
            to.write(text)
        self.pool = pools.Pool(self.conninfo, workers)
        self.addCleanup(self.pool.remove)
        self.pool.env["RAPPEL_CONFIG"] = conf
        self.pool.start()

        def ready():
            found = self.pool.status()
            groups = found.get("groups")
            return (found.get("phase") == "running" and groups and
                    all(g["ready"] == g["workers"] for g in groups) and
                    found["flusher"]["workers_ready"] ==
                    sum(g["workers"] for g in groups))
        wait_for("the pool runs", ready)

    def register(self, name, *actions):
        """A workflow of these, one after the other, that gives all results."""
        states = {}
        for n, action in enumerate(actions):
            states[f"S{n}"] = {"Type": "Task", "Resource": action,
                               "ResultPath": f"$.r{n}", "Next": f"S{n + 1}"}
        states[f"S{len(actions) - 1}"].pop("Next")
        states[f"S{len(actions) - 1}"]["End"] = True
        harness.register(self.conninfo, name,
                         {"StartAt": "S0", "States": states})

    def run_it(self, name):
        return json.loads(harness.must(harness.ctl(
            "run", "start", name, "--wait", "--timeout", "20s",
            database=self.conninfo)).out)

    def served(self):
        return {g["name"]: g for g in
                (self.pool.status().get("flusher") or {}).get("groups", [])}

    def told(self, what):
        return [line for line in self.pool.log_text().splitlines()
                if f'msg="group is {what}' in line]

    def test_side_by_side(self):
        self.register("both", "img.small", "csv.sum", "arn:x:y:echo")
        self.start(f"[group img]\nprogram = {PYTHON} -B {WORKER} img.small\n"
                   "processes = 2\n"
                   f"[group csv]\nprogram = /bin/sh -c "
                   f"'exec {PYTHON} -B {WORKER} csv.sum'\n", workers=1)
        for _ in range(5):
            found = self.run_it("both")
            self.assertEqual((found["r0"]["group"], found["r1"]["group"]),
                             ("img", "csv"))
            self.assertIn("r2", found)
        # One dies: others have its work, and the other group never knows.
        slots = {found["r0"]["slot"] for found in
                 (self.run_it("both") for _ in range(5))}
        self.assertTrue(slots <= {65, 66}, slots)
        served, _ = wait_for("all is told", lambda: self.served() if all(
            g["actions"] for g in self.served().values()) else None)
        self.assertEqual(served["img"]["actions"], ["img.small"])
        self.assertEqual(served["csv"]["actions"], ["csv.sum"])
        self.assertIn("noop", served["native"]["actions"])
        self.assertEqual(self.told("unused"), [])
        shown = harness.must(harness.ctl("--dir", self.pool.dir, "status",
                                         env={"COLUMNS": "400"})).out
        self.assertRegex(shown, r"(?m)^csv +1/1 +- .* csv\.sum\b")
        code, seconds = self.pool.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, patience(2))

    def test_patterns_restrict(self):
        self.register("one", "img.small")
        self.register("other", "tidy")
        self.start(f"[group a]\nprogram = {PYTHON} -B {WORKER} img.small tidy "
                   "img.x\nactions = img.*, *y.no\n"
                   f"[group b]\nprogram = {PYTHON} -B {WORKER} img.small "
                   "tidy\nactions = t*y\n")
        wait_for("both are told", lambda: self.served()["a"]["actions"])
        served = self.served()
        self.assertEqual(served["a"]["actions"], ["img.small", "img.x"])
        self.assertEqual(served["b"]["actions"], ["tidy"])
        for _ in range(5):
            self.assertEqual(self.run_it("one")["r0"]["group"], "a")
            self.assertEqual(self.run_it("other")["r0"]["group"], "b")

    def test_what_nobody_serves(self):
        """A pattern takes away what a worker announces: it waits."""
        self.register("one", "tidy")
        self.start(f"[group a]\nprogram = {PYTHON} -B {WORKER} img.small tidy"
                   "\nactions = img.*\n")
        run = harness.must(harness.ctl("run", "start", "one",
                                       database=self.conninfo)).out.strip()
        wait_for("it says why", lambda: self.query(
            "SELECT reason FROM rappel.instances WHERE id = %s", run) ==
            [(f"no worker of pool {os.uname().nodename} serves action "
              '"tidy"',)])

    def test_unused(self):
        self.register("known", "used", "arn:aws:lambda:::function:remote")
        nested = load.task("img.deep")
        harness.register(self.conninfo, "nested", {
            "StartAt": "P", "States": {"P": {
                "Type": "Parallel", "End": True, "Branches": [nested]}}})
        # The current version of this one names it no more.
        self.register("changed", "was.used")
        self.register("changed", "used")
        groups = {"used": "used", "remote": "remote", "deep": "img.deep",
                  "past": "was.used", "typo": "usde"}
        self.start("".join(
            f"[group {name}]\nprogram = {PYTHON} -B {WORKER} {action}\n"
            for name, action in groups.items()) +
            f"[group nothing]\nprogram = {PYTHON} -B {WORKER} used\n"
            "actions = other*\n", workers=1)
        unused = {"past", "typo", "nothing"}
        wait_for("it is known", lambda: {
            name for name, g in self.served().items()
            if g["unused"]} == unused, 10)
        time.sleep(1.1)  # another look at what is served
        lines = self.told("unused")
        self.assertEqual({line.split("group=")[1].split()[0]
                          for line in lines}, unused)
        self.assertEqual(len(lines), 3)
        shown = harness.must(harness.ctl("--dir", self.pool.dir,
                                         "status")).out
        self.assertRegex(shown, r"(?m)^Group typo: +unused: no registered")
        self.assertRegex(
            shown, r"(?m)^Group nothing: +unused: none of the 1 announced "
            r"actions matches actions = other\*$")
        self.assertTrue([line for line in lines if "announced=1 "
                         "actions=\"other*\"" in line], lines)
        # It was registered meanwhile: known when it runs, at the latest.
        self.register("late", "usde")
        self.assertEqual(self.run_it("late")["r0"]["group"], "typo")
        wait_for("it is used", lambda: not self.served()["typo"]["unused"], 5)
        self.assertEqual(len(self.told("used")), 1)
        # Another flusher asks anew.
        self.register("past", "was.used")
        self.pool.kill("flusher")
        wait_for("it looked", lambda: {
            name for name, g in self.served().items()
            if g["unused"]} == {"nothing"}, 15)

    def test_many_workflows(self):
        """The look goes by pages, and is no burden."""
        self.query("""
            WITH v AS (
                INSERT INTO rappel.workflow_versions
                    (workflow, version, hash, definition, states)
                SELECT 'w' || n, 1, sha256(n::text::bytea),
                    format('{"StartAt":"A","Comment":"%%s","States":{"A":
                    {"Type":"Task","Resource":"action-%%s","End":true}}}',
                    (SELECT string_agg(md5(n || '.' || k), '')
                     FROM generate_series(1, 100) k), n)::json,
                    ARRAY['A'] FROM generate_series(1, 3000) n
                RETURNING id, workflow)
            INSERT INTO rappel.workflows SELECT workflow, id FROM v""")
        begun = time.monotonic()
        self.start(
            f"[group last]\nprogram = {PYTHON} -B {WORKER} action-999\n"
            f"[group none]\nprogram = {PYTHON} -B {WORKER} action-3001\n")
        wait_for("it is known", lambda:
                 self.served().get("none", {}).get("unused"), 15)
        print(f"\nunused: known {time.monotonic() - begun:.1f} s after the "
              "start, 3,000 workflows, 10 MB", flush=True)
        self.assertFalse(self.served()["last"]["unused"])
        self.assertEqual(self.pool.status()["phase"], "running")


if __name__ == "__main__":
    unittest.main()
