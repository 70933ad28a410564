"""python -m rappel.worker MODULE...: serves the actions of some modules.

Started by rappeld, as a worker of a group; --check only says what it would
serve. Every module is imported by its name, from --path, PYTHONPATH or the
working folder.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
from typing import Dict, List, NoReturn, Optional

EXIT_USAGE = 64
EXIT_CONFIG = 78

try:
    from rappel import _load, _log
    from rappel._concurrent import Concurrent
    from rappel._inline import Inline
    from rappel._registry import Action
    from rappel._version import VERSION
    from rappel._wire import Wire, flush_streams, leave
except ModuleNotFoundError as missing:
    if missing.name != "msgpack" or __name__ != "__main__":
        raise
    print(f"rappel.worker: {sys.executable} has no module msgpack: apt "
          "install python3-msgpack and use /usr/bin/python3, or pip install "
          "msgpack into the venv of this one", file=sys.stderr)
    sys.exit(EXIT_CONFIG)

CONCURRENCY_MAX = 1024
WINDOW_MIN, WINDOW_MAX = 256, 1024
VALUE_BYTES_MAX = 1 << 20


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m rappel.worker",
        description="Serves the actions of Python modules to rappeld.")
    parser.add_argument("modules", metavar="MODULE", nargs="+",
                        help="a module with functions under @action")
    parser.add_argument("--path", metavar="DIR", action="append", default=[],
                        help="a folder to import from; may be repeated")
    parser.add_argument("--concurrency", metavar="N",
                        help="how many actions run at once (default: "
                        "RAPPEL_CONCURRENCY, or 1)")
    parser.add_argument("--check", action="store_true",
                        help="say what would be served, and end")
    parser.add_argument("--version", action="version",
                        version=f"rappel {VERSION}")
    try:
        return parser.parse_args(argv)
    except SystemExit as exc:
        sys.exit(EXIT_USAGE if exc.code else 0)


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and
            least <= int(text) <= most):
        leave(EXIT_CONFIG, f"{name} is {text!r}, not a number from {least} "
              f"to {most}")
    return int(text)


def _env_number(name: str, default: Optional[int], most: int) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        leave(EXIT_USAGE, f"{name} is not set: rappeld starts workers. To "
              "see what a module has to offer, say --check")
    return _number(name, text, 0, most)


def _concurrency(flag: Optional[str]) -> int:
    if flag is not None:
        return _number("--concurrency", flag, 1, CONCURRENCY_MAX)
    text = os.environ.get("RAPPEL_CONCURRENCY", "1")
    return _number("RAPPEL_CONCURRENCY", text, 1, CONCURRENCY_MAX)


def _show(actions: Dict[str, Action]) -> None:
    width = max(map(len, actions))
    for name, action in sorted(actions.items()):
        kind = "async" if action.is_async else "plain"
        print(f"{name:{width}}  {kind}  {action.where}")


def _end() -> NoReturn:
    """Exit 0, without waiting for threads that a module has left behind."""
    try:
        atexit._run_exitfuncs()  # pylint: disable=protected-access
    except Exception as exc:  # pylint: disable=broad-except
        print(f"rappel.worker: at exit: {exc!r}", file=sys.stderr)
    flush_streams()
    os._exit(0)


def main(argv: Optional[List[str]] = None) -> None:
    options = _arguments(argv)
    concurrency = _concurrency(options.concurrency)
    if not options.check:
        fd = _env_number("RAPPEL_FD", None, 1 << 20)
        slot = _env_number("RAPPEL_SLOT", None, 65535)
        spawn = _env_number("RAPPEL_SPAWN", None, (1 << 32) - 1)
        bytes_max = _env_number("RAPPEL_VALUE_BYTES_MAX", VALUE_BYTES_MAX,
                                1 << 30)
        board = os.environ.get("RAPPEL_SCOREBOARD_FD", "")
        if board.isdigit():
            try:
                os.close(int(board))  # we say recall instead
            except OSError:
                pass
        # What a module prints is a line of the log at once.
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore
        _log.install(slot, os.environ.get("RAPPEL_LOG_LEVEL", "info"))
    try:
        actions = _load.load(options.modules, options.path)
    except _load.Unusable as exc:
        flush_streams()
        leave(EXIT_CONFIG, str(exc))
    if options.check:
        _show(actions)
        return
    try:
        wire = Wire(fd, slot, spawn)
    except OSError as exc:
        leave(EXIT_USAGE, f"RAPPEL_FD={fd} is no socket ({exc.strerror}): "
              "rappeld starts workers")
    wire.hello({"protocol": 1, "pid": os.getpid(), "actions": list(actions),
                "window": min(max(4 * concurrency, WINDOW_MIN), WINDOW_MAX),
                "concurrency": concurrency, "recall": True, "cancel": True,
                "language": "python"})
    if concurrency == 1:
        Inline(wire, actions, bytes_max).run()
    else:
        Concurrent(wire, actions, bytes_max, concurrency).run()
    _end()


if __name__ == "__main__":
    main()
