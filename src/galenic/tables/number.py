"""The kind number: plain columns as an input, one measured quantity as a target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from galenic.core import blend, calibrate
from galenic.core.contract import Answer, Definition, Field, Judged, Prepared, Settings, Values
from galenic.core.errors import TaskError
from galenic.core.figures import Figure, Sheet
from galenic.tables import bounds, measure_number, show
from galenic.tables.checks import one_column, refuse_options, share_of, unfit
from galenic.tables.read import NumberSource, measured, open_numbers
from galenic.tables.write import write_row

PARITY = 0.005  # standard deviations


class Number:
    """Numbers of one column or several, whose names may hold `*` for any text; as a target one column.

    Options: `unit`, `low` and `high` (what can be: see `bounds`), each also by column; of a target alone `coverage`
    (how often the interval is to hold the truth, 0.9); its unit is that of the value and its interval. A raw output is
    a z-score (1,) by mean and standard deviation of the training part.
    """

    name = "number"
    frame = "row"
    from_file = False
    groups = False
    definitions: Mapping[str, Definition] = measure_number.DEFINITIONS
    main_score = "rmse"
    grouped = ("rmse", "coverage")
    baselines = ("mean", "ridge", "boosting")
    calibrates = True
    dense = False
    quick_cases = 2000
    writes_refusals = True
    bare = True

    def check(self, field: Field) -> Field:
        """The field as it is; TaskError for a wrong option, no column, or a pattern that would take in every column."""
        refuse_options(field, allowed=(*bounds.NAMES, "coverage") if field.target else bounds.NAMES)
        if not field.columns:
            raise TaskError(f"the number field {field.name!r} names no column")
        if field.target:
            one_column(field)
            share_of(field, "coverage", calibrate.COVERAGE)
        if any(not column.strip("*") for column in field.columns):
            raise TaskError(
                f"the number field {field.name!r} takes in every column, the target too",
                allowed="column names, or patterns such as gene_*",
            )
        bounds.check(field)
        return field

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> NumberSource:  # noqa: ARG002 - names no file
        """Index the columns; TableError names a column that is not there, or the row and value that is no number."""
        return open_numbers(field, table)

    def features(self, array: NDArray[Any], field: Field, settings: Settings) -> NDArray[Any]:  # noqa: ARG002
        """(n,) z-scores of a prepared array (2n,), NaN where missing."""
        z, present = np.split(np.asarray(array, dtype=np.float64), 2)
        return np.where(present > 0, z, np.nan)

    def group(self, value: Any) -> str | None:  # noqa: ARG002 - a number ties no cases together
        return None

    def head(self, field: Field, width: int, settings: Settings) -> nn.Module:  # noqa: ARG002
        """Features (batch, width) to a z-score (batch, 1)."""
        return nn.Linear(width, 1)

    def loss(self, output: Tensor, truth: Tensor, field: Field, settings: Settings) -> Tensor:  # noqa: ARG002
        """Squared error (batch,) of z-scores (batch, 1) and truths (batch, 2) of z-score and flag; 0 where unknown.

        Squared, as the main score is: what makes it least is the mean, which a more robust loss leaves for the median.
        """
        z, known = truth.float().unbind(dim=1)
        return known * (output.float()[:, 0] - z) ** 2

    def calibrate(self, outputs: Sequence[Any], truths: Sequence[Any], field: Field, settings: Settings) -> Settings:
        """Half the width of the interval, from the absolute residuals of the calib part: see `core.calibrate`.

        JSON {"radius": in the target's unit, "coverage", "cases", "note"}; only a note where cases are too few.
        """
        known = [(output, measured(truth)) for output, truth in zip(outputs, truths, strict=True)]
        residuals = [abs(_value(output, field, settings) - truth) for output, truth in known if truth is not None]
        level = share_of(field, "coverage", calibrate.COVERAGE)
        radius, note = calibrate.fit_radius(residuals, level)
        if radius is None:
            return {"note": note}
        return {"radius": radius, "coverage": level, "cases": len(residuals), "note": note}

    def weigh(
        self, outputs: Mapping[str, Sequence[Any]], truths: Sequence[Any], field: Field, settings: Settings
    ) -> Settings:
        """Weights of the members' z-scores by which the squared error is least; see `core.blend.weigh`."""
        known = settings["numbers"][field.name]
        measures = [measured(truth) for truth in truths]
        kept = [at for at, truth in enumerate(measures) if truth is not None]
        z = np.array([measures[at] for at in kept], np.float64)
        z = (z - known["mean"][0]) / known["sd"][0]
        given = {
            name: np.array([np.asarray(own[at], np.float64).ravel()[0] for at in kept]) for name, own in outputs.items()
        }
        return blend.weigh(given, z, lambda mixed, truth: (mixed - truth) ** 2, unit="squared error in variances")

    def mix(self, outputs: Mapping[str, Any], weights: Mapping[str, float]) -> NDArray[Any]:
        """A z-score (1,): the weighed sum of the members'."""
        return np.asarray(sum(weight * np.asarray(outputs[name], np.float64) for name, weight in weights.items()))

    def quick(self, outputs: Sequence[Any], truths: Sequence[NDArray[Any]], field: Field) -> float:  # noqa: ARG002
        """Minus the root mean squared error in standard deviations, so that higher is better; NaN without a truth."""
        given = np.array([np.asarray(output, np.float64).reshape(-1)[0] for output in outputs])
        z, known = np.stack([np.asarray(truth, np.float64) for truth in truths]).T
        error = (given - z)[known > 0]
        return -float(np.sqrt((error**2).mean())) if len(error) else math.nan

    def choose(self, answers: Sequence[Answer], truths: Sequence[Any], field: Field) -> Settings:  # noqa: ARG002
        """Nothing to clean up."""
        return {}

    def answer(self, output: Any, prepared: Prepared, field: Field, settings: Settings, fitted: Settings) -> Answer:
        """The number in the target's unit with its interval; or a refusal, for the same reasons as of a category."""
        unit = str(field.options.get("unit", ""))
        value = _value(output, field, settings)
        reason = unfit(prepared, settings) or ("" if math.isfinite(value) else "the model's output is not finite")
        if reason:
            return Answer(None, unit=unit, refused=reason)
        if "radius" not in fitted:
            return Answer(value, unit=unit)
        return Answer(value, unit=unit, low=value - fitted["radius"], high=value + fitted["radius"])

    def judge(self, answer: Answer, truth: Any, field: Field) -> Judged:  # noqa: ARG002
        """What `measure_number.scores` needs of one case."""
        value = None if answer.refused is not None else float(answer.value)
        return {"value": value, "low": answer.low, "high": answer.high, "truth": measured(truth)}

    def scores(self, judged: Sequence[Judged], field: Field) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """See `measure_number.scores`; NaN where undefined."""
        return measure_number.scores(judged)

    def figures(self, ids: Sequence[str], judged: Mapping[str, Sequence[Judged]], field: Field) -> list[Figure | Sheet]:
        """See `show.of_number`."""
        return show.of_number(ids, judged, field)

    def agree(self, ours: Any, reference: Any) -> tuple[float, bool]:
        """The difference in standard deviations of the training part, and whether it is within 0.005."""
        gap = float(np.abs(np.asarray(ours, np.float64) - np.asarray(reference, np.float64)).max())
        return gap, gap <= PARITY

    def write(self, answer: Answer, values: Values, path: Path, *, form: str) -> list[Path]:
        """A CSV of a header and one row: id, answer, unit, low, high, refused, notes.

        The id is values["id"] where given, else the name of `path`, which gets the ending .csv.
        """
        if form not in ("auto", "csv"):
            raise TaskError(f"the form {form!r} for a number", allowed="auto, csv")
        numbers = ["" if number is None else str(number) for number in (answer.value, answer.low, answer.high)]
        cells = [numbers[0], answer.unit, *numbers[1:], answer.refused or "", "; ".join(answer.notes)]
        return [write_row(path, values, ["answer", "unit", "low", "high", "refused", "notes"], cells)]


def _value(output: Any, field: Field, settings: Settings) -> float:
    """A z-score (1,) in the target's unit."""
    known = settings["numbers"][field.name]
    return float(known["mean"][0] + known["sd"][0] * np.asarray(output, np.float64).reshape(-1)[0])


NUMBER = Number()
