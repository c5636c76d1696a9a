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


def judged(p, truth, among=(), labels=("a", "b"), positive=1, **more):
    return {"labels": list(labels), "positive": positive, "p": list(p), "truth": truth, "among": list(among), **more}


def literally_best(score, truth, level, *, of_sensitivity):
    """The literal meaning: of every threshold, and of calling nobody, the best that meets the other side's level."""
    found = []
    for least in [*score, math.inf]:
        called = score >= least
        sensitivity, specificity = called[truth].mean(), (~called[~truth]).mean()
        mine, other = (sensitivity, specificity) if of_sensitivity else (specificity, sensitivity)
        if other >= level - 1e-12:
            found.append(mine)
    return max(found)


@given(SCORES)
@settings(deadline=None)
def test_auroc_is_the_share_of_pairs(cases):
    score, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])
    assert measure.auroc(score, truth) == pytest.approx(by_pairs(score, truth), nan_ok=True)


@given(SCORES)
@settings(deadline=None)
def test_auprc_is_scikit_learns(cases):
    score, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])
    if not truth.any():
        assert math.isnan(measure.auprc(score, truth))
    else:
        assert measure.auprc(score, truth) == pytest.approx(metrics.average_precision_score(truth, score))


@given(SCORES, st.sampled_from([0.5, 0.9, 0.95]))
@settings(deadline=None)
def test_sensitivity_and_specificity_at_a_level_are_the_best_of_all_thresholds(cases, level):
    score, truth = np.array([one for one, _ in cases]), np.array([own for _, own in cases])
    ranked = measure.steps(score, truth)
    if truth.all() or not truth.any():
        assert math.isnan(ranked.sensitivity_at(level))
        assert math.isnan(ranked.specificity_at(level))
        return
    assert ranked.sensitivity_at(level) == pytest.approx(literally_best(score, truth, level, of_sensitivity=True))
    assert ranked.specificity_at(level) == pytest.approx(literally_best(score, truth, level, of_sensitivity=False))
    alarms, hits, _ = metrics.roc_curve(truth, score, drop_intermediate=False)
    assert ranked.sensitivity_at(level) == pytest.approx(hits[1 - alarms >= level - 1e-12].max())
    assert ranked.specificity_at(level) == pytest.approx(1 - alarms[hits >= level - 1e-12].min())


@given(SCORES, st.sampled_from([0.1, 0.2, 0.5, 0.9]))
@settings(deadline=None)
def test_net_benefit_is_what_vickers_and_elkin_count(cases, threshold):
    score, truth = [one for one, _ in cases], [own for _, own in cases]
    true = sum(own for one, own in zip(score, truth, strict=True) if one >= threshold)
    false = sum(not own for one, own in zip(score, truth, strict=True) if one >= threshold)
    expected = true / len(cases) - false / len(cases) * threshold / (1 - threshold)
    assert measure.net_benefit(np.array(score), np.array(truth), threshold) == pytest.approx(expected)


def test_net_benefit_of_nobody_is_nothing():
    assert measure.net_benefit(np.array([0.05, 0.01]), np.array([True, False]), 0.1) == 0.0
    assert math.isnan(measure.net_benefit(np.empty(0), np.empty(0, bool), 0.1))


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
    assert found[""]["log_loss"] == pytest.approx(metrics.log_loss(truth, p, labels=range(classes)))
    for number, label in enumerate(labels):
        own, said = truth == number, called == number
        assert found[label]["ppv"] == pytest.approx(
            metrics.precision_score(own, said, zero_division=np.nan), nan_ok=True
        )
        assert found[label]["npv"] == pytest.approx(
            metrics.precision_score(~own, ~said, zero_division=np.nan), nan_ok=True
        )
        expected = metrics.f1_score(own, said, zero_division=np.nan) if own.any() or said.any() else math.nan
        assert found[label]["f1"] == pytest.approx(expected, nan_ok=True)
    if classes == 2:
        assert found[""]["net_benefit_20"] == pytest.approx(measure.net_benefit(p[:, 1], truth == 1, 0.2))
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


def test_the_called_class_counts_and_the_most_probable_where_none_is_named():
    by_threshold = [judged([0.7, 0.3], 1, called=1), judged([0.8, 0.2], 0, called=1), judged([0.9, 0.1], 0, called=0)]
    found = measure.scores(by_threshold)[""]
    assert (found["sensitivity"], found["specificity"], found["ppv"], found["npv"]) == (1.0, 0.5, 0.5, 1.0)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    plain = measure.scores([{name: own for name, own in one.items() if name != "called"} for one in by_threshold])[""]
    assert (plain["sensitivity"], plain["accuracy"]) == (0.0, pytest.approx(2 / 3))
    assert found["auroc"] == plain["auroc"] == 1.0


@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 40))
@settings(deadline=None)
def test_confusion_is_scikit_learns(seed, classes, cases):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), cases)
    truth = rng.integers(0, classes, cases)
    records = [judged(row, int(own), labels="abcd"[:classes]) for row, own in zip(p, truth, strict=True)]
    records += [judged([], 0, labels="abcd"[:classes]), judged(p[0], -1, labels="abcd"[:classes])]
    found = measure.confusion(records)
    assert found["labels"] == list("abcd"[:classes])
    expected = metrics.confusion_matrix(truth, p.argmax(axis=1), labels=range(classes))
    np.testing.assert_array_equal(found["counts"], expected)
    assert found["refused"] == [1, *[0] * (classes - 1)]
    assert measure.confusion([judged(p[0], -1)]) == {}


def test_several_classes_have_what_is_read_at_a_level_as_a_mean():
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(3), 60)
    truth = rng.integers(0, 3, 60)
    found = measure.scores(
        [judged(row, int(own), labels="abc", positive=-1) for row, own in zip(p, truth, strict=True)]
    )[""]
    each = [measure.steps(p[:, number], truth == number).sensitivity_at(0.9) for number in range(3)]
    assert found["sensitivity_at_specificity_90"] == pytest.approx(np.mean(each))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, p.argmax(axis=1), average="macro"))
    assert all(math.isnan(found[name]) for name in ("sensitivity", "ppv", "npv", "net_benefit_10"))
