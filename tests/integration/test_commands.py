"""rappel-worker --commands: actions that a person wrote into a file."""

import json
import os
import re
import shutil
import struct
import subprocess
import unittest
import zlib

import databasecase
import harness
import pool
from supervised import Case, alive, pid_in, wait_for

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


def wrapper(folder, *words):
    """A program that is a worker with these words."""
    path = os.path.join(folder, "worker")
    with open(path, "w", encoding="utf-8") as text:
        text.write("#!/bin/sh\nexec " + " ".join(
            f"'{w}'" for w in (harness.program("rappel-worker"), *words))
            + "\n")
    os.chmod(path, 0o755)
    return path


class Serving(Case):
    workers = 1

    def serve(self, actions):
        path = os.path.join(self.folder, "commands.json")
        with open(path, "w", encoding="utf-8") as text:
            json.dump(actions, text)
        self.env["RAPPEL_WORKER"] = wrapper(
            self.folder, "--commands", path, "--no-builtin")
        self.peer, hello = self.pool()
        self.hello = hello[0]

    def act(self, action, value):
        return self.run_action(self.peer, self.hello, action, value)

    def test_all_of_it(self):
        self.serve({
            "show": {"command": ["printf", "%s|", "{src}", "-{n}", "{list}"],
                     "output": "text"},
            "cat": {"command": ["cat"]},
            "quiet": {"command": ["cat"], "stdin": "none"},
            "text": {"command": ["cat"], "stdin_text": "<{a}>",
                     "output": "text"},
            "result": {"command": ["echo", "noise"], "output": "none",
                       "result": {"file": "{dst}", "size": "{size}"}},
            "both": {"command": ["echo", "7"], "result": ["{output}", "{a}"]},
            "script": {"shell": True, "output": "lines",
                       "command": ["echo \"$RAPPEL_INPUT_A_B\"; echo \"$1\"; "
                                   "echo '{}' $0", "{c}"]},
            "where": {"command": ["sh", "-c", "pwd; echo $N$RAPPEL_INPUT_N"],
                      "cwd": "/{d}", "env": {"N": "{n}"}, "env_input": True,
                      "output": "lines"},
            "file": {"command": ["cat", "in"], "files": {"in": "{a}"},
                     "stdin": "none"},
            "fd3": {"command": ["sh", "-c", "echo 3 >&3"],
                    "output_from": "fd3"},
            "bounded": {"command": ["sh", "-c", "ulimit -n"],
                        "limits": {"open_files": 17}},
        })
        self.assertEqual(sorted(self.hello[4]["actions"]), [
            "both", "bounded", "cat", "fd3", "file", "quiet", "result",
            "script", "show", "text", "where"])
        self.assertEqual(self.act("show", {"src": "a b", "n": 2.5,
                                           "list": ["$(id)", 1]}),
                         ["a b|-2.5|$(id)|1|"])
        self.assertEqual(self.act("cat", {"a": [1]}), [{"a": [1]}])
        self.assertEqual(self.act("cat", [None]), [[None]])
        self.assertEqual(self.act("quiet", {"a": 1}), [None])
        self.assertEqual(self.act("text", {"a": 1}), ["<1>"])
        self.assertEqual(self.act("result", {"dst": "x", "size": [3]}),
                         [{"file": "x", "size": [3]}])
        self.assertEqual(self.act("both", {"a": {}}), [[7, {}]])
        # Whatever a value holds, the shell sees a value.
        nasty = "'\"; touch /tmp/no; $(id) `id` {}"
        self.assertEqual(self.act("script", {"a-b": nasty, "c": nasty}),
                         [[nasty, nasty, "{} sh"]])
        self.assertEqual(self.act("where", {"d": "usr", "n": 5, "o": [1]}),
                         [["/usr", "55"]])
        self.assertEqual(self.act("file", {"a": {"k": 1}}), [{"k": 1}])
        self.assertEqual(self.act("fd3", {}), [3])
        self.assertEqual(self.act("bounded", {}), [17])

    def test_what_the_input_lacks(self):
        touched = os.path.join(self.folder, "touched")
        self.serve({"a": {"command": ["touch", touched], "output": "none",
                          "result": "{missing}"},
                    "b": {"command": ["touch", "{missing}"]}})
        for action, key in (("a", '"result"'), ("b", '"command"')):
            for value in ({}, [1], None):
                error, cause = self.act(action, value)
                self.assertEqual(error, "Rappel.InputInvalid")
                self.assertIn(key, cause)
                self.assertIn("{missing}", cause)
        # Found before the program began.
        self.assertFalse(os.path.exists(touched))
        # No built-in action beside them.
        self.assertEqual(self.act("command", {"command": ["true"]})[0],
                         "Rappel.UnknownAction")

    def test_program_that_vanished(self):
        program = os.path.join(self.folder, "program")
        shutil.copy("/bin/true", program)
        self.serve({"a": {"command": [program]}})
        self.assertEqual(self.act("a", {}), [None])
        os.unlink(program)
        self.assertEqual(self.act("a", {})[0], "Rappel.CommandNotFound")


class Mistakes(Case):
    workers = 1
    CASES = (
        ("half of it", '{\n "a": {\n', 3, "the text ends too early"),
        ("not JSON", '{\n "a": }', 2, "not valid JSON"),
        ("empty", "", None, "the JSON text is empty"),
        ("a list", "[]", 1, "object of actions"),
        ("no action", "{}", 1, "object of actions"),
        ("no object", '{\n"a":\n 1}', 3, 'action "a": it must be an object'),
        ("no command", '{\n"a": {\n"output": "json"}}', 2,
         '"command" is missing'),
        ("an unknown key", '{"a": {"command": ["true"],\n"comand": 1}}', 2,
         'unknown key "comand"; there are command,'),
        ("a wrong brace", '{"a": {\n\n"command": ["true", "{"]}}', 3,
         '"command": element 1'),
        ("a wrong limit", '{"a": {"command": ["true"],\n\n'
         '"limits": {"memory": "much"}}}', 3, '"memory" must be'),
        ("two of one name", '{"a": {"command": ["true"]},\n'
         '"a": {"command": ["true"]}}', 2, "there twice"),
        ("a name of ours", '{"echo": {"command": ["true"]}}', 1, "built in"),
        ("no name", '{"": {"command": ["true"]}}', 1, "1 to 128 bytes"),
        ("a newline in a name", '{"a\\nb": {"command": ["true"]}}', 1,
         "no blanks"),
        ("no such program", '{"a":\n{"command":\n["no-such-program"]}}', 3,
         'program "no-such-program" is not in PATH: install it'),
        ("a long PATH", '{"a": {"command": ["no-such-program"], "env": '
         '{"PATH": "' + ":".join(["/nowhere"] * 40) + '"}}}', 1,
         "(PATH is " + ("/nowhere:" * 17)[:150] + "…)"),
        ("no program", '{"a": {"command": ["/etc/passwd"]}}', 1,
         "/etc/passwd\": it is not executable"),
        ("a folder", '{"a": {"command": ["/etc"]}}', 1,
         "it is not executable"),
        ("no such file", None, None, "No such file or directory"),
    )

    def test_each_is_one_line(self):
        path = os.path.join(self.folder, "commands.json")
        for name, text, line, says in self.CASES:
            with self.subTest(name):
                if text is None:
                    os.unlink(path)
                else:
                    with open(path, "w", encoding="utf-8") as out:
                        out.write(text)
                done = subprocess.run(
                    [harness.program("rappel-worker"), "--commands", path,
                     "--list"], capture_output=True, text=True, timeout=20,
                    check=False)
                self.assertEqual((done.returncode, done.stdout), (78, ""))
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertTrue(done.stderr.startswith(
                    f"rappel-worker: {path}:" + (f"{line}: " if line else " ")
                ), done.stderr)
                self.assertIn(says, done.stderr)

    def test_two_files(self):
        paths = []
        for name in ("one", "two"):
            paths += ["--commands", os.path.join(self.folder, name)]
            with open(paths[-1], "w", encoding="utf-8") as out:
                out.write('{"a": {"command": ["true"]}}')
        done = subprocess.run(
            [harness.program("rappel-worker"), *paths, "--list"],
            capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 78)
        self.assertIn(f'"{paths[1]}" has one of that name', done.stderr)

    def test_status_and_log_say_it(self):
        path = os.path.join(self.folder, "commands.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write('{"a":\n {"comand": []}}')
        self.env["RAPPEL_WORKER"] = wrapper(self.folder, "--commands", path)
        self.start()
        self.flusher()
        wait_for("status says it", lambda: 'unknown key "comand"' in str(
            self.process_of("worker")["last_output"]))
        wait_for("the log says it",
                 lambda: re.search(r'unknown key .{0,2}comand', self.log()))


def png(path, width, height):
    """A picture of many colours."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, 128))
                         for x in range(width)) for y in range(height))
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" +
                  chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2,
                                             0, 0, 0)) +
                  chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def size_of(path):
    with open(path, "rb") as image:
        head = image.read(24)
    assert head[:8] == b"\x89PNG\r\n\x1a\n", head
    return struct.unpack(">II", head[16:])


class Real(databasecase.DatabaseCase):
    """With a database and a pool."""

    def run_pool(self, *words):
        self.at = pool.Pool(self.conninfo, workers=2)
        self.addCleanup(self.at.remove)
        self.at.env["RAPPEL_WORKER"] = wrapper(self.at.folder, *words)
        self.at.start().wait_running()

    def ctl(self, *words):
        return harness.must(harness.ctl(*words, database=self.conninfo))

    @unittest.skipUnless(shutil.which("gm"), "GraphicsMagick is not there")
    def test_thumbnails(self):
        examples = os.path.join(harness.ROOT, "examples")
        self.run_pool("--commands",
                      os.path.join(examples, "commands", "thumbnails.json"),
                      "--no-builtin")
        folder = harness.scratch(self)
        sizes = {"a b.png": (300, 200), "-x.png": (64, 320),
                 "$(id);'.png": (500, 500), "\u00e4.PNG": (20, 10)}
        for name, (width, height) in sizes.items():
            png(os.path.join(folder, name), width, height)
        with open(os.path.join(folder, "broken.png"), "wb") as out:
            out.write(b"no image")
        with open(os.path.join(folder, "other.txt"), "wb") as out:
            out.write(b"no image")
        to = os.path.join(folder, "to", "thumbs")
        self.ctl("workflow", "register",
                 os.path.join(examples, "thumbnails.asl.json"))
        run = self.ctl("run", "start", "thumbnails", "--wait", "--json",
                       "--timeout", "60s", "--input", json.dumps(
                           {"folder": folder, "to": to, "size": 100})).json
        self.assertEqual(run["status"].upper(), "SUCCEEDED", run)
        found = {one["name"]: one for one in run["output"]}
        self.assertEqual(sorted(found), sorted([*sizes, "broken.png"]))
        self.assertIn("broken.png", found.pop("broken.png")["unreadable"])
        for name, (width, height) in sizes.items():
            path = found[name]["thumbnail"]
            self.assertEqual(path, f"{to}/{name}.png")
            shrink = min(1, 100 / max(width, height))
            self.assertEqual(size_of(path), (round(width * shrink),
                                             round(height * shrink)))
        self.assertEqual(sorted(os.listdir(to)),
                         sorted(name + ".png" for name in sizes))

    def start(self, name, definition, value):
        harness.register(self.conninfo, name, definition)
        return self.ctl("run", "start", name, "--json", "--input",
                        json.dumps(value)).json["id"]

    def one_task(self, **fields):
        return {"StartAt": "Run", "States": {"Run": dict(
            {"Type": "Task", "Resource": "command", "End": True}, **fields)}}

    def details(self, run):
        return [found for (found,) in self.query(
            "SELECT details FROM rappel.history WHERE instance_id = %s "
            "AND details IS NOT NULL", run)]

    def test_usage_and_log_are_in_the_history(self):
        self.run_pool()
        run = self.start("noisy", self.one_task(), {
            "command": ["sh", "-c", "echo so >&2; exit 3"]})
        self.ctl_wait(run)
        details = wait_for("there are details", lambda: self.details(run))
        self.assertEqual(details[0]["log"], "so\n")
        self.assertEqual(details[0]["usage"]["exit"], 3)

    def ctl_wait(self, run):
        return harness.ctl("run", "wait", run, database=self.conninfo)

    def test_cancel_and_timeout_reach_the_group(self):
        self.run_pool()
        folder = harness.scratch(self)

        def script(name):
            return ["sh", "-c",
                    f"trap 'echo term > {folder}/{name}.said; exit 0' TERM; "
                    f"(sh -c 'echo $$ > {folder}/{name}.grand; "
                    "while :; do sleep 0.1; done') & "
                    "while :; do sleep 0.05; done"]

        def grand(name):
            return pid_in(f"{folder}/{name}.grand")

        def gone(pid):
            wait_for("its grandchild is gone", lambda: not alive(pid))

        run = self.start("cancelled", self.one_task(),
                         {"command": script("cancelled")})
        pid = grand("cancelled")
        self.ctl("run", "cancel", run)
        gone(pid)
        # The shell says so once its present sleep is over.
        wait_for("it was told", lambda: os.path.exists(
            f"{folder}/cancelled.said"))
        # No worker had to die for it.
        self.assertTrue(all(p["restarts"] == 0 for p in
                            self.at.status()["processes"]))
        run = self.start("slow", self.one_task(TimeoutSeconds=1),
                         {"command": script("slow")})
        gone(grand("slow"))
        self.ctl_wait(run)
        self.assertIn("States.Timeout", str(self.ctl(
            "run", "show", run, "--json").json))


if __name__ == "__main__":
    unittest.main()
