"""Work that keeps a pool busy and whose outcome can be computed."""

import json

ITEMS = 4
STATES = {"First": ITEMS, "Nap": 1, "Second": ITEMS, "Last": 1}
# What depends on what, by the names that oracleworker.py serves.
STAGES = ("first", "nap", "second", "last")


def _task(resource, attempts):
    # A killed worker costs its action an attempt; nothing else should.
    return {"Type": "Task", "Resource": resource, "End": True,
            "Retry": [{"ErrorEquals": ["States.TaskFailed"],
                       "IntervalSeconds": 1, "BackoffRate": 1.0,
                       "MaxAttempts": attempts}]}


def _map(items, state, task, result, following):
    return {"Type": "Map", "ItemsPath": items,
            "ItemProcessor": {"StartAt": state, "States": {state: task}},
            "ResultPath": result, "Next": following}


def fan_out(oracle=False, attempts=50):
    """Two Maps over Tasks with a short sleep between them, and a join."""
    first, nap, second, last = STAGES if oracle else (
        "echo", "sleep", "echo", "echo")
    napping = dict(_task(nap, attempts), Parameters={"seconds.$": "$.nap"},
                   ResultPath=None, Next="SecondMap")
    joining = dict(_task(last, attempts),
                   Parameters={"n.$": "$.n", "values.$": "$.second"})
    del napping["End"]
    return {"StartAt": "FirstMap", "States": {
        "FirstMap": _map("$.items", "First", _task(first, attempts),
                         "$.first", "Nap"),
        "Nap": napping,
        "SecondMap": _map("$.first", "Second", _task(second, attempts),
                          "$.second", "Last"),
        "Last": joining}}


def fan_out_input(n, nap):
    return {"n": n, "nap": nap, "items": [f"{n}-{k}" for k in range(ITEMS)]}


def fan_out_output(given):
    return {"n": given["n"], "values": given["items"]}


def task(resource, **fields):
    """A workflow of one Task."""
    return {"StartAt": "Only", "States": {"Only": dict(
        {"Type": "Task", "Resource": resource, "End": True}, **fields)}}


class Load:
    """Instances of "fan-out": so many are open at any time."""

    def __init__(self, connection, nap=0.02):
        self.connection = connection
        self.nap = nap
        self.given = 0

    def open_count(self):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM rappel.workflow_instances"
                           " WHERE status IN ('queued', 'waiting',"
                           " 'running', 'blocked')")
            return cursor.fetchone()[0]

    def top_up(self, wanted):
        missing = wanted - self.open_count()
        if missing <= 0:
            return
        inputs = [json.dumps(fan_out_input(self.given + k, self.nap))
                  for k in range(missing)]
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM rappel.start_workflows("
                           "'fan-out', %s::json[])", (inputs,))
        self.given += missing
