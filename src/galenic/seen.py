"""Which cases of a table a model has been made with, so that its scores are of new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from galenic import sources
from galenic.core import bundle, registry
from galenic.core.cases import Cases, matching, open_cases, text_of
from galenic.core.errors import GalenicError, InputError
from galenic.core.model import Model

LEARNT = ("train", "valid", "calib")  # learnt from, chosen on, calibrated on
_SHOWN = 8
_ALIKE = 0.5  # of its cells more than this share must be the same in a case of its id: some may have been mended


def unseen(model: Model, cases: Cases, table: Path) -> tuple[list[int], list[str]]:
    """The rows that the model was not made with, and warnings of the others.

    By private/split.csv: the same id and, where the model's own cases are found, most of the cells the same, as other
    people's ids may be the same numbers. InputError where no other row is left.
    """
    path = model.folder / bundle.PRIVATE / "split.csv"
    if not path.is_file():
        return list(range(len(cases))), [
            f"{model.folder} has no private/split.csv: whether the model has learnt from these cases is not known"
        ]
    split = pd.read_csv(path, dtype=str, keep_default_na=False)
    part_of = {own: part for own, part in zip(split["id"], split["part"], strict=True) if part in LEARNT}
    same = _same(model, cases)
    parts = [part_of.get(one, "") if alike else "" for one, alike in zip(cases.ids, same, strict=True)]
    known = [row for row, part in enumerate(parts) if part]
    rest = [row for row, part in enumerate(parts) if not part]
    told = _of_patients(cases, rest, split)
    if not known:
        return rest, told
    counts = Counter(part for part in parts if part)
    made = ", ".join(f"{part} {counts[part]}" for part in LEARNT if counts[part])
    names = ", ".join(cases.ids[row] for row in known[:_SHOWN]) + (" ..." if len(known) > _SHOWN else "")
    if not rest:
        raise InputError(
            f"the model was made with all {len(known)} cases of {table.name} ({made}): it says nothing of new ones",
            allowed="a table with cases that the model has not seen",
            todo=f"galenic evaluate {model.folder} scores the part held out for it; --part train these cases",
        )
    return rest, [
        f"the model was made with {len(known)} of the {len(cases)} cases of {table.name} ({made}): {names}. They are "
        f"left out; the scores are of the other {len(rest)}",
        *told,
    ]


def _of_patients(cases: Cases, rest: Sequence[int], split: pd.DataFrame) -> list[str]:
    """A warning of further rows of patients that the model knows, if these names mean the same people."""
    if cases.role("patient") is None:
        return []
    learnt, patients = set(split.loc[split["part"].isin(LEARNT), "patient"]), cases.patients()
    count = sum(1 for row in rest if patients[row] in learnt)
    if not count:
        return []
    return [
        f"{count} of the {len(rest)} cases scored are of patients named as some the model was made with: "
        "if they are the same people, these scores are too good"
    ]


def _same(model: Model, cases: Cases) -> list[bool]:
    """Whether each row may be the model's own case of its id, as far as the cells of the inputs tell."""
    try:
        found = sources.of_model(model.folder, model.task)
        own = open_cases(found.table, found.root, model.task)
    except GalenicError:  # the table is no longer where it was: the ids alone must do
        return [True] * len(cases)
    fields = [one for one in model.task.inputs if not registry.in_files(one)]
    columns = [name for one in fields for name in matching(cases.table, one) if name in own.table.columns]
    places = {name: row for row, name in enumerate(own.ids)}
    return [_alike(cases, row, own, places.get(cases.ids[row]), columns) for row in range(len(cases))]


def _alike(cases: Cases, row: int, own: Cases, place: int | None, columns: Sequence[str]) -> bool:
    if place is None:
        return False
    pairs = [(text_of(cases.table[name].iloc[row]), text_of(own.table[name].iloc[place])) for name in columns]
    told = [one == other for one, other in pairs if (one, other) != (None, None)]
    return not told or sum(told) > _ALIKE * len(told)
