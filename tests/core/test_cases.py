"""The table of cases: what is read as what, and what a bad table gets told."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic import sources
from galenic.core import registry
from galenic.core.cases import case_name, find_roles, matching, open_cases, read_table, text_of
from galenic.core.contract import Field
from galenic.core.errors import InputError, MissingFile, TableError, TaskError, UnreadableFile
from galenic.core.task import Task


def table_of(tmp_path, text: str, name: str = "cases.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def task_of(*inputs: Field, **more) -> Task:
    target = Field(name="label", kind="category", columns=["label"])
    return Task(name="t", inputs=list(inputs), targets=[target], **more)


AGE = Field(name="age", kind="number", columns=["age"])
IMAGE = Field(name="image", kind="image", columns=["image"])


class TestReading:
    def test_csv_tsv_and_parquet_hold_the_same(self, tmp_path):
        csv = table_of(tmp_path, "id,age\na,1\nb,2\n")
        tsv = table_of(tmp_path, "id\tage\na\t1\nb\t2\n", "cases.tsv")
        csv.to_parquet(tmp_path / "cases.parquet")
        pd.testing.assert_frame_equal(csv, tsv)
        pd.testing.assert_frame_equal(csv, read_table(tmp_path / "cases.parquet"))

    def test_numbers_led_by_zero_stay_apart(self, tmp_path):
        """007 and 7 are two patients, and a split file names 007."""
        table = table_of(tmp_path, "id,patient,age,score\n001,007,30,0.5\n002,7,40,0\n003,,50,1.5\n")
        assert table["id"].tolist() == ["001", "002", "003"]
        assert table["patient"].tolist()[:2] == ["007", "7"]
        assert table["age"].tolist() == [30, 40, 50]
        assert table["score"].tolist() == [0.5, 0.0, 1.5]

    @pytest.mark.parametrize(
        ("text", "error", "told"),
        [
            ("", UnreadableFile, "can't be read"),
            ("id,age\n", TableError, "no rows"),
            ("id,age,age\na,1,2\n", TableError, "columns twice: age"),
            ("id,age\na,1,2\nb,3,4\n", UnreadableFile, "can't be read"),
            ("id,age\na,1\nb,2,3\n", UnreadableFile, "can't be read"),
        ],
    )
    def test_a_bad_file_is_told(self, tmp_path, text, error, told):
        with pytest.raises(error, match=told):
            table_of(tmp_path, text)

    def test_no_file_and_no_table(self, tmp_path):
        with pytest.raises(MissingFile, match="nowhere"):
            read_table(tmp_path / "nowhere.csv")
        (tmp_path / "cases.csv").write_bytes(b"\xff\xfe\x00\x01\x02")
        with pytest.raises(UnreadableFile):
            read_table(tmp_path / "cases.csv")
        (tmp_path / "cases.parquet").write_bytes(b"PAR1 and no more")
        with pytest.raises(UnreadableFile):
            read_table(tmp_path / "cases.parquet")

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=200))
    def test_whatever_the_bytes_only_our_errors_come(self, tmp_path, data):
        (tmp_path / "any.csv").write_bytes(data)
        try:
            table = read_table(tmp_path / "any.csv")
        except InputError:
            return
        assert len(table)


class TestOpening:
    def test_a_missing_file_is_named_with_its_row(self, tmp_path):
        table = table_of(tmp_path, "id,image,label\na,scan.png,x\n")
        with pytest.raises(MissingFile, match=r"scan\.png") as told:
            open_cases(table, tmp_path, task_of(IMAGE))
        assert "row 1" in str(told.value)

    def test_an_unknown_column_is_told_with_those_there_are(self, tmp_path):
        table = table_of(tmp_path, "id,years,label\na,1,x\n")
        with pytest.raises(TableError, match="'age'") as told:
            open_cases(table, tmp_path, task_of(AGE))
        assert told.value.allowed == "id, years, label"

    def test_no_target(self, tmp_path):
        table_of(tmp_path, "id,age\na,1\n")
        with pytest.raises(TaskError, match="no target"):
            sources.find(tmp_path / "cases.csv")
        with pytest.raises(TableError, match="'label'"):
            open_cases(read_table(tmp_path / "cases.csv"), tmp_path, task_of(AGE))
        assert len(open_cases(read_table(tmp_path / "cases.csv"), tmp_path, task_of(AGE), with_targets=False)) == 1

    def test_an_input_as_target_is_refused(self, tmp_path):
        table_of(tmp_path, "id,age,weight\na,1,2\nb,2,3\n")
        found = sources.find(tmp_path / "cases.csv", targets=["weight:image"])
        with pytest.raises(TaskError, match="'image' as the kind of the target"):
            registry.checked(found.task)

    def test_ids_that_stand_twice_or_not_at_all(self, tmp_path):
        with pytest.raises(TableError, match="2 ids stand in more than one row: a, b"):
            open_cases(table_of(tmp_path, "id,age,label\na,1,x\nb,1,x\na,1,x\nb,1,x\n"), tmp_path, task_of(AGE))
        with pytest.raises(TableError, match="row 2 has no id"):
            open_cases(table_of(tmp_path, "id,age,label\na,1,x\n,1,x\n"), tmp_path, task_of(AGE))

    def test_a_value_that_is_no_number_is_named(self, tmp_path):
        with pytest.raises(TableError, match=r"row 2 .* 'old'"):
            open_cases(table_of(tmp_path, "id,age,label\na,1,x\nb,old,y\n"), tmp_path, task_of(AGE))

    def test_ids_come_from_files_or_rows_where_no_column_names_them(self, tmp_path, pictures):
        table = pd.read_csv(pictures / "cases.csv").drop(columns="id").assign(label="x")
        assert open_cases(table, pictures, task_of(IMAGE)).ids[:2] == ["00", "01"]
        assert open_cases(table.assign(image="00.png"), pictures, task_of(IMAGE)).ids[0] == "row-00000"

    def test_values_are_read_by_row(self, tmp_path):
        cases = open_cases(table_of(tmp_path, "id,age,label\na,1,x\nb,,\n"), tmp_path, task_of(AGE))
        assert cases.values(0, ["label"]) == {"label": "x"}
        assert cases.values(1) == {"age": None, "label": None}


class TestForgiving:
    """New cases of a model: a wrong row is told, the others are read."""

    def test_wrong_rows_are_told_by_place_and_the_others_read(self, tmp_path):
        lines = [f"c{row},{row},x" for row in range(200)]
        lines[3], lines[170], lines[199] = "c3,5-10,x", "c170,inf,x", ",7,x"
        table = table_of(tmp_path, "\n".join(["id,age,label", *lines]) + "\n")
        cases = open_cases(table, tmp_path, task_of(AGE), with_targets=False, forgiving=True)
        assert {row: error.given for row, error in cases.wrong.items()} == {
            3: "row 4 holds '5-10' in the number column 'age' (rows counted without the header)",
            170: "row 171 holds 'inf' in the number column 'age' (rows counted without the header)",
            199: "row 200 has no id",
        }
        assert cases.ids[3:5] + cases.ids[199:] == ["c3", "c4", "row-00199"]
        for row in (0, 4, 169, 171, 198):
            assert cases.values(row)["age"].values.tolist() == [row]
        with pytest.raises(TableError, match="row 171"):
            cases.values(170)

    def test_a_missing_file_is_its_rows_own(self, tmp_path, pictures):
        table = pd.read_csv(pictures / "cases.csv").assign(label="x")
        table.loc[1, "image"] = "gone.png"
        cases = open_cases(table, pictures, task_of(IMAGE), with_targets=False, forgiving=True)
        assert list(cases.wrong) == [1]
        assert "row 2" in cases.wrong[1].given
        assert cases.values(0)["image"].array.size

    def test_what_is_wrong_with_the_whole_column_is_raised(self, tmp_path):
        table = pd.DataFrame({"age": pd.to_datetime(["2001-02-03"] * 40)})
        for rows in (3, 40):
            with pytest.raises(TableError, match="holds dates"):
                open_cases(table.iloc[:rows], tmp_path, task_of(AGE), with_targets=False, forgiving=True)

    def test_one_row_alone_is_told_too(self, tmp_path):
        table = table_of(tmp_path, "id,age\na,abc\n")
        cases = open_cases(table, tmp_path, task_of(AGE), with_targets=False, forgiving=True)
        assert "'abc'" in cases.wrong[0].given

    def test_lacking_columns_are_told_with_what_the_model_wants_and_the_table_holds(self, tmp_path):
        labs = Field(name="labs", kind="number", columns=["crp", "lab_*"])
        with pytest.raises(TableError) as told:
            open_cases(table_of(tmp_path, "id,age\na,1\n"), tmp_path, task_of(AGE, labs), forgiving=True)
        assert told.value.given == "the table lacks columns of the model: 'crp' (labs), 'lab_*' (labs), 'label' (label)"
        assert told.value.allowed == "the model wants age, crp, lab_*, label; the table holds id, age"


class TestRoles:
    def test_usual_names_and_mapped_ones(self, tmp_path):
        table = table_of(tmp_path, "id,person,site,age,label\na,p,s,1,x\n")
        assert find_roles(table, task_of(AGE, roles={"patient": "person"})) == {
            "id": "id", "site": "site", "patient": "person"
        }  # fmt: skip

    def test_a_column_that_a_field_names_is_no_role(self, tmp_path):
        table = table_of(tmp_path, "id,site,age,label\na,s,1,x\n")
        field = Field(name="site", kind="category", columns=["site"])
        assert "site" not in find_roles(table, task_of(AGE, field))

    @pytest.mark.parametrize("roles", [{"doctor": "age"}, {"patient": "nobody"}])
    def test_wrong_roles_are_told(self, tmp_path, roles):
        with pytest.raises(TableError, match="role"):
            find_roles(table_of(tmp_path, "id,age,label\na,1,x\n"), task_of(AGE, roles=roles))

    def test_an_unknown_patient_is_the_case_itself(self, tmp_path):
        table = table_of(tmp_path, "id,patient,age,label\na,1,1,x\nb,,1,x\nc,1,1,x\n")
        assert open_cases(table, tmp_path, task_of(AGE)).patients() == ["1", "b", "1"]


def test_patterns_take_columns_in_the_order_of_the_table():
    table = pd.DataFrame(columns=["b2", "a", "b1", "c"])
    field = Field(name="f", kind="number", columns=["c", "b*", "b1"])
    assert matching(table, field) == ["c", "b2", "b1"]


@pytest.mark.parametrize(
    ("cell", "text"), [(1.0, "1"), (1.5, "1.5"), (7, "7"), (" a ", "a"), ("", None), (None, None), (float("nan"), None)]
)
def test_cells_as_text(cell, text):
    assert text_of(cell) == text


def test_names_of_files():
    assert [case_name(path) for path in ("a/b.nii.gz", "scan", "x/.hidden")] == ["b", "scan", ".hidden"]
