"""A temporal convolutional network: Bai, Kolter and Koltun, An Empirical Evaluation of Generic Convolutional and
Recurrent Networks for Sequence Modeling, arXiv 1803.01271, 2018.

Residual blocks of two causal convolutions whose dilation doubles from block to block, until a step sees all before it.
Instead of the paper's weight normalisation each step is normalised over its channels, which keeps causes before
effects, and a batch of n the same as n of one.
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

KERNEL = 3


class Block(nn.Module):
    """x + two causal convolutions of one dilation, (batch, channels, steps) in and out."""

    def __init__(self, channels_in: int, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.pad = (KERNEL - 1) * dilation
        self.one = nn.Conv1d(channels_in, channels, KERNEL, dilation=dilation)
        self.two = nn.Conv1d(channels, channels, KERNEL, dilation=dilation)
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.drop = nn.Dropout(dropout)
        self.short = nn.Conv1d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for conv, norm in zip((self.one, self.two), self.norms, strict=True):
            inner = conv(functional.pad(inner, (self.pad, 0)))
            inner = self.drop(functional.relu(norm(inner.transpose(1, 2)).transpose(1, 2)))
        out: Tensor = functional.relu(inner + self.short(x))
        return out


class TcnNetwork(SideBySide):
    """Series (batch, steps, n_i) and plain columns (batch, m_j) to one output a target."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames, settings)
        width = settings["width"]
        self.trunks = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(settings["shapes"][name][1] if not level else width, width, 2**level, settings["dropout"])
                    for level in range(settings["levels"])
                )
            )
            for name in self.series
        )
        self.answer_from(2 * width * len(self.series), settings)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """vector (batch, ...): of each series the last step and the mean, then the plain columns."""
        parts, tokens = [], []
        for name, trunk in zip(self.series, self.trunks, strict=True):
            states = trunk(embedded[name].transpose(1, 2))  # (batch, width, steps)
            parts += [states[:, :, -1], states.mean(dim=2)]
            tokens.append(states.transpose(1, 2))
        return self.beside_rows(parts, tokens, embedded)


class Tcn(Whole):
    """The network `tcn`: histories or waveforms, with plain columns beside them, to categories."""

    name = "tcn"
    title = "temporal convolutional network"
    default = False

    def fits(self, task: Task) -> str:
        """ "" if the inputs are series of one sort and plain columns and every target is answered from one vector."""
        return unfit(task, waveform=None)

    def plan(
        self,
        task: Task,
        frames: Mapping[str, Settings],
        budget: Budget,  # noqa: ARG002 - the engine counts the steps
    ) -> tuple[Settings, dict[str, str]]:
        """As many levels as let the last step see the first."""
        cases = frames["clock"]["cases"]
        own = inputs_of(task, frames)
        longest = max(own["shapes"][name][0] for name in own["series"])
        levels = max(1, math.ceil(math.log2((longest - 1) / (2 * (KERNEL - 1)) + 1)))
        settings = own | {
            "width": 32 if cases < 500 else 64,
            "levels": levels,
            "dropout": 0.2,
            "batch": batch_for(cases, 64),
            "optimizer": "adamw",
            "learning_rate": 2e-3,
            "weight_decay": 0.1,
        }
        return settings, {
            "width": f"64 channels; 32 under 500 training cases; here {cases}",
            "levels": f"dilations 1 to {2 ** (levels - 1)}, so that the last step sees all {longest}",
            "dropout": "0.2, within what Bai et al. 2018 used",
            **reasons_for(cases),
        }

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return TcnNetwork(task, frames, settings)


TCN = Tcn()
