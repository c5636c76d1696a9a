"""The format is told by the first bytes, else by the name."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from galenic.core.errors import MissingFile, UnreadableFile, UnsupportedFile
from galenic.formats import index
from galenic.values import Geometry, Mask


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.nrrd", "m.mha", "m.png", "m.tif"])
def test_masks_go_out_and_come_back_by_name(tmp_path, name):
    mask = Mask(np.eye(5, dtype=np.uint8), Geometry.plain(2), {1: "line"})
    index.write_mask(mask, tmp_path / name)
    back = index.read_mask(tmp_path / name, {1: "line"})
    np.testing.assert_array_equal(back.array, mask.array)
    assert back.geometry.close_to(mask.geometry)
    assert dict(back.names) == {1: "line"}
    assert index.read_image(tmp_path / name).shape == (5, 5)
    assert back.source == tmp_path / name


def test_bytes_before_names(tmp_path, make_slice):
    Pillow.fromarray(np.eye(5, dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.dcm")
    assert index.format_of(tmp_path / "a.dcm") == "png_tiff"
    assert index.read_image(tmp_path / "a.dcm").shape == (5, 5)
    make_slice(tmp_path / "IM0001", np.zeros((4, 6), np.int16))
    assert index.format_of(tmp_path / "IM0001") == "dicom"
    (tmp_path / "folder").mkdir()
    assert index.format_of(tmp_path / "folder") == "dicom"


def test_options_and_refusals(tmp_path, make_slice):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 2), np.float32), np.eye(4)), tmp_path / "f.nii")
    assert index.read_image(tmp_path / "f.nii", channels=True).array.shape == (2, 6, 5, 4)
    with pytest.raises(UnsupportedFile, match="series_uid"):
        index.read_image(tmp_path / "f.nii", series_uid="1")
    (tmp_path / "a.xyz").write_text("what is this")
    with pytest.raises(UnsupportedFile, match="MetaImage"):
        index.read_image(tmp_path / "a.xyz")
    with pytest.raises(MissingFile):
        index.read_mask(tmp_path / "none.png")
    (tmp_path / "b.nii").write_text("what is this")
    with pytest.raises(UnreadableFile):
        index.read_image(tmp_path / "b.nii")
    make_slice(tmp_path / "a.dcm", np.zeros((4, 6), np.int16))
    with pytest.raises(UnsupportedFile, match="as a mask"):
        index.read_mask(tmp_path / "a.dcm")
    with pytest.raises(UnsupportedFile, match="name of a mask"):
        index.write_mask(Mask(np.eye(5, dtype=np.uint8), Geometry.plain(2)), tmp_path / "a.dcm")
