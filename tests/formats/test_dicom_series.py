"""Series: told apart, sorted by position, and refused, each with its own reason, where they form no grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galenic.core.errors import SeriesError, UnreadableFile, UnsafeFile, UnsupportedFile
from galenic.formats import dicom

HEIGHTS = [5.0, 7.5, 10.0, 12.5, 15.0]
OTHER = "1.2.3.4.5"


def test_slices_are_sorted_by_position_and_spaced_by_it(make_series):
    image = dicom.read_image(make_series(HEIGHTS))
    assert image.array.shape == (1, 5, 4, 6)
    assert image.array.dtype == np.float32
    assert image.array[0, :, 0, 0].tolist() == [-1000, -990, -980, -970, -960]
    np.testing.assert_allclose(image.geometry.spacing_mm, [2.5, 0.5, 0.75])
    np.testing.assert_allclose(image.geometry.origin_mm, [-10, -20, 5])
    np.testing.assert_allclose(image.geometry.to_mm([[4, 2, 1]]), [[-10 + 0.75, -20 + 2 * 0.5, 15]])
    assert (image.modality, image.unit) == ("CT", "HU")


def test_slope_and_intercept_are_each_slices_own(make_series):
    each = {i: {"RescaleSlope": i + 1, "RescaleIntercept": -i} for i in range(5)}
    image = dicom.read_image(make_series(HEIGHTS, each))
    assert image.array[0, :, 0, 0].tolist() == [10 * i * (i + 1) - i for i in range(5)]


def test_sagittal_series_keep_their_axes(make_series):
    folder = make_series([(x, 1, 2) for x in (4.0, 3.0, 2.0)], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    image = dicom.read_image(folder)
    # row direction x column direction = y x -z = -x: along the normal, x falls
    np.testing.assert_allclose(image.geometry.direction, np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]]))
    np.testing.assert_allclose(image.geometry.origin_mm, [4, 1, 2])
    assert image.array[0, :, 0, 0].tolist() == [-1000, -990, -980]


def test_tilted_gantry_keeps_its_true_grid(make_series):
    step = np.array([0.0, 0.9, 2.3])
    image = dicom.read_image(make_series([tuple(step * i) for i in range(4)]))
    np.testing.assert_allclose(image.geometry.spacing_mm[0], np.linalg.norm(step))
    np.testing.assert_allclose(image.geometry.to_mm([[3, 0, 0]])[0], step * 3, atol=1e-9)
    assert abs(image.geometry.direction[:, 0] @ image.geometry.direction[:, 1]) > 0.3


def test_two_series_are_told_apart_and_chosen(make_series, make_slice):
    folder = make_series(HEIGHTS)
    for i in range(3):
        make_slice(folder / f"b{i}", np.full((4, 6), 7, np.int16), position=(0, 0, i), SeriesInstanceUID=OTHER)
    with pytest.raises(SeriesError, match=r"2 series.*1\.2\.3\.4\.5 \(CT thorax, 3 files\)") as told:
        dicom.read_image(folder)
    assert "series#UID or in a column series_uid" in told.value.todo
    assert dicom.read_image(folder, series_uid=OTHER).array.shape == (1, 3, 4, 6)
    assert dicom.read_image(folder, series_uid=OTHER).array.max() == -993
    with pytest.raises(SeriesError, match="no series 9"):
        dicom.read_image(folder, series_uid="9")
    found = {series.uid: series for series in dicom.find_series(folder)}
    assert found[OTHER].shape == (3, 4, 6)
    assert found[OTHER].spacing_mm == pytest.approx((1, 0.5, 0.75))
    assert [path.name for path in found[OTHER].files] == ["b0", "b1", "b2"]
    assert found[OTHER].patient_id == "P1"
    assert len(set(found[OTHER].sop_instance_uids)) == 3


@pytest.mark.parametrize(
    ("heights", "each", "reason"),
    [
        ([0, 1, 2, 4, 5], {}, r"1 slices are missing.*003\.dcm \(2\.00 mm\) and 002\.dcm \(4\.00 mm\)"),
        ([0, 1, 2, 3, 5.5, 6.5], {}, "there is a gap.*2.50 mm between"),
        ([0, 1, 1, 2, 3], {}, r"same position.*00[34]\.dcm and 00[34]\.dcm at 1\.00 mm"),
        ([0, 0, 0], {}, "2 slices lie at the same position"),
        ([0, 1, 2, 3.3, 4.3, 5.3, 6.3], {}, r"not evenly spaced: usually 1\.000 mm, but 1\.300 mm after 005"),
        ([0, 1, 2], {1: {"PixelSpacing": [1, 1]}}, r"different pixel spacing.*002\.dcm"),
        ([0, 1, 2], {2: {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}}, r"different orientation.*001\.dcm"),
        ([0, 1, 2], {0: {"pixels": np.zeros((5, 6), np.int16)}}, r"different size.*003\.dcm"),
        ([0, 1, 2, 3], {2: {"position": (9, 0, 2)}}, "straight line"),
        ([0, 1, 2], {1: {"position": None}}, r"do not tell where they lie.*002\.dcm"),
        ([0, 1, 2], {1: {"Modality": "MR"}}, "another colour or unit"),
        ([0, 1], {i: {"ImageOrientationPatient": [1, 0, 0, 0.9, 0.4, 0]} for i in (0, 1)}, "right angles"),
    ],
)
def test_what_is_no_grid_is_refused_with_its_reason(make_series, heights, each, reason):
    folder = make_series(heights, each)
    with pytest.raises(SeriesError, match=reason):
        dicom.read_image(folder)
    (series,) = dicom.find_series(folder)
    assert len(series.files) == len(heights)


def test_rounded_positions_are_no_fault(make_series):
    heights = [round(0.625 * i, 1) for i in range(9)]
    image = dicom.read_image(make_series(heights))
    assert image.geometry.spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def test_other_files_in_the_folder_are_skipped(make_series, make_slice):
    folder = make_series(HEIGHTS)
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "notes.txt").write_text("no image")
    (folder / "short").write_bytes(b"\x08\0")
    (folder / "empty").touch()
    (folder / ".hidden").write_bytes(b"\0" * 128 + b"DICM rubbish")
    (folder / "deeper").mkdir()
    make_slice(folder / "deeper" / "seg", np.zeros((4, 6), np.uint8), Modality="SEG", SeriesInstanceUID=OTHER)
    assert dicom.read_image(folder).shape == (5, 4, 6)
    with pytest.raises(UnsupportedFile, match="SEG"):
        dicom.read_image(folder / "deeper" / "seg")
    with pytest.raises(UnreadableFile, match="no DICOM image"):
        dicom.read_image(folder / "notes.txt")
    with pytest.raises(SeriesError, match="no DICOM image"):
        dicom.read_image(folder / "deeper")


def test_files_without_preamble_are_found(make_series):
    folder = make_series(HEIGHTS)
    for file in folder.iterdir():
        whole = file.read_bytes()
        start = 132 + 12 + int.from_bytes(whole[140:144], "little")
        file.write_bytes(whole[start:])
        file.rename(file.with_suffix(""))
    assert dicom.read_image(folder).array[0, :, 0, 0].tolist() == [-1000, -990, -980, -970, -960]


def test_a_damaged_slice_is_not_left_out_in_silence(make_series):
    folder = make_series(HEIGHTS)
    file = folder / "005.dcm"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UnreadableFile, match=r"005\.dcm.*without the size"):
        dicom.read_image(folder)
    file.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    with pytest.raises(UnreadableFile, match=r"005\.dcm"):
        dicom.find_series(folder)


def test_links_out_of_the_folder_are_not_followed(make_series, make_slice, tmp_path):
    make_slice(tmp_path / "outside.dcm", np.zeros((4, 6), np.int16))
    folder = make_series(HEIGHTS)
    (folder / "link.dcm").symlink_to(tmp_path / "outside.dcm")
    with pytest.raises(UnsafeFile, match="leads out"):
        dicom.find_series(folder)


def test_one_file_of_a_series_is_a_slice(make_series):
    folder = make_series(HEIGHTS)
    image = dicom.read_image(folder / "001.dcm")
    assert image.shape == (4, 6)
    np.testing.assert_allclose(image.geometry.origin_mm, [-10, -20, 15])
    with pytest.raises(SeriesError, match="belongs to"):
        dicom.read_image(folder / "001.dcm", series_uid="9")


@pytest.mark.shared
def test_ct_against_its_own_nifti(shared_data: Path):
    nibabel = pytest.importorskip("nibabel")
    image = dicom.read_image(shared_data / "ibsi-lung-ct/dicom/image")
    other = nibabel.load(shared_data / "ibsi-lung-ct/nifti/image/phantom.nii.gz")
    np.testing.assert_array_equal(image.array[0], np.asarray(other.dataobj).T)
    corners = np.array([[0, 0, 0], [59, 200, 203]])
    ras = corners[:, ::-1] @ other.affine[:3, :3].T + other.affine[:3, 3]
    np.testing.assert_allclose(image.geometry.to_mm(corners), ras * [-1, -1, 1], atol=1e-3)
    assert image.unit == "HU"


@pytest.mark.shared
def test_three_mr_series_are_told_apart(shared_data: Path):
    folder = shared_data / "brain-mri-dicom"
    found = dicom.find_series(folder)
    assert sorted(series.shape for series in found) == [(32, 51, 35), (35, 48, 36), (40, 50, 34)]
    with pytest.raises(SeriesError, match="3 series"):
        dicom.read_image(folder)
    for series in found:
        image = dicom.read_image(folder, series_uid=series.uid)
        assert image.shape == series.shape
        assert image.modality == "MR"
        np.testing.assert_allclose(image.geometry.spacing_mm, series.spacing_mm)
