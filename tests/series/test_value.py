"""What a Series is, and what it refuses to be."""

import numpy as np
import pytest

from galenic.core.errors import ValueProblem
from galenic.values import Series


def test_it_is_frozen_and_names_no_unit_where_none_is_told():
    series = Series(np.array([0.0, 1.5]), np.array([[1.0], [np.nan]]), ("pulse",))
    assert series.units == ("",)
    assert series.rate_hz == 0
    assert series.measured
    with pytest.raises(ValueError, match="read-only"):
        series.values[0, 0] = 2
    with pytest.raises(AttributeError):
        series.rate_hz = 3.0


def test_nothing_measured_is_told():
    assert not Series(np.array([0.0]), np.array([[np.nan]]), ("pulse",)).measured
    assert not Series(np.zeros(0), np.zeros((0, 2)), ("a", "b")).measured


@pytest.mark.parametrize("times", [[1.0, 0.5], [0.0, 0.0], [0.0, np.nan], [[0.0], [1.0]], [0.0, np.inf]])
def test_times_are_finite_and_rise(times):
    with pytest.raises(ValueProblem, match="rising"):
        Series(np.array(times), np.zeros((2, 1)), ("pulse",))


@pytest.mark.parametrize(
    ("values", "variables", "units", "words"),
    [
        (np.zeros((2, 2)), ("a",), (), "shape"),
        (np.zeros(2), ("a",), (), "shape"),
        (np.full((2, 1), np.inf), ("a",), (), "infinite"),
        (np.zeros((2, 2)), ("a", "a"), (), "different names"),
        (np.zeros((2, 2)), ("a", "b"), ("mg",), "unit each"),
    ],
)
def test_values_variables_and_units_fit(values, variables, units, words):
    with pytest.raises(ValueProblem, match=words):
        Series(np.array([0.0, 1.0]), values, variables, units)


def test_a_waveform_counts_its_times_from_the_start():
    series = Series.waveform(np.zeros((4, 1)), 2.0, ("I",))
    np.testing.assert_allclose(series.times_hours * 3600, [0, 0.5, 1.0, 1.5])
    assert series.rate_hz == 2.0
    for rate in (0.0, -1.0, np.nan):
        with pytest.raises(ValueProblem, match="positive rate"):
            Series.waveform(np.zeros((4, 1)), rate, ("I",))
    with pytest.raises(ValueProblem, match="positive rate"):
        Series(np.array([0.0]), np.zeros((1, 1)), ("I",), rate_hz=-1.0)
