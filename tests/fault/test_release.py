#!/usr/bin/python3
"""What is released holds no fault point: neither its name nor its switch.

Runs in a build without -Dfaults=true.
"""

import glob
import os
import re
import unittest

import harness


def point_names():
    """Every name that stands in a FAULT_POINT of the sources."""
    names = set()
    for path in glob.glob(os.path.join(harness.ROOT, "*", "*.c")):
        with open(path, encoding="utf-8") as text:
            names.update(re.findall(r'FAULT_POINT\("([^"]+)"\)',
                                    text.read()))
    return names


class Release(unittest.TestCase):
    def test_no_fault_points(self):
        names = point_names()
        self.assertGreater(len(names), 8)
        for program in harness.FOLDERS:
            with open(harness.program(program), "rb") as file:
                text = file.read()
            for name in sorted(names) + ["RAPPEL_FAULT"]:
                with self.subTest(program=program, name=name):
                    self.assertNotIn(name.encode() + b"\0", text)
                    self.assertNotIn(b"\0" + name.encode(), text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
