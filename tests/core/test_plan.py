"""Budgets as users write them, schedules cut or stretched on the way, and plans that are obeyed to the letter."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.core.contract import Budget
from galenic.core.errors import BudgetError, GalenicError, MissingFile, NewerVersionError, PlanError
from galenic.core.plan import FORMAT, Network, Plan, Training, load_plan, parse_budget
from galenic.core.train import rate_at


def training_of(**given) -> Training:
    usual = {
        "batch": 2, "learning_rate": 0.01, "weight_decay": 0.0, "optimizer": "adamw", "precision": "f32",
        "layout": "default", "schedule": [(0, 100)], "evaluate_every": 10, "warmup": 10, "ema": 0.9,
        "seconds_per_step": 0.01, "threads": 1,
    }  # fmt: skip
    return Training(**{**usual, **given})


def plan_of() -> Plan:
    return Plan(
        task="t", seed=0, budget="100steps", frames={"row": {"numbers": {}}}, reasons={"a": "b"},
        network=Network(name="mlp", settings={"width": 8}), training=training_of(),
    )  # fmt: skip


class TestBudget:
    @given(amount=st.integers(1, 100_000), unit=st.sampled_from(["s", "m", "min", "h"]))
    def test_times(self, amount, unit):
        seconds = amount * {"s": 1, "m": 60, "min": 60, "h": 3600}[unit]
        for text in (f"{amount}{unit}", f" {amount} {unit.upper()} ", f"{amount}.0{unit}"):
            assert parse_budget(text) == Budget(seconds=seconds)

    @given(amount=st.integers(1, 100_000))
    def test_counts(self, amount):
        assert parse_budget(f"{amount}steps") == parse_budget(f"{amount}step") == Budget(steps=amount)
        assert parse_budget(f"{amount / 2}epochs") == Budget(epochs=amount / 2)

    @given(st.text(max_size=20))
    def test_anything_else_is_refused_in_our_words(self, text):
        try:
            found = parse_budget(text)
        except BudgetError:
            return
        given_ones = [one for one in (found.seconds, found.epochs, found.steps) if one is not None]
        assert len(given_ones) == 1
        assert given_ones[0] > 0

    @pytest.mark.parametrize("text", ["", "0s", "-5m", "10", "m", "1.5steps", "nan s", "1e3s", "9" * 400 + "h", "5 d"])
    def test_slips(self, text):
        with pytest.raises(BudgetError) as told:
            parse_budget(text)
        assert "90s" in told.value.allowed or "whole" in told.value.allowed


@st.composite
def schedules(draw) -> list[tuple[int, int]]:
    """A plan of some steps, then cuts and stretches at later and later steps, each before the end then in force."""
    total = draw(st.integers(1, 200))
    pairs, at = [(0, total)], 0
    for _ in range(draw(st.integers(0, 5))):
        if total - at < 2:
            break
        at = draw(st.integers(at + 1, total - 1))
        total = at + draw(st.integers(0, 200))
        pairs.append((at, total))
        if total == at:
            break
    return pairs


class TestSchedule:
    @given(schedules())
    def test_it_rises_from_zero_to_one(self, schedule):
        plan = training_of(schedule=schedule)
        way = [plan.progress(step) for step in range(plan.steps + 1)]
        assert way[0] == 0
        assert all(0 <= one <= other <= 1 for one, other in pairwise(way))
        stopped = len(schedule) > 1 and schedule[-1][0] == schedule[-1][1]
        assert way[-1] == pytest.approx(1) or stopped

    @given(schedules())
    def test_a_cut_changes_the_pace_and_not_the_place(self, schedule):
        for known in range(1, len(schedule)):
            before, after = training_of(schedule=schedule[:known]), training_of(schedule=schedule[: known + 1])
            place = schedule[known][0]
            assert after.progress(place) == pytest.approx(before.progress(place))
            assert [after.progress(step) for step in range(place)] == [before.progress(step) for step in range(place)]

    @given(schedules(), st.integers(1, 20))
    def test_the_rate_warms_up_and_ends_at_zero(self, schedule, warmup):
        plan = training_of(schedule=schedule, warmup=warmup)
        rates = [rate_at(plan, step) for step in range(plan.steps)]
        assert all(0 <= rate <= plan.learning_rate for rate in rates)
        assert rates[0] == pytest.approx(plan.learning_rate / warmup)
        if plan.steps > warmup and schedule[-1][0] < schedule[-1][1]:
            assert rate_at(plan, plan.steps) == pytest.approx(0, abs=1e-9)


class TestFile:
    def test_it_comes_back_as_it_was(self, tmp_path):
        plan = plan_of()
        plan.save(tmp_path / "plan.json")
        assert load_plan(tmp_path / "plan.json") == plan

    @pytest.mark.parametrize(
        "change",
        [
            {"surprise": 1},
            {"training": {**training_of().model_dump(), "surprise": 1}},
            {"network": {"name": "mlp", "settings": {}, "surprise": 1}},
            {"training": {**training_of().model_dump(), "batch": 0}},
            {"training": {**training_of().model_dump(), "schedule": []}},
            {"seed": "many"},
            {"frames": None},
        ],
    )
    def test_unknown_keys_and_wrong_values_are_refused(self, tmp_path, change):
        (tmp_path / "plan.json").write_text(json.dumps({**plan_of().model_dump(), **change}))
        with pytest.raises(PlanError, match="no plan of this version"):
            load_plan(tmp_path / "plan.json")

    def test_a_newer_one_is_refused_with_what_to_do(self, tmp_path):
        (tmp_path / "plan.json").write_text(json.dumps({"format": FORMAT + 1, "what": "ever"}))
        with pytest.raises(NewerVersionError) as told:
            load_plan(tmp_path / "plan.json")
        assert "pip install -U galenic" in told.value.todo

    @pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00", '{"format": "1"}'])
    def test_what_is_no_plan(self, tmp_path, text):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(GalenicError):
            load_plan(tmp_path / "plan.json")

    def test_none(self, tmp_path):
        with pytest.raises(MissingFile):
            load_plan(tmp_path / "plan.json")
