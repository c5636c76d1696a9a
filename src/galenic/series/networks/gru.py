"""Gated recurrent units over histories: Cho et al., EMNLP 2014, as torch computes them.

r_t, z_t = sigma(W x_t + U h_{t-1} + b)           n_t = tanh(W x_t + b + r_t * (U h_{t-1} + b'))
h_t = (1 - z_t) * n_t + z_t * h_{t-1}
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from galenic.core.contract import Budget, Settings
from galenic.core.network import Network
from galenic.core.task import Task
from galenic.series.live import Bedside
from galenic.series.recurrent import Cells, Recurrent, Whole, plan_recurrent, unfit
from galenic.series.unrolled import unroll_gru


class GruNetwork(Recurrent):
    """torch's kernel of one layer; x_t holds values, what was measured, and the time since."""

    cell: nn.GRU

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames, settings)
        self.cell = nn.GRU(self.width, self.hidden, batch_first=True)

    def unroll(self, x: Tensor) -> Tensor:
        """While training on the CPU by our own passes, see `series.unrolled`; else by torch's kernel."""
        if self.training and torch.is_grad_enabled() and x.device.type == "cpu":
            return unroll_gru(self.cell, x)
        states: Tensor = self.cell(x)[0]
        return states

    def begin(self, batch: int) -> Cells:
        return (self.cell.get_parameter("weight_hh_l0").new_zeros(1, batch, self.hidden),)

    def advance(self, x: Tensor, cells: Cells) -> tuple[Tensor, Cells]:
        states, h = self.cell(x[:, None], cells[0])
        return states[:, 0], (h,)


class Gru(Bedside, Whole):
    """The network `gru`: histories, with plain columns beside them, to categories."""

    name = "gru"
    title = "gated recurrent units"
    default = True

    def fits(self, task: Task) -> str:
        """ "" if the inputs are histories and plain columns and every target is answered from one vector."""
        return unfit(task, waveform=False)

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        return plan_recurrent(task, frames, budget)

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return GruNetwork(task, frames, settings)


GRU = Gru()
