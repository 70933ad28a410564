"""The socket to the supervisor: frames in, frames out (docs/protocol.md).

Whoever calls receive() is the only reader at that time; send() may be called
by any thread. The end of the connection is the end of the process, whatever
it does: nobody is left to work for.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from typing import Any, Dict, List, NoReturn, Optional, Tuple, Type

from msgpack import Packer, unpackb

from rappel._errors import ResultInvalid, ResultTooLarge, describe
from rappel._values import DEPTH_MAX, is_plain, plain

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15
CANCEL, RECALL, HEARTBEAT = 20, 21, 22

DONE, FAILED, NOT_BEGUN, LATER = 0, 1, 2, 3

EXIT_GONE = 0
EXIT_PROTOCOL = 70

FRAME_BYTES_MAX = 16 << 20
READ_BYTES = 64 << 10
BATCH_BYTES = 64 << 10
PROGRESS_BYTES_MAX = 4 << 10
TOKEN_MAX = (1 << 61) - 1
PLACE_MAX = 1024
UINT_MAX = (1 << 32) - 1

_LENGTH = struct.Struct(">I")
# The header's count and the payload's array, both in 32 bits.
_COUNTS = struct.Struct(">BIBI")

Frame = Tuple[int, int, Any]


def leave(code: int, line: str = "") -> NoReturn:
    """Ends the process at once, whatever its threads do."""
    if line:
        try:
            os.write(2, f"rappel.worker: {line}\n".encode(
                "utf-8", "backslashreplace"))
        except OSError:
            pass
    os._exit(code)


class ProtocolError(Exception):
    """The supervisor said what it may not."""


def _check_item(item: Any) -> None:
    if type(item) is not list or len(item) < 8:
        raise ProtocolError("an item of DISPATCH is not an array of eight")
    token, instance, activation, attempt, action, timeout_us, place = item[:7]
    if not (type(token) is int and 0 < token <= TOKEN_MAX and
            type(instance) is bytes and len(instance) == 16 and
            type(activation) is int and 0 <= activation <= UINT_MAX and
            type(attempt) is int and 0 <= attempt <= UINT_MAX and
            type(action) is str and
            type(timeout_us) is int and timeout_us >= 0 and
            type(place) is int and 0 <= place <= PLACE_MAX):
        raise ProtocolError("an item of DISPATCH has a part of a wrong type "
                            "or range")
    if len(item) > 8 and not (type(item[8]) is int and item[8] >= 0):
        raise ProtocolError("an item of DISPATCH has a wrong heartbeat_us")
    if not is_plain(item[7], DEPTH_MAX):
        raise ProtocolError("the input of an item is no JSON value")


class Wire:
    def __init__(self, fd: int, slot: int, spawn: int) -> None:
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(True)
        self.sock.set_inheritable(False)
        self.slot = slot
        self.spawn = spawn
        self._in = bytearray()
        self._sending = threading.Lock()
        self._heads: Dict[int, bytes] = {}
        self._closed = False
        # What an action forks must not speak for us.
        os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        self._closed = True
        self._sending = threading.Lock()
        self.sock.close()

    # ---- reading ----

    def receive(self, wait: bool = True) -> Optional[List[Frame]]:
        """Every whole frame that came: type, count, payload. [] when there
        is only a part of one, None when there is nothing and no waiting."""
        try:
            data = self.sock.recv(READ_BYTES,
                                  0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            leave(EXIT_GONE)
        try:
            return self._frames(data)
        except ProtocolError as exc:
            leave(EXIT_PROTOCOL, f"protocol violation by the supervisor: "
                  f"{exc}; this worker ends (a bug: report it with the log)")

    def _frames(self, data: bytes) -> List[Frame]:
        frames: List[Frame] = []
        buffer: Any = data
        if self._in:
            self._in += data
            buffer = self._in
        at, end = 0, len(buffer)
        while end - at >= 4:
            size, = _LENGTH.unpack_from(buffer, at)
            if not 0 < size <= FRAME_BYTES_MAX:
                raise ProtocolError(f"a frame of {size} bytes")
            if end - at - 4 < size:
                break
            frame = self._frame(bytes(buffer[at + 4:at + 4 + size]))
            if frame is not None:
                frames.append(frame)
            at += 4 + size
        if buffer is self._in:
            del self._in[:at]
        elif at < end:
            self._in += buffer[at:]
        return frames

    def _frame(self, body: bytes) -> Optional[Frame]:
        """None for a type that came up after this was written."""
        try:
            found = unpackb(body)
        except Exception as exc:
            raise ProtocolError(f"a frame's body is no msgpack array: "
                                f"{type(exc).__name__} {exc}") from None
        if type(found) is not list or len(found) != 5:
            raise ProtocolError("a frame's body is not an array of five")
        kind, slot, spawn, count, payload = found
        if type(kind) is not int or type(count) is not int:
            raise ProtocolError("a frame's type and count are no integers")
        if slot != self.slot or spawn != self.spawn:
            raise ProtocolError(f"a frame for slot {slot!r} spawn {spawn!r}, "
                                f"not {self.slot} and {self.spawn}")
        if kind == DRAIN:
            return kind, count, payload
        if kind not in (DISPATCH, CANCEL, RECALL):
            return None
        if type(payload) is not list or len(payload) != count:
            raise ProtocolError(f"a frame of type {kind} that does not hold "
                                f"its {count} items")
        if kind == DISPATCH:
            for item in payload:
                _check_item(item)
        elif not all(type(token) is int for token in payload):
            raise ProtocolError(f"a frame of type {kind} with a token that "
                                "is no integer")
        return kind, count, payload

    # ---- writing ----

    def _head(self, kind: int) -> bytes:
        pack = Packer().pack
        return b"".join((b"\x95", pack(kind), pack(self.slot),
                         pack(self.spawn)))

    def send(self, kind: int, items: List[bytes], wait: bool = True) -> None:
        """One frame whose payload is an array of these packed items."""
        head = self._heads.get(kind)
        if head is None:
            head = self._heads[kind] = self._head(kind)
        count = len(items)
        body = b"".join((head, _COUNTS.pack(0xce, count, 0xdd, count),
                         *items))
        self._put(_LENGTH.pack(len(body)) + body, wait)

    def hello(self, payload: Dict[str, Any]) -> None:
        body = self._head(HELLO) + b"\x00" + Packer().pack(payload)
        self._put(_LENGTH.pack(len(body)) + body, True)

    def _put(self, data: bytes, wait: bool) -> None:
        # A signal handler must not wait for whom it has interrupted.
        if not self._sending.acquire(wait):
            return
        try:
            if self._closed:
                return
            if wait:
                self.sock.sendall(data)
            else:
                self.sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            leave(EXIT_GONE)
        finally:
            self._sending.release()


class Answers:
    """Packs COMPLETION items. One for each thread: a Packer has state."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._pack = Packer().pack

    def done(self, item: List[Any], run_us: int, value: Any) -> bytes:
        """ResultInvalid when the value is none that can be sent."""
        token, instance, activation, attempt = item[:4]
        answer = [token, instance, activation, attempt, DONE, run_us, value]
        packed = None
        if is_plain(value):
            try:
                packed = self._pack(answer)
            except (OverflowError, UnicodeEncodeError):
                pass  # plain() says where
        if packed is None:
            answer[6] = value = plain(value)
            packed = self._pack(answer)
        if len(packed) > self.bytes_max:
            self._check_size(value, "the result", self.bytes_max,
                             ResultTooLarge)
        return packed  # type: ignore[no-any-return]

    def _check_size(self, value: Any, what: str, bytes_max: int,
                    error: Type[ResultInvalid] = ResultInvalid) -> bytes:
        packed = self._pack(value)
        if len(packed) > bytes_max:
            raise error(
                f"{what} has {len(packed)} bytes, packed; at most "
                f"{bytes_max} fit: store it elsewhere and give a reference")
        return packed  # type: ignore[no-any-return]

    def failed(self, item: List[Any], run_us: int,
               exc: BaseException) -> bytes:
        try:
            name, cause, kinds = describe(exc)
        except Exception as broken:  # pylint: disable=broad-except
            name, kinds = type(exc).__name__[:32], []
            cause = f"the exception cannot be described: {broken!r:.500}"
        answer = [*item[:4], FAILED, run_us, name, cause]
        if kinds:
            answer.append({"kinds": kinds})
        return self._pack(answer)  # type: ignore[no-any-return]

    def unknown(self, item: List[Any]) -> bytes:
        return self._pack(  # type: ignore[no-any-return]
            [*item[:4], FAILED, 0, "Rappel.UnknownAction",
             f'this worker has no action "{item[4][:128]}"'])

    def not_begun(self, item: List[Any]) -> bytes:
        return self._pack(  # type: ignore[no-any-return]
            [*item[:4], NOT_BEGUN, 0])

    def later(self, item: List[Any], run_us: int) -> bytes:
        return self._pack(  # type: ignore[no-any-return]
            [*item[:4], LATER, run_us])

    def progress(self, token: int, progress: Any) -> bytes:
        """An item of HEARTBEAT."""
        progress = plain(progress, "progress")
        self._check_size(progress, "progress", PROGRESS_BYTES_MAX)
        return self._pack([token, progress])  # type: ignore[no-any-return]


def flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
