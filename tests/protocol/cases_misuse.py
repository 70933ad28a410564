"""A peer that breaks the protocol: the worker ends, and says why once.

Whoever wrote such bytes is not the supervisor, or has lost its mind: to go on
would be to run what nobody asked for.
"""

import struct
import time

import wire
from case import case, expect, same
from cases_life import one_line

END_SECONDS = 2.0


def item_parts(life, **changed):
    """The packed parts of one good item, some of them replaced."""
    parts = life.item("echo", "misuse").parts()
    names = ("token", "instance", "activation", "attempt", "action",
             "timeout_us", "place", "input")
    for name, packed in changed.items():
        parts[names.index(name)] = packed
    return parts


def dispatch(life, items, count=None):
    return wire.frame(wire.DISPATCH, life.slot, life.spawn,
                      len(items) if count is None else count,
                      wire.array(wire.array(parts) for parts in items))


def head(life, *, type_=None, slot=None, spawn=None, count=None,
         payload=None, extra=()):
    """A DRAIN whose parts are given packed."""
    return [type_ or wire.pack(wire.DRAIN), slot or wire.pack(life.slot),
            spawn or wire.pack(life.spawn), count or wire.pack(0),
            payload or wire.pack(None)] + list(extra)


def good(life, **changed):
    return dispatch(life, [item_parts(life, **changed)])


TEXT_NOT_UTF8 = b"\xa2\xc3\x28"
MISUSES = {
    "no-msgpack": ("a body that is no msgpack",
                   lambda life: wire.framed(b"\xc1" * 8)),
    "empty": ("a frame of no bytes", lambda life: wire.framed(b"")),
    "no-array": ("a body that is no array",
                 lambda life: wire.framed(wire.pack({"type": 15}))),
    "four-parts": ("an array of four",
                   lambda life: wire.body(head(life)[:4])),
    "six-parts": ("an array of six", lambda life: wire.body(
        head(life, extra=[wire.pack(1)]))),
    "left-over": ("a byte behind the array",
                  lambda life: wire.framed(good(life)[4:] + b"\xc0")),
    "cut": ("a body that ends within its array",
            lambda life: wire.framed(good(life)[4:-1])),
    "header-text": ("a slot that is text", lambda life: wire.body(
        head(life, slot=wire.pack("5")))),
    "header-negative": ("a count that is negative", lambda life: wire.body(
        head(life, type_=wire.pack(wire.DISPATCH), count=wire.pack(-1),
             payload=wire.pack([])))),
    "other-slot": ("a frame for another slot", lambda life: wire.body(
        head(life, slot=wire.pack(life.slot + 1)))),
    "other-spawn": ("a frame for another spawn", lambda life: wire.body(
        head(life, spawn=wire.pack(life.spawn + 1)))),
    "too-large": ("a length of more than 16 MiB: refused before the bytes "
                  "come", lambda life: struct.pack(
                      ">I", wire.FRAME_BYTES_MAX + 1)),
    "enormous": ("a length of 4 GiB", lambda life: b"\xff" * 4),
    "too-deep": ("a body nested 50 deep", lambda life: good(
        life, input=wire.nested(50))),
    "bottomless": ("a body nested a million deep", lambda life: good(
        life, input=wire.nested(1_000_000))),
    "not-utf8": ("a string that is no UTF-8", lambda life: good(
        life, input=TEXT_NOT_UTF8)),
    "surrogate": ("a string with a surrogate in UTF-8", lambda life: good(
        life, input=b"\xa3\xed\xa0\x80")),
    "count-more": ("a count of more items than there are",
                   lambda life: dispatch(life, [item_parts(life)], 2)),
    "count-fewer": ("a count of fewer items than there are",
                    lambda life: dispatch(life, [item_parts(life)] * 2, 1)),
    "payload-map": ("a DISPATCH whose payload is a map",
                    lambda life: life.frame(wire.DISPATCH, 1,
                                            wire.pack({"a": 1}))),
    "payload-nil": ("a DISPATCH whose payload is nil",
                    lambda life: life.frame(wire.DISPATCH, 0,
                                            wire.pack(None))),
    "item-short": ("an item of seven parts", lambda life: dispatch(
        life, [item_parts(life)[:7]])),
    "item-no-array": ("an item that is no array", lambda life: life.frame(
        wire.DISPATCH, 1, wire.pack([5]))),
    "token-zero": ("the token 0", lambda life: good(
        life, token=wire.pack(0))),
    "token-large": ("a token of 2^61", lambda life: good(
        life, token=wire.pack(1 << 61))),
    "token-text": ("a token that is text", lambda life: good(
        life, token=wire.pack("1"))),
    "instance-short": ("an instance of 15 bytes", lambda life: good(
        life, instance=wire.pack(b"x" * 15))),
    "attempt-negative": ("an attempt of -1", lambda life: good(
        life, attempt=wire.pack(-1))),
    "action-number": ("an action that is a number", lambda life: good(
        life, action=wire.pack(7))),
    "place-large": ("the place 1025", lambda life: good(
        life, place=wire.pack(1025))),
    "length-lies": ("an array in the input that says it has 4 billion "
                    "elements", lambda life: good(
                        life, input=b"\xdd\xff\xff\xff\xff")),
}
# For those who say that they answer these.
TOKENS_MISUSES = {
    "count": ("that counts wrong", lambda life, type_: life.frame(
        type_, 2, wire.pack([1]))),
    "payload": ("whose payload is no array", lambda life, type_: life.frame(
        type_, 1, wire.pack("1"))),
    "token": ("of a token that is text", lambda life, type_: life.frame(
        type_, 1, wire.pack(["1"]))),
}


def refuses(trial, build):
    life = trial.next_ready()
    life.send(build(life))
    sent = time.monotonic()
    took = life.wait_end(END_SECONDS * 2 * trial.slow) - sent
    expect(took <= END_SECONDS * trial.slow,
           f"it took {took:.1f} s to end")
    expect(not life.died_of_a_bug(), life.exited() + life.said())
    expect(life.exit_code() not in (0, None),
           f"it should end with a status that is not zero: {life.exited()}")
    expect(not life.answers, "it answered what it should have refused")
    one_line(life)


def register(name, text, build):
    @case(f"misuse.{name}", f"{text}: it ends with a non-zero status and one "
          "line on stderr")
    def run(trial):
        refuses(trial, build)
    return run


for misuse, (words, builder) in MISUSES.items():
    register(misuse, words, builder)


def register_tokens(key, type_name, type_, name, text, build):
    @case(f"misuse.{key}-{name}", f"a {type_name} {text}: likewise",
          says=(key,))
    def run(trial):
        refuses(trial, lambda life: build(life, type_))
    return run


for misuse, (words, builder) in TOKENS_MISUSES.items():
    register_tokens("recall", "RECALL", wire.RECALL, misuse, words, builder)
    register_tokens("cancel", "CANCEL", wire.CANCEL, misuse, words, builder)


@case("misuse.works-before", "what came before the broken frame is answered "
      "or not, and nothing is answered twice", needs=("echo",))
def works_before(trial):
    life = trial.ready()
    items = [life.item("echo", n) for n in range(min(10, life.window))]
    life.send(life.dispatch_frame(items) + wire.framed(b"\xc1"))
    life.wait_end()
    expect(life.exit_code() not in (0, None), life.exited())
    for answer in life.order:
        same(0, answer.status, "the status of echo")
