"""What is fitted once the networks are trained, calibration and clean-ups, on cases that they have not learnt from.

With folds each case of train and valid is answered by the one member of the ensemble that has not seen it; what is
fitted there for the scores of a fold leaves that fold's own cases out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from galenic.core import registry
from galenic.core.contract import Answer, Field, Settings
from galenic.core.fit import Work, fold_parts
from galenic.core.model import Model
from galenic.core.progress import Progress

CHOSEN_ON = 40  # cases, at least where there are as many, on which the answers' last choices are made

Given = tuple[int | None, Any, Any]  # fold, what the model gave, what is true


class Late(Sequence[Any]):
    """A list made when it is first looked at: what a target that chooses nothing never asks for."""

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        self._made = cache(make)

    def __len__(self) -> int:
        return len(self._made())

    def __getitem__(self, at: Any) -> Any:
        return self._made()[at]


@dataclass(frozen=True)
class Apart:
    """A model, the rows that it has not learnt from and those that it has; fold: None for the whole model."""

    model: Model
    rows: Sequence[int]
    learnt: Sequence[int] = ()
    fold: int | None = None


@dataclass(frozen=True)
class Evidence:
    """By target: outputs that calibrations are fitted on, and what the last choices are made on.

    The second holds functions in place of what the model gave: from what is fitted to the answer.
    """

    outputs: dict[str, list[Given]]
    answers: dict[str, Sequence[Given]]


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
    cases of the folds; the last choices take the cases of the folds, else the valid part.
    """
    valid = list(held) or [Apart(model, work.split.rows("valid"))]
    wanted = [one.name for one in work.task.targets if registry.target(one).calibrates]
    answers: dict[str, Sequence[Given]] = {
        one.name: Late(partial(_answerable, work, valid, one)) for one in work.task.targets
    }
    evidence = Evidence({one.name: [] for one in work.task.targets}, answers)
    rows = work.split.rows("calib")
    calib = [Apart(model, rows)] if rows or not held else list(held)
    total = sum(len(one.rows) for one in calib) if wanted else 0
    if total:
        progress.stage("calibrating", total, "cases")
        each = [(one, row) for one in calib for row in one.rows]
        for done, (part, row) in enumerate(each, start=1):
            outputs, truths = part.model.infer(work.ready[row]), work.cases.values(row, wanted)
            for name in wanted:
                evidence.outputs[name].append((part.fold, outputs[name], truths[name]))
            progress.advance(done)
    return evidence


def _answerable(work: Work, valid: Sequence[Apart], target: Field) -> list[Given]:
    """Cases that the answering model has not learnt from, with how each is answered.

    A target that is calibrated keeps the output, to be answered from anew by every fit. One that is not has but one
    answer, which is kept in place of the output, as that may be a volume for each class.
    """
    kind, done = registry.target(target), list[Given]()
    most = math.ceil(max(CHOSEN_ON, kind.quick_cases) / len(valid))
    for one in valid:
        bare = replace(one.model, fitted={})
        for row in one.rows[:most]:
            prepared, truth = work.ready[row], work.cases.values(row, [target.name])[target.name]
            if kind.calibrates:
                output = bare.infer(prepared)[target.name]
                answer = partial(kind.answer, output, prepared, target, work.settings[kind.frame])
            else:
                answer = partial(_the_same, bare.answer(prepared)[target.name])
            done.append((one.fold, answer, truth))
    return done


def _the_same(answer: Answer, fitted: Settings) -> Answer:  # noqa: ARG001 - answers alike whatever is fitted
    return answer


def fit(work: Work, evidence: Evidence, without: int | None = None) -> dict[str, Settings]:
    """Calibration and the last choices, by target; without a fold's own cases, where its scores are wanted."""
    fitted = {}
    for one in work.task.targets:
        kind = registry.target(one)
        outputs, truths = _of_others(evidence.outputs[one.name], without)
        own = kind.calibrate(outputs, truths, one, work.settings[kind.frame]) if outputs else {}
        given = evidence.answers[one.name]
        answers, truths_of = Late(partial(_answered, given, without, own)), Late(partial(_truths, given, without))
        fitted[one.name] = own | kind.choose(answers, truths_of, one)
    return fitted


def _answered(given: Sequence[Given], without: int | None, fitted: Settings) -> list[Answer]:
    return [answer(fitted) for answer in _of_others(given, without)[0]]


def _truths(given: Sequence[Given], without: int | None) -> list[Any]:
    return _of_others(given, without)[1]


def _of_others(given: Sequence[Given], without: int | None) -> tuple[list[Any], list[Any]]:
    kept = [(own, truth) for fold, own, truth in given if without is None or fold != without]
    return [own for own, _ in kept], [truth for _, truth in kept]
