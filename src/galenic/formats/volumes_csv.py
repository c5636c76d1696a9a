"""Volumes of segmented classes as a table anyone can open: case, class, volume_ml."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from galenic.core.errors import TableError, ValueProblem
from galenic.core.files import write_text
from galenic.formats.guard import existing

COLUMNS = ("case", "class", "volume_ml")


def write_volumes(rows: Iterable[tuple[str, str, float]], path: Path) -> None:
    """Write rows of (case, class, millilitres) as UTF-8 CSV, in the order given, with every digit of each number.

    Raises ValueProblem for a volume that is no number or below 0, TableError for a class twice in one case.
    """
    seen: set[tuple[str, str]] = set()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for case, name, volume in rows:
        _check(case, name, volume, seen)
        table.writerow((case, name, repr(float(volume))))
    write_text(path, text.getvalue())


def read_volumes(path: Path) -> list[tuple[str, str, float]]:
    """Rows (case, class, millilitres) of a file that write_volumes wrote; TableError for any other table."""
    seen: set[tuple[str, str]] = set()
    rows = []
    try:
        with existing(path).open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file, strict=True)
            head = tuple(next(table, ()))
            if head != COLUMNS:
                raise TableError(f"{path} has the columns {', '.join(head)}", allowed=", ".join(COLUMNS))
            for case, name, volume in table:
                _check(case, name, float(volume), seen)
                rows.append((case, name, float(volume)))
    except (ValueError, csv.Error) as error:
        raise TableError(f"{path} is no table of volumes: {error}", allowed=", ".join(COLUMNS)) from error
    return rows


def _check(case: str, name: str, volume: float, seen: set[tuple[str, str]]) -> None:
    if not (math.isfinite(volume) and volume >= 0):
        raise ValueProblem(f"a volume of {volume} ml for {name!r} of case {case!r}", allowed="0 or more, in ml")
    if (case, name) in seen:
        raise TableError(f"the class {name!r} twice for case {case!r}", allowed="one volume a class and case")
    seen.add((case, name))
