"""The tier that fault tests run in, and how often it repeats a fault.

push: each fault one to three times, in every run of scripts/test; full: as
often as the fault matrix asks, with scripts/test --full.
"""

import os

TIER = os.environ.get("RAPPEL_FAULT_TIER", "push")
FULL = TIER == "full"


def repeats(push, full):
    """How often, or for how many seconds, in this tier."""
    given = os.environ.get("RAPPEL_FAULT_REPEATS")
    return int(given) if given else full if FULL else push
