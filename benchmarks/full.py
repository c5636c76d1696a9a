"""Train every shipped task with several seeds and keep one line a run; stopped, it goes on where it was.

Each run is `galenic train TASK --budget B --seed S -o OUT/TASK-B-seedS` in a process of its own, as a user would start
it. What its metrics.json and plan.json say becomes a line of docs/reference/measured/results.jsonl; a run that has its
line is not run again. `benchmarks/results.py` turns the lines into docs/reference/results.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from galenic.sources import shipped
from peers.machine import describe

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "reference" / "measured" / "results.jsonl"
BETWEEN = ("precision", "layout", "batch", "seconds_per_step", "threads")
CALLS = ("sensitivity", "ppv", "coverage")  # told of each class besides


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines measured so far; none where the file is absent."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def key(row: dict[str, Any]) -> tuple[str, int, str]:
    """What makes a run the same run."""
    return row["task"], row["seed"], row["budget"]


def row_of(folder: Path, *, task: str, seed: int, budget: str) -> dict[str, Any]:
    """The line of a finished model folder."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    name, target = metrics["main"]["score"], metrics["targets"][metrics["main"]["target"]]
    space = plan["frames"].get("space", {})
    return {
        "task": task, "seed": seed, "budget": budget, "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "galenic": provenance.get("galenic", ""), "part": metrics["part"], "cases": metrics["cases"], "score": name,
        **_figures(target["scores"][name]),
        "others": {other: _figures(own) for other, own in target["scores"].items() if other != name},
        "classes": {title: _figures(own[name]) for title, own in target["classes"].items() if name in own},
        "calls": {
            title: {one: _figures(own[one]) for one in CALLS if one in own} for title, own in target["classes"].items()
        },
        "baselines": [
            {"name": own["name"], **_figures(own["scores"][name]), "gap": own.get("gap")}
            for own in target["baselines"]
            if name in own["scores"]
        ],
        "warnings": metrics["warnings"], "seconds": metrics["seconds"],
        "plan": {
            "network": plan["network"]["name"], "dims": space.get("dims"),
            "patch": space.get("patch") or space.get("fit"),
            "steps": plan["training"]["schedule"][-1][1], **{name: plan["training"][name] for name in BETWEEN},
        },
        "machine": describe(),
    }  # fmt: skip


def _figures(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score.get(name) for name in ("value", "low", "high")}


def run_one(folder: Path, *, task: str, seed: int, budget: str) -> str:
    """Train unless the folder is finished; "" or why there is no result. budget: "5m", or "5m, 5 folds"."""
    if not (folder / "provenance.json").is_file():
        time, _, folds = budget.removesuffix(" folds").partition(", ")
        command = [sys.executable, "-m", "galenic.cli", "train", task, "--budget", time, "--seed", str(seed)]
        command += ["--folds", folds] if folds else []
        resume = ["--resume"] if (folder / "task.toml").is_file() else []
        done = subprocess.run([*command, "-o", str(folder), *resume], cwd=ROOT, check=False)
        if done.returncode:
            return f"galenic train ended with status {done.returncode}"
    return "" if (folder / "metrics.json").is_file() else f"{folder} has no metrics.json"


def run_all(
    tasks: list[str], seeds: list[int], budget: str, *, out: Path, record: Path
) -> tuple[int, dict[tuple[str, int], str]]:
    """Seed by seed over all tasks, so that a stopped benchmark has each task once; (runs done, failures)."""
    known = {key(row) for row in read_rows(record)}
    done, failed = 0, {}
    for seed in seeds:
        for task in tasks:
            if (task, seed, budget) in known:
                print(f"{task}, seed {seed}, {budget}: measured already")
                continue
            folder = out / f"{task}-{budget.replace(', ', '-').replace(' ', '')}-seed{seed}"
            print(f"{task}, seed {seed}, {budget}: into {folder}", flush=True)
            fault = run_one(folder, task=task, seed=seed, budget=budget)
            if fault:
                failed[task, seed] = fault
                continue
            append(record, row_of(folder, task=task, seed=seed, budget=budget))
            done += 1
    return done, failed


def append(record: Path, row: dict[str, Any]) -> None:
    """One more line."""
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=shipped(), metavar="TASK")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--folds", type=int, default=0, help="an ensemble of so many networks, within the budget")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "full", help="folder of the model folders")
    parser.add_argument("--record", type=Path, default=RECORD, help="the file of JSON lines")
    given = parser.parse_args()
    unknown = sorted(set(given.tasks) - set(shipped()))
    if unknown:
        raise SystemExit(f"no shipped task: {', '.join(unknown)}; there are {', '.join(shipped())}")
    try:
        budget = f"{given.budget}, {given.folds} folds" if given.folds else given.budget
        done, failed = run_all(given.tasks, given.seeds, budget, out=given.out, record=given.record)
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on from here") from None
    print(f"{done} runs measured, {len(failed)} failed")
    for (task, seed), fault in failed.items():
        print(f"  {task}, seed {seed}: {fault}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
