"""JPEG Lossless (.57, .70) and 12-bit JPEG (.51) for pydicom, by imagecodecs, and a look at coded sizes beforehand.

The names DECODER_DEPENDENCIES and is_available are what pydicom asks of a plug-in (pydicom.pixels.common.CoderBase).
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import Any

import numpy as np

LABEL = "galenic-imagecodecs"
_UIDS = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
DECODER_DEPENDENCIES = dict.fromkeys(_UIDS, ("imagecodecs>=2024.9.22",))
_NO_SEGMENT = {0x01, *range(0xD0, 0xD9)}
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "


def is_available(uid: str) -> bool:
    """Whether imagecodecs is there and `uid` is one that this plug-in decodes."""
    return uid in _UIDS and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: Any) -> bytes:
    """One frame, its samples as coded (no colour conversion: pydicom does that by the photometric interpretation)."""
    import imagecodecs

    rgb = imagecodecs.JPEG8.CS.RGB
    colour: dict[str, Any] = {"colorspace": rgb, "outcolorspace": rgb} if runner.samples_per_pixel == 3 else {}
    array = imagecodecs.jpeg8_decode(source, **colour)
    runner.set_option("bits_allocated", 8 * array.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def coded_size(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) that a JPEG, JPEG-LS or JPEG 2000 frame says of itself, or None if it has no header.

    Sources: ITU-T T.81 B.2.2 (frame header, JPEG-LS alike), ITU-T T.800 A.5.1 (SIZ) and I.4 (boxes).
    """
    try:
        if frame[:8] == _JP2_SIGNATURE or frame[:2] == b"\xff\x4f":
            return _size_jpeg2000(frame)
        return _size_jpeg(frame) if frame[:2] == b"\xff\xd8" else None
    except (struct.error, IndexError):
        return None


def _size_jpeg(frame: bytes) -> tuple[int, int, int] | None:
    at = 2
    while frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _NO_SEGMENT:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_HEADERS:
            rows, columns, components = struct.unpack_from(">HHB", frame, at + 5)
            return rows, columns, components
        at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None


def _size_jpeg2000(frame: bytes) -> tuple[int, int, int] | None:
    at = 0
    while frame[at : at + 2] != b"\xff\x4f":
        length = struct.unpack_from(">I", frame, at)[0]
        if length < 8:  # also keeps pydicom from walking such boxes for ever
            return None
        at += 8 if frame[at + 4 : at + 8] == b"jp2c" else length
    if frame[at + 2 : at + 4] != b"\xff\x51":
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", frame, at + 8)
    components = struct.unpack_from(">H", frame, at + 40)[0]
    return bottom - top, right - left, components
