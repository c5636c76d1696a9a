"""Pictures inside numpy's archives (.npz), by array and number: `breastmnist.npz#train_images/12`.

An archive is a zip of .npy files (numpy.lib.format). Objects are never unpickled, and what an array claims to take is
checked before memory is taken.
"""

from __future__ import annotations

import re
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from galenic.core.errors import UnreadableFile, UnsupportedFile, ValueProblem
from galenic.formats.guard import DEFLATE_RATIO, check_claim, check_memory, existing, reading
from galenic.values import Geometry, Image

_PLACE = re.compile(r"(?P<file>.+\.npz)#(?P<array>[^/#]+)/(?P<number>\d+)", re.IGNORECASE | re.DOTALL)
_RGB = ("red", "green", "blue")
_HELD = 3  # arrays kept open, as rows of one set are read one after the other: train, valid and test


def is_place(path: Path | str) -> bool:
    """Whether a name means a picture inside an archive."""
    return _PLACE.fullmatch(str(path)) is not None


def read_image(path: Path | str) -> Image:
    """Picture `number` of an array: [row, column], [row, column, 3] in colour, or [slice, row, column].

    MissingFile, UnreadableFile, UnsafeFile, or UnsupportedFile naming the arrays; no spacing is told.
    """
    found = _PLACE.fullmatch(str(path))
    if found is None:
        file = existing(path)
        raise UnsupportedFile(
            f"{file} holds several arrays: {', '.join(_names(file))}",
            allowed=f"one picture of an array, such as {file.name}#{_names(file)[0]}/0",
        )
    file, number = existing(found["file"]), int(found["number"])
    state = file.stat()
    array = _array(file, found["array"], state.st_size, state.st_mtime_ns)
    if number >= len(array):
        raise ValueProblem(f"picture {number} of {found['array']} in {file}", allowed=f"0 to {len(array) - 1}")
    own = array[number].astype(np.uint8) if array.dtype == np.bool_ else array[number]
    colour = own.ndim == 3 and own.shape[-1] == 3 and own.dtype == np.uint8
    space = np.moveaxis(own, -1, 0) if colour else own[np.newaxis]
    return Image(
        np.ascontiguousarray(space), Geometry.plain(space.ndim - 1), channels=_RGB if colour else (), source=Path(path)
    )


def _names(file: Path) -> list[str]:
    with reading(file, "an archive of arrays"), zipfile.ZipFile(file) as archive:
        names = sorted(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
    if not names:
        raise UnreadableFile(f"{file} holds no array")
    return names


@lru_cache(maxsize=_HELD)
def _array(file: Path, name: str, size: int, changed: int) -> NDArray:  # noqa: ARG001 - a changed file is read anew
    """[number, *picture] of a checked archive, not to be written to."""
    with reading(file, "an archive of arrays"), zipfile.ZipFile(file) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise UnsupportedFile(f"{file} has no array {name!r}", allowed=", ".join(_names(file)))
        told = archive.getinfo(f"{name}.npy")
        with archive.open(told) as member:
            shape, dtype = _header(file, name, member)
        claimed = int(np.prod([float(own) for own in shape])) * dtype.itemsize
        check_claim(file, claimed, told.compress_size, ratio=DEFLATE_RATIO)
        check_memory(file, claimed)
        with archive.open(told) as member:
            array: NDArray = npy.read_array(member, allow_pickle=False)
    array.flags.writeable = False
    return array


def _header(file: Path, name: str, member: object) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(member)  # type: ignore[arg-type]
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise UnsupportedFile(f"{name} in {file} is of version {version}", allowed="versions 1.0 and 2.0 of .npy")
    shape, _, dtype = read(member)  # type: ignore[arg-type]
    if dtype.kind not in "buif" or len(shape) not in (3, 4):
        raise UnsupportedFile(
            f"{name} in {file} is of type {dtype} and shape {shape}",
            allowed="numbers, [picture, row, column], with colours or slices as a fourth axis",
        )
    return shape, dtype
