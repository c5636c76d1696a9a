"""The shipped tasks fit the catalogue."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import galenic.catalog
from galenic.catalog import cases, load, names, split_path
from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.split import divide
from galenic.core.task import load_task

TASKS = sorted((Path(galenic.catalog.__file__).parents[1] / "tasks").glob("*.toml"))


def test_there_is_a_task_for_each_bar():
    assert {path.stem for path in TASKS} >= {
        "arrhythmia", "atrial_fibrillation", "breast_cancer", "breast_ultrasound", "breastmnist", "cxr_lungs",
        "cxr_lungs_to_montgomery", "cxr_lungs_to_shenzhen", "ecg200", "em_membranes", "glioma", "hippocampus",
        "icu_mortality", "lidc_malignancy", "lidc_nodules", "nuclei_mask", "retina_vessels", "retinamnist", "symptoms",
        "two_lead_ecg",
    }  # fmt: skip


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_each_task_is_on_a_catalogued_set_and_warns(path):
    task = load_task(path)
    assert task.name == path.stem
    assert task.data in names()
    assert task.title
    assert task.notes
    assert all(note.endswith(".") for note in task.notes)
    if task.split:
        split_path(task.split)


@pytest.mark.shared
@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_each_task_finds_its_columns(path, shared_data, monkeypatch):
    monkeypatch.setenv("GALENIC_DATA", str(shared_data))
    task = load_task(path)
    assert task.data is not None
    frame = cases(task.data, table=task.table)
    taken: list[str] = []
    for field in task.fields:
        for pattern in field.columns:
            found = [column for column in frame.columns if fnmatchcase(column, pattern)]
            assert found, f"{field.name}: {pattern}"
            taken += found
    assert len(taken) == len(set(taken))
    if task.split:
        keys = pd.read_csv(split_path(task.split), dtype=str)
        assert set(keys["id"]) == set(frame["id"])
    if task.holdout:
        values = set(frame[task.holdout.column])
        assert set(task.holdout.test) < values


def test_only_one_specimen_is_declared_within_one_subject():
    assert [path.stem for path in TASKS if load_task(path).within_one_subject] == ["em_membranes"]


def test_the_hippocampus_task_warns_of_the_two_hippocampi():
    task = load_task(next(path for path in TASKS if path.stem == "hippocampus"))
    assert "two separate files" in task.notes[0]
    assert "comparison" in task.notes[0]


def test_the_breast_cancer_task_takes_thirty_numbers_and_names_the_classes():
    task = load_task(next(path for path in TASKS if path.stem == "breast_cancer"))
    frame = cases("breast-cancer-wisconsin")
    found = [column for column in frame.columns for pattern in task.inputs[0].columns if fnmatchcase(column, pattern)]
    assert len(found) == 30
    options = task.targets[0].options
    assert set(options["labels"]) == set(frame["diagnosis"])
    assert options["positive"] in options["labels"]


def test_a_mask_of_another_numbering_is_named_in_the_task():
    assert load("cxr-lungs").traps[0].startswith("Masks")
    for path in TASKS:
        for field in load_task(path).targets:
            if field.kind == "mask":
                assert field.options["classes"]
                assert field.options.get("nonzero") or path.stem == "hippocampus"


@pytest.mark.shared
@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_each_task_divides_and_reads_its_cases(path, shared_data, monkeypatch):
    monkeypatch.setenv("GALENIC_DATA", str(shared_data))
    task = registry.checked(load_task(path))
    assert task.data is not None
    frame = cases(task.data, table=task.table)
    opened = open_cases(frame, shared_data, task)
    split = divide(opened, task, seed=0, calib=False, file=split_path(task.split) if task.split else None)
    assert {"train", "valid", "test"} <= set(split.parts)
    if task.holdout:
        held = frame[task.holdout.column].isin(task.holdout.test)
        assert [part == "test" for part in split.parts] == list(held)
    elif "split" in frame:
        assert [part == "test" for part in split.parts] == list(frame["split"] == "test")
    values = opened.values(split.rows("test")[0])
    assert all(values[field.name] is not None for field in task.fields)
    for field in task.targets:
        if field.kind == "mask":
            assert values[field.name].shape == values[task.inputs[0].name].shape
            assert set(np.unique(values[field.name].array)) == {0, *range(1, len(field.options["classes"]) + 1)}
