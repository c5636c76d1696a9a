"""Timed measurements as one matrix over time: cut where the task may no longer look, sorted, joined.

A long table has a row a measurement (time, variable, value), a wide one a column a variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galenic.core.errors import TableError
from galenic.values import Series

Floats = NDArray[np.float64]

HOURS_IN = {"days": 24.0, "hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600}
_CLOCK = re.compile(r"\d+:[0-5]\d(?::[0-5]\d)?")


@dataclass(frozen=True)
class Rules:
    """What of a case's measurements is looked at.

    variables: those to keep, in that order; () keeps all. static: names that are no measurements over time. missing:
    values that stand for "not measured". until_hours: what was measured later is as if it were not there. units: the
    unit of a variable where the file tells none.
    """

    variables: tuple[str, ...] = ()
    static: frozenset[str] = frozenset()
    missing: tuple[float, ...] = ()
    until_hours: float | None = None
    units: Mapping[str, str] = field(default_factory=dict)

    def keeps(self, name: str) -> bool:
        return name not in self.static and (not self.variables or name in self.variables)


@dataclass(frozen=True, eq=False)
class Events:
    """Measurements of one case, in the order of the file: hours since its start, name, value and unit of each."""

    hours: Floats
    names: NDArray[Any]  # (n,) text
    values: Floats
    units: NDArray[Any] | None = None  # (n,) text, "" where none is told


def from_events(events: Events, rules: Rules, source: Path | None = None, notes: Sequence[str] = ()) -> Series | None:
    """The series of a long table; None where nothing is left. Measured twice at one time: the last one counts."""
    told = list(notes)
    seen = _in_time(events.hours, rules, told)
    names, inverse = np.unique(events.names.astype(str), return_inverse=True)
    wanted = np.array([rules.keeps(name) for name in names], bool)[inverse] if len(names) else np.zeros(0, bool)
    lost = np.isnan(events.values) | np.isin(events.values, rules.missing)
    kept = np.flatnonzero(seen & wanted & ~lost)
    if not len(kept):
        return None
    order = kept[_sorted(events.hours[kept], told)]
    found = set(names[inverse[order]])
    variables = [name for name in rules.variables if name in found] or [str(name) for name in names if name in found]
    place = {name: at for at, name in enumerate(variables)}
    column = np.array([place.get(name, -1) for name in names])[inverse]
    units = _units(events, order, column, variables, rules, told)
    order = order[_of_unit(events, order, column, units)]
    times, row = np.unique(events.hours[order], return_inverse=True)
    matrix = np.full((len(times), len(variables)), np.nan)
    cell = row * len(variables) + column[order]
    twice = len(cell) - len(np.unique(cell))
    if twice:
        told.append(f"{twice} measurements stand twice at one time: the last one counts")
    matrix[row, column[order]] = events.values[order]  # numpy keeps the last of equal places
    return Series(times, matrix, tuple(variables), units, source=source, notes=tuple(told))


def from_matrix(
    hours: Floats, values: Floats, names: Sequence[str], rules: Rules, source: Path | None = None,
    notes: Sequence[str] = (),
) -> Series | None:  # fmt: skip
    """The series of a wide table [n, variable]; None where nothing is left. Rows of one time are joined, last first."""
    told = list(notes)
    present = [name for name in (rules.variables or names) if name in names and rules.keeps(name)]
    values = np.asarray(values, np.float64)[:, [list(names).index(name) for name in present]]
    values = np.where(np.isin(values, rules.missing), np.nan, values)
    kept = np.flatnonzero(_in_time(hours, rules, told))
    if not len(kept) or not present or not np.isfinite(values[kept]).any():
        return None
    order = kept[_sorted(hours[kept], told)]
    times, first, row = np.unique(hours[order], return_index=True, return_inverse=True)
    matrix = values[order][first]
    if len(times) < len(order):
        told.append(f"{len(order) - len(times)} rows stand twice at one time: the last value counts")
        for at, own in zip(row, values[order], strict=True):
            matrix[at] = np.where(np.isnan(own), matrix[at], own)
    units = tuple(rules.units.get(name, "") for name in present)
    return Series(times, matrix, tuple(present), units, source=source, notes=tuple(told))


def _in_time(hours: Floats, rules: Rules, told: list[str]) -> NDArray[np.bool_]:
    """Between the case's start and the time up to which the task may look."""
    untimed, before = np.isnan(hours), hours < 0
    if untimed.any():
        told.append(f"{int(untimed.sum())} rows have no time and are left out")
    if before.any():
        told.append(f"{int(before.sum())} rows lie before the case's start and are left out")
    inside = ~untimed & ~before
    return inside if rules.until_hours is None else inside & (hours <= rules.until_hours)


def _sorted(hours: Floats, told: list[str]) -> NDArray[np.int64]:
    """Order of rising time, rows of one time as they stood."""
    if (np.diff(hours) < 0).any():
        told.append(f"times out of order in {int((np.diff(hours) < 0).sum())} places: sorted")
    return np.argsort(hours, kind="stable")


def _units(
    events: Events, order: NDArray[np.int64], column: NDArray[np.int64], variables: Sequence[str], rules: Rules,
    told: list[str],
) -> tuple[str, ...]:  # fmt: skip
    """A unit a variable: the most frequent one of the file, else the task's."""
    if events.units is None:
        return tuple(rules.units.get(name, "") for name in variables)
    done = []
    for at, name in enumerate(variables):
        own = events.units[order[column[order] == at]].astype(str)
        given, counts = np.unique(own[own != ""], return_counts=True)
        if len(given) > 1:
            told.append(f"{name} stands in the units {', '.join(given)}: only {given[counts.argmax()]} is kept")
        done.append(str(given[counts.argmax()]) if len(given) else rules.units.get(name, ""))
    return tuple(done)


def _of_unit(
    events: Events, order: NDArray[np.int64], column: NDArray[np.int64], units: Sequence[str]
) -> NDArray[np.bool_]:
    """False for a measurement in another unit than its variable's."""
    if events.units is None:
        return np.ones(len(order), bool)
    own = events.units[order].astype(str)
    return np.asarray((own == "") | (own == np.array(units, dtype=object)[column[order]].astype(str)))


def numbers(cells: pd.Series, what: str) -> Floats:
    """A column as float64, NaN where empty; TableError names the row and cell that is no finite number."""
    found = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    empty = cells.isna().to_numpy(bool)
    if cells.dtype == object or pd.api.types.is_string_dtype(cells):
        empty = empty | (cells.astype(str).str.strip() == "").to_numpy(bool)
    wrong = (np.isnan(found) & ~empty) | np.isinf(found)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise TableError(
            f"{what}: row {row + 1} (the header not counted) holds {cells.iloc[row]!r} in {cells.name!r}",
            allowed="finite numbers; an empty cell where nothing was measured",
        )
    return found


def hours_of(cells: pd.Series, unit: str, what: str) -> tuple[Floats, bool]:
    """Times in hours, NaN where empty, and whether they are moments of the calendar (hours since 1970).

    Numbers are in `unit`; text may be hh:mm, hh:mm:ss or an ISO date. TableError for anything else.
    """
    if pd.api.types.is_numeric_dtype(cells):
        return numbers(cells, what) * HOURS_IN[unit], False
    text = cells.astype("string").str.strip()
    text = text.mask(text == "")
    hours = {one: _clock(one) for one in text.dropna().unique()}
    if any(own is not None for own in hours.values()):
        clock = np.asarray(text.map(hours).astype("Float64").to_numpy(np.float64, na_value=np.nan), np.float64)
        _all_times(np.isnan(clock), text, what)
        return clock, False
    plain = np.asarray(pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan), np.float64)
    if not (np.isnan(plain) & text.notna().to_numpy(bool)).any():
        return np.asarray(plain * HOURS_IN[unit], np.float64), False
    moments = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
    _all_times(moments.isna().to_numpy(bool), text, what)
    since = (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(hours=1)
    return np.asarray(since.to_numpy(np.float64, na_value=np.nan), np.float64), True


def _all_times(unread: NDArray[np.bool_], text: pd.Series, what: str) -> None:
    """TableError names the first cell that is told but no time."""
    wrong = unread & text.notna().to_numpy(bool)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise TableError(
            f"{what}: row {row + 1} (the header not counted) holds the time {text.iloc[row]!r}",
            allowed="numbers, hh:mm, hh:mm:ss, or dates such as 2024-05-01T13:30",
        )


def _clock(text: str) -> float | None:
    """hh:mm or hh:mm:ss as hours, which may pass 24; None for any other text."""
    if _CLOCK.fullmatch(text) is None:
        return None
    parts = [int(part) for part in text.split(":")]
    return parts[0] + parts[1] / 60 + (parts[2] / 3600 if len(parts) > 2 else 0.0)
