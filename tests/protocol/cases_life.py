"""Beginning and end of a worker's life: HELLO, DRAIN, end of file, signals."""

import os
import signal
import socket
import time

import wire
from case import Skip, case, expect, same
from life import Fail

EOF_SECONDS = 0.2


@case("life.hello-first", "the first frame is HELLO, within 5 s, unasked")
def hello_first(trial):
    life = trial.ready()
    same(1, life.hello_number, "HELLO is frame number")
    took = life.hello_at - life.started_at
    expect(took < 5, f"HELLO came after {took:.1f} s")


@case("life.hello-keys", "HELLO has the keys of section 3, with their types")
def hello_keys(trial):
    life = trial.ready()
    hello = life.hello
    frame = life.hello_frame
    expect(isinstance(frame.payload, dict),
           f"HELLO's payload is no map: {wire.short(frame.payload)}")
    same(0, frame.count, "HELLO's count, since it holds no items")
    same(1, hello.get("protocol"), "protocol")
    same(life.pid, hello.get("pid"), "pid")
    actions = hello.get("actions")
    expect(isinstance(actions, list) and actions and all(
        wire.kind(a) == "str" and a for a in actions)
        and len(set(actions)) == len(actions),
        f"actions is no array of different names: {wire.short(actions)}")
    window, at_once = hello.get("window"), hello.get("concurrency", 1)
    for name, number in (("window", window), ("concurrency", at_once)):
        expect(wire.is_uint(number, 1024) and number >= 1,
               f"{name} is no integer from 1 to 1024: {wire.short(number)}")
    for name in ("scoreboard", "recall", "cancel"):
        expect(wire.kind(hello.get(name, False)) == "bool",
               f"{name} is no boolean: {wire.short(hello.get(name))}")
    claims, recalls = hello.get("scoreboard"), hello.get("recall")
    expect(not (claims and recalls), "it says both scoreboard and recall")
    expect(not claims or at_once == 1,
           f"with scoreboard concurrency is 1, not {at_once}")
    expect(claims or recalls or window <= at_once,
           f"without scoreboard and recall window ({window}) is not more "
           f"than concurrency ({at_once})")
    if "language" in hello:
        same("str", wire.kind(hello["language"]), "the type of language")


@case("life.slot-and-spawn", "it takes slot and spawn from its environment",
      needs=("echo",))
def slot_and_spawn(trial):
    life = trial.ready(slot=65535, spawn=4294967295)
    same((65535, 4294967295),
         (life.hello_frame.slot, life.hello_frame.spawn), "slot and spawn")
    same("x", life.result("echo", "x"), "echo")


@case("life.concurrency", "RAPPEL_CONCURRENCY is how many it runs at once")
def concurrency(trial):
    usual = trial.hello.get("concurrency", 1)
    for asked in (1, 3):
        life = trial.ready(environment={"RAPPEL_CONCURRENCY": str(asked)})
        said = life.hello.get("concurrency", 1)
        expect(said == asked or usual == said == 1,
               f"with RAPPEL_CONCURRENCY={asked} HELLO says concurrency "
               f"{said}")
        if said != asked:
            trial.note("runs one at a time, whatever it is asked for")


@case("life.no-scoreboard", "without descriptor 4 it says no scoreboard, "
      "and works", needs=("echo",))
def no_scoreboard(trial):
    life = trial.ready(board=False)
    expect(life.hello.get("scoreboard") is not True,
           "it says scoreboard, and was given none")
    same([1, 2], [life.result("echo", n) for n in (1, 2)], "echo")


@case("life.unable", "a worker that cannot serve says why in its last line "
      "and exits with 78")
def unable(trial):
    if trial.unable is None:
        raise Skip("no --unable-with was given")
    life = trial.fresh(program=trial.program + [trial.unable])
    life.wait_end()
    same(78, life.exit_code(), "the exit status")
    expect(not life.hello, "it said HELLO")
    expect(life.output.strip(), "it said nothing on stderr")


def one_line(life):
    """That it printed one line, for a person."""
    lines = life.output.decode("utf-8", "replace").splitlines()
    expect(len(lines) == 1 and lines[0].strip(),
           f"expected one line on stderr, got {len(lines)}: "
           f"{wire.short(life.output.decode('utf-8', 'replace'))}")


def ends_well(life, seconds):
    life.wait_end(seconds)
    same(0, life.exit_code(), f"the exit status ({life.exited()}"
         f"{life.said()})")


@case("drain.idle", "DRAIN while nothing runs: it exits with 0")
def drain_idle(trial):
    life = trial.ready()
    life.drain()
    ends_well(life, 2 * trial.slow)


@case("drain.busy", "DRAIN while it runs something: it finishes all it "
      "holds, answers, and exits with 0", needs=("sleep", "echo"))
def drain_busy(trial):
    life = trial.ready()
    running = life.dispatch(life.item("sleep", {"ms": 150})
                            for _ in range(life.concurrency))
    rest = life.dispatch(life.item("echo", n) for n in range(
        min(20, life.window - len(running))))
    life.wait_read()
    life.drain()
    life.got(running + rest)
    ends_well(life, 2 * trial.slow)


@case("drain.glued", "DRAIN right behind a DISPATCH, in one piece",
      needs=("echo",))
def drain_glued(trial):
    life = trial.ready()
    items = [life.item("echo", n) for n in range(min(100, life.window))]
    life.send(life.dispatch_frame(items)
              + life.frame(wire.DRAIN, 0, wire.pack(None)))
    life.got(items)
    ends_well(life, 2 * trial.slow)


@case("drain.unread", "it does not exit before its answers are all written",
      needs=("echo",))
def drain_unread(trial):
    life = trial.ready()
    big = "x" * 700_000
    items = [life.item("echo", big) for _ in range(min(4, life.window))]
    life.reading = False
    life.send(life.dispatch_frame(items)
              + life.frame(wire.DRAIN, 0, wire.pack(None)))
    life.wait_read()
    life.quiet(0.15)
    life.reading = True
    for answer in life.got(items):
        same(0, answer.status, "the status of echo")
        expect(answer.result == big, "echo came back changed")
    ends_well(life, 2 * trial.slow)


def eof_within(trial, prepare, what):
    """How long it lives on after the supervisor closed the socket."""
    def measure():
        life = trial.ready()
        prepare(life)
        closed = time.monotonic()
        life.hang_up()
        try:
            return life.wait_end(3 * trial.slow) - closed
        except Fail:
            raise Fail(f"{what}: it still runs 3 s after the end of "
                       "file") from None
    trial.measured(EOF_SECONDS, measure, what, times=1)


@case("eof.idle", "end of file while nothing runs: it exits within 200 ms")
def eof_idle(trial):
    eof_within(trial, lambda life: None, "exit")


@case("eof.busy", "end of file while actions run: it exits within 200 ms",
      needs=("sleep",))
def eof_busy(trial):
    def prepare(life):
        life.dispatch(life.item("sleep", {"ms": 20_000})
                      for _ in range(life.concurrency))
        life.wait_read()
        life.quiet(0.03)
    eof_within(trial, prepare, "exit while it sleeps")


@case("eof.block", "end of file while an action lets nothing else run",
      needs=("block",), says=("recall",))
def eof_block(trial):
    def prepare(life):
        life.start_one("block", {"ms": 20_000})
        life.wait_read()
        life.quiet(0.05)
    eof_within(trial, prepare, "exit while it is blocked")


@case("eof.half-frame", "end of file in the middle of a frame")
def eof_half(trial):
    def prepare(life):
        life.send(life.dispatch_frame([life.item("echo", "x" * 500)])[:200])
        life.wait_read()
    eof_within(trial, prepare, "exit after half a frame")


@case("eof.shut", "end of file of one direction only, by shutdown(2)")
def eof_shut(trial):
    life = trial.ready()
    shut = time.monotonic()
    life.socket.shutdown(socket.SHUT_WR)
    took = life.wait_end(3 * trial.slow) - shut
    expect(took < 1 * trial.slow, f"it lived on for {took:.2f} s")


@case("eof.unread", "end of file while it writes answers that nobody reads",
      needs=("echo",))
def eof_unread(trial):
    def prepare(life):
        life.reading = False
        life.dispatch(life.item("echo", "x" * 700_000)
                      for _ in range(min(3, life.window)))
        life.wait_read()
        life.quiet(0.05)
    eof_within(trial, prepare, "exit with answers unread")


def ends_by_term(trial, prepare):
    life = trial.ready()
    prepare(life)
    asked = time.monotonic()
    os.kill(life.pid, signal.SIGTERM)
    took = life.wait_end(3 * trial.slow) - asked
    expect(took < 1 * trial.slow, f"it lived on for {took:.2f} s after "
           "SIGTERM; SIGKILL comes after 1 s")
    expect(not life.died_of_a_bug(), life.exited)


@case("signal.term-idle", "SIGTERM: it is gone before SIGKILL comes, a "
      "second later")
def term_idle(trial):
    ends_by_term(trial, lambda life: None)


@case("signal.term-busy", "SIGTERM while an action runs", needs=("sleep",))
def term_busy(trial):
    """One that ends when it is cancelled, if there is one: whoever waits for
    it is as good as who does not."""
    served = "until_cancelled" in trial.hello["actions"]

    def prepare(life):
        life.start_one("until_cancelled" if served else "sleep",
                       {"ms": 20_000})
        life.wait_read()
        life.quiet(0.03)
    ends_by_term(trial, prepare)


@case("signal.crash", "an action that kills its process: it is not answered, "
      "and no frame is left half", needs=("crash", "echo"))
def crash(trial):
    life = trial.ready()
    before = life.start_one("echo", "before")
    life.got([before])
    killer = life.start_one("crash")
    life.wait_end()
    life.until(lambda: life.eof, "the end of its socket")
    expect(killer.token not in life.answers, "crash was answered")
    same(b"", bytes(life.incoming), "what is left of its last frame")
    expect(life.exit_code() != 0, f"a crash is no good end: {life.exited()}")
