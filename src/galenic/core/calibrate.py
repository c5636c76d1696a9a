"""From a learner's outputs to probabilities and sets that can be weighed: pure functions on numpy, state as JSON.

Temperature: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Isotonic: Zadrozny and Elkan, KDD 2002.
Class-conditional (Mondrian) conformal sets: Vovk et al., Algorithmic Learning in a Random World, 2005, section 4.5.
Intervals of a number: split conformal, Vovk et al., 2005, chapter 2; Lei et al., JASA 113:1094, 2018.
Abstention: fixed-sequence testing, Angelopoulos et al., Learn then Test, 2021; the bound of Clopper and Pearson, 1934.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import beta
from sklearn.isotonic import IsotonicRegression

from galenic.core.errors import ValueProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COVERAGE = 0.9
_BOUNDS = (math.log(0.05), math.log(20.0))
_PRIOR_SD = math.log(2.0)
_FOLDS = 5
_ENOUGH_A_CLASS = 50
FEW = 30  # cases of a class; a threshold that was fitted on fewer is told to be rough
_ATOM = 1e-9
_RISE = 1e-4


def log_loss(probabilities: ArrayLike, truth: ArrayLike) -> Floats:
    """Negative log-likelihood of each case, shape (n,), of probabilities [n, k] and class indices (n,)."""
    p, y = np.asarray(probabilities, float), np.asarray(truth, np.int64)
    return np.asarray(-np.log(np.clip(p[np.arange(len(y)), y], 1e-12, None)))


def fit_temperature(logits: ArrayLike, truth: ArrayLike) -> float:
    """T > 0 such that softmax(logits / T) is best calibrated, by likelihood, from logits [n, k] and truth (n,).

    log T has a normal prior about 0 (sd log 2), worth less than one case: without it, calibration cases that are all
    answered rightly would ask for T = 0. At the optimum the likelihood can't be below that of T = 1.
    """
    z, y = _checked(logits, truth)
    rows = np.arange(len(y))

    def cost(log_t: float) -> float:
        fit = -float(log_softmax(z / math.exp(log_t), axis=1)[rows, y].sum())
        return fit + 0.5 * (log_t / _PRIOR_SD) ** 2

    found = minimize_scalar(cost, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x)) if cost(float(found.x)) < cost(0.0) else 1.0


def fit_isotonic(logits: ArrayLike, truth: ArrayLike) -> dict[str, list[float]]:
    """Binary only: knots of a rising step-wise line from the logit difference to the probability of class 1.

    Probabilities are kept off 0 and 1 by 1 / (n + 2) (Laplace), as one surprise would otherwise cost infinitely.
    `apply` adds one part in 10,000 of a smooth rise, so that the steps make no ties: ranking and sets stay as sharp.
    """
    z, y = _checked(logits, truth)
    edge = 1.0 / (len(y) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1.0 - edge, out_of_bounds="clip").fit(z[:, 1] - z[:, 0], y)
    return {"x": model.X_thresholds_.tolist(), "y": model.y_thresholds_.tolist()}


def fit(logits: ArrayLike, truth: ArrayLike) -> dict[str, Any]:
    """The calibration of outputs [n, k] with true classes (n,), as JSON for `apply`.

    A temperature; for two classes of at least 50 cases each, isotonic where five-fold cross-validation says that it
    lowers the log loss by more than one standard error, and it is not worse on the cases themselves.
    """
    z, y = _checked(logits, truth)
    state: dict[str, Any] = {"way": "temperature", "temperature": fit_temperature(z, y)}
    if z.shape[1] != 2 or np.bincount(y, minlength=2).min() < _ENOUGH_A_CLASS:
        return state
    gain = _gain_of_isotonic(z, y)
    curve = {"way": "isotonic", **fit_isotonic(z, y)}
    wins = gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain))
    if wins and log_loss(apply(curve, z), y).mean() <= log_loss(apply(state, z), y).mean():
        return curve
    return state


def _gain_of_isotonic(z: Floats, y: Ints) -> Floats:
    """Log loss of the temperature less that of isotonic, each case (n,) judged by fits that have not seen it."""
    chance = np.random.default_rng(0).random(len(y))  # folds even by score would tell isotonic the held-out truths
    order = np.lexsort((chance, y))
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % _FOLDS
    gain = np.empty(len(y))
    for number in range(_FOLDS):
        held = fold == number
        warm = {"way": "temperature", "temperature": fit_temperature(z[~held], y[~held])}
        curve = {"way": "isotonic", **fit_isotonic(z[~held], y[~held])}
        gain[held] = log_loss(apply(warm, z[held]), y[held]) - log_loss(apply(curve, z[held]), y[held])
    return gain


def apply(state: Mapping[str, Any], logits: ArrayLike) -> Floats:
    """Probabilities [n, k] of logits [n, k]; an empty state is the plain softmax."""
    z = np.asarray(logits, float)
    if state.get("way") == "isotonic":
        gap = z[:, 1] - z[:, 0]
        p = (1 - _RISE) * np.interp(gap, state["x"], state["y"]) + _RISE * (0.5 + np.arctan(gap) / np.pi)
        return np.stack([1.0 - p, p], axis=1)
    return np.asarray(softmax(z / float(state.get("temperature", 1.0)), axis=1))


def fit_thresholds(
    probabilities: ArrayLike, truth: ArrayLike, *, names: Sequence[str], coverage: float = COVERAGE
) -> tuple[list[float], str]:
    """The least probability at which each of the classes `names` belongs to the set, (k,); a note on a fallback.

    Of the n calibration cases of a class, the ceil((n + 1) coverage)-th highest probability given to the true class:
    a new case of that class then has it in its set with at least that chance, whatever the learner is worth. A class
    with fewer than ceil(coverage / (1 - coverage)) cases takes the threshold of all classes together (right on
    average only); where all together are too few, 0, which keeps every class. Temperature and isotonic fitted on the
    same cases keep the order of two classes, so nothing is lost then; with more classes the one number T costs little.
    """
    p, y = np.asarray(probabilities, float), np.asarray(truth, np.int64)
    own = p[np.arange(len(y)), y]
    pooled = _quantile(own, coverage)
    per_class = [_quantile(own[y == number], coverage) for number in range(p.shape[1])]
    poor = [name for name, found in zip(names, per_class, strict=True) if found is None]
    note = ""
    if poor:
        what = "the threshold of all classes together" if pooled is not None else "no threshold: every class is kept"
        note = f"fewer than {_least(coverage)} calibration cases of {', '.join(poor)}: {what}"
    counts = np.bincount(y, minlength=len(names))
    rough = [
        f"{name} ({counts[at]})" for at, name in enumerate(names) if counts[at] < FEW and per_class[at] is not None
    ]
    if rough:
        more = f" and {len(rough) - 5} more classes" if len(rough) > 5 else ""
        note += f"{'; ' if note else ''}sets fitted on fewer than {FEW} cases of {', '.join(rough[:5])}{more}: "
        note += f"on new cases they may hold these less often than {coverage:g}, or be wider than need be"
    return [float(found if found is not None else pooled or 0.0) for found in per_class], note


def _quantile(own: Floats, coverage: float) -> float | None:
    """The finite-sample threshold of one class, or None where it has too few cases."""
    rank = math.ceil(round((len(own) + 1) * coverage, 9))
    return None if rank > len(own) else float(np.sort(own)[len(own) - rank])


def members(probabilities: ArrayLike, thresholds: Sequence[float]) -> list[int]:
    """Classes of the set for probabilities (k,); may be empty where the case is like none of the calibration cases."""
    p = np.asarray(probabilities, float)
    return [number for number, least in enumerate(thresholds) if p[number] >= least - _ATOM]


def fit_radius(residuals: ArrayLike, coverage: float = COVERAGE) -> tuple[float | None, str]:
    """Half the width of an interval that holds the truth of a new case with at least the chance `coverage`; a note.

    residuals: |answer - truth| (n,) of calibration cases that the learner has not seen. The ceil((n + 1) coverage)-th
    smallest of them, whatever the learner is worth, as long as the new case comes from where these came from; the
    width is the same for every case. None with fewer than coverage / (1 - coverage) cases, as the note says.
    """
    own = np.sort(np.asarray(residuals, float))
    rank = math.ceil(round((len(own) + 1) * coverage, 9))
    if rank > len(own):
        return None, f"{len(own)} calibration cases, {_least(coverage)} are needed at {coverage:g}: no interval"
    return float(own[rank - 1]), ""


def _least(coverage: float) -> int:
    """The fewest calibration cases from which a threshold at this level can be told."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def confidence_floor(confidence: ArrayLike, right: ArrayLike, max_error: float, certainty: float = 0.9) -> float | None:
    """The least confidence at which answering keeps the share of wrong answers under `max_error`.

    confidence, right: (n,) of the calibration cases. From the surest cases down, each step must hold by the upper
    Clopper-Pearson bound at `certainty`; the first that fails ends it. None where even the surest cases do not do.
    """
    sure = np.asarray(confidence, float)
    if not 0 < max_error < 1:
        raise ValueProblem(f"a share of errors of {max_error}", allowed="above 0 and below 1")
    order = np.argsort(-sure, kind="stable")
    sure, wrong = sure[order], np.cumsum(~np.asarray(right, bool)[order])
    first = math.ceil(math.log(1 - certainty) / math.log(1 - max_error))
    floor = None
    for count in range(first, len(sure) + 1):
        if count < len(sure) and sure[count] == sure[count - 1]:
            continue
        errors = int(wrong[count - 1])
        bound = 1.0 if errors == count else float(beta.ppf(certainty, errors + 1, count - errors))
        if bound > max_error + _ATOM:
            break
        floor = float(sure[count - 1])
    return floor


def _checked(logits: ArrayLike, truth: ArrayLike) -> tuple[Floats, Ints]:
    z, y = np.asarray(logits, np.float64), np.asarray(truth, np.int64)
    if z.ndim != 2 or z.shape[1] < 2 or y.shape != (len(z),) or not len(y):
        raise ValueProblem(
            f"outputs of shape {z.shape} with truths of shape {y.shape}",
            allowed="[case, class] of 2 classes or more, (case,)",
        )
    if not np.isfinite(z).all() or y.min() < 0 or y.max() >= z.shape[1]:
        raise ValueProblem(
            "outputs that are not finite, or truths that name no class", allowed="finite; 0 to classes - 1"
        )
    return z, y
