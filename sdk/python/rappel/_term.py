"""SIGTERM: what runs is cancelled and has a moment, then the process ends as
if nobody had caught it, whatever runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Callable, NoReturn

MOMENT_SECONDS = 0.7  # SIGKILL comes after one second

# Wakes a main thread that waits in a system call; by default it does nothing.
WAKE = signal.SIGURG


def end() -> NoReturn:
    """In the main thread, at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)


class Term:
    """Catches SIGTERM; begin() starts the moment.

    A handler may have interrupted anything, so it takes no lock and starts
    no thread: one waits from the beginning on.
    """

    def __init__(self, handler: Callable[[int, Any], None]) -> None:
        self._begun = threading.Lock()
        self._begun.acquire()
        threading.Thread(target=self._wait, name="rappel term",
                         daemon=True).start()
        signal.signal(signal.SIGTERM, handler)
        # A child that an action forks is none of ours.
        os.register_at_fork(after_in_child=_forget)

    def begin(self) -> None:
        """In a handler. The next SIGTERM ends the process at once."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._begun.release()

    def _wait(self) -> None:
        self._begun.acquire()
        time.sleep(MOMENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)


def _forget() -> None:
    for number in (signal.SIGTERM, WAKE):
        try:
            signal.signal(number, signal.SIG_DFL)
        except ValueError:
            pass  # this thread is not the child's main one
