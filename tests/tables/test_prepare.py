import itertools
import json
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core import sketch
from galenic.core.contract import Budget, Field
from galenic.core.errors import ValueProblem
from galenic.tables.prepare import MAX_LABELS, ROW
from galenic.tables.read import Numbers

LABS = Field(name="labs", kind="number", columns=["a", "b"])
SEX = Field(name="sex", kind="category", columns=["sex"])
ILL = Field(name="ill", kind="category", columns=["ill"], target=True)
FIELDS = [LABS, SEX, ILL]
BUDGET = Budget(seconds=60)
SIZES = st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9) | st.just(0.0) | st.just(float("nan"))
CASES = st.tuples(SIZES, SIZES, st.sampled_from(["f", "m", None]), st.sampled_from(["yes", "no", None]))


def case(a, b, sex="f", ill="no"):
    return {"labs": Numbers(("a", "b"), np.array([a, b], float)), "sex": sex, "ill": ill}


def summary_of(cases):
    return reduce(ROW.merge, [ROW.summarise(values, FIELDS) for values in cases])


def settled(cases):
    return ROW.settle(summary_of(cases), FIELDS, BUDGET)


def _same(one, other):
    """Equal but for the last digits of mean and m2, which are told apart by how large the values are."""
    assert one["cases"] == other["cases"]
    assert one["categories"] == other["categories"]
    for column in "ab":
        left, right = (part["numbers"]["labs"][column] for part in (one, other))
        size = max(abs(left["low"]), abs(left["high"]))
        assert left["mean"] == pytest.approx(right["mean"], rel=1e-9, abs=1e-12 * size)
        assert left["m2"] == pytest.approx(right["m2"], rel=1e-9, abs=1e-12 * size**2)
        assert {**left, "mean": 0, "m2": 0} == {**right, "mean": 0, "m2": 0}


@given(st.lists(CASES, min_size=3, max_size=3), st.data())
def test_merging_is_associative_and_commutative(cases, data):
    a, b, c = (ROW.summarise(case(*values), FIELDS) for values in cases)
    _same(ROW.merge(ROW.merge(a, b), c), ROW.merge(a, ROW.merge(b, c)))
    _same(ROW.merge(a, b), ROW.merge(b, a))
    assert json.loads(json.dumps(ROW.merge(a, b), allow_nan=False)) == ROW.merge(a, b)


@given(st.lists(SIZES, min_size=1, max_size=60))
@settings(deadline=None)
def test_moments_and_median_are_numpys(values):
    merged = reduce(sketch.merge, map(sketch.of, values))
    known = np.array([value for value in values if value == value])
    assert merged["count"] == len(known)
    assert merged["missing"] == len(values) - len(known)
    if not len(known):
        assert sketch.median(merged) == 0.0
        return
    size = np.abs(known).max()
    assert merged["mean"] == pytest.approx(known.mean(), rel=1e-9, abs=1e-12 * size)
    assert sketch.sd(merged) == pytest.approx(known.std(), rel=1e-7, abs=1e-9 * size)
    assert (merged["low"], merged["high"]) == (known.min(), known.max())
    middle = np.sort(known)[[(len(known) - 1) // 2, len(known) // 2]]
    assert abs(sketch.median(merged) - middle.mean()) <= 0.00501 * np.abs(middle).mean() + 1e-12


def test_small_spread_about_a_large_mean_keeps_its_digits():
    values = 1e9 + np.arange(10.0) / 10
    merged = reduce(sketch.merge, map(sketch.of, values))
    assert sketch.sd(merged) == pytest.approx(values.std(), rel=1e-6)


def test_merging_leaves_its_parts_as_they_were():
    one, other = sketch.of(1.0), sketch.of(1.0)
    for left, right in itertools.permutations([one, other, sketch.of(float("nan"))], 2):
        sketch.merge(left, right)["bins"]["0"] = 99
    assert one == other == sketch.of(1.0)


def test_a_histogram_is_bounded():
    values = np.random.default_rng(0).lognormal(0, 40, 3000) * np.sign(np.random.default_rng(1).normal(size=3000))
    bins = {place for value in np.append(values, [1e300, -1e300, 1e-300]) for place in sketch.of(float(value))["bins"]}
    assert max(abs(int(place)) for place in bins) <= 5528


def test_arrays_are_as_promised():
    frame, reasons = settled([case(1, 5, "f", "no"), case(3, 5, "m", "yes"), case(5, np.nan, "m", None)])
    assert frame["cases"] == 3
    assert frame["categories"]["ill"] == {"labels": ["no", "yes"], "counts": [1, 1], "missing": 1}
    assert "b" in reasons["numbers.labs.constant"]
    assert reasons["numbers.labs.missing"].endswith("b 0.33")
    json.dumps(frame, allow_nan=False)

    prepared = ROW.prepare(case(1, 7, "m", "yes"), FIELDS, frame)
    np.testing.assert_allclose(prepared.arrays["labs"], [-np.sqrt(1.5), 0, 1, 1], rtol=1e-6)
    assert prepared.arrays["labs"].dtype == np.float32
    np.testing.assert_array_equal(prepared.arrays["sex"], [0, 1, 0])
    assert prepared.arrays["ill"].dtype == np.int64
    assert prepared.arrays["ill"] == 1
    assert prepared.facts["row"] == {"seen": 3, "of": 3, "far": []}


def test_gaps_take_the_median_and_a_flag():
    frame, _ = settled([case(0, 1, ill="yes"), case(0, 2), case(30, 3)])
    prepared = ROW.prepare({"labs": None, "sex": None}, FIELDS, frame)
    np.testing.assert_allclose(prepared.arrays["labs"], [-10 / np.sqrt(200), 0, 0, 0], atol=0.01)
    np.testing.assert_array_equal(prepared.arrays["sex"], [0, 1])
    assert prepared.arrays["ill"] == -1
    assert prepared.facts["row"]["seen"] == 0


def test_an_unseen_label_is_unknown_and_refused_as_input_and_wrong_as_target():
    frame, _ = settled([case(1, 1, "f", "yes"), case(2, 2, "m", "no")])
    strange = ROW.prepare(case(1, 1, "x"), FIELDS, frame)
    np.testing.assert_array_equal(strange.arrays["sex"], [0, 0, 1])
    assert strange.facts["row"]["refuse"] == ["sex is 'x', in training f, m"]
    assert "refuse" not in ROW.prepare(case(1, 1, None), FIELDS, frame).facts["row"]
    with pytest.raises(ValueProblem, match="'perhaps'"):
        ROW.prepare(case(1, 1, "f", "perhaps"), FIELDS, frame)


@pytest.mark.parametrize(
    ("value", "far"), [(2.0, False), (20.0, False), (40.0, True), (1e6, True), (-1e6, True), (1e300, True)]
)
def test_what_no_patient_has_is_told(value, far):
    frame, _ = settled([case(x / 10, x, ill="yes" if x % 2 else "no") for x in range(20)])
    told = ROW.prepare(case(value, 1), FIELDS, frame).facts["row"]["far"]
    assert bool(told) == far
    assert all("in training 0 to 1.9" in one for one in told)


@pytest.mark.parametrize(
    ("age", "far"),
    [
        (24, False),
        (93, False),
        (120, False),
        (162, False),
        (163, True),
        (600, True),
        (18, False),
        (1, True),
        (0, True),
        (-1, True),
        (-50, True),
    ],
)
def test_of_many_cases_a_range_beyond_them_is_far_and_a_factor_below_and_a_sign_that_none_has(age, far):
    rng = np.random.default_rng(0)
    ages = [24, 93, *rng.uniform(24, 93, 298)]
    frame, _ = settled([case(own, 1, ill="yes" if at % 2 else "no") for at, own in enumerate(ages)])
    assert bool(ROW.prepare(case(age, 1), FIELDS, frame).facts["row"]["far"]) == far


def test_tensors_are_the_arrays_also_of_read_only_memory():
    frame, _ = settled([case(1, 5, "f", "no"), case(3, 7, "m", "yes")])
    prepared = ROW.prepare(case(2, 5), FIELDS, frame)
    for array in prepared.arrays.values():
        array.flags.writeable = False
    draw = ROW.draw(np.random.default_rng(0), prepared, frame)
    assert json.loads(json.dumps(draw)) is None
    sample = ROW.apply(prepared, draw, frame)
    assert {name: tensor.dtype for name, tensor in sample.items()} == {
        "labs": torch.float32, "sex": torch.float32, "ill": torch.int64,
    }  # fmt: skip
    assert sample["ill"].shape == ()
    for name, tensor in ROW.whole(prepared, frame).items():
        assert torch.equal(tensor, sample[name])


def test_a_target_of_one_class_is_refused():
    with pytest.raises(ValueProblem, match="one class only"):
        settled([case(1, 2), case(3, 4)])


def test_a_positive_class_without_a_case_is_refused():
    field = ILL.model_copy(update={"options": {"positive": "maybe"}})
    summary = summary_of([case(1, 2), case(3, 4, ill="yes")])
    with pytest.raises(ValueProblem, match="maybe"):
        ROW.settle(summary, [LABS, SEX, field], BUDGET)


def test_labels_named_by_the_task_keep_their_order():
    field = ILL.model_copy(update={"options": {"labels": ["yes", "unsure", "no"]}})
    summary = summary_of([case(1, 2), case(3, 4, ill="yes")])
    frame, reasons = ROW.settle(summary, [LABS, SEX, field], BUDGET)
    assert frame["categories"]["ill"]["labels"] == ["yes", "unsure", "no"]
    assert frame["categories"]["ill"]["counts"] == [1, 0, 1]
    assert "unsure" in reasons["categories.ill.absent"]


def test_numbers_as_labels_stand_in_their_order():
    cases = [case(1, 2, ill=label) for label in ("10", "2", "1")]
    assert settled(cases)[0]["categories"]["ill"]["labels"] == ["1", "2", "10"]


def test_names_are_no_category():
    parts = [ROW.summarise({"sex": f"name {number}"}, [SEX]) for number in range(MAX_LABELS + 1)]
    with pytest.raises(ValueProblem, match="more than 1000"):
        reduce(ROW.merge, parts)


def test_a_number_field_without_any_value_is_refused():
    summary = ROW.summarise({"labs": None, "sex": "f", "ill": "no"}, FIELDS)
    with pytest.raises(ValueProblem, match="no value"):
        ROW.settle(summary, [LABS], BUDGET)
