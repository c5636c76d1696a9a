"""From a table of cases to a model folder: parts, summaries, plan, training, and what follows it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from galenic.core import bundle, ranks, registry, start, subgroups, together
from galenic.core.cases import Cases, open_cases
from galenic.core.contract import NetworkPlug, Runner, Settings
from galenic.core.decide import make_plan, quick_cases
from galenic.core.errors import PlanError, TableError
from galenic.core.evaluate import quick
from galenic.core.files import read_json, write_json, write_text
from galenic.core.frames import Frames
from galenic.core.network import Network
from galenic.core.plan import THREADS, Plan, for_this_run, load_plan, of_clock, parse_budget
from galenic.core.probe import pick_device
from galenic.core.progress import Progress, Silent
from galenic.core.ready import Ready, summarise
from galenic.core.runtimes.torch import Torch
from galenic.core.split import Split, divide, folds
from galenic.core.task import Task
from galenic.core.train import Feed, Trainer, weights_of


@dataclass(frozen=True)
class Job:
    """All that a training is asked for. `table` is the table of cases, paths in it relative to `root`.

    seed: None is 0, or the seed of the plan that is obeyed. place: the file or folder that `table` was read from, None
    for a catalogued set. asked: what was asked for in words, kept in private/run.json. alone: no simple method may be
    weighed together with the network.
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
    alone: bool = False
    resume: bool = False
    warnings: list[str] = field(default_factory=list)
    place: Path | None = None
    asked: dict[str, Any] = field(default_factory=dict)


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
    task = registry.completed(registry.checked(job.task), job.table, job.root)
    cases = open_cases(job.table, job.root, task)
    subgroups.check(cases.table, task)
    obeyed = _obeyed_plan(job)
    known = obeyed or _plan_of(job.start_from)
    job = _settled(job, obeyed)
    groups = _groups(cases, task)
    # with folds every case of train and valid is answered unseen, so that none has to be put aside to calibrate on
    calib = not job.folds and any(registry.target(target).calibrates for target in task.targets)
    split = divide(cases, task, seed=job.seed or 0, calib=calib, file=job.split, groups=groups)
    split = replace(split, origin=_origin_before(job) or split.origin)
    frames = Frames(task)
    job = replace(job, warnings=[*job.warnings, *together.doubts(cases, frames)])
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
        network_settings, own = start.suited(plug, job.start_from, *plug.plan(task, settings, budget))
        reasons |= {key if "." in key or key.startswith("warning") else f"network.{key}": own[key] for key in own}
        reasons["network"] = f"{name}: {why}"
    ready = Ready(frames, cases, settings, job.out / bundle.PRIVATE / "cache" if cache else None)
    return Work(job, task, cases, split, frames, settings, ready, plug, network_settings, reasons, name, began)


def _groups(cases: Cases, task: Task) -> list[str]:
    """What must stay together: the patient, else the kind's own grouping (a scaffold), else the case."""
    if cases.role("patient") is not None:
        return cases.patients()
    groups = list(cases.ids)
    for one in task.inputs:
        kind = registry.kind(one.kind)
        if kind.groups:
            values = (cases.opened[one.name].read(row) for row in range(len(cases)))
            tied = [None if value is None else kind.group(value) for value in values]
            groups = [group or own for group, own in zip(tied, groups, strict=True)]
    return groups


def _obeyed_plan(job: Job) -> Plan | None:
    """The plan to obey to the letter: of the run that is resumed, or of --plan."""
    if job.resume and (job.out / "plan.json").is_file():
        return load_plan(job.out / "plan.json")
    return None if job.plan is None else load_plan(job.plan)


def _plan_of(folder: Path | None) -> Plan | None:
    """The plan of --from, whose frames and network are taken over; a mere file of weights has none."""
    if folder is None or folder.is_file():
        return None
    bundle.verify(folder)
    return load_plan(folder / "plan.json")


def _settled(job: Job, obeyed: Plan | None) -> Job:
    """The job with its seed; a resumed one with the parts it began with, or it would learn from its test cases."""
    if obeyed is None:
        return replace(job, seed=job.seed or 0)
    if job.folds not in (0, obeyed.folds):
        raise PlanError(
            f"--folds {job.folds} with a plan of {obeyed.folds} folds",
            allowed=f"the plan's {obeyed.folds}",
            todo="leave --folds out; for other folds leave --plan (or --resume) out",
        )
    if job.alone and obeyed.blend:
        raise PlanError(
            f"--alone with a plan that weighs in {', '.join(obeyed.blend)}",
            allowed="a plan of a run with --alone",
            todo="leave --alone out, or --plan (or --resume)",
        )
    job = replace(job, folds=obeyed.folds)
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
    return reason.startswith("training.") or of_clock(reason) or reason in ("warning: budget", THREADS)


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


def train_job(job: Job, progress: Progress | None = None, began: float | None = None) -> Work:
    """Train, and leave task.toml, plan.json, weights, history and private/split.csv in the folder."""
    progress = progress or Silent()
    device = pick_device(job.device)
    ranks.begin(device)
    work = open_job(job, progress, began)
    work.ready.load(work.split.used, progress, "preparing")  # the test part too: a bad case is told before, not after
    known = _obeyed_plan(job)
    if known is None:
        plan = ranks.agree(make_plan(work, device, progress))
    else:
        threads = torch.get_num_threads()
        plan = for_this_run(known, seed=work.seed, threads=threads, resumed=job.resume)
    for key, text in plan.reasons.items():
        if key.startswith("warning"):
            progress.say(f"warning: {text}")
    if ranks.first():
        _write_inputs(work, plan)
    adapt = parse_budget(plan.budget).seconds is not None and job.plan is None
    spent = _spent(job, plan.folds)
    for number, parts in enumerate(fold_parts(work, plan)):
        _train_member(work, plan, parts, number, device=device, adapt=adapt, spent=spent, progress=progress)
    if plan.folds and ranks.first():
        _join_histories(job.out, plan.folds)
    return work


def fold_parts(work: Work, plan: Plan) -> list[list[str]]:
    """The part of each row, once for each network that is trained: of one fold after the other, or as they are."""
    if not plan.folds:
        return [work.split.parts]
    return folds(work.split.parts, _groups(work.cases, work.task), plan.folds, plan.seed)


def _spent(job: Job, members: int) -> float:
    """Seconds of the budget that went into the members which the run that is resumed has finished."""
    if not job.resume:
        return 0.0
    done = [at for at in range(members) if (job.out / weights_name(at, members)).is_file()]
    lines = [_history(job.out, at)[-1:] for at in done]
    return sum(float(json.loads(last)["seconds"]) for own in lines for last in own)


def _history(out: Path, number: int) -> list[str]:
    path = _folder(out, number) / "history.jsonl"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _folder(out: Path, number: int) -> Path:
    """Where a fold's history and checkpoint lie."""
    return out / bundle.PRIVATE / f"fold{number}"


def _join_histories(out: Path, members: int) -> None:
    """history.jsonl of all members, one after the other: each line says its fold."""
    lines = [json.dumps({"fold": at, **json.loads(line)}) for at in range(members) for line in _history(out, at)]
    write_text(out / "history.jsonl", "".join(f"{line}\n" for line in lines))


def weights_name(number: int, members: int) -> str:
    return "weights.safetensors" if members <= 1 else f"weights.fold{number}.safetensors"


def _train_member(
    work: Work, plan: Plan, parts: Sequence[str], number: int, *,
    device: torch.device, adapt: bool, progress: Progress, spent: float = 0.0,
) -> None:  # fmt: skip
    job, members = work.job, max(plan.folds, 1)
    path = job.out / weights_name(number, members)
    folder = _folder(job.out, number) if plan.folds else job.out
    if path.is_file() and job.resume:
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
        return
    train, valid = (work.taught([row for row, own in enumerate(parts) if own == part]) for part in ("train", "valid"))
    valid = valid[: quick_cases(work.task)]
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
        own = trainer.seconds if job.resume else 0.0
        left = (work.began + seconds - spent - time.monotonic()) / (members - number)
        until = time.monotonic() + max(left - own, 1.0)
    stopped = trainer.run(progress, until=until, adapt=adapt)
    if ranks.first():
        if members == 1:
            plan.training.schedule = training.schedule
        of = f" of fold {number}" if plan.folds else ""
        if stopped:
            planned = training.schedule[-2][1]
            plan.reasons[f"clock{of}"] = (
                f"the clock ended training{of} at step {trainer.step} of {planned}, within {plan.budget}"
            )
        if trainer.mended:
            plan.reasons[f"training.mended{of}"] = (
                f"{trainer.mended} steps were taken again in float32, as bfloat16 gave no finite gradient"
            )
        plan.reasons[f"training.best{of}"] = f"step {trainer.best_step} of {trainer.step}, by the validation score"
        plan.save(job.out / "plan.json")
        bundle.save_weights(path, weights_of(trainer.finish()))  # last: where they are, nothing is left to be trained
        trainer.clear()


def _take_weights(network: Network, folder: Path, progress: Progress) -> None:
    """Start from another model's weights wherever name and shape agree."""
    own = network.state_dict()
    path = folder / weights_name(0, 1)
    if folder.is_file():
        given = start.adopted(network, folder)
    else:
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
        many = getattr(work.plug, "infer_many", None)
        if many is None:
            outputs = [work.plug.infer(run, work.ready[row], work.settings, work.network_settings) for row in valid]
        else:
            outputs = many(run, [work.ready[row] for row in valid], work.settings, work.network_settings)
        known = quick(work.task, outputs, [work.ready[row] for row in valid])
        return sum(known.values()) / len(known) if known else -math.inf

    return score


def _write_inputs(work: Work, plan: Plan) -> None:
    out = work.job.out
    out.mkdir(parents=True, exist_ok=True)
    work.task.save(out / "task.toml")
    plan.save(out / "plan.json")
    split = pd.DataFrame({"id": work.cases.ids, "patient": work.cases.patients(), "part": work.split.parts})
    write_text(out / bundle.PRIVATE / "split.csv", split[split["part"] != ""].to_csv(index=False, lineterminator="\n"))
    if work.job.place is not None:  # what evaluates and repeats a run on own cases, wherever it is called from
        named = {"table": str(work.job.place), "split": None}
        work.task.model_copy(update=named).save(out / bundle.PRIVATE / "task.toml")
    write_json(
        out / bundle.PRIVATE / "run.json",
        {
            "task": work.task.name, "budget": work.job.budget, "network": work.job.network, "seed": plan.seed,
            "device": work.job.device, "folds": plan.folds, "exact": work.job.exact,
            "split": work.split.origin, "warnings": work.split.warnings,
            "table": None if work.job.place is None else str(work.job.place), "root": str(work.job.root),
            "asked": work.job.asked,
        },
    )  # fmt: skip
