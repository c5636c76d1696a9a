"""A RiskAssessment against the required elements, cardinalities and types of FHIR R4, written out here by hand."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.errors import ValueProblem
from galenic.formats.fhir_risk import RESEARCH_ONLY, Assessed, risk_assessment, write_risk

STATUSES = {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"}
# R4's definition of the resource: element -> (least, most, type); most None is *.
RESOURCE = {
    "resourceType": (1, 1, "string"), "id": (0, 1, "string"), "identifier": (0, None, "Identifier"),
    "basedOn": (0, 1, "Reference"), "parent": (0, 1, "Reference"), "status": (1, 1, "string"),
    "method": (0, 1, "CodeableConcept"), "code": (0, 1, "CodeableConcept"), "subject": (1, 1, "Reference"),
    "encounter": (0, 1, "Reference"), "occurrenceDateTime": (0, 1, "string"), "occurrencePeriod": (0, 1, "Period"),
    "condition": (0, 1, "Reference"), "performer": (0, 1, "Reference"), "reasonCode": (0, None, "CodeableConcept"),
    "reasonReference": (0, None, "Reference"), "basis": (0, None, "Reference"), "prediction": (0, None, "Prediction"),
    "mitigation": (0, 1, "string"), "note": (0, None, "Annotation"),
}  # fmt: skip
TYPES: dict[str, dict[str, tuple[int, int | None, str]]] = {
    "Prediction": {
        "outcome": (0, 1, "CodeableConcept"), "probabilityDecimal": (0, 1, "decimal"),
        "probabilityRange": (0, 1, "Range"), "qualitativeRisk": (0, 1, "CodeableConcept"),
        "relativeRisk": (0, 1, "decimal"), "whenPeriod": (0, 1, "Period"), "whenRange": (0, 1, "Range"),
        "rationale": (0, 1, "string"),
    },
    "CodeableConcept": {"coding": (0, None, "Coding"), "text": (0, 1, "string")},
    "Reference": {
        "reference": (0, 1, "string"), "type": (0, 1, "string"), "identifier": (0, 1, "Identifier"),
        "display": (0, 1, "string"),
    },
    "Identifier": {"use": (0, 1, "string"), "system": (0, 1, "string"), "value": (0, 1, "string")},
    "Coding": dict.fromkeys(("system", "version", "code", "display"), (0, 1, "string")),
    "Period": {"start": (0, 1, "string"), "end": (0, 1, "string")},
    "Range": {"low": (0, 1, "Quantity"), "high": (0, 1, "Quantity")},
    "Quantity": {"value": (0, 1, "decimal"), **dict.fromkeys(("unit", "system", "code"), (0, 1, "string"))},
    "Annotation": {"time": (0, 1, "string"), "text": (1, 1, "string")},
}  # fmt: skip
AT = "2024-05-06T07:08:09+02:00"
CHANCES = st.dictionaries(st.text(min_size=1, max_size=20).filter(str.strip), st.floats(0, 1), min_size=1, max_size=6)


def faults(value: Any, elements: dict[str, tuple[int, int | None, str]], where: str) -> list[str]:
    """What breaks the table: an unknown element, too few or too many, the wrong type, an empty string or list."""
    found = [f"{where}.{name} is no element" for name in value if name not in elements]
    for name, (least, most, kind) in elements.items():
        given = value.get(name)
        if given is None:
            found += [f"{where}.{name} is required"] if least else []
            continue
        if (most is None) != isinstance(given, list):
            found.append(f"{where}.{name} is {'no' if most is None else 'a'} list")
            continue
        each = given if isinstance(given, list) else [given]
        if not each:
            found.append(f"{where}.{name} is empty")
        for one in each:
            found += _of_type(one, kind, f"{where}.{name}")
    return found


def _of_type(one: Any, kind: str, where: str) -> list[str]:
    if kind == "string":
        return [] if isinstance(one, str) and one.strip() else [f"{where} is no text: {one!r}"]
    if kind == "decimal":
        return [] if isinstance(one, int | float) and not isinstance(one, bool) else [f"{where} is no number"]
    if not isinstance(one, dict) or not one:
        return [f"{where} is no {kind}"]
    return faults(one, TYPES[kind], where)


def assessed(**more: str) -> Assessed:
    return Assessed(**{"subject": "P 1", "occurred": AT, "method": "galenic 0.1.0", "about": "heart disease", **more})


def sound(resource: dict[str, Any]) -> None:
    """Required elements and cardinalities; the value set of status; ras-2; one of each choice [x]."""
    assert faults(resource, RESOURCE, "RiskAssessment") == []
    assert resource["resourceType"] == "RiskAssessment"
    assert resource["status"] in STATUSES
    for own in resource.get("prediction", []):
        assert 0 <= own.get("probabilityDecimal", 0) <= 100
        assert len({"probabilityDecimal", "probabilityRange"} & own.keys()) <= 1
    assert len({"occurrenceDateTime", "occurrencePeriod"} & resource.keys()) <= 1


@given(CHANCES, st.sampled_from([AT, "2024", "2024-05", "2024-05-06", "2024-05-06T07:08:09Z", ""]))
@settings(deadline=None)
def test_every_answer_is_a_sound_resource(probabilities: dict[str, float], at: str) -> None:
    best = max(probabilities, key=lambda label: probabilities[label])
    resource = risk_assessment(assessed(occurred=at), probabilities, called=best, among=[best])
    sound(json.loads(json.dumps(resource, allow_nan=False)))
    assert len(resource["prediction"]) == len(probabilities)
    percents = [own["probabilityDecimal"] for own in resource["prediction"]]
    assert percents == sorted(percents, reverse=True)
    assert sorted(percents) == pytest.approx(sorted(100 * one for one in probabilities.values()), abs=1e-6)
    assert ("occurrenceDateTime" in resource) == bool(at)


def test_it_says_what_was_called_the_set_the_method_and_that_it_is_for_research() -> None:
    resource = risk_assessment(assessed(), {"no": 0.2, "yes": 0.8}, called="yes", among=["no", "yes"])
    notes = [note["text"] for note in resource["note"]]
    assert notes[0] == "Called: yes."
    assert notes[1].endswith("no, yes.")
    assert notes[-1] == RESEARCH_ONLY
    assert resource["method"]["text"] == "galenic 0.1.0, research use only"
    assert resource["code"]["text"] == "heart disease"
    first = resource["prediction"][0]
    assert (first["outcome"]["text"], first["probabilityDecimal"]) == ("yes", 80.0)
    assert first["rationale"] == "a probability of 0.8, which is 80 %"
    assert resource["status"] == "preliminary"


def test_a_refusal_predicts_nothing_and_says_why() -> None:
    resource = risk_assessment(assessed(), {}, refused="every input is missing")
    sound(resource)
    assert resource["status"] == "cancelled"
    assert "prediction" not in resource
    assert resource["note"][0]["text"] == "No answer: every input is missing."


def test_a_subject_is_a_reference_where_it_is_one_and_else_an_identifier() -> None:
    by_reference = risk_assessment(assessed(subject="Patient/a-1.2"), {"a": 1.0})
    assert by_reference["subject"] == {"reference": "Patient/a-1.2"}
    for name in ("a-1.2", "Patient/", "Patient/a b", "Device/1"):
        found = risk_assessment(assessed(subject=name), {"a": 1.0})
        sound(found)
        assert found["subject"]["identifier"] == {"value": name}


@pytest.mark.parametrize(
    ("change", "probabilities"),
    [
        ({"subject": " "}, {"a": 1.0}),
        ({"occurred": "6.5.2024"}, {"a": 1.0}),
        ({"occurred": "2024-13-01"}, {"a": 1.0}),
        ({"occurred": "2024-05-06T07:08:09"}, {"a": 1.0}),
        ({}, {"a": 1.2}),
        ({}, {"a": float("nan")}),
    ],
)
def test_what_no_resource_can_hold_is_refused(change: dict[str, str], probabilities: dict[str, float]) -> None:
    with pytest.raises(ValueProblem):
        risk_assessment(assessed(**change), probabilities)


@given(st.datetimes(min_value=datetime(1973, 1, 1), timezones=st.timezones()))
@settings(deadline=None, max_examples=50)
def test_moments_as_python_writes_them_are_taken(moment: datetime) -> None:
    text = moment.isoformat(timespec="seconds")
    if re.fullmatch(r"\d{4}-.*[+-]\d\d:\d\d", text):
        assert risk_assessment(assessed(occurred=text), {"a": 1.0})["occurrenceDateTime"] == text


@pytest.mark.shared
def test_the_same_check_takes_the_examples_of_hl7(shared_data: Path) -> None:
    """The table above is no invention: HL7's own R4 examples pass it."""
    paths = sorted((shared_data / "fhir-r4-examples" / "hl7").glob("RiskAssessment-*.json"))
    assert paths
    for path in paths:
        resource = json.loads(path.read_text(encoding="utf-8"))
        told = {"text", "contained", "meta", "extension"}
        assert faults({name: own for name, own in resource.items() if name not in told}, RESOURCE, path.name) == []


def test_it_is_written_whole(tmp_path: Path) -> None:
    resource = risk_assessment(assessed(), {"größer": 1.0})
    write_risk(tmp_path / "out" / "case.json", resource)
    assert json.loads((tmp_path / "out" / "case.json").read_text(encoding="utf-8")) == resource
