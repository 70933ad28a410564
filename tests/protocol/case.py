"""How a case is written: a function with a name, what it needs, and a Trial.

    @case("recall.running", "what runs is not given back",
          needs=("sleep",), says=("recall",))
    def recall_running(trial):
        life = trial.life()
        ...
        raise Fail("expected …, got …")
"""

import statistics
import time

from life import Fail, Life

CASES = {}


class Skip(Exception):
    """Why a case has nothing to ask of this worker."""


class Case:
    def __init__(self, name, what, needs, says, run):
        self.name, self.what, self.run = name, what, run
        self.needs, self.says = needs, says


def case(name, what, *, needs=(), says=()):
    """`needs`: actions that the worker has to serve. `says`: keys of its
    HELLO that have to be true."""
    def register(run):
        assert name not in CASES, name
        CASES[name] = Case(name, what, needs, says, run)
        return run
    return register


class Trial:
    """What a case gets: lives of the worker, and the options of the run."""

    def __init__(self, program, watch, *, quick=False, slow=1.0, unable=None):
        self.program, self.watch = program, watch
        self.quick, self.slow, self.unable = quick, slow, unable
        self.shared = self.spare = None
        self.lives = []
        self.notes = []
        self.hello = None

    def life(self):
        """A worker that runs nothing now, perhaps one that earlier cases
        used. A case must leave it so, and alive."""
        if self.shared is None:
            self.shared = Life(self.program, self.watch).ready()
        return self.shared

    def fresh(self, **options):
        """A worker of this case alone."""
        life = Life(options.pop("program", self.program), self.watch,
                    **options)
        self.lives.append(life)
        return life

    def ready(self, **options):
        return self.fresh(**options).ready()

    def next_ready(self):
        """A fresh one, started while the case before looked at its own; for
        cases that measure nothing short."""
        life = self.spare or Life(self.program, self.watch)
        self.lives.append(life)
        self.spare = None
        life.ready()
        self.spare = Life(self.program, self.watch)
        return life

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def finish(self, fine):
        """After each case."""
        for life in self.lives:
            life.close()
        self.lives.clear()
        shared = self.shared
        if shared is not None:
            shared.pump(0)
            if not fine or shared.holding or shared.eof \
                    or shared.status is not None:
                shared.close()
                self.shared = None

    def end(self):
        """After the last case."""
        self.finish(False)
        if self.spare is not None:
            self.spare.close()
            self.spare = None

    def measured(self, seconds, measure, what, times=5, rounds=3):
        """`measure` gives how long something took. The median has to be
        below the limit in one of the rounds: another program that takes the
        processor for a moment is not the worker's fault."""
        seconds *= self.slow
        medians = []
        for _ in range(rounds):
            medians.append(statistics.median(
                measure() for _ in range(times)))
            if medians[-1] <= seconds:
                return
            time.sleep(0.05)
        raise Fail(f"{what}: expected within {seconds * 1e3:.0f} ms, took "
                   f"{min(medians) * 1e3:.0f} ms")

    def says_all(self, keys):
        """Skips unless the worker says so in HELLO."""
        for key in keys:
            if self.hello.get(key) is not True:
                raise Skip(f"says no {key}")

    def serves(self, actions):
        served = self.hello.get("actions")
        for action in actions:
            if action not in (served if isinstance(served, list) else []):
                raise Skip(f"has no action {action}")


def expect(condition, text):
    if not condition:
        raise Fail(text() if callable(text) else text)


def same(expected, got, what):
    if expected != got:
        raise Fail(f"{what}: expected {expected!r}, got {got!r}")
