"""Scores of a category from judged cases: plain numpy, as they are taken again for every bootstrap sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from galenic.core.contract import Definition, Judged

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS = 15
_NAN = float("nan")

DEFINITIONS = {
    "auroc": Definition(
        "",
        "area under the receiver operating characteristic: the chance that a case of the class gets a higher "
        "probability than another, ties one half (Hanley and McNeil 1982); more than two classes: mean of one-vs-rest "
        "over the classes that have cases and others",
    ),
    "auprc": Definition(
        "",
        "average precision of the positive class: sum of precision x gain in recall over falling thresholds, no "
        "interpolation (Davis and Goadrich 2006); more than two classes: mean of one-vs-rest over classes with cases",
    ),
    "balanced_accuracy": Definition(
        "", "mean over the classes that have cases of the share answered rightly (Brodersen 2010)"
    ),
    "accuracy": Definition("", "share of answered cases whose most probable class is the true one"),
    "brier": Definition(
        "",
        "mean squared difference of the positive class's probability from 0 or 1; more than two classes: summed over "
        "the classes (Brier 1950)",
        higher_is_better=False,
    ),
    "calibration_error": Definition(
        "",
        f"expected calibration error: mean gap, over {BINS} equal bins of the most probable class's probability, "
        "between that probability and the share right, weighted by cases (Naeini 2015, Guo 2017)",
        higher_is_better=False,
    ),
    "sensitivity": Definition(
        "", "share of the positive class's cases whose most probable class it is; undefined without a positive class"
    ),
    "specificity": Definition("", "share of the other cases whose most probable class is not the positive one"),
    "coverage": Definition("", "share of cases whose answered set of classes holds the true one; promised: 0.9"),
    "set_size": Definition("classes", "mean number of classes in the answered set", higher_is_better=False),
    "answered": Definition("", "share of cases with a known truth that got an answer and no refusal"),
}


def auroc(score: Floats, truth: Bools) -> float:
    """AUROC of scores (n,) for booleans (n,); NaN where either side has no case."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return _NAN
    ranks = rankdata(score)
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def auprc(score: Floats, truth: Bools) -> float:
    """Average precision of scores (n,) for booleans (n,), ties taken as one threshold; NaN without a positive."""
    positive = int(truth.sum())
    if not positive:
        return _NAN
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    precision = hits[last] / (last + 1)
    return float((precision * np.diff(hits[last], prepend=0)).sum() / positive)


def calibration_error(confidence: Floats, right: Bools, bins: int = BINS) -> float:
    """Expected calibration error of confidences (n,) in 0 to 1; NaN without cases."""
    if not len(confidence):
        return _NAN
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def _share(hits: Bools) -> float:
    return float(hits.mean()) if len(hits) else _NAN


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if value == value]
    return float(np.mean(defined)) if defined else _NAN


def scores(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Scores over judged cases: {"": overall, label: of that class one-vs-rest}; NaN where undefined.

    A case is {"labels": [...], "positive": index or -1, "p": [...] or [] where refused, "truth": index or -1,
    "among": [index ...]}. Cases without a truth are left out; refused ones count in `answered` alone.
    """
    known = [case for case in judged if case["truth"] >= 0]
    done = [case for case in known if case["p"]]
    overall = dict.fromkeys(DEFINITIONS, _NAN)
    overall["answered"] = len(done) / len(known) if known else _NAN
    if not done:
        return {"": overall}
    labels: list[str] = done[0]["labels"]
    p = np.array([case["p"] for case in done], dtype=np.float64)
    truth = np.array([case["truth"] for case in done], dtype=np.int64)
    among = np.zeros(p.shape, dtype=bool)
    for row, case in enumerate(done):
        among[row, case["among"]] = True
    classes = {label: _one_class(p, truth, among, number) for number, label in enumerate(labels)}
    overall |= _overall(p, truth, among) | _positive(list(classes.values()), done[0]["positive"])
    return {"": overall, **classes}


def _one_class(p: Floats, truth: NDArray[np.int64], among: Bools, number: int) -> dict[str, float]:
    """Scores of one class against the rest, of p [n, k], truth (n,), among [n, k]."""
    own, called = truth == number, p.argmax(axis=1) == number
    return {
        "auroc": auroc(p[:, number], own),
        "auprc": auprc(p[:, number], own),
        "sensitivity": _share(called[own]),
        "specificity": _share(~called[~own]),
        "coverage": _share(among[own, number]) if among.any() else _NAN,
    }


def _overall(p: Floats, truth: NDArray[np.int64], among: Bools) -> dict[str, float]:
    right = p.argmax(axis=1) == truth
    square = ((p - np.eye(p.shape[1])[truth]) ** 2).sum(axis=1).mean()
    return {
        "balanced_accuracy": _mean([_share(right[truth == number]) for number in range(p.shape[1])]),
        "accuracy": _share(right),
        "brier": float(square) / (2 if p.shape[1] == 2 else 1),
        "calibration_error": calibration_error(p.max(axis=1), right),
        "coverage": _share(among[np.arange(len(truth)), truth]) if among.any() else _NAN,
        "set_size": float(among.sum(axis=1).mean()) if among.any() else _NAN,
    }


def _positive(classes: Sequence[dict[str, float]], positive: int) -> dict[str, float]:
    """What belongs to the positive class; with none named among several, the mean over classes where that has sense."""
    if positive >= 0 and len(classes) == 2:
        return {name: classes[positive][name] for name in ("auroc", "auprc", "sensitivity", "specificity")}
    means = {name: _mean([of_class[name] for of_class in classes]) for name in ("auroc", "auprc")}
    if positive >= 0:
        means |= {name: classes[positive][name] for name in ("sensitivity", "specificity")}
    return means
