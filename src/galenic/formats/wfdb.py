"""WFDB: records (.hea with .dat or .mat) and their annotations (.atr, .qrs ...), by the wfdb package.

The format: PhysioNet, WFDB applications guide, header(5), signal(5) and annot(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import MissingFile, UnreadableFile, UnsafeFile, UnsupportedFile, ValueProblem
from galenic.formats.guard import check_memory, existing, need, reading
from galenic.formats.signals import faults
from galenic.values import Series

# Bits of a sample in a file, by WFDB format; the compressed ones (508, 516, 524) tell no size beforehand.
_BITS = {
    "8": 8.0, "16": 16.0, "24": 24.0, "32": 32.0, "61": 16.0, "80": 8.0, "160": 16.0, "212": 12.0,
    "310": 32 / 3, "311": 32 / 3,
}  # fmt: skip
_ENDINGS = (".hea", ".dat", ".mat")


@dataclass(frozen=True, eq=False)
class Annotations:
    """Marks on a record: `samples` (n,), counted from 0, and a `symbol` each ("N", "V", "+", ...)."""

    samples: NDArray[np.int64]
    symbols: tuple[str, ...]


def is_record(path: Path) -> bool:
    """True for the name of a record: its header, its samples, or the name that both share."""
    header = path.with_suffix(".hea") if path.suffix in _ENDINGS else path.with_name(f"{path.name}.hea")
    return header.is_file()


def read_record(
    path: Path | str, *, channels: Sequence[str] | None = None, start: int = 0, stop: int | None = None
) -> Series:
    """The record `path` (with or without its ending) as a waveform in physical units.

    channels: names to keep, in that order. start, stop: samples, so that a window is read without the rest.
    Samples that the record marks as invalid are NaN. UnreadableFile for a record cut short or damaged, MissingFile
    where the samples are not beside the header, UnsupportedFile for several segments, ValueProblem for a channel that
    is not there. What is flat or saturated is told in `notes`.
    """
    base = _base(Path(path))
    with reading(base, "a WFDB record"):
        package = need("wfdb", "wfdb", "reading WFDB records", "series")
        header = package.rdheader(str(base))
        _check(base, header)
        length = int(header.sig_len)
        if not 0 <= start < length or (stop is not None and not start < stop <= length):
            raise ValueProblem(f"the samples {start} to {stop} of {base.name}", allowed=f"within 0 to {length}")
        picked = _picked(base, list(header.sig_name), channels)
        check_memory(base, ((stop or length) - start) * len(picked) * 24)
        record = package.rdrecord(str(base), sampfrom=start, sampto=stop, channels=picked)
        values = np.asarray(record.p_signal, np.float64)
        names = tuple(str(name) for name in record.sig_name)
        units = tuple(str(unit or "") for unit in record.units)
    source = base.with_name(f"{base.name}.hea")
    return Series.waveform(values, float(header.fs), names, units, source, _notes(values, names))


def rate_of(path: Path | str) -> float:
    """Samples a second of the record `path`, from its header alone."""
    base = _base(Path(path))
    with reading(base, "a WFDB record"):
        package = need("wfdb", "wfdb", "reading WFDB records", "series")
        header = package.rdheader(str(base))
        _check(base, header)
        return float(header.fs)


def read_annotations(path: Path | str, extension: str = "atr") -> Annotations:
    """The annotations of the record `path` in the file with this ending; UnreadableFile where it is damaged."""
    base = Path(path)
    base = base.with_suffix("") if base.suffix in (*_ENDINGS, f".{extension}") else base
    file = existing(base.with_name(f"{base.name}.{extension}"))
    with reading(file, "WFDB annotations"):
        package = need("wfdb", "wfdb", "reading WFDB annotations", "series")
        found = package.rdann(str(base), extension)
        samples = np.asarray(found.sample, np.int64)
    if len(samples) and (samples.min() < 0 or (np.diff(samples) < 0).any()):
        raise UnreadableFile(f"{file} has annotations out of order", todo="copy it again")
    return Annotations(samples, tuple(str(symbol) for symbol in found.symbol))


def _base(path: Path) -> Path:
    base = path.with_suffix("") if path.suffix in _ENDINGS else path
    existing(base.with_name(f"{base.name}.hea"))
    if "::" in str(base) or "://" in str(base):  # the package would take these for addresses on the web
        raise UnsafeFile(f"{base} as the name of a record", allowed="a path on this machine without ::")
    return base.absolute()


def _check(base: Path, header: Any) -> None:
    """Before any sample is read: one segment, files beside the header, as long as the header claims."""
    if getattr(header, "n_seg", None):
        raise UnsupportedFile(f"{base} has {header.n_seg} segments", allowed="records of one segment")
    if not header.n_sig or not header.sig_name or not header.fs or header.fs <= 0:
        raise UnsupportedFile(f"{base} has no signals", allowed="a record with signals and a sampling rate")
    if header.sig_len is None or header.sig_len < 1:
        raise UnsupportedFile(f"{base} does not tell its length", allowed="a header with the number of samples")
    for name in set(header.file_name):
        if Path(name).name != name or ":" in name or "\\" in name:
            raise UnsafeFile(f"{base} names its samples {name!r}", allowed="a file in the header's own folder")
        file = base.with_name(name)
        if not file.is_file():
            raise MissingFile(f"{base} needs {name}, which is not beside it", todo="copy the whole record")
        own = [at for at, other in enumerate(header.file_name) if other == name]
        bits = _BITS.get(str(header.fmt[own[0]]))
        if bits is None:
            continue
        samples = header.sig_len * sum(int(header.samps_per_frame[at] or 1) for at in own)
        wanted = int(header.byte_offset[own[0]] or 0) + int(samples * bits / 8)
        if file.stat().st_size < wanted:
            raise UnreadableFile(
                f"{file} holds {file.stat().st_size:,} bytes, its header claims {wanted:,}",
                todo="the file is cut short: copy the record again",
            )


def _picked(base: Path, names: list[str], channels: Sequence[str] | None) -> list[int]:
    if len(set(names)) != len(names):
        raise UnsupportedFile(f"{base} names channels twice: {', '.join(names)}", allowed="a name of its own a channel")
    lacking = [name for name in channels or () if name not in names]
    if lacking:
        raise ValueProblem(f"{base.name} has no channel {', '.join(lacking)}", allowed=", ".join(names))
    return [names.index(name) for name in channels] if channels else list(range(len(names)))


def _notes(values: NDArray[np.float64], names: tuple[str, ...]) -> tuple[str, ...]:
    lost = np.isnan(values).mean(axis=0)
    return (
        *(f"{name} has {share:.0%} invalid samples" for name, share in zip(names, lost, strict=True) if share > 0),
        *faults(values, names),
    )
