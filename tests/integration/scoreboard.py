"""A scoreboard as docs/protocol.md describes it, for tests that play a part.

    fd = scoreboard.make()
    board = scoreboard.Board(fd)
    board.wait(0, token, instance, activation, attempt)
    board.claim(0, token)

Python has no compare-and-swap of its own; GCC's libatomic has one.
"""

import ctypes
import fcntl
import mmap
import os
import socket
import struct
import time

PLACES, PLACE = 1024, 64
FREE, WAITING, RUNNING, DONE, RECALLED = range(5)
# struct message of common/board_socket.c: slot, zero, spawn.
MESSAGE = struct.Struct("=HHI")
F_ADD_SEALS, SEALS = 1033, 0x1 | 0x2 | 0x4  # SEAL, SHRINK, GROW


SWAP = getattr(ctypes.CDLL("libatomic.so.1"), "__atomic_compare_exchange_8")
SWAP.restype = ctypes.c_bool
SWAP.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64),
                 ctypes.c_uint64, ctypes.c_int, ctypes.c_int)
SEQ_CST = 5


def now_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def make():
    fd = os.memfd_create("test-scoreboard",
                         os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PLACES * PLACE)
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    return fd


def send(sock, slot, spawn, fd):
    socket.send_fds(sock, [MESSAGE.pack(slot, 0, spawn)], [fd])


def receive(sock):
    """(slot, spawn, fd), or None when there is none now."""
    try:
        data, fds, _, _ = socket.recv_fds(sock, 64, 4, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    if not data:
        return None
    slot, _, spawn = MESSAGE.unpack(data)
    return slot, spawn, fds[0]


class Board:
    def __init__(self, fd):
        self.fd = os.dup(fd)
        self.memory = mmap.mmap(fd, PLACES * PLACE)
        # Whole words at a time, as the hardware writes them.
        self.words = memoryview(self.memory).cast("Q")
        self.address = ctypes.addressof(
            ctypes.c_char.from_buffer(self.memory))

    def word(self, place):
        return self.words[place * PLACE // 8]

    def set_word(self, place, word):
        self.words[place * PLACE // 8] = word

    def look(self, place):
        """(token, phase)"""
        return self.word(place) >> 3, self.word(place) & 7

    def wait(self, place, token, instance, activation, attempt):
        at = place * PLACE
        self.memory[at + 16:at + 44] = instance + struct.pack(
            "=QI", activation, attempt)
        self.set_word(place, token << 3 | WAITING)

    def swap(self, place, token, old, new):
        """From one phase to another; False when it was not in the first."""
        expected = ctypes.c_uint64(token << 3 | old)
        return SWAP(self.address + place * PLACE, ctypes.byref(expected),
                    token << 3 | new, SEQ_CST, SEQ_CST)

    def claim(self, place, token):
        self.words[place * PLACE // 8 + 1] = now_us()
        return self.swap(place, token, WAITING, RUNNING)

    def done(self, place, token):
        self.swap(place, token, RUNNING, DONE)
