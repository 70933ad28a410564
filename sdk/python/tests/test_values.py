"""What passes as a value, what annotations make of it, how errors are
named: the parts of the package by themselves."""

import dataclasses
import enum
import json
import os
import subprocess
import sys
import typing
import unittest
from typing import Any, Dict, List, Optional, Tuple, Union

import msgpack

import fakes

sys.path.insert(0, fakes.SDK)

from rappel import _convert, _errors, _strays, _values  # noqa: E402
from rappel._errors import InputInvalid, ResultInvalid  # noqa: E402


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Checked:
    n: int

    def __post_init__(self):
        if self.n < 0:
            raise ValueError("n is negative")


class Named(typing.NamedTuple):
    a: int
    b: str


class Colour(str, enum.Enum):
    RED = "red"


class Values(unittest.TestCase):
    def test_quick_and_thorough_check_agree(self):
        """What is_plain() lets pass is packed as plain() would give it."""
        nested = []
        for _ in range(31):
            nested = [nested]
        for value in (None, True, 7, -1.5, "x", [], {}, [1, "a", None],
                      {"a": {"b": [1.5, 2.5, "x"]}}, (1, (2, [3])), nested,
                      [[1], {"a": 2}, 3.5], list(range(1000))):
            self.assertTrue(_values.is_plain(value), value)
            self.assertEqual(msgpack.packb(value),
                             msgpack.packb(_values.plain(value)))
        for value in (float("nan"), [float("inf")], [1, [float("nan"), "x"]],
                      b"", [b""], {1: 2}, {"a": {None: 1}}, [nested],
                      {1}, object(), [[[{}, {"a": b""}]]], Point(1)):
            self.assertFalse(_values.is_plain(value), value)

    def test_what_python_has_for_json_types(self):
        for value, wanted in (
                (Point(1), {"x": 1, "y": 0.0}),
                ([Point(1, 2.5)], [{"x": 1, "y": 2.5}]),
                (Named(1, "b"), [1, "b"]), (Colour.RED, "red"),
                (typing.OrderedDict(a=1), {"a": 1}),
                ({Colour.RED: 1}, {"red": 1})):
            got = _values.plain(value)
            self.assertEqual(json.dumps(got), json.dumps(wanted))
            self.assertTrue(_values.is_plain(got))

    def test_json_text(self):
        self.assertEqual(_values.to_json({"a": ["ä", 2**64 - 1, 0.1]}),
                         '{"a":["\\u00e4",18446744073709551615,0.1]}')
        with self.assertRaisesRegex(ResultInvalid, r"\$\.a is nan"):
            _values.to_json({"a": float("nan")})


class Annotations(unittest.TestCase):
    def test_what_fits(self):
        for annotation, value, wanted in (
                (Any, b"", b""), (int, 5, 5), (float, 5, 5),
                (Optional[int], None, None), (None, None, None),
                (Point, {"x": 1, "z": 9}, Point(1)),
                (List[Point], [{"x": 1, "y": 2}], [Point(1, 2)]),
                (Dict[str, Point], {"a": {"x": 1}}, {"a": Point(1)}),
                (Tuple[int, ...], [1, 2], (1, 2)),
                (Tuple[int, str], [1, "a"], (1, "a")),
                (Union[Point, str], "x", "x"),
                (typing.Literal["a", 1], 1, 1),
                (typing.Mapping[str, Any], {"a": 1}, {"a": 1}),
                (list, [1, "x"], [1, "x"]), (dict, {}, {}),
                (typing.NewType("Id", str), "x", "x")):
            convert = _convert.converter(annotation)
            got = value if convert is None else convert(value, "$")
            self.assertEqual(got, wanted)
            self.assertIs(type(got), type(wanted))

    def test_what_does_not(self):
        for annotation, value, said in (
                (int, True, "$ is a boolean, not an integer"),
                (int, 1.0, "$ is a number, not an integer"),
                (str, None, "$ is null, not a string"),
                (float, "1", "$ is a string, not a number"),
                (Optional[str], 1, "$ is an integer, not a string"),
                (Point, [], "$ is an array, not an object (Point)"),
                (Point, {}, "$.x is missing (Point)"),
                (Checked, {"n": -1}, "$ (Checked): n is negative"),
                (List[Point], [{"x": 1}, {"x": "a"}],
                 "$[1].x is a string, not an integer"),
                (Dict[str, int], {"a b": None},
                 '$["a b"] is null, not an integer'),
                (Tuple[int, str], [1], "$ has 1 elements, not 2"),
                (Union[int, str], [], "$ is an array, not an integer; "
                 "$ is an array, not a string"),
                (typing.Literal["a", "b"], "c",
                 "$ is 'c', not one of 'a', 'b'")):
            with self.assertRaises(InputInvalid) as refused:
                _convert.converter(annotation)(value, "$")
            self.assertEqual(refused.exception.cause, said)

    def test_what_json_never_becomes(self):
        for annotation in (bytes, set, Dict[int, str], List[complex]):
            with self.assertRaises(TypeError):
                _convert.converter(annotation)


class Errors(unittest.TestCase):
    def test_an_inherited_name_is_the_bases(self):
        class Base(Exception):
            rappel_error = "Shop.Base"

        class Special(Base):
            pass

        self.assertEqual(_errors.describe(Special("x"))[::2],
                         ("Special", ["Shop.Base", "Exception"]))
        special = Special("x")
        special.rappel_error = "Shop.ThisOne"
        self.assertEqual(
            _errors.describe(special)[::2],
            ("Shop.ThisOne", ["Special", "Shop.Base", "Exception"]))

    def test_limits(self):
        cls = Exception
        for n in range(50):
            cls = type(f"E{n}" + "x" * 200, (cls,), {})
        name, _, kinds = _errors.describe(cls("x"))
        self.assertEqual(len(name), 128)
        self.assertEqual(len(kinds), 32)
        self.assertTrue(all(len(kind) <= 128 for kind in kinds))

    def test_a_subclass_of_its_own(self):
        class Odd(_errors.ActionError):
            def __init__(self, number):
                self.number = number

        self.assertEqual(_errors.describe(Odd(5))[::2],
                         ("Odd", ["ActionError", "Exception"]))

    def test_a_message_that_cannot_be_had(self):
        class Bad(Exception):
            def __str__(self):
                raise ValueError

        self.assertIn("Bad.__str__ raised", _errors.describe(Bad())[1])

    def test_what_it_came_of(self):
        try:
            try:
                raise KeyError("first")
            except KeyError as exc:
                raise ValueError("second") from exc
        except ValueError as exc:
            cause = _errors.describe(exc)[1]
        self.assertRegex(cause, "^second\n  File .*\nbecause of KeyError: "
                         "'first'$")


class Strays(unittest.TestCase):
    def test_only_what_nobody_waits_for(self):
        strays = _strays.Strays()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        owned = subprocess.Popen([sys.executable, "-c", "exit(7)"])
        for child in (pid, owned.pid):
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        self.assertEqual(strays.reap(), 0)  # perhaps somebody is about to
        self.assertEqual(strays.reap(), 1)
        with self.assertRaises(ChildProcessError):
            os.waitpid(pid, 0)
        self.assertEqual(owned.wait(), 7)


if __name__ == "__main__":
    unittest.main()
