"""What the networks for series share: which tasks they fit, inputs side by side, states pooled, a step at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galenic.core import registry
from galenic.core.contract import Budget, Outputs, Prepared, Runner, Settings
from galenic.core.network import Features, Network, heads
from galenic.core.task import Task

Cells = tuple[Tensor, ...]

AT_ONCE = 256  # cases that are inferred together


def unfit(task: Task, *, waveform: bool | None) -> str:
    """ "" if the inputs are series (of that sort, where one is asked for) and plain columns, else why not."""
    frames = {field.name: registry.kind(field.kind).frame for field in task.inputs}
    other = [name for name, frame in frames.items() if frame not in ("clock", "row")]
    if other:
        return f"it reads series and plain columns, which {', '.join(other)} is not"
    series = [field for field in task.inputs if frames[field.name] == "clock"]
    if not series:
        return "no input is a series"
    sorts = {bool(field.options.get("waveform")) for field in series}
    if len(sorts) > 1:
        return "it reads either histories or waveforms, and the task has both"
    if waveform is not None and sorts != {waveform}:
        return f"it reads {'waveforms' if waveform else 'histories'}, which {series[0].name} is not"
    return registry.dense_targets(task)


def inputs_of(task: Task, frames: Mapping[str, Settings]) -> Settings:
    """What every plan here holds: names of inputs and outputs, and the shape of each input's prepared array."""
    names = [field.name for field in task.inputs]
    kinds = {field.name: registry.kind(field.kind).frame for field in task.inputs}
    shapes = {name: registry.frame(kinds[name]).shape(name, frames[kinds[name]]) for name in names}  # type: ignore[attr-defined]
    return {
        "inputs": names,
        "series": [name for name in names if kinds[name] == "clock"],
        "shapes": {name: list(shapes[name]) for name in names},
        "outputs": [field.name for field in task.targets],
    }


def rows_width(settings: Settings) -> int:
    """Width of the plain columns of a case, side by side."""
    return sum(settings["shapes"][name][0] for name in settings["inputs"] if name not in settings["series"])


class Whole:
    """A plug whose network takes the case whole."""

    def infer(
        self,
        run: Runner,
        prepared: Prepared,
        frames: Mapping[str, Settings],  # noqa: ARG002 - names and order are in the settings
        settings: Settings,
    ) -> Outputs:
        """The whole case at once: the raw output of each target."""
        outputs = run(*(prepared.arrays[name][None] for name in settings["inputs"]))
        return {name: output[0] for name, output in zip(settings["outputs"], outputs, strict=True)}

    def infer_many(
        self,
        run: Runner,
        cases: Sequence[Prepared],
        frames: Mapping[str, Settings],  # noqa: ARG002 - names and order are in the settings
        settings: Settings,
    ) -> list[Outputs]:
        """The same of many cases, some hundred at a time."""
        done: list[Outputs] = []
        for at in range(0, len(cases), AT_ONCE):
            part = cases[at : at + AT_ONCE]
            outputs = run(*(np.stack([one.arrays[name] for one in part]) for name in settings["inputs"]))
            done += [dict(zip(settings["outputs"], own, strict=True)) for own in zip(*outputs, strict=True)]
        return done

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:  # noqa: ARG002
        """(1, *shape) of each input field."""
        return [(1, *settings["shapes"][name]) for name in settings["inputs"]]


class SideBySide(Network):
    """A trunk a series; its pooled features and the plain columns are the vector that the heads answer from."""

    drop_output: nn.Module
    heads: nn.ModuleList

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames)
        self.series = tuple(settings["series"])
        self.rows = tuple(name for name in self.inputs if name not in self.series)

    def answer_from(self, width: int, settings: Settings) -> None:
        """The last layers, on `width` features of the series; made last, after the trunks."""
        self.drop_output = nn.Dropout(settings["dropout"])
        self.heads = heads(self.task, self.frames, width + rows_width(settings))

    def beside_rows(
        self, pooled: Sequence[Tensor], tokens: Sequence[Tensor], embedded: Mapping[str, Tensor]
    ) -> Features:
        """The series' pooled features, then the plain columns."""
        vector = torch.cat([*pooled, *(embedded[name] for name in self.rows)], dim=1)
        return Features(vector, torch.cat(list(tokens), dim=1))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Arrays of the inputs, in their order, to the output of each target."""
        vector = self.drop_output(self.encode(dict(zip(self.inputs, arrays, strict=True))).vector)
        return tuple(head(vector) for head in self.heads)


class Recurrent(Network, ABC):
    """Histories (batch, steps, n_i) and plain columns (batch, m_j) to one output a target.

    The plain columns stand beside the history at every step. What is answered from is the last state, and the mean and
    the greatest of all states so far: a running mean and maximum, so that a step needs no state but theirs.
    """

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames)
        self.series = tuple(settings["series"])
        self.rows = tuple(name for name in self.inputs if name not in self.series)
        self.hidden = int(settings["hidden"])
        self.width = sum(settings["shapes"][name][1] for name in self.series) + rows_width(settings)
        self.drop_input = nn.Dropout(settings["dropout_input"])
        self.drop_output = nn.Dropout(settings["dropout"])
        self.norm = nn.LayerNorm(3 * self.hidden)
        self.heads = heads(task, frames, 3 * self.hidden)

    @abstractmethod
    def unroll(self, x: Tensor) -> Tensor:
        """States (batch, steps, hidden) of inputs (batch, steps, width)."""

    @abstractmethod
    def begin(self, batch: int) -> Cells:
        """What the cells hold before the first step, each (..., batch, n)."""

    @abstractmethod
    def advance(self, x: Tensor, cells: Cells) -> tuple[Tensor, Cells]:
        """One step of inputs (batch, width): the state (batch, hidden), and the cells after it."""

    def joined(self, embedded: Mapping[str, Tensor]) -> Tensor:
        """(batch, steps, width): all histories side by side, the plain columns beside them at every step."""
        x = torch.cat([embedded[name] for name in self.series], dim=2)
        if not self.rows:
            return x
        rows = torch.cat([embedded[name] for name in self.rows], dim=1)
        return torch.cat([x, rows[:, None].expand(-1, x.shape[1], -1)], dim=2)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """vector (batch, 3 * hidden), tokens (batch, steps, hidden)."""
        states = self.unroll(self.drop_input(self.joined(embedded)))
        pooled = torch.cat([states[:, -1], states.mean(dim=1), states.amax(dim=1)], dim=1)
        return Features(self.norm(pooled), states)

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Arrays of the inputs, in their order, to the output of each target."""
        return self.answers(self.encode(dict(zip(self.inputs, arrays, strict=True))).vector)

    def answers(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the targets from pooled, normalised states (batch, 3 * hidden)."""
        dropped = self.drop_output(vector)
        return tuple(head(dropped) for head in self.heads)


def plan_recurrent(
    task: Task,
    frames: Mapping[str, Settings],
    budget: Budget,  # noqa: ARG001 - the engine counts the steps
) -> tuple[Settings, dict[str, str]]:
    """Sizes by the number of training cases."""
    cases = frames["clock"]["cases"]
    settings: Settings = inputs_of(task, frames) | {
        "hidden": 32 if cases < 500 else 64 if cases < 20_000 else 128,
        "dropout_input": 0.1,
        "dropout": 0.5 if cases < 20_000 else 0.2,
        "batch": batch_for(cases, 64),
        "optimizer": "adamw",
        "learning_rate": 3e-3 if cases < 500 else 2e-3,
        "weight_decay": 0.1,
    }
    return settings, {
        "hidden": f"64 units; 32 under 500 training cases, 128 from 20,000 on; here {cases}",
        "dropout": "half of what is answered from, a fifth from 20,000 cases on; a tenth of the inputs at every step",
        **reasons_for(cases),
    }


def batch_for(cases: int, most: int) -> int:
    """An eighth of the cases as a power of two, at least 4."""
    return max(1, min(most, cases, 1 << max(2, (max(cases, 1) // 8).bit_length() - 1)))


def reasons_for(cases: int) -> dict[str, str]:
    """The reasons of what all networks here train with."""
    return {
        "batch": f"an eighth of the {cases} cases or less: many small steps where cases are few",
        "optimizer": "AdamW (Loshchilov and Hutter 2019)",
        "learning_rate": "amid what the papers of these networks use; higher for few cases, as there are few steps",
        "weight_decay": "0.1: series of few cases overfit soon",
    }


def same_inputs(network: Any, arrays: tuple[Tensor, ...]) -> Tensor:
    """What a recurrent network sees at each step, (batch, steps, width), of its input arrays."""
    joined: Tensor = network.joined(dict(zip(network.inputs, (array.float() for array in arrays), strict=True)))
    return joined
