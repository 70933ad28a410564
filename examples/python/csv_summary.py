"""Actions that say what is in CSV files: rows, columns, and of columns of
numbers the smallest, the largest and the mean.

    python3 -m rappel.worker csv_summary --path examples/python

serves them; examples/csv-summary.asl.json is the workflow.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from typing import Any, Dict, List, Optional, Union

from rappel import Context, action

Number = Union[int, float]
INT_MAX = (1 << 63) - 1  # above it a result has doubles


class CsvError(Exception):
    """What is wrong with the files; a Catch may take all of it."""


class NoFolder(CsvError):
    """There is no such folder, or it may not be read."""


class NotText(CsvError):
    """The file is not UTF-8."""


class Ragged(CsvError):
    """A row has more or fewer cells than the heading."""


class Unreadable(CsvError):
    """The file is gone, or may not be read."""


@dataclasses.dataclass
class Column:
    name: str
    empty: int = 0
    #: Only if every cell that is not empty is a number.
    min: Optional[Number] = None
    max: Optional[Number] = None
    mean: Optional[float] = None


@dataclasses.dataclass
class Summary:
    file: str
    rows: int
    columns: List[Column]
    error: Optional[str] = None


def number(text: str) -> Optional[Number]:
    """A number as people write it into a cell, or None."""
    if "_" in text:
        return None  # Python's own
    found: Number
    try:
        found = int(text)
    except ValueError:
        try:
            found = float(text)
        except ValueError:
            return None
    if isinstance(found, int) and abs(found) > INT_MAX:
        found = float(found) if abs(found) < 10 ** 300 else math.inf
    return found if math.isfinite(found) else None


class Cells:
    """A column while it is read."""

    def __init__(self, name: str) -> None:
        self.column = Column(name)
        self.numbers: List[Number] = []
        self.is_numeric = True

    def add(self, text: str) -> None:
        text = text.strip()
        if not text:
            self.column.empty += 1
        elif self.is_numeric:
            found = number(text)
            if found is None:
                self.is_numeric = False
                self.numbers.clear()
            else:
                self.numbers.append(found)

    def summary(self) -> Column:
        if self.numbers:
            self.column.min = min(self.numbers)
            self.column.max = max(self.numbers)
            # Divided first, so that no sum is beyond a double.
            count = len(self.numbers)
            self.column.mean = math.fsum(n / count for n in self.numbers)
        return self.column


@action("csv.list")
def list_files(folder: str) -> List[str]:
    """The CSV files of a folder, in order of their names."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as exc:
        raise NoFolder(f"{folder}: {exc.strerror}") from exc
    return [os.path.join(folder, name) for name in names
            if name.lower().endswith(".csv")]


@action("csv.summary")
def summarize(path: str, /, ctx: Context) -> Summary:
    """One file, row by row; says every second how far it is."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as source:
            rows = csv.reader(source)
            columns = [Cells(name) for name in next(rows, [])]
            count = 0
            for row in rows:
                if not row:
                    continue  # an empty line
                if len(row) != len(columns):
                    raise Ragged(f"line {rows.line_num} has {len(row)} "
                                 f"cells, the heading {len(columns)}")
                count += 1
                for cells, text in zip(columns, row):
                    cells.add(text)
                if count % 1000 == 0:
                    ctx.heartbeat({"rows": count})
    except OSError as exc:
        raise Unreadable(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise NotText(f"{path}: {exc}") from exc
    except csv.Error as exc:
        raise CsvError(f"{path}, line {rows.line_num}: {exc}") from exc
    ctx.log.info("%s has %d rows", path, count)
    return Summary(os.path.basename(path), count,
                   [cells.summary() for cells in columns])


@action("csv.report")
def report(summaries: List[Summary], /) -> Dict[str, Any]:
    """All files together."""
    good = [s for s in summaries if s.error is None]
    return {"files": len(good), "rows": sum(s.rows for s in good),
            "failed": {s.file: s.error for s in summaries
                       if s.error is not None},
            "summaries": good}
