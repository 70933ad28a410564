"""What psycopg 2 and 3 have in common, without importing either."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Dict, List, Sequence, Tuple

IDLE = 0  # TRANSACTION_STATUS_IDLE, of libpq


def _tuples(cursor: Any) -> Callable[[Sequence[Any]], Tuple[Any, ...]]:
    """A row factory of psycopg 3, whatever the connection's own is."""
    return tuple


def cursor_options(conn: Any) -> Dict[str, Any]:
    return {"row_factory": _tuples} if hasattr(conn, "row_factory") else {}


def as_tuples(rows: Sequence[Any]) -> List[Tuple[Any, ...]]:
    """psycopg2's cursor factories may have made dicts of them."""
    return [tuple(row.values() if hasattr(row, "values") else row)
            for row in rows]


def is_idle(conn: Any) -> bool:
    """Whether no transaction is open."""
    info = getattr(conn, "info", None)
    return getattr(info, "transaction_status", None) == IDLE


def with_conn(steps: Callable[..., Any], call: Callable[..., Any]
              ) -> Callable[..., Any]:
    """call, as what steps says of itself, with a conn before it."""
    call = functools.wraps(steps)(call)
    signature = inspect.signature(steps)
    conn = inspect.Parameter("conn", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[conn, *signature.parameters.values()],
        return_annotation=inspect.Signature.empty)
    return call
