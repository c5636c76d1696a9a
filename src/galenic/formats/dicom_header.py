"""What a DICOM file's header says about its image: whose, which series, and where each frame lies."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.core.errors import UnreadableFile, UnsafeFile
from galenic.formats.guard import need, reading

pydicom = need("pydicom", "pydicom", "reading DICOM")

# Objects made from images, which are no image to learn from: masks, doses, reports, display states.
DERIVED = frozenset({"DOC", "KO", "PR", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SEG", "SR"})
_INFLATED_MOST = 1 << 30
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "SeriesDescription",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "SequenceOfUltrasoundRegions",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


@dataclass(frozen=True)
class Plane:
    """Where one frame lies (DICOM PS3.3 C.7.6.2): LPS mm, direction cosines of the rows and columns."""

    name: str
    size: tuple[int, int]
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class Header:
    """One file's header; `planes` has one entry a frame, or none where the file does not say where its frames lie."""

    path: Path
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    patient_id: str
    description: str
    modality: str
    size: tuple[int, int]
    frames: int
    spacing_mm: tuple[float, ...]
    planes: tuple[Plane, ...]


def open_dataset(path: Path, **options: Any) -> Any | None:
    """The pydicom dataset of a file, or None if it is no DICOM file; damaged ones raise UnreadableFile.

    Files without the 128-byte preamble are taken when they start with a DICOM group and name their SOP class.
    """
    with path.open("rb") as file:
        start = file.read(132)
    preamble = start[128:] == b"DICM"
    if not preamble and start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return None
    with reading(path, "DICOM"):
        if preamble:
            _check_inflated(path)
            return pydicom.dcmread(path, **options)
        try:
            dataset = pydicom.dcmread(path, force=True, **options)
            return dataset if dataset.get("SOPClassUID") else None
        except Exception:
            return None


def read_header(path: Path) -> Header | None:
    """The header of a DICOM image, or None for other files, directories of media and objects without pixels.

    An image whose header ends before its size is an UnreadableFile.
    """
    dataset = open_dataset(path, stop_before_pixels=True, specific_tags=_TAGS)
    if dataset is None:
        return None
    with reading(path, "DICOM"):
        kind = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
        if dataset.get("Rows") and dataset.get("Columns"):
            return header_of(dataset, path)
        if kind == "" or "Image Storage" in pydicom.uid.UID(kind).name:
            raise UnreadableFile(
                f"{path} is a DICOM image without the size of its picture",
                todo="the file is cut short: copy or export it again",
            )
        return None


def header_of(dataset: Any, path: Path) -> Header:
    """The Header of an open dataset."""
    size = (int(dataset.Rows), int(dataset.Columns))
    frames = int(dataset.get("NumberOfFrames") or 1)
    return Header(
        path=path,
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        patient_id=_text(dataset, "PatientID"),
        description=_text(dataset, "SeriesDescription"),
        modality=_text(dataset, "Modality"),
        size=size,
        frames=frames,
        spacing_mm=_pixel_spacing(dataset),
        planes=_planes(dataset, path, size, frames),
    )


def functional_group(dataset: Any, frame: int, name: str) -> Any | None:
    """The item of the functional group `name` for one frame: its own, else the shared one, else None (C.7.6.16)."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (own[frame : frame + 1], shared[:1]):
        for group in groups:
            if group.get(name):
                return group.get(name)[0]
    return None


def _planes(dataset: Any, path: Path, size: tuple[int, int], frames: int) -> tuple[Plane, ...]:
    if dataset.get("Modality") in DERIVED:
        return ()
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        if len(dataset.PerFrameFunctionalGroupsSequence) != frames:
            raise UnreadableFile(
                f"{path} has {frames} frames but describes {len(dataset.PerFrameFunctionalGroupsSequence)}"
            )
        found = [_frame_plane(dataset, path, size, frame) for frame in range(frames)]
        return tuple(plane for plane in found if plane) if all(found) else ()
    position = numbers(dataset.get("ImagePositionPatient"), 3)
    orientation = numbers(dataset.get("ImageOrientationPatient"), 6)
    spacing = _pixel_spacing(dataset)
    if frames > 1 or not (position and orientation and spacing):
        return ()
    return (Plane(path.name, size, position, orientation, spacing),)


def _frame_plane(dataset: Any, path: Path, size: tuple[int, int], frame: int) -> Plane | None:
    where = functional_group(dataset, frame, "PlanePositionSequence")
    how = functional_group(dataset, frame, "PlaneOrientationSequence")
    scale = functional_group(dataset, frame, "PixelMeasuresSequence")
    if where is None or how is None or scale is None:
        return None
    position = numbers(where.get("ImagePositionPatient"), 3)
    orientation = numbers(how.get("ImageOrientationPatient"), 6)
    spacing = numbers(scale.get("PixelSpacing"), 2)
    if not (position and orientation and spacing):
        return None
    return Plane(f"frame {frame + 1} of {path.name}", size, position, orientation, spacing)


def _pixel_spacing(dataset: Any) -> tuple[float, ...]:
    """Distance between rows, then between columns, in mm; () where the file tells none.

    PixelSpacing is in the patient; ImagerPixelSpacing, its stand-in for projections, is at the detector (C.8.11.7).
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = numbers(dataset.get(name), 2)
        if spacing and min(spacing) > 0:
            return spacing
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    if (
        len(regions) == 1
        and regions[0].get("PhysicalUnitsXDirection") == regions[0].get("PhysicalUnitsYDirection") == 3
    ):
        # unit 3 is centimetres (C.8.5.5.1.15)
        return (10 * abs(float(regions[0].PhysicalDeltaY)), 10 * abs(float(regions[0].PhysicalDeltaX)))
    return ()


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """`count` floats of a DICOM value, or () where it is absent or empty."""
    if value is None or value == "" or not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        return ()
    found = tuple(float(number) for number in value)
    if len(found) != count:
        raise UnreadableFile(f"{len(found)} numbers where DICOM wants {count}")
    return found


def _text(dataset: Any, name: str) -> str:
    value = dataset.get(name)
    return "" if value is None else str(value).strip()


def _check_inflated(path: Path) -> None:
    """Deflated files unfold whole in memory when opened, so count first what would come out."""
    meta = pydicom.filereader.read_file_meta_info(path)
    if str(meta.get("TransferSyntaxUID", "")) != str(pydicom.uid.DeflatedExplicitVRLittleEndian):
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    with path.open("rb") as file:
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        while chunk := file.read(io.DEFAULT_BUFFER_SIZE):
            total += len(inflater.decompress(chunk))
            if total > _INFLATED_MOST:
                raise UnsafeFile(f"{path} unfolds to more than {_INFLATED_MOST:,} bytes")
