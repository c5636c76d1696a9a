"""From a network's probabilities to a mask on the input's own grid, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Answer, Field, Prepared, Settings
from galenic.core.errors import PlanError
from galenic.images.measure import keep_largest
from galenic.images.prepare import geometry_of, resample, turn_back
from galenic.images.strongest import Strongest
from galenic.values import Mask

Array = NDArray[Any]


def to_answer(output: Any, prepared: Prepared, field: Field, fitted: Settings) -> Answer:
    """The mask on the input's grid, in the user's values; or the refusal that the preparation wrote down.

    output: [K, *space] probabilities on the prepared grid, background first, summing to 1 over K; or a Strongest.
    """
    if prepared.facts.get("refused"):
        return Answer(None, refused=str(prepared.facts["refused"]))
    classes, values = field.options["classes"], field.options["values"]
    count = output.classes if isinstance(output, Strongest) else len(output)
    if count != len(classes) + 1:
        raise PlanError(f"{count} outputs for {field.name}", allowed=f"{len(classes) + 1}: background and each class")
    labels = keep_largest(strongest(output, prepared.facts), fitted.get("largest", []))
    names = {value: classes[str(number)] for number, value in enumerate(values, start=1)}
    mask = Mask(_in_values(labels, values), geometry_of(prepared.facts), names)
    if mask.geometry.dims == 3 and mask.geometry.known:
        return Answer(mask, facts={"volumes_ml": mask.volumes_ml()})
    return Answer(mask)


def strongest(output: Any, facts: Mapping[str, Any]) -> Array:
    """The strongest class of each voxel of the original grid, uint8; background outside the crop.

    Resampled one class at a time and within the crop, so that memory holds two such volumes of floats however many
    classes there are.
    """
    if isinstance(output, Strongest):
        return _placed(output.inner, facts)
    output = np.asarray(output)
    inner = [high - low for low, high in facts["space"]["crop"]]
    if inner == list(output.shape[1:]):  # nothing is to be interpolated
        labels = np.argmax(output, 0)
    elif len(output) == 2:
        labels = resample(output[1:], inner)[0] > 0.5
    else:
        labels = _running_strongest(output, inner)
    return _placed(labels.astype(np.uint8), facts)


def _placed(labels: Array, facts: Mapping[str, Any]) -> Array:
    """Labels of the crop, axes as prepared, on the whole of the input's grid."""
    space = facts["space"]
    whole = np.zeros([space["shape"][axis] for axis in space["order"]], np.uint8)
    whole[tuple(slice(low, high) for low, high in space["crop"])] = labels
    return turn_back(whole, space["order"], space["flips"])


def _running_strongest(output: Array, inner: list[int]) -> Array:
    best = resample(output[:1], inner)[0]
    labels = np.zeros(best.shape, np.uint8)
    for number in range(1, len(output)):
        if float(output[number].max()) <= 1 / len(output):  # the strongest of K has at least 1 / K
            continue
        share = resample(output[number : number + 1], inner)[0]
        wins = share > best
        labels[wins] = number
        np.maximum(best, share, out=best)
    return labels


def _in_values(labels: Array, values: list[int]) -> Array:
    if values == list(range(1, len(values) + 1)):
        return labels
    table = np.array([0, *values], np.uint8 if max(values) < 256 else np.uint16 if max(values) < 65536 else np.uint32)
    mapped: Array = table[labels]
    return mapped
