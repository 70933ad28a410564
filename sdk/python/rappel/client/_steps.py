"""What a client asks of the database, as steps: a generator gives a statement
and is sent its rows, or gives a pause. Who carries them out, and whether it
awaits them, is its caller's matter (__init__.py and aio.py).
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
import uuid
from typing import (Any, Dict, Generator, Iterable, List, Optional, Sequence,
                    Tuple, TypeVar, Union)

from rappel._errors import ResultInvalid
from rappel._values import to_json
from rappel.client._errors import (InvalidRequest, NotEnded, NotFound,
                                   RunFailed)

T = TypeVar("T")
Rows = List[Tuple[Any, ...]]
Id = Union[str, uuid.UUID]

ENDED = ("succeeded", "failed", "timed_out", "cancelled")
PAUSE_FIRST, PAUSE_MOST = 0.01, 1.0


@dataclasses.dataclass(frozen=True)
class Statement:
    sql: str
    values: Dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Pause:
    """Between two looks. What is sent back is whether no transaction was
    open before; then none is left open, now or at the end."""

    seconds: float


Steps = Generator[Union[Statement, Pause], Any, T]


@dataclasses.dataclass(frozen=True)
class Run:
    """An execution of a workflow, as it is now."""

    id: str
    workflow: str
    version: int
    #: queued, waiting, running, succeeded, failed, timed_out, cancelled
    #: or blocked
    status: str
    priority: int
    name: Optional[str]
    created_at: datetime.datetime
    started_at: Optional[datetime.datetime]
    ended_at: Optional[datetime.datetime]
    #: When it goes on, while it waits.
    due_at: Optional[datetime.datetime]
    #: Why it does not go on.
    reason: Optional[str]
    error: Optional[str]
    cause: Optional[str]

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


@dataclasses.dataclass(frozen=True)
class Event:
    """An entry of a run's history."""

    seq: int
    #: succeeded, failed, fired, cancelled ...
    event: str
    activation: Optional[int]
    state: Optional[str]
    #: Of an iteration of a Map.
    index: Optional[int]
    attempt: Optional[int]
    #: The slot that ran it.
    worker: Optional[int]
    at: datetime.datetime
    seconds: Optional[float]
    result: Any
    error: Optional[str]
    cause: Optional[str]
    #: Kinds, usage, the last lines: what the worker said besides.
    details: Any


# ---- arguments ----

def _id(run: Id) -> str:
    try:
        return str(uuid.UUID(str(run)))
    except ValueError:
        raise InvalidRequest(f"{run!r} is no id of a run", "start() gives "
                             "one, a UUID") from None


def _json(value: Any, what: str) -> str:
    try:
        return to_json(value)
    except ResultInvalid as exc:
        raise InvalidRequest(f"{what}: {exc.cause}") from None


def _time(at: Optional[datetime.datetime]) -> Optional[datetime.datetime]:
    if at is not None and at.tzinfo is None:
        raise InvalidRequest(f"start_at {at} has no time zone", "give it "
                             "one, such as tzinfo=datetime.timezone.utc")
    return at


def _value(text: Optional[str]) -> Any:
    return None if text is None else json.loads(text)


# ---- starting ----

def start(workflow: str, input: Any = None, *, key: Optional[str] = None,
          priority: int = 0, start_at: Optional[datetime.datetime] = None,
          name: Optional[str] = None, version: Optional[int] = None
          ) -> Steps[str]:
    """Starts a run and gives its id. It runs if and when the transaction
    commits.

    The same start under the same key starts nothing and gives the first
    one's id; with other input it is a Conflict. A higher priority goes
    first, start_at says not before when, name is for people, version is not
    the current one. Without input the run gets {}.
    """
    rows = yield Statement(
        "SELECT rappel.start_workflow(%(workflow)s::text, %(input)s::json,"
        " key => %(key)s::text, priority => %(priority)s::int,"
        " start_at => %(start_at)s::timestamptz, name => %(name)s::text,"
        " version => %(version)s::int)::text",
        {"workflow": workflow, "key": key, "priority": priority,
         "input": _json({} if input is None else input, "input"),
         "start_at": _time(start_at), "name": name, "version": version})
    return str(rows[0][0])


def start_many(workflow: str, inputs: Iterable[Any], *,
               keys: Optional[Sequence[str]] = None, priority: int = 0,
               start_at: Optional[datetime.datetime] = None,
               version: Optional[int] = None) -> Steps[List[str]]:
    """Starts a run for each input, in one statement; the ids in the same
    order. keys are as many as inputs."""
    texts = [_json(value, f"inputs[{at}]") for at, value in enumerate(inputs)]
    rows = yield Statement(
        "SELECT id::text FROM rappel.start_workflows(%(workflow)s::text,"
        " %(inputs)s::text[]::json[], keys => %(keys)s::text[],"
        " priority => %(priority)s::int,"
        " start_at => %(start_at)s::timestamptz,"
        " version => %(version)s::int) WITH ORDINALITY s (id, n) ORDER BY n",
        {"workflow": workflow, "inputs": texts,
         "keys": None if keys is None else list(keys), "priority": priority,
         "start_at": _time(start_at), "version": version})
    return [str(row[0]) for row in rows]


# ---- looking ----

_RUN = ("SELECT id::text, workflow, version, status, priority::int, name,"
        " created_at, started_at, ended_at, due_at, reason, error, cause"
        " FROM rappel.instances WHERE id = %(id)s::uuid")

# Whether the row is this transaction's own (or a savepoint's of it), and
# whether its snapshot will never show another one.
_WAITED = (
    "SELECT coalesce(age(i.xmin) <= 0 AND pg_xact_status(("
    " pg_current_xact_id_if_assigned()::text::bigint - age(i.xmin))"
    "::text::xid8) = 'in progress', false),"
    " current_setting('transaction_isolation')"
    " IN ('repeatable read', 'serializable')"
    " FROM rappel.workflow_instances i WHERE i.id = %(id)s::uuid")


def _there(rows: Rows, run: str) -> Tuple[Any, ...]:
    if not rows:
        raise NotFound(f"there is no run {run}", "was its start committed, "
                       "and in this database?")
    return rows[0]


def status(id: Id) -> Steps[Run]:
    """How the run is now."""
    run = _id(id)
    rows = yield Statement(_RUN, {"id": run})
    return Run(*_there(rows, run))


def result(id: Id) -> Steps[Any]:
    """The output of a run that succeeded; NotEnded while it goes on, and
    RunFailed with error and cause when it failed."""
    run = _id(id)
    rows = yield Statement(
        "SELECT status, output::text, error, cause FROM rappel.instances"
        " WHERE id = %(id)s::uuid", {"id": run})
    state, output, error, cause = _there(rows, run)
    if state not in ENDED:
        raise NotEnded(f"run {run} has not ended, it is {state}",
                       "wait() for it")
    if state != "succeeded":
        raise RunFailed(run, state, error, cause)
    return _value(output)


def wait(id: Id, timeout: Optional[float] = None) -> Steps[Run]:
    """Looks until the run has ended, at first often and then once a second;
    how it ended. TimeoutError after so many seconds: the run goes on.

    Commit its start before. A connection without an open transaction has
    none afterwards.
    """
    run = _id(id)
    until = None if timeout is None else time.monotonic() + timeout
    was_idle = yield Pause(0)
    pause = PAUSE_FIRST
    first = True
    while True:
        rows = yield Statement(_RUN, {"id": run})
        found = Run(*_there(rows, run))
        if found.has_ended:
            return found
        if first and not was_idle:
            rows = yield Statement(_WAITED, {"id": run})
            _can_change(run, *_there(rows, run))
        first = False
        left = pause if until is None else until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"run {run} is still {found.status} after "
                               f"{timeout:g} s; it goes on")
        yield Pause(min(pause, left))
        pause = min(pause * 1.5, PAUSE_MOST)


def _can_change(run: str, is_own: bool, is_fixed: bool) -> None:
    if is_own:
        raise InvalidRequest(f"run {run} was started by this transaction, "
                             "which has not committed",
                             "commit before wait()")
    if is_fixed:
        raise InvalidRequest("the transaction's isolation level shows the "
                             "same state of the run for ever", "wait() "
                             "outside of a transaction, or with READ "
                             "COMMITTED")


def history(id: Id) -> Steps[List[Event]]:
    """What has happened to the run, in order."""
    run = _id(id)
    rows = yield Statement(
        "SELECT seq, event, action, state, index, attempt, worker, at,"
        " extract(epoch FROM run)::float8, result::text, error, cause,"
        " details::text"
        " FROM rappel.history WHERE instance_id = %(id)s::uuid ORDER BY seq",
        {"id": run})
    if not rows:
        yield from status(run)  # or it is not there
    return [Event(*(*row[:9], _value(row[9]), *row[10:12], _value(row[12])))
            for row in rows]


# ---- ending ----

def cancel(id: Id, cause: Optional[str] = None) -> Steps[bool]:
    """Asks for the run to be cancelled; False when it has ended already."""
    rows = yield Statement(
        "SELECT rappel.cancel_workflow(%(id)s::uuid, %(cause)s::text)",
        {"id": _id(id), "cause": cause})
    return bool(rows[0][0])


def task_succeed(token: str, result: Any = None) -> Steps[bool]:
    """Finishes the attempt that ctx.task_token named, with a result. False
    when it has ended already."""
    rows = yield Statement(
        "SELECT rappel.task_succeed(%(token)s::text, %(result)s::json)",
        {"token": token, "result": _json(result, "result")})
    return bool(rows[0][0])


def task_fail(token: str, error: str = "States.TaskFailed",
              cause: Optional[str] = None) -> Steps[bool]:
    """The same with an error, which Retry and Catch meet."""
    rows = yield Statement(
        "SELECT rappel.task_fail(%(token)s::text, %(error)s::text,"
        " %(cause)s::text)",
        {"token": token, "error": error, "cause": cause})
    return bool(rows[0][0])


def task_heartbeat(token: str, progress: Any = None) -> Steps[bool]:
    """Whoever works on it lives; False when it has ended: stop."""
    rows = yield Statement(
        "SELECT rappel.task_heartbeat(%(token)s::text, %(progress)s::json)",
        {"token": token, "progress": _json(progress, "progress")})
    return bool(rows[0][0])
