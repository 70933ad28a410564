#!/usr/bin/python3
"""The conformance suite notices what is wrong, and only that.

usage: test_conformance_suite.py [-v] [THREADS | SCOREBOARD]

Runs it against each variant of workers/broken.py and compares what failed
with what had to. One that differs is tried once more, alone: a machine that
stands still for seconds makes a case fail that has nothing to do with it. A few
of the variants are tried, others with another RAPPEL_SEED; all of them with
RAPPEL_FAULT_TIER=full.
"""

import concurrent.futures
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FULL = os.environ.get("RAPPEL_FAULT_TIER") == "full"
SEED = int(os.environ.get("RAPPEL_SEED") or time.time_ns() % 1000000)
SAMPLE = {"THREADS": 8, "SCOREBOARD": 3}

# Variant to the cases that must fail; all others must pass. Those of misuse
# have a process each, which is asked nothing else: they are run only where
# one of them must fail, which saves half of the time.
BROKEN = {
    "THREADS": {
        "AnswersTwice": ["always.once"],
        "ForgetsSome": ["dispatch.20000"],
        "RoundsTokens": ["dispatch.tokens", "always.known"],
        "WrongAttempt": ["always.identity"],
        "NoBatches": ["dispatch.batching"],
        "CountsWrong": ["always.count"],
        "OutOfOrder": ["dispatch.order"],
        "MoreAtOnce": ["concurrency.most"],
        # What should run waits, so that RECALL gets it.
        "FewerAtOnce": ["concurrency.least", "concurrency.refill",
                        "recall.running"],
        "LiesInHello": ["life.hello-keys"],
        "HelloTwice": ["always.hello-once"],
        "WrongSpawn": ["always.name"],
        "IgnoresConcurrency": ["life.concurrency"],
        "DropsWhenDraining": ["drain.busy", "drain.glued", "drain.unread",
                              "recall.draining"],
        "LeavesWithAnswers": ["drain.unread"],
        "OutlivesItsPeer": ["eof.busy", "eof.block"],
        "IgnoresTerm": ["signal.term-idle", "signal.term-busy"],
        "RefusesNewParts": ["dispatch.more-parts"],
        "RefusesNewTypes": ["frames.unknown-type"],
        "DiesOfUnknownTokens": ["frames.unknown-tokens"],
        "IgnoresRecall": ["recall.waiting", "recall.blocked", "recall.mixed",
                          "recall.again", "recall.draining"],
        "RunsRecalled": ["recall.waiting", "recall.blocked"],
        "SlowToRecall": ["recall.waiting", "recall.blocked"],
        # It answers again when it ends.
        "RecallsRunning": ["recall.running", "recall.mixed", "always.once"],
        "IgnoresCancelOfWaiting": ["cancel.waiting"],
        "CancelsAll": ["cancel.one"],
        "FloodsHeartbeats": ["heartbeat.many"],
        "LargeProgress": ["heartbeat.large", "always.heartbeats"],
        "BeatsAfterwards": ["always.heartbeats"],
        "LongCause": ["fail.long-cause", "always.error"],
        "CutsCharacters": ["always.frames"],
        "ManyKinds": ["kinds.many", "always.details"],
        "KindsBackwards": ["kinds.order"],
        "RoundsIntegers": ["values.integers", "values.named"],
        "LetsNanThrough": ["refused.nan", "always.result"],
        "TurnsNanIntoNull": ["refused.nan"],
        "SortsKeys": ["values.key-order"],
        "Leaks": ["programs.descriptors"],
        "BelievesCounts": ["misuse.count-more"],
        "WaitsForEnormous": ["misuse.enormous"],
    },
    "SCOREBOARD": {
        "ClaimsWithout": ["life.no-scoreboard"],
        "ClaimsNothing": ["board.recalled", "board.other-token",
                          "board.freed", "board.race"],
        "DoneTooLate": ["board.phases", "board.every-place"],
        "BeganInMs": ["board.began"],
        "WritesMore": ["board.only-its-own"],
        "Stores": ["board.swapped"],
        "AnswersRefused": ["always.shape"],
    },
}


def chosen(mode):
    """The variants of this run."""
    names = list(BROKEN[mode])
    return names if FULL else random.Random(SEED).sample(names, SAMPLE[mode])


def run(variant, mode, folder):
    """(cases that failed, what was said of them)"""
    report = os.path.join(folder, f"{mode}-{variant}.json")
    skipped = [] if any(name.startswith("misuse.")
                        for name in BROKEN[mode][variant]) else \
        ["--skip", "misuse"]
    program = [sys.executable, "-B", os.path.join(
        HERE, "workers", "broken.py"), variant]
    if mode == "SCOREBOARD":
        program.append("scoreboard")
    done = subprocess.run(
        [sys.executable, "-B", os.path.join(HERE, "conformance.py"),
         "--quick", "--report", report] + skipped + ["--"] + program,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if not os.path.exists(report):
        return {"the run": done.stdout.decode()}, done.returncode
    with open(report, encoding="utf-8") as results:
        cases = json.load(results)["cases"]
    return {case["name"]: case["text"] for case in cases
            if case["result"] == "failed"}, done.returncode


class Suite(unittest.TestCase):
    maxDiff = None

    def test_each_variant_fails_its_case(self):
        jobs = [(variant, mode) for mode in MODES for variant in chosen(mode)]
        print("RAPPEL_SEED=%d: %s" % (SEED, " ".join(
            variant for variant, _ in jobs)), flush=True)
        with tempfile.TemporaryDirectory() as folder, \
                concurrent.futures.ThreadPoolExecutor(
                    max_workers=3) as pool:
            runs = list(pool.map(lambda job: run(*job, folder), jobs))
            for at, (variant, mode) in enumerate(jobs):
                if set(runs[at][0]) != set(BROKEN[mode][variant]):
                    runs[at] = run(variant, mode, folder)
        for (variant, mode), (failed, status) in zip(jobs, runs):
            with self.subTest(variant=variant, mode=mode):
                expected = BROKEN[mode][variant]
                self.assertEqual(
                    sorted(expected), sorted(failed),
                    "\n".join(f"{n}: {t}" for n, t in failed.items()))
                self.assertEqual(1, status)


MODES = [arg for arg in sys.argv[1:] if arg in BROKEN] or list(BROKEN)

if __name__ == "__main__":
    unittest.main(argv=[arg for arg in sys.argv if arg not in BROKEN])
