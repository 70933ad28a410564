"""Several actions at a time: plain functions in threads, async ones in one
event loop, which is the main thread's.

One thread reads frames, one writes answers: what is ready while it sends
goes out together next. Actions begin in the order in which they came, as
soon as one of the C places is free.
"""

from __future__ import annotations

import asyncio
import collections
import queue
import sys
import threading
import time
from typing import Any, Deque, Dict, List, Optional

from rappel import _strays, _term
from rappel._beats import Beats
from rappel._context import LATER, Context, running
from rappel._errors import Cancelled
from rappel._registry import Action
from rappel._wire import (BATCH_BYTES, CANCEL, COMPLETION, DISPATCH, DRAIN,
                          RECALL, Answers, Wire, leave)

_now_ns = time.monotonic_ns


class Place:
    """An action that has begun."""

    __slots__ = ("action", "ctx", "item", "task")

    def __init__(self, action: Action, item: List[Any], ctx: Context) -> None:
        self.action = action
        self.item = item
        self.ctx = ctx
        self.task: "Optional[asyncio.Task[None]]" = None


class Concurrent:
    """run() returns after DRAIN, when everything is answered."""

    def __init__(self, wire: Wire, actions: Dict[str, Action],
                 value_bytes_max: int, concurrency: int) -> None:
        self.wire = wire
        self.actions = actions
        self.value_bytes_max = value_bytes_max
        self.lock = threading.Lock()  # of the next four
        self.waiting: Deque[List[Any]] = collections.deque()
        self.places: Dict[int, Place] = {}  # by token
        self.free = concurrency
        self.draining = False
        self.terminating = False
        self.is_over = False
        self.threads = 0
        self.idle_threads = 0
        self.for_threads: "queue.SimpleQueue[Place]" = queue.SimpleQueue()
        self.for_loop: Deque[Place] = collections.deque()
        self.outbox: "queue.SimpleQueue[Optional[bytes]]" = \
            queue.SimpleQueue()
        self.answers = Answers(value_bytes_max)       # the reader's
        self.loop_answers = Answers(value_bytes_max)  # the loop's
        self.beats = Beats(wire)
        self.loop = asyncio.new_event_loop()

    # ---- its life ----

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.term = _term.Term(self._on_term)
        writer = self._thread(self._write, "rappel writer")
        self._thread(self._read, "rappel reader")
        self._thread(self._reap, "rappel reaper")
        while not self.is_over:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as exc:
                # Of a callback that an action has left behind.
                print(f"rappel.worker: {exc!r} in the event loop, ignored",
                      file=sys.stderr)
        self.outbox.put(None)
        writer.join()
        if self.terminating:
            _term.end()

    @staticmethod
    def _thread(target: Any, name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    @staticmethod
    def _reap() -> None:
        strays = _strays.Strays()
        while True:
            time.sleep(_strays.LOOK_SECONDS)
            strays.look()

    def _on_term(self, number: int, frame: Any) -> None:
        # It may have interrupted who holds the lock: later, in the loop.
        self.term.begin()
        self.loop.call_soon_threadsafe(self._terminate)

    def _terminate(self) -> None:
        with self.lock:
            self.terminating = True
            self.waiting.clear()  # it runs elsewhere
            places = list(self.places.values())
        for place in places:
            place.ctx.cancel()
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if (self.draining or self.terminating) and not self.waiting and \
                not self.places:
            self.is_over = True
            self.loop.call_soon_threadsafe(self.loop.stop)

    # ---- frames: the reader ----

    def _read(self) -> None:
        try:
            while True:
                for kind, _, payload in self.wire.receive() or ():
                    self._take(kind, payload)
        except BaseException as exc:  # pylint: disable=broad-except
            leave(70, f"the reader failed: {exc!r} (a bug: report it)")

    def _take(self, kind: int, payload: Any) -> None:
        given: List[List[Any]] = []
        cancelled: List[Place] = []
        with self.lock:
            if kind == DISPATCH:
                if not self.terminating:
                    self.waiting.extend(payload)
                    self._begin()
            elif kind == DRAIN:
                self.draining = True
            elif kind in (CANCEL, RECALL):
                tokens = set(payload)
                given = [i for i in self.waiting if i[0] in tokens]
                if given:
                    kept = [i for i in self.waiting if i[0] not in tokens]
                    self.waiting.clear()
                    self.waiting.extend(kept)
                if kind == CANCEL:
                    cancelled = [self.places[token] for token in tokens
                                 if token in self.places]
        for item in given:
            self.outbox.put(self.answers.not_begun(item))
        for place in cancelled:
            place.ctx.cancel()
        if self.draining:
            self._stop_if_done()

    def _begin(self) -> None:
        """With the lock: as many as there are places for, in order."""
        wake_loop = False
        while self.free and self.waiting:
            item = self.waiting.popleft()
            action = self.actions.get(item[4])
            if action is None:
                self.outbox.put(Answers(0).unknown(item))
                continue
            self.free -= 1
            place = Place(action, item, Context(item, self.beats.beat))
            self.places[item[0]] = place
            if action.is_async:
                self.for_loop.append(place)
                wake_loop = True
                continue
            self.for_threads.put(place)
            if self.idle_threads:
                self.idle_threads -= 1
            else:
                self.threads += 1
                self._thread(self._run_in_thread,
                             f"rappel action {self.threads}")
        if wake_loop:
            self.loop.call_soon_threadsafe(self._start_tasks)

    def _ended(self, place: Place, answer: bytes, *, thread: bool) -> None:
        if place.ctx.has_beaten:
            self.beats.end(place.ctx)
        self.outbox.put(answer)
        with self.lock:
            del self.places[place.item[0]]
            self.free += 1
            if thread:
                self.idle_threads += 1
            self._begin()
        if self.draining or self.terminating:
            self._stop_if_done()

    # ---- plain functions: a thread each ----

    def _run_in_thread(self) -> None:
        answers = Answers(self.value_bytes_max)
        while True:
            place = self.for_threads.get()
            ctx = place.ctx
            ctx.begun_ns = begun = _now_ns()
            running.set(ctx)
            try:
                ctx.raise_if_cancelled()
                value = place.action.invoke(place.item[7], ctx)
                answer = self._good(answers, place, value, begun)
            except BaseException as exc:  # pylint: disable=broad-except
                answer = answers.failed(place.item,
                                        (_now_ns() - begun) // 1000, exc)
            running.set(None)
            self._ended(place, answer, thread=True)

    @staticmethod
    def _good(answers: Answers, place: Place, value: Any,
              begun: int) -> bytes:
        run_us = (_now_ns() - begun) // 1000
        if value is LATER:
            return answers.later(place.item, run_us)
        return answers.done(place.item, run_us, value)

    # ---- async functions: the loop ----

    def _start_tasks(self) -> None:
        while self.for_loop:
            place = self.for_loop.popleft()
            place.task = self.loop.create_task(self._run_in_loop(place),
                                               name=place.action.name)
            place.ctx.interrupt = self._canceller(place)

    def _canceller(self, place: Place) -> Any:
        def interrupt() -> None:
            assert place.task is not None
            self.loop.call_soon_threadsafe(place.task.cancel)
        return interrupt

    async def _run_in_loop(self, place: Place) -> None:
        ctx = place.ctx
        ctx.begun_ns = begun = _now_ns()
        running.set(ctx)  # the task's own context
        try:
            ctx.raise_if_cancelled()
            value = await place.action.invoke(place.item[7], ctx)
            answer = self._good(self.loop_answers, place, value, begun)
        except BaseException as exc:  # pylint: disable=broad-except
            if isinstance(exc, asyncio.CancelledError) and ctx.cancelled:
                exc = Cancelled(f"{place.action.name} was cancelled")
            answer = self.loop_answers.failed(
                place.item, (_now_ns() - begun) // 1000, exc)
        self._ended(place, answer, thread=False)

    # ---- answers: the writer ----

    def _write(self) -> None:
        get, size = self.outbox.get, self.outbox.qsize
        while True:
            item = get()
            items: List[bytes] = []
            packed = 0
            while item is not None:
                items.append(item)
                packed += len(item)
                if packed >= BATCH_BYTES or not size():
                    break
                item = get()
            if items:
                self.wire.send(COMPLETION, items)
            if item is None:
                return
