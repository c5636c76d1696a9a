"""What all readers of masks share: stored numbers become whole class numbers, named or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import ValueProblem
from galenic.values import Geometry, Mask

_MOST_LISTED = 20


def smallest(array: NDArray, path: Path) -> NDArray:
    """The same values in the smallest unsigned type; floats that hold whole numbers are accepted."""
    if not np.issubdtype(array.dtype, np.integer) and array.dtype != np.bool_:
        if np.issubdtype(array.dtype, np.complexfloating) or not np.isfinite(array).all():
            raise ValueProblem(f"the mask {path} holds values that are no numbers", allowed="whole numbers, 0 and up")
        if (array != np.rint(array)).any():
            odd = np.unique(array[array != np.rint(array)])[:3].tolist()
            raise ValueProblem(
                f"the mask {path} holds values that are not whole, as {odd}",
                allowed="whole numbers, one a class",
                todo="save it without interpolation or rescaling",
            )
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise ValueProblem(f"the mask {path} holds values from {low} to {high}", allowed="0 to 4294967295")
    dtype = next(kind for kind in (np.uint8, np.uint16, np.uint32) if high <= np.iinfo(kind).max)
    return array.astype(dtype)


def as_mask(array: NDArray, geometry: Geometry, path: Path, names: Mapping[int, str] | None) -> Mask:
    """A Mask of `array` [*space]; with names given, each value but 0 must have one, or ValueProblem lists the rest."""
    whole = smallest(array, path)
    if names is not None:
        unnamed = [int(value) for value in np.unique(whole) if value and int(value) not in names]
        if unnamed:
            more = f" and {len(unnamed) - _MOST_LISTED} more" if len(unnamed) > _MOST_LISTED else ""
            raise ValueProblem(
                f"the mask {path} holds values without a name: {unnamed[:_MOST_LISTED]}{more}",
                allowed=f"0 and {sorted(value for value in names if value)}",
                todo="name these values in the task, or read the mask as non-zero if any value means the one class",
            )
    return Mask(whole, geometry, names or {}, source=path)
