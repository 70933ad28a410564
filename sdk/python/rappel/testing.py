"""Runs actions where the test is: no daemon, no database, no worker.

    from rappel.testing import ActionFailed, attempt, run

    assert run(greet, {"name": "Ada"}) == {"text": "Hello, Ada"}

    with self.assertRaises(ActionFailed) as failed:
        run(charge, {"card": "none"})
    assert failed.exception.name == "CardDeclined"
    assert failed.exception.matches("PaymentError")  # as Catch would

Inputs and results pass the same checks as in a worker, and come back as the
JSON values that the next state would get.
"""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from typing import Any, Callable, List, Optional, Union

from rappel._context import LATER, Context, running
from rappel._errors import Cancelled, ResultInvalid, describe
from rappel._registry import Action, registry
from rappel._values import plain
from rappel._wire import PROGRESS_BYTES_MAX, Answers

__all__ = ["ActionFailed", "Outcome", "attempt", "run"]

VALUE_BYTES_MAX = 1 << 20


class ActionFailed(Exception):
    """The attempt failed: what Retry and Catch would see of it.

    The exception that the action raised is the __cause__.
    """

    def __init__(self, name: str, cause: str, kinds: List[str],
                 heartbeats: List[Any]) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause
        self.kinds = kinds
        self.heartbeats = heartbeats

    def matches(self, error: str) -> bool:
        """Whether an ErrorEquals with this name takes it."""
        return error in ("States.ALL", "States.TaskFailed", self.name,
                         *self.kinds)


class Outcome:
    """How an attempt ended: error is None when it ended well."""

    def __init__(self, result: Any, error: Optional[ActionFailed],
                 heartbeats: List[Any], ctx: Context) -> None:
        self.result = result
        self.error = error
        self.heartbeats = heartbeats
        self.ctx = ctx


def _find(action: Union[str, Callable[..., Any]]) -> Action:
    try:
        return registry.of(action)
    except KeyError:
        pass
    if isinstance(action, str):
        raise LookupError(
            f'there is no action "{action}"; import its module first '
            f"(there are: {', '.join(sorted(registry.actions)) or 'none'})")
    return Action(getattr(action, "__name__", repr(action)), action)


def _input(value: Any) -> Any:
    """As it would arrive; a test may give a dataclass for it."""
    try:
        return plain(value)
    except ResultInvalid as exc:
        raise ValueError(f"the input: {exc.cause}") from None


class _Beats:
    """Heartbeats without a daemon; after so many somebody cancels it."""

    def __init__(self, cancel_after: Optional[int]) -> None:
        self.all: List[Any] = []
        self.left = cancel_after
        self.answers = Answers(PROGRESS_BYTES_MAX)

    def __call__(self, ctx: Context, progress: Any) -> None:
        self.answers.progress(ctx.token, progress)
        self.all.append(plain(progress))
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                ctx.cancel()


def attempt(action: Union[str, Callable[..., Any]], input: Any = None, *,
            attempt: int = 1, timeout: Optional[float] = None,
            heartbeat: Optional[float] = None,
            instance_id: str = "00000000-0000-7000-8000-000000000001",
            activation: int = 1,
            cancel_after: Optional[int] = None) -> Outcome:
    """One attempt at an action, by function or by name; how it ended.

    timeout and heartbeat are the state's TimeoutSeconds and
    HeartbeatSeconds: the action sees them, nothing enforces them. With
    cancel_after=n it is cancelled once it has beaten n times; 0 cancels it
    before it begins.
    """
    found = _find(action).prepare()
    beats = _Beats(cancel_after)
    ctx = Context([1, uuid.UUID(instance_id).bytes, activation, attempt,
                   found.name, int((timeout or 0) * 1e6), 1024, None,
                   int((heartbeat or 0) * 1e6)], beats)
    value = _input(input)
    if cancel_after is not None and cancel_after <= 0:
        ctx.cancel()
    try:
        result = contextvars.copy_context().run(_call, found, value, ctx)
        if result is not LATER:
            answers = Answers(VALUE_BYTES_MAX)
            answers.done([1, b"", 1, 1], 0, result)
            result = plain(result)
    except BaseException as exc:  # pylint: disable=broad-except
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise
        if isinstance(exc, asyncio.CancelledError) and ctx.cancelled:
            exc = Cancelled(f"{found.name} was cancelled")
        name, cause, kinds = describe(exc)
        error = ActionFailed(name, cause, kinds, beats.all)
        error.__cause__ = exc
        return Outcome(None, error, beats.all, ctx)
    return Outcome(result, None, beats.all, ctx)


def _call(action: Action, value: Any, ctx: Context) -> Any:
    running.set(ctx)
    ctx.raise_if_cancelled()
    if not action.is_async:
        return action.invoke(value, ctx)

    async def run_it() -> Any:
        task = asyncio.current_task()

        def interrupt() -> None:
            if task is not None:
                task.cancel()
        ctx.interrupt = interrupt
        return await action.invoke(value, ctx)
    return asyncio.run(run_it())


def run(action: Union[str, Callable[..., Any]], input: Any = None,
        attempt: int = 1, **more: Any) -> Any:
    """The result of one attempt, or ActionFailed. See attempt()."""
    outcome = globals()["attempt"](action, input, attempt=attempt, **more)
    if outcome.error is not None:
        raise outcome.error
    return outcome.result
