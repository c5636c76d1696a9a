"""DICOM images: the series of a folder, and one of them as an Image with its true geometry (PS3.3 C.7.6.2)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from galenic.core.errors import SeriesError, UnreadableFile, UnsafeFile, UnsupportedFile
from galenic.formats import dicom_grid
from galenic.formats.dicom_header import DERIVED, Header, Plane, open_dataset, read_header
from galenic.formats.dicom_pixels import Pixels, read_pixels
from galenic.formats.guard import check_memory, existing
from galenic.values import Geometry, Image

_X_RAY = {"CR", "DX", "PX", "RG"}


@dataclass(frozen=True)
class Series:
    """One DICOM series of images.

    files: in order of position along the slice normal (by name where the files tell no position).
    shape: (slices or frames, rows, columns). spacing_mm: along the same axes, None where the files form no grid.
    """

    uid: str
    description: str
    modality: str
    files: tuple[Path, ...]
    study_uid: str
    frame_of_reference_uid: str
    patient_id: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, ...] | None
    sop_instance_uids: tuple[str, ...]


def find_series(folder: Path | str) -> list[Series]:
    """The image series in a folder and its subfolders, by reading headers only; sorted by description and uid.

    Files that are no DICOM images (DICOMDIR, reports, masks, anything else) are skipped. A DICOM file too damaged to
    tell its header is an UnreadableFile, as leaving it out could hide a missing slice.
    """
    series = [_series(headers) for headers in _scan(existing(folder)).values()]
    return sorted(series, key=lambda one: (one.description, one.uid))


def holds_image(path: Path, most: int = 500) -> bool:
    """Whether a file is a DICOM image, or a folder has one among its first `most` files; headers only, to the first."""
    files = [path] if path.is_file() else (Path(parent, name) for parent, _, names in os.walk(path) for name in names)
    for file in islice(files, most):
        header = read_header(file) if file.is_file() else None
        if header is not None and header.modality not in DERIVED:
            return True
    return False


def read_image(path: Path | str, series_uid: str | None = None) -> Image:
    """The Image [channel, *space] of a DICOM file or of a folder that holds one series (else name `series_uid`).

    One frame gives a 2D Image, several slices or frames a 3D one; slices are sorted by position along their normal.
    Grey values are float32 after rescale, "HU" for CT; colour keeps its type. Frames with no position in the patient
    (ultrasound loops) get a Geometry with known=False. Raises SeriesError where the files form no complete grid.
    """
    path = existing(path)
    if path.is_file():
        header = read_header(path)
        if header is None or header.modality in DERIVED:
            raise _no_image(path, header)
        if series_uid is not None and header.series_uid != series_uid:
            raise SeriesError(f"{path} belongs to the series {header.series_uid}", allowed=series_uid)
        return _from_file(header, path)
    headers = _chosen(path, _scan(path), series_uid)
    return _from_file(headers[0], path) if len(headers) == 1 else _from_slices(headers, path)


def _scan(folder: Path) -> dict[str, list[Header]]:
    found: dict[str, list[Header]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or name.upper() == "DICOMDIR":
                continue
            file = Path(parent, name)
            if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
                raise UnsafeFile(f"{file} is a link that leads out of its folder", todo="put the file itself there")
            header = read_header(file) if file.is_file() else None
            if header is not None and header.modality not in DERIVED:
                found.setdefault(header.series_uid, []).append(header)
    return {uid: _sorted(headers) for uid, headers in found.items()}


def _sorted(headers: list[Header]) -> list[Header]:
    if not all(len(header.planes) == 1 for header in headers):
        return headers
    return [headers[index] for index in dicom_grid.sort_order(_planes(headers))]


def _planes(headers: Sequence[Header]) -> list[Plane]:
    return [plane for header in headers for plane in header.planes]


def _series(headers: list[Header]) -> Series:
    first = headers[0]
    frames = sum(header.frames for header in headers)
    return Series(
        uid=first.series_uid,
        description=first.description,
        modality=first.modality,
        files=tuple(header.path for header in headers),
        study_uid=first.study_uid,
        frame_of_reference_uid=first.frame_of_reference_uid,
        patient_id=first.patient_id,
        shape=(frames, *first.size),
        spacing_mm=_spacing(headers, frames),
        sop_instance_uids=tuple(header.sop_instance_uid for header in headers),
    )


def _spacing(headers: list[Header], frames: int) -> tuple[float, ...] | None:
    planes = _planes(headers)
    if frames == 1:
        return headers[0].spacing_mm or None
    if len(planes) != frames:
        return None
    try:
        geometry = dicom_grid.stack([planes[index] for index in dicom_grid.sort_order(planes)])
    except SeriesError:
        return None
    return tuple(float(step) for step in geometry.spacing_mm)


def _chosen(folder: Path, found: dict[str, list[Header]], series_uid: str | None) -> list[Header]:
    listed = "; ".join(
        f"{uid} ({headers[0].modality} {headers[0].description or 'without description'}, {len(headers)} files)"
        for uid, headers in sorted(found.items())
    )
    if not found:
        raise SeriesError(f"the folder {folder} holds no DICOM image", todo="name the folder of one series")
    if series_uid is None:
        if len(found) > 1:
            raise SeriesError(
                f"the folder {folder} holds {len(found)} series: {listed}",
                allowed="one series, or one named",
                todo=f"name one as {folder.name}#UID or in a column series_uid, or name the folder of one series",
            )
        return next(iter(found.values()))
    if series_uid not in found:
        raise SeriesError(f"the folder {folder} holds no series {series_uid}", allowed=listed)
    return found[series_uid]


def _from_file(header: Header, source: Path) -> Image:
    pixels = _pixels(header)
    array, planes = pixels.array, list(header.planes)
    if header.frames == 1:
        geometry = dicom_grid.single(planes[0]) if planes else _flat(header.spacing_mm)
        return _image(array[:, 0], geometry, pixels, header, source)
    if not planes:
        return _image(array, Geometry.plain(3), pixels, header, source)
    order = dicom_grid.sort_order(planes)
    geometry = dicom_grid.stack([planes[index] for index in order])
    return _image(array[:, order], geometry, pixels, header, source)


def _from_slices(headers: list[Header], source: Path) -> Image:
    several = [header for header in headers if header.frames > 1]
    if several:
        raise SeriesError(
            f"the series {headers[0].series_uid} has {len(headers)} files, of which {several[0].path.name} holds "
            f"{several[0].frames} frames",
            allowed="one multi-frame file, or files of one slice each",
            todo="name one file instead of the folder",
        )
    lost = [header.path.name for header in headers if not header.planes]
    if lost:
        raise SeriesError(
            f"{len(lost)} of {len(headers)} files do not tell where they lie in the patient: {', '.join(lost[:6])}",
            allowed="slices with ImagePositionPatient, ImageOrientationPatient and PixelSpacing",
            todo="name one file instead of the folder",
        )
    geometry = dicom_grid.stack(_planes(headers))
    first = _pixels(headers[0])
    shape = (first.array.shape[0], len(headers), *first.array.shape[2:])
    check_memory(source, int(np.prod(shape, dtype=object)) * first.array.dtype.itemsize)
    array = np.empty(shape, first.array.dtype)
    array[:, 0] = first.array[:, 0]
    for index, header in enumerate(headers[1:], start=1):
        pixels = _pixels(header)
        if pixels.channels != first.channels or pixels.unit != first.unit:
            raise SeriesError(f"{header.path.name} has another colour or unit than {headers[0].path.name}")
        array[:, index] = pixels.array[:, 0]
    return _image(array, geometry, first, headers[0], source)


def _pixels(header: Header) -> Pixels:
    dataset = open_dataset(header.path)
    if dataset is None:
        raise UnreadableFile(f"{header.path} is no longer the DICOM file it was")
    return read_pixels(dataset, header.path)


def _flat(spacing_mm: tuple[float, ...]) -> Geometry:
    plain = Geometry.plain(2)
    return Geometry(np.array(spacing_mm), plain.origin_mm, plain.direction) if spacing_mm else plain


def _image(array: np.ndarray, geometry: Geometry, pixels: Pixels, header: Header, source: Path) -> Image:
    modality = "XR" if header.modality in _X_RAY else header.modality
    return Image(array, geometry, modality, pixels.unit, pixels.channels, source, header.series_uid)


def _no_image(path: Path, header: Header | None) -> UnsupportedFile | UnreadableFile:
    if header is None:
        return UnreadableFile(f"{path} is no DICOM image", allowed="a DICOM file with pixels, or a folder of them")
    return UnsupportedFile(
        f"{path} is a DICOM {header.modality}, made from an image", allowed="images", todo="read it as a mask instead"
    )
