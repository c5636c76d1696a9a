"""The contract: columns in, columns out. The one file a newcomer must read.

A table of cases has fields; a field has a kind. A kind reads a cell into a value; a frame prepares together the
fields that share a space, a clock or a row; a network turns a batch into outputs; a target kind turns outputs into
answers and scores. Learners that are no networks (linear, trees, a threshold) keep the same way of the data, so that
every score has the simple method beside it. Rooms register what they have by entry points (see `registry`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from galenic.core.figures import Figure, Sheet
    from galenic.core.network import Network
    from galenic.core.task import Task

Array = NDArray[Any]
Values = Mapping[str, Any]  # field name -> value of one case; None where the case lacks it
Settings = dict[str, Any]  # JSON; what settle decided, kept in plan.json
Summary = dict[str, Any]  # JSON, bounded, mergeable; the only thing that ever leaves a site
Outputs = Mapping[str, Any]  # target field -> raw output of a learner for one case
Judged = dict[str, Any]  # JSON; all that the scores need of one case


class Field(BaseModel):
    """A named input or target: its kind, and the columns (or column patterns) that hold it.

    target: set by the task, never written; a frame prepares a truth otherwise than an input of the same kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    kind: str
    columns: list[str]
    options: dict[str, Any] = {}
    target: bool = pydantic.Field(default=False, exclude=True)


@dataclass(frozen=True)
class Definition:
    """What a score is: its unit ("{unit}": the field's own), its definition with source, and which way is better."""

    unit: str
    text: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Answer:
    """An answer that can be weighed: value, unit, interval or set, or a refusal with its reason.

    value: what the target kind promises (a Mask, a class name, a number); None when refused.
    low, high: interval of a number. among: the set of classes that holds the truth as often as promised.
    probabilities: class -> probability. facts: further plain numbers (volumes in ml, seconds). notes: what a reader of
    this answer must know, a sentence each, such as what was mended or ignored in its input.
    """

    value: Any
    unit: str = ""
    low: float | None = None
    high: float | None = None
    among: tuple[str, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A case, ready for a learner: arrays by field, and the facts (JSON) that undo the preparation.

    A frame whose facts, under its name, hold a list "refuse" tells by it why the case can't be judged; a list "notes"
    goes to the notes of the answer.
    """

    arrays: Mapping[str, Array]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Samples of several cases: tensors by field, first axis the case; `present` says which cases have a field."""

    values: Mapping[str, Tensor]
    size: int
    present: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            {name: tensor.to(device) for name, tensor in self.values.items()},
            self.size,
            {name: tensor.to(device) for name, tensor in self.present.items()},
        )


class Source(Protocol):
    """An opened field: indexed once, then read row by row."""

    def read(self, row: int) -> Any:
        """The value of a row of the table, or None where the case lacks it."""
        ...


class Kind(Protocol):
    """What a column holds. An input kind needs no more than this.

    It may have besides: `baselines`, the simple methods that suit it; `groups` = True, where `group` ties cases; `bare`
    = True, where its frame also takes plain numbers and text, as a caller from Python gives them.
    """

    name: str
    frame: str  # the frame that prepares it
    from_file: bool  # True: a cell names a file or folder, so that a path alone is a case; `in_files(field)`, where a
    # kind has it, says so of a field
    groups: bool  # True: `group` says what must stay in one part where no patient is known; every value is read for it

    def check(self, field: Field) -> Field:
        """The field with its options validated and completed; TaskError otherwise."""
        ...

    def open(self, field: Field, table: pd.DataFrame, root: Path) -> Source:
        """Index the columns of `table`; relative paths are below `root`. TableError or MissingFile otherwise."""
        ...

    def features(self, array: Array, field: Field, settings: Settings) -> Array:
        """(n,) plain numbers of one prepared case, what a simple learner gets."""
        ...

    def group(self, value: Any) -> str | None:
        """What must not be split (a scaffold); None if the kind has no such thing."""
        ...


class Target(Kind, Protocol):
    """A kind that can be learnt: it brings its loss, its answer, its scores, its unit and its baselines."""

    definitions: Mapping[str, Definition]
    main_score: str
    baselines: tuple[str, ...]  # learners that stand beside the network
    calibrates: bool  # True: wants a calib part
    dense: bool  # True: an answer for each place of the input, so that no head on one vector a case can give it
    quick_cases: int  # validation cases that `quick` looks at while training; `choose` sees as many, 40 at least

    def head(self, field: Field, width: int, settings: Settings) -> torch.nn.Module:
        """A module from features (batch, width) to this target's output; TaskError where only dense networks fit."""
        ...

    def loss(self, output: Tensor, truth: Tensor, field: Field, settings: Settings) -> Tensor:
        """Loss of each case, shape (batch,); a case without truth gives 0."""
        ...

    def calibrate(self, outputs: Sequence[Any], truths: Sequence[Any], field: Field, settings: Settings) -> Settings:
        """Fit on the calib part what turns outputs into probabilities and sets; {} where nothing is to be fitted."""
        ...

    def quick(self, outputs: Sequence[Any], truths: Sequence[Array], field: Field) -> float:
        """The main score on prepared truths, higher is better: chooses the best step while training."""
        ...

    def choose(self, answers: Sequence[Answer], truths: Sequence[Any], field: Field) -> Settings:
        """What is chosen on the valid part: clean-ups that helped (largest component), the threshold of a call.

        answers: as calibrated. They are made when first looked at; {} where there is nothing to choose.
        """
        ...

    def answer(self, output: Any, prepared: Prepared, field: Field, settings: Settings, fitted: Settings) -> Answer:
        """Invert the preparation: the answer in the user's own grid, unit and words."""
        ...

    def judge(self, answer: Answer, truth: Any, field: Field) -> Judged:
        """What the scores need of one case."""
        ...

    def scores(self, judged: Sequence[Judged], field: Field) -> dict[str, dict[str, float]]:
        """Scores over cases: {"": overall, class name: of that class}; NaN where undefined."""
        ...

    def agree(self, ours: Any, reference: Any) -> tuple[float, bool]:
        """The parity rule between two runtimes' outputs of one case: figure, and whether it is met."""
        ...

    def write(self, answer: Answer, values: Values, path: Path, *, form: str) -> list[Path]:
        """Write the answer beside nothing half-written; `form` is a file format this kind knows, or "auto"."""
        ...


class Detailed(Target, Protocol):
    """A target that may also have these; they are looked for by name.

    writes_refusals = True: `write` takes an answer that is a refusal too, so that no case of a batch is without a file.
    """

    grouped: tuple[str, ...]  # scores shown for each subgroup, the main one first; the main one alone without this

    def unit_of(self, score: str, judged: Sequence[Judged]) -> str:
        """The unit of a score where it hangs on the cases; that of its definition without this."""
        ...

    def calling(self, fitted: Settings) -> str:
        """How an answer is called where the user asked for it, such as from which threshold on and why; "" without."""
        ...

    def details(self, judged: Sequence[Judged], field: Field) -> dict[str, Any]:
        """JSON kept with the scores in metrics.json: counts that a score hides, such as a confusion matrix."""
        ...

    def figures(self, ids: Sequence[str], judged: Mapping[str, Sequence[Judged]], field: Field) -> list[Figure | Sheet]:
        """What the report draws of the test cases; judged: title of a learner, the model first -> a record a case."""
        ...


@runtime_checkable
class Mixes(Protocol):
    """What a target that may be answered by a blend of learners has besides."""

    def weigh(
        self, outputs: Mapping[str, Sequence[Any]], truths: Sequence[Any], field: Field, settings: Settings
    ) -> Settings:
        """Weights of the members that serve best on cases none of them has learnt from: see `core.blend.weigh`."""
        ...

    def mix(self, outputs: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
        """One raw output of the members' outputs of a case."""
        ...


class Frame(Protocol):
    """Fields that share a space, a clock, atoms or a row: summarised, prepared, drawn and applied together.

    A sample's keys are names of fields, or FIELD.MORE for what else belongs to one. Samples are stacked; a frame whose
    samples can't be, as they differ in shape, also has `collate`, see Collating.

    A frame whose whole cases all have one shape may also have `vary(stacked, draws, settings)`, which does to a batch
    of whole cases what `apply` does to one, and `steady(settings)`, True where draws change nothing; small sets are
    then fed from ready tensors.
    """

    name: str

    def summarise(self, values: Values, fields: Sequence[Field]) -> Summary: ...

    def merge(self, one: Summary, other: Summary) -> Summary: ...

    def settle(self, summary: Summary, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
        """Every decision taken from the data, and the reason of each."""
        ...

    def prepare(self, values: Values, fields: Sequence[Field], settings: Settings) -> Prepared:
        """Exact, no chance; a field whose value is None is left out."""
        ...

    def draw(self, rng: np.random.Generator, prepared: Prepared, settings: Settings) -> Any:
        """All chance of one sample, as plain data."""
        ...

    def apply(self, prepared: Prepared, draw: Any, settings: Settings) -> Mapping[str, Tensor]:
        """The sample that the draw means: exact and replayable; no batch axis."""
        ...

    def whole(self, prepared: Prepared, settings: Settings) -> Mapping[str, Tensor]:
        """The case without chance, no batch axis."""
        ...


@runtime_checkable
class Collating(Protocol):
    """What a frame of ragged samples has besides."""

    def collate(self, samples: Sequence[Mapping[str, Tensor]]) -> Batch:
        """The frame's own keys of each sample, in its own form: padded, or end to end with an index of the case.

        `size` is the number of samples; `present` names each field and says which samples have it.
        """
        ...


@dataclass(frozen=True)
class Budget:
    """How long training may take: seconds of wall time, or epochs, or steps; exactly one is set."""

    seconds: float | None = None
    epochs: float | None = None
    steps: int | None = None

    @property
    def text(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:g} s"
        return f"{self.epochs:g} epochs" if self.epochs is not None else f"{self.steps} steps"


class Runner(Protocol):
    """A network in some runtime: arrays in the order of `Network.inputs`, batch axis first, to outputs."""

    def __call__(self, *arrays: Array) -> tuple[Array, ...]: ...


class NetworkPlug(Protocol):
    """An architecture by name: says if it fits, plans itself, builds itself, and knows how it infers.

    One whose cases have one shape may also have `infer_many(run, cases, frames, settings)`, the outputs of each case:
    many at once where the runner takes any batch, as torch does while training.
    """

    name: str

    def fits(self, task: Task) -> str:
        """ "" if it can learn the task, else why not."""
        ...

    def plan(self, task: Task, frames: Mapping[str, Settings], budget: Budget) -> tuple[Settings, dict[str, str]]:
        """Depth, width, batch, learning rate ... with a reason each. `batch` and `learning_rate` must be there."""
        ...

    def build(self, task: Task, frames: Mapping[str, Settings], settings: Settings) -> Network: ...

    def infer(self, run: Runner, prepared: Prepared, frames: Mapping[str, Settings], settings: Settings) -> Outputs:
        """One case through `run`, by its strategy: whole, tiled or step.

        Arrays of floats, or what the target's `answer`, `quick` and `agree` understand besides: of a large volume its
        labels, so that the probabilities are never held. A plug that gives such has `infer_mean`.
        """
        ...

    def shapes(self, frames: Mapping[str, Settings], settings: Settings) -> list[tuple[int, ...]]:
        """Shape of each input array of `run` with batch 1: what an exported runtime is compiled for."""
        ...


@runtime_checkable
class Means(Protocol):
    """What a NetworkPlug may have besides: an ensemble's mean without any member's whole output."""

    def infer_mean(
        self, runs: Sequence[Runner], prepared: Prepared, frames: Mapping[str, Settings], settings: Settings
    ) -> Outputs:
        """As `infer`, the mean over `runs`."""
        ...


@runtime_checkable
class Mirrors(Protocol):
    """What a NetworkPlug may have besides: an answer that is averaged over mirror images of the input."""

    def mirrored(self, frames: Mapping[str, Settings], settings: Settings) -> Settings:
        """The settings by which `infer` averages over the flips that training drew; TaskError where it drew none."""
        ...


@dataclass(frozen=True)
class Part:
    """Prepared cases of one part, with their truths: what a learner that is no network fits on."""

    ids: Sequence[str]
    prepared: Sequence[Prepared]
    truths: Sequence[Values]


class Learner(Protocol):
    """Fits on a part, infers a case, keeps its state as arrays and JSON.

    One that may be weighed together with a network has `mixes` = True; see `core.blend`. One to whom many cases at once
    come cheaper may also have `infer_many(cases)`, the outputs of each.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # as the report names it

    def fits(self, task: Task) -> str:
        """ "" if it can learn the task, else why not."""
        ...

    def fit(self, part: Part, task: Task, frames: Mapping[str, Settings], seed: int) -> None: ...

    def infer(self, prepared: Prepared) -> Outputs: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path, task: Task, frames: Mapping[str, Settings]) -> None: ...
