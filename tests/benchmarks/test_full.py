"""The full benchmark's book-keeping, on model folders made by hand; and the page that is written from its lines."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from galenic import sources

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("full")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("results")


def _score(value: float | None) -> dict[str, Any]:
    near = None if value is None else value - 0.01
    return {"value": value, "low": near, "high": None if value is None else value + 0.01}


def _finished(folder: Path, value: float) -> None:
    folder.mkdir(parents=True)
    metrics = {
        "task": "hippocampus", "part": "test", "cases": 52, "main": {"target": "label", "score": "dice"},
        "seconds": {"train": 300.0, "evaluate": 9.0}, "warnings": ["patient unknown"],
        "targets": {"label": {
            "scores": {"dice": _score(value), "hd95": _score(None)},
            "classes": {"anterior": {"dice": _score(value)}, "posterior": {"dice": _score(None)}},
            "subgroups": {}, "baselines": [{"name": "mean mask", "scores": {"dice": _score(0.6)}}],
        }},
    }  # fmt: skip
    training = {
        "schedule": [[0, 900], [400, 1000]], "precision": "bf16", "layout": "default", "batch": 2,
        "seconds_per_step": 0.3, "threads": 2,
    }  # fmt: skip
    space = {"dims": 3, "patch": [40, 56, 40]}
    plan = {"network": {"name": "unet"}, "frames": {"space": space}, "training": training}
    for name, content in (("metrics", metrics), ("plan", plan), ("provenance", {"galenic": "0.1.0"})):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_finished_folder_becomes_one_line_and_is_not_measured_twice(full: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "results.jsonl"
    _finished(tmp_path / "hippocampus-5m-seed0", 0.87)
    done = full.run_all(["hippocampus"], [0], "5m", out=tmp_path, record=record)
    again = full.run_all(["hippocampus"], [0], "5m", out=tmp_path, record=record)
    assert (done, again) == ((1, {}), (0, {}))
    (row,) = full.read_rows(record)
    assert (row["value"], row["low"], row["high"]) == (0.87, 0.86, 0.88)
    assert row["plan"]["steps"] == 1000
    assert row["classes"]["posterior"] == {"value": None, "low": None, "high": None}


def test_a_run_that_fails_leaves_no_line_and_is_told(
    full: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real command, on a machine that has no data."""
    monkeypatch.setenv("GALENIC_DATA", str(tmp_path / "empty"))
    record = tmp_path / "results.jsonl"
    done, failed = full.run_all(["hippocampus"], [0], "5m", out=tmp_path, record=record)
    assert done == 0
    assert failed == {("hippocampus", 0): "galenic train ended with status 2"}
    assert not record.exists()


def test_the_page_takes_any_lines(results: ModuleType, full: ModuleType, tmp_path: Path) -> None:
    published = results.read_published()
    empty = results.page([], published)
    assert "No run is recorded yet" in empty
    rows = []
    for seed, value in enumerate((0.87, 0.88, 0.86)):
        _finished(tmp_path / str(seed), value)
        rows.append(full.row_of(tmp_path / str(seed), task="hippocampus", seed=seed, budget="5m"))
    page = results.page(rows, published)
    line = next(line for line in page.splitlines() if line.startswith("| `hippocampus`"))
    assert "dice 0.870 (0.860-0.880)" in line
    assert "0.860 to 0.880" in line
    assert "mean mask 0.600" in line
    assert "- patient unknown" in page
    assert "hd95 –" in page
    assert results.line_of("hippocampus", "5m", rows[:1])[3] == "1"


def test_calls_of_a_class_are_told_with_their_intervals(results: ModuleType, full: ModuleType, tmp_path: Path) -> None:
    _finished(tmp_path / "0", 0.87)
    path = tmp_path / "0" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["targets"]["label"]["classes"]["anterior"] |= {"sensitivity": _score(0.7), "ppv": _score(None)}
    path.write_text(json.dumps(metrics), encoding="utf-8")
    row = full.row_of(tmp_path / "0", task="hippocampus", seed=0, budget="5m")
    assert "| anterior | 0.700 (0.690 to 0.710) | – | – |" in results.page([row], [])
    assert results.calls_of({}) == []


def test_a_seed_measured_again_counts_once(results: ModuleType) -> None:
    rows = [
        {"task": "t", "budget": "5m", "seed": seed, "value": value} for seed, value in ((1, 0.1), (0, 0.2), (1, 0.3))
    ]
    assert [row["value"] for row in results.grouped(rows)["t", "5m"]] == [0.2, 0.3]


def test_an_undefined_score_is_a_dash(results: ModuleType) -> None:
    row = {"task": "t", "budget": "5m", "seed": 0, "cases": 3, "score": "dice", "baselines": [], **_score(None)}
    assert results.line_of("t", "5m", [row])[4:] == ["dice –", "–", "–"]


def test_published_figures_say_where_from_and_how_far_they_compare(results: ModuleType) -> None:
    for one in results.read_published():
        assert one["task"] in sources.shipped()
        assert {"task", "who", "score", "value", "source", "comparable"} == set(one)
        assert 0 < one["value"] <= 1
        assert len(one["source"]) > 10


def test_the_page_in_the_tree_is_what_the_lines_give(results: ModuleType) -> None:
    """A new line without a new page would leave the figures behind."""
    rows = results.read_lines(results.RECORD)
    folds = results.read_lines(results.FOLDS)
    assert results.PAGE.read_text(encoding="utf-8") == results.page(rows, results.read_published(), folds)


def _held_out_row(seed: int, auroc: float) -> dict[str, Any]:
    scores = {"auroc": _score(auroc), "accuracy": _score(0.8)}
    beside = {"name": "logistic regression", "scores": scores}
    gap = {"difference": 0.0123, "low": -0.001, "high": 0.02}
    return {
        "task": "heart_disease", "folds": "site", "network": "mlp", "budget": "20s", "seed": seed, "cases": 9,
        "main": "auroc", "scores": scores, "classes": {"yes": {"coverage": _score(0.9), "sensitivity": _score(0.7)}},
        "beside": [beside | {"gaps": {"auroc": gap}}], "seconds": 21.0, "threads": 1,
        "by_fold": {"north": {"cases": 9, "model": _score(auroc), "logistic regression": 0.81}},
    }  # fmt: skip


def test_the_page_has_what_was_cross_validated(results: ModuleType) -> None:
    rows = [_held_out_row(0, 0.85), _held_out_row(1, 0.87), _held_out_row(1, 0.86)]
    page = results.page([], [], rows)
    assert "### heart_disease, mlp, 20s a fold, by site" in page
    assert "| the model | 0.855 (0.850-0.860) | 0.800 (0.800-0.800) |" in page
    assert "+0.012, -0.001 to +0.020" in page
    assert "| yes | 0.700 | – | 0.900 |" in page
    assert "| north | 0.850 | 0.810 |" in page


def test_folds_are_drawn_once_by_class_and_patient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    folds = importlib.import_module("folds")
    path = tmp_path / "folds.csv"
    folds.draw("breast_cancer", 5, path)
    first = path.read_bytes()
    folds.draw("breast_cancer", 4, path)
    assert path.read_bytes() == first
    found = pd.read_csv(path, dtype=str)
    assert sorted(found["fold"].value_counts()) == [113, 114, 114, 114, 114]
    split = pd.read_csv(folds.split_file(found, "2", tmp_path / "split.csv"))
    assert (split["part"] == "test").sum() == (found["fold"] == "2").sum()
    assert set(split["part"]) == {"train", "test"}
