"""A group of Python workers beside the native ones: what the configuration
says of it, what status and log say of it, and one that cannot serve."""

import os
import shlex
import sys
import unittest

import realpool
from realpool import databasecase, fakes, harness, wait_for

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class Group(realpool.PoolCase):
    def grouped(self, **groups):
        """A pool with one native worker and these groups of modules."""
        folder = harness.scratch(self)
        os.chmod(folder, 0o755)
        conf = os.path.join(folder, "rappel.conf")
        paths = os.pathsep.join([fakes.SDK, fakes.HERE, folder])
        with open(os.path.join(folder, "broken.py"), "w",
                  encoding="utf-8") as module:
            module.write("import rappel\n\nRATE = 1 / 0\n")
        with open(conf, "w", encoding="utf-8") as text:
            for name, more in groups.items():
                words = shlex.join([sys.executable, "-B", "-m",
                                    "rappel.worker", name])
                text.write(f"[group {name}]\nprogram = {words}\n"
                           f"environment = PYTHONPATH={paths}\n{more}\n")
        os.chmod(conf, 0o600)
        pool = realpool.Pool(self.conninfo, 1, config=conf)
        self.addCleanup(pool.remove)
        return pool.start()

    def group(self, pool, name):
        for group in pool.status().get("groups", ()):
            if group["name"] == name:
                return group
        return {}

    def test_beside_the_native_workers(self):
        pool = self.grouped(sample="concurrency = 3\nprocesses = 1\n"
                            "actions = meet, says, fails\n")
        wait_for("the group", lambda: self.group(pool, "sample").get(
            "ready") == 1)
        self.register("both", {"StartAt": "Native", "States": {
            "Native": {"Type": "Task", "Resource": "sleep", "Parameters":
                       {"ms": 1, "word": "words"}, "Next": "Python"},
            "Python": {"Type": "Task", "Resource": "says", "End": True,
                       "InputPath": "$.word"}}})
        run = self.start("both")
        self.assertEqual(self.wait(run)[0], "succeeded")
        log = pool.log_text()
        self.assertRegex(log, r'level=warning comp=worker/\d+ msg="said '
                         r'\\"words\\"\\nand more" logger=rappel.action.says '
                         f"instance={run} activation=\\d+ attempt=1 ")
        self.assertIn("printed words", log)
        self.register("meet", realpool.task("meet"))
        for run in [self.start("meet", 0) for _ in range(3)]:
            self.assertEqual(self.wait(run)[:2], ("succeeded", True))

    def test_one_that_cannot_serve(self):
        pool = self.grouped(broken="", sample="")
        wait_for("the other group", lambda: self.group(pool, "sample").get(
            "ready") == 1)
        wait_for("the word of it", lambda: "broken.py:3" in str(
            self.group(pool, "broken")))
        told = str(self.group(pool, "broken"))
        self.assertRegex(told, r"broken\.py:3: module .broken. does not "
                         "import: ZeroDivisionError: division by zero")
        self.assertEqual(self.run_one("echo", 1)[:2], ("succeeded", 1))


if __name__ == "__main__":
    unittest.main()
