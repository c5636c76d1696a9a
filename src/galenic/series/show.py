"""A series as a picture: the variables measured most, each over time, as SVG."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

from galenic.core.errors import MissingExtra
from galenic.values import Series

MOST = 8  # variables in one picture
_POINTS = 2000  # of a waveform that are drawn
_INCHES = (6.4, 0.9)
_DIGITS = re.compile(r"(\.\d\d)\d+")
_LINE = "#0072B2"  # Okabe and Ito's blue


def show(series: Series) -> str:
    """An <svg> element: a strip a variable, points where it was measured; the same series gives the same text.

    MissingExtra without matplotlib.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "drawing a series") from error
    with mpl.rc_context({"svg.hashsalt": "galenic", "svg.fonttype": "none"}):
        figure = _drawn(series, Figure)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return _DIGITS.sub(r"\1", whole[whole.index("<svg") :])


def _drawn(series: Series, new: Any) -> Any:
    """The figure: `new` makes an empty one."""
    counts = np.isfinite(series.values).sum(axis=0)
    picked = sorted(np.argsort(-counts, kind="stable")[:MOST].tolist())
    rows = max(len(picked), 1)
    figure = new(figsize=(_INCHES[0], _INCHES[1] * rows + 0.5))
    axes = np.atleast_1d(figure.subplots(rows, 1, sharex=True))
    wave = series.rate_hz > 0
    times = series.times_hours * (3600.0 if wave else 1.0)
    thin = max(1, len(times) // _POINTS) if wave else 1
    for axis, at in zip(axes, picked, strict=False):
        known = np.isfinite(series.values[:, at])
        line = (times[known][::thin], series.values[known, at][::thin])
        axis.plot(*line, "-" if wave else ".-", color=_LINE, lw=0.8, ms=3)
        unit = f" ({series.units[at]})" if series.units[at] else ""
        axis.set_ylabel(f"{series.variables[at]}{unit}", fontsize=7, rotation=0, ha="right", va="center")
        axis.tick_params(labelsize=6)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlabel("seconds" if wave else "hours", fontsize=7)
    figure.subplots_adjust(left=0.25, right=0.98, top=0.98, bottom=0.5 / figure.get_figheight())
    return figure
