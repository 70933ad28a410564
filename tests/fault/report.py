#!/usr/bin/python3
"""Figures of the fault tests, from the JSON lines that they wrote.

usage: report.py FIGURES             a Markdown table on standard output
       report.py --write DOC FIGURES  the same into DOC, between the lines
                                     "<!-- figures -->" and "<!-- end -->"
       report.py --check FIGURES     exit 1 with a figure over its limit or
                                     more skips than SKIPS_MAX

Of a figure that was measured several times the last line counts.
"""

import json
import re
import sys

SKIPS_MAX = 3
BEGIN, END = "<!-- figures -->", "<!-- end -->"


def read(path):
    """Figures by (id, name), and skips by id, in the order of the ids."""
    figures, skips = {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            if "skip" in found:
                skips[found["id"]] = found["skip"]
            else:
                figures[(found["id"], found["name"])] = found
    return dict(sorted(figures.items())), dict(sorted(skips.items()))


def number(value):
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def over(found):
    """Over its limit, whether or not the run's patience let it pass."""
    if found["at_least"]:
        return found["value"] < found["limit"]
    return found["value"] > found["limit"]


def with_unit(value, unit):
    return f"{number(value)} {unit}".strip()


def table(figures, skips):
    rows = ["| id | what | limit | measured | worst | repeats | tier |",
            "| --- | --- | --- | --- | --- | --- | --- |"]
    for (fault, name), found in figures.items():
        limit = with_unit(found["limit"], found["unit"])
        rows.append("| " + " | ".join((
            fault, name.replace("_", " "),
            ("at least " if found["at_least"] else "") + limit,
            with_unit(found["value"], found["unit"]) +
            (" **over**" if over(found) else ""),
            with_unit(found["worst"], found["unit"]),
            str(found["repeats"]), found["tier"])) + " |")
    rows.append("")
    if skips:
        rows += ["Skipped:", ""]
        rows += [f"* {fault}: {why}" for fault, why in skips.items()]
    else:
        rows.append("Nothing was skipped.")
    return "\n".join(rows)


def write(document, text):
    with open(document, encoding="utf-8") as file:
        before = file.read()
    after, count = re.subn(
        f"{re.escape(BEGIN)}.*{re.escape(END)}",
        lambda _: f"{BEGIN}\n{text}\n{END}", before, flags=re.S)
    if count != 1:
        sys.exit(f"{document} has no place for the figures")
    with open(document, "w", encoding="utf-8") as file:
        file.write(after)


def main(words):
    if len(words) == 1:
        print(table(*read(words[0])))
    elif len(words) == 3 and words[0] == "--write":
        write(words[1], table(*read(words[2])))
    elif len(words) == 2 and words[0] == "--check":
        figures, skips = read(words[1])
        bad = [key for key, found in figures.items() if not found["good"]]
        print(f"{len(figures)} figures, {len(bad)} over their limits, "
              f"{len(skips)} faults skipped")
        for (fault, name), found in figures.items():
            if (fault, name) in bad:
                print(f"over its limit: {fault} {name}")
            elif over(found):
                print(f"over its limit, within the patience of this run: "
                      f"{fault} {name} {with_unit(found['value'], found['unit'])}")
        for fault, why in skips.items():
            print(f"skipped: {fault} {why}")
        return 1 if bad or len(skips) > SKIPS_MAX or not figures else 0
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
