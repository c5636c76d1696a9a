"""DICOM pixel data into numbers: decoded, in colour or rescaled, brighter for higher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import MissingExtra, UnreadableFile, UnsafeFile, UnsupportedFile
from galenic.formats import dicom_jpeg
from galenic.formats.dicom_header import functional_group, pydicom
from galenic.formats.guard import check_claim, check_memory, need, reading

pixels = need("pydicom.pixels", "pydicom", "reading DICOM")
encaps = need("pydicom.encaps", "pydicom", "reading DICOM")

# GDCM is left out on purpose: it overflows on hostile files. So are the faster RLE decoders: on damaged runs
# pylibjpeg-rle 2.2 panics past every `except Exception` and imagecodecs 2026.3 crashes; pydicom's own reports an error.
_PREFERRED = ("pydicom", "pylibjpeg", "pyjpegls", dicom_jpeg.LABEL, "pillow")
_JPEG = "1.2.840.10008.1.2.4."
_PACKAGES = {
    f"{_JPEG}50": "pillow",
    f"{_JPEG}51": "imagecodecs",
    f"{_JPEG}57": "imagecodecs",
    f"{_JPEG}70": "imagecodecs",
    f"{_JPEG}80": "pyjpegls",
    f"{_JPEG}81": "pyjpegls",
    f"{_JPEG}90": "pylibjpeg-openjpeg",
    f"{_JPEG}91": "pylibjpeg-openjpeg",
    f"{_JPEG}201": "pylibjpeg-openjpeg",
    f"{_JPEG}202": "pylibjpeg-openjpeg",
    f"{_JPEG}203": "pylibjpeg-openjpeg",
}
# How far each coding can unfold: run lengths 64 to 1; a blank JPEG 2000 or JPEG-LS frame some thousands to 1.
_RATIO_PLAIN, _RATIO_RUNS, _RATIO_JPEG = 10, 80, 20000
_QUANTITIES = {"CT", "PT"}


@dataclass(frozen=True)
class Pixels:
    """Frames of one file: array [channel, frame, row, column], unit "HU" or ""."""

    array: NDArray
    unit: str
    channels: tuple[str, ...]


def read_pixels(dataset: Any, path: Path) -> Pixels:
    """Decode the frames of an open dataset.

    Grey: float32 after the modality LUT or rescale of each frame (PS3.3 C.11.1). MONOCHROME1 is mirrored within its
    stored range, so that higher is brighter, except for CT and PET, whose numbers are quantities. Colour: RGB.
    Raises MissingExtra for a syntax whose plug-in is absent, UnreadableFile, UnsafeFile, UnsupportedFile.
    """
    with reading(path, "DICOM"):
        syntax = _syntax(dataset, path)
        _check_claims(dataset, path, syntax)
        decoder, plugin = _decoder(syntax, path)
        if syntax.is_encapsulated:
            _check_frames(dataset, path, syntax)
        stored, told = decoder.as_array(dataset, decoding_plugin=plugin, allow_excess_frames=False)
        photometric = str(told["photometric_interpretation"])
        if photometric == "PALETTE COLOR":
            stored = pixels.apply_color_lut(stored, dataset)[..., :3]
            stored = (stored >> 8).astype(np.uint8) if stored.dtype == np.uint16 else stored
            photometric = "RGB"
        frames = int(dataset.get("NumberOfFrames") or 1)
        stored = stored.reshape(frames, int(dataset.Rows), int(dataset.Columns), -1)
        if stored.shape[-1] == 1:
            return Pixels(_grey(stored[..., 0], dataset, photometric)[np.newaxis], _unit(dataset), ())
        if stored.shape[-1] != 3 or photometric not in ("RGB", "YBR_ICT", "YBR_RCT"):
            raise UnsupportedFile(
                f"{path} has the colours {photometric}", allowed="grey, palette, RGB and YBR", todo="export it as RGB"
            )
        return Pixels(np.ascontiguousarray(np.moveaxis(stored, -1, 0)), "", ("red", "green", "blue"))


def _syntax(dataset: Any, path: Path) -> Any:
    told = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if told:
        return pydicom.uid.UID(told)
    implicit, little = dataset.original_encoding
    if implicit is None:
        raise UnreadableFile(f"{path} does not say how its pixels are stored")
    uid = pydicom.uid
    explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    syntax = uid.ImplicitVRLittleEndian if implicit else explicit
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return syntax


def _check_claims(dataset: Any, path: Path, syntax: Any) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.BitsAllocated)
    elements = int(dataset.Rows) * int(dataset.Columns) * frames * samples
    if elements <= 0 or bits not in (1, 8, 16, 32, 64):
        raise UnreadableFile(f"{path} claims {elements} values of {bits} bits")
    ratio = _RATIO_PLAIN
    if syntax.is_encapsulated:
        ratio = _RATIO_RUNS if syntax == pydicom.uid.RLELossless else _RATIO_JPEG
    stored = max((len(dataset[name].value) for name in _pixel_elements(dataset)), default=0)
    if not stored:
        raise UnreadableFile(f"{path} has no pixel data", todo="it may be cut short: copy or export it again")
    check_claim(path, elements * bits // 8, stored, ratio=ratio)
    check_memory(path, elements * (bits // 8 + 5))


def _pixel_elements(dataset: Any) -> list[str]:
    names = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    return [name for name in names if name in dataset and dataset[name].value]


def _check_frames(dataset: Any, path: Path, syntax: Any) -> None:
    """A coded frame may claim another size than the header, and its decoder would take memory for that one."""
    if syntax == pydicom.uid.RLELossless:
        return
    wanted = (int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel") or 1))
    frames = int(dataset.get("NumberOfFrames") or 1)
    for frame in encaps.generate_frames(dataset.PixelData, number_of_frames=frames):
        size = dicom_jpeg.coded_size(frame)
        if size is None:
            raise UnreadableFile(f"{path} has a frame without a {syntax.name} header")
        if size != wanted:
            raise UnsafeFile(f"{path} says {wanted} rows, columns and samples, but its coded frame says {size}")


def _decoder(syntax: Any, path: Path) -> tuple[Any, str]:
    try:
        decoder = pixels.get_decoder(syntax)
    except RuntimeError as error:  # pydicom: no decoder is known for it
        raise UnsupportedFile(
            f"{path} has the transfer syntax {syntax.name} ({syntax})",
            allowed="uncompressed, deflated, RLE, JPEG, JPEG Lossless, JPEG-LS, JPEG 2000 and HTJ2K",
            todo="decompress it with the archive's own tool (dcmdjpeg, gdcmconv) first",
        ) from error
    if not syntax.is_encapsulated:
        return decoder, ""
    known = {*decoder.available_plugins, *decoder._unavailable}
    if str(syntax) in dicom_jpeg.DECODER_DEPENDENCIES and dicom_jpeg.LABEL not in known:
        decoder.add_plugin(dicom_jpeg.LABEL, (dicom_jpeg.__name__, "decode_frame"))
    usable = [label for label in _PREFERRED if label in decoder.available_plugins]
    if str(syntax) == f"{_JPEG}51" and dicom_jpeg.LABEL not in usable:
        usable = []  # pillow would take the syntax but only its rare 8-bit form
    if not usable:
        package = _PACKAGES.get(str(syntax), "pylibjpeg")
        raise MissingExtra(package, "images", f"reading {path}, which is compressed as {syntax.name},")
    return decoder, usable[0]


def _grey(stored: NDArray, dataset: Any, photometric: str) -> NDArray:
    if photometric == "MONOCHROME1" and dataset.get("Modality") not in _QUANTITIES:
        stored = _mirrored(stored, dataset)
    out = np.empty(stored.shape, np.float32)
    for frame, values in enumerate(stored):
        out[frame] = _modality(dataset, frame)(values)
    return out


def _mirrored(stored: NDArray, dataset: Any) -> NDArray:
    """Brightness turned round within the range that the stored bits span (PS3.3 C.7.6.3.1.2)."""
    if not np.issubdtype(stored.dtype, np.integer):
        return -stored
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    ends = -1 if dataset.get("PixelRepresentation") else (1 << bits) - 1
    return ends - stored.astype(np.int64)


def _modality(dataset: Any, frame: int) -> Callable[[NDArray], NDArray]:
    item = functional_group(dataset, frame, "PixelValueTransformationSequence")
    if item is None and dataset.get("ModalityLUTSequence"):
        return lambda values: np.asarray(pixels.apply_modality_lut(values, dataset))
    source = dataset if item is None else item
    slope, intercept = (_number(source.get(name), usual) for name, usual in _RESCALE)
    if not (np.isfinite([slope, intercept]).all() and slope):
        raise UnreadableFile(f"a rescale slope of {slope} and intercept of {intercept}", allowed="finite, slope not 0")
    return lambda values: values * slope + intercept


_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _number(value: Any, usual: float) -> float:
    return usual if value in (None, "") else float(value)


def _unit(dataset: Any) -> str:
    if dataset.get("Modality") != "CT":
        return ""
    item = functional_group(dataset, 0, "PixelValueTransformationSequence")
    kind = str((dataset if item is None else item).get("RescaleType") or "HU")
    return "HU" if kind in ("HU", "HU_MOD") else ""
