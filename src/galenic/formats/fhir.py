"""FHIR R4 observations in: a Bundle or a single Observation as measurements with code, value, unit and time.

https://hl7.org/fhir/R4/observation.html. Only what a series needs is looked at; a resource that lacks it is named by
its place in the bundle and left out, and the others go on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from galenic.core.errors import UnreadableFile, UnsupportedFile
from galenic.formats.guard import check_memory, existing, reading

LOINC = "http://loinc.org"
_NOT_VALID = ("entered-in-error", "cancelled")
_VALID = ("final", "registered", "preliminary", "amended", "corrected", "unknown")
_STATUS = ("registered", "preliminary", "final", "amended", "corrected", "unknown", *_NOT_VALID)


class Observed(NamedTuple):
    """One measurement: `code` (LOINC's where there is one), its words, the value in `unit`, and when, with a zone."""

    code: str
    words: str
    value: float
    unit: str
    when: datetime


@dataclass(frozen=True)
class Observations:
    """What a file holds of one patient. warnings: what was left out and why, each with its place.

    patient: the reference or identifier by which the observations name their subject, else the bundle's one Patient;
    "" where none is named.
    """

    observed: tuple[Observed, ...]
    warnings: tuple[str, ...]
    patient: str


class _Invalid(Exception):
    """Why a resource can't be used; the caller knows its place."""


def read_observations(path: Path | str) -> Observations:
    """All numeric observations of a file, in its order.

    Values that are words, times or pictures are passed over. UnreadableFile where the file is no JSON, UnsupportedFile
    where it is no Bundle or Observation or holds observations of several patients.
    """
    path = existing(path)
    with reading(path, "FHIR"):
        check_memory(path, 20 * path.stat().st_size)
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    return from_json(found, str(path))


def from_json(resource: Any, where: str) -> Observations:
    """The same of parsed JSON; `where` names it in errors."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind not in ("Bundle", "Observation"):
        raise UnsupportedFile(
            f"{where} is no FHIR bundle but {kind or type(resource).__name__}",
            allowed="a Bundle or an Observation of FHIR R4",
        )
    observed: list[Observed] = []
    warnings: list[str] = []
    patients: dict[str, None] = {}
    for at, own in _resources(resource, kind, where):
        try:
            if not isinstance(own, dict) or not isinstance(own.get("resourceType"), str):
                raise _Invalid("is no resource")
            if own["resourceType"] != "Observation":
                continue
            named = _patient(own)
            plain = _plain(own)
            found = _measured(own) if plain is None else [plain]
        except _Invalid as fault:
            warnings.append(f"{_place(at, own)}: {fault}")
            continue
        if named:
            patients.setdefault(named)
        observed += found
    if len(patients) > 1:
        raise UnsupportedFile(
            f"{where} holds observations of {len(patients)} patients", allowed="one patient a file",
            todo="write a bundle for each patient",
        )  # fmt: skip
    return Observations(tuple(observed), tuple(warnings), _whose(next(iter(patients), ""), resource))


def _whose(named: str, resource: dict[str, Any]) -> str:
    """The patient that the observations name; a reference into the bundle (urn:...), or none, by the bundle's Patient.

    https://hl7.org/fhir/R4/bundle.html#references: such a reference means the entry of that fullUrl.
    """
    if named and not named.startswith("urn:"):
        return named
    entries = [one for one in resource.get("entry", ()) if isinstance(one, dict)]
    people = [one for one in entries if _is_patient(one.get("resource"))]
    own = [one for one in people if one.get("fullUrl") == named] if named else people
    if len(own) != 1:
        return named
    person = own[0]["resource"]
    if isinstance(person.get("id"), str) and person["id"]:
        return f"Patient/{person['id']}"
    identifiers = person.get("identifier")
    listed = identifiers if isinstance(identifiers, list) else []
    given = [one.get("value") for one in listed if isinstance(one, dict)]
    return next((one for one in given if isinstance(one, str) and one), named)


def _is_patient(resource: Any) -> bool:
    return isinstance(resource, dict) and resource.get("resourceType") == "Patient"


def _resources(resource: dict[str, Any], kind: str, where: str) -> Iterator[tuple[int | None, Any]]:
    """(number, resource) of each entry; None for a resource that stands by itself."""
    if kind == "Observation":
        yield None, resource
        return
    entries = resource.get("entry", [])
    if not isinstance(entries, list):
        raise UnreadableFile(f"{where} has an `entry` that is no list", allowed="a Bundle of FHIR R4")
    for at, entry in enumerate(entries):
        yield at, entry.get("resource") if isinstance(entry, dict) else None


def _place(at: int | None, resource: Any) -> str:
    """Where a resource stands, with its id."""
    place = "Observation" if at is None else f"Bundle.entry[{at}]"
    name = resource.get("id") if isinstance(resource, dict) else None
    return f"{place} ({name})" if isinstance(name, str) else place


def _patient(own: dict[str, Any]) -> str:
    subject = own.get("subject")
    if subject is None:
        return ""
    if not isinstance(subject, dict):
        raise _Invalid("has a subject that is no reference")
    identifier = subject.get("identifier")
    known = identifier.get("value") if isinstance(identifier, dict) else None
    return str(subject.get("reference") or known or "")


def _plain(own: dict[str, Any]) -> Observed | None:
    """An observation of the usual form, one quantity with one code, read in few steps; None for any other.

    What is not of that form, or wrong, goes through `_measured`, which says why.
    """
    quantity, code, when = own.get("valueQuantity"), own.get("code"), own.get("effectiveDateTime")
    if type(quantity) is not dict or type(code) is not dict or type(when) is not str or len(when) in (4, 7):
        return None
    value = quantity.get("value")
    if own.get("status") not in _VALID or "component" in own:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    codings = code.get("coding", ())
    if type(codings) not in (list, tuple) or len(codings) > 1:
        return None
    try:
        moment = datetime.fromisoformat(when)
        name, words = _code(own) if codings else (code["text"], code["text"])
    except (ValueError, KeyError):
        return None
    if type(name) is not str or not name:
        return None
    unit = str(quantity.get("unit") or quantity.get("code") or "")
    return Observed(name, words, float(value), unit, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _measured(own: dict[str, Any]) -> list[Observed]:
    """The observation's own value and those of its components."""
    status = own.get("status")
    if status not in _STATUS:
        raise _Invalid(f"has the status {status!r}, not one of {', '.join(_STATUS)}")
    if status in _NOT_VALID:
        raise _Invalid(f"is marked {status}")
    components = own.get("component")
    if components is None:
        return [_one(own, _when(own))] if _holds_number(own) else _nothing(own)
    if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
        raise _Invalid("has components that are no list of objects")
    parts = [part for part in (own, *components) if _holds_number(part)]
    _code(own)  # which an observation must have, whatever its components hold
    when = _when(own) if parts else None
    return [_one(part, when) for part in parts if when is not None]


def _one(part: dict[str, Any], when: datetime) -> Observed:
    return Observed(*_code(part), *_number(part), when)


def _nothing(own: dict[str, Any]) -> list[Observed]:
    """An observation without a number needs a code all the same."""
    _code(own)
    return []


def _holds_number(part: dict[str, Any]) -> bool:
    return "valueQuantity" in part or "valueInteger" in part or "valueBoolean" in part


def _number(part: dict[str, Any]) -> tuple[float, str]:
    given = part.get("valueQuantity", part.get("valueInteger", part.get("valueBoolean")))
    unit = ""
    if "valueQuantity" in part:
        if not isinstance(given, dict):
            raise _Invalid("has a valueQuantity that is no object")
        unit = str(given.get("unit") or given.get("code") or "")
        given = given.get("value")
    odd = isinstance(given, bool) and "valueBoolean" not in part
    if odd or not isinstance(given, int | float) or not math.isfinite(given):
        raise _Invalid(f"has the value {given!r}, which is no number")
    return float(given), unit


def _code(part: dict[str, Any]) -> tuple[str, str]:
    """The code (LOINC's before others', words where there is none) and its words."""
    code = part.get("code")
    codings = code.get("coding", ()) if isinstance(code, dict) else ()
    if not isinstance(code, dict) or not isinstance(codings, list | tuple):
        raise _Invalid("has no code")
    own = [one for one in codings if isinstance(one, dict) and isinstance(one.get("code"), str)]
    if len(own) > 1:
        own.sort(key=lambda one: one.get("system") != LOINC)
    text = str(code.get("text") or (own[0].get("display") if own else "") or "")
    if not own and not text:
        raise _Invalid("has a code without coding or text")
    return (own[0]["code"] if own else text), text


def _when(own: dict[str, Any]) -> datetime:
    """effectiveDateTime or effectiveInstant, else the start of effectivePeriod."""
    period = own.get("effectivePeriod")
    start = period.get("start") if isinstance(period, dict) else None
    given = own.get("effectiveDateTime") or own.get("effectiveInstant") or start
    if not isinstance(given, str):
        raise _Invalid("has no effective time")
    return _moment(given)


def _moment(text: str) -> datetime:
    """A dateTime of FHIR; a year or month alone means its first day, a time without a zone is taken as UTC."""
    rest = {4: "-01-01", 7: "-01"}.get(len(text), "")
    try:
        found = datetime.fromisoformat(text + rest)
    except ValueError as error:
        raise _Invalid(f"has the effective time {text!r}") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
