"""The modules of a worker: imported, and every reason why they cannot serve
told in one line with the place and with what to do."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Dict, List

from rappel._errors import own_frames
from rappel._registry import Action, ActionInvalid, Registry, registry


class Unusable(Exception):
    """Why this worker cannot serve, in one line."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _import_failed(name: str, exc: BaseException) -> Unusable:
    if isinstance(exc, SyntaxError) and exc.filename:
        place = f"{exc.filename}:{exc.lineno}"
        what = f"{type(exc).__name__}: {exc.msg}"
    else:
        frames = own_frames(exc)
        what = f"{type(exc).__name__}: {exc}"
        if not frames:
            if isinstance(exc, ModuleNotFoundError):
                return Unusable(
                    f'there is no module "{exc.name}": install it, or name '
                    f"its folder with --path (looked in {os.getcwd()} and "
                    f"PYTHONPATH={os.environ.get('PYTHONPATH', '')})")
            return Unusable(f'module "{name}" does not import: {what}')
        place = f"{frames[-1].filename}:{frames[-1].lineno}"
    # The place first: status shows the beginning of a long line.
    return Unusable(f'{place}: module "{name}" does not import: {what}; mend '
                    "it, and try it with --check")


def _conflict(first: Action, second: Action) -> Unusable:
    return Unusable(
        f'two actions are called "{first.name}": {first.where} and '
        f'{second.where}; give one another name, @action("...")')


def load(names: List[str], paths: List[str],
         known: Registry = registry) -> Dict[str, Action]:
    """Imports them; the actions by name, or Unusable."""
    for path in paths:
        if not os.path.isdir(path):
            raise Unusable(f"--path {path} is no folder; name one that has "
                           "the modules")
    sys.path[:0] = [os.path.abspath(path) for path in paths]
    for name in names:
        name = name[:-3] if name.endswith(".py") and "/" not in name else name
        try:
            importlib.import_module(name)
        except BaseException as exc:  # pylint: disable=broad-except
            failed = _import_failed(name, exc)
            raise Unusable(_one_line(str(failed))) from exc
    if known.conflicts:
        raise _conflict(*known.conflicts[0])
    if not known.actions:
        raise Unusable(f"no actions in {', '.join(names)}: put @action "
                       "(from rappel import action) before its functions")
    for action in known.actions.values():
        try:
            action.prepare()
        except ActionInvalid as exc:
            raise Unusable(_one_line(str(exc))) from exc
    return dict(known.actions)
