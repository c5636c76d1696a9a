"""WFDB records: against numpy's own reading of the bytes, damaged, cut short, and hostile."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from galenic.core.errors import (
    GalenicError,
    MissingFile,
    UnreadableFile,
    UnsafeFile,
    UnsupportedFile,
    ValueProblem,
)  # fmt: skip
from galenic.formats import wfdb


@pytest.fixture
def record(tmp_path, write_record):
    """Two channels of 600 samples at 250 Hz, and three annotations."""
    wave = np.stack([np.sin(np.arange(600) / 11), np.cos(np.arange(600) / 7)], axis=1)
    write_record(tmp_path, "r", 250, {"I": wave[:, 0], "V1": wave[:, 1]}, [(10, "N"), (200, "V"), (420, "+")])
    return tmp_path / "r", wave


def test_values_units_and_rate(record):
    path, wave = record
    for name in (path, path.with_suffix(".hea"), str(path.with_suffix(".dat"))):
        series = wfdb.read_record(name)
        np.testing.assert_allclose(series.values, wave, atol=1e-3)
        assert (series.variables, series.units, series.rate_hz) == (("I", "V1"), ("mV", "mV"), 250)
        assert series.source == path.with_suffix(".hea")
    assert wfdb.rate_of(path) == 250
    assert wfdb.is_record(path)
    assert wfdb.is_record(path.with_suffix(".hea"))
    assert not wfdb.is_record(path.with_name("other"))


def test_windows_and_channels(record):
    path, wave = record
    series = wfdb.read_record(path, channels=["V1"], start=100, stop=150)
    np.testing.assert_allclose(series.values, wave[100:150, 1:], atol=1e-3)
    turned = wfdb.read_record(path, channels=["V1", "I"])
    np.testing.assert_allclose(turned.values, wave[:, ::-1], atol=1e-3)
    with pytest.raises(ValueProblem, match="no channel aVF"):
        wfdb.read_record(path, channels=["aVF"])
    for start, stop in ((600, None), (-1, None), (5, 5), (0, 601)):
        with pytest.raises(ValueProblem, match="within 0 to 600"):
            wfdb.read_record(path, start=start, stop=stop)


def test_annotations(record):
    path, _ = record
    found = wfdb.read_annotations(path.with_suffix(".hea"))
    assert found.samples.tolist() == [10, 200, 420]
    assert found.symbols == ("N", "V", "+")
    with pytest.raises(MissingFile):
        wfdb.read_annotations(path, "qrs")


def test_invalid_samples_are_nan_and_told(record):
    path, _ = record
    samples = np.fromfile(path.with_suffix(".dat"), "<i2")
    samples[40:60] = -32768
    samples.tofile(path.with_suffix(".dat"))
    series = wfdb.read_record(path)
    assert np.isnan(series.values[20:30]).all()
    assert "I has 2% invalid samples" in series.notes


def test_flat_and_saturated_are_told(tmp_path, write_record):
    cut = np.clip(np.sin(np.arange(500) / 9), -0.6, 0.6)
    write_record(tmp_path, "f", 250, {"I": np.where(np.arange(500) < 9, 0.1, 0), "II": cut})
    told = " ".join(wfdb.read_record(tmp_path / "f").notes)
    assert "I is flat" in told
    assert "II is saturated" in told


def test_a_record_cut_short(record):
    path, _ = record
    data = path.with_suffix(".dat").read_bytes()
    path.with_suffix(".dat").write_bytes(data[:-10])
    with pytest.raises(UnreadableFile, match=r"holds 2,390 bytes, its header claims 2,400"):
        wfdb.read_record(path)


def test_no_samples_and_no_header(record):
    path, _ = record
    path.with_suffix(".dat").unlink()
    with pytest.raises(MissingFile, match=r"r\.dat"):
        wfdb.read_record(path)
    with pytest.raises(MissingFile):
        wfdb.read_record(path.with_name("nobody"))


@pytest.mark.parametrize("name", ["../r.dat", "/etc/passwd", "a/b.dat", "s3://bucket", "x\\y.dat"])
def test_a_header_that_points_elsewhere(record, name):
    path, _ = record
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace("r.dat", name))
    with pytest.raises((UnsafeFile, UnreadableFile)):
        wfdb.read_record(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("r/2 1 250 600\nr1 300\nr2 300\n", UnsupportedFile),
        ("r 0 250 600\n", UnsupportedFile),
        ("", UnreadableFile),
        ("r 1 250\nr.dat 16 200 16 0 0 0 0 I\n", UnsupportedFile),
        ("r 2 250 600\nr.dat 16 200 16 0 0 0 0 I\nr.dat 16 200 16 0 0 0 0 I\n", UnsupportedFile),
        ("r 1 250 99999999999\nr.dat 16 200 16 0 0 0 0 I\n", UnreadableFile),
    ],
)
def test_headers_that_are_not_read(record, text, error):
    path, _ = record
    path.with_suffix(".hea").write_text(text)
    with pytest.raises(error):
        wfdb.read_record(path)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=3), st.sampled_from([".hea", ".atr", ".dat"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_values_or_our_errors(record, at, bytes_, suffix):
    path, _ = record
    file = path.with_suffix(suffix)
    sound = file.read_bytes()
    place = at % max(len(sound), 1)
    file.write_bytes(sound[:place] + bytes_ + sound[place + len(bytes_) :])
    try:
        wfdb.read_annotations(path) if suffix == ".atr" else wfdb.read_record(path)
    except GalenicError:
        pass
    finally:
        file.write_bytes(sound)


@pytest.mark.shared
def test_a_recording_of_the_challenge_is_what_scipy_reads(shared_data):
    folder = shared_data / "cinc2017-af-subset"
    for path in sorted(folder.glob("*.hea"))[::40]:
        series = wfdb.read_record(path)
        raw = loadmat(path.with_suffix(".mat"))["val"][0]
        np.testing.assert_allclose(series.values[:, 0], raw / 1000, atol=1e-9)
        assert (series.rate_hz, series.units) == (300, ("mV",))


@pytest.mark.shared
def test_beats_of_the_arrhythmia_set_are_counted_as_published(shared_data):
    """Record 208: 1,586 N, 992 V, 373 F, 2 S (the directory of the database)."""
    found = wfdb.read_annotations(shared_data / "mitdb-subset" / "208.hea")
    assert [found.symbols.count(symbol) for symbol in "NVFS"] == [1586, 992, 373, 2]
    series = wfdb.read_record(shared_data / "mitdb-subset" / "208.hea", start=1000, stop=2000)
    assert series.variables == ("MLII", "V1")
    assert series.notes == ()
