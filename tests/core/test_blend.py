"""Blends: the weights against a second implementation, and from a table to answers that a reloaded model repeats."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression

import galenic
from galenic.core import blend, simple
from galenic.core.cases import open_cases
from galenic.core.errors import Refused
from galenic.core.plan import load_plan
from galenic.core.task import load_task
from galenic.tables.category import CATEGORY
from galenic.tables.number import NUMBER


def log_loss(logits, truth):
    return -log_softmax(logits, axis=1)[np.arange(len(truth)), truth]


def two_views(cases: int, seed: int = 0):
    """Truths, and two members' log-probabilities (cases, 2), each of which sees half of what decides."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, 2))
    truth = (rng.random(cases) < expit(1.5 * x.sum(axis=1))).astype(int)
    views = [log_softmax(np.stack([np.zeros(cases), 2.0 * x[:, at]], axis=1), axis=1) for at in (0, 1)]
    return truth, {"network": views[0], "boosting": views[1]}


class TestWeights:
    def test_they_are_those_of_a_logistic_regression_on_log_odds(self):
        truth, views = two_views(4000)
        found = blend.weigh(views, truth, log_loss, unit="log loss")["weights"]
        odds = np.stack([own[:, 1] - own[:, 0] for own in views.values()], axis=1)
        other = LogisticRegression(C=1e9, fit_intercept=False).fit(odds, truth).coef_[0]
        np.testing.assert_allclose([found["network"], found["boosting"]], other, rtol=0.01)

    def test_a_blend_of_two_views_beats_either(self):
        truth, views = two_views(2000)
        found = blend.weigh(views, truth, log_loss, unit="log loss")
        new, seen = two_views(2000, seed=1)
        mixed = sum(weight * seen[name] for name, weight in found["weights"].items())
        assert log_loss(mixed, new).mean() < min(log_loss(own, new).mean() for own in seen.values()) - 0.02
        assert found["gain"] > 0.02
        assert found["cases"] == 2000

    def test_one_that_knows_nothing_is_left_out(self):
        truth, views = two_views(2000)
        noise = np.random.default_rng(5).normal(size=(2000, 2))
        found = blend.weigh(views | {"noise": log_softmax(noise, axis=1)}, truth, log_loss, unit="log loss")
        assert set(found["weights"]) == {"network", "boosting"}

    def test_a_network_that_nothing_helps_answers_alone(self):
        truth, views = two_views(2000)
        noise = np.random.default_rng(5).normal(size=(2000, 2))
        found = blend.weigh({"network": views["network"], "noise": noise}, truth, log_loss, unit="log loss")
        assert list(found) == ["note"]

    def test_too_few_cases_weigh_nothing(self):
        truth, views = two_views(blend.FEWEST - 1)
        assert "39 cases to weigh others on" in blend.weigh(views, truth, log_loss, unit="log loss")["note"]

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 10_000), st.integers(blend.FEWEST, 120), st.integers(1, 3), st.integers(2, 4))
    def test_they_are_never_negative_and_never_worse_on_what_they_were_fitted_on(self, seed, cases, others, labels):
        rng = np.random.default_rng(seed)
        truth = rng.integers(labels, size=cases)
        views = {
            name: log_softmax(rng.normal(size=(cases, labels)) + rng.uniform(0, 3) * np.eye(labels)[truth], axis=1)
            for name in ["network", *"abc"[:others]]
        }
        found = blend.weigh(views, truth, log_loss, unit="log loss")
        weights = found.get("weights", {"network": 1.0})
        assert all(weight > 0 for weight in weights.values())
        mixed = sum(weight * views[name] for name, weight in weights.items())
        assert log_loss(mixed, truth).mean() <= log_loss(views["network"], truth).mean() + 0.05


class TestKinds:
    def test_a_mixed_category_is_the_weighed_sum_of_log_probabilities(self):
        outputs = {"network": np.array([1.0, 3.0]), "boosting": np.log([0.9, 0.1])}
        found = CATEGORY.mix(outputs, {"network": 0.5, "boosting": 1.0})
        np.testing.assert_allclose(found, 0.5 * log_softmax([1.0, 3.0]) + np.log([0.9, 0.1]))

    def test_a_mixed_number_is_the_weighed_sum(self):
        found = NUMBER.mix({"network": np.array([2.0]), "ridge": np.array([1.0])}, {"network": 0.25, "ridge": 0.5})
        np.testing.assert_allclose(found, [1.0])


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """600 cases whose label hangs on a weighed sum of six columns; a network of few steps learns little."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 6))
    weights = np.array([3.0, -2.0, 2.0, 1.0, -1.0, 0.5])
    truth = np.where(rng.random(600) < expit(1.5 * x @ weights), "ill", "well")
    folder = tmp_path_factory.mktemp("sums")
    table = pd.DataFrame(x, columns=list("abcdef")).assign(state=truth)
    table.to_csv(folder / "cases.csv", index=False)
    return folder


HOW = {
    "inputs": [f"{name}:number" for name in "abcdef"], "targets": ["state:category"], "budget": "10steps",
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def blended(sums):
    return galenic.train(sums / "cases.csv", out=sums / "blended", **HOW)


class TestFromTableToAnswer:
    def test_a_network_of_few_steps_is_weighed_with_what_knows_more(self, blended):
        fitted = json.loads((blended.folder / "fitted.json").read_text())["state"]
        assert fitted["blend"]["weights"].keys() & {"logistic", "boosting"}
        own = blended.metrics["targets"]["state"]
        assert own["network"]["name"] == "the network alone"
        assert own["scores"]["auroc"]["value"] > own["network"]["scores"]["auroc"]["value"]
        assert "the network alone" not in [base["name"] for base in own["baselines"]]
        assert any("a blend: " in note for note in blended.metrics["warnings"])
        assert "the network alone" in (blended.folder / "private" / "report.html").read_text()
        assert load_plan(blended.folder / "plan.json").blend == ["logistic", "boosting"]

    def test_the_folder_answers_as_the_model_did(self, blended, sums):
        again = galenic.load(blended.folder, device="cpu")
        assert set(again.learners) == set(blend.used(again.fitted)) > set()
        values = open_cases(pd.read_csv(sums / "cases.csv"), sums, again.task, with_targets=False).values(3)
        one, other = (own(**values)["state"].probabilities for own in (blended, again))
        assert one == pytest.approx(other, abs=1e-6)
        alone = again.network(again.prepare(values))["state"]
        learnt = {name: own.infer(again.prepare(values))["state"] for name, own in again.learners.items()}
        parts = {"network": alone} | learnt
        mixed = CATEGORY.mix(parts, again.fitted["state"]["blend"]["weights"])
        np.testing.assert_allclose(again.infer(again.prepare(values))["state"], mixed)

    def test_many_cases_are_answered_as_each_alone(self, blended, sums):
        cases = open_cases(pd.read_csv(sums / "cases.csv"), sums, blended.task, with_targets=False)
        prepared = [blended.prepare(cases.values(row)) for row in range(5)]
        many = blended.answer_many(prepared)
        for one, other in zip(many, (blended.answer(own) for own in prepared), strict=True):
            assert one["state"].probabilities == pytest.approx(other["state"].probabilities, abs=1e-9)
            assert one["state"].among == other["state"].among

    def test_a_case_that_cannot_be_judged_leaves_its_neighbours_their_answers(self, blended, sums, monkeypatch):
        cases = open_cases(pd.read_csv(sums / "cases.csv"), sums, blended.task, with_targets=False)
        prepared = [blended.prepare(cases.values(row)) for row in range(3)]
        network = blended.network

        def judge(one):
            if one is prepared[1]:
                raise Refused("too dark")
            return network(one)

        monkeypatch.setattr(blended, "network", judge)
        first, refused, last = (own["state"] for own in blended.answer_many(prepared))
        assert refused.refused == "too dark"
        assert {first.value, last.value} <= {"ill", "well"}

    def test_rows_that_are_wrong_are_told_in_their_place(self, blended, sums, tmp_path):
        table = pd.read_csv(sums / "cases.csv").drop(columns="state").head(70)
        table.loc[[3, 66], "a"] = [-1e9, 1e9]
        table.to_csv(tmp_path / "new.csv", index=False)
        written = galenic.predict(blended.folder, [tmp_path / "new.csv"], tmp_path / "out")
        assert len({one.id for one in written}) == 70
        assert [at for at, one in enumerate(written) if one.refused] == [3, 66]
        alone = galenic.load(blended.folder)
        values = open_cases(table.drop(index=[3, 66]), tmp_path, alone.task, with_targets=False).values(67)
        own = alone(**values)["state"]
        assert written[69].answer.probabilities == pytest.approx(own.probabilities, abs=1e-9)

    def test_evaluating_again_gives_the_same_scores(self, blended):
        metrics = galenic.evaluate(blended.folder, part="test")
        assert metrics["targets"]["state"]["scores"] == blended.metrics["targets"]["state"]["scores"]
        assert metrics["targets"]["state"]["network"] == blended.metrics["targets"]["state"]["network"]

    def test_alone_it_answers_as_its_network_does(self, sums):
        model = galenic.train(sums / "cases.csv", out=sums / "alone", alone=True, **HOW)
        assert load_plan(model.folder / "plan.json").blend == []
        assert "blend" not in model.fitted["state"]
        assert "network" not in model.metrics["targets"]["state"]

    def test_over_folds_each_case_is_weighed_without_its_own(self, sums):
        model = galenic.train(sums / "cases.csv", out=sums / "folds", folds=2, **HOW)
        held = model.metrics["cross_validated"]["targets"]["state"]
        assert held["scores"]["auroc"]["value"] > held["network"]["scores"]["auroc"]["value"]
        assert model.fitted["state"]["blend"]["cases"] == 480

    def test_only_learners_that_say_so_are_mixed(self, blended):
        task = load_task(blended.folder / "task.toml")
        assert set(simple.mixing(task)) == {"logistic", "boosting"} < set(simple.names_of(task))
