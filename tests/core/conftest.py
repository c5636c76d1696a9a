"""Small sets of cases in the formats that users bring, and jobs on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_breast_cancer

from galenic.core import registry
from galenic.core.contract import Field
from galenic.core.decide import make_plan
from galenic.core.fit import Job, open_job
from galenic.core.progress import Silent
from galenic.core.task import Task

PICTURES, SIDE = 16, 32
TINY = {"widths": [4, 8, 8, 8]}


def write_pictures(folder: Path) -> pd.DataFrame:
    """Bright discs on noise, 32 x 32, with their masks: two pictures a patient."""
    rng = np.random.default_rng(0)
    rows = []
    grid = np.indices((SIDE, SIDE))
    for number in range(PICTURES):
        centre = rng.uniform(12, 20, 2)
        disc = ((grid - centre[:, None, None]) ** 2).sum(0) < rng.uniform(5, 9) ** 2
        noisy = np.clip(80 + 90 * disc + rng.normal(0, 20, disc.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{number:02}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"{number:02}.mask.png")
        rows.append({"id": f"p{number:02}", "patient": f"P{number // 2}", "image": f"{number:02}.png",
                     "mask": f"{number:02}.mask.png"})  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(folder / "cases.csv", index=False)
    return table


DISC = Task(
    name="disc",
    inputs=[Field(name="image", kind="image", columns=["image"])],
    targets=[Field(name="mask", kind="mask", columns=["mask"])],
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of pictures and masks with cases.csv."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder)
    return folder


@pytest.fixture(scope="session")
def disc_job(pictures):
    """A job on the pictures, into a folder; further arguments of Job by name."""

    def make(out: Path, **how) -> Job:
        table = pd.read_csv(pictures / "cases.csv")
        return Job(task=DISC, table=table, root=pictures, out=out, **{"budget": "24steps", "device": "cpu", **how})

    return make


@pytest.fixture(scope="session")
def disc_plan(disc_job, tmp_path_factory):
    """A plan of a tiny U-Net as the engine makes it; training's settings may be given by name."""
    folder = tmp_path_factory.mktemp("plan")
    work = open_job(disc_job(folder), Silent())
    work.network_settings.update(TINY)
    planned = make_plan(work, torch.device("cpu"), Silent())

    def make(path: Path, **training) -> Path:
        plan = planned.model_copy(deep=True)
        given = {"precision": "f32", "layout": "default", "evaluate_every": 8, "warmup": 4, **training}
        plan.training = plan.training.model_copy(update=given)
        plan.save(path)
        return path

    return make


def breast_cancer(cases: int = 569) -> pd.DataFrame:
    """scikit-learn's table, with an id and a site a case and a few gaps."""
    data = load_breast_cancer(as_frame=True)
    table = data.data.iloc[:cases, :8].copy()
    table.iloc[::11, 3] = np.nan
    table.insert(0, "id", [f"c{row:03}" for row in range(len(table))])
    table["site"] = np.where(np.arange(len(table)) % 3 == 0, "north", "south")
    table["diagnosis"] = data.target_names[data.target[:cases]]
    return table


@pytest.fixture(scope="session")
def cancer() -> pd.DataFrame:
    return breast_cancer()


@pytest.fixture(scope="session")
def cancer_task() -> Task:
    return registry.checked(
        Task(
            name="cancer",
            inputs=[Field(name="labs", kind="number", columns=["mean *"])],
            targets=[Field(name="diagnosis", kind="category", columns=["diagnosis"])],
        )
    )
