"""Every decision taken from the data and the budget, once, written as plan.json; training only obeys it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galenic import __version__
from galenic.core.contract import Budget
from galenic.core.errors import BudgetError, MissingFile, NewerVersionError, PlanError
from galenic.core.files import write_json

FORMAT = 1
THREADS = "warning: threads"  # the reason that says that a plan met other threads than it was made with


class Training(BaseModel):
    """How the network is trained.

    schedule: [step, total steps from then on] pairs. The first is the plan; a clock that runs faster or slower than the
    probe said adds a pair, so that the learning rate still ends at zero when the budget does, and a repeat obeys it.
    """

    model_config = ConfigDict(extra="forbid")

    batch: int = Field(ge=1)
    learning_rate: float
    weight_decay: float
    optimizer: str
    precision: str
    layout: str
    schedule: list[tuple[int, int]] = Field(min_length=1)
    evaluate_every: int = Field(ge=1)
    warmup: int = Field(ge=0)
    ema: float
    clip: float = 12.0
    seconds_per_step: float
    threads: int

    @property
    def steps(self) -> int:
        return self.schedule[-1][1]

    def progress(self, step: int) -> float:
        """0 to 1: how far `step` is on a schedule that may have been cut or stretched on the way."""
        done, at, total = 0.0, 0, self.schedule[0][1]
        for start, then in self.schedule[1:]:
            if step < start:
                break
            done += (1 - done) * (start - at) / max(total - at, 1)
            at, total = start, then
        return min(1.0, done + (1 - done) * (step - at) / max(total - at, 1))


class Network(BaseModel):
    """The architecture's name and its own settings."""

    model_config = ConfigDict(extra="forbid")

    name: str
    settings: dict[str, Any]


class Plan(BaseModel):
    """plan.json. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    galenic: str = __version__
    task: str
    seed: int
    budget: str
    frames: dict[str, dict[str, Any]]
    network: Network
    training: Training
    reasons: dict[str, str]
    folds: int = 0
    blend: list[str] = []  # simple methods that may be weighed together with the network

    def save(self, path: Path) -> None:
        write_json(path, self.model_dump())


def load_plan(path: Path) -> Plan:
    """A checked plan; PlanError says which key is wrong."""
    if not path.is_file():
        raise MissingFile(f"no plan {path}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] > FORMAT:
            raise NewerVersionError(
                f"{path} has format {data['format']}", allowed=f"up to {FORMAT}", todo="pip install -U galenic"
            )
        return Plan.model_validate(data)
    except (ValueError, UnicodeDecodeError, ValidationError, RecursionError) as error:
        raise PlanError(f"{path} is no plan of this version: {str(error)[:400]}") from error


def of_clock(reason: str) -> bool:
    """True for the reason that says how a clock ended the training, of a fold or of all; a frame has that name too."""
    return reason == "clock" or reason.startswith("clock of ")


def for_this_run(plan: Plan, *, seed: int, threads: int, resumed: bool) -> Plan:
    """The plan of a run that is repeated or resumed, without what only that one had to say, for the threads here."""
    gone = () if resumed else ("training.best", THREADS)
    reasons = {
        key: text for key, text in plan.reasons.items() if not key.startswith(gone) and (resumed or not of_clock(key))
    }
    then = plan.training.threads
    if then != threads:
        reasons[THREADS] = f"planned for {then} threads, run with {threads}: numbers may differ in the last digits"
    training = plan.training.model_copy(update={"threads": threads})
    return plan.model_copy(update={"seed": seed, "reasons": reasons, "training": training})


_MOST = 1e9  # of any unit: more is a slip
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_budget(text: str) -> Budget:
    """`90s`, `10m`, `2h`, `40epochs` or `500steps`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|epochs?|steps?)", text.strip().lower())
    if match is None or not 0 < float(match[1]) < _MOST:
        raise BudgetError(f"the budget {text!r}", allowed="such as 90s, 10m, 2h, 40epochs or 500steps")
    amount, unit = float(match[1]), match[2]
    if unit.startswith("epoch"):
        return Budget(epochs=amount)
    if unit.startswith("step"):
        if not amount.is_integer():
            raise BudgetError(f"the budget {text!r}", allowed="a whole number of steps")
        return Budget(steps=int(amount))
    return Budget(seconds=amount * _UNITS[unit])
