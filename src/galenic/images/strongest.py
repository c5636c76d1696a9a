"""The strongest class of each voxel, for volumes whose probabilities are too large to be kept.

Slabs of probabilities along the first axis become labels as they come: on the prepared grid, which the score while
training and the parity of runtimes look at, and on the crop of the input's own grid, which the answer is made of. A few
rows of probabilities are held besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from galenic.images.tile import Slab

Array = NDArray[Any]
Labels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Strongest:
    """What stands in the place of probabilities [K, *space] that are too large.

    classes: K, background included. labels: [*space] on the prepared grid. inner: on the input's grid within the crop,
    axes as prepared. finite: whether every probability was.
    """

    classes: int
    labels: Labels
    inner: Labels
    finite: bool = True


def labels_of(output: Any) -> tuple[int, Labels]:
    """K and the strongest class of each voxel of the prepared grid, of probabilities [K, *space] or a Strongest."""
    if isinstance(output, Strongest):
        return output.classes, output.labels
    return len(output), np.argmax(output, 0).astype(np.uint8)


def from_slabs(slabs: Iterable[Slab], *, classes: int, shape: Sequence[int], inner: Sequence[int]) -> Strongest:
    """Labels of a volume of `shape` [3 axes], from its slabs in order; `inner` is the size of the crop they lie on."""
    labels = np.empty(tuple(shape), np.uint8)
    rows = None if tuple(inner) == tuple(shape) else _Rows(shape, inner, classes)
    finite = True
    for slab in slabs:
        shares = torch.from_numpy(slab.probabilities)
        finite = finite and bool(torch.isfinite(shares).all())
        labels[slab.start : slab.stop] = _strongest(shares)
        if rows is not None:
            for at in range(slab.stop - slab.start):
                rows.add(slab.start + at, shares[:, at])
    return Strongest(classes, labels, labels if rows is None else rows.labels, finite)


def _strongest(shares: Tensor) -> Labels:
    """Of K, the first of equals: uint8 of shares [K, ...]."""
    found: Labels = shares.argmax(0).to(torch.uint8).numpy()
    return found


class _Rows:
    """Resamples row by row of the first axis, as `prepare.resample` does a whole volume: linear, or averaged where it
    shrinks by more than 1.5. Both are products over the axes: a row's plane goes first, then the rows are mixed.
    """

    def __init__(self, shape: Sequence[int], inner: Sequence[int], classes: int) -> None:
        self.labels = np.empty(tuple(inner), np.uint8)
        self._size, self._two = tuple(inner[1:]), classes == 2
        self._shrinks = max(old / new for old, new in zip(shape, inner, strict=True)) > 1.5
        mix = _averaged if self._shrinks else _between
        self._mixes = [mix(row, shape[0], inner[0]) for row in range(inner[0])]
        self._planes: dict[int, Tensor] = {}
        self._next = 0

    def add(self, row: int, shares: Tensor) -> None:
        """Take the row's shares [K, height, width], and finish the rows of the crop that need no further one."""
        if self._two:  # the second class is above a half, or it is not
            shares = shares[1:]
        if self._shrinks:
            plane = functional.interpolate(shares[None], size=self._size, mode="area")[0]
        else:
            plane = functional.interpolate(shares[None], size=self._size, mode="bilinear", align_corners=False)[0]
        self._planes[row] = plane
        while self._next < len(self._mixes) and max(self._mixes[self._next]) <= row:
            self._finish(self._next)
            self._next += 1
        first = min(self._mixes[self._next]) if self._next < len(self._mixes) else row + 1
        self._planes = {own: kept for own, kept in self._planes.items() if own >= first}

    def _finish(self, at: int) -> None:
        mixed = torch.stack([share * self._planes[row] for row, share in self._mixes[at].items()]).sum(0)
        self.labels[at] = (mixed[0] > 0.5).to(torch.uint8).numpy() if self._two else _strongest(mixed)


def _between(row: int, size: int, new: int) -> dict[int, float]:
    """Rows of `size` and their shares in a row of `new`, linear between the centres, as torch has it."""
    place = max((row + 0.5) * size / new - 0.5, 0.0)
    low = min(math.floor(place), size - 1)
    high = min(low + 1, size - 1)
    share = place - low if high > low else 0.0
    return {low: 1.0 - share, high: share} if share > 0 else {low: 1.0}


def _averaged(row: int, size: int, new: int) -> dict[int, float]:
    """Rows of `size` and their shares in a row of `new`: all that it touches, alike, as torch's area has it."""
    low, high = row * size // new, -(-(row + 1) * size // new)
    return dict.fromkeys(range(low, high), 1.0 / (high - low))
