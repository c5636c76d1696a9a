"""The DICOM series that a segmentation or a report is about: its headers, whole, and the grid its slices form."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from galenic.core.errors import GeometryError, SeriesError, UnreadableFile
from galenic.formats import dicom_grid
from galenic.formats.dicom import find_series
from galenic.formats.dicom_header import DERIVED, Plane, functional_group, header_of, open_dataset
from galenic.formats.guard import existing, need, reading
from galenic.values import Geometry

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TYPE_2 = ["PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"]
_TYPE_2 += ["StudyTime", "ReferringPhysicianName"]


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The headers of one image series and the grid that its slices form.

    headers:  one dataset a slice in the grid's order, or a single multi-frame one.
    slice_of: (frames,) the grid's slice that each header, or each frame of the multi-frame one, holds.
    shape:    (slices, rows, columns).
    flat:     the 2D geometry where there is one slice only, else None.
    """

    headers: list[Dataset]
    slice_of: np.ndarray
    geometry: Geometry
    shape: tuple[int, int, int]
    flat: Geometry | None = None

    @property
    def series_uid(self) -> str:
        return str(self.headers[0].SeriesInstanceUID)


@contextmanager
def odd_names_kept() -> Iterator[None]:
    """Patients' names of one part are the source's own and are copied as they are, without highdicom's warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent the intended person name")
        yield


def read_dataset(path: Path, *, pixels: bool = True) -> Dataset:
    """One DICOM file, its text decoded by its own character set; MissingFile or UnreadableFile otherwise."""
    dataset: Dataset | None = open_dataset(existing(path), stop_before_pixels=not pixels)
    if dataset is None:
        raise UnreadableFile(f"{path} is no DICOM file", todo="check the path")
    with reading(path, "DICOM"):
        dataset.decode()
    return dataset


def read_series(source: Path | Sequence[Path], *, series_uid: str | None = None) -> SourceSeries:
    """Headers of the one image series in a folder (searched below too), or of files, on a regular grid.

    Slices are sorted along the normal, row cosines x column cosines, ascending, as galenic.formats.dicom does.
    Raises MissingFile, UnreadableFile, SeriesError (none or several series; sizes, spacings or orientations mixed;
    a slice twice or missing), GeometryError (no or several frames of reference).
    """
    files = _files(source, series_uid)
    headers = [read_dataset(file, pixels=False) for file in files]
    found = sorted({str(header.get("SeriesInstanceUID", "")) for header in headers})
    if len(found) != 1 or headers[0].get("Modality") in DERIVED or (series_uid and found != [series_uid]):
        raise SeriesError(
            f"the files are of {len(found)} series or of no image: {', '.join(found)}", allowed="one image series"
        )
    with reading(files[0], "DICOM"):
        series = _on_grid(headers, files)
        for header in series.headers:
            _complete(header, series)
    return series


def _files(source: Path | Sequence[Path], series_uid: str | None) -> list[Path]:
    if not isinstance(source, Path):
        return list(source)
    if existing(source).is_file():
        return [source]
    found = [one for one in find_series(source) if series_uid in (None, one.uid)]
    if len(found) != 1:
        listed = "; ".join(f"{one.uid} ({one.modality} {one.description}, {one.shape[0]} slices)" for one in found)
        raise SeriesError(
            f"the folder {source} holds {len(found)} series" + (f" called {series_uid}" if series_uid else ""),
            allowed=listed or "one image series",
            todo=f"name one as {source.name}#UID or in a column series_uid, or name the folder of one series",
        )
    return list(found[0].files)


def _on_grid(headers: list[Dataset], files: list[Path]) -> SourceSeries:
    frames_of_reference = {str(header.get("FrameOfReferenceUID", "")) for header in headers}
    if len(frames_of_reference) > 1 or frames_of_reference == {""}:
        raise GeometryError(
            f"a series with {len(frames_of_reference - {''})} frames of reference",
            allowed="one FrameOfReferenceUID, which says what the positions refer to",
        )
    placed = [header_of(header, file).planes for header, file in zip(headers, files, strict=True)]
    if not placed[0] or (len(headers) > 1 and any(len(planes) != 1 for planes in placed)):
        raise SeriesError(
            "files of which not each is one slice with a place in the patient",
            allowed="one multi-frame file, or slices with ImagePositionPatient, ImageOrientationPatient, PixelSpacing",
        )
    planes = [plane for one in placed for plane in one]
    order = dicom_grid.sort_order(planes)
    slice_of = np.argsort(order)
    if len(headers) > 1:
        headers, slice_of = [headers[i] for i in order], np.arange(len(order))
    shape = (len(planes), *planes[0].size)
    if len(planes) > 1:
        return SourceSeries(headers, slice_of, dicom_grid.stack([planes[i] for i in order]), shape)
    flat = dicom_grid.single(planes[0])
    return SourceSeries(headers, slice_of, lifted(flat, gap_mm(headers[0])), shape, flat)


def lifted(flat: Geometry, step_mm: float) -> Geometry:
    """The 3D geometry of one slice: its own plane, and its normal as the slice axis."""
    down, across = flat.direction[:, 0], flat.direction[:, 1]
    axes = np.column_stack([np.cross(across, down), down, across])
    return Geometry(np.array([step_mm, *flat.spacing_mm]), flat.origin_mm, axes)


def gap_mm(dataset: Dataset) -> float:
    """What a header says of the distance between slices, of its first frame: 1 where it says nothing."""
    measures = functional_group(dataset, 0, "PixelMeasuresSequence") or dataset
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = measures.get(keyword)
        if value and float(value) > 0:
            return float(value)
    return 1.0


def is_alike(plane: Plane, other: Plane) -> bool:
    """Same size, orientation and pixel spacing, wherever they lie."""
    return plane.size == other.size and np.allclose(
        [*plane.orientation, *plane.spacing_mm], [*other.orientation, *other.spacing_mm], atol=1e-3
    )


def _complete(header: Dataset, series: SourceSeries) -> None:
    """Fill in and even out what highdicom takes from the first header as true of the whole series.

    Real series lack attributes that the standard demands, and spell one orientation in slightly different digits.
    """
    for keyword in _TYPE_2:
        if keyword not in header:
            setattr(header, keyword, None)
    if "PerFrameFunctionalGroupsSequence" in header:
        shared = header.SharedFunctionalGroupsSequence[0]
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            setattr(shared, keyword, [functional_group(header, 0, keyword)])
        return
    decimal = need("pydicom.valuerep", "pydicom", "reading DICOM").DSfloat
    across, down = series.geometry.direction[:, 2], series.geometry.direction[:, 1]
    gap = float(series.geometry.spacing_mm[0] * (series.geometry.direction[:, 0] @ np.cross(across, down)))
    header.SpacingBetweenSlices = decimal(gap, auto_format=True)
    if not header.get("SliceThickness"):
        header.SliceThickness = header.SpacingBetweenSlices
    header.ImageOrientationPatient = series.headers[0].ImageOrientationPatient
    header.PixelSpacing = series.headers[0].PixelSpacing
