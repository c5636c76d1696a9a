"""The model card: what a model is for, what it was learnt from, how good it is, and what it must not be used for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from galenic.report.content import NOT_A_DEVICE, SMOKE, Content, facts, in_words
from galenic.report.reading import Reading, Row, number, readings, validated, validation_in_words
from galenic.report.repeat import commands

_UNKNOWN = "not written down"


def card(content: Content) -> str:
    """A Markdown model card; names from data are escaped. It holds no case ids, so that it may leave the hospital.

    Sections after the model cards of Mitchell et al., FAccT 2019.
    """
    blocks = [
        f"# {plain(content.title)}",
        *([f"**{SMOKE}**"] if content.smoke else []),
        f"**{NOT_A_DEVICE}**",
        "## Intended use",
        f"{plain(content.purpose)} For research: to compare methods, and to prepare studies on your own cases.",
        "Not for diagnosis, for treatment, or for cases unlike those below.",
        *_limits(content),
        *_data(content),
        *_scores(content),
        *_training(content),
        "## How to use",
        "In the model folder:",
        *(f"{plain(purpose[:1].upper() + purpose[1:])}:\n\n{_code(command)}" for purpose, command in commands(content)),
    ]
    return "\n\n".join(blocks) + "\n"


def plain(text: Any) -> str:
    """One line on which nothing is markup: no HTML, link, table border or emphasis."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", line)


def _code(command: str) -> str:
    return "\n".join(f"    {line}" for line in command.splitlines() or [""])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _limits(content: Content) -> list[str]:
    items = [f"- **Warning: {plain(text)}**" for text in content.warnings]
    items += [f"- **Warning: a simple method is at least as good on {plain(own.target)}.**"
              for own in readings(content) if own.beaten]  # fmt: skip
    items += [f"- {plain(text)}" for text in content.notes]
    items.append("- Nothing is known about cases from other hospitals, scanners or laboratories than those named here.")
    return ["## Limits and warnings", "\n".join(items)]


def _data(content: Content) -> list[str]:
    data = facts(content.data)
    items = [("patients", data.pop("patients", _UNKNOWN))]
    licence = data.pop("licence", None) or _UNKNOWN
    split = data.pop("split", None) or content.plan.get("split") or content.task.get("split") or _UNKNOWN
    items += data.items()
    items.append(("split", in_words(split)))
    lines = [f"- {plain(name)}: {plain(in_words(value, 4000))}" for name, value in items]
    return ["## Data and split", "\n".join([*lines, f"- licence: {plain(in_words(licence))}"])]


def _scores(content: Content) -> list[str]:
    metrics = content.metrics
    found = readings(content)
    if not found:
        return ["## Scores", "No scores were measured."]
    where = f"On {metrics.get('cases', '?')} cases of the part “{plain(metrics.get('part', 'test'))}”"
    if metrics.get("interval"):
        where += f"; intervals: {plain(metrics['interval'])}"
    blocks = ["## Scores", f"{where}. Value (interval).", *(block for own in found for block in _target(own))]
    held = validated(content)
    if held:
        blocks += ["### Cross-validated", f"{plain(validation_in_words(content))}."]
        blocks += [block for own in held for block in (f"{plain(own.target)}:", _methods(own))]
    return blocks


def _methods(reading: Reading) -> str:
    return table(
        ["score", *(plain(row.name) for row in reading.methods)],
        [[plain(reading.label(own.name)), *(_cell(row, own.name) for row in reading.methods)]
         for own in reading.scores],
    )  # fmt: skip


def _target(reading: Reading) -> list[str]:
    call = [f"Threshold: {plain(reading.call)}."] if reading.call else []
    blocks = [f"### {plain(reading.target)}", plain(reading.verdict), *call, _methods(reading)]
    for title, rows in (("class", reading.classes), ("subgroup", reading.subgroups)):
        if rows:
            own = reading.columns(rows)
            counted = any(row.cases is not None for row in rows)
            lines = [
                [plain(row.name), *([_cases(row)] if counted else []), *(_cell(row, name) for name in own)]
                for row in rows
            ]
            head = [title, *(["cases"] if counted else []), *(plain(reading.label(name)) for name in own)]
            blocks.append(table(head, lines))
            worst = reading.worst(rows)
            if worst:
                blocks.append(f"The worst {title}: {plain(worst.name)}, {_cell(worst, reading.main)}.")
    defined = [f"- {plain(reading.label(own.name))}: {plain(own.text)}" for own in reading.scores if own.text]
    return [*blocks, *(["\n".join(defined)] if defined else [])]


def _cases(row: Row) -> str:
    return "" if row.cases is None else str(row.cases)


def _cell(row: Row, score: str) -> str:
    return row.estimates[score].text if score in row.estimates else ""


def _training(content: Content) -> list[str]:
    made = content.provenance
    seconds = {**{k: number(v) for k, v in (content.metrics.get("seconds") or {}).items()}}
    items = [
        ("network", content.plan.get("network")), ("budget", content.plan.get("budget")),
        *((f"seconds: {name}", value) for name, value in seconds.items()),
        *((key, made.get(key)) for key in ("device", "seed", "threads", "versions")),
    ]  # fmt: skip
    lines = [f"- {plain(name)}: {plain(in_words(value, 600))}" for name, value in items if value is not None]
    return ["## Training", "\n".join(lines) or _UNKNOWN]
