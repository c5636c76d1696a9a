"""Observations of FHIR R4: values, components, times, and invalid resources by their place."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.errors import GalenicError, MissingFile, UnreadableFile, UnsupportedFile
from galenic.formats import fhir


def observation(**changes):
    whole = {
        "resourceType": "Observation", "id": "one", "status": "final", "subject": {"reference": "Patient/1"},
        "code": {"coding": [{"code": "HR"}, {"system": fhir.LOINC, "code": "8867-4", "display": "Heart rate"}]},
        "effectiveDateTime": "2024-05-01T10:30:00Z",
        "valueQuantity": {"value": 80, "unit": "beats/min", "code": "/min"},
    }  # fmt: skip
    return {key: value for key, value in (whole | changes).items() if value is not None}


def bundle(*resources):
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": own} for own in resources]}


def read(*resources):
    return fhir.from_json(bundle(*resources), "file")


def test_one_observation(tmp_path):
    (tmp_path / "o.json").write_text("\ufeff" + json.dumps(observation()), encoding="utf-8")
    found = fhir.read_observations(tmp_path / "o.json")
    assert found.patient == "Patient/1"
    assert found.warnings == ()
    (own,) = found.observed
    assert (own.code, own.words, own.value, own.unit) == ("8867-4", "Heart rate", 80.0, "beats/min")
    assert own.when == datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


def test_the_patient_is_whom_the_observations_or_the_bundle_name():
    person = {"resourceType": "Patient", "id": "p7", "identifier": [{"system": "urn:oid:1.2", "value": "MRN 7"}]}
    nobody = observation(subject=None)
    assert read(nobody).patient == ""
    assert read(person, nobody).patient == "Patient/p7"
    assert read(person, observation()).patient == "Patient/1"
    assert read(observation(subject={"identifier": {"value": "MRN 9"}})).patient == "MRN 9"
    whole = bundle(person, observation(subject={"reference": "urn:uuid:8f1"}))
    whole["entry"][0]["fullUrl"] = "urn:uuid:8f1"
    assert fhir.from_json(whole, "file").patient == "Patient/p7"
    del person["id"]
    assert fhir.from_json(whole, "file").patient == "MRN 7"
    whole["entry"][0]["fullUrl"] = "urn:uuid:other"
    assert fhir.from_json(whole, "file").patient == "urn:uuid:8f1"
    assert read(person, person, nobody).patient == ""


def test_components_share_time_and_keep_their_own_codes():
    parts = [
        {"code": {"coding": [{"system": fhir.LOINC, "code": code}]}, "valueQuantity": {"value": value, "unit": "mmHg"}}
        for code, value in (("8480-6", 120), ("8462-4", 70))
    ]
    found = read(observation(valueQuantity=None, component=parts))
    assert [(own.code, own.value) for own in found.observed] == [("8480-6", 120), ("8462-4", 70)]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-05", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-02", datetime(2024, 5, 2, tzinfo=UTC)),
        ("2024-05-02T10:00:00.250+02:00", datetime(2024, 5, 2, 8, 0, 0, 250000, tzinfo=UTC)),
    ],
)
def test_times(text, when):
    assert read(observation(effectiveDateTime=text)).observed[0].when == when


def test_other_times_and_values():
    period = read(observation(effectiveDateTime=None, effectivePeriod={"start": "2024-05-01"}))
    assert period.observed[0].when == datetime(2024, 5, 1, tzinfo=UTC)
    instant = read(observation(effectiveDateTime=None, effectiveInstant="2024-05-01T00:00:00Z"))
    assert instant.observed[0].when == datetime(2024, 5, 1, tzinfo=UTC)
    assert read(observation(valueQuantity=None, valueInteger=3)).observed[0].value == 3
    assert read(observation(valueQuantity=None, valueBoolean=True)).observed[0].value == 1
    words = read(observation(valueQuantity=None, valueString="fair", effectiveDateTime=None))
    assert words.observed == words.warnings == ()


def test_a_code_in_words_alone():
    (own,) = read(observation(code={"text": "Pulse"})).observed
    assert (own.code, own.words) == ("Pulse", "Pulse")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "sent"}, "status 'sent'"),
        ({"status": None}, "status None"),
        ({"status": "entered-in-error"}, "marked entered-in-error"),
        ({"code": None}, "no code"),
        ({"code": {"coding": "x"}}, "no code"),
        ({"code": {}}, "without coding or text"),
        ({"effectiveDateTime": None}, "no effective time"),
        ({"effectiveDateTime": "yesterday"}, "'yesterday'"),
        ({"valueQuantity": {"unit": "mg"}}, "no number"),
        ({"valueQuantity": {"value": "12"}}, "no number"),
        ({"valueQuantity": {"value": True}}, "no number"),
        ({"valueQuantity": 12}, "no object"),
        ({"subject": "Patient/1"}, "no reference"),
        ({"component": [1]}, "components"),
    ],
)
def test_an_invalid_resource_is_named_by_its_place_and_the_good_ones_go_on(changes, words):
    found = read(observation(), observation(**({"id": "bad"} | changes)), observation(id="three"))
    assert len(found.observed) == 2
    (text,) = found.warnings
    assert text.startswith("Bundle.entry[1] (bad): ")
    assert words in text


def test_what_is_no_resource_is_named_too():
    found = fhir.from_json(
        {"resourceType": "Bundle", "entry": [1, {}, {"resource": 5}, {"resource": observation()}]}, "x"
    )
    assert len(found.observed) == 1
    assert [text.split(":")[0] for text in found.warnings] == [f"Bundle.entry[{at}]" for at in range(3)]
    others = read({"resourceType": "Patient"}, observation())
    assert (len(others.observed), others.warnings) == (1, ())


def test_several_patients_are_refused():
    with pytest.raises(UnsupportedFile, match="2 patients"):
        read(observation(), observation(subject={"reference": "Patient/2"}))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", UnreadableFile), ("[1]", UnsupportedFile), ('{"resourceType": "Patient"}', UnsupportedFile),
        ('{"resourceType": "Bundle", "entry": {}}', UnreadableFile), ("[" * 100_000, GalenicError),
        ("\x00", UnreadableFile),
    ],
)  # fmt: skip
def test_files_that_are_none(tmp_path, text, error):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(error):
        fhir.read_observations(tmp_path / "f.json")
    with pytest.raises(MissingFile):
        fhir.read_observations(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["code", "coding", "status", "valueQuantity", "value", "effectiveDateTime", "component"]),
        inner, max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(list(observation())), JSON, max_size=4))
@settings(deadline=None)
def test_odd_resources_are_warned_of_or_read(changes):
    found = read(observation(), {**observation(), **changes, "resourceType": "Observation", "subject": None})
    assert found.observed[0].value == 80
    assert len(found.warnings) <= 1


@pytest.mark.shared
def test_hl7s_own_examples_and_synthetic_patients_are_read(shared_data):
    folder = shared_data / "fhir-r4-examples"
    counted = 0
    for path in sorted((folder / "hl7").glob("Observation-*.json")):
        found = fhir.read_observations(path)
        raw = json.loads(path.read_text(encoding="utf-8"))
        parts = [raw, *raw.get("component", [])]
        numeric = sum(any(key in part for key in ("valueQuantity", "valueInteger", "valueBoolean")) for part in parts)
        if raw["status"] not in ("entered-in-error", "cancelled") and not found.warnings:
            assert len(found.observed) == numeric
            counted += numeric
    assert counted > 20
    for path in sorted((folder / "synthea").glob("*.json")):
        found = fhir.read_observations(path)
        assert found.warnings == ()
        assert len(found.observed) > 30
        assert len({own.code for own in found.observed}) > 10
