"""Intervals by resampling patients: their properties, what is left undefined, and subgroups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.contract import Field
from galenic.core.evaluate import bootstrap, measure, paired, plain, subgroups

FIELD = Field(name="y", kind="category", columns=["y"], target=True)


def judged(p: float, truth: int) -> dict:
    """A case of two classes as the category kind judges it."""
    return {"labels": ["a", "b"], "positive": 1, "p": [1 - p, p], "truth": truth, "among": []}


def some(count: int, seed: int = 0, sharp: float = 1.5) -> list[dict]:
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    p = 1 / (1 + np.exp(-(rng.normal(size=count) + sharp * (2 * truth - 1))))
    return [judged(float(own), int(t)) for own, t in zip(p, truth, strict=True)]


def numbers(score: dict) -> list:
    return [score[key] for key in ("value", "low", "high")]


def mean_of(cases) -> dict:
    return {"": {"mean": math.fsum(cases) / len(cases)}}


class TestBootstrap:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.floats(-10, 10), min_size=2, max_size=20), st.integers(0, 5))
    def test_it_lies_within_the_values_and_is_fixed_by_the_seed(self, values, seed):
        groups = [str(at) for at in range(len(values))]
        low, high = bootstrap(mean_of, values, groups, seed=seed, resamples=200)[""]["mean"]
        assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
        assert bootstrap(mean_of, values, groups, seed=seed, resamples=200)[""]["mean"] == (low, high)

    def test_it_is_that_of_the_normal_for_a_mean(self):
        values = np.random.default_rng(0).normal(size=400).tolist()
        low, high = bootstrap(mean_of, values, [str(at) for at in range(400)])[""]["mean"]
        half = 1.96 * np.std(values) / 20
        assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.015)

    def test_cases_of_one_patient_go_together(self):
        """Ten copies of each value are no more evidence than one."""
        values = np.random.default_rng(1).normal(size=40)
        copies, people = np.repeat(values, 10).tolist(), np.repeat(np.arange(40), 10).astype(str).tolist()
        low, high = bootstrap(mean_of, copies, people)[""]["mean"]
        naive_low, naive_high = bootstrap(mean_of, copies, [str(at) for at in range(400)])[""]["mean"]
        assert high - low > 2.5 * (naive_high - naive_low)

    def test_one_patient_has_no_interval(self):
        assert bootstrap(mean_of, [1.0, 2.0], ["a", "a"]) == {}

    def test_cases_and_groups_must_match(self):
        with pytest.raises(ValueError):
            bootstrap(mean_of, [1.0, 2.0], ["a"])


class TestMeasure:
    def test_value_and_interval_of_each_score(self):
        cases = some(80)
        found = measure(FIELD, cases, [str(at) for at in range(80)], resamples=200)
        for score in ("auroc", "accuracy", "brier"):
            own = found["scores"][score]
            assert own["low"] < own["value"] < own["high"]
        assert set(found["classes"]) == {"a", "b"}

    def test_what_is_undefined_is_null(self):
        """One class only has no AUROC; one patient has no interval; no case has nothing."""
        alone = measure(FIELD, [judged(0.6, 1)] * 5, [str(at) for at in range(5)], resamples=50)["scores"]
        assert numbers(alone["auroc"]) == [None, None, None]
        assert alone["accuracy"]["value"] == 1.0
        one = numbers(measure(FIELD, some(6), ["p"] * 6, resamples=50)["scores"]["accuracy"])
        assert one[0] is not None
        assert one[1:] == [None, None]
        nothing = measure(FIELD, [], [], resamples=50)["scores"]
        assert all(numbers(own) == [None, None, None] for own in nothing.values())

    def test_a_score_that_most_resamples_leave_undefined_has_no_interval(self):
        """Two given patients of twenty are both drawn in four resamples of ten, one of them in six of ten."""

        def needs(*wanted):
            return lambda cases: {"": {"x": 1.0 if set(wanted) <= set(cases) else math.nan}}

        people = [str(at) for at in range(20)]
        assert bootstrap(needs("3"), people, people) == {"": {"x": (1.0, 1.0)}}
        assert bootstrap(needs("3", "7"), people, people) == {}

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_json_has_no_nan(self, value):
        assert plain(value) is None
        assert plain(1 / 3) == 0.333333


class TestSubgroups:
    def test_each_of_five_cases_or_more(self):
        cases = some(40)
        sites = ["north"] * 20 + ["south"] * 16 + ["west"] * 4
        found = subgroups(FIELD, cases, [str(at) for at in range(40)], {"site": sites, "all": ["one"] * 40})
        assert set(found) == {"site=north", "site=south"}
        assert found["site=north"]["cases"] == 20
        alone = measure(FIELD, cases[:20], [str(at) for at in range(20)], resamples=50)["scores"]["auroc"]["value"]
        assert found["site=north"]["auroc"]["value"] == alone
        assert set(found["site=north"]["auroc"]) == {"value", "low", "high"}


class TestPaired:
    def accuracy(self, cases) -> float:
        return sum(cases) / len(cases) if cases else math.nan

    def test_the_pairing_narrows_it(self):
        rng = np.random.default_rng(0)
        theirs = rng.random(200) < 0.7
        ours = theirs | (rng.random(200) < 0.1)
        groups = [str(at) for at in range(200)]
        found = paired(self.accuracy, ours.tolist(), theirs.tolist(), groups)
        assert found["difference"] == pytest.approx(ours.mean() - theirs.mean())
        assert 0 <= found["low"] <= found["difference"] <= found["high"] < 0.1

    def test_the_same_learner_differs_by_nothing(self):
        cases = [True, False, True, True]
        assert paired(self.accuracy, cases, cases, list("abcd")) == {"difference": 0, "low": 0, "high": 0}

    def test_one_patient_or_undefined_scores_have_no_interval(self):
        one = paired(self.accuracy, [True, False], [False, False], ["a", "a"])
        assert one["difference"] == 0.5
        assert math.isnan(one["low"])
        assert math.isnan(one["high"])
        undefined = paired(lambda cases: math.nan, [True, False], [False, False], ["a", "b"])
        assert all(math.isnan(value) for value in undefined.values())
