"""What is fitted once the networks are trained, on cases they have not learnt from: blend, calibration and clean-ups.

With folds each case of train and valid is answered by the one member of the ensemble that has not seen it, beside
simple methods that have not either; what is fitted there for the scores of a fold leaves that fold's own cases out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from galenic.core import blend, registry, simple
from galenic.core.contract import Answer, Field, Mixes, Prepared, Settings
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
    """A model with its simple methods, and the rows that neither has learnt from; fold: None for the whole model."""

    model: Model
    rows: Sequence[int]
    fold: int | None = None


@dataclass(frozen=True)
class Evidence:
    """By target: what blends are weighed on, what calibrations are fitted on, what the last choices are made on.

    The first two hold the outputs of a case by member of a blend; the last holds functions in place of what the model
    gave: from what is fitted to the answer.
    """

    members: Mapping[str, Sequence[Given]]
    outputs: Mapping[str, Sequence[Given]]
    answers: Mapping[str, Sequence[Given]]


def out_of_fold(work: Work, model: Model, progress: Progress) -> list[Apart]:
    """Each member as a model of its own, with the rows of train and valid held out from it; [] without folds.

    Its simple methods are fitted anew, on the rows that it has learnt from.
    """
    if not model.plan.folds:
        return []
    done = []
    for number, (run, parts) in enumerate(zip(model.runners, fold_parts(work, model.plan), strict=True)):
        learnt, held = ([row for row, own in enumerate(parts) if own == part] for part in ("train", "valid"))
        learners = simple.fit(work, model.plan.frames, learnt, model.plan.seed, progress)
        done.append(Apart(replace(model, runners=[run], fitted={}, learners=learners), held, number))
    return done


def gather(work: Work, model: Model, held: Sequence[Apart], progress: Progress) -> Evidence:
    """Let cases be answered that the answering model has not learnt from.

    held: of `out_of_fold`. Calibration takes the calib part, by the whole model, where the split has one, else the
    cases of the folds; blends and the last choices take the cases of the folds, else the valid part.
    """
    valid = list(held) or [Apart(model, work.split.rows("valid"))]
    rows = work.split.rows("calib")
    calib = [Apart(model, rows)] if rows or not held else list(held)
    wanted = [one for one in work.task.targets if registry.target(one).calibrates]
    mixable = [one for one in wanted if model.plan.blend and isinstance(registry.target(one), Mixes)]
    outputs = _given(work, calib, wanted, model.plan.blend, progress, "calibrating")
    weighed = outputs if calib == valid else _given(work, valid, mixable, model.plan.blend, progress, "weighing")
    answers: dict[str, Sequence[Given]] = {
        one.name: Late(partial(_answerable, work, valid, one)) for one in work.task.targets
    }
    return Evidence(
        {one.name: weighed[one.name] if one in mixable else [] for one in work.task.targets}, outputs, answers
    )


def _given(
    work: Work, parts: Sequence[Apart], targets: Sequence[Field], learners: Sequence[str], progress: Progress,
    title: str,
) -> dict[str, list[Given]]:  # fmt: skip
    """Target -> fold, outputs by member, and truth of every row."""
    names = [one.name for one in targets]
    found: dict[str, list[Given]] = {name: [] for name in names}
    total, done = sum(len(part.rows) for part in parts), 0
    if not names or not total:
        return found
    progress.stage(title, total, "cases")
    for part in parts:
        for rows in batches(part.rows, part.model.at_once):
            for row, own in zip(rows, _members(part.model, learners, work, rows), strict=True):
                truths = work.cases.values(row, names)
                for name in names:
                    found[name].append((part.fold, own[name], truths[name]))
            done += len(rows)
            progress.advance(done)
    return found


def batches(rows: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """The rows in turn, `most` at a time."""
    return (rows[at : at + most] for at in range(0, len(rows), most))


def _members(model: Model, learners: Sequence[str], work: Work, rows: Sequence[int]) -> list[dict[str, dict[str, Any]]]:
    """Target -> member -> raw output, of each row."""
    cases = [work.ready[row] for row in rows]
    own = blend.outputs_of({name: model.learners[name] for name in learners}, cases)
    return [blend.members(model.network(one), given) for one, given in zip(cases, own, strict=True)]


def _answerable(work: Work, valid: Sequence[Apart], target: Field) -> list[Given]:
    """Cases that the answering model has not learnt from, with how each is answered.

    A target that is calibrated keeps the outputs, to be answered from anew by every fit. One that is not has but one
    answer, which is kept in place of the output, as that may be a volume for each class.
    """
    kind, done = registry.target(target), list[Given]()
    most = math.ceil(max(CHOSEN_ON, kind.quick_cases) / len(valid))
    for one in valid:
        bare = replace(one.model, fitted={})
        for row in one.rows[:most]:
            prepared, truth = work.ready[row], work.cases.values(row, [target.name])[target.name]
            if kind.calibrates:
                (own,) = _members(bare, bare.plan.blend, work, [row])
                answer = partial(_answer, kind, own[target.name], prepared, target, work.settings[kind.frame])
            else:
                answer = partial(_the_same, bare.answer(prepared)[target.name])
            done.append((one.fold, answer, truth))
    return done


def _the_same(answer: Answer, fitted: Settings) -> Answer:  # noqa: ARG001 - answers alike whatever is fitted
    return answer


def _answer(
    kind: Any, own: Mapping[str, Any], prepared: Prepared, target: Field, frame: Settings, fitted: Settings
) -> Answer:
    """The answer of a blend as it is fitted."""
    answer: Answer = kind.answer(blend.mixed(kind, own, fitted), prepared, target, frame, fitted)
    return answer


def fit(work: Work, evidence: Evidence, without: int | None = None) -> dict[str, Settings]:
    """Blend, calibration and the last choices, by target; without a fold's own cases, where its scores are wanted."""
    fitted = {}
    for one in work.task.targets:
        kind, settings = registry.target(one), work.settings[registry.target(one).frame]
        own = blend.fit(kind, *_of_others(evidence.members[one.name], without), one, settings)
        outputs, truths = _of_others(evidence.outputs.get(one.name, []), without)
        if outputs:
            own |= kind.calibrate([blend.mixed(kind, given, own) for given in outputs], truths, one, settings)
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
