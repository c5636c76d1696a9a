"""NRRD and MetaImage: against SimpleITK in both directions, and headers that point elsewhere."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from galenic.core.errors import UnreadableFile, UnsafeFile, UnsupportedFile
from galenic.formats import metaimage, nrrd
from galenic.values import Geometry, Mask

RNG = np.random.default_rng(11)
READERS = {".nrrd": nrrd, ".nhdr": nrrd, ".mha": metaimage, ".mhd": metaimage}
DIRECTION = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])


def itk_image(array: np.ndarray, *, vector: bool = False) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(array, isVector=vector)
    dims = image.GetDimension()
    image.SetSpacing((0.7, 0.9, 3.0)[:dims])
    image.SetOrigin((-5.0, 6.0, 7.0)[:dims])
    image.SetDirection(DIRECTION[:dims, :dims].ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)])
def test_what_simpleitk_writes(tmp_path, suffix, packed, kind, shape):
    image = itk_image((RNG.normal(size=shape) * 50 + 100).astype(kind))
    path = tmp_path / f"a{suffix}"
    SimpleITK.WriteImage(image, str(path), packed)
    back = READERS[suffix].read_image(path)
    np.testing.assert_array_equal(back.array[0], SimpleITK.GetArrayFromImage(image).astype(np.float32))
    for index in ((0,) * len(shape), tuple(size - 1 for size in shape)):
        point = np.zeros(3)
        point[: len(shape)] = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(back.geometry.to_mm([index])[0], point, atol=1e-9)
    assert back.geometry.known


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_channels(tmp_path, suffix):
    array = RNG.integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    SimpleITK.WriteImage(itk_image(array, vector=True), str(tmp_path / f"c{suffix}"))
    image = READERS[suffix].read_image(tmp_path / f"c{suffix}")
    np.testing.assert_array_equal(image.array, np.moveaxis(array, -1, 0))
    with pytest.raises(UnsupportedFile, match="3 channels"):
        READERS[suffix].read_mask(tmp_path / f"c{suffix}")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("most", [2, 300, 70000])
def test_masks_are_read_back_by_us_and_by_simpleitk(tmp_path, suffix, most):
    geometry = Geometry(np.array([3.0, 0.9, 0.7]), np.array([-5.0, 6, 7]), DIRECTION[:, ::-1])
    mask = Mask(RNG.integers(0, most, (3, 4, 5)), geometry, {1: "one"})
    path = tmp_path / f"m{suffix}"
    READERS[suffix].write_mask(mask, path)
    back = READERS[suffix].read_mask(path)
    np.testing.assert_array_equal(back.array, mask.array)
    np.testing.assert_array_equal(back.geometry.affine(), geometry.affine())
    other = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(other), mask.array)
    point = other.TransformIndexToPhysicalPoint((4, 3, 2))
    np.testing.assert_allclose(geometry.to_mm([[2, 3, 4]])[0], point)


def test_plain_masks_stay_plain(tmp_path):
    mask = Mask(np.eye(4, dtype=np.uint8), Geometry.plain(2))
    for suffix in (".nrrd", ".mha"):
        READERS[suffix].write_mask(mask, tmp_path / f"p{suffix}")
        back = READERS[suffix].read_mask(tmp_path / f"p{suffix}", {1: "one"})
        np.testing.assert_array_equal(back.array, mask.array)
        assert not back.geometry.known
    with pytest.raises(UnsupportedFile, match=r"\.mha"):
        metaimage.write_mask(mask, tmp_path / "p.mhd")
    with pytest.raises(UnsupportedFile, match=r"\.nrrd"):
        nrrd.write_mask(mask, tmp_path / "p.nhdr")


NRRD = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 3 2\nencoding: raw\n"
META = "ObjectType = Image\nNDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\n"
OUTSIDE = ["../secret.raw", "/etc/passwd", "sub/../../secret.raw", "http://example.org/a.raw", "link.raw"]


@pytest.fixture
def nest(tmp_path: Path) -> Path:
    (tmp_path / "secret.raw").write_bytes(bytes(range(6)))
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "a.raw").write_bytes(bytes(range(6)))
    (folder / "s1.raw").write_bytes(bytes(range(3)))
    (folder / "s2.raw").write_bytes(bytes(range(3, 6)))
    return folder


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    "how", ["{n}", "LIST\n{n}\na.raw", "LIST 1\na.raw\n{n}", "../s%d.raw 1 2 1", "LIST2D\n../secret.raw"]
)
def test_headers_that_point_elsewhere(nest, name, how):
    told = how.format(n=name)
    (nest / "a.nhdr").write_text(f"{NRRD}data file: {told}\n")
    (nest / "a.mhd").write_text(f"{META}ElementDataFile = {told}\n")
    for reader, file in ((nrrd, "a.nhdr"), (metaimage, "a.mhd")):
        if how.startswith("LIST2D"):  # no keyword: a file that is not there
            with pytest.raises((UnsafeFile, UnreadableFile)):
                reader.read_image(nest / file)
            continue
        with pytest.raises(UnsafeFile):
            reader.read_image(nest / file)


@pytest.mark.parametrize("told", ["a.raw", "./a.raw", "s%d.raw 1 2 1", "LIST\ns1.raw\ns2.raw\n"])
def test_headers_that_point_inside(nest, told):
    (nest / "a.nhdr").write_text(f"{NRRD}data file: {told}\n")
    (nest / "a.mhd").write_text(f"{META}ElementDataFile = {told}\n")
    for image in (nrrd.read_image(nest / "a.nhdr"), metaimage.read_image(nest / "a.mhd")):
        assert image.array.tolist() == [[[0, 1, 2], [3, 4, 5]]]
        assert not image.geometry.known


@pytest.mark.parametrize("told", ["s%s.raw 1 2 1", "s%n%d.raw 1 2 1", "s%d.raw 1 999999999 1", "s%099d.raw 1 2"])
def test_odd_patterns_are_refused(nest, told):
    (nest / "a.nhdr").write_text(f"{NRRD}data file: {told}\n")
    with pytest.raises((UnsafeFile, UnsupportedFile)):
        nrrd.read_image(nest / "a.nhdr")


def test_spacings_skips_text_and_ras(tmp_path):
    (tmp_path / "t.nrrd").write_text(
        NRRD.replace("raw", "text") + "spacings: 0.5 2\n# note\nkey:=value\n\n1 2 3\n4 5 6\n"
    )
    image = nrrd.read_image(tmp_path / "t.nrrd")
    assert image.array.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert image.geometry.spacing_mm.tolist() == [2, 0.5]
    (tmp_path / "d.bin").write_bytes(b"one line\nxx" + bytes(range(6)))
    for skip in ("line skip: 1\nbyte skip: 2", "byte skip: -1"):
        (tmp_path / "s.nhdr").write_text(f"{NRRD}{skip}\ndatafile: d.bin\n")
        assert nrrd.read_image(tmp_path / "s.nhdr").array.max() == 5
    ras = "space: right-anterior-superior\nspace directions: (2,0,0) (0,3,0)\nspace origin: (1,2,3)\n"
    (tmp_path / "r.nrrd").write_bytes((NRRD + ras + "\n").encode() + bytes(range(6)))
    np.testing.assert_array_equal(nrrd.read_image(tmp_path / "r.nrrd").geometry.to_mm([[1, 1]]), [[-3, -5, 3]])


def test_claims_and_cuts(tmp_path):
    (tmp_path / "big.nrrd").write_bytes(NRRD.replace("3 2", "90000 90000").encode() + b"\n123456")
    with pytest.raises(UnsafeFile, match="claims"):
        nrrd.read_image(tmp_path / "big.nrrd")
    (tmp_path / "cut.nrrd").write_bytes(NRRD.encode() + b"\n123")
    with pytest.raises(UnreadableFile, match="cut short"):
        nrrd.read_image(tmp_path / "cut.nrrd")
    packed = META + "CompressedData = True\nElementDataFile = LOCAL\n"
    (tmp_path / "cut.mha").write_bytes(packed.encode() + zlib.compress(b"123"))
    with pytest.raises(UnreadableFile, match="cut short"):
        metaimage.read_image(tmp_path / "cut.mha")
    (tmp_path / "more.mha").write_bytes(packed.encode() + zlib.compress(b"123456" + bytes(10**7)))
    assert metaimage.read_image(tmp_path / "more.mha").array.size == 6


@pytest.mark.shared
@pytest.mark.parametrize("name", ["brain1_image", "brain1_label", "breast1_image", "breast1_label"])
def test_against_a_literal_parse(shared_data: Path, name):
    path = shared_data / "radiomics-cases" / f"{name}.nrrd"
    head, _, packed = path.read_bytes().partition(b"\n\n")
    told = dict(re.findall(r"^([a-z ]+): (.*)$", head.decode(), re.MULTILINE))
    sizes = [int(word) for word in told["sizes"].split()]
    values = np.frombuffer(gzip.decompress(packed), {"short": "<i2", "int": "<i4"}[told["type"]]).reshape(sizes[::-1])
    steps = np.array([float(word) for word in re.findall(r"[-\d.e]+", told["space directions"])]).reshape(3, 3)
    origin = np.array([float(word) for word in re.findall(r"[-\d.e]+", told["space origin"])])
    image = nrrd.read_image(path)
    np.testing.assert_array_equal(image.array[0], values)
    last = np.array(sizes) - 1
    np.testing.assert_allclose(image.geometry.to_mm([last[::-1]])[0], origin + last @ steps)
    if name.endswith("label"):
        assert nrrd.read_mask(path).array.sum() == values.sum()
