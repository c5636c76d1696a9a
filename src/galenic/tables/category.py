"""The kind category: one label of few, as an input or as a diagnosis that is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from galenic.core import calibrate
from galenic.core.contract import Answer, Definition, Field, Judged, Prepared, Settings, Values
from galenic.core.errors import TaskError
from galenic.tables import measure
from galenic.tables.checks import one_column, refuse_options, share_of, unfit
from galenic.tables.read import CategorySource, label_of, open_labels
from galenic.tables.write import write_row

PARITY = 0.005
_ROUNDING = 1e-9


class Category:
    """One label of few. An input, or a target of two classes or more.

    Options: `labels` (all labels in their order; by default those of the training part, sorted), `positive` (the
    class that sensitivity and specificity are of; by default the last of two), `max_error` (answers so unsure that
    they would be wrong more often than this share are refused).
    """

    name = "category"
    frame = "row"
    from_file = False
    definitions: Mapping[str, Definition] = measure.DEFINITIONS
    main_score = "auroc"
    baselines = ("prior", "logistic", "boosting")
    calibrates = True
    dense = False
    quick_cases = 2000

    def check(self, field: Field) -> Field:
        """The field with its labels as text; TaskError for a wrong option or more than one column."""
        refuse_options(field, allowed=("labels", "positive", "max_error"))
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
        share_of(done, "max_error", 0.05)
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
        """Temperature or isotonic, the sets' thresholds at 90 %, and the floor of confidence, as `core.calibrate` says.

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
        thresholds, note = calibrate.fit_thresholds(p, truth, names=labels)
        fitted |= {"thresholds": thresholds, "coverage": calibrate.COVERAGE, "cases": len(pairs), "note": note}
        if "max_error" in field.options:
            limit = field.options["max_error"]
            floor = calibrate.confidence_floor(p.max(axis=1), p.argmax(axis=1) == truth, limit)
            fitted["floor"] = 1.0 if floor is None else floor
            if floor is None:
                fitted["note"] = (
                    f"{note}; no confidence keeps errors under {limit:g}: only certainty is answered".strip("; ")
                )
        return fitted

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

    def choose(self, answers: Sequence[Answer], truths: Sequence[Any], field: Field) -> Settings:  # noqa: ARG002
        """Nothing to clean up."""
        return {}

    def answer(self, output: Any, prepared: Prepared, field: Field, settings: Settings, fitted: Settings) -> Answer:
        """Probabilities, the most probable label and the set; or a refusal.

        Refused are a case whose inputs are all missing, one with a number over 50 sd from the training mean and over
        10 training ranges beyond it, and, with `max_error`, one too unsure. An empty set (the case is like none of the
        calibration cases) is answered with the most probable label alone and the fact "atypical".
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
        among = calibrate.members(p, fitted["thresholds"]) if "thresholds" in fitted else []
        if "thresholds" in fitted and not among:
            facts["atypical"], among = True, [best]
        return Answer(
            labels[best],
            among=tuple(labels[number] for number in among),
            probabilities={label: float(value) for label, value in zip(labels, p, strict=True)},
            facts=facts,
        )

    def judge(self, answer: Answer, truth: Any, field: Field) -> Judged:
        """What `measure.scores` needs of one case."""
        labels = list(answer.facts["labels"])
        positive = field.options.get("positive", labels[1] if len(labels) == 2 else None)
        return {
            "labels": labels,
            "positive": labels.index(positive) if positive in labels else -1,
            "p": [answer.probabilities[label] for label in labels] if answer.refused is None else [],
            "truth": labels.index(truth) if truth in labels else -1,
            "among": [labels.index(label) for label in answer.among],
        }

    def scores(self, judged: Sequence[Judged], field: Field) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """See `measure.scores`; NaN where undefined."""
        return measure.scores(judged)

    def agree(self, ours: Any, reference: Any) -> tuple[float, bool]:
        """The largest difference of a probability, and whether it is within 0.005."""
        one, other = (
            calibrate.apply({}, np.asarray(raw, dtype=np.float64).reshape(1, -1)) for raw in (ours, reference)
        )
        gap = float(np.abs(one - other).max())
        return gap, gap <= PARITY

    def write(self, answer: Answer, values: Values, path: Path, *, form: str) -> list[Path]:
        """A CSV of a header and one row: id, answer, set, refused, then p(label) a label.

        The id is values["id"] where given, else the name of `path`, which gets the ending .csv.
        """
        if form not in ("auto", "csv"):
            raise TaskError(f"the form {form!r} for a category", allowed="auto, csv")
        labels = list(answer.facts.get("labels", answer.probabilities))
        header = ["answer", "set", "refused", *(f"p({label})" for label in labels)]
        chances = [f"{answer.probabilities[label]:.6g}" if label in answer.probabilities else "" for label in labels]
        cells = [answer.value or "", " ".join(answer.among), answer.refused or "", *chances]
        return [write_row(path, values, header, cells)]


def _known(field: Field, settings: Settings) -> list[str]:
    labels: list[str] = settings["categories"][field.name]["labels"]
    return labels


def _labels(field: Field, given: Any) -> list[str]:
    labels = [label_of(one) for one in given] if isinstance(given, list) else []
    named = [label for label in labels if label is not None]
    if len(named) < 2 or len(named) != len(labels) or len(set(named)) != len(named):
        raise TaskError(f"the labels {given!r} of {field.name!r}", allowed="a list of two different labels or more")
    return named


CATEGORY = Category()
