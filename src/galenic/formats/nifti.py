"""NIfTI-1 and -2 (.nii, .nii.gz), by nibabel.

NIfTI keeps index (x, y, z) to RAS mm; galenic keeps (slice, row, column) to LPS mm.
Codes and fallbacks: NIfTI-1 header, https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import UnsupportedFile
from galenic.core.files import write_aside
from galenic.formats import grids
from galenic.formats.guard import DEFLATE_RATIO, check_claim, check_memory, existing, hush, need, reading
from galenic.formats.labels import as_mask, smallest
from galenic.values import Geometry, Image, Mask

_MM_IN_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def read_image(path: Path | str, *, channels: bool = False) -> Image:
    """A float32 Image [channel, *space], the scaling of the header applied, NaN kept.

    channels: take the last axis of a 4D file as channels; else a true 4D file is an UnsupportedFile.
    """
    path = existing(path)
    array, geometry = _read(path, channels=channels)
    return Image(array.astype(np.float32, copy=False), geometry, source=path)


def read_mask(path: Path | str, names: Mapping[int, str] | None = None) -> Mask:
    """A Mask [*space]; see labels.as_mask for what names do."""
    path = existing(path)
    array, geometry = _read(path, channels=False)
    return as_mask(array[0], geometry, path, names)


def write_image(image: Image, path: Path) -> None:
    """Write an Image in its own type and on its own grid; several channels become the fourth axis."""
    replaced = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}  # NIfTI has neither
    array = image.array.astype(replaced.get(image.array.dtype, image.array.dtype))
    if len(array) == 1:
        _write(array[0].T, image.geometry, path)
        return
    volume = array if image.geometry.dims == 3 else array[:, np.newaxis]
    _write(volume.transpose(3, 2, 1, 0), image.geometry, path)


def write_mask(mask: Mask, path: Path) -> None:
    """Write a Mask on the very grid it lies on, in the smallest unsigned type."""
    _write(smallest(mask.array, path).T, mask.geometry, path)


def _read(path: Path, *, channels: bool) -> tuple[NDArray, Geometry]:
    nib = need("nibabel", "nibabel", "reading NIfTI")
    hush("nibabel")  # the suppressor takes nibabel's own handler away, and logging's last resort would print instead
    with reading(path, "NIfTI"), nib.imageglobals.LoggingOutputSuppressor():
        image = _open(nib, path)
        shape = tuple(int(size) for size in image.shape)
        item = image.get_data_dtype().itemsize
        _check_size(path, shape, item)
        check_memory(path, int(np.prod(shape, dtype=object)) * (item + 12))
        array = np.array(_values(image))
        affine, known = _affine(image)
    array = _channels_first(array, path, channels=channels)
    return array, grids.from_affine(affine, array.ndim - 1, known=known)


def _open(nib: Any, path: Path) -> Any:
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise UnsupportedFile(f"{path} is {type(image).__name__}", allowed="single-file NIfTI, .nii or .nii.gz")
    return image


def _check_size(path: Path, shape: tuple[int, ...], item: int) -> None:
    if not shape or min(shape) < 1:
        raise UnsupportedFile(f"{path} has the shape {shape}", allowed="2 or 3 axes of at least one element")
    claimed = int(np.prod(shape, dtype=object)) * item
    packed = path.suffix != ".nii"
    check_claim(path, claimed, path.stat().st_size, ratio=DEFLATE_RATIO if packed else 10)


def _values(image: Any) -> NDArray:
    dtype = image.get_data_dtype()
    if np.issubdtype(dtype, np.complexfloating):
        raise UnsupportedFile("complex values in a NIfTI file", allowed="real numbers")
    slope, inter = image.dataobj.slope, image.dataobj.inter
    stored = np.asarray(image.dataobj.get_unscaled())
    if dtype.fields or (slope, inter) == (1, 0):
        return stored
    return stored * np.float64(slope) + np.float64(inter)


def _channels_first(array: NDArray, path: Path, *, channels: bool) -> NDArray:
    """[x, y, (z), ...] to [channel, (z), y, x]; a colour type or, if asked for, the last axis gives the channels."""
    if array.dtype.fields:
        array = np.stack([array[name] for name in array.dtype.fields], axis=0)
    elif channels and array.ndim > 3:
        array = np.moveaxis(array, -1, 0)
    else:
        array = array[np.newaxis]
    while array.ndim > 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4):
        raise UnsupportedFile(
            f"{path} has {array.ndim - 1} axes of sizes {array.shape[1:]}",
            allowed="2 or 3 axes of space",
            todo="pick one time point, or say channels=True if the last axis holds channels",
        )
    return np.ascontiguousarray(array.transpose(0, *reversed(range(1, array.ndim))))


def _affine(image: Any) -> tuple[NDArray, bool]:
    """Index (x, y, z) to LPS mm, and whether the file tells any spacing: sform, else qform, else pixdim alone."""
    header = image.header
    scale = _MM_IN_UNIT[header.get_xyzt_units()[0]]
    for matrix, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        if code > 0 and matrix is not None:
            lps = grids.RAS_TO_LPS @ np.asarray(matrix, float)
            lps[:3] *= scale
            return lps, True
    steps = np.ones(3)
    told = np.abs(np.asarray(header["pixdim"][1 : 1 + min(3, len(image.shape))], float)) * scale
    steps[: len(told)] = np.where(told > 0, told, 1.0)
    known = header.get_xyzt_units()[0] != "unknown" or bool((steps != 1).any())
    return np.diag([*steps, 1.0]), known


def _write(array: NDArray, geometry: Geometry, path: Path) -> None:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise UnsupportedFile(f"{path} as the name of a NIfTI file", allowed="names ending in .nii or .nii.gz")
    nib = need("nibabel", "nibabel", "writing NIfTI")
    affine = grids.RAS_TO_LPS @ grids.to_affine(geometry)
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    square = geometry.dims == 2 or grids.orthogonal(geometry)
    image.header.set_zooms((*geometry.spacing_mm[::-1], *[1.0] * (array.ndim - geometry.dims)))
    image.set_sform(affine, code=1 if geometry.known else 0)
    image.set_qform(affine if square else None, code=1 if geometry.known and square else 0)
    image.header.set_xyzt_units("mm" if geometry.known else "unknown")
    with write_aside(path) as aside:
        nib.save(image, aside)
