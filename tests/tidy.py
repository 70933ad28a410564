#!/usr/bin/python3
"""The house rules that a program can check: see docs/style-guide.md if there,
or the table below.

usage: tidy.py SOURCE_ROOT

Prints every finding as FILE:LINE: what, and ends with 1 when there is one.
Looks at files that git knows, or at all when there is no git.
"""

import os
import re
import subprocess
import sys

LINES_MAX = 800

# Who may include whose headers, besides its own. Programs meet in frames.
MAY_INCLUDE = {
    "common": set(),
    "engine": {"common"},
    "schema": set(),
    "supervisor": {"common"},
    "flusher": {"engine", "common", "schema"},
    "worker": {"common"},
    "ctl": {"engine", "common", "schema"},
}
MAY_ALL = {"tests", "bench"}

SKIPPED_DIRS = {".git", "__pycache__", "corpus", "node_modules"}
# Names without an ending that are scripts; others are told by "#!".
BEGINNINGS = {
    ".c": ("/*",), ".h": ("/*",), ".def": ("/*",), ".sql": ("--",),
    ".py": ("#", '"""'), ".build": ("#",), ".md": ("#",),
    ".js": ("/*",), ".mjs": ("/*", "//"), ".ts": ("/*",),
}


class Findings:
    def __init__(self):
        self.count = 0

    def add(self, path, line, what):
        print(f"{path}:{line}: {what}")
        self.count += 1


def all_files(root):
    try:
        listed = subprocess.run(
            ["git", "-C", root, "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=True).stdout
        paths = [os.fsdecode(p) for p in listed.split(b"\0") if p]
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, dirs, names in os.walk(root):
            dirs[:] = [d for d in dirs if d not in SKIPPED_DIRS
                       and not d.startswith("build")]
            paths += [os.path.relpath(os.path.join(folder, n), root)
                      for n in names]
    return sorted(p for p in paths
                  if not SKIPPED_DIRS & set(p.split("/")[:-1])
                  and os.path.isfile(os.path.join(root, p)))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8",
              errors="replace") as text:
        return text.read()


def check_includes(path, text, headers, found):
    folder = path.split("/")[0]
    includes = re.findall(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', text, re.M)
    lines = [text[:m.start()].count("\n") + 1 for m in re.finditer(
        r'^[ \t]*#[ \t]*include[ \t]+"[^"]+"', text, re.M)]
    for include, line in zip(includes, lines):
        if "/" not in include:
            found.add(path, line, f'include "{include}" is not written from '
                      "the root of the tree")
            continue
        owner = include.split("/")[0]
        if owner == folder or folder in MAY_ALL:
            continue
        if folder in MAY_INCLUDE and owner not in MAY_INCLUDE[folder]:
            found.add(path, line, f'{folder}/ may not include "{include}"')
    if not path.endswith(".c"):
        return
    own = path[:-2] + ".h"
    if own in headers:
        first = re.search(r'^[ \t]*#[ \t]*include[ \t]+[<"]([^>"]+)', text,
                          re.M)
        if first is None or first.group(1) != own:
            line = text[:first.start()].count("\n") + 1 if first else 1
            found.add(path, line, f'the first include is not "{own}"')


def check_beginning(path, text, found):
    ending = os.path.splitext(path)[1]
    if path.endswith("meson.build"):
        return  # a few lines that speak for themselves
    lines = text.split("\n")
    at = 0
    if lines[0].startswith("#!"):
        at = 1
        begins = ("/*",) if lines[0].endswith("node") else ("#", '"""')
    elif ending in BEGINNINGS:
        begins = BEGINNINGS[ending]
    else:
        return
    if not any(line.strip() for line in lines):
        return
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at == len(lines) or not lines[at].startswith(begins):
        found.add(path, at + 1, "does not begin with a comment that says "
                  "what the file is")


def check_length(path, text, found):
    if os.path.splitext(path)[1] in (".c", ".h", ".py", ".sql", ".js", ".mjs",
                                     ".ts") or text.startswith("#!"):
        lines = text.count("\n")
        if lines > LINES_MAX:
            found.add(path, lines, f"has {lines} lines, more than "
                      f"{LINES_MAX}: it holds two things")


def check_protocol(root, found):
    declared = dict(re.findall(
        r"^FRAME\((\w+),\s*(\d+),", read(root, "common/frame_types.def"),
        re.M))
    path = "docs/protocol.md"
    text = read(root, path)
    described = {}
    for m in re.finditer(r"^###.*$", text, re.M):
        line = text[:m.start()].count("\n") + 1
        for name, number in re.findall(r"\b([A-Z][A-Z_]+) \((\d+)\)",
                                       m.group(0)):
            if name in described:
                found.add(path, line, f"{name} is described twice")
            described[name] = number
            if name not in declared:
                found.add(path, line, f"{name} is not in "
                          "common/frame_types.def")
            elif declared[name] != number:
                found.add(path, line, f"{name} is {declared[name]} in "
                          f"common/frame_types.def, {number} here")
    for name in sorted(set(declared) - set(described)):
        found.add(path, 1, f"{name} ({declared[name]}) is not described")
    if len(set(declared.values())) != len(declared):
        found.add("common/frame_types.def", 1, "a number is used twice")


def check_verbs(root, found):
    """Each verb, with its role, in the table of docs/protocol.md."""
    path = "docs/protocol.md"
    rows = dict(re.findall(r"^VERB\((\w+), ROLE_(\w+),",
                           read(root, "common/verbs.def"), re.M))
    text = read(root, path)
    told = dict(re.findall(
        r"^\| `(\w+)` \| (read-only|operator|admin) \|", text, re.M))
    for name, role in rows.items():
        role = role.lower().replace("_", "-")
        if told.get(name) != role:
            found.add(path, 1, f"the verb {name} is not described with the "
                      f"role {role} of common/verbs.def")
    for name in set(told) - set(rows):
        found.add(path, 1, f"the verb {name} is not in common/verbs.def")


def check_links(root, path, text, found):
    """Links to files, and `folder/file` in backquotes."""
    here = os.path.dirname(path)
    for m in re.finditer(r"\]\(([^)\s]+)\)", text):
        target = m.group(1).split("#")[0]
        if not target or re.match(r"[a-z]+:", target):
            continue
        if not os.path.exists(os.path.join(root, here, target)):
            found.add(path, text[:m.start()].count("\n") + 1,
                      f"links to {target}, which is not there")
    known = set(MAY_INCLUDE) | MAY_ALL | {"docs", "scripts", "examples",
                                          "packaging", "sdk"}
    for m in re.finditer(r"`([a-z]+/[\w./-]*\w)`", text):
        target = m.group(1)
        if target.split("/")[0] not in known:
            continue
        if not any(os.path.exists(os.path.join(root, base, target))
                   for base in ("", here)):
            found.add(path, text[:m.start()].count("\n") + 1,
                      f"names {target}, which is not there")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = sys.argv[1]
    found = Findings()
    paths = all_files(root)
    headers = {p for p in paths if p.endswith(".h")}
    for path in paths:
        if os.path.islink(os.path.join(root, path)):
            continue
        text = read(root, path)
        if path.endswith((".c", ".h")):
            check_includes(path, text, headers, found)
        check_beginning(path, text, found)
        check_length(path, text, found)
        if path.endswith(".md"):
            check_links(root, path, text, found)
    check_protocol(root, found)
    check_verbs(root, found)
    print(f"tidy: {len(paths)} files, {found.count} findings")
    sys.exit(1 if found.count else 0)


if __name__ == "__main__":
    main()
