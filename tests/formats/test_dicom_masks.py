"""SEG and RTSTRUCT by the names of what they outline, on the grid of an image."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from galenic.core.errors import GeometryError, MissingFile, SeriesError, UnsafeFile, UnsupportedFile, ValueProblem
from galenic.formats import dicom, nifti
from galenic.formats.dicom_masks import names_in, read_any, read_named
from galenic.formats.dicom_seg import write_seg
from galenic.formats.rtstruct import STRUCTURE_SET
from galenic.values import Image, Mask

BY = {"algorithm": "unet", "version": "1.2"}
NAMES = {2: "liver", 5: "Liver Lesion", 9: "never seen"}


@pytest.fixture
def scan(small_ct) -> Path:
    return small_ct()


def drawn(image: Image) -> Mask:
    array = np.zeros(image.shape, np.uint8)
    array[1:4, 10:40, 20:70] = 2
    array[2:4, 20:25, 30:33] = 5
    return Mask(array, image.geometry, NAMES)


@pytest.fixture
def seg(scan, tmp_path) -> Path:
    write_seg(drawn(dicom.read_image(scan)), scan, tmp_path / "seg.dcm", **BY)
    return tmp_path / "seg.dcm"


def structures(path: Path, rois: dict[str, list[np.ndarray]], series_uid: str = "") -> Path:
    """A structure set with a region a name, each of closed contours (n, 3) in mm."""
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = STRUCTURE_SET
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality = "RTSTRUCT"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = series_uid or "1.2.3"
    study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [series], [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame] if series_uid else []
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawing = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, drawing.ReferencedROINumber, drawing.ContourSequence = number, name, number, []
        for contour in contours:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(contour)
            item.ContourData = [f"{value:.10g}" for value in np.ravel(contour)]
            drawing.ContourSequence.append(item)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawing)
    dataset.save_as(path, enforce_file_format=True)
    return path


def boxes(image: Image, slices, rows, columns) -> list[np.ndarray]:
    (top, bottom), (left, right) = rows, columns
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return [image.geometry.to_mm(np.array([[k, *corner] for corner in corners], float)) for k in slices]


def test_a_seg_is_read_by_its_names(scan, seg):
    image = dicom.read_image(scan)
    assert names_in(seg) == list(NAMES.values())
    mask = read_named(seg, image, ["liver  LESION", "never seen", "liver"])
    assert dict(mask.names) == {1: "liver  LESION", 2: "never seen", 3: "liver"}
    want = drawn(image).array
    np.testing.assert_array_equal(mask.array, 3 * (want == 2) + 1 * (want == 5))
    assert mask.geometry.close_to(image.geometry)
    assert mask.source == seg
    np.testing.assert_array_equal(read_any(seg, image).array, want > 0)


def test_a_folder_that_holds_one_is_as_good_as_the_file(scan, seg, tmp_path):
    (tmp_path / "drawn" / "inner").mkdir(parents=True)
    seg.rename(tmp_path / "drawn" / "inner" / "a")
    (tmp_path / "drawn" / "notes.txt").write_text("text")
    image = dicom.read_image(scan)
    assert read_named(tmp_path / "drawn", image, ["liver"]).array.any()
    with pytest.raises(UnsupportedFile, match="holds 0 DICOM SEG or RTSTRUCT"):
        read_named(scan, image, ["liver"])
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "drawn" / "inner" / "a")
    with pytest.raises(UnsafeFile, match="leads out of its folder"):
        read_named(tmp_path / "linked", image, ["liver"])


def test_a_seg_is_laid_on_the_same_grid_in_another_format(scan, seg, tmp_path):
    """Turned and flipped as converters do; a grid that is shifted by half a voxel is another."""
    image = dicom.read_image(scan)
    nifti.write_image(image, tmp_path / "a.nii.gz")
    stored = nibabel.load(tmp_path / "a.nii.gz")
    turned = stored.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "S", "R")))
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    for name in ("a.nii.gz", "turned.nii.gz"):
        other = nifti.read_image(tmp_path / name)
        mask = read_named(seg, other, ["liver"])
        assert mask.shape == other.shape
        points = np.argwhere(mask.array).astype(float)
        back = np.rint((other.geometry.to_mm(points) - image.geometry.origin_mm) @ np.linalg.inv(
            image.geometry.direction * image.geometry.spacing_mm).T).astype(int)  # fmt: skip
        assert set(map(tuple, back)) == set(map(tuple, np.argwhere(drawn(image).array == 2)))
    shifted = stored.affine.copy()
    shifted[0, 3] += 0.5 * abs(shifted[0, 0])
    nibabel.save(nibabel.Nifti1Image(stored.get_fdata(), shifted), tmp_path / "shifted.nii.gz")
    with pytest.raises(GeometryError, match="does not lie on the voxels"):
        read_named(seg, nifti.read_image(tmp_path / "shifted.nii.gz"), ["liver"])


def test_a_seg_of_another_series_is_told(seg, small_ct):
    def moved(slice_, k):
        slice_.FrameOfReferenceUID = "1.2.99"

    with pytest.raises(GeometryError, match="frames of reference"):
        read_named(seg, dicom.read_image(small_ct("other", edit=moved)), ["liver"])


def test_regions_are_read_by_their_names(scan, tmp_path):
    image = dicom.read_image(scan)
    rois = {
        "Lung": boxes(image, range(1, 4), (9.5, 19.5), (19.5, 39.5)),
        "GTV": boxes(image, [2], (29.5, 39.5), (9.5, 19.5)),
        "empty": [],
    }
    path = structures(tmp_path / "rt.dcm", rois, image.series_uid)
    assert names_in(path) == ["Lung", "GTV"]
    mask = read_named(path, image, ["gtv", "empty", "lung"])
    want = np.zeros(image.shape, np.uint8)
    want[1:4, 10:20, 20:40], want[2, 30:40, 10:20] = 3, 1
    np.testing.assert_array_equal(mask.array, want)
    np.testing.assert_array_equal(read_any(path, image).array, want > 0)
    with pytest.raises(SeriesError, match="another series"):
        read_named(structures(tmp_path / "rt.dcm", rois, "1.2.77"), image, ["Lung"])


def test_what_can_not_be_one_mask_is_told(scan, seg, tmp_path):
    image = dicom.read_image(scan)
    inner = boxes(image, [2], (12.5, 15.5), (22.5, 25.5))
    path = structures(tmp_path / "rt.dcm", {"a": boxes(image, [2], (9.5, 19.5), (19.5, 39.5)), "b": inner, " A": inner})
    with pytest.raises(ValueProblem, match="'a' and 'b' overlap"):
        read_named(path, image, ["a", "b"])
    with pytest.raises(ValueProblem, match="outlines nothing called 'spleen'") as told:
        read_named(seg, image, ["spleen"])
    assert "liver" in told.value.allowed
    with pytest.raises(UnsupportedFile, match="as a mask"):
        read_named(next(scan.iterdir()), image, ["liver"])
    with pytest.raises(GeometryError, match="none beside it"):
        read_named(seg, None, ["liver"])
    with pytest.raises(MissingFile):
        names_in(tmp_path / "none.dcm")
