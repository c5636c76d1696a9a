"""A number as what is learnt: its answer in the user's unit, its interval, its refusals."""

import csv
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core import registry
from galenic.core.calibrate import fit_radius
from galenic.core.contract import Field, Prepared
from galenic.core.errors import TaskError, ValueProblem
from galenic.tables.kinds import NUMBER
from galenic.tables.prepare import ROW
from galenic.tables.read import Numbers

FIELD = Field(name="los", kind="number", columns=["los"], options={"unit": "days"}, target=True)
LABS = Field(name="labs", kind="number", columns=["a"])
FRAME = {
    "cases": 9,
    "numbers": {
        "los": {"columns": ["los"], "mean": [10.0], "sd": [4.0], "median": [9.0], "low": [1.0], "high": [30.0]},
        "labs": {"columns": ["a"]},
    },
    "categories": {},
}


def days(value):
    return None if value is None else Numbers(("los",), np.array([value], float))


def prepared(seen=1, far=()):
    facts = {"row": {"seen": seen, "of": 1, "far": list(far)}}
    return Prepared({"labs": np.zeros(2, np.float32), "los": np.zeros(2, np.float32)}, facts)


def answer(z, fitted=None, given=None):
    return NUMBER.answer(np.array([z]), given or prepared(), FIELD, FRAME, fitted or {})


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (["a", "b"], {}),
        (["a*"], {}),
        ([], {}),
        (["a"], {"unit": 3}),
        (["a"], {"unit": "a\nb"}),
        (["a"], {"coverage": 1.0}),
        (["a"], {"coverage": True}),
        (["a"], {"units": "mg"}),
    ],
)
def test_a_wrong_target_is_told(columns, options):
    with pytest.raises(TaskError):
        NUMBER.check(Field(name="x", kind="number", columns=columns, options=options, target=True))


def test_a_right_target_is_taken():
    assert NUMBER.check(FIELD) == FIELD
    assert registry.target(FIELD) is NUMBER
    assert NUMBER.main_score in NUMBER.definitions


def test_an_answer_is_in_the_unit_of_the_target_with_its_interval():
    said = answer(0.5, {"radius": 3.0})
    assert (said.value, said.low, said.high, said.unit) == (12.0, 9.0, 15.0, "days")
    bare = answer(0.5)
    assert (bare.value, bare.low, bare.high) == (12.0, None, None)


def test_what_can_not_be_judged_is_refused_with_its_reason():
    assert "every input is missing" in answer(0.0, given=prepared(seen=0)).refused
    assert "a is 3000" in answer(0.0, given=prepared(far=["a is 3000, in training 20 to 90"])).refused
    broken = answer(np.nan, {"radius": 1.0})
    assert "finite" in broken.refused
    assert (broken.value, broken.low) == (None, None)


def test_a_truth_is_a_z_score_and_a_flag_and_no_input():
    """A truth far from the training part is no reason to refuse, and a missing truth no missing input."""
    values = [{"labs": Numbers(("a",), np.array([x], float)), "los": days(x)} for x in (1.0, 2.0, 3.0)]
    summary = ROW.merge(ROW.merge(*(ROW.summarise(one, [LABS, FIELD]) for one in values[:2])),
                        ROW.summarise(values[2], [LABS, FIELD]))  # fmt: skip
    frame, reasons = ROW.settle(summary, [LABS, FIELD], None)
    assert "teaches nothing" in reasons["numbers.los"]
    known = ROW.prepare({**values[0], "los": days(1e9)}, [LABS, FIELD], frame)
    assert known.facts["row"] == {"seen": 1, "of": 1, "far": []}
    assert known.arrays["los"][1] == 1.0
    sd = np.std([1, 2, 3])
    np.testing.assert_allclose(ROW.prepare(values[0], [LABS, FIELD], frame).arrays["los"], [-1 / sd, 1], rtol=1e-6)
    assert ROW.prepare({**values[0], "los": None}, [LABS, FIELD], frame).arrays["los"][1] == 0.0


def test_a_target_of_one_value_is_refused():
    values = {"labs": Numbers(("a",), np.array([1.0])), "los": days(2.0)}
    summary = ROW.merge(ROW.summarise(values, [LABS, FIELD]), ROW.summarise(values, [LABS, FIELD]))
    with pytest.raises(ValueProblem, match="one value only"):
        ROW.settle(summary, [LABS, FIELD], None)


def test_head_and_loss():
    head = NUMBER.head(FIELD, 4, FRAME)
    output = head(torch.randn(3, 4))
    assert output.shape == (3, 1)
    truth = torch.tensor([[1.0, 1.0], [0.7, 0.0], [-1.0, 1.0]])
    loss = NUMBER.loss(output, truth, FIELD, FRAME)
    expected = [(output[0, 0] - 1) ** 2, torch.tensor(0.0), (output[2, 0] + 1) ** 2]
    assert torch.allclose(loss, torch.stack(expected))


def test_the_quick_score_is_higher_for_better_and_blind_to_the_unknown():
    truths = [np.array([1.0, 1.0]), np.array([5.0, 0.0]), np.array([-1.0, 1.0])]
    near, far = ([np.array([x]) for x in row] for row in ([1.0, 9.0, -1.0], [0.0, 9.0, 0.0]))
    assert NUMBER.quick(near, truths, FIELD) == 0.0
    assert NUMBER.quick(far, truths, FIELD) == -1.0
    assert np.isnan(NUMBER.quick(near[:1], [np.array([1.0, 0.0])], FIELD))


def test_the_interval_holds_the_share_of_new_cases_that_was_promised():
    """Over many draws of calibration and test cases the mean coverage is within 0.9 and 0.9 + 1 / (n + 1)."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        z, noise = rng.normal(size=50), rng.gamma(2.0, size=50) - 2.0
        outputs = [np.array([one]) for one in z]
        truths = [days(float(10 + 4 * (one + off))) for one, off in zip(z, noise, strict=True)]
        fitted = json.loads(json.dumps(NUMBER.calibrate(outputs[:40], truths[:40], FIELD, FRAME)))
        assert (fitted["coverage"], fitted["cases"], fitted["note"]) == (0.9, 40, "")
        said = [answer(float(output[0]), fitted) for output in outputs[40:]]
        held += [one.low <= truth.values[0] <= one.high for one, truth in zip(said, truths[40:], strict=True)]
    assert 0.89 < np.mean(held) < 0.9 + 1 / 41 + 0.01


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.5, 0.99))
@settings(deadline=None)
def test_the_radius_is_the_least_that_enough_residuals_lie_within(residuals, coverage):
    radius, note = fit_radius(residuals, coverage)
    need = int(np.ceil(round((len(residuals) + 1) * coverage, 9)))
    if need > len(residuals):
        assert radius is None
        assert "no interval" in note
        return
    assert note == ""
    assert sum(one <= radius for one in residuals) >= need
    assert sum(one < radius for one in residuals) < need


def test_too_few_calibration_cases_give_no_interval():
    fitted = NUMBER.calibrate([np.array([0.0])] * 9, [days(1.0)] * 8 + [None], FIELD, FRAME)
    assert set(fitted) == {"note"}
    assert "8 calibration cases, 9 are needed" in fitted["note"]
    wide = FIELD.model_copy(update={"options": {"coverage": 0.5}})
    assert NUMBER.calibrate([np.array([0.0])] * 9, [days(1.0)] * 8 + [None], wide, FRAME)["radius"] == 9.0


def test_judging_and_parity():
    one = NUMBER.judge(answer(0.5, {"radius": 3.0}), days(11.0), FIELD)
    assert one == {"value": 12.0, "low": 9.0, "high": 15.0, "truth": 11.0}
    refused = NUMBER.judge(answer(0.5, given=prepared(seen=0)), days(11.0), FIELD)
    assert (refused["value"], refused["truth"]) == (None, 11.0)
    assert NUMBER.judge(answer(0.5), None, FIELD)["truth"] is None
    assert NUMBER.scores([one], FIELD)[""]["rmse"] == 1.0
    assert NUMBER.choose([], [], FIELD) == {}
    assert NUMBER.agree([0.5], [0.504]) == (pytest.approx(0.004), True)
    assert not NUMBER.agree([0.5], [0.506])[1]


def test_answers_are_written_as_a_row(tmp_path):
    (file,) = NUMBER.write(answer(0.5, {"radius": 3.0}), {"id": "p 1"}, tmp_path / "los", form="auto")
    assert file == tmp_path / "los.csv"
    with file.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert (row["id"], row["answer"], row["unit"], row["low"], row["high"]) == ("p 1", "12.0", "days", "9.0", "15.0")
    assert (row["refused"], row["notes"]) == ("", "")
    (file,) = NUMBER.write(answer(0.5, given=prepared(seen=0)), {}, tmp_path / "x.1", form="csv")
    assert file.name == "x.1.csv"
    with file.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert (row["id"], row["answer"], row["low"], row["refused"]) == ("x.1", "", "", "every input is missing")
    with pytest.raises(TaskError, match="dicom"):
        NUMBER.write(answer(0.5), {}, tmp_path / "x", form="dicom")
