"""metrics.json as tables: the model beside the simple methods, class by class, subgroup by subgroup."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from galenic.report.content import Content

# For metrics written without `higher_is_better`.
_LOWER_IS_BETTER = {"assd", "brier", "calibration_error", "hd95", "mae", "rmse", "set_size"}


def number(value: Any) -> str:
    """A figure as printed: three decimals below 10, fewer above; "undefined" for None and NaN."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "undefined"
    if isinstance(value, int):
        return str(value)
    size = abs(value)
    if size >= 1000:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if size >= 0.0005 or size == 0 else f"{value:.1g}"


@dataclass(frozen=True)
class Estimate:
    """A score with its interval; None where undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, entry: Any) -> Estimate:
        """From {"value", "low", "high"} or a bare number; what is not finite becomes None."""
        given = entry if isinstance(entry, dict) else {"value": entry}
        return cls(*(_finite(given.get(key)) for key in ("value", "low", "high")))

    @property
    def interval(self) -> str:
        return "" if self.low is None or self.high is None else f"{number(self.low)} to {number(self.high)}"

    @property
    def text(self) -> str:
        return number(self.value) + (f" ({self.interval})" if self.interval else "")


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, an estimate a column, and how many cases where that is known.

    ours: of the model, and of its network alone where it is a blend. gap: of any other, by how much the model's main
    score differs from its own on the same cases.
    """

    name: str
    estimates: dict[str, Estimate]
    cases: int | None = None
    ours: bool = False
    gap: Estimate | None = None


@dataclass(frozen=True)
class Definition:
    """How a score is defined."""

    name: str
    unit: str
    text: str
    higher_is_better: bool


@dataclass(frozen=True)
class Reading:
    """One target: `main` is the score that counts.

    methods: the model first, then its network alone where the model is a blend, then the simple ones. call: how answers
    are called, where that was chosen; "" else.
    """

    target: str
    main: str
    scores: list[Definition]
    methods: list[Row]
    classes: list[Row]
    subgroups: list[Row]
    call: str = ""

    @property
    def definition(self) -> Definition:
        return next((own for own in self.scores if own.name == self.main), Definition(self.main, "", "", True))

    def label(self, score: str) -> str:
        """The score's name as printed, with its unit in brackets."""
        unit = next((own.unit for own in self.scores if own.name == score), "")
        return score.replace("_", " ") + (f" [{unit}]" if unit else "")

    def columns(self, rows: list[Row]) -> list[str]:
        """Scores that any of the rows has, the main one first."""
        have = dict.fromkeys(name for row in rows for name in row.estimates)
        return sorted(have, key=lambda name: name != self.main)

    def worst(self, rows: list[Row]) -> Row | None:
        """The row with the worst main score; None with fewer than two to choose from, or where all have the same."""
        values = {row.estimates[self.main].value for row in rows if self.main in row.estimates}
        return _extreme(self, rows, best=False) if len(rows) > 1 and len(values) > 1 else None

    @property
    def best_baseline(self) -> Row | None:
        return _extreme(self, [row for row in self.methods if not row.ours], best=True)

    @property
    def verdict(self) -> str:
        """The main score beside the best simple method's, and whether their intervals meet."""
        ours = self.methods[0].estimates.get(self.main, Estimate())
        text = f"{self.main.replace('_', ' ')} {ours.text}"
        other = self.best_baseline
        if other is None:
            return f"{text}. No simple method was scored on the same cases."
        theirs = other.estimates[self.main]
        return f"{text}. The best simple method on the same cases, {other.name}: {theirs.text}. {self._compare(other)}"

    @property
    def beaten(self) -> bool:
        """True where a simple method is at least as good as the model."""
        other = self.best_baseline
        ours = self.methods[0].estimates.get(self.main, Estimate()).value
        if other is None or ours is None:
            return False
        return not _better(self, ours, other.estimates[self.main].value or 0.0)

    def _compare(self, other: Row) -> str:
        if self.beaten:
            return "The model is not better than the simple method."
        if other.gap is not None and other.gap.low is not None and other.gap.high is not None:
            sure = "" if other.gap.low > 0 or other.gap.high < 0 else ", so chance is not excluded"
            return f"Difference on the same cases: {other.gap.text}{sure}."
        theirs = other.estimates[self.main]
        ours = self.methods[0].estimates.get(self.main, Estimate())
        bounds = (ours.low, ours.high, theirs.low, theirs.high)
        if ours.value is None or any(bound is None for bound in bounds):
            return ""
        low, high, low2, high2 = (bound for bound in bounds if bound is not None)
        return "Their intervals overlap." if low <= high2 and low2 <= high else "Their intervals do not overlap."


def _better(reading: Reading, one: float, other: float) -> bool:
    return one > other if reading.definition.higher_is_better else one < other


def _extreme(reading: Reading, rows: list[Row], *, best: bool) -> Row | None:
    scored = [(row.estimates[reading.main].value, row) for row in rows if reading.main in row.estimates]
    known = [(value, row) for value, row in scored if value is not None]
    if not known:
        return None
    pick = max if reading.definition.higher_is_better == best else min
    return pick(known, key=lambda pair: pair[0])[1]


def readings(content: Content) -> list[Reading]:
    """Each target of a content's metrics, the main one first."""
    metrics = content.metrics
    main = metrics.get("main") or {}
    targets = metrics.get("targets") or {}
    order = sorted(targets, key=lambda name: name != main.get("target"))
    return [_read(name, targets[name], main.get("score") if name == main.get("target") else None) for name in order]


def validated(content: Content) -> list[Reading]:
    """Each target's out-of-fold scores, where the model was cross-validated."""
    held = content.metrics.get("cross_validated")
    return readings(replace(content, metrics={**content.metrics, **held})) if held else []


def validation_in_words(content: Content) -> str:
    """What was cross-validated: how many cases, by how many networks."""
    held = content.metrics.get("cross_validated") or {}
    return (
        f"{held.get('cases', '?')} cases of train and valid, each answered by the one of {held.get('folds', '?')} "
        "networks that has not learnt from it (its best step was chosen on such cases, which flatters a little); the "
        "simple methods were fitted on the same cases as that network"
    )


def _read(name: str, own: dict[str, Any], main: str | None) -> Reading:
    scores = own.get("scores") or {}
    ours = Row("this model", {key: Estimate.of(entry) for key, entry in scores.items()}, ours=True)
    alone = [replace(_method(own["network"]), ours=True)] if own.get("network") else []
    methods = [ours, *alone, *(_method(base) for base in own.get("baselines") or [])]
    main = main or next(iter(scores), "score")
    named = dict.fromkeys(key for row in methods for key in row.estimates)
    named = dict.fromkeys([main, *named]) if named else named
    return Reading(
        str(name), main,
        [_define(key, scores.get(key)) for key in named],
        methods,
        [_row(str(key), entry) for key, entry in (own.get("classes") or {}).items()],
        [_row(str(key), entry) for key, entry in (own.get("subgroups") or {}).items()],
        str(own.get("call") or ""),
    )  # fmt: skip


def _method(base: dict[str, Any]) -> Row:
    row = _row(str(base.get("name", "?")), base.get("scores"))
    return replace(row, gap=Estimate.of(base["gap"])) if "gap" in base else row


def _row(name: str, entry: dict[str, Any] | None) -> Row:
    given = dict(entry or {})
    cases = given.pop("cases", None)
    return Row(name, {key: Estimate.of(own) for key, own in given.items()}, cases)


def _define(name: str, entry: Any) -> Definition:
    given = entry if isinstance(entry, dict) else {}
    higher = bool(given.get("higher_is_better", name not in _LOWER_IS_BETTER))
    return Definition(name, str(given.get("unit") or ""), str(given.get("definition") or ""), higher)
