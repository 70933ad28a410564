"""Inputs by annotation: a JSON value becomes what a parameter asks for.

converter(annotation) gives a function of value and path, or None where every
value is welcome. What does not fit raises InputInvalid with the path to it;
an annotation that no JSON value can become raises TypeError at once.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing
from typing import Any, Callable, Dict, List, Optional, Tuple

from rappel._errors import InputInvalid
from rappel._values import member_path

Converter = Callable[[Any, str], Any]

_WORDS = {dict: "an object", list: "an array", str: "a string",
          bool: "a boolean", int: "an integer", float: "a number",
          type(None): "null"}
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable,
          collections.abc.Collection, collections.abc.MutableSequence)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

# Of dataclasses, which may contain themselves.
_known: Dict[type, Converter] = {}


def what_is(value: Any) -> str:
    return _WORDS.get(type(value), type(value).__name__)


def _wrong(value: Any, path: str, wanted: str) -> InputInvalid:
    return InputInvalid(f"{path} is {what_is(value)}, not {wanted}")


def _leaf(kinds: Tuple[type, ...]) -> Converter:
    """Exactly one of these: true is no integer."""
    wanted = " or ".join(_WORDS[kind] for kind in kinds)
    allowed = kinds + (int,) if float in kinds else kinds

    def convert(value: Any, path: str) -> Any:
        if type(value) not in allowed:
            raise _wrong(value, path, wanted)
        return value
    return convert


def _array(member: Optional[Converter], make: Callable[[Any], Any],
           count: Optional[int] = None) -> Converter:
    def convert(value: Any, path: str) -> Any:
        if type(value) is not list:
            raise _wrong(value, path, _WORDS[list])
        if count is not None and len(value) != count:
            raise InputInvalid(f"{path} has {len(value)} elements, "
                               f"not {count}")
        if member is None:
            return make(value)
        return make([member(v, f"{path}[{at}]")
                     for at, v in enumerate(value)])
    return convert


def _tuple(members: Tuple[Any, ...]) -> Converter:
    each = [converter(member) for member in members]

    def convert(value: Any, path: str) -> Any:
        _array(None, list, len(each))(value, path)
        return tuple(v if c is None else c(v, f"{path}[{at}]")
                     for at, (c, v) in enumerate(zip(each, value)))
    return convert


def _object(member: Optional[Converter]) -> Converter:
    def convert(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(value, path, _WORDS[dict])
        if member is None:
            return value
        return {key: member(v, member_path(path, key))
                for key, v in value.items()}
    return convert


def _one_of(members: Tuple[Any, ...]) -> Optional[Converter]:
    """A Union: the first that takes it."""
    nothing = type(None) in members
    each = [converter(m) for m in members if m is not type(None)]
    if None in each:
        return None

    def convert(value: Any, path: str) -> Any:
        if value is None and nothing:
            return None
        refused: List[str] = []
        for one in each:
            try:
                return one(value, path)  # type: ignore[misc]
            except InputInvalid as exc:
                refused.append(exc.cause)
        raise InputInvalid("; ".join(dict.fromkeys(refused)))
    return convert


def _literal(values: Tuple[Any, ...]) -> Converter:
    def convert(value: Any, path: str) -> Any:
        for allowed in values:
            if type(allowed) is type(value) and allowed == value:
                return value
        raise InputInvalid(f"{path} is {value!r:.80}, not one of "
                           f"{', '.join(map(repr, values))}")
    return convert


def _dataclass(cls: type) -> Converter:
    fields: List[Tuple[str, bool, Optional[Converter]]] = []

    def convert(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(value, path, f"an object ({cls.__name__})")
        given = {}
        for name, needed, member in fields:
            if name in value:
                given[name] = value[name] if member is None else \
                    member(value[name], member_path(path, name))
            elif needed:
                raise InputInvalid(f"{member_path(path, name)} is missing "
                                   f"({cls.__name__})")
        try:
            return cls(**given)
        except (TypeError, ValueError) as exc:  # its __post_init__
            raise InputInvalid(f"{path} ({cls.__name__}): {exc}") from exc
    _known[cls] = convert
    try:
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.init:
                needed = field.default is dataclasses.MISSING and \
                    field.default_factory is dataclasses.MISSING
                fields.append((field.name, needed,
                               converter(hints[field.name])))
    except Exception:
        del _known[cls]
        raise
    return convert


def converter(annotation: Any) -> Optional[Converter]:
    """How a value becomes what the annotation says; None: as it is."""
    if annotation in (Any, object) or isinstance(annotation, typing.TypeVar):
        return None
    if annotation is None:
        annotation = type(None)
    supertype = getattr(annotation, "__supertype__", None)
    if supertype is not None:  # NewType
        return converter(supertype)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return _one_of(arguments)
    if origin is typing.Literal:
        return _literal(arguments)
    if type(annotation).__name__ == "_AnnotatedAlias":
        return converter(annotation.__origin__)
    kind = origin or annotation
    if kind in _LISTS:
        return _array(converter(arguments[0]) if arguments else None, list)
    if kind in _MAPS:
        if arguments and arguments[0] not in (str, Any):
            raise TypeError(f"the keys of JSON's objects are strings, not "
                            f"{arguments[0]!r}")
        return _object(converter(arguments[1]) if arguments else None)
    if kind is tuple:
        if not arguments:
            return _array(None, tuple)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _array(converter(arguments[0]), tuple)
        return _tuple(() if arguments == ((),) else arguments)
    if kind in _WORDS:
        return _leaf((kind,))
    if not isinstance(kind, type):
        return None
    if kind in _known:
        return _known[kind]
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, dict):  # a TypedDict
        return _object(None)
    raise TypeError(f"no JSON value becomes {kind.__module__}."
                    f"{kind.__qualname__}: take a str, a number or a "
                    "dataclass, and convert it in the function")
