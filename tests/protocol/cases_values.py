"""Values there and back: every type, every limit, and what is no value."""

import math
import struct

import wire
from case import Skip, case, expect, same
from life import Fail

PLANES = "é €\u0000\u001f\u007f\u0085\u2028\ud7ff\ue000\ufeff\ufffd\uffff" \
         "\U00010000\U0001f600\U000fffff\U0010ffff"
INT64_MAX, INT64_MIN, UINT64_MAX = (1 << 63) - 1, -(1 << 63), (1 << 64) - 1


def arrays(depth):
    """So many arrays, one in the other, the innermost empty."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def maps(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"k": value}
    return value


# What the action `value` returns for each name; README.md has them in words.
NAMED = {
    "null": None, "true": True, "false": False, "zero": 0, "minus_one": -1,
    "int53": (1 << 53) + 1, "int64_max": INT64_MAX, "int64_min": INT64_MIN,
    "uint64_max": UINT64_MAX, "minus_zero": -0.0, "tenth": 0.1,
    "third": 1 / 3, "subnormal": 5e-324, "huge": 1e308, "largest":
    1.7976931348623157e308, "empty_text": "", "nul": "a\0b",
    "planes": PLANES, "empty_array": [], "empty_map": {},
    "nested": {"b": [1, {"c": [], "a": {}}, "x"], "a": None, "": True},
    "deep": arrays(32), "text200k": "0123456789abcdef" * 12_800,
    "largest_text": "x" * (wire.VALUE_BYTES_MAX - 5),
}
# Fixtures say that their language cannot even build such a thing.
NOT_EXPRESSIBLE = "Fixture.NotExpressible"


def back(trial, values, packed=False):
    """Each of the values is echoed as it is."""
    life = trial.life()
    values = list(values)
    items = [life.item("echo", packed=value if packed else wire.pack(value))
             for value in values]
    for value, answer in zip(values, life.stream(items)):
        expected = wire.Reader(value).value() if packed else value
        expect(answer.status == 0,
               f"echo of {wire.short(expected)}: {answer}")
        found = wire.difference(expected, answer.result)
        if found and not wire.difference(expected, answer.result,
                                         loose=True):
            trial.note("a float without a fraction comes back as an integer")
        elif found:
            raise Fail(f"echo of {wire.short(expected)}: {found}")


@case("values.scalars", "null, true, false", needs=("echo",))
def scalars(trial):
    back(trial, [None, True, False])


@case("values.integers", "integers to the limits of 64 bits, in every "
      "encoding", needs=("echo",))
def integers(trial):
    found = [0, INT64_MAX, INT64_MIN, INT64_MAX + 1, UINT64_MAX,
             UINT64_MAX - 1]
    for bits in (5, 7, 8, 15, 16, 31, 32, 52, 53, 54, 62, 63):
        for near in (-1, 0, 1):
            found += [(1 << bits) + near, -(1 << bits) + near]
    back(trial, [n for n in found if INT64_MIN <= n <= UINT64_MAX])
    back(trial, [wire.uint(100, width) for width in wire.WIDTHS], True)


@case("values.floats", "doubles to the last bit; single ones as they are",
      needs=("echo",))
def floats(trial):
    back(trial, [0.0, -0.0, 0.1, 1 / 3, -math.pi, 1.0, -1.0, 1e15, 1e17,
                 2.0 ** 53, 2.0 ** 63, 2.0 ** 64, 5e-324, -5e-324,
                 2.2250738585072014e-308, 2.225073858507201e-308, 1e308,
                 -1e308, 1.7976931348623157e308, 1e-7, 123456789.123456789])
    back(trial, [b"\xca" + struct.pack(">f", number)
                 for number in (0.5, -0.0, 0.1, 1e-45, 3.4e38)], True)


@case("values.text", "all of Unicode, NUL included", needs=("echo",))
def text(trial):
    back(trial, ["", "a\0b", "\0", PLANES, "x" * 31, "x" * 32, "x" * 255,
                 "x" * 256, "x" * 65535, "x" * 65536])
    every = [chr(n) for n in range(0x110000) if not 0xd800 <= n < 0xe000]
    size = 0x4000
    back(trial, ["".join(every[at:at + size]) for at in range(
        0, len(every), size * (16 if trial.quick else 1))])


@case("values.containers", "arrays and maps of every size of header",
      needs=("echo",))
def containers(trial):
    back(trial, [[], {}, [[]], [{}], {"a": {}}, {"": ""}, {"a\0": PLANES}])
    for count in (15, 16, 65535, 65536):
        back(trial, [[n % 100 for n in range(count)]])
    for count in (15, 16, 70_000):
        back(trial, [{f"key {n}": n for n in range(count)}])
    back(trial, [b"\xdd\0\0\0\1\xdf\0\0\0\1\xdb\0\0\0\1k\xda\0\1v"], True)


@case("values.odd-keys", "keys that some languages have other plans with",
      needs=("echo",))
def odd_keys(trial):
    back(trial, [{"__proto__": 1}, {"constructor": {"prototype": 1}},
                 {"toString": None, "hasOwnProperty": 2}, {"__class__": 3},
                 {"length": 5}, {"then": "x"}, {"toJSON": "x"}, {"self": 1}])


@case("values.key-order", "a map's keys keep their order", needs=("echo",))
def key_order(trial):
    back(trial, [{"z": 1, "a": 2, "m": 3, "Z": 4, "é": 5}])
    life = trial.life()
    sent = {"z": 1, "10": 2, "9": 3}
    got = life.result("echo", sent)
    same(sent, got, "a map with keys like numbers")
    if list(got) != list(sent):
        trial.note("keys that look like numbers change their order")


@case("values.deep", "32 arrays or maps, one in the other", needs=("echo",))
def deep(trial):
    back(trial, [arrays(31), arrays(32), maps(32)])


@case("values.200KiB", "200 KiB: text, numbers, and all mixed",
      needs=("echo",))
def kib200(trial):
    back(trial, ["r" * (200 << 10), list(range(60_000)),
                 [{"i": n, "f": n / 7, "t": PLANES, "l": [None, True]}
                  for n in range(2000)]])


@case("values.1MiB", "a value of 1 MiB, the most there is", needs=("echo",))
def mib(trial):
    largest = "x" * (wire.VALUE_BYTES_MAX - 5)
    same(wire.VALUE_BYTES_MAX, len(wire.pack(largest)), "its size")
    back(trial, [largest])


@case("values.named", "what an action itself makes, in its language's types",
      needs=("value",))
def named(trial):
    life = trial.life()
    for name, value in NAMED.items():
        got = life.result("value", {"name": name})
        found = wire.difference(value, got)
        if found and not wire.difference(value, got, loose=True):
            trial.note("a float without a fraction comes as an integer")
        elif found:
            raise Fail(f"value {name}: {found}")


@case("values.too-large", "a result of more than 1 MiB fails its action, "
      "and it alone", needs=("bad", "echo"))
def too_large(trial):
    refused(trial, "too_large", "Rappel.ResultInvalid",
            "States.DataLimitExceeded")


def refused(trial, what, *errors):
    """What is no value is refused in the worker, with an error that says
    so."""
    life = trial.life()
    answer = life.ask("bad", {"what": what})
    expect(answer.status != 1 or answer.error != "Fixture.UnknownName",
           f"the fixture does not know bad {what}")
    if answer.status == 1 and answer.error == NOT_EXPRESSIBLE:
        raise Skip("its language has no such thing")
    same(1, answer.status, f"the status of bad {what} ({answer})")
    expect(answer.cause, f"bad {what} fails with {answer.error} and no cause")
    expect(answer.error in errors,
           f"the error of bad {what} is {answer.error}, not "
           f"{' or '.join(errors)}")
    if "echo" in life.hello["actions"]:
        same("x", life.result("echo", "x"), "echo after it")


BAD = {
    "nan": "NaN", "infinity": "infinity", "minus_infinity": "-infinity",
    "binary": "bytes", "int_too_large": "2^64", "int_too_small": "-2^63 - 1",
    "too_deep": "33 arrays, one in the other",
    "key_no_text": "a map with a key that is no string",
    "lone_surrogate": "text that is not Unicode",
    "object": "a thing of its language, such as a function",
    "cyclic": "an array that holds itself",
    "within": "NaN within a map within an array",
}


def register_bad(name, text_):
    @case(f"refused.{name}", f"{text_} is no result: an error, nothing "
          "rounded", needs=("bad",))
    def run(trial):
        refused(trial, name, "Rappel.ResultInvalid")
    return run


for bad_name, bad_text in BAD.items():
    register_bad(bad_name, bad_text)
