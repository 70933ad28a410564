"""Actions in C: plugins that are loaded, refused, and what they can do."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import databasecase
import documents
import harness
from patience import patience
from pool import Pool
from supervised import (CANCEL, COMPLETION, DISPATCH, DRAIN, GONE, HEARTBEAT,
                        INSTANCE, Case, wait_for)

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "plugins")
HEADERS = os.path.join(harness.ROOT, "worker", "include")
RUN = "00010203-0405-0607-0809-0a0b0c0d0e0f"
UNICODE = "\0\x01\x7f\u0080ä\u07ff\u0800€\ud7ff\ue000\uffff\U00010000\U0010ffff"
# What JSON can say, at every edge.
VALUES = [
    None, True, False, 0, 1, -1, 127, 128, 255, 256, 65535, 65536, -32, -33,
    -128, -129, -32768, -32769, 2**31, -2**31 - 1, 2**32 - 1, 2**32,
    2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -2**63, 0.0, -0.0, 0.1, 1.0,
    5e-324, 1.7976931348623157e308, 2.0**64, "", "a" * 31, "a" * 32,
    "a" * 255, "a" * 256, "a" * 65536, UNICODE, [], {}, [[]], [{}], {"": {}},
    {"a": [], "b": {}, UNICODE: [None, [1, [2.5, "x"]]]},
    list(range(15)), list(range(16)), list(range(70000)),
    {str(n): n for n in range(15)}, {str(n): n for n in range(300)},
]


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def build(source, to, *flags):
    """A shared module, as anybody would make it."""
    compiler = os.environ.get("CC", "cc")
    if source.endswith(".cc"):
        compiler = shutil.which("c++")
    subprocess.run(
        [*compiler.split(), "-shared", "-fPIC", "-O1", "-Wall", "-Wextra",
         "-Werror", "-fvisibility=hidden", "-I", HEADERS, "-o", to,
         os.path.join(SOURCES, source), *flags], check=True)
    return to


def wrapper(folder, *words):
    """A program that is rappel-worker with those words."""
    path = os.path.join(folder, "worker")
    with open(path, "w", encoding="utf-8") as script:
        script.write("#!/bin/sh\nexec '%s' %s\n" % (
            harness.program("rappel-worker"),
            " ".join(f"'{word}'" for word in words)))
    os.chmod(path, 0o755)
    return path


class Loading(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="rappel-plugin-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.probe = build("probe.c", os.path.join(cls.folder, "probe.so"))

    def worker(self, *words, **env):
        return subprocess.run(
            [harness.program("rappel-worker"), *words],
            env=harness.clean_env(**env), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=20, check=False, cwd="/")

    def refused(self, *words, **env):
        """What it says, in one line, before it ends with 78."""
        done = self.worker(*words, **env)
        self.assertEqual((done.returncode, done.stdout), (78, ""), done)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr.strip()

    def misfit(self, *flags):
        path = build("misfit.c", os.path.join(self.folder, "misfit.so"),
                     *flags)
        said = self.refused("--plugin", path)
        begin = f'rappel-worker: plugin "{path}": '
        self.assertTrue(said.startswith(begin), said)
        return said[len(begin):]

    def test_lists_what_it_would_serve(self):
        done = self.worker("--plugin", self.probe, "--list")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        self.assertEqual([line[0] for line in lines[:5]],
                         ["noop", "echo", "fail", "sleep", "command"])
        self.assertEqual(lines[0][1], "built in")
        self.assertEqual(lines[5], ["probe-counted", self.probe])
        done = self.worker("--no-builtin", "--plugin", self.probe, "--list")
        self.assertEqual(len(done.stdout.splitlines()), len(lines) - 5)

    def test_usage(self):
        for words in (["--plugin"], ["--unknown"], ["file.so"], []):
            done = self.worker(*words)
            self.assertEqual(done.returncode, 64, words)
            self.assertIn("rappel-worker", done.stderr)
        self.assertEqual(self.worker("--help").returncode, 0)
        self.assertEqual(
            self.refused("--no-builtin"),
            "rappel-worker: it serves no action: --no-builtin needs a "
            "--plugin or --commands")

    def test_files_that_are_none(self):
        said = self.refused("--plugin", "/nowhere/at-all.so")
        self.assertEqual(
            said, 'rappel-worker: plugin "/nowhere/at-all.so": cannot open '
            "shared object file: No such file or directory: check its path "
            "and mode, and ldd")
        # A name alone is one of the installed ones.
        said = self.refused("--plugin", "no-such-one.so")
        self.assertRegex(said, r'plugin "no-such-one\.so" \(/.+/'
                         r'no-such-one\.so\): cannot open ')
        text = os.path.join(self.folder, "text.so")
        with open(text, "w", encoding="utf-8") as out:
            out.write("no module\n")
        self.assertIn("check its path and mode",
                      self.refused("--plugin", text))
        self.assertIn("undefined symbol: misfit_is_nowhere",
                      self.misfit("-DMISFIT_MISSES"))

    def test_modules_that_are_no_plugins(self):
        self.assertEqual(
            self.misfit("-DMISFIT_SYMBOL=another"),
            "no symbol rappel_plugin_1: end its source with "
            "RAPPEL_PLUGIN() of <rappel/action.h>")
        self.assertEqual(
            self.misfit("-DMISFIT_ABI=2"),
            "built for plugin ABI 2, this rappel has 1: build it again with "
            "this one's <rappel/action.h>")
        self.assertIn("built with a newer <rappel/action.h> (100000 bytes "
                      "of functions, this rappel has ",
                      self.misfit("-DMISFIT_API_SIZE=100000"))
        self.assertIn("has sizes that no version had",
                      self.misfit("-DMISFIT_SIZE=8"))
        self.assertIn("has no function",
                      self.misfit('-DMISFIT_ACTIONS={"a", NULL, 0}'))
        self.assertIn("actions[1] has no name",
                      self.misfit('-DMISFIT_ACTIONS={"a",run,0},{"",run,0}'))
        self.assertIn("has flags that this rappel does not know (0x80)",
                      self.misfit('-DMISFIT_ACTIONS={"a",run,0x80}'))

    def test_names_that_are_taken(self):
        self.assertEqual(
            self.misfit('-DMISFIT_ACTIONS={"echo",run,0}'),
            'action "echo" is built in, too: rename it, or use --no-builtin')
        self.assertEqual(
            self.misfit('-DMISFIT_ACTIONS={"a",run,0},{"a",run,0}'),
            'action "a" is there twice: rename one')
        path = os.path.join(self.folder, "misfit.so")
        other = build("misfit.c", os.path.join(self.folder, "other.so"))
        build("misfit.c", path)
        self.assertIn(
            f'plugin "{other}": action "misfit" is in {path}, too: '
            "rename one, or use two groups",
            self.refused("--plugin", path, "--plugin", other))
        self.assertIn("named twice: remove one --plugin",
                      self.refused("--plugin", path, "--plugin", path))

    def test_set_up_that_fails(self):
        """In one line, whatever the plugin says."""
        self.assertIn(
            f'plugin "{self.probe}": set-up failed: no device "disk 1" '
            "(3)", self.refused("--plugin", self.probe, PROBE_REFUSES="disk 1",
                         RAPPEL_FD="3", RAPPEL_SLOT="0", RAPPEL_SPAWN="1"))

    @unittest.skipUnless(shutil.which("c++"), "no C++ compiler")
    def test_in_c_plus_plus(self):
        path = build("plus.cc", os.path.join(self.folder, "plus.so"))
        done = self.worker("--no-builtin", "--plugin", path, "--list")
        self.assertEqual(done.stdout, f"plus\t{path}\n")


class Contract(Case):
    """The probe's actions, under a daemon whose flusher the test plays."""
    workers = 1

    @classmethod
    def setUpClass(cls):
        cls.modules = tempfile.mkdtemp(prefix="rappel-plugin-")
        cls.addClassCleanup(shutil.rmtree, cls.modules)
        os.chmod(cls.modules, 0o755)
        cls.probe = build("probe.c", os.path.join(cls.modules, "probe.so"))

    def setUp(self):
        super().setUp()
        self.env["RAPPEL_WORKER"] = wrapper(self.folder, "--plugin",
                                            self.probe, "--no-builtin")
        self.peer, hello = self.pool()
        self.hello = hello[0]

    def act(self, action, value=None):
        return self.run_action(self.peer, self.hello, "probe-" + action,
                               value)

    def ask_for(self, token, action, value=None, timeout_us=0):
        self.peer.send([DISPATCH, 0, 1, 1, [
            [token, INSTANCE, 7, 2, "probe-" + action, timeout_us,
             token % 1024, value]]])

    def answer(self):
        return self.peer.expect(COMPLETION)[4][0]

    def test_hello_names_its_actions(self):
        names = self.hello[4]["actions"]
        self.assertEqual(len(names), 15)
        self.assertEqual(names[0], "probe-counted")
        self.assertNotIn("noop", names)
        self.assertIn("probe is set up", self.log())
        self.assertEqual(self.run_action(self.peer, self.hello, "noop", 1)[0],
                         "Rappel.UnknownAction")

    def test_torn_down_at_its_end(self):
        self.peer.send([DRAIN, 0, 1, 0, {}])
        self.ask("restart")
        wait_for("it is torn down",
                 lambda: "probe is torn down" in self.log())

    def test_values_pass_exactly(self):
        """Whichever way: type, bits, order and bytes."""
        for value in [*VALUES, VALUES, nested(32), "x" * (200 << 10)]:
            for way in ("counted", "open", "json", "value", "nothing"):
                found = self.act(way, value)
                if way == "nothing":
                    self.assertEqual(found, [None])
                else:
                    self.assertEqual(repr(found), repr([value]), way)
        value = {"v": [1, {"w": UNICODE}], "v2": 0}
        self.assertEqual(self.act("value", value), [value["v"]])
        self.assertEqual(self.act("within", nested(31)),
                         [[nested(31), nested(31)]])

    def test_results_that_are_none(self):
        for how, words in (
                ("nan", "the result at $: a number that is not finite (NaN)"),
                ("place", "the result at $.list[1]: a number that is not "
                 "finite (Infinity)"),
                ("utf8", "the result at $: text that is not UTF-8"),
                ("surrogate", "the result at $: JSON, line 1: "),
                ("deep", "nested deeper than 32"),
                ("short", "the result at $[0]: an array of 2 has only 0"),
                ("open", "the result at $: a map has no end"),
                ("second", "the result at $: there is a second value"),
                ("key", "the result at $: a key must be text"),
                ("end", "an end where nothing is open"),
                ("msgpack", "length beyond the end of data at byte"),
                ("json", "the result at $: JSON, line 1: "),
                ("big integer", "does not fit in 64 bits")):
            error, cause = self.act("bad", how)
            self.assertEqual(error, "Rappel.ResultInvalid", how)
            self.assertIn(words, cause)
        error, cause = self.act("within", nested(32))
        self.assertEqual(error, "Rappel.ResultInvalid")
        self.assertIn("$[0]: nesting too deep", cause)

    def test_results_that_are_too_large(self):
        self.assertEqual(self.act("bad", "large"), (
            "States.DataLimitExceeded", "the result at $[15]: it has more "
            "than 1048576 bytes (value_bytes_max)"))
        self.assertEqual(self.more, {"kinds": ["Rappel.ResultInvalid"]})

    def test_errors_that_no_journal_holds(self):
        self.assertEqual(self.act("bad", "no name"),
                         ("States.TaskFailed", "why"))
        self.assertEqual(self.act("bad", "long name"),
                         ("x" * 127, "x" * 32767))
        self.assertEqual(self.act("bad", "bad name"), ("a?b", "?"))

    def test_questions_of_any_value(self):
        for value, found in (
                (None, [False] * 6 + [0, 0, 0, 0, False, 5, 5.0]),
                (True, [True] + [False] * 5 + [0, 0, 0, 0, False, 5, 5.0]),
                (-7, [False, True, False, True, False, False, 0, 0, 0, 0,
                      False, -7, -7.0]),
                (2**53 + 1, [False, True, True, False, False, False, 0, 0, 0,
                             0, False, 2**53 + 1, 5.0]),
                (2**63, [False, False, True, True, False, False, 0, 0, 0, 0,
                         False, 5, 2.0**63]),
                (1.0, [False, False, False, True, False, False, 0, 0, 0, 0,
                       False, 5, 1.0]),
                ("k", [False] * 4 + [True, False, 0, 0, 0, 0, False, 5, 5.0]),
                ([1, "x"], [False] * 5 + [True, 2, 0, 6, 0, False, 5, 5.0]),
                ({"k": {}}, [False] * 5 + [True, 1, 8, 0, 0, False, 5, 5.0])):
            self.assertEqual(self.act("questions", value), [found], value)

    def test_about(self):
        self.ask_for(5, "about", None, 60000000)
        found = self.answer()[6]
        self.assertLess(59000000, found["left_us"])
        self.assertLess(found.pop("left_us"), 60000001)
        self.assertEqual(found, {
            "action": "probe-about", "run": RUN, "key": RUN + ".7",
            "token": RUN + ".7.2", "attempt": 2})
        self.ask_for(6, "about")
        self.assertEqual(self.answer()[6]["left_us"], 2**63 - 1)

    def test_fails_and_says_more(self):
        self.ask_for(1, "fails")
        item = self.answer()
        self.assertEqual(item[:5] + item[6:], [
            1, INSTANCE, 7, 2, 1, "Probe.Deep", 'because of "ä?" 7', {
                "kinds": ["Probe.Shallow", "Probe.Any"],
                "usage": {"figures": 3, "others": 2**64 - 1},
                "log": "probe fails code=7\n"}])
        # Nothing of it is left to the next.
        self.ask_for(2, "nothing")
        item = self.answer()
        self.assertEqual(item[:5] + item[6:], [2, INSTANCE, 7, 2, 0, None])
        wait_for("it is in the log", lambda: (
            'msg="probe fails" code=7 action=probe-fails '
            f"task={RUN}.7.2") in self.log())

    def test_somebody_else_finishes_it(self):
        self.ask_for(1, "later")
        item = self.answer()
        self.assertEqual(item[:5] + item[6:], [1, INSTANCE, 7, 2, 3])

    def test_cancelled(self):
        self.ask_for(1, "spin")
        beats = [self.peer.expect(HEARTBEAT)[3:] for _ in range(3)]
        self.assertEqual(beats, [[1, [[1, {"at": n}]]] for n in range(3)])
        begun = time.monotonic()
        self.peer.send([CANCEL, 0, 1, 1, [1]])
        item = self.answer()
        self.assertLess(time.monotonic() - begun, patience(0.5))
        self.assertEqual(item[6], "Probe.Cancelled")

    def test_waits(self):
        self.assertEqual(self.act("waits", {"us": 1000}),
                         [[0, False, 0, False]])
        self.assertEqual(self.act("waits", {"write": True}),
                         [[1, True, 0, False]])
        self.assertEqual(self.more["log"],
                         "rappel_wait() for 9 descriptors: at most 8\n")
        self.ask_for(1, "waits", {})
        self.peer.send([CANCEL, 0, 1, 1, [1]])
        # Too early to have begun, or while it waits.
        item = self.answer()
        if item[4] == 0:
            self.assertEqual(item[6], [-1, False, 0, True])
        else:
            self.assertEqual(item[6], "Rappel.Cancelled")

    def test_heartbeats(self):
        self.ask_for(1, "heartbeats")
        for _ in range(2):
            self.assertEqual(self.peer.expect(HEARTBEAT)[3:], [1, [[1, None]]])
        item = self.answer()
        self.assertEqual(item[6], [True, False])
        self.assertIn("heartbeat without its progress: ", item[7]["log"])

    def test_crash_costs_the_process(self):
        self.dispatch(self.peer, self.hello, (1, "probe-crash", None))
        self.assertEqual(self.peer.expect(GONE)[4]["reason"],
                         "killed by signal 11")


class Example(Case):
    """The hash chain goes on where an attempt before it ended."""
    workers = 1

    def test_resumes(self):
        os.chmod(self.folder, 0o755)
        module = build(
            os.path.join(harness.ROOT, "examples/c/hash-chain/hash_chain.c"),
            os.path.join(self.folder, "hash-chain.so"), "-lnettle")
        self.env["RAPPEL_WORKER"] = wrapper(self.folder, "--plugin", module)
        peer, _ = self.pool()
        kept = os.path.join(self.folder, RUN + ".7.hash-chain")
        value = {"seed": "x", "rounds": 2**40, "dir": self.folder}

        def ask(token, attempt, rounds):
            peer.send([DISPATCH, 0, 1, 1, [
                [token, INSTANCE, 7, attempt, "hash-chain", 0, token,
                 dict(value, rounds=rounds)]]])

        ask(1, 1, 2**40)
        progress = peer.expect(HEARTBEAT)[4][0][1]
        self.assertEqual(progress["of"], 2**40)
        peer.send([CANCEL, 0, 1, 1, [1]])
        self.assertEqual(peer.expect(COMPLETION)[4][0][6],
                         "HashChain.Cancelled")
        with open(kept, encoding="ascii") as text:
            done, digest = text.read().split()
        self.assertGreaterEqual(int(done), progress["done"])

        ask(2, 2, int(done) + 3)
        item = peer.expect(COMPLETION)[4][0]
        digest = bytes.fromhex(digest)
        for _ in range(3):
            digest = hashlib.sha256(digest).digest()
        self.assertEqual(item[6:], [
            {"rounds": int(done) + 3, "digest": digest.hex()},
            {"usage": {"hashes": int(done) + 3},
             "log": f"resumed rounds={done}\n"}])
        self.assertFalse(os.path.exists(kept))


class Document(Case):
    """docs/plugins.md, as a reader follows it."""
    workers = 1

    def test_its_plugins(self):
        found = documents.blocks("docs/plugins.md")
        os.chmod(self.folder, 0o755)
        for name, words in (("greeter.c", '"greeter", actions'),
                            ("shop.c", '"shop", actions')):
            with open(os.path.join(self.folder, name), "w",
                      encoding="utf-8") as source:
                source.write(documents.block_with(found, words) + "\n")
        lines = documents.block_with(found, "cc -shared").replace(
            "$PWD/build", harness.build_dir())
        shop = lines.splitlines()[1].replace("greeter", "shop")
        done = subprocess.run(
            ["/bin/bash", "-euc", f"{lines}\n{shop} -Wall -Wextra -Werror"],
            cwd=self.folder, env=harness.clean_env(), check=False,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertIn("greet\t./greeter.so\n", done.stdout)

        self.env["RAPPEL_WORKER"] = wrapper(
            self.folder, *(word for name in ("greeter.so", "shop.so") for word
                           in ("--plugin", os.path.join(self.folder, name))))
        peer, hello = self.pool()

        def act(action, value):
            return self.run_action(peer, hello[0], action, value)
        self.assertEqual(act("greet", None), ["hello"])
        lamp, sofa = {"sku": "lamp", "count": 2, "price": 4.5}, {"price": 7}
        order = {"order": 17, "lines": [lamp, sofa]}
        self.assertEqual(act("total", order), [{"order": 17, "total": 16.0}])
        order["lines"][0]["price"] = "4.5"
        self.assertEqual(act("total", order),
                         ("Shop.NoPrice", "lamp has no price"))
        for wrong in (None, {"order": 17, "lines": {}}, {"lines": []}):
            self.assertEqual(act("total", wrong)[0], "Shop.Input")


class WholePool(databasecase.DatabaseCase):
    """A database, a daemon, and the example as its user builds it."""

    def pool(self, **plugins):
        """One worker of ours, and groups that have these plugins."""
        pool = Pool(self.conninfo, 1)
        self.addCleanup(pool.remove)
        pool.env["RAPPEL_CONFIG"] = os.path.join(pool.folder, "conf")
        with open(pool.env["RAPPEL_CONFIG"], "w", encoding="utf-8") as conf:
            for name, module in plugins.items():
                conf.write(f"[group {name}]\nprogram = rappel-worker "
                           f"--no-builtin --plugin {module}\n")
        pool.start()

        def groups():
            return {group["name"]: group
                    for group in pool.status().get("groups", [])}
        wait_for("every group works, or says why not", lambda: groups() and
                 all(g["ready"] == g["workers"] or g["trouble"]
                     for g in groups().values()))
        return groups()

    def run_workflow(self, name, value):
        done = harness.ctl("run", "start", name, "--wait", "--json",
                           "--input", json.dumps(value),
                           database=self.conninfo)
        return done.json

    def test_a_crash_costs_one_attempt(self):
        folder = harness.scratch(self)
        os.chmod(folder, 0o755)
        probe = build("probe.c", os.path.join(folder, "probe.so"))
        task = {"Type": "Task", "Resource": "probe-crash", "End": True}
        retry = [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 1,
                  "IntervalSeconds": 1}]
        harness.register(self.conninfo, "mended", {
            "StartAt": "T", "States": {"T": dict(task, Retry=retry)}})
        harness.register(self.conninfo, "broken", {
            "StartAt": "T", "States": {"T": task}})
        found = self.pool(good=probe, bad="/nowhere/at-all.so")
        # What cannot be loaded is told, and the others go on.
        self.assertIn("plugin '/nowhere/at-all.so': cannot open shared "
                      "object file: No such file or directory: check its "
                      "path and mode, and ldd",
                      found["bad"]["trouble"]["reason"])
        self.assertIsNone(found["good"]["trouble"])
        self.assertEqual(self.run_workflow("mended", None)["output"], 2)
        found = self.run_workflow("broken", None)
        self.assertEqual((found["error"], found["cause"]),
                         ("States.TaskFailed",
                          "the worker was lost: killed by signal 11"))

    def test_the_example_outside_of_the_tree(self):
        folder = harness.scratch(self)
        os.chmod(folder, 0o755)
        root = os.path.join(folder, "installed")
        build_dir = os.path.join(folder, "build")
        shutil.copytree(os.path.join(harness.ROOT, "examples", "c",
                                     "hash-chain"),
                        os.path.join(folder, "hash-chain"))

        def must(*words, **env):
            done = subprocess.run(
                words, env={**os.environ, **env}, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
            return done.stdout.strip()

        must("meson", "install", "-C", harness.build_dir(), "--no-rebuild",
             "--destdir", root)
        found = [os.path.join(at, "rappel.pc")
                 for at, _, names in os.walk(root) if "rappel.pc" in names]
        env = {"PKG_CONFIG_PATH": os.path.dirname(found[0]),
               "PKG_CONFIG_SYSROOT_DIR": root}
        # Only ours has been moved: others' flags stay as they are.
        self.assertIn(root, must("pkg-config", "--cflags", "rappel", **env))
        must("meson", "setup", build_dir, os.path.join(folder, "hash-chain"),
             "-Dwerror=true", **env)
        must("ninja", "-C", build_dir)
        self.work(os.path.join(build_dir, "hash-chain.so"), folder)

    def work(self, module, folder):
        with open(os.path.join(harness.ROOT, "examples",
                               "hash-chain.asl.json"), encoding="utf-8") as f:
            harness.register(self.conninfo, "hash-chain", f.read())
        self.pool(chain=module)
        digest = "ä".encode()
        for _ in range(20000):
            digest = hashlib.sha256(digest).digest()
        found = self.run_workflow("hash-chain", {
            "seed": "ä", "rounds": 20000, "dir": folder})
        self.assertEqual(found["output"],
                         {"rounds": 20000, "digest": digest.hex()}, found)
        found = self.run_workflow("hash-chain", {"seed": "ä"})
        self.assertEqual(found["error"], "HashChain.Input")


setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down

if __name__ == "__main__":
    unittest.main()
