"""Actions for tests: what an action may be, do and get wrong."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import threading
import time
from typing import Dict, List, Optional

import rappel
from rappel import ActionError, Context, action

log = logging.getLogger("shop.orders")


class PaymentError(Exception):
    """Something about money."""


class CardDeclined(PaymentError):
    """A card that has no more."""


class Renamed(PaymentError):
    rappel_error = "Shop.Renamed"


@dataclasses.dataclass
class Line:
    sku: str
    count: int = 1
    price: Optional[float] = None


@dataclasses.dataclass
class Order:
    id: int
    lines: List[Line]
    notes: Dict[str, str] = dataclasses.field(default_factory=dict)
    parent: Optional[Order] = None


@action
def noop(input):
    return None


@action
def echo(input):
    return input


@action("async.echo")
async def async_echo(input):
    await asyncio.sleep(0)
    return input


@action
def order_total(order: Order, /) -> Order:
    assert all(isinstance(line, Line) for line in order.lines)
    order.notes["total"] = str(sum(line.count * (line.price or 0)
                                   for line in order.lines))
    return order


@action
def members(name: str, *, times: int = 2, ctx: Context):
    return [name * times, ctx.attempt]


@action
def about(ctx):
    return {
        "instance": ctx.instance_id, "activation": ctx.activation,
        "attempt": ctx.attempt, "key": ctx.idempotency_key,
        "token": ctx.task_token, "left": ctx.time_left,
        "deadline": ctx.deadline and ctx.deadline.isoformat(),
        "heartbeat": ctx.heartbeat_seconds, "action": ctx.action,
        "same": rappel.current() is ctx, "cancelled": ctx.cancelled,
    }


@action
def fails(input):
    raise {"card": CardDeclined("no money"), "renamed": Renamed("so"),
           "key": KeyError("k"), "exit": SystemExit(3),
           "interrupt": KeyboardInterrupt(),
           "named": ActionError("My.Error", "because", kinds=["My.Base"]),
           "surrogate": ValueError("\udc80"),
           "long": ValueError("x" * 100000)}[input]


@action("async.fails")
async def async_fails(input):
    fails(input)


@action
def gives(input):
    """What no JSON is."""
    return eval(input)  # pylint: disable=eval-used


@action
def later(ctx):
    log.info("waits under %s", ctx.task_token)
    return rappel.LATER


@action
def hold(input, ctx):
    """Until the file is there; beats once it runs."""
    ctx.heartbeat({"holds": input})
    while not os.path.exists(input):
        time.sleep(0.002)
    return "held"


@action
def sleepy(input, ctx):
    """One long system call."""
    ctx.heartbeat("sleeps")
    time.sleep(input)


@action
def loops(ctx):
    """Looks for itself, as a thread has to."""
    while True:
        ctx.heartbeat("loops")
        time.sleep(0.002)


@action("async.sleepy")
async def async_sleepy(input, ctx):
    ctx.heartbeat("sleeps")
    try:
        await asyncio.sleep(input)
    except asyncio.CancelledError:
        log.warning("cleans up")
        raise


@action
def stubborn(input, ctx):
    """Swallows its cancellation."""
    ctx.heartbeat("holds on")
    try:
        time.sleep(60)
    except rappel.Cancelled:
        pass
    return "stayed"


_meeting = threading.Barrier(3)


@action
def meet(input):
    """Ends only when three of it run at once."""
    return _meeting.wait(20) >= 0


_running = 0
_most = 0


@action("async.most")
async def async_most(input):
    """How many of it ever ran at once."""
    global _running, _most
    _running += 1
    _most = max(_most, _running)
    await asyncio.sleep(0.002)
    _running -= 1
    return _most


@action
def thread_name(input):
    return [threading.current_thread() is threading.main_thread(),
            threading.current_thread().name]


@action
def says(input, ctx):
    print("printed", input)
    ctx.log.warning('said "%s"\nand more', input)
    log.info("plainly %s", input)
    logging.getLogger("quiet").debug("never seen")


@action
def spins(ctx):
    while True:
        ctx.heartbeat("spins")


class Indescribable(ActionError):
    def __init__(self):
        self.kinds = 7


@action
def indescribable():
    raise Indescribable


@action
def deaf(ctx):
    """Never minds."""
    while True:
        try:
            ctx.heartbeat("deaf")
            time.sleep(0.01)
        except rappel.Cancelled:
            pass


@action
def beats(input, ctx):
    """So many, as fast as it can; then until the file is there."""
    times, path = input
    for n in range(1, times + 1):
        ctx.heartbeat(n)
    threading.Thread(target=_too_late, args=(ctx,), daemon=True).start()
    while not os.path.exists(path):
        time.sleep(0.002)


def _too_late(ctx):
    while not ctx.has_ended:
        time.sleep(0.001)
    ctx.heartbeat("too late")


@action("beats.until")
def beats_until(input, ctx):
    while not os.path.exists(input):
        ctx.heartbeat({"at": time.time()})
        time.sleep(0.01)


@contextlib.contextmanager
def _traces(path):
    """Files that tell that it began and that it cleaned up."""
    with open(path + ".runs", "wb"):
        pass
    try:
        yield
    finally:
        with open(path + ".clean", "wb"):
            pass


@action
def cleans(input, ctx):
    with _traces(input):
        while True:
            ctx.heartbeat()
            time.sleep(0.01)


@action
def naps(input):
    with _traces(input):
        time.sleep(60)


@action("async.cleans")
async def async_cleans(input):
    with _traces(input):
        await asyncio.sleep(60)


@action
def huge_progress(ctx):
    ctx.heartbeat("x" * 5000)


@action
def forks(ctx):
    """A child of its own may say what it likes: nobody hears it."""
    pid = os.fork()
    if pid == 0:
        try:
            ctx.heartbeat("child")
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@action
def dies(input, ctx):
    """Of a signal, at its first attempt."""
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt
