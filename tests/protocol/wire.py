"""Frames and msgpack, byte by byte: the suite's own reader and writer.

Reads strictly what a worker sends, tells what it should not have sent, and
builds what no encoder would. docs/protocol.md, section 1, is what it knows.
"""

import math
import struct

import msgpack

HELLO, DISPATCH, COMPLETION, DRAIN = 1, 10, 11, 15
CANCEL, RECALL, HEARTBEAT = 20, 21, 22
FRAME_BYTES_MAX = 16 << 20
BODY_DEPTH_MAX, VALUE_DEPTH_MAX = 40, 32
VALUE_BYTES_MAX = 1 << 20
PLACE_NONE = 1024
TOKEN_MAX = (1 << 61) - 1


class Broken(Exception):
    """Bytes that are no msgpack, or no frame."""


class Extension:
    """A msgpack extension, which no value may hold."""

    def __init__(self, code):
        self.code = code


NUMBERS = {0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b",
           0xd1: ">h", 0xd2: ">i", 0xd3: ">q", 0xca: ">f", 0xcb: ">d"}
TEXTS = {0xd9: 1, 0xda: 2, 0xdb: 4}
BINARIES = {0xc4: 1, 0xc5: 2, 0xc6: 4}
ARRAYS = {0xdc: 2, 0xdd: 4}
MAPS = {0xde: 2, 0xdf: 4}
EXTENSIONS = {0xc7: 1, 0xc8: 2, 0xc9: 4}


class Reader:
    """One msgpack value out of bytes. Text that is no UTF-8 and keys that
    come twice are put into `problems`; what cannot be read is Broken."""

    def __init__(self, data):
        self.data = data
        self.at = 0
        self.deepest = 0
        self.problems = []

    def take(self, size):
        if self.at + size > len(self.data):
            raise Broken(f"msgpack ends at byte {len(self.data)}, within "
                         "a value")
        found = self.data[self.at:self.at + size]
        self.at += size
        return found

    def length(self, size):
        return int.from_bytes(self.take(size), "big")

    def text(self, size):
        raw = self.take(size)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            self.problems.append(f"a string is no UTF-8: {bytes(raw)[:40]!r}")
            return str(raw, "utf-8", "surrogateescape")

    def array(self, count, depth):
        return [self.value(depth + 1) for _ in range(count)]

    def map(self, count, depth):
        found = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if isinstance(key, (list, dict, Extension)):
                raise Broken("a map's key is an array, a map or an extension")
            if key in found:
                self.problems.append(f"a map has the key {key!r} twice")
            found[key] = self.value(depth + 1)
        return found

    def value(self, depth=1):
        tag = self.take(1)[0]
        if tag < 0x80:
            return tag
        if tag >= 0xe0:
            return tag - 256
        if 0xa0 <= tag <= 0xbf:
            return self.text(tag & 0x1f)
        if tag in NUMBERS:
            form = NUMBERS[tag]
            return struct.unpack(form, self.take(struct.calcsize(form)))[0]
        if tag in TEXTS:
            return self.text(self.length(TEXTS[tag]))
        if tag in BINARIES:
            return bytes(self.take(self.length(BINARIES[tag])))
        if tag == 0xc0:
            return None
        if tag in (0xc2, 0xc3):
            return tag == 0xc3
        if tag in EXTENSIONS or 0xd4 <= tag <= 0xd8:
            size = self.length(EXTENSIONS[tag]) if tag in EXTENSIONS \
                else 1 << (tag - 0xd4)
            code = self.take(1)[0]
            self.take(size)
            return Extension(code)
        if tag == 0xc1:
            raise Broken("byte 0xc1 begins no msgpack value")
        if depth > 200:
            raise Broken("nested deeper than 200")
        self.deepest = max(self.deepest, depth)
        if 0x90 <= tag <= 0x9f:
            return self.array(tag & 0x0f, depth)
        if tag in ARRAYS:
            return self.array(self.length(ARRAYS[tag]), depth)
        if tag in MAPS:
            return self.map(self.length(MAPS[tag]), depth)
        return self.map(tag & 0x0f, depth)


class Frame:
    """What a worker sent: the five parts, and what is wrong with them."""

    def __init__(self, body):
        reader = Reader(body)
        parts = reader.value()
        if not isinstance(parts, list) or len(parts) != 5:
            raise Broken("the body of a frame is no array of five: "
                         f"{short(parts)}")
        self.type, self.slot, self.spawn, self.count, self.payload = parts
        self.bytes = len(body)
        self.problems = reader.problems
        if reader.at != len(body):
            self.problems.append(f"{len(body) - reader.at} bytes are left "
                                 "over behind a frame's array")
        if reader.deepest > BODY_DEPTH_MAX:
            self.problems.append(f"a frame is nested {reader.deepest} deep")
        if body[1] > 0x7f:
            self.problems.append("a frame's type is no positive fixint")


def kind(value):
    """The JSON type of a value; int and float are told apart."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return type(value).__name__


def is_uint(value, most=(1 << 64) - 1):
    return kind(value) == "int" and 0 <= value <= most


def flaw(value, depth=1):
    """Why something is no value as section 1 says, or None."""
    what = kind(value)
    if what in ("null", "bool", "int"):
        return None
    if what == "str":
        return None  # the reader has looked at its bytes
    if what == "float":
        return None if math.isfinite(value) else f"the number {value}"
    if what not in ("list", "dict"):
        return f"{what}, which JSON has not"
    if depth > VALUE_DEPTH_MAX:
        return f"nested deeper than {VALUE_DEPTH_MAX}"
    if what == "dict":
        for key in value:
            if kind(key) != "str":
                return f"a map's key that is {kind(key)}"
        value = value.values()
    for part in value:
        found = flaw(part, depth + 1)
        if found is not None:
            return found
    return None


def difference(expected, got, where="the value", loose=False):
    """The first place where two values are not the same, or None. Floats are
    compared by their bits. `loose` lets an integer stand for a float of the
    same value, for languages that have but one kind of number."""
    ours, theirs = kind(expected), kind(got)
    if loose and ours == "float" and theirs == "int" and expected == got \
            and math.copysign(1, expected) > 0 or \
            loose and ours == "float" and theirs == "int" and got != 0 \
            and expected == got:
        return None
    if ours != theirs:
        return f"{where} is {short(got)} ({theirs}), not {short(expected)}" \
               f" ({ours})"
    if ours == "list":
        if len(expected) != len(got):
            return f"{where} has {len(got)} elements, not {len(expected)}"
        pairs = [(f"{where}[{i}]", a, b)
                 for i, (a, b) in enumerate(zip(expected, got))]
    elif ours == "dict":
        if list(expected) != list(got):
            return f"{where} has the keys {short(list(got))}, not " \
                   f"{short(list(expected))}"
        pairs = [(f"{where}.{key}", expected[key], got[key])
                 for key in expected]
    elif ours == "float":
        same = struct.pack(">d", expected) == struct.pack(">d", got)
        return None if same else f"{where} is {got!r}, not {expected!r}"
    else:
        return None if expected == got else \
            f"{where} is {short(got)}, not {short(expected)}"
    for place, a, b in pairs:
        found = difference(a, b, place, loose)
        if found is not None:
            return found
    return None


def short(value):
    text = repr(value)
    return text if len(text) <= 100 else \
        f"{text[:70]}… ({len(text)} characters)"


# What is built here is packed already: bytes go in, bytes come out.

def pack(value):
    return msgpack.packb(value, use_bin_type=True,
                         unicode_errors="surrogatepass")


def array(parts):
    parts = list(parts)
    if len(parts) < 16:
        header = bytes([0x90 | len(parts)])
    else:
        header = b"\xdd" + struct.pack(">I", len(parts))
    return header + b"".join(parts)


WIDTHS = {"u8": 0xcc, "u16": 0xcd, "u32": 0xce, "u64": 0xcf, "i8": 0xd0,
          "i16": 0xd1, "i32": 0xd2, "i64": 0xd3}


def uint(value, width):
    """In one of the ways that msgpack has; in the shortest one that there is
    when the number does not fit into that."""
    try:
        return bytes([WIDTHS[width]]) + struct.pack(
            NUMBERS[WIDTHS[width]], value)
    except struct.error:
        return pack(value)


def body(parts):
    """A frame around five packed parts, or however many."""
    return framed(array(parts))


def framed(data):
    return struct.pack(">I", len(data)) + data


def frame(type_, slot, spawn, count, payload):
    return body([pack(type_), pack(slot), pack(spawn), pack(count), payload])


def nested(depth, inner=b"\xc0"):
    """That many arrays, one in the other."""
    return b"\x91" * depth + inner
