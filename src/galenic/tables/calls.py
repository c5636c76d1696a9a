"""From which probability on a class is called: chosen on the valid part, for a sensitivity or for costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Answer, Field, Settings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ROUNDING = 1e-12


def for_sensitivity(p: Floats, truth: Bools, sensitivity: float) -> float:
    """The highest probability of a case of the class from which on that share of its cases, or more, is called.

    p, truth: (n,). With few cases of the class the share holds for these cases and only roughly for new ones.
    """
    own = np.sort(p[truth])[::-1]
    return float(own[math.ceil(round(len(own) * sensitivity, 9)) - 1])


def for_costs(p: Floats, truth: Bools, miss: float, alarm: float) -> float:
    """The probability from which on calling costs least on these cases, p and truth (n,).

    With probabilities that are right, alarm / (miss + alarm) is best (Elkan, IJCAI 2001); it is among those tried, and
    of several that cost the same the nearest to it is taken, so that few cases do not lead far away.
    """
    best = alarm / (miss + alarm)
    tried = np.unique(np.append(p[p > 0], [best, 1.0]))
    called = p[None, :] >= tried[:, None] - _ROUNDING
    costs = miss * (~called & truth).sum(axis=1) + alarm * (called & ~truth).sum(axis=1)
    cheapest = tried[costs <= costs.min() + _ROUNDING]
    return float(cheapest[np.abs(cheapest - best).argmin()])


def chosen(answers: Sequence[Answer], truths: Sequence[Any], field: Field) -> Settings:
    """See `Category.choose`; the answered cases with a truth count."""
    known = [
        (answer, truth)
        for answer, truth in zip(answers, truths, strict=True)
        if answer.refused is None and truth in answer.probabilities
    ]
    if not known:
        return {"call_note": "no valid case with a truth: the most probable class is called"}
    positive = field.options.get("positive", list(known[0][0].probabilities)[1])
    p = np.array([answer.probabilities[positive] for answer, _ in known])
    truth = np.array([own == positive for _, own in known])
    if truth.all() or not truth.any():
        return {"call_note": f"no valid case {'but' if truth.all() else 'of'} {positive}: the most probable is called"}
    if "costs" in field.options:
        least = for_costs(p, truth, *(float(cost) for cost in field.options["costs"]))
    else:
        least = for_sensitivity(p, truth, field.options["sensitivity"])
    hit = p >= least - _ROUNDING
    return {
        "call": {
            "positive": positive, "from": least, "cases": len(known), "sensitivity": float(hit[truth].mean()),
            "specificity": float((~hit[~truth]).mean()),
        }
    }  # fmt: skip


def called(labels: Sequence[str], p: Floats, call: Mapping[str, Any]) -> str:
    """The positive label where its probability among p (labels,) reaches the threshold, else the other one."""
    at = list(labels).index(call["positive"])
    return labels[at] if p[at] >= call["from"] - _ROUNDING else labels[1 - at]
