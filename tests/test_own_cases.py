"""A model of own cases finds them again: wherever it is called from, by evaluate and by the command in its card."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import galenic
from galenic.cli.door import app
from galenic.core.contract import Field
from galenic.core.errors import MissingFile, PlanError, TableError
from galenic.core.task import Task

TARGET = "ill:category"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder `own` with a table of 80 cases of two numbers, and a split file."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "own"
    folder.mkdir()
    table = pd.DataFrame({"id": [f"c{at:02}" for at in range(80)], "patient": [f"p{at:02}" for at in range(80)],
                          "age": rng.normal(60, 9, 80), "crp": rng.normal(5, 2, 80)})  # fmt: skip
    table["ill"] = np.where(table["crp"] + rng.normal(0, 1, 80) > 5, "yes", "no")
    table.to_csv(folder / "cases.csv", index=False)
    parts = ["train"] * 48 + ["valid"] * 10 + ["calib"] * 10 + ["test"] * 12
    pd.DataFrame({"id": table["id"], "part": parts}).to_csv(folder / "parts.csv", index=False)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working folder than that of the cases."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def again(folder: Path) -> list[str]:
    """The words of the card's command that trains the model again."""
    card = (folder / "card.md").read_text(encoding="utf-8")
    found = re.findall(r"^    (galenic train .*)$", card, flags=re.MULTILINE)
    assert len(found) == 1
    return shlex.split(found[0])


def repeat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run that command where the card says; the new model folder."""
    monkeypatch.chdir(folder)
    words = again(folder)
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    return (folder / words[words.index("-o") + 1]).resolve()


def test_a_bare_table_is_scored_and_trained_again_from_anywhere(
    home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = galenic.train("../own/cases.csv", targets=[TARGET], budget="20steps", out="model")
    assert galenic.evaluate("model")["targets"] == first.metrics["targets"]
    assert galenic.evaluate(first.folder.resolve(), part="valid")["cases"] > 0
    new = repeat((elsewhere / "model"), monkeypatch)
    assert (new / "weights.safetensors").read_bytes() == (elsewhere / "model/weights.safetensors").read_bytes()
    assert "own/cases.csv" not in (elsewhere / "model/card.md").read_text(encoding="utf-8")


def test_a_split_that_was_given_is_kept(home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    galenic.train(home / "cases.csv", targets=[TARGET], split=home / "parts.csv", budget="20steps", out="model")
    (home / "parts.csv").unlink()
    new = repeat(elsewhere / "model", monkeypatch)
    before, after = (pd.read_csv(folder / "private/split.csv") for folder in (elsewhere / "model", new))
    assert before.equals(after)
    assert set(after.loc[after["part"] == "test", "id"]) == {f"c{at}" for at in range(68, 80)}


def test_a_task_file_of_ones_own_with_its_split(home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table and split are named relative to the task file, not to where the model or the shell is."""
    task = Task(
        name="own", table="cases.csv", split="parts.csv",
        inputs=[Field(name="labs", kind="number", columns=["age", "crp"])],
        targets=[Field(name="ill", kind="category", columns=["ill"])],
    )  # fmt: skip
    task.save(home / "own.toml")
    first = galenic.train("../own/own.toml", budget="20steps", out="model")
    assert first.metrics["cases"] == 12
    assert galenic.evaluate("model")["targets"] == first.metrics["targets"]
    assert json.loads((repeat(elsewhere / "model", monkeypatch) / "metrics.json").read_text())["cases"] == 12


def test_cases_that_are_gone_are_told(home: Path, elsewhere: Path) -> None:
    galenic.train(home / "cases.csv", targets=[TARGET], budget="20steps", out="model")
    pd.read_csv(home / "cases.csv").head(70).to_csv(home / "fewer.csv", index=False)
    shutil.move(home / "cases.csv", home / "moved.csv")
    with pytest.raises(MissingFile, match=r"were read from .*cases\.csv, which is not there"):
        galenic.evaluate("model")
    found = galenic.evaluate("model", home / "moved.csv")
    assert found["cases"] == json.loads(Path("model/metrics.json").read_text())["cases"]
    assert "are left out" in found["warnings"][0]
    shutil.move(home / "fewer.csv", home / "cases.csv")
    with pytest.raises(TableError, match="are no longer in the table"):
        galenic.evaluate("model", part="train")
    (elsewhere / "model/private/task.toml").unlink()
    with pytest.raises(MissingFile, match="are not named in"):
        galenic.evaluate("model")


def test_alone_beside_a_plan_of_a_blend_is_refused(home: Path, elsewhere: Path) -> None:
    galenic.train(home / "cases.csv", targets=[TARGET], budget="5steps", out="model")
    plan = Path("model/plan.json")
    with pytest.raises(PlanError, match="--alone with a plan that weighs in"):
        galenic.train(home / "cases.csv", targets=[TARGET], plan=plan, alone=True, out="other")
    galenic.train(home / "cases.csv", targets=[TARGET], budget="5steps", alone=True, out="alone")
    again = galenic.train(home / "cases.csv", targets=[TARGET], plan=Path("alone/plan.json"), alone=True, out="again")
    assert again.plan.blend == []
