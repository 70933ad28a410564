"""rappel.client for psycopg 3's AsyncConnection: the same, to be awaited.

    from rappel.client import aio

    run = await aio.start(conn, "ship", {"order": 17}, key="order-17")
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, TypeVar

from rappel.client import _driver, _steps
from rappel.client._errors import translated

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec
    P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["cancel", "history", "result", "start", "start_many", "status",
           "task_fail", "task_heartbeat", "task_succeed", "wait"]


async def _fetch(conn: Any, statement: _steps.Statement) -> _steps.Rows:
    cursor = conn.cursor(**_driver.cursor_options(conn))
    try:
        await cursor.execute(statement.sql, statement.values)
        return _driver.as_tuples(await cursor.fetchall())
    except Exception as exc:
        found = translated(exc)
        if found is exc:
            raise
        raise found from exc
    finally:
        await cursor.close()


async def _carry_out(conn: Any, steps: "_steps.Steps[T]") -> T:
    was_idle = _driver.is_idle(conn)
    leaves_idle = False
    try:
        step = next(steps)
        while True:
            if isinstance(step, _steps.Pause):
                leaves_idle = was_idle
                if was_idle:
                    await conn.rollback()
                await asyncio.sleep(step.seconds)
                step = steps.send(was_idle)
            else:
                step = steps.send(await _fetch(conn, step))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        if leaves_idle and not getattr(conn, "closed", False):
            await conn.rollback()


def _awaited(steps: "Callable[P, _steps.Steps[T]]"
             ) -> "Callable[Concatenate[Any, P], Awaitable[T]]":
    async def call(conn: Any, *args: Any, **more: Any) -> Any:
        return await _carry_out(conn, steps(*args, **more))
    return _driver.with_conn(steps, call)


start = _awaited(_steps.start)
start_many = _awaited(_steps.start_many)
status = _awaited(_steps.status)
result = _awaited(_steps.result)
wait = _awaited(_steps.wait)
history = _awaited(_steps.history)
cancel = _awaited(_steps.cancel)
task_succeed = _awaited(_steps.task_succeed)
task_fail = _awaited(_steps.task_fail)
task_heartbeat = _awaited(_steps.task_heartbeat)
