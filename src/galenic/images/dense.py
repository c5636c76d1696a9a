"""One mask from a dense network: by tiles, over mirror images where asked; whole, or streamed where it is large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Outputs, Prepared, Runner, Settings
from galenic.core.errors import Refused, TaskError
from galenic.images.prepare import CT_AIR_HU
from galenic.images.strongest import from_slabs
from galenic.images.tile import Slab, infer_tiled, stream_tiled

Array = NDArray[Any]

WHOLE_BYTES = 32 << 20  # of probabilities of a volume; of one with more only the strongest class is kept


def with_mirror(frames: Mapping[str, Settings], settings: Settings) -> Settings:
    """The settings by which `infer_mask` averages over the axes that training mirrored; TaskError where none is."""
    axes = list(frames["space"]["augment"]["flips"])
    if not axes:
        raise TaskError("mirrored answers of a network that was trained without mirroring", todo="leave --mirror out")
    return settings | {"mirror": axes}


def infer_mask(run: Runner, prepared: Prepared, frames: Mapping[str, Settings], settings: Settings) -> Outputs:
    """Class probabilities [classes, *space] of the one mask target, by tiles of the planned size, else of the patch.

    Of a volume whose probabilities would take more than WHOLE_BYTES only a Strongest is kept.
    """
    return infer_mean([run], prepared, frames, settings)


def infer_mean(
    runs: Sequence[Runner], prepared: Prepared, frames: Mapping[str, Settings], settings: Settings
) -> Outputs:
    """As `infer_mask`, the mean of the probabilities of several networks; a large volume is gone through by all of
    them side by side, slab by slab."""
    space = frames["space"]
    target = next(iter(space["masks"]))
    lacking = [name for name in space["images"] if name not in prepared.arrays]
    if lacking:
        raise Refused(f"the case has no {', '.join(lacking)}", allowed="every image that the model was trained with")
    volumes = [prepared.arrays[name] for name in space["images"]]
    volume = volumes[0] if len(volumes) == 1 else np.concatenate(volumes)
    joined = [_Joined(run, np.cumsum([len(own) for own in volumes])[:-1]) for run in runs]
    classes = 1 + len(space["masks"][target]["classes"])
    tile = tile_of(space, settings)
    how: dict[str, Any] = {
        "classes": classes, "air": _air(space), "mirror": tuple(settings.get("mirror", ())),
        "overlap": [settings["overlap"] * own / wide for own, wide in zip(space["patch"], tile, strict=True)],
    }  # fmt: skip
    shape = volume.shape[1:]
    if len(shape) == 3 and 4 * classes * int(np.prod(shape)) > WHOLE_BYTES:
        inner = [high - low for low, high in prepared.facts["space"]["crop"]]
        slabs = _mean([stream_tiled(run, volume, tile, **how) for run in joined])
        return {target: from_slabs(slabs, classes=classes, shape=shape, inner=inner)}
    total = infer_tiled(joined[0], volume, tile, **how)
    for run in joined[1:]:
        total += infer_tiled(run, volume, tile, **how)
    return {target: total / len(joined) if len(joined) > 1 else total}


class _Joined:
    """A runner of several images, given them as the channels of one."""

    def __init__(self, run: Runner, edges: Array) -> None:
        self._run, self._edges = run, edges

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        return self._run(*np.split(arrays[0], self._edges, axis=1))


def _mean(streams: Sequence[Iterator[Slab]]) -> Iterator[Slab]:
    """Slabs of the mean over networks that go through the same tiles."""
    for slabs in zip(*streams, strict=True):
        total = slabs[0].probabilities
        for other in slabs[1:]:
            total += other.probabilities
        if len(slabs) > 1:
            total /= len(slabs)
        yield Slab(slabs[0].start, slabs[0].stop, total)


def tile_of(space: Settings, settings: Settings) -> list[int]:
    """What inference takes at once: as planned, else the patch."""
    found: list[int] = settings.get("tile") or space["patch"]
    return found


def _air(space: Settings) -> list[float] | None:
    """The value of air after preparation, below which a tile need not be computed: CT alone knows it."""
    ways = [own["normalise"] for own in space["images"].values()]
    if space["crop"] != "body" or any(way["way"] != "percentile" or way["low"] > CT_AIR_HU for way in ways):
        return None
    return [(way["low"] - way["mean"]) / way["sd"] + 1e-4 for way in ways]
