"""How an action fails: error names, their classes, a cause for people."""

from __future__ import annotations

import os
import traceback
from typing import Any, Iterable, List, Optional, Tuple

NAME_BYTES_MAX = 128
KINDS_MAX = 32
CAUSE_CHARS_MAX = 7000  # 28 KiB at most, of 32 that the protocol allows
FRAMES_MAX = 5

# Whose frames tell nobody anything.
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_HIDDEN = (os.path.dirname(os.path.abspath(__file__)) + os.sep,
           _LIBRARY + "asyncio" + os.sep, _LIBRARY + "importlib" + os.sep,
           "<frozen ")


class ActionError(Exception):
    """Fails the action under that name, which Retry and Catch can name.

    kinds are further names that match it, nearest first; the class names of
    a subclass follow them by themselves.
    """

    def __init__(self, name: str, cause: str = "", *,
                 kinds: Iterable[str] = ()) -> None:
        super().__init__(name, cause)
        self.name = name
        self.cause = cause
        self.kinds = tuple(kinds)

    def __str__(self) -> str:
        return f"{self.name}: {self.cause}" if self.cause else self.name


class InputInvalid(ActionError):
    """The input is not what the function's parameters ask for."""

    rappel_error = "Rappel.InputInvalid"

    def __init__(self, cause: str) -> None:
        super().__init__("Rappel.InputInvalid", cause)


class ResultInvalid(ActionError):
    """What was to be sent is no JSON value, or progress too large a one."""

    rappel_error = "Rappel.ResultInvalid"

    def __init__(self, cause: str) -> None:
        super().__init__("Rappel.ResultInvalid", cause)


class ResultTooLarge(ResultInvalid):
    """More bytes than value_bytes_max. Has the name that ASL has for it."""

    rappel_error = "States.DataLimitExceeded"

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.name = "States.DataLimitExceeded"


class Cancelled(BaseException):
    """Nobody wants the action any more: clean up and leave.

    Like asyncio.CancelledError no Exception, so that `except Exception`
    does not swallow it.
    """

    rappel_error = "Rappel.Cancelled"


def _clean(text: str) -> str:
    """What can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _name(given: Any) -> Optional[str]:
    """What was given as an error's name, cut to what fits; None: nothing."""
    if not isinstance(given, str) or not given:
        return None
    return _clean(given).encode()[:NAME_BYTES_MAX].decode("utf-8", "ignore")


def _class_name(cls: type) -> str:
    """Its own rappel_error, not an inherited one: that is the base's."""
    return (_name(cls.__dict__.get("rappel_error")) or
            _name(cls.__name__) or "Exception")


def _message(exc: BaseException) -> str:
    if isinstance(exc, ActionError):
        given = getattr(exc, "cause", "")
        return given if isinstance(given, str) else repr(given)
    try:
        return str(exc)
    except Exception:  # pylint: disable=broad-except
        return f"({type(exc).__name__}.__str__ raised an exception)"


def own_frames(exc: BaseException) -> List[traceback.FrameSummary]:
    """The frames of neither this package, asyncio nor the import system."""
    return [frame for frame in traceback.extract_tb(exc.__traceback__)
            if not frame.filename.startswith(_HIDDEN)]


def _cause(exc: BaseException) -> str:
    """The message, and the last few places that it came through."""
    message = _message(exc)
    frames = own_frames(exc)
    lines = [f'  File "{frame.filename}", line {frame.lineno}, in '
             f"{frame.name}" for frame in frames[-FRAMES_MAX:]]
    if len(frames) > FRAMES_MAX:
        lines.insert(0, f"  ({len(frames) - FRAMES_MAX} outer frames)")
    under = exc.__cause__ or (None if exc.__suppress_context__
                              else exc.__context__)
    if under is not None:
        lines.append(f"because of {type(under).__name__}: {_message(under)}")
    tail = _clean("\n".join(lines))[-CAUSE_CHARS_MAX // 2:]
    message = _clean(message)
    room = CAUSE_CHARS_MAX - len(tail)
    if len(message) > room:
        message = message[:room] + " (cut)"
    return f"{message}\n{tail}" if tail else message


def describe(exc: BaseException) -> Tuple[str, str, List[str]]:
    """Error name, cause and kinds of an exception that ended an action."""
    cls = type(exc)
    name = _class_name(cls)
    kinds = []
    # A subclass need not have called our __init__().
    given = _name(getattr(exc, "name", None) if isinstance(exc, ActionError)
                  else exc.__dict__.get("rappel_error"))
    if given is not None and given != name:
        kinds, name = [name], given
    if isinstance(exc, ActionError):
        kinds = [kind for kind in map(_name, getattr(exc, "kinds", ()))
                 if kind is not None] + kinds
    for base in cls.__mro__[1:]:
        if issubclass(base, Exception):
            kinds.append(_class_name(base))
    unique = [kind for kind in dict.fromkeys(kinds) if kind != name]
    return name, _cause(exc), unique[:KINDS_MAX]
