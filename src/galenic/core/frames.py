"""The frames of a task together: each prepares its own fields, and a batch holds them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from galenic.core import registry
from galenic.core.contract import Batch, Budget, Collating, Field, Frame, Prepared, Settings, Summary, Values
from galenic.core.task import Task


class Frames:
    """What a task's frames do side by side, keyed by frame name."""

    def __init__(self, task: Task) -> None:
        self.fields: dict[str, list[Field]] = {}
        for field in task.fields:
            self.fields.setdefault(registry.kind(field.kind).frame, []).append(field)
        self.frames: dict[str, Frame] = {name: registry.frame(name) for name in self.fields}

    def _own(self, values: Values, name: str) -> dict[str, Any]:
        return {field.name: values[field.name] for field in self.fields[name] if field.name in values}

    def summarise(self, values: Values) -> dict[str, Summary]:
        """One case's summary, a frame each."""
        return {
            name: frame.summarise(self._own(values, name), self.fields[name]) for name, frame in self.frames.items()
        }

    def merge(self, one: Mapping[str, Summary], other: Mapping[str, Summary]) -> dict[str, Summary]:
        return {name: frame.merge(one[name], other[name]) for name, frame in self.frames.items()}

    def settle(self, summary: Mapping[str, Summary], budget: Budget) -> tuple[dict[str, Settings], dict[str, str]]:
        """Settings a frame, and all reasons under `frame.decision`; a warning keeps its name, by which it is shown."""
        settings: dict[str, Settings] = {}
        reasons: dict[str, str] = {}
        for name, frame in self.frames.items():
            settings[name], own = frame.settle(summary[name], self.fields[name], budget)
            reasons |= {key if key.startswith("warning") else f"{name}.{key}": text for key, text in own.items()}
        return settings, reasons

    def prepare(self, values: Values, settings: Mapping[str, Settings]) -> Prepared:
        arrays: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        for name, frame in self.frames.items():
            own = frame.prepare(self._own(values, name), self.fields[name], settings[name])
            arrays |= own.arrays
            facts |= own.facts
        return Prepared(arrays, facts)

    def sample(
        self, rng: np.random.Generator, prepared: Prepared, settings: Mapping[str, Settings]
    ) -> dict[str, torch.Tensor]:
        """One varied sample: every frame draws, then applies."""
        done: dict[str, torch.Tensor] = {}
        for name, frame in self.frames.items():
            done |= frame.apply(prepared, frame.draw(rng, prepared, settings[name]), settings[name])
        return done

    def collate(self, samples: Sequence[Mapping[str, torch.Tensor]]) -> Batch:
        """One batch of all frames' samples: as a frame itself collates its fields where it does, else stacked."""
        rest = [dict(sample) for sample in samples]
        values: dict[str, torch.Tensor] = {}
        present: dict[str, torch.Tensor] = {}
        for name, frame in self.frames.items():
            if isinstance(frame, Collating):
                own = frame.collate([self._taken(sample, name) for sample in rest])
                values |= own.values
                present |= own.present
        stacked = collate(rest)
        return Batch({**values, **stacked.values}, len(samples), {**present, **stacked.present})

    def _taken(self, sample: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
        """What in a sample belongs to the frame's fields, taken out of it."""
        fields = [field.name for field in self.fields[name]]
        own = [key for key in sample if any(key == field or key.startswith(f"{field}.") for field in fields)]
        return {key: sample.pop(key) for key in own}

    def whole(self, prepared: Prepared, settings: Mapping[str, Settings]) -> dict[str, torch.Tensor]:
        """The case without chance."""
        done: dict[str, torch.Tensor] = {}
        for name, frame in self.frames.items():
            done |= frame.whole(prepared, settings[name])
        return done


class Stack:
    """Cases of one shape as ready tensors: a batch is taken by index, then varied at once."""

    def __init__(self, frames: Frames, prepared: Mapping[int, Prepared], settings: Mapping[str, Settings]) -> None:
        self.frames, self.prepared, self.settings = frames, prepared, settings
        self.places = {row: at for at, row in enumerate(prepared)}
        self.whole = frames.collate([frames.whole(one, settings) for one in prepared.values()])
        self.varied = [name for name, frame in frames.frames.items() if not frame.steady(settings[name])]  # type: ignore[attr-defined]

    @staticmethod
    def fits(frames: Frames) -> bool:
        """True where every frame can vary a batch of whole cases."""
        return all(hasattr(frame, "vary") for frame in frames.frames.values())

    def batch(self, rows: Sequence[int], seeds: Sequence[Sequence[int]]) -> Batch:
        """The cases of `rows`, each varied by its own seed: the same as `Frames.sample` of each, then `collate`."""
        at = torch.tensor([self.places[row] for row in rows])
        values = {name: tensor[at] for name, tensor in self.whole.values.items()}
        present = {name: tensor[at] for name, tensor in self.whole.present.items()}
        if self.varied:
            draws = [self._draws(row, seed) for row, seed in zip(rows, seeds, strict=True)]
            for name in self.varied:
                mine = {one.name: values[one.name] for one in self.frames.fields[name] if one.name in values}
                own = [drawn[name] for drawn in draws]
                values |= self.frames.frames[name].vary(mine, own, self.settings[name])  # type: ignore[attr-defined]
        return Batch(values, len(rows), present)

    def _draws(self, row: int, seed: Sequence[int]) -> dict[str, Any]:
        """What each frame draws for a case, in the order in which `Frames.sample` lets them draw."""
        rng, prepared = np.random.default_rng(seed), self.prepared[row]
        return {name: frame.draw(rng, prepared, self.settings[name]) for name, frame in self.frames.frames.items()}


def collate(samples: Sequence[Mapping[str, torch.Tensor]]) -> Batch:
    """Stack samples; a field that some samples lack is zero there, and `present` says so."""
    names = sorted({name for sample in samples for name in sample})
    values, present = {}, {}
    for name in names:
        like = next(sample[name] for sample in samples if name in sample)
        values[name] = torch.stack([sample[name] if name in sample else torch.zeros_like(like) for sample in samples])
        present[name] = torch.tensor([name in sample for sample in samples])
    return Batch(values, len(samples), present)
