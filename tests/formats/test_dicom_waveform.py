"""DICOM waveforms: the ECG inside pydicom, against the raw samples, and damaged files."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.core.contract import Field
from galenic.core.errors import GalenicError, MissingFile, UnsupportedFile, ValueProblem
from galenic.formats.dicom_waveform import read_waveform
from galenic.series.kinds import SERIES
from galenic.series.read import read_file

ECG = Path(pydicom.__file__).parent / "data" / "test_files" / "waveform_ecg.dcm"


def test_samples_are_the_stored_ones_times_sensitivity():
    series = read_waveform(ECG)
    assert (series.values.shape, series.rate_hz, series.units[0]) == ((10_000, 12), 1000, "uV")
    assert series.variables == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    group = pydicom.dcmread(ECG).WaveformSequence[0]
    raw = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12)
    scale = [
        float(own.ChannelSensitivity) * float(own.ChannelSensitivityCorrectionFactor)
        for own in group.ChannelDefinitionSequence
    ]
    np.testing.assert_allclose(series.values, raw * scale, rtol=1e-9)


def test_named_leads_come_in_their_order():
    whole, two = read_waveform(ECG), read_waveform(ECG, channels=["V6", "II"])
    np.testing.assert_array_equal(two.values, whole.values[:, [11, 1]])
    with pytest.raises(ValueProblem, match="no channel V9"):
        read_waveform(ECG, channels=["V9"])


def test_it_is_a_series_of_a_case():
    field = SERIES.check(Field(name="ecg", kind="series", columns=["file"], options={"rate_hz": 1000}))
    assert read_file(ECG, field).rate_hz == 1000
    assert ECG in SERIES.expand(ECG.parent)


def test_what_holds_no_waveform_is_told(tmp_path):
    with pytest.raises(UnsupportedFile, match="holds no DICOM waveform"):
        read_waveform(ECG.with_name("CT_small.dcm"))
    with pytest.raises(MissingFile):
        read_waveform(tmp_path / "none.dcm")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 13), st.binary(min_size=1, max_size=6), st.booleans())
def test_damaged_files_give_our_errors_alone(tmp_path, at, junk, cut):
    raw = ECG.read_bytes()
    at %= len(raw)
    (tmp_path / "d.dcm").write_bytes(raw[:at] if cut else raw[:at] + junk + raw[at + len(junk) :])
    try:
        series = read_waveform(tmp_path / "d.dcm")
    except GalenicError:
        return
    assert series.values.ndim == 2
