"""A pool whose workers are Python's: rappeld, PostgreSQL and all.

    class Some(realpool.PoolCase):
        modules = ["sample"]

        def test_it(self):
            pool = self.pool(concurrency=4)
            self.register("w", realpool.task("echo"))
            ...

Uses what tests/integration has for it; its folder is in PYTHONPATH.
"""

import json
import os
import shlex
import sys

import fakes

sys.path.insert(0, fakes.SDK)

import databasecase  # noqa: E402  (of tests/integration)
import harness  # noqa: E402
from pool import Pool, wait_for  # noqa: E402

ENDED = ("succeeded", "failed", "timed_out", "cancelled")


def wrapper(folder, modules, concurrency=None, paths=()):
    """A program that serves these modules, for RAPPEL_WORKER."""
    path = os.path.join(folder, "python-worker")
    paths = os.pathsep.join([fakes.SDK, fakes.HERE, *paths])
    words = [sys.executable, "-B", "-m", "rappel.worker", *modules]
    with open(path, "w", encoding="utf-8") as script:
        script.write("#!/bin/sh\n"
                     f"export PYTHONPATH={shlex.quote(paths)}\n")
        if concurrency is not None:
            script.write(f"export RAPPEL_CONCURRENCY={concurrency}\n")
        script.write(f"exec {shlex.join(words)}\n")
    os.chmod(path, 0o755)
    return path


def task(action, **more):
    """A definition of one Task."""
    return {"StartAt": "T", "States": {"T": {
        "Type": "Task", "Resource": action, "End": True, **more}}}


class PoolCase(databasecase.DatabaseCase):
    modules = ["sample"]
    paths = ()

    def pool(self, workers=1, concurrency=None, **settings):
        pool = Pool(self.conninfo, workers, **settings)
        self.addCleanup(pool.remove)
        pool.env["RAPPEL_WORKER"] = wrapper(
            pool.folder, self.modules, concurrency, self.paths)
        pool.start()
        pool.wait_running()
        return pool

    def register(self, name, definition):
        harness.register(self.conninfo, name, definition)

    def start(self, name, value=None):
        return self.query("SELECT rappel.start_workflow(%s, %s::json)::text",
                          name, json.dumps(value))[0][0]

    def row(self, run):
        """(status, output, error, cause)"""
        status, output, error, cause = self.query(
            "SELECT status, output::text, error, cause FROM rappel.instances"
            " WHERE id = %s::uuid", run)[0]
        return (status, None if output is None else json.loads(output),
                error, cause)

    def wait(self, run):
        return wait_for(f"the end of run {run}", lambda: (
            lambda row: row if row[0] in ENDED else None)(self.row(run)),
            seconds=40)[0]

    def run_one(self, action, value=None, **more):
        """The row of a run of that one action."""
        name = action.replace(".", "-")
        self.register(name, task(action, **more))
        return self.wait(self.start(name, value))

    def history(self, run):
        """(event, attempt, error) of each entry."""
        return self.query(
            "SELECT event, attempt, error FROM rappel.history"
            " WHERE instance_id = %s::uuid ORDER BY seq", run)
