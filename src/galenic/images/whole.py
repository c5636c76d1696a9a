"""Pictures that the network sees whole, as nothing asks for an answer at each of their places: grid and variation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from galenic.core.contract import Budget, Field, Settings, Summary
from galenic.images import fingerprint
from galenic.images.vary import Draw, varied

COVERED = 0.9  # share of cases, an axis each, that a grid in mm holds without shrinking them
_EVEN = 4  # small pictures' grids are multiples of it, so that they can be halved twice
_FINER = 1.02  # factor of one step in the search for the spacing


def settle(summary: Summary, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
    """The one grid of all cases (`fit`), normalisation and augmentation, each with its reason."""
    fingerprint.check_pictures(summary)
    dims, reasons = summary["dims"], dict[str, str]()
    modality = fingerprint.modality_of(summary, fields)
    known = summary["known"] == summary["cases"]
    median = [fingerprint.quantile(axis, 0.5) for axis in summary["shapes"]]
    small = fingerprint.is_small(median)
    sizes = [fingerprint.quantile(axis, COVERED) for axis in summary["shapes"]] if known else median
    spacing = [fingerprint.quantile(axis, 0.5) for axis in summary["spacings"]] if known else [1.0] * dims
    fit, spacing = _grid(sizes, spacing, small, budget)
    reasons["dims"] = f"all cases are {'volumes' if dims == 3 else 'pictures'}, so the network is {dims}D"
    reasons["fit"] = _why_fit(fit, sizes, small=small, known=known, budget=budget)
    crop = "none" if small else fingerprint.crop_of(modality, dims)
    reasons["crop"] = {
        "none": "small pictures are kept whole, rim and all",
        "body": "CT: the air around the body teaches nothing and costs time",
        "constant": "a border of exactly one value is cut off; real background is kept",
    }[crop]
    images = {
        name: {
            "channels": own["channels"], "modality": modality,
            "normalise": fingerprint.normalisation(name, own, reasons),
        }
        for name, own in summary["images"].items()
    }  # fmt: skip
    settings = {
        "dims": dims, "spacing_mm": spacing if known else None, "crop": crop, "fit": fit, "images": images,
        "masks": {}, "cases": summary["cases"], "median": [round(size, 1) for size in median],
        "augment": _augment(dims, modality, summary, reasons, small=small),
    }  # fmt: skip
    return settings, reasons


def _grid(
    sizes: Sequence[float], spacing: Sequence[float], small: bool, budget: Budget
) -> tuple[list[int], list[float]]:
    """Size and spacing: as given where the budget bears it, else the finest axes are made coarser, evenly in mm."""
    if small:
        return [max(2 * _EVEN, math.ceil(size / _EVEN) * _EVEN) for size in sizes], list(spacing)
    step, most = (16, 8)[len(sizes) == 3], fingerprint.voxels(len(sizes), budget)
    finest = min(spacing)
    while True:
        wide = [max(own, finest) for own in spacing]
        fit = [
            fingerprint.round_up(size * own / new, step)
            for size, own, new in zip(sizes, spacing, wide, strict=True)
        ]  # fmt: skip
        if math.prod(fit) <= most:
            return fit, wide
        finest *= _FINER


def _why_fit(fit: list[int], sizes: Sequence[float], *, small: bool, known: bool, budget: Budget) -> str:
    own = [round(size) for size in sizes]
    if small:
        return f"small pictures of {own} keep every pixel"
    most = fingerprint.voxels(len(fit), budget)
    what = f"nine in ten cases are at most {own}" if known else f"median size {own}"
    way = "one spacing for all, the largest cases shrunk" if known else "each case is enlarged or shrunk to fill it"
    return (
        f"{what}, multiples of {16 if len(fit) == 2 else 8}, at most {most:,} elements for this budget: the network "
        f"sees the whole; {way}, sides kept in proportion"
    )


def _augment(
    dims: int, modality: str, summary: Summary, reasons: dict[str, str], *, small: bool
) -> dict[str, Any]:  # fmt: skip
    posed = fingerprint.is_posed(dims, modality, summary)
    reasons["augment"] = (
        f"mirrored along {'left-right alone, as a body is' if posed else 'every axis'}; turned, zoomed and shifted a "
        "little, as all of the picture should stay in sight, and given other light and noise at random"
        + ("; not blurred, as they are small" if small else "")
    )
    dull = 0.0 if small else 0.1
    return {
        "flips": [dims - 1] if posed else list(range(dims)), "bend": 0.7, "degrees": 15.0, "scale": [0.85, 1.2],
        "shift": 0.08, "light": 0.3, "gamma": 0.2, "blur": dull, "coarse": dull, "noise": 0.15,
    }  # fmt: skip


def draw_whole(rng: np.random.Generator, settings: Settings) -> Draw:
    """Draw a view of the whole picture, a little shifted, all varied as the plan's `augment` says."""
    fit = np.array(settings["fit"], float)
    shift = rng.uniform(-1, 1, len(fit)) * settings["augment"]["shift"] * fit
    return varied(rng, fit / 2 + shift, settings["augment"])


def plain(settings: Settings) -> Draw:
    """The draw that changes nothing."""
    return Draw(centre=tuple(size / 2 for size in settings["fit"]))
