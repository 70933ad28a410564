"""A real flusher whose workers the test plays: it decides what begins, what is
answered, and when."""

import json
import time

import checker
import databasecase
import fakesupervisor
import harness
import load
from pool import wait_for


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
