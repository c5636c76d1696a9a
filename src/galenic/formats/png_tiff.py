"""PNG, JPEG and TIFF, by pillow and tifffile. They rarely tell a spacing, and never where the picture lies."""

from __future__ import annotations

import colorsys
import io
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import UnreadableFile, UnsafeFile, UnsupportedFile, ValueProblem
from galenic.core.files import write_aside
from galenic.formats.guard import DEFLATE_RATIO, check_claim, existing, hush, need, reading
from galenic.formats.labels import as_mask, smallest
from galenic.values import Geometry, Image, Mask

TIFF_SUFFIXES = (".tif", ".tiff")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PIXELS = 1 << 28  # of one page; whole-slide pictures are another format's work
_RGB = ("red", "green", "blue")
_MM_IN_UNIT = {"mm": 1.0, "cm": 10.0, "micron": 1e-3, "um": 1e-3, "µm": 1e-3, "\\u00B5m": 1e-3, "nm": 1e-6}
_WIDE_KINDS = (2, 4, 6)  # PNG colour types with several samples: RGB, grey + alpha, RGBA


def read_image(path: Path | str, *, stack: bool = True) -> Image:
    """An Image [channel, *space] in the type stored: grey as one channel, colour as red, green, blue.

    Alpha is dropped, palettes become colours, 1-bit becomes 0 and 1, a JPEG's rotation tag is not followed.
    stack: pages of one size become a 3D volume; stack=False makes several pages an UnsupportedFile.
    """
    path = existing(path)
    array, geometry = _read(path, as_indices=False)
    if array.ndim == 4 and not stack:
        raise UnsupportedFile(
            f"{path} has {array.shape[1]} pages",
            allowed="one page",
            todo="say stack=True to read the pages as a volume",
        )
    return Image(array, geometry, channels=_RGB if len(array) == 3 else (), source=path)


def read_mask(path: Path | str, names: Mapping[int, str] | None = None, *, nonzero: bool = False) -> Mask:
    """A Mask [*space] of the stored numbers (a palette's indices), or, with nonzero, 1 where any colour is not 0."""
    path = existing(path)
    array, geometry = _read(path, as_indices=not nonzero)
    if nonzero:
        return as_mask((array != 0).any(axis=0).astype(np.uint8), geometry, path, names)
    if (array != array[:1]).any():
        raise ValueProblem(
            f"the mask {path} is in colour",
            allowed="one number a pixel",
            todo="read it with nonzero=True if any colour means the one class",
        )
    return as_mask(array[0], geometry, path, names)


def write_mask(mask: Mask, path: Path) -> None:
    """Write class numbers: PNG (2D; a palette makes them visible up to 255 classes) or TIFF (2D, 3D with spacing).

    Neither keeps origin and direction; NIfTI, NRRD and MetaImage do.
    """
    array = smallest(mask.array, path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        _write_tiff(array, mask.geometry, path)
    elif path.suffix.lower() == ".png":
        _write_png(array, path)
    else:
        raise UnsupportedFile(f"{path} as the name of a mask's picture", allowed="names ending in .png or .tif")


def _read(path: Path, *, as_indices: bool) -> tuple[NDArray, Geometry]:
    with path.open("rb") as file:
        start = file.read(4)
    with reading(path, "a picture"):
        if start in _TIFF_STARTS:
            return _read_tiff(path, as_indices=as_indices)
        array = _read_picture(path, as_indices=as_indices)
        return array, Geometry.plain(2)


def _read_picture(path: Path, *, as_indices: bool) -> NDArray:
    """[channel, row, column] of a PNG or JPEG."""
    pil = need("PIL.Image", "pillow", "reading PNG and JPEG")
    try:
        picture = pil.open(path, formats=("PNG", "JPEG"))
    except pil.DecompressionBombError as error:
        raise UnsafeFile(f"{path} claims more pixels than a picture has: {error}") from error
    except pil.UnidentifiedImageError as error:
        raise UnreadableFile(f"{path} is neither PNG nor JPEG, or damaged") from error
    with picture:
        width, height = picture.size
        _check_pixels(path, width * height)
        check_claim(path, width * height * 4, path.stat().st_size, ratio=4 * 8 * DEFLATE_RATIO)
        if picture.format == "PNG" and _is_wide(path):
            _check_png(path, width * height * 8 + height)
            return _split(np.asarray(need("imagecodecs", "imagecodecs", "16-bit PNG").png_decode(path.read_bytes())))
        if picture.mode == "P" and as_indices:
            return np.array(picture)[np.newaxis]
        if picture.mode in ("P", "PA", "CMYK", "YCbCr", "RGBX"):
            picture = picture.convert("RGB")
        array = np.array(picture)
    return _split(array.astype(np.uint8) if array.dtype == np.bool_ else array)


def _is_wide(path: Path) -> bool:
    """Whether a PNG has 16 bits in several samples, which pillow would cut to 8 (IHDR, PNG specification 11.2.1)."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24] == 16 and header[25] in _WIDE_KINDS


def _check_png(path: Path, most: int) -> None:
    """libpng prints about wrong checksums and goes on; here they make the file unreadable (PNG specification 5.3)."""
    data, at, packed = path.read_bytes(), 8, b""
    while data[at + 4 : at + 8] != b"IEND":
        length = struct.unpack_from(">I", data, at)[0]
        chunk = data[at + 4 : at + 8 + length]
        if zlib.crc32(chunk) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise UnreadableFile(f"{path} has a wrong checksum", todo="the file is damaged: copy or export it again")
        packed += chunk[4:] if chunk[:4] == b"IDAT" else b""
        at += 12 + length
    unpacker = zlib.decompressobj()
    unpacker.decompress(packed, most + 64)
    if not unpacker.eof:
        raise UnreadableFile(f"{path} holds more or less than its picture")


def _split(array: NDArray) -> NDArray:
    """[row, column, (sample)] to [channel, row, column], without alpha."""
    if array.ndim == 2:
        return array[np.newaxis]
    colours = {1: 1, 2: 1, 3: 3, 4: 3}[array.shape[-1]]
    return np.ascontiguousarray(np.moveaxis(array[..., :colours], -1, 0))


def _check_pixels(path: Path, pixels: int) -> None:
    if pixels > _MOST_PIXELS:
        raise UnsafeFile(f"{path} claims {pixels:,} pixels", allowed=f"at most {_MOST_PIXELS:,}")


def _read_tiff(path: Path, *, as_indices: bool) -> tuple[NDArray, Geometry]:
    """[channel, (page), row, column] and spacing where ImageJ or OME metadata tell it."""
    tifffile = need("tifffile", "tifffile", "reading TIFF")
    hush("tifffile")
    # Given bytes and not a name, with sibling files off, it can't open what OME or Micro-Manager metadata point to.
    with tifffile.TiffFile(io.BytesIO(path.read_bytes()), _multifile=False, is_mmstack=False, is_ndtiff=False) as tiff:
        series = tiff.series[0]
        page = series.keyframe
        if len(tiff.series) > 1 and series.kind == "generic":
            raise UnsupportedFile(f"{path} holds pages of different sizes", allowed="pages of one size")
        _check_pixels(path, int(page.imagelength) * int(page.imagewidth))
        claimed = int(np.prod(series.shape, dtype=object)) * page.dtype.itemsize
        check_claim(path, claimed, path.stat().st_size, ratio=10 if page.compression == 1 else 8 * DEFLATE_RATIO)
        array, axes = _ordered(path, series.asarray(), series.axes, int(page.samplesperpixel))
        array = _coloured(path, array, page, as_indices=as_indices)
        spacing = _tiff_spacing(tiff, page, array.ndim - 1) if "T" not in axes else None
    plain = Geometry.plain(array.ndim - 1)
    return array, Geometry(np.array(spacing), plain.origin_mm, plain.direction) if spacing else plain


def _ordered(path: Path, array: NDArray, axes: str, samples: int) -> tuple[NDArray, str]:
    """[channel, (page), row, column]; S and C are channels, one of Z, Q, I, T is the page."""
    keep = [index for index, size in enumerate(array.shape) if size > 1 or axes[index] in "YX"]
    array, axes = array.reshape([array.shape[index] for index in keep]), "".join(axes[index] for index in keep)
    pages = [axis for axis in axes if axis not in "YXSC"]
    colours = [axis for axis in axes if axis in "SC"]
    if "Y" not in axes or "X" not in axes or len(pages) > 1 or len(colours) > 1 or array.ndim > 4:
        raise UnsupportedFile(
            f"{path} has the axes {axes} of sizes {array.shape}", allowed="pages, rows, columns, channels"
        )
    order = [axes.index(axis) for axis in [*colours, *pages, "Y", "X"]]
    array = array.transpose(order) if colours else array.transpose(order)[np.newaxis]
    if colours == ["S"] and samples in (2, 4):
        array = array[:-1]  # alpha
    return array, axes


def _coloured(path: Path, array: NDArray, page: Any, *, as_indices: bool) -> NDArray:
    photometric = getattr(page.photometric, "name", "")
    if photometric == "SEPARATED":
        raise UnsupportedFile(
            f"{path} holds print colours (CMYK)", allowed="grey, palette or RGB", todo="save it as RGB"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if photometric == "MINISWHITE" and np.issubdtype(array.dtype, np.unsignedinteger):
        array = (1 << int(page.bitspersample)) - 1 - array.astype(np.int64)
        array = array.astype(np.uint8 if page.bitspersample <= 8 else np.uint32)
    if photometric == "PALETTE" and not as_indices:
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)  # 16-bit entries by TIFF 6.0, section 5
        array = colours[:, array[0]]
    return np.ascontiguousarray(array)


def _tiff_spacing(tiff: Any, page: Any, dims: int) -> tuple[float, ...] | None:
    if tiff.is_ome:
        found = [_ome_step(tiff.ome_metadata or "", axis) for axis in "ZYX"[3 - dims :]]
        return tuple(step for step in found if step) if all(found) else None
    told = tiff.imagej_metadata or {}
    scale = _MM_IN_UNIT.get(str(told.get("unit", "")))
    if scale is None or "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None
    (x_units, x_pixels), (y_units, y_pixels) = (page.tags[name].value[::-1] for name in ("XResolution", "YResolution"))
    depth = [float(told["spacing"])] if dims == 3 and "spacing" in told else []
    steps = [scale * step for step in (*depth, y_units / y_pixels, x_units / x_pixels)]
    return tuple(steps) if len(steps) == dims and min(steps) > 0 else None


def _ome_step(xml: str, axis: str) -> float:
    step = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', xml)
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', xml)
    return float(step[1]) * _MM_IN_UNIT.get(unit[1] if unit else "µm", 0.0) if step else 0.0


def _palette(count: int) -> list[int]:
    """Red, green, blue of each class number: black, then hues a golden angle apart, so that neighbours differ."""
    colours = [(0.0, 0.0, 0.0)]
    colours += [colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.85, 1 - 0.12 * (number % 5)) for number in range(1, count)]
    return [round(255 * part) for colour in colours for part in colour]


def _write_png(array: NDArray, path: Path) -> None:
    if array.ndim != 2 or array.dtype == np.uint32:
        raise UnsupportedFile(
            f"a mask of shape {array.shape} as PNG", allowed="2D and values up to 65535", todo="write NIfTI or TIFF"
        )
    pil = need("PIL.Image", "pillow", "writing PNG")
    picture = pil.fromarray(np.ascontiguousarray(array))
    if array.dtype == np.uint8:
        picture.putpalette(_palette(256))
    with write_aside(path) as aside:
        picture.save(aside, format="PNG", optimize=False)


def _write_tiff(array: NDArray, geometry: Geometry, path: Path) -> None:
    tifffile = need("tifffile", "tifffile", "writing TIFF")
    options: dict[str, Any] = {"photometric": "minisblack"}
    if array.dtype == np.uint32:
        options["metadata"] = {"axes": "ZYX"[-array.ndim :]}
    else:
        depth = {"spacing": float(geometry.spacing_mm[0])} if array.ndim == 3 and geometry.known else {}
        unit = {"unit": "mm"} if geometry.known else {}
        options |= {"imagej": True, "metadata": {"axes": "ZYX"[-array.ndim :], **depth, **unit}}
    if geometry.known:
        options["resolution"] = (1 / geometry.spacing_mm[-1], 1 / geometry.spacing_mm[-2])
    with write_aside(path) as aside:
        tifffile.imwrite(aside, array, **options)
