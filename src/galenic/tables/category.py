"""The kind category: one label of few, as an input or as a diagnosis that is learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.nn import functional

from galenic.core import blend, calibrate
from galenic.core.contract import Answer, Definition, Field, Judged, Prepared, Settings, Values
from galenic.core.errors import TaskError
from galenic.core.figures import Figure, Sheet
from galenic.tables import calls, measure, show
from galenic.tables.checks import one_column, refuse_options, share_of, unfit
from galenic.tables.read import CategorySource, label_of, open_labels
from galenic.tables.write import write_fhir, write_row

PARITY = 0.005
_ROUNDING = 1e-9
_LIMITS = ("max_error", "sensitivity", "costs")


class Category:
    """One label of few. An input, or a target of two classes or more.

    Options: `labels` (all labels in their order; by default those of the training part, sorted), `positive` (the
    class that sensitivity and specificity are of; by default the last of two), `coverage` (how often the set is to
    hold the truth, class by class, 0.9), and one of: `max_error` (answers so unsure that they would be wrong more often
    than this share are refused), `sensitivity` (two classes: the positive one is called from the highest probability
    on at which the valid part's cases of it are found this often), `costs` ([of a miss, of a false alarm], two classes:
    it is called from the probability on that cost least on the valid part).
    """

    name = "category"
    frame = "row"
    from_file = False
    groups = False
    definitions: Mapping[str, Definition] = measure.DEFINITIONS
    main_score = "auroc"
    grouped = ("auroc", "coverage")
    baselines = ("prior", "columns", "logistic", "boosting")
    calibrates = True
    dense = False
    quick_cases = 2000
    writes_refusals = True
    bare = True

    def check(self, field: Field) -> Field:
        """The field with its labels as text; TaskError for a wrong option or more than one column."""
        refuse_options(field, allowed=("labels", "positive", "coverage", *_LIMITS))
        one_column(field)
        options = {name: value for name, value in field.options.items() if value is not None}
        if "labels" in options:
            options["labels"] = _labels(field, options["labels"])
        if "positive" in options:
            options["positive"] = label_of(options["positive"])
            if options["positive"] not in options.get("labels", [options["positive"]]):
                raise TaskError(
                    f"the positive class {options['positive']!r} of {field.name!r}",
                    allowed=", ".join(options["labels"]),
                )
        done = field.model_copy(update={"options": options})
        for name, such_as in (("max_error", 0.05), ("sensitivity", 0.9), ("coverage", calibrate.COVERAGE)):
            share_of(done, name, such_as)
        _check_calls(done)
        return done

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> CategorySource:  # noqa: ARG002 - names no file
        """Index the column; TableError where it is not there, ValueProblem for a target's label not among `labels`."""
        return open_labels(field, table)

    def features(self, array: NDArray[Any], field: Field, settings: Settings) -> NDArray[Any]:  # noqa: ARG002
        """(labels + 1,) the one-hot array itself."""
        return np.asarray(array, dtype=np.float64)

    def group(self, value: Any) -> str | None:  # noqa: ARG002 - a label ties no cases together
        return None

    def head(self, field: Field, width: int, settings: Settings) -> nn.Module:
        """Features (batch, width) to logits (batch, labels)."""
        return nn.Linear(width, len(_known(field, settings)))

    def loss(self, output: Tensor, truth: Tensor, field: Field, settings: Settings) -> Tensor:  # noqa: ARG002
        """Cross-entropy (batch,) of logits (batch, labels) and class indices (batch,); 0 where the index is -1."""
        return functional.cross_entropy(output.float(), truth.long(), reduction="none", ignore_index=-1)

    def calibrate(self, outputs: Sequence[Any], truths: Sequence[Any], field: Field, settings: Settings) -> Settings:
        """Temperature or isotonic, the sets' thresholds, and the floor of confidence, as `core.calibrate` says.

        JSON {"way", ..., "thresholds": [labels], "coverage": 0.9, "cases": n, "note": ...}; only a note without truths.
        """
        labels = _known(field, settings)
        pairs = [
            (output, labels.index(truth)) for output, truth in zip(outputs, truths, strict=True) if truth in labels
        ]
        if not pairs:
            return {"note": "no calibration case with a known label: probabilities as they are, no sets"}
        logits = np.stack([np.asarray(output, dtype=np.float64) for output, _ in pairs])
        truth = np.array([index for _, index in pairs])
        fitted = calibrate.fit(logits, truth)
        p = calibrate.apply(fitted, logits)
        level = share_of(field, "coverage", calibrate.COVERAGE)
        thresholds, note = calibrate.fit_thresholds(p, truth, names=labels, coverage=level)
        fitted |= {"thresholds": thresholds, "coverage": level, "cases": len(pairs), "note": note}
        if "max_error" in field.options:
            limit = field.options["max_error"]
            floor = calibrate.confidence_floor(p.max(axis=1), p.argmax(axis=1) == truth, limit)
            fitted["floor"] = 1.0 if floor is None else floor
            if floor is None:
                fitted["note"] = (
                    f"{note}; no confidence keeps errors under {limit:g}: only certainty is answered".strip("; ")
                )
        return fitted

    def weigh(
        self, outputs: Mapping[str, Sequence[Any]], truths: Sequence[Any], field: Field, settings: Settings
    ) -> Settings:
        """Weights of the members' log-probabilities by which the log loss is least; see `core.blend.weigh`."""
        labels = _known(field, settings)
        known = [at for at, truth in enumerate(truths) if truth in labels]
        logs = (
            {name: np.stack([_log_softmax(own[at]) for at in known]) for name, own in outputs.items()} if known else {}
        )
        truth = np.array([labels.index(truths[at]) for at in known], np.int64)
        return blend.weigh(logs, truth, _log_loss, unit="log loss")

    def mix(self, outputs: Mapping[str, Any], weights: Mapping[str, float]) -> NDArray[Any]:
        """Logits (labels,): the weighed sum of the members' log-probabilities."""
        return np.asarray(sum(weight * _log_softmax(outputs[name]) for name, weight in weights.items()))

    def quick(self, outputs: Sequence[Any], truths: Sequence[NDArray[Any]], field: Field) -> float:  # noqa: ARG002
        """AUROC (macro one-vs-rest); where steps tie, as on few cases, the Brier score tells them apart."""
        p = calibrate.apply({}, np.stack([np.asarray(output, np.float64) for output in outputs]))
        truth = np.asarray(truths, np.int64).ravel()
        known = truth >= 0
        p, truth = p[known], truth[known]
        areas = [measure.auroc(p[:, label], truth == label) for label in range(p.shape[1])]
        areas = [area for area in areas if not np.isnan(area)]
        brier = float(((p - np.eye(p.shape[1])[truth]) ** 2).sum(axis=1).mean()) if len(p) else 0.0
        return float(np.mean(areas)) - 1e-3 * brier if areas else -brier

    def choose(self, answers: Sequence[Answer], truths: Sequence[Any], field: Field) -> Settings:
        """Where `sensitivity` or `costs` is asked for, from which probability on the positive class is called.

        JSON {"call": {"positive", "from": the probability, "way": what for, "cases", "positives" among them, and what
        came of it there: "sensitivity", "specificity"}}, and "call_note": why there is none, or that it is rough.
        """
        if not {"sensitivity", "costs"} & field.options.keys():
            return {}
        return calls.chosen(answers, truths, field)

    def answer(self, output: Any, prepared: Prepared, field: Field, settings: Settings, fitted: Settings) -> Answer:
        """Probabilities, the called label and the set; or a refusal.

        The most probable label is called, or what the threshold that `choose` left says, which then stands in the facts
        as "called_from": {label: probability} and "threshold", in words. Refused are a case that a frame refuses, one
        whose inputs are all missing, one with a number over 50 sd from the training mean and over 10 training ranges
        beyond it, and, with `max_error`, one too unsure. An empty set (the case is like none of the calibration cases)
        is told by the fact "atypical" and a note, as is a call that is not in the set.
        """
        labels = _known(field, settings)
        facts: dict[str, Any] = {"labels": list(labels)}
        logits = np.asarray(output, dtype=np.float64).reshape(1, -1)
        reason = unfit(prepared, settings)
        if not reason and not np.isfinite(logits).all():
            reason = "the model's output is not finite"
        if reason:
            return Answer(None, facts=facts, refused=reason)
        p = calibrate.apply(fitted, logits)[0]
        best = int(p.argmax())
        if p[best] < fitted.get("floor", 0.0) - _ROUNDING:
            reason = f"not sure enough: {labels[best]} at {p[best]:.2f}, answered from {fitted['floor']:.2f} on"
            return Answer(None, facts=facts, refused=reason)
        chances = {label: float(value) for label, value in zip(labels, p, strict=True)}
        among = tuple(labels[at] for at in calibrate.members(p, fitted.get("thresholds", ())))
        said, notes = labels[best], list[str]()
        if "thresholds" in fitted and not among:
            facts["atypical"] = True
            notes.append(f"no class is typical of this case, the least sure of answers: {said} is only the likeliest")
        if "call" in fitted:
            said = calls.called(labels, p, fitted["call"])
            facts["called_from"] = {fitted["call"]["positive"]: fitted["call"]["from"]}
            facts["threshold"] = calls.threshold(fitted["call"])
            notes += filter(None, [calls.differs(said, among, chances[said])])
        return Answer(said, among=among, probabilities=chances, facts=facts, notes=tuple(notes))

    def calling(self, fitted: Settings) -> str:
        """From which probability on the positive class is called, and how that was chosen; "" for the most probable."""
        return calls.in_words(fitted["call"]) if "call" in fitted else ""

    def judge(self, answer: Answer, truth: Any, field: Field) -> Judged:
        """What `measure.scores` needs of one case.

        A case that was refused before this kind was asked has no labels; its truth is 0, which counts as known. For
        an empty set the most probable label counts.
        """
        labels = list(answer.facts.get("labels", []))
        if not labels:
            known = 0 if truth is not None else -1
            return {"labels": [], "positive": -1, "p": [], "truth": known, "among": [], "called": -1}
        positive = field.options.get("positive", labels[1] if len(labels) == 2 else None)
        among = answer.among
        if answer.facts.get("atypical"):
            among = (max(answer.probabilities, key=lambda label: answer.probabilities[label]),)
        return {
            "labels": labels,
            "positive": labels.index(positive) if positive in labels else -1,
            "p": [answer.probabilities[label] for label in labels] if answer.refused is None else [],
            "truth": labels.index(truth) if truth in labels else -1,
            "among": [labels.index(label) for label in among],
            "called": labels.index(answer.value) if answer.refused is None else -1,
        }

    def scores(self, judged: Sequence[Judged], field: Field) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """See `measure.scores`; NaN where undefined."""
        return measure.scores(judged)

    def details(self, judged: Sequence[Judged], field: Field) -> dict[str, Any]:  # noqa: ARG002
        """{"confusion": see `measure.confusion`}."""
        return {"confusion": measure.confusion(judged)}

    def figures(self, ids: Sequence[str], judged: Mapping[str, Sequence[Judged]], field: Field) -> list[Figure | Sheet]:
        """See `show.of_category`."""
        return show.of_category(ids, judged, field)

    def agree(self, ours: Any, reference: Any) -> tuple[float, bool]:
        """The largest difference of a probability, and whether it is within 0.005."""
        one, other = (
            calibrate.apply({}, np.asarray(raw, dtype=np.float64).reshape(1, -1)) for raw in (ours, reference)
        )
        gap = float(np.abs(one - other).max())
        return gap, gap <= PARITY

    def write(self, answer: Answer, values: Values, path: Path, *, form: str) -> list[Path]:
        """csv, and auto: a header and one row: id, answer, set, threshold, refused, notes, then p(label) a label; fhir:
        a RiskAssessment.

        The id is values["id"] where given, else the name of `path`, which gets the ending .csv or .json; for FHIR
        values["patient"] goes before it, and values["assessed"] is the time.
        """
        if form == "fhir":
            return [write_fhir(answer, values, path)]
        if form not in ("auto", "csv"):
            raise TaskError(f"the form {form!r} for a category", allowed="auto, csv, fhir")
        labels = list(answer.facts.get("labels", answer.probabilities))
        header = ["answer", "set", "threshold", "refused", "notes", *(f"p({label})" for label in labels)]
        chances = [f"{answer.probabilities[label]:.6g}" if label in answer.probabilities else "" for label in labels]
        threshold = answer.facts.get("threshold", "")
        told = [threshold, answer.refused or "", "; ".join(answer.notes)]
        cells = [answer.value or "", " ".join(answer.among), *told, *chances]
        return [write_row(path, values, header, cells)]


def _known(field: Field, settings: Settings) -> list[str]:
    labels: list[str] = settings["categories"][field.name]["labels"]
    return labels


def _log_softmax(logits: Any) -> NDArray[np.float64]:
    """Log-probabilities (labels,) of logits."""
    return np.asarray(log_softmax(np.asarray(logits, np.float64).ravel()))


def _log_loss(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) of logits (n, labels) and class indices (n,)."""
    return np.asarray(-log_softmax(logits, axis=1)[np.arange(len(truth)), truth])


def _check_calls(field: Field) -> None:
    """TaskError for limits that exclude each other, more than two labels, or costs that are no costs."""
    given = [name for name in _LIMITS if name in field.options]
    if len(given) > 1:
        raise TaskError(f"{' and '.join(given)} of {field.name!r} together", allowed=f"one of {', '.join(_LIMITS)}")
    labels = field.options.get("labels", [])
    if {"sensitivity", "costs"} & set(given) and len(labels) > 2:
        raise TaskError(f"{given[0]} of {field.name!r}, which has {len(labels)} labels", allowed="two labels")
    costs = field.options.get("costs", [1, 1])
    numbers = isinstance(costs, list) and all(
        isinstance(cost, int | float) and not isinstance(cost, bool) and 0 < cost < math.inf for cost in costs
    )
    if not numbers or len(costs) != 2:
        raise TaskError(f"costs {costs!r} of {field.name!r}", allowed="[of a miss, of a false alarm], such as [5, 1]")


def _labels(field: Field, given: Any) -> list[str]:
    labels = [label_of(one) for one in given] if isinstance(given, list) else []
    named = [label for label in labels if label is not None]
    if len(named) < 2 or len(named) != len(labels) or len(set(named)) != len(named):
        raise TaskError(f"the labels {given!r} of {field.name!r}", allowed="a list of two different labels or more")
    return named


CATEGORY = Category()
