#!/usr/bin/python3
"""The reference worker, wrong in one thing each time.

usage: broken.py VARIANT [scoreboard]

../test_conformance_suite.py says which case must notice which variant. Each
class changes as little as it can, so that nothing else is wrong.
"""

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import reference
from reference import CANCEL, COMPLETION, DISPATCH, HEARTBEAT, RECALL, \
    Misuse, Worker


class AnswersTwice(Worker):
    """Every hundredth answer comes again."""

    asked = itertools.count(1)

    def answer(self, item, rest):
        super().answer(item, rest)
        if next(self.asked) % 100 == 0:
            super().answer(item, rest)


class ForgetsSome(Worker):
    """One answer of 5,000 or, where fewer are asked for, 2,000 is lost."""

    asked = 0

    def answer(self, item, rest):
        self.asked += item.input in range(1500, 1502)
        if item.input != 1500 or rest[0] != 0:
            super().answer(item, rest)


class RoundsTokens(Worker):
    """Keeps tokens in doubles, as some languages would."""

    def answer(self, item, rest):
        item.token = int(float(item.token))
        super().answer(item, rest)


class WrongAttempt(Worker):
    """Counts attempts itself."""

    def answer(self, item, rest):
        item.attempt = 1
        super().answer(item, rest)


class NoBatches(Worker):
    """A frame for each answer."""

    def gathered(self, answers):
        return [self.packed(COMPLETION, 1, [answer]) for answer in answers]


class CountsWrong(Worker):
    """The header's count is of something else."""

    def gathered(self, answers):
        return [self.packed(COMPLETION, len(answers) + 1, answers)] \
            if answers else []


class OutOfOrder(Worker):
    """The last one first."""

    def next_item(self):
        return self.waiting.popitem()[1]


class MoreAtOnce(Worker):
    """Runs one more than it says, when all that waits is slow."""

    def run(self):
        threading.Thread(target=self.one_more, daemon=True).start()
        super().run()

    def one_more(self):
        while True:
            time.sleep(0.005)
            with self.lock:
                slow = [item for item in self.waiting.values()
                        if item.action == "sleep"]
                wanted = slow and len(slow) == len(self.waiting) \
                    and len(self.running) >= self.concurrency
            if wanted:
                self.turn()


class FewerAtOnce(Worker):
    """Says four and runs three."""

    def hello(self):
        return {**super().hello(), "concurrency": self.concurrency + 1} \
            if self.concurrency == 4 else super().hello()


class LiesInHello(Worker):
    """A window beyond what there is."""

    def hello(self):
        return {**super().hello(), "window": 1024.0}


class HelloTwice(Worker):
    """Repeats itself."""

    def send_hello(self):
        super().send_hello()
        super().send_hello()


class ClaimsWithout(Worker):
    """Says scoreboard whether it has one or not."""

    def hello(self):
        return {**super().hello(), "scoreboard": True}


class WrongSpawn(Worker):
    """Takes itself for another life, after a while."""

    def writer(self):
        self.spawn += 1
        super().writer()

    def take(self, body):
        self.spawn -= 1
        try:
            super().take(body)
        finally:
            self.spawn += 1


class IgnoresConcurrency(Worker):
    """Runs four at once, whatever it is told."""

    def __init__(self, actions, claims):
        os.environ.pop("RAPPEL_CONCURRENCY", None)
        super().__init__(actions, claims)


class DropsWhenDraining(Worker):
    """Leaves before what waits has run."""

    def drain(self):
        with self.lock:
            self.waiting.clear()
        super().drain()


class LeavesWithAnswers(Worker):
    """Leaves before its answers are written."""

    def finish(self):
        with self.lock:
            self.written.wait_for(
                lambda: not self.waiting and not self.running)
        time.sleep(0.002)
        os._exit(0)


class OutlivesItsPeer(Worker):
    """Finishes what runs, though nobody is there."""

    def gone(self):
        with self.lock:
            busy = bool(self.running)
        if busy:
            time.sleep(1)
        super().gone()


class IgnoresTerm(Worker):
    def run(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().run()


class RefusesNewParts(Worker):
    """Knows nine parts and wants no more."""

    def counted(self, count, payload):
        found = super().counted(count, payload)
        if any(isinstance(part, list) and len(part) > 9 for part in found):
            raise Misuse("too many parts")
        return found


class RefusesNewTypes(Worker):
    def dispatch_frame(self, type_, count, payload):
        if type_ not in (DISPATCH, CANCEL, RECALL, reference.DRAIN):
            raise Misuse(f"type {type_}")
        super().dispatch_frame(type_, count, payload)


class DiesOfUnknownTokens(Worker):
    """A RECALL of what it does not hold."""

    def recall(self, tokens):
        with self.lock:
            for token in tokens:
                if token == 77 and token not in self.waiting:
                    os._exit(3)
        super().recall(tokens)


class IgnoresRecall(Worker):
    def recall(self, tokens):
        pass


class RunsRecalled(Worker):
    """Gives back, and runs it nonetheless."""

    def recall(self, tokens):
        with self.lock:
            given = [self.waiting[t] for t in tokens if t in self.waiting]
        super().recall(tokens)
        for item in given:
            if item.action == "chatty":
                item.began = time.monotonic()
                self.perform(item)


class SlowToRecall(Worker):
    """Looks for RECALL ten times a second."""

    def recall(self, tokens):
        time.sleep(0.1)
        super().recall(tokens)


class RecallsRunning(Worker):
    """Answers for what runs, too."""

    def recall(self, tokens):
        with self.lock:
            for token in tokens:
                if token in self.running:
                    self.answer(self.running[token], [2, 0])
        super().recall(tokens)


class IgnoresCancelOfWaiting(Worker):
    def cancel(self, tokens):
        with self.lock:
            kept = {t: i for t, i in self.running.items() if t in tokens}
        super().cancel(list(kept))


class CancelsAll(Worker):
    """Tells everybody."""

    def cancel(self, tokens):
        super().cancel(tokens)
        with self.lock:
            for item in self.running.values():
                if item.action == "sleep":
                    self.answer(item, [1, 0, "Rappel.Cancelled", ""])
                    item.answered = True

    def answer(self, item, rest):
        if not item.answered:
            super().answer(item, rest)


class FloodsHeartbeats(Worker):
    """Sends each of them."""

    def dispatch_frame(self, type_, count, payload):
        reference.HEARTBEAT_SECONDS = 0
        super().dispatch_frame(type_, count, payload)


class LargeProgress(Worker):
    def dispatch_frame(self, type_, count, payload):
        reference.PROGRESS_BYTES_MAX = 40_000
        super().dispatch_frame(type_, count, payload)


class BeatsAfterwards(Worker):
    """One more when all is over."""

    def answer(self, item, rest):
        super().answer(item, rest)
        if item.action == "beat":
            threading.Timer(0.02, self.send, (HEARTBEAT, [
                [item.token, None]])).start()


class LongCause(Worker):
    """Cuts nothing."""

    def failed(self, error, cause, kinds=()):
        status = super().failed(error, cause, kinds)
        status[2] = cause.encode("utf-8", "replace").decode()
        return status


class CutsCharacters(Worker):
    """Cuts in the middle of one."""

    def packed(self, type_, count, payload):
        data = super().packed(type_, count, payload)
        if len(data) > 32 << 10 and data.endswith("é".encode()):
            data = data[:-1] + b"e"
        return data


class ManyKinds(Worker):
    def kinds(self, names):
        return names


class KindsBackwards(Worker):
    def kinds(self, names):
        return super().kinds(names)[::-1] if len(names) < 10 \
            else super().kinds(names)


class RoundsIntegers(Worker):
    """Large ones become doubles, and come back as what these hold."""

    def succeeded(self, result):
        if isinstance(result, int) and result == (1 << 63) - 1:
            result = 1 << 63
        return super().succeeded(result)


class LetsNanThrough(Worker):
    def succeeded(self, result):
        if isinstance(result, float) and result != result:
            return [0, result]
        return super().succeeded(result)


class TurnsNanIntoNull(Worker):
    def succeeded(self, result):
        if isinstance(result, float) and result != result:
            result = None
        return super().succeeded(result)


class SortsKeys(Worker):
    def succeeded(self, result):
        if isinstance(result, dict) and "z" in result:
            result = dict(sorted(result.items()))
        return super().succeeded(result)


class Leaks(Worker):
    """Programs of actions get its socket."""

    def __init__(self, actions, claims):
        super().__init__(actions, claims)
        keep = subprocess.run

        def run(*args, **options):
            os.set_inheritable(self.socket.fileno(), True)
            return keep(*args, close_fds=False, **options)
        subprocess.run = run


class BelievesCounts(Worker):
    """Takes what is there, whatever the header says."""

    def counted(self, count, payload):
        if isinstance(payload, list) and payload and count == 2 \
                and len(payload) == 1 and isinstance(payload[0], list):
            return []
        return super().counted(count, payload)


class WaitsForEnormous(Worker):
    """Waits for 4 GiB that never come."""

    def read(self):
        try:
            super().read()
        except Misuse as misuse:
            if str(misuse) == f"a frame of {(1 << 32) - 1} bytes":
                time.sleep(60)
            raise


class ClaimsNothing(Worker):
    """Scoreboard: runs what was recalled."""

    def next_item(self):
        _, item = self.waiting.popitem(last=False)
        if self.board is not None and item.place != 1024:
            self.board.claim(item)
        return item


class DoneTooLate(Worker):
    """Scoreboard: DONE when the answer is away already."""

    def run(self):
        if self.board is not None:
            late, keep = queue.SimpleQueue(), self.board.done
            self.board.done = late.put

            def follow():
                while True:
                    items = [late.get()]
                    time.sleep(0.02)
                    while not late.empty():
                        items.append(late.get())
                    for item in items:
                        keep(item)
            threading.Thread(target=follow, daemon=True).start()
        super().run()


class BeganInMs(Worker):
    """Scoreboard: began in another unit."""

    def next_item(self):
        item = super().next_item()
        if item is not None and item.place != 1024:
            self.board.words[item.place * 8 + 1] //= 1000
        return item


class WritesMore(Worker):
    """Scoreboard: its own notes, where there is nothing."""

    def next_item(self):
        item = super().next_item()
        if item is not None and item.place != 1024:
            self.board.memory[item.place * 64 + 60:item.place * 64 + 64] = \
                b"mine"
        return item


class Stores(Worker):
    """Scoreboard: writes DONE without a swap."""

    def hand(self):
        if self.board is not None:
            self.board.done = lambda item: self.board.words.__setitem__(
                item.place * 8, item.token << 3 | reference.DONE)
        super().hand()


class AnswersRefused(Worker):
    """Scoreboard: says status 2 for what was recalled."""

    def next_item(self):
        _, item = self.waiting.popitem(last=False)
        if item.place != 1024 and not self.board.claim(item):
            self.answer(item, [2, 0])
            return None
        return item


if __name__ == "__main__":
    reference.start(globals()[sys.argv.pop(1)])
