import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import binom

from galenic.core import calibrate
from galenic.core.errors import ValueProblem


def _drawn(seed: int, cases: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """True log-probabilities, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    logits = log_softmax(rng.normal(0, 2, (cases, classes)), axis=1)
    p = np.exp(logits)
    truth = (rng.random((cases, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return logits, np.minimum(truth, classes - 1)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 5])
def test_temperature_finds_the_one_that_was_put_in(true, classes):
    logits, truth = _drawn(1, 20_000, classes)
    assert calibrate.fit_temperature(logits * true, truth) == pytest.approx(true, rel=0.05)


def test_temperature_stays_sober_where_all_answers_are_right():
    truth = np.arange(40) % 2
    logits = np.where(np.eye(2)[truth] > 0, 2.0, -2.0)
    assert 0.1 < calibrate.fit_temperature(logits, truth) < 1.0


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 4), st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_log_loss_of_the_temperature_is_never_worse_than_of_none(seed, cases, classes, scale):
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(0, scale, (cases, classes)), rng.integers(0, classes, cases)
    fitted = calibrate.fit(logits, truth)
    after = calibrate.log_loss(calibrate.apply(fitted, logits), truth).mean()
    assert after <= calibrate.log_loss(softmax(logits, axis=1), truth).mean() + 1e-9


def test_isotonic_is_taken_where_no_temperature_can_mend_and_only_there():
    rng = np.random.default_rng(2)
    gap = rng.normal(0, 2, 4000)
    bent = 0.5 + 0.4 * np.tanh(2 * (gap - 1.5))
    logits = np.stack([np.zeros_like(gap), gap], axis=1)
    fitted = calibrate.fit(logits, (rng.random(4000) < bent).astype(int))
    assert fitted["way"] == "isotonic"
    assert json.loads(json.dumps(fitted)) == fitted
    p = calibrate.apply(fitted, logits)
    assert np.abs(p[:, 1] - bent).mean() < 0.04
    assert np.allclose(p.sum(axis=1), 1)

    logits, truth = _drawn(3, 4000, 2)
    assert calibrate.fit(logits * 2, truth)["way"] == "temperature"


def test_isotonic_rises_and_keeps_off_the_ends():
    logits, truth = _drawn(4, 300, 2)
    state = {"way": "isotonic", **calibrate.fit_isotonic(logits, truth)}
    order = np.argsort(logits[:, 1] - logits[:, 0])
    p = calibrate.apply(state, logits)[order, 1]
    assert (np.diff(p) > 0).all()
    assert p.min() > 0.99 / 302
    assert p.max() < 1 - 0.99 / 302


@pytest.mark.parametrize("classes", [2, 3])
def test_sets_cover_each_class_as_promised(classes):
    """Each class by itself, over many calibration sets; as many cases calibrate as test, which doubles the variance."""
    held = np.zeros(classes)
    asked = np.zeros(classes)
    for seed in range(200):
        logits, truth = _drawn(seed, 400, classes)
        logits = logits + 2.0 * np.eye(classes)[0]  # a learner that favours the first class
        fitted = calibrate.fit(logits[:200], truth[:200])
        p = calibrate.apply(fitted, logits)
        names = [str(number) for number in range(classes)]
        least, note = calibrate.fit_thresholds(p[:200], truth[:200], names=names)
        assert note == ""
        for row, number in zip(p[200:], truth[200:], strict=True):
            held[number] += number in calibrate.members(row, least)
            asked[number] += 1
    room = 4 * np.sqrt(2 * 0.9 * 0.1 / asked)
    assert (held / asked > 0.9 - room).all()
    assert (held / asked < 0.91 + room).all()


def test_one_new_case_a_calibration_set_follows_the_binomial_law():
    held = np.zeros(2)
    for seed in range(500):
        logits, truth = _drawn(seed, 120, 2)
        firsts = [int(np.flatnonzero(truth == number)[0]) for number in (0, 1)]
        rest = np.setdiff1d(np.arange(120), firsts)
        p = calibrate.apply({}, logits)
        least, _ = calibrate.fit_thresholds(p[rest], truth[rest], names=["a", "b"])
        held += [number in calibrate.members(p[first], least) for number, first in enumerate(firsts)]
    assert (held >= binom.ppf(1e-4, 500, 0.9)).all()
    assert (held <= binom.ppf(1 - 1e-4, 500, 0.93)).all()


@pytest.mark.parametrize("cases", range(9, 40))
def test_the_threshold_is_the_finite_sample_quantile(cases):
    own = np.random.default_rng(cases).permutation(np.arange(1, cases + 1) / 100)
    p = np.stack([own, 1 - own], axis=1)
    least, _ = calibrate.fit_thresholds(p, np.zeros(cases, int), names=["a", "b"])
    kept = sum(0 in calibrate.members(row, least) for row in p)
    assert kept == -(-9 * (cases + 1) // 10)


def test_a_class_of_too_few_cases_takes_the_common_threshold_and_a_note():
    p = np.full((30, 2), 0.5)
    truth = np.array([0] * 22 + [1] * 8)
    least, note = calibrate.fit_thresholds(p, truth, names=["well", "ill"])
    assert least == [0.5, 0.5]
    assert "9 calibration cases of ill" in note
    assert "sets fitted on fewer than 30 cases of well (22)" in note
    assert "all classes together" in note
    least, note = calibrate.fit_thresholds(p[:5], truth[:5], names=["well", "ill"])
    assert calibrate.members([1.0, 0.0], least) == [0, 1]
    assert "every class is kept" in note


def test_the_floor_of_confidence_keeps_the_errors_down():
    """Over many calibration sets the true error above the floor exceeds the limit in at most about one in ten."""
    broken = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sure = rng.uniform(0.5, 1.0, 500)
        floor = calibrate.confidence_floor(sure, rng.random(500) < sure, 0.1)
        if floor is not None:
            assert floor > 0.6
            broken += 1 - (1 + floor) / 2 > 0.1
    assert broken <= 18
    assert calibrate.confidence_floor([0.9] * 100, [True] * 100, 0.05) == 0.9
    assert calibrate.confidence_floor([0.9] * 10, [True] * 10, 0.05) is None
    assert calibrate.confidence_floor([0.9] * 100, [False] * 100, 0.05) is None
    with pytest.raises(ValueProblem, match="share of errors"):
        calibrate.confidence_floor([0.9], [True], 1.5)


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        ([[1.0, 2.0]], [2]),
        ([[1.0, 2.0]], [-1]),
        ([[np.nan, 1.0]], [0]),
        ([[1.0]], [0]),
        ([], []),
        ([[1.0, 2.0]], [0, 1]),
    ],
)
def test_wrong_outputs_are_told(logits, truth):
    with pytest.raises(ValueProblem):
        calibrate.fit(logits, truth)
