#!/usr/bin/python3
"""The full tier: every fault test with all its repeats, one by one.

usage: full.py BUILD [--anew] [WORD...]

BUILD is a build tree with -Dfaults=true. Only tests whose name has one of
the WORDs run, when there are any. What passed stands in BUILD/full/state and
is not run again until the commit is another one, or with --anew: so a run
that was interrupted goes on where it was. A test has an hour. Figures go to
BUILD/full/figures, what a failing test said to BUILD/full/NAME.log.

Behind the fault tests come the other long ones of this tree: the simulation
with 20,000 seeds, the torture sweep, and every wrong worker against the
conformance suite.
"""

import glob
import json
import os
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUDGET = 3600  # seconds of one test
PYTHON = "/usr/bin/python3"
# What is not a fault test: name, its file, words, environment. BUILD is the
# build tree.
OTHERS = (
    ("simulation", "BUILD/tests/simulation/simulation",
     ("--seeds", "1-20000"), {}),
    ("torture", "tests/fault/torture/test_torture.py", ("-v",),
     {"RAPPEL_TORTURE_LIBRARY":
      "BUILD/tests/fault/torture/torture.so"}),
    ("conformance-suite", "tests/protocol/test_conformance_suite.py",
     ("-v",), {}),
)


def commit():
    """What the sources are: the commit, and whether they were changed."""
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words],
                              capture_output=True, text=True,
                              check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("+" if changed else "")


def fault_tests():
    """(name, command) of every test method beside this file."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        name = os.path.basename(path)[:-3]
        if name == "test_release":
            continue
        module = __import__(name)
        for group in unittest.defaultTestLoader.loadTestsFromModule(module):
            for test in group:
                words = test.id().split(".", 1)[1]
                found.append((f"{name}.{words}",
                              [PYTHON, "-B", path, "-v", words], {}))
    return found


def other_tests(build):
    found = []
    for name, file, words, env in OTHERS:
        path = os.path.join(ROOT, file.replace("BUILD", build, 1))
        env = {key: value.replace("BUILD", build, 1)
               for key, value in env.items()}
        if not os.path.exists(path):
            print(f"{name}: not in this tree", flush=True)
            continue
        first = [PYTHON, "-B"] if path.endswith(".py") else []
        found.append((name, [*first, path, *words], env))
    return found


class State:
    """Names of what passed, in a file that grows by a line each."""

    def __init__(self, path, of, anew):
        self.path, self.of = path, of
        self.passed = set()
        if os.path.exists(path) and not anew:
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    entry = json.loads(line)
                    if entry["commit"] == of:
                        self.passed.add(entry["name"])
        if not self.passed and os.path.exists(path):
            os.unlink(path)

    def add(self, name, seconds):
        self.passed.add(name)
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps({"name": name, "commit": self.of,
                                  "seconds": round(seconds, 1)}) + "\n")


def run(name, command, env, folder):
    """Whether it passed; its log stays only when it did not."""
    log = os.path.join(folder, name + ".log")
    with open(log, "wb") as out:
        try:
            done = subprocess.run(command, env=dict(os.environ, **env),
                                  stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=out, timeout=BUDGET, check=False)
            good = done.returncode == 0
        except subprocess.TimeoutExpired:
            out.write(f"not done within {BUDGET} s\n".encode())
            good = False
    if good:
        os.unlink(log)
    return good


def main(words):
    anew = "--anew" in words
    words = [word for word in words if word != "--anew"]
    if not words or words[0].startswith("-"):
        sys.exit(__doc__)
    build, wanted = os.path.abspath(words[0]), words[1:]
    folder = os.path.join(build, "full")
    os.makedirs(folder, exist_ok=True)
    integration = os.path.join(ROOT, "tests", "integration")
    sys.path[:0] = [HERE, integration]
    figures = os.path.join(folder, "figures")
    os.environ.update(RAPPEL_BUILD=build, RAPPEL_FAULT_TIER="full",
                      RAPPEL_FAULT_FIGURES=figures,
                      PYTHONPATH=f"{HERE}:{integration}")
    state = State(os.path.join(folder, "state"), commit(), anew)
    if not state.passed and os.path.exists(figures):
        os.unlink(figures)
    failed = 0
    for name, command, env in fault_tests() + other_tests(build):
        if wanted and not any(word in name for word in wanted):
            continue
        if name in state.passed:
            print(f"  done  {name}", flush=True)
            continue
        begun = time.monotonic()
        good = run(name, command, env, folder)
        took = time.monotonic() - begun
        if good:
            state.add(name, took)
        failed += not good
        print(f"  {'ok   ' if good else 'FAIL '} {name} ({took:.0f} s)",
              flush=True)
    print(f"{len(state.passed)} passed, {failed} failed; figures in "
          f"{figures}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
