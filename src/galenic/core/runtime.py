"""Picks the fastest registered runtime that answers as torch in float32 does, and opens what was picked."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from galenic.core import registry
from galenic.core.contract import Array, NetworkPlug, Outputs, Prepared, Runner, Settings
from galenic.core.errors import GalenicError, MissingExtra, ModelFolderError, UnreadableFile, ValueProblem
from galenic.core.evaluate import quick
from galenic.core.files import write_json
from galenic.core.network import Network
from galenic.core.runtimes.export import NET, RECORD, Exported, read_record

_ROUNDS = 3
_SLOWER = 1.4  # a call of the network this many times slower than the best one's that agreed is not tried further
_BEHIND = 2.0  # one round suffices for a candidate this many times slower than the best so far
_SECONDS_EACH = 8.0  # rounds of one candidate stop after this
_FEW_CASES, _SECONDS_OF_CASES = 2, 1.5  # so many cases at least, more while the reference takes no longer than this
_SCORE_CHANGE = 0.002  # of the main score on the cases, at most


class Candidate(BaseModel):
    """A runtime at a precision and memory layout: what was measured, and whether it may be used.

    call_seconds: for one call of the network on one patch, the best of a few.
    seconds: for all cases given; median over the rounds, or of one round where that is far behind. parity: target ->
    the figure of its kind's parity rule, a case each (null where undefined). scores: target -> its main score on these
    cases, where they hold the truth. note: why it was left out, if it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: str = ""
    layout: str = "default"
    call_seconds: float | None = None
    seconds: float | None = None
    faster: float | None = None  # than torch in float32
    parity: dict[str, list[float | None]] = {}
    scores: dict[str, float] = {}
    agreed: bool = False
    note: str = ""

    @property
    def title(self) -> str:
        return " ".join(part for part in (self.runtime, self.precision, self.layout) if part not in ("", "default"))


class Choice(BaseModel):
    """What runtime.json says: the chosen candidate, all candidates, where they were measured, and what was exported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen: Candidate
    exact: bool
    device: str
    threads: int
    machine: str
    cases: int
    candidates: list[Candidate]
    exported: Exported | None = None


@dataclass(frozen=True)
class Opened:
    """A runner and what it runs on; `note` says why it is not the chosen one, if it is not."""

    run: Runner
    runtime: str
    precision: str
    layout: str = "default"
    note: str = ""

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        return self.run(*arrays)


@dataclass(frozen=True)
class _Trial:
    """All that a candidate is measured on."""

    network: Network
    plug: NetworkPlug
    cases: Sequence[Prepared]
    frames: Mapping[str, Settings]
    settings: Settings
    folder: Path
    device: str

    def open(self, candidate: Candidate) -> Runner:
        shapes = self.plug.shapes(self.frames, self.settings)
        return _open(candidate, self.network, shapes, self.folder, device=self.device)

    def infer(self, run: Runner, case: Prepared) -> tuple[Outputs, float]:
        start = time.perf_counter()
        outputs = self.plug.infer(run, case, self.frames, self.settings)
        return outputs, time.perf_counter() - start

    def call(self, run: Runner) -> float:
        """Seconds of one call of the network on one patch: a whole volume may take a minute."""
        arrays = [np.zeros(shape, np.float32) for shape in self.plug.shapes(self.frames, self.settings)]
        run(*arrays)  # only the first call is slower
        taken = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            run(*arrays)
            taken.append(time.perf_counter() - start)
        return min(taken)

    def rounds(self, run: Runner, already: float) -> float:
        """Median seconds of a round over all cases; `already`, what the first took, stands if it was long."""
        if already >= _SECONDS_EACH:
            return already
        taken: list[float] = []
        while len(taken) < _ROUNDS and (not taken or already + sum(taken) < _SECONDS_EACH):
            taken.append(sum(self.infer(run, case)[1] for case in self.cases))
        return median(taken)


def pick(
    network: Network,
    plug: NetworkPlug,
    *,
    cases: Sequence[Prepared],
    frames: Mapping[str, Settings],
    settings: Settings,
    folder: Path,
    exact: bool = False,
    device: str = "cpu",
) -> Choice:
    """Measure every runtime, precision and layout on `cases` (of the validation part), keep the fastest.

    Of the cases two are taken, and more while that costs little. The candidate with the fastest single call is tried
    first, and those that are clearly slower than one that agreed are left out. Only those count whose outputs meet the
    parity rule of every target against torch in float32 on every case, and whose main score there differs by at most
    0.002; `exact` admits float32 alone. Writes runtime.json (and net.onnx, where a runtime needs it) into `folder`.
    """
    if not cases:
        raise ValueProblem("no case to compare the runtimes on", todo="give one to three cases of the validation part")
    for name in (NET, RECORD):
        (folder / name).unlink(missing_ok=True)
    trial = _Trial(network, plug, cases, frames, settings, folder, device)
    reference = Candidate(runtime="torch", precision="f32", agreed=True)
    run = trial.open(reference)
    reference = reference.model_copy(update={"call_seconds": trial.call(run)})
    found: list[tuple[Outputs, float]] = []
    for case in cases:
        found.append(trial.infer(run, case))
        if sum(taken for _, taken in found) >= (_SECONDS_EACH if len(found) < _FEW_CASES else _SECONDS_OF_CASES):
            break
    trial = replace(trial, cases=list(cases)[: len(found)])
    expected = [outputs for outputs, _ in found]
    seconds = trial.rounds(run, sum(taken for _, taken in found))
    known = {"seconds": seconds, "faster": 1.0, "scores": quick(network.task, expected, trial.cases)}
    done = [reference.model_copy(update=known | {"note": "what the others must agree with"})]
    called = [_call(trial, one) for one in _candidates(plug.shapes(frames, settings), device, exact)]
    for candidate in sorted(called, key=lambda one: one.call_seconds or math.inf):
        done.append(_measure(trial, candidate, expected, done[0].scores, [one for one in done if one.agreed]))
    choice = Choice(
        chosen=min((one for one in done if one.agreed), key=lambda one: one.seconds or 0.0),
        exact=exact, device=device, threads=torch.get_num_threads(),
        machine=platform.processor() or platform.machine(), cases=len(found),
        candidates=[_against(one, seconds) for one in done], exported=read_record(folder).get("exported"),
    )  # fmt: skip
    choice = choice.model_copy(update={"chosen": _against(choice.chosen, seconds)})
    write_json(folder / RECORD, choice.model_dump())
    return choice


def _candidates(shapes: Sequence[tuple[int, ...]], device: str, exact: bool) -> list[Candidate]:
    """All that is to be tried, beside the reference; a runtime that can't work here comes with its reason."""
    found = []
    # The torch ones first: they need no export, and set a mark for the rest.
    for name in sorted(registry.names("runtimes"), key=lambda name: (name != "torch", name)):
        try:
            plug = registry.get("runtimes", name)()
            note = plug.missing()
            precisions = [] if note else plug.precisions(device)
        except Exception as error:  # a broken package of one runtime must not stop the others
            note, precisions = _reason(error), []
        if not precisions:
            found.append(Candidate(runtime=name, note=note or f"does not run on {device}"))
        for precision in precisions:
            for layout in plug.layouts(shapes):
                note = "left out by --exact" if exact and precision != "f32" else ""
                found.append(Candidate(runtime=name, precision=precision, layout=layout, note=note))
    return [one for one in found if (one.runtime, one.precision, one.layout) != ("torch", "f32", "default")]


def _call(trial: _Trial, candidate: Candidate) -> Candidate:
    """The candidate with the time of one call, or with why it has none."""
    if candidate.note:
        return candidate
    try:
        return candidate.model_copy(update={"call_seconds": trial.call(trial.open(candidate))})
    except Exception as error:  # whatever an outside runtime raises, the model still runs on torch
        return candidate.model_copy(update={"note": f"failed: {_reason(error)}"})


def _measure(
    trial: _Trial,
    candidate: Candidate,
    expected: Sequence[Outputs],
    scores: Mapping[str, float],
    agreed: Sequence[Candidate],
) -> Candidate:
    """The candidate measured on whole cases, unless one that `agreed` is clearly faster."""
    if candidate.note:
        return candidate
    own, best = candidate.call_seconds or 0.0, min(one.call_seconds or 0.0 for one in agreed)
    if own > _SLOWER * best:
        note = f"left out: a call takes {own:.3g} s, of one that agrees {best:.3g} s"
        return candidate.model_copy(update={"note": note})
    try:
        run = trial.open(candidate)
        found = [trial.infer(run, case) for case in trial.cases]
        outputs = [own for own, _ in found]
        parity, met = _parity(trial.network, outputs, expected)
        mine = quick(trial.network.task, outputs, trial.cases)
        unchanged = all(abs(mine.get(name, math.inf) - value) <= _SCORE_CHANGE for name, value in scores.items())
        seconds = sum(taken for _, taken in found)
        if met and unchanged and seconds < _BEHIND * min(one.seconds or 0.0 for one in agreed):
            seconds = trial.rounds(run, seconds)
    except Exception as error:
        return candidate.model_copy(update={"note": f"failed: {_reason(error)}"})
    note = "" if unchanged else "left out: the main score is another"
    note = note if met else "left out: does not meet the parity rule"
    measured = {"seconds": seconds, "parity": parity, "scores": mine, "agreed": met and unchanged, "note": note}
    return candidate.model_copy(update=measured)


def _parity(
    network: Network, ours: Sequence[Outputs], expected: Sequence[Outputs]
) -> tuple[dict[str, list[float | None]], bool]:
    """The figure of each target and case, and whether every one is met; an output that is not finite never is."""
    parity: dict[str, list[float | None]] = {}
    agreed = True
    for field in network.task.targets:
        kind = registry.target(field)
        for mine, reference in zip(ours, expected, strict=True):
            figure, met = kind.agree(mine[field.name], reference[field.name])
            agreed &= bool(met) and _as_finite(mine[field.name], reference[field.name])
            parity.setdefault(field.name, []).append(float(figure) if np.isfinite(figure) else None)
    return parity, agreed


def _as_finite(ours: Any, reference: Any) -> bool:
    if not isinstance(ours, np.ndarray) or not np.issubdtype(ours.dtype, np.floating):
        return True
    return bool(np.isfinite(ours).all() or not np.isfinite(reference).all())


def _against(candidate: Candidate, seconds: float) -> Candidate:
    if not candidate.seconds:
        return candidate
    faster = round(seconds / candidate.seconds, 3)
    return candidate.model_copy(update={"seconds": round(candidate.seconds, 6), "faster": faster})


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _open(
    candidate: Candidate,
    network: Network | None,
    shapes: Sequence[tuple[int, ...]],
    folder: Path | None,
    *,
    threads: int | None = None,
    device: str = "cpu",
) -> Runner:
    plug = registry.get("runtimes", candidate.runtime)()
    runner: Runner = plug.open(
        network,
        shapes,
        folder,
        precision=candidate.precision,
        threads=threads,
        device=device,
        layout=candidate.layout,
    )
    return runner


def read_choice(folder: Path) -> Choice | None:
    """What runtime.json of `folder` says, None where nothing was picked; UnreadableFile if it is damaged."""
    record = read_record(folder)
    if "chosen" not in record:
        return None
    try:
        return Choice.model_validate(record)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UnreadableFile(f"{folder / RECORD}: {where}: {fault['msg']}", todo="export the model again") from error


def open_chosen(
    folder: Path,
    network: Network | None,
    *,
    shapes: Sequence[tuple[int, ...]],
    exact: bool = False,
    threads: int | None = None,
    device: str | None = None,
) -> Opened:
    """Open what `pick` chose; where it can't work here, the next that agreed, at last torch in float32, with a note.

    `exact` admits float32 alone; `device` is the one it was picked on unless given. A damaged file (DigestError) is an
    error and no reason to fall back. ModelFolderError if only torch is left and `network` is None.
    """
    choice = read_choice(folder)
    where = device or (choice.device if choice else "cpu")
    refused = "" if choice else "no runtime was measured for this model"
    for candidate in _ranked(choice, exact, where):
        reason = _unusable(candidate, where)
        if not reason:
            try:
                run = _open(candidate, network, shapes, folder, threads=threads, device=where)
            except MissingExtra as error:
                reason = _reason(error)
            else:
                note = f"{refused}; running on {candidate.title}" if refused else ""
                return Opened(run, candidate.runtime, candidate.precision, candidate.layout, note)
        refused = refused or f"{candidate.title} was chosen, but can't be used here: {reason}"
    raise ModelFolderError(refused, todo="install a runtime that the model was exported for")


def _ranked(choice: Choice | None, exact: bool, device: str) -> list[Candidate]:
    """The agreed ones, fastest first (as measured there), and torch in float32 as the last resort."""
    agreed = []
    if choice is not None and torch.device(choice.device).type == torch.device(device).type:
        others = sorted((one for one in choice.candidates if one.agreed), key=lambda one: one.seconds or 0.0)
        agreed = [choice.chosen, *(one for one in others if one != choice.chosen)]
    last = Candidate(runtime="torch", precision="f32")
    return [one for one in [*agreed, last] if one.precision == "f32" or not exact]


def _unusable(candidate: Candidate, device: str) -> str:
    """ "" if the candidate can work on this machine, else why not."""
    try:
        plug = registry.get("runtimes", candidate.runtime)()
    except GalenicError as error:
        return _reason(error)
    missing: str = plug.missing()
    if missing:
        return f"it is not installed ({missing})"
    if candidate.precision not in plug.precisions(device):
        return f"no {candidate.precision} on this machine's {device}"
    return ""
