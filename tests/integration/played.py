"""What tests of dispatching have in common.

Played has a real flusher whose workers the test plays: it decides what begins,
what is answered, and when. Pools has real pools.
"""

import json
import os
import time

import checker
import databasecase
import fakesupervisor
import harness
import load
import pool as pools
from pool import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


class Case(databasecase.DatabaseCase):
    def setUp(self):
        super().setUp()
        checker.install_audit(self.connection)
        harness.register(self.conninfo, "work", load.task("work"))
        harness.register(self.conninfo, "timed",
                         load.task("work", TimeoutSeconds=1))

    def begin(self, workflow, *inputs):
        """All in one transaction: their ids, in that order."""
        return [row[0] for row in self.query(
            "SELECT rappel.start_workflows(%s, %s::json[])::text", workflow,
            [json.dumps(given) for given in inputs])]

    def wait_statuses(self, log, seconds=20, **expected):
        try:
            return wait_for(f"{expected}",
                            lambda: self.statuses() == expected, seconds)[1]
        except AssertionError as why:
            raise AssertionError(f"{why}: {self.statuses()}\n{log()}"
                                 ) from None

    def forget(self):
        """What has ended, and its journal."""
        self.query("DELETE FROM rappel.action_log;"
                   " DELETE FROM rappel.workflow_instances")

    def clean(self):
        self.assertEqual(checker.journal(self.connection), [])


class Flusher(fakesupervisor.Flusher):
    """Its workers begin and answer only what the test says."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.items = []  # (when, slot, spawn, item)
        self.playing = False

    def _dispatched(self, slot, spawn, items):
        if not self.playing:
            super()._dispatched(slot, spawn, items)
            return
        now = time.monotonic()
        self.items += [(now, slot, spawn, item) for item in items]

    def of(self, slot):
        return [item for _, at, _, item in self.items if at == slot]

    def killed(self):
        return self.told(fakesupervisor.KILL)


class Played(Case):
    def flusher(self, slots=1, quick=True, settings=None, **hello):
        """At work, its workers known; "work" was quick in the past."""
        flusher = Flusher(self, self.conninfo, **(settings or {})).start()
        hello.setdefault("window", 128)
        for slot in range(slots):
            flusher.hello(slot, ["work"], **hello)
        flusher.wait_working()
        if quick:
            self.begin("work", *range(30))
            self.wait_statuses(flusher.log, succeeded=30)
            self.forget()
        flusher.playing = True
        return flusher

    def wait_items(self, flusher, count, slot=None):
        wait_for(f"{count} items", lambda: len(
            flusher.items if slot is None else flusher.of(slot)) >= count)


class Pools(Case):
    """Real pools, whose workers keep a record of what they do."""

    worker = None  # its program, here; its first argument is the record

    def pool(self, workers, *arguments, **settings):
        pool = pools.Pool(self.conninfo, workers, **settings)
        self.addCleanup(pool.remove)
        program = os.path.join(pool.folder, "worker")
        with open(program, "w", encoding="utf-8") as script:
            script.write(f"#!/bin/sh\nexec /usr/bin/python3 -B "
                         f"{HERE}/{self.worker} {pool.record} "
                         f"{' '.join(map(str, arguments))}\n")
        os.chmod(program, 0o755)
        pool.env["RAPPEL_WORKER"] = program
        pool.start().wait_running()
        return pool

    def record(self, pool, what=None):
        """(what, µs, instance, attempt, slot, spawn)"""
        with open(pool.record, encoding="utf-8") as lines:
            found = [parts for line in lines.read().splitlines()
                     if len(parts := line.split("\t")) == 6]
        return [(w, int(at), instance, int(attempt), int(slot), int(spawn))
                for w, at, instance, attempt, slot, spawn in found
                if what in (None, w)]

    def quicken(self, pool, count=200):
        """So many quick ones, so that they are sent ahead."""
        self.begin("work", *range(count))
        self.wait_statuses(pool.log_tail, succeeded=count)
        self.forget()
        os.truncate(pool.record, 0)

    def longest_wait(self, pool, slow):
        """How long a worker had nothing to do while others waited, in ms."""
        record = self.record(pool)
        [(begun, busy)] = [(at, slot) for what, at, instance, _, slot, _ in
                           record if what == "START" and instance == slow]
        free = [(at, what) for what, at, _, _, slot, _ in record
                if slot != busy and at >= begun and what in
                ("START", "SENT", "END")]
        last, longest = begun, 0
        for at, what in free:
            if what == "START":
                longest = max(longest, at - last)
            last = at
        return longest / 1000
