"""What looks wrong in a table to learn from, though each cell can be read: another unit, slips, labels, copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core import sketch
from galenic.core.contract import Field
from galenic.tables import limits
from galenic.tables.read import CategorySource, NumberSource

_FEWEST = 10  # values of a site below which its median says little
_SHOWN = 5
_BY_CHANCE = 0.5  # pairs of equal rows that may be expected, were the columns independent, for a pair to be told
_RARE, _MANY = 2, 20  # cases of a target's label that are told, where there are so many labelled cases


def found(
    sources: Mapping[str, Any], fields: Sequence[Field], ids: Sequence[str], sites: Sequence[str] | None
) -> list[str]:
    """A sentence for each finding over all rows of the table; sources: field name -> its opened source."""
    told: list[str] = []
    for field in fields:
        source = sources[field.name]
        if isinstance(source, NumberSource) and len(source.columns) <= limits.NAMED and not field.target:
            told += _slips(source, ids)
            told += _of_sites(source, sites) if sites is not None else []
        elif isinstance(source, CategorySource):
            told += _labels(field, source)
    return told + _copies([sources[one.name] for one in fields if not one.target], ids)


def _known(columns: Sequence[str], values: NDArray[np.float64]) -> dict[str, Any]:
    """The settings of number columns that the limits look at, learnt from these rows [row, column]."""
    own = [_sketch(column[np.isfinite(column)]) for column in values.T]
    return {
        "columns": list(columns), "low": [one["low"] for one in own], "high": [one["high"] for one in own],
        "counts": [one["count"] for one in own], **limits.learn(own),
    }  # fmt: skip


def _sketch(values: NDArray[np.float64]) -> sketch.Sketch:
    """Of many values at once what `sketch.merge` would make of them one by one."""
    none = sketch.of(float("nan"))
    if not len(values):
        return none
    bins, counts = np.unique(sketch.bins_of(values), return_counts=True)
    return {
        **none, "count": len(values), "missing": 0, "low": float(values.min()), "high": float(values.max()),
        "bins": {str(one): int(count) for one, count in zip(bins, counts, strict=True)},
    }  # fmt: skip


def _slips(source: NumberSource, ids: Sequence[str]) -> list[str]:
    known = _known(source.columns, source.values)
    slips = [(row, text) for row, own in enumerate(source.values) for text in limits.far(own, known, len(ids))]
    told = [f"case {ids[row]} (row {row + 1}): {text}".replace("in training", "else") for row, text in slips[:_SHOWN]]
    more = len(slips) - _SHOWN
    return [*told, f"{more} more such numbers far from the others"] if more > 0 else told


def _of_sites(source: NumberSource, sites: Sequence[str]) -> list[str]:
    """Sites whose median of a column lies outside the 1 to 99 % of all the others."""
    told = []
    for site in sorted(set(sites)):
        own = np.array([name == site for name in sites])
        if own.all():
            continue
        known = _known(source.columns, source.values[~own])
        for text, _ in limits.together(source.values[own], known, _FEWEST).values():
            told.append(f"site {site or 'without a name'}: {text.replace('in training', 'elsewhere')}")
    return told


def _labels(field: Field, source: CategorySource) -> list[str]:
    """Labels that differ in case or spaces only, and labels of a target with a case or two."""
    counts = Counter(label for label in source.labels if label is not None)
    alike: dict[str, list[str]] = {}
    for label in sorted(counts):
        alike.setdefault("".join(label.lower().split()), []).append(label)
    told = [
        f"{field.name}: {' and '.join(f'{label!r} ({counts[label]} cases)' for label in own)} are taken for different "
        "labels; write them alike if they are one"
        for own in alike.values()
        if len(own) > 1
    ]
    if field.target and counts.total() >= _MANY:
        rare = [f"{label!r} ({counts[label]})" for label in sorted(counts) if counts[label] <= _RARE]
        told += [f"{field.name}: {', '.join(rare)} of {counts.total()} cases: a slip?"] if rare else []
    return told


def _copies(inputs: Sequence[Any], ids: Sequence[str]) -> list[str]:
    """Rows that are equal in every input, where chance would hardly make a pair."""
    if not inputs or not all(isinstance(one, NumberSource | CategorySource) for one in inputs):
        return []
    columns: list[Sequence[Any]] = []
    for one in inputs:
        columns += [one.labels] if isinstance(one, CategorySource) else [list(own) for own in one.values.T]
    cleaned = [[None if isinstance(cell, float) and np.isnan(cell) else cell for cell in own] for own in columns]
    chance = np.prod([sum((count / len(ids)) ** 2 for count in Counter(own).values()) for own in cleaned])
    if chance * len(ids) * (len(ids) - 1) / 2 > _BY_CHANCE:
        return []
    same: dict[tuple[Any, ...], list[str]] = {}
    for name, cells in zip(ids, zip(*cleaned, strict=True), strict=True):
        same.setdefault(cells, []).append(name)
    groups = [own for cells, own in same.items() if len(own) > 1 and any(cell is not None for cell in cells)]
    if not groups:
        return []
    shown = "; ".join(" and ".join(own[:_SHOWN]) for own in groups[:_SHOWN]) + (" ..." if len(groups) > _SHOWN else "")
    return [
        f"{sum(map(len, groups))} cases are copies of each other in every input: {shown}. In two parts they make the "
        "scores too good: give copies one patient, or keep one of each"
    ]
