#!/usr/bin/python3
"""The engine is pure: no I/O, no clock, no randomness, no globals.

usage: engine_symbols.py LIBENGINE LIBCOMMON

Follows what libengine.a calls, through the parts of libcommon.a that it uses,
to what neither of them defines, and compares that with a list of functions
that do nothing but compute or allocate. Objects of the engine must hold
nothing that can be written. Ends with 1 and says what is wrong otherwise.
"""

import re
import subprocess
import sys

# Memory, text, arithmetic; and what the compiler puts in by itself.
PURE = set("""
    malloc calloc realloc free abort
    memcpy memmove memset memcmp memchr memrchr memmem mempcpy
    strlen strcmp strncmp strchr strrchr strstr strpbrk strspn strcspn
    strnlen stpcpy
    qsort bsearch qsort_r
    snprintf vsnprintf strtod strtod_l strtol strtoul strtoull strtoll
    newlocale uselocale freelocale
    __errno_location
    floor ceil trunc fabs fmax fmin sqrt fmod pow round rint log10 modf frexp ldexp
    __stack_chk_fail __memcpy_chk __memmove_chk __memset_chk __snprintf_chk
    __vsnprintf_chk __stpcpy_chk __strcpy_chk __strcat_chk
    _GLOBAL_OFFSET_TABLE_
""".split())
# Pure parts of the libraries that values, JSON and hashes come from.
PURE_PATTERNS = [
    r"yajl_(alloc|free|parse|complete_parse|config|get_error|free_error|"
    r"get_bytes_consumed)$",
    r"nettle_(base(16|64)|md5|sha|hash)\w*$",
]
# assert_failed() writes a line as the process ends: our bug, no behaviour.
LAST_WORDS = {"assert_failed"}

# uuid_text() shares a file with uuid_random(), which must stay unused.
EXCUSED = {"getrandom": "uuid_random"}

WRITABLE = re.compile(r"^\.(data|bss|tdata|tbss)(?!\.rel\.ro)|^\*COM\*$")


def objects(archive):
    """Name of each object to the symbols it defines and those it needs."""
    text = subprocess.run(["nm", "-A", "-g", archive], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    found = {}
    for line in text.splitlines():
        place, _, rest = line.partition(": ") if ": " in line else \
            (line.rsplit(":", 1)[0], "", line.rsplit(":", 1)[1])
        name = place.split(":")[1].rsplit("/", 1)[-1]
        fields = rest.split()
        if len(fields) < 2 or "__odr_asan" in fields[-1]:
            continue
        defined, needed = found.setdefault(name, (set(), set()))
        (needed if fields[-2] in "Uw" else defined).add(fields[-1])
    return found


def writable(archive):
    """Symbols and sections of the archive's objects that can be written."""
    text = subprocess.run(["objdump", "-t", archive], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    name = "?"
    for line in text.splitlines():
        match = re.match(r"(\S+\.o):\s+file format", line)
        if match:
            name = match.group(1)
        match = re.match(r"[0-9a-f]{8,} (.{7}) (\S+)\s+([0-9a-f]+)\s+(.+)",
                         line)
        if match and WRITABLE.match(match.group(2)) and \
                match.group(4) != match.group(2):
            yield name, match.group(4)


def main():
    engine = objects(sys.argv[1])
    common = objects(sys.argv[2])
    where = {s: name for name, (defined, _) in common.items()
             for s in defined}
    own = {s for defined, _ in engine.values() for s in defined}
    bad = 0

    if len(engine) < 10 or not where:
        sys.exit("engine_symbols: these are not the two archives")
    # From object to object of common, once each.
    todo = [(s, name) for name, (_, needed) in engine.items()
            for s in needed]
    seen = set()
    used = set()
    while todo:
        symbol, user = todo.pop()
        if symbol in seen or symbol in own or symbol in LAST_WORDS:
            continue
        seen.add(symbol)
        if symbol in where:
            part = where[symbol]
            if part not in used:
                used.add(part)
                todo += [(s, part) for s in common[part][1]]
        elif symbol in EXCUSED:
            continue
        elif symbol not in PURE and not any(
                re.match(p, symbol) for p in PURE_PATTERNS):
            print(f"{user} uses {symbol}, which is not known to be pure")
            bad += 1
    for symbol in seen & set(EXCUSED.values()):
        print(f"the engine uses {symbol}")
        bad += 1
    for name, symbol in writable(sys.argv[1]):
        print(f"{name} has {symbol}, which can be written")
        bad += 1
    if bad == 0:
        print(f"{len(engine)} objects of the engine, with "
              f"{', '.join(sorted(used))}: pure")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
