"""A small reference interpreter of the states language: the fold, once more.

Written from the language's specification and engine/README.md, for what the
fault load uses: Task, Pass, Choice, Map, Parallel, Wait, Succeed and Fail,
Retry and Catch, InputPath, OutputPath, ResultPath, ResultSelector and
Parameters with reference paths, tasks that somebody finishes under their
token. What it does not know raises Unsupported; an event that cannot have
happened raises Illegal.

    run = Run(definition, input, started_us)
    run.apply(entry) for each entry of the journal, in order
    run.wanted    activation: Wanted, what is waited for
    run.status    None while it runs, then as in the database
"""

import copy
import json
import re
import sys

sys.setrecursionlimit(20000)

SUCCEEDED, FAILED, FIRED, CANCELLED, LOST, PENDING, HEARTBEAT = range(1, 8)
NEVER = float("inf")
TOKEN = "$$.Task.Token"
SUFFIX = ".waitForTaskToken"
POISON_DEATHS = 3  # workers that died of one Task
KNOWN_FIELDS = {
    "Comment", "Type", "Next", "End", "InputPath", "OutputPath", "ResultPath",
    "ResultSelector", "Parameters", "Result", "Resource", "TimeoutSeconds",
    "HeartbeatSeconds", "Retry", "Catch", "Choices", "Default", "Seconds",
    "SecondsPath", "Branches", "ItemsPath", "ItemProcessor", "Iterator",
    "ItemSelector", "MaxConcurrency", "ToleratedFailureCount", "Error",
    "Cause"}


SECONDS_MAX = 99999999
HOPS_MAX = 10000  # states that a branch enters without an event


class Unsupported(Exception):
    """Correct perhaps, but beyond what this interpreter knows."""


class Illegal(Exception):
    """No correct execution has this event here."""


class Failure(Exception):
    """An error of the language, on its way to Retry and Catch."""

    def __init__(self, name, cause=None, poison=False, kinds=()):
        super().__init__(name)
        self.name, self.cause = name, cause
        self.kinds = kinds  # what it counts as, too
        self.poison = poison  # it kills workers: no Retry


class Wanted:
    """Something outside is waited for: an action, a timer, or somebody who
    finishes a pending attempt."""

    def __init__(self, branch, kind, due_us):
        self.branch, self.kind, self.due_us = branch, kind, due_us
        self.state = branch.state
        self.index = branch.index
        self.attempt = branch.attempt if kind in ("action", "pending") else 0
        # The entries that had been applied when it became wanted, and this
        # attempt of it: what must be durable before it begins.
        self.after = branch.run.applied
        self.action = branch.states[branch.state]["Resource"].removesuffix(
            SUFFIX) if kind == "action" else None
        self.input = None


# ---- paths ----

STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]"
                  r"|\['([^'\\]*)'\]")


def steps(path):
    if not path.startswith("$") or path.startswith("$$"):
        raise Unsupported(f"path {path}")
    found, at = [], 1
    while at < len(path):
        match = STEP.match(path, at)
        if match is None:
            raise Unsupported(f"path {path}")
        name, number, quoted = match.groups()
        found.append(int(number) if number is not None
                     else name if name is not None else quoted)
        at = match.end()
    return found


def select(path, value, error="States.Runtime"):
    for step in steps(path):
        try:
            if isinstance(step, int) != isinstance(value, list):
                raise KeyError(step)
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise Failure(error) from None
    return value


def finds(path, value):
    try:
        select(path, value)
    except Failure:
        return False
    return True


def place(path, value, result):
    """value with result at path, made where there is nothing."""
    parts = steps(path)
    if not parts:
        return result
    root = copy.deepcopy(value)
    at = root
    for n, step in enumerate(parts):
        last = n == len(parts) - 1
        if isinstance(step, int) and isinstance(at, list) and step < len(at):
            at[step] = result if last else at[step]
        elif isinstance(step, str) and isinstance(at, dict):
            at[step] = result if last else at.get(step, {})
        else:
            raise Failure("States.ResultPathMatchFailure")
        at = at[step]
    return root


def fill(template, value, token=None):
    """A template such as Parameters: members "name.$" are paths."""
    if isinstance(template, list):
        return [fill(part, value, token) for part in template]
    if not isinstance(template, dict):
        return template
    made = {}
    for key, part in template.items():
        if not key.endswith(".$"):
            made[key] = fill(part, value, token)
        elif part == TOKEN and token is not None:
            made[key[:-2]] = token
        elif isinstance(part, str) and part.startswith("$"):
            made[key[:-2]] = select(part, value,
                                    "States.ParameterPathFailure")
        else:
            raise Unsupported(f"template {part!r}")
    return made


# ---- choices and errors ----

NUMERIC = {"Equals": lambda a, b: a == b, "LessThan": lambda a, b: a < b,
           "GreaterThan": lambda a, b: a > b,
           "LessThanEquals": lambda a, b: a <= b,
           "GreaterThanEquals": lambda a, b: a >= b}


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def holds(rule, value):
    if "Not" in rule:
        return not holds(rule["Not"], value)
    if "And" in rule:
        return all(holds(part, value) for part in rule["And"])
    if "Or" in rule:
        return any(holds(part, value) for part in rule["Or"])
    (name, wanted), = [(k, v) for k, v in rule.items()
                       if k not in ("Variable", "Next", "Comment")]
    if name == "IsPresent":
        return finds(rule["Variable"], value) == wanted
    found = select(rule["Variable"], value)
    if name == "IsNull":
        return (found is None) == wanted
    if name == "BooleanEquals":
        return isinstance(found, bool) and found == wanted
    for kind, fits in (("Numeric", is_number),
                       ("String", lambda v: isinstance(v, str))):
        if name.startswith(kind) and name[len(kind):] in NUMERIC:
            return fits(found) and NUMERIC[name[len(kind):]](found, wanted)
    raise Unsupported(f"comparison {name}")


def matches(names, why):
    error = why.name
    never = error in ("States.Runtime", "States.DataLimitExceeded")
    timeout = error in ("States.Timeout", "States.HeartbeatTimeout")
    return (error in names or
            any(kind in names for kind in why.kinds) or
            ("States.ALL" in names and not never) or
            ("States.TaskFailed" in names and not never and not timeout) or
            ("States.Timeout" in names and timeout))


# ---- the instance ----

class Spread:
    """One entry into a Map or Parallel, and the branches inside."""

    def __init__(self, owner, starts, limit, tolerated):
        self.owner, self.starts = owner, starts
        self.limit, self.tolerated = limit or len(starts), tolerated
        self.outputs = [None] * len(starts)
        self.inside = []
        self.begun = self.ended = self.failed = 0
        self.dead = self.beginning = False

    def begin(self):
        """As many as may run at once; the innermost goes first."""
        if self.beginning:
            return
        self.beginning = True
        while (not self.dead and self.begun < len(self.starts) and
               len(self.inside) < self.limit):
            states, state, make = self.starts[self.begun]
            self.begun += 1
            try:
                value = make()
            except Failure as why:
                self.abandon()
                self.owner.failed(why)
                break
            branch = Branch(self.owner.run, states, state, value, self,
                            self.begun - 1)
            self.inside.append(branch)
            branch.go()
        self.beginning = False

    def branch_ended(self, branch, output):
        self.inside.remove(branch)
        self.outputs[branch.index] = output
        self.ended += 1
        if self.ended == len(self.starts):
            self.dead = True
            self.owner.joined(self.outputs)
        else:
            self.begin()

    def branch_failed(self, branch, why):
        if self.tolerated is not None:
            self.failed += 1
            if self.failed <= self.tolerated:
                self.branch_ended(branch, {"Error": why.name,
                                           "Cause": why.cause or ""})
                return
            why = Failure("States.ExceedToleratedFailureThreshold")
        self.abandon()
        self.owner.failed(why)

    def abandon(self):
        self.dead = True
        for branch in self.inside:
            branch.dead = True
            branch.unwant()
            if branch.spread is not None:
                branch.spread.abandon()
        self.inside = []


class Branch:
    """One place at which the instance is."""

    def __init__(self, run, states, state, value, parent=None, index=None):
        self.run, self.states, self.state = run, states, state
        self.raw, self.parent, self.index = value, parent, index
        self.activation = None
        self.spread = None
        self.dead = False
        self.enter_state(state, value)

    def enter_state(self, state, value):
        self.state, self.raw = state, value
        self.attempt = self.deaths = 0
        self.used, self.delays = {}, {}
        self.spread = None

    @property
    def fields(self):
        return self.states[self.state]

    def want(self, kind, due_us=0):
        self.run.activations += 1
        self.activation = self.run.activations
        self.run.wanted[self.activation] = Wanted(self, kind, due_us)
        return self.run.wanted[self.activation]

    def unwant(self):
        if self.activation is not None:
            del self.run.wanted[self.activation]
            self.activation = None

    def go(self):
        """Through states until it waits, ends or fails."""
        hops = 0
        while self.step():
            hops += 1
            if hops == HOPS_MAX:
                raise Unsupported("loops without an event")

    def step(self):
        fields = self.fields
        unknown = set(fields) - KNOWN_FIELDS
        if unknown:
            raise Unsupported(f"field {sorted(unknown)[0]}")
        self.attempt += 1
        try:
            return self.enter(fields, fields["Type"])
        except Failure as why:
            return self.fail(why)

    def selected(self):
        path = self.fields.get("InputPath", "$")
        return {} if path is None else select(path, self.raw)

    def payload(self, value):
        if "Parameters" in self.fields:
            return fill(self.fields["Parameters"], value, self.token())
        return value

    def token(self):
        """Of the attempt that is wanted, or is about to be."""
        if self.fields["Type"] != "Task" or self.run.id is None:
            return None
        activation = self.activation or self.run.activations + 1
        return f"{self.run.id}.{activation}.{self.attempt}"

    def enter(self, fields, kind):
        """True when it goes on at once in another state."""
        if kind == "Fail":
            raise Failure(fields.get("Error", ""), fields.get("Cause"))
        value = self.selected()
        if kind == "Succeed":
            return self.leave(value)
        if kind == "Pass":
            return self.result(copy.deepcopy(fields["Result"])
                               if "Result" in fields
                               else self.payload(value))
        if kind == "Choice":
            for rule in fields["Choices"]:
                if holds(rule, value):
                    return self.leave(value, rule["Next"])
            if "Default" not in fields:
                raise Failure("States.NoChoiceMatched")
            return self.leave(value, fields["Default"])
        if kind == "Task":
            made = self.payload(value)
            self.want("action").input = made
        elif kind == "Wait":
            self.waited = value
            seconds = fields.get("Seconds")
            if seconds is None:
                if "SecondsPath" not in fields:
                    raise Unsupported("Wait for a timestamp")
                seconds = select(fields["SecondsPath"], value)
                if not is_number(seconds) or seconds != int(seconds) or \
                        not 0 <= seconds <= SECONDS_MAX:
                    raise Failure("States.Runtime")
            self.want("timer", self.run.now_us + int(seconds) * 1000000)
        else:
            self.enter_spread(fields, value)
        return False

    def enter_spread(self, fields, value):
        if fields["Type"] == "Parallel":
            given = self.payload(value)
            starts = [(part["States"], part["StartAt"],
                       lambda: given) for part in fields["Branches"]]
            self.spread = Spread(self, starts, None, None)
        else:
            items = select(fields.get("ItemsPath", "$"), value)
            if not isinstance(items, list):
                raise Failure("States.Runtime")
            inner = fields.get("ItemProcessor") or fields["Iterator"]
            selector = fields.get("ItemSelector", fields.get("Parameters"))
            if not items:
                self.go_on(self.result, [])
                return
            starts = [(inner["States"], inner["StartAt"],
                       (lambda v=item: v) if selector is None
                       else lambda: fill(selector, value))
                      for item in items]
            self.spread = Spread(self, starts, fields.get("MaxConcurrency"),
                                 fields.get("ToleratedFailureCount"))
        self.spread.begin()

    # ---- leaving ----

    def go_on(self, how, value):
        """how(value), one of result and leave, then on; outside of go()."""
        try:
            on = how(value)
        except Failure as why:
            on = self.fail(why)
        if on:
            self.go()

    def result(self, value):
        fields = self.fields
        if "ResultSelector" in fields:
            value = fill(fields["ResultSelector"], value)
        path = fields.get("ResultPath", "$")
        return self.leave(self.raw if path is None
                          else place(path, self.raw, value))

    def leave(self, value, following=None):
        fields = self.fields
        path = fields.get("OutputPath", "$")
        value = {} if path is None else select(path, value)
        return self.move(following or fields.get("Next"), value)

    def move(self, following, value):
        self.unwant()
        if following is not None:
            self.enter_state(following, value)
            return True
        if self.parent is not None:
            self.parent.branch_ended(self, value)
        else:
            self.run.end("succeeded", output=value)
        return False

    def joined(self, outputs):
        self.spread = None
        self.go_on(self.result, outputs)

    # ---- failing ----

    def failed(self, why):
        """Outside of go()."""
        self.spread = None
        if self.fail(why):
            self.go()

    def fail(self, why):
        """True when Catch leads on at once."""
        fields = self.fields
        for n, retrier in enumerate(fields.get("Retry", ())):
            if not why.poison and matches(retrier["ErrorEquals"], why):
                if self.used.get(n, 0) < retrier.get("MaxAttempts", 3):
                    self.again(n, retrier)
                    return False
                break
        for catcher in fields.get("Catch", ()):
            if matches(catcher["ErrorEquals"], why):
                path = catcher.get("ResultPath", "$")
                output = {"Error": why.name, "Cause": why.cause or ""}
                if path is None:
                    output = self.raw
                else:
                    try:
                        output = place(path, self.raw, output)
                    except Failure as other:
                        why = other
                        break
                return self.move(catcher["Next"], output)
        self.unwant()
        if self.parent is not None:
            self.parent.branch_failed(self, why)
        else:
            self.run.end("failed", error=why.name, cause=why.cause)
        return False

    def again(self, n, retrier):
        self.used[n] = self.used.get(n, 0) + 1
        delay = retrier.get("IntervalSeconds", 1) if n not in self.delays \
            else self.delays[n] * retrier.get("BackoffRate", 2.0)
        delay = min(delay, retrier.get("MaxDelaySeconds", delay))
        self.delays[n] = delay
        if retrier.get("JitterStrategy", "NONE") != "NONE":
            delay = 0  # anything up to it
        due_us = self.run.now_us + int(delay * 1000000)
        if self.activation is None:
            self.want("delay", due_us)
            return
        # A Task's next attempt has the same id.
        old = self.run.wanted[self.activation]
        self.attempt += 1
        again = Wanted(self, "action", due_us)
        again.input = old.input
        if TOKEN in json.dumps(self.fields.get("Parameters")):
            again.input = self.payload(self.selected())
        self.run.wanted[self.activation] = again


class Run:
    """One instance. Without its id there are no task tokens."""

    def __init__(self, definition, value, started_us, instance=None):
        self.definition = definition
        self.id = instance
        self.now_us = started_us
        self.applied = 0      # entries
        self.activations = 0  # the last id given
        self.wanted = {}
        self.status = None
        self.output = self.error = self.cause = None
        self.timer_us = None
        if "TimeoutSeconds" in definition:
            self.timer_us = started_us + \
                int(definition["TimeoutSeconds"] * 1000000)
        if definition.get("QueryLanguage", "JSONPath") != "JSONPath":
            raise Unsupported("JSONata")
        root = Branch(self, definition["States"], definition["StartAt"],
                      value)
        root.go()

    def end(self, status, output=None, error=None, cause=None):
        self.status = status
        self.output, self.error, self.cause = output, error, cause
        self.wanted = {}

    def apply(self, kind, at_us, activation, attempt, state, index, value,
              cause, extra=None, run_us=0):
        """One entry; state by its name. Raises Illegal."""
        if self.status is not None:
            raise Illegal(f"the instance had ended as {self.status}")
        self.now_us = at_us
        self.applied += 1
        if kind == CANCELLED:
            self.end("cancelled", cause=cause)
            return
        if kind == FIRED and activation == 0:
            if self.timer_us is None or at_us < self.timer_us:
                raise Illegal("the workflow's own timer was not due")
            self.end("timed_out", error="States.Timeout")
            return
        wanted = self.wanted.get(activation)
        if not SUCCEEDED <= kind <= HEARTBEAT:
            raise Illegal(f"an entry of kind {kind}")
        if wanted is None:
            raise Illegal(f"action {activation} was not wanted")
        if (state, index) != (wanted.state, wanted.index):
            raise Illegal(f"action {activation} is {wanted.state} "
                          f"[{wanted.index}], not {state} [{index}]")
        if wanted.kind not in {FIRED: ("timer", "delay", "pending"),
                               LOST: ("action",), PENDING: ("action",),
                               }.get(kind, ("action", "pending")):
            raise Illegal(f"action {activation} waits for a {wanted.kind}")
        branch = wanted.branch
        if attempt != wanted.attempt:
            raise Illegal(f"action {activation} was at attempt "
                          f"{wanted.attempt}, not {attempt}")
        if kind == FIRED:
            if at_us < wanted.due_us:
                raise Illegal(f"timer {activation} fired "
                              f"{wanted.due_us - at_us} µs too early")
            if wanted.kind == "pending":
                branch.failed(Failure(wanted.error))
                return
            branch.unwant()
            if wanted.kind == "delay":
                branch.go()
            else:
                branch.go_on(branch.leave, branch.waited)
            return
        if kind in (PENDING, HEARTBEAT):
            if kind == PENDING or wanted.kind == "pending":
                self.pending(wanted, at_us, at_us - (run_us or 0)
                             if kind == PENDING else wanted.began_us)
            return
        if kind == SUCCEEDED:
            # Retry of what fails here, such as ResultPath, is the Task's.
            branch.go_on(branch.result, value)
            return
        kinds = (extra or {}).get("kinds")
        why = Failure(value, cause,
                      kinds=kinds if isinstance(kinds, list) else ())
        if kind == LOST:
            branch.deaths += 1
            if branch.deaths >= POISON_DEATHS:
                why = Failure("Rappel.Poison", cause, True)
        branch.failed(why)


    def pending(self, wanted, at_us, began_us):
        """Waits for somebody from now on, or again: he was heard of."""
        fields = wanted.branch.fields
        limits = [(start + int(fields[name] * 1000000), error)
                  for name, start, error in (
                      ("TimeoutSeconds", began_us, "States.Timeout"),
                      ("HeartbeatSeconds", at_us, "States.HeartbeatTimeout"))
                  if name in fields]
        again = Wanted(wanted.branch, "pending", NEVER)
        again.input, again.began_us = wanted.input, began_us
        again.due_us, again.error = min(limits, key=lambda limit: limit[0],
                                        default=(NEVER, None))
        self.wanted[wanted.branch.activation] = again


def canonical(value):
    """One text for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True,
                      separators=(",", ":"))
