"""What a report is made of: the files of a model folder, read, and the pictures, drawn elsewhere and handed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from galenic.core.errors import ValueProblem
from galenic.core.figures import Figure, Sheet

NOT_A_DEVICE = "Not a medical device: research use only. It must not guide the care of a patient."
SMOKE = "Smoke demo: it shows that the tool runs from end to end on this machine. It makes no clinical claim."


@dataclass(frozen=True)
class Picture:
    """One case as a picture: what it shows, what the lines mean, and a whole SVG document."""

    title: str
    caption: str
    svg: str

    def __post_init__(self) -> None:
        start = self.svg.lstrip("\ufeff \t\r\n")[:5].lower()
        if not (start.startswith("<svg") or start == "<?xml") or "<svg" not in self.svg:
            raise ValueProblem(f"the picture {self.title!r} is not an SVG document", allowed="text that starts <svg")


@dataclass(frozen=True)
class Content:
    """One model's part of a report.

    task: task.toml, parsed. plan: plan.json; its "reasons" map a decision to its reason, flat or one level deep.
    metrics: metrics.json. history: the lines of history.jsonl, {"seconds", "step", "losses": {name: value},
    "score": value or None}. provenance: provenance.json. run: private/run.json, {} where that was left out.
    pictures: best, median and worst cases with their true and predicted outlines. figures: target -> what its kind has
    to be drawn and listed of the scored cases; cases are named there.
    data: what the cases were. Understood keys are "cases" (part -> count), "patients" (text, or whether they are
    known), "fields" (as the task writes them), "classes" (field -> class -> cases that show it), "split", "licence",
    "licence_note", "citation", "origin"; any other is shown under its own name.
    red: warnings printed in red, beside those in the metrics. smoke: a demo run, which is said on top.
    """

    task: dict[str, Any]
    plan: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    red: list[str] = field(default_factory=list)
    smoke: bool = False
    figures: dict[str, list[Figure | Sheet]] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.task.get("name") or self.metrics.get("task") or "model")

    @property
    def title(self) -> str:
        return str(self.task.get("title") or self.name)

    @property
    def notes(self) -> list[str]:
        return [str(note) for note in self.task.get("notes", [])]

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before the scores: `red`, the metrics' own but the notes, the plan's; each once."""
        own = [*self.red, *self.metrics.get("warnings", [])]
        told = [str(text) for text in own if str(text) not in self.notes]
        alarms = [(key.partition(":")[2].strip(), text) for _, key, text in reasons(self.plan) if _alarm(key)]
        planned = [f"{what}: {text}" for what, text in alarms if text not in told]
        return list(dict.fromkeys([*told, *planned]))

    @property
    def purpose(self) -> str:
        """One sentence: from which fields to which."""
        given, learnt = (fields_in_words(self.task.get(key, [])) for key in ("inputs", "targets"))
        return f"From {given} it gives {learnt}."


def fields_in_words(fields: Sequence[dict[str, Any]]) -> str:
    """Fields as a task writes them, in words: "label (mask: anterior, posterior)"."""
    parts = []
    for own in fields:
        options = own.get("options", {})
        classes = options.get("classes", options.get("labels")) or []
        names = list(classes.values()) if isinstance(classes, dict) else list(classes)
        kind = str(own.get("kind", "?")) + (f": {', '.join(str(name) for name in names)}" if names else "")
        parts.append(f"{own.get('name', '?')} ({kind})")
    return " and ".join(parts) or "nothing that the task names"


def facts(data: dict[str, Any]) -> dict[str, Any]:
    """What the cases were, with what needs words put into words: whether patients are known, and the fields."""
    done = dict(data)
    if isinstance(patients := data.get("patients"), bool):
        done["patients"] = "known" if patients else "unknown"
    fields = data.get("fields")
    if isinstance(fields, list) and all(isinstance(own, dict) for own in fields):
        done["fields"] = fields_in_words(fields)
    return {str(key).replace("_", " "): value for key, value in done.items()}


def _alarm(key: str) -> bool:
    return key.lower().startswith("warning:")


def reasons(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(group or "", decision, reason) of each decision in a plan, in its order."""
    found = []
    for key, own in (plan.get("reasons") or {}).items():
        if isinstance(own, dict):
            found += [(str(key), str(name), str(reason)) for name, reason in own.items()]
        else:
            found.append(("", str(key), str(own)))
    return found


def decisions(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(decision, what was decided, why): the value is looked up in the plan by the words of the decision's name."""
    paths = list(_paths({key: value for key, value in plan.items() if key != "reasons"}, ()))
    done = []
    for group, key, reason in reasons(plan):
        if not _alarm(key):
            title = f"{group}: {key}" if group else key
            done.append((title.replace("_", " "), _decided(paths, group, key), reason))
    return done


def _paths(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    own = [(path, value)] if path else []
    if isinstance(value, dict):
        own += [pair for key, inner in value.items() for pair in _paths(inner, (*path, str(key)))]
    return own


def _decided(paths: list[tuple[tuple[str, ...], Any]], group: str, key: str) -> str:
    """The value whose path holds all words of `key`; of several the one in `group`, then the shortest path."""
    words = {key} if any(key in path for path, _ in paths) else set(key.replace(".", " ").split())
    fits = []
    for path, value in paths:
        stems = {*path, *(part.removesuffix("_mm") for part in path)}
        if words <= stems and (path[-1] in words or path[-1].removesuffix("_mm") in words):
            fits.append((group not in path, len(path), value))
    if not fits:
        return ""
    return in_words(min(fits, key=lambda fit: fit[:2])[2])


def in_words(value: Any, most: int = 160) -> str:
    """A JSON value as short plain text; what would be longer than `most` characters is only counted."""
    if isinstance(value, dict):
        text = "; ".join(f"{key}: {in_words(inner, most)}" for key, inner in value.items())
        return text if len(text) <= most else f"{len(value)} settings, see plan.json"
    if isinstance(value, list | tuple):
        text = ", ".join(in_words(inner, most) for inner in value)
        return text if len(text) <= most else f"{len(value)} values, see plan.json"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
