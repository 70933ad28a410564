"""What stands in our documents, for tests that do what they say."""

import os
import re
import textwrap

import harness


def blocks(path):
    """The indented blocks of one of our documents, as they would be typed."""
    with open(os.path.join(harness.ROOT, path), encoding="utf-8") as text:
        found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text.read(), re.M)
    return [textwrap.dedent(block).strip("\n") for block in found]


def block_with(found, words):
    """The only block that has them."""
    block, = [block for block in found if words in block]
    return block
