"""@action: which functions are actions, and how each is called.

What a function gets follows from its parameters. One called ctx, or
annotated as Context, gets the context. One called input, or that can be given
by position only, gets the whole input; all others get the members of an
object that have their names.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

from rappel._context import Context
from rappel._convert import Converter, converter, what_is
from rappel._errors import NAME_BYTES_MAX, InputInvalid
from rappel._values import member_path

F = TypeVar("F", bound=Callable[..., Any])
Parameter = inspect.Parameter
_WHOLE = "input"
_CTX_HINTS = ("Context", "rappel.Context")


class ActionInvalid(Exception):
    """A function that cannot be an action; the text says where and why."""


def _where(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return "?:0"
    return f"{code.co_filename}:{code.co_firstlineno}"


def _identity(function: Any) -> Tuple[Any, Any]:
    """The same for a function that was defined anew by a reload."""
    return (getattr(function, "__module__", None),
            getattr(function, "__qualname__", id(function)))


def _is_ctx(parameter: Parameter) -> bool:
    return (parameter.name == "ctx" or parameter.annotation is Context or
            parameter.annotation in _CTX_HINTS)


class Action:
    """A registered function. prepare() once, then invoke(value, ctx)."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.where = _where(function)
        self.is_async = inspect.iscoroutinefunction(function) or \
            inspect.iscoroutinefunction(getattr(function, "__call__", None))
        self.mean_us = 1e6  # of a run; slow until it was seen to be quick
        self.invoke: Callable[[Any, Context], Any] = self._first_invoke

    def __repr__(self) -> str:
        return f"<action {self.name} at {self.where}>"

    def _first_invoke(self, value: Any, ctx: Context) -> Any:
        return self.prepare().invoke(value, ctx)

    def _refuse(self, what: str) -> ActionInvalid:
        return ActionInvalid(f'action "{self.name}" ({self.where}): {what}')

    def prepare(self) -> "Action":
        """Reads the annotations; ActionInvalid when they make no sense."""
        if self.invoke == self._first_invoke:
            self.invoke = self._bind()
        return self

    # ---- from a signature to a call ----

    def _annotation(self, parameter: Parameter) -> Optional[Converter]:
        if parameter.annotation is Parameter.empty:
            return None

        def shim() -> None:
            """Carries one annotation, so that others need no names."""
        shim.__annotations__ = {"value": parameter.annotation}
        origin = inspect.unwrap(self.function)
        names = getattr(origin, "__globals__", {})
        try:
            return converter(typing.get_type_hints(shim, names)["value"])
        except Exception as exc:  # pylint: disable=broad-except
            raise self._refuse(
                f'the annotation of "{parameter.name}" cannot be used: '
                f"{type(exc).__name__}: {exc}") from exc

    def _bind(self) -> Callable[[Any, Context], Any]:
        function = self.function
        if inspect.isgeneratorfunction(function) or \
                inspect.isasyncgenfunction(function):
            raise self._refuse("it is a generator: return a list instead")
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError) as exc:
            raise self._refuse(f"its parameters are not known: {exc}") \
                from exc
        ctx_of = [p for p in parameters if _is_ctx(p)]
        rest = [p for p in parameters if not _is_ctx(p)]
        if len(ctx_of) > 1:
            raise self._refuse("it takes the context twice")
        for p in rest:
            if p.kind is Parameter.VAR_POSITIONAL:
                raise self._refuse(f'it takes "*{p.name}": name its '
                                   "parameters")
        takes_ctx = ctx_of[0] if ctx_of else None
        if not rest:
            return self._bind_ctx(takes_ctx)
        whole = [p for p in rest if p.name == _WHOLE or
                 p.kind is Parameter.POSITIONAL_ONLY]
        if not whole:
            return self._bind_members(rest, takes_ctx)
        if len(rest) > 1:
            raise self._refuse(f'"{whole[0].name}" gets the whole input, so '
                               "there is nothing left for another parameter")
        return self._bind_input(rest[0], takes_ctx, parameters)

    def _bind_ctx(self, ctx_of: Optional[Parameter]
                  ) -> Callable[[Any, Context], Any]:
        function = self.function
        if ctx_of is None:
            return lambda value, ctx: function()
        if ctx_of.kind is Parameter.KEYWORD_ONLY:
            name = ctx_of.name
            return lambda value, ctx: function(**{name: ctx})
        return lambda value, ctx: function(ctx)

    def _bind_input(self, parameter: Parameter, ctx_of: Optional[Parameter],
                    order: List[Parameter]) -> Callable[[Any, Context], Any]:
        function = self.function
        known = self._annotation(parameter)
        convert: Converter = known or (lambda value, path: value)
        if parameter.kind is Parameter.KEYWORD_ONLY:
            named = parameter.name
            if ctx_of is None:
                return lambda value, ctx: function(
                    **{named: convert(value, "$")})
            also = ctx_of.name
            if ctx_of.kind is not Parameter.KEYWORD_ONLY:
                return lambda value, ctx: function(
                    ctx, **{named: convert(value, "$")})
            return lambda value, ctx: function(
                **{named: convert(value, "$"), also: ctx})
        if ctx_of is None and known is None:
            return lambda value, ctx: function(value)
        if ctx_of is None:
            return lambda value, ctx: function(convert(value, "$"))
        if ctx_of.kind is Parameter.KEYWORD_ONLY:
            name = ctx_of.name
            return lambda value, ctx: function(convert(value, "$"),
                                               **{name: ctx})
        if order[0] is ctx_of:
            return lambda value, ctx: function(ctx, convert(value, "$"))
        return lambda value, ctx: function(convert(value, "$"), ctx)

    def _bind_members(self, rest: List[Parameter],
                      ctx_of: Optional[Parameter]
                      ) -> Callable[[Any, Context], Any]:
        function = self.function
        named = []
        takes_rest = False
        if ctx_of is not None and ctx_of.kind is Parameter.POSITIONAL_ONLY:
            raise self._refuse(f'"{ctx_of.name}" cannot be given by name: '
                               'leave out the "/"')
        for p in rest:
            if p.kind is Parameter.VAR_KEYWORD:
                takes_rest = True
            else:
                named.append((p.name, p.default is Parameter.empty,
                              self._annotation(p)))
        names = frozenset(name for name, _, _ in named)
        wanted = ", ".join(sorted(names)) + \
            " (a parameter called input takes the whole)"
        ctx_name = ctx_of.name if ctx_of else None

        def invoke(value: Any, ctx: Context) -> Any:
            if type(value) is not dict:
                raise InputInvalid(f"$ is {what_is(value)}, not an object "
                                   f"with {wanted}")
            given = {}
            for name, needed, convert in named:
                if name in value:
                    given[name] = value[name] if convert is None else \
                        convert(value[name], member_path("$", name))
                elif needed:
                    raise InputInvalid(f"{member_path('$', name)} is missing")
            if takes_rest:
                given.update((key, member) for key, member in value.items()
                             if key not in names and key != ctx_name)
            if ctx_name is not None:
                given[ctx_name] = ctx
            return function(**given)
        return invoke


class Registry:
    """All actions of this process, by name."""

    def __init__(self) -> None:
        self.actions: Dict[str, Action] = {}
        self.conflicts: List[Tuple[Action, Action]] = []

    def add(self, name: str, function: Callable[..., Any]) -> None:
        if not isinstance(name, str) or not name.isprintable() or \
                not 0 < len(name.encode("utf-8", "replace")) \
                <= NAME_BYTES_MAX:
            raise ValueError(f"{name!r} is no name for an action: 1 to "
                             f"{NAME_BYTES_MAX} bytes that can be printed")
        if not callable(function):
            raise TypeError(f"action {name!r} is {function!r}, which cannot "
                            "be called")
        new = Action(name, function)
        old = self.actions.get(name)
        if old is not None and old.function is not function and \
                (_identity(old.function) != _identity(function) or
                 old.where != new.where and not self._reloaded(old)):
            self.conflicts.append((old, new))
            return
        self.actions[name] = new

    @staticmethod
    def _reloaded(old: Action) -> bool:
        """Whether its module has gone on to another function of its name,
        as importlib.reload() does; in one run of a module it has not."""
        module = sys.modules.get(getattr(old.function, "__module__", ""))
        spec = getattr(module, "__spec__", None)
        return not getattr(spec, "_initializing", False)

    def of(self, function: Any) -> Action:
        """By name, or by the function; KeyError when there is none."""
        if isinstance(function, str):
            return self.actions[function]
        for found in self.actions.values():
            if found.function is function:
                return found
        raise KeyError(function)


registry = Registry()


@typing.overload
def action(name: F) -> F: ...
@typing.overload
def action(name: Optional[str] = None) -> Callable[[F], F]: ...


def action(name: Any = None) -> Any:
    """Makes a function, plain or async, an action.

    @action takes the function's name, @action("name") another one. The
    function stays as it is and can be called as before.
    """
    if name is not None and not isinstance(name, str):
        registry.add(getattr(name, "__name__", repr(name)), name)
        return name

    def decorate(function: F) -> F:
        own: str = getattr(function, "__name__", repr(function))
        registry.add(own if name is None else name, function)
        return function
    return decorate
