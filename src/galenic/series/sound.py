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

from galenic.core import sketch

Floats = NDArray[np.float64]

ENOUGH = 50  # training cases with a variable, from which on a case is held against them
SETTLED = 500  # from which on the room beyond them is the least; for n fewer it is sqrt(SETTLED / n) times as wide
FACTOR = 2.0  # that least room for medians above 0; else, and for single values, it is the width of training itself
SHORTEST = 32  # samples below which a signal says nothing of itself
MAINS_HZ = (50.0, 60.0)
ENOUGH_SIGNALS = 20  # training cases with a channel, from which on it has limits
FAULTS = {  # by measure, the most telling first, what is said of a channel; the share, and its limit
    "quiet": "lies still in {:.0%} of its length, {:.0%} are let pass",
    "mains": "is hum of the mains: {:.0%} of its power is at 50 or 60 Hz, {:.0%} are let pass",
    "tone": "is one tone: {:.0%} of its power is at one frequency, {:.0%} are let pass",
    "rough": "is noise: neighbouring samples have little in common ({:.2f} of 1, {:.2f} is let pass)",
}


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


def told(channel: Floats, rate_hz: float) -> dict[str, float]:
    """What tells a signal (n,) from a fault, each from 0 (a sound one) to 1; {} for one too short to say.

    quiet: share of windows (of a second, or an eighth of the record) that span less than a twentieth of what the
    livelier ones do. rough: half of von Neumann's ratio (Ann. Math. Statist. 12:367, 1941), the mean square of steps by
    twice the variance: 1 for white noise. mains: the larger share of power within 1 Hz of 50 or of 60 Hz. tone: the
    largest share of power that lies in five neighbouring bins of the spectrum.
    """
    x = channel[np.isfinite(channel)]
    if len(x) < SHORTEST:
        return {}
    variance = float(x.var())
    if variance == 0:
        return {"quiet": 1.0, "rough": 0.0, "mains": 0.0, "tone": 0.0}
    power = spectrum(x)
    share = power / (float(power.sum()) or 1.0)
    return {
        "quiet": _quiet(x, rate_hz),
        "rough": min(1.0, float((np.diff(x) ** 2).mean()) / (2 * variance)),
        "mains": _mains(share, rate_hz),
        "tone": min(1.0, float(np.convolve(share, np.ones(5)).max())),
    }


def spectrum(x: Floats) -> Floats:
    """Power of each frequency above 0, up to half the sampling rate, by Welch's method (IEEE Trans. Audio
    Electroacoust. 15:70, 1967): Hann windows of up to 1,024 samples that overlap by half, averaged."""
    size = min(len(x), 1024)
    window = np.hanning(size + 1)[:-1]
    starts = range(0, len(x) - size + 1, max(1, size // 2))
    total = np.zeros(size // 2 + 1)
    for at in starts:
        piece = x[at : at + size]
        total += np.abs(np.fft.rfft((piece - piece.mean()) * window)) ** 2
    return np.asarray(total[1:] / len(starts))


def _quiet(x: Floats, rate_hz: float) -> float:
    size = max(4, min(round(rate_hz), len(x) // 8))
    count = len(x) // size
    spans = np.ptp(x[: count * size].reshape(count, size), axis=1)
    return float((spans < 0.05 * np.quantile(spans, 0.9)).mean())


def _mains(share: Floats, rate_hz: float) -> float:
    """0 where so slow a rate can't hold it."""
    hertz = np.arange(1, len(share) + 1) * rate_hz / (2 * len(share))
    near = [share[np.abs(hertz - own) <= max(1.0, 2 * hertz[0])].sum() for own in MAINS_HZ if rate_hz > 2 * own + 2]
    return min(1.0, float(max(near, default=0.0)))


def limits(told_of_training: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Where a channel is refused, by measure: a third of the way from the training cases' 99 % quantile to 1. {} where
    there are too few of them. told_of_training: measure -> bin of `core.sketch` -> count."""
    done = {}
    for name, bins in told_of_training.items():
        counts = {int(key): count for key, count in bins.items()}
        total = sum(counts.values())
        if total >= ENOUGH_SIGNALS:
            usual = min(1.0, sketch.ranked(counts, math.ceil(0.99 * (total - 1))))
            done[name] = round(usual + (1 - usual) / 3, 4)
    return done


def unsound(values: Floats, names: Sequence[str], rate_hz: float, own: Mapping[str, Any]) -> list[str]:
    """A sentence a channel of samples [n, channel] that is further towards a fault than training was.

    own: a waveform's settings.
    """
    found = []
    known = dict(zip(own["variables"], own.get("signal", ()), strict=False))
    for channel, name in zip(values.T, names, strict=True):
        limit = known.get(name) or {}
        measured = told(channel, rate_hz) if limit else {}
        over = [measure for measure in FAULTS if measured.get(measure, 0.0) > limit.get(measure, 1.0)]
        if over:
            found.append(f"{name} {FAULTS[over[0]].format(measured[over[0]], limit[over[0]])}")
    return found
