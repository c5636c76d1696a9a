"""Any file of images or masks: the format is told by its first bytes, else by its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from galenic.core.errors import UnreadableFile, UnsupportedFile
from galenic.core.files import of_file
from galenic.formats import npz
from galenic.formats.guard import existing
from galenic.values import Image, Mask

READ = (
    "DICOM (file or folder), NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), PNG, JPEG, TIFF, "
    "FILE.npz#ARRAY/NUMBER"
)
_STARTS = {
    b"NRRD000": "nrrd",
    b"\x89PNG": "png_tiff",
    b"\xff\xd8\xff": "png_tiff",
    b"II*\0": "png_tiff",
    b"MM\0*": "png_tiff",
    b"II+\0": "png_tiff",
    b"MM\0+": "png_tiff",
}
_SUFFIXES = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".png": "png_tiff",
    ".jpg": "png_tiff",
    ".jpeg": "png_tiff",
    ".tif": "png_tiff",
    ".tiff": "png_tiff",
    ".dcm": "dicom",
    ".dicom": "dicom",
    ".ima": "dicom",
    ".npz": "npz",
}


def format_of(path: Path | str) -> str:
    """The name of the module of galenic.formats that reads `path`; UnsupportedFile lists what is read."""
    if npz.is_place(path):
        return "npz"
    path = existing(path)
    if path.is_dir():
        return "dicom"
    with path.open("rb") as file:
        start = file.read(352)
    if start[128:132] == b"DICM":
        return "dicom"
    name = path.name.lower()
    told = next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)
    found = next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), None) or told
    if found is None and start[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08"):
        return "dicom"
    if found is None:
        raise UnsupportedFile(f"{path} is of no format that is read", allowed=READ)
    return found


def holds_image(path: Path) -> bool:
    """Whether a path means an image: a file of a format read here, or a folder with DICOM images in it or below.

    A file that is not there counts by its name, so that its reader tells that it is missing. What DICOM holds besides
    images (SEG, RTSTRUCT, reports) does not count; a damaged image does.
    """
    if npz.is_place(path):
        return True
    try:
        path, _ = of_file(path)
        if not path.exists():
            return path.name.lower().endswith(tuple(_SUFFIXES))
        form = format_of(path)
        if form == "dicom":
            return bool(import_module("galenic.formats.dicom").holds_image(path))
        if form == "npz":  # many pictures, of which the name tells none
            return False
    except UnsupportedFile:
        return False
    except UnreadableFile:
        return True
    except (OSError, ValueError):  # a text too long or too odd to be a path
        return False
    return True


def read_image(path: Path | str, **options: Any) -> Image:
    """The Image of a file or DICOM folder; options go to the format's own reader (as series_uid or channels).

    FOLDER#UID is one series of a folder.
    """
    path, series = (Path(path), "") if npz.is_place(path) else of_file(Path(path))
    if series:
        options = {"series_uid": series, **options}
    return _read(path, "read_image", options)  # type: ignore[no-any-return]


def read_mask(path: Path | str, names: Mapping[int, str] | None = None, **options: Any) -> Mask:
    """The Mask of a file; see labels.as_mask for what names do. Options go to the format's own reader (as nonzero)."""
    return _read(path, "read_mask", {"names": names, **options})  # type: ignore[no-any-return]


def write_mask(mask: Mask, path: Path) -> None:
    """Write a Mask in the format that the name tells: .nii, .nii.gz, .nrrd, .mha, .png, .tif."""
    name = path.name.lower()
    kind = next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)
    if kind in (None, "dicom", "npz"):
        raise UnsupportedFile(f"{path} as the name of a mask", allowed=".nii, .nii.gz, .nrrd, .mha, .png, .tif")
    import_module(f"galenic.formats.{kind}").write_mask(mask, path)


def _read(path: Path | str, verb: str, options: dict[str, Any]) -> Any:
    kind = format_of(path)
    module = import_module(f"galenic.formats.{kind}")
    reader = getattr(module, verb, None)
    if reader is None:
        raise UnsupportedFile(
            f"{path} as a mask",
            allowed="NIfTI, NRRD, MetaImage, PNG, TIFF; DICOM SEG and RTSTRUCT with their image, by dicom_masks",
        )
    unknown = sorted(set(options) - set(signature(reader).parameters))
    if unknown:
        raise UnsupportedFile(f"{path}: the option {', '.join(unknown)} is not for {kind} files")
    return reader(path, **options)
