"""rappelctl exec: a definition tried out without daemon and database."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest

import harness
from patience import patience

ARN = "arn:aws:states:us-east-1:123456789012:activity:charge"


def task(resource=ARN, **fields):
    return dict({"Type": "Task", "Resource": resource, "End": True}, **fields)


def states(first, **others):
    return {"StartAt": first, "States": others}


RETRYING = states("Pay", Pay=task(
    Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]))
POLLING = states(
    "Ask", Ask={"Type": "Task", "Resource": ARN, "ResultPath": "$.status",
                "Next": "Done?"},
    **{"Done?": {"Type": "Choice", "Choices": [
        {"Variable": "$.status", "StringEquals": "DONE", "Next": "End"}],
        "Default": "Pause"},
       "Pause": {"Type": "Wait", "Seconds": 30, "Next": "Ask"},
       "End": {"Type": "Succeed"}})
MAPPING = states("All", All={
    "Type": "Map", "ItemsPath": "$.items", "End": True,
    "ItemProcessor": states("One", One=task(
        Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]))})


class ExecTest(unittest.TestCase):
    def setUp(self):
        self.dir = harness.scratch(self)

    def write(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content if isinstance(content, str)
                      else json.dumps(content))
        return path

    def run_exec(self, definition, *words, mocks=None, **more):
        words = list(words)
        if mocks is not None:
            words += ["--mocks", self.write("mocks.json", mocks)]
        return harness.ctl(
            "exec", self.write("flow.asl.json", definition), *words, **more)

    def check(self, definition, *words, **more):
        """The JSON of a run with --json --fast."""
        done = self.run_exec(definition, "--json", "--fast", *words, **more)
        self.assertIn(done.code, (0, 8), done)
        found = done.json
        self.assertEqual(done.code == 0, found["status"] == "SUCCEEDED", done)
        return found

    # ---- what it prints ----

    def test_success(self):
        found = self.check(states(
            "A", A={"Type": "Pass", "Next": "B"}, B=task("echo")),
            "--input", '{"x": [1, 2.5, "ü"]}')
        self.assertEqual(found, {
            "status": "SUCCEEDED", "output": {"x": [1, 2.5, "ü"]},
            "error": None, "cause": None, "path": ["A", "B"],
            "tasks": [{"state": "B", "input": {"x": [1, 2.5, "ü"]},
                       "attempt": 1}]})

    def test_failure(self):
        found = self.check(states("F", F={
            "Type": "Fail", "Error": "Sold.Out", "Cause": "none left"}))
        self.assertEqual(found, {
            "status": "FAILED", "output": None, "error": "Sold.Out",
            "cause": "none left", "path": ["F"], "tasks": []})

    def test_timeout_of_the_workflow(self):
        flow = states("W", W={"Type": "Wait", "Seconds": 60, "End": True})
        flow["TimeoutSeconds"] = 5
        found = self.check(flow)
        self.assertEqual((found["status"], found["error"]),
                         ("TIMED_OUT", "States.Timeout"))

    def test_plain(self):
        done = self.run_exec(states("A", A={"Type": "Succeed"}),
                             "--input", '{"a": 1}')
        self.assertEqual((done.code, done.json, done.err),
                         (0, {"a": 1}, ""), done)
        done = self.run_exec(states("F", F={"Type": "Fail", "Error": "E",
                                            "Cause": "why"}))
        self.assertEqual((done.code, done.out), (8, ""), done)
        self.assertIn("FAILED: E: why", done.err)

    def test_effective_input(self):
        flow = states("T", T=task("echo", Parameters={
            "n.$": "$.n", "name.$": "$$.StateMachine.Name"}))
        found = self.check(flow, "--input", '{"n": 7}')
        self.assertEqual(found["tasks"][0]["input"],
                         {"n": 7, "name": "flow"})
        found = self.check(flow, "--input", '{"n": 7}', "--name", "other")
        self.assertEqual(found["output"]["name"], "other")

    # ---- input ----

    def test_input(self):
        flow = states("A", A={"Type": "Succeed"})
        self.assertEqual(self.check(flow)["output"], {})
        self.assertEqual(self.check(
            flow, "-i", self.write("in.json", "[1]"))["output"], [1])
        self.assertEqual(self.check(flow, "-i", "-", stdin='"s"')["output"],
                         "s")

    def test_bad_input(self):
        flow = states("A", A={"Type": "Succeed"})
        for given in ("{", "", "[1,]", '"\\ud800"', "nope",
                      "[" * 33 + "]" * 33):
            with self.subTest(given=given):
                done = self.run_exec(flow, "--input", given)
                self.assertEqual((done.code, done.out), (1, ""), done)
                self.assertIn("input is not JSON", done.err)
        done = self.run_exec(flow, "-i", os.path.join(self.dir, "none"))
        self.assertEqual(done.code, 1, done)
        self.assertIn("No such file", done.err)
        done = self.run_exec(flow, "-i", "-", stdin='"' + "x" * 1100000 + '"')
        self.assertEqual(done.code, 1, done)
        self.assertIn("too large", done.err)

    # ---- definitions that are wrong ----

    def test_errors(self):
        flow = ('{"StartAt": "A", "States": {\n"A": {"Type": "Pass",\n'
                '"Next": "Nowhere"},\n"B": {"Type": "Tusk"}}}')
        done = self.run_exec(flow, "--json")
        self.assertEqual(done.code, 1, done)
        errors = done.json["errors"]
        self.assertGreaterEqual(len(errors), 2)
        for error in errors:
            self.assertEqual(set(error),
                             {"state", "field", "line", "message"})
            self.assertIn(error["message"], done.err)
        self.assertIn(("A", "Next", 3), [
            (e["state"], e["field"], e["line"]) for e in errors])
        self.assertIn('flow.asl.json:3: state "A", field "Next": ', done.err)

    def test_no_definition(self):
        for text in ("", "null", "{", '{"StartAt": "A", "States": {}}',
                     "[" * 5000 + "]" * 5000):
            with self.subTest(text=text[:20]):
                done = self.run_exec(text)
                self.assertEqual((done.code, done.out), (1, ""), done)
                self.assertIn("flow.asl.json", done.err)

    # ---- without mocks ----

    def test_nothing_answers(self):
        done = self.run_exec(states("Pay", Pay=task()), "--json")
        self.assertEqual(done.code, 1, done)
        self.assertIn('state "Pay"', done.err)
        self.assertIn(ARN, done.err)
        self.assertEqual(done.json["errors"][0]["state"], "Pay")

    def test_builtin_actions(self):
        self.assertIsNone(self.check(states("A", A=task("noop")))["output"])
        found = self.check(states("A", A=task("fail", Parameters={
            "error": "E", "cause": "C"})))
        self.assertEqual((found["error"], found["cause"]), ("E", "C"))
        found = self.check(states("A", A=task("sleep", TimeoutSeconds=5,
                                              Parameters={"seconds": 9})))
        self.assertEqual(found["error"], "States.Timeout")
        found = self.check(states("A", A=task("sleep", TimeoutSeconds=5,
                                              Parameters={"seconds": 4})))
        self.assertEqual(found["output"], {"seconds": 4})

    # ---- mocks ----

    def test_mocks_by_resource(self):
        for key in (ARN, "charge", "Pay"):
            with self.subTest(key=key):
                found = self.check(states("Pay", Pay=task()),
                                   mocks={key: {"return": {"paid": 1}}})
                self.assertEqual(found["output"], {"paid": 1})

    def test_mocks_retry(self):
        error = {"throw": {"Error": "E", "Cause": "C"}}
        found = self.check(RETRYING, mocks={ARN: {"sequence": [
            error, error, {"return": "third"}]}})
        self.assertEqual(found["output"], "third")
        self.assertEqual(found["path"], ["Pay"])
        self.assertEqual([t["attempt"] for t in found["tasks"]], [1, 2, 3])
        found = self.check(RETRYING, mocks={ARN: error})
        self.assertEqual((found["error"], found["cause"]), ("E", "C"))
        self.assertEqual(len(found["tasks"]), 3)

    def test_mocks_poll(self):
        found = self.check(POLLING, mocks={ARN: {"sequence": [
            {"return": "BUSY"}, {"return": "BUSY"}, {"return": "DONE"}]}})
        self.assertEqual(found["path"], ["Ask", "Done?", "Pause"] * 2
                         + ["Ask", "Done?", "End"])

    def test_mocks_in_a_map(self):
        found = self.check(MAPPING, "--input", '{"items": [1, 2]}',
                           mocks={ARN: {"sequence": [
                               {"throw": {"Error": "E"}}, {"echo": True}]}})
        self.assertEqual(found["output"], [1, 2])
        self.assertEqual(len(found["tasks"]), 4)

    def test_mocks_of_step_functions_local(self):
        mocks = {
            "StateMachines": {"flow": {"TestCases": {
                "Happy": {"Pay": "Paid"}, "Retry": {"Pay": "Late"},
                "Sad": {"Pay": "Never"}}}},
            "MockedResponses": {
                "Paid": {"0": {"Return": {"ok": True}}},
                "Late": {"0-1": {"Throw": {"Error": "E", "Cause": "C"}},
                         "2": {"Return": 2}},
                "Never": {"0-9": {"Throw": {"Error": "E", "Cause": "C"}}}}}
        self.assertEqual(self.check(RETRYING, mocks=mocks)["output"],
                         {"ok": True})
        self.assertEqual(self.check(RETRYING, "--test-case", "Retry",
                                    mocks=mocks)["output"], 2)
        self.assertEqual(self.check(RETRYING, "--test-case", "flow/Sad",
                                    mocks=mocks)["error"], "E")
        done = self.run_exec(RETRYING, "--test-case", "No", mocks=mocks)
        self.assertEqual(done.code, 1, done)
        self.assertIn('no test case "No"', done.err)

    def test_mocks_that_are_wrong(self):
        done = self.run_exec(RETRYING, mocks='{"a": {"return": 1},\n'
                                             '"b": {"retrun": 1}}')
        self.assertEqual(done.code, 1, done)
        self.assertIn("mocks.json:2: mock \"b\"", done.err)
        done = self.run_exec(RETRYING, "--mocks", self.dir + "/none")
        self.assertEqual(done.code, 1, done)
        done = self.run_exec(RETRYING, "--test-case", "x")
        self.assertEqual(done.code, 2, done)

    # ---- a mock program ----

    def program(self, text):
        return (f"{sys.executable} -B "
                + self.write("mock.py", "import json, os, sys\n" + text))

    def test_program(self):
        found = self.check(RETRYING, "--input", '{"n": 1}', "--mock-program",
                           self.program(
            "for line in sys.stdin:\n"
            "    asked = json.loads(line)\n"
            "    if asked['attempt'] < 3:\n"
            "        print(json.dumps({'error': 'E', 'cause': 'C'}))\n"
            "    else:\n"
            "        print(json.dumps({'return': [asked, os.getpid() > 0]}))"
            "\n"))
        self.assertEqual(found["output"], [
            {"state": "Pay", "resource": ARN, "input": {"n": 1},
             "attempt": 3, "retry_count": 2}, True])

    def test_program_that_ends_after_each_answer(self):
        found = self.check(MAPPING, "--input", '{"items": [1, 2, 3]}',
                           "--mock-program", self.program(
            "asked = json.loads(sys.stdin.readline())\n"
            "print(json.dumps({'return': asked['input'] * 2}))\n"))
        self.assertEqual(found["output"], [2, 4, 6])

    def test_program_with_large_lines(self):
        found = self.check(states("A", A=task()), "-i", "-",
                           "--mock-program", self.program(
            "for line in sys.stdin:\n"
            "    print(json.dumps({'return': len(line)}))\n"),
            stdin=json.dumps("x" * 500000))
        self.assertGreater(found["output"], 500000)

    def test_program_timeout(self):
        found = self.check(states("A", A=task()), "--mock-program",
                           "while read line; do echo '{\"timeout\": true}'; "
                           "done")
        self.assertEqual(found["error"], "States.Timeout")

    def test_program_that_fails(self):
        for program, said in (("exit 3", "exit status 3"),
                              ("kill -9 $$", "signal 9"),
                              ("echo nonsense", "no good"),
                              ("echo '{}'", "no good"),
                              ("/nonexistent/x", "exit status 127")):
            with self.subTest(program=program):
                done = self.run_exec(RETRYING, "--mock-program", program)
                self.assertEqual((done.code, done.out), (1, ""), done)
                self.assertIn(said, done.err)

    # ---- time ----

    def test_fast(self):
        flow = states("W", W={"Type": "Wait", "Seconds": 86400,
                              "End": True})
        begun = time.monotonic()
        self.assertEqual(self.check(flow)["status"], "SUCCEEDED")
        self.assertLess(time.monotonic() - begun, patience(5))

    def test_real_time(self):
        flow = states("W", W={"Type": "Wait", "Seconds": 1, "End": True})
        begun = time.monotonic()
        self.assertEqual(self.run_exec(flow).code, 0)
        self.assertGreater(time.monotonic() - begun, 0.9)

    def test_sleeps_side_by_side(self):
        flow = states("P", P={"Type": "Parallel", "End": True, "Branches": [
            states(name, **{name: task("sleep", Parameters={"ms": 700})})
            for name in ("A", "B", "C")]})
        begun = time.monotonic()
        self.assertEqual(self.run_exec(flow).code, 0)
        self.assertLess(time.monotonic() - begun, patience(2))

    def test_interrupt(self):
        flow = states("W", W={"Type": "Wait", "Seconds": 60, "End": True})
        with subprocess.Popen(
                [harness.program("rappelctl"), "exec",
                 self.write("flow.asl.json", flow)],
                env=harness.clean_env(), stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_DFL)) as process:
            # Until it waits: the handler is there then.
            status = f"/proc/{process.pid}/status"
            for _ in range(500):
                with open(status, encoding="ascii") as lines:
                    caught = [int(line.split()[1], 16) for line in lines
                              if line.startswith("SigCgt")][0]
                if caught & 1 << signal.SIGINT - 1:
                    break
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode()
        self.assertEqual(process.returncode, 130, said)
        self.assertIn("interrupted", said)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run(
                [harness.program("rappelctl"), "exec", self.write(
                    "flow.asl.json", states("A", A={"Type": "Succeed"}))],
                env=harness.clean_env(), stdout=full,
                stderr=subprocess.PIPE, encoding="utf-8", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("No space left", done.stderr)


if __name__ == "__main__":
    unittest.main()
