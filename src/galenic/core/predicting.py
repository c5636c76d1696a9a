"""New cases answered and written: many at a time, each with its files or the reason why it has none."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from galenic.core import registry
from galenic.core.cases import Cases, matching, text_of
from galenic.core.contract import Answer, Field, Prepared, Target, Values
from galenic.core.errors import GalenicError, InputError
from galenic.core.files import inside, of_file
from galenic.core.interrupt import held_interrupt
from galenic.core.model import Model
from galenic.core.progress import Progress
from galenic.core.task import Task

_ROOM = 2**26  # bytes of prepared cases that wait to be answered together


@dataclass(frozen=True)
class Written:
    """One predicted input: the files written for it, or why there is none."""

    id: str
    paths: list[Path]
    refused: str | None = None
    answer: Answer | None = None


@dataclass(frozen=True)
class _Place:
    """The folder for answers, which never take the place of an input."""

    folder: Path
    cases: Cases
    task: Task

    @cached_property
    def inputs(self) -> set[Path]:
        """The files that the cases name."""
        fields = [one for one in self.task.inputs if registry.in_files(one)]
        columns = [column for one in fields for column in matching(self.cases.table, one)]
        cells = [str(cell) for column in columns for cell in self.cases.table[column].dropna()]
        return {(self.cases.root / cell).resolve() for cell in cells}

    def bare(self, row: int, text: str) -> str:
        """The text with a file called as the table calls it, or by its name: no folder of this machine goes out."""
        root = self.cases.root
        names = {f"{base}/": "" for base in (root, root.resolve()) if base.name}
        names |= {str(base): "the table's folder" for base in (root, root.resolve()) if base.name}
        for one in (one for one in self.task.inputs if registry.in_files(one)):
            for column in matching(self.cases.table, one):
                cell = text_of(self.cases.table[column].iloc[row])
                if cell is not None:
                    path, own = of_file(root / cell)[0], of_file(Path(cell))[0]
                    names |= {str(base): own.name if own.is_absolute() else str(own) for base in (path, path.resolve())}
        for full in sorted(names, key=len, reverse=True):
            end = "" if full.endswith("/") else r"(?![\w-])"
            text = names[full].join(re.split(re.escape(full) + end, text))
        return text

    def write(self, kind: Target, answer: Answer, values: Values, stem: str, form: str) -> list[Path]:
        """The files of one answer, all of them or none; Ctrl-C waits until they are there."""
        with held_interrupt() as interrupted:
            done = self._written(kind, answer, values, stem, form)
        if interrupted():
            raise KeyboardInterrupt
        return done

    def _written(self, kind: Target, answer: Answer, values: Values, stem: str, form: str) -> list[Path]:
        inside(self.folder, stem)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".aside-", dir=self.folder) as aside:
            made = kind.write(answer, values, inside(Path(aside), stem), form=form)
            targets = [self.folder / path.relative_to(Path(aside).resolve()) for path in made]
            for target in targets:
                if target.exists() and target.resolve() in self.inputs:
                    raise InputError(
                        f"the answer would take the place of the input {target}", todo="name another folder with -o"
                    )
            for path, target in zip(made, targets, strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        return targets


@dataclass(frozen=True)
class _Read:
    """A case on its way: its values and what they were made ready to, or what is wrong with it."""

    row: int
    values: Values
    prepared: Prepared | GalenicError


def answer_all(model: Model, cases: Cases, out: Path, form: str, progress: Progress) -> list[Written]:
    """Answer every case and write its files below `out`; what is wrong with one is told in its `refused`."""
    place = _Place(out, cases, model.task)
    progress.stage("predicting", len(cases), "cases")
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    done: list[Written] = []
    for some in _batches(model, cases):
        for one, found in zip(some, _answers(model, some), strict=True):
            about = {"id": cases.ids[one.row], "patient": _patient(cases, one), "assessed": moment}
            try:
                if isinstance(found, GalenicError):
                    raise found
                told = {name: _bare(answer, place, one.row) for name, answer in found.items()}
                done += _write_one(model, about, one.values, told, place, form)
            except GalenicError as error:
                done += _refused(model, about, place.bare(one.row, str(error)), place, form)
            progress.advance(one.row + 1, about["id"])
    return done


def _patient(cases: Cases, one: _Read) -> str:
    """Whose case it is: as the table says, else as a file of the case does, else the case's own id."""
    known = cases.role("patient")
    told = None if known is None else text_of(known.iloc[one.row])
    in_files = (getattr(value, "patient", "") for value in one.values.values())
    return told or next((str(named) for named in in_files if named), cases.ids[one.row])


def _bare(answer: Answer, place: _Place, row: int) -> Answer:
    """The answer without the folders of this machine in its words."""
    if answer.refused is None and not answer.notes:
        return answer
    refused = None if answer.refused is None else place.bare(row, answer.refused)
    return replace(answer, refused=refused, notes=tuple(place.bare(row, text) for text in answer.notes))


def _batches(model: Model, cases: Cases) -> Iterator[list[_Read]]:
    """The cases in turn, as many together as the model and the memory bear."""
    some, size = list[_Read](), 0
    for row in range(len(cases)):
        some.append(_read(model, cases, row))
        arrays = some[-1].prepared.arrays if isinstance(some[-1].prepared, Prepared) else {}
        size += sum(array.nbytes for array in arrays.values())
        if len(some) >= model.at_once or size > _ROOM:
            yield some
            some, size = [], 0
    if some:
        yield some


def _read(model: Model, cases: Cases, row: int) -> _Read:
    values: Values = {}
    try:
        values = cases.values(row)
        return _Read(row, values, model.prepare(values))
    except GalenicError as error:
        return _Read(row, values, error)


def _answers(model: Model, some: Sequence[_Read]) -> list[Mapping[str, Answer] | GalenicError]:
    """The answers of each case, or what is wrong with it."""
    sound = [one.prepared for one in some if isinstance(one.prepared, Prepared)]
    try:
        found = iter(model.answer_many(sound))
    except GalenicError as error:
        if len(some) == 1:
            return [error]
        return [own for one in some for own in _answers(model, [one])]
    return [one.prepared if isinstance(one.prepared, GalenicError) else next(found) for one in some]


def _write_one(
    model: Model, about: dict[str, str], values: Values, answers: Mapping[str, Answer], place: _Place, form: str
) -> list[Written]:
    """about: whose case it is and when it is answered, for the forms that say so; no label takes its place."""
    done, own = [], about["id"]
    for name, answer in answers.items():
        one = model.task.field(name)
        if answer.refused is not None and not _writes_refusals(one):
            done.append(Written(own, [], answer.refused, answer))
            continue
        stem = own if len(model.task.targets) == 1 else f"{own}.{name}"
        told = {**about, "about": name}
        said = told | {key: value for key, value in values.items() if key not in told or not isinstance(value, str)}
        paths = place.write(registry.target(one), answer, said, stem, form)
        done.append(Written(own, paths, answer.refused, answer))
    return done


def _refused(model: Model, about: dict[str, str], reason: str, place: _Place, form: str) -> list[Written]:
    """A case that can't even be prepared: its reason in a file where the target has a form for it."""
    own = about["id"]
    targets = [one for one in model.task.targets if _writes_refusals(one)]
    if not targets:
        return [Written(own, [], reason)]
    answer, done = Answer(None, refused=reason.replace("\n", "; ")), []
    for one in targets:
        stem = own if len(model.task.targets) == 1 else f"{own}.{one.name}"
        try:
            paths = place.write(registry.target(one), answer, {**about, "about": one.name}, stem, form)
        except GalenicError:  # such as a form that this target has not: it is the reason already
            paths = []
        done.append(Written(own, paths, reason, answer))
    return done


def _writes_refusals(one: Field) -> bool:
    return bool(getattr(registry.target(one), "writes_refusals", False))
