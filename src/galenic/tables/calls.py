"""From which probability on a class is called: chosen on the valid part, for a sensitivity or for costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core import calibrate
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
        miss, alarm = (float(cost) for cost in field.options["costs"])
        least, way = for_costs(p, truth, miss, alarm), f"least cost at {miss:g} a miss and {alarm:g} a false alarm"
    else:
        wanted = field.options["sensitivity"]
        least, way = for_sensitivity(p, truth, wanted), f"a sensitivity of {wanted:g}"
    hit, own = p >= least - _ROUNDING, int(truth.sum())
    found: Settings = {
        "call": {
            "positive": positive, "from": least, "way": way, "cases": len(known), "positives": own,
            "sensitivity": float(hit[truth].mean()), "specificity": float((~hit[~truth]).mean()),
        }
    }  # fmt: skip
    if own < calibrate.FEW:
        found["call_note"] = (
            f"the threshold from which {positive} is called was chosen on {own} of its cases (fewer than "
            f"{calibrate.FEW}): on new cases it may find far more or fewer of them"
        )
    return found


def in_words(call: Mapping[str, Any]) -> str:
    """The threshold and how it was chosen, for the card and the report."""
    among = f", {call['positives']} of them {call['positive']}" if "positives" in call else ""
    return (
        f"{threshold(call)}; chosen on {call['cases']} held-out cases{among}, where the sensitivity was "
        f"{call['sensitivity']:.3g} and the specificity {call['specificity']:.3g}"
    )


def threshold(call: Mapping[str, Any]) -> str:
    """The same in short, for each answer; models of before its reason was kept have the probability alone."""
    way = f" (for {call['way']})" if "way" in call else ""
    return f"{call['positive']} is called from a probability of {call['from']:.3g} on{way}"


def differs(said: str, among: Sequence[str], chance: float) -> str:
    """A note where the call by a threshold is not in the set; "" where it is, or the set is empty.

    chance: the probability of the label that is called.
    """
    if not among or said in among:
        return ""
    return (
        f"the call and the set differ: {said} (probability {chance:.3g}) is called by the chosen threshold, while only "
        f"{', '.join(among)} is typical enough for the set"
    )


def called(labels: Sequence[str], p: Floats, call: Mapping[str, Any]) -> str:
    """The positive label where its probability among p (labels,) reaches the threshold, else the other one."""
    at = list(labels).index(call["positive"])
    return labels[at] if p[at] >= call["from"] - _ROUNDING else labels[1 - at]
