"""RECALL, CANCEL and heartbeats: what is said of an action while it runs."""

import time

import wire
from case import Skip, case, expect, same
from cases_dispatch import all_ok

RECALL_SECONDS, CANCEL_SECONDS = 0.05, 1.0


def full(life, ms, action="sleep", count=None):
    """Gives it as much as it runs at once, and lets all of that begin."""
    items = life.dispatch(life.item(action, {"ms": ms}) for _ in range(
        life.concurrency if count is None else count))
    life.wait_read()
    life.quiet(0.03)
    return items


def roomy(life):
    if life.window <= life.concurrency:
        raise Skip("never holds more than it runs at once")


def recalled_while(life, busy_ms, action):
    """RECALL of what waits, while as much as fits runs; how long it took."""
    busy = full(life, busy_ms, action)
    waiting = life.dispatch(
        life.item("chatty", {"text": f"recalled-{n}"})
        for n in range(min(10, life.window - len(busy))))
    life.wait_read()
    asked = time.monotonic()
    life.recall(waiting)
    answers = life.got(waiting)
    for answer in answers:
        expect(answer.status == 2,
               f"what waited and was recalled: expected status 2, got "
               f"{answer}")
    took = answers[-1].at - asked
    for answer in life.got(busy):
        expect(answer.status == 0, f"what ran meanwhile: {answer}")
    life.quiet(0.02)
    expect(b"recalled-" not in life.output,
           "an action was begun after it had been given back")
    return took


@case("recall.waiting", "what waits is given back with status 2 within "
      "50 ms, and never begun", needs=("sleep", "chatty"), says=("recall",))
def recall_waiting(trial):
    life = trial.life()
    roomy(life)
    trial.measured(RECALL_SECONDS, lambda: recalled_while(
        life, 300, "sleep"), "answers to RECALL", times=1)


@case("recall.blocked", "so it is while an action lets nothing else run",
      needs=("block", "chatty"), says=("recall",))
def recall_blocked(trial):
    life = trial.ready(environment={"RAPPEL_CONCURRENCY": "1"})
    roomy(life)
    if life.concurrency > 1:
        raise Skip("cannot be told to run one at a time")
    trial.measured(RECALL_SECONDS, lambda: recalled_while(
        life, 300, "block"), "answers to RECALL", times=1)


@case("recall.running", "what runs goes on, and nothing is said of it",
      needs=("sleep", "echo"), says=("recall",))
def recall_running(trial):
    life = trial.life()
    busy = full(life, 120)
    life.recall(busy)
    for answer in life.got(busy):
        expect(answer.status == 0, "what runs and is recalled ends as it "
               f"would have: {answer}")
    same("x", life.result("echo", "x"), "echo after it")


@case("recall.mixed", "a RECALL that names what runs, what waits, what has "
      "ended and what never was", needs=("sleep", "echo"), says=("recall",))
def recall_mixed(trial):
    life = trial.life()
    roomy(life)
    done = life.item("echo", 1)
    life.got(life.dispatch([done]))
    busy = full(life, 250)
    waiting = life.dispatch(life.item("echo", n) for n in range(
        min(6, life.window - len(busy))))
    life.wait_read()
    life.recall([done, 5, waiting[0], busy[0], waiting[-1], waiting[-1],
                 wire.TOKEN_MAX])
    given = {waiting[0].token, waiting[-1].token}
    for item, answer in zip(busy + waiting, life.got(busy + waiting)):
        same(2 if item.token in given else 0, answer.status,
             f"the status of {item.action}")


@case("recall.again", "what was given back may come again under another "
      "token, and runs", needs=("sleep", "echo"), says=("recall",))
def recall_again(trial):
    life = trial.life()
    roomy(life)
    busy = full(life, 250)
    first = life.start_one("echo", "again")
    life.wait_read()
    life.recall([first])
    same(2, life.got([first])[0].status, "the status of what was recalled")
    second = life.start_one("echo", "again", instance=first.instance)
    all_ok(life.got([second]), ["again"])
    life.got(busy)


@case("recall.glued", "RECALL right behind the DISPATCH: each item runs or "
      "comes back", needs=("echo",), says=("recall",))
def recall_glued(trial):
    life = trial.life()
    for _ in range(20):
        items = [life.item("echo", n) for n in range(min(50, life.window))]
        life.send(life.dispatch_frame(items)
                  + life.tokens_frame(wire.RECALL, items))
        for n, answer in enumerate(life.got(items)):
            expect(answer.status == 2 or (answer.status, answer.result)
                   == (0, n), f"echo of {n}: {answer}")


@case("recall.draining", "RECALL is answered after DRAIN, too",
      needs=("sleep", "echo"), says=("recall",))
def recall_draining(trial):
    life = trial.ready()
    roomy(life)
    busy = full(life, 250)
    waiting = life.dispatch([life.item("echo", 1)])
    life.wait_read()
    life.drain()
    life.recall(waiting)
    same(2, life.got(waiting)[0].status, "the status of what was recalled")
    life.got(busy)
    life.wait_end()
    same(0, life.exit_code(), "the exit status")


def in_time(sent, answers, what):
    for answer in answers:
        expect(answer.at - sent < CANCEL_SECONDS,
               f"{what} was answered {answer.at - sent:.2f} s after CANCEL; "
               f"after {CANCEL_SECONDS:g} s it would be killed")


@case("cancel.running", "what runs and is cancelled hears of it and is "
      "answered within 1 s", needs=("until_cancelled", "echo"),
      says=("cancel",))
def cancel_running(trial):
    life = trial.life()
    items = life.dispatch(life.item("until_cancelled")
                          for _ in range(life.concurrency))
    life.wait_read()
    life.quiet(0.05)
    expect(not any(i.token in life.answers for i in items),
           "until_cancelled ended before it was cancelled")
    sent = time.monotonic()
    life.cancel(items)
    answers = life.got(items)
    in_time(sent, answers, "what ran")
    life.printed("until_cancelled: cancelled")
    trial.note(f"ends as {answers[0]}")
    same("x", life.result("echo", "x"), "echo after it")


@case("cancel.one", "others go on", needs=("until_cancelled", "sleep"),
      says=("cancel",))
def cancel_one(trial):
    life = trial.life()
    if life.concurrency == 1:
        raise Skip("runs one at a time")
    one = life.start_one("until_cancelled")
    other = life.start_one("sleep", {"ms": 100})
    life.wait_read()
    life.quiet(0.03)
    life.cancel([one])
    life.got([one])
    answer = life.got([other])[0]
    expect(answer.status == 0, f"the sleep beside it: {answer}")


@case("cancel.waiting", "what waits and is cancelled is answered within 1 s "
      "and never begun", needs=("sleep", "chatty", "echo"), says=("cancel",))
def cancel_waiting(trial):
    life = trial.life()
    if life.claims():
        raise Skip("what waits is taken back in the scoreboard")
    roomy(life)
    busy = full(life, 1300)
    waiting = life.dispatch(life.item("chatty", {"text": "was-cancelled"})
                            for _ in range(min(5, life.window - len(busy))))
    life.wait_read()
    sent = time.monotonic()
    life.cancel(waiting)
    answers = life.got(waiting)
    in_time(sent, answers, "what waited")
    expect(b"was-cancelled" not in life.output,
           "what was cancelled before it began was run")
    # Nobody wants those any more, either: it saves the time.
    life.cancel(busy)
    life.got(busy)
    same("x", life.result("echo", "x"), "echo after it")


@case("cancel.ended", "CANCEL that comes too late is nothing",
      needs=("echo",), says=("cancel",))
def cancel_ended(trial):
    life = trial.life()
    items = [life.item("echo", n) for n in range(5)]
    for item in items:
        life.got(life.dispatch([item]))
        life.cancel([item])
    life.cancel(items)
    same("x", life.result("echo", "x"), "echo after it")


@case("cancel.racing", "CANCEL right behind the DISPATCH: one answer, "
      "whichever", needs=("echo",), says=("cancel",))
def cancel_racing(trial):
    life = trial.life()
    for _ in range(20):
        items = [life.item("echo", n) for n in range(min(20, life.window))]
        life.send(life.dispatch_frame(items)
                  + life.tokens_frame(wire.CANCEL, items))
        life.got(items)
    same("x", life.result("echo", "x"), "echo after it")


@case("cancel.blocked", "what does not listen is not disturbed, and its "
      "worker lives", needs=("block", "echo"), says=("cancel",))
def cancel_blocked(trial):
    life = trial.life()
    item = life.start_one("block", {"ms": 200})
    life.wait_read()
    life.cancel([item])
    life.got([item])
    same("x", life.result("echo", "x"), "echo after it")


@case("cancel.draining", "CANCEL works after DRAIN, too",
      needs=("until_cancelled",), says=("cancel",))
def cancel_draining(trial):
    life = trial.ready()
    item = life.start_one("until_cancelled")
    life.wait_read()
    life.quiet(0.05)
    life.drain()
    sent = time.monotonic()
    life.cancel([item])
    in_time(sent, life.got([item]), "what ran")
    life.wait_end()
    same(0, life.exit_code(), "the exit status")


def beats_of(life, item):
    return [beat[1] for beat in life.beats if beat[0] == item.token]


@case("heartbeat.progress", "heartbeats come while the action runs, with "
      "what it said last", needs=("beat",))
def heartbeat(trial):
    life = trial.life()
    item = life.start_one("beat", {"times": 6, "ms": 40},
                          heartbeat_us=5_000_000)
    life.until(lambda: beats_of(life, item) or item.token in life.answers,
               "a heartbeat")
    expect(beats_of(life, item), "it was answered before any heartbeat came")
    expect(item.token not in life.answers, "the first heartbeat came with "
           "the answer")
    answer = life.got([item])[0]
    expect(answer.status == 0, f"beat: {answer}")
    numbers = []
    for progress in beats_of(life, item):
        expect(isinstance(progress, dict) and list(progress) == ["n"]
               and progress["n"] in range(1, 7),
               f"progress is {wire.short(progress)}, not {{\"n\": 1 to 6}}")
        numbers.append(progress["n"])
    expect(numbers == sorted(set(numbers)),
           f"progress in the order {numbers}")


@case("heartbeat.many", "thousands of heartbeats of one action are no flood",
      needs=("beat", "echo"))
def heartbeat_many(trial):
    life = trial.life()
    times = 3000
    item = life.start_one("beat", {"times": times, "ms": 0})
    answer = life.got([item])[0]
    expect(answer.status == 0, f"beat: {answer}")
    sent = len(beats_of(life, item))
    seconds = answer.at - item.sent_at
    most = 20 + 100 * seconds
    expect(sent <= most, f"{sent} heartbeats in {seconds:.2f} s; {times} "
           "were asked for, once a second is plenty")
    same("x", life.result("echo", "x"), "echo after it")


@case("heartbeat.large", "progress of more than 4 KiB is never sent",
      needs=("beat",))
def heartbeat_large(trial):
    life = trial.life()
    for size in (4000, 5000, 200_000):
        item = life.start_one("beat", {"times": 2, "ms": 5, "bytes": size})
        answer = life.got([item])[0]
        sent = [p for p in beats_of(life, item)
                if len(wire.pack(p)) > 4096]
        expect(not sent, f"progress of {size} bytes was sent")
        trial.note(f"{size} bytes: {wire.short(str(answer))}, "
                   f"{len(beats_of(life, item))} heartbeats")


@case("heartbeat.several", "heartbeats of several actions are told apart",
      needs=("beat",))
def heartbeat_several(trial):
    life = trial.life()
    count = min(5, life.concurrency)
    items = life.dispatch(life.item("beat", {"times": 5, "ms": 50})
                          for _ in range(count))
    life.got(items)
    for item in items:
        expect(beats_of(life, item), "one of them gave no heartbeat")
