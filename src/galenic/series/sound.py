"""What can't be a sound measurement: values far from all that training held, and signals unlike any of it.

The limits are the training cases' own, so that nothing has to be known of a variable; how often they refuse a sound
case is measured, see docs/why/series.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ENOUGH = 50  # training cases with a variable, from which on a case is held against them
SETTLED = 500  # from which on the room beyond them is the least; for n fewer it is sqrt(SETTLED / n) times as wide
FACTOR = 2.0  # that least room for medians above 0; else, and for single values, it is the width of training itself


def room_of(cases: int) -> float:
    """How many times the least room, as the extremes of few cases lie further inside."""
    return max(1.0, math.sqrt(SETTLED / cases))


def far(given: Floats, own: Mapping[str, Any]) -> list[str]:
    """A sentence a variable whose values [n, variable] no case of training comes near: a wrong unit, or a slip.

    own: a history's settings. Of a case the median is looked at, from one measurement on, and each single value.
    """
    found = []
    for at, variable in enumerate(own["variables"]):
        mine, medians = given[np.isfinite(given[:, at]), at], own["medians"][at]
        if not len(mine) or medians["cases"] < ENOUGH:
            continue
        room = room_of(medians["cases"])
        middle, odd = float(np.median(mine)), _odd(mine, own, at, room)
        if not _near(middle, medians["low"], medians["high"], room):
            found.append(
                f"{variable} is about {middle:g}, in training {medians['low']:g} to {medians['high']:g}: "
                "another unit, or far outside what was learnt from"
            )
        elif odd is not None:
            found.append(
                f"{variable} is {odd:g} once or more, in training {own['least'][at]:g} to {own['greatest'][at]:g}: "
                "a slip, or far outside what was learnt from"
            )
    return found


def _near(middle: float, low: float, high: float, room: float) -> bool:
    if low > 0:
        return low / (FACTOR * room) <= middle <= high * FACTOR * room
    beyond = room * _width(low, high)
    return low - beyond <= middle <= high + beyond


def _odd(values: Floats, own: Mapping[str, Any], at: int, room: float) -> float | None:
    """The value furthest beyond all of training: further than the width of all but its tails; or, where training has
    none, one below 0."""
    if "least" not in own:  # a plan of before these were kept
        return None
    least, greatest = own["least"][at], own["greatest"][at]
    beyond = room * _width(own["low"][at], own["high"][at])
    lowest, highest = float(values.min()), float(values.max())
    if lowest < least - beyond or (least >= 0 and lowest < 0):
        return lowest
    return highest if highest > greatest + beyond else None


def _width(low: float, high: float) -> float:
    """Between the two; where training knew one value alone, its size."""
    return high - low or max(abs(high), 1.0)


def unchecked(variables: Sequence[str], cases: Sequence[int]) -> str:
    """The variables that no case can be held against, and why; "" where there is none."""
    few = [f"{name} ({count})" for name, count in zip(variables, cases, strict=True) if count < ENOUGH]
    if not few:
        return ""
    return (
        f"no value of these is refused for its size, as they were measured in fewer than {ENOUGH} training cases: "
        + ", ".join(few)
    )
