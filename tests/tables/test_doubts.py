"""What looks wrong in a table to learn from: another unit, labels, slips, copies; a sound table says nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galenic import verbs
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.frames import Frames
from galenic.core.task import Task
from galenic.core.together import doubts

TASK = Task(
    name="own",
    inputs=[
        Field(name="labs", kind="number", columns=["age", "chol", "crp"]),
        Field(name="sex", kind="category", columns=["sex"]),
    ],
    targets=[Field(name="ill", kind="category", columns=["ill"], target=True)],
)


def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "id": [f"c{at:03}" for at in range(200)], "site": np.repeat(["a", "b", "c", "d"], 50),
        "age": rng.normal(60, 9, 200).round(), "chol": rng.normal(220, 30, 200).round(),
        "crp": rng.lognormal(1, 1, 200).round(1), "sex": rng.choice(["f", "m"], 200),
        "ill": rng.choice(["yes", "no"], 200),
    })  # fmt: skip


def told(cases):
    return doubts(open_cases(cases, Path(), TASK), Frames(TASK))


def changed(what):
    cases = table()
    if what == "unit":
        cases.loc[cases["site"] == "b", "chol"] /= 38.67
    elif what == "age":
        cases.loc[7, "age"] = 450
    elif what == "labels":
        cases.loc[3, "ill"], cases.loc[4, "ill"] = "Yes", "maybe"
    elif what == "copies":
        copy = cases.iloc[:2].assign(id=["new1", "new2"])
        cases = pd.concat([cases, copy], ignore_index=True)
    return cases


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("unit", ["site b: the median of chol", "cholesterol in mg/dL and mmol/L"]),
        ("age", ["case c007 (row 8): age is 450, else"]),
        ("labels", ["ill: 'Yes' (1 cases) and 'yes'", "'maybe' (1)"]),
        ("copies", ["4 cases are copies", "c000 and new1"]),
    ],
)
def test_each_has_its_finding(what, words):
    found = " ".join(told(changed(what)))
    assert all(word in found for word in words), found


def test_a_sound_table_says_nothing():
    assert told(table()) == []


def test_equal_rows_of_few_labels_are_no_copies():
    task = TASK.model_copy(update={"inputs": [TASK.inputs[1]]})
    assert doubts(open_cases(table(), Path(), task), Frames(task)) == []


def test_check_and_training_tell_it(tmp_path):
    changed("copies").to_csv(tmp_path / "cases.csv", index=False)
    found = verbs.check(tmp_path / "cases.csv", targets=["ill:category"], budget="5steps")
    assert any("4 cases are copies" in warning for warning in found.warnings)
    model = verbs.train(tmp_path / "cases.csv", targets=["ill:category"], budget="5steps", out=tmp_path / "model")
    assert any("4 cases are copies" in warning for warning in model.metrics["warnings"])
