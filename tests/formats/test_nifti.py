"""NIfTI against nibabel and SimpleITK as second readers, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.errors import (
    GalenicError,
    GeometryError,
    MissingFile,
    UnreadableFile,
    UnsafeFile,
    UnsupportedFile,
    ValueProblem,
)
from galenic.formats import nifti
from galenic.values import Geometry, Image, Mask

RNG = np.random.default_rng(3)
ANGLES = st.floats(-3, 3)


def turned(a: float, b: float, c: float) -> np.ndarray:
    def turn(angle: float, axis: int) -> np.ndarray:
        matrix = np.eye(3)
        i, j = (k for k in range(3) if k != axis)
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
        return matrix

    return turn(a, 0) @ turn(b, 1) @ turn(c, 2)


def oblique(shift: float = 0.0) -> Geometry:
    return Geometry(np.array([3.0, 0.9, 0.7]), np.array([-12.5, 40 + shift, 7]), turned(0.3, -0.2, 1.1))


@settings(max_examples=15, deadline=None)
@given(ANGLES, ANGLES, ANGLES, st.booleans())
def test_grid_and_values_survive_and_agree_with_simpleitk(tmp_path_factory, a, b, c, flip):
    direction = turned(a, b, c) * ([1, 1, -1] if flip else [1, 1, 1])
    geometry = Geometry(np.array([3.0, 0.9, 0.7]), np.array([-12.5, 40.0, 7.0]), direction)
    path = tmp_path_factory.mktemp("nii") / "a.nii.gz"
    image = Image(RNG.normal(size=(1, 3, 4, 5)).astype(np.float32), geometry)
    nifti.write_image(image, path)
    back = nifti.read_image(path)
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_allclose(back.geometry.affine(), geometry.affine(), atol=1e-4)
    other = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(other), back.array[0])
    for index in ([0, 0, 0], [2, 3, 4]):
        point = other.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(back.geometry.to_mm([index])[0], point, atol=1e-3)


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_masks_keep_their_grid(tmp_path, name):
    mask = Mask(RNG.integers(0, 300, (3, 4, 5)), oblique(), {1: "one"})
    nifti.write_mask(mask, tmp_path / name)
    back = nifti.read_mask(tmp_path / name)
    np.testing.assert_array_equal(back.array, mask.array)
    assert back.array.dtype == np.uint16
    assert back.geometry.close_to(mask.geometry, 1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_tilted_grid_survives(tmp_path):
    direction = np.column_stack([[0, 0.36, 0.93], [0, 1, 0], [1, 0, 0]])
    direction = direction / np.linalg.norm(direction, axis=0)
    geometry = Geometry(np.array([2.0, 1, 1]), np.zeros(3), direction)
    nifti.write_mask(Mask(np.ones((2, 3, 4), np.uint8), geometry), tmp_path / "t.nii")
    np.testing.assert_allclose(nifti.read_mask(tmp_path / "t.nii").geometry.affine(), geometry.affine(), atol=1e-6)


def test_two_dimensional_and_unknown_grids_survive(tmp_path):
    mask = Mask(RNG.integers(0, 2, (4, 5)), Geometry.plain(2, 0.5))
    nifti.write_mask(mask, tmp_path / "a.nii.gz")
    back = nifti.read_mask(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.array, mask.array)
    np.testing.assert_allclose(back.geometry.affine(), mask.geometry.affine())
    nifti.write_mask(Mask(np.ones((2, 4, 5), np.uint8), Geometry.plain(3)), tmp_path / "b.nii.gz")
    assert not nifti.read_mask(tmp_path / "b.nii.gz").geometry.known


def test_sform_before_qform_before_spacing(tmp_path):
    path = tmp_path / "a.nii"
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), None)
    image.header.set_zooms((1, 2, 3))
    image.header.set_xyzt_units("mm")
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, path)
    plain = nifti.read_image(path).geometry
    assert plain.spacing_mm.tolist() == [3, 2, 1]
    assert plain.known
    image.set_qform(np.diag([1, 2, 3, 1]) + np.eye(4, k=3) * 9, code=1)
    nibabel.save(image, path)
    assert nifti.read_image(path).geometry.origin_mm.tolist() == [-9, 0, 0]
    image.set_sform(np.diag([1, 2, 3, 1]) + np.eye(4, k=3) * 5, code=2)
    nibabel.save(image, path)
    assert nifti.read_image(path).geometry.origin_mm.tolist() == [-5, 0, 0]
    image.header.set_xyzt_units("micron")
    nibabel.save(image, path)
    np.testing.assert_allclose(nifti.read_image(path).geometry.spacing_mm, [3e-3, 2e-3, 1e-3])


def test_scaling_and_nan(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(2, -7)
    nibabel.save(image, tmp_path / "s.nii")
    raw = bytearray((tmp_path / "s.nii").read_bytes())
    raw[112:120] = np.array([2, -7], "<f4").tobytes()
    (tmp_path / "s.nii").write_bytes(raw)
    stored = np.asarray(nibabel.load(tmp_path / "s.nii").dataobj)
    np.testing.assert_array_equal(nifti.read_image(tmp_path / "s.nii").array[0], stored.T)
    holes = np.full((2, 3, 4), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(holes, np.eye(4)), tmp_path / "n.nii")
    assert np.isnan(nifti.read_image(tmp_path / "n.nii").array).all()
    with pytest.raises(ValueProblem, match="no numbers"):
        nifti.read_mask(tmp_path / "n.nii")


def test_four_axes(tmp_path):
    array = RNG.normal(size=(4, 5, 6, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "f.nii.gz")
    with pytest.raises(UnsupportedFile, match="channels=True"):
        nifti.read_image(tmp_path / "f.nii.gz")
    image = nifti.read_image(tmp_path / "f.nii.gz", channels=True)
    np.testing.assert_array_equal(image.array, array.transpose(3, 2, 1, 0))
    nifti.write_image(image, tmp_path / "g.nii.gz")
    np.testing.assert_array_equal(nifti.read_image(tmp_path / "g.nii.gz", channels=True).array, image.array)
    nibabel.save(nibabel.Nifti1Image(array[..., :1], np.eye(4)), tmp_path / "h.nii.gz")
    assert nifti.read_image(tmp_path / "h.nii.gz").array.shape == (1, 6, 5, 4)
    colour = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = 9
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "c.nii.gz")
    assert nifti.read_image(tmp_path / "c.nii.gz").array[:, 0, 0, 0].tolist() == [0, 9, 0]


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_grid_without_extent_is_refused(tmp_path, bad):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "z.nii")
    raw = bytearray((tmp_path / "z.nii").read_bytes())
    raw[280:328] = bad[:3].astype("<f4").tobytes()
    (tmp_path / "z.nii").write_bytes(raw)
    with pytest.raises((GeometryError, UnreadableFile)):
        nifti.read_image(tmp_path / "z.nii")


def test_lies_cuts_and_wrong_names(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    for name, data in (("big.nii", bytes(raw)), ("big.nii.gz", gzip.compress(bytes(raw)))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnsafeFile, match="claims"):
            nifti.read_image(tmp_path / name)
    (tmp_path / "cut.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:400])
    with pytest.raises(UnreadableFile):
        nifti.read_image(tmp_path / "cut.nii")
    with pytest.raises(MissingFile):
        nifti.read_image(tmp_path / "absent.nii")
    with pytest.raises(UnsupportedFile, match=r"\.nii"):
        nifti.write_mask(Mask(np.ones((2, 2, 2), np.uint8), oblique()), tmp_path / "m.img")


@pytest.mark.shared
def test_msd_against_nibabel(shared_data: Path):
    for path in sorted((shared_data / "msd-hippocampus/imagesTr").glob("*.nii.gz"))[:5]:
        other = nibabel.load(path)
        image = nifti.read_image(path)
        np.testing.assert_array_equal(image.array[0], np.asarray(other.dataobj, np.float32).T)
        ras = np.array([1, 2, 3]) @ other.affine[:3, :3].T + other.affine[:3, 3]
        np.testing.assert_allclose(image.geometry.to_mm([[3, 2, 1]])[0], ras * [-1, -1, 1], atol=1e-4)
        label = nifti.read_mask(path.parents[1] / "labelsTr" / path.name, {1: "anterior", 2: "posterior"})
        assert label.geometry.close_to(image.geometry)
        assert set(label.volumes_ml()) == {"anterior", "posterior"}
        with pytest.raises(ValueProblem, match=r"\[2\]"):
            nifti.read_mask(path.parents[1] / "labelsTr" / path.name, {1: "anterior"})


def test_readers_are_quiet(tmp_path, capfd):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    whole = (tmp_path / "a.nii").read_bytes()
    for place, value in ((0, 4096), (70, 4096), (108, 129), (254, 255)):
        (tmp_path / "a.nii").write_bytes(whole[:place] + value.to_bytes(2, "little") + whole[place + 2 :])
        with contextlib.suppress(GalenicError):
            nifti.read_image(tmp_path / "a.nii")
    assert capfd.readouterr() == ("", "")
