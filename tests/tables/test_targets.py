"""Numbers, and a number and a category at once, from a table to answers, on the diabetes table of scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

import galenic
from galenic.core import simple
from galenic.core.task import load_task

TASK = """
name = "progression"
table = "cases.csv"
notes = ["A test."]

[[inputs]]
name = "findings"
kind = "number"
columns = ["age", "bmi", "bp", "s*"]

[[targets]]
name = "progression"
kind = "number"
columns = ["progression"]
[targets.options]
unit = "points"
"""
BOTH = (
    TASK
    + """
[[targets]]
name = "heavy"
kind = "category"
columns = ["heavy"]
[targets.options]
sensitivity = 0.8
"""
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    table = load_diabetes(as_frame=True, scaled=False).frame.drop(columns="sex")
    table = table.rename(columns={"target": "progression"}).assign(id=[f"c{at:03}" for at in range(len(table))])
    table["heavy"] = np.where(table["bmi"] > table["bmi"].median(), "yes", "no")
    table.loc[[3, 9], "progression"] = np.nan
    table.to_csv(folder / "cases.csv", index=False)
    (folder / "task.toml").write_text(TASK)
    (folder / "both.toml").write_text(BOTH)
    return folder


@pytest.fixture(scope="module")
def model(home):
    return galenic.train(home / "task.toml", budget="200steps", seed=0, out=home / "model")


@pytest.fixture(scope="module")
def both(home):
    return galenic.train(home / "both.toml", budget="60steps", seed=0, out=home / "both")


def test_the_error_is_below_the_means_and_in_the_unit(model):
    own = model.metrics["targets"]["progression"]
    rmse = own["scores"]["rmse"]
    simple = {one["name"]: one["scores"]["rmse"]["value"] for one in own["baselines"]}
    assert set(simple) == {"mean of the training cases", "ridge regression", "gradient-boosted trees"}
    assert (rmse["unit"], rmse["higher_is_better"]) == ("points", False)
    assert rmse["low"] < rmse["value"] < rmse["high"]
    assert rmse["value"] < 0.95 * simple["mean of the training cases"]
    assert simple["ridge regression"] < 0.85 * simple["mean of the training cases"]
    assert 0.7 < own["scores"]["coverage"]["value"] <= 1.0


def test_subgroups_by_age_band_and_the_one_of_most_error(model):
    own = model.metrics["targets"]["progression"]
    assert {"age=18 to 39", "age=40 to 64"} <= set(own["subgroups"])
    worst = max(own["subgroups"], key=lambda name: own["subgroups"][name]["rmse"]["value"])
    assert own["worst_subgroup"]["subgroup"] == worst
    report = (model.folder / "private" / "report.html").read_text(encoding="utf-8")
    for words in ("Answer over truth", "Errors", "minus rmse", "rmse [points]", "lower is better"):
        assert words in report


def test_the_best_step_is_that_of_the_least_error(model):
    lines = [json.loads(line) for line in (model.folder / "history.jsonl").read_text().splitlines()]
    scores = [line["score"] for line in lines]
    assert max(scores) <= 0
    best = lines[int(np.argmax(scores))]["step"]
    assert model.plan.reasons["training.best"].startswith(f"step {best} of 200")


def test_answers_are_numbers_with_intervals_and_are_written(model, home, tmp_path):
    pd.read_csv(home / "cases.csv").iloc[:3].drop(columns=["progression", "heavy"]).to_csv(
        tmp_path / "new.csv", index=False
    )
    written = galenic.predict(model.folder, [tmp_path / "new.csv"], tmp_path / "out")
    radius = json.loads((model.folder / "fitted.json").read_text())["progression"]["radius"]
    for one in written:
        assert one.answer.high - one.answer.value == pytest.approx(radius)
        row = pd.read_csv(one.paths[0]).iloc[0]
        assert (row["answer"], row["unit"]) == (one.answer.value, "points")
    again = galenic.load(model.folder)(findings=model_values(home, 0, model))["progression"]
    assert again.value == pytest.approx(written[0].answer.value, abs=0.5)


def model_values(home, row, model):
    cases = galenic.core.cases.open_cases(pd.read_csv(home / "cases.csv"), home, model.task, with_targets=False)
    return cases.values(row)["findings"]


def test_each_simple_method_answers_the_targets_of_its_kind(both):
    beside = {name: [one["name"] for one in own["baselines"]] for name, own in both.metrics["targets"].items()}
    assert beside["progression"] == ["mean of the training cases", "ridge regression", "gradient-boosted trees"]
    assert beside["heavy"] == ["gradient-boosted trees", "class frequencies", "logistic regression"]
    assert len(simple.load_all(both.folder, both.task, both.plan.frames)) == 5


def test_a_threshold_is_chosen_on_the_valid_part_kept_and_obeyed(both, home, tmp_path):
    call = json.loads((both.folder / "fitted.json").read_text())["heavy"]["call"]
    assert call["positive"] == "yes"
    assert call["sensitivity"] >= 0.8
    split = pd.read_csv(both.folder / "private" / "split.csv")
    assert call["cases"] == (split["part"] == "valid").sum()
    pd.read_csv(home / "cases.csv").iloc[:8].to_csv(tmp_path / "new.csv", index=False)
    written = galenic.predict(both.folder, [tmp_path / "new.csv"], tmp_path / "out", form="csv")
    said = [one.answer for one in written if one.answer.probabilities]
    assert len(said) == 8
    for one in said:
        assert one.value == ("yes" if one.probabilities["yes"] >= call["from"] - 1e-9 else "no")
        assert one.facts["called_from"] == {"yes": call["from"]}
    told = both.metrics["targets"]["heavy"]["call"]
    assert told.startswith(f"yes is called from a probability of {call['from']:.3g} on (for a sensitivity of ")
    assert told in (both.folder / "card.md").read_text()
    assert told in (both.folder / "private" / "report.html").read_text()


def test_an_answer_goes_out_as_fhir_with_its_patient_and_time(both, home, tmp_path):
    table = pd.read_csv(home / "cases.csv").iloc[:2].assign(patient=["Patient/1", "P 2"])
    table.to_csv(tmp_path / "new.csv", index=False)
    task = load_task(both.folder / "task.toml")
    assert [one.kind for one in task.targets] == ["number", "category"]
    refused = galenic.predict(both.folder, [tmp_path / "new.csv"], tmp_path / "out", form="fhir")
    assert all("fhir" in (one.refused or "") for one in refused)  # a number has no such form
    only = home / "only"
    if not only.exists():
        galenic.train(home / "cases.csv", inputs=["bmi:number"], targets=["heavy:category"], budget="20steps", out=only)
    written = galenic.predict(only, [tmp_path / "new.csv"], tmp_path / "fhir", form="fhir")
    resources = [json.loads(one.paths[0].read_text(encoding="utf-8")) for one in written]
    assert resources[0]["subject"] == {"reference": "Patient/1"}
    assert resources[1]["subject"]["identifier"] == {"value": "P 2"}
    for one, resource in zip(written, resources, strict=True):
        assert resource["code"]["text"] == "heavy"
        assert resource["occurrenceDateTime"].endswith("+00:00")
        told = {own["outcome"]["text"]: own["probabilityDecimal"] / 100 for own in resource["prediction"]}
        assert told == pytest.approx(dict(one.answer.probabilities), abs=1e-6)


def test_no_case_of_a_batch_is_without_its_file(both, home, tmp_path):
    table = pd.read_csv(home / "cases.csv", dtype={"id": str}).iloc[:3].drop(columns=["progression", "heavy"])
    table.loc[1, "bmi"] = 1e4
    table.to_csv(tmp_path / "new.csv", index=False)
    written = galenic.predict(both.folder, [tmp_path / "new.csv"], tmp_path / "out")
    assert all(one.paths for one in written)
    refused = [one for one in written if one.refused]
    assert {one.id for one in refused} == {table["id"].iloc[1]}
    for one in refused:
        row = pd.read_csv(one.paths[0]).iloc[0]
        assert "bmi is 10000" in row["refused"]
        assert pd.isna(row["answer"])
