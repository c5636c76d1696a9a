"""What tells a signal from a fault, and the limits that training sets."""

import numpy as np
import pytest

from galenic.core import sketch
from galenic.series import fingerprint
from galenic.series.sound import ENOUGH_SIGNALS, limits, told, unchecked, unsound
from galenic.values import Series

RATE = 300
TIME = np.arange(10 * RATE) / RATE


def test_each_measure_finds_its_fault():
    rng = np.random.default_rng(0)
    beats = np.exp(-((TIME % 1 - 0.5) ** 2) / 0.0008) + 0.2 * np.sin(2 * np.pi * 0.3 * TIME)
    sound = told(beats + rng.normal(0, 0.01, len(TIME)), RATE)
    assert max(sound["quiet"], sound["rough"], sound["mains"]) < 0.05
    assert told(np.where(TIME < 5, beats, 0.0), RATE)["quiet"] == pytest.approx(0.5, abs=0.1)
    assert told(rng.normal(size=len(TIME)), RATE)["rough"] == pytest.approx(1, abs=0.05)
    for hertz in (50, 60):
        assert told(np.sin(2 * np.pi * hertz * TIME), RATE)["mains"] > 0.95
    other = told(np.sin(2 * np.pi * 5 * TIME), RATE)
    assert other["tone"] > 0.95
    assert other["mains"] < 0.01


def test_what_says_nothing():
    assert told(np.array([np.nan] * 50 + [1.0] * 31), RATE) == {}
    assert told(np.ones(100), RATE)["quiet"] == 1
    assert told(np.sin(2 * np.pi * 20 * np.arange(500) / 100), 100)["mains"] == 0  # too slow for the mains


def test_gaps_count_for_nothing():
    holed = np.full(2 * len(TIME), np.nan)
    holed[::2] = np.sin(TIME)
    assert told(holed, RATE) == told(np.sin(TIME), RATE)


def test_a_limit_is_a_third_of_the_way_to_a_pure_fault():
    def bins(shares):
        keys, counts = np.unique(sketch.bins_of(np.array(shares)), return_counts=True)
        return {"rough": dict(zip(map(str, keys), map(int, counts), strict=True))}

    assert limits(bins([0.1] * (ENOUGH_SIGNALS - 1))) == {}
    assert limits(bins([0.1] * 200 + [1.0])) == {"rough": pytest.approx(0.4, abs=0.01)}
    own = {"variables": ["I", "II"], "signal": [{"rough": 0.4}, {}]}
    noise = np.random.default_rng(0).normal(size=(500, 2))
    (text,) = unsound(noise, ["I", "II"], 100.0, own)
    assert text.startswith("I is noise")
    assert unsound(noise, ["I", "II"], 100.0, {"variables": ["I", "II"]}) == []  # a plan of before


def test_summaries_merge_in_any_order(make_wave, make_field):
    field = make_field(rate_hz=100)
    parts = [fingerprint.summarise({"stay": make_wave(at)}, [field]) for at in range(3)]
    parts.append(fingerprint.summarise({"stay": Series.waveform(np.ones((9, 1)), 100, ("I",))}, [field]))
    one = fingerprint.merge(fingerprint.merge(parts[0], parts[1]), fingerprint.merge(parts[2], parts[3]))
    two = fingerprint.merge(parts[3], fingerprint.merge(parts[2], fingerprint.merge(parts[1], parts[0])))
    kept = [own["series"]["stay"]["variables"]["I"]["signal"] for own in (one, two)]
    assert kept[0] == kept[1]
    assert sum(kept[0]["rough"].values()) == 3


def test_the_plan_names_what_it_can_not_check():
    assert unchecked(["a", "b"], [50, 49]).endswith(": b (49)")
    assert unchecked(["a"], [50]) == ""
