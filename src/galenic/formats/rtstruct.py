"""RT structure sets: contours in patient coordinates turned into a mask on an image's grid (DICOM PS3.3 C.8.8.6)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from galenic.core.errors import GeometryError, SeriesError, UnreadableFile, UnsupportedFile, ValueProblem
from galenic.formats.dicom_source import read_dataset
from galenic.formats.guard import reading
from galenic.values import FloatArray, Geometry, Image, Mask

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

log = logging.getLogger(__name__)
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def list_rois(path: Path, *, drawn: bool = False) -> list[str]:
    """Names of the regions in a structure set, in the file's order; drawn: of those with a closed contour alone."""
    dataset = _structure_set(path)
    with reading(path, "RT structure set"):
        closed = {
            int(roi.ReferencedROINumber)
            for roi in dataset.get("ROIContourSequence", [])
            if any(item.ContourGeometricType in _CLOSED for item in roi.get("ContourSequence", []))
        }
        items = dataset.StructureSetROISequence
        return [_name(item) for item in items if not drawn or int(item.ROINumber) in closed]


def read_rtstruct(path: Path, image: Image, roi: str | None = None, *, any_series: bool = False) -> Mask:
    """One region of a structure set as a mask {1: its name} on the grid [slice, row, column] of `image`.

    A voxel belongs to the region when its centre lies inside the contours of its slice: inside an odd number of
    them, so that a contour within another is a hole. A centre exactly on an edge belongs to the side of growing
    row and column. A contour counts for the slice nearest to it; of several planes within one slice the one
    nearest to the slice's middle is taken. Contours beyond the image's rows and columns are cut off.
    Points and open lines enclose nothing; they are left out, with a line in the log.

    roi: may be None where the file holds one region only. any_series: take contours that were drawn on another
    series than `image`; right only where both share one frame of reference.
    Raises UnreadableFile, UnsupportedFile (no structure set, no closed contour), ValueProblem (no such region, or
    several), SeriesError (drawn on another series), GeometryError (contours outside the image, across its slices,
    or on every second or third slice only).
    """
    if image.geometry.dims != 3 or not image.geometry.known:
        raise GeometryError("an image without a 3D geometry", allowed="a volume with known spacing and position")
    dataset = _structure_set(path)
    with reading(path, "RT structure set"):
        number, name = _chosen(dataset, roi, path)
        if not any_series:
            _check_series(dataset, image, path)
        contours = _closed_contours(dataset, number, name, path)
    planes = _by_plane(contours, image.geometry, image.shape, name)
    array = np.zeros(image.shape, np.uint8)
    for k, polygons in planes.items():
        array[k] = fill_even_odd(polygons, (image.shape[1], image.shape[2]))
    return Mask(array, image.geometry, {1: name}, source=path)


def fill_even_odd(polygons: list[FloatArray], shape: tuple[int, int]) -> np.ndarray:
    """Boolean grid (rows, columns) of the pixel centres inside an odd number of the closed polygons.

    polygons: each (n, 2), corners as (row, column) in pixels, the centre of the first pixel at (0, 0).
    Each edge switches the row's state at the first centre at or right of where it crosses the row's middle line
    (the crossing-number test: Shimrat 1962, Algorithm 112, CACM 5(8), corrected by Hacker, CACM 5(12)).
    """
    rows, columns = shape
    start = np.concatenate(polygons)
    end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    first = np.clip(np.ceil(low), 0, rows).astype(np.int64)
    counts = np.clip(np.ceil(high), 0, rows).astype(np.int64) - first
    edge = np.repeat(np.arange(len(start)), counts)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    part = (row - start[edge, 0]) / (end[edge, 0] - start[edge, 0])
    crossing = start[edge, 1] + part * (end[edge, 1] - start[edge, 1])
    switches = np.zeros((rows, columns + 1), np.int32)
    np.add.at(switches, (row, np.clip(np.ceil(crossing), 0, columns).astype(np.int64)), 1)
    inside: np.ndarray = np.cumsum(switches[:, :-1], axis=1) % 2 == 1
    return inside


def _structure_set(path: Path) -> Dataset:
    dataset = read_dataset(path)
    if str(dataset.get("SOPClassUID", "")) != STRUCTURE_SET:
        raise UnsupportedFile(f"{path} is no RT structure set", allowed="DICOM files of modality RTSTRUCT")
    return dataset


def _name(item: Dataset) -> str:
    return str(item.get("ROIName") or f"ROI {item.ROINumber}").strip()


def _chosen(dataset: Dataset, roi: str | None, path: Path) -> tuple[int, str]:
    found = [(int(item.ROINumber), _name(item)) for item in dataset.StructureSetROISequence]
    chosen = [(number, name) for number, name in found if roi is None or name == roi]
    if len(chosen) != 1:
        asked = "no region was named" if roi is None else f"{len(chosen)} regions are called {roi!r}"
        raise ValueProblem(
            f"{asked}, and {path} holds {len(found)}",
            allowed=", ".join(sorted(name for _, name in found)) or "a structure set with regions",
            todo="name one region that stands there once",
        )
    return chosen[0]


def _check_series(dataset: Dataset, image: Image, path: Path) -> None:
    drawn_on = {
        str(series.SeriesInstanceUID)
        for frame in dataset.get("ReferencedFrameOfReferenceSequence", [])
        for study in frame.get("RTReferencedStudySequence", [])
        for series in study.get("RTReferencedSeriesSequence", [])
    }
    if image.series_uid and drawn_on and image.series_uid not in drawn_on:
        raise SeriesError(
            f"{path} was drawn on another series than the image",
            allowed=", ".join(sorted(drawn_on)),
            todo="give the image it was drawn on, or say any_series=True where both share a frame of reference",
        )


def _closed_contours(dataset: Dataset, number: int, name: str, path: Path) -> list[FloatArray]:
    items = [
        contour
        for roi in dataset.get("ROIContourSequence", [])
        if int(roi.ReferencedROINumber) == number
        for contour in roi.get("ContourSequence", [])
    ]
    contours, left_out = [], 0
    for item in items:
        data = np.array([float(value) for value in item.ContourData])
        if len(data) % 3 or not np.isfinite(data).all():
            raise UnreadableFile(f"{path}: a contour of {name!r} with {len(data)} numbers", allowed="x, y, z for each")
        if item.ContourGeometricType in _CLOSED and len(data) >= 9:
            contours.append(data.reshape(-1, 3))
        else:
            left_out += 1
    if left_out:
        log.warning("%s: %d points or open lines of %r left out: they enclose nothing", path, left_out, name)
    if not contours:
        raise UnsupportedFile(
            f"the region {name!r} of {path} has no closed contour", allowed="CLOSED_PLANAR contours of 3 points or more"
        )
    return contours


def _by_plane(
    contours: list[FloatArray], geometry: Geometry, shape: tuple[int, ...], name: str
) -> dict[int, list[FloatArray]]:
    """The contours (row, column) that each slice gets."""
    step = np.linalg.inv(geometry.direction * geometry.spacing_mm)
    # A millionth of a pixel: corners meant to lie on a centre shall lie on it despite rounding.
    indices = [np.round((contour - geometry.origin_mm) @ step.T, 6) for contour in contours]
    if max(np.ptp(index[:, 0]) for index in indices) > 0.5:
        raise GeometryError(f"contours of {name!r} run across the image's slices", todo="use the series drawn on")
    heights = np.array([index[:, 0].mean() for index in indices])
    slices = np.round(heights).astype(int)
    if slices.min() < 0 or slices.max() >= shape[0]:
        raise GeometryError(
            f"contours of {name!r} lie more than half a slice outside the image",
            allowed=f"slices 0 to {shape[0] - 1}; found {heights.min():.2f} to {heights.max():.2f}",
        )
    gaps = np.diff(np.unique(slices))
    if len(gaps) > 1 and gaps.min() > 1:
        raise GeometryError(
            f"contours of {name!r} lie on one slice in {int(gaps.min())} only", todo="use the series drawn on"
        )
    corners = np.concatenate(indices)[:, 1:]
    if (corners.max(axis=0) < -0.5).any() or (corners.min(axis=0) > np.array(shape[1:]) - 0.5).any():
        raise GeometryError(f"the region {name!r} lies beside the image", todo="use the series it was drawn on")
    planes = {}
    for k in np.unique(slices):
        off = np.abs(heights - k)
        taken = np.flatnonzero((slices == k) & (np.abs(heights - heights[off.argmin()]) < 0.1))
        planes[int(k)] = [indices[i][:, 1:] for i in taken]
    return planes
