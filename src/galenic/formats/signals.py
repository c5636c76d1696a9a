"""What is wrong with a recorded signal: flat where a lead is off, cut off where the amplifier saturates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_SATURATED = 0.05  # share of the samples that may lie at a limit
MOST_STILL = 0.9  # share of the steps that may change nothing
_RUN = 4  # samples in a row at the limit; a peak that is merely reached holds for fewer


def faults(values: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """A sentence a faulty channel of samples [n, channel]; [] where all are sound. A channel without samples is none.

    Flat: more than nine tenths of the steps change nothing. Saturated: more than a twentieth of the samples lie, four
    or more in a row, at the channel's own highest or lowest value.
    """
    found = []
    for channel, name in zip(np.asarray(values, np.float64).T, names, strict=True):
        known = channel[np.isfinite(channel)]
        if len(known) < _RUN:
            continue
        still = float((np.diff(known) == 0).mean())
        cut = _at_limit(known)
        if still > MOST_STILL:
            found.append(f"{name} is flat: {still:.0%} of its steps change nothing")
        elif cut > MOST_SATURATED:
            found.append(f"{name} is saturated: {cut:.0%} of its samples lie at its limit")
    return found


def _at_limit(known: NDArray[np.float64]) -> float:
    """Share of the samples in runs of four or more at the highest or lowest value."""
    total = 0
    for limit in (known.max(), known.min()):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], known == limit, [False]])))
        lengths = edges[1::2] - edges[::2]
        total += int(lengths[lengths >= _RUN].sum())
    return total / len(known)
