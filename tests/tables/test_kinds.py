import csv
import json

import numpy as np
import pytest
import torch

from galenic.core import registry
from galenic.core.contract import Answer, Field, Prepared
from galenic.core.errors import TaskError
from galenic.core.figures import Sheet
from galenic.core.task import Task, load_task
from galenic.tables.kinds import CATEGORY, NUMBER

FIELD = Field(name="ill", kind="category", columns=["ill"], target=True)
FRAME = {"cases": 9, "numbers": {}, "categories": {"ill": {"labels": ["no", "yes"], "counts": [5, 4], "missing": 0}}}


def prepared(seen=1, far=(), **others):
    return Prepared({"labs": np.zeros(2, np.float32), **others}, {"row": {"seen": seen, "of": 1, "far": list(far)}})


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def answer(output, fitted=None, given=None, field=FIELD):
    frame = {**FRAME, "numbers": {"labs": {}}}
    return CATEGORY.answer(np.array(output), given or prepared(), field, frame, fitted or {})


def test_the_registry_knows_both_and_which_can_be_learnt():
    assert registry.kind("number") is NUMBER
    assert registry.target(FIELD) is CATEGORY
    with pytest.raises(TaskError, match="'image' as the kind of the target"):
        registry.target(Field(name="x", kind="image", columns=["x"]))
    assert CATEGORY.main_score in CATEGORY.definitions
    assert CATEGORY.group("a") is None
    assert NUMBER.group(1.0) is None


@pytest.mark.parametrize(
    ("columns", "options"),
    [([], {}), (["*"], {}), (["**"], {}), (["a"], {"units": "mg"}), (["a"], {"coverage": 0.8})],
)
def test_a_wrong_number_field_is_told(columns, options):
    with pytest.raises(TaskError):
        NUMBER.check(Field(name="x", kind="number", columns=columns, options=options))


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (["a", "b"], {}),
        (["a*"], {}),
        (["a"], {"label": ["x"]}),
        (["a"], {"labels": ["x"]}),
        (["a"], {"labels": ["x", "x"]}),
        (["a"], {"labels": ["x", None]}),
        (["a"], {"labels": "xy"}),
        (["a"], {"labels": ["x", "y"], "positive": "z"}),
        (["a"], {"max_error": 1.5}),
        (["a"], {"max_error": True}),
        (["a"], {"coverage": 1}),
        (["a"], {"sensitivity": 90}),
        (["a"], {"sensitivity": 0.9, "costs": [5, 1]}),
        (["a"], {"sensitivity": 0.9, "max_error": 0.1}),
        (["a"], {"sensitivity": 0.9, "labels": ["x", "y", "z"]}),
        (["a"], {"costs": [5]}),
        (["a"], {"costs": [5, 0]}),
        (["a"], {"costs": "51"}),
    ],
)
def test_a_wrong_category_field_is_told(columns, options):
    with pytest.raises(TaskError):
        CATEGORY.check(Field(name="x", kind="category", columns=columns, options=options))


def test_options_become_text_and_checking_twice_changes_nothing():
    field = Field(name="x", kind="category", columns=["a"], options={"labels": [0, True, 2.0, "b"], "positive": 2})
    done = CATEGORY.check(field)
    assert done.options == {"labels": ["0", "true", "2", "b"], "positive": "2"}
    assert CATEGORY.check(done) == done


def test_the_task_tells_targets_from_inputs_and_the_file_does_not(tmp_path):
    inputs = [Field(name="sex", kind="category", columns=["sex"])]
    task = registry.checked(
        Task(name="t", inputs=inputs, targets=[Field(name="ill", kind="category", columns=["ill"])])
    )
    assert [field.target for field in task.fields] == [False, True]
    task.save(tmp_path / "task.toml")
    assert "target =" not in (tmp_path / "task.toml").read_text()
    assert load_task(tmp_path / "task.toml") == task


def test_head_and_loss():
    head = CATEGORY.head(FIELD, 4, FRAME)
    output = head(torch.randn(3, 4))
    assert output.shape == (3, 2)
    loss = CATEGORY.loss(output, torch.tensor([0, -1, 1]), FIELD, FRAME)
    logs = torch.log_softmax(output, 1)
    assert torch.allclose(loss, torch.stack([-logs[0, 0], torch.tensor(0.0), -logs[2, 1]]))


def test_an_answer_weighs_what_it_says():
    said = answer(np.log([0.2, 0.8]), {"temperature": 1.0, "thresholds": [0.15, 0.5]})
    assert said.value == "yes"
    assert said.probabilities == pytest.approx({"no": 0.2, "yes": 0.8})
    assert said.among == ("no", "yes")
    assert "atypical" not in said.facts
    assert answer([0.0, 1.0]).among == ()


def test_a_case_like_no_other_is_answered_and_told_apart(tmp_path):
    said = answer(np.log([0.45, 0.55]), {"thresholds": [0.6, 0.7]})
    assert (said.value, said.among) == ("yes", ())
    assert said.facts["atypical"] is True
    (note,) = said.notes
    assert "no class is typical" in note
    (file,) = CATEGORY.write(said, {}, tmp_path / "c", form="auto")
    assert (rows(file)[0]["set"], rows(file)[0]["notes"]) == ("", note)
    (file,) = CATEGORY.write(said, {}, tmp_path / "c", form="fhir")
    told = [own["text"] for own in json.loads(file.read_text())["note"]]
    assert told[1].startswith("No class is typical")
    assert not any("The set" in text for text in told)
    assert CATEGORY.judge(said, "yes", FIELD)["among"] == [1], "scored by the most probable class"


def test_what_can_not_be_judged_is_refused_with_its_reason():
    assert "every input is missing" in answer([0.0, 1.0], given=prepared(seen=0)).refused
    assert answer([0.0, 1.0], given=prepared(seen=0, picture=np.zeros(3))).refused is None
    far = answer([0.0, 1.0], given=prepared(far=["age is 3000, in training 20 to 90", "b"]))
    assert "age is 3000" in far.refused
    assert "1 more" in far.refused
    assert (far.value, dict(far.probabilities)) == (None, {})
    assert "finite" in answer([0.0, np.nan]).refused
    assert "not sure enough" in answer([0.0, 0.1], {"floor": 0.9}).refused
    assert answer([0.0, 1.0], given=Prepared({})).refused is None
    by_others = {"words": {"refuse": ["the text is empty"]}, "space": {"refuse": []}, "note": "none"}
    assert answer([0.0, 1.0], given=Prepared({}, by_others)).refused == "the text is empty"


def test_any_frame_may_refuse_a_case():
    facts = {"row": {"seen": 1, "of": 1, "far": []}, "clock": {"refuse": ["too few hours", "a unit"]}, "space": {}}
    assert answer([0.0, 1.0], given=Prepared({"labs": np.zeros(2)}, facts)).refused == "too few hours; a unit"
    assert answer([0.0, 1.0], given=Prepared({}, {"clock": {"refuse": []}, "cells": 3})).refused is None


def test_calibration_is_json_with_its_promise_and_its_note():
    rng = np.random.default_rng(0)
    outputs = list(rng.normal(size=(200, 2)))
    truths = [["no", "yes", None][int(number)] for number in rng.integers(0, 3, 200)]
    fitted = CATEGORY.calibrate(outputs, truths, FIELD, FRAME)
    assert fitted["coverage"] == 0.9
    assert fitted["cases"] == sum(truth is not None for truth in truths)
    assert fitted["note"] == ""
    few = CATEGORY.calibrate(outputs[:12], ["no"] * 11 + ["yes"], FIELD, FRAME)
    assert "of yes" in few["note"]
    assert set(CATEGORY.calibrate(outputs[:3], [None] * 3, FIELD, FRAME)) == {"note"}
    wider = FIELD.model_copy(update={"options": {"coverage": 0.99}})
    sure = CATEGORY.calibrate(outputs * 3, truths * 3, wider, FRAME)
    assert sure["coverage"] == 0.99
    usual = CATEGORY.calibrate(outputs * 3, truths * 3, FIELD, FRAME)
    assert all(one < other for one, other in zip(sure["thresholds"], usual["thresholds"], strict=True))
    strict = FIELD.model_copy(update={"options": {"max_error": 0.01}})
    held = CATEGORY.calibrate(outputs, truths, strict, FRAME)
    assert held["floor"] == 1.0
    assert "only certainty" in held["note"]
    assert answer([0.0, 3.0], held, field=strict).refused


def test_judging_an_answer():
    said = answer(np.log([0.2, 0.8]), {"thresholds": [0.5, 0.5]})
    one = CATEGORY.judge(said, "no", FIELD)
    assert one == {
        "labels": ["no", "yes"], "positive": 1, "p": pytest.approx([0.2, 0.8]), "truth": 0, "among": [1], "called": 1,
    }  # fmt: skip
    assert CATEGORY.details([one], FIELD)["confusion"]["counts"] == [[0, 1], [0, 0]]
    refused = CATEGORY.judge(answer([0.0, 1.0], given=prepared(seen=0)), "yes", FIELD)
    assert (refused["p"], refused["truth"]) == ([], 1)
    assert CATEGORY.judge(said, None, FIELD)["truth"] == -1
    named = FIELD.model_copy(update={"options": {"positive": "no"}})
    assert CATEGORY.judge(said, "no", named)["positive"] == 0
    assert CATEGORY.scores([one], FIELD)[""]["accuracy"] == 0.0
    assert CATEGORY.choose([said], ["no"], FIELD) == {}


def test_a_refusal_that_comes_before_the_kind_was_asked_counts_as_not_answered():
    early = CATEGORY.judge(Answer(None, refused="a picture of 3D"), "yes", FIELD)
    later = CATEGORY.judge(answer([0.0, 1.0]), "yes", FIELD)
    assert CATEGORY.scores([early, later], FIELD)[""]["answered"] == 0.5
    assert CATEGORY.judge(Answer(None, refused="a picture of 3D"), None, FIELD)["truth"] == -1
    assert CATEGORY.details([early, later], FIELD)["confusion"]["counts"] == [[0, 0], [0, 1]]
    figures = CATEGORY.figures(["a", "b"], {"this model": [early, later]}, FIELD)
    assert "a" not in [row[0] for one in figures if isinstance(one, Sheet) for row in one.rows]


def test_parity_is_of_probabilities():
    assert CATEGORY.agree([0.0, 1.0], [5.0, 6.0]) == (pytest.approx(0.0), True)
    gap, met = CATEGORY.agree([0.0, 0.0], [0.0, 0.1])
    assert gap == pytest.approx(1 / (1 + np.exp(-0.1)) - 0.5)
    assert not met


def test_answers_are_written_as_a_row(tmp_path):
    said = answer(np.log([0.2, 0.8]), {"thresholds": [0.1, 0.5]})
    (file,) = CATEGORY.write(said, {"id": "p 1, left"}, tmp_path / "ill", form="auto")
    assert file == tmp_path / "ill.csv"
    (row,) = rows(file)
    assert row == {
        "id": "p 1, left", "answer": "yes", "set": "no yes", "threshold": "", "refused": "", "notes": "",
        "p(no)": "0.2", "p(yes)": "0.8",
    }  # fmt: skip
    (file,) = CATEGORY.write(answer([0.0, 1.0], given=prepared(seen=0)), {}, tmp_path / "1.2.840.csv", form="csv")
    (row,) = rows(file)
    assert row == {
        "id": "1.2.840",
        "answer": "",
        "set": "",
        "threshold": "",
        "refused": "every input is missing",
        "notes": "",
        "p(no)": "",
        "p(yes)": "",
    }
    about = {"id": "c1", "patient": "Patient/7", "assessed": "2024-05-06T07:08:09+00:00", "about": "ill"}
    (file,) = CATEGORY.write(said, about, tmp_path / "c1", form="fhir")
    assert file == tmp_path / "c1.json"
    resource = json.loads(file.read_text())
    assert (resource["subject"], resource["code"]) == ({"reference": "Patient/7"}, {"text": "ill"})
    assert [own["probabilityDecimal"] for own in resource["prediction"]] == pytest.approx([80, 20])
    assert resource["method"]["text"].startswith("galenic ")
    (file,) = CATEGORY.write(answer([0.0, 1.0], given=prepared(seen=0)), {}, tmp_path / "1.2", form="fhir")
    assert json.loads(file.read_text())["subject"]["identifier"]["value"] == "1.2"
    assert json.loads(file.read_text())["status"] == "cancelled"
    with pytest.raises(TaskError, match="dicom"):
        CATEGORY.write(said, {}, tmp_path / "x", form="dicom")
