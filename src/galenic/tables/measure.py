"""Scores of a category from judged cases: plain numpy, as they are taken again for every bootstrap sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Definition, Judged

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

BINS = 15
LEVELS = (0.9, 0.95)  # at which sensitivity and specificity are read against each other
THRESHOLDS = (0.1, 0.2, 0.5)  # of the net benefit among the scores; the report draws the whole curve
_ROUNDING = 1e-12
_NAN = float("nan")
_CALLED = "the called class is the most probable one, or what the threshold chosen for the task says"


def _at(name: str, level: float) -> str:
    return f"{name}_{round(100 * level)}"


def _read_against() -> dict[str, Definition]:
    found = {}
    for level in LEVELS:
        found[_at("sensitivity_at_specificity", level)] = Definition(
            "",
            f"greatest sensitivity of any threshold on these cases whose specificity is {level:g} or more, equal "
            "probabilities on one side (no interpolation); more than two classes: mean of one-vs-rest",
        )
    for level in LEVELS:
        found[_at("specificity_at_sensitivity", level)] = Definition(
            "",
            f"greatest specificity of any threshold on these cases whose sensitivity is {level:g} or more; more than "
            "two classes: mean of one-vs-rest",
        )
    return found


def _net_benefits() -> dict[str, Definition]:
    return {
        _at("net_benefit", level): Definition(
            "",
            f"net benefit of calling the positive class from a probability of {level:g} on: true calls / cases - false "
            f"calls / cases x {level:g} / {1 - level:g} (Vickers and Elkin 2006); calling nobody gives 0; undefined "
            "without a positive class",
        )
        for level in THRESHOLDS
    }


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
    "accuracy": Definition("", f"share of answered cases whose called class is the true one; {_CALLED}"),
    "brier": Definition(
        "",
        "mean squared difference of the positive class's probability from 0 or 1; more than two classes: summed over "
        "the classes (Brier 1950)",
        higher_is_better=False,
    ),
    "log_loss": Definition(
        "",
        "mean of -log of the true class's probability, which counts as 1e-15 where it is less (Good 1952)",
        higher_is_better=False,
    ),
    "calibration_error": Definition(
        "",
        f"expected calibration error: mean gap, over {BINS} equal bins of the most probable class's probability, "
        "between that probability and the share right, weighted by cases (Naeini 2015, Guo 2017)",
        higher_is_better=False,
    ),
    "sensitivity": Definition(
        "", f"share of the positive class's cases that are called so; {_CALLED}; undefined without a positive class"
    ),
    "specificity": Definition("", "share of the other cases that are not called positive"),
    "ppv": Definition(
        "", "positive predictive value: share of the cases called positive that are so; undefined where none is called"
    ),
    "npv": Definition("", "negative predictive value: share of the cases not called positive that are not so"),
    "f1": Definition(
        "",
        "2 x true calls / (cases + calls) of the positive class (van Rijsbergen 1979); more than two classes: mean "
        "over the classes that have cases or calls",
    ),
    **_read_against(),
    **_net_benefits(),
    "coverage": Definition(
        "",
        "share of cases whose answered set of classes holds the true one (of an empty set: whose most probable class "
        "it is); promised, class by class: the option coverage, 0.9 where none is given",
    ),
    "set_size": Definition(
        "classes", "mean number of classes in the answered set, 1 for an empty one", higher_is_better=False
    ),
    "answered": Definition("", "share of cases with a known truth that got an answer and no refusal"),
}


@dataclass(frozen=True)
class Steps:
    """Calls by falling threshold: at each distinct score, the highest first, how many cases and others are called.

    thresholds, hits, alarms: (m,); positive, negative: all cases and all others.
    """

    thresholds: Floats
    hits: Ints
    alarms: Ints
    positive: int
    negative: int

    @property
    def auroc(self) -> float:
        if not self.positive or not self.negative:
            return _NAN
        before = np.append(0, self.hits[:-1])
        area = (np.diff(self.alarms, prepend=0) * (before + self.hits)).sum() / 2
        return float(area / (self.positive * self.negative))

    @property
    def auprc(self) -> float:
        if not self.positive:
            return _NAN
        precision = self.hits / (self.hits + self.alarms)
        return float((precision * np.diff(self.hits, prepend=0)).sum() / self.positive)

    def sensitivity_at(self, specificity: float) -> float:
        """The greatest sensitivity where the specificity is that much or more; NaN where either side has no case."""
        if not self.positive or not self.negative:
            return _NAN
        kept = 1 - self.alarms / self.negative >= specificity - _ROUNDING
        return float(self.hits[kept].max(initial=0) / self.positive)

    def specificity_at(self, sensitivity: float) -> float:
        """The greatest specificity where the sensitivity is that much or more; NaN where either side has no case."""
        if not self.positive or not self.negative:
            return _NAN
        kept = self.hits / self.positive >= sensitivity - _ROUNDING
        return float(1 - self.alarms[kept].min() / self.negative)


def steps(score: Floats, truth: Bools) -> Steps:
    """Calls by threshold of scores (n,) for booleans (n,); equal scores are called together."""
    order = np.argsort(-score, kind="stable")
    hits, ranked = np.cumsum(truth[order], dtype=np.int64), score[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(score) - 1) if len(score) else np.empty(0, np.int64)
    positive = int(truth.sum())
    return Steps(ranked[last], hits[last], last + 1 - hits[last], positive, len(truth) - positive)


def auroc(score: Floats, truth: Bools) -> float:
    """AUROC of scores (n,) for booleans (n,); NaN where either side has no case."""
    return steps(score, truth).auroc


def auprc(score: Floats, truth: Bools) -> float:
    """Average precision of scores (n,) for booleans (n,), ties taken as one threshold; NaN without a positive."""
    return steps(score, truth).auprc


def net_benefit(score: Floats, truth: Bools, threshold: float) -> float:
    """Net benefit of calling at probabilities (n,) of `threshold` and above for booleans (n,); NaN without cases."""
    if not len(score):
        return _NAN
    called = score >= threshold - _ROUNDING
    odds = threshold / (1 - threshold)
    return float(((called & truth).sum() - odds * (called & ~truth).sum()) / len(score))


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
    "among": [index ...], "called": index, the most probable where it is not there}. Cases without a truth are left
    out; refused ones count in `answered` alone.
    """
    known = [case for case in judged if case["truth"] >= 0]
    overall = dict.fromkeys(DEFINITIONS, _NAN)
    table = tabled(known)
    overall["answered"] = len(table.truth) / len(known) if known else _NAN
    if not len(table.truth):
        return {"": overall}
    classes = {label: _one_class(table, number) for number, label in enumerate(table.labels)}
    overall |= _overall(table) | _of_positive(table, list(classes.values()))
    return {"": overall, **{label: _shown(own) for label, own in classes.items()}}


@dataclass(frozen=True)
class Table:
    """Answered cases as arrays: p [n, k], truth (n,), called (n,), among [n, k]; the positive class or -1."""

    labels: list[str]
    positive: int
    p: Floats
    truth: Ints
    called: Ints
    among: Bools


def tabled(judged: Sequence[Judged]) -> Table:
    """The cases with an answer and a truth, in their order."""
    done = [case for case in judged if case["truth"] >= 0 and case["p"]]
    if not done:
        return Table([], -1, np.empty((0, 0)), np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), bool))
    p = np.array([case["p"] for case in done], dtype=np.float64)
    among = np.zeros(p.shape, dtype=bool)
    sets = [case["among"] for case in done]
    rows = np.repeat(np.arange(len(done)), list(map(len, sets)))
    among[rows, np.fromiter(chain.from_iterable(sets), dtype=np.int64, count=len(rows))] = True
    best = p.argmax(axis=1)
    return Table(
        labels=done[0]["labels"], positive=done[0]["positive"], p=p, among=among,
        truth=np.array([case["truth"] for case in done], dtype=np.int64),
        called=np.array([case.get("called", own) for case, own in zip(done, best, strict=True)], dtype=np.int64),
    )  # fmt: skip


def confusion(judged: Sequence[Judged]) -> dict[str, Any]:
    """{"labels": [...], "counts": [[cases by called class] by true class], "refused": [cases by true class]}."""
    known = [case for case in judged if case["truth"] >= 0 and case["labels"]]
    if not known:
        return {}
    table, labels = tabled(known), known[0]["labels"]
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (table.truth, table.called), 1)
    refused = np.bincount([case["truth"] for case in known if not case["p"]], minlength=len(labels))
    return {"labels": list(labels), "counts": counts.tolist(), "refused": refused.tolist()}


def _one_class(table: Table, number: int) -> dict[str, float]:
    """Scores of one class against the rest."""
    own, called = table.truth == number, table.called == number
    ranked = steps(table.p[:, number], own)
    calls = int(own.sum() + called.sum())
    found = {
        "auroc": ranked.auroc,
        "coverage": _share(table.among[own, number]) if table.among.any() else _NAN,
        "sensitivity": _share(called[own]),
        "specificity": _share(~called[~own]),
        "ppv": _share(own[called]),
        "npv": _share(~own[~called]),
        "f1": 2 * int((own & called).sum()) / calls if calls else _NAN,
        "auprc": ranked.auprc,
    }
    for level in LEVELS:
        found[_at("sensitivity_at_specificity", level)] = ranked.sensitivity_at(level)
        found[_at("specificity_at_sensitivity", level)] = ranked.specificity_at(level)
    return found


def _shown(own: dict[str, float]) -> dict[str, float]:
    """What a table of classes shows: what is read at fixed levels stands among the overall scores alone."""
    return {name: value for name, value in own.items() if "_at_" not in name}


def _overall(table: Table) -> dict[str, float]:
    p, truth, among = table.p, table.truth, table.among
    right, rows = table.called == truth, np.arange(len(truth))
    square = ((p - np.eye(p.shape[1])[truth]) ** 2).sum(axis=1).mean()
    return {
        "balanced_accuracy": _mean([_share(right[truth == number]) for number in range(p.shape[1])]),
        "accuracy": _share(right),
        "brier": float(square) / (2 if p.shape[1] == 2 else 1),
        "log_loss": float(-np.log(np.clip(p[rows, truth], 1e-15, None)).mean()),
        "calibration_error": calibration_error(p.max(axis=1), p.argmax(axis=1) == truth),
        "coverage": _share(among[rows, truth]) if among.any() else _NAN,
        "set_size": float(among.sum(axis=1).mean()) if among.any() else _NAN,
    }


def _of_positive(table: Table, classes: Sequence[dict[str, float]]) -> dict[str, float]:
    """What belongs to the positive class; with none named among several, the mean over classes where that has sense."""
    positive, own = table.positive, ("sensitivity", "specificity", "ppv", "npv")
    ranked = [name for name in classes[0] if name not in (*own, "coverage")]
    if positive < 0:
        return {name: _mean([of_class[name] for of_class in classes]) for name in ranked}
    score, truth = table.p[:, positive], table.truth == positive
    found = {_at("net_benefit", level): net_benefit(score, truth, level) for level in THRESHOLDS}
    found |= {name: classes[positive][name] for name in own}
    if len(classes) == 2:
        return found | {name: classes[positive][name] for name in ranked}
    return found | {name: _mean([of_class[name] for of_class in classes]) for name in ranked}
