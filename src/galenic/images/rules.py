"""What an answer that is a mask is judged by, and when two runtimes agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Answer, Definition, Field, Judged, Settings
from galenic.core.errors import GeometryError
from galenic.images.measure import Overlap, dice, largest_part, overlaps, surfaces
from galenic.images.strongest import Strongest, labels_of
from galenic.values import Mask

Array = NDArray[Any]

MAIN = "dice"
IGNORED = 255  # a voxel of the prepared truth that nothing is known of
LEAST_DICE = 0.995  # of two runtimes' outputs
LEAST_GAIN = 0.001  # mean Dice on the valid part that a clean-up must bring

_EMPTY = "A case in which the class is absent from both masks is left out; one where it is absent from one counts 0. "
_SURFACE = "In pixels where the file tells no spacing. Cases in which the class is absent from a mask are left out. "

DEFINITIONS: Mapping[str, Definition] = {
    "dice": Definition("", f"2 |A and B| / (|A| + |B|). {_EMPTY}Dice, Ecology 26:297, 1945"),
    "iou": Definition("", f"|A and B| / |A or B|. {_EMPTY}Jaccard, New Phytologist 11:37, 1912"),
    "recall": Definition(
        "", "sensitivity: share of the true voxels that were found; cases without the class in the truth are left out"
    ),
    "precision": Definition("", "share of the marked voxels that are true; cases in which none is marked are left out"),
    "hd95": Definition(
        "mm",
        "the larger of the two directed 95th percentiles of the distances between the surfaces. "
        f"{_SURFACE}Maier-Hein et al., Nature Methods 21:195, 2024",
        higher_is_better=False,
    ),
    "assd": Definition(
        "mm",
        "mean distance from each surface to the other, over the points of both. "
        f"{_SURFACE}Taha and Hanbury, BMC Medical Imaging 15:29, 2015",
        higher_is_better=False,
    ),
    "volume_error": Definition(
        "ml",
        "absolute difference of the two volumes; volumes with known spacing only",
        higher_is_better=False,
    ),
}


def numbers_of(mask: Mask, names: Sequence[str]) -> Array:
    """The mask's array with 1 .. n for `names` in this order, whatever values its own names have; uint8."""
    by_name = {name: value for value, name in mask.names.items()}
    if all(by_name.get(name, number) == number for number, name in enumerate(names, start=1)):
        return mask.array
    done = np.zeros(mask.array.shape, np.uint8)
    for number, name in enumerate(names, start=1):
        if name in by_name:
            done[mask.array == by_name[name]] = number
    return done


def judge(answer: Answer, truth: Mask, field: Field) -> Judged:
    """Overlap, distances and volumes of each class of one case; {"refused": reason} where there is no mask."""
    if answer.value is None:
        return {"refused": answer.refused or "no answer", "classes": {}}
    names = list(field.options["classes"].values())
    ours, true = numbers_of(answer.value, names), numbers_of(truth, names)
    if ours.shape != true.shape:
        raise GeometryError(
            f"an answer of shape {list(ours.shape)} against a truth of shape {list(true.shape)}", allowed="one grid"
        )
    geometry = truth.geometry
    ml = geometry.voxel_ml if geometry.dims == 3 and geometry.known else None
    classes = {}
    for number, (name, overlap) in enumerate(zip(names, overlaps(ours, true, len(names) + 1)[1:], strict=True), 1):
        classes[name] = {
            "dice": overlap.dice, "iou": overlap.iou, "recall": overlap.recall, "precision": overlap.precision,
            **_distances(ours == number, true == number, overlap, geometry.spacing_mm), **_volumes(overlap, ml),
        }  # fmt: skip
    return {"unit": "mm" if geometry.known else "px", "classes": classes}


def unit_of(score: str, judged: Sequence[Judged]) -> str:
    """The unit of a score; of distances pixels, or both, where files tell no spacing."""
    unit = DEFINITIONS[score].unit
    told = sorted({case["unit"] for case in judged if "unit" in case})
    return " or ".join(told) if unit == "mm" and told else unit


def _distances(ours: Array, truth: Array, overlap: Overlap, spacing: Array) -> dict[str, float | None]:
    if not (overlap.ours and overlap.truth):
        return {"hd95": None, "assd": None}
    if not (overlap.ours_alone or overlap.truth_alone):
        return {"hd95": 0.0, "assd": 0.0}
    found = surfaces(ours, truth, spacing)
    return {"hd95": found.hd95, "assd": found.assd} if found else {"hd95": None, "assd": None}


def _volumes(overlap: Overlap, ml: float | None) -> dict[str, float | None]:
    if ml is None:
        return {"volume_ml": None, "true_ml": None, "volume_error": None}
    ours, true = overlap.ours * ml, overlap.truth * ml
    return {"volume_ml": ours, "true_ml": true, "volume_error": abs(ours - true)}


def scores(judged: Sequence[Judged], field: Field) -> dict[str, dict[str, float]]:
    """Mean over cases of each class, and "" the mean over classes; NaN where no case defines a score.

    Refused cases are left out: how many there were is reported beside the scores.
    """
    names = list(field.options["classes"].values())
    own = [case["classes"] for case in judged if case["classes"]]
    done: dict[str, dict[str, float]] = {"": {}}
    for name in names:
        done[name] = {score: _mean([case[name][score] for case in own]) for score in DEFINITIONS}
    done[""] = {score: _mean([done[name][score] for name in names]) for score in DEFINITIONS}
    return done


def _mean(values: Sequence[float | None]) -> float:
    there = [value for value in values if value is not None and value == value]  # NaN is unequal to itself
    return math.fsum(there) / len(there) if there else math.nan


def choose_largest(answers: Sequence[Answer], truths: Sequence[Mask], field: Field) -> Settings:
    """{"largest": numbers of the classes whose mean Dice gains when only their largest part is kept}, or {}."""
    names = list(field.options["classes"].values())
    gains: dict[int, list[float]] = {number: [] for number in range(1, len(names) + 1)}
    for answer, truth in zip(answers, truths, strict=True):
        if answer.value is None or truth is None:
            continue
        ours, true = numbers_of(answer.value, names), numbers_of(truth, names)
        for number, found in gains.items():
            mine, own = ours == number, true == number
            before, after = dice(mine, own), dice(largest_part(mine), own)
            if before is not None and after is not None:
                found.append(after - before)
    kept = [number for number, found in gains.items() if found and math.fsum(found) / len(found) > LEAST_GAIN]
    return {"largest": kept} if kept else {}


def quick_dice(outputs: Sequence[Any], truths: Sequence[Array]) -> float:
    """Dice on the prepared grid as `scores` would mean it; 0 where no case shows any class. 255 is left out."""
    found: list[list[float | None]] = []
    for output, truth in zip(outputs, truths, strict=True):
        count, labels = labels_of(output)
        known = truth != IGNORED
        if not known.all():
            labels, truth = labels[known], truth[known]
        found.append([pair.dice for pair in overlaps(labels, truth, count)[1:]])
    means = [_mean(own) for own in zip(*found, strict=True)]
    mean = _mean(means)
    return 0.0 if math.isnan(mean) else mean


def agree(ours: Any, reference: Any) -> tuple[float, bool]:
    """Lowest Dice over the foreground classes of two outputs ([K, *space] or Strongest); one absent in both counts 1.

    Labels whose probabilities were not finite agree with none whose were.
    """
    if isinstance(ours, Strongest) and not ours.finite and getattr(reference, "finite", True):
        return 0.0, False
    count, true = labels_of(reference)
    pairs = overlaps(labels_of(ours)[1], true, count)
    lowest = min((1.0 if pair.dice is None else pair.dice for pair in pairs[1:]), default=1.0)
    return lowest, lowest >= LEAST_DICE
