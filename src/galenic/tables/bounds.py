"""What a task says of its numbers: the unit, and the lowest and highest that can be, of a field or a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Field
from galenic.core.errors import TaskError, ValueProblem
from galenic.tables.read import Numbers

NAMES = ("unit", "low", "high")


def check(field: Field) -> None:
    """TaskError where `unit`, `low` or `high` is none, or low is not below high; each may be a table by column."""
    for name in NAMES:
        given = field.options.get(name)
        if isinstance(given, Mapping):
            if field.target:
                raise TaskError(f"the {name} of the target {field.name!r} by column", allowed="one for its one column")
            for column, own in given.items():
                if column not in field.columns and not any("*" in pattern for pattern in field.columns):
                    raise TaskError(
                        f"the {name} of {column!r} in {field.name!r}", allowed=f"columns: {', '.join(field.columns)}"
                    )
                _check_one(field, name, own)
        elif given is not None:
            _check_one(field, name, given)
    for column in [*field.columns, *_columns(field)]:
        low, high = of_column(field, column)
        if low >= high:
            raise TaskError(f"low {low:g} and high {high:g} of {column!r}", allowed="low below high")


def _check_one(field: Field, name: str, given: Any) -> None:
    if name == "unit":
        if not isinstance(given, str) or not given.isprintable():
            raise TaskError(f"the unit {given!r} of {field.name!r}", allowed="one line of text, such as mmol/l")
    elif isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise TaskError(f"{name} {given!r} of {field.name!r}", allowed="a number, or a number a column")


def _columns(field: Field) -> list[str]:
    """Columns that an option names."""
    return [column for name in NAMES if isinstance(own := field.options.get(name), Mapping) for column in own]


def _of(field: Field, name: str, column: str) -> Any:
    given = field.options.get(name)
    return given.get(column) if isinstance(given, Mapping) else given


def of_column(field: Field, column: str) -> tuple[float, float]:
    """The lowest and highest that the task allows; infinite where it does not say."""
    low, high = _of(field, "low", column), _of(field, "high", column)
    return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))


def outside(field: Field, columns: Sequence[str], given: NDArray[np.float64]) -> list[str]:
    """A sentence for each of the numbers (columns,) that the task does not allow; NaN is missing."""
    if not {"low", "high"} & field.options.keys():
        return []
    told = []
    for column, value in zip(columns, given, strict=True):
        low, high = of_column(field, column)
        if value < low or value > high:
            unit = _of(field, "unit", column)
            told.append(f"{column} is {value:g}{f' {unit}' if unit else ''}, the task allows {_words(low, high)}")
    return told


def refuse(field: Field, given: Numbers) -> None:
    """ValueProblem for numbers to learn from that the task does not allow."""
    told = outside(field, given.columns, given.values)
    if told:
        raise ValueProblem(
            "; ".join(told), todo="mend the cell, empty it where the value is missing, or widen low and high"
        )


def _words(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} and more"
    return f"up to {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"
