"""From a budget to steps: a short probe of the planned network here, and the training plan with its reasons."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from galenic.core import registry, simple
from galenic.core.contract import Budget
from galenic.core.errors import BudgetError
from galenic.core.plan import Network as NetworkPlan
from galenic.core.plan import Plan, Training, parse_budget
from galenic.core.probe import probe
from galenic.core.progress import Progress
from galenic.core.task import Task
from galenic.core.train import Feed

if TYPE_CHECKING:
    from galenic.core.fit import Work

EVALUATIONS = 12  # over a training
FEW_STEPS, FEW_EPOCHS = 200, 2.0

_REASONS = {
    "training.layout": "the faster one here, tried with each precision",
    "training.warmup": "a twentieth of the steps, 100 at most: AdamW's averages settle before the rate is high",
    "training.ema": "scores and weights are those of a moving average over the last twenty-fifth of the steps",
    "training.clip": "cuts a step that runs away and no other, as nnU-Net's 12 does",
    "training.seconds_per_step": "the median of the probe's steps, loading included",
    "training.threads": "torch's own number here; another one may round otherwise",
}


def make_plan(work: Work, device: torch.device, progress: Progress, probed: Sequence[int] | None = None) -> Plan:
    """Probe a few training steps on this device and turn the budget into a plan."""
    job, settings = work.job, work.network_settings
    budget = parse_budget(job.budget)
    rows = work.split.rows("train")
    feed = Feed(work.ready, work.taught(probed or rows), work.seed, settings["batch"])
    progress.stage("probing this device")
    most = 60.0 if budget.seconds is None else 0.04 * budget.seconds
    found = probe(work.build, feed, device, exact=job.exact, most=most)
    steps = _steps(
        budget, found.seconds_per_step, len(rows), settings["batch"], time.monotonic() - work.began, job.folds
    )
    scored = min(quick_cases(work.task), len(work.split.rows("valid")))  # a score costs about half a step's time a case
    reasons = work.reasons | _REASONS | {
        "training.precision": f"the faster one; seconds a step here: {found.tried}",
        "training.schedule": f"{budget.text} at {found.seconds_per_step:.3f} s a step, the set-up subtracted; the rate "
        "rises, then falls to zero along half a cosine",
        "training.evaluate_every": f"{EVALUATIONS} scores or fewer, so that scoring {scored} cases costs little",
    }  # fmt: skip
    if job.folds:
        reasons["folds"] = (
            "asked for: each case of train and valid is answered by a network that has not learnt from it"
        )
    blend = [] if job.alone else simple.mixing(work.task)
    if blend:
        reasons["blend"] = (
            "simple methods that are weighed together with the network, where cases that none of them has learnt from "
            "say that it helps"
        )
    epochs = steps * settings["batch"] / len(rows)
    if steps < FEW_STEPS or epochs < FEW_EPOCHS:
        reasons["warning: budget"] = (
            f"the budget {job.budget} gives {steps} steps ({epochs:.1f} epochs): too small to learn well"
        )
    training = Training(
        batch=settings["batch"], learning_rate=settings["learning_rate"], weight_decay=settings["weight_decay"],
        optimizer=settings["optimizer"], precision=found.precision, layout=found.layout, schedule=[(0, steps)],
        evaluate_every=max(math.ceil(steps / EVALUATIONS), min(math.ceil(5 * scored / settings["batch"]), 100)),
        warmup=max(1, min(100, steps // 20)),
        ema=min(0.999, max(0.9, 1 - 25 / steps)), seconds_per_step=round(found.seconds_per_step, 5),
        threads=torch.get_num_threads(),
    )  # fmt: skip
    if job.start_from is not None:
        training.learning_rate *= 0.3
        reasons["training.learning_rate"] = "fine-tuning: three tenths of the rate for training from scratch"
    return Plan(
        task=work.task.name, seed=work.seed, budget=job.budget, frames=work.settings,
        network=NetworkPlan(name=work.name, settings=settings), training=training, reasons=reasons, folds=job.folds,
        blend=blend,
    )  # fmt: skip


def _steps(budget: Budget, per_step: float, cases: int, batch: int, spent: float, members: int) -> int:
    if budget.steps is not None:
        return budget.steps
    if budget.epochs is not None:
        return max(1, round(budget.epochs * cases / batch))
    assert budget.seconds is not None
    left = (budget.seconds - spent) / max(members, 1)
    if left <= 2 * per_step:
        raise BudgetError(
            f"the budget of {budget.text} is used up before training starts ({spent:.0f} s of set-up)",
            todo="give a longer budget",
        )
    return max(2, int(0.93 * left / per_step))  # the rest is for the scores on the way


def quick_cases(task: Task) -> int:
    """How many validation cases are scored each time."""
    return min(registry.target(one).quick_cases for one in task.targets)
