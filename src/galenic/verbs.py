"""The verbs: what the shell's commands and `import galenic` offer. Here the rooms, the wings and the core meet."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from galenic import pictures, sources
from galenic.core import bundle, finish, ranks, registry
from galenic.core.cases import open_cases
from galenic.core.contract import Answer
from galenic.core.errors import GalenicError, InputError, MissingFile, TableError
from galenic.core.files import inside, write_json, write_text
from galenic.core.fit import Job, make_plan, open_job, train_job
from galenic.core.model import Model, load_model
from galenic.core.plan import Plan, load_plan
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


@dataclass(frozen=True)
class Written:
    """One predicted input: the files written for it, or why there is none."""

    id: str
    paths: list[Path]
    refused: str | None = None
    answer: Answer | None = None


def train(  # noqa: PLR0913 - the options of the command
    what: str | Path, *, inputs: Sequence[str] = (), targets: Sequence[str] = (), network: str | None = None,
    budget: str = "10m", split: Path | None = None, folds: int = 0, start_from: Path | None = None,
    plan: Path | None = None, seed: int | None = None, device: str = "auto", out: Path | str, resume: bool = False,
    exact: bool = False, progress: Progress | None = None,
) -> Model:  # fmt: skip
    """Learn `what` (a shipped task, a TOML file, a table of cases or a known folder) into the model folder `out`.

    inputs, targets: "COLUMN:KIND" for a table. Raises errors of `galenic.core.errors`; what was written before an
    interruption can be taken up with `resume`.
    """
    began = time.monotonic()
    progress = progress or Silent()
    out = Path(out)
    _check_out(out, resume=resume)
    if not resume:
        for stale in ("checkpoint.safetensors", "plan.json", "history.jsonl"):
            (out / stale).unlink(missing_ok=True)
    found = sources.find(what, inputs, targets)
    job = Job(
        task=found.task, table=found.table, root=found.root, out=out, budget=budget, network=network,
        split=split or found.split, folds=folds, start_from=start_from, plan=plan, seed=seed, device=device,
        exact=exact, resume=resume, warnings=found.warnings, place=found.place,
        asked=_asked(what, inputs, targets, split or (found.split if found.place else None), start_from),
    )  # fmt: skip
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
    if not resume and (out / "checkpoint.safetensors").is_file():
        raise InputError(f"{out} holds a training that was interrupted", todo="add --resume, or name another folder")


def check(  # noqa: PLR0913 - the options of the command
    what: str | Path, *, inputs: Sequence[str] = (), targets: Sequence[str] = (), network: str | None = None,
    budget: str = "10m", split: Path | None = None, folds: int = 0, seed: int | None = None, device: str = "auto",
    progress: Progress | None = None,
) -> Check:  # fmt: skip
    """Everything that `train` would decide, without training: fields, parts, problems, the plan, the time."""
    progress = progress or Silent()
    found = sources.find(what, inputs, targets)
    job = Job(
        task=found.task, table=found.table, root=found.root, out=Path(), budget=budget, network=network,
        split=split or found.split, folds=folds, seed=seed, device=device, warnings=found.warnings,
    )  # fmt: skip
    began = time.monotonic()
    work = open_job(job, progress, began, cache=False)
    few = work.split.rows("train")[:8]
    moment = time.monotonic()
    work.ready.load(few, progress, "preparing a few cases")
    prepare = (time.monotonic() - moment) / len(few) * len(work.cases)
    plan = make_plan(work, pick_device(device), progress, few)
    patients = work.cases.patients()
    parts = ("train", "valid", "calib", "test")
    warnings = [*work.task.notes, *work.split.warnings, *found.warnings]
    return Check(
        work.task,
        {part: len(work.split.rows(part)) for part in parts},
        {part: len({patients[row] for row in work.split.rows(part)}) for part in parts},
        warnings + [text for key, text in plan.reasons.items() if key.startswith("warning")],
        plan, plan.reasons,
        {"prepare": prepare, "train": plan.training.steps * plan.training.seconds_per_step},
    )  # fmt: skip


def load(folder: Path | str, *, device: str = "auto", exact: bool = False) -> Model:
    """A model folder, verified and ready: `load("runs/h")(image=...)` answers."""
    return load_model(Path(folder), device=device, exact=exact)


def evaluate(
    folder: Path | str, table: Path | str | None = None, *, part: str = "test", device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores with intervals beside the baselines: on a part of the task's own cases, or on all rows of `table`.

    Returns the content of a metrics.json. Scores on other cases than the test part are written beside it.
    """
    progress = progress or Silent()
    model = load_model(Path(folder), device=device)
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
    else:
        cases = open_cases(sources.read_cases(Path(table)), sources.root_of(Path(table)), model.task)
        rows, part = list(range(len(cases))), Path(table).stem
    ready = Ready(model.frames, cases, model.plan.frames)
    scored = finish.score(model, cases, ready, rows, progress, f"scoring {part}")
    before = model.metrics
    metrics = finish.to_metrics(
        model.task, scored, part=part, warnings=before.get("warnings", []),
        seconds={"train": before.get("seconds", {}).get("train", 0.0), "evaluate": scored.seconds},
    )  # fmt: skip
    write_json(model.folder / bundle.PRIVATE / f"metrics.{part}.json", metrics)
    return metrics


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
    exact: bool = False, progress: Progress | None = None,
) -> list[Written]:  # fmt: skip
    """Answer every input (files, folders, DICOM series, or one table) and write the answers below `out`.

    An input that is wrong or can't be judged is told in its `Written.refused`; the others go on.
    """
    progress = progress or Silent()
    model = load_model(Path(folder), device=device, exact=exact)
    cases = sources.to_predict(model.task, [Path(one) for one in inputs])
    progress.stage("predicting", len(cases), "cases")
    done = []
    for row in range(len(cases)):
        own = cases.ids[row]
        try:
            done += _predict_one(model, own, cases.values(row), Path(out), form)
        except GalenicError as error:
            done.append(Written(own, [], str(error)))
        progress.advance(row + 1, own)
    return done


def _predict_one(model: Model, own: str, values: Any, out: Path, form: str) -> list[Written]:
    done = []
    for name, answer in model.answer(model.prepare(values)).items():
        one = model.task.field(name)
        if answer.refused is not None:
            done.append(Written(own, [], answer.refused, answer))
            continue
        stem = own if len(model.task.targets) == 1 else f"{own}.{name}"
        paths = registry.target(one).write(answer, values, inside(out, stem), form=form)
        done.append(Written(own, paths, None, answer))
    return done


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
