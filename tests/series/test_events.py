"""Tables of measurements as one matrix over time, against a slow dictionary, and the cut that nothing passes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.core.errors import TableError
from galenic.series.events import Events, Rules, from_events, from_matrix, hours_of, numbers

ROWS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 2.25, 7.0, -1.0, float("nan")]),
        st.sampled_from(["a", "b", "c", "static"]),
        st.sampled_from([-1.0, 0.0, 3.5, 12.0, float("nan")]),
    ),
    max_size=25,
)


def events(rows, units=None):
    hours, names, values = zip(*rows, strict=True) if rows else ((), (), ())
    return Events(
        np.array(hours, float), np.array(names, object), np.array(values, float),
        None if units is None else np.array(units, object),
    )  # fmt: skip


def known(series):
    """{(time, variable): value} of what was measured."""
    found = {}
    if series is not None:
        for time, row in zip(series.times_hours, series.values, strict=True):
            found |= {
                (time, name): value for name, value in zip(series.variables, row, strict=True) if not np.isnan(value)
            }
    return found


@given(ROWS, st.sampled_from([None, 0.5, 2.0]), st.sampled_from([(), ("b", "a")]))
def test_it_is_what_a_dictionary_says(rows, until, variables):
    rules = Rules(variables, frozenset(["static"]), (-1.0,), until)
    wanted = {}
    for time, name, value in sorted(rows, key=lambda row: row[0]):
        late = until is not None and time > until
        kept = name != "static" and (not variables or name in variables)
        if time >= 0 and not late and kept and value != -1 and not np.isnan(value):
            wanted[time, name] = value  # sorted is stable: of one time the last row of the file wins
    series = from_events(events(rows), rules)
    assert known(series) == wanted
    assert (series is None) == (not wanted)
    if series is not None:
        assert series.variables == tuple(sorted(series.variables, key=(variables or "abc").index))


@given(ROWS, ROWS)
def test_what_comes_later_changes_nothing(rows, later):
    """The canary: rows after the cut, whatever they hold, leave values, names, units and notes as they were."""
    rules = Rules(until_hours=7.0, missing=(-1.0,))
    beyond = [(7.5 + index, name, value) for index, (_, name, value) in enumerate(later)]
    one, two = (
        from_events(events(own, ["mg"] * len(rows) + ["g"] * (len(own) - len(rows))), rules)
        for own in (rows, rows + beyond)
    )
    assert known(one) == known(two)
    if one is not None and two is not None:
        assert (one.variables, one.units, one.notes) == (two.variables, two.units, two.notes)
        assert one.times_hours.tolist() == two.times_hours.tolist()


def test_what_is_mended_is_told():
    rows = [(2.0, "a", 1.0), (1.0, "a", 2.0), (1.0, "a", 3.0), (-4.0, "a", 9.0), (float("nan"), "a", 9.0)]
    series = from_events(events(rows), Rules(), notes=["before"])
    assert series.notes[0] == "before"
    told = " ".join(series.notes)
    assert "out of order in 1 places" in told
    assert "1 measurements stand twice" in told
    assert "1 rows lie before" in told
    assert "1 rows have no time" in told
    assert series.values[:, 0].tolist() == [3.0, 1.0]


def test_units_are_the_files_then_the_tasks():
    rules = Rules(units={"b": "mmHg", "a": "never"})
    series = from_events(events([(0, "a", 1), (1, "a", 2), (2, "b", 3)], ["mg", "", ""]), rules)
    assert dict(zip(series.variables, series.units, strict=True)) == {"a": "mg", "b": "mmHg"}
    assert len(known(series)) == 3


def test_of_two_units_the_more_frequent_stays_and_it_is_told():
    series = from_events(events([(0, "a", 100), (1, "a", 101), (2, "a", 5.5)], ["mg/dL", "mg/dL", "mmol/L"]), Rules())
    assert known(series) == {(0, "a"): 100, (1, "a"): 101}
    assert "only mg/dL is kept" in series.notes[0]


def test_a_wide_table_is_joined_and_sorted():
    hours = np.array([3.0, 1.0, 1.0, -1.0, 9.0])
    values = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, 4.0], [0.0, 0.0], [5.0, -1.0]])
    series = from_matrix(hours, values, ["a", "b"], Rules(missing=(-1.0,), units={"b": "kg"}))
    assert series.times_hours.tolist() == [1.0, 3.0, 9.0]
    np.testing.assert_array_equal(series.values, [[3.0, 4.0], [1.0, 2.0], [5.0, np.nan]])
    assert series.units == ("", "kg")
    assert from_matrix(hours, values, ["a", "b"], Rules(variables=("c",))) is None
    assert from_matrix(hours, values, ["a", "b"], Rules(variables=("b",))).variables == ("b",)
    assert from_matrix(hours, np.full((5, 1), np.nan), ["a"], Rules()) is None
    cut = from_matrix(hours, values, ["a", "b"], Rules(until_hours=1.0))
    assert cut.times_hours.tolist() == [1.0]


@pytest.mark.parametrize(
    ("cells", "unit", "hours", "calendar"),
    [
        ([0, 90], "minutes", [0, 1.5], False),
        ([1, None], "days", [24, np.nan], False),
        (["00:07", "25:30"], "hours", [7 / 60, 25.5], False),
        (["01:00:36", ""], "hours", [1.01, np.nan], False),
        (["2", " 3.5"], "hours", [2, 3.5], False),
        (["1970-01-01T01:30", "1970-01-02 00:00:00"], "hours", [1.5, 24], True),
        (["1970-01-01T02:00:00+01:00"], "hours", [1], True),
    ],
)
def test_times_of_many_forms(cells, unit, hours, calendar):
    found, dated = hours_of(pd.Series(cells), unit, "file")
    np.testing.assert_allclose(found, hours)
    assert dated == calendar


def test_a_time_that_is_none_is_named():
    with pytest.raises(TableError, match=r"row 2.*'noon'"):
        hours_of(pd.Series(["00:10", "noon"]), "hours", "file")


def test_a_cell_that_is_no_number_is_named():
    assert numbers(pd.Series(["1", " ", "2.5"], name="pulse"), "file").tolist()[::2] == [1.0, 2.5]
    for wrong in ("high", "inf"):
        with pytest.raises(TableError, match=f"row 2.*'{wrong}'"):
            numbers(pd.Series(["1", wrong], name="pulse"), "file")
