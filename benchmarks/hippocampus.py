"""Hippocampus, 208 cases to train and 52 to test: galenic and MONAI's DynUNet in turn, the same seconds of training.

    python benchmarks/hippocampus.py --seeds 0 1 2 --peer-python PYTHON_WITH_MONAI --out FOLDER [--record]

One seed of ours, then the same seed of the peer, so that both meet the same machine. Prints the mean of the two Dice
per seed, mean and spread; with --record appends a line to docs/reference/measured/hippocampus.jsonl. A run that is
already in FOLDER is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from peers import machine

HERE = Path(__file__).parent
RECORD = HERE.parent / "docs/reference/measured/hippocampus.jsonl"
SPLIT = HERE.parent / "src/galenic/catalog/splits/hippocampus.csv"


def ours(seed: int, seconds: int, out: Path) -> dict[str, Any]:
    """Train by the command a user gives, and read what it left behind."""
    folder = out / f"galenic-{seconds}s-{seed}"
    if not (folder / "provenance.json").is_file():
        command = ["train", "hippocampus", "--budget", f"{seconds}s", "--seed", str(seed), "-o", str(folder)]
        if (folder / "checkpoint.safetensors").is_file():
            command.append("--resume")
        subprocess.run([sys.executable, "-m", "galenic.cli", *command], check=True)
    metrics = json.loads((folder / "metrics.json").read_text())
    plan = json.loads((folder / "plan.json").read_text())
    label = metrics["targets"]["label"]
    return {
        "who": "galenic", "seed": seed, "dice": label["scores"]["dice"]["value"],
        "low": label["scores"]["dice"]["low"], "high": label["scores"]["dice"]["high"],
        "classes": {name: own["dice"]["value"] for name, own in label["classes"].items()},
        "steps": plan["training"]["schedule"][-1][1], "seconds": metrics["seconds"]["train"],
    }  # fmt: skip


def peer(seed: int, seconds: int, out: Path, python: str) -> dict[str, Any]:
    """MONAI's DynUNet, trained for the same wall time."""
    file = out / f"monai-{seconds}s-{seed}.jsonl"
    if not file.is_file():
        data = Path(os.environ["GALENIC_DATA"]) / "msd-hippocampus"
        subprocess.run(
            [python, str(HERE / "peers/monai_hippocampus.py"), "--data", str(data), "--split", str(SPLIT),
             "--seconds", str(seconds), "--seed", str(seed), "--out", str(file)],
            check=True,
        )  # fmt: skip
    kept = json.loads(file.read_text().splitlines()[-1])
    return {
        "who": "monai", "seed": seed, "dice": kept["dice"]["mean"], "steps": kept["steps"],
        "classes": {name: kept["dice"][name] for name in ("anterior", "posterior")},
        "seconds": kept["seconds"]["train"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--peer-python", help="a Python with MONAI; without it the peer is left out")
    parser.add_argument("--peer-seeds", type=int, nargs="*", help="seeds of the peer, by default the same")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    peers = args.seeds if args.peer_seeds is None else args.peer_seeds
    for seed in args.seeds:
        found.append(ours(seed, args.seconds, args.out))
        print(found[-1], flush=True)
        if args.peer_python and seed in peers:
            found.append(peer(seed, args.seconds, args.out, args.peer_python))
            print(found[-1], flush=True)
    summary = {}
    for who in ("galenic", "monai"):
        dice = [float(own["dice"]) for own in found if own["who"] == who]
        if dice:
            spread = statistics.stdev(dice) if len(dice) > 1 else None
            summary[who] = {"mean": statistics.mean(dice), "sd": spread, "seeds": len(dice)}
            print(f"{who}: mean Dice {summary[who]['mean']:.4f}, sd {spread}, {len(dice)} seeds")
    if args.record:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        with RECORD.open("a", encoding="utf-8") as file:
            line = {"seconds": args.seconds, "machine": machine.describe(), "summary": summary, "runs": found}
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
