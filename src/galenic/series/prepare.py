"""The frame of the clock: series of a case, summarised in mergeable pieces, then prepared exactly on a grid of time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galenic.core.contract import Budget, Field, Prepared, Settings, Summary, Values
from galenic.formats.signals import faults
from galenic.series import fingerprint
from galenic.series.fingerprint import plain_unit
from galenic.series.sound import far, unsound
from galenic.series.vary import Draw, draw_one, vary
from galenic.values import Series

Array = NDArray[Any]

LEAST_RATE = 0.5  # of the plan's, where the plan does not say which rates training met
RATE_TOLERANCE = 0.01


class Clock:
    """Histories and waveforms of a case.

    Settings: {"cases": n, "series": {FIELD: ...}, "vary": {"hide", "tremble", "shift", "stretch", "noise"}}, and where
    there are histories "step_hours" and "steps". A history's {"waveform": false, "variables", "units", "cases",
    "medians", "log", "mean", "sd", "low", "high", "least", "greatest"} has an entry a variable; a waveform's is
    {"waveform": true, "variables", "units", "rate_hz", "given_hz", "samples", "padded", "expected_hz" (the task's own
    rate), "least_hz" and "most_hz" (that a case may have), "signal" (a channel's limits, see `sound`)}.
    Prepared: a history float32 [steps, 3 * variables]: z-scores (the mean of a step; where nothing was measured the
    last one before, 0 before the first), then 1 where measured, then the time since, in lengths of the grid (since the
    grid's start before the first). A waveform float32 [samples, channels] of mean 0 and spread 1, with a last column
    that is 1 on real samples where lengths vary. A field that the case lacks is as if nothing had been measured.
    facts["clock"]: {"seen": fields with a value, "of": fields, "refuse": [why the case can't be judged], "notes"}.
    """

    name = "clock"

    def summarise(self, values: Values, fields: Sequence[Field]) -> Summary:
        """See `fingerprint`."""
        return fingerprint.summarise(values, fields)

    def merge(self, one: Summary, other: Summary) -> Summary:
        return fingerprint.merge(one, other)

    def settle(self, summary: Summary, fields: Sequence[Field], budget: Budget) -> tuple[Settings, dict[str, str]]:
        """ValueProblem for a field of which nothing was measured in training."""
        return fingerprint.settle(summary, fields, budget)

    def prepare(self, values: Values, fields: Sequence[Field], settings: Settings) -> Prepared:
        """Arrays and facts as the class says."""
        arrays: dict[str, Array] = {}
        refuse: list[str] = []
        notes: list[str] = []
        seen = 0
        for field in fields:
            series, own = values.get(field.name), settings["series"][field.name]
            if series is None or not series.measured:
                refuse.append(f"nothing of {field.name} was measured")
                arrays[field.name] = np.zeros(self.shape(field.name, settings), np.float32)
                if not own["waveform"]:
                    arrays[field.name][:, 2 * len(own["variables"]) :] = _since_start(settings)[:, None]
                continue
            seen += 1
            notes += series.notes
            way = _waveform if own["waveform"] else _history
            arrays[field.name] = way(series, field.name, settings, refuse, notes)
        return Prepared(arrays, {"clock": {"seen": seen, "of": len(fields), "refuse": refuse, "notes": notes}})

    def shape(self, name: str, settings: Settings) -> tuple[int, ...]:
        """Shape of the prepared array of an input: what a network is built for."""
        own = settings["series"][name]
        if own["waveform"]:
            return (own["samples"], len(own["variables"]) + int(own["padded"]))
        return (settings["steps"], 3 * len(own["variables"]))

    def draw(self, rng: np.random.Generator, prepared: Prepared, settings: Settings) -> Draw:  # noqa: ARG002
        """How this sample is varied, as the plan's `vary` says."""
        return draw_one(rng, settings)

    def apply(self, prepared: Prepared, draw: Draw, settings: Settings) -> Mapping[str, Tensor]:
        """The sample that the draw means; see `vary`."""
        stacked = {name: tensor[None] for name, tensor in self.whole(prepared, settings).items()}
        return {name: tensor[0] for name, tensor in self.vary(stacked, [draw], settings).items()}

    def steady(self, settings: Settings) -> bool:
        """True where the plan leaves nothing to chance."""
        return not any(settings["vary"].values())

    def vary(self, stacked: Mapping[str, Tensor], draws: Sequence[Draw], settings: Settings) -> dict[str, Tensor]:
        """Whole cases, stacked, each varied by its own draw: what `apply` does, for a batch at once."""
        return vary(stacked, draws, settings)

    def whole(self, prepared: Prepared, settings: Settings) -> Mapping[str, Tensor]:
        """Tensors of this frame's fields, without a batch axis."""
        return {name: torch.from_numpy(prepared.arrays[name]) for name in settings["series"] if name in prepared.arrays}


def _since_start(settings: Settings) -> NDArray[np.float32]:
    """(steps,) the time since the grid's start, in lengths of the grid."""
    return np.asarray(np.arange(settings["steps"]) / settings["steps"], np.float32)


def _history(series: Series, name: str, settings: Settings, refuse: list[str], notes: list[str]) -> Array:
    """[steps, 3 * variables] float32."""
    own, steps, width = settings["series"][name], settings["steps"], settings["step_hours"]
    place = {variable: at for at, variable in enumerate(own["variables"])}
    strange = [variable for variable in series.variables if variable not in place]
    if strange:
        notes.append(f"{name}: not learnt from, so ignored: {', '.join(strange)}")
    wrong = _wrong_units(series, own)
    refuse += [f"{name}: {text}" for text in wrong.values()]
    columns = [at for at, variable in enumerate(series.variables) if variable in place and variable not in wrong]
    given = np.full((len(series.times_hours), len(place)), np.nan)
    given[:, [place[series.variables[at]] for at in columns]] = series.values[:, columns]
    refuse += [f"{name}: {text}" for text in far(given, own)]
    if not np.isfinite(given).any() and not wrong:
        refuse.append(f"{name}: nothing that was learnt from was measured")
    step = np.floor(series.times_hours / width + 1e-9).astype(np.int64)
    last = step.max(initial=0)
    if last >= steps:
        at_end = series.times_hours[-1] <= steps * width + 1e-9  # the last moment belongs to the last step
        if at_end:
            step = np.minimum(step, steps - 1)
        else:
            notes.append(f"{name}: only the last {steps * width:g} of {series.times_hours[-1]:g} hours are looked at")
            step = step - (last - steps + 1)
    z = _z_scores(given, own)
    return _filled(_binned(z, step, steps), settings)


def _z_scores(given: Array, own: Mapping[str, Any]) -> Array:
    """[n, variable], cut to the range of training; NaN stays."""
    low, high, mean, sd = (np.asarray(own[key], np.float64) for key in ("low", "high", "mean", "sd"))
    cut = np.clip(given, low, high)
    log = np.asarray(own["log"], bool)
    cut[:, log] = np.log(cut[:, log])
    return np.asarray(np.where(np.isnan(cut) | (sd > 0), (cut - mean) / np.where(sd > 0, sd, 1.0), 0.0))


def _binned(z: Array, step: NDArray[np.int64], steps: int) -> Array:
    """Mean of each variable in each step, [steps, variable], NaN where none was measured."""
    row, column = np.nonzero(np.isfinite(z) & ((step >= 0) & (step < steps))[:, None])
    cell = step[row] * z.shape[1] + column
    size = steps * z.shape[1]
    counts = np.bincount(cell, minlength=size)
    sums = np.bincount(cell, z[row, column], minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(steps, -1)


def _filled(binned: Array, settings: Settings) -> Array:
    """Values carried forward, measured or not, and the time since."""
    steps = len(binned)
    measured = np.isfinite(binned)
    last = np.maximum.accumulate(np.where(measured, np.arange(steps)[:, None], -1), axis=0)
    value = np.take_along_axis(np.where(measured, binned, 0.0), np.maximum(last, 0), axis=0)
    value = np.where(last >= 0, value, 0.0)
    since = np.where(last >= 0, (np.arange(steps)[:, None] - last) / steps, _since_start(settings)[:, None])
    return np.concatenate([value, measured, since], axis=1).astype(np.float32)


def _wrong_units(series: Series, own: Mapping[str, Any]) -> dict[str, str]:
    """Variables whose unit is told and is not the one that was learnt from."""
    learnt = dict(zip(own["variables"], own["units"], strict=True))
    found = {}
    for variable, unit in zip(series.variables, series.units, strict=True):
        known = learnt.get(variable, "")
        if unit and known and plain_unit(unit) != plain_unit(known):
            found[variable] = f"{variable} is given in {unit}, learnt from in {known}"
    return found


def _waveform(series: Series, name: str, settings: Settings, refuse: list[str], notes: list[str]) -> Array:
    """[samples, channels] float32, with a last column that tells real samples where lengths vary."""
    own = settings["series"][name]
    refuse += [f"{name}: {text}" for text in _wrong_units(series, own).values()]
    reason = _wrong_rate(series.rate_hz, own)
    if reason:
        refuse.append(f"{name}: {reason}")
    found = [variable for variable in own["variables"] if variable in series.variables]
    lacking = [variable for variable in own["variables"] if variable not in found]
    strange = [variable for variable in series.variables if variable not in own["variables"]]
    if strange:
        notes.append(f"{name}: not learnt from, so ignored: {', '.join(strange)}")
    if lacking:
        refuse.append(f"{name}: lacks the channel {', '.join(lacking)}")
    samples = np.zeros((own["samples"], len(own["variables"])))
    known = np.ones(own["samples"])
    if found:
        picked = np.asarray(series.values[:, [series.variables.index(one) for one in found]], np.float64)
        wrong = faults(picked, found) or unsound(picked, found, series.rate_hz or own["given_hz"], own)
        refuse += [f"{name}: {text}" for text in wrong]
        if np.isnan(picked).all():
            refuse.append(f"{name}: nothing of it was measured")
        thinned = _at_rate(picked, series.rate_hz or own["given_hz"], own["rate_hz"])
        placed, known = _placed(_standard(thinned), own["samples"])
        samples[:, [own["variables"].index(variable) for variable in found]] = placed
    columns = [samples, known[:, None]] if own["padded"] else [samples]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _wrong_rate(rate: float, own: Mapping[str, Any]) -> str:
    """Why a waveform of this rate can't be judged, or "". Where a task names the rate, no other will do."""
    if not rate:
        return "it is a history, and waveforms were learnt from"
    expected = own["expected_hz"]
    if expected is not None and abs(rate - expected) > RATE_TOLERANCE * expected:
        return f"it is sampled at {rate:g} Hz, {expected:g} Hz is asked for"
    low, high = own.get("least_hz", LEAST_RATE * own["rate_hz"]), own.get("most_hz", math.inf)
    if (1 - RATE_TOLERANCE) * low <= rate <= (1 + RATE_TOLERANCE) * high:
        return ""
    learnt = f"{low:g}" if low == high or math.isinf(high) else f"{low:g} to {high:g}"
    return f"it is sampled at {rate:g} Hz, and {learnt} Hz were learnt from"


def _at_rate(values: Array, rate: float, wanted: float) -> Array:
    """[n, channel] at another rate: the mean of the samples about each new one (so that nothing faster folds back), or
    a line between two where the new rate is higher."""
    if abs(rate - wanted) <= RATE_TOLERANCE * wanted or not len(values):
        return values
    count = max(1, round(len(values) * wanted / rate))
    if wanted > rate:
        at = (np.arange(count) + 0.5) * rate / wanted - 0.5
        return np.stack([np.interp(at, np.arange(len(values)), one) for one in values.T], axis=1)
    edges = np.minimum((np.arange(count + 1) * (rate / wanted)).astype(np.int64), len(values))
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(np.nan_to_num(values), axis=0)])
    known = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(np.isfinite(values), axis=0)])
    counts = known[edges[1:]] - known[edges[:-1]]
    return np.where(counts > 0, (total[edges[1:]] - total[edges[:-1]]) / np.maximum(counts, 1), np.nan)


def _standard(values: Array) -> Array:
    """Each channel less its mean, by its spread; 0 where nothing was measured or nothing changes."""
    known = np.isfinite(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, values - np.where(known, values, 0.0).sum(axis=0) / counts, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / counts)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0))


def _placed(values: Array, samples: int) -> tuple[Array, Array]:
    """The middle of what is too long; what is too short stands at the start, zeros after it. And which are real."""
    cut = max(0, len(values) - samples) // 2
    values = values[cut : cut + samples]
    rest = samples - len(values)
    return np.pad(values, ((0, rest), (0, 0))), np.pad(np.ones(len(values)), (0, rest))


CLOCK = Clock()
