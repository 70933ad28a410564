"""The actions of ../README.md for the reference worker."""

import os
import signal
import sys
import threading
import time

from reference import Cancelled, Failure, Later

PLANES = "é €\0\x1f\x7f\x85\u2028\ud7ff\ue000\ufeff\ufffd\uffff" \
         "\U00010000\U0001f600\U000fffff\U0010ffff"
PRINTING = threading.Lock()


def within(kind, depth):
    value = kind()
    for _ in range(depth - 1):
        value = [value] if kind is list else {"k": value}
    return value


VALUES = {
    "null": None, "true": True, "false": False, "zero": 0, "minus_one": -1,
    "int53": 9007199254740993, "int64_max": 9223372036854775807,
    "int64_min": -9223372036854775808, "uint64_max": 18446744073709551615,
    "minus_zero": -0.0, "tenth": 0.1, "third": 1 / 3, "subnormal": 5e-324,
    "huge": 1e308, "largest": sys.float_info.max, "empty_text": "",
    "nul": "a\0b", "planes": PLANES, "empty_array": [], "empty_map": {},
    "nested": {"b": [1, {"c": [], "a": {}}, "x"], "a": None, "": True},
    "deep": within(list, 32), "text200k": "0123456789abcdef" * 12_800,
    "largest_text": "x" * 1_048_571,
}


def cyclic():
    value = []
    value.append(value)
    return value


BAD = {
    "nan": float("nan"), "infinity": float("inf"),
    "minus_infinity": float("-inf"), "binary": b"bytes",
    "int_too_large": 1 << 64, "int_too_small": -(1 << 63) - 1,
    "too_deep": within(list, 33), "key_no_text": {1: "one"},
    "lone_surrogate": "\ud800", "object": print, "cyclic": cyclic(),
    "within": {"a": [float("nan")]}, "too_large": "x" * 1_048_572,
}


def echo(value, _):
    return value


def sleep(value, item):
    item.cancelled.wait(value["ms"] / 1000)
    return value


def fail(value, _):
    raise Failure(value["error"], value["cause"])


def value_(value, _):
    return VALUES[value["name"]]


def bad(value, _):
    if value["what"] == "error_not_text":
        raise Failure("Not\ud800Text", "a cause\udfff")
    if value["what"] not in BAD:
        raise Failure("Fixture.UnknownName", value["what"])
    return BAD[value["what"]]


def beat(value, item):
    for n in range(1, value["times"] + 1):
        item.heartbeat("x" * value["bytes"] if "bytes" in value else {"n": n})
        time.sleep(value["ms"] / 1000)
    return {"beats": value["times"]}


def until_cancelled(_, item):
    if not item.cancelled.wait(20):
        raise Failure("Fixture.NotCancelled", "for 20 s")
    write(1, "until_cancelled: cancelled\n")
    raise Cancelled


def later(_, __):
    raise Later


def crash(_, __):
    os.kill(os.getpid(), signal.SIGKILL)


def write(fd, text):
    data = text.encode()
    with PRINTING:
        while data:
            data = data[os.write(fd, data):]


def chatty(value, _):
    lines = value.get("lines", 1)
    for _ in range(lines):
        write(1, value["text"] + "\n")
        write(2, "err: " + value["text"] + "\n")
    return {"lines": lines}


def block(value, _):
    end = time.monotonic() + value["ms"] / 1000
    while time.monotonic() < end:
        pass
    return value


def whoami(_, item):
    import uuid  # here, since a worker is started for many a case
    instance = uuid.UUID(bytes=item.instance)
    return {"instance": str(instance), "activation": item.activation,
            "attempt": item.attempt,
            "token": f"{instance}.{item.activation}.{item.attempt}",
            "key": f"{instance}.{item.activation}",
            "remaining_ms": item.remaining_ms()}


def raise_subclass(value, _):
    kind = Exception
    for level in range(value["levels"], -1, -1):
        kind = type(f"Level{level}", (kind,), {})
    raise kind("raised on purpose")


def descriptors(_, __):
    import subprocess
    return subprocess.run(["ls", "-l", "/proc/self/fd"], check=True,
                          stdout=subprocess.PIPE).stdout.decode()


ACTIONS = {
    "echo": echo, "sleep": sleep, "fail": fail, "value": value_, "bad": bad,
    "beat": beat, "until_cancelled": until_cancelled, "later": later,
    "crash": crash, "chatty": chatty, "block": block, "whoami": whoami,
    "raise_subclass": raise_subclass, "descriptors": descriptors,
}
