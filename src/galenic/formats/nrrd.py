"""NRRD (.nrrd, .nhdr). Format: https://teem.sourceforge.net/nrrd/format.html"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import UnreadableFile, UnsupportedFile
from galenic.core.files import write_aside
from galenic.formats import grids
from galenic.formats.detached import Layout, data_files, header_lines, read_values
from galenic.formats.guard import existing, reading
from galenic.formats.labels import as_mask, smallest
from galenic.values import Geometry, Image, Mask

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_CODINGS = {
    "raw": "raw",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
}
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}


def read_image(path: Path | str) -> Image:
    """A float32 Image [channel, *space]; an axis without direction in space gives the channels."""
    array, geometry = _read(existing(path))
    return Image(array.astype(np.float32), geometry, source=Path(path))


def read_mask(path: Path | str, names: Mapping[int, str] | None = None) -> Mask:
    """A Mask [*space]; see labels.as_mask for what names do."""
    array, geometry = _read(existing(path))
    if len(array) > 1:
        raise UnsupportedFile(f"the mask {path} has {len(array)} channels", allowed="one value a voxel")
    return as_mask(array[0], geometry, Path(path), names)


def write_mask(mask: Mask, path: Path) -> None:
    """Write a Mask on its own grid, gzip inside, in the smallest unsigned type."""
    if path.suffix != ".nrrd":
        raise UnsupportedFile(f"{path} as the name of an NRRD mask", allowed="names ending in .nrrd (one file)")
    array = smallest(mask.array, path)
    affine, dims = grids.to_affine(mask.geometry), mask.geometry.dims
    order = "\nendian: little" if array.itemsize > 1 else ""
    lines = [
        "NRRD0004",
        f"type: uint{8 * array.itemsize}{order}",
        f"dimension: {dims}",
        f"sizes: {' '.join(str(size) for size in array.shape[::-1])}",
    ]
    if mask.geometry.known:
        directions = " ".join(_vector(affine[:3, axis]) for axis in range(dims))
        lines += [
            "space: left-posterior-superior",
            f"space directions: {directions}",
            f"space origin: {_vector(affine[:3, 3])}",
        ]
    lines += [f"kinds: {' '.join(['domain'] * dims)}", "encoding: gzip", "", ""]
    data = gzip.compress(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes(), mtime=0)
    with write_aside(path) as aside:
        aside.write_bytes("\n".join(lines).encode() + data)


def _vector(values: NDArray) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _read(path: Path) -> tuple[NDArray, Geometry]:
    """Values [channel, *space] and their grid."""
    with reading(path, "NRRD"):
        fields, rest, start = _fields(path)
        layout = _layout(path, fields, rest, start)
        outside = _outside_space(fields, len(layout.sizes))
        dims = len(layout.sizes) - len(outside)
        if dims not in (2, 3) or len(outside) > 1:
            raise UnsupportedFile(
                f"{path} has {len(layout.sizes)} axes of sizes {layout.sizes}",
                allowed="2 or 3 axes of space and one more",
            )
        affine, known = _affine(path, fields, len(layout.sizes), outside)
        array = read_values(path, layout)
        array = np.moveaxis(array, array.ndim - 1 - outside[0], 0) if outside else array[np.newaxis]
        return np.ascontiguousarray(array), grids.from_affine(affine, dims, known=known)


def _fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Fields by lower-case name, the lines after a LIST, and the offset of attached data."""
    lines, start = header_lines(path, last=r"|data ?file:\s*LIST.*")
    if not lines or not re.fullmatch(r"NRRD000\d", lines[0]):
        raise UnreadableFile(f"{path} is no NRRD file")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line.startswith("#") or not line or value.startswith("="):
            continue
        if not colon:
            raise UnreadableFile(f"{path} has the header line {line[:60]!r}", allowed="field: value")
        fields[name.strip().lower().replace(" ", "")] = value.strip()
    rest: list[str] = []
    if lines[-1]:
        with path.open("rb") as file:
            file.seek(start)
            rest = file.read(1 << 24).decode("utf-8", "replace").splitlines()
    return fields, rest, start


def _layout(path: Path, fields: dict[str, str], rest: list[str], start: int) -> Layout:
    for name in ("type", "dimension", "sizes", "encoding"):
        if name not in fields:
            raise UnreadableFile(f"{path} lacks the field {name!r}")
    code, coding = _CODES.get(fields["type"].lower()), _CODINGS.get(fields["encoding"].lower())
    if code is None or coding is None:
        raise UnsupportedFile(
            f"{path} has the type {fields['type']!r} and the encoding {fields['encoding']!r}",
            allowed=f"whole numbers, float or double, and {sorted(set(_CODINGS.values()))}",
        )
    sizes = tuple(int(size) for size in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]):
        raise UnreadableFile(f"{path} has the dimension {fields['dimension']} but the sizes {sizes}")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    skip_lines, skip_bytes = int(fields.get("lineskip", 0)), int(fields.get("byteskip", 0))
    if skip_lines < 0 or skip_bytes < -1 or (skip_bytes == -1 and coding != "raw"):
        raise UnreadableFile(f"{path} skips {skip_lines} lines and {skip_bytes} bytes")
    told = fields.get("datafile")
    files = (path,) if told is None else data_files(path, told, rest)
    dtype = np.dtype(order + code)
    return Layout(dtype, sizes, coding, files, start if told is None else 0, skip_lines, skip_bytes)


def _outside_space(fields: dict[str, str], dimension: int) -> list[int]:
    """Axes (fastest is 0) that are not of space: those with the direction "none", else with a kind of channels."""
    if "spacedirections" in fields:
        vectors = _vectors(fields["spacedirections"])
        return [axis for axis, vector in enumerate(vectors) if vector is None]
    kinds = fields.get("kinds", "").split() or ["domain"] * dimension
    return [axis for axis, kind in enumerate(kinds) if kind.lower() not in ("domain", "space", "???", "none")]


def _affine(path: Path, fields: dict[str, str], dimension: int, outside: list[int]) -> tuple[NDArray, bool]:
    """Index (x, y, z) to LPS mm, and whether the header tells a spacing."""
    affine = np.eye(4)
    inside = [axis for axis in range(dimension) if axis not in outside]
    signs = np.array(_TO_LPS.get(fields.get("space", "").lower(), (1, 1, 1)), float)
    known = "spacedirections" in fields
    if known:
        vectors = _vectors(fields["spacedirections"])
        if len(vectors) != dimension:
            raise UnreadableFile(f"{path} has {dimension} axes but {len(vectors)} space directions")
        for column, axis in enumerate(inside):
            vector = vectors[axis] or ()
            affine[:, column] = 0
            affine[: len(vector), column] = vector
    elif "spacings" in fields:
        told = [float(word) for word in fields["spacings"].split()]
        if len(told) != dimension:
            raise UnreadableFile(f"{path} has {dimension} axes but {len(told)} spacings")
        steps = np.array([told[axis] for axis in inside])
        known = bool(np.isfinite(steps).all())
        affine[range(len(inside)), range(len(inside))] = np.where(np.isfinite(steps), np.abs(steps), 1.0)
    origin = (_vectors(fields.get("spaceorigin", "")) or [None])[0] or ()
    affine[: len(origin), 3] = origin
    affine[:3] *= signs[:, np.newaxis] if known else 1.0
    return affine, known


def _vectors(text: str) -> list[tuple[float, ...] | None]:
    """The vectors of a line as "(1,0,0) none (0,1,0)", None where it says none."""
    found: list[tuple[float, ...] | None] = []
    for word in re.findall(r"\([^)]*\)|none", text):
        numbers = None if word == "none" else tuple(float(number) for number in word[1:-1].split(","))
        if numbers is not None and not 2 <= len(numbers) <= 3:
            raise UnreadableFile(f"the vector {word}", allowed="2 or 3 numbers")
        found.append(numbers)
    return found
