#!/usr/bin/python3
"""Does a worker program keep to docs/protocol.md? Tries it.

usage: conformance.py [OPTION]... -- PROGRAM [ARG]...

  --list            the names of all cases, and what each says
  --only NAME       only cases of that name, or whose name begins with it and
                    a dot; may be given several times
  --skip NAME       not these; may be given several times
  --report FILE     writes the results as JSON
  --unable-with ARG an argument behind all others with which the worker cannot
                    serve, such as a module that is not there: for the case
                    life.unable
  --concurrency N   RAPPEL_CONCURRENCY of all its lives
  --slow FACTOR     times all limits that are measured
  --quick           fewer repetitions

Prints one line for each case and, last, how many passed, failed and were
skipped. Ends with 0 when none failed, 1 when one did, 2 for wrong use.
README.md tells which actions the program must serve.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases_answers    # noqa: E402,F401 pylint: disable=unused-import
import cases_board      # noqa: E402,F401 pylint: disable=unused-import
import cases_control    # noqa: E402,F401 pylint: disable=unused-import
import cases_dispatch   # noqa: E402,F401 pylint: disable=unused-import
import cases_life       # noqa: E402,F401 pylint: disable=unused-import
import cases_misuse     # noqa: E402,F401 pylint: disable=unused-import
import cases_values     # noqa: E402,F401 pylint: disable=unused-import
from case import CASES, Skip, Trial  # noqa: E402
from life import Fail, Life          # noqa: E402
from watch import RULES, Watch       # noqa: E402


class Results:
    def __init__(self):
        self.rows = []

    def add(self, name, result, text="", seconds=0.0):
        self.rows.append({"name": name, "result": result, "text": text,
                          "seconds": round(seconds, 3)})
        word = {"ok": "ok  ", "failed": "FAIL", "skipped": "skip"}[result]
        print(f"{word} {name}" + (f": {text}" if text else ""), flush=True)

    def count(self, result):
        return sum(row["result"] == result for row in self.rows)

    def line(self):
        return (f"{self.count('ok')} passed, {self.count('failed')} failed, "
                f"{self.count('skipped')} skipped")


def among(name, names):
    return any(name == one or name.startswith(one + ".") for one in names)


def chosen(only, skip):
    """A function that says whether a case of that name is asked for."""
    for wanted in only + skip:
        if not any(among(name, [wanted])
                   for name in list(CASES) + list(RULES)):
            print(f"conformance.py: there is no case {wanted}; --list shows "
                  "all", file=sys.stderr)
            sys.exit(2)
    return lambda name: (not only or among(name, only)) \
        and not among(name, skip)


def run_case(trial, test, results):
    started = time.monotonic()
    trial.notes = []
    trial.watch.where = test.name
    result, text = "ok", ""
    try:
        trial.says_all(test.says)
        trial.serves(test.needs)
        test.run(trial)
    except Skip as reason:
        result, text = "skipped", str(reason)
    except Fail as failure:
        result, text = "failed", str(failure)
    except Exception as error:  # what it sent is odder than we thought
        result, text = "failed", f"{type(error).__name__}: {error}"
    finally:
        trial.finish(result != "failed")
    if result == "ok" and trial.notes:
        text = "; ".join(trial.notes)
    results.add(test.name, result, text, time.monotonic() - started)


def first_hello(trial):
    """What the worker says it can, before anything is asked of it."""
    trial.watch.where = "the start"
    life = Life(trial.program, trial.watch)
    try:
        life.ready()
        trial.shared = life
        return life.hello
    except Fail as failure:
        life.close()
        sys.exit(f"FAIL the start: {failure}\n0 passed, 1 failed, 0 skipped")


def judge(watch, wanted, results):
    """The rules for all that was said."""
    for name in RULES:
        if not wanted(name):
            continue
        if watch.broken[name]:
            results.add(name, "failed", "; ".join(watch.broken[name][:2]))
        elif watch.seen[name]:
            results.add(name, "ok")
        else:
            results.add(name, "skipped", "nothing of the kind was sent")


def parse():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--report")
    parser.add_argument("--unable-with")
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--slow", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("program", nargs="*")
    return parser.parse_args()


def main():
    options = parse()
    if options.help:
        print(__doc__.strip())
        return 0
    wanted = chosen(options.only, options.skip)
    if options.list:
        for name, text in [(c.name, c.what) for c in CASES.values()] + \
                list(RULES.items()):
            if wanted(name):
                print(f"{name}: {text}")
        return 0
    if not options.program:
        print("conformance.py: which program? conformance.py -- PROGRAM "
              "[ARG]...", file=sys.stderr)
        return 2
    watch, results = Watch(), Results()
    if options.concurrency is not None:
        Life.environment["RAPPEL_CONCURRENCY"] = str(options.concurrency)
    if options.quick:
        Life.patience_seconds = 4.0
    trial = Trial(options.program, watch, quick=options.quick,
                  slow=options.slow, unable=options.unable_with)
    trial.hello = first_hello(trial)
    started = time.monotonic()
    for test in CASES.values():
        if wanted(test.name):
            run_case(trial, test, results)
    trial.end()
    judge(watch, wanted, results)
    if options.report:
        with open(options.report, "w", encoding="utf-8") as out:
            json.dump({"program": options.program, "hello": trial.hello,
                       "seconds": round(time.monotonic() - started, 3),
                       "cases": results.rows}, out, indent=1, default=repr)
            out.write("\n")
    print(results.line())
    return 1 if results.count("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
