"""Runs of a benchmark as a program of its own, for grid and compare.

A process for each run: nothing of one run is left in the next.
"""

import json
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))


class RunError(Exception):
    """A run failed; the text says why."""


def say(text):
    """Progress, only for somebody who watches."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def stop_on_sigterm():
    """SIGTERM as Ctrl-C, so that everything is cleaned up."""
    def stop(_signo, _frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)


def run(kind, words):
    """The report of one run; --json is added."""
    process = subprocess.Popen(
        [sys.executable, "-B", os.path.join(HERE, kind), "--json", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate()
    except BaseException:
        # A terminal's Ctrl-C reaches it anyway; a SIGTERM to us does not.
        process.send_signal(signal.SIGINT)
        process.communicate()
        raise
    if process.returncode != 0:
        raise RunError(f"{kind} {' '.join(words)} ended with "
                       f"{process.returncode}: {wrong(out) or err.strip()}")
    return json.loads(out)


def wrong(out):
    """What a report that came nevertheless complains of."""
    try:
        return "; ".join(json.loads(out)["verification"]["wrong"])
    except (ValueError, KeyError, TypeError):
        return ""


def cpu_us(report):
    return sum(report["cpu_us_per_action"].values())
