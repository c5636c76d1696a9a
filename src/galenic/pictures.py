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
from galenic.core import bundle, registry
from galenic.core.cases import Cases
from galenic.core.contract import Field, Prepared
from galenic.core.errors import MissingExtra
from galenic.core.files import write_json
from galenic.core.model import Model
from galenic.core.ready import Ready
from galenic.core.split import ONE_SUBJECT, PARTS
from galenic.report.content import Content, Picture

KEPT = "pictures.json"
DATA = "data.json"


def keep(model: Model, cases: Cases, rows: Sequence[int], ready: Ready) -> None:
    """Draw the two worst, the median and the best test case of each target that can be drawn."""
    drawn: list[dict[str, str]] = []
    for one in model.task.targets:
        draw = getattr(registry.target(one), "show", None)
        if draw is None:
            continue
        values = _values(model.folder, one.name, registry.target(one).main_score)
        for title, at in _picked(values):
            drawn += _draw(model, cases, rows[at], ready, one.name, f"{title}: {values[at]:.3f}")
    write_json(model.folder / bundle.PRIVATE / KEPT, drawn)


def _values(folder: Path, target: str, score: str) -> list[float]:
    """The main score of each test case (mean over its classes), NaN where undefined."""
    found = []
    for line in (folder / bundle.PRIVATE / "test.jsonl").read_text(encoding="utf-8").splitlines():
        own = json.loads(line)["judged"].get(target, {}).get("model", {})
        known = [value[score] for value in _records(own) if isinstance(value.get(score), int | float)]
        found.append(float(np.mean(known)) if known else math.nan)
    return found


def _records(judged: Any) -> list[dict[str, Any]]:
    """Every dictionary in a judged record, itself included, however deep its classes lie."""
    if not isinstance(judged, dict):
        return []
    return [judged, *(inner for value in judged.values() for inner in _records(value))]


def _picked(values: Sequence[float]) -> list[tuple[str, int]]:
    """(what it is, which case), from worst to best; of few cases each once, by its most telling name."""
    order = [int(at) for at in np.argsort(values) if not math.isnan(values[at])]
    if not order:
        return []
    named: dict[int, str] = {}
    for title, at in (("worst", order[0]), ("best", order[-1]), ("median", order[len(order) // 2]),
                      ("second worst", order[min(1, len(order) - 1)])):  # fmt: skip
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
    )  # fmt: skip


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
