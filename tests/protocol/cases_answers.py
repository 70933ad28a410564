"""What answers say: errors, kinds, output, identity, later."""

import uuid

import wire
from case import case, expect, same
from watch import CAUSE_BYTES_MAX, ERROR_BYTES_MAX, KINDS_MAX


def failure(life, error, cause):
    answer = life.ask("fail", {"error": error, "cause": cause})
    same(1, answer.status, f"the status of fail {wire.short(error)}")
    return answer


@case("fail.plain", "error and cause come as the action gave them, perhaps "
      "with more behind the cause", needs=("fail",))
def plain(trial):
    life = trial.life()
    for error, cause in (("E", ""), ("My.Error", "because"),
                         ("Ünï.😀", "é\t\n\U0010ffff"),
                         ("n" * ERROR_BYTES_MAX, "c" * 4000)):
        answer = failure(life, error, cause)
        same(error, answer.error, "the error")
        same(cause, answer.cause[:len(cause)], "the beginning of its cause")


@case("fail.long-error", "an error's name of more than 128 bytes is not sent",
      needs=("fail",))
def long_error(trial):
    life = trial.life()
    for error in ("n" * 129, "n" * 5000, "é" * 65, "😀" * 40):
        answer = failure(life, error, "cause")
        size = len(answer.error.encode("utf-8", "surrogateescape"))
        expect(1 <= size <= ERROR_BYTES_MAX,
               f"the name of {len(error.encode())} bytes came as {size}")


@case("fail.empty-error", "an error has a name", needs=("fail",))
def empty_error(trial):
    answer = failure(trial.life(), "", "cause")
    expect(answer.error, "the error's name is empty")


@case("fail.long-cause", "a cause of more than 32 KiB is cut between two "
      "characters", needs=("fail",))
def long_cause(trial):
    life = trial.life()
    for char, count in (("c", 40_000), ("é", 16_385), ("😀", 8_193),
                        ("a😀", 200_000)):
        cause = char * count
        answer = failure(life, "E", cause)
        size = len(answer.cause.encode("utf-8", "surrogateescape"))
        expect(size <= CAUSE_BYTES_MAX, f"a cause of {size} bytes")
        expect(size >= 1000, f"of {len(cause.encode())} bytes {size} are left")
        # The beginning, the end or both may be what is left.
        expect(answer.cause[:100] == cause[:100]
               or answer.cause[-100:] == cause[-100:],
               f"what is left is {wire.short(answer.cause)}")


@case("fail.not-text", "an error or cause that is no Unicode is sent as "
      "valid UTF-8", needs=("bad",))
def not_text(trial):
    life = trial.life()
    answer = life.ask("bad", {"what": "error_not_text"})
    same(1, answer.status, "the status")
    for name in ("error", "cause"):
        found = getattr(answer, name)
        expect(not any("\ud800" <= c <= "\udfff" for c in found),
               f"the {name} is {wire.short(found)}")


def kinds_of(answer):
    details = answer.details if isinstance(answer.details, dict) else {}
    kinds = details.get("kinds", [])
    return kinds if isinstance(kinds, list) else []


@case("kinds.order", "the classes above an error's own, nearest first",
      needs=("raise_subclass",))
def kinds_order(trial):
    answer = trial.life().ask("raise_subclass", {"levels": 2})
    same(1, answer.status, "the status")
    kinds = kinds_of(answer)
    trial.note(f"{answer.error}, {kinds}")
    expect(answer.error.endswith("Level0"),
           f"the error is {answer.error}, not …Level0")
    ends = [name[-6:] for name in kinds]
    expect("Level1" in ends and "Level2" in ends
           and ends.index("Level1") < ends.index("Level2"),
           f"kinds are {kinds}, not …Level1, …Level2 in this order")
    expect("Level0" not in ends, f"kinds {kinds} repeat the error's own name")


@case("kinds.many", "at most 32 of them, whatever the error's ancestry",
      needs=("raise_subclass",))
def kinds_many(trial):
    answer = trial.life().ask("raise_subclass", {"levels": 60})
    same(1, answer.status, "the status")
    kinds = kinds_of(answer)
    expect(1 <= len(kinds) <= KINDS_MAX, f"{len(kinds)} kinds")
    expect(kinds[0].endswith("Level1"), f"the nearest is {kinds[0]}")


@case("output.noise", "what an action prints is no protocol",
      needs=("chatty", "echo"))
def noise(trial):
    life = trial.life()
    for text in ("plain words", "\0\0\0\6\u0015\0\0\0", "é😀 \u001b[31m"):
        same({"lines": 1}, life.result("chatty", {"text": text}), "chatty")
        life.printed(f"{text}\n")
        life.printed(f"err: {text}\n")
    same("x", life.result("echo", "x"), "echo after it")


@case("output.flood", "a lot of output, too", needs=("chatty", "echo"))
def flood(trial):
    life = trial.life()
    lines, text = 3000, "0123456789" * 10
    before = life.output.count(text.encode())
    same({"lines": lines}, life.result(
        "chatty", {"text": text, "lines": lines}), "chatty")
    life.until(lambda: life.output.count(text.encode()) - before
               == 2 * lines, "all its lines on stdout and stderr")
    life.output = b""
    same("x", life.result("echo", "x"), "echo after it")


@case("later.status", "an action that somebody else finishes is answered "
      "with status 3", needs=("later", "echo"))
def later(trial):
    life = trial.life()
    answer = life.ask("later")
    same(3, answer.status, "the status of later")
    same("x", life.result("echo", "x"), "echo after it")


def who(life, **more):
    got = life.result("whoami", {}, **more)
    expect(isinstance(got, dict), f"whoami is {wire.short(got)}")
    return got


@case("context.identity", "an action knows instance, activation, attempt and "
      "task token", needs=("whoami",))
def identity(trial):
    life = trial.life()
    for instance, activation, attempt in (
            (uuid.uuid4(), 1, 1), (uuid.UUID(int=1), 70_000, 3),
            (uuid.UUID(bytes=b"\xff" * 16), (1 << 32) - 1, 255)):
        got = who(life, instance=instance.bytes, activation=activation,
                  attempt=attempt)
        expected = {"instance": str(instance), "activation": activation,
                    "attempt": attempt,
                    "token": f"{instance}.{activation}.{attempt}"}
        for key, value in expected.items():
            same(value, got.get(key), key)


@case("context.key", "the idempotency key is of instance and activation, and "
      "of nothing else", needs=("whoami",))
def key(trial):
    life = trial.life()
    one, other = uuid.uuid4().bytes, uuid.uuid4().bytes
    first, retry, loop, elsewhere = (
        who(life, instance=i, activation=a, attempt=n).get("key")
        for i, a, n in ((one, 1, 1), (one, 1, 2), (one, 2, 1), (other, 1, 1)))
    same("str", wire.kind(first), "the type of the key")
    same(first, retry, "the key of another attempt")
    expect(len({first, loop, elsewhere}) == 3,
           f"keys that should differ: {first}, {loop}, {elsewhere}")


@case("context.deadline", "an action knows how much time is left",
      needs=("whoami",))
def deadline(trial):
    life = trial.life()
    same(None, who(life).get("remaining_ms"), "the time left without a "
         "timeout")
    for seconds in (60, 86_400 * 365):
        left = who(life, timeout_us=seconds * 1_000_000).get("remaining_ms")
        expect(wire.kind(left) in ("int", "float")
               and (seconds - 20) * 1000 <= left <= seconds * 1000 + 1,
               f"{left} ms are left of {seconds} s")
