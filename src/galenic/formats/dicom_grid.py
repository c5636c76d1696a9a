"""Slices into a grid: sorted by where they lie, and refused, each with its own reason, where they form none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import SeriesError
from galenic.formats.dicom_header import Plane
from galenic.values import Geometry

_ORIENTATION_TOLERANCE = 1e-3  # of a direction cosine, about 0.06 degrees
_SPACING_TOLERANCE = 1e-3
_STEP_TOLERANCE = 0.1  # of a step: positions are often rounded to 0.1 mm
_SAME_PLACE = 0.05  # of a step
_MOST_NAMED = 6


def along_normal(planes: Sequence[Plane]) -> NDArray:
    """Position of each plane in mm along the normal of the first (row direction x column direction)."""
    rows, columns = np.array(planes[0].orientation[:3]), np.array(planes[0].orientation[3:])
    return np.array([plane.position for plane in planes]) @ np.cross(rows, columns)


def sort_order(planes: Sequence[Plane]) -> list[int]:
    """Indices that put the planes in order along the normal."""
    return [int(index) for index in np.argsort(along_normal(planes), kind="stable")]


def single(plane: Plane) -> Geometry:
    """The 2D Geometry of one plane."""
    return Geometry(np.array(plane.spacing_mm), np.array(plane.position), _in_plane(plane))


def stack(planes: Sequence[Plane]) -> Geometry:
    """The 3D Geometry of two or more sorted planes.

    The slice axis runs from position to position, so a tilted gantry keeps its true, not right-angled, grid.
    Raises SeriesError on mixed sizes, orientations or spacings, doubled positions, gaps and uneven steps.
    """
    _alike(planes)
    heights = along_normal(planes)
    steps = np.diff(heights)
    _no_doubles(planes, heights, steps)
    _no_gaps(planes, heights, steps)
    positions = np.array([plane.position for plane in planes])
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    length = float(np.linalg.norm(step))
    line = positions[0] + np.arange(len(planes))[:, np.newaxis] * step
    away = np.linalg.norm(positions - line, axis=1)
    if away.max() > _STEP_TOLERANCE * length:
        worst = int(away.argmax())
        raise SeriesError(
            f"the slices do not lie on one straight line: {planes[worst].name} at {_at(planes[worst])} "
            f"is {away[worst]:.2f} mm away from it",
            allowed=f"at most {_STEP_TOLERANCE:.0%} of a step ({length:.3f} mm)",
            todo="this is more than one scan, or a scan of a moving table: split it into folders",
        )
    first = planes[0]
    spacing = np.array([length, *first.spacing_mm])
    return Geometry(spacing, positions[0], np.column_stack([step / length, _in_plane(first)]))


def _in_plane(plane: Plane) -> NDArray:
    """(3, 2) directions of growing row and growing column index: PS3.3 C.7.6.2.1.1, in array order."""
    axes = np.array([plane.orientation[3:], plane.orientation[:3]]).T
    lengths = np.linalg.norm(axes, axis=0)
    if np.abs(lengths - 1).max() > 0.01 or abs(axes[:, 0] @ axes[:, 1]) > 0.01:
        raise SeriesError(
            f"{plane.name} has the orientation {list(plane.orientation)}", allowed="two unit vectors at right angles"
        )
    return np.asarray(axes / lengths)


def _alike(planes: Sequence[Plane]) -> None:
    def check(what: str, values: list[tuple[float, ...]], tolerance: float) -> None:
        rounded = [tuple(round(number / tolerance) * tolerance + 0.0 for number in value) for value in values]
        usual = values[rounded.index(Counter(rounded).most_common(1)[0][0])]
        odd = [
            i
            for i, value in enumerate(values)
            if max(abs(a - b) for a, b in zip(value, usual, strict=True)) > tolerance
        ]
        if odd:
            raise SeriesError(
                f"slices of different {what}: {list(usual)} in {len(planes) - len(odd)} of them, but "
                f"{list(values[odd[0]])} in {_named(planes, odd)}",
                allowed=f"one {what} in a series",
                todo="move the odd files (often a scout view) out of the folder",
            )

    check("size", [tuple(float(side) for side in plane.size) for plane in planes], 0.5)
    check("orientation", [plane.orientation for plane in planes], _ORIENTATION_TOLERANCE)
    check("pixel spacing", [plane.spacing_mm for plane in planes], _SPACING_TOLERANCE)


def _no_doubles(planes: Sequence[Plane], heights: NDArray, steps: NDArray) -> None:
    real = steps[steps > 1e-4]
    usual = float(np.median(real)) if len(real) else 0.0
    same = np.flatnonzero(steps <= max(_SAME_PLACE * usual, 1e-4))
    if len(same):
        pairs = [f"{planes[i].name} and {planes[i + 1].name} at {heights[i]:.2f} mm" for i in same[:_MOST_NAMED]]
        raise SeriesError(
            f"{len(same)} slices lie at the same position as another: {_listed(pairs, len(same))}",
            allowed="one slice a position",
            todo="remove the copies; if these are time points or echoes, put each into its own folder",
        )


def _no_gaps(planes: Sequence[Plane], heights: NDArray, steps: NDArray) -> None:
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * usual)
    if not len(wide):
        uneven = np.flatnonzero(np.abs(steps - usual) > 2 * _STEP_TOLERANCE * usual)
        if len(uneven):
            places = [f"{steps[i]:.3f} mm after {planes[i].name} ({heights[i]:.2f} mm)" for i in uneven[:_MOST_NAMED]]
            raise SeriesError(
                f"the slices are not evenly spaced: usually {usual:.3f} mm, but {_listed(places, len(uneven))}",
                allowed=f"steps within {2 * _STEP_TOLERANCE:.0%} of each other",
                todo="resample the scan to even slices where it was made, or split it into folders",
            )
        return
    ratios = steps[wide] / usual
    whole = bool((np.abs(ratios - np.rint(ratios)) < 2 * _STEP_TOLERANCE).all())
    places = [
        f"{steps[i]:.2f} mm between {planes[i].name} ({heights[i]:.2f} mm) and {planes[i + 1].name} "
        f"({heights[i + 1]:.2f} mm)"
        for i in wide[:_MOST_NAMED]
    ]
    missing = f"{int((np.rint(ratios) - 1).sum())} slices are missing" if whole else "there is a gap in the slices"
    raise SeriesError(
        f"{missing}: the usual step is {usual:.2f} mm, but there are {_listed(places, len(wide))}",
        allowed="slices without a gap",
        todo="export the series again, whole",
    )


def _at(plane: Plane) -> str:
    return "(" + ", ".join(f"{number:.2f}" for number in plane.position) + ") mm"


def _named(planes: Sequence[Plane], indices: Sequence[int]) -> str:
    return _listed([planes[index].name for index in indices[:_MOST_NAMED]], len(indices))


def _listed(named: Sequence[str], count: int) -> str:
    return ", ".join(named) + (f" and {count - len(named)} more" if count > len(named) else "")
