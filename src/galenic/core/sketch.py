"""Bounded, mergeable pieces of a column of numbers: moments and a histogram from which a median can be read.

Moments merge by Chan, Golub and LeVeque (1979): count, mean and sum of squares about the mean, which, unlike plain
sums of squares, keep their digits where the mean is large beside the spread. The histogram is a DDSketch (Masson,
Rim and Lee, VLDB 2019): its bins are fixed beforehand, so that merging is adding and the order of merging is of no
account; a quantile read from it is within 0.5 % of the true one, for sizes from 1e-12 to 1e12.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

_ACCURACY = 0.005
_GAMMA = (1 + _ACCURACY) / (1 - _ACCURACY)
_SMALLEST, _LARGEST = 1e-12, 1e12
_SHIFT = 1 - math.ceil(math.log(_SMALLEST, _GAMMA))


class Sketch(TypedDict):
    """JSON; `bins` maps a bin (0 for zero, the sign of the value, the size rising) to its count: 11,056 at most."""

    count: int
    missing: int
    mean: float
    m2: float
    low: float
    high: float
    bins: dict[str, int]


def of(value: float) -> Sketch:
    """The sketch of one value; NaN counts as missing."""
    if math.isnan(value):
        return {"count": 0, "missing": 1, "mean": 0.0, "m2": 0.0, "low": 0.0, "high": 0.0, "bins": {}}
    return {
        "count": 1, "missing": 0, "mean": value, "m2": 0.0, "low": value, "high": value, "bins": {str(_bin(value)): 1},
    }  # fmt: skip


def merge(one: Sketch, other: Sketch) -> Sketch:
    """The sketch of the cases of both."""
    missing = one["missing"] + other["missing"]
    if not one["count"] or not other["count"]:
        full = one if one["count"] else other
        return {**full, "missing": missing, "bins": dict(full["bins"])}
    count = one["count"] + other["count"]
    gap = other["mean"] - one["mean"]
    less, more = sorted((one["bins"], other["bins"]), key=len)
    bins = dict(more)
    for place, number in less.items():
        bins[place] = bins.get(place, 0) + number
    low, high = min(one["low"], other["low"]), max(one["high"], other["high"])
    return {
        "count": count,
        "missing": missing,
        "mean": min(max((one["mean"] * one["count"] + other["mean"] * other["count"]) / count, low), high),
        "m2": one["m2"] + other["m2"] + gap * gap * one["count"] * other["count"] / count,
        "low": low,
        "high": high,
        "bins": bins,
    }


def sd(sketch: Sketch) -> float:
    """Standard deviation of the population (divided by n); exactly 0 where all values are the same."""
    if not sketch["count"] or sketch["low"] == sketch["high"]:
        return 0.0
    return math.sqrt(sketch["m2"] / sketch["count"])


def median(sketch: Sketch) -> float:
    """The median, within 0.5 % of the middle values; 0 where there is no value."""
    count = sketch["count"]
    if not count:
        return 0.0
    middle = (_ranked(sketch, (count - 1) // 2) + _ranked(sketch, count // 2)) / 2
    return min(max(middle, sketch["low"]), sketch["high"])


def at_ranks(sketch: Sketch, ranks: Sequence[int]) -> list[float]:
    """The values of these ranks (counted from 0 in rising order), within 0.5 %; the sketch must not be empty."""
    places = sorted((int(name), count) for name, count in sketch["bins"].items())
    ends = np.cumsum([count for _, count in places])
    found = [_middle(places[min(int(at), len(places) - 1)][0]) for at in np.searchsorted(ends, ranks, side="right")]
    return [min(max(value, sketch["low"]), sketch["high"]) for value in found]


def bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each finite value: 0 for zero, else the sign of the value times a rank that rises with its size."""
    size = np.minimum(np.abs(values), _LARGEST)
    small = size < _SMALLEST
    rank = np.ceil(np.log(np.where(small, 1.0, size)) / math.log(_GAMMA)) + _SHIFT
    return np.where(small, 0, np.sign(values) * rank).astype(np.int64)


def _bin(value: float) -> int:
    size = min(abs(value), _LARGEST)
    if size < _SMALLEST:
        return 0
    return int(math.copysign(math.ceil(math.log(size, _GAMMA)) + _SHIFT, value))


def bin_at(counts: Mapping[int, int], rank: int) -> int:
    """The bin in which the value of `rank` lies, counted from 0 in rising order; the last one for a larger rank."""
    passed = 0
    for place in sorted(counts):
        passed += counts[place]
        if passed > rank:
            break
    return place


def ranked(counts: Mapping[int, int], rank: int) -> float:
    """The value of `rank`, within 0.5 %; `counts` (a bin each) must not be empty."""
    return _middle(bin_at(counts, rank))


def _middle(place: int) -> float:
    if place == 0:
        return 0.0
    return math.copysign(2 * _GAMMA ** (abs(place) - _SHIFT) / (_GAMMA + 1), place)


def _ranked(sketch: Sketch, rank: int) -> float:
    return ranked({int(name): count for name, count in sketch["bins"].items()}, rank)
