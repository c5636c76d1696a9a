"""A series as plain numbers, what simple learners get: a history's usual summary, a waveform's shape and spectrum.

A series is an input only, so there are no scores here; those of the target stand in its own room.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Settings
from galenic.series.sound import spectrum

Floats = NDArray[np.float64]

OF_HISTORY = ("first", "last", "mean", "least", "greatest", "slope", "count")
OF_WAVEFORM = ("mean", "spread", "least", "greatest", "skewness", "kurtosis", "steps", "crossings")
BANDS = 8  # of the spectrum, each twice as wide as the one below


def features(array: NDArray[Any], own: Mapping[str, Any], settings: Settings) -> Floats:
    """(n,) numbers of a prepared series; those of a variable that was not measured are NaN, its count 0."""
    given = np.asarray(array, np.float64)
    return of_waveform(given, own) if own["waveform"] else of_history(given, settings["step_hours"])


def of_history(array: Floats, step_hours: float) -> Floats:
    """(7 * variables,) of [steps, 3 * variables]: each of OF_HISTORY for all variables, then the next.

    slope: of the least-squares line, in z-scores a day; 0 for a single measurement.
    """
    value, measured, _ = np.split(array, 3, axis=1)
    seen = measured > 0
    count = seen.sum(axis=0)
    steps = np.arange(len(value))[:, None]
    first = np.argmax(seen, axis=0)
    last = len(seen) - 1 - np.argmax(seen[::-1], axis=0)
    at = np.arange(value.shape[1])
    some = np.maximum(count, 1)
    mean = np.where(seen, value, 0.0).sum(axis=0) / some
    middle = np.where(seen, steps, 0).sum(axis=0) / some
    apart = np.where(seen, steps - middle, 0.0)
    spread = (apart**2).sum(axis=0)
    slope = (apart * value).sum(axis=0) / np.where(spread > 0, spread, 1.0) * 24.0 / step_hours
    least = np.where(seen, value, np.inf).min(axis=0)
    greatest = np.where(seen, value, -np.inf).max(axis=0)
    found = np.stack([value[first, at], value[last, at], mean, least, greatest, slope])
    return np.concatenate([np.where(count > 0, found, np.nan).ravel(), count])


def of_waveform(array: Floats, own: Mapping[str, Any]) -> Floats:
    """((8 + BANDS) * channels,) of [samples, channels]: OF_WAVEFORM, then the share of power in each band, by octave.

    The spectrum is `sound.spectrum`.
    """
    channels = len(own["variables"])
    real = array[:, -1] > 0 if own["padded"] else np.ones(len(array), bool)
    found = [_of_channel(array[real, at]) for at in range(channels)]
    return np.concatenate(found)


def _of_channel(x: Floats) -> Floats:
    if len(x) < 2:
        return np.full(len(OF_WAVEFORM) + BANDS, np.nan)
    mean, spread = float(x.mean()), float(x.std())
    z = (x - mean) / (spread or 1.0)
    steps = np.diff(x)
    crossings = float((np.diff(np.signbit(z)) != 0).mean())
    shape = [mean, spread, x.min(), x.max(), (z**3).mean(), (z**4).mean(), np.sqrt((steps**2).mean()), crossings]
    return np.concatenate([shape, _bands(x)])


def _bands(x: Floats) -> Floats:
    """(BANDS,) share of the power from half the sampling rate downwards, an octave each; the lowest takes the rest."""
    power = spectrum(x)
    total = float(power.sum())
    edges = [0, *(max(0, round(len(power) / 2**octave)) for octave in range(BANDS - 1, 0, -1)), len(power)]
    shares = [float(power[low:high].sum()) for low, high in itertools.pairwise(edges)]
    return np.array(shares) / (total or 1.0)
