"""One value of a column left out at a time: the folders of such a round, its tasks, and its scores side by side."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.core import bundle, registry
from galenic.core.cases import text_of
from galenic.core.errors import InputError, LeakageError, TableError
from galenic.core.task import Holdout, Task, load_task

SUMMARY = "leave-out.json"
_SETTLED = ("split", "plan", "start_from")  # what would say the parts, or has seen the cases that are left out
_ALLOWED = ("network", "budget", "folds", "seed", "device", "exact", "alone", "inputs", "targets")


def check(out: Path, how: Mapping[str, Any], *, resume: bool) -> None:
    """InputError for an option that a round can't have, or a folder that holds something else."""
    given = [name for name in _SETTLED if how.get(name) is not None]
    unknown = sorted(how.keys() - {*_SETTLED, *_ALLOWED})
    if given or unknown:
        raise InputError(
            f"{', '.join([*given, *unknown])} where one value is left out at a time", allowed=", ".join(_ALLOWED)
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("leaving out under torchrun", todo="run it as one process")
    if (out / "task.toml").is_file():
        raise InputError(f"{out} is a model folder", todo="name another folder with -o")
    if out.is_dir() and any(out.iterdir()) and not resume:
        raise InputError(f"{out} is not empty", todo="add --resume, or name another folder with -o")


def folders(table: pd.DataFrame, column: str) -> dict[str, str]:
    """Value of the column -> name of its folder, sorted; TableError for no such column or fewer than two values."""
    if column not in table.columns:
        raise TableError(
            f"the table has no column {column!r} to leave out by",
            allowed=", ".join(str(name) for name in table.columns[:20]),
        )
    values = sorted({value for value in map(text_of, table[column]) if value is not None})
    if not 2 <= len(values) <= 100:
        raise TableError(f"the column {column!r} has {len(values)} values", allowed="2 to 100, each left out once")
    found: dict[str, str] = {}
    for value in values:
        name = re.sub(r"[^\w.=-]", "-", value).strip(".") or "value"
        taken = {one.lower() for one in found.values()}  # some disks can't tell A from a
        found[value] = name if name.lower() not in taken else f"{name}-{len(found) + 1}"
    return found


def check_patients(table: pd.DataFrame, patient: str | None, column: str) -> None:
    """LeakageError where a patient has cases under several values of the column."""
    if patient is None or patient == column:
        return
    known = table[[patient, column]].dropna().drop_duplicates()
    twice = sorted({str(own) for own in known[patient][known[patient].duplicated()]})
    if twice:
        raise LeakageError(
            f"{len(twice)} patients have cases under several values of {column}: {', '.join(twice[:5])}",
            allowed="each patient under one value, or the model would learn from those it is tested on",
            todo=f"leave those patients out, or leave out by another column than {column}",
        )


def task_of(task: Task, column: str, value: str) -> Task:
    """The task with the cases of that value as the test part."""
    title = f"{task.title or task.name}: {column} {value} left out"
    return task.model_copy(
        update={"holdout": Holdout(column=column, test=[value]), "split": None, "title": title}
    )  # fmt: skip


def is_finished(folder: Path, column: str, value: str) -> bool:
    """Whether the folder holds its finished model; InputError where it holds another's."""
    if not (folder / "task.toml").is_file():
        return False
    holdout = load_task(folder / "task.toml").holdout
    if holdout is None or (holdout.column, holdout.test) != (column, [value]):
        raise InputError(f"{folder} holds another model than that of {column} {value} left out", todo="remove it")
    return (folder / "provenance.json").is_file()


def summary(out: Path, names: Mapping[str, str], *, by: str) -> dict[str, Any]:
    """leave-out.json: a row a value with the main score on it, beside the simple methods on the same cases."""
    rows, metrics, task = [], {}, None
    for value, name in names.items():
        bundle.verify(out / name)
        task = registry.checked(load_task(out / name / "task.toml"))
        metrics = _json(out / name / "metrics.json")
        own = metrics["targets"][metrics["main"]["target"]]
        score = metrics["main"]["score"]
        counts = _json(out / name / "provenance.json")["counts"]
        rows.append(
            {
                "left_out": value, "folder": name, "learnt_from": sum(counts.values()) - counts["test"],
                "cases": metrics["cases"], **_figures(own["scores"][score]),
                "baselines": [{"name": one["name"], **_figures(one["scores"][score])} for one in own["baselines"]],
            }
        )  # fmt: skip
    assert task is not None
    target, score = metrics["main"]["target"], metrics["main"]["score"]
    defined = metrics["targets"][target]["scores"][score]
    return {
        "task": task.name, "by": by, "target": target, "score": score, "unit": defined["unit"],
        "definition": defined["definition"], "higher_is_better": defined["higher_is_better"],
        "interval": metrics["interval"], "rows": rows, "worst": _worst(rows, higher=defined["higher_is_better"]),
        "notes": list(task.notes),
    }  # fmt: skip


def _figures(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("value", "low", "high")}


def _worst(rows: list[dict[str, Any]], *, higher: bool) -> str | None:
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return None
    return str(min(known, key=lambda row: row["value"] if higher else -row["value"])["left_out"])


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
