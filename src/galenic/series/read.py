"""From cells of the table to series: a file a case, a window of a record, a row of samples, or a side table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galenic.core.cases import read_table, text_of
from galenic.core.contract import Field, Source
from galenic.core.errors import MissingFile, TableError, UnreadableFile, UnsupportedFile
from galenic.formats import edf, fhir, wfdb
from galenic.series import events
from galenic.series.events import Events, Rules
from galenic.values import Series

TABLES = (".csv", ".tsv", ".txt", ".parquet")
READ = (
    "CSV, TSV, TXT or Parquet with a time column, WFDB records (.hea), EDF and BDF, DICOM waveforms (.dcm), FHIR R4 "
    "bundles (.json)"
)
SUFFIXES = (*TABLES, ".json", ".hea", *edf.SUFFIXES, ".dcm")  # of files that are a case each
_TIMES = ("time", "hours", "hour", "minutes", "seconds", "days", "t", "charttime", "timestamp", "datetime")
_NAMES, _VALUES = ("parameter", "variable", "item", "name", "code"), ("value", "valuenum")
_UNITS = ("unit", "units", "uom", "valueuom")
_UNEVEN = 0.01  # how far the steps of a waveform's time column may differ
_RECORDS = 4  # records kept in memory while their windows are read


@dataclass(frozen=True)
class Layout:
    """Which column of a table of measurements is what; None where it is to be found by its usual name.

    Once found: no variable in a wide table, and no value where each row is an event, such as a code at a visit.
    """

    time: str | None = None
    variable: str | None = None
    value: str | None = None
    unit: str | None = None
    time_unit: str | None = None


def form_of(field: Field) -> str:
    """Where the field's values lie: "side" (a side table), "window" (of a record), "inline" (samples) or "file"."""
    if "table" in field.options:
        return "side"
    if "window" in field.options:
        return "window"
    return "inline" if len(field.columns) > 1 or "*" in field.columns[0] else "file"


def samples_in(path: Path) -> bool:
    """True for a file of a format that holds samples at a rate: WFDB, EDF, BDF, a DICOM waveform."""
    suffix = path.suffix.lower()
    if suffix in (*TABLES, ".json"):
        return False
    return suffix in (*edf.SUFFIXES, ".dcm") or wfdb.is_record(path)


def rules_of(field: Field) -> Rules:
    """What the field's options say of its measurements."""
    own = field.options
    return Rules(
        variables=tuple(own.get("variables") or ()), static=frozenset(own.get("static") or ()),
        missing=tuple(float(number) for number in own.get("missing") or ()), until_hours=own.get("until_hours"),
        units=own.get("units") or {},
    )  # fmt: skip


def layout_of(field: Field) -> Layout:
    """The columns that the field's options name."""
    return Layout(*(field.options.get(name) for name in ("time", "variable", "value", "unit", "time_unit")))


def open_series(field: Field, table: pd.DataFrame, root: Path) -> Source:
    """Index the field; TableError for a wrong column, MissingFile names the rows whose files are not there."""
    form = form_of(field)
    if form == "side":
        return SideSource(field, table, root)
    if form == "inline":
        return InlineSource(field, table)
    paths = _paths(field, table, root)
    if form == "window":
        moments = events.numbers(table[field.columns[1]], f"the field {field.name}")
        return WindowSource(field, paths, moments)
    return FileSource(field, paths)


def _paths(field: Field, table: pd.DataFrame, root: Path) -> list[Path | None]:
    cells = [text_of(cell) for cell in table[field.columns[0]]]
    paths = [None if cell is None else root / cell for cell in cells]
    exists = {path: path.exists() or wfdb.is_record(path) for path in set(paths) if path is not None}
    missing = [f"row {at + 1}: {path}" for at, path in enumerate(paths) if path is not None and not exists[path]]
    if missing:
        more = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise MissingFile(
            f"{len(missing)} file(s) of {field.name} are missing: {'; '.join(missing[:5])}{more}",
            allowed=f"absolute paths, or paths below {root}",
            todo="bring the files there, or take the rows out of the table; where the column holds names alone, such "
            "as 101 for stays/101.csv, say so by the option `files`",
        )
    return paths


class FileSource:
    """A file a case."""

    def __init__(self, field: Field, paths: Sequence[Path | None]) -> None:
        self.field, self.paths = field, paths

    def read(self, row: int) -> Series | None:
        """The series of a row; None where the cell is empty or nothing was measured."""
        path = self.paths[row]
        return None if path is None else read_file(path, self.field)


class WindowSource:
    """Windows of records: the cell names the record, a second column the moment in seconds."""

    def __init__(self, field: Field, paths: Sequence[Path | None], moments: NDArray[np.float64]) -> None:
        self.field, self.paths, self.moments = field, paths, moments

    def read(self, row: int) -> Series | None:
        """`window` seconds before and after the moment; NaN beyond the record's ends."""
        path, moment = self.paths[row], float(self.moments[row])
        if path is None or np.isnan(moment):
            return None
        whole = _record(path, rules_of(self.field).variables, _stamp(path))
        before, after = self.field.options["window"]
        rate = whole.rate_hz
        first, size = round((moment - before) * rate), round((before + after) * rate)
        values = np.full((size, len(whole.variables)), np.nan)
        low, high = max(first, 0), min(first + size, len(whole.values))
        if high <= low:
            raise TableError(
                f"{path.name} has no sample at {moment:g} s", allowed=f"0 to {len(whole.values) / rate:g} s"
            )
        values[low - first : high - first] = whole.values[low:high]
        return Series.waveform(values, rate, whole.variables, whole.units, path)


def _stamp(path: Path) -> int:
    """The time of the last change to the file that the cell names."""
    return path.stat().st_mtime_ns if path.is_file() else 0


@lru_cache(maxsize=_RECORDS)
def _record(path: Path, variables: tuple[str, ...], stamp: int) -> Series:  # noqa: ARG001 - a changed file is read anew
    """A record whole: its windows are many, and reading it anew for each would take longer than all else."""
    return wfdb.read_record(path, channels=variables or None)


class InlineSource:
    """The samples of a waveform in the columns of the row itself, in the table's order; empty cells are NaN."""

    def __init__(self, field: Field, table: pd.DataFrame) -> None:
        names: list[str] = []
        for pattern in field.columns:
            own = [pattern] if pattern in table.columns else [c for c in table.columns if fnmatchcase(str(c), pattern)]
            names += [name for name in own if name not in names]
        self.field = field
        self.values = np.stack([events.numbers(table[name], f"the field {field.name}") for name in names], axis=1)
        self.values = np.where(np.isin(self.values, rules_of(field).missing), np.nan, self.values)

    def read(self, row: int) -> Series | None:
        """The samples, without what is empty at the end; None where all is."""
        known = np.flatnonzero(~np.isnan(self.values[row]))
        if not len(known):
            return None
        samples, name = self.values[row, : known[-1] + 1, None], self.field.name
        rate, units = self.field.options.get("rate_hz", 1.0), rules_of(self.field).units
        return _cut(Series.waveform(samples, rate, (name,), (units.get(name, ""),)), self.field)


class SideSource:
    """Measurements of all cases in one table, a row each (long) or a row a time (wide), joined by key."""

    def __init__(self, field: Field, table: pd.DataFrame, root: Path) -> None:
        path = root / field.options["table"]
        side = read_table(path)
        self.field, self.path = field, path
        self.layout, self.rules = layout_of(field), rules_of(field)
        key = field.options["key"]
        _needed(side, [key], path)
        found = _find_columns(side.drop(columns=[key]), self.layout, path)
        self.side, self.found, self.key = side, found, key
        self.keys = [text_of(cell) for cell in table[field.columns[0]]]
        self.hours, self.calendar = events.hours_of(side[found.time], found.time_unit or "hours", str(path))
        self.starts = _starts(field, table)
        groups = side.groupby(side[key].map(text_of), sort=False).indices
        self.rows: Mapping[str | None, NDArray[np.int64]] = {
            str(name): np.asarray(rows, np.int64) for name, rows in groups.items()
        }

    def read(self, row: int) -> Series | None:
        """The measurements of a row's key; None where there are none. A moment counts from the row's start, or, where
        none is named, from the key's first one."""
        rows = self.rows.get(self.keys[row])
        if rows is None:
            return None
        hours = self.hours[rows]
        if self.calendar:
            start = self.starts[row] if self.starts is not None else np.nanmin(hours, initial=np.inf)
            hours = hours - start
        part = self.side.iloc[rows].drop(columns=[self.key])
        return _build(part, hours, self.found, self.field, self.path)


def _starts(field: Field, table: pd.DataFrame) -> NDArray[np.float64] | None:
    """Hours since 1970 of each case's start, where a second column names it."""
    if len(field.columns) < 2:
        return None
    hours, calendar = events.hours_of(table[field.columns[1]], "hours", f"the field {field.name}")
    if not calendar:
        raise TableError(f"the start {field.columns[1]!r} of {field.name} holds no dates", allowed="dates with times")
    return hours


def read_file(path: Path, field: Field) -> Series | None:
    """One case's file, of whatever format; see READ. None where nothing was measured."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        found = _from_fhir(path, field)
    elif suffix in TABLES:
        found = _from_table(path, field)
    elif suffix in edf.SUFFIXES:
        found = _cut(edf.read_edf(path, channels=rules_of(field).variables or None), field)
    elif suffix == ".dcm":
        from galenic.formats import dicom_waveform  # needs the extra for images

        found = _cut(dicom_waveform.read_waveform(path, channels=rules_of(field).variables or None), field)
    elif wfdb.is_record(path):
        found = _cut(wfdb.read_record(path, channels=rules_of(field).variables or None), field)
    else:
        raise UnsupportedFile(f"{path} is of no format that is read", allowed=READ)
    return found if found is not None and found.measured else None


def _from_fhir(path: Path, field: Field) -> Series | None:
    told = fhir.read_observations(path)
    if not told.observed:
        return None
    moments = np.array([one.when.timestamp() / 3600 for one in told.observed])
    own = Events(
        moments - moments.min(), np.array([one.code for one in told.observed], object),
        np.array([one.value for one in told.observed]), np.array([one.unit for one in told.observed], object),
    )  # fmt: skip
    found = events.from_events(own, rules_of(field), path, told.warnings)
    return None if found is None else replace(found, patient=told.patient)


def _from_table(path: Path, field: Field) -> Series | None:
    table = _read(path)
    wanted = layout_of(field)
    if field.options.get("waveform") and wanted.time is None and _named(table, _TIMES) is None:
        return _sampled(table, field, path)
    found = _find_columns(table, wanted, path)
    hours, calendar = events.hours_of(table[found.time], found.time_unit or "hours", str(path))
    if calendar:
        hours = hours - np.nanmin(hours, initial=np.inf)
    return _build(table, hours, found, field, path)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        return read_table(path)
    try:
        with path.open(encoding="utf-8") as file:
            tabs = "\t" in file.readline()
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            return pd.read_csv(path, sep="\t" if tabs else ",", index_col=False)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise UnreadableFile(f"{path} can't be read as a table: {error}", allowed=READ) from error


def _named(table: pd.DataFrame, usual: Sequence[str]) -> str | None:
    """The column with the first of the usual names, whatever its case."""
    known = {str(column).strip().lower(): str(column) for column in reversed(list(table.columns))}
    return next((known[name] for name in usual if name in known), None)


def _find_columns(table: pd.DataFrame, wanted: Layout, path: Path) -> Layout:
    """The layout with every column found; rows are events where the task names the variable and there is no value."""
    _needed(table, [name for name in (wanted.time, wanted.variable, wanted.value, wanted.unit) if name], path)
    time = wanted.time or _named(table, _TIMES)
    if time is None:
        raise TableError(
            f"{path} has no column of times", allowed=", ".join(map(str, table.columns)),
            todo="name it with the option `time`",
        )  # fmt: skip
    variable, value = wanted.variable or _named(table, _NAMES), wanted.value or _named(table, _VALUES)
    long = variable is not None and (value is not None or wanted.variable is not None)
    unit = (wanted.unit or _named(table, _UNITS)) if long and value is not None else None
    told = time.strip().lower()
    time_unit = wanted.time_unit or (told if told in events.HOURS_IN else None)
    return Layout(time, variable if long else None, value if long else None, unit, time_unit)


def _needed(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        raise TableError(
            f"{path} has no column {', '.join(map(repr, lacking))}", allowed=", ".join(map(str, table.columns))
        )


def _build(table: pd.DataFrame, hours: NDArray[np.float64], found: Layout, field: Field, path: Path) -> Series | None:
    rules = rules_of(field)
    if found.variable is not None:
        units = None if found.unit is None else table[found.unit].fillna("").astype(str).to_numpy(object)
        variables = table[found.variable].astype(str).str.strip().to_numpy(object)
        measured = np.ones(len(table)) if found.value is None else events.numbers(table[found.value], str(path))
        return events.from_events(Events(hours, variables, measured, units), rules, path)
    rest = [str(column) for column in table.columns if column != found.time]
    told = [name for name in rest if _is_text(table[name]) and name not in rules.variables]
    names = [name for name in rest if name not in told]
    values = np.stack([events.numbers(table[name], str(path)) for name in names] or [np.zeros(len(table))], axis=1)
    notes = [f"columns of text are no measurements: {', '.join(told)}"] if told else []
    series = events.from_matrix(hours, values[:, : len(names)], names, rules, path, notes)
    return _even(series, path) if series is not None and field.options.get("waveform") else series


def _is_text(cells: pd.Series) -> bool:
    """True for a column none of whose cells is a number."""
    return bool(pd.to_numeric(cells, errors="coerce").isna().all() and cells.notna().any())


def _sampled(table: pd.DataFrame, field: Field, path: Path) -> Series | None:
    """A waveform's file without times: a column a channel, a row a sample."""
    names = [str(column) for column in table.columns if not _is_text(table[column])]
    values = np.stack([events.numbers(table[name], str(path)) for name in names] or [np.zeros(0)], axis=1)
    if not names:
        raise TableError(f"{path} has no column of numbers", allowed="a column a channel, a row a sample")
    return _cut(Series.waveform(values, field.options.get("rate_hz", 1.0), tuple(names), source=path), field)


def _even(series: Series, path: Path) -> Series:
    """The same as a waveform; TableError where its times are not even."""
    steps = np.diff(series.times_hours)
    middle = float(np.median(steps)) if len(steps) else 0.0
    if middle <= 0 or np.abs(steps - middle).max() > _UNEVEN * middle:
        raise TableError(
            f"{path} is no waveform: its times are not evenly spaced",
            allowed="samples at one rate; irregular times belong to a history (waveform = false)",
        )
    rate = float(f"{1 / (3600 * middle):.6g}")  # times are written with few digits
    return Series.waveform(series.values, rate, series.variables, series.units, series.source, series.notes)


def _cut(series: Series, field: Field) -> Series | None:
    """A waveform's channels and time as the task may look at them."""
    rules = rules_of(field)
    names = [name for name in (rules.variables or series.variables) if name in series.variables and rules.keeps(name)]
    stop = len(series.values)
    if rules.until_hours is not None:
        stop = int(np.searchsorted(series.times_hours, rules.until_hours, side="right"))
    if not names or not stop:
        return None
    place = [series.variables.index(name) for name in names]
    values = series.values[:stop, place]
    values = np.where(np.isin(values, rules.missing), np.nan, values)
    units = tuple(series.units[at] or rules.units.get(name, "") for at, name in zip(place, names, strict=True))
    return Series.waveform(values, series.rate_hz, tuple(names), units, series.source, series.notes)
