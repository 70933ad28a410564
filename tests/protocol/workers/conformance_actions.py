"""The actions of ../README.md with rappel's package for Python.

    python3 -m rappel.worker conformance_actions --path tests/protocol/workers
"""

import asyncio
import os
import signal
import subprocess
import sys
import time

import rappel
from rappel import ActionError, action

PLANES = "é €\0\x1f\x7f\x85\u2028\ud7ff\ue000\ufeff\ufffd\uffff" \
         "\U00010000\U0001f600\U000fffff\U0010ffff"


def arrays(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cyclic():
    value = []
    value.append(value)
    return value


VALUES = {
    "null": None, "true": True, "false": False, "zero": 0, "minus_one": -1,
    "int53": 2 ** 53 + 1, "int64_max": 2 ** 63 - 1, "int64_min": -2 ** 63,
    "uint64_max": 2 ** 64 - 1, "minus_zero": -0.0, "tenth": 0.1,
    "third": 1 / 3, "subnormal": 5e-324, "huge": 1e308,
    "largest": sys.float_info.max, "empty_text": "", "nul": "a\0b",
    "planes": PLANES, "empty_array": (), "empty_map": {},
    "nested": {"b": (1, {"c": [], "a": {}}, "x"), "a": None, "": True},
    "deep": arrays(32), "text200k": "0123456789abcdef" * 12_800,
    "largest_text": "x" * 1_048_571,
}
BAD = {
    "nan": float("nan"), "infinity": float("inf"),
    "minus_infinity": float("-inf"), "binary": b"bytes",
    "int_too_large": 2 ** 64, "int_too_small": -2 ** 63 - 1,
    "too_deep": arrays(33), "key_no_text": {1: "one"},
    "lone_surrogate": "\ud800", "object": print, "cyclic": cyclic(),
    "within": {"a": [float("nan")]}, "too_large": "x" * 1_048_572,
}


@action
def echo(input):
    return input


@action
async def sleep(input):
    await asyncio.sleep(input["ms"] / 1000)
    return input


@action
def fail(*, error, cause):
    raise ActionError(error, cause)


@action
def value(*, name):
    return VALUES[name]


@action
def bad(*, what):
    if what == "error_not_text":
        raise ActionError("Not\ud800Text", "a cause\udfff")
    if what not in BAD:
        raise ActionError("Fixture.UnknownName", what)
    return BAD[what]


@action
def beat(ctx, times, ms, bytes=None):
    for n in range(1, times + 1):
        ctx.heartbeat({"n": n} if bytes is None else "x" * bytes)
        time.sleep(ms / 1000)
    return {"beats": times}


@action
async def until_cancelled():
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        print("until_cancelled: cancelled", flush=True)
        raise
    raise ActionError("Fixture.NotCancelled", "for 20 s")


@action
def later():
    return rappel.LATER


@action
def crash():
    os.kill(os.getpid(), signal.SIGKILL)


@action
def chatty(text, lines=1):
    for _ in range(lines):
        # In one piece: a line of another thread may come in between else.
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        sys.stderr.write(f"err: {text}\n")
        sys.stderr.flush()
    return {"lines": lines}


@action
async def block(input):
    end = time.monotonic() + input["ms"] / 1000
    while time.monotonic() < end:
        pass  # nor does the event loop run
    return input


@action
def whoami(ctx):
    left = ctx.time_left
    return {"instance": ctx.instance_id, "activation": ctx.activation,
            "attempt": ctx.attempt, "token": ctx.task_token,
            "key": ctx.idempotency_key,
            "remaining_ms": None if left is None else left * 1000}


@action
def raise_subclass(*, levels):
    kind = Exception
    for level in range(levels, -1, -1):
        kind = type(f"Level{level}", (kind,), {})
    raise kind("raised on purpose")


@action
def descriptors():
    return subprocess.run(["ls", "-l", "/proc/self/fd"], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
