"""Long short-term memory over histories: Hochreiter and Schmidhuber, Neural Computation 9:1735, 1997, with the forget
gate of Gers, Schmidhuber and Cummins, Neural Computation 12:2451, 2000.

    i_t, f_t, o_t = sigma(W x_t + U h_{t-1} + b)      g_t = tanh(W x_t + U h_{t-1} + b)   (own W, U, b each)
    c_t = f_t * c_{t-1} + i_t * g_t                   h_t = o_t * tanh(c_t)
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


class LstmNetwork(Recurrent):
    """torch's kernel of one layer; x_t holds values, what was measured, and the time since."""

    cell: nn.LSTM

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames, settings)
        self.cell = nn.LSTM(self.width, self.hidden, batch_first=True)
        # a forget gate that is open at first keeps what came early (Jozefowicz et al., ICML 2015)
        with torch.no_grad():
            for name in ("bias_ih_l0", "bias_hh_l0"):
                self.cell.get_parameter(name)[self.hidden : 2 * self.hidden].fill_(0.5)

    def unroll(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x)[0]
        return states

    def begin(self, batch: int) -> Cells:
        like = self.cell.get_parameter("weight_hh_l0")
        return like.new_zeros(1, batch, self.hidden), like.new_zeros(1, batch, self.hidden)

    def advance(self, x: Tensor, cells: Cells) -> tuple[Tensor, Cells]:
        states, (h, c) = self.cell(x[:, None], (cells[0], cells[1]))
        return states[:, 0], (h, c)


class Lstm(Bedside, Whole):
    """The network `lstm`: histories, with plain columns beside them, to categories."""

    name = "lstm"
    title = "long short-term memory"
    default = False

    def fits(self, task: Task) -> str:
        """ "" if the inputs are histories and plain columns and every target is answered from one vector."""
        return unfit(task, waveform=False)

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        return plan_recurrent(task, frames, budget)

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return LstmNetwork(task, frames, settings)


LSTM = Lstm()
