"""A network's outputs weighed together with simple methods': stacking, with weights that are not negative.

Wolpert, Neural Networks 5:241 (1992); Breiman, Machine Learning 24:49 (1996). The weights are fitted on cases that none
of the learners has learnt from, and kept where cross-validation among these says that the blend serves them better than
the network alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from galenic.core.contract import Learner, Mixes, Outputs, Prepared, Settings

Floats = NDArray[np.float64]
Cost = Callable[[Floats, NDArray[Any]], Floats]  # mixed outputs (n, k) and truths (n,) to the loss of each case (n,)

NETWORK = "network"  # the network's own name among the members of a blend
TITLE = "the network alone"
FEWEST = 40  # cases; of fewer no weight can be told
_FOLDS = 5
_SPREAD = 0.5  # of the normal prior about equal weights, worth about one case
_NOTHING = 0.02  # share of all weight below which a member is left out


def used(fitted: Mapping[str, Settings]) -> list[str]:
    """The simple methods that the targets' blends name, sorted."""
    named = {name for own in fitted.values() for name in own.get("blend", {}).get("weights", ())}
    return sorted(named - {NETWORK})


def outputs_of(learners: Mapping[str, Learner], cases: Sequence[Prepared]) -> list[dict[str, Outputs]]:
    """Learner -> its raw outputs, of each case: many at once where a learner can."""
    found: list[dict[str, Outputs]] = [{} for _ in cases]
    for name, learner in learners.items() if cases else ():
        many = getattr(learner, "infer_many", None)
        outputs = [learner.infer(one) for one in cases] if many is None else many(cases)
        for own, output in zip(found, outputs, strict=True):
            own[name] = output
    return found


def members(network: Outputs, learners: Mapping[str, Outputs]) -> dict[str, dict[str, Any]]:
    """Target -> member -> raw output for one case; a learner that has not that target is left out there."""
    found = {NETWORK: network, **learners}
    return {
        target: {name: outputs[target] for name, outputs in found.items() if target in outputs} for target in network
    }


def mixed(kind: Any, own: Mapping[str, Any], fitted: Settings) -> Any:
    """The output that `fitted` makes of the members' outputs of one case: the network's where nothing was weighed."""
    if "blend" not in fitted:
        return own[NETWORK]
    return kind.mix(own, fitted["blend"]["weights"])


def fit(
    kind: Any, given: Sequence[Mapping[str, Any]], truths: Sequence[Any], field: Any, settings: Settings
) -> Settings:
    """{"blend": {"weights", "gain", "cases"}, "blend_note"}, from cases that no member has learnt from; or {}.

    given: outputs of each case by member. A target kind that is no `Mixes` has no blend.
    """
    names = list(given[0]) if given else []
    if len(names) < 2 or not isinstance(kind, Mixes):
        return {}
    found = kind.weigh({name: [own[name] for own in given] for name in names}, truths, field, settings)
    if "weights" not in found:
        return {"blend_note": found["note"]}
    return {"blend": {key: found[key] for key in ("weights", "gain", "cases")}, "blend_note": found["note"]}


def weigh(outputs: Mapping[str, Floats], truth: NDArray[Any], cost: Cost, *, unit: str) -> Settings:
    """Weights of the members by which their weighted sum costs least; only a note where the network alone serves best.

    outputs: (n, k) a member, the network's under NETWORK. JSON {"weights": name -> weight > 0, "gain": mean cost of the
    network alone less that of the blend, in five-fold cross-validation, "cases": n, "note"}. The network alone is
    weighed too, so that it is not beaten merely for being too sure of itself. unit: what the cost is of, for the note.
    """
    cases = len(truth)
    if cases < FEWEST:
        return {"note": f"the network alone: {cases} cases to weigh others on, {FEWEST} are needed"}
    weights = _least_cost(outputs, truth, cost)
    kept = {name: outputs[name] for name, own in weights.items() if own > _NOTHING * sum(weights.values())}
    gain = _gain(kept, {NETWORK: outputs[NETWORK]}, truth, cost) if kept else 0.0
    if set(kept) == {NETWORK} or not gain > 0:
        return {"note": f"the network alone: weighing others with it lowers no {unit} on {cases} cases not learnt from"}
    weights = _least_cost(kept, truth, cost)
    shares = ", ".join(f"{name} {own:.2f}" for name, own in weights.items())
    note = (
        f"a blend: {shares} (weights of log-probabilities or values; their sum is free); {unit} {gain:.4f} lower than "
        f"the network's alone on {cases} cases not learnt from"
    )
    return {"weights": weights, "gain": gain, "cases": cases, "note": note}


def _gain(blend: Mapping[str, Floats], alone: Mapping[str, Floats], truth: NDArray[Any], cost: Cost) -> float:
    """Mean cost of the one less that of the other, each case judged by weights that have not seen it."""
    fold = np.random.default_rng(0).permutation(len(truth)) % _FOLDS
    found = [_held_out(own, truth, cost, fold) for own in (alone, blend)]
    return float((found[0] - found[1]).mean())


def _held_out(outputs: Mapping[str, Floats], truth: NDArray[Any], cost: Cost, fold: NDArray[np.int64]) -> Floats:
    found = np.empty(len(truth))
    for number in range(_FOLDS):
        held = fold == number
        weights = _least_cost({name: own[~held] for name, own in outputs.items()}, truth[~held], cost)
        found[held] = cost(_sum({name: own[held] for name, own in outputs.items()}, weights), truth[held])
    return found


def _least_cost(outputs: Mapping[str, Floats], truth: NDArray[Any], cost: Cost) -> dict[str, float]:
    """Non-negative weights of least total cost; a weak prior about equal ones settles what the cases leave open."""
    even = 1.0 / len(outputs)

    def total(weights: Floats) -> float:
        fit = float(cost(_sum(outputs, dict(zip(outputs, weights, strict=True))), truth).sum())
        return fit + 0.5 * float((((weights - even) / _SPREAD) ** 2).sum())

    found = minimize(total, np.full(len(outputs), even), method="L-BFGS-B", bounds=[(0.0, None)] * len(outputs))
    return {name: round(float(own), 6) for name, own in zip(outputs, found.x, strict=True)}


def _sum(outputs: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    return np.asarray(sum(weights[name] * own for name, own in outputs.items()))
