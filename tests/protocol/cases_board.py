"""The scoreboard: docs/protocol.md, section 5."""

import time

import board as boards
import wire
from board import DONE, FREE, RECALLED, RUNNING, WAITING, boot_us
from case import Skip, case, expect, same
from cases_dispatch import all_ok, echoes


def phase(life, item, expected, what):
    same(f"token {item.token}, {boards.PHASES[expected]}",
         life.board.word_text(item.place), what)


def running(life, item):
    """Until the worker says that it runs the item."""
    end = time.monotonic() + 5
    while life.board.look(item.place) == (item.token, WAITING):
        expect(time.monotonic() < end, "an item that was dispatched to an "
               "idle worker is WAITING after 5 s")
        life.pump(0.001)


@case("board.phases", "WAITING, RUNNING while it runs, DONE when it is "
      "answered", needs=("sleep",), says=("scoreboard",))
def phases(trial):
    life = trial.life()
    first, second = life.dispatch(life.item("sleep", {"ms": 60})
                                  for _ in range(2))
    running(life, first)
    phase(life, first, RUNNING, "the place of what runs")
    phase(life, second, WAITING, "the place of what waits")
    for item, answer in zip((first, second), life.got([first, second])):
        same((item.token, DONE), answer.word, "the word when its answer "
             "came (token, phase)")


@case("board.began", "began is when it became RUNNING, in µs of "
      "CLOCK_BOOTTIME", needs=("sleep",), says=("scoreboard",))
def began(trial):
    life = trial.life()
    sent = boot_us()
    first, second = life.dispatch(life.item("sleep", {"ms": 50})
                                  for _ in range(2))
    running(life, first)
    seen = boot_us()
    at = life.board.began_us(first.place)
    expect(sent <= at <= seen, f"began {at}, sent {sent}, seen {seen}")
    life.got([first, second])
    later = life.board.began_us(second.place)
    expect(at + 50_000 <= later <= boot_us(),
           f"one that waited for 50 ms began {later - at} µs after it")


def skips(trial, write, what):
    """That items whose places are changed by `write` are skipped without a
    word, and all others run."""
    life = trial.life()
    busy = life.start_one("sleep", {"ms": 80})
    running(life, busy)
    items = life.dispatch(life.item("echo", n) for n in range(20))
    taken = items[3:5] + items[10:19]
    for item in taken:
        write(life, item)
    others = [item for item in items if item not in taken]
    life.got([busy] + others)
    same("x", life.result("echo", "x"), "echo after all")
    for item in taken:
        expect(item.token not in life.answers,
               f"{what} was answered: {life.answers.get(item.token)}")
        life.board.set_word(item.place, 0, FREE)
        life.free(item)


@case("board.recalled", "what was recalled is skipped without a word",
      needs=("sleep", "echo"), says=("scoreboard",))
def recalled(trial):
    skips(trial, lambda life, item: life.board.set_word(
        item.place, item.token, RECALLED), "an item that was recalled")


@case("board.other-token", "so is one whose place has another's token",
      needs=("sleep", "echo"), says=("scoreboard",))
def other_token(trial):
    skips(trial, lambda life, item: life.board.set_word(
        item.place, item.token + 1_000_000, WAITING),
        "an item whose place is another's")


@case("board.freed", "so is one whose place is FREE",
      needs=("sleep", "echo"), says=("scoreboard",))
def freed(trial):
    skips(trial, lambda life, item: life.board.set_word(item.place, 0, FREE),
          "an item whose place is FREE")


@case("board.refused-kept", "a refused swap changes nothing in the word",
      needs=("sleep", "echo"), says=("scoreboard",))
def refused_kept(trial):
    life = trial.life()
    busy = life.start_one("sleep", {"ms": 60})
    running(life, busy)
    item, last = life.dispatch(life.item("echo", n) for n in range(2))
    life.board.set_word(item.place, item.token, RECALLED)
    life.got([busy, last])
    phase(life, item, RECALLED, "the place of what was recalled")
    life.free(item)


@case("board.swapped", "its word is not written when it ends and is "
      "somebody else's by then", needs=("sleep",), says=("scoreboard",))
def swapped(trial):
    life = trial.life()
    item = life.start_one("sleep", {"ms": 60})
    running(life, item)
    life.board.set_word(item.place, item.token + 1_000_000, WAITING)
    same(0, life.got([item])[0].status, "the status of sleep")
    same((item.token + 1_000_000, WAITING), life.board.look(item.place),
         "the word (token, phase)")
    life.board.set_word(item.place, 0, FREE)


@case("board.place-1024", "an item of place 1024 runs without the board",
      needs=("echo", "sleep"), says=("scoreboard",))
def no_place(trial):
    life = trial.life()
    items, values = echoes(life, 10)
    before = bytes(life.board.memory)
    all_ok(life.got(life.dispatch(items, places=False)), values)
    expect(before == bytes(life.board.memory), "it wrote into the board")
    mixed = [life.item("echo", n) for n in range(4)]
    life.send(life.dispatch_frame(mixed[:1], places=False)
              + life.dispatch_frame(mixed[1:3])
              + life.dispatch_frame(mixed[3:], places=False))
    all_ok(life.got(mixed), range(4))


@case("board.every-place", "each of the 1024 places", needs=("echo",),
      says=("scoreboard",))
def every_place(trial):
    life = trial.life()
    items, values = echoes(life, boards.PLACES)
    all_ok(life.stream(items), values)
    same(boards.PLACES, len({item.place for item in items}), "places")
    for item in items:
        same((item.token, DONE), life.answers[item.token].word,
             "the word when its answer came (token, phase)")


@case("board.only-its-own", "it writes the word and began, and nothing else",
      needs=("echo",), says=("scoreboard",))
def only_its_own(trial):
    life = trial.life()
    items, values = echoes(life, 50)
    all_ok(life.stream(items), values)
    same([], life.board.overwritten()[:5], "places that it wrote more into")


@case("board.race", "of a swap of both sides one wins: run once, or recalled "
      "and never run", needs=("echo",), says=("scoreboard",))
def race(trial):
    if boards.SWAP is None:
        raise Skip("needs GCC's libatomic for swaps of its own")
    life = trial.life()
    won = lost = 0
    size = min(life.window, 64)
    for _ in range(20 if trial.quick else 60):
        items = life.dispatch(life.item("echo", n) for n in range(size))
        gone = [item for item in items[::-1]
                if life.board.recall(item.place, item.token)]
        life.got(item for item in items if item not in gone)
        same("x", life.result("echo", "x"), "echo after them")
        for item in gone:
            expect(item.token not in life.answers,
                   "an item that was recalled was answered")
            life.free(item)
        won, lost = won + len(gone), lost + size - len(gone)
    trial.note(f"{won} recalled, {lost} run")


assert wire.PLACE_NONE == boards.PLACES
