#!/usr/bin/python3
"""How many actions a second one worker process runs for a supervisor that does
nothing else: the worker's own limit, with no flusher and no database.

usage: rate.py [ACTION [CONCURRENCY [COUNT]]]     (noop 1 200000)

ACTION is one of sample.py. No test: nothing is asserted but that all are
answered.
"""

import os
import sys
import time
import unittest

import fakes

FRAME, WINDOW = 64, 256
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as text:
        fields = text.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def main():
    action, concurrency, count = (sys.argv[1:] + ["noop", "1", "200000"][
        len(sys.argv) - 1:])[:3]
    count = int(count) // FRAME * FRAME
    case = unittest.TestCase()
    worker = fakes.Worker(case, "sample", RAPPEL_CONCURRENCY=concurrency)
    sent = done = 0
    cpu = cpu_seconds(worker.process.pid)
    begun = time.monotonic()
    while done < count:
        while sent < count and sent - done + FRAME <= WINDOW:
            worker.dispatch(*[(sent + n, action, {})
                              for n in range(1, FRAME + 1)])
            sent += FRAME
        frame = worker.receive()
        assert frame is not None and frame[0] == fakes.COMPLETION, frame
        done += frame[3]
    took = time.monotonic() - begun
    cpu = cpu_seconds(worker.process.pid) - cpu
    case.doCleanups()
    print(f"{action}, {concurrency} at once: {count / took:.0f}/s, "
          f"{cpu / count * 1e6:.1f} us of CPU each")


if __name__ == "__main__":
    main()
