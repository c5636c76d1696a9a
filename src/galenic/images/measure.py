"""How well two label maps agree: overlap, surface distances, parts that hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels of one class: in both maps, in ours alone, in the truth alone."""

    both: int
    ours_alone: int
    truth_alone: int

    @property
    def ours(self) -> int:
        return self.both + self.ours_alone

    @property
    def truth(self) -> int:
        return self.both + self.truth_alone

    @property
    def dice(self) -> float | None:
        """2 |A n B| / (|A| + |B|) (Dice, Ecology 26:297, 1945); None where both are empty."""
        return _ratio(2 * self.both, self.ours + self.truth)

    @property
    def iou(self) -> float | None:
        """|A n B| / |A u B| (Jaccard, New Phytologist 11:37, 1912); None where both are empty."""
        return _ratio(self.both, self.both + self.ours_alone + self.truth_alone)

    @property
    def recall(self) -> float | None:
        """Share of the truth that was found; None where the truth is empty."""
        return _ratio(self.both, self.truth)

    @property
    def precision(self) -> float | None:
        """Share of what was marked that is true; None where nothing was marked."""
        return _ratio(self.both, self.ours)


def _ratio(above: int, below: int) -> float | None:
    return above / below if below else None


def overlaps(ours: Array, truth: Array, count: int) -> list[Overlap]:
    """Overlap of each class 0 .. count - 1 of two label maps of one shape, in one pass over them."""
    pairs = np.bincount(
        (ours.ravel().astype(np.uint16 if count <= 255 else np.int64) * count + truth.ravel()), minlength=count * count
    ).reshape(count, count)
    return [
        Overlap(int(pairs[k, k]), int(pairs[k].sum() - pairs[k, k]), int(pairs[:, k].sum() - pairs[k, k]))
        for k in range(count)
    ]


def dice(ours: Array, truth: Array) -> float | None:
    """Dice of two binary masks; None where both are empty."""
    one, other = ours.astype(bool), truth.astype(bool)
    both = int(np.count_nonzero(one & other))
    return _ratio(2 * both, int(np.count_nonzero(one)) + int(np.count_nonzero(other)))


@dataclass(frozen=True)
class Surfaces:
    """Distances between two surfaces in the unit of the spacing.

    hd95: the larger of the two directed 95th percentiles (Maier-Hein et al., Nature Methods 21:195, 2024).
    assd: mean over the points of both surfaces (Taha and Hanbury, BMC Medical Imaging 15:29, 2015).
    """

    hd95: float
    assd: float


def surfaces(ours: Bools, truth: Bools, spacing: Sequence[float] | Array) -> Surfaces | None:
    """Surface distances of two binary masks [*space]; None where one of them is empty.

    A surface is the set of centres of the voxels that touch another class, or the rim of the grid, by a face.
    Nearest points are found in a k-d tree: exact, and faster than distance transforms of the grid.
    """
    box = bounding_box(ours | truth)
    if box is None or not ours.any() or not truth.any():
        return None
    step = np.asarray(spacing, float)
    one = np.argwhere(border(ours[box])) * step
    other = np.argwhere(border(truth[box])) * step
    forth = cKDTree(other).query(one)[0]
    back = cKDTree(one).query(other)[0]
    hd95 = max(float(np.percentile(forth, 95)), float(np.percentile(back, 95)))
    return Surfaces(hd95, float((forth.sum() + back.sum()) / (len(forth) + len(back))))


def border(mask: Bools) -> Bools:
    """The voxels of a binary mask that have a face in common with the outside, or with the rim of the grid."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for shift in (slice(0, -2), slice(2, None)):
            place = [slice(1, -1)] * mask.ndim
            place[axis] = shift
            inner &= padded[tuple(place)]
    found: Bools = mask & ~inner
    return found


def bounding_box(mask: Bools) -> Box | None:
    """The smallest box around what is marked; None where nothing is."""
    box = []
    for axis in range(mask.ndim):
        seen = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if len(seen) == 0:
            return None
        box.append(slice(int(seen[0]), int(seen[-1]) + 1))
    return tuple(box)


def largest_part(mask: Bools) -> Bools:
    """The largest part of a binary mask; voxels that share a corner hang together. Of equal parts the first stays."""
    box = bounding_box(mask)
    if box is None:
        return mask
    labels, count = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim))
    if count == 1:
        return mask
    kept = np.zeros_like(mask)
    kept[box] = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return kept


def keep_largest(labels: Array, classes: Sequence[int]) -> Array:
    """A label map in which each of `classes` keeps its largest part only; the rest becomes background."""
    done = labels
    for value in classes:
        marked = labels == value
        dropped = marked & ~largest_part(marked)
        if dropped.any():
            done = done.copy() if done is labels else done
            done[dropped] = 0
    return done
