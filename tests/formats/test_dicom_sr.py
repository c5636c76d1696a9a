from __future__ import annotations

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

from galenic.core.errors import InputError, MissingFile, SeriesError, UnreadableFile, UnsupportedFile, ValueProblem
from galenic.formats.dicom_seg import write_seg
from galenic.formats.dicom_source import read_series
from galenic.formats.dicom_sr import read_sr, write_sr
from galenic.values import Mask

BY = {"algorithm": "unet", "version": "1.2"}


@pytest.fixture
def drawn(small_ct, tmp_path):
    """A series, its segmentation of two classes, and their volumes in ml."""
    folder = small_ct()
    series = read_series(folder)
    array = np.zeros(series.shape, np.uint8)
    array[1:4, 20:30, 20:30] = 1
    mask = Mask(array, series.geometry, {1: "liver", 2: "lesion"})
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    return folder, tmp_path / "seg.dcm", mask.volumes_ml()


def test_volumes_read_back_to_the_last_digit(drawn, tmp_path):
    folder, seg, volumes = drawn
    write_sr(volumes, seg, folder, tmp_path / "out" / "sr.dcm", **BY)
    assert read_sr(tmp_path / "out" / "sr.dcm") == volumes
    assert volumes == pytest.approx({"liver": 300 * 2.5 * 0.661468**2 / 1000, "lesion": 0.0}, rel=1e-4)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sr.dcm"]


def test_a_second_reader_finds_each_volume_and_its_segment(drawn, tmp_path):
    folder, seg, volumes = drawn
    write_sr(volumes, seg, folder, tmp_path / "sr.dcm", **BY)
    report = highdicom.sr.srread(tmp_path / "sr.dcm")
    segmentation = pydicom.dcmread(seg)
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    for group, segment in zip(groups, segmentation.SegmentSequence, strict=True):
        referred = group.referenced_segment
        assert referred[0].referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert referred[0].referenced_segment_numbers == [segment.SegmentNumber]
        assert (group.tracking_identifier, group.tracking_uid) == (segment.SegmentLabel, segment.TrackingUID)
        (measured,) = group.get_measurements(name=codes.SCT.Volume)
        assert measured.value == volumes[group.tracking_identifier]
        assert measured.unit.value == "mL"
    assert report.VerificationFlag == "UNVERIFIED"
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert report[keyword].value == segmentation[keyword].value
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert sorted(len(series.ReferencedSOPSequence) for series in evidence) == [1, 6]


def test_the_checker_finds_no_error(drawn, tmp_path, dicom_errors):
    folder, seg, volumes = drawn
    write_sr(volumes, seg, folder, tmp_path / "sr.dcm", **BY)
    assert dicom_errors(tmp_path / "sr.dcm") == []


@pytest.mark.parametrize("volumes", [{"liver": -1.0}, {"liver": float("nan")}, {"spleen": 1.0}, {}])
def test_volumes_that_belong_to_no_segment_are_refused(drawn, tmp_path, volumes):
    folder, seg, _ = drawn
    with pytest.raises(ValueProblem):
        write_sr(volumes, seg, folder, tmp_path / "sr.dcm", **BY)
    assert not (tmp_path / "sr.dcm").exists()


def test_another_series_or_file_is_refused(drawn, small_ct, tmp_path):
    folder, seg, volumes = drawn
    with pytest.raises(SeriesError, match="was not drawn on"):
        write_sr(volumes, seg, small_ct("other"), tmp_path / "sr.dcm", **BY)
    with pytest.raises(UnsupportedFile):
        write_sr(volumes, next(folder.iterdir()), folder, tmp_path / "sr.dcm", **BY)
    with pytest.raises(MissingFile):
        read_sr(tmp_path / "sr.dcm")
    with pytest.raises(UnsupportedFile):
        read_sr(seg)


def edited(path, edit):
    report = pydicom.dcmread(path)
    groups = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    for group in groups.ContentSequence:
        for item in group.ContentSequence:
            if item.ValueType == "NUM" or item.ConceptNameCodeSequence[0].CodeValue == "112039":
                edit(item)
    report.save_as(path)


def test_other_units_are_converted_or_refused(drawn, tmp_path):
    folder, seg, _ = drawn
    path = tmp_path / "sr.dcm"

    def in_unit(unit):
        def edit(item):
            if item.ValueType == "NUM":
                item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = unit
                item.MeasuredValueSequence[0].pop("FloatingPointValue", None)

        return edit

    write_sr({"liver": 1500.0}, seg, folder, path, **BY)
    edited(path, in_unit("mm3"))
    assert read_sr(path) == {"liver": 1.5}
    edited(path, in_unit("mm"))
    with pytest.raises(UnsupportedFile, match="'mm'"):
        read_sr(path)


def test_two_volumes_of_one_name_are_refused(drawn, tmp_path):
    folder, seg, volumes = drawn
    write_sr(volumes, seg, folder, tmp_path / "sr.dcm", **BY)
    edited(tmp_path / "sr.dcm", lambda item: setattr(item, "TextValue", "x") if item.ValueType == "TEXT" else None)
    with pytest.raises(ValueProblem, match="two volumes of 'x'"):
        read_sr(tmp_path / "sr.dcm")


def test_reports_of_others_and_damaged_ones(drawn, tmp_path):
    folder, seg, volumes = drawn
    with pytest.raises(UnsupportedFile):
        read_sr(tmp_path.__class__(get_testdata_file("reportsi.dcm", download=False)))
    write_sr(volumes, seg, folder, tmp_path / "sr.dcm", **BY)
    whole = (tmp_path / "sr.dcm").read_bytes()
    rng = np.random.default_rng(2)
    for trial in range(40):
        bad = bytearray(whole)
        for place in rng.integers(0, len(bad), 8):
            bad[place] = rng.integers(256)
        (tmp_path / "bad.dcm").write_bytes(bytes(bad) if trial % 2 else bytes(bad)[: rng.integers(len(bad))])
        try:
            found = read_sr(tmp_path / "bad.dcm")
        except InputError:
            continue
        assert len(found) <= 2
    (tmp_path / "bad.dcm").write_bytes(b"no report")
    with pytest.raises(UnreadableFile):
        read_sr(tmp_path / "bad.dcm")


@pytest.mark.shared
def test_lung_ct_report_is_sound(shared_data, tmp_path, dicom_errors):
    folder = shared_data / "ibsi-lung-ct" / "dicom" / "image"
    series = read_series(folder)
    array = np.zeros(series.shape, np.uint8)
    array[20:30, 50:90, 50:90] = 1
    mask = Mask(array, series.geometry, {1: "GTV"})
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    write_sr(mask.volumes_ml(), tmp_path / "seg.dcm", folder, tmp_path / "sr.dcm", **BY)
    assert dicom_errors(tmp_path / "sr.dcm") == []
    assert read_sr(tmp_path / "sr.dcm") == mask.volumes_ml()
