"""The simple methods that stand beside a network: an intensity threshold, the mean mask, a disc in the middle.

They work on prepared cases, as the network does. Their state is state.json, and state.safetensors for arrays.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from galenic.core.contract import Field, Outputs, Part, Prepared, Settings
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.files import write_aside, write_json
from galenic.core.task import Task
from galenic.images.losses import IGNORED

Array = NDArray[Any]
State = dict[str, Any]

_JSON, _ARRAYS = "state.json", "state.safetensors"
_BINS = 512
_GRIDS = {2: 128, 3: 48}  # most elements an axis of the mean mask
_STEP = 0.5  # between the radii tried, in elements of the prepared grid


class _Simple(ABC):
    """One small state a mask target; what the three have in common."""

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.classes: dict[str, int] = {}
        self.images: list[str] = []

    def fits(self, task: Task) -> str:
        """ "" if every target is a mask and an input is an image, else why not."""
        others = [field.name for field in task.targets if field.kind != "mask"]
        if others:
            return f"{', '.join(others)}: only masks are learnt"
        return "" if any(field.kind == "image" for field in task.inputs) else "it needs an image"

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:  # noqa: ARG002
        """Fit each target on the prepared cases that have it; ValueProblem where none has. Nothing is drawn."""
        self._know(task)
        for field in task.targets:
            cases = [p for p in part.prepared if field.name in p.arrays and self.images[0] in p.arrays]
            if not cases:
                raise ValueProblem(f"no training case has the mask {field.name}", allowed="at least one")
            self.states[field.name] = self._fit(cases, field.name)

    def infer(self, prepared: Prepared) -> Outputs:
        """[K, *space] float32 of 0 and 1 for each target, on the prepared grid."""
        done = {}
        for name, state in self.states.items():
            labels = self._labels(prepared, state)
            done[name] = np.stack([labels == number for number in range(self.classes[name] + 1)]).astype(np.float32)
        return done

    def save(self, folder: Path) -> None:
        """Write state.json, and state.safetensors where there are arrays."""
        arrays = {f"{name}.{key}": own for name, state in self.states.items() for key, own in state.items()
                  if isinstance(own, np.ndarray)}  # fmt: skip
        plain = {
            name: {key: own for key, own in state.items() if not isinstance(own, np.ndarray)}
            for name, state in self.states.items()
        }
        if arrays:
            with write_aside(folder / _ARRAYS) as aside:
                save_file(arrays, aside)
        write_json(folder / _JSON, {"learner": self.name, "targets": plain})

    def load(self, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:  # noqa: ARG002
        """Take up what `save` left; ModelFolderError where it is damaged or of another task."""
        self._know(task)
        try:
            state = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            arrays = load_file(folder / _ARRAYS) if (folder / _ARRAYS).is_file() else {}
            if state["learner"] != self.name or set(state["targets"]) != set(self.classes):
                raise ValueError(f"it is of {state['learner']} for {', '.join(state['targets'])}")
            for name, plain in state["targets"].items():
                own = {key.removeprefix(f"{name}."): a for key, a in arrays.items() if key.startswith(f"{name}.")}
                self.states[name] = self._sound({**plain, **own}, self.classes[name])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
            raise ModelFolderError(
                f"the state of the learner {self.name} in {folder} can't be read: {error}", todo="train it again"
            ) from error

    def _know(self, task: Task) -> None:
        self.images = [field.name for field in task.inputs if field.kind == "image"]
        self.classes = {field.name: _count(field) for field in task.targets}

    @abstractmethod
    def _fit(self, cases: list[Prepared], target: str) -> State:
        """The state of one target."""

    @abstractmethod
    def _labels(self, prepared: Prepared, state: State) -> Array:
        """Class numbers [*space] of one case."""

    @abstractmethod
    def _sound(self, state: State, classes: int) -> State:
        """The state as read, its types restored; ValueError, KeyError or TypeError where it is not whole."""


def _count(field: Field) -> int:
    return len(field.options["classes"])


class Threshold(_Simple):
    """Each class is what lies between two intensities of one channel.

    The intervals don't overlap, follow each other as the classes' mean intensities do, and have the greatest sum of
    Dice over all training voxels: exact on a histogram, by dynamic programming over the cuts. The best channel stays.
    """

    name = "threshold"
    title = "intensity threshold"

    def _fit(self, cases: list[Prepared], target: str) -> State:
        best: State = {}
        for image in self.images:
            own = [case for case in cases if image in case.arrays]
            for channel in range(len(own[0].arrays[image]) if own else 0):
                pairs = [(case.arrays[image][channel], case.arrays[target]) for case in own]
                found = _cuts(pairs, self.classes[target] + 1)
                if found["dice"] > best.get("dice", -1.0):
                    best = {"image": image, "channel": channel, **found}
        return best

    def _labels(self, prepared: Prepared, state: State) -> Array:
        array = prepared.arrays[state["image"]][state["channel"]]
        labels = np.zeros(array.shape, np.uint8)
        for number, cuts in enumerate(state["cuts"], start=1):
            if cuts is not None:
                labels[_between(array, *cuts)] = number
        return labels

    def _sound(self, state: State, classes: int) -> State:
        if len(state["cuts"]) != classes or state["image"] not in self.images:
            raise ValueError("its cuts are not those of this task")
        for cuts in state["cuts"]:
            if cuts is not None and (len(cuts) != 2 or not all(cut is None or np.isfinite(cut) for cut in cuts)):
                raise ValueError(f"cuts {cuts}")
        return {"image": str(state["image"]), "channel": int(state["channel"]), "cuts": state["cuts"]}


def _between(array: Array, low: float | None, high: float | None) -> Array:
    """Voxels at or above `low` and below `high`; None is no bound."""
    found: Array = np.ones(array.shape, bool)
    if low is not None:
        found &= array >= np.float32(low)
    if high is not None:
        found &= array < np.float32(high)
    return found


def _cuts(pairs: list[tuple[Array, Array]], count: int) -> State:
    """{"dice": sum over classes, "cuts": [[low, high] or None a class]} of one channel."""
    low = float(min(array.min() for array, _ in pairs))
    high = float(max(array.max() for array, _ in pairs))
    edges = np.linspace(low, high, _BINS + 1).astype(np.float32)
    histograms = np.zeros((count, _BINS))  # [class, bin]
    scale = _BINS / max(high - low, 1e-12)
    for array, truth in pairs:
        known = truth != IGNORED
        bins = np.minimum(((array[known] - low) * scale).astype(np.int64), _BINS - 1)
        histograms += np.bincount(truth[known] * np.int64(_BINS) + bins, minlength=count * _BINS).reshape(count, _BINS)
    total, sums = _running(histograms.sum(0)), [_running(own) for own in histograms]
    middles = (edges[1:] + edges[:-1]) / 2
    means = [float(own @ middles / max(own.sum(), 1)) for own in histograms]
    order = sorted(range(1, count), key=lambda number: means[number])
    best = np.zeros(_BINS + 1)  # sum of Dice of the classes so far, with all cuts at or below an edge
    chosen: list[tuple[Array, Array]] = []
    for number in order:
        dice = _interval_dice(sums[number], total)  # [low edge, high edge]
        reached = best[:, None] + dice
        lows = reached.argmax(0)
        ends = reached.max(0)
        highs = np.array([int(ends[: edge + 1].argmax()) for edge in range(_BINS + 1)])
        chosen.append((lows, highs))
        best = ends[highs]
    return {"dice": float(best[-1]), "cuts": _trace(order, chosen, edges)}


def _running(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values)])


def _interval_dice(own: Array, total: Array) -> Array:
    """Dice [low edge, high edge] of one class against the voxels between two edges; -inf where they are crossed."""
    hit = own[None, :] - own[:, None]
    marked = total[None, :] - total[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        dice = np.where(marked + own[-1] > 0, 2 * hit / (marked + own[-1]), 0.0)
    dice[np.tril_indices(len(own), -1)] = -np.inf
    found: Array = dice
    return found


def _trace(order: list[int], chosen: list[tuple[Array, Array]], edges: Array) -> list[list[float | None] | None]:
    """The cuts of each class from the table of best choices; the outermost are open, so that new extremes belong."""
    cuts: list[list[float | None] | None] = [None] * len(order)
    edge = len(edges) - 1
    for number, (lows, highs) in zip(reversed(order), reversed(chosen), strict=True):
        high = int(highs[edge])
        low = int(lows[high])
        if low < high:
            cuts[number - 1] = [
                None if low == 0 else float(edges[low]), None if high == len(edges) - 1 else float(edges[high])
            ]  # fmt: skip
        edge = low
    return cuts


class MeanMask(_Simple):
    """Where the classes lie on average: the mean of the training masks on a small grid, cut at the best level.

    A class's level has the greatest Dice over all training voxels of the small grid; where several classes are above
    theirs, the one that is so by the greatest factor wins.
    """

    name = "mean_mask"
    title = "mean mask"

    def _fit(self, cases: list[Prepared], target: str) -> State:
        count = self.classes[target]
        shapes = np.array([case.arrays[target].shape for case in cases])
        most = _GRIDS[shapes.shape[1]]
        grid = [int(min(most, size)) for size in np.median(shapes, axis=0)]
        total = np.zeros((count, *grid), np.float64)
        for case in cases:
            labels = case.arrays[target]
            own = np.stack([labels == number for number in range(1, count + 1)]).astype(np.float32)
            total += _resized(own, grid, shrink=True)
        mean = (total / len(cases)).astype(np.float32)
        return {"mean": mean, "levels": [_best_level(own) for own in mean]}

    def _labels(self, prepared: Prepared, state: State) -> Array:
        shape = prepared.arrays[self.images[0]].shape[1:]
        levels = np.array(state["levels"], np.float32).reshape(-1, *[1] * len(shape))
        factor = _resized(state["mean"], list(shape), shrink=False) / levels  # [classes, *space]
        strongest: Array = np.where(factor.max(0) >= 1, factor.argmax(0) + 1, 0).astype(np.uint8)
        return strongest

    def _sound(self, state: State, classes: int) -> State:
        mean, levels = state["mean"], [float(level) for level in state["levels"]]
        if len(mean) != classes or len(levels) != classes or mean.ndim - 1 not in _GRIDS:
            raise ValueError("its classes are not those of this task")
        if not (np.isfinite(mean).all() and all(level > 0 for level in levels)):
            raise ValueError("its numbers are out of range")
        return {"mean": mean.astype(np.float32), "levels": levels}


def _resized(array: Array, shape: list[int], *, shrink: bool) -> Array:
    """[C, *space] to another grid over the same extent: averaged over what falls into an element, or linear."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))[None]
    linear = "bilinear" if len(shape) == 2 else "trilinear"
    done = (
        functional.interpolate(tensor, size=shape, mode="area") if shrink
        else functional.interpolate(tensor, size=shape, mode=linear, align_corners=False)
    )  # fmt: skip
    resized: Array = done[0].numpy()
    return resized


def _best_level(mean: Array) -> float:
    """The level whose cut of the mean has the greatest Dice over all cases, from the mean alone; above 0."""
    ranked = np.sort(mean.ravel().astype(np.float64))[::-1]
    ranked = ranked[ranked > 0]
    if len(ranked) == 0:
        return 1.0
    running = np.cumsum(ranked)
    dice = 2 * running / (np.arange(1, len(ranked) + 1) + running[-1])
    return float(ranked[int(dice.argmax())])


class FixedDisc(_Simple):
    """The first class is a disc (in 3D a ball) about the middle of the grid; its radius has the best mean Dice.

    What a set of crops centred on the finding gives away. Further classes are never found.
    """

    name = "disc"
    title = "fixed disc in the middle"

    def _fit(self, cases: list[Prepared], target: str) -> State:
        reach = max(float(np.linalg.norm(case.arrays[target].shape)) for case in cases) / 2
        radii = np.arange(1, int(reach / _STEP) + 2) * _STEP
        total, scored = np.zeros(len(radii)), 0
        for case in cases:
            truth = case.arrays[target]
            steps = np.ceil(_from_middle(truth.shape) / _STEP - 1e-6).astype(np.int64)  # first radius that covers it
            inside = np.cumsum(np.bincount(steps.ravel(), minlength=len(radii) + 1))[1 : len(radii) + 1]
            hits = np.cumsum(np.bincount(steps[truth == 1], minlength=len(radii) + 1))[1 : len(radii) + 1]
            true = int(np.count_nonzero(truth == 1))
            if true:
                total += 2 * hits / (inside + true)
                scored += 1
        return {"radius": float(radii[int(total.argmax())]), "dice": float(total.max() / max(scored, 1))}

    def _labels(self, prepared: Prepared, state: State) -> Array:
        shape = prepared.arrays[self.images[0]].shape[1:]
        labels: Array = (_from_middle(shape) <= state["radius"] + 1e-6 * _STEP).astype(np.uint8)
        return labels

    def _sound(self, state: State, classes: int) -> State:  # noqa: ARG002
        radius = float(state["radius"])
        if not (np.isfinite(radius) and radius >= 0):
            raise ValueError(f"a radius of {radius}")
        return {"radius": radius}


def _from_middle(shape: tuple[int, ...]) -> Array:
    """Distance of each element from the middle one, in elements; of 2 n elements that is number n, from 0.

    It is where crops of even size, cut from centre - n to centre + n, have their centre.
    """
    squares: Iterator[Array] = ((np.arange(size) - size // 2.0) ** 2 for size in shape)
    total = np.zeros(shape)
    for axis, own in enumerate(squares):
        total += own.reshape([-1 if other == axis else 1 for other in range(len(shape))])
    distances: Array = np.sqrt(total)
    return distances
