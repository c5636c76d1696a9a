"""Short texts that share words, and a task on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galenic.core import registry
from galenic.core.contract import Budget, Field, Part, Prepared
from galenic.core.frames import Frames
from galenic.core.task import Task

ILL = {
    "flu": ["fever", "cough", "chills", "sore throat", "aching muscles"],
    "eczema": ["itchy rash", "dry skin", "red patches", "scaly elbows", "cracked fingers"],
    "migraine": ["throbbing headache", "nausea", "bright lights hurt", "stiff neck", "blurred vision"],
}


def told(rng: np.random.Generator, disease: str) -> str:
    """Two symptoms of the disease, one of another that is denied, and a few words around."""
    first, second = rng.choice(ILL[disease], 2, replace=False)
    other = ILL[str(rng.choice([one for one in ILL if one != disease]))]
    day = rng.choice(["yesterday", "last week", "monday", "two days ago"])
    said = rng.choice(["I have no", "I don't have any", "There is no", "without"])
    return f"Since {day} I have {first} and {second}. {said} {rng.choice(other)}."


def table(cases: int, seed: int = 0) -> pd.DataFrame:
    """Columns id, text, age and disease; the diseases take turns."""
    rng = np.random.default_rng(seed)
    names = [list(ILL)[at % len(ILL)] for at in range(cases)]
    return pd.DataFrame(
        {
            "id": [f"c{at:03}" for at in range(cases)],
            "text": [told(rng, name) for name in names],
            "age": rng.integers(20, 80, cases),
            "disease": names,
        }
    )


@dataclass(frozen=True)
class World:
    """A task, the settings of its frames, and prepared cases with their truths."""

    task: Task
    frames: Frames
    settings: dict[str, Any]
    reasons: dict[str, str]
    part: Part

    def prepare(self, **values: Any) -> Prepared:
        return self.frames.prepare(values, self.settings)


def world_of(frame: pd.DataFrame, tmp: Any, *, rows: bool = False, options: dict[str, Any] | None = None) -> World:
    """What the engine does before the probe, all cases in training."""
    inputs = [Field(name="symptoms", kind="text", columns=["text"], options=options or {})]
    inputs += [Field(name="age", kind="number", columns=["age"])] if rows else []
    task = registry.checked(
        Task(name="ill", inputs=inputs, targets=[Field(name="disease", kind="category", columns=["disease"])])
    )
    frames = Frames(task)
    opened = {one.name: registry.kind(one.kind).open(one, frame, tmp) for one in task.fields}
    values = [{name: source.read(row) for name, source in opened.items()} for row in range(len(frame))]
    summary = reduce(frames.merge, map(frames.summarise, values))
    settings, reasons = frames.settle(summary, Budget(steps=10))
    prepared = [frames.prepare(own, settings) for own in values]
    truths = [{"disease": own["disease"]} for own in values]
    return World(task, frames, settings, reasons, Part(list(frame["id"]), prepared, truths))


@pytest.fixture(scope="session")
def told_cases() -> pd.DataFrame:
    return table(90)


@pytest.fixture(scope="session")
def ill(told_cases, tmp_path_factory) -> World:
    """Ninety texts on three diseases."""
    return world_of(told_cases, tmp_path_factory.mktemp("ill"))


@pytest.fixture(scope="session")
def aged(told_cases, tmp_path_factory) -> World:
    """The same with an age beside the text."""
    return world_of(told_cases, tmp_path_factory.mktemp("aged"), rows=True)


@pytest.fixture(scope="session")
def unmarked(told_cases, tmp_path_factory) -> World:
    """The same texts with negation off."""
    return world_of(told_cases, tmp_path_factory.mktemp("unmarked"), options={"negation": False})


@pytest.fixture(scope="session")
def new_cases() -> pd.DataFrame:
    """Further texts of the same kind."""
    return table(45, seed=1)
