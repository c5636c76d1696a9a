"""DICOM objects that hold masks, SEG and RTSTRUCT: read by the names of what they outline, on an image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import GeometryError, UnsafeFile, UnsupportedFile, ValueProblem
from galenic.formats.dicom_header import open_dataset
from galenic.formats.dicom_seg import LABEL_MAP, SEGMENTATION, list_segments, read_seg
from galenic.formats.guard import existing
from galenic.formats.rtstruct import STRUCTURE_SET, list_rois, read_rtstruct
from galenic.values import Image, Mask

_HELD = (SEGMENTATION, LABEL_MAP, STRUCTURE_SET)
_OFF = 0.1  # of a voxel, as for the slices of a series


def names_in(path: Path) -> list[str]:
    """Names of the segments, or of the regions that have a closed contour, in the file's order; doubles once."""
    file, kind = _opened(path)
    found = list_rois(file, drawn=True) if kind == STRUCTURE_SET else list_segments(file)
    return list(dict.fromkeys(found))


def read_named(path: Path, image: Image | None, wanted: Sequence[str]) -> Mask:
    """The segments or regions called as `wanted`, numbered 1 .. n in its order, on the grid of `image`.

    path: the file, or a folder that holds one. Case and spaces do not count; segments of one name are one class. A
    region that the file lists but that has no closed contour is empty.
    Raises UnsupportedFile (an image, or a form not read), ValueProblem (a name that is not there or, of regions, stands
    there twice; two that overlap), GeometryError or SeriesError (no image, or one that it was not drawn on).
    """
    file, kind = _opened(path)
    own = _with_grid(image, path)
    there = list_rois(file) if kind == STRUCTURE_SET else list_segments(file)
    meant = [_called(name, there, path) for name in wanted]
    array = np.zeros(own.shape, np.uint8)
    for number, drawn in enumerate(_each(file, kind, own, meant), start=1):
        if array[drawn].any():
            other = wanted[int(array[drawn].max()) - 1]
            raise ValueProblem(
                f"{other!r} and {wanted[number - 1]!r} overlap in {path}",
                allowed="classes of which no two share a voxel",
                todo="learn one of them at a time",
            )
        array[drawn] = number
    return Mask(array, own.geometry, dict(enumerate(wanted, start=1)), source=path)


def read_any(path: Path, image: Image | None) -> Mask:
    """Whatever the file outlines, as 1, on the grid of `image`; raises as `read_named`."""
    file, kind = _opened(path)
    own = _with_grid(image, path)
    array = np.zeros(own.shape, np.uint8)
    for drawn in _each(file, kind, own, [[name] for name in names_in(path)]):
        array[drawn] = 1
    return Mask(array, own.geometry, {1: "any"}, source=path)


def _opened(path: Path) -> tuple[Path, str]:
    """The file, and its SOP class."""
    path = existing(path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if path.is_dir() and file.is_symlink() and not file.resolve().is_relative_to(path.resolve()):
            raise UnsafeFile(f"{file} is a link that leads out of its folder", todo="put the file itself there")
    found = [(file, kind) for file in files if file.is_file() and (kind := _sop_class(file)) in _HELD]
    if len(found) == 1:
        return found[0]
    told = f"the folder {path} holds {len(found)} DICOM SEG or RTSTRUCT files" if path.is_dir() else f"{path} as a mask"
    raise UnsupportedFile(told, allowed="NIfTI, NRRD, MetaImage, PNG, TIFF, or one DICOM SEG or RTSTRUCT file")


def _sop_class(file: Path) -> str:
    dataset = open_dataset(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    return "" if dataset is None else str(dataset.get("SOPClassUID", ""))


def _with_grid(image: Image | None, path: Path) -> Image:
    if image is None or not image.geometry.known:
        raise GeometryError(
            f"{path} can't be laid on an image: "
            + ("there is none beside it" if image is None else "no grid is known"),
            allowed="the image that it was drawn on, in the same row",
        )
    return image


def _called(name: str, there: Sequence[str], path: Path) -> list[str]:
    """The names in the file that mean `name`: spelt alike, else alike but for case and spaces."""
    same = [own for own in there if own == name] or [own for own in there if _plain(own) == _plain(name)]
    if not same:
        raise ValueProblem(
            f"{path} outlines nothing called {name!r}",
            allowed=", ".join(dict.fromkeys(there)) or "a file that outlines something",
            todo="name the classes as the files do, or take the case out",
        )
    return list(dict.fromkeys(same))


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _each(file: Path, kind: str, image: Image, meant: Sequence[Sequence[str]]) -> list[NDArray[np.bool_]]:
    """Where each of the meant classes lies on the image's grid, boolean [*space]."""
    if kind == STRUCTURE_SET:
        drawn = set(list_rois(file, drawn=True))
        empty = np.zeros(image.shape, bool)
        return [
            np.logical_or.reduce(
                [read_rtstruct(file, image, name).array > 0 if name in drawn else empty for name in own]
            )
            for own in meant
        ]
    mask = _seg(file, image)
    return [np.isin(mask.array, [value for value, name in mask.names.items() if name in own]) for own in meant]


def _seg(file: Path, image: Image) -> Mask:
    """A segmentation on the image's grid: by its source series where the image is one, else by its own positions."""
    if image.series_uid and image.source is not None:
        mask = read_seg(file, source=image.source, series_uid=image.series_uid)
        return Mask(mask.array.reshape(image.shape), image.geometry, mask.names) if image.geometry.dims == 2 else mask
    return _laid(read_seg(file), image, file)


def _laid(mask: Mask, image: Image, path: Path) -> Mask:
    """A mask moved voxel by voxel onto a grid that holds the same points, whatever its axes' order and direction."""
    there = image.geometry
    voxels = np.argwhere(mask.array)
    points = mask.geometry.to_mm(voxels.astype(float))
    found = np.rint((points - there.origin_mm) @ np.linalg.pinv(there.direction * there.spacing_mm).T)
    off = np.linalg.norm(there.to_mm(found) - points, axis=1)
    whole = found.astype(np.int64)
    alike = there.dims == 2 or np.allclose(np.sort(mask.geometry.spacing_mm), np.sort(there.spacing_mm), rtol=0.01)
    inside = ((whole >= 0) & (whole < image.shape)).all()
    if not alike or not inside or (off > _OFF * there.spacing_mm.min()).any():
        raise GeometryError(
            f"{path} does not lie on the voxels of {image.source or 'the image'}",
            allowed="the image that it was drawn on, or one on the same grid",
        )
    array = np.zeros(image.shape, mask.array.dtype)
    array[tuple(whole.T)] = mask.array[tuple(voxels.T)]
    return Mask(array, there, mask.names)
