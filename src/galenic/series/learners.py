"""The simple method for waveforms: many random convolutions, and a logistic regression on what they find.

ROCKET: Dempster, Petitjean and Webb, Data Mining and Knowledge Discovery 34:1454 (2020). State is state.json and
state.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional

from galenic.core import registry
from galenic.core.contract import Field, Outputs, Part, Prepared, Settings
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.files import write_aside, write_json
from galenic.core.task import Task

_JSON, _ARRAYS = "state.json", "state.safetensors"
_MOST, _LEAST = 10_000, 500  # kernels: the paper's number, and what large sets get at least
_WORK = 3e10  # multiplications that going through the training cases once may take
_LENGTHS = (7, 9, 11)
_DILATIONS = 8  # different ones, evenly spread in their logarithm, so that many kernels run in one convolution
_ROOM = 2**24  # floats of convolved signals held at once
_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the regression: inverse L2 penalties on features of spread 1
_FOLDS, _MANY = 5, 2000  # of the choice among them; cases from which on one fold is enough
_FLOOR = 1e-7

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kernels:
    """Kernels of one length, dilation and padding: weights [n, channels, length] of mean 0, bias (n,)."""

    dilation: int
    padding: int
    weights: Floats
    bias: Floats

    def features(self, signals: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """[cases, channels, samples] and [cases, samples] to [cases, 2 n]: share of samples above 0, maximum."""
        found = functional.conv1d(
            signals, torch.from_numpy(self.weights), torch.from_numpy(self.bias), padding=self.padding,
            dilation=self.dilation,
        )  # fmt: skip
        skipped = (self.weights.shape[2] - 1) * self.dilation // 2 - self.padding  # where no padding is, at either end
        there = real[:, None, skipped : skipped + found.shape[2]]
        share = ((found > 0) & there).sum(dim=2) / there.sum(dim=2).clamp_min(1)
        most = found.masked_fill(~there, -torch.inf).amax(dim=2).nan_to_num(neginf=0.0)
        return torch.cat([share, most], dim=1)


def draw(rng: np.random.Generator, count: int, samples: int, channels: int) -> list[Kernels]:
    """About `count` kernels for signals of so many samples and channels; each looks at some of the channels."""
    lengths = [length for length in _LENGTHS if length <= samples] or [1]
    sizes = [(length, dilation) for length in lengths for dilation in _dilations(length, samples)]
    done = []
    for length, dilation in sizes:
        for padded in (False, True):
            many = max(1, round(count / (2 * len(sizes))))
            weights = rng.normal(size=(many, channels, length))
            weights -= weights.mean(axis=2, keepdims=True) if length > 1 else 0.0
            weights *= _some(rng, many, channels)[:, :, None]
            bias = rng.uniform(-1, 1, many)
            padding = (length - 1) * dilation // 2 if padded else 0
            done.append(Kernels(dilation, padding, weights.astype(np.float32), bias.astype(np.float32)))
    return done


def _dilations(length: int, samples: int) -> list[int]:
    """Steps between a kernel's weights: from 1 to where it spans the whole signal."""
    most = np.log2(max((samples - 1) / max(length - 1, 1), 1))
    return sorted({int(2**power) for power in np.linspace(0, most, _DILATIONS)})


def _some(rng: np.random.Generator, many: int, channels: int) -> NDArray[np.bool_]:
    """[many, channels]: which channels each kernel sees, one at least, few more often than many, as in the paper."""
    seen = np.floor(2 ** rng.uniform(0, np.log2(channels + 1), many)).astype(int)
    order = rng.permuted(np.tile(np.arange(channels), (many, 1)), axis=1)
    return np.asarray(order < np.maximum(seen, 1)[:, None])


class Rocket:
    """Random convolutions of waveforms and a multinomial logistic regression on them; its L2 penalty is chosen by
    cross-validation among the training cases.

    A kernel gives the share of samples at which its output is above 0, and the output's maximum. Of 10,000 kernels for
    small sets; so many fewer for large ones that a pass takes no more than some seconds.
    """

    name: ClassVar[str] = "rocket"
    title: ClassVar[str] = "random convolutions and logistic regression"
    mixes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.kernels: dict[str, list[Kernels]] = {}  # by series
        self.mean: NDArray[np.float64] = np.zeros(0)  # of each feature
        self.sd: NDArray[np.float64] = np.zeros(0)
        self.weights: NDArray[np.float64] = np.zeros((0, 0))  # [labels, features]
        self.bias: NDArray[np.float64] = np.zeros(0)
        self._target = ""
        self._padded: dict[str, bool] = {}

    def fits(self, task: Task) -> str:
        """ "" where every series is a waveform, there is one, and one category is to be answered; else why not."""
        series = [field for field in task.inputs if field.kind == "series"]
        if not series or not all(field.options.get("waveform") for field in series):
            return "it reads waveforms"
        return "" if [field.kind for field in task.targets] == ["category"] else "it answers one category"

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:
        """Fit on the cases with a truth. ValueProblem for fewer than two classes."""
        labels = self._know(task, frames)
        place: dict[Any, int] = {label: number for number, label in enumerate(labels)}
        truths = [place.get(own.get(self._target), -1) for own in part.truths]
        kept = [at for at, truth in enumerate(truths) if truth >= 0]
        truth = np.array([truths[at] for at in kept], np.int64)
        if len(np.unique(truth)) < 2:
            raise ValueProblem(
                f"the target {self._target!r} has fewer than two classes in the training part",
                allowed="two classes or more with cases",
            )
        cases = [part.prepared[at] for at in kept]
        rng = np.random.default_rng([seed, 5])
        for name in self._padded:
            samples, width = cases[0].arrays[name].shape
            work = len(cases) * samples * np.mean(_LENGTHS)
            count = int(np.clip(_WORK / work, _LEAST, _MOST) / len(self._padded))
            self.kernels[name] = draw(rng, count, samples, width - self._padded[name])
        found = self._found(cases)
        self.mean, self.sd = found.mean(axis=0), found.std(axis=0) + 1e-8
        self.weights, self.bias = _regression((found - self.mean) / self.sd, truth, len(labels))

    def infer(self, prepared: Prepared) -> Outputs:
        """Log-probabilities (labels,) of the target, not under 1e-7."""
        return self.infer_many([prepared])[0]

    def infer_many(self, cases: Sequence[Prepared]) -> list[Outputs]:
        """The same of many cases, in far less time than each alone."""
        logits = ((self._found(cases) - self.mean) / self.sd) @ self.weights.T + self.bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return [{self._target: own} for own in np.log(np.clip(p, _FLOOR, None))]

    def save(self, folder: Path) -> None:
        """Write state.json and state.safetensors."""
        arrays = {"mean": self.mean, "sd": self.sd, "weights": self.weights, "bias": self.bias}
        sizes: dict[str, list[list[int]]] = {}
        for name, kernels in self.kernels.items():
            sizes[name] = [[own.dilation, own.padding] for own in kernels]
            for at, own in enumerate(kernels):
                arrays |= {f"{name}.{at}.weights": own.weights, f"{name}.{at}.bias": own.bias}  # type: ignore[dict-item]
        with write_aside(folder / _ARRAYS) as aside:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, aside)
        write_json(folder / _JSON, {"learner": self.name, "target": self._target, "kernels": sizes})

    def load(self, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:
        """Take up what `save` left; ModelFolderError where it is damaged or of another task."""
        labels = self._know(task, frames)
        try:
            state = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            if (state["learner"], state["target"]) != (self.name, self._target):
                raise ValueError(f"it is of {state['learner']} to {state['target']}")
            arrays = load_file(folder / _ARRAYS)
            self.kernels = {name: _taken(name, state["kernels"][name], arrays) for name in self._padded}
            self.mean, self.sd, self.weights, self.bias = (arrays[key] for key in ("mean", "sd", "weights", "bias"))
            self._check(len(labels))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
            raise ModelFolderError(
                f"the state of the learner {self.name} in {folder} can't be read: {error}", todo="train it again"
            ) from error

    def _check(self, labels: int) -> None:
        wide = sum(2 * len(own.bias) for kernels in self.kernels.values() for own in kernels)
        shapes = (self.mean.shape, self.sd.shape, self.weights.shape, self.bias.shape)
        if shapes != ((wide,), (wide,), (labels, wide), (labels,)) or not np.isfinite(self.weights).all():
            raise ValueError("its arrays do not fit the plan")

    def _know(self, task: Task, frames: Mapping[str, Settings]) -> list[str]:
        """The labels of the target."""
        target = task.targets[0]
        own = frames["clock"]["series"]
        self._target = target.name
        self._padded = {field.name: bool(own[field.name]["padded"]) for field in task.inputs if field.kind == "series"}
        return _labels(target, frames)

    def _found(self, cases: Sequence[Prepared]) -> NDArray[np.float64]:
        """[cases, features] of all series, side by side."""
        found = [
            _convolved([one.arrays[name] for one in cases], self.kernels[name], own)
            for name, own in self._padded.items()
        ]
        return np.concatenate(found, axis=1).astype(np.float64)


def _convolved(arrays: Sequence[Floats], kernels: Sequence[Kernels], padded: bool) -> Floats:
    """[cases, features] of one series, so many cases at once as memory bears."""
    samples, widest = len(arrays[0]), max(len(own.bias) for own in kernels)
    done = []
    for some in _batches(arrays, max(1, _ROOM // (widest * samples))):
        given = torch.from_numpy(np.stack(some)).transpose(1, 2)
        signals, real = (
            (given[:, :-1], given[:, -1] > 0) if padded else (given, torch.ones(given[:, 0].shape, dtype=torch.bool))
        )
        with torch.inference_mode():
            done.append(torch.cat([own.features(signals, real) for own in kernels], dim=1).numpy())
    return np.concatenate(done)


def _batches(arrays: Sequence[Floats], size: int) -> Iterator[Sequence[Floats]]:
    return (arrays[at : at + size] for at in range(0, len(arrays), size))


def _regression(
    x: NDArray[np.float64], truth: NDArray[np.int64], labels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [labels, features] and bias (labels,) of a multinomial regression; a label without a case has ln 1e-7.

    An L2 penalty does not change when features are turned, so with more features than cases the regression runs on the
    cases' own directions.
    """
    turn = None
    if x.shape[1] > x.shape[0]:
        scores, lengths, turn = np.linalg.svd(x, full_matrices=False)
        x = scores * lengths
    model = _of_strength(_strength(x, truth)).fit(x, truth)
    binary = len(model.classes_) == 2  # scikit-learn keeps one row then: the log-odds of the second class
    coefficients = np.vstack([0 * model.coef_, model.coef_]) if binary else model.coef_
    weights = np.zeros((labels, x.shape[1] if turn is None else turn.shape[1]))
    weights[model.classes_] = coefficients if turn is None else coefficients @ turn
    bias = np.full(labels, np.log(_FLOOR))
    bias[model.classes_] = [0.0, *model.intercept_] if binary else model.intercept_
    return weights, bias


def _strength(x: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The one that costs least on cases held out."""
    folds = min(_FOLDS, int(np.unique(truth, return_counts=True)[1].min()))
    if folds < 2:
        return _STRENGTHS[1]
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(x, truth))[
        : 1 if len(truth) > _MANY else folds
    ]
    costs = [sum(_cost(x, truth, one, other, own) for one, other in parts) for own in _STRENGTHS]
    return _STRENGTHS[int(np.argmin(costs))]


def _cost(
    x: NDArray[np.float64],
    truth: NDArray[np.int64],
    learnt: NDArray[np.int64],
    held: NDArray[np.int64],
    strength: float,
) -> float:
    """Log loss of the held cases."""
    model = _of_strength(strength).fit(x[learnt], truth[learnt])
    p = model.predict_proba(x[held])[np.arange(len(held)), np.searchsorted(model.classes_, truth[held])]
    return float(-np.log(np.clip(p, _FLOOR, None)).sum())


def _of_strength(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000)


def _taken(name: str, sizes: Sequence[Sequence[int]], arrays: Mapping[str, Any]) -> list[Kernels]:
    return [
        Kernels(int(dilation), int(padding), arrays[f"{name}.{at}.weights"], arrays[f"{name}.{at}.bias"])
        for at, (dilation, padding) in enumerate(sizes)
    ]


def _labels(field: Field, frames: Mapping[str, Settings]) -> list[str]:
    labels: list[str] = frames[registry.kind(field.kind).frame]["categories"][field.name]["labels"]
    return labels
