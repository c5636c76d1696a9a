"""The simple methods that stand beside a network: which they are, fitted on its training cases, and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from galenic.core import blend, registry
from galenic.core.cases import Cases
from galenic.core.contract import Field, Learner, Part, Prepared, Settings, Values
from galenic.core.errors import ModelFolderError
from galenic.core.progress import Progress
from galenic.core.ready import Ready
from galenic.core.task import Task

if TYPE_CHECKING:
    from galenic.core.fit import Work


class Truths:
    """The true values of rows, read when asked for, so that no large part stands in memory."""

    def __init__(self, cases: Cases, rows: Sequence[int], names: Sequence[str]) -> None:
        self.cases, self.rows, self.names = cases, rows, names

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> Values:
        return self.cases.values(self.rows[at], self.names)

    def __iter__(self) -> Iterator[Values]:
        return (self[at] for at in range(len(self)))


class Lazy:
    """Prepared cases of rows, made ready when asked for."""

    def __init__(self, ready: Ready, rows: Sequence[int]) -> None:
        self.ready, self.rows = ready, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> Prepared:
        return self.ready[self.rows[at]]

    def __iter__(self) -> Iterator[Prepared]:
        return (self[at] for at in range(len(self)))


def names_of(task: Task) -> Sequence[str]:
    """The learners that the targets' and inputs' kinds or the task name, and that fit some of the targets."""
    named = [name for one in [*task.targets, *task.inputs] for name in _named_by(one)] + task.baselines
    return [name for name in dict.fromkeys(named) if share_of(task, name) is not None]


def mixing(task: Task) -> list[str]:
    """Those of them that may be weighed together with the network."""
    return [name for name in names_of(task) if getattr(registry.learner(name), "mixes", False)]


def title_of(name: str) -> str:
    """As the report names a learner, or the network where it stands beside a blend that it is part of."""
    return blend.TITLE if name == blend.NETWORK else registry.learner(name).title


def share_of(task: Task, name: str) -> Task | None:
    """The task with those targets alone that the learner `name` stands beside; None where there are none."""
    fits = registry.learner(name)().fits
    anywhere = name in task.baselines or any(name in _named_by(one) for one in task.inputs)
    own = [
        one
        for one in task.targets
        if (anywhere or name in _named_by(one)) and not fits(task.model_copy(update={"targets": [one]}))
    ]
    share = task.model_copy(update={"targets": own})
    return share if own and not fits(share) else None


def _named_by(one: Field) -> Sequence[str]:
    """Learners that the field's kind names."""
    return getattr(registry.kind(one.kind), "baselines", ())


def fit(
    work: Work, frames: Mapping[str, Settings], rows: Sequence[int], seed: int, progress: Progress
) -> dict[str, Learner]:
    """The simple methods by name, each for the targets it stands beside, fitted on the rows a network learns from."""
    part = Part(
        [work.cases.ids[row] for row in rows], Lazy(work.ready, rows),  # type: ignore[arg-type]
        Truths(work.cases, rows, [one.name for one in work.task.targets]),  # type: ignore[arg-type]
    )  # fmt: skip
    names = names_of(work.task)
    progress.stage("fitting the simple methods", len(names), "learners")
    fitted: dict[str, Learner] = {}
    for name in names:
        learner, share = registry.learner(name)(), share_of(work.task, name)
        assert share is not None
        learner.fit(part, share, frames, seed)
        fitted[name] = learner
        progress.advance(len(fitted), name)
    return fitted


def load(folder: Path, task: Task, frames: Mapping[str, Settings], name: str) -> Learner:
    """One of the simple learners kept in a model folder."""
    path = folder / "learners" / name
    learner, share = registry.learner(name)(), share_of(task, name)
    if share is None:
        raise ModelFolderError(f"{path} is of a learner that answers no target of {task.name}")
    learner.load(path, share, frames)
    return learner


def load_all(folder: Path, task: Task, frames: Mapping[str, Settings]) -> dict[str, Learner]:
    """All of them by name, so that they can be scored on new cases."""
    there = {path.name for path in (folder / "learners").glob("*")}
    names = [*(name for name in names_of(task) if name in there), *sorted(there.difference(names_of(task)))]
    return {name: load(folder, task, frames, name) for name in names}
