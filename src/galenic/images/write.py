"""An answer that is a mask, in the form of the image it was drawn on, with its volumes beside it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from galenic.core.contract import Answer, Values
from galenic.core.errors import GeometryError, TaskError
from galenic.formats import dicom_seg, dicom_source, dicom_sr, nifti, nrrd, png_tiff, volumes_csv
from galenic.values import Image, Mask

FORMS = ("auto", "dicom-seg", "nifti", "nrrd", "png", "tiff")

_ALGORITHM = "galenic"
_SLICED = {"CT", "MR", "PT", "NM"}  # modalities whose single pictures have a place in the patient
_SUFFIXES = {
    "nifti": (".nii.gz", ".nii"), "nrrd": (".nrrd",), "png": (".png",), "tiff": (".tiff", ".tif"),
}  # fmt: skip
_WRITERS: dict[str, Callable[[Mask, Path], None]] = {
    "nifti": nifti.write_mask, "nrrd": nrrd.write_mask, "png": png_tiff.write_mask, "tiff": png_tiff.write_mask,
}  # fmt: skip


def write_answer(answer: Answer, values: Values, path: Path, *, form: str = "auto") -> list[Path]:
    """Write the mask of `answer` in `form`, and the files' paths; a refusal writes nothing and gives [].

    path: without suffix; each file's is appended. A volume with known spacing gets PATH.volumes.csv too. "dicom-seg"
    gives PATH.seg.dcm and, for volumes, PATH.sr.dcm; it needs the series in `values`. "auto" follows the image:
    DICOM to DICOM SEG, NRRD and MetaImage to NRRD, TIFF to TIFF, other pictures (2D) to PNG, the rest to NIfTI.
    TaskError for an unknown form, GeometryError for DICOM SEG without a DICOM series; else as the writers.
    """
    if form not in FORMS:
        raise TaskError(f"the form {form!r} for a mask", allowed=", ".join(FORMS))
    if answer.value is None:
        return []
    image = next((value for value in values.values() if isinstance(value, Image)), None)
    mask: Mask = answer.value
    form = _follow(image, mask) if form == "auto" else form
    written = _write_dicom(answer, image, path) if form == "dicom-seg" else _write_plain(mask, path, form)
    volumes = answer.facts.get("volumes_ml")
    if volumes:
        table = path.with_name(f"{_stem(path)}.volumes.csv")
        volumes_csv.write_volumes([(_stem(path), name, ml) for name, ml in volumes.items()], table)
        written.append(table)
    return written


def _follow(image: Image | None, mask: Mask) -> str:
    """The form that suits what was read."""
    name = image.source.name.lower() if image is not None and image.source is not None else ""
    if image is not None and image.series_uid and (mask.geometry.dims == 3 or image.modality in _SLICED):
        return "dicom-seg"
    if name.endswith((".nii", ".nii.gz")):
        return "nifti"
    if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return "nrrd"
    if name.endswith((".tif", ".tiff")):
        return "tiff"
    return "png" if mask.geometry.dims == 2 else "nifti"


def _stem(path: Path) -> str:
    """The name without a suffix of ours, so that OUT/scan.nii.gz and OUT/scan name the same case."""
    for suffix in (suffix for own in _SUFFIXES.values() for suffix in own):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _write_plain(mask: Mask, path: Path, form: str) -> list[Path]:
    given = path.name.lower().endswith(_SUFFIXES[form])
    target = path if given else path.with_name(_stem(path) + _SUFFIXES[form][0])
    _WRITERS[form](mask, target)
    return [target]


def _write_dicom(answer: Answer, image: Image | None, path: Path) -> list[Path]:
    if image is None or image.source is None or not image.series_uid:
        raise GeometryError(
            "DICOM SEG refers to the series it was drawn on, and this image was not read from DICOM",
            allowed="a DICOM image",
            todo="choose nifti, nrrd, png or tiff",
        )
    mask: Mask = answer.value
    if mask.geometry.dims == 2:
        geometry = dicom_source.read_series(image.source, series_uid=image.series_uid).geometry
        mask = Mask(np.asarray(mask.array)[np.newaxis], geometry, mask.names)
    release = version("galenic")
    seg = path.with_name(f"{_stem(path)}.seg.dcm")
    dicom_seg.write_seg(mask, image.source, seg, series_uid=image.series_uid, algorithm=_ALGORITHM, version=release)
    volumes = answer.facts.get("volumes_ml")
    if not volumes:
        return [seg]
    report = path.with_name(f"{_stem(path)}.sr.dcm")
    dicom_sr.write_sr(
        volumes, seg, image.source, report, series_uid=image.series_uid, algorithm=_ALGORITHM, version=release
    )
    return [seg, report]
