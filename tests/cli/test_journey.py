"""From a table of cases to answers, by the commands alone, on the breast cancer table that scikit-learn holds."""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from galenic import catalog, demonstration, verbs
from galenic.cli import check, demo, evaluate, export, predict, report, train
from galenic.core import bundle

Run = Callable[..., Result]


@pytest.fixture
def table() -> pd.DataFrame:
    """Six cases without their truth."""
    return catalog.cases("breast-cancer-wisconsin").drop(columns="diagnosis").head(6)


def test_check_tells_fields_parts_plan_and_time(run: Run) -> None:
    result = run("check", "breast_cancer", "--budget", "30steps")
    assert result.exit_code == 0, result.stderr
    for text in ("measurements", "diagnosis", "train", "test", "batch", "in all", "warning: patient unknown"):
        assert text in result.stdout
    row = next(line for line in result.stdout.splitlines() if line.strip().startswith("test "))
    assert "unknown" in row


def test_check_of_nothing_known_says_what_is(run: Run) -> None:
    result = run("check", "no-such-task")
    assert result.exit_code == 2
    assert "hippocampus" in result.stderr
    assert "what to do: " in result.stderr


def test_train_prints_scores_beside_baselines_and_leaves_a_folder(model: tuple[Path, Result]) -> None:
    folder, result = model
    held = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert "breast_cancer, test part" in result.stdout
    assert "this model" in result.stdout
    for simple in held["targets"]["diagnosis"]["baselines"]:
        assert simple["name"].split()[0] in result.stdout
    assert f"model folder: {folder}" in result.stdout
    assert "training: " in result.stderr


def test_train_does_not_write_over_a_model(run: Run, model: tuple[Path, Result]) -> None:
    folder, _ = model
    before = (folder / "metrics.json").read_bytes()
    result = run("train", "breast_cancer", "--budget", "30steps", "-o", str(folder))
    assert result.exit_code == 2
    assert "what to do: " in result.stderr
    assert (folder / "metrics.json").read_bytes() == before


def test_evaluate_gives_metrics_as_json(run: Run, model: tuple[Path, Result]) -> None:
    folder, _ = model
    result = run("evaluate", str(folder), "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    held = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert told["targets"]["diagnosis"]["scores"] == held["targets"]["diagnosis"]["scores"]
    assert told["cases"] == held["cases"]


def test_evaluate_on_a_table_prints_tables(run: Run, model: tuple[Path, Result], tmp_path: Path) -> None:
    catalog.cases("breast-cancer-wisconsin").iloc[10:30].to_csv(tmp_path / "elsewhere.csv", index=False)
    result = run("evaluate", str(model[0]), str(tmp_path / "elsewhere.csv"))
    assert result.exit_code == 0, result.stderr
    assert "breast_cancer, elsewhere part, 4 cases" in result.stdout
    assert "the model was made with 16 of the 20 cases" in " ".join(result.stderr.split() + result.stdout.split())
    assert "this model" in result.stdout
    assert "warning: patient unknown" in result.stdout


def test_evaluate_of_an_unknown_part(run: Run, model: tuple[Path, Result]) -> None:
    result = run("evaluate", str(model[0]), "--part", "tset")
    assert result.exit_code == 2
    assert "allowed: " in result.stderr


def test_predict_answers_every_row(run: Run, model: tuple[Path, Result], table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "new.csv", index=False)
    result = run("predict", str(model[0]), str(tmp_path / "new.csv"), "-o", str(tmp_path / "out"))
    refused = [line for line in result.stderr.splitlines() if line.startswith("  case-")]
    answered = [line for line in result.stdout.splitlines() if line.startswith("case-")]
    assert len(answered) + len(refused) == 6
    assert result.exit_code == (2 if refused else 0)
    assert any((tmp_path / "out").iterdir())


def test_predict_goes_on_past_a_case_it_can_not_judge(
    run: Run, model: tuple[Path, Result], table: pd.DataFrame, tmp_path: Path
) -> None:
    table = table.set_index("id")
    table.iloc[2] = float("nan")
    table.reset_index().to_csv(tmp_path / "new.csv", index=False)
    result = run("predict", str(model[0]), str(tmp_path / "new.csv"), "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "of 6 inputs got no answer:" in result.stderr
    assert f"  {table.index[2]}: " in result.stderr
    assert f"{table.index[2]}: " not in result.stdout
    assert result.stdout.count("case-") >= 1


def test_predict_of_a_missing_table_writes_nothing(run: Run, model: tuple[Path, Result], tmp_path: Path) -> None:
    result = run("predict", str(model[0]), str(tmp_path / "none.csv"), "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "none.csv" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_model(run: Run, tmp_path: Path) -> None:
    for words in (["evaluate", str(tmp_path)], ["report", str(tmp_path)], ["export", str(tmp_path), "-o", "x.zip"]):
        result = run(*words)
        assert result.exit_code == 2, words
        assert result.stderr.startswith("error: ")
        assert "fault" not in result.stderr


def test_report_and_export(run: Run, model: tuple[Path, Result], tmp_path: Path) -> None:
    folder, _ = model
    told = run("report", str(folder))
    assert told.exit_code == 0, told.stderr
    assert Path(told.stdout.removeprefix("report: ").strip()).read_text(encoding="utf-8").startswith("<!")
    written = run("export", str(folder), "-o", str(tmp_path / "model.zip"))
    assert written.exit_code == 0, written.stderr
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        names = file.namelist()
    assert any(name.endswith("metrics.json") for name in names)
    assert not any("private" in name for name in names)


def test_an_unpacked_export_is_reported_and_handed_on(run: Run, model: tuple[Path, Result], tmp_path: Path) -> None:
    """It has no `private/`, and is sealed as before but for its card."""
    copy = tmp_path / "copy"
    run("export", str(model[0]), "-o", str(tmp_path / "model.zip"))
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        for name in file.namelist():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(file.read(name))
    told = run("report", str(copy))
    assert told.exit_code == 0, told.stderr
    assert (copy / "private" / "report.html").read_text(encoding="utf-8").startswith("<!")
    before, after = bundle.verify(model[0]), bundle.verify(copy)
    assert {name for name in before if before[name] != after[name]} <= {"digests"}
    assert {name for name in before["digests"] if before["digests"][name] != after["digests"][name]} <= {"card.md"}
    assert run("export", str(copy), "-o", str(tmp_path / "again.zip")).exit_code == 0


def test_each_command_offers_what_its_verb_takes() -> None:
    """A setting of a verb without its option, or an option that no verb knows, would go unnoticed."""
    others = {"progress", "as_json", "sealed", "brain_budget", "table_budget", "ecg_budget", "pixel_mm"}
    others |= {"leave_out"}  # a verb of its own
    for module in (check, demo, evaluate, export, predict, report, train):
        name = module.__name__.rpartition(".")[2]
        option = set(inspect.signature(getattr(module, name)).parameters)
        verb = demonstration.demo if name == "demo" else getattr(verbs, name)
        setting = set(inspect.signature(verb).parameters)
        assert option - others == setting - others, name
