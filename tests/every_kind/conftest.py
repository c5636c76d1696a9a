"""A few cases of each kind in a real format, and worlds: every network and learner on every field that it fits.

All cells of a case come from the same hidden state, so that any input can teach any target. Who registers a kind
writes its maker here; nothing else is to be done for the contract to be tested on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations as combinations_of
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.contract import Budget, Field, Part
from galenic.core.fit import Job, Work
from galenic.core.frames import Frames
from galenic.core.network import Network
from galenic.core.plan import Training
from galenic.core.progress import Silent
from galenic.core.ready import Ready, summarise
from galenic.core.split import divide
from galenic.core.task import Task
from galenic.core.train import Feed, Trainer
from galenic.images.networks import unet2015

CASES, BATCH = 16, 4
SIDE = {2: 32, 3: 16}
UNKNOWN = CASES - 1  # the row of the case without truth


@dataclass(frozen=True)
class Hidden:
    """What a case is in truth: large or small, and where; `noise` draws what the measurement adds."""

    number: int
    dims: int
    large: bool
    place: np.ndarray
    noise: np.random.Generator

    @property
    def blob(self) -> np.ndarray:
        """The true mask, [*space]."""
        side = SIDE[self.dims]
        away = np.indices((side,) * self.dims).T - self.place * side / 32
        distance = np.sqrt((away**2).sum(-1)).T
        return distance < (9 if self.large else 6) * side / 32


def hidden_of(number: int, dims: int) -> Hidden:
    noise = np.random.default_rng([number, dims])
    return Hidden(number, dims, number % 2 == 0, noise.uniform(13, 19, dims), noise)


@dataclass(frozen=True)
class Maker:
    """cells: a case's columns for a field of that name, files written below the folder; columns: those of the field.

    chance: what guessing scores, where the kind is a target; best: what the truth does, made an output by `perfect`;
    as_quick: the main score, given the frame's settings, as `Target.quick` gives it; goal: the columns as a target.
    in_space: there are volumes too. alone: it can be the only input, as a mask can't, which lies on an image. kind:
    where one kind comes in several forms.
    """

    cells: Callable[[Hidden, Path, str], dict[str, Any]]
    columns: Callable[[str], list[str]] = lambda name: [name]
    goal: Callable[[str], list[str]] = lambda name: [name]
    chance: float | None = None
    best: float = 1.0
    perfect: Callable[[list[np.ndarray]], list[np.ndarray]] = lambda truths: as_logits(truths)
    as_quick: Callable[[float, dict[str, Any]], float] = lambda score, settings: score
    in_space: bool = False
    alone: bool = True
    kind: str = ""


def as_logits(truths: list[np.ndarray]) -> list[np.ndarray]:
    """Logits, the class first, that leave no doubt of class numbers of any shape."""
    classes = 1 + max(int(truth.max()) for truth in truths)
    return [np.moveaxis(20.0 * np.eye(classes)[truth], -1, 0) for truth in truths]


def in_sd(score: float, settings: dict[str, Any]) -> float:
    """An error of the target `truth` in standard deviations, higher is better."""
    return -score / float(settings["numbers"]["truth"]["sd"][0])


def _written(array: np.ndarray, path: Path) -> str:
    """Name of the file: PNG for a picture, NIfTI for a volume."""
    if array.ndim == 2:
        Image.fromarray(array).save(path.with_suffix(".png"))
        return f"{path.name}.png"
    nib.Nifti1Image(array, np.diag([1.0, 1.0, 1.5, 1.0])).to_filename(path.with_suffix(".nii.gz"))
    return f"{path.name}.nii.gz"


def image(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    noisy = 80 + 100 * case.blob + case.noise.normal(0, 10, case.blob.shape)
    return {name: _written(np.clip(noisy, 0, 255).astype(np.uint8), folder / f"{name}-{case.number}")}


def mask(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    return {name: _written(case.blob.astype(np.uint8), folder / f"{name}-{case.number}")}


def number(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    radius, age = 9 if case.large else 6, float(case.noise.uniform(20, 90))
    return {f"{name}_radius": radius + float(case.noise.normal(0, 0.3)), f"{name}_age": round(age, 1)}


def category(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    return {name: "large" if case.large else "small"}


def text(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    size, other = ("large", "small") if case.large else ("small", "large")
    place = case.noise.choice(["left", "right", "upper", "lower"])
    return {name: f"A {size} lump on the {place} side, not a {other} one. It does not hurt."}


def series(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    """A history of irregular times in a file a case: the large ones' pulse is faster and rises."""
    hours = np.sort(case.noise.uniform(0, 12, 20)).round(3)
    pulse = 70 + (15 + hours if case.large else 0 * hours) + case.noise.normal(0, 4, 20)
    table = pd.DataFrame({"hours": hours, "pulse": pulse, "saturation": case.noise.normal(96, 1, 20)})
    table.loc[case.noise.random(20) < 0.4, "saturation"] = np.nan
    table.to_csv(folder / f"{name}-{case.number}.csv", index=False)
    return {name: f"{name}-{case.number}.csv"}


def waveform(case: Hidden, folder: Path, name: str) -> dict[str, Any]:
    """Samples in the row itself: the large ones' waves are slower."""
    wave = np.sin(np.arange(48) / (3 if case.large else 1.2)) + case.noise.normal(0, 0.2, 48)
    return {f"{name}_{at:02}": own for at, own in enumerate(wave.round(4))}


MAKERS = {
    "category": Maker(category, chance=0.5),  # AUROC
    "image": Maker(image, in_space=True),
    "mask": Maker(
        mask, chance=0.3, in_space=True, alone=False
    ),  # Dice of all marked: 2 f / (1 + f) for a share f of 0.18
    "number": Maker(
        number,
        columns=lambda name: [f"{name}_*"],
        goal=lambda name: [f"{name}_radius"],
        chance=-1.001,
        best=0.0,
        perfect=lambda truths: [truth[:1] for truth in truths],
        as_quick=in_sd,
    ),
    "series": Maker(series),
    "text": Maker(text),
    "waveform": Maker(waveform, columns=lambda name: [f"{name}_*"], kind="series"),
}


@dataclass(frozen=True)
class Small:
    """What makes a network small enough for a test, as its planned sizes are for real budgets; dims it bears."""

    settings: Callable[[dict[str, Any]], dict[str, Any]]
    dims: tuple[int, ...] = (2, 3)
    steps: int = 50


SMALL = {
    "cnn": Small(
        lambda planned: {"widths": [8, 16, 16, 16][: len(planned["strides"])], "dropout": 0.0, "learning_rate": 3e-3}
    ),
    "gru": Small(lambda planned: {"hidden": 8, "dropout": 0.1, "learning_rate": 1e-2}),
    "gru_d": Small(lambda planned: {"hidden": 8, "dropout": 0.1, "learning_rate": 1e-2}),
    "lstm": Small(lambda planned: {"hidden": 8, "dropout": 0.1, "learning_rate": 1e-2}),
    "mlp": Small(lambda planned: {"width": 32, "depth": 1, "dropout": 0.1, "learning_rate": 3e-3}),
    "resnet": Small(
        lambda planned: {"widths": [8, 16, 16, 16], "blocks": [1] * 4, "dropout": 0.0, "learning_rate": 3e-3},
        steps=100,
    ),
    "resnet1d": Small(lambda planned: {"widths": [8, 8, 8]}),
    "tcn": Small(lambda planned: {"width": 8, "dropout": 0.1, "learning_rate": 1e-2}),
    "text_cnn": Small(lambda planned: {"dim": 16, "filters": 8, "dropout": 0.2, "learning_rate": 1e-2}),
    "unet": Small(lambda planned: {"widths": [4, 8, 8, 8][: len(planned["strides"])], "learning_rate": 1e-2}),
    "unet2015": Small(lambda planned: {"learning_rate": 3e-3}, dims=(2,), steps=80),
    "unet_residual": Small(lambda planned: {"widths": [4, 8, 8, 8][: len(planned["strides"])], "learning_rate": 1e-2}),
}


@dataclass(frozen=True)
class World:
    """A task with its cases, opened and prepared as the engine does; `name` is the network or learner that fits it."""

    name: str
    work: Work
    folder: Path

    @property
    def target(self) -> Field:
        return self.work.task.targets[0]

    @property
    def kind(self) -> Any:
        return registry.target(self.target)

    @property
    def maker(self) -> Maker:
        return MAKERS[self.target.kind]

    @property
    def chance(self) -> float:
        found = self.maker.chance
        assert found is not None
        return found

    @property
    def rows(self) -> list[int]:
        """The training cases that have a truth."""
        return self.work.taught([row for row in self.work.split.rows("train") if row != UNKNOWN])

    def trainer(self, steps: int, folder: Path, seed: int = 0) -> Trainer:
        folder.mkdir(parents=True, exist_ok=True)
        plan = Training(
            batch=BATCH, learning_rate=self.work.network_settings["learning_rate"], weight_decay=1e-3,
            optimizer="adamw", precision="f32", layout="default", schedule=[(0, steps)], evaluate_every=10_000,
            warmup=2, ema=0.8, seconds_per_step=0.01, threads=1,
        )  # fmt: skip
        feed, device = Feed(self.work.ready, self.rows, seed, BATCH), torch.device("cpu")
        network = self.work.build()
        return Trainer(network, plan, feed, seed=seed, folder=folder, device=device, score=lambda network: 0.0)

    def trained(self, steps: int, folder: Path, seed: int = 0) -> Network:
        """The moving average after so many steps."""
        trainer = self.trainer(steps, folder, seed)
        trainer.run(Silent())
        return trainer.finish()

    def outputs(self, network: Network) -> list[Any]:
        """Raw outputs for the training cases."""
        work, run = self.work, self.work.runner(network, "f32")
        return [
            work.plug.infer(run, work.ready[row], work.settings, work.network_settings)[self.target.name]
            for row in self.rows
        ]

    def part(self) -> Part:
        truths = [self.work.cases.values(row, [self.target.name]) for row in self.rows]
        ids = [self.work.cases.ids[row] for row in self.rows]
        return Part(ids, [self.work.ready[row] for row in self.rows], truths)

    def answers(self, outputs: list[Any]) -> list[Any]:
        settings = self.work.settings[self.kind.frame]
        return [
            self.kind.answer(output, self.work.ready[row], self.target, settings, {})
            for row, output in zip(self.rows, outputs, strict=True)
        ]

    def score(self, outputs: list[Any]) -> float:
        """The main score of these outputs on the training cases, higher is better."""
        truths = [self.work.cases.values(row, [self.target.name])[self.target.name] for row in self.rows]
        pairs = zip(self.answers(outputs), truths, strict=True)
        judged = [self.kind.judge(answer, truth, self.target) for answer, truth in pairs]
        found = float(self.kind.scores(judged, self.target)[""][self.kind.main_score])
        return self.maker.as_quick(found, self.work.settings[self.kind.frame])


def task_of(inputs: tuple[str, ...], target: str) -> Task:
    """Inputs named as their makers; the target is `truth`."""
    goal = Field(name="truth", kind=target, columns=MAKERS[target].goal("truth"))
    given = [Field(name=made, kind=MAKERS[made].kind or made, columns=MAKERS[made].columns(made)) for made in inputs]
    return registry.checked(Task(name="made", inputs=given, targets=[goal]))


def targets() -> list[str]:
    return [kind for kind in registry.names("kinds") if kind in MAKERS and hasattr(registry.kind(kind), "answer")]


def combinations(name: str, fits: Callable[[Task], str]) -> list[tuple[str, tuple[str, ...], str, int]]:
    """(name, input kinds, target kind, dims) of all that fits: each input alone, and as many together as it takes.

    Where none fits alone, those together grow from the first two that do.
    """
    found = []
    for target in targets():
        each = [kind for kind in MAKERS if not fits(task_of((kind,), target))]
        pairs = (pair for pair in combinations_of(MAKERS, 2) if not fits(task_of(pair, target)))
        joined = each or list(next(pairs, ()))
        for kind in MAKERS if joined else ():
            if kind not in joined and not fits(task_of((*joined, kind), target)):
                joined = [*joined, kind]
        together = [tuple(joined)] if len(joined) > 1 and not fits(task_of(tuple(joined), target)) else []
        for inputs in [*((kind,) for kind in each if MAKERS[kind].alone), *together]:
            space = any(MAKERS[kind].in_space for kind in (*inputs, target))
            found += [(name, inputs, target, dims) for dims in ((2, 3) if space else (2,))]
    return found


def table_of(task: Task, dims: int, folder: Path) -> pd.DataFrame:
    """The cases, two a patient; the last one's truth is not known."""
    rows = []
    for at in range(CASES):
        hidden, row = hidden_of(at, dims), {"id": f"case{at:02}", "patient": f"P{at // 2}"}
        for one in task.fields:
            made = MAKERS[one.kind] if one.target else MAKERS[one.name]
            row |= made.cells(hidden, folder, one.name)
        rows.append(row)
    table = pd.DataFrame(rows)
    table.loc[UNKNOWN, [column for column in table.columns if column.startswith("truth")]] = None
    return table


def opened(name: str, task: Task, dims: int, folder: Path) -> World:
    """What the engine does before the probe; `name` a network, or a learner, which has no plug."""
    table = table_of(task, dims, folder)
    job = Job(task=task, table=table, root=folder, out=folder / "out", seed=0)
    cases, frames = open_cases(table, folder, task), Frames(task)
    calibrates = registry.target(task.targets[0]).calibrates
    split = divide(cases, task, seed=0, calib=calibrates, groups=cases.patients())
    settings, reasons = frames.settle(summarise(frames, cases, split.rows("train"), Silent()), Budget(steps=20))
    plug, own = None, {}
    if name in registry.names("networks"):
        plug = registry.network(name)
        if "space" in settings:
            settings["space"]["patch"] = [SIDE[dims]] * dims
        own, _ = plug.plan(task, settings, Budget(steps=20))
        own |= SMALL[name].settings(own)
        if "space" in settings:
            settings["space"]["patch"] = [SIDE[dims]] * dims
    ready = Ready(frames, cases, settings)
    work = Work(job, task, cases, split, frames, settings, ready, plug, own, reasons, name, time.monotonic())
    return World(name, work, folder)


def _title(own: tuple[str, tuple[str, ...], str, int]) -> str:
    return f"{own[0]}-{'+'.join(own[1])}-{own[2]}-{own[3]}d"


_NETWORKS = [
    own
    for name in registry.names("networks")
    for own in combinations(name, registry.network(name).fits)
    if name not in SMALL or own[3] in SMALL[name].dims
]
_LEARNERS = [own for name in registry.names("learners") for own in combinations(name, registry.learner(name)().fits)]


@pytest.fixture(scope="session", params=_NETWORKS, ids=_title)
def world(request, tmp_path_factory) -> Iterator[World]:
    """Each network on each task that it fits."""
    name, inputs, target, dims = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unet2015, "WIDTHS", (4, 8, 16, 32, 64))
        yield opened(name, task_of(inputs, target), dims, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def learnt(world, tmp_path_factory) -> Network:
    """The world's network after a fixed number of steps."""
    return world.trained(SMALL[world.name].steps, tmp_path_factory.mktemp("learnt"))


@pytest.fixture(scope="session", params=_LEARNERS, ids=_title)
def simple(request, tmp_path_factory) -> World:
    """Each learner that is no network on each task that it fits."""
    name, inputs, target, dims = request.param
    return opened(name, task_of(inputs, target), dims, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def covered() -> dict[str, set[str]]:
    """What has a maker, and what stands in a world."""
    return {
        "makers": {maker.kind or name for name, maker in MAKERS.items()},
        "targets": {kind for kind, maker in MAKERS.items() if maker.chance is not None},
        "networks": {own[0] for own in _NETWORKS}, "small": set(SMALL), "learners": {own[0] for own in _LEARNERS},
        "learnt": {own[2] for own in _NETWORKS},
    }  # fmt: skip
