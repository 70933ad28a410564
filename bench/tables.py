"""One list of results as a text table, JSON, Markdown or CSV.

A column is (key, title, format): the key in each row, what people read above
it, and a format for format(). Missing and None are shown as "-". JSON and CSV
are for programs: they have keys and whole figures.
"""

import csv
import io
import json


def _shown(row, column):
    value = row.get(column[0])
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format(value, column[2])


def _cells(rows, columns):
    return [[title for _, title, _ in columns]] + \
        [[_shown(row, column) for column in columns] for row in rows]


def _right(rows, column):
    """Numbers stand to the right."""
    return all(isinstance(row.get(column[0]), (int, float, type(None)))
               for row in rows)


def table(rows, columns):
    cells = _cells(rows, columns)
    widths = [max(len(line[n]) for line in cells)
              for n in range(len(columns))]
    right = [_right(rows, column) for column in columns]
    return "".join("  ".join(
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(line, widths, right)).rstrip() + "\n"
        for line in cells)


def markdown(rows, columns):
    cells = [[cell.replace("|", "\\|") for cell in line]
             for line in _cells(rows, columns)]
    cells.insert(1, ["---:" if _right(rows, column) else "---"
                     for column in columns])
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)


def as_json(rows, columns):
    keys = [key for key, _, _ in columns]
    return json.dumps({"results": [{key: row.get(key) for key in keys}
                                   for row in rows]}, indent=1) + "\n"


def as_csv(rows, columns):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([key for key, _, _ in columns])
    for row in rows:
        writer.writerow([row.get(key) for key, _, _ in columns])
    return out.getvalue()


FORMS = {"table": table, "json": as_json, "markdown": markdown,
         "csv": as_csv}


def add_options(parser):
    """--json, --markdown and --csv; without them o.form is "table"."""
    group = parser.add_mutually_exclusive_group()
    for form, name in (("json", "JSON"), ("markdown", "Markdown"),
                       ("csv", "CSV")):
        group.add_argument("--" + form, dest="form", action="store_const",
                           const=form, default="table",
                           help=f"{name} on stdout")
