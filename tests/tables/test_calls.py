"""From which probability on a class is called, and that an answer obeys it."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.contract import Answer, Field, Prepared
from galenic.core.errors import ValueProblem
from galenic.tables import calls
from galenic.tables.kinds import CATEGORY
from galenic.tables.prepare import ROW

FIELD = Field(name="ill", kind="category", columns=["ill"], options={"sensitivity": 0.9}, target=True)
FRAME = {"cases": 9, "numbers": {}, "categories": {"ill": {"labels": ["no", "yes"], "counts": [5, 4], "missing": 0}}}
CHANCES = st.sampled_from([0.0, 0.1, 0.1, 0.5, 0.9, 1.0]) | st.floats(0, 1)
CASES = st.lists(st.tuples(CHANCES, st.booleans()), min_size=1, max_size=30)


def said(p, refused=None):
    if refused:
        return Answer(None, facts={"labels": ["no", "yes"]}, refused=refused)
    return Answer("yes" if p > 0.5 else "no", probabilities={"no": 1 - p, "yes": p}, facts={"labels": ["no", "yes"]})


@given(CASES, st.sampled_from([0.5, 0.8, 0.9, 0.999]))
@settings(deadline=None)
def test_the_share_is_found_and_no_higher_threshold_finds_it(cases, wanted):
    p, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])
    if not truth.any():
        return
    least = calls.for_sensitivity(p, truth, wanted)
    assert (p[truth] >= least).mean() >= wanted - 1e-9
    higher = p[p > least]
    assert not len(higher) or (p[truth] >= higher.min()).mean() < wanted


@given(CASES, st.floats(0.1, 20), st.floats(0.1, 20))
@settings(deadline=None)
def test_no_threshold_costs_less(cases, miss, alarm):
    p, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])

    def cost(least):
        called = p >= least - 1e-12
        return miss * (~called & truth).sum() + alarm * (called & ~truth).sum()

    least = calls.for_costs(p, truth, miss, alarm)
    assert 0 < least <= 1
    assert cost(least) <= min(cost(other) for other in np.linspace(1e-9, 1, 200)) + 1e-6


def test_where_costs_are_equal_the_threshold_is_the_one_of_right_probabilities():
    p, truth = np.array([0.1, 0.9]), np.array([False, True])
    assert calls.for_costs(p, truth, 4.0, 1.0) == pytest.approx(0.2)


def test_what_was_chosen_is_json_and_says_what_came_of_it():
    answers = [said(p) for p in (0.9, 0.6, 0.3, 0.4, 0.2, 0.1)] + [said(0.5, refused="x"), said(0.99)]
    truths = ["yes", "yes", "yes", "no", "no", "no", "yes", None]
    fitted = json.loads(json.dumps(CATEGORY.choose(answers, truths, FIELD)))
    note = fitted.pop("call_note")
    assert "3 of its cases (fewer than 30)" in note
    assert fitted == {
        "call": {
            "positive": "yes", "from": 0.3, "way": "a sensitivity of 0.9", "cases": 6, "positives": 3,
            "sensitivity": 1.0, "specificity": pytest.approx(2 / 3),
        }
    }  # fmt: skip
    assert CATEGORY.calling(fitted) == (
        "yes is called from a probability of 0.3 on (for a sensitivity of 0.9); chosen on 6 held-out cases, 3 of them "
        "yes, where the sensitivity was 1 and the specificity 0.667"
    )
    assert CATEGORY.calling({}) == ""
    assert "call_note" not in CATEGORY.choose([said(p) for p in [0.9, 0.2] * 30], ["yes", "no"] * 30, FIELD)
    for options in ({}, {"max_error": 0.1}):
        assert CATEGORY.choose(answers, truths, FIELD.model_copy(update={"options": options})) == {}
    by_cost = FIELD.model_copy(update={"options": {"costs": [1, 10], "positive": "no"}})
    assert CATEGORY.choose(answers, truths, by_cost)["call"]["positive"] == "no"
    assert "1 a miss and 10 a false alarm" in CATEGORY.choose(answers, truths, by_cost)["call"]["way"]


@pytest.mark.parametrize("truths", [[None, None], ["yes", "yes"], ["no", "no"]])
def test_without_both_classes_none_is_chosen_and_it_is_said(truths):
    assert set(CATEGORY.choose([said(0.2), said(0.7)], truths, FIELD)) == {"call_note"}


def answered(p, call, **fitted):
    prepared = Prepared({"labs": np.zeros(2, np.float32)}, {"row": {"seen": 1, "of": 1, "far": []}})
    output = np.log([max(1 - p, 1e-12), max(p, 1e-12)])
    return CATEGORY.answer(output, prepared, FIELD, {**FRAME, "numbers": {"labs": {}}}, {"call": call, **fitted})


def test_where_call_and_set_differ_the_answer_says_so(tmp_path):
    call = {"positive": "yes", "from": 0.06, "way": "a sensitivity of 0.95"}
    got = answered(0.061, call, thresholds=[0.5, 0.3])
    assert (got.value, got.among) == ("yes", ("no",))
    (note,) = got.notes
    assert "the call and the set differ: yes (probability 0.061)" in note
    assert answered(0.4, call, thresholds=[0.5, 0.3]).notes == ()
    assert answered(0.061, call).notes == ()
    (file,) = CATEGORY.write(got, {}, tmp_path / "c", form="csv")
    row = next(csv.DictReader(file.read_text().splitlines()))
    assert row["threshold"] == "yes is called from a probability of 0.06 on (for a sensitivity of 0.95)"
    assert row["notes"] == note
    (file,) = CATEGORY.write(got, {}, tmp_path / "c", form="fhir")
    told = [own["text"] for own in json.loads(file.read_text())["note"]]
    assert told[0] == f"Called: yes; {row['threshold']}."
    assert any(text.startswith("The call and the set differ") for text in told)


@given(st.floats(0.001, 0.999), st.floats(0.01, 0.99), st.booleans())
@settings(deadline=None)
def test_an_answer_is_called_by_the_threshold(p, least, turned):
    positive = "no" if turned else "yes"
    own = 1 - p if turned else p
    if math.isclose(own, least, abs_tol=1e-6):
        return
    got = answered(p, {"positive": positive, "from": least})
    assert got.value == (positive if own >= least else {"no": "yes", "yes": "no"}[positive])
    assert got.facts["called_from"] == {positive: least}
    judged = CATEGORY.judge(got, "yes", FIELD)
    assert judged["called"] == judged["labels"].index(got.value)


def test_a_threshold_for_three_labels_is_refused_when_the_labels_are_known():
    summary = ROW.summarise({"ill": "a"}, [FIELD])
    for label in "bc":
        summary = ROW.merge(summary, ROW.summarise({"ill": label}, [FIELD]))
    with pytest.raises(ValueProblem, match="has 3 labels"):
        ROW.settle(summary, [FIELD], None)
