from __future__ import annotations

import logging
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset

from galenic.core.errors import (
    GeometryError,
    InputError,
    SeriesError,
    UnreadableFile,
    UnsupportedFile,
    ValueProblem,
)
from galenic.formats.dicom_source import read_series
from galenic.formats.rtstruct import STRUCTURE_SET, fill_even_odd, list_rois, read_rtstruct
from galenic.values import Geometry, Image

SHAPE = (6, 30, 40)
# Axes of an oblique scan: slices go down and back, rows towards the patient's right.
AXES = np.linalg.qr(np.array([[0.1, 0.2, 0.9], [0.5, -0.8, 0.1], [-0.8, -0.5, 0.2]]))[0]
OBLIQUE = Geometry(np.array([3.0, 0.8, 0.5]), np.array([12.0, -7.0, 40.0]), AXES)
PLAIN = Geometry(np.array([3.0, 1.0, 1.0]), np.zeros(3), Geometry.plain(3).direction)


def image_on(geometry: Geometry, series_uid: str = "") -> Image:
    return Image(np.zeros((1, *SHAPE), np.int16), geometry, series_uid=series_uid)


def box(k: float, rows: tuple[float, float], columns: tuple[float, float], geometry: Geometry = PLAIN) -> np.ndarray:
    (top, bottom), (left, right) = rows, columns
    corners = [[k, top, left], [k, top, right], [k, bottom, right], [k, bottom, left]]
    return geometry.to_mm(np.array(corners, float))


def write(path: Path, rois: dict[str, list], *, kind: str = "CLOSED_PLANAR", series_uid: str = "") -> Path:
    """A structure set of boxes, each an array (n, 3) of millimetres, or a pair of a kind and such an array."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = STRUCTURE_SET
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    if series_uid:
        series, study, frame = Dataset(), Dataset(), Dataset()
        series.SeriesInstanceUID = series_uid
        study.RTReferencedSeriesSequence = [series]
        frame.RTReferencedStudySequence = [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
    for number, (name, contours) in enumerate(rois.items(), start=3):
        roi, drawing = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name.rstrip("2")
        drawing.ReferencedROINumber = number
        drawing.ContourSequence = []
        for contour in contours:
            item = Dataset()
            item.ContourGeometricType, points = contour if isinstance(contour, tuple) else (kind, contour)
            item.NumberOfContourPoints = len(points)
            item.ContourData = [f"{value:.10g}" for value in np.ravel(points)]
            drawing.ContourSequence.append(item)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawing)
    dataset.save_as(path, enforce_file_format=True)
    return path


def inside_by_angle(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Winding by summed angles: slow, and right for simple polygons; no centre may lie on an edge."""
    centres = np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), -1)[:, :, None]
    start = polygon - centres
    end = np.roll(polygon, -1, axis=0) - centres
    turn = np.arctan2(
        start[..., 0] * end[..., 1] - start[..., 1] * end[..., 0],
        start[..., 0] * end[..., 0] + start[..., 1] * end[..., 1],
    )
    return np.abs(turn.sum(axis=2)) > np.pi


@given(st.integers(0, 2**32 - 1), st.integers(3, 14))
def test_fill_agrees_with_the_sum_of_angles(seed, corners):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = rng.uniform(2, 14, corners)
    star = np.stack([9 + reach * np.sin(angles), 11 + reach * np.cos(angles)], axis=1)
    if np.diff(angles, append=angles[0] + 2 * np.pi).max() > 3.1:
        star = np.array([[1.3, 2.2], [15.7, 4.1], [8.9, 17.6]])
    assert np.array_equal(fill_even_odd([star], (20, 24)), inside_by_angle(star, (20, 24)))


def test_boxes_that_share_an_edge_share_no_pixel():
    left = np.array([[2, 2], [2, 6], [8, 6], [8, 2]], float)
    right = left + np.array([0, 4])
    first, second = fill_even_odd([left], (12, 14)), fill_even_odd([right], (12, 14))
    assert not (first & second).any()
    assert first.sum() == second.sum() == 24
    assert (first[2, 2], first[8, 2], first[2, 6]) == (True, False, False)


def test_beyond_the_grid_is_cut_off():
    whole = np.array([[-50, -50], [-50, 99], [99, 99], [99, -50]], float)
    assert fill_even_odd([whole], (5, 7)).all()
    assert not fill_even_odd([whole + 200], (5, 7)).any()


@pytest.mark.parametrize("geometry", [PLAIN, OBLIQUE])
@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_box_with_a_hole_lands_where_it_was_drawn(tmp_path, geometry, kind):
    contours = [box(k, (4.5, 20.5), (9.5, 30.5), geometry) for k in (1, 2, 3)]
    contours += [box(2, (9.5, 12.5), (14.5, 17.5), geometry)]
    mask = read_rtstruct(write(tmp_path / "rt.dcm", {"lung ": contours}, kind=kind), image_on(geometry))
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:4, 5:21, 10:31] = 1
    expected[2, 10:13, 15:18] = 0
    assert np.array_equal(mask.array, expected)
    assert dict(mask.names) == {1: "lung"}
    assert mask.volumes_ml()["lung"] == pytest.approx((3 * 16 * 21 - 9) * np.prod(geometry.spacing_mm) / 1000)


def test_the_plane_nearest_to_the_slice_counts(tmp_path):
    planes = {2.0: 5, 2.4: 9, 2.7: 12, 3.3: 3}
    contours = [box(k, (0.5, rows + 0.5), (0.5, 1.5)) for k, rows in planes.items()]
    mask = read_rtstruct(write(tmp_path / "rt.dcm", {"a": contours}), image_on(PLAIN))
    assert mask.array.sum(axis=(1, 2)).tolist() == [0, 0, 5, 12, 0, 0]


def test_one_region_is_chosen_by_its_name(tmp_path):
    here, there = [box(1, (0.5, 3.5), (0.5, 3.5))], [box(2, (0.5, 4.5), (0.5, 4.5))]
    path = write(tmp_path / "rt.dcm", {"lung": here, "heart": there, "twin": here, "twin2": there})
    assert list_rois(path) == ["lung", "heart", "twin", "twin"]
    assert read_rtstruct(path, image_on(PLAIN), "heart").array.sum() == 16
    for roi in (None, "spleen", "twin"):
        with pytest.raises(ValueProblem, match=r"heart, lung, twin, twin"):
            read_rtstruct(path, image_on(PLAIN), roi)


def test_points_and_lines_are_left_out_with_a_note(tmp_path, caplog):
    closed = box(1, (0.5, 3.5), (0.5, 3.5))
    path = write(tmp_path / "rt.dcm", {"a": [("POINT", closed[:1]), ("OPEN_PLANAR", closed), closed]})
    with caplog.at_level(logging.WARNING):
        assert read_rtstruct(path, image_on(PLAIN)).array.sum() == 9
    assert "2 points or open lines of 'a' left out" in caplog.text
    with pytest.raises(UnsupportedFile, match="no closed contour"):
        read_rtstruct(write(path, {"a": [("POINT", closed[:1])]}), image_on(PLAIN))
    with pytest.raises(UnsupportedFile, match="no closed contour"):
        read_rtstruct(write(path, {"a": []}), image_on(PLAIN))


@pytest.mark.parametrize(
    ("contours", "said"),
    [
        ([box(5.6, (1, 4), (1, 4))], "outside the image"),
        ([box(-0.7, (1, 4), (1, 4))], "outside the image"),
        ([box(1, (1, 4), (1, 4))[:, [2, 1, 0]] * 3], "across the image's slices"),
        ([box(k, (1, 4), (1, 4)) for k in (0, 2, 4)], "on one slice in 2 only"),
        ([box(1, (100, 140), (1, 4))], "beside the image"),
    ],
)
def test_contours_off_the_grid_are_refused(tmp_path, contours, said):
    with pytest.raises(GeometryError, match=said):
        read_rtstruct(write(tmp_path / "rt.dcm", {"a": contours}), image_on(PLAIN))


def test_contours_of_another_series_are_refused_unless_asked_for(tmp_path):
    path = write(tmp_path / "rt.dcm", {"a": [box(1, (0.5, 3.5), (0.5, 3.5))]}, series_uid="1.2.3")
    assert read_rtstruct(path, image_on(PLAIN, "1.2.3")).array.sum() == 9
    with pytest.raises(SeriesError, match="another series"):
        read_rtstruct(path, image_on(PLAIN, "1.2.4"))
    assert read_rtstruct(path, image_on(PLAIN, "1.2.4"), any_series=True).array.sum() == 9


def test_what_is_no_structure_set_or_no_volume_is_refused(tmp_path, small_ct):
    path = write(tmp_path / "rt.dcm", {"a": [box(1, (0.5, 3.5), (0.5, 3.5))]})
    with pytest.raises(GeometryError, match="3D"):
        read_rtstruct(path, Image(np.zeros((1, 4, 4)), Geometry.plain(2, 1.0)))
    with pytest.raises(GeometryError, match="3D"):
        read_rtstruct(path, image_on(Geometry.plain(3)))
    with pytest.raises(UnsupportedFile):
        list_rois(next(small_ct().iterdir()))
    with pytest.raises(UnreadableFile):
        read_rtstruct(write(path, {"a": [np.zeros(7)]}), image_on(PLAIN))


def test_a_planning_system_s_file_is_listed():
    """It has no preamble, as older systems write."""
    path = Path(get_testdata_file("rtstruct.dcm", download=False))
    assert list_rois(path) == ["patient", "Isocenter 1", "Isocenter 2"]


def test_a_damaged_file_gives_only_our_errors(tmp_path):
    path = write(tmp_path / "rt.dcm", {"a": [box(k, (0.5, 3.5), (0.5, 3.5)) for k in (1, 2)]})
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for trial in range(150):
        bad = bytearray(whole)
        for place in rng.integers(0, len(bad), 4):
            bad[place] = rng.integers(256)
        path.write_bytes(bytes(bad) if trial % 2 else bytes(bad)[: rng.integers(len(bad))])
        try:
            mask = read_rtstruct(path, image_on(PLAIN))
        except InputError:
            continue
        assert mask.shape == SHAPE


@pytest.mark.shared
def test_lung_ct_contours_give_the_published_mask(shared_data):
    """The centre rule reproduces the phantom's own NIfTI mask, made by others from these contours, in every voxel."""
    folder = shared_data / "ibsi-lung-ct"
    series = read_series(folder / "dicom" / "image")
    image = Image(np.zeros((1, *series.shape), np.int16), series.geometry, series_uid=series.series_uid)
    mask = read_rtstruct(next((folder / "dicom" / "mask").iterdir()), image, "GTV-1")
    published = nibabel.load(folder / "nifti" / "mask" / "mask.nii.gz")
    assert np.array_equal(mask.array, np.asarray(published.dataobj).transpose(2, 1, 0))
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert np.allclose((to_ras @ mask.geometry.affine())[:, [2, 1, 0, 3]], published.affine, atol=1e-3)
    assert int(mask.array.sum()) == 125256
