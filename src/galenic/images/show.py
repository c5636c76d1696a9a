"""A case as a picture: one slice with the outline of the true and of the predicted mask, as SVG."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.errors import GeometryError, MissingExtra
from galenic.images.read import same_grid
from galenic.values import Image, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]

# Okabe and Ito's orange and sky blue: told apart by all common kinds of colour vision, and light on grey pictures.
TRUE_COLOUR, PREDICTED_COLOUR = "#E69F00", "#56B4E9"

_LONGEST = 384  # pixels of the raster inside
_INCHES = 3.2
_PATH, _DIGITS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")  # hundredths of a point are fine enough


def show(image: Image, truth: Mask | None = None, predicted: Mask | None = None, *, slice: int | None = None) -> str:
    """An <svg> element, ready to stand in a page: the picture, outlines, a legend.

    slice: number along the first axis of a volume; without it the slice with most truth (else most predicted, else
    the middle). The same input gives the same text. GeometryError where a mask lies on another grid or the slice is
    outside; MissingExtra without matplotlib.
    """
    for mask, what in ((truth, "the image and the true mask"), (predicted, "the image and the predicted mask")):
        if mask is not None:
            same_grid(image, mask, what)
    at = _chosen(image, truth, predicted) if slice is None else slice
    if image.geometry.dims == 3 and not 0 <= at < image.shape[0]:
        raise GeometryError(f"slice {at} of an image of {image.shape[0]} slices", allowed=f"0 to {image.shape[0] - 1}")
    picture = image.array[:, at] if image.geometry.dims == 3 else image.array
    outlines = [
        (mask.array[at] if image.geometry.dims == 3 else mask.array, colour, dashes, label)
        for mask, colour, dashes, label in (
            (truth, TRUE_COLOUR, "solid", "true"),
            (predicted, PREDICTED_COLOUR, "dashed", "predicted"),
        )
        if mask is not None
    ]
    spacing = image.geometry.spacing_mm[-2:]
    title = f"slice {at + 1} of {image.shape[0]}" if image.geometry.dims == 3 else ""
    return _draw(_grey_or_colour(picture), outlines, float(spacing[0] / spacing[1]), title)


def _chosen(image: Image, truth: Mask | None, predicted: Mask | None) -> int:
    if image.geometry.dims == 2:
        return 0
    for mask in (truth, predicted):
        if mask is not None:
            areas = np.count_nonzero(mask.array, axis=(1, 2))
            if areas.any():
                return int(np.argmax(areas))
    return image.shape[0] // 2


def _grey_or_colour(picture: Array) -> Array:
    """[row, column] or [row, column, 3], uint8: three byte channels as colour, else the first from its 1 to 99 %."""
    if len(picture) == 3 and picture.dtype == np.uint8:
        colour: Array = np.moveaxis(picture, 0, -1)
        return colour
    grey = picture[0].astype(np.float32)
    low, high = np.percentile(grey, (1, 99))
    if high <= low:
        low, high = float(grey.min()), float(grey.max())
    shades: Array = (np.clip((grey - low) / max(high - low, 1e-6), 0, 1) * 255).round().astype(np.uint8)
    return shades


def _draw(raster: Array, outlines: list[tuple[Array, str, str, str]], aspect: float, title: str) -> str:
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "a picture of a case") from error
    rows, columns = raster.shape[:2]
    height, width = rows * aspect, float(columns)
    scale = _INCHES / max(height, width)
    with matplotlib.rc_context({"svg.hashsalt": "galenic", "svg.fonttype": "none"}):
        figure = Figure(figsize=(max(width * scale, 1.0), max(height * scale, 1.0) + 0.5), layout="constrained")
        axes = figure.add_subplot()
        step = max(1, -(-max(rows, columns) // _LONGEST))
        small = _shrunk(raster, step)
        axes.imshow(
            small.round().astype(np.uint8), cmap="gray", vmin=0, vmax=255, interpolation="none", aspect=aspect,
            extent=(-0.5, small.shape[1] * step - 0.5, small.shape[0] * step - 0.5, -0.5),
        )  # fmt: skip
        for labels, colour, dashes, _ in outlines:
            _outline(axes, labels, colour, dashes, step=step)
        axes.set_axis_off()
        axes.set_title(title, fontsize=8)
        _legend(figure, outlines)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return _PATH.sub(lambda path: _DIGITS.sub(r"\1", path[0]), whole[whole.index("<svg") :])


def _shrunk(array: Array, step: int) -> Array:
    """[row, column, ...] float32, the mean of each step x step block; the rim is repeated to fill the last."""
    rows, columns = array.shape[:2]
    pads = [(0, -rows % step), (0, -columns % step), *[(0, 0)] * (array.ndim - 2)]
    blocks = np.pad(array.astype(np.float32), pads, mode="edge")
    mean: Array = blocks.reshape(len(blocks) // step, step, -1, step, *array.shape[2:]).mean(axis=(1, 3))
    return mean


def _outline(axes: Axes, labels: Array, colour: str, dashes: str, *, step: int) -> None:
    """Half-way lines of each class, as fine as the raster, closed where a class touches the rim."""
    for value in np.unique(labels):
        share = np.pad(_shrunk(labels == value, step), 1)
        if value and share.max() > 0.5:
            rows, columns = ((np.arange(size) - 1) * step + (step - 1) / 2 for size in share.shape)
            axes.contour(columns, rows, share, levels=[0.5], colors=[colour], linestyles=[dashes], linewidths=1.2)


def _legend(figure: Any, outlines: list[tuple[Array, str, str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linestyle=dashes, label=label if labels.any() else f"{label} (none here)")
        for labels, colour, dashes, label in outlines
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
