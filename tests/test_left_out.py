"""One site left out at a time: trained once each, put side by side, taken up where it was stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import galenic
from galenic import left_out, verbs
from galenic.cli.door import app
from galenic.core.errors import InputError, LeakageError, TableError
from galenic.report import left_out as page

HOW = {"inputs": ["a:number", "b:number"], "targets": ["ill:category"], "budget": "20steps", "seed": 3}


def cases(number: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, number))
    ill = np.where(a + rng.normal(0, 0.5, number) > 0, "yes", "no")
    hospital = np.array(["north", "south", "Zürich <west>"])[np.arange(number) % 3]
    return pd.DataFrame({"id": [f"c{n:03}" for n in range(number)], "hospital": hospital, "a": a, "b": b, "ill": ill})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    cases().to_csv(folder / "cases.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def done(home: Path) -> dict:
    return galenic.leave_out(home / "cases.csv", by="hospital", out=home / "round", **HOW)


def test_each_hospital_is_the_test_part_once(done: dict, home: Path) -> None:
    assert [row["left_out"] for row in done["rows"]] == ["Zürich <west>", "north", "south"]
    site = cases().set_index("id")["hospital"]
    for row in done["rows"]:
        folder = home / "round" / row["folder"]
        split = pd.read_csv(folder / "private" / "split.csv", dtype=str).set_index("id")["part"]
        assert set(site[split[split == "test"].index]) == {row["left_out"]}
        assert row["left_out"] not in set(site[split[split != "test"].index])
        assert row["cases"] == (split == "test").sum()
        assert row["learnt_from"] == (split != "test").sum()
        own = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["targets"]["ill"]
        assert row["value"] == own["scores"]["auroc"]["value"]
        assert [one["name"] for one in row["baselines"]] == [one["name"] for one in own["baselines"]]


def test_the_summary_is_kept_and_names_the_worst(done: dict, home: Path) -> None:
    assert json.loads((home / "round" / "leave-out.json").read_text(encoding="utf-8")) == done
    least = min(done["rows"], key=lambda row: row["value"])
    assert done["worst"] == least["left_out"]
    text = (home / "round" / "leave-out.md").read_text(encoding="utf-8")
    assert "Zürich &lt;west&gt;" in text
    assert "<west>" not in text
    for words in ("hospital left out", "logistic regression", "auroc of ill, higher is better", "research use only"):
        assert words in text
    assert not any(own in text for own in cases()["id"])


def test_a_finished_model_is_not_trained_again_and_a_lost_one_is(done: dict, home: Path, tmp_path: Path) -> None:
    out = shutil.copytree(home / "round", tmp_path / "round")
    shutil.rmtree(out / "south")
    kept = {name: (out / name / "provenance.json").stat().st_mtime_ns for name in ("north",)}
    again = galenic.leave_out(home / "cases.csv", by="hospital", out=out, resume=True, **HOW)
    assert {name: (out / name / "provenance.json").stat().st_mtime_ns for name in kept} == kept
    assert again == done
    with pytest.raises(InputError, match="not empty"):
        galenic.leave_out(home / "cases.csv", by="hospital", out=out, **HOW)


def test_one_that_was_stopped_is_taken_up(done: dict, home: Path, tmp_path: Path) -> None:
    """Without its seal and scores a folder is one that was stopped after training; it ends as the other."""
    out = shutil.copytree(home / "round", tmp_path / "round")
    for name in ("provenance.json", "metrics.json"):
        (out / "north" / name).unlink()
    assert galenic.leave_out(home / "cases.csv", by="hospital", out=out, resume=True, **HOW) == done


def test_the_shell_prints_the_table(home: Path, done: dict, tmp_path: Path) -> None:
    out = shutil.copytree(home / "round", tmp_path / "round")
    words = ["train", str(home / "cases.csv"), "--input", "a:number", "--input", "b:number", "--target", "ill:category",
             "--budget", "20steps", "--seed", "3", "--leave-out", "hospital", "--resume", "-o", str(out)]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    for text in ("hospital left out", "this model", "north", "The worst hospital"):
        assert text in result.stdout


@pytest.mark.parametrize("how", [{"split": Path("x.csv")}, {"plan": Path("p")}, {"start_from": Path("m")}, {"part": 1}])
def test_what_would_say_the_parts_is_refused(how: dict, home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=next(iter(how))):
        galenic.leave_out(home / "cases.csv", by="hospital", out=tmp_path / "x", **HOW, **how)


def test_nothing_to_leave_out_is_told(home: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no column 'clinic'"):
        galenic.leave_out(home / "cases.csv", by="clinic", out=tmp_path / "x", **HOW)
    with pytest.raises(TableError, match="120 values"):
        galenic.leave_out(home / "cases.csv", by="id", out=tmp_path / "x", **HOW)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "task.toml").write_text("")
    with pytest.raises(InputError, match="model folder"):
        galenic.leave_out(home / "cases.csv", by="hospital", out=tmp_path / "model", **HOW)


def test_a_patient_of_two_hospitals_is_told(home: Path, tmp_path: Path) -> None:
    table = pd.read_csv(home / "cases.csv")
    table["patient"] = [f"p{at // 2}" for at in range(len(table))]  # neighbours are of different hospitals
    table.to_csv(tmp_path / "cases.csv", index=False)
    with pytest.raises(LeakageError, match="patients have cases under several values of"):
        galenic.leave_out(tmp_path / "cases.csv", by="hospital", out=tmp_path / "round", **HOW)
    assert not (tmp_path / "round").exists()


def test_torchrun_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="torchrun"):
        galenic.leave_out(home / "cases.csv", by="hospital", out=tmp_path / "x", **HOW)


def test_folders_stay_inside_and_apart() -> None:
    names = left_out.folders(pd.DataFrame({"site": ["..", "a/b", "a b", "A b", ".", "x", None]}), "site")
    assert len({name.lower() for name in names.values()}) == len(names) == 6
    assert not any(name.startswith(".") or "/" in name for name in names.values())
    assert None not in names


def test_another_models_folder_is_refused(done: dict, home: Path, tmp_path: Path) -> None:
    out = shutil.copytree(home / "round", tmp_path / "round")
    shutil.rmtree(out / "north")
    (out / "south").rename(out / "north")
    with pytest.raises(InputError, match="another model"):
        galenic.leave_out(home / "cases.csv", by="hospital", out=out, resume=True, **HOW)


def test_what_is_undefined_everywhere_is_said() -> None:
    row = {"left_out": "a", "folder": "a", "learnt_from": 2, "cases": 1, "value": None, "low": None, "high": None,
           "baselines": []}  # fmt: skip
    summary = {"task": "t", "by": "site", "target": "ill", "score": "rmse", "unit": "days", "higher_is_better": False,
               "definition": "d", "interval": "i", "rows": [row], "worst": None, "notes": []}  # fmt: skip
    assert page.said(summary) == "rmse [days] of ill, lower is better; undefined wherever it was measured."
    assert "undefined" in page.markdown(summary)
    assert verbs.leave_out is galenic.leave_out
