"""Plain numbers of a series, against loops, numpy's least squares and scipy's spectrum."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from galenic.series.measure import BANDS, OF_HISTORY, OF_WAVEFORM, of_history, of_waveform

WAVE = {"variables": ["I"], "padded": False, "waveform": True}


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=12))
@settings(deadline=None)
def test_a_history_is_what_loops_say(rows):
    value, seen = np.array([own for own, _ in rows]), np.array([own for _, own in rows])
    array = np.stack([value, seen, np.zeros(len(rows))], axis=1)
    found = dict(zip(OF_HISTORY, of_history(array, 2.0), strict=True))
    known, steps = value[seen], np.flatnonzero(seen)
    assert found["count"] == len(known)
    if not len(known):
        assert all(np.isnan(own) for name, own in found.items() if name != "count")
        return
    slope = np.polyfit(steps, known, 1)[0] * 12 if len(known) > 1 else 0.0
    wanted = [known[0], known[-1], known.mean(), known.min(), known.max(), slope]
    np.testing.assert_allclose([found[name] for name in OF_HISTORY[:-1]], wanted, atol=1e-9)


def test_variables_do_not_mix():
    rng = np.random.default_rng(0)
    value, seen = rng.normal(size=(10, 3)), rng.random((10, 3)) < 0.7
    array = np.concatenate([value, seen, value], axis=1)
    together = of_history(array, 1.0).reshape(7, 3)
    for at in range(3):
        alone = of_history(np.stack([value[:, at], seen[:, at], value[:, at]], axis=1), 1.0)
        np.testing.assert_allclose(together[:, at], alone)


def test_the_shape_of_a_waveform_is_scipys():
    x = np.random.default_rng(0).gamma(2, size=3000)
    found = dict(zip(OF_WAVEFORM, of_waveform(x[:, None], WAVE), strict=False))
    assert found["spread"] == pytest.approx(x.std())
    assert found["skewness"] == pytest.approx(stats.skew(x))
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(x, fisher=False))
    assert (found["least"], found["greatest"]) == (x.min(), x.max())


def test_the_bands_are_those_of_welchs_spectrum():
    x = np.cumsum(np.random.default_rng(0).normal(size=4096)) * 0.01 + np.sin(np.arange(4096) * 0.3)
    found = of_waveform(x[:, None], WAVE)[len(OF_WAVEFORM) :]
    power = signal.welch(x, window="hann", nperseg=1024, detrend="constant", scaling="spectrum")[1][1:]
    edges = [0, *(round(512 / 2**octave) for octave in range(BANDS - 1, 0, -1)), 512]
    wanted = np.array([power[low:high].sum() for low, high in itertools.pairwise(edges)])
    # one-sided: scipy doubles all but the last bin
    np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=0.02, atol=1e-4)
    assert found.sum() == pytest.approx(1)


def test_a_fast_wave_stands_in_the_top_band_and_padding_is_not_looked_at():
    fast = np.sin(np.arange(500) * 2.5)
    assert np.argmax(of_waveform(fast[:, None], WAVE)[len(OF_WAVEFORM) :]) == BANDS - 1
    padded = np.zeros((700, 2))
    padded[:500, 0], padded[:500, 1] = fast, 1
    np.testing.assert_allclose(of_waveform(padded, {**WAVE, "padded": True}), of_waveform(fast[:, None], WAVE))


def test_nothing_is_nan_and_a_flat_line_is_finite():
    assert np.isnan(of_waveform(np.zeros((5, 2)), {**WAVE, "padded": True})).all()
    assert np.isfinite(of_waveform(np.zeros((50, 1)), WAVE)).all()
