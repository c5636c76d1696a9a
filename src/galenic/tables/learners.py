"""The simple methods for categories: how frequent each class is, a linear model, boosted trees.

They work on whatever inputs have plain `features`. Their state is JSON, and scikit-learn's estimators by skops,
loaded only if every type in the file is on the closed list in `keep`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from galenic.core import registry
from galenic.core.contract import Field, Outputs, Part, Prepared, Settings
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.files import write_json
from galenic.core.task import Task
from galenic.tables import keep

_LEAST = 1e-7
_STATE = "state.json"


class _Simple(ABC):
    """What the three have in common: one model a target, on the features of all inputs side by side."""

    name: ClassVar[str]
    title: ClassVar[str]

    def fits(self, task: Task) -> str:
        """ "" if every input has plain features and every target is a category, else why not."""
        return _targets_unfit(task) or _inputs_unfit(task)

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

    def __init__(self) -> None:
        self.frequencies: dict[str, NDArray[np.float64]] = {}

    def fits(self, task: Task) -> str:
        """ "" if every target is a category; the inputs are not looked at."""
        return _targets_unfit(task)

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


class _Estimator(_Simple):
    """A scikit-learn classifier a target."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}  # features of each input; 0 where no training case had the input
        self.used: NDArray[np.bool_] = np.zeros(0, dtype=bool)  # features with a value in training
        self.labels: dict[str, int] = {}
        self._task: Task
        self._frames: Mapping[str, Settings]

    @abstractmethod
    def _new(self, cases: int, seed: int) -> Any:
        """An estimator to fit on `cases` cases."""

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:
        """Fit on the cases with a truth. ValueProblem for fewer than two classes, or inputs without any value."""
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
            labels = _labels(field, frames)
            truth = _truth(part, field, labels)
            known = truth >= 0
            if len(np.unique(truth[known])) < 2:
                raise ValueProblem(
                    f"the target {field.name!r} has fewer than two classes in the training part",
                    allowed="two classes or more with cases",
                )
            self.models[field.name] = self._new(int(known.sum()), seed).fit(x[known][:, self.used], truth[known])
            self.labels[field.name] = len(labels)

    def infer(self, prepared: Prepared) -> Outputs:
        """Log-probabilities (labels,) of each target; a class without a training case has 1e-7."""
        x = self._joined(self._features(prepared))[None, self.used]
        outputs = {}
        for name, model in self.models.items():
            p = np.zeros(self.labels[name])
            with threadpool_limits(1):  # one case is too little work to wake other threads for
                p[model.classes_] = model.predict_proba(x)[0]
            outputs[name] = _log(p)
        return outputs

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
            labels = len(_labels(field, frames))
            sound = self.used.shape == (sum(self.sizes.values()),) and model.n_features_in_ == self.used.sum()
            if not sound or model.classes_.min() < 0 or model.classes_.max() >= labels:
                raise ModelFolderError(f"the {self.name} model of {field.name} in {folder} does not fit the plan")
            self.models[field.name], self.labels[field.name] = model, labels

    def _features(self, prepared: Prepared) -> dict[str, NDArray[np.float64]]:
        """Plain numbers of each input that the case has."""
        found = {}
        for field in self._task.inputs:
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
    """Logistic regression on scaled features, L2 of strength 1; gaps take the median, flags tell where they were."""

    name = "logistic"
    title = "logistic regression"

    def _new(self, cases: int, seed: int) -> Any:  # noqa: ARG002 - the fit has one solution
        return make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True), StandardScaler(), LogisticRegression(max_iter=5000)
        )


class Columns(Logistic):
    """Logistic regression on the plain columns alone: against it is seen what a picture beside them adds."""

    name = "columns"
    title = "logistic regression on the columns alone"

    def fits(self, task: Task) -> str:
        """ "" if there are plain columns and something beside them, and every target is a category; else why not."""
        plain = [field for field in task.inputs if _is_plain(field)]
        if not plain or len(plain) == len(task.inputs):
            return "it needs plain columns and an input of another kind beside them"
        return _targets_unfit(task)

    def _features(self, prepared: Prepared) -> dict[str, NDArray[np.float64]]:
        plain = {field.name for field in self._task.inputs if _is_plain(field)}
        return {name: found for name, found in super()._features(prepared).items() if name in plain}


class Boosting(_Estimator):
    """Gradient-boosted trees on binned features (scikit-learn's histogram boosting), which bear gaps as they are."""

    name = "boosting"
    title = "gradient-boosted trees"

    def _new(self, cases: int, seed: int) -> Any:
        return HistGradientBoostingClassifier(
            min_samples_leaf=min(max(cases // 20, 1), 20), early_stopping=cases > 10_000, random_state=seed
        )


def _targets_unfit(task: Task) -> str:
    other = [field.name for field in task.targets if field.kind != "category"]
    return f"it answers categories, which {', '.join(other)} is not" if other else ""


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


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.clip(p, _LEAST, None)))
