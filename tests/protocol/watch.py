"""What must hold for every frame of every case: rules with names of their own.

A case says what it asked for; a rule looks at everything that was said. So a
worker that answers twice fails one rule, not fifty cases.
"""

import wire

ERROR_BYTES_MAX, CAUSE_BYTES_MAX = 128, 32 << 10
DETAILS_BYTES_MAX, KINDS_MAX = 16 << 10, 32
PROGRESS_BYTES_MAX, HEARTBEAT_BYTES_MAX = 4 << 10, 64 << 10

RULES = {
    "always.frames": "every frame is one array of five, with nothing left "
                     "over, in valid UTF-8",
    "always.types": "a worker sends HELLO, COMPLETION and HEARTBEAT only",
    "always.name": "every frame carries the worker's own slot and spawn",
    "always.count": "the header's count is the number of items",
    "always.hello-once": "HELLO is said once in a life",
    "always.shape": "an answer is one of the four forms of section 3",
    "always.known": "answers are given under tokens that were sent",
    "always.once": "a token is answered once",
    "always.identity": "an answer's first four parts are those of the item",
    "always.run-us": "run_us is how long the action can have run",
    "always.result": "a result is a value as JSON can say it, of at most "
                     "1 MiB",
    "always.error": "an error's name has 1 to 128 bytes, its cause at most "
                    "32 KiB",
    "always.details": "the last part of an answer is a map of at most 16 KiB "
                      "with kinds, usage and log as described",
    "always.heartbeats": "a heartbeat is [token, progress] of an action that "
                         "runs, progress at most 4 KiB, a frame 64 KiB",
}


class Watch:
    def __init__(self):
        self.seen = dict.fromkeys(RULES, 0)
        self.broken = {name: [] for name in RULES}
        self.where = ""

    def check(self, rule, fine, text):
        """`text` is what was found, or a function that says it."""
        self.seen[rule] += 1
        if not fine and len(self.broken[rule]) < 5:
            said = text() if callable(text) else text
            self.broken[rule].append(f"{said} (in {self.where})")
        return fine

    def frame(self, life, frame):
        self.check("always.frames", not frame.problems,
                   lambda: "; ".join(frame.problems[:3]))
        self.check("always.types", frame.type in (
            wire.HELLO, wire.COMPLETION, wire.HEARTBEAT),
            f"a frame of type {wire.short(frame.type)}")
        self.check("always.name",
                   wire.kind(frame.slot) == wire.kind(frame.spawn) == "int"
                   and (frame.slot, frame.spawn) == (life.slot, life.spawn),
                   f"slot {frame.slot} and spawn {frame.spawn}, not "
                   f"{life.slot} and {life.spawn}")

    def count(self, frame, name):
        fine = isinstance(frame.payload, list) and \
            wire.is_uint(frame.count) and frame.count == len(frame.payload)
        self.check("always.count", fine, lambda: (
            f"{name} says {wire.short(frame.count)} and holds "
            f"{len(frame.payload)} items"
            if isinstance(frame.payload, list) else
            f"the payload of {name} is no array: "
            f"{wire.short(frame.payload)}"))
        return frame.payload if isinstance(frame.payload, list) else []

    def shape(self, life, parts):
        """Whether an answer can be read at all."""
        def bad(text):
            return self.check("always.shape", False,
                              f"{text}: {wire.short(parts)}")
        if not isinstance(parts, list) or len(parts) < 6:
            return bad("no array of at least six parts")
        if not all(wire.is_uint(parts[i]) for i in (0, 2, 3, 4, 5)):
            return bad("token, activation, attempt, status or run_us is no "
                       "unsigned integer")
        if wire.kind(parts[1]) != "bytes":
            return bad("the instance is no bin")
        sizes = {0: 7, 1: 8, 2: 6, 3: 6}
        if parts[4] not in sizes:
            return bad(f"status {parts[4]}")
        least = sizes[parts[4]]
        if len(parts) not in (least, least + 1):
            return bad(f"{len(parts)} parts with status {parts[4]}")
        if parts[4] == 1 and not (wire.kind(parts[6]) == "str"
                                  and wire.kind(parts[7]) == "str"):
            return bad("error or cause is no string")
        if parts[4] == 2 and life.hello.get("recall") is not True:
            return bad("status 2 from a worker that says no recall")
        return self.check("always.shape", True, "")

    def answer(self, item, answer, now):
        """Of a well-formed answer under a token that was sent."""
        sent = [item.token, item.instance, item.activation, item.attempt]
        self.check("always.identity", answer.parts[:4] == sent, lambda: (
            f"{wire.short(answer.parts[:4])}, not {wire.short(sent)}"))
        most = (now - item.sent_at) * 1e6 + 10_000
        self.check("always.run-us", answer.run_us <= most,
                   f"{answer.run_us} µs of an action that was sent "
                   f"{most:.0f} µs ago")
        if answer.status == 0:
            found = wire.flaw(answer.result)
            if found is None and answer.frame_bytes > wire.VALUE_BYTES_MAX:
                size = len(wire.pack(answer.result))
                if size > wire.VALUE_BYTES_MAX:
                    found = f"{size} bytes"
            self.check("always.result", found is None,
                       f"the result of {item.action} holds {found}")
        elif answer.status == 1:
            name, cause = (len(text.encode("utf-8", "surrogateescape"))
                           for text in (answer.error, answer.cause))
            self.check("always.error", 1 <= name <= ERROR_BYTES_MAX
                       and cause <= CAUSE_BYTES_MAX,
                       f"a name of {name} bytes, a cause of {cause}")
        if answer.details is not None:
            self.details(answer.details)

    def details(self, details):
        found = None
        if not isinstance(details, dict):
            found = f"no map: {wire.short(details)}"
        elif len(wire.pack(details)) > DETAILS_BYTES_MAX:
            found = f"{len(wire.pack(details))} bytes"
        else:
            kinds = details.get("kinds", [])
            usage = details.get("usage", {})
            if not isinstance(kinds, list) or len(kinds) > KINDS_MAX:
                found = f"kinds {wire.short(kinds)}"
            elif not all(wire.kind(name) == "str" and 1 <= len(
                    name.encode("utf-8", "surrogateescape"))
                    <= ERROR_BYTES_MAX for name in kinds):
                found = f"a kind that is no name: {wire.short(kinds)}"
            elif not isinstance(usage, dict) or not all(
                    wire.kind(key) == "str"
                    and wire.kind(number) in ("int", "float")
                    for key, number in usage.items()):
                found = f"usage {wire.short(usage)}"
            elif wire.kind(details.get("log", "")) != "str":
                found = f"log {wire.short(details['log'])}"
        self.check("always.details", found is None, found)

    def heartbeat(self, life, frame, beat):
        found = None
        if not isinstance(beat, list) or len(beat) != 2 \
                or not wire.is_uint(beat[0]):
            found = f"no [token, progress]: {wire.short(beat)}"
        elif beat[0] not in life.items:
            found = f"token {beat[0]} was never sent"
        elif beat[0] in life.answers:
            found = f"token {beat[0]} was answered already"
        elif wire.flaw(beat[1]) is not None:
            found = f"progress holds {wire.flaw(beat[1])}"
        elif len(wire.pack(beat[1])) > PROGRESS_BYTES_MAX:
            found = f"progress of {len(wire.pack(beat[1]))} bytes"
        elif frame.bytes > HEARTBEAT_BYTES_MAX:
            found = f"a frame of {frame.bytes} bytes"
        return self.check("always.heartbeats", found is None, found)
