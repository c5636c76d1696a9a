"""The table of cases: rows, fields and roles, and what a bad table gets told."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.core import registry
from galenic.core.contract import Field, Source, Values
from galenic.core.errors import GalenicError, MissingFile, TableError, UnreadableFile
from galenic.core.files import of_file
from galenic.core.rows import open_rows
from galenic.core.task import Task

ROLES = ("id", "patient", "site", "visit_time", "split")
_UID_END = 12  # characters of a DICOM series' UID that a case is named by


@dataclass(frozen=True)
class Cases:
    """Rows with their roles; `opened` reads the values of the task's fields.

    table: one row a case, index 0..n-1. ids: unique text a row. roles: role -> column, for those that are known.
    wrong: rows that can't be read, and why; none but of new cases, see `open_cases`.
    """

    table: pd.DataFrame
    root: Path
    ids: list[str]
    roles: Mapping[str, str]
    opened: Mapping[str, Source] = field(default_factory=dict)
    wrong: Mapping[int, GalenicError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def role(self, name: str) -> pd.Series | None:
        """The column that plays a role, as text with missing values kept; None if there is none."""
        column = self.roles.get(name)
        return None if column is None else self.table[column]

    def patients(self) -> list[str]:
        """The patient of each row; the row's own id where none is known."""
        known = self.role("patient")
        if known is None:
            return list(self.ids)
        return [text_of(value) or own for own, value in zip(self.ids, known, strict=True)]

    def values(self, row: int, names: Sequence[str] | None = None) -> Values:
        """The values of a row, read now; what is wrong with a row is raised."""
        if row in self.wrong:
            raise self.wrong[row]
        wanted = self.opened if names is None else {name: self.opened[name] for name in names}
        return {name: source.read(row) for name, source in wanted.items()}

    def stamp(self, row: int) -> str:
        """Changes when a cell of the row does, or the size or time of a file it names (of those inside a folder)."""
        cells = [str(cell) for cell in self.table.iloc[row]]
        states = [state for cell in cells for state in _states(self.root / cell)]
        return json.dumps([cells, states])


def _states(path: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time of a file, or of the files in a folder; nothing for a cell that is no path.

    What follows a # is a place inside the file.
    """
    try:
        path, _ = of_file(path)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(one.name, found.st_size, found.st_mtime_ns) for one in files for found in [one.stat()]]
    except (OSError, ValueError):
        return []


def read_table(path: Path) -> pd.DataFrame:
    """A CSV, TSV or Parquet table; UnreadableFile if it can't be read, TableError if it has no rows.

    A column of a CSV with a whole number that begins with 0 stays text: 007 and 7 may be two patients.
    """
    if not path.is_file():
        raise MissingFile(f"no table of cases {path}")
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = _read_csv(path, "\t" if path.suffix.lower() == ".tsv" else ",")
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise UnreadableFile(f"{path} can't be read as a table: {error}", allowed="CSV, TSV or Parquet") from error
    _no_column_twice(path, table.columns)
    if table.empty:
        raise TableError(f"the table {path} has no rows")
    return table


def _read_csv(path: Path, sep: str) -> pd.DataFrame:
    # pandas renames columns of one name by itself, so the names are looked at before
    _no_column_twice(path, pd.read_csv(path, sep=sep, header=None, nrows=1, dtype=str).iloc[0].dropna())
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        table = pd.read_csv(path, sep=sep, index_col=False)
    led = _led_by_zero(path, sep, [column for column in table.columns if _whole(table[column])])
    if led:
        text = pd.read_csv(path, sep=sep, dtype=str, usecols=led)
        table = table.assign(**{column: text[column] for column in led})
    return table


def _whole(column: pd.Series) -> bool:
    """True for whole numbers, which a gap makes float."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    return bool((column.dropna() % 1 == 0).all())


def _led_by_zero(path: Path, sep: str, columns: Sequence[str]) -> list[str]:
    """The columns in which a whole number begins with 0."""
    found: set[str] = set()
    if not columns:
        return []
    rows = max(1, 1_000_000 // len(columns))
    for piece in pd.read_csv(path, sep=sep, dtype=str, usecols=list(columns), chunksize=rows):
        found |= {column for column in piece.columns if piece[column].str.fullmatch(r"\s*0\d+\s*").any()}
    return sorted(found)


def _no_column_twice(path: Path, names: pd.Index | pd.Series) -> None:
    twice = names[names.duplicated()]
    if len(twice):
        raise TableError(f"the table {path} names columns twice: {', '.join(map(str, twice))}")


def find_roles(table: pd.DataFrame, task: Task) -> dict[str, str]:
    """Roles by the usual names, or as the task maps them; a column that a field names is never a role, but as a key."""
    used = {column for one in task.fields if "key" not in one.options for column in matching(table, one)}
    roles = {role: role for role in ROLES if role in table.columns and role not in used}
    for role, column in task.roles.items():
        if role not in ROLES:
            raise TableError(f"there is no role {role!r}", allowed=", ".join(ROLES))
        if column not in table.columns:
            raise TableError(
                f"the role {role} names the column {column!r}, which the table lacks", allowed=_some(table.columns)
            )
        roles[role] = column
    return roles


def matching(table: pd.DataFrame, one: Field) -> list[str]:
    """The columns that a field's names and patterns mean, in the table's order for a pattern."""
    found: list[str] = []
    for pattern in one.columns:
        hits = [column for column in table.columns if fnmatchcase(str(column), pattern)]
        if pattern in table.columns:
            hits = [pattern]
        found += [column for column in hits if column not in found]
    return found


def open_cases(
    table: pd.DataFrame, root: Path, task: Task, *, with_targets: bool = True, forgiving: bool = False
) -> Cases:
    """Check the table against the task and index every field. TableError or MissingFile say what is wrong and where.

    forgiving: for a model's new cases; rows with a wrong cell or without an id stay, and are told in `Cases.wrong`.
    """
    table = table.reset_index(drop=True)
    wanted = task.fields if with_targets else task.inputs
    for one in wanted:
        _check_columns(table, one, wanted if forgiving else ())
        joined = getattr(registry.kind(one.kind), "joined", None)
        table = table if joined is None else joined(one, table, root)
    roles = find_roles(table, task)
    ids, wrong = _ids(table, roles, task, forgiving=forgiving)
    opened = {}
    for one in wanted:
        kind, part = registry.kind(one.kind), table[matching(table, one)]
        opened[one.name], own = open_rows(kind, one, part, root) if forgiving else (kind.open(one, part, root), {})
        wrong = own | wrong
    for source in opened.values():
        link = getattr(source, "link", None)
        if link is not None:
            link(opened)
    return Cases(table, root, ids, roles, opened, wrong)


def _check_columns(table: pd.DataFrame, one: Field, model: Sequence[Field]) -> None:
    """model: all fields that a trained model wants, whose lacking columns are told together; () for a task's own."""
    lacking = [own for own in one.columns if not _stands(own, table)]
    if lacking and model:
        lacking = [f"{own!r} ({field.name})" for field in model for own in field.columns if not _stands(own, table)]
        wants = dict.fromkeys(own for field in model for own in field.columns)
        raise TableError(
            f"the table lacks {'columns' if len(lacking) > 1 else 'a column'} of the model: {', '.join(lacking)}",
            allowed=f"the model wants {_some(list(wants))}; the table holds {_some(table.columns)}",
            todo="name the columns as the training table did; a column may be empty where nothing was measured",
        )
    if lacking:
        raise TableError(
            f"the field {one.name!r} names the column {lacking[0]!r}, which the table lacks",
            allowed=_some(table.columns),
            todo="name a column of the table, or mend the task",
        )


def _stands(pattern: str, table: pd.DataFrame) -> bool:
    return pattern in table.columns or any(fnmatchcase(str(column), pattern) for column in table.columns)


def _some(columns: Sequence[Any] | pd.Index) -> str:
    names = [str(column) for column in columns]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _ids(
    table: pd.DataFrame, roles: Mapping[str, str], task: Task, *, forgiving: bool
) -> tuple[list[str], dict[int, GalenicError]]:
    """The id column; else the stem of the first file column where that is unique; else the row's number.

    And, where forgiving, the rows whose id is empty, which get their number for one.
    """
    if "id" in roles:
        ids = [text_of(value) or "" for value in table[roles["id"]]]
        wrong: dict[int, GalenicError] = {
            row: TableError(f"row {row + 1} has no id", allowed="an id of its own in each row")
            for row, own in enumerate(ids)
            if not own
        }
        if wrong and not forgiving:
            raise next(iter(wrong.values()))
        ids = [_numbered(row, ids) if row in wrong else own for row, own in enumerate(ids)]
        twice = sorted({one for one in ids if ids.count(one) > 1}) if len(set(ids)) < len(ids) else []
        if twice:
            raise TableError(
                f"{len(twice)} ids stand in more than one row: {', '.join(twice[:5])}",
                allowed="one row a case",
                todo="join the rows of a case, or give each row its own id",
            )
        return ids, wrong
    for one in task.inputs:
        if registry.in_files(one):
            stems = [case_name(value) for value in table[matching(table, one)[0]]]
            if len(set(stems)) == len(stems):
                return stems, {}
    return [_numbered(row) for row in range(len(table))], {}


def _numbered(row: int, taken: Sequence[str] = ()) -> str:
    """An id for a row that has none, such as row-00003, counted from 0."""
    name = f"row-{row:05d}"
    return f"{name}-without-id" if name in taken else name


def text_of(value: Any) -> str | None:
    """A cell as text, None where it is missing; whole numbers as such, though a gap made their column float."""
    if pd.isna(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or None


def case_name(path: Any) -> str:
    """A file's or folder's name without what follows the first dot; of PATH#UID with the end of the UID."""
    name, mark, part = Path(str(path)).name.partition("#")
    if not name or not re.fullmatch(r"[\d.]+", part):
        name, part = name + mark + part, ""
    stem = name.split(".")[0] or name
    if not part:
        return stem
    end = part[-_UID_END:]
    whole = end.partition(".")[2] if part[:-_UID_END] and part[-_UID_END - 1] != "." else end
    return f"{stem}-{(whole or end).strip('.').replace('.', '-')}"
