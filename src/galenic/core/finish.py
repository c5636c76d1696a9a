"""After training: pick the runtime, fit the simple methods, blend, calibrate, and score the test part once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.core import blend, bundle, crossfit, registry, runtime, simple
from galenic.core import subgroups as by
from galenic.core.cases import Cases
from galenic.core.contract import Answer, Field, Judged, Prepared, Settings, Values
from galenic.core.crossfit import Apart, Evidence
from galenic.core.errors import GalenicError
from galenic.core.evaluate import measure, paired, plain, subgroups
from galenic.core.files import read_json, write_json, write_text
from galenic.core.fit import Work
from galenic.core.model import Model, answers, load_networks, runtime_folder
from galenic.core.plan import Plan, load_plan, of_clock
from galenic.core.probe import pick_device
from galenic.core.progress import Progress
from galenic.core.ready import Ready, in_case
from galenic.core.task import Task

_NOTES = ("blend_note", "note", "call_note")  # what a target says of its calibration and its choices
PARITY_CASES = 32  # of the valid part, at most, on which the runtimes are compared


@dataclass(frozen=True)
class Scored:
    """A part judged by the model and by each baseline: target -> learner -> a record a case, None without a truth."""

    ids: list[str]
    groups: list[str]
    labels: dict[str, list[str]]
    judged: dict[str, dict[str, list[Judged | None]]]
    seconds: float


def finish(work: Work, progress: Progress) -> Model:
    """Everything between the last training step and a sealed model folder."""
    out, task = work.job.out, work.task
    plan = load_plan(out / "plan.json")
    seconds = time.monotonic() - work.began
    networks = load_networks(out, task, plan)
    valid = work.split.rows("valid")
    device = str(pick_device(work.job.device))
    progress.stage("picking the fastest runtime that agrees")
    for number, network in enumerate(networks):
        folder = runtime_folder(out, number, len(networks))
        folder.mkdir(parents=True, exist_ok=True)
        runtime.pick(
            network.to(device), work.plug, cases=[work.ready[row] for row in valid[:PARITY_CASES]], frames=plan.frames,
            settings=plan.network.settings, folder=folder, exact=work.job.exact, device=device,
        )  # fmt: skip
    model = _open(work, plan, networks, device)
    learnt = work.split.rows("train") + (valid if plan.folds else [])
    model.learners.update(simple.fit(work, plan.frames, learnt, plan.seed, progress))
    for name, learner in model.learners.items():
        learner.save(out / "learners" / name)
    held = crossfit.out_of_fold(work, model, progress)
    evidence = crossfit.gather(work, model, held, progress)
    model.fitted.update(crossfit.fit(work, evidence))
    write_json(out / "fitted.json", model.fitted)
    scored = score(model, work.cases, work.ready, work.split.rows("test"), progress, "scoring the test part")
    notes = [*task.notes, *work.split.warnings, *work.job.warnings]
    notes += [text for key, text in plan.reasons.items() if key.startswith("warning") or of_clock(key)]
    notes += [f"{name}: {own[key]}" for name, own in model.fitted.items() for key in _NOTES if own.get(key)]
    metrics = to_metrics(
        task, scored, part="test", seconds={"train": seconds, "evaluate": scored.seconds}, warnings=notes,
        fitted=model.fitted,
    )  # fmt: skip
    if held:
        apart = _cross_validate(work, held, evidence, progress)
        metrics["cross_validated"] = cross_validated(task, apart, plan.folds)
        keep_rows(out / bundle.PRIVATE / "out_of_fold.jsonl", apart)
    write_json(out / "metrics.json", metrics)
    keep_rows(out / bundle.PRIVATE / "test.jsonl", scored)
    provenance = {
        "galenic": bundle.versions()["galenic"], "versions": bundle.versions(), "seed": plan.seed, "device": device,
        "cases": cases_digest(work), "seconds": round(seconds, 1), "split": work.split.origin,
        "counts": {part: len(work.split.rows(part)) for part in ("train", "valid", "calib", "test")},
        "patients_known": work.cases.role("patient") is not None,
    }  # fmt: skip
    write_json(out / bundle.PRIVATE / "provenance.json", provenance)
    return model


def _open(work: Work, plan: Plan, networks: Sequence[Any], device: str) -> Model:
    shapes = work.plug.shapes(plan.frames, plan.network.settings)
    runners: list[Any] = [
        runtime.open_chosen(runtime_folder(work.job.out, at, len(networks)), network, shapes=shapes, device=device)
        for at, network in enumerate(networks)
    ]
    return Model(work.job.out, work.task, plan, {}, runners, work.frames)


def _cross_validate(work: Work, held: Sequence[Apart], evidence: Evidence, progress: Progress) -> Scored:
    """Every case of train and valid judged by the member that has not seen it, beside simple methods that haven't."""
    found = []
    for one in held:
        one.model.fitted.update(crossfit.fit(work, evidence, without=one.fold))
        title = f"scoring what network {one.fold} has not seen"
        found.append(score(one.model, work.cases, work.ready, one.rows, progress, title))
    rows = [row for one in held for row in one.rows]
    judged = {one.name: _joined([own.judged[one.name] for own in found]) for one in work.task.targets}
    patients = work.cases.patients()
    return Scored(
        [work.cases.ids[row] for row in rows], [patients[row] for row in rows], by.labels(work.cases, rows, work.task),
        judged, sum(own.seconds for own in found),
    )  # fmt: skip


def _joined(folds: Sequence[Mapping[str, list[Judged | None]]]) -> dict[str, list[Judged | None]]:
    """Learner -> the records of all folds. Where a fold's model is no blend, it is its network alone."""
    names = dict.fromkeys(name for own in folds for name in own)
    return {name: [case for own in folds for case in own.get(name, own["model"])] for name in names}


def score(
    model: Model, cases: Cases, ready: Ready, rows: Sequence[int], progress: Progress, title: str, *,
    left_out: dict[int, GalenicError] | None = None,
) -> Scored:  # fmt: skip
    """Judge every row by the model and by its simple methods; and by its network alone where the model is a blend.

    left_out: takes up the rows that can't be read, with the reason, instead of the first one being raised.
    """
    began = time.monotonic()
    task, weighed = model.task, [name for name, own in model.fitted.items() if "blend" in own]
    judged: dict[str, dict[str, list[Judged | None]]] = {one.name: {"model": []} for one in task.targets}
    progress.stage(title, len(rows), "cases")
    kept, done = list[int](), 0
    for some in crossfit.batches(rows, model.at_once):
        read = _read(cases, ready, some, task, left_out)
        for (row, _, truths), given in zip(read, _answers(model, [own for _, own, _ in read], weighed), strict=True):
            kept.append(row)
            for name, own in given.items():
                for one in (one for one in task.targets if one.name in own):
                    truth = truths[one.name]
                    found = None if truth is None else registry.target(one).judge(own[one.name], truth, one)
                    judged[one.name].setdefault(name, []).append(found)
        done += len(some)
        progress.advance(done)
    if left_out and not kept:
        raise next(iter(left_out.values()))
    patients = cases.patients()
    return Scored(
        [cases.ids[row] for row in kept], [patients[row] for row in kept], by.labels(cases, kept, task), judged,
        time.monotonic() - began,
    )  # fmt: skip


def _read(
    cases: Cases, ready: Ready, rows: Sequence[int], task: Task, left_out: dict[int, GalenicError] | None
) -> list[tuple[int, Prepared, Values]]:
    """Row, prepared case and truths; see `score` for left_out."""
    done = []
    for row in rows:
        try:
            done.append((row, ready[row], _truths(cases, row, task)))
        except GalenicError as error:
            if left_out is None:
                raise
            left_out[row] = error
    return done


def told_left_out(left_out: Mapping[int, GalenicError], of: int) -> list[str]:
    """How many rows were not scored, and why the first of them: a warning, or none."""
    if not left_out:
        return []
    why = "; ".join(error.given for error in list(left_out.values())[:5])
    more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
    return [f"{len(left_out)} of {of} cases could not be scored and are left out: {why}{more}"]


def _answers(model: Model, cases: Sequence[Prepared], weighed: Sequence[str]) -> Iterator[dict[str, dict[str, Answer]]]:
    """Learner -> target -> answer, the model first; of each case."""
    bare = replace(model, fitted={})
    for one, learners in zip(cases, blend.outputs_of(model.learners, cases), strict=True):
        network = model.judged(one)
        given = {"model": model.answer_from(one, network, learners)}
        if weighed:
            alone = bare.answer_from(one, network, learners)
            given[blend.NETWORK] = {name: alone[name] for name in weighed}
        for name, outputs in learners.items():
            given[name] = answers(model.task, model.plan.frames, {}, one, outputs)
        yield given


def _truths(cases: Cases, row: int, task: Task) -> Values:
    try:
        return cases.values(row, [one.name for one in task.targets])
    except GalenicError as error:
        raise in_case(cases, row, error) from error


def to_metrics(
    task: Task, scored: Scored, *, part: str, seconds: Mapping[str, float], warnings: Sequence[str],
    fitted: Mapping[str, Settings] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """metrics.json: every score with its interval and definition, beside the baselines on the same cases.

    fitted: the model's own, by which its answers are called; that is told where it was chosen.
    """
    targets = {}
    for one in task.targets:
        kind = registry.target(one)
        there = [at for at, case in enumerate(scored.judged[one.name]["model"]) if case is not None]
        own = {name: [case for case in cases if case is not None] for name, cases in scored.judged[one.name].items()}
        groups = [scored.groups[at] for at in there]
        labels = {name: [given[at] for at in there] for name, given in scored.labels.items()}
        found = measure(one, own["model"], groups)
        found["subgroups"] = subgroups(one, own["model"], groups, labels)
        found["worst_subgroup"] = by.worst(one, found["subgroups"])
        found["baselines"] = []
        for name, judged in own.items():
            if name != "model":
                other = measure(one, judged, groups, resamples=300)
                scores = {
                    key: {k: value[k] for k in ("value", "low", "high")} for key, value in other["scores"].items()
                }
                beside = {"name": simple.title_of(name), "scores": scores}
                beside["gap"] = _gap(one, own["model"], judged, groups)
                if name == blend.NETWORK:
                    found["network"] = beside
                else:
                    found["baselines"].append(beside)
        found["main"] = kind.main_score
        if hasattr(kind, "details"):
            found["details"] = kind.details(own["model"], one)
        if call := _call(one, fitted or {}):
            found["call"] = call
        targets[one.name] = found
    first = task.targets[0]
    return {
        "task": task.name, "part": part, "cases": len(scored.ids),
        "interval": "95 % percentile bootstrap over patients (over cases where no patient is known)",
        "main": {"target": first.name, "score": registry.target(first).main_score},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "warnings": list(warnings), "targets": targets,
    }  # fmt: skip


def _call(one: Field, fitted: Mapping[str, Settings]) -> str:
    calling = getattr(registry.target(one), "calling", None)
    return "" if calling is None else str(calling(fitted.get(one.name, {})))


def cross_validated(task: Task, scored: Scored, folds: int) -> dict[str, Any]:
    """What metrics.json says of the cases of train and valid, each judged by the network that has not seen it."""
    found = to_metrics(task, scored, part="out of fold", seconds={}, warnings=[])
    return {"cases": found["cases"], "folds": folds, "targets": found["targets"]}


def _gap(one: Field, ours: Sequence[Judged], theirs: Sequence[Judged], groups: Sequence[str]) -> dict[str, Any]:
    """The model's main score less a simple method's on the same cases, with its paired interval."""
    kind = registry.target(one)
    found = paired(lambda some: kind.scores(some, one)[""][kind.main_score], ours, theirs, groups, resamples=300)
    return {"value": plain(found["difference"]), "low": plain(found["low"]), "high": plain(found["high"])}


def keep_rows(path: Path, scored: Scored) -> None:
    """One line a case: what each learner scored, for pairing and for the report; private, as it names cases."""
    lines = []
    for at, own in enumerate(scored.ids):
        record = {
            name: {learner: judged[at] for learner, judged in each.items()} for name, each in scored.judged.items()
        }
        lines.append(json.dumps({"id": own, "patient": scored.groups[at], "judged": record}))
    write_text(path, "\n".join(lines) + "\n")


def cases_digest(work: Work) -> str:
    """SHA-256 over the table of cases as it was read."""
    hashed = pd.util.hash_pandas_object(work.job.table.astype(str), index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()


def seal(folder: Path) -> None:
    """Seal the folder with the provenance kept aside, once report and card are written; where there is none, as in an
    unpacked export, with what it was sealed with before."""
    aside = folder / bundle.PRIVATE / "provenance.json"
    kept = read_json(aside if aside.is_file() else folder / "provenance.json")
    bundle.seal(folder, {name: value for name, value in kept.items() if name not in ("format", "digests")})
