"""Which numbers no patient of this kind has, by what training showed: rules that one slip in it leaves whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core import sketch
from galenic.tables import units

FAR_RANGES = (1.0, 10.0)  # how many training ranges beyond it a value may lie: of few columns and many cases, or else
_BY_CHANCE = 0.01  # share of sound cases that this may refuse, were every column as heavy-tailed as 1 / x

STRAY = 0.005  # share at either end of a training column, one value at least, that may be slips
FEWEST = 20  # training values below which none is taken for a slip
LEVELS = 10  # different values below which a column holds grades, not measurements
NAMED = 64  # columns of a field above which they are no measurements that someone wrote down one by one
_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_BEYOND = 3.0  # usual ranges beyond the usual range, where the tails are light
_LIGHT = (
    3.0  # interquartile ranges from a quartile to the usual end: 1.4 of a normal distribution, 3.5 of an exponential
)
_WELL_ABOVE = 0.3  # share of the median that the usual low reaches where all is well above zero


def learn(columns: Sequence[sketch.Sketch]) -> dict[str, Any]:
    """{"usual_low", "usual_high": without the strays, "quantiles": [1, 25, 50, 75, 99 %], "levels"}, a column each.

    Values are within 0.5 %. A column without a value has zeros.
    """
    found: dict[str, Any] = {"usual_low": [], "usual_high": [], "quantiles": [], "levels": []}
    for one in columns:
        count = one["count"]
        stray = max(1, int(STRAY * count)) if count >= FEWEST else 0
        ranks = [stray, count - 1 - stray, *(round(share * (count - 1)) for share in _QUANTILES)]
        values = sketch.at_ranks(one, ranks) if count else [0.0] * len(ranks)
        found["usual_low"].append(values[0])
        found["usual_high"].append(values[1])
        found["quantiles"].append(values[2:])
        found["levels"].append(len(one["bins"]))
    return found


def far(given: NDArray[np.float64], known: Mapping[str, Any], cases: int) -> list[str]:
    """Values (n,) that are a wrong unit or a slip, not a patient, each with what training held; see `_out`.

    known: the settings of a number field with n columns, of `cases` training cases. A value that is one of training's
    range in a known other unit is told as such.
    """
    told = []
    units_of = _units(given, known)
    for place in map(int, np.flatnonzero(_out(given, known, cases) | (units_of != ""))):
        low, high = _shown(known, place, float(given[place]))
        unit = f" (another unit? {units_of[place]})" if units_of[place] else ""
        told.append(f"{known['columns'][place]} is {given[place]:g}, in training {low:g} to {high:g}{unit}")
    return told


def _out(given: NDArray[np.float64], known: Mapping[str, Any], cases: int) -> NDArray[np.bool_]:
    """A training range or more beyond the lowest and highest, or of a sign that none has; see also `_unusual`.

    The fewer the cases and the more the columns, the further sound values may lie outside by chance.
    """
    low, high = np.asarray(known["low"]), np.asarray(known["high"])
    ranges = float(np.clip(len(given) / (_BY_CHANCE * max(cases, 1)), *FAR_RANGES))
    room = ranges * (high - low)
    with np.errstate(invalid="ignore"):
        out = (given < low - room) | (given > high + room) | ((given < 0) & (low > 0)) | ((given > 0) & (high < 0))
        if _has_rules(known):
            out |= _unusual(given, known, ranges)
    return np.asarray(out & (high > low))


def _unusual(given: NDArray[np.float64], known: Mapping[str, Any], ranges: float) -> NDArray[np.bool_]:
    """What the strays of training may not hide, in columns of measurements.

    Of a sign that none but strays has; where all is well above zero, zero, and less than the usual low by the factor
    that the usual high is more; where the tails are light, three usual ranges beyond the usual range.
    """
    low, high = np.asarray(known["usual_low"]), np.asarray(known["usual_high"])
    first, middle, third = np.asarray(known["quantiles"]).T[1:4]
    out = ((given < 0) & (low > 0)) | ((given > 0) & (high < 0))
    above = (low > 0) & (low >= _WELL_ABOVE * middle)
    safe = np.where(above, low, 1.0)
    factor = np.maximum(np.where(above, high, 1.0) / safe, 2.0) ** ranges
    out |= above & (given < safe / factor)
    half = third - first
    room = _BEYOND * ranges * (high - low)
    out |= (half > 0) & (first - low <= _LIGHT * half) & (given < low - room)
    out |= (half > 0) & (high - third <= _LIGHT * half) & (given > high + room)
    return np.asarray(out & _measured(known))


def _units(given: NDArray[np.float64], known: Mapping[str, Any]) -> NDArray[np.object_]:
    """The other unit that a value outside the usual range seems to be in, "" for most."""
    found = np.full(len(given), "", dtype=object)
    if not _has_rules(known):
        return found
    low, high = np.asarray(known["usual_low"]), np.asarray(known["usual_high"])
    above = (low > 0) & (low >= _WELL_ABOVE * np.asarray(known["quantiles"])[:, 2])
    with np.errstate(invalid="ignore"):
        outside = _measured(known) & above & (given > 0) & ((given < low) | (given > high))
    for place in np.flatnonzero(outside):
        middle, name = known["quantiles"][place][2], known["columns"][place]
        found[place] = units.of_value(name, float(given[place]), float(low[place]), float(high[place]), middle)
    return found


def _has_rules(known: Mapping[str, Any]) -> bool:
    """False for many columns, where a slip is no one's, and for plans of before these rules."""
    return "usual_low" in known and len(known["columns"]) <= NAMED


def _measured(known: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Columns of enough different values, in enough cases."""
    return (np.asarray(known["levels"]) >= LEVELS) & (np.asarray(known["counts"]) >= FEWEST)


def _shown(known: Mapping[str, Any], place: int, value: float) -> tuple[float, float]:
    """What training held; without the strays where they reach as far as the value that is told."""
    low, high = known["low"][place], known["high"][place]
    return (known["usual_low"][place], known["usual_high"][place]) if low <= value <= high else (low, high)


def together(values: NDArray[np.float64], known: Mapping[str, Any], fewest: int = 10) -> dict[int, tuple[str, str]]:
    """Columns of cases (n, columns) that as a whole lie elsewhere than in training: place -> (what is told, unit).

    Where the median of `fewest` values or more lies outside the 1 to 99 % of training. unit: the pair of units by which
    it would lie in the middle of it, "" where there is none, as of cases from another population.
    """
    found: dict[int, tuple[str, str]] = {}
    if not _has_rules(known):
        return found
    for place in np.flatnonzero(_measured(known)):
        own = values[np.isfinite(values[:, place]), place]
        low, first, middle, third, high = known["quantiles"][place]
        median = float(np.median(own)) if len(own) >= fewest else middle
        if low <= median <= high or low == high:
            continue
        unit = units.of_median(known["columns"][place], median, middle, (first, third))
        told = (
            f"the median of {known['columns'][place]} in these {len(own)} cases is {median:g}, in training {middle:g} "
            f"(98 % within {low:g} and {high:g})"
        )
        found[int(place)] = (f"{told}: {unit or 'another unit, or other patients'}", unit)
    return found
