"""Answers as a small CSV, a header and one line, or as a FHIR resource."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from galenic.core import bundle
from galenic.core.contract import Answer, Values
from galenic.core.files import write_text
from galenic.formats.fhir_risk import Assessed, risk_assessment, write_risk


def named(path: Path, ending: str) -> Path:
    """The file that `path` means: with the ending, which is added where it is lacking, as names may hold dots."""
    return path if path.suffix == ending else path.with_name(path.name + ending)


def case_of(values: Values, file: Path) -> str:
    """values["id"] where given, else the name of the file without its ending."""
    given = values.get("id")
    return given if isinstance(given, str) and given else file.name.removesuffix(file.suffix)


def write_row(path: Path, values: Values, header: Sequence[str], cells: Sequence[object]) -> Path:
    """Write `header` and `cells` with the case's id before them; whole or not at all."""
    file = named(path, ".csv")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *header])
    writer.writerow([case_of(values, file), *cells])
    write_text(file, text.getvalue())
    return file


def write_fhir(answer: Answer, values: Values, path: Path) -> Path:
    """Write a category's answer as a FHIR R4 RiskAssessment; whole or not at all.

    values: "patient", else "id", is the subject, "assessed" the time, "about" what was asked, where they are given.
    """
    file = named(path, ".json")
    given = {name: own for name in ("patient", "assessed", "about") if isinstance(own := values.get(name), str)}
    assessed = Assessed(
        subject=given.get("patient") or case_of(values, file), occurred=given.get("assessed", ""),
        method=f"galenic {bundle.versions()['galenic']}", about=given.get("about") or "category",
    )  # fmt: skip
    resource = risk_assessment(
        assessed, dict(answer.probabilities), called=answer.value, among=answer.among, refused=answer.refused,
        threshold=str(answer.facts.get("threshold", "")), notes=answer.notes,
    )  # fmt: skip
    write_risk(file, resource)
    return file
