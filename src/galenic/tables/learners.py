"""The simple methods for categories and numbers: what is usual, a linear model, boosted trees.

They work on whatever inputs have plain `features`. Their state is JSON, and scikit-learn's estimators by skops,
loaded only if every type in the file is on the closed list in `keep`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController

from galenic.core import registry
from galenic.core.contract import Field, Outputs, Part, Prepared, Settings
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.files import write_json
from galenic.core.task import Task
from galenic.tables import keep
from galenic.tables.read import measured

_LEAST = 1e-7
_PENALTIES = np.logspace(-2, 4, 13)
_STRENGTHS = (0.003, 0.03, 0.3, 3.0)
_FOLDS, _MANY = 5, 20_000  # of the choice among them; cases from which on one fit alone takes long
_STATE = "state.json"


class _Simple(ABC):
    """What they have in common: one model a target, on the features of all inputs side by side."""

    name: ClassVar[str]
    title: ClassVar[str]
    answers: ClassVar[tuple[str, ...]]  # the kinds of target

    def fits(self, task: Task) -> str:
        """ "" if every input has plain features and every target is of a kind that it answers, else why not."""
        return _targets_unfit(task, self.answers) or _inputs_unfit(task)

    def load(self, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:
        """Take up the state that `save` left; ModelFolderError where it is damaged, unsafe or of another task."""
        try:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            self._own(state, folder, task)
            self._take(state, folder, task, frames)
        except ModelFolderError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelFolderError(
                f"the state of the learner {self.name} in {folder} can't be read: {error}", todo="train it again"
            ) from error

    @abstractmethod
    def _take(self, state: Any, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:
        """Set this learner up from its state."""

    def _own(self, state: Any, folder: Path, task: Task) -> None:
        if state["learner"] != self.name or set(state["targets"]) != {field.name for field in task.targets}:
            raise ModelFolderError(
                f"{folder} holds the state of {state['learner']} for {', '.join(state['targets'])}",
                allowed=f"{self.name} for {', '.join(field.name for field in task.targets)}",
            )


class Prior(_Simple):
    """How frequent each class is in the training part: what a model must beat."""

    name = "prior"
    title = "class frequencies"
    answers = ("category",)

    def __init__(self) -> None:
        self.frequencies: dict[str, NDArray[np.float64]] = {}

    def fits(self, task: Task) -> str:
        """ "" if every target is a category; the inputs are not looked at."""
        return _targets_unfit(task, self.answers)

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:  # noqa: ARG002
        """Count the truths. ValueProblem where a target has none."""
        for field in task.targets:
            labels = _labels(field, frames)
            truth = _truth(part, field, labels)
            counts = np.bincount(truth[truth >= 0], minlength=len(labels))
            if not counts.sum():
                raise ValueProblem(f"the target {field.name!r} has no truth in the training part")
            self.frequencies[field.name] = counts / counts.sum()

    def infer(self, prepared: Prepared) -> Outputs:  # noqa: ARG002 - the same for every case
        """Log-probabilities (labels,) of each target."""
        return {name: _log(frequency) for name, frequency in self.frequencies.items()}

    def save(self, folder: Path) -> None:
        """Write state.json."""
        targets = {name: {"frequencies": frequency.tolist()} for name, frequency in self.frequencies.items()}
        write_json(folder / _STATE, {"learner": self.name, "targets": targets})

    def _take(self, state: Any, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:
        for field in task.targets:
            frequency = np.asarray(state["targets"][field.name]["frequencies"], dtype=np.float64)
            if frequency.shape != (len(_labels(field, frames)),):
                raise ModelFolderError(f"{folder} knows other labels of {field.name} than the plan")
            self.frequencies[field.name] = frequency


class Mean(_Simple):
    """The mean of the training part for everyone: what a model of a number must beat."""

    name = "mean"
    title = "mean of the training cases"
    answers = ("number",)

    def __init__(self) -> None:
        self.means: dict[str, float] = {}

    def fits(self, task: Task) -> str:
        """ "" if every target is a number; the inputs are not looked at."""
        return _targets_unfit(task, self.answers)

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:  # noqa: ARG002
        """The mean z-score, which is 0 but where a plan of other cases is obeyed. ValueProblem without a truth."""
        for field in task.targets:
            z = _z_scores(part, field, frames)
            if np.isnan(z).all():
                raise ValueProblem(f"the target {field.name!r} has no truth in the training part")
            self.means[field.name] = float(np.nanmean(z))

    def infer(self, prepared: Prepared) -> Outputs:  # noqa: ARG002 - the same for every case
        """A z-score (1,) of each target."""
        return {name: np.array([mean]) for name, mean in self.means.items()}

    def save(self, folder: Path) -> None:
        """Write state.json."""
        targets = {name: {"mean": mean} for name, mean in self.means.items()}
        write_json(folder / _STATE, {"learner": self.name, "targets": targets})

    def _take(self, state: Any, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:  # noqa: ARG002
        self.means = {field.name: float(state["targets"][field.name]["mean"]) for field in task.targets}
        if not np.isfinite(list(self.means.values())).all():
            raise ModelFolderError(f"{folder} holds a mean that is no number", todo="train it again")


class _Estimator(_Simple):
    """A scikit-learn classifier or regressor a target."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}  # features of each input; 0 where no training case had the input
        self.used: NDArray[np.bool_] = np.zeros(0, dtype=bool)  # features with a value in training
        self.labels: dict[str, int] = {}  # of the targets that are categories
        self._task: Task
        self._frames: Mapping[str, Settings]

    @abstractmethod
    def _fitted(self, kind: str, x: NDArray[np.float64], truth: NDArray[Any], seed: int) -> Any:
        """An estimator of a target of that kind, fitted on features [cases, n] and truths (cases,)."""

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:
        """Fit on the cases with a truth. ValueProblem for fewer than two classes or truths, or inputs all empty."""
        self._task, self._frames = task, frames
        found = [self._features(prepared) for prepared in part.prepared]
        self.sizes = {
            field.name: max((len(case[field.name]) for case in found if field.name in case), default=0)
            for field in task.inputs
        }
        x = np.stack([self._joined(case) for case in found]) if found else np.zeros((0, 0))
        self.used = np.asarray(~np.isnan(x).all(axis=0))
        if not self.used.any():
            raise ValueProblem("no input has a value in the training part")
        for field in task.targets:
            truth, known, what = self._goal(part, field, frames)
            if len(np.unique(truth[known])) < 2:
                raise ValueProblem(
                    f"the target {field.name!r} has fewer than two {what} in the training part",
                    allowed=f"two {what} or more with cases",
                )
            self.models[field.name] = self._fitted(field.kind, x[known][:, self.used], truth[known], seed)

    def _goal(
        self, part: Part, field: Field, frames: Mapping[str, Settings]
    ) -> tuple[NDArray[Any], NDArray[np.bool_], str]:
        """What is to be learnt of each case, whether it is known, and what it is a choice of."""
        if field.kind == "number":
            z = _z_scores(part, field, frames)
            return z, ~np.isnan(z), "values"
        labels = _labels(field, frames)
        self.labels[field.name] = len(labels)
        truth = _truth(part, field, labels)
        return truth, truth >= 0, "classes"

    def infer(self, prepared: Prepared) -> Outputs:
        """Log-probabilities (labels,), a class without a training case has 1e-7, or a z-score (1,), of each target."""
        return self.infer_many([prepared])[0]

    def infer_many(self, cases: Sequence[Prepared]) -> list[Outputs]:
        """The same of many cases, in little more time than of one."""
        x = np.stack([self._joined(self._features(one)) for one in cases])[:, self.used]
        done: list[dict[str, NDArray[np.float64]]] = [{} for _ in cases]
        for name, model in self.models.items():
            with _pools().limit(limits=1):  # so few cases are too little work to wake other threads for
                found = model.predict_proba(x) if name in self.labels else model.predict(x)[:, None]
            for own, values in zip(done, found, strict=True):
                own[name] = self._log_of(name, model, values) if name in self.labels else np.asarray(values, np.float64)
        return list(done)

    def _log_of(self, name: str, model: Any, found: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.zeros(self.labels[name])
        p[model.classes_] = found
        return _log(p)

    def save(self, folder: Path) -> None:
        """Write state.json, and the estimator of target i as model_i.skops."""
        for place, model in enumerate(self.models.values()):
            keep.save(model, folder / f"model_{place}.skops")
        targets = {name: {"file": f"model_{place}.skops"} for place, name in enumerate(self.models)}
        state = {"learner": self.name, "targets": targets, "sizes": self.sizes, "used": self.used.tolist()}
        write_json(folder / _STATE, state)

    def _take(self, state: Any, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:
        self._task, self._frames = task, frames
        self.sizes = {field.name: int(state["sizes"][field.name]) for field in task.inputs}
        self.used = np.asarray(state["used"], dtype=bool)
        for place, field in enumerate(task.targets):
            model = keep.load(folder / f"model_{place}.skops")
            sound = self.used.shape == (sum(self.sizes.values()),) and model.n_features_in_ == self.used.sum()
            sound &= hasattr(model, "classes_") == (field.kind == "category")
            if sound and field.kind == "category":
                self.labels[field.name] = len(_labels(field, frames))
                sound = model.classes_.min() >= 0 and model.classes_.max() < self.labels[field.name]
            if not sound:
                raise ModelFolderError(f"the {self.name} model of {field.name} in {folder} does not fit the plan")
            self.models[field.name] = model

    def _read(self) -> list[Field]:
        """The inputs that are looked at."""
        return list(self._task.inputs)

    def _features(self, prepared: Prepared) -> dict[str, NDArray[np.float64]]:
        """Plain numbers of each input that is looked at and that the case has."""
        found = {}
        for field in self._read():
            if field.name in prepared.arrays:
                kind = registry.kind(field.kind)
                given = kind.features(prepared.arrays[field.name], field, self._frames[kind.frame])
                found[field.name] = np.asarray(given, dtype=np.float64)
        return found

    def _joined(self, found: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """All features of a case in one row; NaN for an input that it lacks."""
        parts: Sequence[NDArray[np.float64]] = [
            found[name] if name in found and size else np.full(size, np.nan) for name, size in self.sizes.items()
        ]
        return np.concatenate(parts)


class Logistic(_Estimator):
    """Logistic regression on scaled features; gaps take the median, flags tell where they were.

    Its L2 penalty is the one of four that costs least in five-fold cross-validation; with fewer than five cases of a
    class, or over 20,000 cases, scikit-learn's own.
    """

    name = "logistic"
    title = "logistic regression"
    mixes = True
    answers = ("category",)

    def _fitted(self, kind: str, x: NDArray[np.float64], truth: NDArray[Any], seed: int) -> Any:  # noqa: ARG002
        return _regression(_strength(x, truth)).fit(x, truth)


def _strength(x: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Inverse of the L2 penalty."""
    if np.unique(truth, return_counts=True)[1].min() < _FOLDS or len(truth) > _MANY:
        return 1.0
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    gains = [cross_val_score(_regression(own), x, truth, scoring="neg_log_loss", cv=folds).mean() for own in _STRENGTHS]
    return _STRENGTHS[int(np.argmax(gains))]


def _regression(strength: float) -> Any:
    gaps = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(gaps, StandardScaler(), LogisticRegression(C=strength, max_iter=5000))


class Columns(Logistic):
    """Logistic regression on the plain columns alone: against it is seen what a picture beside them adds."""

    name = "columns"
    title = "logistic regression on the columns alone"

    def fits(self, task: Task) -> str:
        """ "" if there are plain columns and something beside them, and every target is a category; else why not."""
        plain = [field for field in task.inputs if _is_plain(field)]
        if not plain or len(plain) == len(task.inputs):
            return "it needs plain columns and an input of another kind beside them"
        return _targets_unfit(task, self.answers)

    def _read(self) -> list[Field]:
        return [field for field in self._task.inputs if _is_plain(field)]


class Ridge(_Estimator):
    """Linear regression on scaled features, its L2 penalty chosen by leaving one case out (Golub, Heath, Wahba 1979).

    Gaps take the median, flags tell where they were.
    """

    name = "ridge"
    title = "ridge regression"
    mixes = True
    answers = ("number",)

    def _fitted(self, kind: str, x: NDArray[np.float64], truth: NDArray[Any], seed: int) -> Any:  # noqa: ARG002
        gaps = SimpleImputer(strategy="median", add_indicator=True)
        return make_pipeline(gaps, StandardScaler(), RidgeCV(alphas=_PENALTIES)).fit(x, truth)


class Boosting(_Estimator):
    """Gradient-boosted trees on binned features (scikit-learn's histogram boosting), which bear gaps as they are."""

    name = "boosting"
    title = "gradient-boosted trees"
    mixes = True
    answers = ("category", "number")

    def _fitted(self, kind: str, x: NDArray[np.float64], truth: NDArray[Any], seed: int) -> Any:
        trees = HistGradientBoostingRegressor if kind == "number" else HistGradientBoostingClassifier
        least = min(max(len(x) // 20, 1), 20)
        return trees(min_samples_leaf=least, early_stopping=len(x) > 10_000, random_state=seed).fit(x, truth)


@cache
def _pools() -> ThreadpoolController:
    """The thread pools of this process, found once: looking for them takes longer than an answer."""
    return ThreadpoolController()


def _targets_unfit(task: Task, kinds: Sequence[str]) -> str:
    other = [field.name for field in task.targets if field.kind not in kinds]
    return f"it answers the kind {' or '.join(kinds)}, which {', '.join(other)} is not" if other else ""


def _inputs_unfit(task: Task) -> str:
    other = [field.name for field in task.inputs if not hasattr(registry.kind(field.kind), "features")]
    return f"it needs plain features, which {', '.join(other)} has not" if other else ""


def _is_plain(field: Field) -> bool:
    return registry.kind(field.kind).frame == "row"


def _labels(field: Field, frames: Mapping[str, Settings]) -> list[str]:
    labels: list[str] = frames[registry.kind(field.kind).frame]["categories"][field.name]["labels"]
    return labels


def _truth(part: Part, field: Field, labels: Sequence[str]) -> NDArray[np.int64]:
    """Class index of each case, -1 where unknown."""
    place: dict[Any, int] = {label: number for number, label in enumerate(labels)}
    return np.array([place.get(truth.get(field.name), -1) for truth in part.truths], dtype=np.int64)


def _z_scores(part: Part, field: Field, frames: Mapping[str, Settings]) -> NDArray[np.float64]:
    """The truth of each case (n,) as a network is taught it, NaN where unknown."""
    known = frames[registry.kind(field.kind).frame]["numbers"][field.name]
    found = [measured(truth.get(field.name)) for truth in part.truths]
    truths = np.array([np.nan if one is None else one for one in found], dtype=np.float64)
    return np.asarray((truths - known["mean"][0]) / known["sd"][0])


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.clip(p, _LEAST, None)))
