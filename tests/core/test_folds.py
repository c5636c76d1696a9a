"""Cross-validation: each case answered by the network that has not seen it, and nothing fitted on what was learnt."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest

import galenic
from galenic import sources, verbs
from galenic.core import bundle, crossfit, finish, registry
from galenic.core.cases import open_cases
from galenic.core.errors import InputError, PlanError
from galenic.core.fit import Job, fold_parts, open_job, train_job
from galenic.core.plan import load_plan
from galenic.core.progress import Silent
from galenic.core.split import folds
from galenic.core.train import Trainer

HOW = {"inputs": ["image:image"], "targets": ["mask:mask"]}


def fold_plan(disc_plan, path, *, budget: str = "24steps", **training):
    """The tiny U-Net's plan, for two folds."""
    plan = load_plan(disc_plan(path, **training))
    plan.folds, plan.budget = 2, budget
    plan.save(path)
    return path


@pytest.fixture(scope="module")
def model(pictures, disc_plan, tmp_path_factory):
    """Two U-Nets on 12 of 16 pictures, cross-validated."""
    folder = tmp_path_factory.mktemp("folds")
    plan = fold_plan(disc_plan, folder / "given.json")
    return galenic.train(pictures / "cases.csv", plan=plan, device="cpu", out=folder / "model", **HOW)


def records(folder) -> dict[str, dict]:
    lines = (folder / "private" / "out_of_fold.jsonl").read_text().splitlines()
    found = {own["id"]: own for own in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


class TestOutOfFold:
    def test_each_case_is_judged_by_the_network_that_has_not_seen_it(self, model, pictures):
        table = pd.read_csv(pictures / "cases.csv")
        cases = open_cases(table, pictures, model.task)
        part = pd.read_csv(model.folder / "private" / "split.csv").set_index("id")["part"]
        kept = records(model.folder)
        assert sorted(kept) == sorted(part.index[part.isin(["train", "valid"])])
        kind, field = registry.target(model.task.targets[0]), model.task.targets[0]
        loaded, told_apart = galenic.load(model.folder, device="cpu"), 0
        runners = loaded.runners
        for number, parts in enumerate(folds([part[own] for own in cases.ids], cases.patients(), 2, model.plan.seed)):
            for row in (row for row, own in enumerate(parts) if own == "valid"):
                values = cases.values(row)
                found = []
                for run in (runners[number], runners[1 - number]):
                    for fitted in ({}, {"mask": {"largest": [1]}}):  # kept or not, as it helped on the other fold
                        loaded.runners, loaded.fitted = [run], fitted
                        answer = loaded.answer(loaded.prepare(values))["mask"]
                        found.append(json.loads(json.dumps(kind.judge(answer, values["mask"], field))))
                ours = kept[cases.ids[row]]["judged"]["mask"]["model"]
                assert ours in found[:2]
                told_apart += ours not in found[2:]
        assert told_apart

    def test_the_answer_is_the_mean_of_the_networks(self, model, pictures):
        loaded = galenic.load(model.folder, device="cpu")
        prepared = loaded.prepare(open_cases(pd.read_csv(pictures / "cases.csv"), pictures, model.task).values(0))
        together, apart = loaded.infer(prepared)["mask"], []
        for run in list(loaded.runners):
            loaded.runners = [run]
            apart.append(loaded.infer(prepared)["mask"])
        np.testing.assert_allclose(together, np.mean(apart, axis=0), rtol=1e-6)
        assert np.abs(apart[0] - apart[1]).max() > 1e-3

    def test_scores_of_the_ensemble_on_what_its_networks_learnt_are_marked(self, model, pictures, monkeypatch):
        monkeypatch.setattr(sources, "of_task", lambda task: sources.find(pictures / "cases.csv", **HOW))
        for part, marked in (("train", True), ("valid", True), ("test", False)):
            warnings = galenic.evaluate(model.folder, part=part)["warnings"]
            assert any("learnt from these cases" in text for text in warnings) == marked

    def test_the_scores_have_intervals_and_stand_beside_simple_methods(self, model):
        held = model.metrics["cross_validated"]
        assert (held["cases"], held["folds"]) == (12, 2)
        own = held["targets"]["mask"]
        dice = own["scores"]["dice"]
        assert 0 < dice["low"] <= dice["value"] <= dice["high"] <= 1
        found = [one["judged"]["mask"]["model"] for one in records(model.folder).values()]
        assert dice["value"] == pytest.approx(np.mean([one["classes"]["mask"]["dice"] for one in found]), abs=1e-6)
        assert len(own["baselines"]) == len(model.metrics["targets"]["mask"]["baselines"]) > 0
        assert model.metrics["cases"] == 4
        assert "out_of_fold.jsonl" not in " ".join(bundle.public_files(model.folder))

    def test_the_history_and_the_report_tell_of_each_fold(self, model):
        lines = [json.loads(line) for line in (model.folder / "history.jsonl").read_text().splitlines()]
        assert [(line["fold"], line["step"]) for line in lines] == [(at, step) for at in (0, 1) for step in (8, 16, 24)]
        report = (model.folder / "private" / "report.html").read_text()
        assert "12 cases of train and valid, each answered by the one of 2 networks" in report
        assert "fold 1 from " in report
        assert {"training.best of fold 0", "training.best of fold 1"} <= load_plan(
            model.folder / "plan.json"
        ).reasons.keys()


class TestFitted:
    def test_a_fold_is_left_out_of_what_its_scores_rest_on(self, cancer, cancer_task, tmp_path):
        job = Job(cancer_task, cancer, tmp_path, tmp_path / "out", budget="4steps", folds=2, seed=0)
        work = open_job(job, Silent())
        assert not work.split.rows("calib")
        rng = np.random.default_rng(0)
        rows = work.split.rows("train") + work.split.rows("valid")
        truths = [work.cases.values(row, ["diagnosis"])["diagnosis"] for row in rows]
        given = [
            (at % 2, {"network": [*rng.normal(size=1), 3.0 * (at % 2)], "logistic": rng.normal(size=2)}, truth)
            for at, truth in enumerate(truths)
        ]
        evidence = crossfit.Evidence({"diagnosis": given}, {"diagnosis": given}, {"diagnosis": []})
        kept = {"diagnosis": [one for one in given if one[0] == 1]}
        others = crossfit.Evidence(kept, kept, {"diagnosis": []})
        assert crossfit.fit(work, evidence, without=0) == crossfit.fit(work, others)
        assert crossfit.fit(work, evidence, without=0) != crossfit.fit(work, evidence)
        assert crossfit.fit(work, evidence)["diagnosis"]["cases"] == len(rows)

    def test_a_calib_part_that_the_table_names_is_kept(self, cancer, cancer_task, tmp_path):
        table = cancer.assign(split=(["train", "train", "calib", "test"] * 143)[: len(cancer)])
        work = open_job(Job(cancer_task, table, tmp_path, tmp_path / "out", budget="4steps", folds=2), Silent())
        assert len(work.split.rows("calib")) == 142


class TestBudget:
    def test_a_resumed_run_has_what_the_finished_folds_left(self, disc_job, disc_plan, tmp_path, monkeypatch):
        out = tmp_path / "out"
        out.mkdir()
        fold_plan(disc_plan, out / "plan.json", budget="10000s")
        work = open_job(disc_job(out, resume=True), Silent())
        bundle.save_weights(out / "weights.fold0.safetensors", dict(work.build().state_dict()))
        (out / "private" / "fold0").mkdir(parents=True)
        (out / "private" / "fold0" / "history.jsonl").write_text(
            '{"seconds": 6000.0, "step": 24, "losses": {}, "score": 0.5}\n'
        )
        left = []

        def run(self, progress, *, until=None, adapt=False) -> bool:
            left.append(until - time.monotonic())
            return False

        monkeypatch.setattr(Trainer, "run", run)
        train_job(disc_job(out, resume=True))
        assert left == [pytest.approx(4000, abs=900)]
        assert (out / "weights.fold1.safetensors").is_file()

    def test_check_tells_the_time_of_all_folds(self, cancer, tmp_path):
        cancer.to_csv(tmp_path / "cases.csv", index=False)
        how = {"inputs": ["mean radius:number"], "targets": ["diagnosis:category"]}
        found = galenic.check(tmp_path / "cases.csv", budget="10steps", folds=3, device="cpu", **how)
        training = found.plan.training
        assert found.seconds["train"] == pytest.approx(3 * training.steps * training.seconds_per_step)


class TestRefused:
    def test_other_folds_than_those_of_the_plan(self, disc_job, disc_plan, tmp_path):
        for planned, asked in ((fold_plan(disc_plan, tmp_path / "two.json"), 5), (disc_plan(tmp_path / "no.json"), 5)):
            with pytest.raises(PlanError, match=r"--folds 5 with a plan of [02] folds"):
                open_job(disc_job(tmp_path / "out", plan=planned, folds=asked), Silent())
        work = open_job(disc_job(tmp_path / "out", plan=tmp_path / "two.json"), Silent())
        assert work.job.folds == 2
        assert len(fold_parts(work, load_plan(tmp_path / "two.json"))) == 2

    @pytest.mark.parametrize("left", ["weights.fold0.safetensors", "private/fold1/checkpoint.safetensors"])
    def test_an_interrupted_run_is_not_begun_anew(self, model, pictures, tmp_path, left):
        path = tmp_path / "out" / left
        path.parent.mkdir(parents=True)
        path.touch()
        (tmp_path / "out" / "task.toml").touch()
        with pytest.raises(InputError, match="interrupted"):
            galenic.train(pictures / "cases.csv", folds=2, budget="4steps", out=tmp_path / "out", **HOW)


class TestMirrored:
    def test_verbs_answer_over_mirror_images(self, model, pictures, tmp_path):
        plain, mirrored = (galenic.evaluate(model.folder, pictures / "cases.csv", mirror=own) for own in (False, True))
        assert "mirror" not in plain
        assert mirrored["mirror"] is True
        assert (model.folder / "private" / "metrics.cases.mirror.json").is_file()
        dice = [own["targets"]["mask"]["scores"]["dice"]["value"] for own in (plain, mirrored)]
        assert dice[0] != dice[1]
        assert dice[1] == pytest.approx(dice[0], abs=0.2)
        written = galenic.predict(model.folder, [pictures / "00.png"], tmp_path / "out", mirror=True)
        assert written[0].paths[0].is_file()
        values = {"image": open_cases(pd.read_csv(pictures / "cases.csv"), pictures, model.task).values(0)["image"]}
        ours = galenic.load(model.folder, mirror=True)(**values)["mask"].value.array
        np.testing.assert_array_equal(written[0].answer.value.array, ours)


class TestDefault:
    """How many folds: what the command says, else the plan that is obeyed, else the task."""

    def test_of_the_task_unless_the_command_says(self, cancer_task, tmp_path):
        task = cancer_task.model_copy(update={"folds": 5})
        assert verbs._folds(None, task, tmp_path, plan=None, resume=False) == 5
        assert verbs._folds(0, task, tmp_path, plan=None, resume=False) == 0
        assert verbs._folds(3, task, tmp_path, plan=None, resume=False) == 3

    def test_a_plan_that_is_obeyed_has_its_own(self, cancer_task, tmp_path):
        task = cancer_task.model_copy(update={"folds": 5})
        assert verbs._folds(None, task, tmp_path, plan=tmp_path / "plan.json", resume=False) == 0
        assert verbs._folds(None, task, tmp_path, plan=None, resume=True) == 5
        (tmp_path / "plan.json").write_text("{}")
        assert verbs._folds(None, task, tmp_path, plan=None, resume=True) == 0

    def test_folds_without_a_blend_count_as_their_network(self):
        one = {"model": [{"p": 1}], "network": [{"p": 2}], "prior": [{"p": 3}]}
        other = {"model": [{"p": 4}], "prior": [{"p": 5}]}
        assert finish._joined([one, other]) == {
            "model": [{"p": 1}, {"p": 4}], "network": [{"p": 2}, {"p": 4}], "prior": [{"p": 3}, {"p": 5}],
        }  # fmt: skip
