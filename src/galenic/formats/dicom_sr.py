"""DICOM structured reports of volumes: TID 1500 Measurement Report (DICOM PS3.16), one group a segment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.core.errors import SeriesError, UnsupportedFile, ValueProblem
from galenic.core.files import write_aside
from galenic.formats.dicom_seg import LABEL_MAP, SEGMENTATION
from galenic.formats.dicom_source import SourceSeries, odd_names_kept, read_dataset, read_series
from galenic.formats.guard import need, reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_REPORTS = {
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
}
_GROUP, _TRACKING = ("125007", "DCM"), ("112039", "DCM")
_VOLUME = {("118565006", "SCT"), ("G-D705", "SRT")}
_ML_IN = {"mL": 1.0, "ml": 1.0, "cm3": 1.0, "mm3": 1e-3, "dm3": 1e3, "l": 1e3, "L": 1e3}
# CID 100, the procedure by modality where no more is known.
_PROCEDURES = {
    "CT": ("25045-6", "LN", "CT unspecified body region"),
    "MR": ("25056-3", "LN", "MRI unspecified body region"),
    "PT": ("44136-0", "LN", "PET unspecified body region"),
    "NM": ("49118-3", "LN", "NM unspecified body region"),
}
_ANY_PROCEDURE = ("363679005", "SCT", "Imaging procedure")


def write_sr(
    volumes: Mapping[str, float],
    seg: Path,
    source: Path | Sequence[Path],
    path: Path,
    *,
    series_uid: str | None = None,
    algorithm: str,
    version: str,
) -> None:
    """Write volumes in ml, by the segments' labels, as a Comprehensive SR that refers to `seg` and its `source`.

    seg: the DICOM SEG the volumes were counted in; source: the series it was drawn on (a folder or files).
    The report is complete but unverified: a person has yet to sign it. Raises ValueProblem (a class that is no
    segment of `seg`, a volume below 0 or no number, no volume at all), SeriesError (`seg` was not drawn on
    `source`), UnreadableFile, UnsupportedFile, MissingExtra.
    """
    for name, volume in volumes.items():
        if not (math.isfinite(volume) and volume >= 0):
            raise ValueProblem(f"a volume of {volume} ml for {name!r}", allowed="0 or more, in ml")
    drawn = read_dataset(seg, pixels=False)
    if str(drawn.get("SOPClassUID", "")) not in (SEGMENTATION, LABEL_MAP):
        raise UnsupportedFile(f"{seg} is no DICOM segmentation", allowed="Segmentation or Label Map Segmentation")
    series = read_series(source, series_uid=series_uid)
    with reading(seg, "DICOM SEG"):
        segments = _segments(volumes, drawn, seg)
        if series.series_uid not in {str(item.SeriesInstanceUID) for item in drawn.ReferencedSeriesSequence}:
            raise SeriesError(f"{seg} was not drawn on the series {series.series_uid}", todo="give its own series")
    report = _report(volumes, segments, drawn, series, (algorithm, version))
    document = _document(report, drawn, series, algorithm, version)
    with write_aside(path) as aside:
        document.save_as(aside, enforce_file_format=True)


def read_sr(path: Path) -> dict[str, float]:
    """Volumes in ml by tracking identifier, from the measurement groups of a TID 1500 report.

    Groups without a volume are passed over. Raises UnreadableFile, UnsupportedFile (no such report, a unit that is
    no volume), ValueProblem (one identifier with two volumes).
    """
    dataset = read_dataset(path)
    if str(dataset.get("SOPClassUID", "")) not in _REPORTS:
        raise UnsupportedFile(f"{path} is no structured report of measurements", allowed=", ".join(_REPORTS.values()))
    volumes: dict[str, float] = {}
    with reading(path, "DICOM SR"):
        for group in _items(dataset, {_GROUP}):
            names = [str(item.TextValue) for item in _items(group, {_TRACKING})]
            for item in _items(group, _VOLUME):
                name = names[0] if names else f"group {len(volumes) + 1}"
                if name in volumes:
                    raise ValueProblem(f"{path} holds two volumes of {name!r}", allowed="one a tracking identifier")
                volumes[name] = _millilitres(item, path)
    return volumes


def _segments(volumes: Mapping[str, float], drawn: Dataset, seg: Path) -> dict[str, Dataset]:
    by_label = {str(item.SegmentLabel): item for item in drawn.SegmentSequence}
    unknown = sorted(set(volumes) - set(by_label))
    if unknown or not volumes:
        raise ValueProblem(
            f"no segment of {seg} is called {', '.join(unknown)}" if unknown else "a report without any volume",
            allowed=", ".join(by_label),
        )
    return {name: by_label[name] for name in volumes}


def _report(
    volumes: Mapping[str, float],
    segments: Mapping[str, Dataset],
    drawn: Dataset,
    series: SourceSeries,
    by: tuple[str, str],
) -> Any:
    sr = need("highdicom.sr", "highdicom", "writing DICOM SR")
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=need("pydicom.uid", "pydicom", "writing DICOM SR").generate_uid(prefix=None, entropy_srcs=list(by)),
        name=by[0],
        manufacturer_name="galenic",
        model_name=by[0],
    )
    observer = sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    modality = str(series.headers[0].get("Modality", ""))
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept(*_PROCEDURES.get(modality, _ANY_PROCEDURE)),
        imaging_measurements=[
            _group(sr, volumes[name], drawn, segment, series.series_uid, by) for name, segment in segments.items()
        ],
    )


def _document(report: Any, drawn: Dataset, series: SourceSeries, algorithm: str, version: str) -> Any:
    highdicom = need("highdicom", "highdicom", "writing DICOM SR")
    with odd_names_kept():
        return highdicom.sr.ComprehensiveSR(
            evidence=[drawn, *series.headers],
            content=report[0],
            series_instance_uid=highdicom.UID(),
            series_number=2000 + abs(int(series.headers[0].get("SeriesNumber") or 0)),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="galenic",
            manufacturer_model_name=algorithm,
            software_versions=version,
            series_description=f"Volumes by {algorithm}"[:64],
            specific_character_set="ISO_IR 192",
            is_complete=True,
        )


def _group(sr: Any, volume: float, drawn: Dataset, segment: Dataset, series_uid: str, by: tuple[str, str]) -> Any:
    label = str(segment.SegmentLabel)
    reference = sr.ReferencedSegment(
        sop_class_uid=drawn.SOPClassUID,
        sop_instance_uid=drawn.SOPInstanceUID,
        segment_number=int(segment.SegmentNumber),
        source_series=sr.SourceSeriesForSegmentation(referenced_series_instance_uid=series_uid),
    )
    measured = sr.Measurement(
        name=sr.CodedConcept("118565006", "SCT", "Volume"),
        value=float(volume),
        unit=sr.CodedConcept("mL", "UCUM", "milliliter"),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=segment.get("TrackingUID"), identifier=label),
        referenced_segment=reference,
        finding_category=_concept(sr, segment.SegmentedPropertyCategoryCodeSequence[0]),
        finding_type=_concept(sr, segment.SegmentedPropertyTypeCodeSequence[0]),
        algorithm_id=sr.AlgorithmIdentification(name=by[0], version=by[1]),
        measurements=[measured],
    )


def _concept(sr: Any, code: Dataset) -> Any:
    return sr.CodedConcept(str(code.CodeValue), str(code.CodingSchemeDesignator), str(code.CodeMeaning))


def _items(dataset: Dataset, names: set[tuple[str, str]]) -> Iterator[Dataset]:
    """Content items below `dataset` that bear one of the concept names; not searched within those found."""
    for item in dataset.get("ContentSequence", []):
        concept = item.ConceptNameCodeSequence[0] if item.get("ConceptNameCodeSequence") else None
        if concept is not None and (str(concept.get("CodeValue")), str(concept.get("CodingSchemeDesignator"))) in names:
            yield item
        else:
            yield from _items(item, names)


def _millilitres(item: Dataset, path: Path) -> float:
    value = item.MeasuredValueSequence[0]
    unit = str(value.MeasurementUnitsCodeSequence[0].CodeValue)
    if unit not in _ML_IN:
        raise UnsupportedFile(f"{path} gives a volume in {unit!r}", allowed=", ".join(sorted(_ML_IN)))
    return float(value.get("FloatingPointValue", value.NumericValue)) * _ML_IN[unit]
