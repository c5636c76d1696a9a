"""Figures as SVG for inlining: lines over two axes, in colours and ink that follow the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galenic.core.errors import MissingExtra
from galenic.core.figures import Figure, Line

# Okabe and Ito, Color Universal Design (2008): told apart by the colour-blind; yellow left out, too pale on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")
_GREY = "#808080"
_INK = "#010203"  # swapped for the page's own text colour, which follows dark and light
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "galenic", "font.size": 10.0, "font.family": "sans-serif",
    "figure.facecolor": "none", "axes.facecolor": "none",
    "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "text.usetex": False, "path.simplify": True,
}  # fmt: skip
_FEW = 40  # points that are marked each


@dataclass(frozen=True)
class Drawn:
    """A drawn figure: SVG text without prolog, a caption, and what a screen reader says."""

    title: str
    svg: str
    alt: str
    caption: str = ""


def draw(figure: Figure, *, prefix: str = "") -> Drawn:
    """The figure; prefix is put before every id, so that several figures can share a page.

    Raises MissingExtra where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "report", "the figures of a report") from error
    with rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that the measuring font lacks; the reader's own font draws it.
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message="Creating legend")  # told by the clock, on a busy machine
        canvas = Canvas(figsize=(4.4, 4.0) if figure.square else (5.0, 3.2), layout="constrained")
        axes = canvas.add_subplot()
        _plot(axes, figure.lines)
        axes.set_xlabel(_clean(figure.x), parse_math=False)
        axes.set_ylabel(_clean(figure.y), parse_math=False)
        if figure.x_range is not None:
            axes.set_xlim(*figure.x_range)
        if figure.y_range is not None:
            axes.set_ylim(*figure.y_range)
        axes.grid(visible=True, color=_GREY, alpha=0.25, linewidth=0.8)
        if len(figure.lines) > 1:
            for text in axes.legend(frameon=False, fontsize=9).get_texts():
                text.set_parse_math(False)
        out = io.StringIO()
        FigureCanvasSVG(canvas).print_svg(out, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    spoken = figure.spoken or ". ".join(part for part in (figure.title, figure.caption) if part)
    return Drawn(figure.title, _inline(out.getvalue(), prefix), spoken, figure.caption)


def _plot(axes: Any, lines: Sequence[Line]) -> None:
    coloured = 0
    for line in lines:
        label = _clean(line.name)
        label = f"\u200b{label}" if label.startswith("_") else label
        if line.style == "guide":
            axes.plot(line.x, line.y, color=_GREY, linestyle="--", linewidth=1.2, label=label)
            continue
        colour, dash = _COLOURS[coloured % len(_COLOURS)], _DASHES[coloured // len(_COLOURS) % len(_DASHES)]
        coloured += 1
        dots = line.style == "dots"
        axes.plot(
            line.x, line.y, color=colour, linestyle="none" if dots else dash, linewidth=1.8, label=label,
            drawstyle="steps-post" if line.style == "step" else "default", alpha=0.6 if dots else 1.0,
            marker="o" if dots or (line.style == "line" and len(line.x) < _FEW) else "", markersize=3.5,
        )  # fmt: skip


def _clean(text: str) -> str:
    """Without control characters, which no XML can hold."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _inline(svg: str, prefix: str) -> str:
    """Without prolog and global style; ids made the page's own; ink that follows the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r"url\(#", f"url(#{prefix}", body)
    body = re.sub(r'href="#', f'href="#{prefix}', body)
    return body.replace(_INK, "currentColor").replace("<svg ", '<svg aria-hidden="true" ', 1)
