"""By what scores are broken down, from a table of cases, and which subgroup is the worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galenic.core import registry, subgroups
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.errors import TableError
from galenic.core.task import Task

INPUTS = [
    Field(name="labs", kind="number", columns=["crp", "age"]),
    Field(name="smoker", kind="category", columns=["smokes"]),
]
ILL = Field(name="ill", kind="category", columns=["ill"])


def table(**more) -> pd.DataFrame:
    columns = {
        "id": [f"c{n}" for n in range(8)],
        "site": ["a", "a", "b", "b", "a", "b", None, "a"],
        "Sex": ["f", "m"] * 4,
        "age": [3, 17, 18, 39.5, 64, 65, 80, None],
        "crp": np.arange(8.0),
        "smokes": ["yes", "no", None, "yes", "no", "yes", "no", "no"],
        "ill": ["yes", "no"] * 4,
    }
    return pd.DataFrame(columns | more)


def found(frame: pd.DataFrame, rows=None, **task) -> dict[str, list[str]]:
    checked = registry.checked(Task(name="t", **{"inputs": INPUTS, "targets": [ILL]} | task))
    cases = open_cases(frame, Path(), checked)
    subgroups.check(cases.table, checked)
    return subgroups.labels(cases, list(range(len(frame))) if rows is None else rows, checked)


def test_site_sex_age_and_categories_are_there_without_being_asked_for() -> None:
    own = found(table())
    assert set(own) == {"site", "smoker", "Sex", "age"}
    assert own["site"] == ["a", "a", "b", "b", "a", "b", "missing", "a"]
    assert own["smoker"][2] == "missing"
    assert own["age"] == [
        "0 to 17", "0 to 17", "18 to 39", "18 to 39", "40 to 64", "65 to 79", "80 and over", "missing"
    ]  # fmt: skip
    bands = [band for band in own["age"] if band != "missing"]
    assert sorted(set(bands)) == list(dict.fromkeys(bands))


def test_of_some_rows_and_only_what_tells_them_apart() -> None:
    own = found(table(), rows=[0, 1, 4])
    assert own["age"] == ["0 to 17", "0 to 17", "40 to 64"]
    assert "site" not in own
    assert "smoker" in own


def test_a_target_is_no_subgroup() -> None:
    sex = Field(name="sex", kind="category", columns=["Sex"])
    assert "Sex" not in found(table(), targets=[sex])
    age = Field(name="years", kind="number", columns=["age"])
    assert "age" not in found(table(), targets=[age], inputs=INPUTS[1:])


def test_an_input_of_another_name_is_not_told_twice() -> None:
    sex = Field(name="gender at birth", kind="category", columns=["Sex"])
    assert {"gender at birth"} == set(found(table(), inputs=[sex], rows=[0, 1])) - {"smoker"}


def test_the_task_names_more_columns() -> None:
    ward = ["icu", "er"] * 4
    assert found(table(ward=ward), subgroups=["ward"])["ward"] == ward
    with pytest.raises(TableError, match="ward"):
        found(table(), subgroups=["ward"])


def test_many_numbers_become_quarters() -> None:
    many = pd.concat([table()] * 3, ignore_index=True).assign(id=range(24), crp=np.arange(24.0))
    own = found(many, subgroups=["crp"])["crp"]
    assert own == [
        *["1: below 5.75"] * 6, *["2: from 5.75"] * 6, *["3: from 11.5"] * 6, *["4: from 17.25"] * 6
    ]  # fmt: skip
    assert sorted(set(own)) == list(dict.fromkeys(own))


def test_names_of_people_are_no_subgroup() -> None:
    many = pd.concat([table()] * 2, ignore_index=True).assign(id=range(16), Sex=[f"n{n}" for n in range(16)])
    assert "Sex" not in found(many)


def scored(**values: float | None) -> dict:
    return {name: {"cases": 9, "auroc": {"value": own, "low": None, "high": None}} for name, own in values.items()}


def test_the_worst_is_named_with_its_score_by_the_better_way() -> None:
    field = ILL.model_copy(update={"target": True})
    worst = subgroups.worst(field, scored(a=0.8, b=0.6, c=None))
    assert worst == {"subgroup": "b", "cases": 9, "auroc": {"value": 0.6, "low": None, "high": None}}
    number = Field(name="los", kind="number", columns=["los"], target=True)
    errors = {name: {"cases": 9, "rmse": {"value": own}} for name, own in (("a", 2.0), ("b", 3.0))}
    assert subgroups.worst(number, errors)["subgroup"] == "b"


@pytest.mark.parametrize("values", [{}, {"a": 0.8}, {"a": 0.8, "b": None}])
def test_one_alone_is_not_the_worst(values: dict) -> None:
    assert subgroups.worst(ILL, scored(**values)) is None
