"""A field opened although some rows of the table can't be: new cases are answered though a neighbour is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galenic.core.contract import Field, Source
from galenic.core.errors import GalenicError

_PROBES = 16  # rows of a large table, evenly spread: where all of them fail, it is the column and not a cell


def open_rows(kind: Any, one: Field, part: pd.DataFrame, root: Path) -> tuple[Source, dict[int, GalenicError]]:
    """The opened field, and what is wrong with each row that it can't be opened with; those rows are blank in it.

    part: the field's columns, index 0..n-1. What is wrong with the whole column, and not with a row, is raised.
    """
    try:
        return kind.open(one, part, root), {}
    except GalenicError as error:
        whole = error
    spread = np.unique(np.linspace(0, len(part) - 1, _PROBES).astype(int)).tolist()
    if len(part) > len(spread) and all(_fault(kind, one, part.iloc[[row]], root) for row in spread):
        raise whole
    wrong = _wrong(kind, one, part, root, range(len(part)))
    if not wrong or (len(wrong) == len(part) and _fault(kind, one, part.iloc[:0], root)):
        raise whole
    kept = ~part.index.isin(list(wrong))
    return kind.open(one, part.where(np.repeat(kept[:, None], part.shape[1], axis=1)), root), wrong


def _fault(kind: Any, one: Field, part: pd.DataFrame, root: Path) -> GalenicError | None:
    try:
        kind.open(one, part, root)
    except GalenicError as error:
        return error
    return None


def _wrong(kind: Any, one: Field, part: pd.DataFrame, root: Path, rows: Sequence[int]) -> dict[int, GalenicError]:
    """What is wrong with which of the rows, found by halving: few openings where few rows are wrong."""
    error = _fault(kind, one, part.iloc[list(rows)], root)
    if error is None:
        return {}
    if len(rows) == 1:
        return {rows[0]: _placed(error, rows[0])}
    half = len(rows) // 2
    return _wrong(kind, one, part, root, rows[:half]) | _wrong(kind, one, part, root, rows[half:])


def _placed(error: GalenicError, row: int) -> GalenicError:
    """The error of a table of this one row, with the row's own number in the whole table."""
    done = type(error).__new__(type(error))
    own = [re.sub(r"\brow 1\b", f"row {row + 1}", text) for text in (error.given, error.allowed, error.todo)]
    GalenicError.__init__(done, own[0], allowed=own[1], todo=own[2])
    return done
