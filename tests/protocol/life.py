"""One life of the worker under test, with supervisor and flusher played.

Starts the program as docs/protocol.md, section 2, says, and is the other end
of its socket: everything happens in pump(), which never blocks on the worker.
"""

import array
import ctypes
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import termios
import time
import uuid

import wire
from board import Board

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True)
HELLO_SECONDS = 5.0
BUGS = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL,
        signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}


class Fail(Exception):
    """What was expected and what came."""


class Item:
    """One dispatch of an action."""

    def __init__(self, token, action, packed, *, instance=None, activation=1,
                 attempt=1, timeout_us=0, heartbeat_us=None, later=()):
        self.token = token
        self.action = action
        self.input = packed
        self.instance = instance or uuid.uuid4().bytes
        self.activation = activation
        self.attempt = attempt
        self.timeout_us = timeout_us
        self.heartbeat_us = heartbeat_us
        self.later = later
        self.place = wire.PLACE_NONE
        self.sent_at = 0.0

    def parts(self, uint=wire.pack):
        found = [uint(self.token), wire.pack(self.instance),
                 uint(self.activation), uint(self.attempt),
                 wire.pack(self.action), uint(self.timeout_us),
                 uint(self.place), self.input]
        if self.heartbeat_us is not None:
            found.append(uint(self.heartbeat_us))
        return found + [wire.pack(part) for part in self.later]


class Answer:
    def __init__(self, parts, at, frame_number, frame_bytes):
        self.parts = parts
        self.at = at
        self.frame_number = frame_number
        self.frame_bytes = frame_bytes
        self.token, self.status, self.run_us = parts[0], parts[4], parts[5]
        self.result = parts[6] if self.status == 0 else None
        self.error, self.cause = parts[6:8] if self.status == 1 else ("", "")
        least = {0: 7, 1: 8}.get(self.status, 6)
        self.details = parts[least] if len(parts) > least else None

    def __str__(self):
        if self.status == 0:
            return f"status 0, {wire.short(self.result)}"
        if self.status == 1:
            return f"status 1, {self.error}: {wire.short(self.cause)}"
        return f"status {self.status}"


class Life:
    environment = {}  # of all lives, beside what section 2 says
    patience_seconds = 10.0  # for what is not measured
    # Counted from a random number on, as the flusher does.
    tokens = int.from_bytes(os.urandom(5), "big") | 1 << 40

    def __init__(self, program, watch, *, slot=5, spawn=1, board=True,
                 environment=(), send_buffer=None):
        self.watch, self.slot, self.spawn = watch, slot, spawn
        self.items, self.answers = {}, {}
        self.order, self.beats = [], []
        self.hello, self.output = {}, b""
        self.incoming, self.outgoing = bytearray(), bytearray()
        self.frames = 0
        self.reading = True
        self.eof = self.pipe_eof = False
        self.status = self.ended_at = None
        self.board = Board() if board else None
        self.holding = set()
        self.start(list(program), dict(environment), send_buffer)

    # Starting and ending.

    def start(self, program, extra, send_buffer):
        ours, theirs = socket.socketpair()
        if send_buffer is not None:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF,
                              send_buffer)
        self.their_inode = os.fstat(theirs.fileno()).st_ino
        output, printed = os.pipe()
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
            "TZ": "UTC", "HOME": "/nonexistent", "RAPPEL_FD": "3",
            "RAPPEL_SLOT": str(self.slot), "RAPPEL_SPAWN": str(self.spawn),
            "RAPPEL_LOG_LEVEL": "info", "RAPPEL_LIFE": str(uuid.uuid4()),
            "RAPPEL_VALUE_BYTES_MAX": str(wire.VALUE_BYTES_MAX),
            "RAPPEL_GROUP": "conformance"}
        if self.board is not None:
            environment["RAPPEL_SCOREBOARD_FD"] = "4"
        environment.update(Life.environment)
        environment.update(extra)
        self.started_at = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.child(program, environment, theirs.fileno(), printed)
            finally:
                os._exit(127)
        theirs.close()
        os.close(printed)
        self.socket, self.pipe = ours, output
        self.pidfd = os.pidfd_open(self.pid)
        ours.setblocking(False)
        os.set_blocking(output, False)

    def child(self, program, environment, theirs, printed):
        os.setpgid(0, 0)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in (signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in
                (os.open("/dev/null", os.O_RDONLY), printed, printed, theirs)
                + ((self.board.fd,) if self.board is not None else ())]
        # Of whoever started us nothing must be left.
        for name in os.listdir("/proc/self/fd"):
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                pass  # what the listing itself had open
        for number in range(5):
            if number < len(high):
                os.dup2(high[number], number)
            else:
                fcntl.fcntl(number, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        try:
            os.execvpe(program[0], program, environment)
        except OSError as error:
            os.write(2, f"{program[0]}: {error.strerror}\n".encode())

    def close(self):
        """Ends it, whatever it does."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)  # perhaps no group yet
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.hang_up()
        if self.status is None:
            os.waitpid(self.pid, 0)
        os.close(self.pipe)
        os.close(self.pidfd)
        if self.board is not None:
            self.board.close()

    def hang_up(self):
        """The supervisor is gone."""
        self.socket.close()
        self.eof = True

    def exited(self):
        """How it ended, in words."""
        if self.status is None:
            return "it still runs"
        if os.WIFSIGNALED(self.status):
            return f"it was killed by {signal_name(os.WTERMSIG(self.status))}"
        return f"it exited with {os.WEXITSTATUS(self.status)}"

    def exit_code(self):
        """The exit status, or None when a signal ended it."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) \
            else None

    def died_of_a_bug(self):
        return os.WIFSIGNALED(self.status) and \
            os.WTERMSIG(self.status) in BUGS

    # The loop.

    def pump(self, seconds):
        """Reads, writes and notices its end; waits at most so long for the
        first of these."""
        poll = select.poll()
        if not self.eof:
            events = (select.POLLIN if self.reading else 0) | (
                select.POLLOUT if self.outgoing else 0)
            if events:
                poll.register(self.socket, events)
        if not self.pipe_eof:
            poll.register(self.pipe, select.POLLIN)
        if self.status is None:
            poll.register(self.pidfd, select.POLLIN)
        for fd, event in poll.poll(max(0, seconds) * 1000):
            if fd == self.pipe:
                self.pump_output()
            elif fd == self.pidfd:
                self.reap()
            elif not self.eof:
                if event & select.POLLOUT:
                    self.pump_out()
                if self.reading and event & (select.POLLIN | select.POLLHUP
                                             | select.POLLERR):
                    self.pump_in()
                elif event & (select.POLLHUP | select.POLLERR):
                    self.outgoing.clear()
                    if self.status is None and not self.reading:
                        time.sleep(0.001)  # nothing to wait for but its end

    def pump_output(self):
        got = os.read(self.pipe, 1 << 16)
        self.output += got
        self.pipe_eof = not got

    def reap(self):
        _, self.status = os.waitpid(self.pid, 0)
        self.ended_at = time.monotonic()

    def pump_out(self):
        try:
            sent = self.socket.send(self.outgoing)
            del self.outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.outgoing.clear()  # it hung up; the reading side tells

    def pump_in(self):
        try:
            got = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            got = b""
        if not got:
            self.eof = True
            return
        self.incoming += got
        now = time.monotonic()
        at = 0
        while len(self.incoming) - at >= 4:
            size = int.from_bytes(self.incoming[at:at + 4], "big")
            if size > wire.FRAME_BYTES_MAX:
                self.lost(f"a frame says that it has {size} bytes")
                return
            if len(self.incoming) - at < 4 + size:
                break
            body = bytes(self.incoming[at + 4:at + 4 + size])
            at += 4 + size
            try:
                frame = wire.Frame(body)
            except wire.Broken as error:
                self.lost(str(error))
                return
            self.frames += 1
            self.take(frame, now)
        del self.incoming[:at]

    def lost(self, text):
        """Nothing more can be read of it."""
        self.watch.check("always.frames", False, text)
        self.hang_up()

    def take(self, frame, now):
        self.watch.frame(self, frame)
        if frame.type == wire.HELLO:
            if self.watch.check("always.hello-once", not self.hello,
                                "a second HELLO"):
                self.hello_frame, self.hello_number = frame, self.frames
                self.hello_at = now
                self.hello = frame.payload \
                    if isinstance(frame.payload, dict) else {"": None}
        elif frame.type == wire.COMPLETION:
            for parts in self.watch.count(frame, "COMPLETION"):
                if self.watch.shape(self, parts):
                    self.take_answer(Answer(parts, now, self.frames,
                                            frame.bytes), now)
        elif frame.type == wire.HEARTBEAT:
            for beat in self.watch.count(frame, "HEARTBEAT"):
                self.watch.heartbeat(self, frame, beat)
                if isinstance(beat, list) and len(beat) == 2:
                    self.beats.append((beat[0], beat[1], now))

    def take_answer(self, answer, now):
        item = self.items.get(answer.token)
        if not self.watch.check(
                "always.known", item is not None,
                f"an answer under {answer.token}, which was never sent"):
            return
        if not self.watch.check(
                "always.once", answer.token not in self.answers,
                lambda: f"{item.action} was answered with {answer} after "
                        f"{self.answers[answer.token]}"):
            return
        self.answers[answer.token] = answer
        self.order.append(answer)
        self.watch.answer(item, answer, now)
        if item.place != wire.PLACE_NONE:
            # Looked at now: a DONE that comes after the answer is too late.
            answer.word = self.board.look(item.place)
            self.free(item)
        self.holding.discard(answer.token)

    def free(self, item):
        """The flusher's: nobody uses the item's place any more."""
        self.board.used.discard(item.place)
        self.holding.discard(item.token)

    # Waiting for what should happen.

    def until(self, condition, what, seconds=None):
        seconds = seconds or Life.patience_seconds
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                raise Fail(f"{what}: not within {seconds:g} s")
            if self.status is not None and (self.eof or not self.reading):
                self.pump(0)
                if condition():
                    return
                raise Fail(f"{what}: {self.exited()}{self.said()}")
            if self.eof and self.status is None and condition != self.ended:
                self.pump(min(left, 0.2))
                if self.status is None and not condition():
                    raise Fail(f"{what}: it closed its socket{self.said()}")
                continue
            self.pump(left)

    def said(self):
        if not self.pipe_eof:
            try:
                self.pump_output()
            except BlockingIOError:
                pass
        text = self.output.decode("utf-8", "replace").strip()
        return f", after it said: {text[-300:]}" if text else ""

    def ended(self):
        return self.status is not None

    def quiet(self, seconds):
        """Lets so much time pass, for what must not happen."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.status is not None and self.eof and self.pipe_eof:
                return
            self.pump(left)

    def ready(self):
        self.until(lambda: self.hello, "HELLO", HELLO_SECONDS)
        return self

    def wait_end(self, seconds=None):
        """Until the process ended; then what it printed is all there."""
        self.until(self.ended, "its end", seconds)
        end = time.monotonic() + 0.5
        while not self.pipe_eof and time.monotonic() < end:
            self.pump(0.05)
        return self.ended_at

    def drained(self):
        """Everything that was sent has been read by the worker."""
        left = array.array("i", [0])
        fcntl.ioctl(self.socket, termios.TIOCOUTQ, left)
        return not self.outgoing and left[0] == 0

    def wait_read(self):
        """Until it has read what it was sent. The kernel gives no event for
        that, so this looks again and again."""
        end = time.monotonic() + Life.patience_seconds
        while not self.drained():
            if time.monotonic() > end or self.eof:
                raise Fail("it does not read what it is sent")
            self.pump(0.0002)

    def got(self, items):
        items = list(items)
        self.until(lambda: all(i.token in self.answers for i in items),
                   f"answers to {len(items)} items")
        return [self.answers[i.token] for i in items]

    # Sending.

    @property
    def concurrency(self):
        said = self.hello.get("concurrency", 1)
        return said if wire.is_uint(said, 1024) and said else 1

    @property
    def window(self):
        """How many items it may hold. What HELLO says wrong is for the case
        life.hello-keys to say."""
        said = self.hello.get("window")
        if not wire.is_uint(said, 1024) or said == 0:
            said = 1
        if self.claims() or self.hello.get("recall"):
            return said
        return min(said, self.concurrency)

    def claims(self):
        return self.board is not None and self.hello.get("scoreboard") is True

    def send(self, data):
        self.outgoing += data
        self.pump_out()

    def frame(self, type_, count, payload):
        return wire.frame(type_, self.slot, self.spawn, count, payload)

    def item(self, action, value=None, *, packed=None, token=None, **more):
        if token is None:
            Life.tokens += 1
            token = Life.tokens
        return Item(token, action,
                    wire.pack(value) if packed is None else packed, **more)

    def register(self, items, places=True):
        """What is about to be sent, as the flusher writes it down."""
        for item in items:
            self.items[item.token] = item
            self.holding.add(item.token)
            item.sent_at = time.monotonic()
            if places and self.claims():
                item.place = self.board.free_place()
                self.board.write(item.place, item)

    def dispatch_frame(self, items, places=True, uint=wire.pack):
        self.register(items, places)
        return wire.body([wire.pack(wire.DISPATCH), uint(self.slot),
                          uint(self.spawn), uint(len(items)), wire.array(
                              wire.array(i.parts(uint)) for i in items)])

    def dispatch(self, items, places=True):
        items = list(items)
        self.send(self.dispatch_frame(items, places))
        return items

    def start_one(self, action, value=None, **more):
        return self.dispatch([self.item(action, value, **more)])[0]

    def ask(self, action, value=None, **more):
        """The answer to one item."""
        return self.got([self.start_one(action, value, **more)])[0]

    def result(self, action, value=None, **more):
        answer = self.ask(action, value, **more)
        if answer.status != 0:
            raise Fail(f"{action} should end well: {answer}")
        return answer.result

    def tokens_frame(self, type_, tokens):
        tokens = [t.token if isinstance(t, Item) else t for t in tokens]
        return self.frame(type_, len(tokens), wire.pack(tokens))

    def recall(self, tokens):
        self.send(self.tokens_frame(wire.RECALL, tokens))

    def cancel(self, tokens):
        self.send(self.tokens_frame(wire.CANCEL, tokens))

    def drain(self):
        self.send(self.frame(wire.DRAIN, 0, wire.pack(None)))

    def stream(self, items, hold=None):
        """All of them, as many at once as it may hold."""
        waiting, hold = list(items)[::-1], hold or self.window
        total = list(items)
        while waiting:
            room = hold - len(self.holding)
            if room > 0:
                self.dispatch([waiting.pop() for _ in
                               range(min(room, len(waiting), 1024))])
            if waiting:
                seen = len(self.order)
                self.until(lambda: len(self.order) > seen or (
                    len(self.holding) < hold), "an answer")
        return self.got(total)

    def printed(self, text, seconds=5.0):
        self.until(lambda: text.encode() in self.output,
                   f"{text!r} on its output", seconds)


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
