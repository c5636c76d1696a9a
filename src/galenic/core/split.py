"""Parts: train, valid, calib, test; by patient, site, file or chance, and never a patient in two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

import numpy as np
import pandas as pd

from galenic.core import registry
from galenic.core.cases import Cases, matching, text_of
from galenic.core.errors import LeakageError, MissingFile, TableError, UnreadableFile
from galenic.core.task import Task

PARTS = ("train", "valid", "calib", "test")
PATIENT_UNKNOWN = "patient unknown: leakage between a person's scans can't be excluded"
MOST, MOST_DENSE = 500, 40  # groups carved out to validate or calibrate on; fewer where to score one takes seconds
FEW_GROUPS = 3  # training patients below which none is taken for calibration
NOT_CALIBRATED = "too few patients for a calibration part: probabilities are as the model gives them, without sets"
ONE_SUBJECT = "within-one-subject: every part comes from the same subject, so these scores are no evidence"


@dataclass(frozen=True)
class Split:
    """The part of each row ("" where a row is left out), where it came from, and what must be said of it."""

    parts: list[str]
    origin: str
    warnings: list[str] = field(default_factory=list)

    @property
    def used(self) -> list[int]:
        """The rows of any part."""
        return [row for row, own in enumerate(self.parts) if own]

    def rows(self, part: str) -> list[int]:
        return [row for row, own in enumerate(self.parts) if own == part]


def divide(
    cases: Cases, task: Task, *, seed: int, calib: bool, file: Path | None = None, groups: Sequence[str] | None = None
) -> Split:
    """Parts for every row: from a file, the task's holdout, the split column, else by chance.

    groups: what must stay together, by default the patient. valid and calib are carved from train, group by group,
    where the origin gives only train and test.
    """
    together = list(groups) if groups is not None else cases.patients()
    origin, parts = _given(cases, task, file)
    if not any(parts):
        origin, parts = f"by chance, seed {seed}", _by_chance(together, seed)
    for part in ("train", "test"):
        if part not in parts:
            raise TableError(
                f"the split ({origin}) leaves no case in {part}",
                allowed="at least one case in train and in test",
                todo="mend the split, or give more cases",
            )
    if "valid" not in parts:
        dense = any(registry.target(one).dense for one in task.targets)
        parts = _carve(parts, together, "valid", seed, MOST_DENSE if dense else MOST)
    left = {own for own, part in zip(together, parts, strict=True) if part == "train"}
    if calib and "calib" not in parts and len(left) >= FEW_GROUPS:
        parts = _carve(parts, together, "calib", seed, MOST)
    check_leaks(cases, task, parts, together)
    for need in ("train", "valid"):
        if need not in parts:
            raise TableError(
                f"{parts.count('')} of {len(parts)} cases are in no part and {need} is empty",
                todo="give at least three groups (patients) outside the test part",
            )
    untold = [NOT_CALIBRATED] if calib and "calib" not in parts else []
    return Split(parts, origin, _warnings(cases, task) + untold)


def _warnings(cases: Cases, task: Task) -> list[str]:
    if task.within_one_subject:
        return [ONE_SUBJECT]
    return [] if cases.role("patient") is not None else [PATIENT_UNKNOWN]


def _given(cases: Cases, task: Task, file: Path | None) -> tuple[str, list[str]]:
    if file is not None:
        return f"file {file.name}", _from_file(cases, file)
    if task.holdout is not None:
        if task.holdout.column not in cases.table.columns:
            raise TableError(f"the holdout names the column {task.holdout.column!r}, which the table lacks")
        held = [text_of(value) in task.holdout.test for value in cases.table[task.holdout.column]]
        return f"{task.holdout.column} {', '.join(task.holdout.test)} held out", [
            "test" if own else "train" for own in held
        ]
    column = cases.role("split")
    if column is not None:
        parts = [text_of(value) or "" for value in column]
        _check_names(parts, "the split column")
        return "the table's split column", parts
    return "", [""] * len(cases)


def _from_file(cases: Cases, file: Path) -> list[str]:
    if not file.is_file():
        raise MissingFile(f"no split file {file}")
    try:
        split = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise UnreadableFile(f"{file} can't be read as a split: {error}", allowed="a CSV of id, part") from error
    if not {"id", "part"} <= set(split.columns):
        raise TableError(f"the split file {file.name} has columns {list(split.columns)}", allowed="id, part")
    if split.empty:
        raise TableError(f"the split file {file.name} has no rows")
    twice = split["id"][split["id"].duplicated()].tolist()
    if twice:
        raise LeakageError(
            f"the split file {file.name} names {len(twice)} ids more than once: {', '.join(twice[:5])}",
            allowed="each id once, in one part",
        )
    part_of = dict(zip(split["id"], split["part"], strict=True))
    unknown = sorted(set(part_of) - set(cases.ids))
    if len(unknown) == len(part_of):
        raise TableError(
            f"no id of the split file {file.name} is in the table, for example {unknown[0]!r}",
            allowed=f"ids such as {cases.ids[0]!r}",
        )
    parts = [part_of.get(own, "") for own in cases.ids]
    _check_names(parts, f"the split file {file.name}")
    return parts


def _check_names(parts: Sequence[str], where: str) -> None:
    wrong = sorted(set(parts) - set(PARTS) - {""})
    if wrong:
        raise TableError(f"{where} names the parts {', '.join(map(repr, wrong))}", allowed=", ".join(PARTS))


def _by_chance(together: Sequence[str], seed: int) -> list[str]:
    """A fifth of the groups to test."""
    names = sorted(set(together))
    if len(names) < 4:
        raise TableError(
            f"{len(names)} patients can't be divided into parts", allowed="at least 4", todo="give more cases"
        )
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    test = {names[at] for at in order[: max(1, round(0.2 * len(names)))]}
    return ["test" if own in test else "train" for own in together]


def _carve(parts: Sequence[str], together: Sequence[str], name: str, seed: int, most: int) -> list[str]:
    """Move a tenth of the training groups (`most` at most; a fifth of few) to `name`."""
    groups = sorted({own for own, part in zip(together, parts, strict=True) if part == "train"})
    count = min(max(round(0.1 * len(groups)), min(4, len(groups) // 4), 1), most)
    if len(groups) - count < 1:
        return list(parts)
    order = np.random.default_rng([seed, len(name)]).permutation(len(groups))
    moved = {groups[at] for at in order[:count]}
    return [name if part == "train" and own in moved else part for own, part in zip(together, parts, strict=True)]


def folds(parts: Sequence[str], together: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """`count` versions of the parts: train and valid are pooled, and each group is valid once."""
    groups = sorted({own for own, part in zip(together, parts, strict=True) if part in ("train", "valid")})
    if not 2 <= count <= len(groups):
        raise TableError(f"{count} folds of {len(groups)} groups", allowed=f"2 to {len(groups)} folds")
    order = np.random.default_rng([seed, 99]).permutation(len(groups))
    fold_of = {groups[own]: at % count for at, own in enumerate(order)}
    versions = []
    for fold in range(count):
        versions.append(
            [
                part if part not in ("train", "valid") else ("valid" if fold_of[own] == fold else "train")
                for own, part in zip(together, parts, strict=True)
            ]
        )
    return versions


def check_leaks(cases: Cases, task: Task, parts: Sequence[str], together: Sequence[str]) -> None:
    """No group and no input file in two parts; LeakageError names the first ones."""
    _no_overlap(together, parts, "patient" if cases.role("patient") is not None else "case", PARTS)
    for one in task.inputs:
        columns = matching(cases.table, one)
        if columns and registry.in_files(one):
            cells = cases.table[columns[0]]
            paths = [f"\0{row}" if pd.isna(value) else normpath(str(value)) for row, value in enumerate(cells)]
            _no_overlap(paths, parts, f"{one.name} file", PARTS)


def _no_overlap(names: Sequence[str], parts: Sequence[str], what: str, which: Sequence[str]) -> None:
    seen: Mapping[str, set[str]] = defaultdict(set)
    for name, part in zip(names, parts, strict=True):
        if part in which:
            seen[name].add(part)
    shared = sorted(name for name, own in seen.items() if len(own) > 1)
    if shared:
        listed = ", ".join(f"{name} ({' and '.join(sorted(seen[name]))})" for name in shared[:5])
        raise LeakageError(
            f"{len(shared)} {what}s stand in more than one part: {listed}",
            allowed=f"each {what} in one part",
            todo="mend the split so that all rows of a patient are in one part; where there is none, name the patient "
            "of each row in a column `patient`",
        )
