import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.core.contract import Field
from galenic.core.errors import TableError, ValueProblem
from galenic.tables.kinds import CATEGORY, NUMBER
from galenic.tables.read import Numbers, label_of, numbers_of, resolve


def numbers(*columns):
    return Field(name="labs", kind="number", columns=list(columns))


def test_patterns_take_columns_in_order_and_once():
    table = ["id", "gene_b", "gene_a", "age", "CRP [mg/l]"]
    assert resolve(["age", "gene_*", "gene_a"], table) == ["age", "gene_b", "gene_a"]
    assert resolve(["CRP [mg/l]", "*[mg/l]"], table) == ["CRP [mg/l]"]
    assert resolve(["g*_a"], table) == ["gene_a"]


@pytest.mark.parametrize("wanted", ["aeg", "genes_*", "gene_?", "AGE"])
def test_a_column_that_is_not_there_is_told_with_what_there_is(wanted):
    with pytest.raises(TableError, match="no column") as told:
        resolve([wanted], ["id", "age", "gene_b"])
    assert "id, age, gene_b" in told.value.allowed


def test_numbers_are_read_with_gaps(tmp_path):
    table = pd.DataFrame({"age": [61, 70, 48], "crp": ["5", " ", "7.5"], "smoker": [True, False, True]})
    source = NUMBER.open(numbers("age", "crp", "smoker"), table, tmp_path)
    assert source.columns == ("age", "crp", "smoker")
    np.testing.assert_array_equal(source.read(0).values, [61, 5, 1])
    np.testing.assert_array_equal(source.read(1).values, [70, np.nan, 0])
    assert NUMBER.open(numbers("crp"), table, tmp_path).read(1) is None


@pytest.mark.parametrize("cell", ["high", "<0.1", "1,5", "1e999", float("inf")])
def test_text_among_numbers_names_row_and_value(cell, tmp_path):
    table = pd.DataFrame({"crp": pd.Series([1.0, None, cell], dtype=object)})
    with pytest.raises(TableError, match=r"row 3 .*'crp'") as told:
        NUMBER.open(numbers("crp"), table, tmp_path)
    assert f"row 3 holds {cell!r} in" in told.value.given


def test_every_wrong_cell_is_named_as_the_table_has_it(tmp_path):
    table = pd.DataFrame({"crp": [1.0, np.inf, 2.0, -np.inf]})
    with pytest.raises(TableError) as told:
        NUMBER.open(numbers("crp"), table, tmp_path)
    assert "row 2 holds inf; row 4 holds -inf in the number column 'crp'" in told.value.given
    assert "np.float64" not in str(told.value)


def test_dates_are_no_numbers(tmp_path):
    with pytest.raises(TableError, match="dates"):
        NUMBER.open(numbers("born"), pd.DataFrame({"born": pd.to_datetime(["2001-02-03"])}), tmp_path)


@given(st.one_of(st.integers(-(10**9), 10**9), st.booleans()))
def test_a_label_is_the_same_by_whatever_type_it_comes(value):
    label = label_of(value)
    assert label == label_of(np.asarray(value)[()]) == label_of(f" {value} ") == label_of(label)
    if not isinstance(value, bool):
        assert label == label_of(float(value))


def test_labels_of_all_sorts():
    cells = [1.0, 2.5, "  ill ", "", None, float("nan"), pd.NA, "TRUE", np.bool_(False)]
    assert [label_of(cell) for cell in cells] == ["1", "2.5", "ill", None, None, None, None, "true", "false"]


def test_an_unseen_label_is_wrong_in_a_target_and_unknown_in_an_input(tmp_path):
    table = pd.DataFrame({"stage": ["I", "II", "III"]})
    field = Field(name="stage", kind="category", columns=["stage"], options={"labels": ["I", "II"]})
    assert CATEGORY.open(field, table, tmp_path).read(2) == "III"
    with pytest.raises(ValueProblem, match=r"row 3 .*'III'"):
        CATEGORY.open(field.model_copy(update={"target": True}), table, tmp_path)


def test_numbers_as_python_gives_them():
    np.testing.assert_array_equal(numbers_of(50, ["age"], "age"), [50.0])
    np.testing.assert_array_equal(numbers_of(np.float32(1.5), ["age"], "age"), [1.5])
    np.testing.assert_array_equal(numbers_of(" 7 ", ["age"], "age"), [7.0])
    np.testing.assert_array_equal(numbers_of(None, ["a", "b"], "labs"), [np.nan, np.nan])
    np.testing.assert_array_equal(numbers_of({"b": 2}, ["a", "b"], "labs"), [np.nan, 2.0])
    for value, columns, told in (
        (5, ["a", "b"], "2 columns"), ({"c": 1}, ["a", "b"], "no column c"), ("old", ["a"], "'old'"), ([1], ["a"], "a"),
    ):  # fmt: skip
        with pytest.raises(ValueProblem, match=told):
            numbers_of(value, columns, "labs")


def test_a_case_of_another_column_order_fits():
    case = Numbers(("b", "a"), np.array([2.0, 1.0]))
    np.testing.assert_array_equal(case.in_order(["a", "b", "c"]), [1, 2, np.nan])
    assert case.in_order(["b", "a"]) is case.values
