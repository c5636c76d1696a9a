import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from galenic.tables import measure_number as measure

VALUES = st.sampled_from([0.0, 1.0, 1.5, -2.0]) | st.floats(-1e6, 1e6)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30)


def judged(value, truth, low=None, high=None):
    return {"value": value, "low": low, "high": high, "truth": truth}


@given(PAIRS)
@settings(deadline=None)
def test_errors_are_scikit_learns(pairs):
    value, truth = (np.array(side) for side in zip(*pairs, strict=True))
    found = measure.scores([judged(*pair) for pair in pairs])[""]
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, value), abs=1e-9)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, value), abs=1e-9)
    if np.ptp(truth) > 1e-3:
        assert found["r2"] == pytest.approx(metrics.r2_score(truth, value), rel=1e-6, abs=1e-9)
    assert found["answered"] == 1.0


@given(PAIRS)
@settings(deadline=None)
def test_rank_correlation_is_scipys_with_ties(pairs):
    value, truth = (np.array(side) for side in zip(*pairs, strict=True))
    found = measure.spearman(value, truth)
    if len(set(value)) < 2 or len(set(truth)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(value, truth).statistic, abs=1e-9)


def test_what_is_undefined_is_nan():
    same = measure.scores([judged(1.0, 2.0), judged(3.0, 2.0)])[""]
    assert math.isnan(same["r2"])
    assert math.isnan(same["spearman"])
    assert math.isnan(same["coverage"])
    assert math.isnan(same["width"])
    for nothing in ([], [judged(None, 1.0)], [judged(1.0, None)]):
        empty = measure.scores(nothing)[""]
        assert set(empty) == set(measure.DEFINITIONS)
        assert all(math.isnan(value) for name, value in empty.items() if name != "answered")
    assert measure.scores([judged(None, 1.0)])[""]["answered"] == 0.0


def test_intervals_are_scored_where_there_are_some_and_refused_cases_count_in_answered():
    cases = [judged(1.0, 1.5, 0.0, 2.0), judged(1.0, 2.0, 0.0, 2.0), judged(1.0, 3.0, 0.0, 2.5), judged(None, 9.0)]
    found = measure.scores(cases)[""]
    assert found["coverage"] == pytest.approx(2 / 3)
    assert found["width"] == pytest.approx((2 + 2 + 2.5) / 3)
    assert found["answered"] == 0.75


def test_lower_is_better_only_for_errors_and_widths():
    assert {name for name, one in measure.DEFINITIONS.items() if not one.higher_is_better} == {"rmse", "mae", "width"}
