"""The share of loading and augmentation in a training step of the hippocampus task; bar: below 10 %.

Each step is the real one (galenic.core.train.Trainer.one_step) in the precision and layout that the probe picks; the
feed within it is timed apart: drawing, cropping, bending, intensities, stacking. Cases are prepared before, as in
training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from galenic import sources
from galenic.core.contract import Batch
from galenic.core.decide import make_plan
from galenic.core.fit import Job, Work, open_job
from galenic.core.progress import Silent
from galenic.core.train import Feed, Trainer
from records import keep, verdict

BAR = 0.10


@dataclass
class Timed:
    """A feed that keeps the seconds of each call."""

    feed: Feed
    seconds: list[float] = field(default_factory=list)

    def __call__(self, step: int) -> Batch:
        began = time.perf_counter()
        batch = self.feed(step)
        self.seconds.append(time.perf_counter() - began)
        return batch


def open_task(name: str, cases: int, budget: str) -> tuple[Work, list[int]]:
    """The task opened as `galenic train NAME --budget` opens it, and the first rows of its training part, prepared."""
    found = sources.find(name)
    job = Job(found.task, found.table, found.root, Path(), budget=budget, split=found.split)
    work = open_job(job, Silent(), cache=False)
    rows = work.split.rows("train")[:cases]
    work.ready.load(rows, Silent(), "preparing")
    return work, rows


def measure(work: Work, rows: list[int], *, steps: int, warm: int, folder: Path) -> dict[str, Any]:
    """Median seconds of the feed and of whole steps, and the feed's share of all the time."""
    plan = make_plan(work, torch.device("cpu"), Silent(), rows)
    feed = Timed(Feed(work.ready, rows, plan.seed, plan.training.batch))
    trainer = Trainer(
        work.build(), plan.training, feed, seed=plan.seed, folder=folder, device=torch.device("cpu"),
        score=lambda _: 0.0,
    )  # fmt: skip
    whole: list[float] = []
    for _ in range(warm + steps):
        began = time.perf_counter()
        trainer.one_step()
        whole.append(time.perf_counter() - began)
    feeds, whole = feed.seconds[warm:], whole[warm:]
    return {
        "steps": steps, "batch": plan.training.batch, "patch": plan.frames["space"]["patch"],
        "precision": plan.training.precision, "layout": plan.training.layout,
        "feed_seconds": round(median(feeds), 5), "step_seconds": round(median(whole), 5),
        "feed_worst": round(max(feeds), 5), "share": round(sum(feeds) / sum(whole), 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="hippocampus")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--cases", type=int, default=60, help="training cases that are prepared and gone through")
    parser.add_argument("--budget", default="5m", help="what the plan is made for")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    work, rows = open_task(given.task, given.cases, given.budget)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(work, rows, steps=given.steps, warm=given.warm, folder=Path(folder))
    print(
        f"{given.task}, {found['steps']} steps of {found['batch']} patches {found['patch']}, {found['precision']} "
        f"{found['layout']}: feed {1000 * found['feed_seconds']:.1f} ms of {1000 * found['step_seconds']:.0f} ms, "
        f"worst {1000 * found['feed_worst']:.1f} ms; share {found['share']:.1%}, bar {BAR:.0%}: "
        f"{verdict(found['share'] < BAR)}"
    )
    keep("loading", {"task": given.task, **found, "bar": BAR, "met": found["share"] < BAR}, wanted=given.record)


if __name__ == "__main__":
    main()
