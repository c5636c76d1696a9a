"""What a column of files is taken for: pictures to learn from, or masks that would tell the answer."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from galenic.formats import nifti
from galenic.images.guess import FEW, doubt, recognises
from galenic.values import Geometry, Image


def put(path, array) -> None:
    nifti.write_image(Image(np.asarray(array)[np.newaxis], Geometry.plain(np.ndim(array))), path)


def test_pictures_are_not_doubted(tmp_path):
    rng = np.random.default_rng(0)
    Pillow.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / "colour.png")
    put(tmp_path / "scan.nii.gz", rng.normal(size=(6, 7, 8)))
    put(tmp_path / "parts.nii.gz", rng.integers(0, 3, (6, 7, 8)) / 2)
    for name in ("colour.png", "scan.nii.gz", "parts.nii.gz"):
        assert recognises(name, tmp_path)
        assert doubt("image", [name], tmp_path) == "", name


def test_few_whole_numbers_are_masks(tmp_path):
    rng = np.random.default_rng(0)
    put(tmp_path / "organs.nii.gz", rng.integers(0, 12, (9, 9, 9)).astype(np.float32))
    drawn = np.zeros((20, 20, 3), np.uint8)
    drawn[5:9, 5:9] = (255, 0, 0)
    Pillow.fromarray(drawn).save(tmp_path / "overlay.png")
    for name in ("organs.nii.gz", "overlay.png"):
        assert "as masks do" in doubt("image", [name], tmp_path), name
    put(tmp_path / "many.nii.gz", np.arange(FEW + 1.0).reshape(1, 3, 11))
    assert doubt("image", ["many.nii.gz"], tmp_path) == ""


def test_one_picture_among_the_first_is_enough(tmp_path):
    put(tmp_path / "empty.nii.gz", np.zeros((6, 6)))
    put(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(size=(6, 6)))
    assert doubt("image", ["empty.nii.gz", "scan.nii.gz"], tmp_path) == ""


@pytest.mark.parametrize("name", ["image", "T1", "t2_flair", "ct", "scan_path", "fundusPhoto", "imageGt2"])
def test_names_of_pictures(tmp_path, name):
    assert (doubt(name, [], tmp_path) == "") == (name != "imageGt2")


def test_damaged_and_odd_files(tmp_path):
    """A damaged picture is still a picture, so that its reader tells the damage; a report is none."""
    (tmp_path / "bad.nii.gz").write_bytes(b"no such thing")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00")
    assert recognises("bad.nii.gz", tmp_path)
    assert doubt("image", ["bad.nii.gz"], tmp_path) == ""
    assert recognises("cut.dcm", tmp_path)
    for cell in ("report.pdf", "", " ", "no picture", "a\0b.txt", "x" * 5000):
        assert not recognises(cell, tmp_path), cell
