"""The simple method for texts: TF-IDF of words and pairs of words, and a logistic regression.

What it weighs are the token numbers that the network gets, so both see the same words, negated ones included. State is
state.json and state.safetensors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from galenic.core import registry
from galenic.core.contract import Field, Outputs, Part, Prepared, Settings
from galenic.core.errors import ModelFolderError, ValueProblem
from galenic.core.files import write_aside, write_json
from galenic.core.task import Task
from galenic.texts.tokens import FIRST

_JSON, _ARRAYS = "state.json", "state.safetensors"
_LEAST = 1e-7
_STRENGTH = 10.0  # inverse of the L2 penalty: rows of length 1 want less of it than scikit-learn's default gives

Term = tuple[int, int]  # a token's number and 0, or two that stand side by side


class TfIdf:
    """Sublinear TF-IDF of words and pairs, rows of length 1, and a multinomial logistic regression.

    A term that stands n times in a text weighs (1 + ln n) (1 + ln((1 + cases) / (1 + cases with it))): Salton and
    Buckley, Information Processing and Management 24:513 (1988), smoothed as scikit-learn does. Tokens that the
    vocabulary has not are left out, and pairs do not reach over them; a pair counts from two training cases on.
    """

    name: ClassVar[str] = "tfidf"
    title: ClassVar[str] = "TF-IDF and logistic regression"
    mixes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.terms: dict[Term, int] = {}
        self.idf: NDArray[np.float64] = np.zeros(0)
        self.weights: NDArray[np.float64] = np.zeros((0, 0))  # [labels, terms]
        self.bias: NDArray[np.float64] = np.zeros(0)  # [labels]
        self._text = self._target = ""

    def fits(self, task: Task) -> str:
        """ "" for one text and one category, else why not."""
        if [field.kind for field in task.inputs] != ["text"]:
            return "it reads one text and nothing else"
        return "" if [field.kind for field in task.targets] == ["category"] else "it answers one category"

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None:  # noqa: ARG002
        """Fit on the cases with a text and a truth; nothing is drawn. ValueProblem for fewer than two classes."""
        self._know(task)
        place: dict[Any, int] = {label: number for number, label in enumerate(_labels(task.targets[0], frames))}
        found: list[Counter[Term]] = []
        truth: list[int] = []
        for prepared, truths in zip(part.prepared, part.truths, strict=True):
            if self._text in prepared.arrays and truths.get(self._target) in place:
                found.append(_terms(prepared.arrays[self._text]))
                truth.append(place[truths[self._target]])
        if len(set(truth)) < 2:
            raise ValueProblem(
                f"{len(set(truth))} classes of {self._target!r} have a training case with a text",
                allowed="two classes or more",
            )
        cases = Counter(term for own in found for term in own)
        kept = sorted(term for term, number in cases.items() if number > 1 or not term[1])
        self.terms = {term: at for at, term in enumerate(kept)}
        self.idf = np.log((1 + len(found)) / (1 + np.array([cases[term] for term in kept], np.float64))) + 1
        model = LogisticRegression(C=_STRENGTH, max_iter=5000).fit(self._rows(found), truth)
        self.weights = np.zeros((len(place), len(kept)))
        self.bias = np.full(len(place), np.log(_LEAST))  # of a label without a training case
        binary = len(model.classes_) == 2  # scikit-learn keeps one row then: the log-odds of the second class
        self.weights[model.classes_] = np.vstack([0 * model.coef_, model.coef_]) if binary else model.coef_
        self.bias[model.classes_] = [0.0, *model.intercept_] if binary else model.intercept_

    def infer(self, prepared: Prepared) -> Outputs:
        """Log-probabilities (labels,) of the target, not under 1e-7; of the classes alone where the text is lacking."""
        logits = self.bias
        if self._text in prepared.arrays:
            row = self._weighed(_terms(prepared.arrays[self._text]))
            logits = logits + self.weights[:, list(row)] @ np.array([*row.values()])
        p = np.exp(logits - logits.max())
        return {self._target: np.log(np.clip(p / p.sum(), _LEAST, None))}

    def save(self, folder: Path) -> None:
        """Write state.json and state.safetensors."""
        terms = np.array(list(self.terms), np.int32).reshape(-1, 2)
        arrays = {"terms": terms, "idf": self.idf, "weights": self.weights, "bias": self.bias}
        with write_aside(folder / _ARRAYS) as aside:
            save_file(arrays, aside)
        write_json(folder / _JSON, {"learner": self.name, "text": self._text, "target": self._target})

    def load(self, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None:
        """Take up what `save` left; ModelFolderError where it is damaged or of another task."""
        self._know(task)
        try:
            state = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            if (state["learner"], state["text"], state["target"]) != (self.name, self._text, self._target):
                raise ValueError(f"it is of {state['learner']} from {state['text']} to {state['target']}")
            arrays = load_file(folder / _ARRAYS)
            self.idf, self.weights, self.bias = (arrays[key].astype(np.float64) for key in ("idf", "weights", "bias"))
            self.terms = {(int(one), int(two)): at for at, (one, two) in enumerate(arrays["terms"])}
            count = len(self.terms)
            labels = len(_labels(task.targets[0], frames))
            shapes = (self.idf.shape, self.weights.shape, self.bias.shape)
            if shapes != ((count,), (labels, count), (labels,)) or not np.isfinite(self.weights).all():
                raise ValueError("its arrays do not fit the plan")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
            raise ModelFolderError(
                f"the state of the learner {self.name} in {folder} can't be read: {error}", todo="train it again"
            ) from error

    def _know(self, task: Task) -> None:
        self._text, self._target = task.inputs[0].name, task.targets[0].name

    def _weighed(self, found: Mapping[Term, int]) -> dict[int, float]:
        """Column -> weight of the terms that are known, of length 1 together."""
        row = {
            self.terms[term]: (1 + np.log(number)) * self.idf[self.terms[term]]
            for term, number in found.items()
            if term in self.terms
        }
        length = np.sqrt(sum(weight**2 for weight in row.values())) or 1.0
        return {at: weight / length for at, weight in row.items()}

    def _rows(self, found: Sequence[Mapping[Term, int]]) -> csr_array:
        """Sparse [cases, terms]."""
        rows = [self._weighed(own) for own in found]
        starts = np.cumsum([0, *map(len, rows)])
        columns = np.array([at for row in rows for at in row], np.int64)
        weights = np.array([weight for row in rows for weight in row.values()])
        return csr_array((weights, columns, starts), shape=(len(rows), len(self.terms)))


def _terms(array: NDArray[Any]) -> Counter[Term]:
    """How often each known token, and each pair of neighbours, stands in a prepared text [length, 1 + pieces]."""
    numbers = [int(number) for number in array[:, 0]]
    single = ((number, 0) for number in numbers if number >= FIRST)
    pairs = ((one, two) for one, two in pairwise(numbers) if one >= FIRST and two >= FIRST)
    return Counter([*single, *pairs])


def _labels(field: Field, frames: Mapping[str, Settings]) -> list[str]:
    labels: list[str] = frames[registry.kind(field.kind).frame]["categories"][field.name]["labels"]
    return labels
