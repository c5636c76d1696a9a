"""What a report draws of a category and of a number: curves, histograms, and the cases that were most wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from galenic.core.contract import Field, Judged
from galenic.core.figures import Figure, Line, Sheet
from galenic.tables import measure
from galenic.tables.measure import Steps, Table

Floats = NDArray[np.float64]

_POINTS = 200  # of a curve at most: more can't be told apart on a page
_BINS = 10
_CLASSES = 6  # lines in one figure
_CASES = 10  # most wrong
_WHOLE = (-0.02, 1.02)
_DIAGONAL = ([0.0, 1.0], [0.0, 1.0])


def of_category(ids: Sequence[str], judged: Mapping[str, Sequence[Judged]], field: Field) -> list[Figure | Sheet]:
    """ROC, precision and recall, calibration, decision curve, histogram, confusion and the most wrong cases.

    ids: of the cases. judged: title of a learner, the model first -> a record of each of the cases.
    """
    first = next(iter(judged.values()), [])
    table = measure.tabled(first)
    if not len(table.truth):
        return []
    return [
        *_ranked(judged, table),
        _calibration(table),
        *(_of_positive(table) if table.positive >= 0 else []),
        _confusion(first),
        _most_wrong(ids, first, field),
    ]


def of_number(ids: Sequence[str], judged: Mapping[str, Sequence[Judged]], field: Field) -> list[Figure | Sheet]:
    """Answers over truths, how large the errors are, and the most wrong cases; as `of_category`."""
    first = next(iter(judged.values()), [])
    done = [(own, case) for own, case in zip(ids, first, strict=True) if None not in (case["value"], case["truth"])]
    if not done:
        return []
    unit = f" [{field.options['unit']}]" if field.options.get("unit") else ""
    value, truth = (np.array([case[name] for _, case in done], np.float64) for name in ("value", "truth"))
    ends = [float(min(value.min(), truth.min())), float(max(value.max(), truth.max()))]
    kept = np.unique(np.linspace(0, len(value) - 1, min(len(value), 5 * _POINTS)).astype(int))
    against = Figure(
        "Answer over truth", f"truth{unit}", f"answer{unit}",
        [Line("a case", truth[kept].tolist(), value[kept].tolist(), "dots"), Line("right", ends, ends, "guide")],
        caption=f"{len(kept)} of {len(value)} cases. Dashed: where the answer is the truth.", square=True,
    )  # fmt: skip
    error = value - truth
    edges = np.histogram_bin_edges(error, bins=2 * _BINS)
    counts = np.histogram(error, edges)[0]
    spread = Figure(
        "Errors", f"answer - truth{unit}", "cases",
        [Line("cases", edges.tolist(), [*counts.tolist(), 0], "step")], caption="0 is right.",
    )  # fmt: skip
    order = np.argsort(-np.abs(error), kind="stable")[:_CASES]
    rows = [[done[at][0], f"{truth[at]:.6g}", f"{value[at]:.6g}", f"{error[at]:+.4g}"] for at in order]
    return [against, spread, Sheet("The most wrong cases", ["case", f"truth{unit}", f"answer{unit}", "error"], rows)]


def _ranked(judged: Mapping[str, Sequence[Judged]], table: Table) -> list[Figure]:
    """ROC and precision-recall curves: of each learner for the positive class, else of the model for each class."""
    ranked: dict[str, Steps] = {}
    if table.positive >= 0:
        for title, records in judged.items():
            own = measure.tabled(records)
            if len(own.truth):
                ranked[title] = measure.steps(own.p[:, table.positive], own.truth == table.positive)
    else:
        for number in _frequent(table):
            ranked[table.labels[number]] = measure.steps(table.p[:, number], table.truth == number)
    both = {title: one for title, one in ranked.items() if one.positive and one.negative}
    if not both:
        return []
    what = f"calling {table.labels[table.positive]}" if table.positive >= 0 else "each class against the others"
    roc = [Line(title, *_thinned(np.append(0, one.alarms) / one.negative, np.append(0, one.hits) / one.positive))
           for title, one in both.items()]  # fmt: skip
    share = [Line(title, *_thinned(one.hits / one.positive, one.hits / (one.hits + one.alarms)))
             for title, one in both.items()]  # fmt: skip
    base = next(iter(both.values()))
    usual = base.positive / (base.positive + base.negative)
    guide = [Line("chance", [0.0, 1.0], [usual, usual], "guide")] if table.positive >= 0 else []
    return [
        Figure("ROC", "1 - specificity", "sensitivity", [*roc, Line("chance", *_DIAGONAL, "guide")],
               caption=f"{what.capitalize()}, at every threshold. Dashed: chance.",
               spoken=_spoken("ROC", {title: one.auroc for title, one in both.items()}, "area"),
               x_range=_WHOLE, y_range=_WHOLE, square=True),
        Figure("Precision and recall", "sensitivity (recall)", "precision (PPV)", [*share, *guide],
               caption=f"{what.capitalize()}, at every threshold.",
               spoken=_spoken("Precision and recall", {title: one.auprc for title, one in both.items()}, "average"),
               x_range=_WHOLE, y_range=_WHOLE, square=True),
    ]  # fmt: skip


def _frequent(table: Table) -> list[int]:
    """The classes with the most cases, in their own order."""
    counts = np.bincount(table.truth, minlength=len(table.labels))
    return sorted(int(number) for number in np.argsort(-counts, kind="stable")[:_CLASSES])


def _calibration(table: Table) -> Figure:
    """Shares over mean probabilities in bins of equally many cases: of the positive class, else of what is called."""
    if table.positive >= 0:
        p, right = table.p[:, table.positive], table.truth == table.positive
        x, y = f"probability of {table.labels[table.positive]}", "share that is so"
    else:
        p, right = table.p.max(axis=1), table.p.argmax(axis=1) == table.truth
        x, y = "probability of the most probable class", "share that is right"
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(_BINS, max(len(order) // 10, 1))) if len(part)]
    means, shares = [float(p[part].mean()) for part in parts], [float(right[part].mean()) for part in parts]
    return Figure(
        "Calibration", x, y, [Line("this model", means, shares), Line("right", *_DIAGONAL, "guide")],
        caption=f"{len(parts)} groups of equally many of the {len(p)} cases. Dashed: probabilities that are right.",
        x_range=_WHOLE, y_range=_WHOLE, square=True,
    )  # fmt: skip


def _of_positive(table: Table) -> list[Figure]:
    """The decision curve (Vickers and Elkin 2006) and the histogram of the positive class's probability."""
    p, truth, name = table.p[:, table.positive], table.truth == table.positive, table.labels[table.positive]
    at = np.linspace(0.01, 0.99, 99)
    everyone = np.ones(len(p))
    gains = {
        "this model": [measure.net_benefit(p, truth, one) for one in at],
        "call everyone": [measure.net_benefit(everyone, truth, one) for one in at],
    }
    top = max(float(truth.mean()), 0.05)
    lines = [Line(title, at.tolist(), own) for title, own in gains.items()]
    decision = Figure(
        "Decision curve", f"probability from which {name} is called", "net benefit",
        [*lines, Line("call nobody", [0.0, 1.0], [0.0, 0.0], "guide")],
        caption="Of use where this model lies above both others: at thresholds that fit what a miss and a false alarm "
        "cost.",
        x_range=_WHOLE, y_range=(-0.25 * top, 1.1 * top),
    )  # fmt: skip
    edges = np.linspace(0, 1, 2 * _BINS + 1)
    shown = [(own, truth if own == name else ~truth) for own in (name, f"not {name}")]
    shares = [Line(own, edges.tolist(), [*_shares(p[mask], edges), 0.0], "step") for own, mask in shown if mask.any()]
    histogram = Figure(
        "Probabilities", f"probability of {name}", "share of the cases", shares,
        caption="By the truth, each side's cases together 1.", x_range=_WHOLE,
    )  # fmt: skip
    return [decision, histogram]


def _shares(p: Floats, edges: Floats) -> list[float]:
    return [float(share) for share in np.histogram(p, edges)[0] / len(p)]


def _confusion(judged: Sequence[Judged]) -> Sheet:
    found = measure.confusion(judged)
    labels = found["labels"]
    refused = [str(count) for count in found["refused"]] if any(found["refused"]) else []
    head = ["truth", *(f"called {label}" for label in labels), *(["refused"] if refused else [])]
    rows = [
        [label, *(str(count) for count in counts), *refused[at : at + 1]]
        for at, (label, counts) in enumerate(zip(labels, found["counts"], strict=True))
    ]
    return Sheet("Confusion", head, rows, caption="Cases by what they are (rows) and what they were called (columns)")


def _most_wrong(ids: Sequence[str], judged: Sequence[Judged], field: Field) -> Sheet:
    """The answered cases whose true class got the least probability."""
    known = [(own, case) for own, case in zip(ids, judged, strict=True) if case["truth"] >= 0 and case["p"]]
    known.sort(key=lambda pair: pair[1]["p"][pair[1]["truth"]])
    rows = []
    for own, case in known[:_CASES]:
        said, labels = case.get("called", int(np.argmax(case["p"]))), case["labels"]
        rows.append(
            [own, labels[case["truth"]], labels[said], f"{case['p'][case['truth']]:.3f}", f"{case['p'][said]:.3f}"]
        )
    head = ["case", f"{field.name} in truth", "called", "probability of the truth", "of what was called"]
    return Sheet(
        "The most wrong cases", head, rows, caption="Is the truth right? Many of the most wrong cases are not."
    )


def _thinned(x: Floats, y: Floats) -> tuple[list[float], list[float]]:
    """At most 200 of the points, the first and the last among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).astype(int))
    return [float(one) for one in x[kept]], [float(one) for one in y[kept]]


def _spoken(title: str, values: Mapping[str, float], what: str) -> str:
    return f"{title}: " + "; ".join(f"{name}, {what} {value:.3f}" for name, value in values.items())
