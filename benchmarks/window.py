"""One trained 3-D network over one large volume: galenic's prediction beside MONAI's sliding window.

Makes what is absent in --folder: a synthetic CT set (phantom.py), a network that galenic trains on it with a patch of
64^3, and the held-out volume as MONAI gets it (normalised, in the network's axes; galenic starts from the raw
intensities and its clock includes that work). Then both take turns (window.toml), and the label volumes are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import phantom
from agree import agreement
from galenic import sources, verbs
from galenic.cli.bars import Bars
from galenic.core.decide import make_plan
from galenic.core.fit import Job, open_job
from galenic.core.model import runtime_folder
from galenic.core.plan import load_plan, parse_budget
from galenic.core.probe import pick_device
from galenic.core.runtime import read_choice
from galenic.formats import index
from galenic.images.prepare import canonical_axes, normalise, turn
from records import verdict
from turns import FEWEST_ROUNDS, ROOT, append, read_spec, run, table

FASTER = {"monai fp32": 8.0, "monai bf16": 3.0}
LEAST_DICE = 0.995


def train(task: Path, out: Path, *, budget: str, edge: int) -> None:
    """`galenic train TASK --budget`, its plan made anew for a patch of edge^3, as the comparison's window has."""
    began = time.monotonic()
    found = sources.find(task)
    job = Job(found.task, found.table, found.root, out, budget=budget, split=found.split)
    with Bars() as bars:
        work = open_job(job, bars, began, cache=False)
        space = work.settings["space"]
        space["patch"] = [edge] * 3
        space["crop"] = "none"  # the peer's windows lie in the air too, so the network must have seen it
        space["augment"]["foreground"] = 0.5
        work.network_settings, _ = work.plug.plan(work.task, work.settings, parse_budget(budget))
        device = pick_device("auto")
        plan = make_plan(work, device, bars)
        plan.training.evaluate_every = max(1, plan.training.steps // 2)  # a whole volume costs dozens of steps
        path = out.with_name(f"{out.name}.plan.json")
        plan.save(path)
        verbs.train(task, plan=path, budget=budget, out=out, progress=bars)


def volume_for_peer(scan: Path, model: Path, target: Path) -> None:
    """The scan as the network sees it, whole: [1, channels, *space] float32 in the network's axes."""
    space = load_plan(model / "plan.json").frames["space"]
    image = index.read_image(scan)
    order, flips = canonical_axes(image.geometry)
    if not np.allclose(image.geometry.spacing_mm[order], space["spacing_mm"], rtol=0.01):
        raise SystemExit(f"{scan.name}: another spacing than the network's; the peer's side does not resample")
    (own,) = space["images"].values()
    np.save(target, np.ascontiguousarray(normalise(turn(image.array, order, flips), own["normalise"]))[None])


def bars_met(record: dict[str, Any], dice: float) -> dict[str, bool]:
    """Each bar of the comparison by name, for those candidates that ran."""
    own = record["candidates"]["galenic"]["measures"]["window"]
    met = {"Dice of the outputs": dice >= LEAST_DICE}
    for name, factor in FASTER.items():
        if name in record["candidates"]:
            peer = record["candidates"][name]["measures"]["window"]
            met[f"{factor:g} x {name}"] = own["times_faster_than"][name]["value"] >= factor
            met[f"less memory than {name}"] = own["peak_rss_mib"] < peer["peak_rss_mib"]
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench-window"))
    parser.add_argument("--monai-python", default=".cache/bench-monai/bin/python")
    parser.add_argument("--budget", default="5m", help="for the network's training, if there is none yet")
    parser.add_argument("--edge", type=int, default=64, help="of the patch and of MONAI's window, in voxels")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=FEWEST_ROUNDS)
    parser.add_argument("--only", action="append", default=[], metavar="CANDIDATE")
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    if given.record and given.rounds < FEWEST_ROUNDS:
        raise SystemExit(f"a record needs at least {FEWEST_ROUNDS} rounds")
    folder = given.folder.resolve()
    data, model, volume, out = folder / "data", folder / "model", folder / "volume.npy", folder / "labels"
    task = data / "task.toml"
    if not task.is_file():
        phantom.write(data, given.cases)
    if not (model / "provenance.json").is_file():
        train(task, model, budget=given.budget, edge=given.edge)
    if given.train_only:
        return
    scan = max((data / "images").glob("*.nii"))
    volume_for_peer(scan, model, volume)
    settings = {"monai_python": given.monai_python, "roi": str(given.edge)}
    settings |= {"scan": str(scan), "model": str(model), "volume": str(volume), "out": str(out)}
    comparison = read_spec(ROOT / "benchmarks" / "window.toml", settings=settings, only=given.only, rounds=given.rounds)
    console = Console(width=None if sys.stdout.isatty() else 140)
    record = run(comparison, say=console)
    console.print(table(record))
    report(record, model, out, wanted=given.record)


def report(record: dict[str, Any], model: Path, out: Path, *, wanted: bool) -> None:
    """Agreement, where our time went, and the bars; append the record if wanted."""
    own = record["candidates"]["galenic"]["measures"]["window"]
    record["agreement"] = {
        peer.stem: agreement(np.load(out / "galenic.npy"), np.load(peer)) for peer in sorted(out.glob("monai-*.npy"))
    }
    choice = read_choice(runtime_folder(model, 0, 1))
    record["picked"] = choice.chosen.title if choice else None
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    record["test"] = metrics["targets"]["mask"]["scores"]["dice"]
    print(f"galenic ran on {record['picked']}; slowest of each: " + ", ".join(
        f"{step} {own[step]:.2f} s" for step in ("prepare", "network", "blend", "answer")
    ) + f"; {own['tiles']:.0f} tiles")  # fmt: skip
    for name, figures in record["agreement"].items():
        print(f"Dice of the outputs with {name}: {json.dumps(figures)}")
    lowest = min((value for own in record["agreement"].values() for value in own["dice"].values()), default=np.nan)
    record["met"] = bars_met(record, lowest)
    for name, met in record["met"].items():
        print(f"{name}: {verdict(met)}")
    if wanted:
        append(record)


if __name__ == "__main__":
    main()
