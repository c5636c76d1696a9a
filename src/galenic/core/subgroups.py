"""By what scores are broken down: site, sex, age band, category inputs, what the task names; and the worst of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from galenic.core import registry
from galenic.core.cases import Cases, text_of
from galenic.core.contract import Field
from galenic.core.errors import TableError
from galenic.core.task import Task

MOST = 10  # values of a column; more are too many to be told apart, or numbers
MISSING = "missing"
_BANDS = (18, 40, 65, 80)  # years; written so that they sort in their order
_BAND_NAMES = ("0 to 17", "18 to 39", "40 to 64", "65 to 79", "80 and over")
_BY_NAME = ("sex", "gender", "age")  # columns that are looked for, whatever the task's inputs


def labels(cases: Cases, rows: Sequence[int], task: Task) -> dict[str, list[str]]:
    """Subgroup's name -> label of each of the rows; those of one label, or of more than ten, are left out.

    The site; each category input; columns named sex, gender or age; columns that the task names. Numbers of more than
    ten values become age bands (where the column is named age) or quarters at the quartiles of these rows.
    """
    found: dict[str, list[str]] = {}
    site = cases.role("site")
    if site is not None:
        found["site"] = [text_of(site.iloc[row]) or MISSING for row in rows]
    covered = {cases.roles.get("site"), *(column for one in task.targets for column in one.columns)}
    for one in task.inputs:
        if one.kind == "category":
            found[one.name] = [text_of(cases.opened[one.name].read(row)) or MISSING for row in rows]
            covered.update(one.columns)
    for column in cases.table.columns:
        wanted = str(column) in task.subgroups or str(column).lower() in _BY_NAME
        if wanted and column not in covered and str(column) not in found:
            found[str(column)] = _of_column(cases.table[column].iloc[list(rows)], str(column))
    return {name: own for name, own in found.items() if 1 < len(set(own)) <= MOST}


def check(table: pd.DataFrame, task: Task) -> None:
    """TableError where the task names a subgroup that is no column of the table."""
    lacking = [name for name in task.subgroups if name not in table.columns]
    if lacking:
        raise TableError(
            f"the subgroups {', '.join(lacking)} are no columns of the table",
            allowed=", ".join(str(column) for column in table.columns[:20]),
        )


def worst(field: Field, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """{"subgroup", "cases", main score with its interval} of the worst of `evaluate.subgroups`; None below two."""
    kind = registry.target(field)
    main = kind.main_score
    known = {name: own for name, own in found.items() if own[main]["value"] is not None}
    if len(known) < 2:
        return None
    sign = 1 if kind.definitions[main].higher_is_better else -1
    name = min(known, key=lambda name: sign * known[name][main]["value"])
    return {"subgroup": name, "cases": known[name]["cases"], main: known[name][main]}


def _of_column(cells: pd.Series, name: str) -> list[str]:
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    few = name.lower() != "age" and len(np.unique(known)) <= MOST
    if few or len(known) < cells.notna().sum():
        return [text_of(cell) or MISSING for cell in cells]
    if name.lower() == "age":
        cuts: Sequence[float] = _BANDS
        names: Sequence[str] = _BAND_NAMES
    else:
        cuts = [float(cut) for cut in np.quantile(known, [0.25, 0.5, 0.75])]
        bounds = [f"{cut:.4g}" for cut in cuts]
        names = [f"1: below {bounds[0]}", f"2: from {bounds[0]}", f"3: from {bounds[1]}", f"4: from {bounds[2]}"]
    place = np.searchsorted(cuts, numbers, side="right")
    return [names[at] if np.isfinite(number) else MISSING for at, number in zip(place, numbers, strict=True)]
