"""Losses and the validation score over training time, as SVG for inlining."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galenic.core.errors import MissingExtra
from galenic.report.reading import number

# Okabe and Ito, Color Universal Design (2008): told apart by the colour-blind; yellow left out, too pale on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")
_INK = "#010203"  # swapped for the page's own text colour, which follows dark and light
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "galenic", "font.size": 10.0, "font.family": "sans-serif",
    "figure.facecolor": "none", "axes.facecolor": "none",
    "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "text.usetex": False, "path.simplify": True,
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """A drawn curve: SVG text without prolog, and what a screen reader says."""

    title: str
    svg: str
    alt: str


def curves(history: Sequence[dict[str, Any]], score: str, *, prefix: str = "") -> list[Curve]:
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
        done.append(Curve("Losses", _draw(losses, "loss", f"{prefix}losses-"), f"Training losses over time: {spoken}"))
    if scored:
        spoken = "; ".join(_spoken(name, [value for _, value in own], label) for name, own in scored.items())
        svg = _draw(scored, label, f"{prefix}score-")
        done.append(Curve("Validation score", svg, f"Validation {label} over time: {spoken}"))
    return done


def _spoken(name: str, values: Sequence[float], label: str) -> str:
    fold = name.removeprefix(label).removeprefix(", ")
    return (
        f"{f'{fold} ' if fold else ''}from {number(values[0])} to {number(values[-1])}, lowest {number(min(values))}, "
        f"highest {number(max(values))}, evaluations: {len(values)}"
    )


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _draw(series: dict[str, list[tuple[float, float]]], label: str, prefix: str) -> str:
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "report", "the curves of a report") from error
    longest = max(seconds for points in series.values() for seconds, _ in points)
    unit, divisor = ("hours", 3600.0) if longest > 7200 else ("minutes", 60.0) if longest > 180 else ("seconds", 1.0)
    with rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that the measuring font lacks; the reader's own font draws it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(5.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for place, (name, points) in enumerate(series.items()):
            axes.plot(
                [seconds / divisor for seconds, _ in points], [value for _, value in points],
                color=_COLOURS[place % len(_COLOURS)], linestyle=_DASHES[place // len(_COLOURS) % len(_DASHES)],
                linewidth=1.8, marker="o" if len(points) < 40 else "", markersize=3.5,
                label=f"\u200b{name}" if name.startswith("_") else name,
            )  # fmt: skip
        axes.set_xlabel(f"training time in {unit}")
        axes.set_ylabel(label, parse_math=False)
        axes.grid(visible=True, color="#808080", alpha=0.25, linewidth=0.8)
        if len(series) > 1:
            for text in axes.legend(frameon=False, fontsize=9).get_texts():
                text.set_parse_math(False)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(out.getvalue(), prefix)


def _inline(svg: str, prefix: str) -> str:
    """Without prolog and global style; ids made the page's own; ink that follows the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r"url\(#", f"url(#{prefix}", body)
    body = re.sub(r'href="#', f'href="#{prefix}', body)
    return body.replace(_INK, "currentColor").replace("<svg ", '<svg aria-hidden="true" ', 1)
