"""The kind series: the door of this room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galenic.core.cases import text_of
from galenic.core.contract import Field, Settings, Source
from galenic.core.errors import TaskError, UnsupportedFile
from galenic.series import measure, read, show
from galenic.series.events import HOURS_IN
from galenic.values import Series

if TYPE_CHECKING:
    from galenic.core.contract import Kind

_NAMES = ("variables", "static")
_COLUMNS = ("table", "key", "time", "variable", "value", "unit", "files")
_OPTIONS = (
    *_COLUMNS, "time_unit", *_NAMES, "missing", "until_hours", "units", "rate_hz", "waveform", "window",
)  # fmt: skip


class SeriesKind:
    """What was measured over time, an irregular history or a waveform; see `check` for where it lies. An input only."""

    name = "series"
    frame = "clock"
    from_file = True
    groups = False
    baselines = ("rocket",)  # of waveforms

    def check(self, field: Field) -> Field:
        """The field with `waveform` completed; TaskError says which option is wrong.

        One column: a cell names a file. Several columns or a pattern of columns: the samples of a waveform. With
        `table` and `key`: a side table, the column being the row's key, a second one the case's start. With `window`:
        the first column names a WFDB record, the second a moment in seconds.
        variables: those to keep. static: names that are no measurements over time. missing: values that mean none.
        files: the path of a cell's file, with {} for the cell, where the column holds names alone.
        until_hours: later values are not looked at. time, variable, value, unit: columns of the files or the side
        table. time_unit: of times that are numbers. units: by variable. rate_hz: samples a second. waveform: even
        samples, or a history; by default a waveform where a rate, a window or a row of samples says so, and of a column
        of files left open: `complete` looks at these.
        """
        options = {name: value for name, value in field.options.items() if value is not None}
        unknown = sorted(options.keys() - set(_OPTIONS))
        if unknown:
            raise TaskError(f"the options {', '.join(unknown)} of {field.name}", allowed=", ".join(_OPTIONS))
        if not field.columns:
            raise TaskError(f"the series {field.name} names no column")
        _check_words(field, options)
        _check_numbers(field, options)
        if ("key" in options) != ("table" in options):
            raise TaskError(f"the series {field.name} needs `table` and `key` together", allowed="both, or none")
        if "window" in options and (len(field.columns) != 2 or "table" in options):
            raise _wrong(field, "window", options["window"], "two columns: the record, and the moment in seconds")
        if "files" in options and ("{}" not in options["files"] or "table" in options):
            raise _wrong(field, "files", options["files"], "one column, and a path with {} in it, such as stays/{}.csv")
        if "table" in options and len(field.columns) > 2:
            raise TaskError(f"{field.columns} as the columns of {field.name}", allowed="the key, and the case's start")
        done = field.model_copy(update={"options": options})
        form = read.form_of(done)
        if "rate_hz" in options or form != "file":
            options.setdefault("waveform", "rate_hz" in options or form in ("window", "inline"))
        return done

    def complete(self, field: Field, table: pd.DataFrame, root: Path) -> Field:
        """The field with `waveform` told by its files where nobody says it: true where they hold samples at a rate.

        TaskError where some do and others do not.
        """
        if "waveform" in field.options or field.columns[0] not in table.columns:
            return field
        cells = map(text_of, self.joined(field, table, root)[field.columns[0]])
        sorts = {read.samples_in(root / cell) for cell in cells if cell is not None}
        if len(sorts) > 1:
            raise TaskError(
                f"the column {field.columns[0]!r} of {field.name} names waveforms as well as histories",
                allowed="files of one sort",
                todo="part them into two columns, or say `waveform = false` to take all of them as histories",
            )
        return field.model_copy(update={"options": field.options | {"waveform": sorts == {True}}})

    def joined(self, field: Field, table: pd.DataFrame, root: Path) -> pd.DataFrame:  # noqa: ARG002 - the contract's
        """The table with the paths that the option `files` makes of the cells; a cell that is a whole path stays."""
        pattern = field.options.get("files")
        if pattern is None:
            return table
        names = [text_of(cell) for cell in table[field.columns[0]]]
        paths = [one if one is None or Path(one).is_absolute() else pattern.replace("{}", one) for one in names]
        done = table.copy()
        done[field.columns[0]] = pd.Series(paths, index=table.index, dtype=object)
        return done

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> Source:
        """Index the field; TableError or MissingFile otherwise."""
        return read.open_series(field, table, root)

    def in_files(self, field: Field) -> bool:
        """True where each cell of the first column names a file, so that a path alone is a case."""
        return read.form_of(field) in ("file", "window")

    def expand(self, path: Path) -> list[Path]:
        """The files of series that a path to predict means."""
        if not path.is_dir():
            return [path]
        found = [one for one in sorted(path.iterdir()) if one.suffix.lower() in read.SUFFIXES]
        if not found:
            raise UnsupportedFile(f"{path} holds no file of a series", allowed=read.READ)
        return found

    def features(self, array: NDArray[Any], field: Field, settings: Settings) -> NDArray[Any]:
        """(n,) what simple learners get; see `measure`. NaN where nothing was measured."""
        return measure.features(array, settings["series"][field.name], settings)

    def group(self, value: Any) -> str | None:  # noqa: ARG002 - what ties cases together is the patient
        return None

    def show(self, value: Series) -> str:
        """The series as an SVG."""
        return show.show(value)


def _wrong(field: Field, option: str, given: Any, allowed: str) -> TaskError:
    return TaskError(f"{option} = {given!r} of {field.name}", allowed=allowed)


def _check_words(field: Field, options: dict[str, Any]) -> None:
    for name in _NAMES:
        own = options.get(name, [])
        words = isinstance(own, list) and all(isinstance(one, str) and one for one in own)
        if not words or len(set(own)) < len(own):
            raise _wrong(field, name, own, "a list of different names")
    for name in _COLUMNS:
        if not isinstance(options.get(name, "x"), str) or not options.get(name, "x"):
            raise _wrong(field, name, options[name], "text")
    units = options.get("units", {})
    if not isinstance(units, dict) or not all(isinstance(own, str) for own in units.values()):
        raise _wrong(field, "units", units, "a unit by variable")
    if options.get("time_unit", "hours") not in HOURS_IN:
        raise _wrong(field, "time_unit", options["time_unit"], ", ".join(HOURS_IN))
    if not isinstance(options.get("waveform", True), bool):
        raise _wrong(field, "waveform", options["waveform"], "true or false")


def _check_numbers(field: Field, options: dict[str, Any]) -> None:
    for name in ("until_hours", "rate_hz"):
        if name in options:
            if not _positive(options[name]):
                raise _wrong(field, name, options[name], "a number above 0")
            options[name] = float(options[name])
    missing = options.get("missing", [])
    if not isinstance(missing, list) or not all(_number(one) for one in missing):
        raise _wrong(field, "missing", missing, "a list of numbers")
    window = options.get("window", [1, 1])
    if not isinstance(window, list) or len(window) != 2 or not all(_number(one) for one in window) or sum(window) <= 0:
        raise _wrong(field, "window", window, "[seconds before, seconds after]")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


SERIES = SeriesKind()

if TYPE_CHECKING:
    _series: Kind = SERIES
