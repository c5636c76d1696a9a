"""From a table to a model folder and back, through the verbs: trained, loaded, evaluated, fine-tuned, repeated."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import galenic
from galenic import sources
from galenic.core import bundle
from galenic.core.errors import (
    DigestError,
    InputError,
    LeakageError,
    ModelFolderError,
    PlanError,
    TableError,
    TaskError,
    ValueProblem,
)
from galenic.core.fit import Job, train_job
from galenic.core.plan import load_plan

HOW = {"inputs": ["mean radius:number", "mean texture:number", "site:category"], "targets": ["diagnosis:category"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory, cancer):
    """A folder with 240 cases of the breast cancer table; two of them have no diagnosis."""
    folder = tmp_path_factory.mktemp("home")
    table = cancer.iloc[:240].copy()
    table.loc[[0, 100], "diagnosis"] = None
    table.to_csv(folder / "cases.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(home):
    return galenic.train(home / "cases.csv", budget="40steps", seed=1, out=home / "model", **HOW)


@pytest.fixture
def copy(trained, tmp_path):
    """The model folder, to be damaged."""
    return shutil.copytree(trained.folder, tmp_path / "copy")


def _unknown_in_test(trained) -> int:
    """How many of the two cases without a diagnosis stand in the test part."""
    split = pd.read_csv(trained.folder / "private" / "split.csv").set_index("id")["part"]
    return sum(split[own] == "test" for own in ("c000", "c100"))


def answers(model, table: pd.DataFrame) -> list[dict]:
    cases = galenic.core.cases.open_cases(table, model.folder, model.task, with_targets=False)
    return [model.answer(model.prepare(cases.values(row)))["diagnosis"].probabilities for row in range(len(cases))]


class TestFolder:
    def test_it_holds_what_was_promised(self, trained):
        there = bundle.public_files(trained.folder)
        for name in ("task.toml", "plan.json", "weights.safetensors", "metrics.json", "history.jsonl", "card.md",
                     "provenance.json", "runtime/runtime.json", "learners/prior/state.json"):  # fmt: skip
            assert name in there
        assert "checkpoint.safetensors" not in there
        assert (trained.folder / "private" / "report.html").is_file()
        kept = bundle.verify(trained.folder)
        assert kept["seed"] == 1
        assert sum(kept["counts"].values()) == 240

    def test_the_scores_have_intervals_and_stand_beside_the_simple_methods(self, trained):
        metrics = trained.metrics
        own = metrics["targets"]["diagnosis"]
        auroc = own["scores"]["auroc"]
        assert 0.8 < auroc["low"] <= auroc["value"] <= auroc["high"] <= 1
        assert [one["name"] for one in own["baselines"]] == [
            "class frequencies", "logistic regression", "gradient-boosted trees"
        ]  # fmt: skip
        assert "site=north" in own["subgroups"]
        assert any("patient unknown" in text for text in metrics["warnings"])
        assert any("too small to learn" in text for text in metrics["warnings"])

    def test_the_report_draws_the_answers_and_lists_the_most_wrong(self, trained):
        report = (trained.folder / "private" / "report.html").read_text(encoding="utf-8")
        for words in (
            "ROC",
            "Precision and recall",
            "Calibration",
            "Decision curve",
            "Confusion",
            "The most wrong cases",
        ):
            assert words in report
        split = pd.read_csv(trained.folder / "private" / "split.csv").set_index("part")
        listed = [own for own in split.loc["test", "id"] if f'<th scope="row">{own}</th>' in report]
        assert len(listed) == 10

    def test_counts_that_scores_hide_are_kept(self, trained):
        own = trained.metrics["targets"]["diagnosis"]
        counts = np.array(own["details"]["confusion"]["counts"])
        assert counts.sum() + sum(own["details"]["confusion"]["refused"]) == pd.read_csv(
            trained.folder / "private" / "split.csv"
        )["part"].eq("test").sum() - _unknown_in_test(trained)
        assert own["scores"]["accuracy"]["value"] == pytest.approx(np.trace(counts) / counts.sum())
        assert own["worst_subgroup"]["subgroup"] in own["subgroups"]

    def test_nobody_is_named_outside_private(self, trained, home):
        ids = pd.read_csv(home / "cases.csv")["id"]
        public = [trained.folder / name for name in bundle.public_files(trained.folder)]
        text = b"".join(path.read_bytes() for path in public)
        assert not any(f'"{own}"'.encode() in text or f" {own} ".encode() in text for own in ids)
        split = pd.read_csv(trained.folder / "private" / "split.csv")
        assert sorted(split["id"]) == sorted(ids)


class TestLoaded:
    def test_it_answers_as_before(self, trained, home):
        table = pd.read_csv(home / "cases.csv").iloc[:20]
        assert answers(galenic.load(trained.folder), table) == answers(trained, table)

    def test_float32_agrees(self, trained, home):
        table = pd.read_csv(home / "cases.csv").iloc[:20]
        exact = answers(galenic.load(trained.folder, exact=True), table)
        for one, other in zip(exact, answers(trained, table), strict=True):
            assert one["malignant"] == pytest.approx(other["malignant"], abs=0.005)

    def test_the_same_part_scores_the_same(self, trained, home):
        """The table of the test cases gives the scores that training wrote; a case without truth is left out."""
        split = pd.read_csv(trained.folder / "private" / "split.csv").set_index("id")["part"]
        table = pd.read_csv(home / "cases.csv")
        table[table["id"].map(split) == "test"].to_csv(home / "again.csv", index=False)
        again = galenic.evaluate(trained.folder, home / "again.csv")
        before = trained.metrics
        assert again["targets"] == before["targets"]
        assert again["cases"] == before["cases"]
        assert (trained.folder / "private" / "metrics.again.json").is_file()
        bundle.verify(trained.folder)

    def test_bare_numbers_and_labels_answer_as_a_row_does(self, trained, home):
        table = pd.read_csv(home / "cases.csv").iloc[3:4]
        (expected,) = answers(trained, table)
        given = {name: table[name].iloc[0] for name in ("mean radius", "mean texture", "site")}
        assert trained(**given)["diagnosis"].probabilities == expected
        plain = given | {"mean radius": str(given["mean radius"]), "mean texture": float(given["mean texture"])}
        assert trained(**plain)["diagnosis"].probabilities == expected
        assert trained(**given | {"mean texture": None})["diagnosis"].refused is None
        for wrong, told in (
            ({"mean radius": "wide"}, "'wide' for mean radius"),
            ({"mean radius": np.inf}, "inf for mean radius"),
            ({"site": ["A"]}, "list for the category site"),
            ({"radius": 14.0}, "the model has no field 'radius'"),
        ):
            with pytest.raises(InputError, match=told):
                trained(**given | wrong)

    def test_predicted_files_say_what_the_model_says(self, trained, home, tmp_path):
        pd.read_csv(home / "cases.csv").iloc[:3].drop(columns="diagnosis").to_csv(tmp_path / "new.csv", index=False)
        written = galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")
        assert [one.id for one in written] == ["c000", "c001", "c002"]
        expected = answers(trained, pd.read_csv(home / "cases.csv").iloc[:3])
        for one, own in zip(written, expected, strict=True):
            row = pd.read_csv(one.paths[0]).iloc[0]
            assert row["p(malignant)"] == pytest.approx(own["malignant"], rel=1e-4)

    def test_what_it_cannot_judge_is_refused_and_the_rest_goes_on(self, trained, home, tmp_path):
        table = pd.read_csv(home / "cases.csv").iloc[:3].drop(columns="diagnosis").astype({"site": object})
        table.loc[1, "mean radius"] = 1e9
        table.loc[2, ["mean radius", "mean texture", "site"]] = None
        table.to_csv(tmp_path / "new.csv", index=False)
        written = galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")
        assert written[0].refused is None
        assert "far outside" in written[1].refused
        assert "every input is missing" in written[2].refused
        assert [len(one.paths) for one in written] == [1, 1, 1]  # a refusal stands in its file as well
        assert "far outside" in pd.read_csv(tmp_path / "out" / "c001.csv")["refused"][0]

    def test_a_bad_cell_refuses_its_row_alone(self, trained, home, tmp_path):
        table = pd.read_csv(home / "cases.csv").iloc[:5].drop(columns="diagnosis").astype(object)
        table.loc[1, "mean radius"], table.loc[2, "mean texture"], table.loc[4, "id"] = "abc", "5-10", None
        table.to_csv(tmp_path / "new.csv", index=False)
        written = galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")
        assert [one.id for one in written] == ["c000", "c001", "c002", "c003", "row-00004"]
        assert [one.refused is None for one in written] == [True, False, False, True, False]
        assert "row 2 holds 'abc' in the number column 'mean radius'" in written[1].refused
        assert "'5-10'" in pd.read_csv(written[2].paths[0])["refused"][0]
        assert "row 5 has no id" in written[4].refused

    def test_a_table_to_predict_that_lacks_a_column(self, trained, home, tmp_path):
        pd.read_csv(home / "cases.csv").iloc[:2][["id", "mean radius", "site"]].to_csv(
            tmp_path / "new.csv", index=False
        )
        with pytest.raises(TableError, match="the table lacks a column of the model: 'mean texture'"):
            galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")

    def test_a_label_never_seen_is_left_out_of_the_scores_and_told(self, trained, home, tmp_path):
        table = pd.read_csv(home / "cases.csv").iloc[1:60].astype(object)
        table.to_csv(tmp_path / "sound.csv", index=False)
        expected = galenic.evaluate(trained.folder, tmp_path / "sound.csv")
        more = pd.concat([table, table.iloc[:2].assign(id=["odd", "bad"], diagnosis=["unsure", "benign"])])
        more.loc[more["id"] == "bad", "mean radius"] = "abc"
        more.to_csv(tmp_path / "odd.csv", index=False)
        found = galenic.evaluate(trained.folder, tmp_path / "odd.csv")
        assert (found["cases"], found["left_out"]) == (expected["cases"], 2)
        assert found["targets"]["diagnosis"]["scores"] == expected["targets"]["diagnosis"]["scores"]
        (told,) = [text for text in found["warnings"] if "left out" in text and "unsure" in text]
        assert f"2 of {expected['cases'] + 2} cases" in told
        assert "case odd (row 60): the label 'unsure'" in told
        assert "'abc'" in told
        assert "left_out" not in expected
        table.iloc[:3].assign(diagnosis="unsure").to_csv(tmp_path / "none.csv", index=False)
        with pytest.raises(ValueProblem, match="'unsure'"):
            galenic.evaluate(trained.folder, tmp_path / "none.csv")

    def test_an_answer_never_takes_the_place_of_an_input(self, trained, home, tmp_path):
        table = pd.read_csv(home / "cases.csv").iloc[:2].drop(columns="diagnosis")
        table.to_csv(tmp_path / "new.csv", index=False)
        galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")
        before = (tmp_path / "out" / "c000.csv").read_bytes()
        again = galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")
        assert [one.refused for one in again] == [None, None], "its own answers it may replace"
        assert (tmp_path / "out" / "c000.csv").read_bytes() == before
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["c000.csv", "c001.csv"]

    def test_an_id_does_not_lead_out_of_the_folder(self, trained, home, tmp_path):
        table = pd.read_csv(home / "cases.csv").iloc[:2].drop(columns="diagnosis")
        table["id"] = ["../../gone", "site/c1"]
        table.to_csv(tmp_path / "new.csv", index=False)
        written = galenic.predict(trained.folder, [tmp_path / "new.csv"], tmp_path / "out")
        assert "outside" in written[0].refused
        assert written[1].paths == [tmp_path / "out" / "site" / "c1.csv"]


class TestMirrored:
    def test_a_network_without_mirror_images_says_so(self, trained, home, tmp_path):
        for ask in (
            lambda: galenic.load(trained.folder, mirror=True),
            lambda: galenic.evaluate(trained.folder, mirror=True),
            lambda: galenic.predict(trained.folder, [home / "cases.csv"], tmp_path / "out", mirror=True),
        ):
            with pytest.raises(TaskError, match="mirrored answers of the network mlp") as caught:
                ask()
            assert "unet" in caught.value.allowed
        assert not (tmp_path / "out").exists()


class TestDamaged:
    def test_weights_of_another_network(self, copy):
        bundle.save_weights(copy / "weights.safetensors", {"first.weight": torch.zeros(2, 2)})
        with pytest.raises(DigestError):
            galenic.load(copy)
        bundle.seal(copy, {"galenic": "0.1.0"})
        with pytest.raises(ModelFolderError, match="do not fit its plan"):
            galenic.load(copy)

    def test_a_damaged_calibration(self, copy):
        (copy / "fitted.json").write_text("{")
        bundle.seal(copy, {"galenic": "0.1.0"})
        with pytest.raises(ModelFolderError, match="damaged"):
            galenic.load(copy)

    def test_weights_of_an_unfinished_run_are_not_taken_for_another(self, trained, home, tmp_path):
        out = tmp_path / "begun"
        for at, name in enumerate(["weights.safetensors", "private/fold0/checkpoint.safetensors"]):
            folder = shutil.copytree(trained.folder, out / str(at))
            for path in [*folder.glob("*.safetensors"), folder / "provenance.json"]:
                path.unlink()
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((trained.folder / "weights.safetensors").read_bytes())
            with pytest.raises(InputError, match="interrupted"):
                galenic.train(home / "cases.csv", budget="4steps", out=folder, **HOW)

    def test_a_finished_model_is_not_overwritten(self, trained, home):
        before = bundle.sha256(trained.folder / "weights.safetensors")
        for resume in (False, True):
            with pytest.raises(InputError, match="finished model"):
                galenic.train(home / "cases.csv", budget="4steps", out=trained.folder, resume=resume, **HOW)
        assert bundle.sha256(trained.folder / "weights.safetensors") == before


class TestAgain:
    def test_a_plan_repeats_it_exactly(self, trained, home, tmp_path):
        again = galenic.train(home / "cases.csv", plan=trained.folder / "plan.json", out=tmp_path / "again", **HOW)
        name = "weights.safetensors"
        assert bundle.sha256(again.folder / name) == bundle.sha256(trained.folder / name)
        assert again.plan.seed == 1
        value = again.metrics["targets"]["diagnosis"]["scores"]["auroc"]["value"]
        assert value == pytest.approx(trained.metrics["targets"]["diagnosis"]["scores"]["auroc"]["value"], abs=2e-3)

    def test_fine_tuning_starts_where_the_other_ended(self, trained, home, tmp_path):
        found = sources.find(home / "cases.csv", **HOW)
        train_job(
            Job(
                found.task,
                found.table,
                home,
                tmp_path,
                start_from=trained.folder,
                budget="1steps",
                device="cpu",
                seed=1,
            )
        )
        plan = load_plan(tmp_path / "plan.json")
        before, after = (bundle.load_weights(folder / "weights.safetensors") for folder in (trained.folder, tmp_path))
        moved = max(float((after[name] - before[name]).abs().max()) for name in before)
        assert 0 < moved < 0.01
        assert plan.frames == trained.plan.frames
        assert plan.training.learning_rate == pytest.approx(0.3 * trained.plan.training.learning_rate)
        assert plan.training.steps == 1
        assert plan.reasons["training.best"] == "step 1 of 1, by the validation score"

    def test_folds_make_an_ensemble(self, trained, home, tmp_path):
        model = galenic.train(home / "cases.csv", folds=2, budget="20steps", seed=1, out=tmp_path / "folds", **HOW)
        names = bundle.public_files(model.folder)
        assert [name for name in names if name.startswith("weights")] == [
            "weights.fold0.safetensors", "weights.fold1.safetensors"
        ]  # fmt: skip
        one, two = (bundle.load_weights(model.folder / f"weights.fold{number}.safetensors") for number in (0, 1))
        assert not all(torch.equal(one[name], two[name]) for name in one)
        table = pd.read_csv(home / "cases.csv").iloc[:10]
        loaded = galenic.load(model.folder)
        assert answers(loaded, table) == answers(model, table)
        prepared = model.prepare(galenic.core.cases.open_cases(table, home, model.task).values(3))
        apart = []
        for run in loaded.runners:
            loaded.runners, kept = [run], loaded.runners
            apart.append(loaded.network(prepared)["diagnosis"])
            loaded.runners = kept
        np.testing.assert_allclose(loaded.network(prepared)["diagnosis"], np.mean(apart, axis=0), rtol=1e-6)
        split = pd.read_csv(model.folder / "private" / "split.csv").set_index("id")["part"]
        truths = pd.read_csv(home / "cases.csv").set_index("id")["diagnosis"][split.index[split != "test"]]
        assert "calib" not in set(split)
        assert model.fitted["diagnosis"]["cases"] == truths.notna().sum()
        assert model.metrics["cross_validated"]["cases"] == len(truths)
        auroc = model.metrics["cross_validated"]["targets"]["diagnosis"]["scores"]["auroc"]
        assert 0.7 < auroc["low"] < auroc["value"] < auroc["high"] <= 1

    def test_fine_tuning_from_what_does_not_fit(self, trained, home, tmp_path):
        with pytest.raises(PlanError, match="knows nothing of the fields mean area"):
            galenic.train(
                home / "cases.csv", inputs=["mean area:number"], targets=["diagnosis:category"],
                start_from=trained.folder, budget="4steps", out=tmp_path / "tuned",
            )  # fmt: skip


class TestRefusedTables:
    def test_nothing_is_left_behind(self, home, tmp_path, cancer):
        leaky = cancer.iloc[:60].assign(patient=[row % 20 for row in range(60)], split=["train", "train", "test"] * 20)
        leaky.to_csv(tmp_path / "leaky.csv", index=False)
        with pytest.raises(LeakageError, match="20 patients"):
            galenic.train(tmp_path / "leaky.csv", budget="4steps", out=tmp_path / "out", **HOW)
        with pytest.raises(TableError, match="lacks"):
            galenic.train(home / "cases.csv", inputs=["weight:number"], targets=HOW["targets"], out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_bad_case_of_any_part_is_told_before_training(self, home, tmp_path, trained):
        table = pd.read_csv(home / "cases.csv")
        split = pd.read_csv(trained.folder / "private" / "split.csv").set_index("id")["part"]
        last = table["id"].map(split)[lambda part: part == "test"].index[-1]
        table.loc[last, "diagnosis"] = "unheard of"
        table.to_csv(tmp_path / "cases.csv", index=False)
        split.reset_index().to_csv(tmp_path / "split.csv", index=False)
        for verb, more in ((galenic.check, {}), (galenic.train, {"out": tmp_path / "out"})):
            with pytest.raises(ValueProblem, match=table.loc[last, "id"]):
                verb(tmp_path / "cases.csv", budget="4steps", split=tmp_path / "split.csv", **HOW, **more)
        assert not (tmp_path / "out" / "plan.json").exists()

    def test_check_says_the_plan_and_leaves_nothing(self, home, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = galenic.check(home / "cases.csv", budget="40steps", seed=1, **HOW)
        assert found.plan.training.steps == 40
        assert sum(found.counts.values()) == 240
        assert found.seconds["train"] > 0
        assert list(tmp_path.iterdir()) == []
        assert json.loads(json.dumps(found.plan.model_dump())) == found.plan.model_dump(mode="json")

    def test_its_plan_is_that_of_the_training(self, home, trained):
        found = galenic.check(home / "cases.csv", budget="40steps", seed=1, **HOW).plan
        assert found.frames == load_plan(trained.folder / "plan.json").frames
        assert found.network == trained.plan.network
