"""Children that nobody waits for: a worker is a subreaper, so what programs
of its actions left behind becomes its child and stays a zombie until then.

A zombie is reaped when it was one in two looks and no Popen object of this
process knows its number: whoever started it himself gets its exit status
himself.
"""

from __future__ import annotations

import gc
import os
import subprocess
import time
from typing import Set

LOOK_SECONDS = 30.0


def _children() -> Set[int]:
    found: Set[int] = set()
    try:
        for thread in os.listdir("/proc/self/task"):
            path = f"/proc/self/task/{thread}/children"
            with open(path, encoding="ascii") as text:
                found.update(map(int, text.read().split()))
    except OSError:
        pass  # no such list on this kernel: they stay until we end
    return found


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8",
                  errors="replace") as text:
            return text.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _waited_for() -> Set[int]:
    """Numbers that objects of subprocess and multiprocessing hold."""
    found = set()
    for thing in gc.get_objects():
        try:
            if isinstance(thing, subprocess.Popen) or \
                    type(thing).__name__ == "Popen":
                found.add(thing.pid)
        except (AttributeError, ReferenceError):
            pass
    return found


class Strays:
    def __init__(self) -> None:
        self._seen: Set[int] = set()
        self._next = time.monotonic() + LOOK_SECONDS

    def look(self) -> None:
        """Costs nothing when it is asked too early."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOOK_SECONDS
            self.reap()

    def reap(self) -> int:
        """How many were reaped."""
        zombies = {pid for pid in _children() if _is_zombie(pid)}
        again, self._seen = zombies & self._seen, zombies
        reaped = 0
        for pid in again - _waited_for() if again else ():
            try:
                reaped += os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:
                pass
        return reaped
