"""A table given to a model as a whole: its own cases are not scored, another unit in all is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import galenic
from galenic.cli.door import app
from galenic.core.errors import InputError


def table(seed: int, count: int, start: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    names = [f"c{at:03}" for at in range(start, start + count)]
    found = pd.DataFrame({"id": names, "patient": [f"p{name}" for name in names]})
    found["age"], found["chol"] = rng.normal(60, 9, count).round(), rng.normal(220, 30, count).round()
    found["ill"] = np.where(found["chol"] + rng.normal(0, 20, count) > 220, "yes", "no")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cases.csv of 120 cases and a model of it."""
    folder = tmp_path_factory.mktemp("home")
    table(1, 120).to_csv(folder / "cases.csv", index=False)
    galenic.train(folder / "cases.csv", targets=["ill:category"], budget="20steps", out=folder / "model")
    return folder


def learnt(home: Path) -> set[str]:
    split = pd.read_csv(home / "model/private/split.csv")
    return set(split.loc[split["part"] != "test", "id"])


def test_the_models_own_cases_are_not_scored_and_that_is_told(home: Path) -> None:
    found = galenic.evaluate(home / "model", home / "cases.csv")
    assert found["cases"] == 120 - len(learnt(home))
    assert found["warnings"][0].startswith(f"the model was made with {len(learnt(home))} of the 120 cases of cases.csv")
    assert found["targets"] == galenic.evaluate(home / "model")["targets"]
    shown = CliRunner().invoke(app, ["evaluate", str(home / "model"), str(home / "cases.csv")])
    assert "They are left out" in " ".join(shown.output.split())


def test_a_table_of_known_cases_alone_is_refused(home: Path) -> None:
    cases = table(1, 120)
    cases[cases["id"].isin(learnt(home))].to_csv(home / "known.csv", index=False)
    with pytest.raises(InputError, match=r"all \d+ cases of known.csv \(train \d+, valid \d+, calib \d+\)"):
        galenic.evaluate(home / "model", home / "known.csv")


def test_other_people_of_the_same_ids_are_scored_and_their_names_told(home: Path) -> None:
    table(2, 120).to_csv(home / "others.csv", index=False)
    found = galenic.evaluate(home / "model", home / "others.csv")
    assert found["cases"] == 120
    assert f"{len(learnt(home))} of the 120 cases scored are of patients" in found["warnings"][0]
    table(2, 50, start=500).to_csv(home / "new.csv", index=False)
    assert not any("made with" in one for one in galenic.evaluate(home / "model", home / "new.csv")["warnings"])


def test_a_table_in_another_unit_is_refused_and_told(home: Path) -> None:
    wrong = table(3, 30, start=700).assign(chol=lambda own: (own["chol"] / 38.67).round(1))
    wrong.to_csv(home / "wrong.csv", index=False)
    written = galenic.predict(home / "model", [home / "wrong.csv"], home / "answers")
    assert all(case.refused is not None and "mmol/L" in case.refused for case in written)
    shown = CliRunner().invoke(
        app, ["predict", str(home / "model"), str(home / "wrong.csv"), "-o", str(home / "again")]
    )
    assert shown.exit_code == 2
    assert "warning: the median of chol in these 30 cases is 5." in " ".join(shown.output.split())
    metrics = galenic.evaluate(home / "model", home / "wrong.csv")
    assert metrics["targets"]["ill"]["scores"]["answered"]["value"] == 0
    assert any("these cases are refused" in one for one in metrics["warnings"])
    right = table(3, 30, start=700)
    right.to_csv(home / "right.csv", index=False)
    assert all(case.refused is None for case in galenic.predict(home / "model", [home / "right.csv"], home / "answers"))
