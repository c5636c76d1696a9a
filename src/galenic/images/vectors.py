"""What the networks share that make one vector of a whole picture: inputs, heads, class weights, plan, inference."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Outputs, Prepared, Runner, Settings
from galenic.core.network import Features, Loss, Network, heads
from galenic.core.task import Task

Array = NDArray[Any]

LEAST_FOR_BATCH_NORM = 8  # cases a step

BESIDE = ("number", "category")  # kinds that may stand beside the pictures, joined to their vector
_HEAVIEST = 4.0  # most that a case of a rare class counts, and least as its inverse


def unfit(task: Task) -> str:
    """ "" if pictures, and at most numbers and categories beside them, lead to answers of one vector; else why not."""
    if not any(field.kind == "image" for field in task.inputs):
        return "it needs an image"
    other = [field.name for field in task.inputs if field.kind not in ("image", *BESIDE)]
    if other:
        return f"it reads images, and numbers and categories beside them, which {', '.join(other)} is not"
    return registry.dense_targets(task)


class VectorNetwork(Network):
    """Pictures [batch, C_i, *fit] and rows (batch, n_i) to one output a target.

    The pictures' channels are joined; an architecture says in `trunk` what it makes of them. The mean over the places
    of its feature map, with the rows beside it, is the vector that the heads answer from.
    """

    trunk: nn.Module  # [batch, sum of C_i, *fit] to [batch, width, *places]

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings, width: int) -> None:
        super().__init__(task, frames)
        self.pictures = [name for name in self.inputs if name in settings["pictures"]]
        self.rows = [name for name in self.inputs if name in settings["rows"]]
        self.drop = nn.Dropout(settings["dropout"])
        width += sum(settings["rows"].values())
        self.heads = heads(task, frames, width)
        for name, weights in settings["class_weights"].items():
            # Not kept with the weights: they belong to the plan, and fine-tuning must not bring another set's along.
            self.register_buffer(_buffer(self.outputs.index(name)), torch.tensor(weights), persistent=False)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """The vector (batch, width), and the places of the feature map as tokens (batch, places, width)."""
        places = self.trunk(torch.cat([embedded[name] for name in self.pictures], dim=1))
        tokens = places.flatten(2).transpose(1, 2)  # [batch, places, width]
        return Features(torch.cat([tokens.mean(dim=1), *(embedded[name] for name in self.rows)], dim=1), tokens)

    def raw(self, arrays: Mapping[str, Tensor]) -> list[Tensor]:
        """Each target's output as it is learnt, with classes weighted."""
        vector = self.drop(self.encode(arrays).vector)
        return [head(vector) for head in self.heads]

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Each target's output; what the weights of its classes did to their odds is undone."""
        outputs = self.raw(dict(zip(self.inputs, arrays, strict=True)))
        return tuple(
            output if (own := self._weights(at)) is None else output - own.log() for at, output in enumerate(outputs)
        )

    def losses(self, batch: Batch, progress: float) -> dict[str, Loss]:  # noqa: ARG002 - there is no schedule
        """Each target's own loss times the weight of the case's class; 0 where truth or all inputs are lacking."""
        outputs = self.raw({name: self._given(batch, name) for name in self.inputs})
        done = {}
        for at, (field, output) in enumerate(zip(self.task.targets, outputs, strict=True)):
            kind = registry.target(field)
            truth, weights = batch.values[field.name], self._weights(at)
            loss = kind.loss(output, truth, field, self.frames[kind.frame]) * self.known(batch, field.name)
            if weights is not None:
                loss = loss * weights[truth.clamp_min(0)]
            done[field.name] = Loss(loss if self.rows else loss * self._seen(batch))
        return done

    def _weights(self, at: int) -> Tensor | None:
        """(classes,) of the target at a place, None where its classes weigh the same."""
        return getattr(self, _buffer(at), None)

    def _given(self, batch: Batch, name: str) -> Tensor:
        """An input of the batch; zeros, the mean, for a picture that none of its cases has."""
        if name in batch.values:
            return batch.values[name].float()
        space, like = self.frames["space"], next(self.heads.parameters())
        return like.new_zeros(batch.size, space["images"][name]["channels"], *space["fit"])

    def _seen(self, batch: Batch) -> Tensor | float:
        """(batch,) 1 where a case has a picture."""
        there = [self.known(batch, name) for name in self.pictures if name in batch.present]
        return torch.stack([own for own in there if isinstance(own, Tensor)]).amax(dim=0) if there else 0.0


def _buffer(at: int) -> str:
    return f"class_weights_{at}"


def shared_plan(
    task: Task, frames: Mapping[str, Settings], budget: Budget
) -> tuple[Settings, dict[str, str]]:  # fmt: skip
    """The settings that do not depend on the architecture, with a reason each."""
    space, row = frames["space"], frames.get("row", {})
    cases = space["cases"]
    seconds = budget.seconds if budget.seconds is not None else 1800.0
    weights = {
        field.name: class_weights(row["categories"][field.name]["counts"])
        for field in task.targets
        if field.kind == "category"
    }
    settings: Settings = {
        "pictures": [field.name for field in task.inputs if field.kind == "image"],
        "rows": {field.name: _size(row, field.name) for field in task.inputs if field.kind != "image"},
        "inputs": [field.name for field in task.inputs], "outputs": [field.name for field in task.targets],
        "class_weights": {name: own for name, own in weights.items() if own},
        "dropout": 0.5 if cases < 1_000 else 0.2 if cases < 10_000 else 0.1,
        "batch": min(_batch(space, seconds), max(2, cases // 8)), "optimizer": "adamw",
        "mirror": space["augment"]["flips"],
    }  # fmt: skip
    reasons = {
        "network.pictures": "the task's images, their channels joined",
        "network.rows": "the task's numbers and categories, joined to the picture's vector, with the size of each",
        "network.inputs": "the task's, in its order",
        "network.outputs": "the task's targets, a head each",
        "network.dropout": f"before the head; the fewer the cases ({cases}), the more",
        "network.batch": "small batches take more steps in the same time, which short budgets want",
        "network.optimizer": "AdamW (Loshchilov and Hutter, ICLR 2019)",
        "network.mirror": "answers are the mean over the picture and its mirror images, of those met in training",
        "network.class_weights": (
            "a case counts by the inverse root of how frequent its class is, so that the rare class is learnt too; the "
            "answer takes the weights out again, as a probability must keep to the frequencies"
            if settings["class_weights"] else "none: no class is rare"
        ),
    }  # fmt: skip
    return settings, reasons


def class_weights(counts: list[int]) -> list[float]:
    """The inverse root of each class's frequency, of mean 1 over the cases; [] where the classes are about even."""
    known = np.array(counts, float)
    if min(known[known > 0], default=0) > 0.8 * known.max(initial=0):
        return []
    share = np.maximum(known, 1) / known.sum()
    weights = share**-0.5
    weights /= (weights * share).sum()
    return [round(float(own), 4) for own in np.clip(weights, 1 / _HEAVIEST, _HEAVIEST)]


def _batch(space: Settings, seconds: float) -> int:
    elements = int(np.prod(space["fit"]))
    most = 1 << (15 if seconds < 1200 else 17)  # elements a step
    return int(min(16 if seconds < 1200 else 32, max(4, most // elements)))


def _size(row: Settings, name: str) -> int:
    """Length of the prepared array of a number or category."""
    if name in row["numbers"]:
        return 2 * len(row["numbers"][name]["columns"])
    return len(row["categories"][name]["labels"]) + 1


def shapes_of(frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:
    """(1, C_i, *fit) of each picture and (1, n_i) of each row, in the order of the inputs."""
    space, rows = frames["space"], settings["rows"]
    pictures = {name: (1, own["channels"], *space["fit"]) for name, own in space["images"].items()}
    return [(1, rows[name]) if name in rows else pictures[name] for name in settings["inputs"]]


def with_mirror(frames: Mapping[str, Settings], settings: Settings) -> Settings:
    """The settings by which `infer_whole` averages over the flips that training drew."""
    return {**settings, "mirror": frames["space"]["augment"]["flips"]}


def infer_whole(run: Runner, prepared: Prepared, frames: Mapping[str, Settings], settings: Settings) -> Outputs:
    """Each target's output, the mean over the picture and its mirror images along the axes in `mirror`.

    A picture that the case lacks is zeros, the mean.
    """
    given = [
        prepared.arrays[name][None] if name in prepared.arrays else np.zeros(shape, np.float32)
        for name, shape in zip(settings["inputs"], shapes_of(frames, settings), strict=True)
    ]
    flips = [axes for count in range(len(settings["mirror"]) + 1) for axes in combinations(settings["mirror"], count)]
    totals: list[Array] = []
    for axes in flips:
        mirrored = tuple(axis + 2 for axis in axes)
        outputs = run(*(
            array if name in settings["rows"] else np.ascontiguousarray(np.flip(array, mirrored))
            for name, array in zip(settings["inputs"], given, strict=True)
        ))  # fmt: skip
        totals = [np.asarray(own[0]) + (totals[at] if totals else 0) for at, own in enumerate(outputs)]
    return {name: total / len(flips) for name, total in zip(settings["outputs"], totals, strict=True)}


class Whole:
    """A plug whose network takes each picture whole, with or without rows beside it."""

    def fits(self, task: Task) -> str:
        return unfit(task)

    def infer(self, run: Runner, prepared: Prepared, frames: Mapping[str, Settings], settings: Settings) -> Outputs:
        return infer_whole(run, prepared, frames, settings)

    def mirrored(self, frames: Mapping[str, Settings], settings: Settings) -> Settings:
        return with_mirror(frames, settings)

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:
        return shapes_of(frames, settings)


def norm_for(batch: int) -> tuple[str, str]:
    """The normalisation of a network of whole pictures, and why."""
    if batch >= LEAST_FOR_BATCH_NORM:
        return "batch", (
            "batch norm: from scratch and in minutes it learns far more than group norm; ranks of torchrun each see "
            "their own part of a batch"
        )
    return "group", f"group norm: a batch of {batch} is too small for batch norm"


def normed(norm: str, dims: int, width: int) -> nn.Module:
    """The normalisation layer of a plan: "group" (Wu and He, ECCV 2018) or "batch" (Ioffe and Szegedy, ICML 2015)."""
    if norm == "group":
        groups = next((own for own in (32, 16, 8, 4, 2) if width % own == 0 and width >= 2 * own), 1)
        return nn.GroupNorm(groups, width)
    return nn.BatchNorm2d(width) if dims == 2 else nn.BatchNorm3d(width)


def conv(dims: int, wide_in: int, wide: int, kernel: int, stride: list[int] | None = None, *, bias: bool) -> nn.Module:
    """A padded convolution that keeps the size, or divides it by the stride of each axis."""
    own: Any = nn.Conv2d if dims == 2 else nn.Conv3d
    made: nn.Module = own(wide_in, wide, kernel, tuple(stride or [1] * dims), kernel // 2, bias=bias)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
    return made


def halvings(fit: list[int], spacing: list[float] | None, count: int, smallest: int) -> list[list[int]]:
    """Strides of `count` stages: an axis is halved while it stays at `smallest`, and a thick one after the others."""
    size, step = [float(own) for own in fit], list(spacing or [1.0] * len(fit))
    found = []
    for _ in range(count):
        halve = [own / 2 >= smallest and thick <= 2 * min(step) for own, thick in zip(size, step, strict=True)]
        found.append([2 if own else 1 for own in halve])
        size = [own / stride for own, stride in zip(size, found[-1], strict=True)]
        step = [own * stride for own, stride in zip(step, found[-1], strict=True)]
    return found
