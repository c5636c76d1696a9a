"""Scores of a number from judged cases: plain numpy, as they are taken again for every bootstrap sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from galenic.core.contract import Definition, Judged

Floats = NDArray[np.float64]

_NAN = float("nan")
_OWN = "{unit}"

DEFINITIONS = {
    "rmse": Definition(
        _OWN,
        "root mean squared error: the root of the mean of (answer - truth)², in the target's own unit",
        higher_is_better=False,
    ),
    "mae": Definition(_OWN, "mean absolute error: the mean of |answer - truth|", higher_is_better=False),
    "r2": Definition(
        "",
        "coefficient of determination: 1 - sum of (answer - truth)² / sum of (truth - mean truth)², both over the "
        "scored cases; 0 is as good as their mean, below 0 worse; undefined where all truths are the same (Draper and "
        "Smith, Applied Regression Analysis, 1998)",
    ),
    "spearman": Definition(
        "",
        "rank correlation of answers and truths, ties at their mean rank (Spearman 1904); undefined where either side "
        "has one value only",
    ),
    "coverage": Definition(
        "", "share of cases whose interval holds the truth; promised: the option coverage, 0.9 where none is given"
    ),
    "width": Definition(_OWN, "mean width of the interval", higher_is_better=False),
    "answered": Definition("", "share of cases with a known truth that got an answer and no refusal"),
}


def r2(value: Floats, truth: Floats) -> float:
    """Coefficient of determination of answers (n,) and truths (n,); NaN where the truths do not differ."""
    spread = float(((truth - truth.mean()) ** 2).sum()) if len(truth) else 0.0
    return _NAN if spread == 0 else 1.0 - float(((value - truth) ** 2).sum()) / spread


def spearman(value: Floats, truth: Floats) -> float:
    """Pearson's correlation of the ranks of (n,) and (n,); NaN where either side has one value only."""
    if len(truth) < 2 or np.ptp(value) == 0 or np.ptp(truth) == 0:
        return _NAN
    one, other = (ranks - ranks.mean() for ranks in (rankdata(value), rankdata(truth)))
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


def scores(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """{"": scores over judged cases}; NaN where undefined.

    A case is {"value", "low", "high": numbers or None, "truth": number or None}. Cases without a truth are left out;
    refused ones, whose value is None, count in `answered` alone.
    """
    known = [case for case in judged if case["truth"] is not None]
    done = [case for case in known if case["value"] is not None]
    overall = dict.fromkeys(DEFINITIONS, _NAN)
    overall["answered"] = len(done) / len(known) if known else _NAN
    if not done:
        return {"": overall}
    value, truth = (np.array([case[name] for case in done], dtype=np.float64) for name in ("value", "truth"))
    error = value - truth
    overall |= {
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": r2(value, truth),
        "spearman": spearman(value, truth),
    }
    bound = [case for case in done if case["low"] is not None]
    if bound:
        low, high, own = (np.array([case[name] for case in bound], np.float64) for name in ("low", "high", "truth"))
        overall |= {"coverage": float(((low <= own) & (own <= high)).mean()), "width": float((high - low).mean())}
    return {"": overall}
