"""What an action may know of itself, and what it may say while it runs."""

from __future__ import annotations

import contextvars
import datetime
import logging
import time
import uuid
from typing import Any, Callable, List, Optional

from rappel._errors import Cancelled


class Later:
    """The type of LATER."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "rappel.LATER"


#: `return rappel.LATER`: somebody else finishes it, under ctx.task_token.
LATER = Later()


class Context:
    """One attempt of one action.

    An action gets it as its parameter `ctx`, or from rappel.current().
    """

    __slots__ = ("action", "activation", "attempt", "begun_ns", "cancelled",
                 "has_beaten", "has_ended", "heartbeat_us", "interrupt",
                 "is_interrupted", "timeout_us", "token", "_beat",
                 "_instance", "_log")

    #: Name of the action.
    action: str
    #: Number of this entry of the state within the run.
    activation: int
    #: Which try this is, from 1 up.
    attempt: int
    #: Whether nobody wants the result any more.
    cancelled: bool

    def __init__(self, item: List[Any],
                 beat: Callable[[Context, Any], None]) -> None:
        self.token: int = item[0]
        self._instance: bytes = item[1]
        self.activation = item[2]
        self.attempt = item[3]
        self.action = item[4]
        self.timeout_us: int = item[5]
        self.heartbeat_us: int = item[8] if len(item) > 8 else 0
        self.begun_ns = time.monotonic_ns()
        self.cancelled = False
        self.is_interrupted = False
        self.interrupt: Optional[Callable[[], None]] = None
        self._beat = beat
        self.has_beaten = False
        self.has_ended = False
        self._log: Optional[logging.LoggerAdapter[logging.Logger]] = None

    def __repr__(self) -> str:
        return (f"<rappel.Context {self.action} {self.idempotency_key} "
                f"attempt={self.attempt}>")

    # ---- who it is ----

    @property
    def instance_id(self) -> str:
        """The run's id, a UUID as text."""
        return str(uuid.UUID(bytes=self._instance))

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt, and for a re-run after a crash."""
        return f"{self.instance_id}.{self.activation}"

    @property
    def task_token(self) -> str:
        """Names this attempt for whoever finishes it in our place."""
        return f"{self.instance_id}.{self.activation}.{self.attempt}"

    # ---- its time ----

    @property
    def time_left(self) -> Optional[float]:
        """Seconds until the state's timeout; None without one."""
        if not self.timeout_us:
            return None
        ran = (time.monotonic_ns() - self.begun_ns) / 1e9
        return max(0.0, self.timeout_us / 1e6 - ran)

    @property
    def deadline(self) -> Optional[datetime.datetime]:
        """When its time is over, in UTC; None without a timeout."""
        left = self.time_left
        if left is None:
            return None
        now = datetime.datetime.now(datetime.timezone.utc)
        try:
            return now + datetime.timedelta(seconds=left)
        except OverflowError:
            return None

    @property
    def heartbeat_seconds(self) -> Optional[float]:
        """What the state demands: one heartbeat at least in that time."""
        return self.heartbeat_us / 1e6 if self.heartbeat_us else None

    # ---- what it says ----

    def heartbeat(self, progress: Any = None) -> None:
        """Says that it lives, with any small JSON value as progress.

        Cheap: of those that come closely together a few a second are sent,
        the last among them. Raises Cancelled when nobody wants the action
        any more.
        """
        self.raise_if_cancelled()
        self._beat(self, progress)

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            self.is_interrupted = True
            raise Cancelled(f"{self.action} was cancelled")

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """Its lines stand in the daemon's log with the run's id, as those
        of every other logger do while the action runs."""
        if self._log is None:
            self._log = logging.LoggerAdapter(
                logging.getLogger("rappel.action." + self.action),
                {"instance": self.instance_id, "activation": self.activation,
                 "attempt": self.attempt})
        return self._log

    # ---- for the worker ----

    def cancel(self) -> None:
        """Nobody wants it any more. From any thread, and a signal handler."""
        if not self.cancelled:
            self.cancelled = True
            if self.interrupt is not None:
                self.interrupt()


running: "contextvars.ContextVar[Optional[Context]]" = \
    contextvars.ContextVar("rappel.current", default=None)


def current() -> Context:
    """The Context of the action that runs here."""
    ctx = running.get()
    if ctx is None:
        raise RuntimeError(
            "rappel.current() outside of an action; in a thread of your own, "
            "start it with contextvars.copy_context().run")
    return ctx
