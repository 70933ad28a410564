#!/usr/bin/python3
"""Two habits that a program can check by reading the source.

usage: scan.py SOURCE_ROOT

T10: a signal handler calls async-signal-safe functions only, also through
functions of ours. T07: SQL is constant: no PQescape*, no PQexec of something
else than a literal, no statement put together with printf.

Prints every finding as FILE:LINE: what, and ends with 1 when there is one.
Before that it looks at planted ones, all of which it must find.
"""

import os
import re
import sys

FOLDERS = ("common", "engine", "supervisor", "flusher", "worker", "ctl",
           "bench")
# Of signal-safety(7), what might be used here, and our own last words.
SAFE = set("""_exit abort alarm chdir chmod clock_gettime close connect creat
dup dup2 execve execle fchmod fcntl fdatasync fork fstat fsync ftruncate
getegid geteuid getgid getpgrp getpid getppid getuid kill link lseek memcpy
memmove memset mkdir open openat pause pipe poll raise read readlink recv
recvfrom recvmsg rename rmdir send sendmsg sendto setpgid setsid shutdown
sigaction sigaddset sigdelset sigemptyset sigfillset sigprocmask sleep socket
socketpair stat strlen symlink tcsetpgrp time umask unlink wait waitpid write
writev atomic_store atomic_load atomic_fetch_add __atomic_store_n
__atomic_load_n assert_failed ASSERT BIT""".split())
WORDS = {"if", "while", "for", "switch", "return", "sizeof", "defined",
         "__attribute__", "_Alignof", "do", "else"}
# Where handlers are named.
HANDLER = re.compile(r"\bsa_(?:handler|sigaction)\s*=\s*&?(\w+)"
                     r"|\bsignal\s*\(\s*\w+\s*,\s*&?(\w+)\s*\)")
BODY = r"^%s\s*\([^;{]*\)\s*\{(.*?)^\}"
PRINTF = re.compile(r"\b(?:\w*printf|buf_printf|strings_add|strcat|\w*_fmt)"
                    r"\s*\(([^;]*?)\)\s*;", re.S)
STATEMENT = re.compile(
    r'"\s*(?:SELECT\s+\S+.*\bFROM\b|SELECT\s+\w+\s*\(|INSERT\s+INTO\b'
    r'|UPDATE\s+\S+\s+SET\b|DELETE\s+FROM\b|(?:CREATE|ALTER|DROP)\s+(?:TABLE'
    r'|DATABASE|ROLE|SCHEMA|USER|FUNCTION|INDEX)\b|SET\s+(?:LOCAL|SESSION|'
    r'ROLE)\b|LISTEN\s|NOTIFY\s|COPY\s+\S+\s+(?:FROM|TO)\b|GRANT\s)', re.S)
CONVERSION = re.compile(r"%[-+ #0-9.*]*(?:hh|h|ll|l|z|j)?[a-zA-Z]")


def without_comments(text):
    """Comments as blanks, so that lines keep their numbers."""
    def blank(match):
        found = match.group(0)
        return found if found[0] in "\"'" else re.sub(r"[^\n]", " ", found)
    return re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|/\*.*?\*/'
                  r"|//[^\n]*", blank, text, flags=re.S)


def without_strings(text):
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def body_of(name, sources):
    for path, text in sources.items():
        found = re.search(BODY % re.escape(name), text, re.M | re.S)
        if found:
            return path, found.start(), found.group(1)
    return None


def unsafe_calls(name, sources, seen):
    """What the function calls and should not from a handler."""
    if name in seen:
        return []
    seen.add(name)
    found = body_of(name, sources)
    if found is None:
        return [f"{name}, whose body is not here"]
    calls = re.findall(r"\b([A-Za-z_]\w*)\s*\(",
                       without_strings(found[2]))
    bad = []
    for call in sorted(set(calls) - SAFE - WORDS):
        inside = unsafe_calls(call, sources, seen) \
            if body_of(call, sources) else [call]
        bad += [f"{name} calls {what}" for what in inside]
    return bad


def handlers(sources):
    """T10."""
    findings = []
    for path, text in sources.items():
        for match in HANDLER.finditer(text):
            name = match.group(1) or match.group(2)
            if name.startswith("SIG_"):
                continue
            for bad in unsafe_calls(name, sources, set()):
                findings.append((path, line_of(text, match.start()),
                                 f"signal handler: {bad}"))
    return findings


def statements(sources):
    """T07."""
    findings = []
    for path, text in sources.items():
        # What only measures makes its own tables from its own numbers.
        if path.startswith("bench/"):
            continue
        for match in re.finditer(r"\bPQescape\w*", text):
            findings.append((path, line_of(text, match.start()),
                             f"{match.group(0)}: parameters only"))
        for match in re.finditer(r"\bPQexec\s*\([^,]*,\s*([^)]*)", text):
            if not match.group(1).lstrip().startswith('"'):
                findings.append((path, line_of(text, match.start()),
                                 "PQexec of something that is no literal"))
        for match in PRINTF.finditer(text):
            literals = re.findall(r'"((?:\\.|[^"\\])*)"', match.group(1))
            whole = '"' + "".join(literals)
            if STATEMENT.match(whole) and CONVERSION.search(whole):
                findings.append((path, line_of(text, match.start()),
                                 "SQL that is put together with printf"))
    return findings


PLANTED = {
    "handlers": """
static void inner(void)
{
	free(place);
}
static void
on_term(int sig)
{
	write(fd, "printf(", 7);
	inner();
}
void f(void)
{
	struct sigaction a = { .sa_handler = on_term };
}
""",
    "direct": """
static void
on_hup(int sig)
{
	syslog(1, "x");
}
void f(void)
{
	signal(SIGHUP, on_hup);
}
""",
    "statements": """
void f(void)
{
	PQescapeLiteral(c, s, n);
	PQexec(c, text);
	buf_printf(&b, "SELECT a FROM "
	    "t WHERE id = %d", 3);
	snprintf(b, n, "DROP TABLE %s", name);
}
""",
    "clean": """
static void
on_int(int sig)
{
	interrupted = sig;
	kill(child, sig);
}
void f(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, on_int); /* PQescape is not used */
	buf_printf(&b, "the update of %s", name);
	PQexec(c, "SELECT 1");
}
""",
}


def planted():
    """What it must find is found, and nothing else."""
    counts = {"handlers": (1, 0), "direct": (1, 0), "statements": (0, 4),
              "clean": (0, 0)}
    for name, text in PLANTED.items():
        sources = {name: without_comments(text)}
        found = (len(handlers(sources)), len(statements(sources)))
        if found != counts[name]:
            sys.exit(f"scan.py: planted {name}: {found}, not {counts[name]}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    planted()
    sources = {}
    for folder in FOLDERS:
        for base, _, names in os.walk(os.path.join(sys.argv[1], folder)):
            for name in names:
                if name.endswith((".c", ".h")):
                    path = os.path.join(base, name)
                    with open(path, encoding="utf-8",
                              errors="replace") as text:
                        sources[os.path.relpath(path, sys.argv[1])] = \
                            without_comments(text.read())
    findings = handlers(sources) + statements(sources)
    for path, line, what in findings:
        print(f"{path}:{line}: {what}")
    count = sum(len([m for m in HANDLER.finditer(text)
                     if not (m.group(1) or m.group(2)).startswith("SIG_")])
                for text in sources.values())
    print(f"scan: {len(sources)} files, {count} signal handlers, "
          f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
