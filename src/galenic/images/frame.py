"""The frame of space: images and masks that share a grid are summarised, prepared, drawn and applied together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from galenic.core.contract import Budget, Field, Prepared, Settings, Summary, Values
from galenic.images import fingerprint, whole
from galenic.images.prepare import prepare_space, to_original
from galenic.images.read import same_grid
from galenic.images.vary import Draw, apply_patch, draw_patch, settings_with_points
from galenic.values import Image, Mask

__all__ = ["SPACE", "Space", "to_original"]


class Space:
    """Kinds image and mask (and later instances)."""

    name = "space"

    def summarise(self, values: Values, fields: Sequence[Field]) -> Summary:
        _same_space(values)
        return fingerprint.summarise(values, fields)

    def merge(self, one: Summary, other: Summary) -> Summary:
        return fingerprint.merge(one, other)

    def settle(self, summary: Summary, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
        """Patches where a mask asks for an answer at each place; else one grid that holds each picture whole."""
        settle = whole.settle if fingerprint.is_whole(fields) else fingerprint.settle
        return settle(summary, fields, budget)

    def prepare(self, values: Values, fields: Sequence[Field], settings: Settings) -> Prepared:  # noqa: ARG002
        """On the network grid, with each mask's foreground points for the draw of patches."""
        _same_space(values)
        ready = prepare_space(values, settings)
        return Prepared(settings_with_points(ready.arrays, settings["masks"]), ready.facts)

    def draw(self, rng: np.random.Generator, prepared: Prepared, settings: Settings) -> Draw:
        return whole.draw_whole(rng, settings) if "fit" in settings else draw_patch(rng, prepared, settings)

    def apply(self, prepared: Prepared, draw: Draw, settings: Settings) -> Mapping[str, Tensor]:
        return apply_patch(prepared, draw, settings)

    def whole(self, prepared: Prepared, settings: Settings) -> Mapping[str, Tensor]:
        """The middle patch or the whole picture, unvaried: what an explanation or a probe looks at."""
        if "fit" in settings:
            return apply_patch(prepared, whole.plain(settings), settings)
        image = prepared.arrays[next(iter(settings["images"]))]
        centre = tuple(size / 2 for size in image.shape[1:])
        return apply_patch(prepared, Draw(centre=centre), settings)

    def told(self, facts: Sequence[Mapping[str, Any]], settings: Settings) -> dict[str, str]:
        """What the cases were, in words for the report: modality, size and spacing of the first image, as it came."""
        spaces = [own["space"] for own in facts if "space" in own]
        if not spaces:
            return {}
        axes = "slices x rows x columns" if len(spaces[0]["shape"]) == 3 else "rows x columns"
        known = [own["geometry"]["spacing_mm"] for own in spaces if own["geometry"]["known"]]
        unknown = f" ({len(spaces) - len(known)} of {len(spaces)} cases tell none)" if len(known) < len(spaces) else ""
        modalities = {own["modality"] or "not told by the files" for own in settings["images"].values()}
        return {
            "modality": ", ".join(sorted(modalities)),
            "size": f"{spread([own['shape'] for own in spaces])} ({axes})",
            "spacing": f"{spread(known)}, in mm{unknown}" if known else "not told by the files",
        }


def spread(values: Sequence[Sequence[float]]) -> str:
    """Values (n, axes) as text: the one that all share, else the median with the lowest and highest of each axis."""
    found = np.array(values, float)
    low, middle, high = (
        " x ".join(f"{number:.4g}" for number in row)
        for row in (found.min(axis=0), np.median(found, axis=0), found.max(axis=0))
    )
    return f"{middle} in every case" if low == high else f"{middle} by the median, {low} to {high}"


def _same_space(values: Mapping[str, Any]) -> None:
    """All images and masks of a case lie on one grid, or GeometryError."""
    found = [(name, value) for name, value in values.items() if isinstance(value, Image | Mask)]
    for name, value in found[1:]:
        same_grid(found[0][1], value, f"{found[0][0]} and {name}")


SPACE = Space()
