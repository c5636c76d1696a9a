"""The declared part of a table of cases: rows from the set's list of files, columns from patterns and templates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.catalog.entry import HERE, Entry, Table
from galenic.core.errors import MissingFile, TableError
from galenic.core.files import inside

LEADING = ("id", "patient", "site", "split")


def declared(entry: Entry, plan: Table, home: Path) -> pd.DataFrame:
    """The rows and columns that a table of the entry declares, sorted as a person would count; paths are absolute."""
    if plan.cases is None:
        return pd.DataFrame()
    paths = {listed.path for listed in entry.manifest()}
    folders = {parent.as_posix() for path in paths for parent in Path(path).parents}
    found = filter(None, (plan.cases.fullmatch(path) for path in sorted(paths, key=_as_counted)))
    rows = [_row(plan, match.groupdict(), paths | folders, home) for match in found]
    return pd.DataFrame(rows)


def _row(plan: Table, groups: dict[str, str], known: set[str], home: Path) -> dict[str, Any]:
    said = dict(groups)
    for column, template in plan.text.items():
        said[column] = template.format(**said)
    row: dict[str, Any] = {key: plan.rename.get(key, {}).get(value, value) for key, value in said.items()}
    row |= {column: int(said[column]) for column in plan.numbers}
    for column, template in plan.files.items():
        path = template.format(**said)
        if path not in known:
            raise TableError(f"the catalogue lists no file or folder {path}", todo="reinstall galenic")
        row[column] = str(inside(home, path))
    return row


def _as_counted(path: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", path)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def split_path(name: str) -> Path:
    """The split file `name` that galenic ships: two columns, a key and `part`."""
    path = inside(HERE / "splits", name)
    if not path.is_file():
        allowed = ", ".join(sorted(found.name for found in (HERE / "splits").glob("*.csv")))
        raise MissingFile(f"no split file is named {name!r}", allowed=allowed)
    return path


def with_split(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Add `split`, looked up by the split file's first column; rows that it leaves out get no part."""
    split = pd.read_csv(split_path(name), dtype=str)
    key = str(split.columns[0])
    return frame.assign(split=frame[key].map(split.set_index(key)["part"]))


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """The roles first, then the rest as it came."""
    leading = [column for column in LEADING if column in frame]
    return frame[[*leading, *(column for column in frame if column not in leading)]].reset_index(drop=True)
