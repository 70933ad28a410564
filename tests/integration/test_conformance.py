"""The language from outside: what definitions do with their input.

Cases stand in tests/conformance/*.json, each file a list of objects. A case
is run by `rappelctl exec --json --fast` and says

    name        what it is about, unique
    definition  the definition; or
    text        its text, where lines or wrong JSON matter; or
    state       one state, called S, that ends the definition; or
    call        an intrinsic function, in the Parameters of a Pass as "v.$"; or
    rule        a rule of a Choice; the output is whether it holds
    input       {} without it; or
    input_text  its text, for what Python would not write
    mocks       what Tasks answer, as docs/rappelctl.md tells

and, of what is to come out,

    output       compared with its types: 1 is not 1.0; of a call, its value
    output_like  instead: a regular expression for the output's JSON
    error        the name; the status is FAILED unless status says otherwise
    cause        a part of it, or the whole of it when it is null
    path         states entered
    inputs       effective inputs of the Tasks' attempts
    errors       the definition is refused: a list with an object for each
                 error, of its state, field, line and a part of its message
"""

import concurrent.futures
import glob
import json
import os
import unittest

import harness

FOLDER = os.path.join(harness.ROOT, "tests", "conformance")
ENDLESS = ("Choice", "Fail", "Succeed")
KEYS = {"name", "definition", "text", "state", "call", "rule", "input",
        "input_text", "mocks", "output", "output_like", "status", "error",
        "cause", "path", "inputs", "errors"}


def definition_of(case):
    """The text of the case's definition."""
    if "text" in case:
        return case["text"]
    if "definition" in case:
        return json.dumps(case["definition"])
    if "rule" in case:
        return json.dumps({"StartAt": "C", "States": {
            "C": {"Type": "Choice", "Default": "No",
                  "Choices": [dict(case["rule"], Next="Yes")]},
            "Yes": {"Type": "Pass", "Result": True, "End": True},
            "No": {"Type": "Pass", "Result": False, "End": True}}})
    state = case.get("state")
    if state is None:
        state = {"Type": "Pass", "Parameters": {"v.$": case["call"]},
                 "OutputPath": "$.v"}
    if state["Type"] not in ENDLESS:
        state = dict(state, End=True)
    return json.dumps({"StartAt": "S", "States": {"S": state}})


def exact(value):
    """Text that is the same for the same value of the same types."""
    return json.dumps(value, sort_keys=True)


class ConformanceTest(unittest.TestCase):
    def setUp(self):
        self.dir = harness.scratch(self)

    def run_case(self, number, case):
        """What exec says, and how."""
        place = os.path.join(self.dir, str(number))
        os.mkdir(place)
        words = ["exec", os.path.join(place, "flow.asl.json"), "--json",
                 "--fast"]
        with open(words[1], "w", encoding="utf-8") as out:
            out.write(definition_of(case))
        if "mocks" in case:
            words += ["--mocks", os.path.join(place, "mocks.json")]
            with open(words[-1], "w", encoding="utf-8") as out:
                json.dump(case["mocks"], out)
        words += ["--input-file", "-"]
        text = case.get("input_text", json.dumps(case.get("input", {})))
        return harness.ctl(*words, stdin=text)

    def check_errors(self, case, done):
        self.assertEqual(done.code, 1, done)
        found = done.json["errors"]
        wanted = case["errors"]
        self.assertEqual(len(found), len(wanted), found)
        for got, want in zip(found, wanted):
            for key, value in want.items():
                if key == "message":
                    self.assertIn(value, got[key], found)
                else:
                    self.assertEqual(got[key], value, found)

    def check_case(self, case, done):
        self.assertLessEqual(set(case), KEYS, "an unknown key in the case")
        if "errors" in case:
            self.check_errors(case, done)
            return
        self.assertIn(done.code, (0, 8), done)
        found = done.json
        status = "FAILED" if "error" in case else "SUCCEEDED"
        self.assertEqual(found["status"], case.get("status", status), done)
        if "error" in case:
            self.assertEqual(found["error"], case["error"], done)
        if "cause" in case and case["cause"] is None:
            self.assertIsNone(found["cause"], done)
        elif "cause" in case:
            self.assertIn(case["cause"], found["cause"], done)
        if "output" in case:
            self.assertEqual(exact(found["output"]), exact(case["output"]))
        if "output_like" in case:
            self.assertRegex(exact(found["output"]), case["output_like"])
        if "path" in case:
            self.assertEqual(found["path"], case["path"], done)
        if "inputs" in case:
            self.assertEqual([exact(t["input"]) for t in found["tasks"]],
                             [exact(v) for v in case["inputs"]])

    def test_cases(self):
        names = set()
        number = 0
        files = sorted(glob.glob(os.path.join(FOLDER, "*.json")))
        self.assertTrue(files)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for path in files:
                with open(path, encoding="utf-8") as file:
                    cases = json.load(file)
                runs = []
                for case in cases:
                    number += 1
                    runs.append(pool.submit(self.run_case, number, case))
                for case, run in zip(cases, runs):
                    name = os.path.basename(path) + ": " + case["name"]
                    with self.subTest(name):
                        self.assertNotIn(name, names, "the name twice")
                        names.add(name)
                        self.check_case(case, run.result())
        self.assertGreaterEqual(number, 100)


if __name__ == "__main__":
    unittest.main()
