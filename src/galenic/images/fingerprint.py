"""The fingerprint of a set of images in mergeable pieces, and the decisions taken from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Budget, Field, Settings, Summary, Values
from galenic.core.errors import ValueProblem
from galenic.images.prepare import canonical_axes, content_box, turn
from galenic.values import Image, Mask

_HU_BINS = np.linspace(-1100, 3200, 431)
SMALL = 64  # pixels of the longest side
_MOST_BINS = 600  # distinct sizes or spacings kept an axis; a site with more gets its rarest dropped

# X-ray pictures as DICOM names them: grey levels without a scale, so that another hospital's look different. Varying
# light and sharpness strongly is what carries over to unseen scanners (Zhang et al., IEEE TMI 39:2531, 2020).
_NO_SCALE = {"CR", "DX", "MG", "RG", "XR"}
# A body has a left and a right that look alike, but it is never upside down; a specimen or a retina lies any way.
_BODY = {"CT", "MR", "PT", "US"} | _NO_SCALE


def summarise(values: Values, fields: Sequence[Field]) -> Summary:
    """One case's summary: sizes, spacings, intensities of the foreground, voxels and thickness of each class.

    Only {"cases": 0} for a case without a picture, where no mask is learnt; ValueProblem where one is.
    """
    lead = next((value for value in values.values() if isinstance(value, Image)), None)
    if lead is None and is_whole(fields):
        return {"cases": 0}
    if lead is None:
        raise ValueProblem("there is no image", todo="name the image file in this row, or leave the row out")
    order, flips = canonical_axes(lead.geometry)
    spacing = [f"{float(lead.geometry.spacing_mm[axis]):.4g}" for axis in order]
    array = turn(lead.array, order, flips)
    box = content_box(array, _crop_for(lead, fields))
    content = [high - low for low, high in box]
    foreground = np.zeros(lead.shape, bool)
    masks: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mask):
            masks[name] = _summarise_mask(value)
            foreground |= value.array > 0
    return {
        "cases": 1, "dims": lead.geometry.dims, "known": int(lead.geometry.known),
        "shapes": [{str(size): 1} for size in content], "spacings": [{own: 1} for own in spacing],
        "kept": float(np.prod(content)) / float(np.prod(array.shape[1:])),
        "images": {name: _summarise_image(value, foreground) for name, value in values.items()
                   if isinstance(value, Image)},
        "masks": masks,
        "options": {field.name: field.options for field in fields},
    }  # fmt: skip


def crop_of(modality: str, dims: int) -> str:
    """How images are cropped before the network sees them; see `content_box`."""
    return "body" if modality == "CT" and dims == 3 else "constant"


def is_whole(fields: Sequence[Field]) -> bool:
    """Whether the network sees each picture whole, as nothing asks for an answer at each place of it."""
    return all(field.kind == "image" for field in fields)


def is_small(shape: Sequence[float]) -> bool:
    """Pictures whose every pixel counts: nothing is cut off, and nothing is shrunk."""
    return len(shape) == 2 and max(shape) <= SMALL


def _crop_for(lead: Image, fields: Sequence[Field]) -> str:
    return "none" if is_whole(fields) and is_small(lead.shape) else crop_of(lead.modality, lead.geometry.dims)


def _summarise_image(image: Image, foreground: NDArray[np.bool_]) -> Summary:
    inside = image.array[:, foreground] if foreground.any() else image.array.reshape(image.array.shape[0], -1)
    histogram: Any = np.histogram(np.clip(inside, -1100, 3200), _HU_BINS)[0] if image.unit == "HU" else []
    return {
        "channels": image.array.shape[0], "modality": {image.modality or "": 1}, "unit": {image.unit: 1},
        "histogram": [int(count) for count in histogram],
    }  # fmt: skip


def _summarise_mask(mask: Mask) -> Summary:
    """Voxels, cases, extent (share of the grid's longest side) and thickness in voxels of each class."""
    classes = {}
    for value in mask.names:
        if value == 0:
            continue
        own = mask.array == value
        count = int(own.sum())
        if count:
            sides = [np.flatnonzero(own.any(axis=tuple(o for o in range(own.ndim) if o != a))) for a in range(own.ndim)]
            extent = max((s[-1] - s[0] + 1) / size for s, size in zip(sides, own.shape, strict=True))
            classes[str(value)] = {"cases": 1, "voxels": count, "extent": float(extent), "thick": thickness(own)}
        else:
            classes[str(value)] = {"cases": 0, "voxels": 0, "extent": 0.0, "thick": 0.0}
    rest = mask.array == 0
    background = {"cases": 1, "thick": thickness(rest)} if rest.any() else {"cases": 0, "thick": 0.0}
    return {"classes": classes, "background": background, "voxels": int(mask.array.size)}


def thickness(own: NDArray[np.bool_]) -> float:
    """Twice the content over the surface, in voxels: the radius of a disc, the width of a vessel."""
    surface = sum(int(np.count_nonzero(np.diff(own, axis=axis))) for axis in range(own.ndim))
    return 2.0 * int(own.sum()) / max(surface, 1)


def merge(one: Summary, other: Summary) -> Summary:
    """Sums of counts, key by key; lists element by element; options must be equal. No picture adds nothing."""
    if not one["cases"] or not other["cases"]:
        return one if one["cases"] else other
    if one["dims"] != other["dims"]:
        raise ValueProblem(
            "pictures (2D) and volumes (3D) stand in one column", allowed="all 2D or all 3D", todo="split the table"
        )
    for name, image in one["images"].items():
        channels = other["images"].get(name, image)["channels"]
        if channels != image["channels"]:
            raise ValueProblem(
                f"{name} has {image['channels']} channels in some cases and {channels} in others",
                allowed="the same channels in every case",
                todo="convert the pictures to grey, or all to colour",
            )
    done: Summary = _add(one, other)
    for key in ("shapes", "spacings"):
        done[key] = [dict(sorted(axis.items(), key=lambda item: -item[1])[:_MOST_BINS]) for axis in done[key]]
    return done


_FIXED = {"dims", "channels", "options"}


def _add(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {
            key: (one[key] if key in _FIXED else _add(one[key], other[key]))
            if key in one and key in other
            else one.get(key, other.get(key))
            for key in sorted({*one, *other})
        }
    if isinstance(one, list):
        if not one or not other:
            return one or other
        return [_add(a, b) for a, b in zip(one, other, strict=True)]
    return one + other


def quantile(counts: Mapping[str, int], q: float) -> float:
    pairs = sorted((float(value), count) for value, count in counts.items())
    total, running = sum(count for _, count in pairs), 0
    for value, count in pairs:
        running += count
        if running >= q * total:
            return value
    return pairs[-1][0]


def settle(summary: Summary, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
    """Spacing, crop, patch, normalisation and augmentation, each with its reason."""
    check_pictures(summary)
    dims = summary["dims"]
    reasons = {"dims": f"all cases are {'volumes' if dims == 3 else 'pictures'}, so the network is {dims}D"}
    modality = modality_of(summary, fields)
    spacing, shrink = _spacing(summary, budget, reasons)
    median = [quantile(axis, 0.5) for axis in summary["shapes"]]
    largest = [quantile(axis, 1.0) for axis in summary["shapes"]]
    if spacing is not None:
        ratio = [quantile(axis, 0.5) / new for axis, new in zip(summary["spacings"], spacing, strict=True)]
    else:
        ratio = [1.0 / shrink] * dims
    sizes = [[size * r for size, r in zip(axis, ratio, strict=True)] for axis in (median, largest)]
    patch = _patch(sizes[0], sizes[1], spacing, budget, reasons)
    crop = crop_of(modality, dims)
    reasons["crop"] = (
        "CT: the air around the body teaches nothing and costs time" if crop == "body"
        else "a border of exactly one value is cut off; real background is kept"
    )  # fmt: skip
    images = {
        name: {"channels": own["channels"], "modality": modality, "normalise": normalisation(name, own, reasons)}
        for name, own in summary["images"].items()
    }
    masks = {field.name: {"classes": field.options["classes"]} for field in fields if field.kind == "mask"}
    _warn_empty(summary, masks, reasons)
    settings = {
        "dims": dims, "spacing_mm": spacing, "shrink": shrink, "crop": crop, "patch": patch, "images": images,
        "masks": masks, "cases": summary["cases"], "median": [round(size, 1) for size in sizes[0]],
        "augment": _augment(dims, modality, summary, reasons),
    }  # fmt: skip
    return settings, reasons


def check_pictures(summary: Summary) -> None:
    """ValueProblem where no training case has a picture."""
    if not summary["cases"]:
        raise ValueProblem("no training case has a picture", todo="fill the image columns, or leave the field out")


def modality_of(summary: Summary, fields: Sequence[Field]) -> str:
    for field in fields:
        if field.kind == "image" and field.options.get("modality"):
            return str(field.options["modality"])
    counts: dict[str, int] = next(iter(summary["images"].values()))["modality"]
    return max(counts, key=lambda name: counts[name])


def _spacing(summary: Summary, budget: Budget, reasons: dict[str, str]) -> tuple[list[float] | None, float]:
    """Target spacing in mm (known grids), or how often a picture is shrunk (unknown)."""
    dims = summary["dims"]
    if summary["known"] == summary["cases"]:
        spacing = [quantile(axis, 0.5) for axis in summary["spacings"]]
        reasons["spacing"] = "the median spacing of the training cases, an axis each"
        worst = int(np.argmax(spacing))
        others = max(value for axis, value in enumerate(spacing) if axis != worst) if dims == 3 else spacing[worst]
        if dims == 3 and spacing[worst] > 3 * others:
            spacing[worst] = max(quantile(summary["spacings"][worst], 0.1), others)
            reasons["spacing"] += "; the thick axis takes its 10th percentile (anisotropy over 3)"
        if dims == 3:
            return spacing, 1.0
    largest = max(quantile(axis, 0.5) for axis in summary["shapes"])
    room = math.sqrt(voxels(dims, budget))
    thick = _thinnest(summary)
    shrink = max(1.0, min(largest / room, thick / 8.0))
    reasons["shrink"] = (
        f"pictures of {largest:.0f} px against {room:.0f} px that the budget bears, thinnest structure {thick:.1f} px: "
        + ("shrunk so that the network sees all of it" if shrink > 1 else "kept at full resolution")
    )
    if summary["known"] == summary["cases"]:
        return [quantile(axis, 0.5) * shrink for axis in summary["spacings"]], 1.0
    return None, round(shrink, 3)


def _thinnest(summary: Summary) -> float:
    """Mean thickness in pixels of the thinnest class, background included: a membrane between cells counts."""
    found = [
        own["thick"] / own["cases"]
        for mask in summary["masks"].values()
        for own in [*mask["classes"].values(), mask["background"]]
        if own["cases"]
    ]
    return min(found, default=1.0)


def voxels(dims: int, budget: Budget) -> int:
    """Most elements of a patch: what two cores learn from in the time given; more from an hour on."""
    seconds = budget.seconds if budget.seconds is not None else 1800.0
    if dims == 2:
        return 160 * 160 if seconds < 1200 else 256 * 256 if seconds < 7200 else 512 * 512
    return 100_000 if seconds < 1200 else 180_000 if seconds < 7200 else 262_144


def _patch(
    median: list[float], largest: list[float], spacing: list[float] | None, budget: Budget, reasons: dict[str, str]
) -> list[int]:
    """Near the median size, rounded up to multiples of 8 (16 in 2D), then shrunk evenly in mm to the voxels allowed."""
    dims = len(median)
    step, most = (16, 8)[dims == 3], voxels(dims, budget)
    patch = [min(max(m, 2 * step), lg if lg > 2 * step else 2 * step) for m, lg in zip(median, largest, strict=True)]
    while math.prod(round_up(size, step) for size in patch) > most:
        weights = [size * (spacing[axis] if spacing else 1.0) for axis, size in enumerate(patch)]
        axis = max((a for a in range(dims) if patch[a] > 2 * step), key=lambda a: weights[a], default=-1)
        if axis < 0:
            break
        patch[axis] -= step
    done = [round_up(size, step) for size in patch]
    reasons["patch"] = (
        f"median size {[round(m) for m in median]} on the network grid, multiples of {step}, at most {most:,} voxels "
        "for this budget"
    )
    return done


def round_up(size: float, step: int) -> int:
    return max(step, math.ceil(round(size) / step) * step)


def normalisation(name: str, own: Summary, reasons: dict[str, str]) -> dict[str, Any]:
    """How an image's intensities are scaled: CT by the training cases' percentiles, others each by itself."""
    histogram = np.array(own["histogram"], float)
    if histogram.sum() > 0 and set(own["unit"]) == {"HU"}:
        centres = (_HU_BINS[:-1] + _HU_BINS[1:]) / 2
        running = np.cumsum(histogram) / histogram.sum()
        low, high = (float(centres[np.searchsorted(running, q)]) for q in (0.005, 0.995))
        inside = np.clip(centres, low, high)
        mean = float((inside * histogram).sum() / histogram.sum())
        sd = float(np.sqrt(((inside - mean) ** 2 * histogram).sum() / histogram.sum()))
        reasons[f"normalise {name}"] = (
            "CT in HU: the training foreground's percentiles 0.5 and 99.5, mean and deviation"
        )
        return {"way": "percentile", "low": low, "high": high, "mean": mean, "sd": max(sd, 1.0)}
    reasons[f"normalise {name}"] = "arbitrary units: each image by its own mean and standard deviation"
    return {"way": "z-score"}


def _warn_empty(summary: Summary, masks: Mapping[str, Any], reasons: dict[str, str]) -> None:
    for name, own in masks.items():
        for value, title in own["classes"].items():
            cases = summary["masks"].get(name, {}).get("classes", {}).get(value, {}).get("cases", 0)
            if cases == 0:
                raise ValueProblem(
                    f"the class {title!r} (value {value}) of {name} is empty in every training case",
                    allowed="at least one training case that shows each class",
                    todo="take the class out of the task's classes, or move a case that has it into the training part",
                )
            if cases < 3:
                reasons[f"warning: class {title}"] = f"only {cases} training cases show {title}: its score is unsure"


def is_posed(dims: int, modality: str, summary: Summary) -> bool:
    """Whether the pictures have an up and a down, as those of a body have; see `_BODY`."""
    return modality in _BODY and (dims == 2 or summary["known"] == summary["cases"])


def _augment(dims: int, modality: str, summary: Summary, reasons: dict[str, str]) -> dict[str, Any]:
    posed = is_posed(dims, modality, summary)
    flips = [dims - 1] if posed else list(range(dims))
    covered = max((own["extent"] / max(own["cases"], 1) for mask in summary["masks"].values()
                   for own in mask["classes"].values()), default=1.0)  # fmt: skip
    reasons["augment"] = (
        f"mirrored along {'left-right alone, as a body is' if posed else 'every axis'}; turned, zoomed, and given "
        "other light, noise and sharpness at random"
    )
    light = {"light": 0.2, "gamma": 0.2, "blur": 0.1, "coarse": 0.1, "noise": 0.15}
    if modality in _NO_SCALE:
        light = {"light": 0.5, "gamma": 0.5, "blur": 0.2, "coarse": 0.25, "noise": 0.15}
        reasons["augment"] += "; light and sharpness often, as each maker's detector and processing give their own"
    return {
        "flips": flips, "bend": 0.3, "degrees": 15.0 if dims == 3 else 30.0, "scale": [0.75, 1.3], **light,
        "foreground": 0.33 if covered > 0.3 else 0.5,
    }  # fmt: skip
