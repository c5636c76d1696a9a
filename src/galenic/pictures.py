"""What the report shows of the cases: pictures and what they were, made while the data are at hand, under private/."""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galenic.catalog import load as load_entry
from galenic.core import bundle, registry, simple
from galenic.core.cases import Cases
from galenic.core.contract import Field, Prepared
from galenic.core.errors import MissingExtra, UnreadableFile
from galenic.core.figures import Figure, Sheet
from galenic.core.files import write_json
from galenic.core.model import Model
from galenic.core.ready import Ready
from galenic.core.split import ONE_SUBJECT, PARTS
from galenic.core.task import load_task
from galenic.report.content import Content, Picture

KEPT = "pictures.json"
DATA = "data.json"
WORST = ("worst", "second worst")
MOST_WRONG = ("most wrong", "second most wrong", "third most wrong", "fourth most wrong")
OURS = "this model"


def keep(model: Model, cases: Cases, rows: Sequence[int], ready: Ready) -> None:
    """Draw the worst, the median and the best test cases of each target that can be drawn.

    A target that can't, such as a category, is told under the picture of its case: first those most wrong.
    """
    drawn: list[dict[str, str]] = []
    for one in model.task.targets:
        if hasattr(registry.target(one), "show"):
            values = _values(model.folder, one.name, registry.target(one).main_score)
            for title, at in _picked(values):
                drawn += _draw(model, cases, rows[at], ready, one.name, f"{title}: {values[at]:.3f}")
            continue
        judged = _judged(model.folder, one.name)
        for title, at in _picked([_of_truth(own) for own in judged], MOST_WRONG):
            drawn += _draw_input(model, cases, rows[at], title, f"{one.name}: {_in_words(judged[at])}")
    write_json(model.folder / bundle.PRIVATE / KEPT, drawn)


def _values(folder: Path, target: str, score: str) -> list[float]:
    """The main score of each test case (mean over its classes), NaN where undefined."""
    found = []
    for own in _judged(folder, target):
        known = [value[score] for value in _records(own) if isinstance(value.get(score), int | float)]
        found.append(float(np.mean(known)) if known else math.nan)
    return found


def _judged(folder: Path, target: str) -> list[Any]:
    """What the model's scores of a target rest on, a record a test case, in their order."""
    lines = (folder / bundle.PRIVATE / "test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["judged"].get(target, {}).get("model", {}) for line in lines]


def _of_truth(judged: Any) -> float:
    """The probability that a category's answer gave to the truth; NaN for a refusal and for other kinds."""
    truth, chances = (judged or {}).get("truth"), (judged or {}).get("p")
    return float(chances[truth]) if chances and isinstance(truth, int) and truth >= 0 else math.nan


def _in_words(judged: dict[str, Any]) -> str:
    """The truth, and every label's probability, the greatest first."""
    order = np.argsort(judged["p"])[::-1]
    chances = ", ".join(f"{judged['labels'][at]} {judged['p'][at]:.2f}" for at in order)
    return f"truth {judged['labels'][judged['truth']]}; answer {chances}"


def _records(judged: Any) -> list[dict[str, Any]]:
    """Every dictionary in a judged record, itself included, however deep its classes lie."""
    if not isinstance(judged, dict):
        return []
    return [judged, *(inner for value in judged.values() for inner in _records(value))]


def _picked(values: Sequence[float], low: Sequence[str] = WORST) -> list[tuple[str, int]]:
    """(what it is, which case), from worst to best; of few cases each once, by its most telling name."""
    order = [int(at) for at in np.argsort(values) if not math.isnan(values[at])]
    if not order:
        return []
    named = {order[0]: low[0]}
    for title, at in (("best", order[-1]), ("median", order[len(order) // 2]), *zip(low[1:], order[1:], strict=False)):
        named.setdefault(at, title)
    return [(named[at], at) for at in order if at in named]


def _draw(model: Model, cases: Cases, row: int, ready: Ready, target: str, title: str) -> list[dict[str, str]]:
    field = model.task.field(target)
    values = cases.values(row)
    answer = model.answer(ready[row])[target]
    first = next((values[one.name] for one in model.task.inputs if one.kind == "image"), None)
    if first is None:
        return []
    show = registry.target(field).show  # type: ignore[attr-defined]
    try:
        svg = show(first, values[target], answer.value)
    except MissingExtra:
        return []
    return [{"title": f"{title} ({cases.ids[row]})", "caption": "true and predicted outline", "svg": svg}]


def _draw_input(model: Model, cases: Cases, row: int, title: str, caption: str) -> list[dict[str, str]]:
    """The case's first input that can be drawn, with its answer in words."""
    for one in model.task.inputs:
        show, value = getattr(registry.kind(one.kind), "show", None), cases.opened[one.name].read(row)
        if show is None or value is None:
            continue
        try:
            return [{"title": f"{title} ({cases.ids[row]})", "caption": caption, "svg": show(value)}]
        except MissingExtra:
            return []
    return []


def describe(model: Model, cases: Cases, parts: Sequence[str], ready: Ready) -> None:
    """Keep what the cases of all parts were: as their frames tell it, and how many show each class, a part each."""
    rows = [row for row, part in enumerate(parts) if part]
    facts: list[Mapping[str, Any]] = []
    counts: dict[str, dict[str, Counter[str]]] = {one.name: {} for one in model.task.targets}
    for row in rows:
        prepared = ready[row]
        facts.append(prepared.facts)
        for one in model.task.targets:
            for name in _shown(one, cases, row, prepared):
                counts[one.name].setdefault(name, Counter())[parts[row]] += 1
    told: dict[str, Any] = {}
    for name, settings in model.plan.frames.items():
        tell = getattr(registry.frame(name), "told", None)
        told |= {} if tell is None else tell(facts, settings)
    sizes = Counter(part for part in parts if part)
    classes = {target: {name: _of_parts(own[name], sizes) for name in own} for target, own in counts.items() if own}
    told |= {"classes": classes} if classes else {}
    write_json(model.folder / bundle.PRIVATE / DATA, told)


def _shown(one: Field, cases: Cases, row: int, prepared: Prepared) -> list[str]:
    """The classes that the truth of a case shows: what its kind says, or a label itself."""
    shown = getattr(registry.target(one), "shown", None)
    if shown is not None:
        return list(shown(prepared.arrays[one.name], one)) if one.name in prepared.arrays else []
    truth = cases.values(row, [one.name])[one.name]
    return [truth] if isinstance(truth, str) else []


def _of_parts(own: Mapping[str, int], sizes: Mapping[str, int]) -> str:
    """`165 of 187 train, 52 of 52 test`."""
    return ", ".join(f"{own.get(part, 0)} of {sizes[part]} {part}" for part in PARTS if part in sizes)


def content_of(folder: Path, *, smoke: bool = False) -> Content:
    """What the report of a model folder is made of, read from its files."""
    task = tomllib.loads((folder / "task.toml").read_text(encoding="utf-8"))
    plan, metrics = _json(folder / "plan.json"), _json(folder / "metrics.json")
    provenance = _json(folder / bundle.PRIVATE / "provenance.json") or _json(folder / "provenance.json")
    lines = []
    history = folder / "history.jsonl"
    if history.is_file():
        lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines() if line]
    kept = _json(folder / bundle.PRIVATE / KEPT) or []
    data: dict[str, Any] = {
        "cases": provenance.get("counts", {}), "patients": bool(provenance.get("patients_known")),
        "split": provenance.get("split", ""),
    }  # fmt: skip
    data |= {"fields": [*task["inputs"], *task["targets"]], **(_json(folder / bundle.PRIVATE / DATA) or {})}
    if task.get("data"):
        entry = load_entry(task["data"])
        data |= {
            "set": entry.title, "origin": entry.origin, "licence": entry.licence, "licence_note": entry.licence_note,
            "citation": entry.citation,
        }  # fmt: skip
    red = [ONE_SUBJECT] if task.get("within_one_subject") else []
    return Content(
        task=task, plan=plan, metrics=metrics, history=lines, provenance=provenance,
        run=_json(folder / bundle.PRIVATE / "run.json"),
        pictures=[Picture(**one) for one in kept], data=data, red=red, smoke=smoke,
        figures=figures_of(folder),
    )  # fmt: skip


def figures_of(folder: Path) -> dict[str, list[Figure | Sheet]]:
    """Target -> what its kind has to be drawn of the test cases; a target or folder without records has nothing."""
    path = folder / bundle.PRIVATE / "test.jsonl"
    if not path.is_file() or not (folder / "task.toml").is_file():
        return {}
    records = _records_of(path)
    try:
        targets = registry.checked(load_task(folder / "task.toml")).targets
    except MissingExtra:  # a report can be written where the model can't run
        return {}
    found = {}
    for one in targets:
        draw = getattr(registry.target(one), "figures", None)
        known = [record for record in records if (record["judged"].get(one.name) or {}).get("model") is not None]
        if draw is None or not known:
            continue
        learners = known[0]["judged"][one.name]
        judged = {_title(name): [record["judged"][one.name][name] for record in known] for name in learners}
        found[one.name] = draw([str(record["id"]) for record in known], judged, one)
    return found


def _title(learner: str) -> str:
    return OURS if learner == "model" else simple.title_of(learner)


def _records_of(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise UnreadableFile(f"{path} is damaged: {error}", todo="copy the model folder again") from error


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
