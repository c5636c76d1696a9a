"""Numbers that no patient has: by what the task says, by what training showed but for a stray, and of a whole table."""

from functools import reduce

import numpy as np
import pytest

from galenic.core.contract import Budget, Field
from galenic.core.errors import TaskError, ValueProblem
from galenic.tables import units
from galenic.tables.kinds import NUMBER
from galenic.tables.prepare import ROW
from galenic.tables.read import Numbers

COLUMNS = ("age", "bp", "chol", "rate", "st", "weight")
FINDINGS = Field(name="findings", kind="number", columns=list(COLUMNS))


def case(numbers):
    """Without a weight where only five numbers are given."""
    return {"findings": Numbers(COLUMNS, np.array([*numbers, np.nan][:6], float))}


def people(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack([
        rng.normal(54, 9, count).round(), rng.normal(132, 18, count).round(), rng.lognormal(5.48, 0.22, count).round(),
        rng.normal(140, 24, count).round(), np.where(rng.random(count) < 0.4, 0, rng.exponential(1.0, count)).round(1),
        rng.normal(78, 12, count).round(),
    ])  # fmt: skip


def settled(rows, field=FINDINGS):
    summary = reduce(ROW.merge, [ROW.summarise(case(row), [field]) for row in rows])
    return ROW.settle(summary, [field], Budget(seconds=60))[0]


@pytest.fixture(scope="module", params=["sound", "one zero", "one 9999", "one below zero"])
def frame(request):
    """What is settled from 300 people, one of whose rows may be a slip."""
    rows = people(300)
    if request.param != "sound":
        rows[17] = {"one zero": 0, "one 9999": 9999, "one below zero": -120}[request.param]
    return settled(rows)


def told(numbers, frame, field=FINDINGS):
    facts = ROW.prepare(case(numbers), [field], frame).facts["row"]
    return [*facts["far"], *facts.get("refuse", ())]


@pytest.mark.parametrize(
    ("place", "slip"),
    [
        (0, lambda value: 450), (0, lambda value: 0), (0, lambda value: value * 12), (1, lambda value: -120),
        (1, lambda value: 0), (1, lambda value: value / 7.501), (2, lambda value: value / 38.67),
        (2, lambda value: 0.0), (3, lambda value: 0), (3, lambda value: -value), (2, lambda value: 12_000),
    ],
)  # fmt: skip
def test_a_slip_or_another_unit_is_refused_though_training_held_a_slip(frame, place, slip):
    for row in people(40, seed=1):
        changed = row.copy()
        changed[place] = slip(changed[place])
        (reason,) = told(changed, frame)
        assert reason.startswith(f"{COLUMNS[place]} is ")


def test_sound_cases_and_gaps_are_answered(frame):
    for row in people(400, seed=2):
        assert told(row, frame) == []
    assert told([60, np.nan, np.nan, 120, -0.5], frame) == []


def test_the_unit_is_named_and_the_stray_is_not_the_range():
    rows = people(300)
    rows[5, 2] = 0
    (reason,) = told([54, 130, 5.4, 140, 0.5], settled(rows))
    assert "cholesterol in mg/dL and mmol/L" in reason
    low = float(reason.split("in training ")[1].split()[0])
    assert low > 100


def test_a_column_that_reaches_zero_has_no_rule_for_it():
    """Grades, counts and sparse columns: a zero or a large value is a patient."""
    rng = np.random.default_rng(4)
    rows = people(400)
    rows[:, 0] = rng.integers(1, 6, 400)  # grades
    rows[:, 1] = rng.lognormal(1, 1.5, 400)  # long-tailed
    rows[:, 2] = np.where(rng.random(400) < 0.99, 0, rng.lognormal(3, 1, 400))  # sparse
    rows[:, 2][:3] = [10, 40, 200]
    known = settled(rows)
    rows[0, 0] = 0
    assert told([0, 0.001, 150, 140, 0], known) == []
    assert told([5, 200, 0, 140, 9], known) == []


def test_many_columns_have_only_the_old_rule():
    columns = [f"g{at}" for at in range(100)]
    field = Field(name="findings", kind="number", columns=columns)
    rng = np.random.default_rng(0)
    rows = [{"findings": Numbers(tuple(columns), rng.normal(9, 1, 100))} for _ in range(50)]
    summary = reduce(ROW.merge, [ROW.summarise(row, [field]) for row in rows])
    frame, _ = ROW.settle(summary, [field], Budget(seconds=60))
    dropped = {"findings": Numbers(tuple(columns), np.where(np.arange(100) < 5, 0.0, 9.0))}
    assert ROW.prepare(dropped, [field], frame).facts["row"]["far"] == []


def test_a_plan_of_before_these_rules_still_prepares():
    frame = settled(people(300))
    old = frame["numbers"]["findings"]
    for name in ("usual_low", "usual_high", "quantiles", "levels"):
        del old[name]
    assert told([54, 130, 230, 140, 0.5], frame) == []
    assert len(told([1e6, 130, 230, 140, 0.5], frame)) == 1
    assert ROW.together([case(row) for row in people(20)], [FINDINGS], frame)[1] == []


def test_cases_in_another_unit_as_a_whole_are_refused():
    """Pounds that each could be kilograms are told together."""
    frame = settled(people(400))
    new = people(30, seed=5)
    new[:, 5] *= 2.2046
    assert len([row for row in new if told(row, frame)]) < len(new)
    cases = [case(row) for row in new]
    looked, (warning,) = ROW.together(cases, [FINDINGS], frame)
    assert "pounds and kilograms" in warning
    assert "refused" in warning
    assert all(told(row, looked) for row in new)
    assert told([*new[0][:5]], looked) == []
    assert all("units" not in own for own in frame["numbers"].values())
    assert ROW.together(cases[:9], [FINDINGS], frame)[1] == []


def test_other_patients_are_told_and_answered():
    frame = settled(people(400))
    new = people(30, seed=5)
    new[:, 3] = 210
    looked, (warning,) = ROW.together([case(row) for row in new], [FINDINGS], frame)
    assert "other patients" in warning
    assert looked == frame


def test_cases_like_those_of_training_say_nothing_together():
    frame = settled(people(300))
    for seed in range(10, 30):
        assert ROW.together([case(row) for row in people(15, seed=seed)], [FINDINGS], frame)[1] == []


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "middle", "words"),
    [
        ("chol", 5.7, 126, 564, 223, "cholesterol"),
        ("glucose", 5.5, 60, 400, 100, "glucose"),
        ("crea", 80.0, 0.4, 8.0, 0.9, "creatinine"),
        ("temp", 98.6, 35.0, 41.0, 36.9, "Fahrenheit"),
        ("temp", 37.0, 95.0, 106.0, 98.6, "Fahrenheit"),
        ("height", 67.0, 145.0, 195.0, 170.0, "inches"),
        ("height", 1.7, 145.0, 195.0, 170.0, "100"),
        ("weight", 165.0, 45.0, 150.0, 78.0, ""),
        ("chol", 120.0, 126.0, 564.0, 223.0, ""),
    ],
)
def test_units_are_told_apart_where_their_ranges_are(name, value, low, high, middle, words):
    found = units.of_value(name, value, low, high, middle)
    assert (words in found) if words else found == ""


def test_the_task_says_what_can_be():
    options = {"unit": {"chol": "mg/dL"}, "low": {"chol": 50, "age": 18}, "high": {"chol": 700.0}}
    field = NUMBER.check(FINDINGS.model_copy(update={"options": options}))
    frame = settled(people(300), field)
    assert told([54, 130, 230, 140, 0.5], frame, field) == []
    assert told([54, 130, 720, 140, 0.5], frame, field) == ["chol is 720 mg/dL, the task allows 50 to 700"]
    assert told([17, 130, 230, 140, 0.5], frame, field) == ["age is 17, the task allows 18 and more"]
    with pytest.raises(ValueProblem, match="chol is 40 mg/dL, the task allows 50 to 700"):
        ROW.summarise(case([54, 130, 40, 140, 0.5]), [field])
    ROW.summarise(case([54, 130, np.nan, 140, 0.5]), [field])


@pytest.mark.parametrize(
    "options",
    [
        {"low": "a"}, {"low": True}, {"high": float("inf")}, {"low": 3, "high": 3}, {"low": {"chol": 9}, "high": 2},
        {"low": {"height": 3}}, {"unit": {"chol": 3}}, {"unit": "a\nb"},
    ],
)  # fmt: skip
def test_wrong_limits_are_told(options):
    with pytest.raises(TaskError):
        NUMBER.check(FINDINGS.model_copy(update={"options": options}))
