"""Scores with bootstrap intervals, per class and subgroup, beside the simple baselines on the same cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from galenic.core import registry
from galenic.core.contract import Field, Judged, Outputs, Prepared
from galenic.core.task import Task

RESAMPLES = 1000
LEVEL = 0.95
_TAILS = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]

Scores = dict[str, dict[str, float]]


def bootstrap(
    scores: Callable[[Sequence[Judged]], Scores],
    judged: Sequence[Judged],
    groups: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, tuple[float, float]]]:
    """95 % percentile intervals of every score by resampling groups (patients) with replacement (Efron, 1979)."""
    members: dict[str, list[Judged]] = {}
    for group, one in zip(groups, judged, strict=True):
        members.setdefault(group, []).append(one)
    names = sorted(members)
    rng = np.random.default_rng(seed)
    drawn: dict[tuple[str, str], list[float]] = {}
    for _ in range(resamples if len(names) > 1 else 0):
        picked = [one for at in rng.integers(len(names), size=len(names)) for one in members[names[at]]]
        for part, own in scores(picked).items():
            for name, value in own.items():
                drawn.setdefault((part, name), []).append(value)
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    for (part, name), values in drawn.items():
        known = np.array([value for value in values if not math.isnan(value)])
        if len(known) >= 0.5 * resamples:
            low, high = np.percentile(known, _TAILS)
            intervals.setdefault(part, {})[name] = (float(low), float(high))
    return intervals


def quick(task: Task, outputs: Sequence[Outputs], cases: Sequence[Prepared]) -> dict[str, float]:
    """Main score by target on prepared cases; a target is left out whose truth no case holds or whose score is NaN."""
    found = {}
    for one in task.targets:
        pairs = [
            (own[one.name], case.arrays[one.name])
            for case, own in zip(cases, outputs, strict=True)
            if one.name in case.arrays
        ]
        if pairs:
            value = registry.target(one).quick([output for output, _ in pairs], [truth for _, truth in pairs], one)
            if not math.isnan(value):
                found[one.name] = value
    return found


def measure(
    field: Field, judged: Sequence[Judged], groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """`scores` and `classes` of one target, as metrics.json holds them; an undefined score is null."""
    kind = registry.target(field)
    found = kind.scores(judged, field)
    intervals = bootstrap(lambda some: kind.scores(some, field), judged, groups, seed=seed, resamples=resamples)

    def with_interval(part: str) -> dict[str, Any]:
        done = {}
        for name, value in found[part].items():
            low, high = intervals.get(part, {}).get(name, (math.nan, math.nan))
            done[name] = {"value": plain(value), "low": plain(low), "high": plain(high)}
        return done

    unit_of = getattr(kind, "unit_of", None)

    def unit(name: str) -> str:
        told = str(unit_of(name, judged)) if unit_of is not None else kind.definitions[name].unit
        return told.replace("{unit}", str(field.options.get("unit", "")))

    overall = {
        name: own
        | {
            "unit": unit(name),
            "definition": kind.definitions[name].text,
            "higher_is_better": kind.definitions[name].higher_is_better,
        }
        for name, own in with_interval("").items()
    }
    return {"scores": overall, "classes": {part: with_interval(part) for part in found if part}}


def plain(value: float) -> float | None:
    """A float that JSON can hold."""
    return None if math.isnan(value) or math.isinf(value) else round(float(value), 6)


def subgroups(
    field: Field, judged: Sequence[Judged], groups: Sequence[str], labels: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The scores that are shown by group, in each subgroup of at least five cases.

    labels: subgroup's name -> label of each case. The main score stands there even where it is undefined.
    """
    kind = registry.target(field)
    shown = getattr(kind, "grouped", (kind.main_score,))
    done: dict[str, Any] = {}
    for name, own in labels.items():
        for label in sorted(set(own)):
            at = [i for i, value in enumerate(own) if value == label]
            if len(at) < 5 or len(at) == len(own):
                continue
            some = measure(field, [judged[i] for i in at], [groups[i] for i in at], resamples=200)
            done[f"{name}={label}"] = {"cases": len(at)} | {
                score: {key: some["scores"][score][key] for key in ("value", "low", "high")}
                for score in shown
                if score == kind.main_score or some["scores"][score]["value"] is not None
            }
    return done


def paired(
    scores: Callable[[Sequence[Judged]], float],
    ours: Sequence[Judged],
    theirs: Sequence[Judged],
    groups: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Difference of two learners' score on the same cases, with its 95 % interval by resampling the same groups.

    The interval is NaN for fewer than two groups, and where half of the resamples leave the difference undefined.
    """
    members: dict[str, list[int]] = {}
    for at, group in enumerate(groups):
        members.setdefault(group, []).append(at)
    names = sorted(members)
    rng = np.random.default_rng(seed)
    gaps = []
    for _ in range(resamples if len(names) > 1 else 0):
        drawn = [i for pick in rng.integers(len(names), size=len(names)) for i in members[names[pick]]]
        gaps.append(scores([ours[i] for i in drawn]) - scores([theirs[i] for i in drawn]))
    known = [gap for gap in gaps if not math.isnan(gap)]
    low, high = np.percentile(known, _TAILS) if 2 * len(known) > resamples else (math.nan, math.nan)
    return {"difference": scores(ours) - scores(theirs), "low": float(low), "high": float(high)}
