"""Starting workflows and looking after them, over your own connection.

    from rappel import client

    with psycopg.connect("dbname=shop") as conn:
        conn.execute("INSERT INTO orders ...")
        run = client.start(conn, "ship", {"order": 17}, key="order-17")
    # committed: it runs
    client.wait(conn, run, timeout=60)
    print(client.result(conn, run))

conn is a connection of psycopg 3 or psycopg2; all happens in its current
transaction, and nothing is committed here. rappel.client.aio has the same for
psycopg 3's AsyncConnection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from rappel.client import _driver, _steps
from rappel.client._errors import (Conflict, InvalidRequest, NotEnded,
                                   NotFound, RappelError, RunFailed,
                                   SchemaMissing, translated)
from rappel.client._steps import ENDED, Event, Run

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec
    P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["ENDED", "Conflict", "Event", "InvalidRequest", "NotEnded",
           "NotFound", "RappelError", "Run", "RunFailed", "SchemaMissing",
           "cancel", "history", "result", "start", "start_many", "status",
           "task_fail", "task_heartbeat", "task_succeed", "wait"]


def _fetch(conn: Any, statement: _steps.Statement) -> _steps.Rows:
    cursor = conn.cursor(**_driver.cursor_options(conn))
    try:
        cursor.execute(statement.sql, statement.values)
        return _driver.as_tuples(cursor.fetchall())
    except Exception as exc:
        found = translated(exc)
        if found is exc:
            raise
        raise found from exc
    finally:
        cursor.close()


def _carry_out(conn: Any, steps: "_steps.Steps[T]") -> T:
    was_idle = _driver.is_idle(conn)
    leaves_idle = False
    try:
        step = next(steps)
        while True:
            if isinstance(step, _steps.Pause):
                leaves_idle = was_idle
                if was_idle:
                    conn.rollback()
                time.sleep(step.seconds)
                step = steps.send(was_idle)
            else:
                step = steps.send(_fetch(conn, step))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        if leaves_idle and not getattr(conn, "closed", False):
            conn.rollback()


def _blocking(steps: "Callable[P, _steps.Steps[T]]"
              ) -> "Callable[Concatenate[Any, P], T]":
    def call(conn: Any, *args: Any, **more: Any) -> Any:
        return _carry_out(conn, steps(*args, **more))
    return _driver.with_conn(steps, call)


start = _blocking(_steps.start)
start_many = _blocking(_steps.start_many)
status = _blocking(_steps.status)
result = _blocking(_steps.result)
wait = _blocking(_steps.wait)
history = _blocking(_steps.history)
cancel = _blocking(_steps.cancel)
task_succeed = _blocking(_steps.task_succeed)
task_fail = _blocking(_steps.task_fail)
task_heartbeat = _blocking(_steps.task_heartbeat)
