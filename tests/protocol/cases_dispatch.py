"""Frames in every cut, items in every encoding, order and concurrency."""

import os
import time

import wire
from case import Skip, case, expect, same
from life import Fail


def all_ok(answers, expected):
    for answer, value in zip(answers, expected):
        expect(answer.status == 0, f"expected {value!r}, got {answer}")
        found = wire.difference(value, answer.result)
        expect(found is None, found)


def echoes(life, count):
    items = [life.item("echo", n) for n in range(count)]
    return items, list(range(count))


@case("dispatch.one", "one item, one answer", needs=("echo",))
def one(trial):
    found = wire.difference({"a": [1, None, "x"]}, trial.life().result(
        "echo", {"a": [1, None, "x"]}))
    expect(found is None, found)


@case("dispatch.window", "a frame with as many items as it may hold",
      needs=("echo",))
def window(trial):
    life = trial.life()
    items, values = echoes(life, life.window)
    all_ok(life.got(life.dispatch(items)), values)


@case("dispatch.1024", "1024 items, in as few frames as its window allows",
      needs=("echo",))
def many(trial):
    life = trial.life()
    items, values = echoes(life, 1024)
    all_ok(life.stream(items), values)
    if life.window < 1024:
        trial.note(f"holds at most {life.window}")


@case("dispatch.none", "a DISPATCH of no items is nothing", needs=("echo",))
def none(trial):
    life = trial.life()
    life.send(life.frame(wire.DISPATCH, 0, wire.pack([])))
    same("x", life.result("echo", "x"), "echo after it")


@case("dispatch.split", "a frame in two pieces, cut at each of its bytes",
      needs=("echo",))
def split(trial):
    life = trial.life()
    size = len(life.dispatch_frame([life.item("echo", "cut")]))
    life.holding.clear()
    if life.board is not None:
        life.board.used.clear()
    for cut in range(1, size, 3 if trial.quick else 1):
        item = life.item("echo", "cut")
        data = life.dispatch_frame([item])
        life.send(data[:cut])
        life.wait_read()
        life.send(data[cut:])
        all_ok(life.got([item]), ["cut"])


@case("dispatch.bytes", "frames that come byte by byte", needs=("echo",))
def bytes_alone(trial):
    life = trial.life()
    items, values = echoes(life, min(2, life.window))
    for byte in life.dispatch_frame(items):
        life.send(bytes([byte]))
        life.wait_read()
    all_ok(life.got(items), values)


@case("dispatch.glued", "many frames in one piece, and half of another",
      needs=("echo",))
def glued(trial):
    life = trial.life()
    items, values = echoes(life, min(10, life.window))
    data = b"".join(life.dispatch_frame([item]) for item in items)
    at = len(data) - 20
    life.send(data[:at])
    life.wait_read()
    life.send(data[at:])
    all_ok(life.got(items), values)


@case("dispatch.encodings", "integers of header and items in each of "
      "msgpack's encodings", needs=("echo",))
def encodings(trial):
    life = trial.life()
    for width in wire.WIDTHS:
        item = life.item("echo", width, timeout_us=60_000_000,
                         activation=7, attempt=2, heartbeat_us=5_000_000)
        life.send(life.dispatch_frame(
            [item], uint=lambda n, width=width: wire.uint(n, width)))
        try:
            all_ok(life.got([item]), [width])
        except Fail as failure:
            raise Fail(f"with integers as {width}: {failure}") from None


@case("dispatch.more-parts", "a ninth part, and later ones that nobody "
      "knows, do no harm", needs=("echo",))
def more_parts(trial):
    life = trial.life()
    life_items = [
        life.item("echo", 1, heartbeat_us=30_000_000),
        life.item("echo", 2, heartbeat_us=0, later=("what?",)),
        life.item("echo", 3, heartbeat_us=1, later=(
            {"a": [1, {"b": None}]}, b"\0\1", 1.5, True, None, -1))]
    all_ok(life.stream(life_items), [1, 2, 3])


@case("dispatch.tokens", "tokens from 1 to 2^61-1 come back as they are",
      needs=("echo",))
def tokens(trial):
    life = trial.life()
    numbers = [n for n in (1, 127, 128, 255, 256, 65535, 65536, (1 << 31) - 1,
                           1 << 31, (1 << 32) - 1, 1 << 32, (1 << 53) + 1,
                           wire.TOKEN_MAX - 1, wire.TOKEN_MAX)
               if n not in life.items]
    items = [life.item("echo", str(n), token=n) for n in numbers]
    all_ok(life.stream(items), [str(n) for n in numbers])


@case("dispatch.extremes", "activations and attempts up to 2^32-1",
      needs=("echo",))
def extremes(trial):
    life = trial.life()
    items = [life.item("echo", n, instance=bytes([n]) * 16, activation=a,
                       attempt=b)
             for n, (a, b) in enumerate((
                 (1, 1), (255, 256), (65536, 65535), ((1 << 31), 3),
                 ((1 << 32) - 1, (1 << 32) - 1)))]
    items[0].instance, items[1].instance = bytes(16), b"\xff" * 16
    all_ok(life.stream(items), range(5))


@case("dispatch.unknown-action", "an action that it does not have fails, and "
      "nothing else", needs=("echo",))
def unknown_action(trial):
    life = trial.life()
    for name in ("no such action", "", "echo\0", "Echo", "n" * 2000, "é"):
        answer = life.ask(name, {})
        same(1, answer.status, f"the status of the action {name[:20]!r}")
        same("Rappel.UnknownAction", answer.error, "its error")
    same("x", life.result("echo", "x"), "echo after it")


@case("dispatch.order", "items begin in the order in which they came",
      needs=("echo", "sleep"))
def order(trial):
    """All but one of its hands are full, so that the others end in the
    order in which they began."""
    life = trial.life()
    if life.window == life.concurrency > 1:
        raise Skip("never holds more than it runs at once")
    busy = life.dispatch(life.item("sleep", {"ms": 200})
                         for _ in range(life.concurrency - 1))
    items, values = echoes(life, min(100, life.window - len(busy)))
    life.dispatch(items[:len(items) // 2])
    life.dispatch(items[len(items) // 2:])
    all_ok(life.got(items), values)
    places = {item.token: n for n, item in enumerate(items)}
    seen = [places[a.token] for a in life.order if a.token in places]
    expect(seen == sorted(seen), f"answered in the order {seen[:20]}…")
    life.got(busy)


@case("concurrency.most", "never more at once than its concurrency",
      needs=("sleep",))
def at_most(trial):
    life = trial.life()
    if life.window <= life.concurrency:
        raise Skip("never holds more than it runs at once")
    ms = 60
    waves = 3 if life.concurrency == 1 else 2
    count = min(life.window, life.concurrency * waves)
    sent = time.monotonic()
    items = life.dispatch(life.item("sleep", {"ms": ms})
                          for _ in range(count))
    life.got(items)
    ends = sorted(life.answers[i.token].at - sent for i in items)
    for n, end in enumerate(ends):
        least = (n // life.concurrency + 1) * ms / 1000 - 0.002
        expect(end >= least, f"answer {n + 1} of sleeps of {ms} ms came "
               f"after {end * 1e3:.0f} ms, so more than {life.concurrency} "
               "ran at once")


@case("concurrency.least", "as many at once as its concurrency says",
      needs=("sleep",))
def at_least(trial):
    life = trial.life()
    if life.concurrency == 1:
        raise Skip("runs one at a time")
    count, ms = life.concurrency, 120

    def measure():
        began = time.monotonic()
        items = life.dispatch(life.item("sleep", {"ms": ms})
                              for _ in range(count))
        life.got(items)
        return time.monotonic() - began
    trial.measured(2 * ms / 1000 - 0.01, measure,
                   f"{count} sleeps of {ms} ms at once", times=1)


@case("concurrency.refill", "when one ends another begins, though others go "
      "on", needs=("sleep", "echo"))
def refill(trial):
    life = trial.life()
    if life.concurrency == 1:
        raise Skip("runs one at a time")
    long = life.dispatch(life.item("sleep", {"ms": 400})
                         for _ in range(life.concurrency - 1))
    for n in range(5):
        same(n, life.result("echo", n), "echo")
    expect(not any(i.token in life.answers for i in long),
           "an echo beside sleeps had to wait for them")
    life.got(long)


@case("dispatch.batching", "answers that come fast share frames",
      needs=("echo",))
def batching(trial):
    life = trial.life()
    if life.window < 16:
        raise Skip(f"holds at most {life.window}")
    best = None
    for _ in range(5):
        items, values = echoes(life, min(life.window, 256))
        all_ok(life.got(life.dispatch(items)), values)
        frames = len({life.answers[i.token].frame_number for i in items})
        best = min(best or frames, frames)
    expect(best <= len(items) / 2,
           f"{len(items)} quick answers came in {best} frames at best")


@case("dispatch.20000", "20,000 quick actions: nothing lost, nothing doubled",
      needs=("echo",))
def twenty_thousand(trial):
    life = trial.life()
    count = 2000 if trial.quick else 20_000
    items, values = echoes(life, count)
    seen = len(life.order)
    all_ok(life.stream(items), values)
    life.quiet(0.02)
    same(count, len(life.order) - seen, "answers")


@case("dispatch.mixed", "quick and slow ones, good and bad, all together",
      needs=("echo", "sleep", "fail"))
def mixed(trial):
    life = trial.life()
    items = []
    for n in range(60):
        items += [life.item("echo", n), life.item("sleep", {"ms": n % 4}),
                  life.item("fail", {"error": "E", "cause": str(n)})]
    answers = life.stream(items)
    for n in range(60):
        same((0, n), (answers[3 * n].status, answers[3 * n].result), "echo")
        same(0, answers[3 * n + 1].status, "the status of sleep")
        found = answers[3 * n + 2]
        expect(found.error == "E" and found.cause.startswith(str(n)),
               f"fail with E and {n}: {found}")


@case("frames.unknown-type", "a frame of a type that it does not know is "
      "skipped", needs=("echo",))
def unknown_type(trial):
    life = trial.life()
    for type_, count, payload in (
            (29, 0, None), (29, 3, [1, {"a": 2}, "x"]), (99, 0, {"k": b"v"}),
            (127, 1, [[]])):
        life.send(life.frame(type_, count, wire.pack(payload)))
        same("x", life.result("echo", "x"), f"echo after type {type_}")


@case("frames.unknown-tokens", "CANCEL and RECALL of tokens that it does not "
      "hold are nothing", needs=("echo",))
def unknown_tokens(trial):
    life = trial.life()
    done = life.item("echo", "done")
    life.got(life.dispatch([done]))
    for type_ in (wire.CANCEL, wire.RECALL):
        life.send(life.tokens_frame(type_, [done, 77, wire.TOKEN_MAX]))
        life.send(life.tokens_frame(type_, []))
        life.send(life.tokens_frame(type_, range(1, 1025)))
    same("x", life.result("echo", "x"), "echo after them")


@case("frames.large", "a frame of several MiB", needs=("echo",))
def large(trial):
    life = trial.life()
    count = min(6, life.window)
    text = os.urandom(450_000).hex()
    items = [life.item("echo", text) for _ in range(count)]
    all_ok(life.got(life.dispatch(items)), [text] * count)


@case("slow.unread", "answers of 1 MiB to a peer that does not read: no "
      "deadlock, no loss", needs=("echo",))
def slow_unread(trial):
    life = trial.life()
    text = "y" * (wire.VALUE_BYTES_MAX - 5)
    items = [life.item("echo", text) for _ in range(min(6, life.window))]
    life.reading = False
    life.dispatch(items)
    life.quiet(0.3)
    life.reading = True
    all_ok(life.got(items), [text] * len(items))


@case("slow.small-buffer", "a socket that takes little at a time",
      needs=("echo",))
def slow_small(trial):
    life = trial.ready(send_buffer=4608)
    texts = ["z" * size for size in (0, 100, 4000, 5000, 70_000, 300_000)]
    items = [life.item("echo", text) for text in texts * 3]
    all_ok(life.stream(items), texts * 3)


@case("slow.trickle", "a peer that reads now and then", needs=("echo",))
def slow_trickle(trial):
    life = trial.ready(send_buffer=4608)
    items, values = echoes(life, min(300, life.window))
    life.reading = False
    life.dispatch(items)
    end = time.monotonic() + 10
    while not all(i.token in life.answers for i in items):
        if time.monotonic() > end:
            raise Fail("answers to a slow reader: not within 10 s")
        life.reading = True
        life.pump(0.05)
        life.reading = False
        life.quiet(0.002)
    life.reading = True
    all_ok(life.got(items), values)


@case("programs.descriptors", "a program that an action starts inherits "
      "nothing of the worker's", needs=("descriptors",))
def descriptors(trial):
    life = trial.ready()
    listing = life.result("descriptors")
    same("str", wire.kind(listing), "the type of what `ls -l` said")
    found = {}
    for line in listing.splitlines():
        left, arrow, target = line.partition(" -> ")
        if arrow:
            found[int(left.split()[-1])] = target
    expect(found, f"descriptors gave no listing: {wire.short(listing)}")
    leaked = {n: t for n, t in found.items()
              if n > 2 and not t.startswith("/proc/")
              or t == f"socket:[{life.their_inode}]" or "memfd:" in t}
    expect(not leaked, f"it has {leaked}")
