"""How long a test waits for what should take so many seconds.

The limits in the tests are those of a machine that does nothing else.
scripts/test sets RAPPEL_PATIENCE, by which they are multiplied, since a
machine that runs several tests at once stands still for a moment now and
then. With scripts/test --full, and a test that is run by hand, it is 1.
"""

import os

PATIENCE = float(os.environ.get("RAPPEL_PATIENCE", "1"))


def patience(seconds):
    return seconds * PATIENCE


def within(value, limit, unit, at_least=False):
    """Whether a figure fails no test: times and rates get patience."""
    if at_least:
        return value >= limit / PATIENCE
    return value <= (patience(limit) if unit in ("s", "ms") else limit)
