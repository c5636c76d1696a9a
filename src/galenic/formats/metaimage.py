"""MetaImage (.mha, .mhd). Format: https://itk.org/Wiki/ITK/MetaIO/Documentation"""

from __future__ import annotations

import re
import zlib
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
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # MetaIO fixes it at four bytes whatever the machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_WRITTEN = {"u1": "MET_UCHAR", "u2": "MET_USHORT", "u4": "MET_UINT"}


def read_image(path: Path | str) -> Image:
    """A float32 Image [channel, *space]."""
    array, geometry = _read(existing(path))
    return Image(array.astype(np.float32), geometry, source=Path(path))


def read_mask(path: Path | str, names: Mapping[int, str] | None = None) -> Mask:
    """A Mask [*space]; see labels.as_mask for what names do."""
    array, geometry = _read(existing(path))
    if len(array) > 1:
        raise UnsupportedFile(f"the mask {path} has {len(array)} channels", allowed="one value a voxel")
    return as_mask(array[0], geometry, Path(path), names)


def write_mask(mask: Mask, path: Path) -> None:
    """Write a Mask on its own grid as one compressed .mha file, in the smallest unsigned type."""
    if path.suffix != ".mha":
        raise UnsupportedFile(f"{path} as the name of a MetaImage", allowed="names ending in .mha (one file)")
    array, dims = smallest(mask.array, path), mask.geometry.dims
    directions = mask.geometry.direction[:dims, ::-1].T if _fits_2d(mask.geometry) else np.eye(dims)
    data = zlib.compress(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    lines = [
        "ObjectType = Image",
        f"NDims = {dims}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(data)}",
        f"TransformMatrix = {_words(directions.ravel())}",
        f"Offset = {_words(mask.geometry.origin_mm[:dims])}",
        f"DimSize = {' '.join(str(size) for size in array.shape[::-1])}",
        f"ElementType = {_WRITTEN[array.dtype.str[1:]]}",
    ]
    if mask.geometry.known:
        lines.insert(-2, f"ElementSpacing = {_words(mask.geometry.spacing_mm[::-1])}")
    lines += ["ElementDataFile = LOCAL", ""]
    with write_aside(path) as aside:
        aside.write_bytes("\n".join(lines).encode() + data)


def _fits_2d(geometry: Geometry) -> bool:
    """A 2D MetaImage keeps only x and y; a slice that lies otherwise in space has no place there."""
    return geometry.dims == 3 or bool(np.allclose(geometry.direction[2], 0, atol=1e-6))


def _words(values: NDArray) -> str:
    return " ".join(repr(float(value)) for value in values)


def _read(path: Path) -> tuple[NDArray, Geometry]:
    """Values [channel, *space] and their grid."""
    with reading(path, "MetaImage"):
        fields, start = _fields(path)
        dims = int(fields["ndims"])
        if dims not in (2, 3):
            raise UnsupportedFile(f"{path} has {dims} axes", allowed="2 or 3 axes of space")
        channels = int(fields.get("elementnumberofchannels", 1))
        array = read_values(path, _layout(path, fields, start, channels))
        array = np.moveaxis(array, -1, 0) if channels > 1 else array[np.newaxis]
        affine, known = _affine(path, fields, dims)
        return np.ascontiguousarray(array), grids.from_affine(affine, dims, known=known)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    lines, start = header_lines(path, last=r"\s*ElementDataFile\s*[=:].*")
    fields: dict[str, str] = {}
    for line in lines:
        found = re.fullmatch(r"\s*(\w+)\s*[=:]\s*(.*?)\s*", line)
        if found is None:
            raise UnreadableFile(f"{path} has the header line {line[:60]!r}", allowed="Field = value")
        fields[found[1].lower()] = found[2]
    missing = [name for name in ("ndims", "dimsize", "elementtype", "elementdatafile") if name not in fields]
    if missing or fields.get("objecttype", "Image").lower() != "image":
        raise UnreadableFile(f"{path} is no MetaImage: {missing or fields['objecttype']}")
    return fields, start


def _layout(path: Path, fields: dict[str, str], start: int, channels: int) -> Layout:
    code = _TYPES.get(fields["elementtype"])
    if code is None:
        raise UnsupportedFile(f"{path} has the type {fields['elementtype']!r}", allowed=", ".join(_TYPES))
    sizes = tuple(int(word) for word in fields["dimsize"].split())
    if len(sizes) != int(fields["ndims"]) or channels < 1:
        raise UnreadableFile(f"{path} has {fields['ndims']} axes, the sizes {sizes} and {channels} channels")
    sizes = (channels, *sizes) if channels > 1 else sizes
    big = _true(fields, "binarydatabyteordermsb") or _true(fields, "elementbyteordermsb")
    told = fields["elementdatafile"]
    local = told.lower() == "local"
    rest: list[str] = []
    if re.match(r"list\b", told, re.IGNORECASE):
        with path.open("rb") as file:
            file.seek(start)
            rest = file.read(1 << 24).decode("utf-8", "replace").splitlines()
    coding = "text" if fields.get("binarydata", "true").lower() == "false" else "raw"
    return Layout(
        dtype=np.dtype((">" if big else "<") + code),
        sizes=sizes,
        coding="zlib" if _true(fields, "compresseddata") else coding,
        files=(path,) if local else data_files(path, told, rest),
        start=start if local else 0,
        skip_bytes=max(-1, int(fields.get("headersize", 0))),
    )


def _true(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "false").lower() in ("true", "1")


def _affine(path: Path, fields: dict[str, str], dims: int) -> tuple[NDArray, bool]:
    """Index (x, y, z) to LPS mm, and whether the header tells a spacing; row i of the matrix is axis i's direction."""
    affine = np.eye(4)
    steps = _numbers(path, fields, ("elementspacing", "elementsize"), dims)
    axes = _numbers(path, fields, ("transformmatrix", "rotation", "orientation"), dims * dims)
    origin = _numbers(path, fields, ("offset", "position", "origin"), dims)
    if axes is not None:
        affine[:dims, :dims] = axes.reshape(dims, dims).T
    if steps is not None:
        affine[:dims, :dims] *= np.abs(steps)
    if origin is not None:
        affine[:dims, 3] = origin
    return affine, steps is not None


def _numbers(path: Path, fields: dict[str, str], names: tuple[str, ...], count: int) -> NDArray | None:
    for name in names:
        if name in fields:
            found = np.array([float(word) for word in fields[name].split()])
            if len(found) != count:
                raise UnreadableFile(f"{path} gives {len(found)} numbers as {name}", allowed=str(count))
            return found
    return None
