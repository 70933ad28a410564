"""What JSON can say, and nothing else: checked before it is sent.

is_plain() is for the way of every result: it lets C look at whole containers
and says no when in doubt. plain() then looks closely: it takes dataclasses
apart, and for what JSON cannot say it raises with the path to it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from rappel._errors import ResultInvalid

DEPTH_MAX = 32  # [] is 1 deep
INT_MIN, INT_MAX = -(1 << 63), (1 << 64) - 1

_LEAVES = frozenset((str, int, bool, type(None)))
_LEAVES_AND_FLOAT = _LEAVES | {float}
_KEYS = frozenset((str,))

# What to do with what people try to return.
_HINTS = (
    ("datetime", "use .isoformat()"),
    ("date", "use .isoformat()"),
    ("time", "use .isoformat()"),
    ("timedelta", "use .total_seconds()"),
    ("Decimal", "use str() to keep every digit, or float()"),
    ("Fraction", "use str(), or float()"),
    ("bytes", "decode it, or encode it with base64"),
    ("bytearray", "decode it, or encode it with base64"),
    ("memoryview", "decode it, or encode it with base64"),
    ("set", "use sorted()"),
    ("frozenset", "use sorted()"),
    ("UUID", "use str()"),
    ("complex", "give its two parts"),
    ("generator", "use list()"),
    ("range", "use list()"),
    ("map", "use list()"),
    ("filter", "use list()"),
    ("dict_keys", "use list()"),
    ("dict_values", "use list()"),
    ("coroutine", "await it, or make the action an async function"),
    ("ndarray", "use .tolist()"),
    ("DataFrame", 'use .to_dict("records")'),
    ("Later", "rappel.LATER is a result only as a whole"),
)


def is_plain(value: Any, room: int = DEPTH_MAX) -> bool:
    """Whether it can be packed as it is; integers and surrogates are left
    to the packer, which refuses them."""
    kind = type(value)
    if kind in _LEAVES:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        if not _KEYS.issuperset(map(type, value)):
            return False
        members = value.values()
    elif kind is list or kind is tuple:
        members = value
    else:
        return False
    if not room:
        return False
    kinds = set(map(type, members))
    if kinds <= _LEAVES:
        return True
    if kinds <= _LEAVES_AND_FLOAT:
        return all(map(math.isfinite,
                       [m for m in members if type(m) is float]))
    for member in members:
        if type(member) not in _LEAVES and not is_plain(member, room - 1):
            return False
    return True


def type_name(value: Any) -> str:
    """Its type in words: "a datetime.datetime"."""
    kind = type(value)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    return ("an " if name[0] in "aeiouAEIOU" else "a ") + name


def member_path(path: str, key: str) -> str:
    """$.key, or $["strange key"]."""
    if key.isascii() and key.isidentifier():
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key)}]"


def _hint(value: Any) -> str:
    kind = type(value).__name__
    for name, what in _HINTS:
        if kind == name:
            return what
    if hasattr(value, "value") and hasattr(value, "name"):
        return "use its .value"
    if hasattr(value, "__fspath__"):
        return "use str()"
    if type(value).__module__ == "numpy":
        return "use .item()"
    return ("give null, true or false, numbers, strings, lists, dicts with "
            "string keys, or a dataclass of these")


def _text(value: str, path: str) -> str:
    value = str.__str__(value)
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ResultInvalid(
            f"{path} has the lone surrogate U+{ord(value[exc.start]):04X} at "
            f"{exc.start}, which no UTF-8 can hold: decode it with "
            'errors="replace", or encode the bytes with base64') from None
    return value


def plain(value: Any, path: str = "$", room: int = DEPTH_MAX) -> Any:
    """The same value of JSON's types alone, or ResultInvalid."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        value = int(value)
        if not INT_MIN <= value <= INT_MAX:
            raise ResultInvalid(f"{path} is an integer of "
                                f"{value.bit_length()} bits, more than the "
                                "64 that are kept exactly: use str()")
        return value
    if isinstance(value, float):
        value = float(value)
        if not math.isfinite(value):
            raise ResultInvalid(f"{path} is {value}, which JSON has no number "
                                "for: use None, or leave it out")
        return value
    is_map = isinstance(value, dict)
    is_record = not is_map and dataclasses.is_dataclass(value) and \
        not isinstance(value, type)
    if not is_map and not is_record and not isinstance(value, (list, tuple)):
        raise ResultInvalid(f"{path} is {type_name(value)}, which is no JSON "
                            f"value: {_hint(value)}")
    if not room:
        raise ResultInvalid(f"{path} is nested deeper than {DEPTH_MAX} "
                            "(or contains itself): flatten it, or store it "
                            "elsewhere and give a reference")
    if is_record:
        return {field.name: plain(getattr(value, field.name),
                                  member_path(path, field.name), room - 1)
                for field in dataclasses.fields(value)}
    if not is_map:
        return [plain(member, f"{path}[{at}]", room - 1)
                for at, member in enumerate(value)]
    found = {}
    for key, member in value.items():
        if not isinstance(key, str):
            raise ResultInvalid(f"{path} has the key {key!r}, "
                                f"{type_name(key)}: JSON's keys are strings, "
                                "use str()")
        key = _text(key, f"a key of {path}")
        found[key] = plain(member, member_path(path, key), room - 1)
    return found


def to_json(value: Any) -> str:
    """The JSON text of a value, or ResultInvalid."""
    return json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
