"""DICOM Segmentation objects: a mask written onto the series it was made from, and read back.

Written by highdicom as BINARY, uncompressed, one segment a class (DICOM PS3.3 A.51 and C.8.20).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.core.errors import GeometryError, UnreadableFile, UnsupportedFile, ValueProblem
from galenic.core.files import write_aside
from galenic.formats.dicom_frames import frame_planes, on_source, own_grid
from galenic.formats.dicom_header import functional_group
from galenic.formats.dicom_source import SourceSeries, odd_names_kept, read_dataset, read_series
from galenic.formats.guard import DEFLATE_RATIO, check_claim, check_memory, need, reading
from galenic.values import Mask

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_OUR_VALUE = re.compile(r"^label value (\d+)$")


@dataclass(frozen=True)
class SegmentCode:
    """What a segment is, as two coded concepts (value, scheme, meaning).

    category: from DICOM CID 7150, such as ("91723000", "SCT", "Anatomical Structure").
    kind:     from DICOM CID 7151, such as ("10200004", "SCT", "Liver").
    """

    category: tuple[str, str, str]
    kind: tuple[str, str, str]

    def __post_init__(self) -> None:
        for code in (self.category, self.kind):
            sizes = [len(part) for part in code]
            if len(sizes) != 3 or min(sizes) == 0 or sizes[0] > 16 or sizes[1] > 16 or sizes[2] > 64:
                raise ValueProblem(f"the code {code}", allowed="value and scheme to 16 characters, meaning to 64")


# SNOMED CT; in CID 7150, and what is left to say where nobody told what a class is.
ANY_TISSUE = SegmentCode(("85756007", "SCT", "Tissue"), ("85756007", "SCT", "Tissue"))


def write_seg(
    mask: Mask,
    source: Path | Sequence[Path],
    path: Path,
    *,
    series_uid: str | None = None,
    algorithm: str,
    version: str,
    codes: Mapping[int, SegmentCode] | None = None,
) -> None:
    """Write `mask` as a DICOM SEG that refers to the slices of `source`, a folder or files, and to its patient.

    mask: [slice, row, column] on the grid of the series, slices ascending along the normal, or [row, column] on a
    series of one slice; every class of `mask.names` but 0 becomes a segment, also where it has no voxel. Empty
    frames are left out, unless all are.
    algorithm, version: of the model that drew it. codes: what each value is; generic tissue where not told.
    Raises GeometryError (another grid), SeriesError (not one whole series), ValueProblem (values without a name,
    names that DICOM can't hold), MissingExtra.
    """
    series = read_series(source, series_uid=series_uid)
    values = _named_values(mask)
    _check_origin_of((algorithm, version), codes or {}, values)
    array = _on_grid(mask, series)
    segments = np.zeros(int(max(values)) + 1, np.uint16 if len(values) > 255 else np.uint8)
    segments[values] = np.arange(1, len(values) + 1)
    frames = segments[array[series.slice_of]]
    described = [
        _describe(i, mask.names[value], value, (codes or {}).get(value, ANY_TISSUE), (algorithm, version))
        for i, value in enumerate(values, start=1)
    ]
    segmentation = _segmentation(frames, described, series, algorithm, version)
    with write_aside(path) as aside:
        segmentation.save_as(aside, enforce_file_format=True)


def list_segments(path: Path) -> list[str]:
    """Names of the segments of a DICOM SEG, in the file's order, those without a voxel too."""
    dataset = _checked(read_dataset(path, pixels=False), path)
    with reading(path, "DICOM SEG"):
        return list(_values_of_segments(dataset)[1].values())


def read_seg(path: Path, *, source: Path | Sequence[Path] | None = None, series_uid: str | None = None) -> Mask:
    """Read a DICOM SEG, BINARY or LABELMAP, as a label map [slice, row, column].

    With `source`, the series it was drawn on (a folder or files), the mask covers that series' whole grid. Without,
    it covers the slices from the first to the last frame in the file. Slices without a frame are background.
    Values are the segment numbers, or the values that write_seg was given. Raises UnreadableFile, UnsupportedFile
    (fractional, slides, not a SEG), GeometryError (frames off the grid), ValueProblem (segments overlap).
    """
    dataset = _checked(read_dataset(path), path)
    series = read_series(source, series_uid=series_uid) if source is not None else None
    with reading(path, "DICOM SEG"):
        return _to_mask(dataset, path, series)


def _checked(dataset: Dataset, path: Path) -> Dataset:
    if str(dataset.get("SOPClassUID", "")) not in (SEGMENTATION, LABEL_MAP):
        raise UnsupportedFile(f"{path} is no DICOM segmentation", allowed="Segmentation or Label Map Segmentation")
    if dataset.get("SegmentationType") not in ("BINARY", "LABELMAP"):
        raise UnsupportedFile(
            f"{path} is a segmentation of type {dataset.get('SegmentationType')}", allowed="BINARY, LABELMAP"
        )
    return dataset


def _named_values(mask: Mask) -> list[int]:
    present = {int(value) for value in np.unique(mask.array)}
    unnamed = sorted(present - set(mask.names) - {0})
    if unnamed:
        raise ValueProblem(f"the mask holds values without a name: {unnamed}", allowed=str(dict(mask.names)))
    values = sorted(value for value in mask.names if value)
    if not values or values[0] < 0 or values[-1] > 65535:
        raise ValueProblem(f"mask values {values}", allowed="at least one class, values 1 to 65535")
    names = [mask.names[value] for value in values]
    if len(set(names)) < len(names):
        raise ValueProblem(f"class names {names}", allowed="each name once")
    for name in names:
        if not name.strip() or len(name) > 64 or "\\" in name or not name.isprintable():
            raise ValueProblem(f"the class name {name!r}", allowed="1 to 64 characters, no backslash (DICOM LO)")
    return values


def _check_origin_of(by: tuple[str, str], codes: Mapping[int, SegmentCode], values: list[int]) -> None:
    for part in by:
        if not part.strip() or len(part) > 64 or "\\" in part or not part.isprintable():
            raise ValueProblem(
                f"algorithm and version {by}", allowed="1 to 64 characters each, no backslash (DICOM LO)"
            )
    if not set(codes) <= set(values):
        raise ValueProblem(f"codes for the values {sorted(codes)}", allowed=f"the values of classes: {values}")


def _on_grid(mask: Mask, series: SourceSeries) -> np.ndarray:
    """The mask's array [slice, row, column], once sure that it lies where the series lies."""
    if series.flat is not None and mask.geometry.dims == 2:
        same = mask.shape == series.shape[1:] and mask.geometry.close_to(series.flat)
    else:
        same = mask.shape == series.shape and mask.geometry.close_to(series.geometry)
    if not (same and mask.geometry.known):
        raise GeometryError(
            f"a mask of shape {mask.shape}, spacing {np.round(mask.geometry.spacing_mm, 4).tolist()} mm and origin"
            f" {np.round(mask.geometry.origin_mm, 3).tolist()} mm is not on the grid of the series",
            allowed=f"shape {series.shape}, spacing {np.round(series.geometry.spacing_mm, 4).tolist()}, origin"
            f" {np.round(series.geometry.origin_mm, 3).tolist()}, slices ascending along the normal",
            todo="resample the mask to the series first",
        )
    return mask.array.reshape(series.shape)


def _segmentation(frames: np.ndarray, described: list[Any], series: SourceSeries, algorithm: str, version: str) -> Any:
    highdicom = need("highdicom", "highdicom", "writing DICOM SEG")
    with odd_names_kept():
        return highdicom.seg.Segmentation(
            source_images=series.headers,
            pixel_array=frames,
            segmentation_type="BINARY",
            segment_descriptions=described,
            series_instance_uid=highdicom.UID(),
            series_number=1000 + abs(int(series.headers[0].get("SeriesNumber") or 0)),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="galenic",
            manufacturer_model_name=algorithm,
            software_versions=version,
            device_serial_number="none",
            content_label="SEGMENTATION",
            content_description=f"by {algorithm} {version}"[:64],
            series_description=f"Segmentation by {algorithm}"[:64],
            specific_character_set="ISO_IR 192",
            omit_empty_frames=bool(frames.any()),
        )


def _describe(number: int, name: str, value: int, code: SegmentCode, by: tuple[str, str]) -> Any:
    highdicom = need("highdicom", "highdicom", "writing DICOM SEG")
    coded = highdicom.sr.CodedConcept
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=by[0], version=by[1], family=coded("123109", "DCM", "Artificial Intelligence")
    )
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=coded(*code.category),
        segmented_property_type=coded(*code.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_id=name,
        tracking_uid=highdicom.UID(),
    )
    # Segments are numbered from 1 without gaps; the mask's own value has no attribute of its own.
    description.SegmentDescription = f"label value {value}"
    return description


def _to_mask(dataset: Dataset, path: Path, series: SourceSeries | None) -> Mask:
    frames = _frames(dataset, path)
    planes = frame_planes(dataset, path)
    if len(planes) != len(frames):
        raise GeometryError(f"{path} describes {len(planes)} frames and holds {len(frames)}")
    values, names = _values_of_segments(dataset)
    if series is None:
        slice_of, geometry = own_grid(planes, dataset)
        shape = (int(slice_of.max()) + 1, *planes[0].size)
    else:
        slice_of, geometry, shape = on_source(planes, dataset, series), series.geometry, series.shape
    check_memory(path, int(np.prod(shape, dtype=object)) * 2)
    array = np.zeros(shape, np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    array_of = _painter(dataset, values, array.dtype)
    for i, k in enumerate(slice_of):
        _lay(array[k], array_of(frames[i], i), names)
    return Mask(array, geometry, names, source=path)


def _frames(dataset: Dataset, path: Path) -> np.ndarray:
    """Pixels [frame, row, column], after a look at whether the file can hold what it claims."""
    claimed = int(dataset.get("NumberOfFrames") or 1) * int(dataset.Rows) * int(dataset.Columns)
    packed = dataset.file_meta.TransferSyntaxUID.is_compressed
    check_claim(path, claimed, path.stat().st_size, ratio=DEFLATE_RATIO if packed else 8)
    frames: np.ndarray = dataset.pixel_array
    return frames[np.newaxis] if frames.ndim == 2 else frames


def _painter(dataset: Dataset, values: Mapping[int, int], dtype: np.dtype) -> Callable[[np.ndarray, int], np.ndarray]:
    """What turns a frame and its number into the mask's values."""
    table = np.zeros(max(values, default=0) + 1, dtype)
    table[list(values)] = list(values.values())

    def of_binary(frame: np.ndarray, i: int) -> np.ndarray:
        identity = functional_group(dataset, i, "SegmentIdentificationSequence")
        if identity is None:
            raise UnreadableFile(f"frame {i + 1} names no segment")
        return np.where(frame > 0, values[int(identity.ReferencedSegmentNumber)], 0).astype(dtype)

    def of_labels(frame: np.ndarray, _: int) -> np.ndarray:
        if not set(np.unique(frame).tolist()) <= {0, *values}:
            raise ValueProblem("the label map holds values that no segment describes", allowed=str(sorted(values)))
        drawn: np.ndarray = table[frame]
        return drawn

    return of_labels if dataset.SegmentationType == "LABELMAP" else of_binary


def _lay(plane: np.ndarray, drawn: np.ndarray, names: Mapping[int, str]) -> None:
    both = (plane > 0) & (drawn > 0)
    if both.any():
        first, second = names[int(plane[both][0])], names[int(drawn[both][0])]
        raise ValueProblem(
            f"segments {first!r} and {second!r} overlap",
            allowed="segments of which no two share a voxel",
            todo="write the segments to one file each",
        )
    np.copyto(plane, drawn, where=drawn > 0)


def _values_of_segments(dataset: Dataset) -> tuple[dict[int, int], dict[int, str]]:
    segments = [s for s in dataset.SegmentSequence if int(s.SegmentNumber) > 0]
    told = [_OUR_VALUE.match(str(segment.get("SegmentDescription", ""))) for segment in segments]
    numbers = [int(segment.SegmentNumber) for segment in segments]
    values = [int(match[1]) for match in told if match]
    if len(set(values)) != len(numbers) or min(values, default=1) < 1 or max(values, default=1) > 65535:
        values = numbers
    names = {
        value: str(segment.get("SegmentLabel", "")) or f"segment {value}"
        for value, segment in zip(values, segments, strict=True)
    }
    return dict(zip(numbers, values, strict=True)), names
