"""The box of a volume that holds the body: what lies outside need not be computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SAMPLES = 64  # of each axis that are looked at
_SPECK = 0.01  # a structure smaller than this part of the largest is noise, a hose, a letter burnt in
_NARROW = 0.25  # background counts as air if its spread is below this part of its distance to the body


def body_box(volume: NDArray[Any], *, cut: float | None = None, margin: int = 8) -> tuple[slice, ...]:
    """Slices of the part of `volume` [*space] that is not air, with `margin` elements around it.

    Given `cut` (CT: about -500 HU), air is what lies below it. Else, if all corners hold the same lowest value (masked
    or stripped background), air is that value and the box is exact. Else the cut is half-way between the background's
    mean and Otsu's threshold (Otsu 1979, doi:10.1109/TSMC.1979.4310076), and is used only if the border is background
    and the background is narrow; otherwise nothing is cropped, as an anatomy cut off costs more than air computed.
    Structures below 1 % of the largest don't count. Every cut but the exact one looks at no more than 64 to 127 samples
    an axis, and the box grows by the distance between samples.
    """
    whole = tuple(slice(0, size) for size in volume.shape)
    if min(volume.shape) == 0:
        return whole
    constant = _constant_background(volume)
    if cut is None and constant is not None:
        return _grown(_exact_box(volume, constant), volume.shape, margin)
    steps = [max(1, size // _SAMPLES) for size in volume.shape]
    sample = np.asarray(volume[tuple(slice(None, None, step) for step in steps)], np.float32)
    level = _air_level(sample) if cut is None else cut
    if level is None:
        return whole
    found = _large_structures(sample > level)
    if found is None:
        return whole
    lows_highs = [(part.start * step - step, part.stop * step) for part, step in zip(found, steps, strict=True)]
    return _grown(lows_highs, volume.shape, margin)


def _grown(box: list[tuple[int, int]], shape: tuple[int, ...], margin: int) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, low - margin), min(size, high + margin)) for (low, high), size in zip(box, shape, strict=True)
    )


def _constant_background(volume: NDArray[Any]) -> Any:
    """The value that all corners share, if nothing in a sample is lower; else None."""
    corners = volume[np.ix_(*((0, size - 1) for size in volume.shape))]
    value = corners.flat[0]
    sample = volume[tuple(slice(None, None, max(1, size // _SAMPLES)) for size in volume.shape)]
    return value if bool((corners == value).all() and sample.min() >= value) else None


def _exact_box(volume: NDArray[Any], background: Any) -> list[tuple[int, int]]:
    """Box of all that is not `background`, found from the outside inwards, so that only air is read."""
    part, box = volume, []
    for axis in range(volume.ndim):
        size = volume.shape[axis]
        rows = np.moveaxis(part, axis, 0)
        low = next((row for row in range(size) if (rows[row] != background).any()), None)
        if low is None:
            return [(0, length) for length in volume.shape]
        high = next(row for row in range(size - 1, -1, -1) if (rows[row] != background).any()) + 1
        box.append((low, high))
        part = part[(slice(None),) * axis + (slice(low, high),)]
    return box


def _air_level(sample: NDArray[np.float32]) -> float | None:
    """The value that parts air from body, None where there is no air to be seen."""
    values = np.clip(sample, *np.percentile(sample, (0.1, 99.5)))
    if values.min() == values.max():
        return None
    otsu = _otsu(values)
    air, body = values[values <= otsu], values[values > otsu]
    if not len(air) or not len(body):
        return None
    distance = float(body.mean() - air.mean())
    border = np.concatenate([np.take(values, (0, -1), axis).ravel() for axis in range(values.ndim)])
    if float(air.std()) > _NARROW * distance or float(np.median(border)) > otsu:
        return None
    return (float(air.mean()) + otsu) / 2


def _otsu(values: NDArray[np.float32]) -> float:
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    moment = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment[:-1] / below - (moment[-1] - moment[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between)])


def _large_structures(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.concatenate([[False], sizes >= _SPECK * sizes.max()])
    box: tuple[slice, ...] = ndimage.find_objects(kept[labels].astype(np.int8))[0]
    return box
