"""The verbs: what the shell's commands and `import galenic` offer. Here the rooms, the wings and the core meet."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from galenic import left_out, pictures, seen, sources
from galenic.core import bundle, finish, ranks, simple, together
from galenic.core.cases import find_roles, open_cases
from galenic.core.decide import make_plan
from galenic.core.errors import GalenicError, InputError, MissingFile, TableError
from galenic.core.files import inside, write_json, write_text
from galenic.core.fit import Job, open_job, train_job
from galenic.core.model import Model, load_model
from galenic.core.plan import Plan, load_plan
from galenic.core.predicting import Written as Written  # part of what this module offers
from galenic.core.predicting import answer_all
from galenic.core.probe import pick_device
from galenic.core.progress import Progress, Silent
from galenic.core.ready import Ready
from galenic.core.task import Task


@dataclass(frozen=True)
class Check:
    """What a training would do. seconds: expected, a stage each; counts and patients: a part each."""

    task: Task
    counts: dict[str, int]
    patients: dict[str, int]
    warnings: list[str]
    plan: Plan
    reasons: dict[str, str]
    seconds: dict[str, float]


def train(  # noqa: PLR0913 - the options of the command
    what: str | Path, *, inputs: Sequence[str] = (), targets: Sequence[str] = (), network: str | None = None,
    budget: str = "10m", split: Path | None = None, folds: int | None = None, start_from: Path | None = None,
    plan: Path | None = None, seed: int | None = None, device: str = "auto", out: Path | str, resume: bool = False,
    exact: bool = False, alone: bool = False, progress: Progress | None = None,
) -> Model:  # fmt: skip
    """Learn `what` (a shipped task, a TOML file, a table of cases or a known folder) into the model folder `out`.

    inputs, targets: "COLUMN:KIND" for a table. alone: the network is not weighed together with simple methods. Raises
    errors of `galenic.core.errors`; what was written before an interruption can be taken up with `resume`.
    """
    began = time.monotonic()
    progress = progress or Silent()
    out = Path(out)
    _check_out(out, resume=resume)
    if resume and not (out / "task.toml").is_file():
        progress.say(f"nothing in {out} to go on with: a new training begins")
    found = sources.find(what, inputs, targets)
    job = Job(
        task=found.task, table=found.table, root=found.root, out=out, budget=budget, network=network,
        split=split or found.split, folds=_folds(folds, found.task, out, plan=plan, resume=resume),
        start_from=start_from, plan=plan, seed=seed, device=device,
        exact=exact, alone=alone, resume=resume, warnings=found.warnings, place=found.place,
        asked=_asked(what, inputs, targets, split or (found.split if found.place else None), start_from),
    )  # fmt: skip
    return _trained(job, progress, began)


def _folds(given: int | None, task: Task, out: Path, *, plan: Path | None, resume: bool) -> int:
    """What the command says, else the plan that is obeyed, else the task."""
    obeyed = plan is not None or (resume and (out / "plan.json").is_file())
    return given if given is not None else 0 if obeyed else task.folds


def _trained(job: Job, progress: Progress, began: float) -> Model:
    """From a job to a sealed model folder with its report."""
    out = job.out
    if not job.resume:
        for stale in ("plan.json", "history.jsonl"):
            (out / stale).unlink(missing_ok=True)
    work = train_job(job, progress, began)
    if not ranks.first():
        ranks.end()
        return Model(out, work.task, load_plan(out / "plan.json"), {}, [], work.frames)
    ranks.end()
    model = finish.finish(work, progress)
    pictures.keep(model, work.cases, work.split.rows("test"), work.ready)
    pictures.describe(model, work.cases, work.split.parts, work.ready)
    report(out, sealed=False)
    finish.seal(out)
    return model


def _asked(
    what: str | Path, inputs: Sequence[str], targets: Sequence[str], split: Path | None, start_from: Path | None
) -> dict[str, Any]:
    """What a run was asked for in words. split: a file of the user's own."""
    paths = {"split": split, "from": start_from}
    words = {"what": str(what), "inputs": list(inputs), "targets": list(targets)}
    return words | {name: None if path is None else str(path.resolve()) for name, path in paths.items()}


def _check_out(out: Path, *, resume: bool) -> None:
    if not out.is_dir() or not any(out.iterdir()):
        return
    finished = (out / "provenance.json").is_file()
    if finished or not (out / "task.toml").is_file():
        raise InputError(
            f"{out} exists and is {'a finished model' if finished else 'not empty'}",
            todo="name another folder with -o, or remove this one",
        )
    if not resume and any([*out.glob("*.safetensors"), *out.glob("private/fold*/*.safetensors")]):
        raise InputError(f"{out} holds a training that was interrupted", todo="add --resume, or name another folder")


def leave_out(
    what: str | Path, *, by: str = "site", out: Path | str, resume: bool = False, progress: Progress | None = None,
    **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """Train once for each value of `by` (a role or a column), with the cases of that value held out as the test part.

    Each model folder lies in `out`, named after the value; leave-out.json and leave-out.md there put their scores side
    by side, and the first is returned. how: as for `train`, but for what would say the parts: split, plan, start_from.
    With `resume` those that are finished stay as they are. Raises errors of `galenic.core.errors`.
    """
    progress, out = progress or Silent(), Path(out)
    left_out.check(out, how, resume=resume)
    inputs, targets, folds = how.pop("inputs", ()), how.pop("targets", ()), how.pop("folds", None)
    found = sources.find(what, inputs, targets)
    column = find_roles(found.table, found.task).get(by, by)
    folders = left_out.folders(found.table, column)
    left_out.check_patients(found.table, find_roles(found.table, found.task).get("patient"), column)
    for number, (value, name) in enumerate(folders.items(), start=1):
        folder = inside(out, name)
        progress.say(f"{by} {value} held out ({number} of {len(folders)})")
        if not left_out.is_finished(folder, column, value):
            job = Job(
                task=left_out.task_of(found.task, column, value), table=found.table, root=found.root, out=folder,
                resume=(folder / "task.toml").is_file(), warnings=found.warnings, place=found.place,
                folds=_folds(folds, found.task, folder, plan=None, resume=True),
                asked=_asked(what, inputs, targets, None, None), **how,
            )  # fmt: skip
            _trained(job, progress, time.monotonic())
    summary = left_out.summary(out, folders, by=by)
    write_json(out / left_out.SUMMARY, summary)
    write_text(out / "leave-out.md", _report_of_left_out(summary))
    return summary


def _report_of_left_out(summary: dict[str, Any]) -> str:
    from galenic.report import left_out as page

    return page.markdown(summary)


def check(  # noqa: PLR0913 - the options of the command
    what: str | Path, *, inputs: Sequence[str] = (), targets: Sequence[str] = (), network: str | None = None,
    budget: str = "10m", split: Path | None = None, folds: int | None = None, seed: int | None = None,
    device: str = "auto", progress: Progress | None = None,
) -> Check:  # fmt: skip
    """Everything that `train` would decide, without training: fields, parts, problems, the plan, the time."""
    progress = progress or Silent()
    found = sources.find(what, inputs, targets)
    job = Job(
        task=found.task, table=found.table, root=found.root, out=Path(), budget=budget, network=network,
        split=split or found.split, folds=found.task.folds if folds is None else folds, seed=seed, device=device,
        warnings=found.warnings,
    )  # fmt: skip
    began = time.monotonic()
    work = open_job(job, progress, began, cache=False)
    moment = time.monotonic()
    work.ready.load(work.split.used, progress, "preparing every case once, to find what is wrong")
    prepare = time.monotonic() - moment
    plan = make_plan(work, pick_device(device), progress, work.split.rows("train")[:8])
    patients = work.cases.patients()
    parts = ("train", "valid", "calib", "test")
    warnings = [*work.task.notes, *work.split.warnings, *work.job.warnings]
    return Check(
        work.task,
        {part: len(work.split.rows(part)) for part in parts},
        {part: len({patients[row] for row in work.split.rows(part)}) for part in parts},
        warnings + [text for key, text in plan.reasons.items() if key.startswith("warning")],
        plan, plan.reasons,
        {"prepare": prepare, "train": max(job.folds, 1) * plan.training.steps * plan.training.seconds_per_step},
    )  # fmt: skip


def load(folder: Path | str, *, device: str = "auto", exact: bool = False, mirror: bool = False) -> Model:
    """A model folder, verified and ready: `load("runs/h")(image=...)` answers; with `mirror` over mirror images."""
    return load_model(Path(folder), device=device, exact=exact, mirror=mirror)


def evaluate(
    folder: Path | str, table: Path | str | None = None, *, part: str = "test", device: str = "auto",
    mirror: bool = False, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores with intervals beside the baselines: on a part of the task's own cases, or on the rows of `table` that the
    model was not made with; InputError where there are none.

    Returns the content of a metrics.json, which is written under private/. Rows of `table` that can't be read or have a
    label that training never showed, are left out, counted and told. mirror: answers over mirror images.
    """
    progress = progress or Silent()
    model = load_model(Path(folder), device=device, mirror=mirror)
    model.learners.update(simple.load_all(model.folder, model.task, model.plan.frames))
    if table is None:
        split = _parts_of(model.folder, part)
        found = sources.of_model(model.folder, model.task)
        cases = open_cases(found.table, found.root, model.task)
        rows = [row for row, own in enumerate(cases.ids) if own in split]
        if len(rows) < len(split):
            raise TableError(
                f"{len(split) - len(rows)} of the {len(split)} cases of the part {part!r} are no longer in the table",
                todo="bring the table back as it was, or name a table of cases to be scored instead",
            )
        told = _of_learnt(model, part)
    else:
        cases = open_cases(sources.read_cases(Path(table)), sources.root_of(Path(table)), model.task, forgiving=True)
        rows, told = seen.unseen(model, cases, Path(table))
        part = Path(table).stem
        model, more = together.looked_at(model, cases)
        told += more
    ready = Ready(model.frames, cases, model.plan.frames)
    left: dict[int, GalenicError] = {}
    scored = finish.score(
        model, cases, ready, rows, progress, f"scoring {part}", left_out=left if table is not None else None
    )
    before = model.metrics
    warnings = [*told, *before.get("warnings", []), *finish.told_left_out(left, len(rows))]
    metrics = finish.to_metrics(
        model.task, scored, part=part, warnings=warnings,
        seconds={"train": before.get("seconds", {}).get("train", 0.0), "evaluate": scored.seconds},
        fitted=model.fitted,
    )  # fmt: skip
    if left:
        metrics["left_out"] = len(left)
    if mirror:
        metrics["mirror"] = True
    name = f"metrics.{part}.mirror.json" if mirror else f"metrics.{part}.json"
    write_json(model.folder / bundle.PRIVATE / name, metrics)
    return metrics


def _of_learnt(model: Model, part: str) -> list[str]:
    """A warning where the model has learnt from the part."""
    if part not in ("train", "valid" if model.plan.folds else "train"):
        return []
    return ["the model has learnt from these cases: its scores on them say nothing of new ones"]


def _parts_of(folder: Path, part: str) -> set[str]:
    """Ids of the model's own cases in a part."""
    path = folder / bundle.PRIVATE / "split.csv"
    if not path.is_file():
        raise MissingFile(
            f"{folder} has no private/split.csv, so its parts are not known here", todo="name a table of cases"
        )
    split = pd.read_csv(path, dtype=str)
    wanted = set(split.loc[split["part"] == part, "id"])
    if not wanted:
        raise InputError(f"no case is in the part {part!r}", allowed=", ".join(sorted(set(split["part"]))))
    return wanted


def predict(
    folder: Path | str, inputs: Sequence[Path | str], out: Path | str, *, form: str = "auto", device: str = "auto",
    exact: bool = False, mirror: bool = False, progress: Progress | None = None,
) -> list[Written]:  # fmt: skip
    """Answer every input (files, folders, DICOM series, or one table) and write the answers below `out`.

    An input that is wrong or can't be judged is told in its `Written.refused`; the others go on. What the inputs show
    together, such as a column in another unit, is said to `progress`.
    """
    progress = progress or Silent()
    model = load_model(Path(folder), device=device, exact=exact, mirror=mirror)
    cases = sources.to_predict(model.task, [Path(one) for one in inputs])
    model, told = together.looked_at(model, cases)
    for warning in told:
        progress.say(f"warning: {warning}")
    return answer_all(model, cases, Path(out), form, progress)


def report(folder: Path | str, *, sealed: bool = True) -> Path:
    """Write card.md and private/report.html anew from what the folder holds; the path of the report."""
    from galenic.report import card, page

    folder = Path(folder)
    if sealed:
        bundle.verify(folder)
    content = pictures.content_of(folder)
    path = folder / bundle.PRIVATE / "report.html"
    page.write_report(path, content)
    write_text(folder / "card.md", card.card(content))
    if sealed:
        finish.seal(folder)
    return path


def export(folder: Path | str, file: Path | str) -> Path:
    """One zip of a verified model folder, without `private/`."""
    return bundle.export(Path(folder), Path(file))


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of a model folder."""
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
