"""Answers in the form of the image they were drawn on, read back equal."""

from __future__ import annotations

import numpy as np
import pytest

from galenic.core.contract import Answer
from galenic.core.errors import GeometryError, TaskError, UnsupportedFile
from galenic.formats import dicom_seg, dicom_sr, index, volumes_csv
from galenic.images.kinds import MASK
from galenic.values import Geometry, Image, Mask

NAMES = {3: "organ", 200: "tumour"}


def answer(shape=(4, 6, 7), spacing=2.0) -> Answer:
    array = np.random.default_rng(0).choice(np.array([0, 3, 200], np.uint8), shape)
    mask = Mask(array, Geometry.plain(len(shape), spacing), NAMES)
    return Answer(mask, facts={"volumes_ml": mask.volumes_ml()} if len(shape) == 3 and spacing else {})


def image(of: Answer, source=None, **told) -> Image:
    return Image(np.zeros((1, *of.value.shape), np.float32), of.value.geometry, source=source, **told)


@pytest.mark.parametrize(("form", "suffix"), [("nifti", ".nii.gz"), ("nrrd", ".nrrd"), ("tiff", ".tiff")])
def test_volumes_are_read_back_equal_with_their_volumes_beside(tmp_path, form, suffix):
    given = answer()
    paths = MASK.write(given, {"scan": image(given)}, tmp_path / "out" / "case1", form=form)
    assert [path.name for path in paths] == [f"case1{suffix}", "case1.volumes.csv"]
    again = index.read_mask(paths[0])
    assert np.array_equal(again.array, given.value.array)
    if form != "tiff":
        assert again.geometry.close_to(given.value.geometry)
    rows = volumes_csv.read_volumes(paths[1])
    assert rows == [("case1", name, ml) for name, ml in given.facts["volumes_ml"].items()]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)


def test_pictures_become_png(tmp_path):
    given = answer((6, 7), None)
    paths = MASK.write(given, {"scan": image(given, tmp_path / "a.jpg")}, tmp_path / "a", form="auto")
    assert [path.name for path in paths] == ["a.png"]
    assert np.array_equal(index.read_mask(paths[0]).array, given.value.array)


@pytest.mark.parametrize(
    ("source", "name"),
    [("x.nii", "y.nii.gz"), ("x.mha", "y.nrrd"), ("x.nrrd", "y.nrrd"), ("x.tif", "y.tiff"), (None, "y.nii.gz")],
)
def test_auto_follows_the_image(tmp_path, source, name):
    given = answer()
    own = image(given, tmp_path / source if source else None)
    assert MASK.write(given, {"scan": own}, tmp_path / "y")[0].name == name


def test_a_name_with_a_suffix_is_kept(tmp_path):
    given = answer()
    paths = MASK.write(given, {}, tmp_path / "scan.v2.nii", form="nifti")
    assert [path.name for path in paths] == ["scan.v2.nii", "scan.v2.volumes.csv"]
    paths = MASK.write(given, {}, tmp_path / "scan.v2", form="nifti")
    assert paths[0].name == "scan.v2.nii.gz"


def test_wrong_forms_are_told_and_leave_nothing(tmp_path):
    given = answer()
    with pytest.raises(TaskError, match="dicom-seg, nifti"):
        MASK.write(given, {}, tmp_path / "a", form="bmp")
    with pytest.raises(GeometryError, match="not read from DICOM"):
        MASK.write(given, {"scan": image(given, tmp_path / "a.nii")}, tmp_path / "a", form="dicom-seg")
    with pytest.raises((UnsupportedFile, GeometryError)):
        MASK.write(given, {}, tmp_path / "a", form="png")  # a volume
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_writes_nothing(tmp_path):
    assert MASK.write(Answer(None, refused="no body"), {}, tmp_path / "a") == []
    assert list(tmp_path.iterdir()) == []


def test_one_ct_slice_becomes_a_segmentation(tmp_path):
    data = pytest.importorskip("pydicom.data")
    source = index.read_image(data.get_testdata_file("CT_small.dcm", download=False))
    array = np.zeros(source.shape, np.uint8)
    array[..., 30:60, 40:80] = 3
    given = Answer(Mask(array, source.geometry, {3: "organ"}))
    paths = MASK.write(given, {"scan": source}, tmp_path / "ct", form="auto")
    assert paths[0].name == "ct.seg.dcm"
    again = dicom_seg.read_seg(paths[0])
    assert np.array_equal(again.array.reshape(array.shape), array)
    assert again.names == {3: "organ"}


@pytest.mark.shared
def test_a_dicom_series_becomes_segmentation_report_and_table(tmp_path, shared_data):
    source = index.read_image(shared_data / "ibsi-lung-ct" / "dicom" / "image")
    array = np.zeros(source.shape, np.uint8)
    array[20:30, 200:260, 180:240] = 1
    array[25:30, 300:320, 180:240] = 2
    mask = Mask(array, source.geometry, {1: "lesion", 2: "node"})
    given = Answer(mask, facts={"volumes_ml": mask.volumes_ml()})
    paths = MASK.write(given, {"scan": source}, tmp_path / "lung", form="auto")
    assert [path.name for path in paths] == ["lung.seg.dcm", "lung.sr.dcm", "lung.volumes.csv"]
    again = dicom_seg.read_seg(paths[0], source=source.source)
    assert np.array_equal(again.array, array)
    assert again.geometry.close_to(source.geometry)
    assert dicom_sr.read_sr(paths[1]) == pytest.approx(mask.volumes_ml(), rel=1e-6)
