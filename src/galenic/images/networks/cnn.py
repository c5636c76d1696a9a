"""A plain convolutional network for small pictures: layers of y = f(W * x + b), pooled, then a linear head.

Each stage is a few layers, of which each is a 3x3 convolution W * x + b, a normalisation and f = ReLU; max-pooling
halves the picture between stages, as in LeCun et al., Proceedings of the IEEE 86:2278, 1998, with the depth of small
kernels of Simonyan and Zisserman, ICLR 2015, and the mean over all places before the head (Lin et al., ICLR 2014).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from galenic.core.contract import Budget, Settings
from galenic.core.network import Network
from galenic.core.task import Task
from galenic.images.vectors import (
    VectorNetwork,
    Whole,
    conv,
    halvings,
    norm_for,
    normed,
    shared_plan,
)

_MOST_STAGES = 5


class Layer(nn.Module):
    """y = f(norm(W * x + b)), f = ReLU."""

    def __init__(self, dims: int, wide_in: int, wide: int, norm: str) -> None:
        super().__init__()
        self.weigh, self.norm = conv(dims, wide_in, wide, 3, bias=True), normed(norm, dims, wide)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.weigh(x)).relu()
        return y


class CnnModule(VectorNetwork):
    """Stages of `layers` layers each, of the plan's `widths`, pooled by its `strides` before each stage."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames, settings, settings["widths"][-1])
        space = frames["space"]
        dims, wide = space["dims"], sum(space["images"][name]["channels"] for name in settings["pictures"])
        pool: Any = nn.MaxPool2d if dims == 2 else nn.MaxPool3d
        made: list[nn.Module] = []
        for own, stride in zip(settings["widths"], settings["strides"], strict=True):
            if max(stride) > 1:
                made.append(pool(tuple(stride)))
            for _ in range(settings["layers"]):
                made.append(Layer(dims, wide, own, settings["norm"]))
                wide = own
        self.trunk = nn.Sequential(*made)


class Cnn(Whole):
    """The plug: whole pictures, with or without rows beside them, to what one vector can answer."""

    name = "cnn"
    default = False

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        settings, reasons = shared_plan(task, frames, budget)
        norm, why = norm_for(settings["batch"])
        space = frames["space"]
        dims, fit = space["dims"], space["fit"]
        halved = halvings(fit, space["spacing_mm"], _MOST_STAGES - 1, 4)
        strides = [[1] * dims, *(own for own in halved if max(own) > 1)]
        base = 32 if dims == 2 else 16
        settings |= {
            "widths": [min(256, base * 2**at) for at in range(len(strides))], "strides": strides, "layers": 2,
            "norm": norm, "learning_rate": 1e-3, "weight_decay": 0.05,
        }  # fmt: skip
        return settings, reasons | {
            "network.strides": f"{len(strides)} stages: the picture {fit} is halved while it stays at 4",
            "network.widths": f"{base} features first, doubled a stage, 256 at most",
            "network.layers": "two a stage: two 3x3 kernels see 5x5 with fewer weights",
            "network.norm": why,
            "network.learning_rate": "AdamW's usual rate, with warm-up and cosine, then averaged",
            "network.weight_decay": "0.05, as few cases want more than AdamW's usual 0.01",
        }  # fmt: skip

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return CnnModule(task, frames, settings)


CNN = Cnn()
