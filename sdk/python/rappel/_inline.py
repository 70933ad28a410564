"""One action at a time, in the main thread: signals and libraries that are
not made for threads behave as in a script.

The main thread reads, runs and answers by itself, so that a quick action
costs no switch of threads. A second thread looks every 5 ms whether the same
action still runs; as long as it does that thread reads in its place, for
RECALL, CANCEL and the end of the connection, and sends what was answered
before. With nothing to do both sleep.
"""

from __future__ import annotations

import asyncio
import collections
import select
import signal
import threading
import time
from typing import Any, Deque, Dict, List, NoReturn, Optional

from rappel import _strays, _term
from rappel._beats import Beats
from rappel._context import LATER, Context, running
from rappel._errors import Cancelled
from rappel._registry import Action
from rappel._wire import (BATCH_BYTES, CANCEL, COMPLETION, DISPATCH, DRAIN,
                          RECALL, Answers, Frame, Wire)

HOLD_NS = 1_000_000   # no answer waits longer for company
QUICK_US = 500        # what takes longer in the mean is not waited for
TICK_SECONDS = 0.005
QUIET_TICKS = 40      # after so many without work the watch sleeps
POLL_MS = 50

_now_ns = time.monotonic_ns


class Inline:
    """run() returns after DRAIN, when everything is answered."""

    def __init__(self, wire: Wire, actions: Dict[str, Action],
                 value_bytes_max: int) -> None:
        self.wire = wire
        self.actions = actions
        self.waiting: Deque[List[Any]] = collections.deque()
        self.draining = False
        self.terminating = False
        self.current: Optional[Context] = None  # the action that runs
        self.armed: Optional[Context] = None    # may be interrupted
        self.serial = 0                         # how many began
        self.reading = threading.Lock()
        # Answers that wait to be sent. Only append and popleft: a handler
        # and the watch use it too.
        self.out: Deque[bytes] = collections.deque()
        self.out_bytes = 0
        self.out_since = 0
        self.answers = Answers(value_bytes_max)
        self.watch_answers = Answers(value_bytes_max)
        self.beats = Beats(wire)
        self.is_watched = False
        self.wake = threading.Event()
        self.loop: Optional[asyncio.AbstractEventLoop] = None

    # ---- its life ----

    def run(self) -> None:
        self.term = _term.Term(self._on_term)
        signal.signal(_term.WAKE, self._on_wake)
        threading.Thread(target=self._watch, name="rappel watch",
                         daemon=True).start()
        waiting = self.waiting
        while True:
            while waiting:
                try:
                    item = waiting.popleft()
                except IndexError:  # recalled a moment ago
                    break
                self._execute(item)
                if self.terminating:
                    self._end_by_term()
            if self.draining:
                self.flush()
                return
            self._read()

    def _read(self) -> None:
        """What is ready; only with nothing to send and to do it waits."""
        with self.reading:
            if self.waiting or self.draining:
                return  # the watch was here before
            frames = self.wire.receive(wait=False)
            if frames is None:
                self.flush()
                frames = self.wire.receive()
            self._take(frames, self.answers)

    # ---- frames; with self.reading ----

    def _take(self, frames: Optional[List[Frame]], answers: Answers) -> None:
        for kind, _, payload in frames or ():
            if kind == DISPATCH:
                self.waiting.extend(payload)
            elif kind == DRAIN:
                self.draining = True
            elif kind in (CANCEL, RECALL):
                self._give_back(set(payload), answers)
                if kind == CANCEL:
                    ctx = self.current
                    if ctx is not None and ctx.token in payload:
                        ctx.cancel()

    def _give_back(self, tokens: "set[int]", answers: Answers) -> None:
        """What of these has not begun never does."""
        given = []
        for item in list(self.waiting):
            if item[0] in tokens:
                try:
                    self.waiting.remove(item)
                except ValueError:
                    continue  # it was begun a moment ago
                given.append(answers.not_begun(item))
        if given:
            self.out.extend(given)
            self.flush()

    # ---- one action ----

    def _execute(self, item: List[Any]) -> None:
        action = self.actions.get(item[4])
        if action is None:
            self._answer(self.answers.unknown(item), _now_ns())
            return
        if action.mean_us > QUICK_US and self.out:
            self.flush()
        ctx = Context(item, self._beat)
        if not action.is_async:
            ctx.interrupt = self._interrupt
        begun = ctx.begun_ns
        self.current = ctx
        self.serial += 1
        if not self.is_watched:
            self.is_watched = True
            self.wake.set()
        running.set(ctx)
        try:
            try:
                # From here on a signal may raise Cancelled ...
                if action.is_async:
                    value = self._run_async(action, item[7], ctx)
                else:
                    self.armed = ctx
                    if ctx.cancelled:
                        ctx.raise_if_cancelled()
                    value = action.invoke(item[7], ctx)
            finally:
                self.armed = None  # ... and from here on not
            run_us = (_now_ns() - begun) // 1000
            if value is LATER:
                answer = self.answers.later(item, run_us)
            else:
                answer = self.answers.done(item, run_us, value)
        except BaseException as exc:  # pylint: disable=broad-except
            self.armed = None
            run_us = (_now_ns() - begun) // 1000
            if isinstance(exc, asyncio.CancelledError) and ctx.cancelled:
                exc = Cancelled(f"{action.name} was cancelled")
            answer = self.answers.failed(item, run_us, exc)
        running.set(None)
        self.current = None
        if ctx.has_beaten:
            self.beats.end(ctx)
        action.mean_us += (run_us - action.mean_us) / 8
        self._answer(answer, _now_ns())

    def _answer(self, answer: bytes, now: int) -> None:
        if not self.out:
            self.out_since = now
            self.out_bytes = 0
        self.out.append(answer)
        self.out_bytes += len(answer)
        if self.out_bytes >= BATCH_BYTES or now - self.out_since >= HOLD_NS:
            self.flush()

    def flush(self, wait: bool = True) -> None:
        out = self.out
        items = []
        try:
            for _ in range(len(out)):
                items.append(out.popleft())
        except IndexError:
            pass  # another thread was quicker
        if items:
            self.wire.send(COMPLETION, items, wait)

    def _beat(self, ctx: Context, progress: Any) -> None:
        if self.armed is not ctx or \
                threading.current_thread() is not threading.main_thread():
            self.beats.beat(ctx, progress)
            return
        # Nothing may be raised in the middle of a frame.
        self.armed = None
        try:
            self.beats.beat(ctx, progress)
        finally:
            self.armed = ctx
        ctx.raise_if_cancelled()

    def _run_async(self, action: Action, value: Any, ctx: Context) -> Any:
        """The loop runs while an async action does, and only then."""
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        loop: asyncio.AbstractEventLoop = self.loop

        async def run() -> Any:
            return await action.invoke(value, ctx)
        task = loop.create_task(run(), name=action.name)

        def interrupt() -> None:
            loop.call_soon_threadsafe(task.cancel)
        ctx.interrupt = interrupt
        if ctx.cancelled:
            task.cancel()
        return loop.run_until_complete(task)

    # ---- interrupting it ----

    def _interrupt(self) -> None:
        """Its context says cancelled: see that the main thread looks."""
        signal.pthread_kill(threading.main_thread().ident or 0, _term.WAKE)

    def _on_wake(self, number: int, frame: Any) -> None:
        """In the main thread, between two instructions of anything."""
        ctx = self.armed
        if ctx is not None and ctx.cancelled and not ctx.is_interrupted:
            ctx.is_interrupted = True
            raise Cancelled(f"{ctx.action} was cancelled")

    def _on_term(self, number: int, frame: Any) -> None:
        ctx = self.current
        if ctx is None:
            self._end_by_term()
        self.terminating = True
        self.term.begin()
        ctx.cancel()

    def _end_by_term(self) -> NoReturn:
        # The main thread may be in the middle of sending.
        self.flush(wait=False)
        _term.end()

    # ---- the watch: a thread of its own ----

    def _watch(self) -> None:
        strays = _strays.Strays()
        poll = select.poll()
        poll.register(self.wire.sock, select.POLLIN)
        seen = -1
        quiet = 0
        while True:
            time.sleep(TICK_SECONDS)
            strays.look()
            serial = self.serial
            if serial != seen:
                quiet = 0
            elif self.current is not None:
                self._stand_in(serial, poll, strays)
            else:
                quiet += 1
                if quiet > QUIET_TICKS:
                    self._rest(serial, strays)
                    quiet = 0
            seen = serial

    def _stand_in(self, serial: int, poll: "select.poll",
                  strays: "_strays.Strays") -> None:
        self.flush()
        while self.serial == serial and self.current is not None:
            strays.look()
            if not poll.poll(POLL_MS):
                continue
            if not self.reading.acquire(timeout=TICK_SECONDS):
                continue  # the main thread reads again
            try:
                if self.current is not None:
                    self._take(self.wire.receive(wait=False),
                               self.watch_answers)
            finally:
                self.reading.release()

    def _rest(self, serial: int, strays: "_strays.Strays") -> None:
        """Until something begins. It is said first, and looked at after, as
        the main thread does the other way round."""
        self.is_watched = False
        while self.serial == serial and \
                not self.wake.wait(_strays.LOOK_SECONDS):
            strays.look()
        self.wake.clear()
        self.is_watched = True
