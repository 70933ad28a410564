"""The action "command": groups, limits, folders, descriptors, cancellation."""

import os
import shutil
import signal
import tempfile
import time
import unittest

from patience import patience
from supervised import (CANCEL, COMPLETION, DISPATCH, HEARTBEAT, INSTANCE,
                        Case, alive, pid_in, wait_for)


class Commands(Case):
    workers = 1

    def setUp(self):
        super().setUp()
        # In memory where there is such a place: some go thousands deep.
        self.tmp = tempfile.mkdtemp(
            prefix="rappel-cmd-",
            dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.addCleanup(shutil.rmtree, self.tmp)
        # The supervisor hands no TMPDIR on: a worker's wrapper sets it.
        program = os.path.join(self.folder, "worker")
        build = os.environ.get("RAPPEL_BUILD", "build")
        with open(program, "w", encoding="utf-8") as text:
            text.write(f"#!/bin/sh\nTMPDIR={self.tmp} exec "
                       f"{os.path.abspath(build)}/worker/rappel-worker\n")
        os.chmod(program, 0o755)
        self.env["RAPPEL_WORKER"] = program
        self.peer, hello = self.pool()
        self.hello = hello[0]

    def act(self, *command, **more):
        return self.run_action(self.peer, self.hello, "command",
                               dict(more, command=list(command)))

    def shell(self, script, **more):
        return self.act("sh", "-c", script, **more)

    def send(self, token, value, timeout_us=0, heartbeat_us=0):
        """Without waiting for its end."""
        self.peer.send([DISPATCH, 0, self.hello[2], 1, [
            [token, INSTANCE, 7, 1, "command", timeout_us, token, value,
             heartbeat_us]]])

    def cancel(self, token):
        self.peer.send([CANCEL, 0, self.hello[2], 1, [token]])

    def path(self, name):
        return os.path.join(self.folder, name)

    def no_folders(self):
        self.assertEqual(os.listdir(self.tmp), [])


class Templates(Commands):
    def test_arguments(self):
        show = ["printf", "%s|"]
        self.assertEqual(
            self.act(*show, "{s}", "-{n}", "{{{b}}}", "{list}", "; {s}",
                     output="text",
                     **{"with": {"s": "a b", "n": 1.0, "b": True,
                                 "list": ["x y", 2, "$(id)"]}}),
            ["a b|-1.0|{true}|x y|2|$(id)|; a b|"])
        # Without "with" a brace is a brace.
        self.assertEqual(self.act(*show, "{s}{", output="text"), ["{s}{|"])
        for value in ({"o": {}}, {"o": None}, {"p": 1}):
            error, cause = self.act("echo", "a{o}", **{"with": value})
            self.assertEqual(error, "Rappel.InputInvalid")
            self.assertIn("{o}", cause)
            self.assertIn("element 1", cause)
        self.assertEqual(self.act("echo", "{", **{"with": {}})[0],
                         "Rappel.InputInvalid")

    def test_a_key_that_may_be_mistyped(self):
        """It is data for the program, as any other; a failure tells."""
        said = 'its key "Output" is data for the program: did you mean ' \
            '"output"?'
        self.assertEqual(self.act("cat", Output="text"), [{"Output": "text"}])
        error, cause = self.shell("echo words", Output="text")
        self.assertEqual(error, "Rappel.OutputInvalid")
        self.assertTrue(cause.endswith("; " + said), cause)
        self.assertTrue(self.shell("echo no >&2; exit 1", outputs="text")[1]
                        .startswith('no; its key "outputs" is data'))
        error, cause = self.run_action(self.peer, self.hello, "command",
                                       {"comand": ["true"]})
        self.assertEqual(error, "Rappel.InputInvalid")
        self.assertIn('did you mean "command"?', cause)
        self.assertNotIn("did you mean", self.shell("exit 1", data=1)[1])

    def test_elsewhere(self):
        self.assertEqual(
            self.act("sh", "-c", 'pwd; echo "$A"; cat',
                     cwd="/{d}", env={"A": "<{d}>"}, stdin_text="{{{d}}}",
                     output="lines", **{"with": {"d": "usr"}}),
            [["/usr", "<usr>", "{usr}"]])

    def test_files(self):
        script = 'pwd; ls; cat text; cat value; stat -c %a . text'
        lines = self.shell(script, output="lines",
                           files={"text": "a\n", "value": {"k": [1]}})[0]
        self.assertEqual(os.path.dirname(lines[0]), self.tmp)
        self.assertEqual(lines[1:], ["text", "value", "a",
                                     '{"k":[1]}700', "600"])
        self.no_folders()
        # A folder of one's own choice stays that.
        self.assertEqual(
            self.shell('pwd; cat "$RAPPEL_DIR/f"', cwd="/",
                       files={"f": "x"}, output="lines"), [["/", "x"]])
        self.no_folders()
        for name in ("a/b", "..", "", "x" * 256):
            self.assertEqual(self.shell("true", files={name: 1})[0],
                             "Rappel.InputInvalid", name)


class Starting(Commands):
    def script(self, text, mode=0o755):
        path = self.path("program")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def test_no_shell_for_what_is_no_program(self):
        error, cause = self.act(self.script("echo 1\n"))
        self.assertEqual(error, "Rappel.CommandNotStarted")
        self.assertIn('a first line like "#!/bin/sh"', cause)
        self.assertEqual(self.act(self.script("#!/bin/sh\necho 1\n")), [1])
        self.assertEqual(self.act(self.script("#!/bin/sh\n", 0o644))[0],
                         "Rappel.CommandNotStarted")

    def test_too_long(self):
        error, cause = self.act("true", "x" * 200000)
        self.assertEqual(error, "Rappel.CommandNotStarted")
        self.assertIn("stdin or into", cause)

    def test_path(self):
        self.script("#!/bin/sh\necho 2\n")
        self.assertEqual(self.act("program")[0], "Rappel.CommandNotFound")
        self.assertEqual(
            self.act("program", env={"PATH": f"/nowhere:{self.folder}:/bin"}),
            [2])
        # The folder it runs in is not searched, whatever PATH says.
        self.assertEqual(self.act("program", cwd=self.folder,
                                  env={"PATH": "::/bin:"})[0],
                         "Rappel.CommandNotFound")
        self.assertEqual(self.act("./program", cwd=self.folder), [2])


class Results(Commands):
    def test_descriptor(self):
        self.assertEqual(
            self.shell('echo noise; echo "[$RAPPEL_RESULT_FD]" >&3',
                       output_from="fd3"), [[3]])
        wait_for("what it printed is in the log",
                 lambda: 'msg="noise"' in self.log())
        self.assertEqual(self.more["log"].strip(), "noise")
        self.assertEqual(self.shell("true", output_from="fd3"), [None])
        self.assertEqual(self.shell("echo x >&3", output_from="fd3")[1],
                         "descriptor 3 is no JSON: line 1: not valid JSON: "
                         "invalid char in json text; it begins with: x; for "
                         'anything else than JSON set "output": "text" or '
                         '"lines"')
        # Nobody else has one.
        self.assertEqual(self.shell("echo 1 >&3")[0], "Rappel.Exit.2")

    def test_file(self):
        self.assertEqual(
            self.shell('echo noise; echo 7 > "$RAPPEL_RESULT_FILE"; ls',
                       result_file="out.json"), [7])
        self.no_folders()
        self.assertEqual(
            self.shell("printf 'a\\nb\\n' > r", result_file="r",
                       output="lines"), [["a", "b"]])
        for script, what in (("true", "No such file"),
                             ("mkfifo r", "no plain file"),
                             ("mkdir r", "no plain file"),
                             ("ln -s /etc/passwd r", "no plain file"),
                             ("echo x > r", "is no JSON")):
            error, cause = self.shell(script, result_file="r")
            self.assertEqual(error, "Rappel.OutputInvalid", script)
            self.assertIn(what, cause)
            self.no_folders()
        self.assertEqual(
            self.shell("head -c 8000000 /dev/zero > r",
                       result_file="r")[0], "Rappel.OutputTooLarge")
        self.assertEqual(self.shell("exit 75", result_file="r")[0],
                         "Rappel.TempFail")
        self.no_folders()

    def test_none(self):
        self.assertEqual(self.shell("yes | head -c 100000; echo end",
                                    output="none"), [None])
        self.assertTrue(self.more["log"].endswith("y\nend\n"))

    def test_200_kib_byte_for_byte(self):
        text = "".join(chr(0x20 + i % 90) + "\u00e4\u20ac\U0001f600\\\""
                       for i in range(20000))
        value = {"text": text, "ints": [2**64 - 1, -2**63, 0],
                 "doubles": [1.5, -0.0, 1e300, 5e-324], "empty": [{}, []]}
        self.assertGreater(len(text.encode()), 200 << 10)
        for more, script in (({}, "cat"), ({"output_from": "fd3"},
                                           "cat >&3"),
                             ({"result_file": "r"}, "cat > r")):
            got = self.shell(script, stdin=value, **more)
            self.assertEqual(got, [value])
            self.assertEqual(str(got[0]["doubles"]), str(value["doubles"]))
        self.assertEqual(self.act("cat", stdin_text=text, output="text"),
                         [text])
        self.assertEqual(self.act("cat", "f", files={"f": text},
                                  output="text"), [text])

    def test_too_much_ends_early(self):
        begun = time.monotonic()
        for output in ("json", "text", "lines"):
            self.assertEqual(self.act("yes", output=output)[0],
                             "Rappel.OutputTooLarge")
        self.assertLess(time.monotonic() - begun, patience(5))
        self.assertEqual(self.more["usage"]["signal"], signal.SIGKILL)
        self.assertEqual(self.more["kinds"], ["States.DataLimitExceeded"])

    def test_what_it_used(self):
        self.assertEqual(self.shell("echo hi >&2; echo 1"), [1])
        usage = self.more["usage"]
        self.assertEqual(sorted(usage), ["exit", "rss_kib", "system_us",
                                         "user_us", "wall_us"])
        self.assertEqual(usage["exit"], 0)
        self.assertGreater(usage["rss_kib"], 100)
        self.assertEqual(self.more["log"], "hi\n")
        self.shell("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; "
                   "kill -USR1 $$")
        usage = self.more["usage"]
        self.assertEqual(usage["signal"], signal.SIGUSR1)
        self.assertGreater(usage["user_us"], 1000)
        self.assertGreaterEqual(usage["wall_us"], usage["user_us"])
        self.shell("head -c 5000 /dev/zero | tr '\\0' a >&2; exit 3")
        self.assertEqual(self.more["usage"]["exit"], 3)
        self.assertEqual(self.more["log"], "a" * 2048)


class Limits(Commands):
    def test_arrive(self):
        self.assertEqual(
            self.shell("ulimit -t; ulimit -v; ulimit -f; ulimit -n",
                       output="lines", limits={
                           "cpu": "90s", "memory": "1GB",
                           "file_size": "1MB", "open_files": 32}),
            [["90", str(1 << 20), "2048", "32"]])
        self.assertIn("Max processes             900 ", self.act(
            "cat", "/proc/self/limits", limits={"processes": 900},
            output="text")[0])
        self.assertEqual(self.shell("ulimit -Ht", limits={"cpu": 5}), [6])
        for bad in ({"ram": 1}, {"cpu": "x"}, [], {"memory": -1}):
            error, cause = self.shell("true", limits=bad)
            self.assertEqual(error, "Rappel.InputInvalid")
            self.assertIn("limits", cause)

    def test_bite(self):
        self.assertEqual(
            self.shell("while :; do :; done", limits={"cpu": 1}),
            ("Rappel.Killed", 'it passed its limit "cpu"'))
        self.assertEqual(self.more["usage"]["signal"], signal.SIGXCPU)
        self.assertEqual(
            self.act("dd", "if=/dev/zero", "of=f", "bs=1k", "count=99",
                     limits={"file_size": 2048}, files={"x": 1}),
            ("Rappel.Killed", 'it passed its limit "file_size"'))
        self.assertEqual(self.act("dd", "if=/dev/zero", "of=/dev/null",
                                  "bs=256M", "count=1",
                                  limits={"memory": "64MB"})[0],
                         "Rappel.Exit.1")


class Groups(Commands):
    def test_group_of_its_own(self):
        ids = self.shell("cut -d' ' -f1,5,6 /proc/$$/stat", output="text")[0]
        self.assertEqual(len(set(ids.split())), 1)

    def test_background_does_not_stay(self):
        begun = time.monotonic()
        left = self.shell("sleep 100 & echo $!")[0]
        self.assertLess(time.monotonic() - begun, patience(5))
        wait_for("it is gone", lambda: not alive(left), 2)

    def test_what_left_the_group_does_not_hang(self):
        begun = time.monotonic()
        path = self.path("left")
        self.assertEqual(self.shell(
            f"setsid sh -c 'trap \"\" PIPE; echo $$ > {path}; while :; do "
            f"echo z >&2; done' & while [ ! -s {path} ]; do sleep 0.01; "
            "done; echo 1"), [1])
        left = pid_in(path)
        self.assertLess(time.monotonic() - begun, patience(5))
        self.assertTrue(alive(left))
        os.kill(self.worker_pid(0), signal.SIGKILL)
        wait_for("it dies with the worker", lambda: not alive(left))

    def test_cancel_is_sigterm_first(self):
        said = self.path("said")
        self.send(1, {"command": [
            "sh", "-c", f"trap 'echo term > {said}; exit 9' TERM; "
            f"echo $$ > {self.path('pid')}; while :; do sleep 0.05; done"],
            "kill_after": "30s"})
        pid = pid_in(self.path("pid"))
        self.cancel(1)
        frame = self.peer.expect(COMPLETION)
        self.assertEqual(frame[4][0][6], "Rappel.Cancelled")
        with open(said, encoding="utf-8") as text:
            self.assertEqual(text.read(), "term\n")
        self.assertFalse(alive(pid))
        self.assertEqual(frame[4][0][8]["usage"]["exit"], 9)
        # The worker lives on.
        self.assertEqual(self.shell("echo 1"), [1])

    def test_sigkill_follows_and_takes_all(self):
        script = ("trap '' TERM; (trap '' TERM; sh -c 'echo $$ > "
                  f"{self.path('grand')}; while :; do sleep 0.1; done') & "
                  f"echo $$ > {self.path('pid')}; "
                  "while :; do sleep 0.1; done")
        self.send(1, {"command": ["sh", "-c", script], "kill_after": "100ms",
                      "files": {"f": 1}})
        pids = [pid_in(self.path(n)) for n in ("pid", "grand")]
        worker = self.worker_pid(0)
        self.cancel(1)
        item = self.peer.expect(COMPLETION)[4][0]
        self.assertEqual(item[6], "Rappel.Cancelled")
        self.assertEqual(item[8]["usage"]["signal"], signal.SIGKILL)
        for pid in pids:
            wait_for("the group is gone", lambda p=pid: not alive(p), 2)
        self.no_folders()
        self.assertEqual(self.worker_pid(0), worker)

    def test_cancel_while_it_floods_the_log(self):
        self.send(1, {"command": [
            "sh", "-c", f"echo $$ > {self.path('pid')}; yes noise >&2"]})
        pid_in(self.path("pid"))
        wait_for("it is in the log", lambda: 'msg="noise"' in self.log())
        begun = time.monotonic()
        self.cancel(1)
        item = self.peer.expect(COMPLETION)[4][0]
        self.assertEqual(item[6], "Rappel.Cancelled")
        self.assertLess(time.monotonic() - begun, patience(5))

    def test_a_stopped_program_hears_it(self):
        self.send(1, {"command": ["sh", "-c", f"echo $$ > "
                                  f"{self.path('pid')}; kill -STOP $$"],
                      "kill_after": "30s"})
        pid_in(self.path("pid"))
        self.cancel(1)
        self.assertEqual(self.peer.expect(COMPLETION)[4][0][6],
                         "Rappel.Cancelled")


class Folders(Commands):
    def test_gone_after_kill_9_of_the_program(self):
        self.assertEqual(
            self.shell("mkdir -p a/b/c; touch a/b/f; kill -9 $$",
                       files={"f": 1})[0], "Rappel.Killed")
        self.no_folders()

    def test_gone_whatever_is_in_it(self):
        self.assertEqual(
            self.shell("mkdir -p a/b/c d; touch a/b/f d/g; ln -s / root; "
                       "mkfifo p; chmod 0 a/b a d; chmod 0 .; echo 1",
                       files={"f": 1}), [1])
        self.no_folders()
        deep = ("import os\nfor i in range(2000):\n"
                "    os.mkdir('d'); open('f', 'w').close(); os.chdir('d')\n")
        self.assertEqual(self.act("/usr/bin/python3", "-c", deep,
                                  files={"f": 1}), [None])
        self.no_folders()

    def test_gone_after_kill_9_of_the_worker(self):
        self.send(1, {"command": ["sh", "-c", "mkdir a; echo $$ > "
                                  f"{self.path('pid')}; sleep 100"],
                      "files": {"f": 1}})
        pid = pid_in(self.path("pid"))
        self.assertEqual(len(os.listdir(self.tmp)), 1)
        # Of another pool, and nobody's: they stay.
        others = [tempfile.mkdtemp(prefix=p, dir=self.tmp)
                  for p in ("rappel-1-1.x-0-1.", "mine-")]
        os.kill(self.worker_pid(0), signal.SIGKILL)
        wait_for("the next worker removed it", lambda: sorted(
            os.listdir(self.tmp)) == sorted(map(os.path.basename, others)))
        self.assertFalse(alive(pid))

    def test_gone_after_kill_9_of_the_daemon(self):
        self.send(1, {"command": ["sh", "-c", "echo $$ > "
                                  f"{self.path('pid')}; sleep 100"],
                      "files": {"f": 1}})
        pid = pid_in(self.path("pid"))
        self.process.kill()
        self.process.wait()
        wait_for("its program is gone", lambda: not alive(pid))
        self.assertEqual(len(os.listdir(self.tmp)), 1)
        self.pool()
        wait_for("the next life removed it",
                 lambda: os.listdir(self.tmp) == [])


class Heartbeats(Commands):
    def test_lines_of_a_descriptor(self):
        go = self.path("go")
        self.send(1, {"command": [
            "sh", "-c", f"echo '{{\"done\":1}}' >&4; while [ ! -e {go} ]; do "
            "sleep 0.05; done; echo half way >&$RAPPEL_HEARTBEAT_FD; "
            "sleep 1000"], "heartbeat": "fd4"})
        frame = self.peer.expect(HEARTBEAT)
        self.assertEqual(frame[3:], [1, [[1, {"done": 1}]]])
        with open(go, "w", encoding="utf-8"):
            pass
        self.assertEqual(self.peer.expect(HEARTBEAT)[4], [[1, "half way"]])
        self.cancel(1)
        self.peer.expect(COMPLETION)

    def test_output_is_a_sign_of_life(self):
        self.send(1, {"command": ["sh", "-c", "while :; do echo x >&2; "
                                  "sleep 0.05; done"]},
                  heartbeat_us=1000000)
        for _ in range(3):
            self.assertEqual(self.peer.expect(HEARTBEAT)[4], [[1, None]])
        self.cancel(1)
        self.peer.expect(COMPLETION)


if __name__ == "__main__":
    unittest.main()
