"""What the daemon said, and what a crash leaves.

I17  bounded noise, no secrets      I21  no report, no assertion, no core
"""

import os
import re

LINE = re.compile(
    r'^(<[0-7]>)?ts=(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z '
    r'level=(error|warning|info|debug) comp=\S+ msg="(?P<rest>.*)$')
REPORT = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer"
    r"|UndefinedBehaviorSanitizer|runtime error:|assertion failed"
    r"|^==\d+==|stack smashing|buffer overflow detected|double free"
    r"|corrupted (size|double|unsorted)|malloc\(\): |free\(\): ")
CRASH = re.compile(r"killed by signal (4|6|7|8|11|31)\b")


def noise(text, per_second=100, canaries=(), foreign=()):
    """I17: how much was said, in which form, and what should not have been.

    canaries: secrets and payloads that were planted; foreign: patterns of
    lines that are not the daemon's, such as what a worker printed.
    """
    findings = []
    seconds = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.match(line)
        if match is None:
            if not any(re.search(pattern, line) for pattern in foreign):
                findings.append(f"log: line {number} has no form: "
                                f"{line:.120}")
            continue
        second = match.group("second")
        seconds[second] = seconds.get(second, 0) + 1
    findings += [f"log: {count} lines in the second {second}"
                 for second, count in seconds.items() if count > per_second]
    return findings + secrets(text, canaries)


def secrets(text, canaries, where="log"):
    """T11: planted words that came out; as they are, and as a log or a
    terminal would escape them."""
    findings = []
    for canary in canaries:
        forms = {canary, canary.replace("\\", "\\\\").replace('"', '\\"'),
                 repr(canary)[1:-1], canary.encode().hex()}
        if any(form in text for form in forms):
            findings.append(f"{where}: the canary {canary!r} is in it")
    return findings


def told(text, patterns):
    """I17: each fault has at least one line, which says of whom it is.

    patterns: regular expressions; the line must also have a key=value.
    """
    lines = [line for line in text.splitlines() if LINE.match(line)]
    return [f"log: no line with ids says {pattern!r}" for pattern in patterns
            if not any(re.search(pattern, line) and
                       re.search(r'" .*\w=\S', line) for line in lines)]


def reports(text, crashes=False):
    """I21: sanitizers, assertions, and deaths that nobody asked for.

    crashes: the fault is the crash of a process.
    """
    return [f"report: line {number}: {line:.200}"
            for number, line in enumerate(text.splitlines(), 1)
            if REPORT.search(line) or
            (not crashes and CRASH.search(line))]


def cores(*folders):
    """I21: core files there."""
    found = []
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        found += [f"report: {os.path.join(folder, name)}" for name in names
                  if name == "core" or re.fullmatch(r"core\.\d+", name)]
    return found
