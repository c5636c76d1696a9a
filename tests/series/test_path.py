"""Histories end to end: trained, scored, kept, and asked with a FHIR bundle; and batches from ready tensors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import galenic
from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.contract import Budget, Field
from galenic.core.errors import TaskError, ValueProblem
from galenic.core.frames import Frames
from galenic.core.model import load_model
from galenic.core.progress import Silent
from galenic.core.ready import Ready, summarise
from galenic.core.task import Task
from galenic.core.train import Feed

PULSE, GLUCOSE = "8867-4", "2339-0"  # LOINC
CASES = 60


def write_cases(folder: Path) -> pd.DataFrame:
    """The ill have a pulse that rises; a file a case, its columns by LOINC."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(CASES):
        hours = np.sort(rng.uniform(0, 12, 25)).round(3)
        ill = number % 2 == 0
        pulse = 75 + (2.5 * hours if ill else 0) + rng.normal(0, 4, 25)
        glucose = np.where(rng.random(25) < 0.4, rng.normal(100, 10, 25), np.nan)
        pd.DataFrame({"hours": hours, PULSE: pulse, GLUCOSE: glucose}).to_csv(folder / f"{number:02}.csv", index=False)
        rows.append({"id": f"c{number:02}", "patient": f"P{number}", "stay": f"{number:02}.csv",
                     "age": int(rng.integers(20, 90)), "ill": "yes" if ill else "no"})  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(folder / "cases.csv", index=False)
    return table


TASK = """
name = "rising"
table = "cases.csv"
[[inputs]]
name = "stay"
kind = "series"
columns = ["stay"]
[inputs.options]
until_hours = 12
units = { "8867-4" = "/min", "2339-0" = "mg/dL" }
[[targets]]
name = "ill"
kind = "category"
columns = ["ill"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("histories")
    write_cases(where)
    (where / "task.toml").write_text(TASK)
    return where


@pytest.fixture(scope="module")
def trained(folder):
    galenic.train(folder / "task.toml", budget="60steps", out=folder / "model", device="cpu", exact=True)
    return folder / "model"


def bundle(path: Path, *, ill: bool, glucose: str = "mg/dL") -> Path:
    entries = []
    for hour in range(12):
        told = [(PULSE, 75 + 2.5 * hour * ill, "/min"), (GLUCOSE, 100 if glucose == "mg/dL" else 5.6, glucose)]
        for code, value, unit in told:
            entries.append(
                {
                    "resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/1"},
                    "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                    "effectiveDateTime": f"2024-05-01T{hour:02}:00:00Z",
                    "valueQuantity": {"value": value, "unit": unit},
                }
            )  # fmt: skip
    whole = {"resourceType": "Bundle", "entry": [{"resource": own} for own in entries]}
    path.write_text(json.dumps(whole))
    return path


def test_it_learns_and_stands_beside_the_simple_methods(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    scores = metrics["targets"]["ill"]["scores"]
    assert scores["auroc"]["value"] > 0.9
    assert {own["name"] for own in metrics["targets"]["ill"]["baselines"]} == {
        "class frequencies", "logistic regression", "gradient-boosted trees",
    }  # fmt: skip
    plan = json.loads((trained / "plan.json").read_text())
    assert plan["network"]["name"] == "gru"
    assert "clock.grid" in plan["reasons"]
    assert not any("steps of" in told for told in metrics["warnings"])  # a frame's decision is no warning
    assert plan["frames"]["clock"]["steps"] == 48 or plan["frames"]["clock"]["step_hours"] == 0.5


def test_a_bundle_in_and_an_answer_or_a_refusal_out(trained, tmp_path):
    (tmp_path / "in").mkdir()
    bundle(tmp_path / "in" / "ill.json", ill=True)
    bundle(tmp_path / "in" / "well.json", ill=False)
    bundle(tmp_path / "in" / "unit.json", ill=False, glucose="mmol/L")
    found = {own.id: own for own in galenic.predict(trained, [tmp_path / "in"], tmp_path / "out")}
    assert found["ill"].refused is found["well"].refused is None
    assert found["unit"].refused == "stay: 2339-0 is given in mmol/L, learnt from in mg/dL"
    model = load_model(trained, device="cpu", exact=True)
    assert model.task.inputs[0].options["waveform"] is False


def test_what_was_mended_or_skipped_stands_with_the_answer(trained, tmp_path):
    (tmp_path / "in").mkdir()
    whole = json.loads(bundle(tmp_path / "in" / "mixed.json", ill=True).read_text())
    entries = [own["resource"] for own in whole["entry"]]
    entries[0], entries[8] = entries[8], entries[0]
    entries[4] |= {"status": "entered-in-error", "id": "e4"}
    entries.append(entries[6] | {"code": {"coding": [{"system": "http://loinc.org", "code": "1234-5"}]}})
    whole["entry"] = [{"resource": own} for own in entries]
    (tmp_path / "in" / "mixed.json").write_text(json.dumps(whole))
    (own,) = galenic.predict(trained, [tmp_path / "in"], tmp_path / "csv")
    notes = " | ".join(own.answer.notes)
    for said in ("Bundle.entry[4] (e4): is marked entered-in-error", "out of order", "so ignored: 1234-5"):
        assert said in notes
    told = pd.read_csv(own.paths[0])["notes"][0]
    assert told == "; ".join(own.answer.notes)
    (own,) = galenic.predict(trained, [tmp_path / "in"], tmp_path / "fhir", form="fhir")
    written = json.loads(own.paths[0].read_text())
    assert any("so ignored: 1234-5" in note["text"] for note in written["note"])
    assert written["subject"] == {"reference": "Patient/1"}, "of the Observations, not the name of the file"


def test_a_refusal_tells_no_folder_of_this_machine(trained, tmp_path):
    (tmp_path / "in").mkdir()
    bundle(tmp_path / "in" / "unit.json", ill=False, glucose="mmol/L")
    (tmp_path / "in" / "torn.json").write_text("{")
    found = {own.id: own for own in galenic.predict(trained, [tmp_path / "in"], tmp_path / "out", form="fhir")}
    written = json.loads(found["unit"].paths[0].read_text())
    assert (written["status"], written["subject"]) == ("cancelled", {"reference": "Patient/1"})
    assert "torn.json" in found["torn"].refused
    pd.DataFrame(
        {"id": ["a", "b", "c"], "stay": ["in/torn.json", "in/gone.json", str(tmp_path / "in" / "torn.json")]}
    ).to_csv(tmp_path / "new.csv", index=False)
    rows = galenic.predict(trained, [tmp_path / "new.csv"], tmp_path / "rows")
    assert "in/torn.json" in rows[0].refused
    assert "row 2: in/gone.json" in rows[1].refused
    for own in (*found.values(), *rows):
        assert str(tmp_path) not in own.refused
        assert str(tmp_path) not in own.paths[0].read_text()


class TestLive:
    """A measurement at a time, and the answer of `predict` for the same history."""

    def test_each_answer_is_that_of_the_history_so_far(self, trained, folder, tmp_path):
        whole = pd.read_csv(folder / "03.csv")
        live = load_model(trained, device="cpu", exact=True).live()
        answers, rows = {}, []
        for at, row in whole.iterrows():
            for code in (PULSE, GLUCOSE):
                if not np.isnan(row[code]):
                    answer = live.push("p", row["hours"], code, row[code])["ill"]
            answers[f"{at:02}"] = answer
            whole.head(at + 1).to_csv(tmp_path / f"{at:02}.csv", index=False)
            rows.append({"id": f"{at:02}", "stay": str(tmp_path / f"{at:02}.csv")})
        pd.DataFrame(rows).to_csv(tmp_path / "asked.csv", index=False)
        told = galenic.predict(trained, [tmp_path / "asked.csv"], tmp_path / "out", device="cpu", exact=True)
        assert len(told) == 25
        for one in told:
            assert one.refused is answers[one.id].refused is None
            assert answers[one.id].among == one.answer.among
            for label, share in one.answer.probabilities.items():
                assert answers[one.id].probabilities[label] == pytest.approx(share, abs=1e-5)
        assert len({round(own.probabilities["yes"], 4) for own in answers.values()}) > 5

    def test_only_what_changes_is_run_again_and_late_ones_count(self, trained, monkeypatch):
        model = load_model(trained, device="cpu", exact=True)
        live, late = model.live(), model.live()
        steps = []
        step = live.steppers[0].step
        monkeypatch.setattr(live.steppers[0], "step", lambda *given: steps.append(1) or step(*given))
        live.push("p", 0.2, PULSE, 80.0)
        grid = len(steps)
        live.push("p", 11.9, PULSE, 95.0)
        assert grid == model.plan.frames["clock"]["steps"]
        assert len(steps) - grid == 1
        in_order = live.push("p", 11.95, GLUCOSE, 101.0)["ill"]
        for hour, code, value in ((11.95, GLUCOSE, 101.0), (11.9, PULSE, 95.0), (0.2, PULSE, 80.0)):
            answer = late.push("p", hour, code, value)["ill"]
        assert answer.probabilities["yes"] == pytest.approx(in_order.probabilities["yes"], abs=1e-6)

    def test_it_refuses_as_predict_does(self, trained):
        live = load_model(trained, device="cpu", exact=True).live()
        assert live.push("p", 1.0, PULSE, 80.0, "/min")["ill"].refused is None
        text = live.push("p", 2.0, GLUCOSE, 5.6, "mmol/L")["ill"].refused
        assert text == "stay: 2339-0 is given in mmol/L, learnt from in mg/dL"
        live.begin("p")
        assert live.answer("p")["ill"].refused == "nothing of stay was measured"
        for hour, value in ((-1.0, 80.0), (np.nan, 80.0), (1.0, np.inf)):
            with pytest.raises(ValueProblem, match="hour from 0"):
                live.push("p", hour, PULSE, value)
        assert live.push("q", 13.0, PULSE, 80.0)["ill"].refused is not None  # after until_hours
        with pytest.raises(TaskError, match="columns age"):
            live.begin("p", {"age": 3.0})
        live.forget("p")
        with pytest.raises(TaskError, match="patient"):
            live.answer("p")

    def test_columns_beside_the_history_and_folds(self, folder, tmp_path):
        more = '[[inputs]]\nname = "descriptors"\nkind = "number"\ncolumns = ["age", "weight"]\n[[targets]]'
        (folder / "beside.toml").write_text(TASK.replace("[[targets]]", more).replace("cases.csv", "beside.csv"))
        table = pd.read_csv(folder / "cases.csv")
        table["weight"] = 60.0 + table["age"] / 10
        table.to_csv(folder / "beside.csv", index=False)
        model = galenic.train(
            folder / "beside.toml", budget="5steps", folds=2, out=tmp_path / "m", device="cpu", exact=True
        )
        asked = table.head(2).drop(columns="ill").assign(stay=[str(folder / own) for own in table["stay"].head(2)])
        asked.loc[1, "weight"] = np.nan
        asked.to_csv(tmp_path / "asked.csv", index=False)
        told = galenic.predict(model.folder, [tmp_path / "asked.csv"], tmp_path / "out", device="cpu", exact=True)
        live = load_model(model.folder, device="cpu", exact=True).live()
        for at, one in enumerate(told):
            live.begin(one.id, {"age": asked["age"][at]} | ({"weight": asked["weight"][0]} if at == 0 else {}))
            for _, row in pd.read_csv(asked["stay"][at]).iterrows():
                for code in (PULSE, GLUCOSE):
                    if not np.isnan(row[code]):
                        answer = live.push(one.id, row["hours"], code, row[code])["ill"]
            for label, share in one.answer.probabilities.items():
                assert answer.probabilities[label] == pytest.approx(share, abs=1e-5)


class TestFeed:
    """The same batches from ready tensors as from one sample after the other."""

    @pytest.fixture
    def ready(self, folder):
        table = pd.read_csv(folder / "cases.csv")
        inputs = [
            Field(name="stay", kind="series", columns=["stay"]), Field(name="age", kind="number", columns=["age"]),
        ]  # fmt: skip
        target = Field(name="ill", kind="category", columns=["ill"])
        task = registry.checked(Task(name="t", inputs=inputs, targets=[target]))
        cases, frames = open_cases(table, folder, task), Frames(task)
        settings, _ = frames.settle(summarise(frames, cases, range(20), Silent()), Budget(steps=9))
        return Ready(frames, cases, settings)

    def batches(self, ready, count=7):
        feed = Feed(ready, list(range(20)), 5, 8)
        return [feed(step) for step in range(count)]

    @pytest.mark.parametrize("steady", [True, False])
    def test_both_ways_agree(self, ready, steady, monkeypatch):
        if steady:
            ready.settings["clock"]["vary"] = dict.fromkeys(ready.settings["clock"]["vary"], 0.0)
        stacked = self.batches(ready)
        assert ready.stacked(list(range(20))) is not None
        monkeypatch.setattr(ready, "stacked", lambda rows: None)
        for one, other in zip(stacked, self.batches(ready), strict=True):
            assert one.size == other.size == 8
            assert one.values.keys() == other.values.keys() == {"stay", "age", "ill"}
            for name in one.values:
                assert torch.equal(one.values[name], other.values[name])
                assert torch.equal(one.present[name], other.present[name])
        assert not torch.equal(stacked[0].values["stay"], stacked[1].values["stay"])

    def test_memory_that_would_not_bear_it_twice(self, ready):
        ready._room = 10
        assert ready.stacked([0, 1]) is None
        assert self.batches(ready, 1)[0].size == 8

    def test_frames_of_other_shapes_are_fed_one_by_one(self, ready, monkeypatch):
        frame = registry.frame("row")
        monkeypatch.setitem(ready.frames.frames, "row", type("Other", (), {"whole": frame.whole})())
        assert ready.stacked([0, 1]) is None
