"""EDF and BDF: against a second reader's bytes, several rates, and damaged files."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.core.errors import GalenicError, MissingFile, UnreadableFile, UnsupportedFile, ValueProblem
from galenic.formats import edf

edfio = pytest.importorskip("edfio")


def signal(values, rate, label):
    return edfio.EdfSignal(
        values, sampling_frequency=rate, label=label, physical_dimension="uV", physical_range=(-9, 9)
    )


@pytest.fixture
def recording(tmp_path):
    """Two channels at 100 Hz and one at 25 Hz, ten seconds."""
    time = np.arange(1000) / 100
    waves = {"C3": 5 * np.sin(time), "C4": 5 * np.cos(3 * time)}
    slow = np.linspace(-4, 4, 250)
    made = edfio.Edf([*(signal(own, 100, name) for name, own in waves.items()), signal(slow, 25, "Resp")])
    made.write(tmp_path / "r.edf")
    return tmp_path / "r.edf", waves, slow


def by_hand(path):
    """The samples of each signal by the format's own words: 16-bit, scaled between the physical limits."""
    raw = path.read_bytes()
    count = int(raw[252:256])
    head = raw[256 : 256 + 256 * count].decode("ascii")

    def field(start, width):
        return [head[start * count + at * width : start * count + (at + 1) * width].strip() for at in range(count)]

    low, high = (np.array(field(start, 8), float) for start in (104, 112))
    least, most = (np.array(field(start, 8), float) for start in (120, 128))
    sizes = [int(own) for own in field(216, 8)]
    records = np.frombuffer(raw[256 * (count + 1) :], "<i2").reshape(int(raw[236:244]), sum(sizes))
    edges = np.cumsum([0, *sizes])
    return {
        name: (records[:, edges[at] : edges[at + 1]].ravel() - least[at])
        / (most[at] - least[at])
        * (high[at] - low[at])
        + low[at]
        for at, name in enumerate(field(0, 16))
    }


def test_the_commonest_rate_is_read_and_the_rest_is_told(recording):
    path, waves, _ = recording
    series = edf.read_edf(path)
    assert (series.variables, series.units, series.rate_hz) == (("C3", "C4"), ("uV", "uV"), 100)
    assert "of another rate, so left out: Resp" in series.notes
    other = by_hand(path)
    for at, (name, wave) in enumerate(waves.items()):
        np.testing.assert_allclose(series.values[:, at], wave, atol=1e-3)
        np.testing.assert_allclose(series.values[:, at], other[name], atol=1e-9)


def test_named_channels_come_in_their_order(recording):
    path, waves, slow = recording
    series = edf.read_edf(path, channels=["C4", "C3"])
    np.testing.assert_allclose(series.values[:, 0], waves["C4"], atol=1e-3)
    slower = edf.read_edf(path, channels=["Resp"])
    np.testing.assert_allclose(slower.values[:, 0], slow, atol=1e-3)
    assert slower.rate_hz == 25
    with pytest.raises(ValueProblem, match="no channel Fz"):
        edf.read_edf(path, channels=["Fz"])
    with pytest.raises(UnsupportedFile, match="sampled at 25, 100 Hz"):
        edf.read_edf(path, channels=["C3", "Resp"])


def test_labels_that_stand_twice_are_refused(tmp_path):
    wave = np.sin(np.arange(500) / 9)
    edfio.Edf([signal(wave, 100, "C3"), signal(-wave, 100, "C3")]).write(tmp_path / "r.edf")
    with pytest.raises(UnsupportedFile, match="labels twice"):
        edf.read_edf(tmp_path / "r.edf")


def test_a_flat_channel_is_told(tmp_path):
    edfio.Edf([signal(np.zeros(500), 100, "C3"), signal(np.sin(np.arange(500) / 9), 100, "C4")]).write(
        tmp_path / "r.edf"
    )
    assert any("C3 is flat" in note for note in edf.read_edf(tmp_path / "r.edf").notes)


def test_what_is_not_there_or_no_recording_is_told(tmp_path):
    with pytest.raises(MissingFile):
        edf.read_edf(tmp_path / "none.edf")
    (tmp_path / "r.edf").write_text("no recording")
    with pytest.raises(UnreadableFile):
        edf.read_edf(tmp_path / "r.edf")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 14), st.binary(min_size=1, max_size=8), st.booleans())
def test_damaged_files_give_our_errors_alone(recording, at, junk, cut):
    path, _, _ = recording
    raw = path.read_bytes()
    at %= len(raw)
    path.with_name("d.edf").write_bytes(raw[:at] if cut else raw[:at] + junk + raw[at + len(junk) :])
    try:
        series = edf.read_edf(path.with_name("d.edf"))
    except GalenicError:
        return
    assert series.values.ndim == 2
