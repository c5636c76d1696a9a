"""Headers with data behind them or in other files (NRRD, MetaImage): which files, never outside the folder.

galenic parses these headers itself: if another parser opened the files, a header that the two read differently could
still lead it outside the folder.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import UnreadableFile, UnsafeFile, UnsupportedFile
from galenic.core.files import inside
from galenic.formats.guard import DEFLATE_RATIO, check_claim

_PATTERN = re.compile(r"(?P<name>[^%]*%(0?\d)?d[^%]*?)\s+(?P<first>\d+)\s+(?P<last>\d+)(\s+(?P<step>\d+))?(\s+\d+)?")
_MOST_FILES = 100_000
_MOST_HEADER_BYTES = 1 << 20
# bzip2 codes a run of up to 45 MB of one byte in some 40 bytes
_RATIOS = {"raw": 10.0, "text": 10.0, "gzip": float(DEFLATE_RATIO), "zlib": float(DEFLATE_RATIO), "bzip2": 1.2e6}


@dataclass(frozen=True)
class Layout:
    """Where the values lie: type and byte order, sizes with the fastest axis first, coding.

    start: offset in the file; skip_lines and then skip_bytes count from there, the bytes after unpacking
    (-1: the values are the last bytes of the file).
    """

    dtype: np.dtype
    sizes: tuple[int, ...]
    coding: str
    files: tuple[Path, ...]
    start: int = 0
    skip_lines: int = 0
    skip_bytes: int = 0


def header_lines(path: Path, last: str) -> tuple[list[str], int]:
    """The header's lines up to and with the first that fits the pattern `last`, and where the data start."""
    lines: list[str] = []
    with path.open("rb") as file:
        for raw in iter(lambda: file.readline(_MOST_HEADER_BYTES), b""):
            lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
            if re.fullmatch(last, lines[-1]):
                break
            if file.tell() > _MOST_HEADER_BYTES:
                raise UnreadableFile(f"{path} has a header of more than {_MOST_HEADER_BYTES:,} bytes")
        return lines, file.tell()


def data_files(header: Path, told: str, listed: Sequence[str]) -> tuple[Path, ...]:
    """The files a header names: one, a LIST (its names in `listed`), or a numbered pattern as 'slice%03d.raw 1 60 1'.

    Raises UnsafeFile for URLs and for anything that lies, or leads by a link, outside the header's folder.
    """
    if re.match(r"list\b", told, re.IGNORECASE):
        names = [line.strip() for line in listed if line.strip()]
    elif "%" in told:
        names = _numbered(header, told)
    else:
        names = [told]
    if not 0 < len(names) <= _MOST_FILES:
        raise UnreadableFile(f"{header} names {len(names)} data files", allowed=f"1 to {_MOST_FILES}")
    return tuple(_safe(header, name) for name in names)


def read_values(header: Path, layout: Layout) -> NDArray:
    """The values [slowest axis, ..., fastest], reading no more than the sizes tell; short data are UnreadableFile."""
    count = int(np.prod(layout.sizes, dtype=object))
    if not layout.sizes or min(layout.sizes) < 1:
        raise UnreadableFile(f"{header} has the sizes {layout.sizes}", allowed="sizes above 0")
    for file in layout.files:
        if not file.is_file():
            raise UnreadableFile(f"{header} keeps its data in {file.name}, which is not there")
    claimed = count * layout.dtype.itemsize
    check_claim(header, claimed, sum(file.stat().st_size for file in layout.files), ratio=_RATIOS[layout.coding])
    if claimed % len(layout.files):
        raise UnreadableFile(f"{header} has {claimed} bytes in {len(layout.files)} equal files")
    if layout.coding == "text":
        return _from_text(header, layout, count)
    part = claimed // len(layout.files)
    data = b"".join(_bytes(file, layout, part) for file in layout.files)
    if len(data) < claimed:
        raise UnreadableFile(
            f"{header} needs {claimed:,} bytes of data but has {len(data):,}",
            todo="the file is cut short: copy or export it again",
        )
    return np.frombuffer(data, layout.dtype).reshape(layout.sizes[::-1]).astype(layout.dtype.newbyteorder("="))


def _numbered(header: Path, told: str) -> list[str]:
    found = _PATTERN.fullmatch(told)
    if found is None:
        raise UnsupportedFile(
            f"{header} names its data {told!r}", allowed="a name, LIST, or name%03d.raw first last step"
        )
    numbers = range(int(found["first"]), int(found["last"]) + 1, max(1, int(found["step"] or 1)))
    if len(numbers) > _MOST_FILES:
        raise UnsafeFile(f"{header} names {len(numbers)} data files", allowed=f"at most {_MOST_FILES}")
    return [found["name"] % number for number in numbers]


def _safe(header: Path, name: str) -> Path:
    if "://" in name:
        raise UnsafeFile(f"{header} names the address {name!r}", allowed="files in its own folder")
    if "\0" in name:
        raise UnreadableFile(f"{header} names a file with a zero byte")
    return inside(header.parent, name)


def _bytes(file: Path, layout: Layout, wanted: int) -> bytes:
    with file.open("rb") as stream:
        if layout.skip_bytes < 0:
            stream.seek(max(0, file.stat().st_size - wanted))
            return stream.read(wanted)
        _skip_lines(stream, layout)
        if layout.coding == "raw":
            stream.seek(layout.skip_bytes, 1)
            return stream.read(wanted)
        if layout.coding == "zlib":
            stream.seek(layout.skip_bytes, 1)
            return zlib.decompressobj(zlib.MAX_WBITS + 32).decompress(stream.read(), wanted)
        with gzip.GzipFile(fileobj=stream) if layout.coding == "gzip" else bz2.BZ2File(stream) as opened:
            opened.seek(layout.skip_bytes)
            return opened.read(wanted)


def _skip_lines(stream: BinaryIO, layout: Layout) -> None:
    stream.seek(layout.start)
    for _ in range(layout.skip_lines):
        if not stream.readline(_MOST_HEADER_BYTES):
            return


def _from_text(header: Path, layout: Layout, count: int) -> NDArray:
    values: list[str] = []
    for file in layout.files:
        with file.open("rb") as stream:
            _skip_lines(stream, layout)
            stream.seek(layout.skip_bytes, 1)
            values += stream.read().decode("ascii").replace(",", " ").split()
    if len(values) < count:
        raise UnreadableFile(f"{header} needs {count:,} values but has {len(values):,}")
    return np.array(values[:count], np.float64).astype(layout.dtype.newbyteorder("=")).reshape(layout.sizes[::-1])
