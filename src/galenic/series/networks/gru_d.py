"""GRU-D: gated recurrent units whose inputs and state decay with the time since a variable was measured.

Che, Purushotham, Cho, Sontag and Liu, Recurrent Neural Networks for Multivariate Time Series with Missing Values,
Scientific Reports 8:6085, 2018; equations 3 to 10, with the reset gate where torch's kernel has it:

    gamma_t = exp(-max(0, W d_t + b))                 d_t: time since each variable was measured before this step
    x_t <- m_t * x_t + (1 - m_t) * (gamma_x * x_last + (1 - gamma_x) * mean)      (W of gamma_x is diagonal)
    h_{t-1} <- gamma_h * h_{t-1}                      then a GRU on x_t and m_t
The mean is 0, as values are z-scores.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from galenic.core.contract import Budget, Settings
from galenic.core.network import Network
from galenic.core.task import Task
from galenic.series.live import Bedside
from galenic.series.recurrent import Cells, Recurrent, Whole, plan_recurrent, unfit


class GruDNetwork(Recurrent):
    """The cell by itself, a step after the other: torch has no kernel whose state decays."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames, settings)
        self.sizes = [settings["shapes"][name][1] for name in self.series]
        self.step_length = 1.0 / settings["shapes"][self.series[0]][0]
        self.variables = sum(self.sizes) // 3
        self.plain = self.width - sum(self.sizes)
        self.decay_input = nn.Parameter(torch.full((self.variables,), 0.5))
        self.decay_input_bias = nn.Parameter(torch.zeros(self.variables))
        self.decay_state = nn.Linear(self.variables, self.hidden)
        self.inputs_gates = nn.Linear(2 * self.variables + self.plain, 3 * self.hidden)
        self.state_gates = nn.Linear(self.hidden, 3 * self.hidden)
        bound = self.hidden**-0.5
        for weight in (self.inputs_gates, self.state_gates):
            for own in weight.parameters():
                nn.init.uniform_(own, -bound, bound)
        nn.init.uniform_(self.decay_state.weight, 0, bound)
        nn.init.zeros_(self.decay_state.bias)

    def unroll(self, x: Tensor) -> Tensor:
        value, measured, since, plain = self._parts(x)
        first = torch.zeros_like(since[:, :1])
        before = torch.cat([first, since[:, :-1] + self.step_length], dim=1)  # the paper's delta, in grids
        gates, keep = self._prepared(value, measured, before, plain)
        h = self.begin(len(x))[0].to(gates.dtype)
        states = []
        for gate, kept in zip(gates.unbind(1), keep.unbind(1), strict=True):
            h = self._cell(gate, kept * h)
            states.append(h)
        return torch.stack(states, dim=1)  # (batch, steps, hidden)

    def begin(self, batch: int) -> Cells:
        like = self.decay_state.weight
        return like.new_zeros(batch, self.hidden), like.new_full((batch, self.variables), -self.step_length)

    def advance(self, x: Tensor, cells: Cells) -> tuple[Tensor, Cells]:
        value, measured, since, plain = self._parts(x)
        gates, keep = self._prepared(value, measured, cells[1] + self.step_length, plain)
        h = self._cell(gates, keep * cells[0])
        return h, (h, since)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values carried forward, measured, time since, each (..., variables), and the plain columns."""
        *series, plain = torch.split(x, [*self.sizes, self.plain], dim=-1)
        thirds = [own.chunk(3, dim=-1) for own in series]
        value, measured, since = (torch.cat([own[at] for own in thirds], dim=-1) for at in range(3))
        return value, measured, since, plain

    def _prepared(self, value: Tensor, measured: Tensor, before: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs' share of the gates (..., 3 * hidden), and what is kept of the state (..., hidden)."""
        fade = torch.exp(-functional.relu(self.decay_input * before + self.decay_input_bias))
        x = measured * value + (1 - measured) * fade * value
        gates: Tensor = self.inputs_gates(torch.cat([x, measured, plain], dim=-1))
        return gates, torch.exp(-functional.relu(self.decay_state(before)))

    def _cell(self, gates: Tensor, h: Tensor) -> Tensor:
        """A step of a GRU from the inputs' share of its gates."""
        own = self.state_gates(h)
        reset, update = torch.sigmoid((gates + own)[:, : 2 * self.hidden]).chunk(2, dim=1)
        new = torch.tanh(gates[:, 2 * self.hidden :] + reset * own[:, 2 * self.hidden :])
        return (1 - update) * new + update * h


class GruD(Bedside, Whole):
    """The network `gru_d`: histories, with plain columns beside them, to categories."""

    name = "gru_d"
    title = "gated recurrent units with decay"
    default = False

    def fits(self, task: Task) -> str:
        """ "" if the inputs are histories and plain columns and every target is answered from one vector."""
        return unfit(task, waveform=False)

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        settings, reasons = plan_recurrent(task, frames, budget)
        reasons["dropout"] = "half of what is answered from; none of the inputs, as it would blur what was measured"
        return settings | {"dropout_input": 0.0}, reasons

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return GruDNetwork(task, frames, settings)


GRU_D = GruD()
