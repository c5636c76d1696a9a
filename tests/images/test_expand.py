"""A folder to predict becomes the cases that are in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from galenic.core.contract import Field
from galenic.formats import nifti
from galenic.images.kinds import IMAGE
from galenic.images.layouts import expand
from galenic.values import Geometry, Image

SIDE = 6


def put_image(path: Path) -> None:
    nifti.write_image(Image(np.ones((1, SIDE, SIDE, SIDE)).cumsum(3), Geometry.plain(3, 1.0)), path)


def put_series(folder: Path, uid: str, *, slices: int = 3, name: str = "{}.dcm", step_mm: float = 2.0) -> None:
    """Slices of pydicom's small CT, moved along z."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    folder.mkdir(parents=True, exist_ok=True)
    dataset.SeriesInstanceUID = uid
    for at in range(slices):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        x, y, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, at * step_mm]
        dataset.save_as(folder / name.format(at))


def test_one_series_is_its_folder_and_a_file_is_itself(tmp_path: Path) -> None:
    put_series(tmp_path / "scan", "1.2.3")
    (tmp_path / "scan" / "notes.txt").write_text("not a picture")
    assert expand(tmp_path / "scan") == [tmp_path / "scan"]
    assert expand(tmp_path) == [tmp_path]
    assert expand(tmp_path / "scan" / "0.dcm") == [tmp_path / "scan" / "0.dcm"]


def test_every_series_folder_below_is_a_case_and_pictures_beside_them_too(tmp_path: Path) -> None:
    put_series(tmp_path / "study" / "one", "1.2.3")
    put_series(tmp_path / "study" / "two", "1.2.4")
    put_image(tmp_path / "study" / "volume.nii.gz")
    (tmp_path / "study" / "readme.txt").write_text("text")
    found = expand(tmp_path / "study")
    assert found == [tmp_path / "study" / name for name in ("one", "two", "volume.nii.gz")]
    field = IMAGE.check(Field(name="image", kind="image", columns=["image"]))
    source = IMAGE.open(field, pd.DataFrame({"image": [str(path) for path in found]}), tmp_path)
    assert source.read(0).shape[0] == 3
    assert source.read(2).shape == (SIDE,) * 3


def test_files_that_are_each_a_series_are_each_a_case(tmp_path: Path) -> None:
    for at, uid in enumerate(("1.2.3", "1.2.4", "1.2.5")):
        put_series(tmp_path, uid, slices=1, name=f"view{at}.dcm")
    assert expand(tmp_path) == [tmp_path / f"view{at}.dcm" for at in range(3)]


def test_series_that_share_a_folder_are_told_apart_by_their_uid(tmp_path: Path) -> None:
    put_series(tmp_path, "1.2.3", name="a{}.dcm")
    put_series(tmp_path, "1.2.4", name="b{}.dcm", slices=4)
    found = expand(tmp_path)
    assert found == [Path(f"{tmp_path}#{uid}") for uid in ("1.2.3", "1.2.4")]
    field = IMAGE.check(Field(name="image", kind="image", columns=["image"]))
    source = IMAGE.open(field, pd.DataFrame({"image": [str(path) for path in found]}), tmp_path)
    assert [source.read(row).shape[0] for row in range(2)] == [3, 4]
    assert [source.read(row).series_uid for row in range(2)] == ["1.2.3", "1.2.4"]
    assert expand(found[0]) == [found[0]]


def test_a_series_around_another_ones_folder_is_named_alone(tmp_path: Path) -> None:
    put_series(tmp_path, "1.2.3", name="a{}.dcm")
    put_series(tmp_path / "inner", "1.2.4")
    assert expand(tmp_path) == [tmp_path / "inner", Path(f"{tmp_path}#1.2.3")]
    assert expand(tmp_path / "inner") == [tmp_path / "inner"]


def test_a_folder_of_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    assert expand(tmp_path) == []


@pytest.mark.shared
def test_a_hospitals_folder_of_three_studies(shared_data: Path) -> None:
    found = expand(shared_data / "brain-mri-dicom")
    assert len(found) == 3
    assert all(path.is_dir() and IMAGE.expand(path) == [path] for path in found)
