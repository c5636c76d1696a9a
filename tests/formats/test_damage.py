"""Damaged files: whatever byte is turned or cut, only galenic's errors or a sane Image come out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydicom.data import get_testdata_file

from galenic.core.errors import GalenicError
from galenic.formats import index, metaimage, nrrd
from galenic.values import Geometry, Image, Mask

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 200, (6, 7)).astype(np.uint8)
MASK = Mask(RNG.integers(0, 3, (3, 4, 5)), Geometry.plain(3, 1.5))


def bundled(name: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(Path(str(get_testdata_file(name, download=False))).read_bytes())


def nifti(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(RNG.normal(size=(4, 5, 6)).astype(np.float32), np.eye(4)), path)


SAMPLES: dict[str, Callable[[Path], object]] = {
    "plain.dcm": bundled("MR_small.dcm"),
    "implicit.dcm": bundled("MR_small_implicit.dcm"),
    "rle.dcm": bundled("MR_small_RLE.dcm"),
    "j2k.dcm": bundled("MR_small_jp2klossless.dcm"),
    "jls.dcm": bundled("MR_small_jpeg_ls_lossless.dcm"),
    "lossless.dcm": bundled("SC_rgb_jpeg_gdcm.dcm"),
    "baseline.dcm": bundled("SC_rgb_small_odd_jpeg.dcm"),
    "a.nii": nifti,
    "a.nii.gz": nifti,
    "a.nrrd": lambda path: nrrd.write_mask(MASK, path),
    "a.mha": lambda path: metaimage.write_mask(MASK, path),
    "a.png": lambda path: Pillow.fromarray(GREY).save(path),
    "wide.png": lambda path: path.write_bytes(imagecodecs.png_encode(np.stack([GREY.astype(np.uint16)] * 3, -1))),
    "a.jpg": lambda path: Pillow.fromarray(np.kron(GREY, np.ones((4, 4), np.uint8))).save(path),
    "a.tif": lambda path: tifffile.imwrite(path, np.stack([GREY] * 3), photometric="minisblack"),
    "zip.tif": lambda path: tifffile.imwrite(path, GREY, compression="zlib"),
    "ome.tif": lambda path: tifffile.imwrite(path, np.stack([GREY] * 3), ome=True, metadata={"axes": "ZYX"}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    for name, write in SAMPLES.items():
        write(folder / name)
    return {name: (folder / name).read_bytes() for name in SAMPLES}


def check(path: Path) -> None:
    with contextlib.suppress(GalenicError):
        image = index.read_image(path)
        assert isinstance(image, Image)
        assert image.array.size > 0
        assert (image.geometry.spacing_mm > 0).all()


@pytest.mark.parametrize("name", SAMPLES)
def test_whole_samples_are_read(name, whole, tmp_path):
    (tmp_path / name).write_bytes(whole[name])
    assert index.read_image(tmp_path / name).array.size > 0


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes(name, whole, tmp_path, capfd, data):
    raw = bytearray(whole[name])
    # headers are where a single byte does most harm
    places = st.one_of(st.integers(0, min(600, len(raw) - 1)), st.integers(0, len(raw) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        raw[place] = value
    (tmp_path / name).write_bytes(raw)
    check(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_cut_files(name, whole, tmp_path, share):
    (tmp_path / name).write_bytes(whole[name][: int(share * len(whole[name]))])
    check(tmp_path / name)
