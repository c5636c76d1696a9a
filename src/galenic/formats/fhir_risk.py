"""An answer with probabilities as an HL7 FHIR R4 RiskAssessment in JSON.

Elements and cardinalities: FHIR R4 (4.0.1), https://hl7.org/fhir/R4/riskassessment.html. R4 says of a decimal
probability that it is a percentage, up to 100 (RiskAssessment.prediction.probability[x], invariant ras-2), though some
of its own examples give fractions; what is written here is the percentage, and `rationale` says both in words, so that
neither reading can mislead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.core.errors import ValueProblem
from galenic.core.files import write_json

RESEARCH_ONLY = "Not a medical device: research use only. It must not guide the care of a patient."
# FHIR's dateTime: a year, a month or a day; or a moment, which must have its zone.
_DATE_TIME = re.compile(
    r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])"
    r"(T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-](0\d:[0-5]\d|1[0-3]:[0-5]\d|14:00)))?)?)?"
)
_REFERENCE = re.compile(r"(https?://[^\s?#]+/)?(Patient|Group)/[A-Za-z0-9\-.]{1,64}(/_history/[A-Za-z0-9\-.]{1,64})?")


@dataclass(frozen=True)
class Assessed:
    """What was assessed, of whom, when and by what.

    subject: "Patient/ID", a reference, also as a whole URL; anything else is an identifier of the patient (or case).
    occurred: a FHIR dateTime, or "" where none is known. method: the software and its version.
    about: what the outcomes are of.
    """

    subject: str
    occurred: str
    method: str
    about: str


def risk_assessment(
    assessed: Assessed,
    probabilities: Mapping[str, float],
    *,
    called: str | None = None,
    among: Sequence[str] = (),
    refused: str | None = None,
    threshold: str = "",
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The resource as JSON: a prediction an outcome, the most probable first; what was called and the set as a note.

    threshold: how it was called, where by a threshold. notes: what else is to be known, a note each.

    With `refused`, the reason why there is no answer, the status is cancelled and no prediction is made; else it is
    preliminary, as no person has looked at it. ValueProblem for probabilities that are none, no subject, or a time
    that is no FHIR dateTime.
    """
    _check(assessed, probabilities)
    resource: dict[str, Any] = {
        "resourceType": "RiskAssessment",
        "status": "cancelled" if refused else "preliminary",
        "method": {"text": f"{assessed.method}, research use only"},
        "code": {"text": assessed.about},
        "subject": _subject(assessed.subject),
    }
    if assessed.occurred:
        resource["occurrenceDateTime"] = assessed.occurred
    if not refused and probabilities:
        order = sorted(probabilities.items(), key=lambda pair: -pair[1])
        resource["prediction"] = [_prediction(outcome, value) for outcome, value in order]
    said = [f"No answer: {refused}."] if refused else _said(called, among, threshold)
    told = [f"{text[:1].upper()}{text[1:]}." for text in notes if text.strip()]
    resource["note"] = [{"text": text} for text in [*said, *told, RESEARCH_ONLY]]
    return resource


def write_risk(path: Path, resource: Mapping[str, Any]) -> None:
    """Write the resource, whole or not at all."""
    write_json(path, dict(resource))


def _check(assessed: Assessed, probabilities: Mapping[str, float]) -> None:
    if not assessed.subject.strip():
        raise ValueProblem("a risk assessment of nobody", allowed="an id, or a reference such as Patient/123")
    if assessed.occurred and not _DATE_TIME.fullmatch(assessed.occurred):
        raise ValueProblem(
            f"the time {assessed.occurred!r}",
            allowed="a FHIR dateTime, such as 2024-05-06 or 2024-05-06T07:08:09+02:00",
        )
    wrong = [f"{outcome} {value!r}" for outcome, value in probabilities.items() if not 0 <= value <= 1]
    if wrong:
        raise ValueProblem(f"probabilities {', '.join(wrong)}", allowed="0 to 1")


def _subject(given: str) -> dict[str, Any]:
    """A reference where it is one, else a logical reference by identifier."""
    if _REFERENCE.fullmatch(given):
        return {"reference": given}
    return {"type": "Patient", "identifier": {"value": given.strip()}}


def _prediction(outcome: str, probability: float) -> dict[str, Any]:
    percent = round(100 * probability, 6)
    return {
        "outcome": {"text": outcome},
        "probabilityDecimal": percent,
        "rationale": f"a probability of {probability:.4g}, which is {percent:.4g} %",
    }


def _said(called: str | None, among: Sequence[str], threshold: str) -> list[str]:
    found = [f"Called: {called}{f'; {threshold}' if threshold else ''}."] if called else []
    if among:
        found.append(f"The set that holds the truth as often as promised on exchangeable cases: {', '.join(among)}.")
    return found
