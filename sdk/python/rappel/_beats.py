"""Heartbeats on their way: a few a second for each action, and the last one
always, but never behind the action's answer.

What comes too soon after another waits in a thread of its own, which exists
while one does.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Dict

from rappel._context import Context
from rappel._wire import HEARTBEAT, Answers, Wire

EVERY_NS = 200_000_000


class Beats:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._answers = Answers(0)
        self._lock = threading.Lock()  # of these, and of sending
        self._sent_ns: Dict[int, int] = {}    # by token
        self._waiting: Dict[int, bytes] = {}
        self._is_awake = False

    def beat(self, ctx: Context, progress: Any) -> None:
        """Any thread of the action; after its end it is too late."""
        token = ctx.token
        with self._lock:
            packed = self._answers.progress(token, progress)
            if ctx.has_ended:
                return
            ctx.has_beaten = True
            now = time.monotonic_ns()
            if now - self._sent_ns.get(token, -EVERY_NS) >= EVERY_NS:
                self._waiting.pop(token, None)
                self._send(token, packed, now)
                return
            self._waiting[token] = packed
            if self._is_awake:
                return
            self._is_awake = True
        threading.Thread(target=self._send_waiting, name="rappel heartbeats",
                         daemon=True).start()

    def _send(self, token: int, packed: bytes, now: int) -> None:
        self._sent_ns[token] = now
        self._wire.send(HEARTBEAT, [packed])

    def _send_waiting(self) -> None:
        """Until nothing waits."""
        while True:
            time.sleep(EVERY_NS / 4e9)
            with self._lock:
                now = time.monotonic_ns()
                for token, packed in list(self._waiting.items()):
                    if now - self._sent_ns[token] >= EVERY_NS:
                        del self._waiting[token]
                        self._send(token, packed, now)
                if not self._waiting:
                    self._is_awake = False
                    return

    def end(self, ctx: Context) -> None:
        """Before its answer; only for one that has beaten."""
        with self._lock:
            ctx.has_ended = True
            self._sent_ns.pop(ctx.token, None)
            self._waiting.pop(ctx.token, None)
