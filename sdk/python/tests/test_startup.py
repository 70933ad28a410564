"""Workers that cannot serve: one line that says why, where and what to do,
exit 78, and no HELLO before it."""

import os
import shutil
import socket
import sys
import tempfile
import unittest

import fakes


class Startup(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rappel-sdk-")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as module:
            module.write(text)
        return path

    def refused(self, *words, **env):
        """The line; the supervisor was told nothing."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                env = fakes.environment(RAPPEL_FD=str(theirs.fileno()), **env)
                code, err, _ = fakes.check(*words, env=env,
                                           pass_fds=[theirs.fileno()])
            self.assertEqual(ours.recv(100), b"")
        self.assertEqual(code, 78, err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("rappel.worker: "), err)
        return err

    def load(self, text):
        path = self.write("shop.py", text)
        return path, self.refused("shop", "--path", self.folder)

    def test_a_module_that_does_not_import(self):
        self.write("prices.py", "def table():\n    return 1 / 0\n\n")
        path, line = self.load("import rappel\nimport prices\n\n"
                               "TABLE = prices.table()\n")
        self.assertEqual(
            line, f"rappel.worker: {self.folder}/prices.py:2: module "
            '"shop" does not import: ZeroDivisionError: division by zero; '
            "mend it, and try it with --check\n")

    def test_syntax_errors_and_calls_of_exit(self):
        path, line = self.load("def f(:\n")
        self.assertIn("SyntaxError: ", line)
        self.assertIn(path + ":1", line)
        path, line = self.load("import sys\n\nsys.exit('no\\nlicence')\n")
        self.assertIn(f'{path}:3: module "shop" does not import: SystemExit: '
                      "no licence;", line)

    def test_no_such_module(self):
        line = self.refused("no_such_shop")
        self.assertIn('there is no module "no_such_shop"', line)
        self.assertIn("--path", line)
        path, line = self.load("\nimport no_such_thing\n")
        self.assertIn("No module named 'no_such_thing'", line)
        self.assertIn(path + ":2", line)
        self.assertIn("is no folder", self.refused("shop", "--path", "/no/f"))

    def test_two_actions_with_one_name(self):
        path, line = self.load("from rappel import action\n\n\n@action\n"
                               "def work(input):\n    pass\n\n\n"
                               "@action('work')\ndef other(input):\n"
                               "    pass\n")
        self.assertIn(f'two actions are called "work": {path}:4 and {path}:9',
                      line)
        path, line = self.load("from rappel import action\n\n\n@action\n"
                               "def work(input):\n    pass\n\n\n@action\n"
                               "def work(input):\n    pass\n")
        self.assertIn(f"{path}:4 and {path}:9", line)
        other = self.write("other.py", "from rappel import action\n\n\n"
                           "@action\ndef work(input):\n    pass\n")
        self.write("shop.py", "from rappel import action\n\n\n@action\n"
                   "def work(input):\n    pass\n")
        line = self.refused("shop", "other", "--path", self.folder)
        self.assertIn(other + ":4", line)

    def test_no_actions(self):
        line = self.load("x = 1\n")[1]
        self.assertIn("no actions in shop: put @action", line)

    def test_functions_that_cannot_be_actions(self):
        for head, words in (
                ("def work(*rows): pass", 'takes "*rows"'),
                ("def work(a, b, /): pass", '"a" gets the whole input'),
                ("def work(input, b): pass", '"input" gets the whole'),
                ("def work(ctx, /, b): pass", 'leave out the "/"'),
                ("def work(input): yield 1", "it is a generator"),
                ("def work(when: datetime.datetime): pass",
                 'of "when" cannot be used: TypeError: no JSON value becomes '
                 "datetime.datetime"),
                ("def work(x: 'Nothing'): pass", "name 'Nothing' is not")):
            path, line = self.load("import datetime\nfrom rappel import "
                                   f"action\n\n\n@action\n{head}\n")
            self.assertIn(words, line)
            self.assertIn(path + ":5", line)
        line = self.load("from rappel import action\n\n\n@action('')\n"
                         "def work(input):\n    pass\n")[1]
        self.assertIn("'' is no name for an action", line)

    def test_an_interpreter_without_msgpack(self):
        """Whichever way it is started."""
        self.write("sitecustomize.py", "import sys\n"
                   "sys.modules['msgpack'] = None\n")
        path = os.pathsep.join([self.folder, fakes.SDK])
        line = self.refused("shop", PYTHONPATH=path)
        self.assertEqual(self.refused("--check", "shop", PYTHONPATH=path),
                         line)
        self.assertTrue(line.startswith(
            f"rappel.worker: {sys.executable} has no module msgpack: apt "
            "install python3-msgpack and use /usr/bin/python3"), line)

    def test_wrong_settings(self):
        self.write("shop.py", "")
        for words, env, said in (
                (("--concurrency", "0"), {}, "--concurrency is '0'"),
                (("--concurrency", "x"), {}, "--concurrency is 'x'"),
                ((), {"RAPPEL_CONCURRENCY": "1025"},
                 "RAPPEL_CONCURRENCY is '1025', not a number from 1 to "
                 "1024"),
                ((), {"RAPPEL_SLOT": "-1"}, "RAPPEL_SLOT is '-1'")):
            self.assertIn(said, self.refused("shop", *words, **env))

    def test_by_hand(self):
        code, err, _ = fakes.check("sample")
        self.assertEqual(code, 64)
        self.assertIn("RAPPEL_FD is not set: rappeld starts workers", err)
        code, err, _ = fakes.check("sample", env=fakes.environment(
            RAPPEL_FD="9999"))
        self.assertEqual(code, 64)
        self.assertIn("RAPPEL_FD=9999 is no socket", err)
        code, err, _ = fakes.check()
        self.assertEqual(code, 64)
        self.assertIn("usage:", err)
        code, err, out = fakes.check("--check", "sample")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"async\.echo +async +.*/sample\.py:\d+\n")
        code, _, out = fakes.check("--version")
        self.assertEqual((code, out), (0, "rappel 0.1.0\n"))

    def test_several_modules(self):
        self.write("a.py", "from rappel import action\n\n\n@action\n"
                   "def one():\n    return 1\n")
        self.write("b.py", "from rappel import action\nimport a\n\n\n"
                   "@action\nasync def two():\n    return 2\n")
        worker = fakes.Worker(self, "a", "b", "--path", self.folder)
        self.assertEqual(worker.hello["actions"], ["one", "two"])
        self.assertEqual((worker.run("one"), worker.run("two")), (1, 2))


if __name__ == "__main__":
    unittest.main()
