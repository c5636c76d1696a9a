"""Parts: whatever the table, nothing that belongs together stands in two of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.errors import LeakageError, MissingFile, TableError, UnreadableFile
from galenic.core.split import NOT_CALIBRATED, ONE_SUBJECT, PARTS, PATIENT_UNKNOWN, divide, folds
from galenic.core.task import Holdout, Task


def task_of(**more) -> Task:
    inputs = [Field(name="age", kind="number", columns=["age"])]
    return Task(name="t", inputs=inputs, targets=[Field(name="y", kind="category", columns=["y"])], **more)


def cases_of(columns: dict, task: Task | None = None):
    count = len(next(iter(columns.values())))
    table = pd.DataFrame({"age": range(count), "y": ["a", "b"] * (count // 2) + ["a"] * (count % 2), **columns})
    return open_cases(table, Path(), task or task_of())


def parts_of_each(groups, parts) -> dict[str, set[str]]:
    found = defaultdict(set)
    for group, part in zip(groups, parts, strict=True):
        found[group].add(part)
    return found


PATIENTS = st.lists(st.sampled_from([None, *"abcdefghijklmnop"]), min_size=1, max_size=60)


class TestByChance:
    @settings(max_examples=150, deadline=None)
    @given(patients=PATIENTS, seed=st.integers(0, 5), calib=st.booleans())
    def test_no_patient_in_two_parts(self, patients, seed, calib):
        cases = cases_of({"patient": patients})
        try:
            split = divide(cases, task_of(), seed=seed, calib=calib)
        except TableError:
            assert len(set(cases.patients())) < 4
            return
        assert all(len(own) == 1 for own in parts_of_each(cases.patients(), split.parts).values())
        assert {"train", "valid", "test"} <= set(split.parts) <= set(PARTS)
        assert sorted(row for part in PARTS for row in split.rows(part)) == list(range(len(cases)))

    @settings(max_examples=50, deadline=None)
    @given(groups=st.lists(st.integers(0, 12), min_size=30, max_size=60), seed=st.integers(0, 5))
    def test_groups_given_are_kept_together(self, groups, seed):
        named = [f"g{own}" for own in groups]
        if len(set(named)) < 4:
            return
        split = divide(cases_of({"id": range(len(groups))}), task_of(), seed=seed, calib=True, groups=named)
        assert all(len(own) == 1 for own in parts_of_each(named, split.parts).values())

    def test_the_seed_fixes_it(self):
        cases = cases_of({"id": range(100)})
        one, same, other = (divide(cases, task_of(), seed=seed, calib=True).parts for seed in (3, 3, 4))
        assert one == same != other
        assert [one.count(part) for part in PARTS] == [65, 8, 7, 20]

    def test_of_many_cases_a_tenth_is_carved_and_fewer_where_each_is_dear(self):
        cases = cases_of({"id": range(5000)})
        parts = divide(cases, task_of(), seed=0, calib=True).parts
        assert [parts.count(part) for part in PARTS] == [3240, 400, 360, 1000]
        many = divide(cases_of({"id": range(9000)}), task_of(), seed=0, calib=True).parts
        assert [many.count(part) for part in ("valid", "calib")] == [500, 500]
        mask = task_of().model_copy(update={"targets": [Field(name="mask", kind="mask", columns=["id"])]})
        assert divide(cases, mask, seed=0, calib=False).parts.count("valid") == 40

    def test_a_patient_that_is_not_known_is_said(self):
        assert divide(cases_of({"id": range(20)}), task_of(), seed=0, calib=False).warnings == [PATIENT_UNKNOWN]
        assert divide(cases_of({"patient": range(20)}), task_of(), seed=0, calib=False).warnings == []

    def test_one_subject_is_said(self):
        task = task_of(within_one_subject=True)
        split = divide(cases_of({"split": ["train"] * 8 + ["valid"] + ["test"] * 3}, task), task, seed=0, calib=False)
        assert split.warnings == [ONE_SUBJECT]

    def test_of_two_training_patients_none_is_taken_for_calibration(self):
        parts = ["train"] * 4 + ["valid", "test"]
        for patients, left in (("aabbcd", {"train", "valid", "test"}), ("abccde", set(PARTS))):
            cases = cases_of({"patient": list(patients), "split": parts})
            split = divide(cases, task_of(), seed=0, calib=True)
            assert set(split.parts) == left
            assert split.warnings == ([] if "calib" in left else [NOT_CALIBRATED])
            assert divide(cases, task_of(), seed=0, calib=False).warnings == []


class TestGiven:
    def test_a_holdout_is_the_test_part(self):
        task = task_of(holdout=Holdout(column="year", test=["2020"]))
        cases = cases_of({"year": [2019.0] * 10 + [2020.0] * 5 + [None]}, task)  # the gap makes the column float
        split = divide(cases, task, seed=0, calib=False)
        assert split.rows("test") == [10, 11, 12, 13, 14]
        assert "year 2020 held out" in split.origin

    def test_a_holdout_that_parts_a_patient_is_refused(self):
        task = task_of(holdout=Holdout(column="place", test=["b"]))
        cases = cases_of({"place": ["a"] * 6 + ["b"] * 6, "patient": [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11]}, task)
        with pytest.raises(LeakageError, match=r"1 patients stand in more than one part: 6 \(test and (train|valid)\)"):
            divide(cases, task, seed=0, calib=False)

    def test_a_holdout_without_its_column_or_cases(self):
        task = task_of(holdout=Holdout(column="place", test=["b"]))
        with pytest.raises(TableError, match="'place'"):
            divide(cases_of({"id": range(5)}), task, seed=0, calib=False)
        with pytest.raises(TableError, match="no case in test"):
            divide(cases_of({"place": ["a"] * 5}, task), task, seed=0, calib=False)

    def test_a_split_column_that_leaks_is_refused(self):
        cases = cases_of({"split": ["train"] * 5 + ["test"] * 5, "patient": [1, 2, 3, 4, 5] * 2})
        with pytest.raises(LeakageError, match="5 patients"):
            divide(cases, task_of(), seed=0, calib=False)

    def test_valid_and_calib_are_carved_from_train_alone(self):
        column = ["train"] * 40 + ["test"] * 10
        split = divide(cases_of({"split": column}), task_of(), seed=0, calib=True)
        assert split.rows("test") == list(range(40, 50))
        assert len(split.rows("valid")) == len(split.rows("calib")) == 4
        kept = ["train"] * 30 + ["valid"] * 5 + ["calib"] * 5 + ["test"] * 10
        assert divide(cases_of({"split": kept}), task_of(), seed=0, calib=True).parts == kept

    def test_rows_in_no_part_are_left_out(self):
        split = divide(cases_of({"split": ["train"] * 9 + ["test"] * 3 + [None] * 3}), task_of(), seed=0, calib=False)
        assert split.parts[12:] == [""] * 3

    def test_too_few_to_validate(self):
        with pytest.raises(TableError, match="valid is empty"):
            divide(cases_of({"split": ["train", "test"]}), task_of(), seed=0, calib=False)

    def test_one_file_in_two_parts_is_refused(self, pictures):
        task = Task(
            name="t",
            inputs=[Field(name="image", kind="image", columns=["image"])],
            targets=[Field(name="y", kind="category", columns=["y"])],
        )
        table = pd.DataFrame(
            {"id": range(12), "image": ["00.png", "./00.png"] * 6, "y": "a", "split": ["train", "test"] * 6}
        )
        with pytest.raises(LeakageError, match=r"image files stand in more than one part: 00\.png"):
            divide(open_cases(table, pictures, task), task, seed=0, calib=False)
        carved = table.assign(image=["00.png"] * 6 + [f"{row:02}.png" for row in range(6, 12)], split="train")
        carved.loc[11, "split"] = "test"
        for seed in range(4):
            try:
                parts = divide(open_cases(carved, pictures, task), task, seed=seed, calib=False).parts
            except LeakageError:
                continue
            assert len(set(parts[:6])) == 1


class TestFile:
    @pytest.fixture
    def cases(self):
        return cases_of({"id": [f"c{row}" for row in range(10)]})

    def write(self, tmp_path, text: str) -> Path:
        (tmp_path / "split.csv").write_text(text, encoding="utf-8")
        return tmp_path / "split.csv"

    def test_it_is_obeyed_and_may_name_cases_that_are_not_there(self, cases, tmp_path):
        lines = [f"c{row},{'test' if row < 3 else 'train'}" for row in range(9)] + ["other,test"]
        split = divide(cases, task_of(), seed=0, calib=False, file=self.write(tmp_path, "\n".join(["id,part", *lines])))
        assert split.rows("test") == [0, 1, 2]
        assert split.parts[9] == ""
        assert split.origin == "file split.csv"

    @pytest.mark.parametrize(
        ("text", "error", "told"),
        [
            ("id,part\nx,train\ny,test\n", TableError, "no id of the split file"),
            ("id,part\nc1,train\nc2,check\n", TableError, "names the parts 'check'"),
            ("id,part\nc1,train\nc2,test\nc1,test\n", LeakageError, "more than once: c1"),
            ("case,part\nc1,train\n", TableError, "has columns"),
            ("id,part\n", TableError, "no rows"),
            ("id,part\nc1,train\n", TableError, "no case in test"),
            ("", UnreadableFile, "can't be read"),
            ('id,part\n"c1,train\n', UnreadableFile, "can't be read"),
        ],
    )
    def test_a_wrong_one_is_told(self, cases, tmp_path, text, error, told):
        with pytest.raises(error, match=told):
            divide(cases, task_of(), seed=0, calib=False, file=self.write(tmp_path, text))

    def test_a_missing_one(self, cases, tmp_path):
        with pytest.raises(MissingFile):
            divide(cases, task_of(), seed=0, calib=False, file=tmp_path / "none.csv")


class TestFolds:
    @settings(max_examples=100, deadline=None)
    @given(
        groups=st.lists(st.integers(0, 15), min_size=8, max_size=50), count=st.integers(2, 5), seed=st.integers(0, 9)
    )
    def test_each_group_is_valid_once_and_the_rest_stays(self, groups, count, seed):
        named = [f"g{own}" for own in groups]
        part_of = {name: PARTS[at % 4] for at, name in enumerate(sorted(set(named)))}
        parts = [part_of[name] for name in named]
        pooled = {name for name, part in part_of.items() if part in ("train", "valid")}
        if len(pooled) < count:
            with pytest.raises(TableError, match="folds"):
                folds(parts, named, count, seed)
            return
        versions = folds(parts, named, count, seed)
        assert len(versions) == count
        for version in versions:
            assert all(len(own) == 1 for own in parts_of_each(named, version).values())
            assert [own for own in version if own in ("calib", "test")] == [
                own for own in parts if own in ("calib", "test")
            ]
        valid = [{name for name, part in zip(named, version, strict=True) if part == "valid"} for version in versions]
        assert set.union(*valid) == pooled
        assert sum(map(len, valid)) == len(pooled)

    @pytest.mark.parametrize("count", [-1, 1])
    def test_one_fold_is_none(self, count):
        with pytest.raises(TableError, match="folds"):
            folds(["train", "valid"], ["a", "b"], count, 0)
