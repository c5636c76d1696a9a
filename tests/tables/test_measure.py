import math
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from galenic.tables import measure

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.5001, 0.9, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1
)


def by_pairs(score, truth):
    """The literal meaning: of all pairs of a case and another, how often the case has the higher score."""
    wins = [
        1.0 if own > other else 0.5 if own == other else 0.0
        for own, is_own in zip(score, truth, strict=True)
        if is_own
        for other, is_other in zip(score, truth, strict=True)
        if not is_other
    ]
    return mean(wins) if wins else math.nan


def judged(p, truth, among=(), labels=("a", "b"), positive=1):
    return {"labels": list(labels), "positive": positive, "p": list(p), "truth": truth, "among": list(among)}


@given(SCORES)
def test_auroc_is_the_share_of_pairs(cases):
    score, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])
    assert measure.auroc(score, truth) == pytest.approx(by_pairs(score, truth), nan_ok=True)


@given(SCORES)
def test_auprc_is_scikit_learns(cases):
    score, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])
    if not truth.any():
        assert math.isnan(measure.auprc(score, truth))
    else:
        assert measure.auprc(score, truth) == pytest.approx(metrics.average_precision_score(truth, score))


def test_auprc_by_hand():
    assert measure.auprc(np.array([0.9, 0.8, 0.7]), np.array([True, False, True])) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_calibration_error_by_hand():
    sure, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, True, True, False])
    assert measure.calibration_error(sure, right) == pytest.approx((0.1 + 0.1) / 4)
    assert math.isnan(measure.calibration_error(np.empty(0), np.empty(0, bool)))


@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 40))
@settings(deadline=None)
def test_scores_agree_with_scikit_learn(seed, classes, cases):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), cases).round(2) + 0.001
    p /= p.sum(axis=1, keepdims=True)
    truth = rng.integers(0, classes, cases)
    labels = "abcd"[:classes]
    found = measure.scores(
        [judged(row, int(own), labels=labels, positive=1) for row, own in zip(p, truth, strict=True)]
    )
    called = p.argmax(axis=1)
    assert found[""]["accuracy"] == pytest.approx(metrics.accuracy_score(truth, called))
    recalls = [(called[truth == number] == number).mean() for number in np.unique(truth)]
    assert found[""]["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert set(found) == {"", *labels}
    assert set(found[""]) == set(measure.DEFINITIONS)
    assert set(found["a"]) <= set(measure.DEFINITIONS)
    if classes == 2:
        assert found[""]["brier"] == pytest.approx(metrics.brier_score_loss(truth, p[:, 1], pos_label=1))
        assert found[""]["auroc"] == pytest.approx(by_pairs(p[:, 1], truth == 1), nan_ok=True)
    elif len(np.unique(truth)) == classes:
        reference = metrics.roc_auc_score(truth, p, multi_class="ovr", average="macro")
        assert found[""]["auroc"] == pytest.approx(reference)


def test_sensitivity_and_specificity_are_of_the_positive_class():
    cases = [
        judged([0.2, 0.8], 1),
        judged([0.6, 0.4], 1),
        judged([0.9, 0.1], 0),
        judged([0.3, 0.7], 0),
        judged([0.9, 0.1], 0),
    ]
    found = measure.scores(cases)[""]
    assert (found["sensitivity"], found["specificity"]) == (0.5, pytest.approx(2 / 3))
    turned = measure.scores([{**one, "positive": 0} for one in cases])[""]
    assert (turned["sensitivity"], turned["specificity"]) == (pytest.approx(2 / 3), 0.5)
    several = measure.scores([judged([0.2, 0.7, 0.1], 1, labels="abc", positive=-1)])[""]
    assert math.isnan(several["sensitivity"])


def test_sets_are_scored_only_where_there_are_sets():
    assert math.isnan(measure.scores([judged([0.2, 0.8], 1)])[""]["coverage"])
    found = measure.scores([judged([0.2, 0.8], 1, [0, 1]), judged([0.2, 0.8], 0, [1])])
    assert (found[""]["coverage"], found[""]["set_size"]) == (0.5, 1.5)
    assert (found["a"]["coverage"], found["b"]["coverage"]) == (0.0, 1.0)


def test_refused_cases_and_unknown_truths():
    found = measure.scores([judged([0.2, 0.8], 1), judged([], 1), judged([0.9, 0.1], -1)])[""]
    assert (found["answered"], found["accuracy"]) == (0.5, 1.0)
    for nothing in ([], [judged([], 1)], [judged([0.5, 0.5], -1)]):
        empty = measure.scores(nothing)[""]
        assert all(math.isnan(value) for name, value in empty.items() if name != "answered")
    assert measure.scores([judged([], 1)])[""]["answered"] == 0.0


def test_a_missing_class_is_undefined_and_leaves_the_others_be():
    found = measure.scores(
        [judged([0.7, 0.2, 0.1], 0, labels="abc", positive=-1), judged([0.1, 0.8, 0.1], 1, labels="abc", positive=-1)]
    )
    assert math.isnan(found["c"]["auroc"])
    assert math.isnan(found["c"]["sensitivity"])
    assert found[""]["auroc"] == found[""]["balanced_accuracy"] == 1.0
