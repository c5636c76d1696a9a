"""A trained model at the bedside: measurement by measurement in, calibrated answers out, by `series.step`.

The answer is what `predict` gives for the history so far. Of that history's grid only the steps that a new measurement
changes are run again, from the state kept before them: with times that rise, the one under way and those to come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from galenic.core import blend, registry
from galenic.core.cases import matching
from galenic.core.contract import Answer, Field, Outputs, Prepared, Values
from galenic.core.errors import TaskError, ValueProblem
from galenic.core.network import Network
from galenic.core.task import Task
from galenic.series import events, read
from galenic.series.events import Events
from galenic.series.step import State, Stepper

if TYPE_CHECKING:
    from galenic.core.model import Model


@dataclass
class _Patient:
    """What is known of one: the other fields' values, the measurements, and what the networks made of them.

    rows: (1, steps, inputs) of the last answer. states: of each network, before the first step and after each.
    """

    values: Values
    told: list[tuple[float, str, float, str]] = field(default_factory=list)
    rows: Tensor | None = None
    states: list[list[State]] = field(default_factory=list)
    outputs: list[dict[str, Tensor]] = field(default_factory=list)


class Live:
    """Patients whose measurements come one at a time; TaskError for a model of anything but one history.

    Not for use by several threads at once.
    """

    def __init__(self, model: Model, networks: list[Network]) -> None:
        task: Task = model.task
        series = [one for one in task.inputs if one.kind == "series"]
        if len(series) != 1 or series[0].options.get("waveform"):
            raise TaskError(f"the task {task.name} live", allowed="one history, with numbers and categories beside it")
        self.model, self.field, self.rules = model, series[0], read.rules_of(series[0])
        self.steppers = [Stepper(network) for network in networks]
        self._patients: dict[str, _Patient] = {}

    def begin(self, patient: str, cells: Mapping[str, Any] | None = None) -> None:
        """A patient anew, with the cells of the other fields by column, as in a table of cases; the rest is missing.

        TaskError for a column that is of no other field; TableError for a cell that its kind can't read.
        """
        given = {} if cells is None else dict(cells)
        others = [one for one in self.model.task.inputs if one.name != self.field.name]
        row = pd.DataFrame({name: [cell] for name, cell in given.items()}, index=[0])
        known = {column for one in others for column in matching(row, one)}
        if strange := sorted(set(given) - known):
            allowed = ", ".join(column for one in others for column in one.columns)
            raise TaskError(f"the columns {', '.join(strange)}", allowed=allowed or "none beside the history")
        self._patients[patient] = _Patient({one.name: _value(one, row) for one in others})

    def push(self, patient: str, hour: float, variable: str, value: float, unit: str = "") -> dict[str, Answer]:
        """Take in a measurement, `hour` hours after the case's start, and answer each target; see `answer`.

        ValueProblem for an hour or a value that is not finite, or an hour before the start; nothing is kept of these.
        """
        if not (math.isfinite(hour) and hour >= 0 and math.isfinite(value)):
            raise ValueProblem(
                f"{variable} = {value} at hour {hour} of {patient}", allowed="a finite value, an hour from 0 on"
            )
        if patient not in self._patients:
            self.begin(patient)
        self._patients[patient].told.append((float(hour), variable, float(value), unit))
        return self.answer(patient)

    def answer(self, patient: str) -> dict[str, Answer]:
        """One Answer a target for all that was measured so far, or a refusal, as `predict` gives. TaskError for a
        patient of whom nothing is known."""
        known = self._patients.get(patient)
        if known is None:
            raise TaskError(f"the patient {patient!r}", allowed="one that was begun, or of whom a value was pushed")
        prepared = self.model.prepare({**known.values, self.field.name: self._series(known)})
        (learners,) = blend.outputs_of(self.model.blending, [prepared])
        return self.model.answer_from(prepared, self._outputs(known, prepared), learners)

    def forget(self, patient: str) -> None:
        """Let go of all that is kept of a patient."""
        self._patients.pop(patient, None)

    def _series(self, known: _Patient) -> Any:
        if not known.told:
            return None
        hours, names, values, units = zip(*known.told, strict=True)
        own = Events(np.array(hours), np.array(names, object), np.array(values), np.array(units, object))
        found = events.from_events(own, self.rules)
        return found if found is not None and found.measured else None

    def _outputs(self, known: _Patient, prepared: Prepared) -> Outputs:
        """The networks' mean raw outputs after the last step of the grid."""
        arrays = [torch.from_numpy(np.asarray(prepared.arrays[name]))[None] for name in self.steppers[0].network.inputs]
        rows = self.steppers[0].rows(*arrays)
        first = _first_changed(known.rows, rows)
        if known.rows is None:
            known.states = [[stepper.start(1)] for stepper in self.steppers]
            known.outputs = [{} for _ in self.steppers]
        for at, stepper in enumerate(self.steppers):
            states = known.states[at][: first + 1]
            for step in range(first, rows.shape[1]):
                state, known.outputs[at] = stepper.step(states[-1], rows[:, step])
                states.append(state)
            known.states[at] = states
        known.rows = rows
        return {
            name: np.mean([own[name][0].float().numpy() for own in known.outputs], axis=0) for name in known.outputs[0]
        }


def _value(one: Field, row: pd.DataFrame) -> Any:
    """What the one row holds of a field, None where it holds nothing; a column that is not there is an empty cell."""
    if not matching(row, one):
        return None
    lacking = [column for column in one.columns if column not in row and "*" not in column]
    whole = row.assign(**dict.fromkeys(lacking, np.nan))
    return registry.kind(one.kind).open(one, whole[matching(whole, one)], Path.cwd()).read(0)


def _first_changed(before: Tensor | None, now: Tensor) -> int:
    """The first step (of (1, steps, inputs)) that is not as it was; the number of steps where all are."""
    if before is None:
        return 0
    same = (before == now).all(dim=2)[0]
    return int(same.long().cumprod(0).sum())


class Bedside:
    """What the plug of a recurrent network has, so that `Model.live` finds it."""

    def live(self, model: Model, networks: list[Network]) -> Live:
        """The model, fed measurement by measurement; `networks` are its own, as trained."""
        return Live(model, networks)
