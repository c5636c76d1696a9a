"""PNG, JPEG, TIFF: every way of storing a pixel, stacks, masks and bombs."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from galenic.core.errors import UnreadableFile, UnsafeFile, UnsupportedFile, ValueProblem
from galenic.formats import png_tiff
from galenic.values import Geometry, Mask

RNG = np.random.default_rng(2)
GREY = RNG.integers(0, 256, (4, 6)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (4, 6, 4)).astype(np.uint8)


def test_png_of_every_kind(tmp_path):
    path = tmp_path / "a.png"
    Pillow.fromarray(GREY).save(path)
    image = png_tiff.read_image(path)
    np.testing.assert_array_equal(image.array, GREY[None])
    assert not image.geometry.known
    assert image.channels == ()
    Pillow.fromarray(COLOUR).save(path)
    image = png_tiff.read_image(path)
    np.testing.assert_array_equal(image.array, np.moveaxis(COLOUR[..., :3], -1, 0))
    assert image.channels == ("red", "green", "blue")
    Pillow.merge("LA", [Pillow.fromarray(COLOUR[..., band]) for band in (0, 1)]).save(path)
    np.testing.assert_array_equal(png_tiff.read_image(path).array[0], COLOUR[..., 0])
    Pillow.fromarray(GREY > 99).save(path)
    np.testing.assert_array_equal(png_tiff.read_image(path).array[0], GREY > 99)
    deep = GREY.astype(np.uint16) * 200
    Pillow.fromarray(deep).save(path)
    np.testing.assert_array_equal(png_tiff.read_image(path).array[0], deep)
    wide = RNG.integers(0, 65536, (4, 6, 3)).astype(np.uint16)
    path.write_bytes(imagecodecs.png_encode(wide))
    np.testing.assert_array_equal(png_tiff.read_image(path).array, np.moveaxis(wide, -1, 0))


def test_jpeg(tmp_path):
    Pillow.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).save(tmp_path / "a.jpg", quality=95)
    array = png_tiff.read_image(tmp_path / "a.jpg").array
    np.testing.assert_allclose(array.mean(axis=(1, 2)), [200, 100, 50], atol=3)
    Pillow.new("CMYK", (16, 16), (0, 0, 0, 0)).save(tmp_path / "c.jpg")
    assert png_tiff.read_image(tmp_path / "c.jpg").array.shape == (3, 16, 16)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}, {"compression": "packbits"}])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_tiff(tmp_path, options, kind):
    path = tmp_path / "a.tif"
    grey = RNG.integers(0, 200, (4, 6)).astype(kind)
    tifffile.imwrite(path, grey, photometric="minisblack", **options)
    np.testing.assert_array_equal(png_tiff.read_image(path).array, grey[None])
    colour = RNG.integers(0, 200, (4, 6, 4)).astype(kind)
    tifffile.imwrite(path, colour, photometric="rgb", extrasamples=["unassalpha"], **options)
    np.testing.assert_array_equal(png_tiff.read_image(path).array, np.moveaxis(colour[..., :3], -1, 0))
    stack = RNG.integers(0, 200, (5, 4, 6)).astype(kind)
    tifffile.imwrite(path, stack, photometric="minisblack", **options)
    np.testing.assert_array_equal(png_tiff.read_image(path).array, stack[None])
    with pytest.raises(UnsupportedFile, match="5 pages"):
        png_tiff.read_image(path, stack=False)


def test_tiff_from_pillow_palette_and_one_bit(tmp_path):
    path = tmp_path / "a.tif"
    indexed = Pillow.fromarray((GREY % 3).astype(np.uint8))
    indexed.putpalette([0, 0, 0, 250, 0, 10, 0, 200, 30])
    indexed.save(path)
    image = png_tiff.read_image(path)
    np.testing.assert_array_equal(image.array[0], np.choose(GREY % 3, [0, 250, 0]))
    np.testing.assert_array_equal(png_tiff.read_mask(path, {1: "a", 2: "b"}).array, GREY % 3)
    Pillow.fromarray(GREY > 99).save(path)
    np.testing.assert_array_equal(png_tiff.read_image(path).array[0], GREY > 99)
    tifffile.imwrite(path, GREY, photometric="miniswhite")
    np.testing.assert_array_equal(png_tiff.read_image(path).array[0], 255 - GREY)
    Pillow.fromarray(GREY).save(path, save_all=True, append_images=[Pillow.fromarray(GREY[:, :3])])
    with pytest.raises(UnsupportedFile, match="different sizes"):
        png_tiff.read_image(path)


def test_spacing_of_imagej_and_ome(tmp_path):
    stack = RNG.integers(0, 200, (5, 4, 6)).astype(np.uint16)
    told = {"axes": "ZYX", "spacing": 3.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "j.tif", stack, imagej=True, resolution=(1 / 0.5, 1 / 0.25), metadata=told)
    geometry = png_tiff.read_image(tmp_path / "j.tif").geometry
    np.testing.assert_allclose(geometry.spacing_mm, [3e-3, 0.25e-3, 0.5e-3])
    told = {"axes": "ZYX", "PhysicalSizeX": 2.0, "PhysicalSizeY": 4.0, "PhysicalSizeZ": 8.0}
    tifffile.imwrite(tmp_path / "o.ome.tif", stack, metadata=told, ome=True)
    image = png_tiff.read_image(tmp_path / "o.ome.tif")
    np.testing.assert_array_equal(image.array[0], stack)
    np.testing.assert_allclose(image.geometry.spacing_mm, [8e-3, 4e-3, 2e-3])


def test_ome_metadata_open_no_other_file(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    plane = '<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
    told = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a.ome.tif">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="4" SizeZ="2" '
        'SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        + plane.format(z=0, name="a.ome.tif")
        + plane.format(z=1, name="../secret.tif")
        + "</Pixels></Image></OME>"
    )
    options = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(tmp_path / "secret.tif", np.full((4, 6), 77, np.uint8), **options)
    tifffile.imwrite(folder / "a.ome.tif", np.full((4, 6), 5, np.uint8), description=told, **options)
    with tifffile.TiffFile(folder / "a.ome.tif") as danger:
        assert 77 in danger.series[0].asarray(), "tifffile itself follows the name, or this test shows nothing"
    monkeypatch.chdir(folder)
    with contextlib.suppress(UnreadableFile):
        assert 77 not in png_tiff.read_image(folder / "a.ome.tif").array


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
@pytest.mark.parametrize("most", [2, 256, 65536])
def test_masks_come_back(tmp_path, name, most):
    array = RNG.integers(0, most, (9, 11))
    array[0, 0] = most - 1
    mask = Mask(array, Geometry.plain(2), {1: "one"})
    png_tiff.write_mask(mask, tmp_path / name)
    np.testing.assert_array_equal(png_tiff.read_mask(tmp_path / name).array, array)
    with Pillow.open(tmp_path / name) as picture:
        np.testing.assert_array_equal(np.array(picture), array)


def test_a_written_mask_shows_distinct_colours(tmp_path):
    mask = Mask(np.arange(12, dtype=np.uint8).reshape(3, 4), Geometry.plain(2))
    png_tiff.write_mask(mask, tmp_path / "m.png")
    with Pillow.open(tmp_path / "m.png") as picture:
        colours = np.array(picture.convert("RGB")).reshape(12, 3)
    assert len({tuple(colour) for colour in colours.tolist()}) == 12
    assert colours[0].tolist() == [0, 0, 0]
    assert colours[1:].max(axis=1).min() > 100
    assert png_tiff.read_mask(tmp_path / "m.png", {1: "any"}, nonzero=True).array.sum() == 11


def test_a_stack_of_masks_keeps_its_spacing(tmp_path):
    array = RNG.integers(0, 4, (3, 4, 5))
    plain = Geometry.plain(3)
    geometry = Geometry(np.array([3.0, 0.5, 0.25]), plain.origin_mm, plain.direction)
    png_tiff.write_mask(Mask(array, geometry), tmp_path / "m.tif")
    back = png_tiff.read_mask(tmp_path / "m.tif")
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_allclose(back.geometry.spacing_mm, geometry.spacing_mm, rtol=1e-5)
    with pytest.raises(UnsupportedFile, match="PNG"):
        png_tiff.write_mask(Mask(array, geometry), tmp_path / "m.png")
    with pytest.raises(UnsupportedFile, match="png or"):
        png_tiff.write_mask(Mask(array, geometry), tmp_path / "m.gif")


def test_mask_values_are_named_or_refused(tmp_path):
    path = tmp_path / "m.png"
    Pillow.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8)).save(path)
    with pytest.raises(ValueProblem, match=r"without a name: \[255\]"):
        png_tiff.read_mask(path, {1: "lesion"})
    mask = png_tiff.read_mask(path, {1: "lesion"}, nonzero=True)
    np.testing.assert_array_equal(mask.array, GREY > 99)
    assert dict(mask.names) == {1: "lesion"}
    Pillow.fromarray(COLOUR).save(path)
    with pytest.raises(ValueProblem, match="in colour"):
        png_tiff.read_mask(path)
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[..., 3] = 255
    Pillow.fromarray(clear).save(path)
    assert not png_tiff.read_mask(path, nonzero=True).array.any()
    tifffile.imwrite(tmp_path / "f.tif", np.array([[0.0, 1.0], [2.0, 2.0]], np.float32))
    assert png_tiff.read_mask(tmp_path / "f.tif").array.tolist() == [[0, 1], [2, 2]]
    tifffile.imwrite(tmp_path / "f.tif", np.array([[0.0, 1.5], [2.0, 2.0]], np.float32))
    with pytest.raises(ValueProblem, match="not whole"):
        png_tiff.read_mask(tmp_path / "f.tif")
    tifffile.imwrite(tmp_path / "f.tif", np.array([[0, -1]], np.int16))
    with pytest.raises(ValueProblem, match="-1"):
        png_tiff.read_mask(tmp_path / "f.tif")


def test_bombs(tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(10**6))
    (tmp_path / "b.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    with pytest.raises(UnsafeFile):
        png_tiff.read_image(tmp_path / "b.png")
    tifffile.imwrite(tmp_path / "b.tif", GREY)
    raw = bytearray((tmp_path / "b.tif").read_bytes())
    for tag, value in ((256, 60000), (257, 60000)):
        at = raw.index(struct.pack("<HH", tag, 4))
        raw[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    (tmp_path / "b.tif").write_bytes(raw)
    with pytest.raises(UnsafeFile):
        png_tiff.read_image(tmp_path / "b.tif")
    (tmp_path / "n.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(UnreadableFile):
        png_tiff.read_image(tmp_path / "n.png")


@pytest.mark.shared
def test_public_pictures(shared_data: Path):
    tif = sorted((shared_data / "tcga-lgg-mri").glob("*/*_mask.tif"))[0]
    mask = png_tiff.read_mask(tif, {1: "tumour"}, nonzero=True)
    with Pillow.open(tif) as picture:
        np.testing.assert_array_equal(mask.array, np.array(picture) > 0)
    assert png_tiff.read_image(tif.with_name(tif.name.replace("_mask", ""))).array.shape == (3, 256, 256)
    png = sorted((shared_data / "cxr-lungs/cxr").glob("*.png"))[0]
    with Pillow.open(png) as picture:
        np.testing.assert_array_equal(png_tiff.read_image(png).array[0], np.array(picture))
