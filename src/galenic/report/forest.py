"""A forest plot as SVG: one score of several methods, classes or subgroups, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from galenic.report.reading import Estimate, Row

WIDTH = 360.0  # user units; a phone's width, so that the text stays readable when nothing is scaled
_MARGIN = 20.0
_PITCH = 42.0


def forest(rows: Sequence[Row], score: str, *, title: str, mark: float | None = None) -> str:
    """SVG text of the rows' `score`; "" with fewer than two of them defined.

    mark: where a dashed line stands, such as the model's own value. Colours come from the page's CSS classes; the
    model is a filled square, others are open circles, so that nothing hangs on colour.
    """
    known = [(row, row.estimates[score]) for row in rows if score in row.estimates]
    known = [(row, estimate) for row, estimate in known if estimate.value is not None]
    if len(known) < 2:
        return ""
    ticks = axis(bound for _, own in known for bound in (own.value, own.low, own.high) if bound is not None)
    height = _PITCH * len(known) + 34
    spoken = f"{title}: " + "; ".join(f"{row.name} {own.text}" for row, own in known)
    bottom = height - 28
    parts = [
        f'<svg class="forest" role="img" aria-label="{escape(spoken)}" viewBox="0 0 {WIDTH:g} {height:g}" '
        f'width="{WIDTH:g}" height="{height:g}">'
    ]
    for place, (row, own) in enumerate(known):
        if mark is not None and ticks[0] <= mark <= ticks[-1]:
            x, top = _place(mark, ticks), _PITCH * place
            parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 19:g}" y2="{top + 38:g}"/>')
        parts += _line(row, own, _PITCH * place, ticks)
    parts += _ruler(ticks, bottom)
    return "".join([*parts, "</svg>"])


def axis(values: Iterable[float]) -> list[float]:
    """3 to 7 round ticks that hold all values, with room on both sides where all are equal."""
    given = [float(value) for value in values]
    low, high = min(given), max(given)
    size = max(abs(low), abs(high))
    span = high - low if high - low > 1e-9 * size else max(size * 0.1, 0.1)
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last - first < 2:
        first, last = first - 1, last + 1
    return [index * step for index in range(first, last + 1)]


def _place(value: float, ticks: Sequence[float]) -> float:
    return _MARGIN + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - 2 * _MARGIN)


def _line(row: Row, own: Estimate, top: float, ticks: Sequence[float]) -> list[str]:
    name = row.name if len(row.name) <= 34 else row.name[:33] + "…"
    kind, y = ("ours" if row.ours else "other"), top + 28
    parts = [
        f'<text class="name" x="2" y="{top + 15:g}">{escape(name)}</text>',
        f'<text class="value" x="{WIDTH - 2:g}" y="{top + 15:g}" text-anchor="end">{escape(own.text)}</text>',
    ]
    if own.low is not None and own.high is not None:
        x1, x2 = _place(own.low, ticks), _place(own.high, ticks)
        parts.append(f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y:g}" y2="{y:g}"/>')
    x = _place(own.value or 0.0, ticks)
    shape = f'<rect class="ours" x="{x - 5:.1f}" y="{y - 5:g}" width="10" height="10"/>'
    return [*parts, shape if row.ours else f'<circle class="other" cx="{x:.1f}" cy="{y:g}" r="5"/>']


def _ruler(ticks: Sequence[float], y: float) -> list[str]:
    parts = [f'<line class="ruler" x1="{_MARGIN:g}" x2="{WIDTH - _MARGIN:g}" y1="{y:g}" y2="{y:g}"/>']
    for tick in ticks:
        x = _place(tick, ticks)
        parts.append(f'<line class="ruler" x1="{x:.1f}" x2="{x:.1f}" y1="{y:g}" y2="{y + 4:g}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{y + 18:g}" text-anchor="middle">{tick:g}</text>')
    return parts
