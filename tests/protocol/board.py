"""The scoreboard as the supervisor makes it and the flusher uses it.

docs/protocol.md, section 5. Words are written whole, eight aligned bytes at a
time. Swaps need GCC's libatomic; without it (`SWAP` is None) what depends on
a race is skipped.
"""

import ctypes
import fcntl
import mmap
import os
import struct
import time

PLACES, PLACE_BYTES = 1024, 64
FREE, WAITING, RUNNING, DONE, RECALLED = range(5)
PHASES = ("FREE", "WAITING", "RUNNING", "DONE", "RECALLED")
F_ADD_SEALS = 1033
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW = 1, 2, 4
SEQ_CST = 5
PATTERN = b"nobody writes here.."
assert len(PATTERN) == 20

try:
    SWAP = getattr(ctypes.CDLL("libatomic.so.1"),
                   "__atomic_compare_exchange_8")
    SWAP.restype = ctypes.c_bool
    SWAP.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64),
                     ctypes.c_uint64, ctypes.c_int, ctypes.c_int)
except (OSError, AttributeError):
    SWAP = None


def boot_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Board:
    def __init__(self):
        self.fd = os.memfd_create("scoreboard",
                                  os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, PLACES * PLACE_BYTES)
        fcntl.fcntl(self.fd, F_ADD_SEALS,
                    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
        self.memory = mmap.mmap(self.fd, PLACES * PLACE_BYTES)
        self.words = memoryview(self.memory).cast("Q")
        self.shadow = {}  # what the flusher wrote, by place
        for place in range(PLACES):
            at = place * PLACE_BYTES
            self.memory[at + 44:at + 64] = PATTERN
            self.shadow[place] = bytes(self.memory[at + 16:at + 64])
        self.turn = 0
        self.used = set()

    def close(self):
        self.words.release()
        self.memory.close()
        os.close(self.fd)

    def free_place(self):
        """The next in turn that nobody uses."""
        for _ in range(PLACES):
            place = self.turn
            self.turn = (self.turn + 1) % PLACES
            if place not in self.used:
                self.used.add(place)
                return place
        raise AssertionError("more than 1024 items at once")

    def write(self, place, item, phase=WAITING, token=None):
        at = place * PLACE_BYTES
        self.words[at // 8 + 1] = 0
        self.memory[at + 16:at + 44] = item.instance + struct.pack(
            "=QI", item.activation, item.attempt)
        self.shadow[place] = bytes(self.memory[at + 16:at + 44]) + PATTERN
        self.set_word(place, item.token if token is None else token, phase)

    def set_word(self, place, token, phase):
        self.words[place * PLACE_BYTES // 8] = token << 3 | phase

    def look(self, place):
        """(token, phase)"""
        word = self.words[place * PLACE_BYTES // 8]
        return word >> 3, word & 7

    def began_us(self, place):
        return self.words[place * PLACE_BYTES // 8 + 1]

    def recall(self, place, token):
        """Swaps WAITING for RECALLED; False when it was not WAITING."""
        expected = ctypes.c_uint64(token << 3 | WAITING)
        word = ctypes.c_uint64.from_buffer(self.memory, place * PLACE_BYTES)
        try:
            return SWAP(ctypes.addressof(word), ctypes.byref(expected),
                        token << 3 | RECALLED, SEQ_CST, SEQ_CST)
        finally:
            del word

    def overwritten(self):
        """Places of which more was written than the word and the time."""
        return [place for place in range(PLACES)
                if self.memory[place * PLACE_BYTES + 16:
                               place * PLACE_BYTES + 64]
                != self.shadow[place]]

    def word_text(self, place):
        token, phase = self.look(place)
        name = PHASES[phase] if phase < len(PHASES) else str(phase)
        return f"token {token}, {name}"
