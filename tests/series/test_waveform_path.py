"""Waveforms end to end, with nothing said of them but the column: trained, and what can't be judged is refused."""

import json

import numpy as np
import pandas as pd
import pytest

import galenic

RATE = 100


def beats(rng, *, fast: bool, rate: int = RATE, seconds: float = 6.0) -> np.ndarray:
    """Peaks in mV at an even pace, with a little noise and wander."""
    time = np.arange(int(seconds * rate)) / rate
    pace = 2.0 if fast else 1.0
    peak = np.exp(-((((time * pace + rng.random()) % 1) - 0.5) ** 2) / (2 * (0.03 * pace) ** 2))
    return peak + 0.1 * np.sin(2 * np.pi * 0.3 * time) + rng.normal(0, 0.02, len(time))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_record):
    where = tmp_path_factory.mktemp("ecgs")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        write_record(where, f"r{number:02}", RATE, {"I": beats(rng, fast=number % 2 == 0)})
        rows.append({"id": f"c{number:02}", "ecg": f"r{number:02}", "fast": "yes" if number % 2 == 0 else "no"})
    pd.DataFrame(rows).to_csv(where / "cases.csv", index=False)
    return where


@pytest.fixture(scope="module")
def trained(folder):
    galenic.train(
        folder / "cases.csv", inputs=["ecg:series"], targets=["fast:category"], budget="40steps", device="cpu",
        out=folder / "model", exact=True,
    )  # fmt: skip
    return folder / "model"


def test_a_record_is_a_waveform_of_its_own_rate(trained):
    plan = json.loads((trained / "plan.json").read_text())
    own = plan["frames"]["clock"]["series"]["ecg"]
    assert own["waveform"] is True
    assert own["rate_hz"] == own["least_hz"] == own["most_hz"] == RATE
    assert plan["network"]["name"] == "resnet1d"
    assert plan["reasons"]["clock.ecg.rate"].startswith("100 Hz, the commonest of the training cases' own")
    assert "waveform = true" in (trained / "task.toml").read_text()


def test_what_is_flat_saturated_or_of_another_rate_is_refused(trained, tmp_path, write_record):
    rng = np.random.default_rng(1)
    sound = beats(rng, fast=True)
    write_record(tmp_path, "sound", RATE, {"I": sound})
    write_record(tmp_path, "flat", RATE, {"I": np.where(np.arange(len(sound)) < 30, sound, 0.2)})
    write_record(tmp_path, "saturated", RATE, {"I": np.clip(sound, -0.5, 0.1)})
    time = np.arange(len(sound)) / RATE
    write_record(tmp_path, "half", RATE, {"I": np.where(time < 3, sound, 0.2)})
    write_record(tmp_path, "still", RATE, {"I": np.where(time < 3, sound, 0.2 + rng.normal(0, 0.003, len(time)))})
    write_record(tmp_path, "noise", RATE, {"I": rng.normal(0, 0.5, len(time))})
    write_record(tmp_path, "tone", RATE, {"I": np.sin(2 * np.pi * 20 * time)})
    write_record(tmp_path, "rate", 250, {"I": beats(rng, fast=True, rate=250)})
    found = {own.id: own.refused for own in galenic.predict(trained, [tmp_path], tmp_path / "out")}
    assert found["sound"] is None
    assert "I is flat" in found["flat"]
    assert "I is saturated" in found["saturated"]
    assert "I lies still in" in found["half"]
    assert "I lies still in" in found["still"]
    assert "I is noise" in found["noise"]
    assert "I is one tone" in found["tone"]
    assert found["rate"] == "ecg: it is sampled at 250 Hz, and 100 Hz were learnt from"


def test_a_record_may_still_be_taken_as_a_history(folder):
    text = """
name = "trend"
table = "cases.csv"
[[inputs]]
name = "ecg"
kind = "series"
columns = ["ecg"]
options = { waveform = false }
[[targets]]
name = "fast"
kind = "category"
columns = ["fast"]
"""
    (folder / "trend.toml").write_text(text)
    checked = galenic.check(folder / "trend.toml", budget="5steps", device="cpu")
    assert checked.plan.frames["clock"]["series"]["ecg"]["waveform"] is False
