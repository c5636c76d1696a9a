"""Losses and the validation score over training time, as SVG for inlining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from galenic.core.figures import Figure, Line
from galenic.report.figures import Drawn, draw
from galenic.report.reading import number


def curves(history: Sequence[dict[str, Any]], score: str, *, prefix: str = "") -> list[Drawn]:
    """The curves that a history (lines of history.jsonl, oldest first) has points for; none for an empty one.

    Of a cross-validation, whose lines name their fold, each fold has its own line in the drawing.
    score: the validation score's name. prefix: put before every id, so that several curves can share a page.
    Raises MissingExtra where matplotlib is not installed.
    """
    losses: dict[str, list[tuple[float, float]]] = {}
    scored: dict[str, list[tuple[float, float]]] = {}
    label = score.replace("_", " ")
    for line in history:
        seconds = _finite(line.get("seconds"))
        if seconds is None:
            continue
        of = f", fold {line['fold']}" if "fold" in line else ""
        for name, given in (line.get("losses") or {}).items():
            if (value := _finite(given)) is not None:
                losses.setdefault(f"{name}{of}", []).append((seconds, value))
        if (value := _finite(line.get("score"))) is not None:
            scored.setdefault(f"{label}{of}", []).append((seconds, value))
    done = []
    if losses:
        spoken = "; ".join(f"{name} from {number(own[0][1])} to {number(own[-1][1])}" for name, own in losses.items())
        figure = _over_time("Losses", losses, "loss", f"Training losses over time: {spoken}")
        done.append(draw(figure, prefix=f"{prefix}losses-"))
    if scored:
        spoken = "; ".join(_spoken(name, [value for _, value in own], label) for name, own in scored.items())
        figure = _over_time("Validation score", scored, label, f"Validation {label} over time: {spoken}")
        done.append(draw(figure, prefix=f"{prefix}score-"))
    return done


def _spoken(name: str, values: Sequence[float], label: str) -> str:
    fold = name.removeprefix(label).removeprefix(", ")
    return (
        f"{f'{fold} ' if fold else ''}from {number(values[0])} to {number(values[-1])}, lowest {number(min(values))}, "
        f"highest {number(max(values))}, evaluations: {len(values)}"
    )


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _over_time(title: str, series: dict[str, list[tuple[float, float]]], label: str, spoken: str) -> Figure:
    longest = max(seconds for points in series.values() for seconds, _ in points)
    unit, divisor = ("hours", 3600.0) if longest > 7200 else ("minutes", 60.0) if longest > 180 else ("seconds", 1.0)
    lines = [
        Line(name, [seconds / divisor for seconds, _ in points], [value for _, value in points])
        for name, points in series.items()
    ]
    return Figure(title, f"training time in {unit}", label, lines, spoken=spoken)
