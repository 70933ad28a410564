#!/usr/bin/python3
"""A worker written from docs/protocol.md alone, without any SDK.

usage: reference.py [scoreboard]

With `scoreboard` it claims places and runs one action at a time; without, it
runs several in threads (4, or RAPPEL_CONCURRENCY) and answers RECALL and
CANCEL. For the conformance suite: the plainest program that passes it, and
what broken.py makes wrong variants of. Its actions are in actions.py.
"""

import collections
import math
import mmap
import os
import socket
import struct
import sys
import threading
import time

import msgpack

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15
CANCEL, RECALL, HEARTBEAT = 20, 21, 22
FRAME_BYTES_MAX, BODY_DEPTH_MAX, VALUE_DEPTH_MAX = 16 << 20, 40, 32
ERROR_BYTES_MAX, CAUSE_BYTES_MAX = 128, 32 << 10
KINDS_MAX, PROGRESS_BYTES_MAX = 32, 4 << 10
PLACE_NONE, PLACE_BYTES, PLACES = 1024, 64, 1024
WAITING, RUNNING, DONE = 1, 2, 3
EXIT_BROKEN, EXIT_UNABLE = 70, 78
HEARTBEAT_SECONDS = 0.05


class Misuse(Exception):
    """The peer broke the protocol."""


class Failure(Exception):
    """How an action fails by name."""

    def __init__(self, error, cause=""):
        super().__init__(error, cause)
        self.error, self.cause = error, cause


class Cancelled(Exception):
    """Raised in an action that listens when nobody wants it any more."""


class Later(Exception):
    """Somebody else will finish it."""


class NoValue(Exception):
    """What JSON cannot say."""


def depth_of(value):
    """How deep arrays and maps are nested, without recursion."""
    deepest, level = 0, [value]
    while level:
        inner = []
        for part in level:
            if isinstance(part, dict):
                inner += list(part) + list(part.values())
            elif isinstance(part, list):
                inner += part
        deepest += any(isinstance(part, (dict, list)) for part in level)
        level = inner
    return deepest


def check_value(value, depth=0):
    """Raises NoValue unless JSON can say it as docs/protocol.md demands."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise NoValue("an integer of more than 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise NoValue(f"the number {value}")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NoValue("text that is no Unicode") from None
    elif isinstance(value, (list, dict)):
        if depth == VALUE_DEPTH_MAX:
            raise NoValue(f"nested deeper than {VALUE_DEPTH_MAX}")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise NoValue("a key that is no string")
                check_value(key)
            value = value.values()
        for part in value:
            check_value(part, depth + 1)
    else:
        raise NoValue(f"a {type(value).__name__}")


def cut_text(text, bytes_max):
    raw = text.encode("utf-8", "replace")[:bytes_max]
    return raw.decode("utf-8", "ignore")


class Scoreboard:
    """Section 5. Python has no compare-and-swap; GCC's libatomic has."""

    def __init__(self, fd):
        import ctypes
        self.unsigned, self.reference = ctypes.c_uint64, ctypes.byref
        self.swap = getattr(ctypes.CDLL("libatomic.so.1"),
                            "__atomic_compare_exchange_8")
        self.swap.restype = ctypes.c_bool
        self.swap.argtypes = (ctypes.c_void_p,
                              ctypes.POINTER(ctypes.c_uint64),
                              ctypes.c_uint64, ctypes.c_int, ctypes.c_int)
        self.memory = mmap.mmap(fd, PLACES * PLACE_BYTES)
        self.words = memoryview(self.memory).cast("Q")
        self.address = ctypes.addressof(
            ctypes.c_char.from_buffer(self.memory))

    def move(self, item, old, new):
        expected = self.unsigned(item.token << 3 | old)
        return self.swap(self.address + item.place * PLACE_BYTES,
                         self.reference(expected), item.token << 3 | new, 5, 5)

    def claim(self, item):
        self.words[item.place * PLACE_BYTES // 8 + 1] = \
            time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        return self.move(item, WAITING, RUNNING)

    def done(self, item):
        self.move(item, RUNNING, DONE)


def uint(value, most):
    if isinstance(value, bool) or not isinstance(value, int) \
            or not 0 <= value <= most:
        raise Misuse(f"no unsigned integer up to {most}: {value!r:.40}")
    return value


class Item:
    """One attempt of an action, and what the action may ask about it."""

    def __init__(self, worker, parts):
        if not isinstance(parts, list) or len(parts) < 8:
            raise Misuse("an item is no array of at least eight")
        self.worker = worker
        self.token = uint(parts[0], (1 << 61) - 1)
        self.instance = parts[1]
        self.activation = uint(parts[2], (1 << 32) - 1)
        self.attempt = uint(parts[3], (1 << 32) - 1)
        self.action = parts[4]
        self.timeout_us = uint(parts[5], (1 << 64) - 1)
        self.place = uint(parts[6], PLACE_NONE)
        self.input = parts[7]
        if self.token == 0 or not isinstance(self.instance, bytes) \
                or len(self.instance) != 16 \
                or not isinstance(self.action, str):
            raise Misuse("an item's token, instance or action is none")
        self.began = None
        self.answered = False
        self.cancelled = threading.Event()
        self.progress = None
        self.beaten_at = 0.0

    def heartbeat(self, progress=None):
        """Says that the action lives; sends no more often than is useful."""
        check_value(progress)
        if len(msgpack.packb(progress)) > PROGRESS_BYTES_MAX:
            raise NoValue(f"progress of more than {PROGRESS_BYTES_MAX} bytes")
        now = time.monotonic()
        if now - self.beaten_at >= HEARTBEAT_SECONDS:
            self.beaten_at = now
            self.worker.send(HEARTBEAT, [[self.token, progress]])

    def remaining_ms(self):
        """Until its time is over; None when it has as long as it likes."""
        if self.timeout_us == 0:
            return None
        return self.timeout_us / 1000 - (time.monotonic() - self.began) * 1000


class Worker:
    def __init__(self, actions, claims):
        environment = os.environ
        self.slot = int(environment["RAPPEL_SLOT"])
        self.spawn = int(environment["RAPPEL_SPAWN"])
        self.value_bytes_max = int(environment["RAPPEL_VALUE_BYTES_MAX"])
        self.socket = socket.socket(fileno=int(environment["RAPPEL_FD"]))
        self.socket.setblocking(True)
        os.set_inheritable(self.socket.fileno(), False)
        self.actions = actions
        self.board = None
        if "RAPPEL_SCOREBOARD_FD" in environment:
            board = int(environment["RAPPEL_SCOREBOARD_FD"])
            os.set_inheritable(board, False)
            if claims:
                self.board = Scoreboard(board)
        self.recalls = self.cancels = not claims
        self.concurrency = 1 if claims else int(
            environment.get("RAPPEL_CONCURRENCY", "4"))
        self.window = 1024 if self.board or self.recalls else \
            self.concurrency
        # Reader, hands and writer share all that follows.
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        self.written = threading.Condition(self.lock)
        self.waiting = collections.OrderedDict()  # by token
        self.running = {}
        self.answers = []
        self.frames = []
        self.draining = False

    def hello(self):
        return {"protocol": 1, "pid": os.getpid(), "language": "reference",
                "actions": sorted(self.actions), "window": self.window,
                "scoreboard": self.board is not None,
                "concurrency": self.concurrency, "recall": self.recalls,
                "cancel": self.cancels}

    # Reading.

    def run(self):
        self.send_hello()
        for _ in range(self.concurrency):
            threading.Thread(target=self.hand, daemon=True).start()
        threading.Thread(target=self.writer, daemon=True).start()
        try:
            self.read()
        except Misuse as misuse:
            os.write(2, f"reference worker: misuse: {misuse}\n".encode(
                "utf-8", "backslashreplace"))
            os._exit(EXIT_BROKEN)
        self.gone()

    def gone(self):
        """The supervisor is, and whatever runs runs for nobody."""
        os._exit(0)

    def send_hello(self):
        self.socket.sendall(self.packed(HELLO, 0, self.hello()))

    def read(self):
        pending = bytearray()
        while True:
            try:
                got = self.socket.recv(1 << 18)
            except ConnectionResetError:
                return
            if not got:
                return
            pending += got
            at = 0
            while len(pending) - at >= 4:
                size = int.from_bytes(pending[at:at + 4], "big")
                if size > FRAME_BYTES_MAX:
                    raise Misuse(f"a frame of {size} bytes")
                if len(pending) - at < 4 + size:
                    break
                self.take(bytes(pending[at + 4:at + 4 + size]))
                at += 4 + size
            del pending[:at]

    def take(self, body):
        try:
            frame = msgpack.unpackb(body, strict_map_key=False)
        except (ValueError, msgpack.UnpackException, TypeError) as error:
            raise Misuse(f"no msgpack: {type(error).__name__} {error}"
                         ) from None
        if not isinstance(frame, list) or len(frame) != 5:
            raise Misuse("no array of five")
        if depth_of(frame) > BODY_DEPTH_MAX:
            raise Misuse(f"nested deeper than {BODY_DEPTH_MAX}")
        type_, slot, spawn, count, payload = frame
        uint(type_, 127)
        uint(count, (1 << 32) - 1)
        if (uint(slot, 65535), uint(spawn, (1 << 32) - 1)) != \
                (self.slot, self.spawn):
            raise Misuse("a frame for somebody else")
        self.dispatch_frame(type_, count, payload)

    def dispatch_frame(self, type_, count, payload):
        if type_ == DISPATCH:
            items = [Item(self, parts)
                     for parts in self.counted(count, payload)]
            with self.lock:
                self.waiting.update((item.token, item) for item in items)
                self.work.notify_all()
        elif type_ == DRAIN:
            self.drain()
        elif type_ in (CANCEL, RECALL):
            tokens = [uint(token, (1 << 61) - 1)
                      for token in self.counted(count, payload)]
            if type_ == CANCEL:
                self.cancel(tokens)
            elif self.recalls:
                self.recall(tokens)
        # Types that came up later are skipped.

    def counted(self, count, payload):
        if not isinstance(payload, list) or len(payload) != count:
            raise Misuse(f"the payload is no array of {count}")
        return payload

    def recall(self, tokens):
        with self.lock:
            for token in tokens:
                item = self.waiting.pop(token, None)
                if item is not None:
                    self.answer(item, [2, 0])

    def cancel(self, tokens):
        with self.lock:
            for token in tokens:
                item = self.waiting.pop(token, None)
                if item is not None:
                    self.answer(item, [1, 0, "Rappel.Cancelled", ""])
                elif token in self.running:
                    self.running[token].cancelled.set()

    def drain(self):
        threading.Thread(target=self.finish, daemon=True).start()

    def finish(self):
        with self.lock:
            self.written.wait_for(lambda: not (
                self.waiting or self.running or self.answers or self.frames))
        os._exit(0)

    # Running.

    def hand(self):
        while True:
            self.turn()

    def turn(self):
        """Runs one, as soon as there is one."""
        with self.lock:
            self.work.wait_for(lambda: self.waiting)
            item = self.next_item()
            if item is None:
                return
            self.running[item.token] = item
        item.began = time.monotonic()
        status = self.perform(item)
        run_us = int((time.monotonic() - item.began) * 1e6)
        if self.board is not None and item.place != PLACE_NONE:
            self.board.done(item)
        with self.lock:
            del self.running[item.token]
            self.answer(item, [status[0], run_us, *status[1:]])

    def next_item(self):
        """The one that is to run, or None when it was taken back."""
        _, item = self.waiting.popitem(last=False)
        if self.board is not None and item.place != PLACE_NONE \
                and not self.board.claim(item):
            self.written.notify_all()
            return None
        return item

    def perform(self, item):
        """Runs it; what an answer says behind its first four parts, but for
        the time."""
        action = self.actions.get(item.action)
        if action is None:
            return self.failed("Rappel.UnknownAction",
                               f"no action {item.action!r:.200}")
        try:
            return self.succeeded(action(item.input, item))
        except Later:
            return [3]
        except Failure as failure:
            return self.failed(failure.error, failure.cause)
        except Cancelled:
            return self.failed("Rappel.Cancelled", "nobody wants it any more")
        except NoValue as problem:
            return self.failed("Rappel.ResultInvalid", f"it is {problem}")
        except Exception as error:  # whatever user code does
            import traceback
            kinds = [kind.__name__ for kind in type(error).__mro__[1:]
                     if issubclass(kind, Exception)]
            return self.failed(
                type(error).__name__, traceback.format_exc(limit=20),
                self.kinds(kinds))

    def succeeded(self, result):
        check_value(result)
        size = len(msgpack.packb(result))
        if size > self.value_bytes_max:
            return self.failed("States.DataLimitExceeded",
                               f"the result has {size} bytes, more than "
                               f"{self.value_bytes_max}")
        return [0, result]

    def failed(self, error, cause, kinds=()):
        error = cut_text(error, ERROR_BYTES_MAX) or "States.TaskFailed"
        status = [1, error, cut_text(cause, CAUSE_BYTES_MAX)]
        if kinds:
            status.append({"kinds": list(kinds)})
        return status

    def kinds(self, names):
        return [cut_text(name, ERROR_BYTES_MAX) for name in names[:KINDS_MAX]]

    # Writing.

    def answer(self, item, rest):
        """With the lock held."""
        self.answers.append([item.token, item.instance, item.activation,
                             item.attempt, *rest])
        self.written.notify_all()

    def packed(self, type_, count, payload):
        body = msgpack.packb([type_, self.slot, self.spawn, count, payload])
        return struct.pack(">I", len(body)) + body

    def send(self, type_, items):
        with self.lock:
            self.frames.append(self.packed(type_, len(items), items))
            self.written.notify_all()

    def gathered(self, answers):
        """All that is finished, in frames of little more than a MiB."""
        frames, batch, size = [], [], 0
        for answer in answers:
            batch.append(answer)
            size += len(msgpack.packb(answer))
            if size >= 1 << 20 or answer is answers[-1]:
                frames.append(self.packed(COMPLETION, len(batch), batch))
                batch, size = [], 0
        return frames

    def writer(self):
        while True:
            with self.lock:
                self.written.wait_for(lambda: self.answers or self.frames)
                frames, answers = list(self.frames), list(self.answers)
            data = b"".join(frames + self.gathered(answers))
            try:
                self.socket.sendall(data)
            except OSError:
                self.gone()
            with self.lock:
                del self.frames[:len(frames)], self.answers[:len(answers)]
                self.written.notify_all()


def start(worker_class):
    import actions  # which import this file
    if sys.argv[1:] and sys.argv[-1] == "unable":
        print("reference worker: two actions have the name \"echo\"",
              file=sys.stderr)
        sys.exit(EXIT_UNABLE)
    worker_class(actions.ACTIONS, "scoreboard" in sys.argv[1:]).run()


if __name__ == "__main__":
    sys.modules["reference"] = sys.modules["__main__"]
    start(Worker)
