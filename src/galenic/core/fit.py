"""From a table of cases to a model folder: parts, summaries, plan, training, and what follows it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

from galenic.core import bundle, ranks, registry, subgroups
from galenic.core.cases import Cases, open_cases
from galenic.core.contract import Budget, NetworkPlug, Runner, Settings
from galenic.core.errors import BudgetError, PlanError, TableError
from galenic.core.evaluate import quick
from galenic.core.files import read_json, write_json
from galenic.core.frames import Frames
from galenic.core.network import Network
from galenic.core.plan import Network as NetworkPlan
from galenic.core.plan import Plan, Training, load_plan, parse_budget
from galenic.core.probe import pick_device, probe
from galenic.core.progress import Progress, Silent
from galenic.core.ready import Ready, summarise
from galenic.core.runtimes.torch import Torch
from galenic.core.split import Split, divide, folds
from galenic.core.task import Task
from galenic.core.train import Feed, Trainer, weights_of

EVALUATIONS = 12  # over a training
FEW_STEPS, FEW_EPOCHS = 200, 2.0


@dataclass(frozen=True)
class Job:
    """All that a training is asked for. `table` is the table of cases, paths in it relative to `root`.

    seed: None is 0, or the seed of the plan that is obeyed.
    """

    task: Task
    table: pd.DataFrame
    root: Path
    out: Path
    budget: str = "10m"
    network: str | None = None
    split: Path | None = None
    folds: int = 0
    start_from: Path | None = None
    plan: Path | None = None
    seed: int | None = None
    device: str = "auto"
    exact: bool = False
    resume: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass
class Work:
    """A job opened: its cases, parts, frames, settings and prepared cases."""

    job: Job
    task: Task
    cases: Cases
    split: Split
    frames: Frames
    settings: dict[str, Settings]
    ready: Ready
    plug: NetworkPlug
    network_settings: Settings
    reasons: dict[str, str]
    name: str
    began: float

    @property
    def seed(self) -> int:
        return self.job.seed or 0

    def taught(self, rows: Sequence[int]) -> list[int]:
        """Those of the rows that hold a truth of some target; TableError where none does."""
        names = [one.name for one in self.task.targets]
        found = [row for row in rows if any(name in self.ready[row].arrays for name in names)]
        if rows and not found:
            raise TableError(f"none of {len(rows)} cases has a truth of {', '.join(names)}", allowed="at least one")
        return found

    def build(self) -> Network:
        torch.manual_seed(self.seed)
        return self.plug.build(self.task, self.settings, self.network_settings)

    def runner(self, network: Network, precision: str) -> Runner:
        """The network in torch, as it is while it trains."""
        return Torch().open(
            network, self.plug.shapes(self.settings, self.network_settings), None, precision=precision,
            device=str(next(network.parameters()).device),
        )  # fmt: skip


def open_job(job: Job, progress: Progress, began: float | None = None, *, cache: bool = True) -> Work:
    """Everything before the probe: parts, the training part's summary, and the decisions taken from it."""
    began = time.monotonic() if began is None else began
    task = registry.checked(job.task)
    cases = open_cases(job.table, job.root, task)
    subgroups.check(cases.table, task)
    calib = any(registry.target(target).calibrates for target in task.targets)
    obeyed = _obeyed_plan(job)
    known = obeyed or _plan_of(job.start_from)
    job = _settled(job, obeyed)
    groups = _groups(cases, task)
    split = divide(cases, task, seed=job.seed or 0, calib=calib, file=job.split, groups=groups)
    split = replace(split, origin=_origin_before(job) or split.origin)
    frames = Frames(task)
    name, why = registry.choose_network(task, job.network or (known.network.name if known else None))
    plug = registry.network(name)
    if known is not None:
        _same_fields(known, task, name)
        settings, network_settings = known.frames, known.network.settings
        reasons = {key: text for key, text in known.reasons.items() if not _of_one_run(key)}
    else:
        budget = parse_budget(job.budget)
        summary = summarise(frames, cases, split.rows("train"), progress)
        settings, reasons = frames.settle(summary, budget)
        network_settings, own = plug.plan(task, settings, budget)
        reasons |= own | {"network": f"{name}: {why}"}
    ready = Ready(frames, cases, settings, job.out / bundle.PRIVATE / "cache" if cache else None)
    return Work(job, task, cases, split, frames, settings, ready, plug, network_settings, reasons, name, began)


def _groups(cases: Cases, task: Task) -> list[str]:
    """What must stay together: the patient, else the kind's own grouping (a scaffold), else the case."""
    if cases.role("patient") is not None:
        return cases.patients()
    groups = list(cases.ids)
    for one in task.inputs:
        kind = registry.kind(one.kind)
        if not kind.from_file and type(kind).__dict__.get("groups", False):
            groups = [kind.group(cases.opened[one.name].read(row)) or own for row, own in enumerate(groups)]
    return groups


def _obeyed_plan(job: Job) -> Plan | None:
    """The plan to obey to the letter: of the run that is resumed, or of --plan."""
    if job.resume and (job.out / "plan.json").is_file():
        return load_plan(job.out / "plan.json")
    return None if job.plan is None else load_plan(job.plan)


def _plan_of(folder: Path | None) -> Plan | None:
    """The plan of --from, whose frames and network are taken over."""
    if folder is None:
        return None
    bundle.verify(folder)
    return load_plan(folder / "plan.json")


def _settled(job: Job, obeyed: Plan | None) -> Job:
    """The job with its seed; a resumed one with the parts it began with, or it would learn from its test cases."""
    if obeyed is None:
        return replace(job, seed=job.seed or 0)
    if not job.resume:
        return replace(job, seed=obeyed.seed if job.seed is None else job.seed)
    begun = job.out / bundle.PRIVATE / "split.csv"
    return replace(job, seed=obeyed.seed, split=begun if begun.is_file() else job.split)


def _origin_before(job: Job) -> str:
    """Where the parts of a resumed run came from."""
    run = job.out / bundle.PRIVATE / "run.json"
    return str(read_json(run).get("split", "")) if job.resume and run.is_file() else ""


def _of_one_run(reason: str) -> bool:
    """True for what a plan says of the run it was made for, which another run must not repeat."""
    return reason.startswith("training.") or reason in ("clock", "warning: budget")


def _same_fields(plan: Plan, task: Task, network: str) -> None:
    if network != plan.network.name:
        raise PlanError(
            f"the network {network} with a plan for {plan.network.name}",
            allowed=plan.network.name,
            todo="leave --network out, or --plan (or --from)",
        )
    named = {
        name for settings in plan.frames.values() for own in settings.values() if isinstance(own, dict) for name in own
    }
    lacking = [one.name for one in task.fields if one.name not in named]
    if lacking:
        raise PlanError(
            f"the plan knows nothing of the fields {', '.join(lacking)}",
            allowed="a plan made for the same fields",
            todo="leave --plan (or --from) out, or name the fields as the plan does",
        )


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
    reasons = work.reasons | {
        "training.precision": f"seconds a step here: {found.tried}",
        "training.steps": f"{budget.text} at {found.seconds_per_step:.3f} s a step, the set-up subtracted",
        "training.ema": "scores and weights are those of a moving average over the last twenty-fifth of the steps",
    }
    epochs = steps * settings["batch"] / len(rows)
    if steps < FEW_STEPS or epochs < FEW_EPOCHS:
        reasons["warning: budget"] = (
            f"the budget {job.budget} gives {steps} steps ({epochs:.1f} epochs): too small to learn well"
        )
    scored = min(
        _quick_cases(work.task), len(work.split.rows("valid"))
    )  # a score costs about half a step's time a case
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


def train_job(job: Job, progress: Progress | None = None, began: float | None = None) -> Work:
    """Train, and leave task.toml, plan.json, weights, history and private/split.csv in the folder."""
    progress = progress or Silent()
    device = pick_device(job.device)
    ranks.begin(device)
    work = open_job(job, progress, began)
    rows = work.split.rows("train") + work.split.rows("valid")
    work.ready.load(rows, progress, "preparing")
    plan = _obeyed_plan(job)
    if plan is None:
        plan = ranks.agree(make_plan(work, device, progress))
    else:
        kept = {key: text for key, text in plan.reasons.items() if key not in ("clock", "training.best")}
        plan = plan.model_copy(update={"seed": work.seed, "reasons": kept})
    if ranks.first():
        _write_inputs(work, plan)
    adapt = parse_budget(plan.budget).seconds is not None and job.plan is None
    members = (
        folds(work.split.parts, _groups(work.cases, work.task), plan.folds, plan.seed)
        if plan.folds
        else [work.split.parts]
    )
    for number, parts in enumerate(members):
        _train_member(work, plan, parts, number, device=device, adapt=adapt, progress=progress)
    return work


def _quick_cases(task: Task) -> int:
    """How many validation cases are scored each time."""
    return min(registry.target(one).quick_cases for one in task.targets)


def weights_name(number: int, members: int) -> str:
    return "weights.safetensors" if members <= 1 else f"weights.fold{number}.safetensors"


def _train_member(
    work: Work, plan: Plan, parts: Sequence[str], number: int, *, device: torch.device, adapt: bool, progress: Progress
) -> None:
    job, members = work.job, max(plan.folds, 1)
    path = job.out / weights_name(number, members)
    folder = job.out if members == 1 else job.out / bundle.PRIVATE / f"fold{number}"
    if path.is_file() and job.resume:
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
        return
    train, valid = (work.taught([row for row, own in enumerate(parts) if own == part]) for part in ("train", "valid"))
    valid = valid[: _quick_cases(work.task)]
    folder.mkdir(parents=True, exist_ok=True)
    network = work.build()
    if job.start_from is not None:
        _take_weights(network, job.start_from, progress)
    training = plan.training.model_copy(deep=True)
    trainer = Trainer(
        network, training, Feed(work.ready, train, plan.seed + 1000 * number, training.batch),
        seed=plan.seed, folder=folder, device=device, score=_scorer(work, valid, training.precision),
    )  # fmt: skip
    if job.resume:
        trainer.resume()
    else:
        trainer.history.unlink(missing_ok=True)
    until = None
    if adapt:
        seconds = parse_budget(plan.budget).seconds or 0.0
        spent = trainer.seconds if job.resume else 0.0
        left = (work.began + seconds - time.monotonic()) / (members - number)
        until = time.monotonic() + max(left - spent, 1.0)
    stopped = trainer.run(progress, until=until, adapt=adapt)
    if ranks.first():
        if members == 1:
            plan.training.schedule = training.schedule
        if stopped:
            plan.reasons["clock"] = (
                f"the clock ended training at step {trainer.step} of {training.schedule[-2][1]}, within {plan.budget}"
            )
        plan.reasons["training.best"] = f"step {trainer.best_step} of {trainer.step}, by the validation score"
        plan.save(job.out / "plan.json")
        bundle.save_weights(path, weights_of(trainer.finish()))  # last: where they are, nothing is left to be trained
        trainer.clear()


def _take_weights(network: Network, folder: Path, progress: Progress) -> None:
    """Start from another model's weights wherever name and shape agree."""
    own = network.state_dict()
    path = folder / weights_name(0, 1)
    given = bundle.load_weights(path if path.is_file() else folder / weights_name(0, 2))
    fitting = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise PlanError(f"no weight of {folder} fits this network", todo="fine-tune from a model of the same task")
    network.load_state_dict({**own, **fitting})
    progress.say(f"{len(fitting)} of {len(own)} tensors taken from {folder.name}")


def _scorer(work: Work, valid: Sequence[int], precision: str) -> Callable[[Network], float]:
    """The mean of the targets' main scores on prepared validation cases."""

    def score(network: Network) -> float:
        run = work.runner(network, precision)
        outputs = [work.plug.infer(run, work.ready[row], work.settings, work.network_settings) for row in valid]
        known = quick(work.task, outputs, [work.ready[row] for row in valid])
        return sum(known.values()) / len(known) if known else -math.inf

    return score


def _write_inputs(work: Work, plan: Plan) -> None:
    out = work.job.out
    out.mkdir(parents=True, exist_ok=True)
    work.task.save(out / "task.toml")
    plan.save(out / "plan.json")
    split = pd.DataFrame({"id": work.cases.ids, "patient": work.cases.patients(), "part": work.split.parts})
    (out / bundle.PRIVATE).mkdir(exist_ok=True)
    split[split["part"] != ""].to_csv(out / bundle.PRIVATE / "split.csv", index=False)
    write_json(
        out / bundle.PRIVATE / "run.json",
        {
            "task": work.task.name, "budget": work.job.budget, "network": work.job.network, "seed": plan.seed,
            "device": work.job.device, "folds": work.job.folds, "exact": work.job.exact,
            "split": work.split.origin, "warnings": work.split.warnings,
        },
    )  # fmt: skip
