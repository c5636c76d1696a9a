"""EDF, EDF+ and BDF recordings (EEG, sleep, long ECG), by the edfio package.

The format: Kemp et al., Electroencephalogr. Clin. Neurophysiol. 82:391 (1992); EDF+: Kemp and Olivan, Clin.
Neurophysiol. 114:1755 (2003).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galenic.core.errors import UnsupportedFile, ValueProblem
from galenic.formats.guard import check_memory, existing, need, reading
from galenic.formats.signals import faults
from galenic.values import Series

SUFFIXES = (".edf", ".bdf")


def read_edf(path: Path | str, *, channels: Sequence[str] | None = None) -> Series:
    """The signals of a recording as a waveform in physical units.

    channels: labels to keep, in that order; else those of the commonest sampling rate, and `notes` name the rest.
    UnreadableFile for a damaged file, ValueProblem for a channel that is not there, UnsupportedFile for a recording
    with gaps (EDF+D), labels that stand twice, or named channels of different rates.
    """
    path = existing(path)
    with reading(path, "an EDF recording"):
        package = need("edfio", "edfio", "reading EDF and BDF", "series")
        check_memory(path, 8 * path.stat().st_size)
        recording = package.read_edf(path)
        if not recording.is_continuous:
            raise UnsupportedFile(
                f"{path} has gaps (EDF+D)", allowed="continuous recordings", todo="cut it at its gaps"
            )
        signals, left = _picked(path, list(recording.signals), channels)
        values = np.stack([np.asarray(one.data, np.float64) for one in signals], axis=1)
        names = tuple(str(one.label) for one in signals)
        units = tuple(str(one.physical_dimension) for one in signals)
        rate = float(signals[0].sampling_frequency)
    notes = (f"of another rate, so left out: {', '.join(left)}",) if left else ()
    return Series.waveform(values, rate, names, units, path, (*notes, *faults(values, names)))


def _picked(path: Path, signals: list[Any], channels: Sequence[str] | None) -> tuple[list[Any], list[str]]:
    """The signals to keep, all of one rate, and the labels of those left out for theirs."""
    labels = [str(one.label) for one in signals]
    if not signals:
        raise UnsupportedFile(f"{path} has no signals", allowed="a recording with signals")
    if len(set(labels)) != len(labels):
        raise UnsupportedFile(f"{path} has labels twice: {', '.join(labels)}", allowed="a label of its own a signal")
    if channels:
        lacking = [name for name in channels if name not in labels]
        if lacking:
            raise ValueProblem(f"{path.name} has no channel {', '.join(lacking)}", allowed=", ".join(labels))
        kept = [signals[labels.index(name)] for name in channels]
        rates = sorted({float(one.sampling_frequency) for one in kept})
        if len(rates) > 1:
            raise UnsupportedFile(
                f"{', '.join(channels)} of {path.name} are sampled at {', '.join(f'{rate:g}' for rate in rates)} Hz",
                allowed="channels of one rate",
            )
        return kept, []
    counts = Counter(float(one.sampling_frequency) for one in signals)
    rate = max(counts, key=lambda own: (counts[own], own))
    kept = [one for one in signals if float(one.sampling_frequency) == rate]
    return kept, [str(one.label) for one in signals if float(one.sampling_frequency) != rate]
