"""Waveforms in DICOM, such as a 12-lead ECG (PS3.3 C.10.9), as a series in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galenic.core.errors import UnsupportedFile, ValueProblem
from galenic.formats.dicom_header import open_dataset
from galenic.formats.guard import check_memory, existing, reading
from galenic.formats.signals import faults
from galenic.values import Series


def read_waveform(path: Path | str, *, channels: Sequence[str] | None = None) -> Series:
    """The first multiplex group of the file: what was recorded, not the median beats that may follow it.

    channels: names to keep, in that order; "Lead I (Einthoven)" is named I. UnreadableFile for a damaged file,
    UnsupportedFile for one without a waveform or with names twice, ValueProblem for a channel that is not there.
    """
    path = existing(path)
    dataset = open_dataset(path)
    with reading(path, "a DICOM waveform"):
        groups = None if dataset is None else dataset.get("WaveformSequence")
        if dataset is None or not groups:
            raise UnsupportedFile(f"{path} holds no DICOM waveform", allowed="an ECG or another waveform object")
        group = groups[0]
        names = tuple(_name(own) for own in group.ChannelDefinitionSequence)
        units = tuple(_unit(own) for own in group.ChannelDefinitionSequence)
        check_memory(path, 8 * int(group.NumberOfWaveformSamples) * len(names))
        values, rate = np.asarray(dataset.waveform_array(0), np.float64), float(group.SamplingFrequency)
    if len(set(names)) != len(names):
        raise UnsupportedFile(f"{path} names channels twice: {', '.join(names)}", allowed="a name of its own a channel")
    lacking = [name for name in channels or () if name not in names]
    if lacking:
        raise ValueProblem(f"{path.name} has no channel {', '.join(lacking)}", allowed=", ".join(names))
    kept = [names.index(name) for name in channels] if channels else list(range(len(names)))
    names, values = tuple(names[at] for at in kept), values[:, kept]
    return Series.waveform(values, rate, names, tuple(units[at] for at in kept), path, tuple(faults(values, names)))


def _name(channel: Any) -> str:
    """The lead's own name, without what a dictionary adds to it; else the channel's label."""
    source = channel.get("ChannelSourceSequence") or []
    words = str(source[0].get("CodeMeaning") or "") if source else ""
    words = words or str(channel.get("ChannelLabel") or "")
    if not words:
        raise UnsupportedFile("a channel has neither source nor label", allowed="channels with names")
    return words.removeprefix("Lead ").split(" (")[0].strip()


def _unit(channel: Any) -> str:
    units = channel.get("ChannelSensitivityUnitsSequence") or []
    return str(units[0].get("CodeValue") or "") if units else ""
