"""The summary merges in any way, and what is decided from it follows the data."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.contract import Budget, Field
from galenic.core.errors import ValueProblem
from galenic.series import fingerprint
from galenic.series.kinds import SERIES
from galenic.values import Series

FIELD = SERIES.check(Field(name="stay", kind="series", columns=["record"]))
VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=12)


def one(values, name="a", unit="mg"):
    values = np.array(values, float)[:, None]
    return Series(np.arange(len(values)) * 0.5, values, (name,), (unit,))


def summary_of(series):
    return fingerprint.summarise({"stay": series}, [FIELD])


def alike(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other or one == pytest.approx(other, rel=1e-9, abs=1e-6)


@given(VALUES, VALUES, VALUES)
@settings(deadline=None)
def test_merging_is_associative_commutative_and_json(a, b, c):
    x, y, z = (summary_of(one(values)) for values in (a, b, c))
    left = fingerprint.merge(fingerprint.merge(x, y), z)
    assert alike(left, fingerprint.merge(x, fingerprint.merge(y, z)))
    assert alike(fingerprint.merge(x, y), fingerprint.merge(y, x))
    assert json.loads(json.dumps(left, allow_nan=False)) == left


@given(VALUES, VALUES)
@settings(deadline=None)
def test_counts_and_moments_are_numpys(a, b):
    total = fingerprint.merge(summary_of(one(a)), summary_of(one(b)))["series"]["stay"]["variables"].get("a")
    known = np.array([value for value in (*a, *b) if value == value])
    if not len(known):
        assert total is None
        return
    assert total["count"] == len(known) == sum(own[0] for own in total["bins"].values())
    assert (total["low"], total["high"]) == (known.min(), known.max())
    size = np.abs(known).max() + 1
    assert sum(own[0] * own[1] for own in total["bins"].values()) == pytest.approx(known.sum(), abs=1e-9 * size * 99)


def settled(series, field=FIELD, seconds=60.0):
    total = fingerprint.summarise({"stay": series[0]}, [field])
    for own in series[1:]:
        total = fingerprint.merge(total, fingerprint.summarise({"stay": own}, [field]))
    return fingerprint.settle(total, [field], Budget(seconds=seconds))


def test_one_slip_does_not_set_the_scale():
    rng = np.random.default_rng(0)
    cases = [one(rng.normal(7.4, 0.05, 20)) for _ in range(100)]
    cases[3] = one([*cases[3].values[:-1, 0], 735.0])
    own = settled(cases)[0]["series"]["stay"]
    assert own["mean"][0] == pytest.approx(7.4, abs=0.01)
    assert own["sd"][0] == pytest.approx(0.05, rel=0.1)
    assert own["high"][0] < 8


def test_skewed_variables_are_taken_by_their_logarithm():
    rng = np.random.default_rng(0)
    own = settled([one(rng.lognormal(3, 1, 30)) for _ in range(40)])[0]["series"]["stay"]
    assert own["log"] == [True]
    assert own["mean"][0] == pytest.approx(3, abs=0.1)
    assert own["sd"][0] == pytest.approx(1, abs=0.05)


def test_the_grid_follows_the_times():
    def at(hours):
        hours = np.array(hours, float)
        return Series(hours, np.ones((len(hours), 1)) * hours[:, None], ("a",))

    own, reasons = settled([at(np.arange(0, 24.5, 1)) for _ in range(9)])
    assert (own["step_hours"], own["steps"]) == (1, 24)
    assert "24 steps of 1 h" in reasons["grid"]
    own, _ = settled([at(np.arange(0, 24, 0.01)) for _ in range(3)])
    assert (own["step_hours"], own["steps"]) == (0.5, 48)  # no finer than 64 steps
    own, _ = settled([at(np.arange(0, 24, 0.01)) for _ in range(3)], seconds=7200)
    assert own["step_hours"] == 0.25
    own, _ = settled([at([0, 24 * 365]) for _ in range(3)])
    assert own["steps"] <= 64
    named = SERIES.check(Field(name="stay", kind="series", columns=["record"], options={"until_hours": 48}))
    own, _ = settled([at(np.arange(0, 24.5, 1)) for _ in range(9)], named)
    assert (own["step_hours"], own["steps"]) == (1, 48)


def test_rare_variables_are_left_out_and_named():
    cases = [one([1.0, 2.0, 3.0 + at]) for at in range(400)]
    own, reasons = settled([*cases, one([1.0], "b")])
    assert own["series"]["stay"]["variables"] == ["a"]
    assert "b" in reasons["stay.rare"]


def test_units_are_the_most_frequent_and_a_mix_is_told():
    cases = [one([1.0, 2.0], unit="mg/dL"), one([1.0, 3.0], unit="MG / dl"), one([1.0, 2.0], unit="mmol/L"), one([1.0])]
    own, reasons = settled([*cases, one([2.0, 1.0], unit="mg/dL")])
    assert own["series"]["stay"]["units"] == ["mg/dL"]
    assert "several units" in reasons["stay.units"]
    assert fingerprint.plain_unit("mm[Hg]") == fingerprint.plain_unit("mmHg")


def test_nothing_measured_in_training_is_told():
    with pytest.raises(ValueProblem, match="nothing of the series 'stay'"):
        settled([None, None])


def test_too_many_variables_are_told(monkeypatch):
    monkeypatch.setattr(fingerprint, "MAX_VARIABLES", 2)
    with pytest.raises(ValueProblem, match="more than 2"):
        settled([one([1.0], name) for name in "abc"])


def test_waveforms_get_their_rate_and_length(make_wave, make_field):
    field = make_field(rate_hz=100)
    own = settled([make_wave(at) for at in range(5)], field)[0]["series"]["stay"]
    assert (own["rate_hz"], own["samples"], own["padded"]) == (100, 200, False)
    assert own["variables"] == ["I", "II"]
    own = settled([make_wave(at, samples=100 + 40 * at) for at in range(5)], field)[0]["series"]["stay"]
    assert own["padded"]
    assert own["samples"] == pytest.approx(260, rel=0.01)
    long = settled([make_wave(at, samples=18_000, rate_hz=300) for at in range(3)], make_field(waveform=True))
    own = long[0]["series"]["stay"]
    assert own["rate_hz"] == 60
    assert own["samples"] == 3600
    assert "every 5 taken as one" in long[1]["stay.samples"]


def test_channels_that_few_have_are_left_out(make_wave, make_field):
    cases = [make_wave(0, channels=("I", "II")), make_wave(1, channels=("I",)), make_wave(2, channels=("I",))]
    assert settled(cases, make_field(waveform=True))[0]["series"]["stay"]["variables"] == ["I"]
