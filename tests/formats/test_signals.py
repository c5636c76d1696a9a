"""Flat and saturated signals, and sound ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galenic.formats.signals import faults

SINE = np.sin(np.arange(500) / 9)[:, None]


def test_a_sound_signal_has_none():
    assert faults(SINE, ["I"]) == []
    assert faults(np.round(SINE * 100), ["I"]) == []  # a coarse converter: many equal neighbours at the top


def test_flat_and_saturated_channels_are_named():
    off = np.where(np.arange(500)[:, None] > 20, 0.25, SINE)
    cut = np.clip(SINE, -0.7, 0.7)
    assert faults(np.hstack([SINE, off, cut]), ["I", "II", "III"]) == [
        "II is flat: 96% of its steps change nothing",
        f"III is saturated: {np.isclose(np.abs(cut), 0.7).mean():.0%} of its samples lie at its limit",
    ]  # fmt: skip


def test_gaps_are_no_fault():
    holed = SINE.copy()
    holed[100:300] = np.nan
    assert faults(holed, ["I"]) == []
    assert faults(np.full((50, 1), np.nan), ["I"]) == []
    assert faults(np.zeros((0, 1)), ["I"]) == []


@given(st.lists(st.floats(-1e3, 1e3) | st.just(float("nan")), max_size=40))
def test_it_never_fails(values):
    found = faults(np.array(values)[:, None], ["I"])
    assert len(found) <= 1
