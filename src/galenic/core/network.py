"""The base class of networks: what the training loop, the runtimes and the explanations rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from galenic.core import registry
from galenic.core.contract import Batch, Settings
from galenic.core.task import Task


@dataclass(frozen=True)
class Features:
    """What an encoder made of a field.

    vector: (batch, width). tokens: (batch, n, width) or None. mask: (batch, n), True where a token is real.
    """

    vector: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """A named loss: per case, shape (batch,); or of the whole batch, shape (), which torchrun must gather."""

    value: Tensor
    scope: str = "case"


def heads(task: Task, frames: Mapping[str, Settings], width: int) -> nn.ModuleList:
    """A head a target on features (batch, width), in the order of the targets."""
    return nn.ModuleList(
        registry.target(field).head(field, width, frames[registry.kind(field.kind).frame]) for field in task.targets
    )


class Network(nn.Module):
    """Tensors of the input fields in, one tensor a target out.

    inputs, outputs: names of the fields, in the order of the arguments and results of `forward`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __init__(self, task: Task, frames: Mapping[str, Settings]) -> None:
        super().__init__()
        self.task = task
        self.frames = frames
        self.inputs = tuple(field.name for field in task.inputs)
        self.outputs = tuple(field.name for field in task.targets)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Each input as floats that gradients can reach; pictures and numbers are their own embedding."""
        return {name: batch.values[name].float() for name in self.inputs}

    def encode(self, embedded: Mapping[str, Tensor]) -> Features:  # noqa: ARG002
        """Features of embedded inputs; each architecture says how."""
        raise TypeError(f"{type(self).__name__} has no encode")

    def losses(self, batch: Batch, progress: float) -> dict[str, Loss]:  # noqa: ARG002 - progress is for schedules
        """By default each target's loss on its output, 0 for a case that lacks it. `progress` runs from 0 to 1."""
        outputs = self(*(batch.values[name] for name in self.inputs))
        done = {}
        for field, output in zip(self.task.targets, outputs, strict=True):
            kind = registry.target(field)
            loss = kind.loss(output, batch.values[field.name], field, self.frames[kind.frame])
            done[field.name] = Loss(loss * self.known(batch, field.name))
        return done

    @staticmethod
    def known(batch: Batch, name: str) -> Tensor | float:
        """(batch,) 1 where a case has the field and 0 where it lacks it; times a loss of each case."""
        return batch.present[name].float() if name in batch.present else 1.0
