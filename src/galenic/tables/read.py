"""Cells to numbers and labels: what a column may hold, and what a wrong cell gets told."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galenic.core.contract import Field
from galenic.core.errors import TableError, ValueProblem

_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm", ".hea", ".edf")


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of one case: `values[i]` (float64, NaN where missing) stands in the column `columns[i]`."""

    columns: tuple[str, ...]
    values: NDArray[np.float64]

    def in_order(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """The values of `columns` in that order, shape (len(columns),); NaN for a column this case has not."""
        if tuple(columns) == self.columns:
            return self.values
        known = dict(zip(self.columns, self.values, strict=True))
        return np.array([known.get(column, np.nan) for column in columns], dtype=np.float64)


def numbers_of(value: Any, columns: Sequence[str], name: str) -> NDArray[np.float64]:
    """The numbers of a case (columns,), NaN where missing, from what a source or a caller from Python gives.

    A plain number, or text that is one, does for a field of one column; a mapping from column to number for several.
    ValueProblem for anything else.
    """
    if isinstance(value, Numbers):
        return value.in_order(columns)
    given = value if isinstance(value, Mapping) else {columns[0]: value} if value is not None else {}
    if not isinstance(value, Mapping) and value is not None and len(columns) > 1:
        raise ValueProblem(
            f"one value {value!r} for {name}, which has {len(columns)} columns", allowed=_by_column(columns)
        )
    strange = [str(column) for column in given if column not in columns]
    if strange:
        raise ValueProblem(f"{name} has no column {', '.join(strange)}", allowed=", ".join(columns))
    return np.array([_number(given.get(column), f"{name}, column {column}") for column in columns], np.float64)


def _by_column(columns: Sequence[str]) -> str:
    return "{" + ", ".join(f"{column!r}: number" for column in columns[:3]) + (", ...}" if len(columns) > 3 else "}")


def _number(value: Any, what: str) -> float:
    """A plain number; NaN for None and blank text."""
    if value is None or value is pd.NA or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        number = float(value) if isinstance(value, str | int | float | np.generic) else math.inf
    except (ValueError, TypeError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise ValueProblem(f"{value!r} for {what}", allowed="a finite number; None where the value is missing")
    return number


def label_given(value: Any, name: str) -> str | None:
    """A label from what a source or a caller from Python gives; ValueProblem for what is no text, number or boolean."""
    if value is None or value is pd.NA or isinstance(value, str | int | float | np.generic):
        return label_of(value)
    raise ValueProblem(f"{type(value).__name__} for the category {name}", allowed="text, a number or a boolean")


def measured(value: Numbers | None) -> float | None:
    """The number of a case of one column; None where it is missing."""
    return None if value is None or math.isnan(value.values[0]) else float(value.values[0])


@dataclass(frozen=True, eq=False)
class NumberSource:
    """Opened number columns: the resolved names, and values [row, column] in float64."""

    columns: tuple[str, ...]
    values: NDArray[np.float64]

    def read(self, row: int) -> Numbers | None:
        """The numbers of a row; None where all are missing."""
        values = self.values[row]
        return None if np.isnan(values).all() else Numbers(self.columns, values)


@dataclass(frozen=True)
class CategorySource:
    """An opened category column: a label a row, None where missing."""

    columns: tuple[str, ...]
    labels: tuple[str | None, ...]

    def read(self, row: int) -> str | None:
        return self.labels[row]


def resolve(patterns: Sequence[str], available: Sequence[str]) -> list[str]:
    """Columns that `patterns` name, in the order of the patterns, then of the table, each once.

    Only `*` is special, as units such as [mg/dl] are common in column names. TableError where one matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern in available:
            matches = [pattern]
        else:
            rule = re.compile(".*".join(re.escape(part) for part in pattern.split("*")))
            matches = [name for name in available if rule.fullmatch(name)] if "*" in pattern else []
        if not matches:
            near = difflib.get_close_matches(pattern, available, n=3)
            shown = ", ".join(list(available)[:20]) + (" ..." if len(available) > 20 else "")
            raise TableError(
                f"no column of the table is named {pattern!r}",
                allowed=shown,
                todo=f"did you mean {', '.join(near)}?" if near else "name one of the table's columns",
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def open_numbers(field: Field, table: pd.DataFrame) -> NumberSource:
    """Every number of the field's columns; TableError names the row and value of a cell that is no number."""
    columns = resolve(field.columns, [str(name) for name in table.columns])
    values = np.empty((len(table), len(columns)), dtype=np.float64)
    for place, column in enumerate(columns):
        values[:, place] = _numbers(table[column], column)
    values.flags.writeable = False
    return NumberSource(tuple(columns), values)


def _numbers(cells: pd.Series, column: str) -> NDArray[np.float64]:
    """One column as float64; missing cells and empty text become NaN."""
    if not (pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_bool_dtype(cells)):
        cells = cells.map(lambda cell: None if isinstance(cell, str) and not cell.strip() else cell)
    if pd.api.types.is_datetime64_any_dtype(cells) or pd.api.types.is_timedelta64_dtype(cells):
        raise TableError(f"the column {column!r} holds dates", allowed="numbers", todo="turn them into days or years")
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (np.isnan(numbers) & cells.notna().to_numpy(dtype=bool)) | np.isinf(numbers)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        named = [f"row {row + 1} holds {_shown(cells.iloc[row])}" for row in rows[:5]]
        more = f"; and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise TableError(
            f"{'; '.join(named)}{more} in the number column {column!r} (rows counted without the header)",
            allowed="finite numbers with a decimal point; an empty cell where the value is missing",
            todo=_mend(cells[wrong]),
        )
    return numbers


def _shown(cell: object) -> str:
    """A cell as the table has it: inf, not np.float64(inf)."""
    return repr(cell) if isinstance(cell, str) else str(cell)


def _mend(wrong: pd.Series) -> str:
    """What to do about cells that are no numbers: all such texts, the most frequent first."""
    texts = [repr(text) for text in wrong.astype(str).value_counts().index[:5]]
    if len(wrong) == 1:
        return "mend this cell, or empty it where the value is missing"
    return f"mend the {len(wrong)} such cells ({', '.join(texts)}); if these are names, the column is a category"


def label_of(cell: object) -> str | None:
    """A cell as a label: text stripped, 1.0 and 1 both "1", booleans "true" and "false"; None where missing."""
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() else repr(number)
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    text = str(cell).strip()
    return (text.lower() if text.lower() in ("true", "false") else text) or None


def open_labels(field: Field, table: pd.DataFrame) -> CategorySource:
    """Every label of the field's column; a target's label outside the option `labels` gives ValueProblem."""
    (column,) = resolve(field.columns, [str(name) for name in table.columns])
    labels = tuple(label_of(cell) for cell in table[column])
    given = [label for label in labels if label is not None]
    if given and all(label.lower().endswith(_FILES) for label in given):
        raise TableError(
            f"the column {column!r} holds names of files ({given[0]!r}), not labels",
            allowed="a label a case",
            todo=f"give it the kind of what the files hold, such as {column}:mask or {column}:image",
        )
    known = field.options.get("labels")
    if field.target and known is not None:
        for row, label in enumerate(labels):
            if label is not None and label not in known:
                raise ValueProblem(
                    f"row {row + 1} (the header not counted) holds the label {label!r} in the target {field.name!r}",
                    allowed=", ".join(known),
                    todo="add it to the option labels, or leave the cell empty where the truth is unknown",
                )
    return CategorySource((column,), labels)
