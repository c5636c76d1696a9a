"""Answers of a row as a small CSV: a header and one line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from galenic.core.contract import Values
from galenic.core.files import write_text


def named(path: Path, ending: str) -> Path:
    """The file that `path` means: with the ending, which is added where it is lacking, as names may hold dots."""
    return path if path.suffix == ending else path.with_name(path.name + ending)


def case_of(values: Values, file: Path) -> str:
    """values["id"] where given, else the name of the file without its ending."""
    given = values.get("id")
    return given if isinstance(given, str) and given else file.name.removesuffix(file.suffix)


def write_row(path: Path, values: Values, header: Sequence[str], cells: Sequence[object]) -> Path:
    """Write `header` and `cells` with the case's id before them; whole or not at all."""
    file = named(path, ".csv")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *header])
    writer.writerow([case_of(values, file), *cells])
    write_text(file, text.getvalue())
    return file
