"""The row frame: number and category columns of a case, summarised in mergeable pieces, then prepared exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galenic.core import sketch
from galenic.core.contract import Budget, Field, Prepared, Settings, Summary, Values
from galenic.core.errors import ValueProblem
from galenic.tables import bounds, limits
from galenic.tables import doubts as look
from galenic.tables.read import Numbers, label_given, numbers_of

MAX_LABELS = 1000


class Row:
    """One row a case.

    Settings: {"cases": n,
    "numbers": {FIELD: {"columns", "median", "mean", "sd", "low", "high", "counts"} and what
    `limits.learn` finds}, one entry a column,
    "categories": {FIELD: {"labels", "counts", "missing"}}}.
    Prepared: a number field float32 [2n]: n z-scores (missing: the median's), then n flags, 1 where present; a target's
    too, with n = 1; a category input float32 [labels + 1]: one-hot, the last for unknown or missing; a category target
    int64 [], its index, -1 where unknown. A constant column has sd 0 and z-score 0. A missing input still has its
    array, which says so, so that every case has the same shape.
    facts["row"]: {"seen": inputs present, "of": inputs, "far": [what lies absurdly far outside the training part],
    "refuse": [labels of inputs that were never seen in training; numbers outside what the task allows, or of a column
    that `together` found in another unit]}.
    """

    name = "row"

    def summarise(self, values: Values, fields: Sequence[Field]) -> Summary:
        """Moments and a histogram a number column, counts a label; see `sketch`. ValueProblem for a number outside
        the field's low..high.
        """
        numbers: dict[str, Any] = {}
        categories: dict[str, Any] = {}
        for field in fields:
            value = values.get(field.name)
            if field.kind == "number":
                given = value if isinstance(value, Numbers) else Numbers((), np.empty(0))
                bounds.refuse(field, given)
                numbers[field.name] = {
                    column: sketch.of(float(number)) for column, number in zip(given.columns, given.values, strict=True)
                }
            elif field.kind == "category":
                counts = {} if value is None else {str(value): 1}
                categories[field.name] = {"counts": counts, "missing": int(value is None)}
        return {"cases": 1, "numbers": numbers, "categories": categories}

    def merge(self, one: Summary, other: Summary) -> Summary:
        """The summary of the cases of both; in whatever order, up to the last digits of mean and spread."""
        return {
            "cases": one["cases"] + other["cases"],
            "numbers": {
                name: _merge_columns(one["numbers"].get(name, {}), other["numbers"].get(name, {}))
                for name in one["numbers"] | other["numbers"]
            },
            "categories": {
                name: _merge_counts(name, one["categories"].get(name), other["categories"].get(name))
                for name in one["categories"] | other["categories"]
            },
        }

    def settle(
        self,
        summary: Summary,
        fields: Sequence[Field],
        budget: Budget,  # noqa: ARG002 - time changes nothing here
    ) -> tuple[Settings, dict[str, str]]:
        """Centre and scale a column, labels a category. ValueProblem for a target of one class or one value only."""
        settings: Settings = {"cases": summary["cases"], "numbers": {}, "categories": {}}
        reasons: dict[str, str] = {}
        for field in fields:
            if field.kind == "number":
                settings["numbers"][field.name] = _settle_numbers(field, summary, reasons)
            elif field.kind == "category":
                settings["categories"][field.name] = _settle_labels(field, summary, reasons)
        return settings, reasons

    def prepare(self, values: Values, fields: Sequence[Field], settings: Settings) -> Prepared:
        """Arrays as the class says. ValueProblem for a target's label that the training part has not."""
        arrays: dict[str, NDArray[Any]] = {}
        far: list[str] = []
        strange: list[str] = []
        seen = total = 0
        for field in fields:
            value = values.get(field.name)
            if field.kind == "number":
                known = settings["numbers"][field.name]
                given = numbers_of(value, known["columns"], field.name)
                arrays[field.name] = _z_scores(given, known)
                if field.target:
                    continue
                far += limits.far(given, known, settings["cases"])
                strange += bounds.outside(field, known["columns"], given) + _in_another_unit(given, known)
                seen, total = seen + int(np.isfinite(given).sum()), total + len(given)
            elif field.kind == "category":
                labels = settings["categories"][field.name]["labels"]
                value = label_given(value, field.name)
                if field.target:
                    arrays[field.name] = np.asarray(_index(field, value, labels), dtype=np.int64)
                else:
                    arrays[field.name] = _one_hot(value, labels)
                    if value is not None and value not in labels:
                        strange.append(f"{field.name} is {value!r}, in training {_some(labels)}")
                    seen, total = seen + int(value is not None), total + 1
        facts = {"seen": seen, "of": total, "far": far}
        return Prepared(arrays, {"row": facts | ({"refuse": strange} if strange else {})})

    def together(
        self, cases: Sequence[Values], fields: Sequence[Field], settings: Settings
    ) -> tuple[Settings, list[str]]:
        """Settings by which cases that come together are prepared, and warnings: see `limits.together`.

        A column that as a whole looks to be in another unit has every case refused that holds a value of it: its own
        values say too little. One that lies elsewhere for no known unit may be of other patients: a warning.
        """
        told: list[str] = []
        numbers = dict(settings["numbers"])
        for field in (one for one in fields if one.kind == "number" and not one.target):
            known = numbers[field.name]
            gap = np.full(len(known["columns"]), np.nan)
            values = [case.get(field.name) for case in cases]
            rows = [gap if value is None else value.in_order(known["columns"]) for value in values]
            found = limits.together(np.array(rows).reshape(len(rows), len(gap)), known)
            told += [text + ("; these cases are refused" if unit else "") for text, unit in found.values()]
            units = {place: text for place, (text, unit) in found.items() if unit}
            numbers[field.name] = {**known, "units": units} if units else known
        return {**settings, "numbers": numbers}, told

    def doubts(
        self, sources: Mapping[str, Any], fields: Sequence[Field], ids: Sequence[str], sites: Sequence[str] | None
    ) -> list[str]:
        """Findings over a whole table to learn from: see `doubts.found`."""
        return look.found(sources, fields, ids, sites)

    def shape(self, name: str, settings: Settings) -> tuple[int, ...]:
        """Shape of the prepared array of an input: what a network is built for."""
        if name in settings["numbers"]:
            return (2 * len(settings["numbers"][name]["columns"]),)
        return (len(settings["categories"][name]["labels"]) + 1,)

    def draw(self, rng: np.random.Generator, prepared: Prepared, settings: Settings) -> None:  # noqa: ARG002
        """Nothing is left to chance: a row has no view that is as true as another."""
        return

    def apply(self, prepared: Prepared, draw: Any, settings: Settings) -> Mapping[str, Tensor]:  # noqa: ARG002
        """The same as `whole`."""
        return self.whole(prepared, settings)

    def steady(self, settings: Settings) -> bool:  # noqa: ARG002
        """True: a draw changes nothing."""
        return True

    def vary(self, stacked: Mapping[str, Tensor], draws: Sequence[Any], settings: Settings) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Whole cases, stacked, as they are."""
        return stacked

    def whole(self, prepared: Prepared, settings: Settings) -> Mapping[str, Tensor]:
        """Tensors of this frame's fields, without a batch axis."""
        names = [*settings["numbers"], *settings["categories"]]
        return {name: torch.tensor(prepared.arrays[name]) for name in names if name in prepared.arrays}


def _merge_columns(one: Mapping[str, sketch.Sketch], other: Mapping[str, sketch.Sketch]) -> dict[str, sketch.Sketch]:
    return {
        column: sketch.merge(one[column], other[column]) if column in one and column in other else merged
        for column, merged in {**one, **other}.items()
    }


def _merge_counts(name: str, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any]:
    parts = [part for part in (one, other) if part is not None]
    counts: dict[str, int] = {}
    for part in parts:
        for label, number in part["counts"].items():
            counts[label] = counts.get(label, 0) + number
    if len(counts) > MAX_LABELS:
        raise ValueProblem(
            f"the category {name!r} has more than {MAX_LABELS} different labels",
            allowed="a category of few labels",
            todo="leave the column out if it holds names or numbers of cases; give it the kind number if it measures",
        )
    return {"counts": counts, "missing": sum(part["missing"] for part in parts)}


def _settle_numbers(field: Field, summary: Summary, reasons: dict[str, str]) -> dict[str, Any]:
    columns: dict[str, sketch.Sketch] = summary["numbers"].get(field.name, {})
    if not columns:
        raise ValueProblem(f"the number field {field.name!r} has no value in the training part", todo="leave it out")
    names = list(columns)
    sketches = list(columns.values())
    spread = [sketch.sd(one) for one in sketches]
    if field.target and spread[0] == 0:
        raise ValueProblem(
            f"the target {field.name!r} has one value only in the training part, or none",
            allowed="a number that differs between cases",
            todo="name another target, or look at the split",
        )
    constant = [name for name, one, sd in zip(names, sketches, spread, strict=True) if sd == 0 and one["count"]]
    empty = [name for name, one in columns.items() if not one["count"]]
    shares = {name: 1 - one["count"] / summary["cases"] for name, one in columns.items()}
    holes = [f"{name} {share:.2g}" for name, share in shares.items() if share > 0]
    missing = (
        "a case without a value teaches nothing"
        if field.target
        else "missing values take the median (from a histogram, within 0.5 %) and a flag tells them"
    )
    reasons[f"numbers.{field.name}"] = f"z-scored by mean and standard deviation of the training part; {missing}"
    if constant:
        reasons[f"numbers.{field.name}.constant"] = f"one value only in training, taken as 0: {', '.join(constant)}"
    if empty:
        reasons[f"numbers.{field.name}.empty"] = f"no value in training, taken as 0: {', '.join(empty)}"
    if holes:
        reasons[f"numbers.{field.name}.missing"] = f"share missing in training: {', '.join(holes)}"
    return {
        "columns": names,
        "median": [sketch.median(one) for one in sketches],
        "mean": [one["mean"] for one in sketches],
        "sd": spread,
        "low": [one["low"] for one in sketches],
        "high": [one["high"] for one in sketches],
        "counts": [one["count"] for one in sketches],
    } | limits.learn(sketches)


def _settle_labels(field: Field, summary: Summary, reasons: dict[str, str]) -> dict[str, Any]:
    found = summary["categories"].get(field.name, {"counts": {}, "missing": 0})
    counts: dict[str, int] = found["counts"]
    labels = field.options.get("labels") or _sorted_labels(counts)
    positive = field.options.get("positive")
    if field.target:
        if sum(1 for label in labels if counts.get(label)) < 2:
            raise ValueProblem(
                f"the target {field.name!r} has one class only in the training part: {', '.join(counts) or 'none'}",
                allowed="two classes or more with cases",
                todo="add cases of another class, or look at the split",
            )
        if len(labels) != 2 and {"sensitivity", "costs"} & field.options.keys():
            raise ValueProblem(
                f"a threshold for {field.name!r}, which has {len(labels)} labels",
                allowed="sensitivity and costs for two labels",
            )
        if positive is not None and positive not in labels:
            raise ValueProblem(
                f"the positive class {positive!r} of {field.name!r} has no case", allowed=", ".join(labels)
            )
    source = "as the task names them" if field.options.get("labels") else "as found in the training part, sorted"
    reasons[f"categories.{field.name}"] = f"labels {source}; missing in {found['missing']} of {summary['cases']} cases"
    absent = [label for label in labels if not counts.get(label)]
    if absent:
        reasons[f"categories.{field.name}.absent"] = f"named by the task, no case in training: {', '.join(absent)}"
    return {"labels": list(labels), "counts": [counts.get(label, 0) for label in labels], "missing": found["missing"]}


def _sorted_labels(counts: Mapping[str, int]) -> list[str]:
    """By number where all are numbers (2 before 10), else by letter."""
    try:
        return sorted(counts, key=lambda label: (float(label), label))
    except ValueError:
        return sorted(counts)


def _z_scores(given: NDArray[np.float64], known: Mapping[str, Any]) -> NDArray[np.float32]:
    """(2n,): z-scores with the gaps filled, then flags."""
    present = np.isfinite(given)
    sd = np.asarray(known["sd"], dtype=np.float64)
    filled = np.where(present, given, np.asarray(known["median"], dtype=np.float64))
    z = np.where(sd > 0, (filled - np.asarray(known["mean"])) / np.where(sd > 0, sd, 1.0), 0.0)
    return np.concatenate([np.clip(z, -1e30, 1e30), present]).astype(np.float32)


def _in_another_unit(given: NDArray[np.float64], known: Mapping[str, Any]) -> list[str]:
    """What `Row.together` says of the columns of this case, if it was called."""
    return [told for place, told in known.get("units", {}).items() if np.isfinite(given[place])]


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (" ..." if len(labels) > 8 else "")


def _index(field: Field, value: str | None, labels: Sequence[str]) -> int:
    if value is None:
        return -1
    if value not in labels:
        raise ValueProblem(
            f"the label {value!r} of the target {field.name!r} is not in the training part",
            allowed=", ".join(labels),
            todo="name all labels in the field's option labels, or leave the case out",
        )
    return list(labels).index(value)


def _one_hot(value: str | None, labels: Sequence[str]) -> NDArray[np.float32]:
    array = np.zeros(len(labels) + 1, dtype=np.float32)
    array[list(labels).index(value) if value is not None and value in labels else -1] = 1.0
    return array


ROW = Row()
