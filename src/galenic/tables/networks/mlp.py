"""A residual multilayer perceptron for rows of numbers and categories.

After the ResNet of Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021, with layer
normalisation, so that a batch of n is n times a batch of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from galenic.core import registry
from galenic.core.contract import Budget, Outputs, Prepared, Runner, Settings
from galenic.core.network import Features, Network, heads
from galenic.core.task import Task


class Block(nn.Module):
    """x + MLP(norm(x)), shape (batch, width) in and out."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.inner(hidden)
        return out


class Perceptron(Network):
    """Prepared rows (batch, n_i) of each input field to one output a target."""

    def __init__(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> None:
        super().__init__(task, frames)
        width = settings["width"]
        self.first = nn.Linear(sum(settings["sizes"]), width)
        self.blocks = nn.Sequential(*(Block(width, settings["dropout"]) for _ in range(settings["depth"])))
        self.norm = nn.LayerNorm(width)
        self.heads = heads(task, frames, width)

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:
        """Features (batch, width) of all input fields side by side."""
        row = torch.cat([embedded[name] for name in self.inputs], dim=1)  # (batch, sum of n_i)
        return Features(self.norm(self.blocks(self.first(row))))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Arrays of the inputs, in their order, to an output of each target, such as logits (batch, labels)."""
        vector = self.encode(dict(zip(self.inputs, arrays, strict=True))).vector
        return tuple(head(vector) for head in self.heads)


class Mlp:
    """The network `mlp`: rows of numbers and categories to whatever is answered from one vector a case."""

    name = "mlp"
    title = "residual multilayer perceptron"
    default = True

    def fits(self, task: Task) -> str:
        """ "" if all inputs are columns of a row and every target is answered from one vector, else why not."""
        other = [field.name for field in task.inputs if registry.kind(field.kind).frame != "row"]
        if other:
            return f"it reads plain columns, which {', '.join(other)} is not"
        return registry.dense_targets(task)

    def plan(
        self,
        task: Task,
        frames: Mapping[str, Settings],
        budget: Budget,  # noqa: ARG002 - the engine counts the steps
    ) -> tuple[Settings, dict[str, str]]:
        """Sizes by the number of training cases with a truth; the same settings whatever the budget."""
        row = frames["row"]
        cases = max(_known(row, field.name) for field in task.targets)
        inputs = [field.name for field in task.inputs]
        settings: Settings = {
            "inputs": inputs,
            "sizes": [_size(row, name) for name in inputs],
            "outputs": [field.name for field in task.targets],
            "width": 2 ** min(max(round(math.log2(max(cases, 1)) / 2) + 2, 5), 8),
            "depth": 2 if cases < 10_000 else 3,
            "dropout": 0.5 if cases < 1_000 else 0.2 if cases < 10_000 else 0.1,
            "batch": 2 ** min(max(int(math.log2(max(cases, 8) / 8)), 3), 9) if cases >= 8 else max(cases, 1),
            "optimizer": "adamw",
            "learning_rate": 3e-4 if cases < 1_000 else 1e-3,
            "weight_decay": 1.0 if cases < 1_000 else 0.1 if cases < 10_000 else 0.01,
        }
        return settings, {
            "inputs": "the task's, in its order",
            "sizes": "what the row gives of each input: a number and whether it is there, or a place a label",
            "outputs": "the task's targets",
            "width": f"rises with the root of the {cases} training cases, from 32 to 256",
            "depth": "two residual blocks; three from 10,000 cases on",
            "dropout": "the fewer the cases, the more: 0.5 under 1,000, 0.2 under 10,000, else 0.1",
            "batch": f"an eighth of the {cases} cases or less, 8 to 512: many small steps where cases are few",
            "optimizer": "AdamW (Loshchilov and Hutter 2019), as in Gorishniy et al. 2021",
            "learning_rate": "0.001, amid the range searched by Gorishniy et al. 2021; 0.0003 under 1,000 cases",
            "weight_decay": "the fewer the cases, the more: 1 under 1,000, 0.1 under 10,000, else 0.01",
        }

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network:
        return Perceptron(task, frames, settings)

    def infer(
        self,
        run: Runner,
        prepared: Prepared,
        frames: Mapping[str, Settings],  # noqa: ARG002 - sizes and order are in the settings
        settings: Settings,
    ) -> Outputs:
        """The whole row at once: logits (labels,), or a z-score (1,), of each target."""
        outputs = run(*(prepared.arrays[name][None] for name in settings["inputs"]))
        return {name: output[0] for name, output in zip(settings["outputs"], outputs, strict=True)}

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:  # noqa: ARG002
        """(1, n_i) of each input field."""
        return [(1, size) for size in settings["sizes"]]


def _known(row: Settings, name: str) -> int:
    """How many training cases have a truth of a target; all of them where another frame prepares it."""
    if name in row["categories"]:
        return sum(row["categories"][name]["counts"])
    return int(row["numbers"][name]["counts"][0] if name in row["numbers"] else row["cases"])


def _size(row: Settings, name: str) -> int:
    """Length of the prepared array of an input field."""
    if name in row["numbers"]:
        return 2 * len(row["numbers"][name]["columns"])
    return len(row["categories"][name]["labels"]) + 1


MLP = Mlp()
