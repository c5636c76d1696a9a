"""The residual network for time series: Wang, Yan and Oates, Time Series Classification from Scratch with Deep Neural
Networks: A Strong Baseline, IJCNN 2017.

Three residual blocks of three convolutions of 8, 5 and 3 samples, 64, 128 and 128 channels, batch normalisation, ReLU,
the mean over time, a linear head. Long waveforms are halved in each block and get further blocks of 128 channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from galenic.core.contract import Budget, Settings
from galenic.core.network import Features, Network
from galenic.core.task import Task
from galenic.series.recurrent import SideBySide, Whole, batch_for, inputs_of, reasons_for, unfit

KERNELS = (8, 5, 3)
WIDTHS = (64, 128, 128)
SHORT = 512  # samples that no block halves
MOST_BLOCKS = 6


class Block(nn.Module):
    """Three convolutions and a short cut, (batch, channels, samples) in, samples / stride out."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        sizes = [channels_in, channels, channels]
        self.convs = nn.ModuleList(
            nn.Conv1d(size, channels, kernel, stride=stride if not at else 1, bias=False)
            for at, (size, kernel) in enumerate(zip(sizes, KERNELS, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in KERNELS)
        # no convolution where nothing changes, as in the paper's third block, but always a norm
        self.short = nn.Sequential(
            nn.Conv1d(channels_in, channels, 1, stride=stride, bias=False)
            if channels_in != channels or stride != 1
            else nn.Identity(),
            nn.BatchNorm1d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for at, (conv, norm, kernel) in enumerate(zip(self.convs, self.norms, KERNELS, strict=True)):
            inner = norm(conv(functional.pad(inner, ((kernel - 1) // 2, kernel // 2))))
            if at < len(KERNELS) - 1:
                inner = functional.relu(inner)
        out: Tensor = functional.relu(inner + self.short(x))
        return out


class ResNet1d(SideBySide):
    """Waveforms (batch, samples, channels_i) and plain columns (batch, m_j) to one output a target.

    The mean over time takes in real samples only, where the last column of a waveform tells them.
    """

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames, settings)
        self.padded = {name: bool(frames["clock"]["series"][name]["padded"]) for name in self.series}
        self.strides = {name: math.prod(settings["strides"][name]) for name in self.series}
        widths = settings["widths"]
        self.trunks = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(before, after, stride)
                    for before, after, stride in zip(
                        [settings["shapes"][name][1], *widths[:-1]], widths, settings["strides"][name], strict=True
                    )
                )
            )
            for name in self.series
        )
        self.answer_from(widths[-1] * len(self.series), settings)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """vector (batch, width a waveform + m_j): means over time, then the plain columns."""
        parts, tokens = [], []
        for name, trunk in zip(self.series, self.trunks, strict=True):
            found = trunk(embedded[name].transpose(1, 2))  # (batch, width, samples / strides)
            tokens.append(found.transpose(1, 2))
            if self.padded[name]:
                real = embedded[name][:, :: self.strides[name], -1]  # (batch, samples / strides)
                parts.append((found * real[:, None]).sum(dim=2) / real.sum(dim=1, keepdim=True).clamp_min(1e-6))
            else:
                parts.append(found.mean(dim=2))
        return self.beside_rows(parts, tokens, embedded)


class ResNet1dPlug(Whole):
    """The network `resnet1d`: waveforms, with plain columns beside them, to categories."""

    name = "resnet1d"
    title = "residual network for waveforms"
    default = True

    def fits(self, task: Task) -> str:
        """ "" if the inputs are waveforms and plain columns and every target is answered from one vector."""
        return unfit(task, waveform=True)

    def plan(
        self,
        task: Task,
        frames: Mapping[str, Settings],
        budget: Budget,  # noqa: ARG002 - the engine counts the steps
    ) -> tuple[Settings, dict[str, str]]:
        """The paper's three blocks; for more than 512 samples strides of two, and a block more a doubling."""
        cases = frames["clock"]["cases"]
        own = inputs_of(task, frames)
        samples = {name: own["shapes"][name][0] for name in own["series"]}
        longest = max(samples.values())
        blocks = min(MOST_BLOCKS, 3 + max(0, math.ceil(math.log2(longest / SHORT)) - 1))
        strides = {name: [2 if own > SHORT else 1] * blocks for name, own in samples.items()}
        settings = own | {
            "widths": [*WIDTHS, *[WIDTHS[-1]] * (blocks - 3)],
            "strides": strides,
            "dropout": 0.2,
            "batch": batch_for(cases, 64 if longest <= SHORT else 32),
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 0.1,
        }
        return settings, {
            "widths": "as in Wang, Yan and Oates 2017; a block more for each doubling beyond 1,024 samples",
            "strides": f"{longest} samples: each block halves what is longer than {SHORT}",
            "dropout": "0.2 before the head",
            **reasons_for(cases),
        }

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return ResNet1d(task, frames, settings)


RESNET1D = ResNet1dPlug()
