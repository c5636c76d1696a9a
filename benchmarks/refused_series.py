"""How often sound cases of a task with series are refused, and how often damaged ones are.

The limits are settled on the training part (or on so many cases of it, drawn by chance), held-out cases of the test
part are prepared by them, and refusals are counted by reason. Then each is damaged, and refusals are counted again.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from galenic import sources
from galenic.core import registry
from galenic.core.cases import open_cases
from galenic.core.contract import Budget
from galenic.core.split import divide
from galenic.series.prepare import CLOCK
from galenic.values import Series
from records import keep

Damage = Callable[[Series], Series | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--cases", type=int, nargs="+", default=[0], help="training cases to settle on; 0 is all")
    parser.add_argument("--draws", type=int, default=1, help="splits and draws of training cases to average over")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    found = sources.find(given.task)
    task = registry.completed(registry.checked(found.task), found.table, found.root)
    cases = open_cases(found.table, found.root, task)
    fields = [one for one in task.inputs if registry.kind(one.kind).frame == CLOCK.name]
    names = [one.name for one in fields]
    values = [cases.values(row, names) for row in range(len(cases))]
    summaries = [CLOCK.summarise(one, fields) for one in values]
    damages = _damages([one for own in values for one in own.values() if one is not None])
    for size in given.cases:
        counts: dict[str, list[float]] = {}
        why: Counter[str] = Counter()
        held = 0
        for draw in range(given.draws):
            split = divide(cases, task, seed=draw, calib=False, file=found.split)
            train, test = split.rows("train") + split.rows("valid"), split.rows("test")
            if size:
                train = list(np.random.default_rng(draw).choice(train, min(size, len(train)), replace=False))
            settings, _ = CLOCK.settle(
                reduce(CLOCK.merge, [summaries[row] for row in train]), fields, Budget(seconds=60)
            )
            refused = partial(_refused, fields=fields, settings=settings)
            reasons = [refused(values[row]) for row in test]
            held += len(test)
            why.update(_plain(text) for own in reasons for text in own)
            counts.setdefault("as they are", []).append(_share(reasons))
            for name, damage in damages.items():
                broken = [{key: damage(one) for key, one in values[row].items() if one is not None} for row in test]
                told = [refused(one) for one in broken if one and all(own is not None for own in one.values())]
                if told:
                    counts.setdefault(name, []).append(_share(told))
        shares = {name: round(float(np.mean(own)), 4) for name, own in counts.items()}
        print(f"{given.task}, {size or 'all'} training cases, {held} held out: share refused {shares}")
        print(
            "  as they are, by reason:", "; ".join(f"{text}: {count}" for text, count in why.most_common(12)) or "none"
        )
        measured = {"task": given.task, "training_cases": size or None, "held_out": held, "refused": shares}
        keep("refused_series", measured, wanted=given.record)


def _refused(values: Mapping[str, Any], *, fields: Sequence[Any], settings: dict[str, Any]) -> list[str]:
    return list(CLOCK.prepare(values, fields, settings).facts["clock"]["refuse"])


def _share(reasons: Sequence[Sequence[str]]) -> float:
    return sum(map(bool, reasons)) / len(reasons)


def _plain(text: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"-?[\d.]+(e[+-]?\d+)?%?", "#", text.partition(", in training")[0])


def _damages(known: Sequence[Series]) -> dict[str, Damage]:
    if any(one.rate_hz > 0 for one in known):
        return {
            "half flat": _half_flat, "white noise": _noise, "50 Hz alone": partial(_tone, hertz=50.0),
            "60 Hz alone": partial(_tone, hertz=60.0), "5 Hz alone": partial(_tone, hertz=5.0),
        }  # fmt: skip
    return {
        "glucose in mmol/L": partial(_converted, name="Glucose", times=1 / 18.016),
        "creatinine in umol/L": partial(_converted, name="Creatinine", times=88.42),
        "temperature in Fahrenheit": partial(_converted, name="Temp", times=1.8, plus=32.0),
        "urea nitrogen in mmol/L": partial(_converted, name="BUN", times=0.357),
        "one temperature of -99999": partial(_slip, name="Temp", value=-99999.0),
    }


def _half_flat(series: Series) -> Series:
    values = series.values.copy()
    half = len(values) // 2
    values[half:] = values[half]
    return replace(series, values=values, notes=())


def _noise(series: Series) -> Series:
    rng = np.random.default_rng(len(series.values))
    return replace(series, values=rng.normal(0, 0.5, series.values.shape), notes=())


def _tone(series: Series, *, hertz: float) -> Series | None:
    """None where so slow a rate can't hold it."""
    if 2 * hertz >= series.rate_hz:
        return None
    time = np.arange(len(series.values))[:, None] / series.rate_hz
    return replace(series, values=np.sin(2 * np.pi * hertz * time) + np.zeros(series.values.shape), notes=())


def _converted(series: Series, *, name: str, times: float, plus: float = 0.0) -> Series | None:
    """None where it was not measured."""
    if name not in series.variables:
        return None
    values = series.values.copy()
    values[:, series.variables.index(name)] = values[:, series.variables.index(name)] * times + plus
    return replace(series, values=values)


def _slip(series: Series, *, name: str, value: float) -> Series | None:
    if name not in series.variables:
        return None
    values = series.values.copy()
    column = series.variables.index(name)
    values[np.flatnonzero(np.isfinite(values[:, column]))[0], column] = value
    return replace(series, values=values)


if __name__ == "__main__":
    main()
