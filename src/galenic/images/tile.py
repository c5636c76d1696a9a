"""Sliding-window inference that computes few voxels and holds one narrow accumulator.

A volume is covered by evenly spread tiles of the network's own patch, as few as the wanted overlap allows. Each tile's
logits are weighted by a Gaussian of sigma = patch / 8, as nnU-Net does (Isensee et al., Nature Methods 2021,
doi:10.1038/s41592-020-01008-z). The weights are a product over the axes and are divided by their sum axis by axis, so
that they add up to 1 at every voxel and no second volume of sums is needed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from galenic.core.contract import Runner
from galenic.core.errors import GeometryError, ValueProblem

FloatArray = NDArray[np.float32]
_SIGMA = 1 / 8
_SURE = np.float32(1e6)  # taken off the logits where only background can be; far beyond what a network says


@dataclass(frozen=True)
class Tiles:
    """Where the tiles of a volume start, axis by axis; a tile stands at every combination of the starts.

    shape: of the volume. patch: of a tile. before: elements padded in front, where an axis is shorter than the patch.
    padded: shape with the padding. starts: of each axis, in padded coordinates, rising.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    before: tuple[int, ...]
    padded: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        return math.prod(len(axis) for axis in self.starts)

    @property
    def computed(self) -> float:
        """Voxels computed for each voxel of the volume."""
        return self.count * math.prod(self.patch) / math.prod(self.shape)


def plan_tiles(shape: Sequence[int], patch: Sequence[int], overlap: float | Sequence[float] = 0.25) -> Tiles:
    """The fewest tiles of size `patch` whose neighbours overlap by at least the fraction `overlap` of the patch.

    overlap: one fraction for all axes, or one each.
    """
    if len(shape) != len(patch) or min(*shape, *patch) < 1:
        raise GeometryError(
            f"tiles of {tuple(patch)} on a volume of {tuple(shape)}", allowed="as many axes, each of at least 1"
        )
    overlaps = [overlap] * len(patch) if isinstance(overlap, int | float) else list(overlap)
    if len(overlaps) != len(patch) or not all(0 <= own < 1 for own in overlaps):
        raise ValueProblem(f"an overlap of {overlap}", allowed="a fraction from 0 to below 1")
    padded = tuple(max(size, tile) for size, tile in zip(shape, patch, strict=True))
    before = tuple((whole - size) // 2 for whole, size in zip(padded, shape, strict=True))
    starts = tuple(_starts(size, tile, own) for size, tile, own in zip(padded, patch, overlaps, strict=True))
    return Tiles(tuple(shape), tuple(patch), before, padded, starts)


def _starts(size: int, tile: int, overlap: float) -> tuple[int, ...]:
    stride = max(1, math.floor(tile * (1 - overlap) + 1e-9))
    gaps = math.ceil((size - tile) / stride)
    return tuple((index * (size - tile)) // gaps for index in range(gaps + 1)) if gaps else (0,)


def fit_tile(
    shape: Sequence[float], patch: Sequence[int], overlap: float, *, steps: Sequence[int], most: float = 1.5
) -> list[int]:
    """The tile, from the patch up to `most` times it an axis, that computes the fewest voxels of volumes about `shape`.

    Neighbours keep overlapping by the fraction `overlap` of the patch. steps: what a tile may grow by, an axis each:
    how often the network halves it. As volumes differ, 5 % less and more than `shape` count half each. An axis that
    one patch covers keeps it.
    """
    fitted = []
    for size, tile, step in zip(shape, patch, steps, strict=True):
        sizes = [round(size * share) for share in (0.95, 1.0, 1.0, 1.05)]
        cost = {
            own: sum(len(_starts(max(one, own), own, overlap * tile / own)) * own for one in sizes)
            for own in range(tile, math.floor(most * tile) + 1, step)
        }
        fitted.append(min(cost, key=lambda own: (cost[own], own)))
    return fitted


def axis_weights(starts: Sequence[int], tile: int, size: int) -> FloatArray:
    """(tiles, tile) weights of each tile along one axis; over the tiles they add up to 1 at each of `size` places."""
    bell = np.exp(-0.5 * ((np.arange(tile) - (tile - 1) / 2) / (tile * _SIGMA)) ** 2)
    total = np.zeros(size)
    for start in starts:
        total[start : start + tile] += bell
    return np.stack([bell / total[start : start + tile] for start in starts]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Slab:
    """Finished rows: probabilities [K, stop - start, *rest] of the rows start..stop of the volume's first axis."""

    start: int
    stop: int
    probabilities: FloatArray


def infer_tiled(
    run: Runner,
    volume: FloatArray,
    patch: Sequence[int],
    *,
    classes: int,
    overlap: float | Sequence[float] = 0.25,
    air: float | Sequence[float] | None = None,
    mirror: Sequence[int] = (),
    pad: float | None = 0.0,
) -> FloatArray:
    """Probabilities float32 [K, *space] of a prepared volume [C, *space], 2D or 3D.

    run: takes [1, C, *patch], its first output is the logits [1, K, *patch]. Logits are blended, then turned into
    probabilities: by softmax, or, if the network has one output channel, by a sigmoid into K = 2 classes.
    classes: K, background (class 0) included. air: a tile that has no voxel above this value (one for all channels, or
    one each) is not computed, and all its voxels are background; None computes every tile. mirror: spatial axes
    (0-based) to flip over; the logits of all combinations of flips are averaged. pad: value beside an axis shorter
    than the patch; None reflects. Raises GeometryError where the axes don't fit and ValueProblem where the network's
    channels don't.
    """
    whole = np.empty((classes, *volume.shape[1:]), np.float32)
    for slab in stream_tiled(run, volume, patch, classes=classes, overlap=overlap, air=air, mirror=mirror, pad=pad):
        whole[:, slab.start : slab.stop] = slab.probabilities
    return whole


def stream_tiled(
    run: Runner,
    volume: FloatArray,
    patch: Sequence[int],
    *,
    classes: int,
    overlap: float | Sequence[float] = 0.25,
    air: float | Sequence[float] | None = None,
    mirror: Sequence[int] = (),
    pad: float | None = 0.0,
) -> Iterator[Slab]:
    """As `infer_tiled`, but rows of the first axis are handed out as soon as they are finished.

    The accumulator is one patch deep, so a caller that keeps only labels never holds the probabilities of a volume.
    A slab's array is overwritten by nobody and may be kept.
    """
    tiles = plan_tiles(volume.shape[1:], patch, overlap)
    if any(axis not in range(len(tiles.shape)) for axis in mirror):
        raise ValueProblem(f"mirror axes {tuple(mirror)}", allowed=f"0 to {len(tiles.shape) - 1}")
    flips = [axes for size in range(len(mirror) + 1) for axes in itertools.combinations(sorted(set(mirror)), size)]
    blender = _Blender(run, volume, tiles, flips, air, pad)
    blend = np.zeros((classes, tiles.patch[0], *tiles.padded[1:]), np.float32)
    crop = tuple(slice(lead, lead + size) for lead, size in zip(tiles.before[1:], tiles.shape[1:], strict=True))
    first, stops = tiles.before[0], [*tiles.starts[0][1:], tiles.padded[0]]
    for index, (start, stop) in enumerate(zip(tiles.starts[0], stops, strict=True)):
        blender.add(blend, index)
        low, high = max(start, first), min(stop, first + tiles.shape[0])
        yield Slab(low - first, high - first, _softmax(blend[(slice(None), slice(low - start, high - start), *crop)]))
        kept = tiles.patch[0] - (stop - start)
        blend[:, :kept] = blend[:, stop - start :]
        blend[:, kept:] = 0


class _Blender:
    """Adds the weighted logits of the tiles that start at one row to an accumulator that starts at that row."""

    def __init__(
        self,
        run: Runner,
        volume: FloatArray,
        tiles: Tiles,
        flips: Sequence[tuple[int, ...]],
        air: float | Sequence[float] | None,
        pad: float | None,
    ) -> None:
        self._run, self._volume, self._tiles, self._flips = run, volume, tiles, flips
        self._air = None if air is None else np.broadcast_to(np.asarray(air, np.float32), volume.shape[0])
        self._padded = _pad(volume, tiles, pad)
        axes = zip(tiles.starts, tiles.patch, tiles.padded, strict=True)
        self._weights = [axis_weights(starts, tile, size) for starts, tile, size in axes]

    def add(self, blend: FloatArray, row: int) -> None:
        """Add all tiles of the `row`-th start of the first axis to `blend` [K, patch, *padded]."""
        tiles = self._tiles
        for rest in itertools.product(*(range(len(starts)) for starts in tiles.starts[1:])):
            corner = [starts[index] for starts, index in zip(tiles.starts, (row, *rest), strict=True)]
            across = tuple(slice(start, start + tile) for start, tile in zip(corner[1:], tiles.patch[1:], strict=True))
            into = blend[(slice(None), slice(None), *across)]
            if self._is_air(corner):
                into[1:] -= _SURE
            else:
                self._add_tile(into, corner, (row, *rest))

    def _is_air(self, corner: Sequence[int]) -> bool:
        if self._air is None:
            return False
        tiles = self._tiles
        part = tuple(
            slice(max(start - lead, 0), min(start - lead + tile, size))
            for start, lead, tile, size in zip(corner, tiles.before, tiles.patch, tiles.shape, strict=True)
        )
        return all(bool(channel[part].max() <= limit) for channel, limit in zip(self._volume, self._air, strict=True))

    def _add_tile(self, into: FloatArray, corner: Sequence[int], place: Sequence[int]) -> None:
        part = tuple(slice(start, start + tile) for start, tile in zip(corner, self._tiles.patch, strict=True))
        logits = self._logits(self._padded[(slice(None), *part)], classes=len(into))
        weight: FloatArray = np.float32(1 / len(self._flips)) * self._weights[0][place[0]]
        for axis in range(1, len(place)):
            weight = weight[..., None] * self._weights[axis][place[axis]]
        # One output channel is the log-odds of class 1: a softmax over (0, l) is the sigmoid of l.
        chosen = torch.from_numpy(into[len(into) - len(logits) :])
        chosen.addcmul_(torch.from_numpy(np.require(logits, np.float32, ["W"])), torch.from_numpy(weight))

    def _logits(self, tile: FloatArray, classes: int) -> FloatArray:
        """Sum of the logits [channels, *patch] over all flips."""
        total: FloatArray | None = None
        for axes in self._flips:
            turned = tuple(axis + 1 for axis in axes)
            found = self._run(np.ascontiguousarray(np.flip(tile, turned))[None])[0][0]
            if found.shape[1:] != tile.shape[1:] or (len(found) != classes and (len(found), classes) != (1, 2)):
                raise ValueProblem(
                    f"a network that answers a tile of {tile.shape} with {found.shape}",
                    allowed=f"[{classes}, *patch], or one channel where there are two classes",
                )
            flipped = np.flip(found, turned)
            total = flipped if total is None else total + flipped
        assert total is not None
        return total


def _pad(volume: FloatArray, tiles: Tiles, pad: float | None) -> FloatArray:
    if tiles.padded == tiles.shape:
        return volume
    sizes = zip(tiles.before, tiles.padded, tiles.shape, strict=True)
    widths = [(0, 0), *((lead, whole - size - lead) for lead, whole, size in sizes)]
    if pad is None:
        return np.pad(volume, widths, mode="reflect")
    return np.pad(volume, widths, constant_values=pad)


def _softmax(logits: FloatArray) -> FloatArray:
    """Over the first axis, in one new array."""
    found: FloatArray = torch.from_numpy(logits).softmax(0).numpy()
    return found
