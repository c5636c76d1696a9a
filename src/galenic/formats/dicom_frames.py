"""Where the frames of a segmentation lie: on a grid of their own, with planes left out, or on their source's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import GeometryError
from galenic.formats import dicom_grid
from galenic.formats.dicom_header import Plane, functional_group, numbers
from galenic.formats.dicom_source import SourceSeries, gap_mm, is_alike, lifted
from galenic.values import Geometry

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SAME_PLANE_MM = 1e-3
_TOLERANCE = 0.1  # of a step, as for images


def frame_planes(dataset: Dataset, path: Path) -> list[Plane]:
    """The plane of each frame; GeometryError where one has no place in the patient or they are not parallel."""
    size = (int(dataset.Rows), int(dataset.Columns))
    planes: list[Plane] = []
    for frame in range(int(dataset.get("NumberOfFrames") or 1)):
        where = functional_group(dataset, frame, "PlanePositionSequence")
        how = functional_group(dataset, frame, "PlaneOrientationSequence")
        scale = functional_group(dataset, frame, "PixelMeasuresSequence")
        if where is None or how is None or scale is None:
            raise GeometryError(
                f"frame {frame + 1} of {path} does not tell where it lies in the patient",
                allowed="frames with position, orientation and pixel spacing (no slides, no projections)",
            )
        position = numbers(where.get("ImagePositionPatient"), 3)
        orientation = numbers(how.get("ImageOrientationPatient"), 6)
        spacing = numbers(scale.get("PixelSpacing"), 2)
        plane = Plane(f"frame {frame + 1} of {path.name}", size, position, orientation, spacing)
        if not (position and orientation and spacing and is_alike(plane, planes[0] if planes else plane)):
            raise GeometryError(f"{plane.name} is not parallel to the first, or of another spacing")
        planes.append(plane)
    return planes


def own_grid(planes: list[Plane], dataset: Dataset) -> tuple[NDArray[np.int64], Geometry]:
    """Slice number of each frame, and the grid from the first to the last plane.

    Planes without a segment are left out of such files, so the step is what the file says (SpacingBetweenSlices) if
    all positions are its multiples, else the smallest step found; GeometryError if they are no multiples of that.
    """
    heights = dicom_grid.along_normal(planes)
    order = np.argsort(heights, kind="stable")
    flat = dicom_grid.single(planes[int(order[0])])
    steps = np.diff(heights[order], prepend=heights[order[0]])
    real = steps[steps > _SAME_PLANE_MM]
    told = gap_mm(dataset)
    if not len(real):
        return np.zeros(len(planes), np.int64), lifted(flat, told)
    positions = np.array([plane.position for plane in planes])
    way = positions[order[-1]] - positions[order[0]]
    for guess in (told, float(real.min())):
        slices = np.empty(len(planes), np.int64)
        slices[order] = np.cumsum(np.rint(steps / guess).astype(np.int64))
        step = way / max(int(slices.max()), 1)
        off = np.linalg.norm(positions - flat.origin_mm - slices[:, np.newaxis] * step, axis=1).max()
        length = float(np.linalg.norm(step))
        if off <= _TOLERANCE * length and (np.diff(slices[order])[steps[1:] > _SAME_PLANE_MM] > 0).all():
            # A tilted gantry shifts each slice sideways, so that the way from slice to slice is not the normal.
            axes = np.column_stack([step / length, flat.direction])
            return slices, Geometry(np.array([length, *flat.spacing_mm]), flat.origin_mm, axes)
    raise GeometryError(
        f"frames at uneven distances, {real.min():.3f} to {real.max():.3f} mm",
        allowed="multiples of one distance, along one line",
        todo="give the series that it was drawn on",
    )


def on_source(planes: list[Plane], dataset: Dataset, series: SourceSeries) -> NDArray[np.int64]:
    """The slice of `series` that each frame lies on; GeometryError where it lies on none."""
    todo = "give the series that the segmentation was drawn on"
    known = str(series.headers[0].FrameOfReferenceUID)
    if str(dataset.get("FrameOfReferenceUID", known)) != known:
        raise GeometryError("the segmentation and the series have different frames of reference", todo=todo)
    geometry = series.geometry
    orientation = (*geometry.direction[:, 2], *geometry.direction[:, 1])
    own = Plane("slice", series.shape[1:], (0.0, 0.0, 0.0), orientation, tuple(geometry.spacing_mm[1:]))
    if not is_alike(planes[0], own):
        raise GeometryError(
            "the segmentation has another size, orientation or spacing than the series", allowed=str(own), todo=todo
        )
    to_index = np.linalg.inv(geometry.direction * geometry.spacing_mm).T
    index = (np.array([plane.position for plane in planes]) - geometry.origin_mm) @ to_index
    slices = np.rint(index[:, 0])
    index[:, 0] -= slices
    off = np.abs(index).max(axis=1)
    lost = (off > 2 * _TOLERANCE) | (slices < 0) | (slices >= series.shape[0])
    if lost.any():
        raise GeometryError(f"{planes[int(lost.argmax())].name} lies on no slice of the series", todo=todo)
    return slices.astype(np.int64)
