"""A recurrent network fed row by row, as at the bedside: a new step in, the state in, the state and an answer out.

Equal to the whole-sequence run of the same steps up to rounding; batched over as many patients as there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from galenic.core.errors import TaskError
from galenic.core.network import Network
from galenic.series.recurrent import Cells, Recurrent, same_inputs


@dataclass(frozen=True)
class State:
    """What a network remembers of each patient: its cells, sum and greatest of its states, and the steps so far.

    total, greatest: (batch, hidden).
    """

    cells: Cells
    total: Tensor
    greatest: Tensor
    steps: int = 0


class Stepper:
    """One new row in, state in; state and raw outputs out. TaskError for a network that is not recurrent."""

    def __init__(self, network: Network) -> None:
        if not isinstance(network, Recurrent):
            raise TaskError(f"{type(network).__name__} step by step", allowed="lstm, gru, gru_d")
        self.network = network.eval()

    def rows(self, *arrays: Tensor) -> Tensor:
        """(batch, steps, inputs): what the network sees at each step, of its input arrays in their order."""
        return same_inputs(self.network, arrays)

    def start(self, batch: int) -> State:
        """The state of `batch` patients before their first step."""
        cells = self.network.begin(batch)
        zero = cells[0].new_zeros(batch, self.network.hidden)
        return State(cells, zero, torch.full_like(zero, -torch.inf))

    @torch.inference_mode()
    def step(self, state: State, row: Tensor) -> tuple[State, dict[str, Tensor]]:
        """The state after the row (batch, inputs), and the output of each target, as after a run of so many steps."""
        hidden, cells = self.network.advance(row, state.cells)
        steps = state.steps + 1
        total, greatest = state.total + hidden, torch.maximum(state.greatest, hidden)
        pooled = torch.cat([hidden, total / steps, greatest], dim=1)  # (batch, 3 * hidden)
        outputs = self.network.answers(self.network.norm(pooled))
        return State(cells, total, greatest, steps), dict(zip(self.network.outputs, outputs, strict=True))
