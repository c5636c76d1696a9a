"""What is fitted once the networks are trained, calibration and clean-ups, on cases that they have not learnt from.

With folds each case of train and valid is answered by the one member of the ensemble that has not seen it; what is
fitted there for the scores of a fold leaves that fold's own cases out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from galenic.core import registry
from galenic.core.contract import Settings
from galenic.core.fit import Work, fold_parts
from galenic.core.model import Model
from galenic.core.progress import Progress

CHOSEN_ON = 40  # cases, at most, that show whether a clean-up helps

Given = tuple[int | None, Any, Any]  # fold, what the model gave, what is true


@dataclass(frozen=True)
class Apart:
    """A model, the rows that it has not learnt from and those that it has; fold: None for the whole model."""

    model: Model
    rows: Sequence[int]
    learnt: Sequence[int] = ()
    fold: int | None = None


@dataclass(frozen=True)
class Evidence:
    """By target: outputs that calibrations are fitted on, and answers that clean-ups are chosen on."""

    outputs: dict[str, list[Given]]
    answers: dict[str, list[Given]]


def out_of_fold(work: Work, model: Model) -> list[Apart]:
    """Each member as a model of its own, with the rows of train and valid held out from it; [] without folds."""
    if not model.plan.folds:
        return []
    done = []
    for number, (run, parts) in enumerate(zip(model.runners, fold_parts(work, model.plan), strict=True)):
        learnt, held = ([row for row, own in enumerate(parts) if own == part] for part in ("train", "valid"))
        done.append(Apart(replace(model, runners=[run], fitted={}), held, learnt, number))
    return done


def gather(work: Work, model: Model, held: Sequence[Apart], progress: Progress) -> Evidence:
    """Let cases be answered that the answering model has not learnt from.

    held: of `out_of_fold`. Calibration takes the calib part, by the whole model, where the split has one, else the
    cases of the folds; clean-ups take the cases of the folds, else the valid part.
    """
    names = [one.name for one in work.task.targets]
    wanted = [one.name for one in work.task.targets if registry.target(one).calibrates]
    evidence = Evidence({name: [] for name in names}, {name: [] for name in names})
    rows = work.split.rows("calib")
    calib = [Apart(model, rows)] if rows or not held else list(held)
    total = sum(len(one.rows) for one in calib) if wanted else 0
    if total:
        progress.stage("calibrating", total, "cases")
        each = [(one, row) for one in calib for row in one.rows]
        for done, (part, row) in enumerate(each, start=1):
            outputs, truths = part.model.infer(work.ready[row]), work.cases.values(row, names)
            for name in wanted:
                evidence.outputs[name].append((part.fold, outputs[name], truths[name]))
            progress.advance(done)
    valid = list(held) or [Apart(model, work.split.rows("valid"))]
    most = math.ceil(CHOSEN_ON / len(valid))
    for one in valid:
        for row in one.rows[:most]:
            answers, truths = one.model.answer(work.ready[row]), work.cases.values(row, names)
            for name in names:
                evidence.answers[name].append((one.fold, answers[name], truths[name]))
    return evidence


def fit(work: Work, evidence: Evidence, without: int | None = None) -> dict[str, Settings]:
    """Calibration and the clean-ups that helped, by target; without a fold's own cases, where its scores are wanted."""
    fitted = {}
    for one in work.task.targets:
        kind = registry.target(one)
        outputs, truths = _of_others(evidence.outputs[one.name], without)
        own = kind.calibrate(outputs, truths, one, work.settings[kind.frame]) if outputs else {}
        answers, truths = _of_others(evidence.answers[one.name], without)
        fitted[one.name] = own | kind.choose(answers, truths, one)
    return fitted


def _of_others(given: Sequence[Given], without: int | None) -> tuple[list[Any], list[Any]]:
    kept = [(own, truth) for fold, own, truth in given if without is None or fold != without]
    return [own for own, _ in kept], [truth for _, truth in kept]
