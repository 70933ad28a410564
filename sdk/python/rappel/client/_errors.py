"""What goes wrong between a client and the database, as exceptions.

Errors that rappel's own functions raise become these; every other error of
the driver passes as it is. Either way the transaction is broken, as after any
error: roll back, or to a savepoint of yours.
"""

from __future__ import annotations

from typing import Any, Optional


class RappelError(Exception):
    """The base of these; hint says what to do, if the server knew."""

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


class InvalidRequest(RappelError, ValueError):
    """An argument is none (RP400)."""


class NotFound(RappelError, LookupError):
    """There is no such run, workflow, version or task (RP404)."""


class Conflict(RappelError):
    """Not in this state: the key was used with other input (RP409)."""


class NotEnded(Conflict):
    """result() of a run that goes on."""


class SchemaMissing(RappelError):
    """This database has no schema "rappel", or an older one."""


class RunFailed(RappelError):
    """result() of a run that failed, timed out or was cancelled."""

    def __init__(self, id: str, status: str, error: Optional[str],
                 cause: Optional[str]) -> None:
        what = ": ".join(part for part in (error, cause) if part)
        super().__init__(f"run {id} {status.replace('_', ' ')}" +
                         (f": {what}" if what else ""))
        self.id = id
        self.status = status
        self.error = error
        self.cause = cause


_CLASSES = {"RP400": InvalidRequest, "RP404": NotFound, "RP409": Conflict}
# No such schema, function, table or column.
_MISSING = ("3F000", "42883", "42P01", "42703")


def translated(exc: Exception) -> Exception:
    """The same error in our words, or as it is."""
    state = getattr(exc, "sqlstate", None) or getattr(exc, "pgcode", None)
    diagnosis: Any = getattr(exc, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or str(exc)
    if state in _CLASSES:
        return _CLASSES[state](
            message, getattr(diagnosis, "message_hint", None))
    if state in _MISSING and "rappel" in message:
        return SchemaMissing(message, "rappelctl db migrate makes or renews "
                             "the schema")
    return exc
