"""The three workflows of the starting notes, for any loop size.

Run as a program it writes the .asl.json files beside it, which are these
definitions with a loop size of 16.
"""

import json
import os

LOOP_SIZE = 16


def _task(**more):
    return dict({"Type": "Task", "Resource": "noop"}, **more)


def _map(name, items, **more):
    """A Map that runs one noop per item."""
    return dict({
        "Type": "Map",
        "ItemsPath": items,
        "ItemProcessor": {
            "StartAt": name,
            "States": {name: _task(End=True)},
        },
    }, **more)


def _sequence(size, first, then):
    """size Tasks, one after the other, each behind a Choice on the data."""
    states = {}
    for i in range(1, size + 1):
        states[f"Choice{i}"] = {
            "Type": "Choice",
            "Choices": [{"Variable": "$.go", "BooleanEquals": True,
                         "Next": f"Step{i}"}],
            "Default": "Stopped",
        }
        states[f"Step{i}"] = _task(
            InputPath="$.payload", ResultPath=None,
            Next=f"Choice{i + 1}" if i < size else then)
    states["Stopped"] = {"Type": "Fail", "Error": "Bench.Stopped",
                         "Cause": "the input has no \"go\": true"}
    return first, states


def queue_noop(size=LOOP_SIZE):
    """Spread, join, a sequence behind Choices, spread, join, combine."""
    first, sequence = _sequence(size, "Choice1", "SpreadAgain")
    return {
        "Comment": f"{actions('queue-noop', size)} actions that do nothing: "
                   f"a Map over {size}, {size} in sequence each behind a "
                   f"Choice, a Map over {size}, and one that combines",
        "StartAt": "Spread",
        "States": {
            "Spread": _map("First", "$.items", ResultPath="$.first",
                           Next=first),
            **sequence,
            "SpreadAgain": _map("Second", "$.items", ResultPath="$.second",
                                Next="Combine"),
            "Combine": _task(End=True),
        },
    }


def fan_out(size=LOOP_SIZE, nesting=1):
    spread = _map("One", "$.items" if nesting == 1 else "$")
    for depth in range(nesting - 1, 0, -1):
        spread = {
            "Type": "Map", "ItemsPath": "$.items" if depth == 1 else "$",
            "ItemProcessor": {
                "StartAt": f"Inner{depth}",
                "States": {f"Inner{depth}": dict(spread, End=True)},
            },
        }
    what = f"A Map over {size}" + (f", {nesting} deep," if nesting > 1
                                   else "")
    return {
        "Comment": f"{what} and one action that combines",
        "StartAt": "Spread",
        "States": {
            "Spread": dict(spread, ResultPath="$.all", Next="Combine"),
            "Combine": _task(End=True),
        },
    }


def for_loop(size=LOOP_SIZE):
    first, sequence = _sequence(size, "Choice1", "Done")
    return {
        "Comment": f"{size} actions in sequence, each behind a Choice",
        "StartAt": first,
        "States": {**sequence, "Done": {"Type": "Succeed"}},
    }


def actions(kind, size, nesting=1):
    """How many actions an instance of that workflow has."""
    return {"queue-noop": 3 * size + 1, "fan-out": size ** nesting + 1,
            "for-loop": size}[kind]


def definition(kind, size=LOOP_SIZE, nesting=1):
    if kind == "fan-out":
        return fan_out(size, nesting)
    return {"queue-noop": queue_noop, "for-loop": for_loop}[kind](size)


def start_input(kind, size, complexity, nesting=1):
    """What an instance starts with; complexity is bytes for each action."""
    payload = "x" * complexity
    # A for-loop spreads nothing; its steps would only walk over the items.
    items = [] if kind == "for-loop" else \
        [{"n": n, "payload": payload} if complexity else n
         for n in range(size)]
    for _ in range(nesting - 1):
        items = [items] * size
    return {"go": True, "items": items, "payload": payload}


def path(kind):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)),
                        kind + ".asl.json")


def main():
    for kind in ("queue-noop", "fan-out", "for-loop"):
        with open(path(kind), "w", encoding="utf-8") as out:
            json.dump(definition(kind), out, indent=2)
            out.write("\n")


if __name__ == "__main__":
    main()
