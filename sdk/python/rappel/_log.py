"""Log lines as the daemon writes them, so that it takes them over as they
are: with their level, and with the run that they belong to."""

from __future__ import annotations

import logging
import sys
import time

from rappel._context import running

LEVELS = {"error": logging.ERROR, "warning": logging.WARNING,
          "info": logging.INFO, "debug": logging.DEBUG}
MESSAGE_CHARS_MAX = 6000  # the daemon cuts a line at 8 KiB


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("\n", "\\n").replace("\t", "\\t")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else
                   "".join(f"\\x{b:02x}" for b in
                           c.encode("utf-8", "backslashreplace"))
                   for c in text)


def level_name(number: int) -> str:
    for name, least in LEVELS.items():
        if number >= least:
            return name
    return "debug"


class Formatter(logging.Formatter):
    def __init__(self, slot: int) -> None:
        super().__init__("%(message)s")
        self.comp = f"worker/{slot}"

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > MESSAGE_CHARS_MAX:
            text = text[:MESSAGE_CHARS_MAX] + " (cut)"
        second = time.strftime("%Y-%m-%dT%H:%M:%S",
                               time.gmtime(record.created))
        line = (f"ts={second}.{int(record.msecs):03d}Z "
                f"level={level_name(record.levelno)} comp={self.comp} "
                f'msg="{_escaped(text)}" logger={_word(record.name)}')
        ctx = running.get()
        if ctx is not None:
            return line + (f" instance={ctx.instance_id} activation="
                           f"{ctx.activation} attempt={ctx.attempt}")
        if hasattr(record, "instance"):  # of ctx.log, in a thread of its own
            return line + (f" instance={record.instance} activation="
                           f"{getattr(record, 'activation', 0)} attempt="
                           f"{getattr(record, 'attempt', 0)}")
        return line


def _word(text: str) -> str:
    return "".join(c if c.isprintable() and c not in ' "=' else "_"
                   for c in text) or "root"


def install(slot: int, level: str) -> None:
    """The root logger writes to stderr; before any module is imported."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Formatter(slot))
        root.addHandler(handler)
    root.setLevel(LEVELS.get(level, logging.INFO))
