"""Pixels: every compressed syntax against its uncompressed twin, brightness, colour, frames, and hostile headers."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from galenic.core.errors import GalenicError, MissingExtra, SeriesError, UnreadableFile, UnsafeFile, UnsupportedFile
from galenic.formats import dicom, dicom_header, dicom_jpeg

RNG = np.random.default_rng(5)


def bundled(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None, f"pydicom no longer ships {name}"
    return path


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("MR_small_padded.dcm", "MR_small.dcm"),
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm"),  # JPEG Lossless .70, colour
    ],
)
def test_lossless_syntaxes_equal_their_plain_twin(packed, plain):
    one, other = dicom.read_image(bundled(packed)), dicom.read_image(bundled(plain))
    np.testing.assert_array_equal(one.array, other.array)
    assert one.geometry.close_to(other.geometry)
    assert one.array.std() > 1


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_gdcm_KY.dcm"]
)
def test_lossy_colour_is_near_the_plain_picture(name):
    one, other = dicom.read_image(bundled(name)), dicom.read_image(bundled("SC_rgb_rle.dcm"))
    assert one.channels == ("red", "green", "blue")
    assert np.abs(one.array.astype(float) - other.array).mean() < 8


@pytest.mark.parametrize("selection", [1, 4, 7])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_jpeg_lossless(tmp_path, make_slice, uid, bits, selection):
    pixels = RNG.integers(0, 1 << bits, (9, 14)).astype(np.uint8 if bits == 8 else np.uint16)
    coded = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=selection, bitspersample=bits)
    data = encapsulate([coded])
    make_slice(tmp_path / "a.dcm", pixels, syntax=UID(uid), PixelData=data, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(dicom.read_image(tmp_path / "a.dcm").array[0], pixels - 1000.0)


def test_signed_jpeg_lossless_keeps_its_sign(tmp_path, make_slice):
    pixels = RNG.integers(-2048, 2048, (9, 14)).astype(np.int16)
    coded = imagecodecs.jpeg8_encode((pixels & 0xFFF).astype(np.uint16), lossless=True, predictor=1, bitspersample=12)
    told = {"PixelData": encapsulate([coded]), "BitsStored": 12, "HighBit": 11, "RescaleIntercept": 0}
    make_slice(tmp_path / "a.dcm", pixels, syntax=UID("1.2.840.10008.1.2.4.70"), **told)
    np.testing.assert_array_equal(dicom.read_image(tmp_path / "a.dcm").array[0], pixels)


def test_twelve_bit_jpeg():
    image = dicom.read_image(bundled("JPGExtended.dcm"))
    assert image.array.shape == (1, 1024, 256)
    assert image.array.max() == 264


def test_monochrome1_is_turned_round_but_not_hounsfield_units(tmp_path, make_slice):
    pixels = RNG.integers(0, 4096, (4, 6)).astype(np.uint16)
    told = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": 0}
    make_slice(tmp_path / "x.dcm", pixels, Modality="DX", position=None, ImageOrientationPatient=None, **told)
    image = dicom.read_image(tmp_path / "x.dcm")
    np.testing.assert_array_equal(image.array[0], 4095 - pixels.astype(int))
    assert image.modality == "XR"
    make_slice(tmp_path / "s.dcm", pixels.astype(np.int16) - 2048, **told, Modality="MR")
    np.testing.assert_array_equal(dicom.read_image(tmp_path / "s.dcm").array[0], -1 - (pixels.astype(int) - 2048))
    make_slice(tmp_path / "c.dcm", pixels, **told)
    np.testing.assert_array_equal(dicom.read_image(tmp_path / "c.dcm").array[0], pixels)


def test_x_ray_spacing_is_that_of_the_detector(tmp_path, make_slice):
    flat = {"position": None, "ImageOrientationPatient": None, "PixelSpacing": None, "Modality": "CR"}
    make_slice(tmp_path / "x.dcm", np.zeros((4, 6), np.uint8), **flat, ImagerPixelSpacing=[0.1, 0.2])
    geometry = dicom.read_image(tmp_path / "x.dcm").geometry
    assert geometry.spacing_mm.tolist() == [0.1, 0.2]
    assert geometry.known
    make_slice(tmp_path / "y.dcm", np.zeros((4, 6), np.uint8), **flat)
    assert not dicom.read_image(tmp_path / "y.dcm").geometry.known


def test_ultrasound_spacing_is_that_of_its_region(tmp_path, make_slice):
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    flat = {"position": None, "ImageOrientationPatient": None, "PixelSpacing": None, "Modality": "US"}
    make_slice(tmp_path / "u.dcm", np.zeros((4, 6), np.uint8), **flat, SequenceOfUltrasoundRegions=Sequence([region]))
    assert dicom.read_image(tmp_path / "u.dcm").geometry.spacing_mm.tolist() == pytest.approx([0.3, 0.2])


def test_colour_palette_and_loops():
    loop = dicom.read_image(bundled("examples_ybr_color.dcm"))
    assert loop.array.shape == (3, 30, 240, 320)
    assert not loop.geometry.known
    palette = dicom.read_image(bundled("examples_palette.dcm"))
    assert palette.array.shape == (3, 350, 800)
    assert palette.array.dtype == np.uint8
    assert palette.array.max() > 200


def test_modality_lut(tmp_path, make_slice):
    table = Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table["LUTDescriptor"].VR = "US"
    table.ModalityLUTType = "OD"
    table.LUTData = [0, 10, 40, 90]
    table["LUTData"].VR = "US"
    pixels = np.array([[0, 1], [2, 3]], np.uint8)
    plain = {"RescaleSlope": None, "RescaleIntercept": None, "ModalityLUTSequence": Sequence([table])}
    make_slice(tmp_path / "l.dcm", pixels, **plain, Modality="CR")
    assert dicom.read_image(tmp_path / "l.dcm").array[0].tolist() == [[0, 10], [40, 90]]


def enhanced(make_slice, path, heights, pixels, slopes=None):
    def item(name, **values):
        inner, outer = Dataset(), Dataset()
        for key, value in values.items():
            setattr(inner, key, value)
        setattr(outer, name, Sequence([inner]))
        return outer

    shared = item("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.update(item("PixelMeasuresSequence", PixelSpacing=[0.5, 0.75], SliceThickness=9))
    frames = []
    for index, height in enumerate(heights):
        frame = item("PlanePositionSequence", ImagePositionPatient=[1, 2, height])
        slope = 1 if slopes is None else slopes[index]
        frame.update(item("PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=5, RescaleType="HU"))
        frames.append(frame)
    none = dict.fromkeys(("ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"))
    groups = {
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(frames),
    }
    make_slice(path, pixels, position=None, NumberOfFrames=len(pixels), **none, **groups)


def test_enhanced_multi_frame_is_sorted_and_rescaled_by_frame(tmp_path, make_slice):
    pixels = RNG.integers(0, 100, (3, 4, 6)).astype(np.int16)
    enhanced(make_slice, tmp_path / "e.dcm", [6, 2, 4], pixels, slopes=[1, 2, 3])
    image = dicom.read_image(tmp_path / "e.dcm")
    expected = pixels[[1, 2, 0]] * np.array([2, 3, 1])[:, None, None] + 5
    np.testing.assert_array_equal(image.array[0], expected)
    np.testing.assert_allclose(image.geometry.spacing_mm, [2, 0.5, 0.75])
    np.testing.assert_allclose(image.geometry.origin_mm, [1, 2, 2])
    assert image.unit == "HU"
    (series,) = dicom.find_series(tmp_path)
    assert series.shape == (3, 4, 6)
    assert series.spacing_mm == pytest.approx((2, 0.5, 0.75))
    np.testing.assert_array_equal(dicom.read_image(tmp_path).array, image.array)


def test_enhanced_time_points_and_two_loops_are_refused(tmp_path, make_slice):
    pixels = np.zeros((4, 4, 6), np.int16)
    enhanced(make_slice, tmp_path / "t.dcm", [0, 1, 0, 1], pixels)
    with pytest.raises(SeriesError, match=r"same position.*frame 1 of t\.dcm and frame 3 of t\.dcm"):
        dicom.read_image(tmp_path / "t.dcm")
    enhanced(make_slice, tmp_path / "u.dcm", [0, 1, 2, 3], pixels)
    with pytest.raises(SeriesError, match="holds 4 frames"):
        dicom.read_image(tmp_path)


def test_truncated_and_lying_files(tmp_path, make_slice):
    with pytest.raises(UnreadableFile):
        dicom.read_image(bundled("MR_truncated.dcm"))
    make_slice(tmp_path / "big.dcm", np.zeros((4, 6), np.int16), Rows=65535, Columns=65535)
    with pytest.raises(UnsafeFile, match="claims"):
        dicom.read_image(tmp_path / "big.dcm")
    make_slice(tmp_path / "many.dcm", np.zeros((4, 6), np.int16), NumberOfFrames=2**30)
    with pytest.raises(UnsafeFile, match="claims"):
        dicom.read_image(tmp_path / "many.dcm")
    make_slice(tmp_path / "nought.dcm", np.zeros((4, 6), np.int16), RescaleSlope=0)
    with pytest.raises(UnreadableFile, match="slope"):
        dicom.read_image(tmp_path / "nought.dcm")


@pytest.mark.parametrize("uid", [JPEG2000Lossless, UID("1.2.840.10008.1.2.4.70"), UID("1.2.840.10008.1.2.4.80")])
def test_a_coded_frame_of_another_size_is_refused_before_decoding(tmp_path, make_slice, uid):
    pixels = RNG.integers(0, 255, (32, 48)).astype(np.uint8)
    coders = {
        "90": lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="j2k"),
        "70": lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1),
        "80": imagecodecs.jpegls_encode,
    }
    coded = coders[uid.split(".")[-1]](pixels)
    assert dicom_jpeg.coded_size(coded) == (32, 48, 1)
    make_slice(tmp_path / "a.dcm", pixels, syntax=uid, PixelData=encapsulate([coded]))
    np.testing.assert_array_equal(dicom.read_image(tmp_path / "a.dcm").array[0], pixels - 1000.0)
    make_slice(tmp_path / "b.dcm", pixels, syntax=uid, PixelData=encapsulate([coded]), Rows=31)
    with pytest.raises(UnsafeFile, match="coded frame"):
        dicom.read_image(tmp_path / "b.dcm")


def test_a_box_of_no_length_does_not_hang(tmp_path, make_slice):
    frame = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 40
    make_slice(tmp_path / "h.dcm", np.zeros((4, 6), np.uint8), syntax=JPEG2000Lossless, PixelData=encapsulate([frame]))
    with pytest.raises(UnreadableFile):
        dicom.read_image(tmp_path / "h.dcm")


def test_nesting_without_end(tmp_path):
    whole = Path(bundled("CT_small.dcm")).read_bytes()
    start = whole.index(b"\x10\0\x10\0PN")
    opened = b"\x08\0\x12\x21SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    (tmp_path / "n.dcm").write_bytes(whole[:start] + opened * 5000 + closed * 5000 + whole[start:])
    with pytest.raises(UnsafeFile, match="nested"):
        dicom.read_image(tmp_path / "n.dcm")


def test_a_deflated_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_header, "_INFLATED_MOST", 1 << 20)
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    head = pydicom.filebase.DicomBytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    nothing = bytes(1 << 19)
    body = b"".join(packer.compress(nothing) for _ in range(70)) + packer.flush()
    (tmp_path / "bomb.dcm").write_bytes(b"\0" * 128 + b"DICM" + head.getvalue() + body)
    with pytest.raises(UnsafeFile, match="unfolds"):
        dicom.read_image(tmp_path / "bomb.dcm")


def test_unknown_syntax(tmp_path, make_slice):
    pixels = np.zeros((4, 6), np.uint8)
    mpeg = UID("1.2.840.10008.1.2.4.100")
    make_slice(tmp_path / "m.dcm", pixels, syntax=mpeg, PixelData=encapsulate([b"\0" * 20]))
    with pytest.raises(UnsupportedFile, match="MPEG2"):
        dicom.read_image(tmp_path / "m.dcm")


@pytest.mark.parametrize(
    ("name", "blocked", "package"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "jpeg_ls", "pyjpegls"),
        ("SC_rgb_jpeg_gdcm.dcm", "imagecodecs", "imagecodecs"),
    ],
)
def test_a_missing_plug_in_names_the_extra(name, blocked, package):
    code = (
        f"import sys\nsys.modules[{blocked!r}] = None\n"
        "from galenic.formats import dicom\n"
        f"dicom.read_image({bundled(name)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.split("MissingExtra: ")[-1]
    assert MissingExtra.__name__ in done.stderr
    assert f"needs the package {package}" in last
    assert "pip install 'galenic[images]'" in last


def test_readers_are_quiet(capfd, caplog):
    for name in ("SC_rgb_jpeg_dcmd.dcm", "badVR.dcm", "MR_truncated.dcm", "SC_rgb_jpeg.dcm", "examples_ybr_color.dcm"):
        try:
            dicom.read_image(bundled(name))
        except GalenicError:
            continue
    assert capfd.readouterr() == ("", "")
