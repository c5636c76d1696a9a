"""Cross-validate a shipped task: the same folds for every seed, network and simple method; one line a seed.

The folds are drawn once, by class and patient (scikit-learn's StratifiedGroupKFold), and kept in benchmarks/folds/;
with --by a fold is a value of a column, such as a hospital. Each fold is a run of `galenic train TASK --split FILE` in
a process of its own, as a user would start it, with that fold as the test part; valid and calib are carved from the
others. The answers of all folds are then judged together, so that every case counts once, with paired intervals over
patients. Stopped, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from full import append, read_rows
from galenic import sources
from galenic.core import blend, registry
from galenic.core.cases import open_cases
from galenic.core.contract import Field
from galenic.core.evaluate import paired
from galenic.core.finish import Scored, to_metrics
from galenic.core.task import Task, load_task
from peers.machine import describe

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RECORD = ROOT / "docs" / "reference" / "measured" / "folds.jsonl"
SHOWN = ("auroc", "auprc", "accuracy", "balanced_accuracy", "brier", "rmse", "mae")


def draw(task: str, count: int, path: Path) -> None:
    """Write id and fold of every case with a truth of the first target; nothing where the file is there already."""
    if path.is_file():
        return
    found = sources.find(task)
    checked = registry.checked(found.task)
    cases = open_cases(found.table, found.root, checked)
    target = checked.targets[0]
    truths = [cases.values(row, [target.name])[target.name] for row in range(len(cases))]
    rows = [row for row, truth in enumerate(truths) if truth is not None]
    groups = cases.patients()
    chance = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    known, tied = [str(truths[row]) for row in rows], [groups[row] for row in rows]
    fold_of = {rows[at]: number for number, (_, held) in enumerate(chance.split(rows, known, tied)) for at in held}
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"id": [cases.ids[row] for row in rows], "fold": [fold_of[row] for row in rows]})
    table.to_csv(path, index=False, lineterminator="\n")


def by_column(task: str, column: str, path: Path) -> None:
    """Write id and fold of every case, the fold being the value of a column."""
    if path.is_file():
        return
    found = sources.find(task)
    cases = open_cases(found.table, found.root, registry.checked(found.task))
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"id": cases.ids, "fold": cases.table[column].astype(str)})
    table.to_csv(path, index=False, lineterminator="\n")


def split_file(folds: pd.DataFrame, fold: str, path: Path) -> Path:
    """The parts that hold one fold out."""
    parts = ["test" if own == fold else "train" for own in folds["fold"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": folds["id"], "part": parts}).to_csv(path, index=False, lineterminator="\n")
    return path


def run_one(folder: Path, split: Path, given: argparse.Namespace, seed: int) -> str:
    """Train unless the folder is finished; "" or why there is no result."""
    if not (folder / "provenance.json").is_file():
        command = [sys.executable, "-m", "galenic.cli", "train", given.task, "--budget", given.budget]
        command += ["--seed", str(seed), "--split", str(split), "-o", str(folder)]
        command += ["--network", given.network] if given.network else []
        command += ["--resume"] if (folder / "task.toml").is_file() else []
        threads = {} if given.jobs == 1 else {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, check=False, capture_output=True, text=True)
        print(f"{folder.name}: {'done' if done.returncode == 0 else done.stderr[-2000:]}", flush=True)
        if done.returncode:
            return f"galenic train ended with status {done.returncode}"
    return ""


def together(folders: list[Path]) -> tuple[Task, Scored]:
    """The held-out cases of all folds, each judged by the model that has not seen it."""
    task = registry.checked(load_task(folders[0] / "task.toml"))
    lines = [
        json.loads(line)
        for folder in folders
        for line in (folder / "private" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    judged: dict[str, dict[str, list[Any]]] = {one.name: {} for one in task.targets}
    for one in task.targets:
        names = dict.fromkeys(name for line in lines for name in line["judged"][one.name])
        for name in names:  # in a fold without a blend the model is the network alone
            judged[one.name][name] = [
                line["judged"][one.name].get(name, line["judged"][one.name]["model"]) for line in lines
            ]
    return task, Scored([line["id"] for line in lines], [line["patient"] for line in lines], {}, judged, 0.0)


def row_of(folders: list[Path], given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The line of a seed: scores of all held-out cases together, and the main one fold by fold."""
    task, scored = together(folders)
    target = task.targets[0]
    found = to_metrics(task, scored, part="held out", seconds={}, warnings=[])["targets"][target.name]
    each = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]
    fitted = [json.loads((folder / "fitted.json").read_text(encoding="utf-8"))[target.name] for folder in folders]
    plan = json.loads((folders[0] / "plan.json").read_text(encoding="utf-8"))
    others = [name for name in scored.judged[target.name] if name != "model"]
    simple = [*([found["network"]] if "network" in found else []), *found["baselines"]]
    assert len(simple) == len(others)
    order = sorted(others, key=lambda name: name != blend.NETWORK)
    return {
        "task": given.task, "network": plan["network"]["name"], "budget": given.budget, "seed": seed,
        "folds": given.name, "date": datetime.now(UTC).isoformat(timespec="seconds"), "cases": len(scored.ids),
        "main": found["main"], "scores": _shown(found["scores"]), "classes": found["classes"],
        "beside": [
            {"name": own["name"], "scores": _shown(own["scores"]), "gaps": _gaps(target, scored, name)}
            for name, own in zip(order, simple, strict=True)
        ],
        "by_fold": {
            folder.name.split("-fold-")[1]: _by_fold(own["targets"][target.name])
            for folder, own in zip(folders, each, strict=True)
        },
        "blends": [own.get("blend", {}).get("weights", {}) for own in fitted],
        "seconds": round(mean(own["seconds"]["train"] for own in each), 1),
        "threads": plan["training"]["threads"], "machine": describe(),
    }  # fmt: skip


def _by_fold(own: dict[str, Any]) -> dict[str, Any]:
    beside = {one["name"]: one["scores"][own["main"]]["value"] for one in own["baselines"]}
    return {"cases": own["scores"]["answered"].get("cases"), "model": own["scores"][own["main"]], **beside}


def _shown(scores: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: scores[name][key] for key in ("value", "low", "high")} for name in SHOWN if name in scores}


def _gaps(target: Field, scored: Scored, other: str) -> dict[str, Any]:
    """By how much the model's scores differ from another's on the same cases, with paired intervals."""
    kind = registry.target(target)
    judged = scored.judged[target.name]
    there = [at for at, own in enumerate(judged["model"]) if own is not None]
    ours, theirs = ([judged[name][at] for at in there] for name in ("model", other))
    groups = [scored.groups[at] for at in there]
    names = [name for name in ("auroc", "auprc", "accuracy", "rmse") if name in kind.definitions]

    def score(name: str) -> Any:
        return lambda some: kind.scores(some, target)[""].get(name, float("nan"))

    gaps = {name: paired(score(name), ours, theirs, groups, resamples=500) for name in names}
    return {name: {key: round(value, 4) for key, value in own.items()} for name, own in gaps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--by", metavar="COLUMN", help="a fold is a value of this column")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--network")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each where more than one")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "folds")
    parser.add_argument("--record", type=Path, default=RECORD)
    given = parser.parse_args()
    given.name = given.by or str(given.folds)
    path = HERE / "folds" / f"{given.task}-{given.name}.csv"
    if given.by:
        by_column(given.task, given.by, path)
    else:
        draw(given.task, given.folds, path)
    folds = pd.read_csv(path, dtype=str, keep_default_na=False)
    names = sorted(set(folds["fold"]))
    known = {(row["task"], row["network"], row["budget"], row["seed"], row["folds"]) for row in read_rows(given.record)}
    network = given.network or registry.choose_network(registry.checked(sources.find(given.task).task), None)[0]
    for seed in given.seeds:
        if (given.task, network, given.budget, seed, given.name) in known:
            print(f"{given.task}, {network}, seed {seed}: measured already")
            continue
        stem = f"{given.task}-{network}-{given.budget}-{given.name}-seed{seed}"
        folders = [given.out / f"{stem}-fold-{name}" for name in names]
        splits = [
            split_file(folds, name, given.out / "splits" / f"{given.task}-{given.name}-{name}.csv") for name in names
        ]
        with ThreadPoolExecutor(given.jobs) as pool:
            faults = list(pool.map(lambda pair: run_one(*pair, given, seed), zip(folders, splits, strict=True)))  # noqa: B023
        if any(faults):
            raise SystemExit("; ".join(filter(None, faults)))
        row = row_of(folders, given, seed)
        append(given.record, row)
        own = {name: own["value"] for name, own in row["scores"].items()}
        print(f"{given.task}, {network}, seed {seed}: {own}")
        for one in row["beside"]:
            print(
                f"  {one['name']}: { {name: own['value'] for name, own in one['scores'].items()} } gaps {one['gaps']}"
            )


if __name__ == "__main__":
    main()
